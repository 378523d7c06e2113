"""The words and numbers of a page about filters and parts: what is said of a layer, a filter, a picture.

Everything follows from a `PartTable`; what it does not hold is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.data.parts.source import PartKey
from pellucid.interpretable.parts.filters import FilterHere
from pellucid.interpretable.parts.table import PartTable
from pellucid.report.dissection_words import Tile
from pellucid.report.words import percent
from pellucid.speech.text import count

CLEAR = 0.5  # share of pictures with the part from which on a filter is said to point at it
ANY = "object"  # the class of sets that name none
REGIONS = {
    "upsampled": "interpolated map above the threshold",
    "receptive-field": "receptive fields of its valid cells",
    "effective-field": "middle of the receptive fields of its valid cells",
    "cells": "patches of its valid cells",
}


@dataclass(frozen=True)
class Found:
    """A part with the filters that point at it: its place among the table's parts, their number, the clearest one's share."""

    key: int
    name: str
    filters: int
    best: float


def named(key: PartKey) -> str:
    """A part in words.

    >>> named(PartKey("bird", "head")), named(PartKey("object", "hood"))
    ('bird head', 'hood')
    """
    return key.name if key.object_class == ANY else f"{key.object_class} {key.name}"


def share(value: float | None) -> str:
    r"""A probability, "–" where it is not known.

    >>> share(0.5), share(0.004), share(float("nan"))
    ('50\xa0%', '0.4\xa0%', '–')
    """
    return percent(value, 1 if value is not None and 0 < value < 0.095 else 0)


def diagonal(value: float | None) -> str:
    r"""A length as a share of the picture's diagonal.

    >>> diagonal(0.0553)
    '5.5\xa0%'
    """
    return percent(value)


def clear(table: PartTable) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """[filter]: does it point at one part?"""
    values = table.interpretability()
    return np.asarray(np.where(np.isfinite(values), values, 0.0) >= CLEAR)


def network(table: PartTable) -> str:
    """The network's name."""
    return str(table.facts.get("network", {}).get("name", "a network"))


def headline(table: PartTable) -> str:
    """What a stranger should take away."""
    many, total = int(clear(table).sum()), len(table)
    if not many:
        return f"None of the {total:,} filters points at one part"
    return f"{many:,} of {count(total, 'filter')} {'points' if many == 1 else 'point'} at one part"


def meaning(table: PartTable) -> list[str]:
    """Sentences that say what the headline means, and name the clearest filters."""
    said = [
        f"A filter is said to point at a part when its strongest region lies on it in at least {share(CLEAR)} of the pictures "
        "that show the part; and it is steady when its peak keeps the same distance to the part."
    ]
    order = np.argsort(-np.nan_to_num(table.interpretability(), nan=-1.0), kind="stable")
    best = [(int(k), table.meaning(int(k))) for k in order[:3]]
    words = [
        f"filter {k} on the {named(key)} ({share(table.interpretability()[k])})"
        for k, key in best
        if key is not None
    ]
    if words:
        said.append(f"The clearest: {', '.join(words)}.")
    return said


def tiles(table: PartTable) -> list[Tile]:
    """The layer in numbers."""
    found = table.summary()
    chance = {name: found[f"{name}_by_chance"] for name in ("interpretability", "instability")}
    parts = {int(k) for k, each in zip(table.best(), clear(table), strict=True) if each}
    return [
        Tile(
            share(found["interpretability"]),
            "part interpretability",
            "how often a filter lies on its part, mean over filters"
            + _interval(found["interpretability_interval"], share)
            + _by_chance(chance["interpretability"], share)
            + "; higher is better",
        ),
        Tile(
            diagonal(found["instability"]),
            "location instability",
            "how far its distance to parts wanders, of the picture’s diagonal"
            + _interval(found["instability_interval"], diagonal)
            + _by_chance(chance["instability"], diagonal)
            + _of_center(found["instability_of_center"])
            + "; lower is better",
        ),
        Tile(str(int(clear(table).sum())), "filters with a part", f"of {len(table):,} in {table.layer}"),
        Tile(str(len(parts)), "different parts", f"of {len(table.keys):,} that are labeled"),
    ]


def _interval(ends: Sequence[float] | None, form: Any) -> str:
    return "" if ends is None else f" (95 %: {form(ends[0])} to {form(ends[1])})"


def _of_center(value: float | None) -> str:
    return "" if value is None else f", {diagonal(value)} for a mark that stands still in the middle"


def _by_chance(value: float | None, form: Any) -> str:
    return "" if value is None else f", {form(value)} when pictures are swapped"


def groups(table: PartTable) -> list[tuple[str, list[Found], int]]:
    """Every class with the parts filters point at, most filters first, and the class's place, which decides its color."""
    values, best, good = table.interpretability(), table.best(), clear(table)
    found = []
    for at, kind in enumerate(table.classes):
        rows = []
        for place, key in enumerate(table.keys):
            mine = np.flatnonzero(good & (best == place))
            if key.object_class == kind and len(mine):
                rows.append(Found(place, key.name, len(mine), float(values[mine].max())))
        if rows:
            found.append((kind, sorted(rows, key=lambda row: (-row.filters, -row.best, row.name)), at))
    return found


def settings(table: PartTable) -> list[tuple[str, str]]:
    """How the numbers were made."""
    facts = table.facts
    chosen: Mapping[str, Any] = facts.get("settings", {})
    rows = [
        ("network", f"{network(table)}, {table.layer}"),
        (
            "pictures with parts",
            f"{facts.get('parts', {}).get('name', '–')}, {facts.get('images', 0):,} used",
        ),
        ("share of activations above a filter’s threshold", str(chosen.get("quantile", "–"))),
        ("its region in a picture", REGIONS.get(table.regions[0], table.regions[0])),
        ("it lies on a part above an IoU of", str(chosen.get("iou", "–"))),
        ("wandering: pictures, from the most activated", str(chosen.get("most_active", "–"))),
        ("parts left out when seen in fewer pictures than", str(chosen.get("fewest", "–"))),
        ("position of a cell", str(chosen.get("anchor", "–"))),
    ]
    others = table.summary()["interpretability_by_region"]
    rows += [(f"interpretability by {REGIONS[name]}", share(others[name])) for name in table.regions[1:]]
    return rows


def strength(one: FilterHere) -> str:
    """How strongly a filter answers in one picture."""
    if one.strength > 1:
        return f"{one.strength:.1f} × its threshold"
    return "weakly, below its threshold"


def about(one: FilterHere) -> str:
    """What is known of a filter from other pictures."""
    if one.part is None:
        return "lies on none of the known parts"
    return f"lies on the {named(one.part)} in {share(one.interpretability)} of other pictures"


def first(found: Sequence[FilterHere]) -> FilterHere | None:
    """The filter to begin with: the strongest that points at one part, or the strongest at all; None where there is none."""
    known = (one for one in found if one.part is not None and one.interpretability >= CLEAR)
    return next(known, found[0] if found else None)


def first_sentence(found: Sequence[FilterHere]) -> str:
    """What a stranger should take away from one picture."""
    one = first(found)
    if one is None:
        return "No filter answers in this picture."
    who = "The strongest filter" if one is found[0] else "The strongest filter that points at one part"
    if one.part is None:
        return f"{who}, number {one.index}, lies on none of the known parts."
    return (
        f"{who}, number {one.index}, is known for the {named(one.part)}: it lies on it in {share(one.interpretability)} of the "
        "pictures that show one."
    )
