"""Making layers of any network interpretable by name, and undoing it.

A named layer, whose output has to be a rectified map, is put into an `Interpreted`, which masks what it gives. Above the
topmost one, as in Zhang 2018, stands a new 3×3 convolution, rectified and masked too. `release` puts the very modules back
that were there. Names inside stay what they were but for the step in between: ``features.34`` becomes
``features.34.layer``, and ``features.34`` is its masked map.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.core.running import undisturbed
from pellucid.zoo.interpretable.masking import Masking
from pellucid.zoo.interpretable.templates import Templates


@dataclass(frozen=True)
class Interpretation:
    """How a network was made interpretable: enough to do it again, and what a saved network says of itself.

    Attributes:
        layers: names of rectified layers
        above: the one of them above which the new convolution stands; None for none
        classes: of a network for several classes; 1 for an object against the background
        size: (height, width) of the pictures
        templates: None for the ordinary twin, which gets the new convolution and nothing else
    """

    layers: tuple[str, ...]
    above: str | None
    classes: int
    size: tuple[int, int]
    templates: Templates | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a file."""
        return asdict(self)


class Interpreted(nn.Sequential):
    """A layer with what was put behind it."""


def interpret(module: nn.Module, how: Interpretation, *, seed: int = 0) -> nn.Module:
    """Wrap layers of a module in place, so that each of their filters comes to mean one part.

    Follows Zhang, Wu, Zhu, CVPR 2018; `pellucid.zoo.interpretable.templates` says where this differs.

    Args:
        module: the network; changed in place.
        how: which layers, and how they are masked.
        seed: from which the new convolution is drawn.

    Returns:
        The module.

    Raises:
        UnknownNameError: a name that is no layer.
        ValueError: a layer that gives no map, is not rectified, has a single cell, or is wrapped already; the module is then
            as before.

    Example:
        >>> module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> interpret(module, Interpretation(("1",), None, 2, (8, 8), Templates()))(torch.rand(1, 3, 8, 8)).shape
        torch.Size([1, 2])
    """
    known = dict(module.named_modules())
    for name in how.layers:
        if name not in known or not name:
            listed = [each for each in known if each]
            raise UnknownNameError(f"Expected the name of a layer, got `{name}`; {suggest(name, listed)}")
        if isinstance(known[name], Interpreted) or any(
            isinstance(known[each], Interpreted) for each in _parents(name)
        ):
            raise ValueError(
                f"Expected a layer that is not interpretable yet, got `{name}`; try `release` first."
            )
    if how.above is not None and how.above not in how.layers:
        raise UnknownNameError(
            f"Expected the new convolution above one of the layers, got `{how.above}`; {suggest(how.above, how.layers)}"
        )
    if not how.layers:
        raise ValueError(
            "Expected at least one layer to make interpretable, got none; try the last rectified one."
        )
    shapes = _shapes(module, how)
    normalized = any(isinstance(each, nn.BatchNorm2d) for each in known.values())
    like = next(module.parameters())
    for name in how.layers:
        wrapped = _wrapped(known[name], name, shapes[name], how, normalized, seed)
        for key, child in wrapped.named_children():
            if key != "layer":
                child.to(device=like.device, dtype=like.dtype)
                child.train(known[name].training)
        wrapped.training = known[name].training
        _put(module, name, wrapped)
    return module


def release(module: nn.Module) -> nn.Module:
    """Put every wrapped layer back as it was, in place; what was added is gone. Returns the module."""
    for name, child in list(module.named_modules()):
        if isinstance(child, Interpreted):
            _put(module, name, child.get_submodule("layer"))
    return module


def maskings(module: nn.Module) -> tuple[Masking, ...]:
    """The masking modules of a network, in order."""
    return tuple(each for each in module.modules() if isinstance(each, Masking))


def _parents(name: str) -> list[str]:
    words = name.split(".")
    return [".".join(words[:count]) for count in range(1, len(words))]


def _put(module: nn.Module, name: str, child: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, child)


def _wrapped(
    layer: nn.Module, name: str, shape: tuple[int, int, int], how: Interpretation, normalized: bool, seed: int
) -> Interpreted:
    channels, grid = shape[0], (shape[1], shape[2])
    parts: OrderedDict[str, nn.Module] = OrderedDict(layer=layer)
    if how.templates is not None:
        parts["masking"] = Masking(channels, grid, how.classes, how.templates, name)
    if name == how.above:
        parts["convolution"] = _convolution(channels, not normalized, seed)
        if normalized:
            parts["normalization"] = nn.BatchNorm2d(channels)
        parts["rectifier"] = nn.ReLU()
        if how.templates is not None:
            parts["masking_above"] = Masking(channels, grid, how.classes, how.templates, f"{name}.above")
    return Interpreted(parts)


def _convolution(channels: int, bias: bool, seed: int) -> nn.Conv2d:
    """A 3×3 convolution drawn from the seed (He initialization)."""
    found: nn.Conv2d = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d, channels, channels, 3, padding=1, bias=bias
    )
    with torch.no_grad():
        draw = torch.Generator().manual_seed(seed)
        found.weight.normal_(0, (2 / (9 * channels)) ** 0.5, generator=draw)
        if found.bias is not None:
            found.bias.zero_()
    return found


def _shapes(module: nn.Module, how: Interpretation) -> dict[str, tuple[int, int, int]]:
    """(channels, height, width) of every layer's map, from one run on noise."""
    found: dict[str, Any] = {}
    first = next((each for each in module.modules() if isinstance(each, nn.Conv2d)), None)
    channels = first.in_channels if first is not None else 3
    like = next(module.parameters())
    noise = torch.randn(2, channels, *how.size, generator=torch.Generator().manual_seed(0)).to(like)

    def hook_for(name: str) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            value = output.detach().clone() if isinstance(output, Tensor) else output
            found[name] = None if name in found else value  # None: it ran twice

        return hook

    with torch.no_grad(), ExitStack() as stack:  # what `undisturbed` restores on leaving is what it met
        running = stack.enter_context(undisturbed(module))
        for name in how.layers:
            stack.callback(running.get_submodule(name).register_forward_hook(hook_for(name)).remove)
        running(noise)
    return {name: _shape(name, found, module.get_submodule(name)) for name in how.layers}


def _shape(name: str, found: dict[str, Any], layer: nn.Module) -> tuple[int, int, int]:
    if name not in found:
        raise ValueError(f"Expected `{name}` to run, but it did not; try another layer.")
    value, kind = found[name], type(layer).__name__
    if value is None:
        raise ValueError(f"Expected `{name}` to run once in a pass, got several; try another layer.")
    if not isinstance(value, Tensor) or value.ndim != 4:
        got = f"{tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f"Expected a layer with a spatial map [batch channel h w], got {got} from `{name}` ({kind}); "
            "try the last rectified convolution."
        )
    channels, height, width = (int(each) for each in value.shape[1:])
    if height * width < 2:
        raise ValueError(
            f"Expected a map of several cells, got {height}×{width} from `{name}` ({kind}): there is no place to hold a "
            "filter to; try a lower layer or larger pictures."
        )
    if float(value.min()) < 0:
        raise ValueError(
            f"Expected a rectified map, got negative values from `{name}` ({kind}); try the ReLU behind it."
        )
    return channels, height, width
