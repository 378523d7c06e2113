"""Everything `explain` does with one image: measure → measure parts → measure rivals → test the map → clauses → explanation.

One forward and one backward pass give every map that needs no more, and the units' scores; what removing units does is
measured by running the tail behind their layer, what parts do by filling them in (`parts`). Methods that run the network many
times (SmoothGrad, Integrated Gradients …) are computed when asked for by name. Whether the map the sentence speaks of is
faithful is tested last. What all of this takes is counted at the network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.capture import Trace, capture
from pellucid.core.counting import counting
from pellucid.core.layers import INPUT
from pellucid.core.network import Network, TargetLike
from pellucid.core.precision import exact
from pellucid.core.results import Heatmap, UnitScores
from pellucid.data.images import Picture
from pellucid.data.preprocess import to_batch
from pellucid.explanation import clauses as say
from pellucid.explanation import part_clauses
from pellucid.explanation.brief import Brief, brief_clause, brief_of_parts, measure_brief, suspicion
from pellucid.explanation.contrast import Contrast, Rivalry, by_parts, by_units, other_class
from pellucid.explanation.explanation import Explanation
from pellucid.explanation.facts import Box, Clause, Cost, Neuron, Region, Removal
from pellucid.explanation.faithfulness import Faithfulness, faithfulness
from pellucid.explanation.measuring import (
    all_maps,
    attainable,
    attainable_mean,
    concentration,
    important_units,
    inside_and_boxes,
    lead_of,
    notes_of,
    positive_evidence,
    prediction_of,
)
from pellucid.explanation.parts import Parts, measure_parts
from pellucid.explanation.patterns import clauses as of_patterns
from pellucid.explanation.request import Known, Request, known_object, mask_at_input
from pellucid.explanation.sight import Sight, look
from pellucid.naming import last_layer
from pellucid.units.regions import box_of


@dataclass(frozen=True, eq=False)
class Measurements:
    """What was measured of one image before anything is said of its parts and rivals.

    Args:
        trace: of the layers and the target.
        ranked: the trace units are scored by.
        maps: by layer and method.
        taken: passes of its own the first method took.
        top, target: the most probable classes, and what is explained.
        main: the map the sentence speaks of.
        spoken: the maps of its method, by stage.
        mask: of the object where it is known, at input size.
        inside, boxes: by (layer, method).
        scores: of all units of the layer looked at.
        units: the important ones.
        removal: what removing them does.
    """

    trace: Trace
    ranked: Trace
    maps: dict[str, dict[str, Heatmap]]
    taken: int
    top: tuple[dict[str, Any], ...]
    target: dict[str, Any]
    main: Heatmap
    spoken: dict[str, Heatmap]
    mask: Tensor | None
    inside: dict[tuple[str, str], float]
    boxes: dict[tuple[str, str], Box]
    scores: UnitScores
    units: tuple[Neuron, ...]
    removal: Removal | None


@dataclass(frozen=True, eq=False)
class Rivals:
    """What speaks against another class: by parts and, where somebody asked, by units."""

    by_parts: Contrast | None = None
    by_units: Rivalry | None = None


def explain_picture(
    net: Network,
    request: Request,
    picture: Picture,
    target: TargetLike = None,
    mask: Any = None,
    normalized: bool | None = None,
) -> Explanation:
    """The explanation of one picture. Raises as `explain` does."""
    known = known_object(picture, mask)
    images, (shown,) = to_batch(picture, net.preprocess, normalized=normalized)
    with counting(net) as cost:
        measured = measure(net, request, images, target, mask_at_input(known.mask, net, shown, images))
        with counting(net) as cost_of_parts:
            parts, best = _measure_parts(net, request, measured, shown)
            rivals = _measure_rivals(net, request, measured, parts)
        found = _brief(net, request, measured, parts)
        tested = _tested(request, measured)
    clauses = _clauses(request, measured, parts, best, rivals, tested, known)
    return Explanation(
        network=_facts(net),
        image=_about(net, request, measured, shown, images),
        view=shown.image,
        prediction=measured.top,
        target=measured.target,
        brief=brief_clause(measured.top, measured.target, found, tested, suspicion(net)),
        clauses=clauses,
        maps=measured.maps,
        default_method=request.methods[0].name,
        inside=measured.inside,
        boxes=measured.boxes,
        scores=measured.scores,
        neurons=measured.units,
        removal=measured.removal,
        mask=measured.mask,
        mask_name=known.label if measured.mask is not None else None,
        cost=Cost(cost.forward, cost.backward, cost.tail, cost_of_parts.forward, parts.sight.runs),
        settings=request.settings,
        faithfulness=tested,
        names=request.names,
        regions={**_seen(found), **_regions(measured, parts)},
        surroundings=parts.weight,
        unsaid=_unsaid(request),
    )


def measure(
    net: Network, request: Request, images: Tensor, target: TargetLike, mask: Tensor | None
) -> Measurements:
    """Maps, the prediction, important units and what removing them does, of one normalized image [1 channel h w]."""
    settings, stages, layer = request.settings, request.layers, request.layer
    size = (int(images.shape[2]), int(images.shape[3]))
    mined = () if request.patterns is None else (request.patterns.layer,)
    trace = capture(net, images, (INPUT, *stages, layer, *mined, last_layer(net, size)), target)
    if settings.why_not is not None:
        other_class(net, trace, settings.why_not)  # said before the work begins
    maps, taken = all_maps(trace, request.methods, stages)
    inside, boxes = inside_and_boxes(maps, mask)
    top, about = prediction_of(net, trace)
    ranked = _ranked(net, request, trace)
    scores = UnitScores(
        request.criterion(ranked, layer).detach(),
        trace.layers[layer],
        request.criterion.name,
        trace.target.names,
    )
    units, effect = important_units(
        net, trace, scores, settings.units, settings.seed, request.meanings, request.pictures
    )
    method = request.methods[0].name
    spoken = {name: by_method[method] for name, by_method in maps.items() if method in by_method}
    main = spoken.get(stages[-1]) or next(iter(spoken.values()))
    return Measurements(
        trace, ranked, maps, taken, top, about, main, spoken, mask, inside, boxes, scores, units, effect
    )


def _ranked(net: Network, request: Request, trace: Trace) -> Trace:
    """The trace that units are scored by, which is another one where the criterion asks about the target in another form."""
    asked = request.criterion.explained(net, trace.images, trace.target)
    if asked is trace.target:
        return trace
    return capture(net, trace.images, (*request.layers, request.layer), asked)


def _measure_parts(
    net: Network, request: Request, measured: Measurements, shown: Picture
) -> tuple[Parts, float | None]:
    """What the parts that a recognizer sees do; and what a map could have on the object, where one is known."""
    sight = Sight()
    if request.recognizer is not None:
        sight = look(request.recognizer, shown.image, measured.main.input_size)
    if measured.mask is not None and sight.thing is not None:
        sight = replace(sight, thing=measured.mask)
    spoken = list(measured.spoken.values())
    evidence = [each for each in map(positive_evidence, spoken) if each is not None]
    mean = torch.stack(evidence).mean(0) if evidence else None
    layers = tuple(dict.fromkeys((*request.layers, request.layer)))
    parts = measure_parts(net, measured.ranked, sight, mean, request.criterion, request.meanings, layers)
    return parts, attainable_mean(spoken, sight.thing)


def _measure_rivals(net: Network, request: Request, measured: Measurements, parts: Parts) -> Rivals:
    """What speaks against the class that was asked about, or against a near second one."""
    settings, trace = request.settings, measured.trace
    if settings.why_not is not None:
        other = other_class(net, trace, settings.why_not)
        by_all_units = by_units(
            net, measured.ranked, other, request.criterion, request.layer, settings.units, request.meanings
        )
        return Rivals(by_parts(net, trace, other, parts, steps=True), by_all_units)
    second = say.rival(measured.top) if measured.target["predicted"] else None
    if second is None:
        return Rivals()
    return Rivals(by_parts(net, trace, net.resolve_target(second["index"], trace.output), parts, steps=False))


def _tested(request: Request, measured: Measurements) -> Faithfulness | None:
    if not request.settings.faithfulness:
        return None
    seed = request.settings.seed
    return faithfulness(measured.trace, measured.main, request.methods[0], measured.taken, seed)


def _clauses(
    request: Request,
    measured: Measurements,
    parts: Parts,
    best: float | None,
    rivals: Rivals,
    tested: Faithfulness | None,
    known: Known,
) -> tuple[Clause, ...]:
    """Everything that can be said, in order."""
    main, mask, target = measured.main, measured.mask, measured.target
    evidence = positive_evidence(main)
    lead = lead_of(measured.trace.target, measured.trace.output)
    said = [say.prediction(measured.top, target), *say.doubts_of_prediction(measured.top, target)]
    if rivals.by_units is None:
        said += part_clauses.rather(rivals.by_parts)
    said += part_clauses.carrying(parts, lead, main.method, best if mask is None else None)
    if rivals.by_units is not None:
        said += part_clauses.why_not(target["name"], rivals.by_parts, rivals.by_units)
    said.append(say.region(main, None if evidence is None else concentration(evidence), request.layers))
    said += say.faithful(tested)
    if mask is not None and known.label is not None:
        shares = _shares(measured, mask)
        area = float(exact(mask).mean())
        said += say.on_object(known.label, target["name"], shares, area, main.method) if shares else []
    criterion = request.criterion.name
    title = criterion.upper() if criterion == "cgnis" else criterion
    first, *doubts = say.carried(
        measured.units, measured.removal, measured.scores.values.shape[1], title, target, request.layers[-1]
    )
    named = say.answering(measured.units)
    said += [first, *([] if named is None else [named]), *doubts]
    if request.patterns is not None:
        activations = measured.trace.activations[request.patterns.layer]
        said += of_patterns(request.patterns, activations, target["name"], request.meanings)
    return (*said, *part_clauses.missing(parts, measured.units))


def _shares(measured: Measurements, mask: Tensor) -> list[tuple[float, float]]:
    """By stage: the share of evidence inside the known object, and the share that was attainable there."""
    return [
        (measured.inside[layer, map_.method], attainable(map_, mask))
        for layer, map_ in measured.spoken.items()
        if (layer, map_.method) in measured.inside
    ]


def _regions(measured: Measurements, parts: Parts) -> dict[str, Region]:
    """What clauses can point at: parts, the object, and its surroundings; the parts that are named have numbers."""
    lead = lead_of(measured.trace.target, measured.trace.output)
    numbers = {part.name: number for number, part in enumerate(part_clauses.named_parts(parts, lead), 1)}
    regions = {
        part.name: Region(
            part.seen.region,
            (part.name,),
            part.seen.probability,
            part.filled,
            numbers.get(part.name),
            part.box,
        )
        for part in parts.parts
    }
    thing = parts.sight.thing
    if thing is not None and parts.parts:
        for name, mask, filled in (
            (part_clauses.OBJECT, thing, parts.thing),
            (part_clauses.SURROUNDINGS, ~thing, parts.surroundings),
        ):
            effect = None if filled is None else filled.effect
            regions[name] = Region(mask, (name,), None, effect, None, box_of(mask))
    return regions


def _brief(net: Network, request: Request, measured: Measurements, parts: Parts) -> Brief:
    """What the short sentence rests on: the parts a recognizer names, where it does, else what the network itself can say."""
    lead = lead_of(measured.trace.target, measured.trace.output)
    named = part_clauses.named_parts(parts, lead)
    asked = request.settings.why_not
    other = None if asked is None else other_class(net, measured.trace, asked)
    if named:
        return brief_of_parts(net, measured.trace, named, other)
    return measure_brief(net, measured.trace, measured.spoken, lead, other)


def _seen(found: Brief) -> dict[str, Region]:
    """The regions of the short sentence, by their numbers."""
    return {str(each.region.number): each.region for each in found.seen}


def _about(
    net: Network, request: Request, measured: Measurements, shown: Picture, images: Tensor
) -> dict[str, Any]:
    """The picture: its name, sizes, and what there is to know of it and of how it was explained."""
    units = [unit.unit for unit in measured.units]
    notes = [
        *shown.notes, *net.notes, *notes_of(measured.maps), *request.meanings.notes, *request.pictures.notes,
        *request.pictures.missing(request.layer, units),
    ]  # fmt: skip
    return {
        "name": shown.name,
        "notes": notes,
        "original_size": list(shown.original_size),
        "size": [int(images.shape[2]), int(images.shape[3])],
    }


def _unsaid(request: Request) -> tuple[str, ...]:
    """What is left out because nothing is known, and what it would take; pages have these lines in their languages."""
    lines = []
    if request.recognizer is None:
        lines.append(
            "Which parts are in the picture and which are missing: that takes a recognizer of parts, and none was given."
        )
    if not request.meanings.tables:
        lines.append(
            "What its neurons respond to: that takes a dissection of this network (`pellucid dissect`), and none was given."
        )
    return tuple(lines)


def _facts(net: Network) -> dict[str, Any]:
    return {
        "name": net.name,
        "input_shape": list(net.input_shape),
        "parameters": sum(parameter.numel() for parameter in net.module.parameters()),
        "classes": len(net.classes),
        "preprocess": net.preprocess.to_json(),
        "head": net.head,
    }
