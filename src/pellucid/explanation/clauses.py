"""The clauses of a sentence: each function turns measurements into at most one clause, or none.

Nothing is said without a number behind it, and every number of a clause is in ``Clause.numbers``. What parts have to say is in
`part_clauses`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pellucid.core.results import Heatmap
from pellucid.dissection.table import THRESHOLD
from pellucid.explanation.evidence import Concentration
from pellucid.explanation.explanation import Clause, Neuron, Removal, clause
from pellucid.explanation.faithfulness import Faithfulness
from pellucid.speech import wording as w


def prediction(top: Sequence[Mapping[str, Any]], target: Mapping[str, Any]) -> Clause:
    """What the network says, and what is explained where that is something else."""
    first = top[0]
    numbers: dict[str, float | str] = {f"probability of {first['class']}": first["probability"]}
    facts: dict[str, Any] = {"first": first["class"], "probability": first["probability"]}
    if target["predicted"]:
        return clause("prediction", "prediction", facts, numbers)
    unit = "score" if target["probability"] is None else "probability"
    numbers[f"{unit} of {target['name']}"] = target[unit]
    facts |= {"target": target["name"], "value": target[unit], "unit": unit}
    return clause("prediction", "explained", facts, numbers)


def doubt_of_prediction(top: Sequence[Mapping[str, Any]], target: Mapping[str, Any]) -> Clause | None:
    """Says when the network is unsure, or a second class is near."""
    if len(top) < 2 or not target["predicted"] or top[1]["probability"] < w.RIVAL:
        return None
    first, second = top[0], top[1]
    numbers = {f"probability of {entry['class']}": entry["probability"] for entry in (first, second)}
    facts = {
        "unsure": first["probability"] < w.UNSURE,
        "name": second["class"],
        "probability": second["probability"],
    }
    return clause("doubt", "second", facts, numbers)


def region(heatmap: Heatmap, found: Concentration | None, stages: Sequence[str]) -> Clause:
    """Where half of the evidence lies, or why the map cannot be read."""
    layer, method = heatmap.layer.name, heatmap.method
    facts: dict[str, Any] = {"layer": layer, "deepest": len(stages) > 1 and layer == stages[-1]}
    if found is None:
        status = heatmap.status[0]
        facts["status"] = status
        return clause("failure", "no_region", facts, {"status": status}, layer=layer, method=method)
    where = w.place(*found.center, *heatmap.input_size)
    facts |= {"area": found.area, "place": where}
    numbers: dict[str, float | str] = {"area with half of the evidence": found.area, "place": where}
    return clause("region", "region", facts, numbers, layer=layer, method=method, box=found.box)


def faithful(found: Faithfulness | None) -> list[Clause]:
    """Whether the map orders the pixels better than what knows nothing of the network, and a doubt where it ignores the network.

    An area under a curve is the mean of the probability along it, and so it is called.
    """
    if found is None:
        return []
    said = [] if found.curves is None else [_compared(found)]
    alike = found.sanity.similarity
    if found.sanity.insensitive and alike is not None:
        numbers: dict[str, float | str] = {"rank correlation with the map of a random upper half": alike}
        facts = {"correlation": alike}
        said.append(
            clause("faithfulness", "insensitive", facts, numbers, layer=found.layer, method=found.method)
        )
    return said


def _compared(found: Faithfulness) -> Clause:
    assert found.areas is not None
    place: dict[str, Any] = {"layer": found.layer, "method": found.method}
    if found.verdict == "flat":
        low, high = found.extremes
        ends: dict[str, float | str] = {f"lowest {found.unit}": low, f"highest {found.unit}": high}
        return clause("faithfulness", "flat", {"unit": found.unit, "low": low, "high": high}, ends, **place)
    ours, theirs = found.areas["map"], found.areas["center"]
    numbers: dict[str, float | str] = {
        f"mean {found.unit}, pixels {what} by {whose}": areas[kind]
        for whose, areas in (("this map", ours), ("a center blob", theirs))
        for kind, what in (("deletion", "removed"), ("insertion", "brought back"))
    }
    facts = {"unit": found.unit, "ours": ours, "theirs": theirs, "verdict": found.verdict}
    return clause("faithfulness", "compared", facts, numbers, **place)


def on_object(
    name: str, predicted: str, shares: Sequence[tuple[float, float]], area: float, method: str
) -> list[Clause]:
    """How much of the evidence lies on the object whose mask is known, as a mean over the stages, and a doubt where it is little.

    ``shares`` holds, per stage, the share inside the mask and the share a map on that grid could reach (`attainable`). Of
    the embedded networks, those trained where class and background are independent reach about 0.7 of it with Shallow-CAM,
    those trained where they go together 0.2 to 0.4. Below ``LEAN`` the network is said to lean on the surroundings: in 1
    to 4 % of the test scenes of the former, 67 and 92 % of the latter (``studies/surroundings.py``).
    """
    inside = sum(share for share, _ in shares) / len(shares)
    best = sum(most for _, most in shares) / len(shares)
    numbers: dict[str, float | str] = {
        f"evidence on the {name}, mean of {len(shares)} stages": inside,
        "evidence a perfect map could have there on these grids": best,
        f"area of the {name}": area,
    }
    facts = {"name": name, "inside": inside, "best": best, "area": area}
    found = [clause("object", "on_object", facts, numbers, method=method)]
    if inside < w.LEAN * best:
        numbers = {"part of the attainable share": inside / best}
        found.append(clause("doubt", "little", {"name": name}, numbers, method=method))
    if name != predicted:
        facts = {"name": name, "target": predicted}
        found.append(clause("doubt", "other_object", facts, {"object": name, "explained": predicted}))
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
        none: dict[str, float | str] = {"units with a positive score": 0.0}
        return [clause("failure", "no_neuron", {"criterion": criterion}, none)]
    layer = neurons[0].layer
    units = tuple((layer, neuron.unit) for neuron in neurons)
    share = sum(neuron.share for neuron in neurons)
    probable = target["probability"] is not None
    numbers: dict[str, float | str] = {
        f"share of the {criterion} score": share,
        "neurons in the layer": float(total),
    }
    facts: dict[str, Any] = {
        "layer": layer,
        "deepest": layer == deepest,
        "units": [(neuron.unit, neuron.concept) for neuron in neurons],
        "share": share,
        "criterion": criterion,
        "total": total,
        "effect": None if effect is None else asdict(effect),
        "target": target["name"],
        "probable": probable,
    }
    if effect is None:
        return [clause("neurons", "carried", facts, numbers, layer=layer, units=units)]
    random = f"without {'one' if len(units) == 1 else 'as many'} random"
    numbers |= {
        "score before": effect.score_before,
        "score without them": effect.score_after,
        f"score {random}, mean of {effect.draws} draws": effect.score_random,
    }
    if probable:
        numbers |= {
            "probability before": effect.before,
            "probability without them": effect.after,
            f"probability {random}": effect.random,
        }
    found = [clause("neurons", "carried", facts, numbers, layer=layer, units=units)]
    if probable and abs(effect.before - effect.after) < w.FAINT:
        change: dict[str, float | str] = {"change of the probability": effect.after - effect.before}
        found.append(clause("doubt", "hardly", {}, change, layer=layer, units=units))
    return found


def answering(neurons: Sequence[Neuron]) -> Clause | None:
    """What the names of concepts rest on, and what they do not say; which neurons have none."""
    known = [neuron.meaning for neuron in neurons if neuron.meaning is not None]
    if not known:
        return None
    layer, first = neurons[0].layer, known[0]
    named = [meaning for meaning in known if meaning.named]
    numbers: dict[str, float | str] = {
        f"IoU of neuron {meaning.unit} with {meaning.concept}": meaning.iou for meaning in known
    }
    numbers |= {} if first.images is None else {"pictures": float(first.images)}
    numbers |= {} if first.source is None else {"set of concepts": first.source}
    facts: dict[str, Any] = {"one": len(neurons) == 1, "images": first.images}
    if named:
        overlaps = [meaning.iou for meaning in named]
        facts |= {"low": min(overlaps), "high": max(overlaps)}
        facts["others"] = [meaning.unit for meaning in known if not meaning.named]
    else:
        facts["threshold"] = numbers["IoU from which on a concept is named"] = THRESHOLD
    return clause(
        "concepts",
        "named" if named else "unnamed",
        facts,
        numbers,
        layer=layer,
        units=tuple((layer, meaning.unit) for meaning in known),
        concepts=tuple(meaning.to_json() for meaning in known),
    )
