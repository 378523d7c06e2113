"""The measurements a sentence rests on: where evidence lies, and what removing units does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from pellucid.core.capture import Trace
from pellucid.core.geometry import interpolation
from pellucid.core.network import Network
from pellucid.core.precision import exact
from pellucid.core.results import Heatmap
from pellucid.core.tail import Tail
from pellucid.core.target import Target
from pellucid.explanation.explanation import Box, Removal
from pellucid.units.regions import box_of

RANDOM_DRAWS = 8


@dataclass(frozen=True)
class Concentration:
    """The smallest set of pixels that holds half of the positive evidence.

    ``area`` is its share of the picture, ``center`` the evidence's center of mass in it, ``box`` its bounding box.
    """

    area: float
    center: tuple[float, float]
    box: Box


def positive_evidence(heatmap: Heatmap) -> Tensor | None:
    """Positive part of a single map at input size, summing to 1; None where the map cannot be read."""
    if heatmap.status[0] != "ok":
        return None
    evidence = heatmap.upsample()[0].detach().cpu().double().clamp(min=0)
    total = evidence.sum()
    return evidence / total if total > 0 else None


def concentration(evidence: Tensor) -> Concentration:
    """Where half of the evidence [height width], summing to 1, lies."""
    height, width = evidence.shape
    ordered, order = torch.sort(evidence.flatten(), descending=True, stable=True)
    count = int((ordered.cumsum(0) < 0.5 - 1e-12).sum()) + 1
    chosen = torch.zeros(height * width, dtype=torch.bool)
    chosen[order[:count]] = True
    chosen = chosen.view(height, width)
    weight = torch.where(chosen, evidence, 0.0)
    weight = weight / weight.sum()
    row = float((weight.sum(1) * torch.arange(height)).sum())
    column = float((weight.sum(0) * torch.arange(width)).sum())
    return Concentration(count / (height * width), (row, column), box_of(chosen) or (0, 0, height, width))


def attainable(heatmap: Heatmap, mask: Tensor) -> float:
    """Share of evidence inside a mask [height width] for a map on this grid that knows the mask: its mean over every cell.

    Coarse grids blur: on 8 × 8 cells no map can put all its evidence on a bicycle. This is what a share is to be held against.
    """
    grid, (height, width) = heatmap.grid, heatmap.input_size
    rows, columns = (
        interpolation(heatmap.values.shape[1 + axis], grid.start[axis], grid.stride[axis], extent, extent)
        for axis, extent in ((0, height), (1, width))
    )
    known = exact(mask)
    cells = (rows.T @ known @ columns) / (rows.sum(0)[:, None] * columns.sum(0)).clamp(min=1e-12)
    ideal = rows @ cells @ columns.T
    return float((ideal * known).sum() / ideal.sum().clamp(min=1e-12))


def target_value(net: Network, target: Target, output: Tensor) -> Tensor:
    """Probability of the target class for every row of an output, or the score itself where the target is a function."""
    if target.function is not None:
        return target.score(output).detach()
    assert target.indices is not None
    classes = target.indices if target.signs is None else (target.signs > 0).long()
    return net.probabilities(output).gather(1, classes.to(output.device)[:, None])[:, 0]


def removal(
    net: Network, trace: Trace, layer: str, units: Sequence[int], seed: int
) -> tuple[Removal, tuple[tuple[float, float], ...], int]:
    """Set units of a layer to zero: each alone, all together, and as many random others, ``RANDOM_DRAWS`` times.

    Returns the joint effect, (probability, score) after removing each unit alone, and the number of tail runs it took.
    Random units are drawn among those not in the set (among all where too few are left).
    """
    tail = Tail(net, trace.images, layer)
    channels = tail.activation.shape[1]
    chosen = list(units)
    others = [k for k in range(channels) if k not in set(chosen)]
    pool = torch.tensor(others if len(others) >= len(chosen) else range(channels))
    generator = torch.Generator().manual_seed(seed)
    draws = [
        pool[torch.randperm(len(pool), generator=generator)[: len(chosen)]].tolist()
        for _ in range(RANDOM_DRAWS)
    ]
    sets = [*([k] for k in chosen), chosen, *draws]
    output, repeated = tail.without(sets, at_once=32).flatten(0, 1), trace.target.repeat(len(sets))
    values, scores = target_value(net, repeated, output).tolist(), repeated.score(output).tolist()
    count = len(chosen)
    effect = Removal(
        layer=layer,
        units=tuple(chosen),
        before=float(target_value(net, trace.target, trace.output)),
        after=values[count],
        random=fmean(values[count + 1 :]),
        score_before=float(trace.score),
        score_after=scores[count],
        score_random=fmean(scores[count + 1 :]),
        draws=len(draws),
    )
    return effect, tuple(zip(values[:count], scores[:count], strict=True)), len(sets)
