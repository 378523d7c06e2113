"""Activations and gradients of many layers from one forward and one backward pass; and the tail behind a
layer.

How it stays cheap: nothing requires gradients before the first asked layer, so everything up to it runs as
in inference, and one ``torch.autograd.grad`` reaches down to that layer only. How it stays right: the network
goes on with a copy of what was captured, so an in-place ReLU behind a layer cannot rewrite it; calls of a
module are counted, so a reused module gives the call that was asked for. How it leaves nothing behind: what
runs is the network's twin (`pellucid.core.running`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.core.hooks import Enough, at_calls, shares_memory
from pellucid.core.layers import INPUT, Layer, LayerLike
from pellucid.core.network import Network, NetworkLike, TargetLike, as_network
from pellucid.core.output import check_scores
from pellucid.core.running import undisturbed
from pellucid.core.target import Target


def capture(
    net: NetworkLike,
    images: Float[Tensor, "batch channel height width"],
    layers: LayerLike | Sequence[LayerLike],
    target: TargetLike = None,
    *,
    gradients: bool = True,
) -> Trace:
    """One forward pass, and with ``gradients`` one backward pass, over normalized images.

    The gradients are those of the sum over the batch of the target's score, so each image has its own; a
    layer beside the target's path has zero gradient. Works inside ``no_grad``, ``inference_mode`` and
    ``autocast``.

    Args:
        net: a network, module, name or file; see `pellucid.load`.
        images: normalized, [batch channel height width].
        layers: names, positions or modules; ``"input"`` is the input itself.
        target: class index or name, one per image, or a function of the output; None is the predicted class.
        gradients: also run the backward pass.

    Returns:
        Activations and gradients of every layer, with the output and the target's score.

    Raises:
        UnknownNameError: an unknown layer or class.
        ValueError: unusable images, or a score that depends on none of the layers.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 2))
        >>> from pellucid import load
        >>> trace = capture(load(net, input_shape=(1, 8, 8)), torch.rand(3, 1, 8, 8), "1", target=0)
        >>> trace.activations["1"].shape, trace.gradients["1"].shape
        (torch.Size([3, 2, 6, 6]), torch.Size([3, 2, 6, 6]))
    """
    net = as_network(net)
    images, layers = as_input(net, images), net.layer_names(layers)
    with undisturbed(net.module) as module, torch.set_grad_enabled(gradients), differentiated(net, layers):
        images = images.clone() if images.is_inference() else images.detach()
        kept, places, output = _forward(net, module, images, layers, gradients)
        check_scores(output.detach(), net.name)
        resolved = net.resolve_target(target, output.detach())
        with torch.set_grad_enabled(gradients):
            score = resolved.score(output)
        slopes = _backward(net, score, kept) if gradients and kept else {}
    return Trace(
        network=net,
        images=images,
        output=output.detach(),
        target=resolved,
        score=score.detach(),
        activations={name: kept[name].detach() for name in places},
        gradients={name: slopes[name] for name in places if slopes},
        layers=places,
    )


def recorded(
    net: Network, images: Float[Tensor, "batch channel height width"], layers: Sequence[str]
) -> tuple[dict[str, Tensor], Tensor]:
    """The layers' activations and the output of one forward pass, all still in the graph of autograd.

    For walks that start anywhere and go anywhere: `torch.autograd.grad(kept[upper], kept[lower], …)`.
    """
    images = as_input(net, images)
    with undisturbed(net.module) as module, torch.enable_grad(), differentiated(net, layers):
        images = images.clone() if images.is_inference() else images.detach()
        kept, _, output = _forward(net, module, images, layers, gradients=True)
    return kept, output


def unreached(net: Network, layer: str) -> ValueError:
    """What to raise where a layer did not run."""
    return ValueError(
        f"Expected layer `{layer}` of `{net.name}` to run for this input, but it did not; "
        "the network takes another path here, try another layer."
    )


def _forward(
    net: Network, module: nn.Module, images: Tensor, layers: Sequence[str], gradients: bool
) -> tuple[dict[str, Tensor], dict[str, Layer], Tensor]:
    """What the layers gave, the layers, the output; with ``gradients`` recorded from the first layer onwards."""
    listed = net.layers_at((int(images.shape[2]), int(images.shape[3])))
    wanted = {name: listed.find(name) for name in dict.fromkeys(layers)}
    kept: dict[str, Tensor] = {}
    x = keep(net, images, [INPUT], kept, gradients, shared=True) if INPUT in wanted else images.clone()
    calls = {name: call for name, (_, call) in wanted.items()}
    with at_calls(module, calls, keeping(net, kept, gradients)):
        returned = module(x)
    output = net.select(returned, len(x))
    missing = [name for name in wanted if name not in kept]
    if missing:
        raise unreached(net, missing[0])
    for name, value in kept.items():
        check_rows(net, name, len(value), len(images))
    return kept, {name: layer for name, (layer, _) in wanted.items()}, output


def check_rows(net: Network, layer: str, rows: int, images: int) -> None:
    """Raises ValueError where a layer was run for some of the images only."""
    if rows != images:
        raise ValueError(
            f"Expected `{layer}` of `{net.name}` to give one map for each of {images} images, got {rows}; the network takes its "
            "images apart, try one at a time (`batch_size=1`)."
        )


def as_input(net: Network, images: Tensor) -> Tensor:
    """Normalized images on the network's device and in its precision. Raises ValueError for anything else."""
    channels = net.input_shape[0]
    if (
        not isinstance(images, Tensor)
        or images.ndim != 4
        or images.shape[1] != channels
        or not images.is_floating_point()
    ):
        got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(
            f"Expected normalized images, a float tensor [batch {channels} height width], got {got}; "
            "try `net.preprocess(picture)[None]`."
        )
    if images.shape[0] == 0:
        raise ValueError("Expected at least one image, got an empty batch.")
    return images.to(net.device, net.dtype)


