"""The words and numbers of a dissection page: what is said of a layer, and what a stranger needs in order to read it.

Everything here follows from a `UnitTable`; what a table does not hold (held-out pictures, draws of chance, facts about the
network) is said to be unknown or left out, never made up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.dissection.table import UnitTable
from pellucid.report.words import percent
from pellucid.speech.text import count, listed, number

# Categories of Broden keep one color on every page; others take what is left, in their order.
COLORS = {"object": 0, "part": 1, "scene": 2, "material": 3, "texture": 4, "color": 5, "colour": 5}
SHADES = 10
SETTINGS = {
    "quantile": "share of activations above the threshold",
    "anchor": "placing of the map on the picture",
    "ratio": "pixels of the picture per cell of the labels",
    "draws": "draws of chance",
    "resamples": "resamples of the interval",
    "threshold": "IoU a detector must exceed",
}


@dataclass(frozen=True)
class Tile:
    """One number of a summary, what it counts, and a sentence about it."""

    value: str
    label: str
    note: str


@dataclass(frozen=True)
class Row:
    """A concept of a summary: its place in the vocabulary, how many units detect it, and their best IoU."""

    concept: int
    name: str
    units: int
    best: float


@dataclass(frozen=True)
class Group:
    """A category of a summary with its concepts, most units first; ``shade`` is its color on every page."""

    name: str
    shade: int
    detectors: int
    unique: int
    rows: tuple[Row, ...]


def shades(categories: Sequence[str]) -> dict[str, int]:
    """Of every category the number of its color; two share one only when there are more than ten."""
    known = {name: COLORS[name] for name in categories if name in COLORS}
    free = [shade for shade in range(SHADES) if shade not in known.values()] or list(range(SHADES))
    others = [name for name in categories if name not in known]
    return {**known, **{name: free[place % len(free)] for place, name in enumerate(others)}}


def fact(table: UnitTable, group: str, key: str) -> Any:
    """One of the table's facts; None where it is not there."""
    found = table.facts.get(group)
    return found.get(key) if isinstance(found, Mapping) else found if key == "name" else None


def network(table: UnitTable) -> str:
    """What the network is called."""
    return str(fact(table, "network", "name") or "an unnamed network")


def headline(table: UnitTable, threshold: float) -> str:
    """The finding in one line."""
    found, concepts = int(table.detectors(threshold).sum()), table.unique("top-label", threshold)
    if not found:
        return f"None of {count(len(table), 'unit')} detects a concept."
    several = f"{count(concepts, 'different concept')}" if found > 1 else "one concept"
    return f"{found:,} of {count(len(table), 'unit')} {'detects' if found == 1 else 'detect'} {several}."


def meaning(table: UnitTable, threshold: float, where: str = "this layer") -> tuple[str, str]:
    """What was done and what the number means, in two sentences for somebody who has never heard of it."""
    pictures, concepts = table.facts.get("images", fact(table, "concepts", "images")), len(table.concepts)
    which = f"{pictures:,} pictures" if isinstance(pictures, int) else "many pictures"
    share = fact(table, "settings", "quantile")
    strong = f" (its top {percent(min(share, 1 - share))})" if _is_share(share) else ""
    return (
        f"For every unit of {where} we marked the places in {which} where it is most active{strong}, and compared them with "
        f"labels that say what is shown where: {count(concepts, 'concept')} such as {listed(_samples(table))}.",
        f"The overlap, called IoU, is the area marked by both divided by the area marked by either (0: apart, 1: identical); "
        f"a unit whose overlap with some concept is above {threshold:g} is a detector of the concept it overlaps most.",
    )


def finding(layers: Sequence[Mapping[str, Any]]) -> str:
    """How many concepts the first and the last layer detect, and which detects most."""
    first, last, richest = layers[0], layers[-1], max(layers, key=lambda layer: int(layer["unique"]))
    if len(layers) == 1:
        return f"Its units detect {count(first['unique'], 'different concept')}."
    ends = f"From {count(first['unique'], 'different concept')} in {first['name']} to {last['unique']:,} in {last['name']}"
    between = f", most in {richest['name']}: {richest['unique']:,}" if richest not in (first, last) else ""
    return f"{ends}{between}."


