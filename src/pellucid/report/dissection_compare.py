"""A page that sets dissected layers, networks or checkpoints side by side: what each detects, and what only one of them does.

Concepts are the same when name and category are; a concept counts as detected on a side when it is the best concept of at
least one detector there. What was measured differently on the sides (pictures, settings) is said before anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.core.storage import write_text
from pellucid.dissection.table import THRESHOLD, UnitTable
from pellucid.report import dissection_words as say
from pellucid.report.dissection import axis_end, category_key, check, render, summary
from pellucid.speech.text import count, listed

FEW = 12  # gained or lost concepts that stand open on the page


@dataclass(frozen=True)
class Cell:
    """A concept on one side: the best IoU of any unit, that unit, and how many units detect the concept."""

    iou: float
    unit: int
    units: int


@dataclass(frozen=True)
class Line:
    """A concept on every side, in the sides' order; None where a side's vocabulary does not have it."""

    name: str
    category: str
    shade: int
    cells: tuple[Cell | None, ...]

    def detected(self, side: int) -> bool:
        """Does a unit of this side have the concept as its label, above the threshold?"""
        cell = self.cells[side]
        return cell is not None and cell.units > 0

    @property
    def found(self) -> int:
        """On how many sides it is detected."""
        return sum(self.detected(side) for side in range(len(self.cells)))

    @property
    def best(self) -> float:
        """The highest IoU of any side."""
        return max(cell.iou for cell in self.cells if cell is not None)


def write_comparison(
    named: Mapping[str, UnitTable],
    path: str | Path,
    *,
    title: str | None = None,
    threshold: float = THRESHOLD,
    pages: Mapping[str, str] | None = None,
) -> Path:
    """Write the comparison of two or more tables, called by their names; returns the file.

    ``path`` is the file when it ends in ``.html``, else a folder that gets a ``comparison.html``. ``pages`` gives, for any of
    the names, the address of its page relative to the file, so that units become links. Gained and lost is meant against
    the first table. The file appears whole or not at all. Raises ValueError for fewer than two tables, and as
    `write_dissection` does.
    """
    if len(named) < 2:
        raise ValueError(
            f"Expected at least two tables to compare, got {len(named)}; try `write_dissection` for one."
        )
    check(named, threshold)
    path = Path(path)
    main = path if path.suffix.lower() in (".html", ".htm") else path / "comparison.html"
    main.parent.mkdir(parents=True, exist_ok=True)
    return write_text(main, _page(named, title, threshold, pages or {}))


def lines(named: Mapping[str, UnitTable], threshold: float = THRESHOLD) -> tuple[Line, ...]:
    """Every concept that some unit of some side overlaps by more than the threshold, highest IoU first."""
    shade = dict(category_key(named.values()))
    sides = [_cells(table, threshold) for table in named.values()]
    every = dict.fromkeys(key for side in sides for key in side)
    made = [
        Line(name, category, shade[category], tuple(side.get((name, category)) for side in sides))
        for name, category in every
    ]
    kept = [line for line in made if line.best > threshold]
    return tuple(sorted(kept, key=lambda line: (-line.best, line.name, line.category)))


def differences(named: Mapping[str, UnitTable]) -> tuple[str, ...]:
    """What makes the sides hard to compare: other pictures or concepts, other settings. One sentence each."""
    found = []
    tables = list(named.values())
    if len({tuple((concept.name, concept.category) for concept in table.concepts) for table in tables}) > 1:
        found.append("The sides know different concepts.")
    if (
        len(
            {
                str(say.fact(table, "concepts", "sha256") or say.fact(table, "concepts", "name"))
                for table in tables
            }
        )
        > 1
    ):
        names = [str(say.fact(table, "concepts", "name") or "unknown") for table in tables]
        several = listed(list(dict.fromkeys(names)))
        found.append(f"The sides were measured on different pictures: {several}.")
    chosen = [
        settings if isinstance(settings := table.facts.get("settings"), Mapping) else {} for table in tables
    ]
    for key in dict.fromkeys(key for settings in chosen for key in settings):
        values = [str(settings.get(key, "unknown")) for settings in chosen]
        if len(set(values)) > 1:
            found.append(
                f"The sides differ in {say.SETTINGS.get(key, key)}: {listed(list(dict.fromkeys(values)))}."
            )
    return tuple(found)


def _cells(table: UnitTable, threshold: float) -> dict[tuple[str, str], Cell]:
    best, unit, above = table.iou.max(0), table.iou.argmax(0), table.detectors(threshold)
    cells: dict[tuple[str, str], Cell] = {}
    for place, concept in enumerate(table.concepts):
        units = int((above & (table.label == place)).sum())
        cell = Cell(float(best[place]), int(unit[place]), units)
        known = cells.get((concept.name, concept.category))
        if known is not None:  # two numbers may stand for one name
            higher = max(cell, known, key=lambda either: either.iou)
            cell = Cell(higher.iou, higher.unit, units + known.units)
        cells[concept.name, concept.category] = cell
    return cells


def _page(
    named: Mapping[str, UnitTable], title: str | None, threshold: float, pages: Mapping[str, str]
) -> str:
    found = lines(named, threshold)
    sides = [summary(name, table, threshold, pages.get(name)) for name, table in named.items()]
    names = list(named)
    return render(
        "dissection_compare.html.j2",
        ("dissection_compare.js",),
        title=title or listed(names),
        names=names,
        sides=sides,
        tables=list(named.values()),
        threshold=threshold,
        key=category_key(named.values()),
        most=max(side["unique"] for side in sides),
        differences=differences(named),
        headline=_headline(names, found),
        changes=[_change(found, place) for place in range(1, len(names))],
        lines=found,
        top=axis_end(max([line.best for line in found], default=0.0)),
        few=FEW,
    )


def _headline(names: list[str], found: tuple[Line, ...]) -> str:
    """What all detect, and what each detects alone."""
    everywhere = sum(line.found == len(names) for line in found)
    both = "both" if len(names) == 2 else f"all {len(names)}"
    alone = [sum(line.found == 1 and line.detected(side) for line in found) for side in range(len(names))]
    each = listed([f"{alone[side] or 'none'} only in {name}" for side, name in enumerate(names)])
    return f"{count(everywhere, 'concept')} in {both}; {each}."


def _change(found: tuple[Line, ...], place: int) -> dict[str, Any]:
    """What the side at ``place`` detects and the first does not, and the other way round; best first."""

    def only(have: int, miss: int) -> list[Line]:
        mine = [line for line in found if line.detected(have) and not line.detected(miss)]
        return sorted(mine, key=lambda line: -(line.cells[have] or Cell(0.0, 0, 0)).iou)

    return {"place": place, "gained": only(place, 0), "lost": only(0, place)}
