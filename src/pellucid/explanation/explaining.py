"""`explain`: one image, one network, one page's worth of evidence and the sentence it allows.

One forward and one backward pass give every map that needs no more, and the neurons' scores; what removing neurons does is
measured by running the tail behind their layer, what parts do by filling them in (`parts`). Methods that run the network many
times (SmoothGrad, Integrated Gradients …) are computed when asked for by name. Whether the map the sentence speaks of is
faithful is tested last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.attribution.method import DEFAULT as DEFAULT_METHOD
from pellucid.core.capture import Trace, capture
from pellucid.core.layers import INPUT
from pellucid.core.network import Network, TargetLike
from pellucid.core.registry import create, get, names
from pellucid.core.results import Heatmap, UnitScores
from pellucid.data.images import InputImage
from pellucid.data.preprocess import to_batch
from pellucid.explanation import clauses as say
from pellucid.explanation import part_clauses
from pellucid.explanation.concepts import Names, TableLike, names_for
from pellucid.explanation.contrast import Contrast, Rivalry, by_neurons, by_parts, other_class
from pellucid.explanation.evidence import attainable, concentration, positive_evidence
from pellucid.explanation.explanation import Clause, Cost, Explanation, Neuron, Removal
from pellucid.explanation.faithfulness import Faithfulness
from pellucid.explanation.faithfulness import faithfulness as test_map
from pellucid.explanation.measuring import (
    all_maps,
    attainable_mean,
    important_neurons,
    inside_and_boxes,
    lead_of,
    notes_of,
    prediction_of,
)
from pellucid.explanation.parts import Parts, measured
from pellucid.explanation.patterns import PatternsLike, patterns_for
from pellucid.explanation.patterns import clauses as of_patterns
from pellucid.explanation.pictures import Pictures as Pictures
from pellucid.explanation.pictures import PicturesLike, pictures_for
from pellucid.explanation.request import (
    Known,
    Request,
    is_scene,
    known_object,
    last_layer,
    mask_at_input,
    one_each,
)
from pellucid.explanation.sight import RecognizerLike, look, of_concept_world, recognizer_for
from pellucid.explanation.sight import by_neurons as seen_by_neurons
from pellucid.speech.chinese import WORLD
from pellucid.speech.languages import check_language, said, speaker_of
from pellucid.speech.wording import RIVAL
from pellucid.units.criterion import Criterion

EXTRA = ("guided-backprop",)  # needs a pass of its own and is worth it


def explain(
    net: Network,
    images: Any,
    *,
    target: TargetLike = None,
    method: str = DEFAULT_METHOD,
    methods: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    criterion: str | Criterion = "cgnis",
    neuron_layer: str | None = None,
    units: int = 5,
    mask: Any = None,
    normalized: bool | None = None,
    seed: int = 0,
    faithfulness: bool = True,
    table: TableLike | Names = None,
    pictures: PicturesLike | Pictures = None,
    recognizer: RecognizerLike = None,
    why_not: int | str | None = None,
    language: str = "en",
    patterns: PatternsLike = None,
) -> Any:
    """Explain what ``net`` did with an image: an `Explanation`, or a list of them for a list, batch or folder.

    ``images``: path, PIL image, array, tensor (see `pellucid.attribute`), or a scene or rendering of the concept world, whose
    object mask is then known. ``target``: class index, name or function; None is the predicted class. ``method`` is the
    map the sentence speaks of; ``methods`` all that are computed (default: every method that one forward and backward
    pass allows). ``layers``: default, the end of every resolution stage. ``criterion`` and ``units``: how the important
    neurons of ``neuron_layer`` (default: the last of ``layers``) are found, and how many. ``mask``: bool array
    [height width] of the object in the original image. ``seed`` draws what is random: the neurons that are removed for
    comparison, and the network of the sanity check. ``faithfulness``: test the map of ``method``, at up to 40 further
    forward passes (`pellucid.explanation.faithfulness`). ``table``: what units answer to, from which the important neurons
    get the names of concepts: a `UnitTable`, ``{layer: UnitTable}`` or the folder of a dissection; None takes the tables
    that come with the embedded networks, ``{}`` leaves names away. ``pictures``: folder of ``pellucid visualize``, or several;
    what was painted for the important neurons is then shown beside them. ``recognizer``: names the parts of the picture, whose
    effects are then measured at up to 40 forward passes (`pellucid.explanation.parts`): an object, name or file as
    `pellucid.explanation.recognizer` has them; None takes the shipped one for networks of the concept world's classes,
    ``"none"`` none. ``why_not``: another class; the sentence then says what speaks for the explained one against it.
    ``language``: ``"en"`` or ``"zh"``. ``patterns``: of channels that are active together (`pellucid.units.patterns`), or their
    folder; the first one of the class that is in the picture is then said.

    Raises UnknownNameError for unknown methods, layers, classes or languages, ImageError for unusable images, ValueError for the
    table, pictures or patterns of another network, or a ``why_not`` that is the explained class.
    """
    if units < 1:
        raise ValueError(f"Expected `units` to be at least 1, got {units}.")
    several_scenes = isinstance(images, (list, tuple)) and any(map(is_scene, images))
    if mask is not None and (several_scenes or is_scene(images)):
        raise ValueError(
            "Expected no `mask` with scenes, which bring their own, got one; try `rendering.image` for another mask."
        )
    chosen = list(dict.fromkeys([method, *(methods if methods is not None else default_methods())]))
    stages = tuple(layers) if layers is not None else net.default_layers
    place = neuron_layer or last_layer(net, layers)
    request = Request(
        methods=tuple(create("attribution", each) for each in chosen),
        layers=stages,
        criterion=create("neurons", criterion),
        place=place,
        units=units,
        seed=seed,
        faithfulness=faithfulness,
        meanings=all_names(net, table, place, stages),
        pictures=pictures_for(net, pictures),
        recognizer=recognizer_for(net, recognizer),
        why_not=why_not,
        language=check_language(language),
        names=WORLD if of_concept_world(net) else {},
        patterns=patterns_for(net, patterns),
    )
    return _each(net, request, images, target, mask, normalized)


def all_names(net: Network, table: TableLike | Names, place: str, layers: Sequence[str]) -> Names:
    """The tables of ``place``, and of all ``layers`` that have one. Raises as `pellucid.explanation.concepts.names_for` does."""
    found = names_for(net, table, place)
    if table is not None:
        return found
    others = [names_for(net, None, layer).tables for layer in layers if layer not in (INPUT, place)]
    return Names(
        {name: one for tables in (*others, found.tables) for name, one in tables.items()}, found.notes
    )


def default_methods() -> tuple[str, ...]:
    """Every attribution method that one forward and one backward pass allow, and guided backpropagation."""
    cheap = [name for name in names("attribution") if get("attribution", name).needs != "passes"]
    return (*cheap, *(name for name in EXTRA if name in names("attribution")))


def _each(
    net: Network, request: Request, images: Any, target: TargetLike, mask: Any, normalized: bool | None
) -> Any:
    """The explanation of one image, or a list of those of several."""
    if isinstance(images, (list, tuple)) and any(map(is_scene, images)):
        wanted = one_each(target, len(images))
        return [
            _each(net, request, one, each, None, normalized) for one, each in zip(images, wanted, strict=True)
        ]
    picture, known = known_object(images, mask)
    batch, shown = to_batch(picture, net.preprocess, normalized=normalized)
    several = len(batch) > 1 or isinstance(images, (list, tuple))
    if several and known.mask is not None:
        raise ValueError(f"Expected one image with a mask, got {len(batch)}; try one call for each.")
    targets = one_each(target, len(batch))
    found = [_one(net, request, batch[i : i + 1], shown[i], targets[i], known) for i in range(len(batch))]
    return found if several else found[0]


@dataclass(frozen=True, eq=False)
class _Told:
    """All measurements of one image that clauses are made from."""

    top: tuple[dict[str, Any], ...]
    about: dict[str, Any]
    main: Heatmap
    tested: Faithfulness | None
    mask: Tensor | None
    label: str | None
    shares: list[tuple[float, float]]
    neurons: tuple[Neuron, ...]
    effect: Removal | None
    scores: UnitScores
    parts: Parts
    lead: float
    attainable: float | None
    contrast: Contrast | None
    rivals: Rivalry | None
    patterns: Sequence[Clause] = ()


def _one(
    net: Network, request: Request, images: Tensor, shown: InputImage, target: TargetLike, known: Known
) -> Explanation:
    stages, place = request.layers, request.place
    mined = () if request.patterns is None else (request.patterns.layer,)
    trace = capture(net, images, (INPUT, *stages, place, *mined), target)
    other = None if request.why_not is None else other_class(net, trace, request.why_not)
    maps, extra, taken = all_maps(trace, request.methods, stages)
    mask = mask_at_input(known.mask, net, shown, images)
    inside, boxes = inside_and_boxes(maps, mask)
    top, about = prediction_of(net, trace)
    ranked, again = _ranked(net, request, trace)
    scores = UnitScores(
        request.criterion(ranked, place).detach(),
        trace.layers[place],
        request.criterion.name,
        trace.target.names,
    )
    chosen, effect, tail_runs = important_neurons(
        net, trace, scores, request.units, request.seed, request.meanings, request.pictures
    )
    method = request.methods[0].name
    main = maps.get(stages[-1], {}).get(method) or next(m[method] for m in maps.values() if method in m)
    sight = (
        look(request.recognizer, shown.image, main.input_size)
        if request.recognizer
        else seen_by_neurons(chosen, about["name"])
    )
    if mask is not None and sight.thing is not None:
        sight = replace(sight, thing=mask)
    spoken = [found[method] for found in maps.values() if method in found]
    evidence = [one for one in map(positive_evidence, spoken) if one is not None]
    mean = torch.stack(evidence).mean(0) if evidence else None
    parts = measured(
        net, ranked, sight, mean, request.criterion, request.meanings, tuple(dict.fromkeys((*stages, place)))
    )
    contrast, rivals, more = _contrast(net, request, trace, ranked, other, top, about, parts)
    tested = test_map(trace, main, request.methods[0], taken, request.seed) if request.faithfulness else None
    told = _Told(
        top, about, main, tested, mask, known.label, _shares(maps, method, inside, mask), chosen, effect, scores, parts,
        lead_of(trace.target, trace.output), attainable_mean(spoken, sight.thing), contrast, rivals,
        _of_patterns(request, trace, about["name"]),
    )  # fmt: skip
    ran, back = (0, 0) if tested is None else (tested.passes, tested.backward)
    asked = parts.passes + more[0]
    return Explanation(
        network=_facts(net),
        image={
            "name": shown.name,
            "notes": [
                *shown.notes, *net.notes, *notes_of(maps), *request.meanings.notes, *request.pictures.notes,
                *request.pictures.missing(place, [neuron.unit for neuron in chosen]),
            ],
            "original_size": list(shown.original_size),
            "size": [int(images.shape[2]), int(images.shape[3])],
        },
        view=shown.image,
        prediction=top,
        target=about,
        clauses=_spoken(_sentence(told, stages), request),
        maps=maps,
        default_method=method,
        inside=inside,
        boxes=boxes,
        scores=scores,
        neurons=chosen,
        removal=effect,
        mask=mask,
        mask_name=known.label if mask is not None else None,
        cost=Cost(
            1 + extra + again + 2 * (tail_runs > 0) + 2 * parts.tails + ran + asked + more[1],
            1 + extra + again + back + more[2],
            tail_runs + parts.tail_runs + more[3],
            asked,
            sight.runs,
        ),
        faithfulness=tested,
        language=request.language,
        names=request.names,
        regions=_regions(parts),
        surroundings=parts.weight,
        unsaid=_unsaid(request, parts),
    )  # fmt: skip


def _ranked(net: Network, request: Request, trace: Trace) -> tuple[Trace, int]:
    """The trace that neurons are scored by, which is another one where the criterion asks about the target in another form."""
    asked = request.criterion.explained(net, trace.images, trace.target)
    if asked is trace.target:
        return trace, 0
    return capture(net, trace.images, (*request.layers, request.place), asked), 1


def _contrast(
    net: Network,
    request: Request,
    trace: Trace,
    ranked: Trace,
    other: Any,
    top: Any,
    about: Any,
    parts: Parts,
) -> tuple[Contrast | None, Rivalry | None, tuple[int, int, int, int]]:
    """What speaks against another class; and the forward passes for parts, those for neurons, backward passes and tail runs."""
    if other is None:
        if not about["predicted"] or len(top) < 2 or top[1]["probability"] < RIVAL:
            return None, None, (0, 0, 0, 0)
        second = net.resolve_target(top[1]["index"], trace.output)
        return by_parts(net, trace, second, parts, steps=False)[0], None, (0, 0, 0, 0)
    found, passes = by_parts(net, trace, other, parts, steps=True)
    rivals = by_neurons(net, trace, other, request.criterion, request.place, request.units, request.meanings)
    forward, backward, runs = rivals.cost
    return found, rivals, (passes, forward, backward, runs)


def _shares(maps: Any, method: str, inside: Any, mask: Tensor | None) -> list[tuple[float, float]]:
    """By stage: the share of evidence inside the known object, and the share that was attainable there."""
    if mask is None:
        return []
    return [
        (inside[layer, method], attainable(found[method], mask))
        for layer, found in maps.items()
        if (layer, method) in inside
    ]


def _sentence(told: _Told, stages: Sequence[str]) -> list[Clause]:
    evidence = positive_evidence(told.main)
    clauses: list[Clause | None] = [
        say.prediction(told.top, told.about),
        say.doubt_of_prediction(told.top, told.about),
    ]
    clauses += part_clauses.rather(told.contrast) if told.rivals is None else []
    clauses += part_clauses.carrying(
        told.parts, told.lead, told.main.method, told.attainable if told.mask is None else None
    )
    if told.rivals is not None:
        clauses += part_clauses.why_not(told.about["name"], told.contrast, told.rivals)
    clauses.append(say.region(told.main, None if evidence is None else concentration(evidence), stages))
    clauses += say.faithful(told.tested)
    if told.mask is not None and told.shares and told.label is not None:
        area = float(told.mask.double().mean())
        clauses += say.on_object(told.label, told.about["name"], told.shares, area, told.main.method)
    criterion = told.scores.criterion
    title = criterion.upper() if criterion == "cgnis" else criterion
    first, *doubts = say.carried(
        told.neurons, told.effect, told.scores.values.shape[1], title, told.about, stages[-1]
    )
    clauses += [
        first,
        say.answering(told.neurons),
        *doubts,
        *told.patterns,
        *part_clauses.missing(told.parts, told.neurons),
    ]
    return [one for one in clauses if one is not None]


def _of_patterns(request: Request, trace: Trace, name: str) -> list[Clause]:
    """The pattern of the class that is in the picture, where patterns were given."""
    found = request.patterns
    return [] if found is None else of_patterns(found, trace.activations[found.layer], name, request.meanings)


def _spoken(clauses: Sequence[Clause], request: Request) -> tuple[Clause, ...]:
    speaker = speaker_of(request.language, request.names)
    return tuple(replace(one, text=said(one, speaker)) for one in clauses)


def _regions(parts: Parts) -> dict[str, Tensor]:
    """What clauses can point at: parts, the object, and its surroundings."""
    found = {part.name: part.seen.region for part in parts.parts}
    if parts.sight.thing is not None and parts.parts:
        found |= {part_clauses.OBJECT: parts.sight.thing, part_clauses.SURROUNDINGS: ~parts.sight.thing}
    return found


def _unsaid(request: Request, parts: Parts) -> tuple[str, ...]:
    """What is left out because nothing is known, and what it would take."""
    found = []
    if request.recognizer is None:
        found.append(
            "Which parts are in the picture and which are missing: that takes a recognizer of parts, and none was given."
        )
    if not request.meanings.tables:
        found.append(
            "What its neurons respond to: that takes a dissection of this network (`pellucid dissect`), and none was given."
        )
    return tuple(found)


def _facts(net: Network) -> dict[str, Any]:
    return {
        "name": net.name,
        "input_shape": list(net.input_shape),
        "parameters": sum(parameter.numel() for parameter in net.module.parameters()),
        "classes": len(net.classes),
        "preprocess": net.preprocess.to_json(),
        "head": net.head,
    }