def tiles(table: UnitTable, threshold: float) -> tuple[Tile, ...]:
    """The numbers at the top of a layer's page."""
    above = table.detectors(threshold)
    found = int(above.sum())
    share = f"{percent(found / len(table))} of the units" if len(table) else ""
    return (
        Tile(f"{len(table):,}", "units", "Channels of this layer, each with a map of its own."),
        Tile(
            f"{found:,}",
            "detectors",
            f"Units with an IoU above {threshold:g} for their best concept: {share}.",
        ),
        Tile(
            f"{table.unique('top-label', threshold):,}",
            "different concepts",
            "Concepts that are the best match of at least one detector (the “top-label” count).",
        ),
        Tile(
            f"{table.unique('released', threshold):,}",
            "by the paper’s count",
            f"Different concepts if a unit counts in every category where it is above {threshold:g} (the “released” count).",
        ),
        _by_chance(table, threshold),
        _kept(table, threshold),
    )


def _by_chance(table: UnitTable, threshold: float) -> Tile:
    expected = table.expected_by_chance(threshold)
    if expected is None:
        return Tile("–", "detectors by chance", "Not measured for this table.")
    shown = f"{expected:.1f}" if expected % 1 else f"{expected:.0f}"
    return Tile(
        shown,
        "detectors by chance",
        f"So many would pass if every picture had the labels of another one (mean of {count(len(table.chance), 'draw')}).",
    )


def _kept(table: UnitTable, threshold: float) -> Tile:
    scores = table.held_out_scores
    if scores is None or table.held_out is None:
        return Tile("–", "hold on unseen pictures", "No pictures were held out for this table.")
    above = table.detectors(threshold)
    kept, held = int((above & (scores > threshold)).sum()), table.held_out.images[1]
    return Tile(
        f"{kept:,} of {int(above.sum()):,}",
        "hold on unseen pictures",
        f"Detectors still above {threshold:g} on {count(held, 'picture')} that took no part in choosing threshold and concept.",
    )


def groups(table: UnitTable, threshold: float) -> tuple[Group, ...]:
    """What is detected, by category in the order of the vocabulary: the bar charts of the paper as numbers."""
    above, shade = table.detectors(threshold), shades(table.categories)
    totals = table.by_category(threshold)
    found = []
    for place, name in enumerate(table.categories):
        rows = []
        for concept in np.unique(table.label[above & (table.category_of[table.label] == place)]):
            mine = above & (table.label == concept)
            best = float(table.score[mine].max())
            rows.append(Row(int(concept), table.concepts[concept].name, int(mine.sum()), best))
        rows.sort(key=lambda row: (-row.units, -row.best, row.concept))
        found.append(Group(name, shade[name], **totals[name], rows=tuple(rows)))
    return tuple(found)


def clearest(table: UnitTable, threshold: float, most: int = 4) -> tuple[str, ...]:
    """The names of the concepts detected best."""
    order = np.argsort(-table.score, kind="stable")
    best = [int(table.label[unit]) for unit in order if table.detectors(threshold)[unit]]
    return tuple(table.concepts[concept].name for concept in list(dict.fromkeys(best))[:most])


def held_out_mean(table: UnitTable) -> float | None:
    """Mean held-out IoU over all units; None where nothing was held out."""
    scores = table.held_out_scores
    return None if scores is None or not len(scores) else float(scores.mean())


def settings(table: UnitTable) -> tuple[tuple[str, str], ...]:
    """What the numbers were made with: (what, value), whatever the table tells."""
    rows: list[tuple[str, str]] = [("network", network(table))]
    for group, entries in table.facts.items():
        if not isinstance(entries, Mapping):
            rows += [(group, number(entries))] if group != "network" else []
            continue
        for key, value in entries.items():
            if (group, key) != ("network", "name"):
                label = SETTINGS.get(str(key), str(key)) if group == "settings" else f"{group}: {key}"
                rows.append((label, f"{str(value)[:16]}…" if key == "sha256" else number(value)))
    if table.held_out is not None:
        fit, held = table.held_out.images
        rows.append(("pictures to choose on, and held out", f"{fit:,} and {held:,}"))
    return tuple(rows)


def _samples(table: UnitTable) -> list[str]:
    """A concept from each of up to three categories."""
    places = [int(np.flatnonzero(table.category_of == place)[0]) for place in range(len(table.categories))]
    return [table.concepts[place].name for place in places[:3]]


def _is_share(value: object) -> bool:
    return isinstance(value, float) and 0 < value < 1
