"""What parts have to say: which carry the decision, what surroundings count, what is missing, what speaks against another class.

Order: what the surroundings count, where that is much, comes first; then the parts, by their measured effect on the score. Only
parts whose filling takes `wording.SINGLE` of the lead of the score are named, `wording.NAMED` of them at most; where none does,
that is said. Probabilities are printed beside the scores where they do not contradict the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pellucid.explanation.contrast import Contrast, Rivalry
from pellucid.explanation.facts import Clause, Effect, Neuron, Quantity, clause, left
from pellucid.explanation.parts import Filled, Part, Parts
from pellucid.speech import wording as w

OBJECT, SURROUNDINGS = "object", "surroundings"  # names of regions beside those of parts


def carrying(found: Parts, lead: float, method: str, attainable: float | None) -> list[Clause]:
    """The clauses about parts and surroundings, none where nothing is known of the picture.

    ``lead``: of the target's score over the mean of all outputs. ``attainable``: evidence a perfect map could have on the object,
    on average over the stages; None where no map can be read.
    """
    if not found.sight.asked:
        return []
    if not found.parts:
        known = found.sight.probabilities
        if not known:
            return []
        most = max(known, key=lambda name: known[name])
        numbers = [
            Quantity("recognizer.parts", float(len(known)), "count"),
            Quantity("recognizer.most", known[most], "probability", {"name": most}),
        ]
        return [clause("failure", "none_found", {"known": len(known)}, numbers)]
    background = _background(found)
    said = background + (_named(found, lead, method) or [_no_single(found, lead)])
    if not background:
        said += _around(found, method)
    return said + _outside(found, attainable, method)


def named_parts(found: Parts, lead: float) -> list[Part]:
    """The parts that are named, the one that matters most first."""
    return [part for part in found.parts if part.drop > 0 and part.drop >= w.SINGLE * lead][: w.NAMED]


def _named(found: Parts, lead: float, method: str) -> list[Clause]:
    """The parts that explain something, one clause each behind one that counts them."""
    named = named_parts(found, lead)
    if not named:
        return []
    shares = [part.share for part in named if part.share is not None]
    share = sum(shares) if len(shares) == len(named) else None
    numbers = [
        Quantity("parts.found", float(len(found.parts)), "count"),
        Quantity("parts.named", float(len(named)), "count"),
    ]
    if share is not None:
        numbers.append(Quantity("parts.evidence", share, "share"))
    said = [clause("parts", "parts", {"count": len(named), "share": share}, numbers, method=method)]
    probable = _in_order([part.filled for part in named])
    for place, part in enumerate(named):
        said.append(_part(part, found.whole, place == 0, place == len(named) - 1, probable))
    return said


def _in_order(effects: Sequence[Effect]) -> bool:
    """Do the probabilities rise along the order of the scores, so that both may be printed?"""
    known = [effect.probability for effect in effects if effect.probability is not None]
    return len(known) == len(effects) and all(before <= after + 5e-4 for before, after in pairwise(known))


def _part(part: Part, whole: Effect, first: bool, last: bool, probable: bool) -> Clause:
    seen, about = part.seen, {"name": part.name}
    numbers: list[Quantity] = []
    if seen.probability is not None and seen.threshold is not None:
        numbers.append(Quantity("part.probability", seen.probability, "probability", about))
        numbers.append(Quantity("part.threshold", seen.threshold, "probability"))
    if part.share is not None:
        numbers.append(Quantity("part.evidence", part.share, "share", about))
    numbers.append(Quantity("part.area", part.area, "share", about))
    if seen.color is not None:
        numbers.append(Quantity("part.color", seen.color[1], "share", about | {"color": seen.color[0]}))
    numbers += left("before", whole)
    numbers += left("filled", part.filled, name=part.name, fills=len(part.outputs))
    answering = part.units if part.units is not None and part.units.without.score < whole.score else None
    units: tuple[tuple[str, int], ...] = ()
    if answering is not None:
        units = tuple((answering.layer, unit) for unit in answering.units)
        for unit, share, iou in zip(answering.units, answering.shares, answering.ious, strict=True):
            numbers.append(Quantity("unit.iou", iou, "iou", {"unit": unit, "name": part.name}))
            numbers.append(Quantity("unit.share", share, "share", {"unit": unit, "layer": answering.layer}))
        numbers += left("unitless", answering.without, name=part.name)
    facts = {
        "name": part.name,
        "color": seen.color[0] if seen.color else None,
        "share": part.share,
        "before": whole,
        "after": part.filled,
        "probable": probable,
        "units": None
        if answering is None
        else {"units": answering.units, "left": answering.without, "layer": answering.layer},
        "first": first,
        "last": last,
    }
    return clause("part", "part", facts, numbers, units=units, box=part.box, part=part.name)


def _no_single(found: Parts, lead: float) -> Clause:
    most = found.parts[0]
    facts = {
        "count": len(found.parts),
        "name": most.name,
        "lowers": most.drop > 0,
        "before": found.whole,
        "after": most.filled,
    }
    numbers = [
        *left("before", found.whole),
        *left("filled", most.filled, name=most.name, fills=len(most.outputs)),
        Quantity("parts.found", float(len(found.parts)), "count"),
        Quantity("lead.score", lead, "score"),
        Quantity("lead.share", w.SINGLE, "share"),
    ]
    return clause("failure", "no_single", facts, numbers, box=most.box, part=most.name)


def _around(found: Parts, method: str) -> list[Clause]:
    around = found.surroundings
    if around is None:
        return []
    scene, color = found.sight.scene, found.sight.color
    facts = {
        "scene": scene[0] if scene else None,
        "color": color[0] if color and scene else None,
        "share": around.share,
        "before": found.whole,
        "after": around.effect,
    }
    numbers = _of_surroundings(found, around)
    return [clause("surroundings", "around", facts, numbers, method=method, part=SURROUNDINGS)]


def _of_surroundings(found: Parts, around: Filled) -> list[Quantity]:
    numbers: list[Quantity] = []
    scene, color = found.sight.scene, found.sight.color
    if scene is not None:
        numbers.append(Quantity("scene.probability", scene[1], "probability", {"name": scene[0]}))
    if color is not None:
        numbers.append(Quantity("around.color", color[1], "share", {"color": color[0]}))
    if around.share is not None:
        numbers.append(Quantity("around.evidence", around.share, "share"))
    numbers.append(Quantity("around.area", around.area, "share"))
    return numbers + left("before", found.whole) + left("around", around.effect)


def _background(found: Parts) -> list[Clause]:
    weight = found.weight
    if weight is None or weight < w.CARRY or found.thing is None or found.surroundings is None:
        return []
    scene = found.sight.scene
    facts = {
        "most": weight >= w.MOST,
        "scene": scene[0] if scene else None,
        "weight": weight,
        "thing": found.thing.effect,
        "surroundings": found.surroundings.effect,
        "before": found.whole,
    }
    numbers = _of_surroundings(found, found.surroundings)
    numbers += left("thing", found.thing.effect)
    numbers.append(Quantity("around.weight", weight, "share"))
    return [clause("doubt", "background", facts, numbers, part=SURROUNDINGS)]


def _outside(found: Parts, attainable: float | None, method: str) -> list[Clause]:
    """A doubt where the evidence on the object is less than `wording.LEAN` of what a map on these grids could have there."""
    if attainable is None or found.thing is None or found.thing.share is None or found.surroundings is None:
        return []
    outside = found.surroundings.share
    if outside is None or found.thing.share >= w.LEAN * attainable:
        return []
    facts = {"share": outside, "best": 1 - attainable}
    numbers = [
        Quantity("outside.evidence", outside, "share"),
        Quantity("outside.attainable", 1 - attainable, "share"),
    ]
    return [clause("doubt", "outside", facts, numbers, method=method, part=SURROUNDINGS)]


def missing(found: Parts, neurons: Sequence[Neuron]) -> list[Clause]:
    """Concepts of important units, held out where that is known, that the recognizer knows and is sure not to see."""
    units: dict[str, list[Neuron]] = {}
    for neuron in neurons:
        name = neuron.concept
        if name is None or not neuron.cited or neuron.strength == "weak":
            continue
        limit = found.sight.thresholds.get(name, 0.0)
        if found.sight.probabilities.get(name, 1.0) < w.ABSENT * limit:
            units.setdefault(name, []).append(neuron)
    said = []
    for name, those in units.items():
        probability, layer = found.sight.probabilities[name], those[0].layer
        indices = [neuron.unit for neuron in those]
        facts = {"name": name, "probability": probability, "units": indices, "layer": layer}
        numbers = [
            Quantity("part.probability", probability, "probability", {"name": name}),
            Quantity("part.absent", w.ABSENT * found.sight.thresholds[name], "probability"),
        ]
        numbers += [
            Quantity("unit.iou", each.iou, "iou", {"unit": each.unit, "name": name})
            for each in those
            if each.iou is not None
        ]
        about = tuple((layer, unit) for unit in indices)
        said.append(clause("absence", "absent", facts, numbers, layer=layer, units=about))
    return said


def rather(found: Contrast | None) -> list[Clause]:
    """Why not the second class, in a sentence that nobody asked it of: by parts alone."""
    if found is None or not found.speaking:
        return []
    facts = {"other": found.other, "margin": found.margin, "parts": found.speaking[: w.NAMED]}
    return [clause("contrast", "because", facts, _drops(found), part=found.speaking[0][0])]


def why_not(target: str, found: Contrast | None, rivals: Rivalry) -> list[Clause]:
    """Everything that can be said of the question: parts, units, and what would have to change."""
    said = []
    if found is None:
        facts: dict[str, Any] = {"other": rivals.other, "margin": rivals.margin}
        said.append(clause("contrast", "why_not", facts, [_margin(rivals.other, rivals.margin)]))
        unknown = [Quantity("parts.known", 0.0, "count")]
        said.append(clause("failure", "unexplained", {"other": rivals.other}, unknown))
    else:
        said += _by_parts(target, found)
    return said + _by_units(target, rivals)


def _by_parts(target: str, found: Contrast) -> list[Clause]:
    facts: dict[str, Any] = {"other": found.other, "margin": found.margin}
    said = []
    if found.speaking:
        facts |= {"target": target, "parts": found.speaking[: w.NAMED]}
        said.append(clause("contrast", "although", facts, _drops(found), part=found.speaking[0][0]))
    else:
        said.append(clause("contrast", "why_not", facts, [_margin(found.other, found.margin)]))
    if found.opposing:
        numbers = [_margin(found.other, found.margin)]
        for name, drop in found.opposing[: w.NAMED]:
            numbers.append(Quantity("part.other", -drop, "score", {"name": name, "other": found.other}))
        facts = {"other": found.other, "parts": found.opposing[: w.NAMED]}
        said.append(clause("contrast", "for_other", facts, numbers, part=found.opposing[0][0]))
    if found.margin < 0 or not found.steps:
        return said
    names = [name for name, _ in found.speaking]
    turned = _turned(found.steps)
    facts = {"other": found.other, "margin": abs(found.steps[turned - 1])}
    numbers = [
        Quantity("steps.parts", float(turned), "count"),
        Quantity("margin.then", abs(found.steps[turned - 1]), "score"),
    ]
    if found.steps[turned - 1] < 0:
        facts["names"] = names[:turned]
        return [*said, clause("contrast", "parts_turn", facts, numbers, part=names[0])]
    return [*said, clause("contrast", "parts_stay", facts | {"target": target, "count": turned}, numbers)]


def _by_units(target: str, found: Rivalry) -> list[Clause]:
    said = []
    speaking = [each for each in found.units if each.drop > 0][: found.told]
    opposing = [each for each in reversed(found.units) if each.drop < 0][: found.told]
    for phrase, units in (("units_against", speaking), ("units_for", opposing)):
        if not units:
            continue
        facts: dict[str, Any] = {"other": found.other, "layer": found.layer}
        facts["units"] = [(each.unit, each.concept, each.strength, each.drop) for each in units]
        if phrase == "units_against":
            facts["target"] = target
        numbers = [Quantity("unit.margin", each.drop, "score", {"unit": each.unit}) for each in units]
        numbers += [
            Quantity("unit.iou", each.iou, "iou", {"unit": each.unit, "name": each.concept})
            for each in units
            if each.iou is not None
        ]
        about = tuple((found.layer, each.unit) for each in units)
        said.append(clause("contrast", phrase, facts, numbers, layer=found.layer, units=about))
    if found.margin < 0 or not found.steps:
        return said
    removed = [each.unit for each in found.units if each.drop > 0]
    about = tuple((found.layer, unit) for unit in removed)
    turned = _turned(found.steps)
    facts = {"other": found.other, "margin": abs(found.steps[turned - 1])}
    numbers = [
        Quantity("steps.units", float(turned), "count"),
        Quantity("margin.then", abs(found.steps[turned - 1]), "score"),
    ]
    if found.steps[turned - 1] < 0:
        facts |= {"layer": found.layer, "units": removed[:turned]}
        return [*said, clause("contrast", "units_turn", facts, numbers, units=about[:turned])]
    facts |= {"target": target, "count": turned}
    return [*said, clause("contrast", "units_stay", facts, numbers, units=about)]


def _turned(steps: Sequence[float]) -> int:
    """How many have to go for the other class to be ahead; all of them where that does not happen. ``steps``: the margin without
    the first, the first two …"""
    return next((k for k, margin in enumerate(steps, 1) if margin < 0), len(steps))


def _margin(other: str, margin: float) -> Quantity:
    return Quantity("margin.score", margin, "score", {"other": other})


def _drops(found: Contrast) -> list[Quantity]:
    return [_margin(found.other, found.margin)] + [
        Quantity("part.margin", drop, "score", {"name": name, "fills": found.fills})
        for name, drop in found.speaking[: w.NAMED]
    ]
