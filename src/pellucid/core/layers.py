"""The ordered list of a network's layers, found by one forward pass, and the sensible ones among them.

A layer is one *call* of a module whose output is a spatial map [batch channel h w]. A module that is called
several times (one ``nn.ReLU`` for a whole block) gives ``name:0``, ``name:1`` …; the bare name means the last
call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import torch
from torch import Tensor, nn

from pellucid.core.fields import FieldTracer, field_of, made_by, seed
from pellucid.core.geometry import Geometry
from pellucid.core.registry import UnknownNameError, suggest

INPUT = "input"  # the name under which the network's input itself counts as a layer


@dataclass(frozen=True)
class Layer:
    """One point in the network where a spatial map can be read: the output of one call of a module.

    Attributes:
        name: of the module, with ``:0``, ``:1`` … where it is called several times.
        kind: class of the module.
        shape: (channels, height, width).
        geometry: where the cells lie in the input.
        index: position in the order of execution.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    geometry: Geometry = field(default_factory=Geometry)
    index: int = 0

    @property
    def stride(self) -> tuple[float, float]:
        """Input pixels from one cell to the next, (vertical, horizontal)."""
        return self.geometry.stride

    @property
    def receptive_field(self) -> tuple[float, float]:
        """Side lengths of the receptive field in input pixels, (vertical, horizontal)."""
        return self.geometry.size


_PASSIVE = ("Dropout", "Identity", "StochasticDepth", "DropPath", "Pool", "ZeroPad", "Flatten", "Softmax")


@dataclass(frozen=True)
class Call:
    """One call of a module during the inspecting forward pass."""

    module: str
    number: int
    layer: Layer | None  # None where the output is no spatial map
    depth: int
    incoming: tuple[int, int] | None  # spatial size of the input
    parametric: bool  # does the module itself, without children, own parameters
    index: int


LayerLike = str | int | nn.Module | Layer


class Layers(Sequence[Layer]):
    """All layers in order of execution; look one up with ``layers["layer4"]``, by position, or by its module."""

    def __init__(self, calls: Sequence[Call], image: Layer, made_by: str, outputs: int) -> None:
        self.modules: Mapping[nn.Module, str] = {}  # names of the user's own modules
        self.calls, self.image, self.made_by, self.outputs = tuple(calls), image, made_by, outputs
        counts = dict.fromkeys((call.module for call in calls), 0)
        for call in calls:
            counts[call.module] += 1
        self._by_name: dict[str, tuple[Layer, Call]] = {}
        listed: list[Layer] = []
        for call in calls:
            if call.layer is None:
                continue
            name = call.module if counts[call.module] == 1 else f"{call.module}:{call.number}"
            layer = replace(call.layer, name=name, index=len(listed))
            listed.append(layer)
            self._by_name[name] = (layer, call)
            self._by_name[call.module] = (replace(layer, name=call.module), call)  # the last call stays
        self._layers = tuple(listed)
        self.stages = _stages(self, outputs)

    def find(self, layer: LayerLike) -> tuple[Layer, Call | None]:
        """The layer of that name, position or module, and the call it is the output of (None for the input itself)."""
        name = self._name(layer)
        if name == INPUT:
            return self.image, None
        if name not in self._by_name:
            raise UnknownNameError(
                f"Expected the name of a layer with a spatial map, got `{name}`; "
                f"{suggest(name, [INPUT, *(layer.name for layer in self._layers)])}"
            )
        return self._by_name[name]

    def names(self, layers: LayerLike | Sequence[LayerLike]) -> tuple[str, ...]:
        """Names of one or several layers, each once. Raises UnknownNameError, TypeError for what names no layer."""
        given: Any = layers
        if isinstance(layers, (str, int, nn.Module, Layer)) or not isinstance(layers, Iterable):
            given = [layers]
        return tuple(dict.fromkeys(self.find(each)[0].name for each in given))

    def _name(self, layer: Any) -> str:
        if isinstance(layer, str):
            return layer
        if isinstance(layer, Layer):
            return layer.name
        if isinstance(layer, nn.Module):
            if layer not in self.modules:
                raise UnknownNameError(
                    f"Expected a module of the network as a layer, got a {type(layer).__name__} that is none of its "
                    f"{len(self.modules)}; try one of its own, or a name."
                )
            return self.modules[layer]
        if isinstance(layer, bool) or not hasattr(layer, "__index__"):
            raise TypeError(
                f"Expected a layer's name, position or module, got {layer!r} ({type(layer).__name__})."
            )
        position = operator.index(layer)
        if not -len(self) <= position < len(self):
            raise UnknownNameError(
                f"Expected the position of a layer from 0 to {len(self) - 1}, got {position}; try its name."
            )
        return self._layers[position].name

    @overload
    def __getitem__(self, key: LayerLike) -> Layer: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Layer, ...]: ...
    def __getitem__(self, key: LayerLike | slice) -> Layer | tuple[Layer, ...]:
        if isinstance(key, slice):
            return self._layers[key]
        return self._layers[key] if isinstance(key, int) else self.find(key)[0]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __contains__(self, name: object) -> bool:
        return name == INPUT or name in self._by_name


