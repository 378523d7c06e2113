"""The clauses of a sentence: each function turns measurements into at most one clause, or none.

Nothing is said without a number behind it, and every number of a clause is in ``Clause.numbers``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.dissection.table import THRESHOLD
from pellucid.semantics import wording as w
from pellucid.semantics.evidence import Concentration
from pellucid.semantics.explanation import Clause, Neuron, Removal
from pellucid.semantics.faithfulness import Faithfulness
from pellucid.types import Heatmap


def prediction(top: Sequence[Mapping[str, Any]], target: Mapping[str, Any]) -> Clause:
    """What the network says, and what is explained where that is something else."""
    first = top[0]
    said = f"Classified as **{w.name(first['class'])}** ({w.percent(first['probability'])})."
    numbers: dict[str, float | str] = {f"probability of {first['class']}": first["probability"]}
    if not target["predicted"]:
        share = target["probability"]
        numbers[f"{'probability' if share is not None else 'score'} of {target['name']}"] = (
            share if share is not None else target["score"]
        )
        value = w.percent(share) if share is not None else w.number(target["score"])
        said += f" Explained here: **{w.name(target['name'])}** ({value})."
    return Clause("prediction", said, numbers)


def doubt_of_prediction(top: Sequence[Mapping[str, Any]], target: Mapping[str, Any]) -> Clause | None:
    """Says when the network is unsure, or a second class is near."""
    if len(top) < 2 or not target["predicted"]:
        return None
    first, second = top[0], top[1]
    numbers = {f"probability of {entry['class']}": entry["probability"] for entry in (first, second)}
    if second["probability"] < w.RIVAL:
        return None
    unsure = "The network is unsure: " if first["probability"] < w.UNSURE else "Second comes "
    verb = " has" if first["probability"] < w.UNSURE else " with"
    return Clause(
        "doubt", f"{unsure}{w.name(second['class'])}{verb} {w.percent(second['probability'])}.", numbers
    )


def region(heatmap: Heatmap, found: Concentration | None, stages: Sequence[str]) -> Clause:
    """Where half of the evidence lies, or why the map cannot be read."""
    layer, method = heatmap.layer.name, heatmap.method
    at = f"in the deepest stage ({layer})" if len(stages) > 1 and layer == stages[-1] else f"at {layer}"
    if found is None:
        reason = w.UNREADABLE.get(heatmap.status[0], "there is no positive evidence")
        return Clause(
            "failure",
            f"No region can be named: {at} {reason}.",
            {"status": heatmap.status[0]},
            layer,
            method,
        )
    height, width = heatmap.input_size
    where = w.place(*found.center, height, width)
    text = f"Half of the evidence {at} lies on {w.percent(found.area)} of the picture, {_at(where)}."
    return Clause(
        "region",
        text,
        {"area with half of the evidence": found.area, "place": where},
        layer,
        method,
        (),
        found.box,
    )


def _at(where: str) -> str:
    return (
        f"at its {where}"
        if where == "center"
        else f"on its {where}"
        if where.endswith("side")
        else f"in its {where}"
    )


def faithful(found: Faithfulness | None) -> list[Clause]:
    """Whether the map orders the pixels better than what knows nothing of the network, and a doubt where it ignores the network.

    An area under a curve is the mean of the probability along it, and so it is called.
    """
    if found is None:
        return []
    said = [] if found.curves is None else [_compared(found)]
    alike = found.sanity.similarity
    if found.sanity.insensitive and alike is not None:
        text = (
            f"With the upper half of the network randomized the map stays much the same (rank correlation "
            f"{w.number(alike)}): it shows the **picture** more than the decision."
        )
        numbers: dict[str, float | str] = {"rank correlation with the map of a random upper half": alike}
        said.append(Clause("faithfulness", text, numbers, found.layer, found.method))
    return said


def _compared(found: Faithfulness) -> Clause:
    assert found.areas is not None
    shown = w.percent if found.unit == "probability" else w.number
    if found.verdict == "flat":
        low, high = found.extremes
        text = (
            f"Whichever pixels are removed, the {found.unit} stays between {shown(low)} and {shown(high)}: that cannot "
            "tell whether the map is right."
        )
        ends: dict[str, float | str] = {f"lowest {found.unit}": low, f"highest {found.unit}": high}
        return Clause("faithfulness", text, ends, found.layer, found.method)
    ours, theirs = found.areas["map"], found.areas["center"]
    text = (
        f"Removing pixels in the map's order leaves a {found.unit} of {shown(ours['deletion'])} on average, bringing them back "
        f"{shown(ours['insertion'])} (in a center blob's order {shown(theirs['deletion'])} and {shown(theirs['insertion'])}): "
        f"{w.FAITHFUL[found.verdict]}."
    )
    numbers: dict[str, float | str] = {
        f"mean {found.unit}, pixels {what} by {whose}": areas[kind]
        for whose, areas in (("this map", ours), ("a center blob", theirs))
        for kind, what in (("deletion", "removed"), ("insertion", "brought back"))
    }
    return Clause("faithfulness", text, numbers, found.layer, found.method)


def on_object(
    name: str, predicted: str, shares: Sequence[tuple[float, float]], area: float, method: str
) -> list[Clause]:
    """How much of the evidence lies on the object whose mask is known, as a mean over the stages, and a doubt where it is little.

    ``shares`` holds, per stage, the share inside the mask and the share a map on that grid could reach (`attainable`). Of
    the embedded networks, those trained where class and background are independent reach about 0.7 of it with Shallow-CAM,
    those trained where they go together 0.2 to 0.4. Below ``LEAN`` the network is said to lean on the surroundings: in 1
    to 4 % of the test scenes of the former, 67 and 92 % of the latter (``studies/surroundings.py``).
    """
    label = w.name(name)
    inside = sum(share for share, _ in shares) / len(shares)
    best = sum(most for _, most in shares) / len(shares)
    numbers: dict[str, float | str] = {
        f"evidence on the {name}, mean of {len(shares)} stages": inside,
        "evidence a perfect map could have there on these grids": best,
        f"area of the {name}": area,
    }
    text = (
        f"On average over the stages {w.percent(inside)} of the evidence lies on the **{label}** ({w.percent(best)} could, "
        f"on such grids), which covers {w.percent(area)} of the picture."
    )
    found = [Clause("object", text, numbers, None, method)]
    if inside < w.LEAN * best:
        text = f"That is little: the network also leans on the **surroundings** of the {label}."
        found.append(Clause("doubt", text, {"part of the attainable share": inside / best}, None, method))
    if name != predicted:
        text = f"The object there is the {label}, not the {w.name(predicted)}."
        found.append(Clause("doubt", text, {"object": name, "explained": predicted}))
    return found


def carried(
    neurons: Sequence[Neuron],
    effect: Removal | None,
    total: int,
    criterion: str,
    target: Mapping[str, Any],
    deepest: str,
) -> list[Clause]:
    """Which units carry the target, by score and by what removing them does; random units of equal number beside.

    ``deepest`` is the last stage, which is called so.
    """
    if not neurons:
        text = f"No single neuron of this layer has a positive {criterion} score."
        return [Clause("failure", text, {"units with a positive score": 0.0})]
    layer = neurons[0].layer
    units = tuple((layer, neuron.unit) for neuron in neurons)
    share = sum(neuron.share for neuron in neurons)
    label = _with_concepts(neurons)
    one = len(neurons) == 1
    where = "In the deepest stage" if layer == deepest else f"At {layer}"
    who = f"neuron {label} carries" if one else f"neurons {label} carry"
    text = f"{where} {who} {w.percent(share)} of the {criterion} score of {total} neurons"
    numbers: dict[str, float | str] = {
        f"share of the {criterion} score": share,
        "neurons in the layer": float(total),
    }
    if effect is None:
        return [Clause("neurons", text + ".", numbers, layer, None, units)]
    random = f"without {'one' if one else 'as many'} random"
    numbers |= {
        "score before": effect.score_before,
        "score without them": effect.score_after,
        f"score {random}, mean of {effect.draws} draws": effect.score_random,
    }
    text += (
        f"; without {'it' if one else 'them'} the score of {w.name(target['name'])} goes from "
        f"{w.number(effect.score_before)} to **{w.number(effect.score_after)}** ({random}: {w.number(effect.score_random)})"
    )
    if target["probability"] is None:
        return [Clause("neurons", text + ".", numbers, layer, None, units)]
    numbers |= {
        "probability before": effect.before,
        "probability without them": effect.after,
        f"probability {random}": effect.random,
    }
    text += f" and its probability from {w.percent(effect.before)} to **{w.percent(effect.after)}** ({w.percent(effect.random)})."
    found = [Clause("neurons", text, numbers, layer, None, units)]
    if abs(effect.before - effect.after) < w.FAINT:
        text = "The probability hardly changes: other neurons make up for these."
        found.append(
            Clause(
                "doubt", text, {"change of the probability": effect.after - effect.before}, layer, None, units
            )
        )
    return found


def _with_concepts(neurons: Sequence[Neuron]) -> str:
    """The units' numbers, each with the concept it detects in brackets; once at the end where it is the same for all."""
    names = [None if neuron.concept is None else w.bracketed(neuron.concept) for neuron in neurons]
    if len(neurons) > 1 and names[0] is not None and len(set(names)) == 1:
        both = "both" if len(neurons) == 2 else "all"
        return w.listed([f"**{neuron.unit}**" for neuron in neurons]) + f" ({both} {names[0]})"
    return w.listed(
        [
            f"**{neuron.unit}**" + (f" ({name})" if name else "")
            for neuron, name in zip(neurons, names, strict=True)
        ]
    )


