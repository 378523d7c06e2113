"""Adding unit tables up.

Tables of the same layer, thresholds and concepts that were counted over different pictures are merged exactly: counts are
whole numbers, so that no order of merging makes a difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.dissection.counts import Counts
from pellucid.dissection.table import Examples, HeldOut, UnitTable

_PARTS = "merged"  # of the facts of a merged table: what its tables do not have in common


def merge(tables: Iterable[UnitTable]) -> UnitTable:
    """One table of what tables of the same layer were counted over different pictures; their order makes no difference.

    Draws by chance are added up one by one; the most active pictures are the most active of all; intervals, which need
    the pictures, are dropped. ``facts`` that all have in common stay, the others are listed under "merged". Raises ValueError
    for other layers, concepts, thresholds or settings, for tables that are not complete, and for one picture in two tables.
    """
    parts = list(tables)
    if not parts:
        raise ValueError("Expected tables to merge, got none.")
    first = parts[0]
    if len(parts) == 1:
        return first
    for other in parts[1:]:
        _check_alike(first, other)
    held = None
    if first.held_out is not None:
        several = [part.held_out for part in parts if part.held_out is not None]
        held = HeldOut(
            first.held_out.thresholds,
            _sum(entry.fit for entry in several),
            _sum(entry.held for entry in several),
            (sum(entry.images[0] for entry in several), sum(entry.images[1] for entry in several)),
        )
    examples = [part.examples for part in parts if part.examples is not None]
    return UnitTable(
        first.layer,
        first.concepts,
        _sum(part.counts for part in parts),
        first.thresholds,
        held,
        tuple(_sum(draws) for draws in zip(*(part.chance for part in parts), strict=True)),
        examples=_examples(examples) if examples else None,
        facts=_facts(parts),
    )


def _sum(counts: Iterable[Counts]) -> Counts:
    return reduce(add, counts)


def _check_alike(one: UnitTable, other: UnitTable) -> None:
    """That two tables differ in nothing but the pictures they were counted over."""

    def grid(table: UnitTable) -> Any:
        return (
            None if table.examples is None else (table.examples.images.shape, table.examples.masks.shape[2:])
        )

    def held(table: UnitTable) -> Any:
        return None if table.held_out is None else table.held_out.thresholds.tolist()

    for what, mine, theirs in (
        ("layer", one.layer, other.layer),
        ("number of units", len(one), len(other)),
        ("list of concepts", one.concepts, other.concepts),
        ("thresholds", _listed(one.thresholds), _listed(other.thresholds)),
        ("held-out thresholds", held(one), held(other)),
        ("number of draws by chance", len(one.chance), len(other.chance)),
        ("number and size of examples", grid(one), grid(other)),
    ):
        if mine != theirs:
            shown = f"{mine} and {theirs}" if len(f"{mine}{theirs}") < 120 else "different ones"
            raise ValueError(
                f"Expected tables with the same {what} to merge, got {shown}; try tables of one dissection in parts."
            )
    if not (one.complete and other.complete):
        raise ValueError(
            "Expected complete tables to merge, got one that keeps the best concepts only; try the tables that `save` wrote "
            "before they were summarized."
        )


def _listed(values: npt.NDArray[Any] | None) -> list[Any] | None:
    return None if values is None else values.tolist()


def _examples(parts: Sequence[Examples]) -> Examples:
    """The most active pictures of all; the earlier picture first where two are equally active."""
    images = np.concatenate([part.images for part in parts], 1)
    maxima = np.concatenate([part.maxima for part in parts], 1)
    masks = np.concatenate([part.masks for part in parts], 1)
    ranks = parts[0].images.shape[1]
    seen = [set(part.images[part.images >= 0].tolist()) for part in parts]
    for k, mine in enumerate(seen):
        shared = mine & set().union(*seen[:k])
        if shared:
            raise ValueError(
                f"Expected tables counted over different pictures, got picture {min(shared)} in two of them; try parts that "
                "do not overlap."
            )
    absent = images < 0
    order = np.lexsort((images, np.where(absent, 0, -maxima), absent), axis=1)[:, :ranks]
    return Examples(
        np.take_along_axis(images, order, 1),
        np.take_along_axis(maxima, order, 1),
        np.take_along_axis(masks, order[:, :, None, None], 1),
    )


def _facts(tables: Sequence[UnitTable]) -> dict[str, Any]:
    """What the facts of all have in common; the rest in "merged", in an order of their own."""
    every: list[dict[str, Any]] = []
    for table in tables:
        own = {key: value for key, value in table.facts.items() if key != _PARTS}
        every += [{**own, **part} for part in table.facts.get(_PARTS, [{}])]
    common = {
        key: value
        for key, value in every[0].items()
        if all(key in facts and facts[key] == value for facts in every)
    }
    rest = [{key: value for key, value in facts.items() if key not in common} for facts in every]
    return {**common, _PARTS: sorted(rest, key=lambda facts: json.dumps(facts, sort_keys=True, default=str))}
