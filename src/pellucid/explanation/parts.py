"""Which parts carried the decision: measured, part by part, by filling them in and by removing the neurons that answer to them.

    effect(part) = score(image) − mean over fills of score(image with the part filled in)

for every part that is seen (`sight`), and the same for the whole object and for its surroundings. Parts are ordered by their
effect on the score; the probability, which saturates, is measured beside it. The ``share`` of a part is that of the evidence
of the map the sentence speaks of, as a mean over its stages.

What the surroundings count is put as a share of two effects ::

    weight = max(0, effect(surroundings)) / (max(0, effect(surroundings)) + max(0, effect(object)))

A part is filled in thrice: twice in the picture (`filling`), and once in the activations of the second stage, by the same rule.
On 100 validation scenes, with the parts the shipped readout sees, the part named first is the one whose true removal costs most
in 82 and 81 % with the two honest networks (the two fills of the picture alone 83 and 75 %, the stage alone 73 and 61 %; by the
mass of a map of Shallow-CAM at most 66 and 56 %).

Cost: `len(FILLS)` forward passes for a part and two for object and surroundings, at most 20; one run of a tail for each part,
and one more for each with units; and what making the tails takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from pellucid.core.capture import Trace
from pellucid.core.layers import INPUT
from pellucid.core.network import Network
from pellucid.core.precision import exact
from pellucid.core.tail import Tail
from pellucid.core.target import Target
from pellucid.data.filling import FILLS, fill, widened, without
from pellucid.evaluation.scores import at_once, judge, running
from pellucid.explanation.concepts import Names
from pellucid.explanation.facts import Box, Effect
from pellucid.explanation.sight import Seen, Sight
from pellucid.units.criterion import Criterion
from pellucid.units.regions import box_of

UNITS = 4  # neurons named for a part, at most
STAGE = 1  # the second stage, in whose activations a part is filled in too, where the network has so many


@dataclass(frozen=True)
class Answering:
    """Units of a layer whose concept is a part, by score: shares of the layer's positive total, IoUs, and what removing them
    leaves."""

    layer: str
    units: tuple[int, ...]
    shares: tuple[float, ...]
    ious: tuple[float, ...]
    without: Effect


@dataclass(frozen=True, eq=False)
class Part:
    """A part that is seen and what filling it in leaves.

    Args:
        drop: of the score.
        outputs: of every fill, [fill output].
        units: that answer to it, where there is a table of units.
    """

    seen: Seen
    area: float
    share: float | None
    filled: Effect
    drop: float
    outputs: Float[Tensor, "fill output"]
    units: Answering | None = None

    @property
    def name(self) -> str:
        """What the part is called."""
        return self.seen.name

    @property
    def box(self) -> Box | None:
        """Bounding box of its region."""
        return box_of(self.seen.region)


@dataclass(frozen=True, eq=False)
class Filled:
    """The object or its surroundings, filled in."""

    effect: Effect
    drop: float
    share: float | None
    area: float


@dataclass(frozen=True, eq=False)
class Parts:
    """All that was measured about the parts of one picture, parts by effect on the score; made by `measure_parts`.

    ``whole``: the target as it is.
    """

    sight: Sight
    whole: Effect
    parts: tuple[Part, ...] = ()
    thing: Filled | None = None
    surroundings: Filled | None = None

    @property
    def weight(self) -> float | None:
        """What the surroundings count beside the object, 0 to 1; None where neither matters."""
        if self.thing is None or self.surroundings is None:
            return None
        around, inside = max(0.0, self.surroundings.drop), max(0.0, self.thing.drop)
        return around / (around + inside) if around + inside > 0 else None


def measure_parts(
    net: Network,
    trace: Trace,
    sight: Sight,
    evidence: Float[Tensor, "h w"] | None,
    criterion: Criterion,
    meanings: Names,
    layers: Sequence[str],
) -> Parts:
    """Measure every part of a single image.

    ``evidence``: a map over the input that sums to 1, None where there is none. ``layers``: of the trace, shallow to deep, in
    one of which the neurons of parts are named: the one that knows most of the parts.
    """
    whole = remaining(net, trace.target, trace.output)
    if not sight.parts or sight.thing is None:
        return Parts(sight, whole)
    regions = torch.stack([part.region for part in sight.parts])
    thing = sight.thing
    pictures = [without(trace.images, regions.to(trace.images.device), thing.to(trace.images.device))]
    both = 0 < int(thing.sum()) < thing.numel()
    if both:
        pictures.append(fill(trace.images, torch.stack([thing, ~thing]).to(trace.images.device)))
    outputs = run(net, torch.cat(pictures))
    count = len(sight.parts) * len(FILLS)
    each = outputs[:count].view(len(sight.parts), len(FILLS), -1)
    stages = [layer for layer in layers if layer != INPUT]
    if len(stages) > STAGE:
        each = torch.cat([each, _in_features(net, trace, stages[STAGE], regions)[:, None]], 1)
    answering = _answering(net, trace, sight.parts, criterion, meanings, layers)
    found = []
    for seen, output in zip(sight.parts, each, strict=True):
        left = remaining(net, trace.target, output)
        area = float(exact(seen.region).mean())
        share = None if evidence is None else float(evidence[seen.region].sum())
        drop = whole.score - left.score
        found.append(Part(seen, area, share, left, drop, output, answering.get(seen.name)))
    found.sort(key=lambda part: -part.drop)
    sides = (thing, ~thing) if both else ()
    ends = [
        _side(net, trace.target, whole, side, evidence, outputs[count + k, None])
        for k, side in enumerate(sides)
    ]
    inside, outside = ends if both else (None, None)
    return Parts(sight, whole, tuple(found), inside, outside)


def _in_features(
    net: Network, trace: Trace, layer: str, regions: Bool[Tensor, "part h w"]
) -> Float[Tensor, "part output"]:
    """The outputs with every part filled in in the activations of a layer, whose cells it touches."""
    tail = Tail(net, trace.images, layer)
    cells = (int(tail.activation.shape[2]), int(tail.activation.shape[3]))
    touched = F.adaptive_max_pool2d(widened(regions)[:, None].float(), cells)[:, 0] > 0
    with torch.no_grad():
        return tail(fill(tail.activation, touched.to(tail.activation.device)))


def _side(
    net: Network, target: Target, whole: Effect, side: Tensor, evidence: Tensor | None, output: Tensor
) -> Filled:
    left = remaining(net, target, output)
    share = None if evidence is None else float(evidence[side].sum())
    return Filled(left, whole.score - left.score, share, float(exact(side).mean()))


def run(net: Network, images: Tensor) -> Float[Tensor, "picture output"]:
    """The outputs for pictures made from the image, each its own forward pass."""
    with running(net):
        pieces = torch.split(images, at_once(images, 64))
        return torch.cat([net(piece.contiguous(memory_format=net.memory_format)) for piece in pieces])


def remaining(net: Network, target: Target, output: Tensor) -> Effect:
    """What is left of the target, as a mean over the rows of an output."""
    repeated = target.repeat(len(output))
    score = float(exact(repeated.score(output)).mean())
    if target.function is not None:
        return Effect(score, None)
    rows = torch.arange(len(output), device=output.device)
    return Effect(score, float(exact(judge(net, output, repeated, rows)).mean()))


def _answering(
    net: Network,
    trace: Trace,
    parts: Sequence[Seen],
    criterion: Criterion,
    names: Names,
    layers: Sequence[str],
) -> dict[str, Answering]:
    """By name of a part: the units that answer to it, and what is left without them."""
    best: dict[str, list[tuple[int, float, float]]] = {}
    chosen = ""
    for layer in layers:  # of two that know as many parts the deeper
        if layer not in names.tables or (criterion.needs == "passes" and layer != layers[-1]):
            continue  # a criterion that runs the network for every unit is asked about the last layer only
        found = _units(trace, layer, [part.name for part in parts], criterion, names)
        if found and len(found) >= len(best):
            best, chosen = found, layer
    if not best:
        return {}
    tail = Tail(net, trace.images, chosen)
    output = tail.without([[unit for unit, _, _ in units] for units in best.values()])[:, 0]
    return {
        name: Answering(
            chosen,
            tuple(unit for unit, _, _ in units),
            tuple(share for _, share, _ in units),
            tuple(iou for _, _, iou in units),
            remaining(net, trace.target, output[row, None]),
        )
        for row, (name, units) in enumerate(best.items())
    }


def _units(
    trace: Trace, layer: str, wanted: Sequence[str], criterion: Criterion, names: Names
) -> dict[str, list[tuple[int, float, float]]]:
    """By name of a part: (unit, share of the positive total, IoU) of the best units that answer to it."""
    values = criterion(trace, layer).detach()[0].cpu().double().clamp(min=0)
    total = float(values.sum())
    found: dict[str, list[tuple[int, float, float]]] = {}
    for unit in torch.argsort(values, descending=True, stable=True).tolist():
        if values[unit] <= 0:
            break
        meaning = names.of(layer, unit)
        if meaning is None or not meaning.named or meaning.concept not in wanted:
            continue
        units = found.setdefault(meaning.concept, [])
        if len(units) < UNITS:
            units.append((unit, float(values[unit]) / total, meaning.iou))
    return found
