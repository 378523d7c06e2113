"""Why this class rather than another: what takes the difference of their scores, part by part and neuron by neuron.

    margin(output) = score(target) − score(other)
    drop(part)     = margin(image) − mean over fills of margin(image with the part filled in)
    drop(neuron)   = margin(image) − margin(image with the neuron set to zero)

A part or neuron with a positive drop speaks for the target against the other class, with a negative one for the other. What would
have to change: those that speak for the target go together, the strongest first, until the other class is ahead; each step is
measured, none is added up. For a network of one logit and two classes the margin is twice the logit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.core.capture import Trace, capture
from pellucid.core.network import Network
from pellucid.core.precision import exact
from pellucid.core.tail import Tail
from pellucid.core.target import Target
from pellucid.data.filling import FILLS, without
from pellucid.explanation.concepts import Names
from pellucid.explanation.parts import Part, Parts, run
from pellucid.units.criterion import Criterion

TOLD = 3  # neurons named on each side


@dataclass(frozen=True)
class Contrast:
    """Parts that speak for the target against ``other``, and those for the other, as (name, drop), strongest first.

    ``steps``: the margin with the first of ``speaking`` filled in, the first two, and so on; empty where nobody asked.
    """

    other: str
    margin: float
    speaking: tuple[tuple[str, float], ...]
    opposing: tuple[tuple[str, float], ...]
    steps: tuple[float, ...] = ()
    fills: int = len(FILLS)


@dataclass(frozen=True)
class Speaking:
    """A neuron and what removing it takes from the margin."""

    unit: int
    drop: float
    concept: str | None
    iou: float | None
    strength: str | None = None


@dataclass(frozen=True)
class Rivalry:
    """The units important for either class, by drop; ``steps``: the margin without the first that speaks for the target, the
    first two, and so on."""

    other: str
    layer: str
    margin: float
    units: tuple[Speaking, ...]
    steps: tuple[float, ...]
    told: int = TOLD


def other_class(net: Network, trace: Trace, wanted: Any) -> Target:
    """The class that ``why_not`` names, as a target for the one image.

    Raises ValueError where it is the explained class, the target is a function, or the network knows one class; UnknownNameError
    and IndexError for a class it does not have.
    """
    if len(net.classes) < 2:
        raise ValueError(
            f"Expected a network of at least two classes for `why_not`, got `{net.name}` with {len(net.classes)}."
        )
    if trace.target.function is not None or isinstance(wanted, (list, tuple)) or callable(wanted):
        raise ValueError(
            "Expected classes for `target` and `why_not`, got a function or several; try a class name."
        )
    other = net.resolve_target(wanted, trace.output)
    if _index(other) == _index(trace.target):
        raise ValueError(
            f"Expected `why_not` to be another class than the explained one, got `{other.names[0]}` for both; try another "
            "class, or another `target`."
        )
    return other


def by_parts(net: Network, trace: Trace, other: Target, found: Parts, *, steps: bool) -> Contrast | None:
    """What parts speak for the target against another class; None where no part is known."""
    if not found.parts:
        return None
    margin = _margin(trace.target, other, trace.output)
    drops = [(part, margin - _margin(trace.target, other, part.outputs)) for part in found.parts]
    ranked = sorted(drops, key=lambda one: -one[1])
    speaking = [(part, drop) for part, drop in ranked if drop > 0]
    opposing = [(part.name, drop) for part, drop in reversed(ranked) if drop < 0]
    measured: tuple[float, ...] = ()
    if steps and speaking and margin >= 0:
        outputs = run(net, _cumulative(trace.images, [part for part, _ in speaking], found))
        measured = tuple(_margin(trace.target, other, pair) for pair in torch.split(outputs, len(FILLS)))
    named = tuple((part.name, drop) for part, drop in speaking)
    fills = len(found.parts[0].outputs)
    return Contrast(other.names[0], margin, named, tuple(opposing), measured, fills)


def by_units(
    net: Network, trace: Trace, other: Target, criterion: Criterion, layer: str, count: int, names: Names
) -> Rivalry:
    """The ``count`` most important neurons of either class, and what removing them does to the margin."""
    there = capture(net, trace.images, [layer], other)
    chosen: list[int] = []
    for each in (trace, there):
        values = criterion(each, layer).detach()[0].cpu().double()
        order = torch.sort(values, descending=True, stable=True).indices[:count].tolist()
        chosen += [unit for unit in order if values[unit] > 0]
    chosen = list(dict.fromkeys(chosen))
    margin = _margin(trace.target, other, trace.output)
    if not chosen:
        return Rivalry(other.names[0], layer, margin, (), ())
    tail = Tail(net, trace.images, layer)
    alone = _without(tail, [[unit] for unit in chosen], trace.target, other)
    drops = sorted(
        ((margin - left, unit) for left, unit in zip(alone, chosen, strict=True)),
        key=lambda one: (-one[0], one[1]),
    )
    units = []
    for drop, unit in drops:
        meaning = names.of(layer, unit)
        units.append(
            Speaking(unit, drop, meaning.concept, meaning.iou, meaning.strength)
            if meaning is not None and meaning.named
            else Speaking(unit, drop, None, None)
        )
    speaking = [each.unit for each in units if each.drop > 0]
    steps = (
        _without(tail, [speaking[: k + 1] for k in range(len(speaking))], trace.target, other)
        if margin >= 0
        else []
    )
    return Rivalry(other.names[0], layer, margin, tuple(units), tuple(steps))


def _without(tail: Tail, sets: Sequence[Sequence[int]], target: Target, other: Target) -> list[float]:
    """The margin with every set of units at zero."""
    return [_margin(target, other, output) for output in tail.without(sets, at_once=32)]


def _cumulative(image: Tensor, parts: Sequence[Part], found: Parts) -> Tensor:
    """The image without the first part, the first two …, all fills of the picture."""
    assert found.sight.thing is not None
    gone = torch.zeros_like(parts[0].seen.region)
    pictures = []
    for part in parts:
        gone = gone | part.seen.region
        pictures.append(without(image, gone[None].to(image.device), found.sight.thing.to(image.device)))
    return torch.cat(pictures)


def _margin(target: Target, other: Target, output: Tensor) -> float:
    """Mean over the rows of an output."""
    count = len(output)
    return float(exact(target.repeat(count).score(output) - other.repeat(count).score(output)).mean())


def _index(target: Target) -> int:
    assert target.indices is not None
    return int(target.indices[0]) if target.signs is None else int(target.signs[0] > 0)
