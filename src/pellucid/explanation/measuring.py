"""What is measured of one image before anything is said: maps and where their evidence lies, the prediction, important units and
what removing them does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from pellucid.attribution import Method
from pellucid.core.capture import Trace
from pellucid.core.counting import counting
from pellucid.core.geometry import interpolation
from pellucid.core.layers import INPUT
from pellucid.core.network import Network
from pellucid.core.precision import exact
from pellucid.core.results import Heatmap, UnitScores, judged
from pellucid.core.tail import Tail
from pellucid.core.target import Column, Target
from pellucid.explanation.concepts import Names
from pellucid.explanation.facts import Box, Neuron, Removal
from pellucid.speech import wording as w
from pellucid.units import unit_regions
from pellucid.units.regions import box_of
from pellucid.visualization.painted import Pictures

REGION = 0.03  # share of the pixels shown as a neuron's region
RANDOM_DRAWS = 8
COMPACT = 1.35  # how far evidence may reach from its center, by the reach of a square of its area, to be called by one place
LARGE = 0.4  # share of the picture from which on evidence in its middle is called by no place


@dataclass(frozen=True)
class Concentration:
    """The smallest set of pixels that holds half of the positive evidence.

    Args:
        area: its share of the picture.
        center: (row, column) of the evidence's center of mass in it.
        box: its bounding box.
        places: where it lies, as `wording.place` calls places; several where it lies apart, none where it is spread over the
            picture.
    """

    area: float
    center: tuple[float, float]
    box: Box
    places: tuple[str, ...]


def all_maps(
    trace: Trace, methods: Sequence[Method], stages: Sequence[str]
) -> tuple[dict[str, dict[str, Heatmap]], int]:
    """All maps of the one image, by layer and method; and how many passes of its own the first method took."""
    maps: dict[str, dict[str, Heatmap]] = {INPUT: {}, **{name: {} for name in stages}}
    size = (int(trace.images.shape[2]), int(trace.images.shape[3]))
    taken = 0
    for method in methods:
        homes = {"input": (INPUT,), "last": tuple(stages[-1:])}.get(method.home, tuple(stages))
        with torch.inference_mode(False), torch.no_grad(), counting(trace.network) as passes:
            for layer in homes:
                try:
                    values = method(trace, layer).detach()
                except ValueError:  # CAM where the head has another form
                    if method is methods[0]:
                        raise
                    continue
                maps[layer][method.name] = judged(
                    values,
                    trace.layers[layer],
                    method.name,
                    size,
                    trace.target.names,
                    rectified=method.rectified,
                    notes=method.notes(trace),
                )
        if method is methods[0]:
            taken = passes.forward + passes.tail
    return {layer: by_method for layer, by_method in maps.items() if by_method}, taken


def notes_of(maps: Mapping[str, Mapping[str, Heatmap]]) -> list[str]:
    """What the maps have to say of themselves, each with the methods it concerns."""
    found: dict[str, list[str]] = {}
    for layer in maps.values():
        for name, one in layer.items():
            for note in one.notes:
                found.setdefault(note, []).append(name)
    return [f"{', '.join(dict.fromkeys(names))}: {note}" for note, names in found.items()]


def inside_and_boxes(
    maps: dict[str, dict[str, Heatmap]], mask: Tensor | None
) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], Box]]:
    """By (layer, method): the share of positive evidence inside the mask, and the box of the strongest half."""
    inside: dict[tuple[str, str], float] = {}
    boxes: dict[tuple[str, str], Box] = {}
    for layer, found in maps.items():
        for name, one in found.items():
            evidence = positive_evidence(one)
            if evidence is None:
                continue
            box = box_of(evidence >= 0.5 * evidence.max())
            if box is not None:
                boxes[layer, name] = box
            if mask is not None:
                inside[layer, name] = float(evidence[mask].sum())
    return inside, boxes


def prediction_of(net: Network, trace: Trace) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """The five most probable classes, and the target, as plain data; of plain numbers the explained one and others, which have no
    probability."""
    if net.head == "regression":
        return _numbers_of(net, trace)
    probabilities = net.probabilities(trace.output)[0].cpu()
    outputs = trace.output[0].float().cpu()
    order = torch.sort(probabilities, descending=True, stable=True).indices[:5]
    top = tuple(
        {
            "class": net.classes[int(k)],
            "index": int(k),
            "probability": float(probabilities[k]),
            "output": float(outputs[min(int(k), len(outputs) - 1)]),
        }
        for k in order
    )
    target = trace.target
    index = _target_index(net, target)
    return top, {
        "name": target.names[0],
        "index": index,
        "probability": None if index is None else float(probabilities[index]),
        "score": float(trace.score[0]),
        "predicted": index == top[0]["index"],
    }


def _numbers_of(net: Network, trace: Trace) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    values = trace.output[0].double().cpu().tolist()
    function = trace.target.function
    index = function.indices[0] if isinstance(function, Column) else None
    order = sorted(range(len(values)), key=lambda k: k != index)[:5]
    top = tuple(
        {"class": net.classes[k], "index": k, "probability": None, "output": values[k]} for k in order
    )
    about = {
        "name": trace.target.names[0],
        "index": index,
        "probability": None,
        "score": float(trace.score[0]),
    }
    return top, about | {"predicted": index is not None}


def _target_index(net: Network, target: Target) -> int | None:
    if target.indices is None:
        return None
    return int(target.indices[0]) if target.signs is None else int(target.signs[0] > 0)


def important_units(
    net: Network, trace: Trace, scores: UnitScores, count: int, seed: int, names: Names, pictures: Pictures
) -> tuple[tuple[Neuron, ...], Removal | None]:
    """The best units by score, and what removing them does.

    Only units whose own removal lowers the score are cited as evidence and removed together.
    """
    values = scores.values[0].cpu().double()
    total = float(values.clamp(min=0).sum())
    top = [unit for unit in scores.top(count) if float(values[unit.index]) > 0]
    if not top or total <= 0:
        return (), None
    layer = scores.layer.name
    effect: Removal | None = None
    alone: tuple[tuple[float | None, float | None], ...] = ((None, None),) * len(top)
    cited = [True] * len(top)
    if len(values) > 1:
        alone, cited, effect = removal(net, trace, layer, [unit.index for unit in top], seed)
    regions = unit_regions(trace, top, layer=layer, quantile=REGION)[0]
    units = tuple(
        Neuron(
            layer=layer,
            unit=unit.index,
            criterion=scores.criterion,
            score=float(values[unit.index]),
            share=float(values[unit.index]) / total,
            rank=rank,
            region=region.mask.cpu(),
            box=region.box,
            removed=without[0],
            removed_score=without[1],
            cited=lowers,
            meaning=names.of(layer, unit.index),
            painted=pictures.of(layer, unit.index),
        )
        for rank, (unit, region, without, lowers) in enumerate(
            zip(top, regions, alone, cited, strict=True), 1
        )
    )
    return units, effect


def lead_of(target: Target, output: Tensor) -> float:
    """How far the target's score is above the mean of all outputs, which adding a constant to all logits leaves alone; the
    size of the score itself where it is the only output or a function of them."""
    score = float(target.score(output))
    if target.function is not None or output.shape[1] < 2:
        return abs(score)
    return score - float(output.mean())


def attainable_mean(spoken: Sequence[Heatmap], thing: Tensor | None) -> float | None:
    """What a map could have on the object, as a mean over the stages that can be read."""
    readable = [one for one in spoken if positive_evidence(one) is not None]
    if thing is None or not readable or not bool(thing.any()):
        return None
    return sum(attainable(one, thing) for one in readable) / len(readable)


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
    box = box_of(chosen) or (0, 0, height, width)
    tied = evidence >= ordered[count - 1] * (1 - 1e-9)  # of equal cells none is more of a place than another
    return Concentration(count / (height * width), (row, column), box, _places(evidence * tied, tied))


def _places(evidence: Tensor, chosen: Tensor) -> tuple[str, ...]:
    """What the places of evidence are called: its center, where it is compact and lies there; else the ninths that hold most."""
    height, width = evidence.shape
    weight = evidence / evidence.sum()
    row = float((weight.sum(1) * torch.arange(height)).sum())
    column = float((weight.sum(0) * torch.arange(width)).sum())
    center = row, column
    area = float(exact(chosen).mean())
    place = w.place(*center, height, width)
    if _compact(weight, chosen, center):
        return () if place == "center" and area > LARGE else (place,)
    rows, columns = ((3 * torch.arange(size)) // size for size in (height, width))
    shares = torch.zeros(9, dtype=torch.double)
    shares.index_add_(0, (3 * rows[:, None] + columns).flatten(), exact(weight).flatten())
    best = [k for k in torch.argsort(shares, descending=True, stable=True).tolist() if shares[k] >= w.PLACED]
    if len(best) > w.PLACES or float(shares[best].sum()) < w.TOGETHER:
        return ()
    return tuple(w.place(k // 3, k % 3, 3, 3) for k in sorted(best))


def _compact(weight: Tensor, chosen: Tensor, center: tuple[float, float]) -> bool:
    """Does the evidence lie around its center of mass, and is there evidence at the center itself?"""
    height, width = weight.shape
    row, column = center
    vertical = (torch.arange(height, dtype=torch.double) - row) / height
    horizontal = (torch.arange(width, dtype=torch.double) - column) / width
    reach = float((exact(weight).sum(1) * vertical**2).sum() + (exact(weight).sum(0) * horizontal**2).sum())
    margins = (max(1, height // 24), max(1, width // 24))
    top, left = (max(0, round(at) - margin) for at, margin in zip(center, margins, strict=True))
    middle = chosen[top : round(row) + margins[0] + 1, left : round(column) + margins[1] + 1]
    area = float(exact(chosen).mean())
    return (
        reach**0.5 <= COMPACT * (area / 6) ** 0.5 + 0.5 / min(height, width)
        and float(exact(middle).mean()) >= 0.5
    )


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
) -> tuple[tuple[tuple[float, float], ...], list[bool], Removal | None]:
    """Set units of a layer to zero: each alone; then those whose removal lowers the score together, and as many random others,
    ``RANDOM_DRAWS`` times.

    Returns (probability, score) after removing each unit alone, which of them lower the score, and the joint effect, None
    where none does. Random units are drawn among those not in the set (among all where too few are left).
    """
    tail = Tail(net, trace.images, layer)
    score = float(trace.score)
    alone = _left(net, tail, trace.target, [[unit] for unit in units])
    cited = [after < score - 1e-6 * max(1.0, abs(score)) for _, after in alone]
    chosen = [unit for unit, lowers in zip(units, cited, strict=True) if lowers]
    if not chosen:
        return alone, cited, None
    others = [k for k in range(tail.activation.shape[1]) if k not in set(chosen)]
    pool = torch.tensor(others if len(others) >= len(chosen) else range(tail.activation.shape[1]))
    generator = torch.Generator().manual_seed(seed)
    draws = [
        pool[torch.randperm(len(pool), generator=generator)[: len(chosen)]].tolist()
        for _ in range(RANDOM_DRAWS)
    ]
    (after, score_after), *random = _left(net, tail, trace.target, [chosen, *draws])
    scores = [each for _, each in random]
    effect = Removal(
        layer=layer,
        units=tuple(chosen),
        before=float(target_value(net, trace.target, trace.output)),
        after=after,
        random=fmean(value for value, _ in random),
        score_before=score,
        score_after=score_after,
        score_random=fmean(scores),
        draws=len(draws),
        score_spread=stdev(scores) / len(scores) ** 0.5,
    )
    return alone, cited, effect


def _left(
    net: Network, tail: Tail, target: Target, sets: Sequence[Sequence[int]]
) -> tuple[tuple[float, float], ...]:
    """(probability, score) with each set of units at zero."""
    output = tail.without(sets, at_once=32)[:, 0]
    repeated = target.repeat(len(output))
    probabilities = target_value(net, repeated, output).tolist()
    return tuple(zip(probabilities, repeated.score(output).tolist(), strict=True))