def answering(neurons: Sequence[Neuron]) -> Clause | None:
    """What the names of concepts rest on, and what they do not say; which neurons have none."""
    known = [neuron.meaning for neuron in neurons if neuron.meaning is not None]
    if not known:
        return None
    layer, first = neurons[0].layer, known[0]
    named = [meaning for meaning in known if meaning.named]
    others = [str(meaning.unit) for meaning in known if not meaning.named]
    over = "many pictures" if first.images is None else f"{first.images:,} pictures"
    numbers: dict[str, float | str] = {
        f"IoU of neuron {meaning.unit} with {meaning.concept}": meaning.iou for meaning in known
    }
    numbers |= {} if first.images is None else {"pictures": float(first.images)}
    numbers |= {} if first.source is None else {"set of concepts": first.source}
    one = len(neurons) == 1
    if not named:
        text = (
            f"No concept is known for {'it' if one else 'them'}: over {over} {'it matches' if one else 'they match'} none "
            f"well (no IoU above {w.number(THRESHOLD)})."
        )
        numbers["IoU from which on a concept is named"] = THRESHOLD
    else:
        low, high = (f"{pick(meaning.iou for meaning in named):.2f}" for pick in (min, max))
        text = (
            f"In brackets: what {'the' if one else 'a'} neuron responds to most over {over} (overlap as IoU: "
            f"{low if low == high else f'{low} to {high}'}), which does not prove that this decision used it."
        )
        if others:
            text += f" No concept is known for neuron{'s' if len(others) > 1 else ''} {w.listed(others)}."
    units = tuple((layer, meaning.unit) for meaning in known)
    return Clause(
        "concepts", text, numbers, layer, None, units, concepts=tuple(meaning.to_json() for meaning in known)
    )
