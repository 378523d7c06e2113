"""What is measured of one image before anything is said: maps, the prediction, important neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pellucid.attribution import Method
from pellucid.core.capture import Trace
from pellucid.core.layers import INPUT
from pellucid.core.network import Network
from pellucid.core.results import Heatmap, UnitScores, judged
from pellucid.core.target import Target
from pellucid.explanation.concepts import Names
from pellucid.explanation.evidence import attainable, positive_evidence, removal
from pellucid.explanation.explanation import Box, Neuron, Removal
from pellucid.explanation.faithfulness import counted
from pellucid.explanation.pictures import Pictures
from pellucid.units import unit_regions
from pellucid.units.regions import box_of

REGION = 0.03  # share of the pixels shown as a neuron's region


def all_maps(
    trace: Trace, methods: Sequence[Method], stages: Sequence[str]
) -> tuple[dict[str, dict[str, Heatmap]], int, int]:
    """All maps of the one image, by layer and method; how many methods ran the network on their own; and how many passes the
    first of them took."""
    maps: dict[str, dict[str, Heatmap]] = {INPUT: {}, **{name: {} for name in stages}}
    size = (int(trace.images.shape[2]), int(trace.images.shape[3]))
    taken = 0
    with torch.inference_mode(False), torch.no_grad(), counted(trace.network) as passes:
        for method in methods:
            homes = {"input": (INPUT,), "last": tuple(stages[-1:])}.get(method.home, tuple(stages))
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
            taken = passes() if method is methods[0] else taken
    extra = sum(method.needs == "passes" for method in methods)
    return {layer: found for layer, found in maps.items() if found}, extra, taken


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
    """The five most probable classes, and the target, as plain data."""
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


def _target_index(net: Network, target: Target) -> int | None:
    if target.indices is None:
        return None
    return int(target.indices[0]) if target.signs is None else int(target.signs[0] > 0)


def important_neurons(
    net: Network, trace: Trace, scores: UnitScores, count: int, seed: int, meanings: Names, pictures: Pictures
) -> tuple[tuple[Neuron, ...], Removal | None, int]:
    """The best units by score, what removing them does, and how many tail runs that took."""
    values = scores.values[0].double().cpu()
    total = float(values.clamp(min=0).sum())
    top = [unit for unit in scores.top(count) if float(values[unit.index]) > 0]
    if not top or total <= 0:
        return (), None, 0
    layer = scores.layer.name
    effect: Removal | None = None
    alone: tuple[tuple[float | None, float | None], ...] = ((None, None),) * len(top)
    runs = 0
    if len(values) > 1:
        effect, alone, runs = removal(net, trace, layer, [unit.index for unit in top], seed)
    regions = unit_regions(trace, top, layer=layer, quantile=REGION)[0]
    found = tuple(
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
            meaning=meanings.of(layer, unit.index),
            painted=pictures.of(layer, unit.index),
        )
        for rank, (unit, region, without) in enumerate(zip(top, regions, alone, strict=True), 1)
    )
    return found, effect, runs


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
