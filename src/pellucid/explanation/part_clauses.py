"""What parts have to say: which carry the decision, what surroundings count, what is missing, what speaks against another class.

Order: what the surroundings count, where that is much, comes first; then the parts, by their measured effect. Only parts whose
filling takes `wording.SINGLE` of the lead of the score are named, `wording.NAMED` of them at most; where none does, that is
said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.explanation.contrast import Contrast, Rivalry
from pellucid.explanation.explanation import Clause, Neuron, clause
from pellucid.explanation.parts import Effect, Filled, Part, Parts
from pellucid.speech import wording as w

OBJECT, SURROUNDINGS = "object", "surroundings"  # names of regions beside those of parts


def carrying(found: Parts, lead: float, method: str, attainable: float | None) -> list[Clause]:
    """The clauses about parts and surroundings, none where nothing is known of the picture.

    ``lead``: of the target's score over the mean of all outputs. ``attainable``: evidence a perfect map could have on the object,
    on average over the stages; None where no map can be read.
    """
    if found.sight.asked is None:
        return []
    if not found.parts:
        known = len(found.sight.probabilities)
        if found.sight.asked != "recognizer" or not known:
            return []
        most = max(found.sight.probabilities, key=lambda name: found.sight.probabilities[name])
        numbers: dict[str, float | str] = {
            "parts the recognizer knows": float(known),
            f"largest probability, of {most}": found.sight.probabilities[most],
        }
        return [clause("failure", "none_found", {"known": known}, numbers)]
    background = _background(found)
    said = background + (_named(found, lead, method) or [_no_single(found, lead)])
    if not background:
        said += _around(found, method)
    return said + _outside(found, attainable, method)


def _named(found: Parts, lead: float, method: str) -> list[Clause]:
    """The parts that explain something, one clause each behind one that counts them."""
    named = [part for part in found.parts if part.drop > 0 and part.drop >= w.SINGLE * lead][: w.NAMED]
    if not named:
        return []
    shares = [part.share for part in named if part.share is not None]
    share = sum(shares) if len(shares) == len(named) else None
    facts = {"count": len(named), "share": share}
    numbers: dict[str, float | str] = {
        "parts found": float(len(found.parts)),
        "parts named": float(len(named)),
    }
    if share is not None:
        numbers["evidence on these regions, mean of the stages"] = share
    said = [clause("parts", "parts", facts, numbers, method=method)]
    for place, part in enumerate(named):
        said.append(_part(part, found.whole, place == 0, place == len(named) - 1))
    return said


def _part(part: Part, whole: Effect, first: bool, last: bool) -> Clause:
    seen, told = part.seen, part.neurons
    numbers: dict[str, float | str] = {}
    if seen.probability is not None and seen.threshold is not None:
        numbers[f"probability that {part.name} is there"] = seen.probability
        numbers["probability from which on it is named"] = seen.threshold
    if part.share is not None:
        numbers[f"evidence on the {part.name}, mean of the stages"] = part.share
    numbers[f"area of the {part.name}"] = part.area
    if seen.color is not None:
        numbers[f"part of the {part.name} that is {seen.color[0]}"] = seen.color[1]
    numbers |= change(
        f"with the {part.name} filled in, mean of {len(part.outputs)} fills", whole, part.filled
    )
    units: tuple[tuple[str, int], ...] = ()
    if told is not None:
        units = tuple((told.layer, unit) for unit in told.units)
        for unit, share, iou in zip(told.units, told.shares, told.ious, strict=True):
            numbers[f"IoU of neuron {unit} of {told.layer} with {part.name}"] = iou
            numbers[f"share of neuron {unit} in the score of {told.layer}"] = share
        numbers |= change(f"without the neurons of the {part.name}", None, told.without)
    facts = {
        "name": part.name,
        "color": seen.color[0] if seen.color else None,
        "share": part.share,
        "before": whole,
        "after": part.filled,
        "neurons": None if told is None else {"units": told.units, "left": told.without, "layer": told.layer},
        "first": first,
        "last": last,
    }
    return clause("part", "part", facts, numbers, units=units, box=part.box, part=part.name)


def change(what: str, before: Effect | None, after: Effect) -> dict[str, float | str]:
    """Score and probability before and after, as numbers of a clause."""
    found: dict[str, float | str] = {}
    if before is not None:
        found["score before"] = before.score
    found[f"score {what}"] = after.score
    if before is not None and before.probability is not None:
        found["probability before"] = before.probability
    if after.probability is not None:
        found[f"probability {what}"] = after.probability
    return found


def _no_single(found: Parts, lead: float) -> Clause:
    most = found.parts[0]
    facts = {"count": len(found.parts), "name": most.name, "before": found.whole, "after": most.filled}
    numbers = change(
        f"with the {most.name} filled in, mean of {len(most.outputs)} fills", found.whole, most.filled
    )
    numbers |= {
        "parts found": float(len(found.parts)),
        "lead of the score over the mean of all outputs": lead,
        "part of the lead that would have to go": w.SINGLE,
    }
    return clause("failure", "no_single", facts, numbers, box=most.box, part=most.name)


def _around(found: Parts, method: str) -> list[Clause]:
    around = found.surroundings
    if around is None:
        return []
    scene, color = found.sight.scene, found.sight.color
    numbers = _of_surroundings(found, around)
    facts = {
        "scene": scene[0] if scene else None,
        "color": color[0] if color and scene else None,
        "share": around.share,
        "before": found.whole,
        "after": around.effect,
    }
    return [clause("surroundings", "around", facts, numbers, method=method, part=SURROUNDINGS)]


def _of_surroundings(found: Parts, around: Filled) -> dict[str, float | str]:
    numbers: dict[str, float | str] = {}
    scene, color = found.sight.scene, found.sight.color
    if scene is not None:
        numbers[f"probability of {scene[0]}"] = scene[1]
    if color is not None:
        numbers[f"part of the surroundings that is {color[0]}"] = color[1]
    if around.share is not None:
        numbers["evidence on the surroundings, mean of the stages"] = around.share
    numbers["area of the surroundings"] = around.area
    return numbers | change("with the surroundings filled in", found.whole, around.effect)


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
    numbers |= change("with the object filled in", None, found.thing.effect)
    numbers["weight of the surroundings"] = weight
    return [clause("doubt", "background", facts, numbers, part=SURROUNDINGS)]


def _outside(found: Parts, attainable: float | None, method: str) -> list[Clause]:
    """A doubt where the evidence on the object is less than `wording.LEAN` of what a map on these grids could have there."""
    if attainable is None or found.thing is None or found.thing.share is None or found.surroundings is None:
        return []
    outside = found.surroundings.share
    if outside is None or found.thing.share >= w.LEAN * attainable:
        return []
    facts = {"share": outside, "best": 1 - attainable}
    numbers: dict[str, float | str] = {
        "evidence outside the object, mean of the stages": outside,
        "evidence a perfect map would have outside on these grids": 1 - attainable,
    }
    return [clause("doubt", "outside", facts, numbers, method=method, part=SURROUNDINGS)]


def missing(found: Parts, neurons: Sequence[Neuron]) -> list[Clause]:
    """Concepts of important neurons that the recognizer knows and is sure not to see."""
    units: dict[str, list[Neuron]] = {}
    for neuron in neurons:
        name = neuron.concept
        limit = found.sight.thresholds.get(name, 0.0) if name is not None else 0.0
        if name is not None and found.sight.probabilities.get(name, 1.0) < w.ABSENT * limit:
            units.setdefault(name, []).append(neuron)
    said = []
    for name, those in units.items():
        probability, layer = found.sight.probabilities[name], those[0].layer
        facts = {
            "name": name,
            "probability": probability,
            "units": [neuron.unit for neuron in those],
            "layer": layer,
            "one": len(those) == 1,
        }
        numbers: dict[str, float | str] = {
            f"probability that {name} is there": probability,
            "probability below which it is called absent": w.ABSENT * found.sight.thresholds[name],
        }
        numbers |= {
            f"IoU of neuron {each.unit} with {name}": each.iou for each in those if each.iou is not None
        }
        told = tuple((layer, neuron.unit) for neuron in those)
        said.append(clause("absence", "absent", facts, numbers, layer=layer, units=told))
    return said


def rather(found: Contrast | None) -> list[Clause]:
    """Why not the second class, in a sentence that nobody asked it of: by parts alone."""
    if found is None or not found.speaking:
        return []
    facts = {"other": found.other, "margin": found.margin, "parts": found.speaking[: w.NAMED]}
    return [clause("contrast", "because", facts, _drops(found), part=found.speaking[0][0])]


def why_not(target: str, found: Contrast | None, rivals: Rivalry) -> list[Clause]:
    """Everything that can be said of the question: parts, neurons, and what would have to change."""
    said = []
    if found is None:
        facts: dict[str, Any] = {"other": rivals.other, "margin": rivals.margin}
        said.append(clause("contrast", "why_not", facts, _margin(rivals.other, rivals.margin)))
        said.append(clause("failure", "unexplained", {"other": rivals.other}, {"parts known": 0.0}))
    else:
        said += _by_parts(target, found)
    return said + _by_neurons(target, rivals)


def _by_parts(target: str, found: Contrast) -> list[Clause]:
    facts: dict[str, Any] = {"other": found.other, "margin": found.margin}
    said = []
    if found.speaking:
        facts |= {"target": target, "parts": found.speaking[: w.NAMED]}
        said.append(clause("contrast", "although", facts, _drops(found), part=found.speaking[0][0]))
    else:
        said.append(clause("contrast", "why_not", facts, _margin(found.other, found.margin)))
    if found.opposing:
        numbers = _margin(found.other, found.margin) | {
            f"{name} for {found.other}, by filling it in": -drop for name, drop in found.opposing[: w.NAMED]
        }
        facts = {"other": found.other, "parts": found.opposing[: w.NAMED]}
        said.append(clause("contrast", "for_other", facts, numbers, part=found.opposing[0][0]))
    names = [name for name, _ in found.speaking]
    return said + _turning(target, found.other, "parts", found.margin, names, found.steps, ())


def _by_neurons(target: str, found: Rivalry) -> list[Clause]:
    said = []
    speaking = [each for each in found.units if each.drop > 0][: found.told]
    opposing = [each for each in reversed(found.units) if each.drop < 0][: found.told]
    for phrase, units in (("neurons_against", speaking), ("neurons_for", opposing)):
        if not units:
            continue
        facts: dict[str, Any] = {"other": found.other, "layer": found.layer}
        facts["units"] = [(each.unit, each.concept, each.drop) for each in units]
        if phrase == "neurons_against":
            facts["target"] = target
        numbers: dict[str, float | str] = {
            f"difference of the scores that neuron {each.unit} makes": each.drop for each in units
        }
        numbers |= {
            f"IoU of neuron {each.unit} with {each.concept}": each.iou
            for each in units
            if each.iou is not None
        }
        told = tuple((found.layer, each.unit) for each in units)
        said.append(clause("contrast", phrase, facts, numbers, layer=found.layer, units=told))
    removed = [each.unit for each in found.units if each.drop > 0]
    told = tuple((found.layer, unit) for unit in removed)
    return said + _turning(target, found.other, "neurons", found.margin, removed, found.steps, told)


def _turning(
    target: str,
    other: str,
    what: str,
    margin: float,
    names: Sequence[Any],
    steps: Sequence[float],
    units: Any,
) -> list[Clause]:
    """What would have to go for the other class to be ahead; ``steps``: the margin without the first, the first two … names."""
    if margin < 0 or not steps:
        return []
    turned = next((k for k, left in enumerate(steps, 1) if left < 0), None)
    deed = "filled in" if what == "parts" else "removed"
    if turned is None:
        facts: dict[str, Any] = {
            "target": target,
            "other": other,
            "what": what,
            "count": len(steps),
            "margin": steps[-1],
        }
        numbers: dict[str, float | str] = {
            f"{what} {deed}": float(len(steps)),
            "difference of the scores then": steps[-1],
        }
        return [clause("contrast", "would_stay", facts, numbers, units=units)]
    facts = {"other": other, "what": what, "names": list(names[:turned]), "margin": -steps[turned - 1]}
    numbers = {f"{what} {deed}": float(turned), "difference of the scores then": -steps[turned - 1]}
    first = names[0] if what == "parts" else None
    return [clause("contrast", "would_change", facts, numbers, units=units[:turned], part=first)]


def _margin(other: str, margin: float) -> dict[str, float | str]:
    return {f"difference of the score to that of {other}": margin}


def _drops(found: Contrast) -> Mapping[str, float | str]:
    return _margin(found.other, found.margin) | {
        f"of it gone with {name} filled in, mean of {found.fills} fills": drop
        for name, drop in found.speaking[: w.NAMED]
    }
