"""Several unit tables side by side: layers, networks, or checkpoints of one.

Concepts are compared by category and name, since numbers may differ from set to set. A concept counts as found where some unit
detects it (its label, with an IoU above the threshold); *gained* and *lost* are said against the table before, or against one
``baseline``. Where networks have different numbers of units, compare shares: more units find more concepts by chance alone,
which ``chance`` estimates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.dissection.table import THRESHOLD, UnitTable

SCHEMA = 1
_SHOWN = 12  # names at most in one cell of the Markdown
Name = tuple[str, str]


@dataclass(frozen=True)
class Summary:
    """What one table says.

    ``unique`` by the released rule, ``unique_top`` by the labels of detectors; ``share`` of units that are detectors;
    ``score`` and ``held_out``: mean IoU over all units of their label, of the held-out label on the held-out pictures;
    ``confirmed``: units above the threshold there; ``chance``: detectors expected if masks had nothing to do with the pictures.
    None where it was not measured, or there are no units. ``categories``: per category the detectors, and the unique ones
    by either rule; a category the table does not have is not in it. ``concepts``: (category, name) of what is detected.
    """

    layer: str
    units: int
    detectors: int
    unique: int
    unique_top: int
    share: float | None
    score: float | None
    held_out: float | None
    confirmed: int | None
    chance: float | None
    categories: Mapping[str, Mapping[str, int]]
    concepts: tuple[Name, ...]


@dataclass(frozen=True)
class Change:
    """What ``name`` finds and ``against`` does not, and the other way round: (category, name), sorted."""

    name: str
    against: str
    gained: tuple[Name, ...]
    lost: tuple[Name, ...]


@dataclass(frozen=True)
class Comparison:
    """What several tables say, by the names they were given."""

    threshold: float
    summaries: Mapping[str, Summary]
    changes: tuple[Change, ...]

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of all tables."""
        return tuple(
            dict.fromkeys(name for summary in self.summaries.values() for name in summary.categories)
        )

    def to_json(self) -> dict[str, Any]:
        """A mapping of JSON types only; what was not measured is None."""
        return {
            "schema": SCHEMA,
            "threshold": self.threshold,
            "categories": list(self.categories),
            "tables": {
                name: {**asdict(summary), "concepts": [list(concept) for concept in summary.concepts]}
                for name, summary in self.summaries.items()
            },
            "changes": [
                {
                    "name": change.name,
                    "against": change.against,
                    "gained": [list(concept) for concept in change.gained],
                    "lost": [list(concept) for concept in change.lost],
                }
                for change in self.changes
            ],
        }

    def to_markdown(self) -> str:
        """Three tables: the totals, the categories (detectors, and unique ones by the released rule), what is gained and lost."""
        totals = [
            [
                name,
                summary.layer,
                str(summary.units),
                str(summary.detectors),
                _percent(summary.share),
                _number(summary.chance, 1),
                _number(summary.confirmed, 0),
                str(summary.unique),
                str(summary.unique_top),
                _number(summary.score, 4),
                _number(summary.held_out, 4),
            ]
            for name, summary in self.summaries.items()
        ]
        head = ["", "layer", "units", "detectors", "share", "by chance", "held out too", "unique (released)"]
        blocks = [
            f"Detectors: IoU above {self.threshold:g}.\n",
            _markdown([*head, "unique (top label)", "mean IoU", "mean held-out IoU"], totals),
            _markdown(["detectors / unique", *self.categories], [*map(self._by_category, self.summaries)]),
        ]
        if self.changes:
            rows = [
                [change.name, change.against, _names(change.gained), _names(change.lost)]
                for change in self.changes
            ]
            blocks.append(_markdown(["", "against", "gained", "lost"], rows))
        return "\n".join(blocks)

    def _by_category(self, name: str) -> list[str]:
        found = self.summaries[name].categories
        cells = [found.get(category) for category in self.categories]
        return [name, *("—" if cell is None else f"{cell['detectors']} / {cell['unique']}" for cell in cells)]


def compare(
    tables: Mapping[str, UnitTable], *, threshold: float = THRESHOLD, baseline: str | None = None
) -> Comparison:
    """Compare tables in the order given; every one with the one before, or with ``baseline``.

    Raises ValueError for less than two tables, KeyError for a ``baseline`` that is none of them.
    """
    if len(tables) < 2:
        raise ValueError(f"Expected two or more tables to compare, got {len(tables)}; try another layer.")
    if baseline is not None and baseline not in tables:
        raise UnknownNameError(
            f"Expected the name of a table as the baseline, got `{baseline}`; {suggest(baseline, tables)}"
        )
    summaries = {name: _summary(table, threshold) for name, table in tables.items()}
    names = list(summaries)
    if baseline is None:
        pairs = list(zip(names[1:], names, strict=False))
    else:
        pairs = [(name, baseline) for name in names if name != baseline]
    return Comparison(threshold, summaries, tuple(_change(name, other, summaries) for name, other in pairs))


def _summary(table: UnitTable, threshold: float) -> Summary:
    above = table.detectors(threshold)
    honest = table.held_out_scores
    units = len(table)
    unique, own = table.unique_by_category(threshold), table.by_category(threshold)
    found = {(table.concepts[k].category, table.concepts[k].name) for k in np.unique(table.label[above])}
    return Summary(
        layer=table.layer,
        units=units,
        detectors=int(above.sum()),
        unique=table.unique("released", threshold),
        unique_top=table.unique("top-label", threshold),
        share=float(above.mean()) if units else None,
        score=float(table.score.mean()) if units else None,
        held_out=None if honest is None or not units else float(honest.mean()),
        confirmed=None if honest is None else int((honest > threshold).sum()),
        chance=table.expected_by_chance(threshold),
        categories={
            name: {
                "detectors": own[name]["detectors"],
                "unique": unique[name],
                "unique_top": own[name]["unique"],
            }
            for name in table.categories
        },
        concepts=tuple(sorted(found)),
    )


def _change(name: str, other: str, summaries: Mapping[str, Summary]) -> Change:
    here, there = set(summaries[name].concepts), set(summaries[other].concepts)
    return Change(name, other, tuple(sorted(here - there)), tuple(sorted(there - here)))


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _names(concepts: tuple[Name, ...]) -> str:
    """How many, and their names; the categories are in the JSON."""
    shown = ", ".join(name for _, name in concepts[:_SHOWN])
    more = f" and {len(concepts) - _SHOWN} more" if len(concepts) > _SHOWN else ""
    return f"{len(concepts)}: {shown}{more}" if concepts else "none"


def _number(value: float | None, digits: int) -> str:
    return "—" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f} %"