def keeping(net: Network, kept: dict[str, Tensor], gradients: bool) -> Callable[..., Tensor]:
    """What to do at the calls of layers: store their output in ``kept``; see `keep`."""

    def act(names: list[str], args: tuple[Any, ...], output: Tensor) -> Tensor:
        return keep(net, output, names, kept, gradients, shares_memory(output, args))

    return act


def keep(
    net: Network, value: Tensor, names: list[str], kept: dict[str, Tensor], gradients: bool, shared: bool
) -> Tensor:
    """Store a tensor under its names and give the network a copy to go on with.

    ``shared``: others hold this very memory (a module that returned its own input), and may write into it
    later. With ``gradients`` recording is on from here, even where the network's own code has switched it off.
    """
    if gradients and torch.is_inference_mode_enabled():
        raise no_gradient(net, names)
    if shared:
        value = value.clone()
    if gradients:
        torch.set_grad_enabled(True)
        if not value.requires_grad:
            value = value.detach().requires_grad_()
    kept.update(dict.fromkeys(names, value))
    return value.clone()


def _backward(net: Network, score: Tensor, kept: dict[str, Tensor]) -> dict[str, Tensor]:
    if not score.requires_grad:
        raise no_gradient(net, kept)
    grads = torch.autograd.grad(score.sum(), list(kept.values()), allow_unused=True)
    if all(grad is None for grad in grads):  # an operation without a derivative stands between
        raise no_gradient(net, kept)
    # a layer off the target's path has, truthfully, no influence
    return {
        name: torch.zeros_like(value) if grad is None else grad.detach()
        for (name, value), grad in zip(kept.items(), grads, strict=True)
    }


def no_gradient(net: Network, layers: Iterable[str]) -> ValueError:
    """What to raise where the score has no gradient at some layers."""
    return ValueError(
        f"Expected the target's score to depend on {', '.join(f'`{name}`' for name in layers)} of `{net.name}`, but no "
        f"gradient reaches there; {_why_not(net)}."
    )


@contextlib.contextmanager
def differentiated(net: Network, layers: Iterable[str]) -> Iterator[None]:
    """Inside, what torch says of tensors without a gradient is said as `no_gradient`."""
    try:
        yield
    except RuntimeError as error:
        if "Inference tensors cannot be saved" in str(error) or "does not have a grad_fn" in str(error):
            raise no_gradient(net, layers) from error
        if "modified by an inplace operation" in str(error):
            raise ValueError(
                f"Expected `{net.name}` to stay as it is while it is explained, got values that changed between its forward and "
                "backward pass (a training step in another thread, or an operation in place); try between two steps, or "
                "`copy.deepcopy(module)`."
            ) from error
        raise


def _why_not(net: Network) -> str:
    """What keeps gradients from passing, as far as it can be told."""
    if torch.is_inference_mode_enabled():
        return "its forward method enters `torch.inference_mode()`, try the network without that block"
    quantized = [
        f"`{name}` ({type(child).__name__})"
        for name, child in net.module.named_modules()
        if "quantized" in type(child).__module__ and "Packed" not in type(child).__name__
    ]
    if quantized:
        return f"quantized modules have none ({', '.join(quantized[:3])}), try the network in floating point"
    return "the network may detach or round on the way, or enter `torch.inference_mode()`"


@dataclass(frozen=True, eq=False)
class Trace:
    """What one forward and one backward pass leave behind, detached and in the network's own precision.

    Attributes:
        network: the network that ran.
        images: its normalized input, [batch channel height width].
        output: class scores, [batch classes].
        target: what is explained.
        score: the target's score, [batch].
        activations: ``{layer: [batch channel h w]}``; ``"input"`` is a layer like any other when it was asked for.
        gradients: of the score, ``{layer: [batch channel h w]}``; empty without a backward pass.
        layers: the layers by name.
    """

    network: Network
    images: Float[Tensor, "batch channel height width"]
    output: Float[Tensor, "batch classes"]
    target: Target
    score: Float[Tensor, " batch"]
    activations: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    layers: Mapping[str, Layer]

    def __len__(self) -> int:
        return self.images.shape[0]


def observe(
    net: Network,
    images: Float[Tensor, "batch channel height width"],
    layers: Sequence[str],
    see: Callable[[str, Tensor], None],
) -> None:
    """Show ``see`` every layer's activation as soon as it is there, without a copy; what follows the last one is not run.

    For passes over many images of which little is kept. The tensor may not be kept or written into: the network goes on
    with it, and may overwrite it. Raises as `capture` does.
    """
    images = as_input(net, images)
    listed = net.layers_at((int(images.shape[2]), int(images.shape[3])))
    wanted = {name: listed.find(name)[1] for name in dict.fromkeys(layers)}
    waiting = set(wanted)

    def show(names: list[str], _args: tuple[Any, ...], output: Tensor) -> None:
        for name in names:
            see(name, output.detach())
        waiting.difference_update(names)
        if not waiting:
            raise Enough

    with undisturbed(net.module) as module, torch.no_grad(), contextlib.suppress(Enough):
        if INPUT in wanted:
            show([INPUT], (), images)
        with at_calls(module, wanted, show):
            module(images.clone())
    if waiting:
        raise unreached(net, min(waiting))
