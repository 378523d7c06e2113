"""Asking a unit table: which units answer to a concept, which concepts a unit answers to; and adding tables up.

`query` looks at every pair of a unit and a concept, `filter_units` at every unit with its own label. Of a table that is not
``complete`` they know the concepts it knows: the best of each category, and candidates.
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

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.data.concepts.base import Concept
from pellucid.dissection.counts import Counts
from pellucid.dissection.table import THRESHOLD, Detection, Examples, HeldOut, UnitTable

_PARTS = "merged"  # of the facts of a merged table: what its tables do not have in common


def query(
    table: UnitTable,
    *,
    concept: str | None = None,
    category: str | None = None,
    minimum: float = THRESHOLD,
    unit: int | None = None,
    inclusive: bool = False,
) -> list[Detection]:
    """All pairs of a unit and a concept with an IoU above ``minimum`` (from it on with ``inclusive``), the highest first.

    A concept is named by its name or a synonym, in any case; one that several categories have is asked in all of them
    unless ``category`` is given. Pairs that never meet are left out. Raises KeyError for an unknown concept or category, naming
    close ones, IndexError for a unit the layer does not have.
    """
    wanted = _wanted(table, concept, category)
    rows = np.arange(len(table))
    if unit is not None:
        table.detection(unit)
        rows = np.array([unit])
    inner = table.iou[np.ix_(rows, wanted)]
    above = (inner >= minimum if inclusive else inner > minimum) & (inner > 0)
    pairs = np.argwhere(above)
    order = np.argsort(-inner[above], kind="stable")
    return [table.detection(int(rows[row]), int(wanted[column])) for row, column in pairs[order]]


def filter_units(
    table: UnitTable,
    *,
    concept: str | None = None,
    category: str | None = None,
    minimum: float = THRESHOLD,
    held_out: float | None = None,
    inclusive: bool = False,
) -> list[int]:
    """The units whose label is the concept, or of the category, with an IoU above ``minimum``; in their order.

    ``held_out``: only those whose honest score is above it too. Indices are the layer's, so that they hold for the table,
    activations and reports alike. Raises KeyError as `query` does, ValueError for ``held_out`` where nothing was held out.
    """
    kept = np.isin(table.label, _wanted(table, concept, category))
    kept &= table.detectors(minimum, inclusive=inclusive)
    if held_out is not None:
        scores = table.held_out_scores
        if scores is None:
            raise ValueError(
                f"Expected a table with a held-out part, got one of `{table.layer}` without; try without `held_out`."
            )
        kept &= scores >= held_out if inclusive else scores > held_out
    return [int(unit) for unit in np.flatnonzero(kept)]


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


def find(concepts: Sequence[Concept], name: str, category: str | None = None) -> list[int]:
    """Places of the concepts with a name, or where none has it, with such a synonym.

    Raises KeyError for an unknown name or category, naming close ones.
    """
    categories = list(dict.fromkeys(concept.category for concept in concepts))
    if category is not None and category not in categories:
        raise UnknownNameError(f"Expected a category, got `{category}`; {suggest(category, categories)}")
    inside = [k for k, concept in enumerate(concepts) if category in (None, concept.category)]
    wanted = _folded(name)
    for names in ([(known.name,) for known in concepts], [known.synonyms for known in concepts]):
        found = [k for k in inside if wanted in map(_folded, names[k])]
        if found:
            return found
    texts = [text for k in inside for text in (concepts[k].name, *concepts[k].synonyms)]
    of = "" if category is None else f" of the category `{category}`"
    raise UnknownNameError(f"Expected the name of a concept{of}, got `{name}`; {suggest(name, texts)}")


def _wanted(table: UnitTable, concept: str | None, category: str | None) -> npt.NDArray[np.int64]:
    """Places of the concepts that are asked for."""
    if concept is not None:
        return np.array(find(table.concepts, concept, category), np.int64)
    if category is not None and category not in table.categories:
        raise UnknownNameError(
            f"Expected a category, got `{category}`; {suggest(category, table.categories)}"
        )
    return np.flatnonzero([category in (None, known.category) for known in table.concepts]).astype(np.int64)


def _folded(name: str) -> str:
    return name.casefold().replace("_", " ").strip()


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