def inspect(
    module: nn.Module, image: Tensor, pick: Callable[[Any], Tensor], scores: Callable[[Any], Tensor]
) -> Layers:
    """Run one image [1 channel height width] through a module in evaluation mode and note every call.

    ``pick`` takes the raw class scores out of what the module returned, ``scores`` gives them as [batch
    classes]. The caller restores training flags.
    """
    calls: list[Call] = []
    counts: dict[str, int] = {}
    opened: list[tuple[int, int] | None] = []
    handles = []

    def before(_module: nn.Module, args: tuple[Any, ...]) -> None:
        first = next((a for a in args if isinstance(a, Tensor)), None)
        opened.append(_grid(first) if first is not None else None)

    def after(name: str, kind: str, own: bool) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            number = counts.get(name, 0)
            counts[name] = number + 1
            field = field_of(output) if isinstance(output, Tensor) else None
            layer = None
            if field is not None and _is_map(output) and field.dims == (2, 3):
                shape = (int(output.shape[1]), int(output.shape[2]), int(output.shape[3]))
                layer = Layer(name, kind, shape, field.geometry)
            calls.append(Call(name, number, layer, len(opened), opened.pop(), own, len(calls)))

        return hook

    for name, child in module.named_modules():
        if name and not isinstance(child, torch.jit.ScriptModule):  # whose calls cannot be watched
            own = any(True for _ in child.parameters(recurse=False))
            handles.append(child.register_forward_pre_hook(before))
            handles.append(child.register_forward_hook(after(name, type(child).__name__, own)))
    try:
        with torch.no_grad(), FieldTracer():
            returned = module(seed(image))
            output = pick(returned)
    finally:
        for handle in handles:
            handle.remove()
    _, channels, height, width = image.shape
    whole = Layer(INPUT, "Input", (channels, height, width), Geometry(), -1)
    return Layers(calls, whole, made_by(output), int(scores(returned).shape[1]))


def _is_map(output: Tensor) -> bool:
    """One spatial map for the one image."""
    return output.ndim == 4 and len(output) == 1 and output.is_floating_point()


def _grid(tensor: Tensor) -> tuple[int, int] | None:
    return (int(tensor.shape[2]), int(tensor.shape[3])) if tensor.ndim == 4 else None


def _stages(layers: Layers, outputs: int) -> tuple[str, ...]:
    """The end of every resolution stage: the last active output before the grid gets coarser.

    Walks the outermost calls; a container is opened when the grid shrinks inside it by more than one step
    (it then holds whole stages). Neighboring grids within a factor of 1.5 belong to one stage (unpadded
    convolutions).
    """
    trunk = [
        call for call in _trunk(layers.calls) if call.layer is not None and min(call.layer.shape[1:]) > 1
    ]
    trunk = _without_head(trunk, layers.calls, outputs)
    groups: list[list[Call]] = []
    for call in trunk:
        assert call.layer is not None
        rows = call.layer.shape[1]
        if groups and groups[-1][0].layer is not None and rows * 1.5 > groups[-1][0].layer.shape[1]:
            groups[-1].append(call)
        else:
            groups.append([call])
    chosen = []
    for group in groups:
        active = [call for call in group if call.layer is not None and not passive(call.layer.kind)]
        if any(_weighted(call, layers.calls) for call in active):
            last = active[-1]
            name = last.module
            if layers._by_name[name][1] is not last:
                name = f"{name}:{last.number}"
            chosen.append(name)
    return tuple(chosen)


def passive(kind: str) -> bool:
    """Does a module of this kind only hand on, pool or drop what it gets?"""
    return any(word in kind for word in _PASSIVE)


def _inside(call: Call, calls: Sequence[Call]) -> list[Call]:
    """Direct children of a call: they finish before it, one level deeper, since the previous call of its
    own level."""
    children: list[Call] = []
    for earlier in reversed(calls[: call.index]):
        if earlier.depth <= call.depth:
            break
        if earlier.depth == call.depth + 1:
            children.append(earlier)
    return children[::-1]


def _trunk(calls: Sequence[Call], parent: Call | None = None) -> list[Call]:
    found: list[Call] = []
    for call in _inside(parent, calls) if parent is not None else [c for c in calls if c.depth == 1]:
        children = _inside(call, calls)
        extent = call.layer.shape[1] if call.layer is not None else 1
        start = call.incoming[0] if call.incoming is not None else None
        if children and (start is None or start > 2.5 * extent):
            found += _trunk(calls, call)
        else:
            found.append(call)
    return found


def _weighted(call: Call, calls: Sequence[Call]) -> bool:
    if call.parametric:
        return True
    return any(_weighted(child, calls) for child in _inside(call, calls))


def _without_head(trunk: list[Call], calls: Sequence[Call], outputs: int) -> list[Call]:
    """Leave out a convolution that is itself the classifier: a channel per class, no parameters behind it."""
    weighted = [call for call in calls if call.parametric]
    last = weighted[-1] if weighted else None
    if last is None or last.layer is None or last.layer.shape[0] != outputs or min(last.layer.shape[1:]) <= 1:
        return trunk
    kept = [call for call in trunk if call.index < last.index]
    return kept or trunk
