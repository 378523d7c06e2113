"""The clauses of a sentence: each function turns measurements into at most one clause, or none.

Nothing is said without a number behind it, and every number of a clause is one of its quantities. What parts have to say is in
`part_clauses`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pellucid.core.results import Heatmap
from pellucid.dissection.table import THRESHOLD
from pellucid.explanation.facts import Clause, Neuron, Quantity, Removal, clause
from pellucid.explanation.faithfulness import Faithfulness
from pellucid.explanation.measuring import Concentration
from pellucid.speech import wording as w

Entry = Mapping[str, Any]  # a class with its probability, as `measuring.prediction_of` gives it


def prediction(top: Sequence[Entry], target: Mapping[str, Any]) -> Clause:
    """What the network says, and what is explained where that is something else."""
    first = top[0]
    if first["probability"] is None:
        return _plain_numbers(top, target)
    numbers = [_class_probability(first)]
    facts: dict[str, Any] = {"first": first["class"], "probability": first["probability"]}
    if target["predicted"]:
        return clause("prediction", "prediction", facts, numbers)
    kind = "score" if target["probability"] is None else "probability"
    numbers.append(Quantity(f"target.{kind}", target[kind], kind, {"name": target["name"]}))  # type: ignore[arg-type]
    facts |= {"target": target["name"], "value": target[kind], "kind": kind}
    return clause("prediction", "explained", facts, numbers)


def _plain_numbers(top: Sequence[Entry], target: Mapping[str, Any]) -> Clause:
    numbers = [Quantity("class.value", entry["output"], "score", {"name": entry["class"]}) for entry in top]
    facts: dict[str, Any] = {"values": [(entry["class"], entry["output"]) for entry in top], "target": None}
    if not target["predicted"]:
        numbers.append(Quantity("target.score", target["score"], "score", {"name": target["name"]}))
        facts["target"] = (target["name"], target["score"])
    return clause("prediction", "predicted", facts, numbers)


def doubts_of_prediction(top: Sequence[Entry], target: Mapping[str, Any]) -> list[Clause]:
    """Says when the network is unsure, or a second class is near; another name for the same thing is no second class."""
    if len(top) < 2 or not target["predicted"] or top[0]["probability"] is None:
        return []
    first = top[0]
    same = [entry for entry in top[1:] if same_thing(first["class"], entry["class"])]
    together = first["probability"] + sum(entry["probability"] for entry in same)
    said = []
    if same and same[0]["probability"] >= w.RIVAL:
        facts = {"name": same[0]["class"], "probability": same[0]["probability"], "together": together}
        numbers = [_class_probability(same[0]), Quantity("class.together", together, "probability")]
        said.append(clause("prediction", "synonym", facts, numbers))
    second = rival(top)
    if second is not None:
        unsure = together < w.UNSURE
        facts = {"unsure": unsure, "name": second["class"], "probability": second["probability"]}
        said.append(clause("doubt", "second", facts, [_class_probability(first), _class_probability(second)]))
    return said


def rival(top: Sequence[Entry]) -> Entry | None:
    """The second class, where it is near: the most probable one that is not another name for the first."""
    if top[0]["probability"] is None:
        return None
    others = [entry for entry in top[1:] if not same_thing(top[0]["class"], entry["class"])]
    return others[0] if others and others[0]["probability"] >= w.RIVAL else None


def same_thing(first: str, second: str) -> bool:
    """Are two class names forms of one name: plural and singular, or lists of names that share one?

    Example:
        >>> same_thing("sunglass", "sunglasses, dark glasses, shades"), same_thing("tiger", "tiger cat")
        (True, False)
    """
    return first != second and bool(_forms(first) & _forms(second))


def _forms(label: str) -> set[str]:
    names = (
        " ".join(each.replace("-", " ").replace("_", " ").casefold().split()) for each in label.split(",")
    )
    return {_singular(name) for name in names if name}


def _singular(name: str) -> str:
    if name.endswith("ies") and len(name) > 4:
        return name[:-3] + "y"
    if name.endswith(("sses", "shes", "ches", "xes")):
        return name[:-2]
    return (
        name[:-1] if name.endswith("s") and not name.endswith(("ss", "us", "is")) and len(name) > 3 else name
    )


def _class_probability(entry: Entry) -> Quantity:
    return Quantity("class.probability", entry["probability"], "probability", {"name": entry["class"]})


def region(heatmap: Heatmap, found: Concentration | None, stages: Sequence[str]) -> Clause:
    """Where half of the evidence lies, or why the map cannot be read."""
    layer, method = heatmap.layer.name, heatmap.method
    facts: dict[str, Any] = {"layer": layer, "deepest": len(stages) > 1 and layer == stages[-1]}
    if found is None:
        status = heatmap.status[0]
        numbers = [Quantity("map.status", status, "name")]
        return clause("failure", "no_region", facts | {"status": status}, numbers, layer=layer, method=method)
    facts |= {"area": found.area, "places": found.places}
    numbers = [Quantity("map.area", found.area, "share")]
    if found.places:
        numbers.append(Quantity("map.place", "; ".join(found.places), "place"))
    return clause("region", "region", facts, numbers, layer=layer, method=method, box=found.box)


def faithful(found: Faithfulness | None) -> list[Clause]:
    """Whether the map orders the pixels better than what knows nothing of the network, and a doubt where it ignores the network,
    which leaves no verdict standing.

    An area under a curve is the mean of the probability along it, and so it is called.
    """
    if found is None:
        return []
    said = [] if found.curves is None else [_compared(found)]
    alike = found.sanity.similarity
    if found.overridden and alike is not None:
        about = {"draws": found.sanity.draws}
        numbers = [Quantity("sanity.correlation", alike, "correlation", about, found.sanity.spread)]
        facts = {"correlation": alike, "spread": found.sanity.spread}
        said.append(
            clause("faithfulness", "insensitive", facts, numbers, layer=found.layer, method=found.method)
        )
    return said


def _compared(found: Faithfulness) -> Clause:
    assert found.areas is not None
    where: dict[str, Any] = {"layer": found.layer, "method": found.method}
    kind = found.unit
    if found.verdict == "flat":
        low, high = found.extremes
        numbers = [Quantity("curves.lowest", low, kind), Quantity("curves.highest", high, kind)]
        return clause("faithfulness", "flat", {"kind": kind, "low": low, "high": high}, numbers, **where)
    numbers = [
        Quantity(f"{test}.{whose}", found.areas[whose][test], kind)
        for whose in ("map", "center")
        for test in ("deletion", "insertion")
    ]
    facts = {
        "kind": kind,
        "ours": found.areas["map"],
        "theirs": found.areas["center"],
        "verdicts": {} if found.overridden else dict(found.verdicts),
    }
    return clause("faithfulness", "compared", facts, numbers, **where)


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
    numbers = [
        Quantity("object.evidence", inside, "share", {"name": name, "stages": len(shares)}),
        Quantity("object.attainable", best, "share"),
        Quantity("object.area", area, "share", {"name": name}),
    ]
    facts = {"name": name, "inside": inside, "best": best, "area": area}
    said = [clause("object", "on_object", facts, numbers, method=method)]
    if inside < w.LEAN * best:
        numbers = [Quantity("object.reached", inside / best, "share")]
        said.append(clause("doubt", "little", {"name": name}, numbers, method=method))
    if name != predicted:
        names = [Quantity("object.name", name, "name"), Quantity("target.name", predicted, "name")]
        said.append(clause("doubt", "other_object", {"name": name, "target": predicted}, names))
    return said


def carried(
    units: Sequence[Neuron],
    effect: Removal | None,
    total: int,
    criterion: str,
    target: Mapping[str, Any],
    deepest: str,
) -> list[Clause]:
    """Which units carry the target, by score and by what removing them does; random units of equal number beside.

    Only units whose removal lowers the score are cited. ``deepest`` is the last stage, which is called so.
    """
    if not units:
        numbers = [Quantity("units.positive", 0.0, "count")]
        return [clause("failure", "no_unit", {"criterion": criterion}, numbers)]
    layer = units[0].layer
    cited = [unit for unit in units if unit.cited]
    facts: dict[str, Any] = {"layer": layer, "deepest": layer == deepest, "criterion": criterion}
    if not cited:
        numbers = [Quantity("units.cited", 0.0, "count")]
        return [clause("failure", "none_cited", facts | {"count": len(units)}, numbers, layer=layer)]
    named = tuple((layer, unit.unit) for unit in cited)
    share = sum(unit.share for unit in cited)
    probable = target["probability"] is not None
    numbers = [
        Quantity("units.share", share, "share", {"criterion": criterion}),
        Quantity("units.layer", float(total), "count"),
    ]
    facts |= {
        "units": [(unit.unit, unit.concept, unit.strength) for unit in cited],
        "share": share,
        "total": total,
        "effect": None if effect is None else asdict(effect),
        "target": target["name"],
        "probable": probable,
    }
    if effect is None:
        return [clause("units", "carried", facts, numbers, layer=layer, units=named)]
    numbers += _of_removal(effect, probable)
    said = [clause("units", "carried", facts, numbers, layer=layer, units=named)]
    hardly = abs(effect.before - effect.after) < w.FAINT and effect.after >= w.STEADY * effect.before
    if probable and hardly:
        said.append(_steady(cited, effect, named))
    return said


def _of_removal(effect: Removal, probable: bool) -> list[Quantity]:
    draws = {"draws": effect.draws}
    numbers = [
        Quantity("before.score", effect.score_before, "score"),
        Quantity("removed.score", effect.score_after, "score"),
        Quantity("random.score", effect.score_random, "score", draws, effect.score_spread),
    ]
    if probable:
        numbers += [
            Quantity("before.probability", effect.before, "probability"),
            Quantity("removed.probability", effect.after, "probability"),
            Quantity("random.probability", effect.random, "probability", draws),
        ]
    return numbers


def _steady(cited: Sequence[Neuron], effect: Removal, named: tuple[tuple[str, int], ...]) -> Clause:
    """Why the probability hardly moves: it is saturated, or others make up for the units, or they count little.

    That others make up for them is said only where together they cost less than each alone adds up to, which cannot be
    before a linear head.
    """
    together = effect.score_before - effect.score_after
    alone = sum(effect.score_before - unit.removed_score for unit in cited if unit.removed_score is not None)
    numbers = [
        Quantity("removed.change", effect.after - effect.before, "probability"),
        Quantity("removed.loss", together, "score"),
        Quantity("removed.losses", alone, "score"),
    ]
    rest: dict[str, Any] = {"layer": effect.layer, "units": named}
    fall = together / effect.score_before if effect.score_before > 0 else 0.0
    if fall >= w.SATURATED and effect.after >= w.UNSURE:
        numbers.append(Quantity("removed.fall", fall, "share"))
        return clause("doubt", "saturated", {"fall": fall}, numbers, **rest)
    if len(cited) > 1 and together < w.MADE_UP * alone:
        return clause("doubt", "made_up", {"together": together, "alone": alone}, numbers, **rest)
    return clause("doubt", "hardly", {}, numbers, **rest)


def answering(units: Sequence[Neuron]) -> Clause | None:
    """What the names of concepts rest on, and what they do not say; which units have none."""
    cited = [unit for unit in units if unit.cited]
    known = [unit.meaning for unit in cited if unit.meaning is not None]
    if not known:
        return None
    layer, first = cited[0].layer, known[0]
    named = [meaning for meaning in known if meaning.named]
    numbers = []
    for meaning in known:
        about = {"unit": meaning.unit, "name": meaning.concept}
        numbers.append(Quantity("unit.iou", meaning.iou, "iou", about))
        if meaning.held_out is not None:
            about = {"unit": meaning.unit, "name": meaning.held_out[0]}
            numbers.append(Quantity("unit.held_out", meaning.held_out[1], "iou", about))
    if first.images is not None:
        numbers.append(Quantity("table.images", float(first.images), "count"))
    if first.source is not None:
        numbers.append(Quantity("table.set", first.source, "name"))
    facts: dict[str, Any] = {"one": len(cited) == 1, "images": first.images}
    if named:
        overlaps = [meaning.iou for meaning in named]
        facts |= {"low": min(overlaps), "high": max(overlaps), "layer": layer}
        facts |= {"others": [meaning.unit for meaning in known if not meaning.named]}
        facts |= {"weak": any(meaning.strength == "weak" for meaning in named)}
    else:
        facts["threshold"] = THRESHOLD
        numbers.append(Quantity("table.threshold", THRESHOLD, "iou"))
    return clause(
        "concepts",
        "named" if named else "unnamed",
        facts,
        numbers,
        layer=layer,
        units=tuple((layer, meaning.unit) for meaning in known),
        concepts=tuple(meaning.to_json() for meaning in known),
    )
