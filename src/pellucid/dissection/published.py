"""Unit tables as the authors of network dissection publish them, read and written.

One row per unit, sorted by score: ``unit`` (from 1), ``category``, ``label``, ``score``, then for every category its best
label with ``truth``, ``activation``, ``intersect`` and ``iou``. Checked while reading: iou = intersect / (truth + activation -
intersect), and that the score is the highest of the row. Other columns are passed over.

A row without a label stands for label 0, *unlabelled*, which the authors' ResNet-152 tables count by mistake (its intersections
exceed the mask). It is never a concept here; ``facts["unlabeled"]`` says how many units had it. What these tables
do not say stays 0: intersections with all but the best concept of a category (``complete`` is False), and numbers of concepts,
which are given anew by category and name, so that a tie between categories goes to the one whose columns come first.
Source: Bau, Zhou, Khosla, Oliva, Torralba, CVPR 2017; tables of CSAILVision/NetDissect, folder ``plot``.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pellucid.core.documents import FlawError, read_regular
from pellucid.core.storage import write_bytes
from pellucid.data.concepts.base import Concept
from pellucid.dissection.counts import Counts
from pellucid.dissection.table import UnitTable

ORDER = ("object", "color", "material", "scene", "texture", "part")
_HEAD = ("unit", "category", "label", "score")
_FIELDS = ("label", "truth", "activation", "intersect", "iou")


class _Cell(NamedTuple):
    """What a row says about one category."""

    label: str
    truth: int
    activation: int
    intersection: int
    iou: float


def read_published(path: str | Path, layer: str | None = None) -> UnitTable:
    """Read a published table; ``layer`` is what to call the layer, else the file's name.

    Raises FileNotFoundError for a missing file, ValueError for a file of another layout, or one whose numbers disagree with
    each other, naming row (the header is row 1) and column.
    """
    file = Path(path)
    header, rows = _read(file)
    categories = _categories(header, file)
    units: dict[int, list[_Cell]] = {}
    for number, row in rows:
        where = _Row(file, number, row)
        unit = where.whole("unit")
        if unit in units:
            raise where.wrong("unit", "another unit than those of the rows above")
        units[unit] = [where.cell(category) for category in categories]
        where.check_score(dict(zip(categories, units[unit], strict=True)))
    if sorted(units) != list(range(1, len(units) + 1)) or not units:
        raise ValueError(
            f"Expected the units 1 to {len(units)} in the {len(units)} rows of `{file}`, got {_missing(units)}; "
            "try the table as it was published, with all its rows."
        )
    return _table(file, layer or file.stem, categories, [units[unit] for unit in sorted(units)])


def write_published(table: UnitTable, path: str | Path) -> Path:
    """Write the published layout: units from 1, by falling score; object, color, material, scene, texture and part first.

    A unit that meets no concept of a category has no label there. Raises ValueError where two concepts of one category
    have the same name, or one has none: the layout could not tell them apart.
    """
    file = Path(path)
    columns = published_columns(table)
    file.parent.mkdir(parents=True, exist_ok=True)
    return write_bytes(file, as_csv(columns, "\r\n").encode())


class _Row(NamedTuple):
    """One row of a file, and errors that say where they are."""

    file: Path
    number: int
    values: dict[str, str]

    def wrong(self, column: str, expected: str) -> ValueError:
        return ValueError(
            f"Expected {expected} in row {self.number}, column `{column}` of `{self.file}`, got "
            f"`{self.values[column]}`; try the table as it was published."
        )

    def real(self, column: str) -> float:
        try:
            value = float(self.values[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.wrong(column, "a number")
        return value

    def whole(self, column: str) -> int:
        value = self.real(column)
        if value < 0 or not value.is_integer() or value > 2**53:
            raise self.wrong(column, "a whole number of at least 0")
        return int(value)

    def cell(self, category: str) -> _Cell:
        truth, activation, shared = (
            self.whole(f"{category}-{name}") for name in ("truth", "activation", "intersect")
        )
        union = truth + activation - shared
        iou, column = shared / union if union > 0 else 0.0, f"{category}-iou"
        if not math.isclose(self.real(column), iou, rel_tol=1e-9):
            raise self.wrong(column, f"intersect / (truth + activation - intersect) = {iou!r}")
        label = self.values[f"{category}-label"]
        return _Cell(label if label.strip() else "", truth, activation, shared, iou)

    def check_score(self, cells: dict[str, _Cell]) -> None:
        """That the unit's score is the highest of its row, and its label where that score is."""
        best, category, label = max(cell.iou for cell in cells.values()), *map(self.values.get, _HEAD[1:3])
        if not math.isclose(self.real("score"), best, rel_tol=1e-9):
            raise self.wrong("score", f"the highest IoU of the row, {best!r},")
        if not (label or "").strip():
            return
        if category not in cells:
            raise self.wrong("category", "one of " + ", ".join(f"`{name}`" for name in cells))
        if cells[category].label != label or not math.isclose(cells[category].iou, best):
            raise self.wrong("label", f"the label of the row's highest IoU, {best!r},")


def _read(file: Path) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """Header and rows with their numbers; empty rows are passed over."""
    try:
        text = read_regular(file).decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline="")))
    except FileNotFoundError:
        raise FileNotFoundError(f"Expected a unit table, got `{file}`, which is not there.") from None
    except (FlawError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"Expected a CSV file in UTF-8, got `{file}`, which is not ({error}).") from None
    header = lines[0] if lines else []

    def rows() -> Iterator[tuple[int, dict[str, str]]]:
        for number, values in enumerate(lines[1:], 2):
            if values and len(values) != len(header):
                raise ValueError(
                    f"Expected {len(header)} values in row {number} of `{file}`, got {len(values)}; is the file complete?"
                )
            if values:
                yield number, dict(zip(header, values, strict=True))

    return header, rows()


def _categories(header: Sequence[str], file: Path) -> list[str]:
    """The categories of a header in its order."""
    endings = ("-truth", "-activation", "-intersect")
    found = list(dict.fromkeys(name.rsplit("-", 1)[0] for name in header if name.endswith(endings)))
    needed = [*_HEAD, *(f"{category}-{name}" for category in found or ["<category>"] for name in _FIELDS)]
    for name in needed:
        if header.count(name) != 1:
            raise ValueError(
                f"Expected the column `{name}` once in the header of `{file}`, got it {header.count(name)} times; "
                "try a table in the layout of NetDissect: unit, category, label, score, then label, truth, activation, "
                "intersect and iou of every category."
            )
    return found


def _missing(units: dict[int, list[_Cell]]) -> str:
    absent = [unit for unit in range(1, len(units) + 1) if unit not in units]
    return f"no unit {absent[0]}" if absent else "none"


def _table(file: Path, layer: str, categories: list[str], units: list[list[_Cell]]) -> UnitTable:
    truth: dict[tuple[int, str], int] = {}
    unlabeled: Counter[str] = Counter()
    for unit, cells in enumerate(units, 1):
        for place, cell in enumerate(cells):
            if not cell.label:
                unlabeled[categories[place]] += cell.intersection > 0
            elif cell.intersection and truth.setdefault((place, cell.label), cell.truth) != cell.truth:
                raise ValueError(
                    f"Expected as many pixels of `{cell.label}` in all rows of `{file}`, got "
                    f"{truth[place, cell.label]} and {cell.truth} (unit {unit}, column `{categories[place]}-truth`)."
                )
    if not truth:
        raise ValueError(f"Expected a unit that meets a labeled concept in `{file}`, got none.")
    order = sorted(truth)
    at = {key: number for number, key in enumerate(order)}
    known = {place: column for column, place in enumerate(dict.fromkeys(place for place, _ in order))}
    counts = Counts.zeros(len(units), len(order), len(known))
    counts.truth[:] = [truth[key] for key in order]
    for unit, cells in enumerate(units):
        for place, cell in enumerate(cells):
            if place in known:
                counts.activation[unit, known[place]] = cell.activation
            if cell.label and cell.intersection:
                counts.intersection[unit, at[place, cell.label]] = cell.intersection
    concepts = tuple(
        Concept(number, name, categories[place]) for number, (place, name) in enumerate(order, 1)
    )
    facts: dict[str, Any] = {"published": file.name}
    if +unlabeled:
        facts["unlabeled"] = dict(+unlabeled)
    return UnitTable(layer, concepts, counts, complete=False, facts=facts)


def check_names(concepts: Sequence[Concept]) -> None:
    """That the published layout, which knows concepts by name, can hold them. Raises ValueError."""
    names = Counter((concept.category, concept.name) for concept in concepts)
    for (category, name), count in names.items():
        if count > 1 or not name.strip():
            raise ValueError(
                f"Expected concepts of a category to have names of their own, got {count} of `{category}` called "
                f"`{name}`; try `save`, which keeps their numbers."
            )


def published_columns(table: UnitTable) -> dict[str, list[Any]]:
    """The published columns by name, units by falling score. Raises ValueError as `write_published` does."""
    check_names(table.concepts)
    rows = np.argsort(-table.score, kind="stable")
    own = [table.concepts[table.label[unit]] if table.score[unit] > 0 else None for unit in rows]
    columns: dict[str, list[Any]] = {
        "unit": (rows + 1).tolist(),
        "category": [concept.category if concept else "" for concept in own],
        "label": [concept.name if concept else "" for concept in own],
        "score": table.score[rows].tolist(),
    }
    first = [name for name in ORDER if name in table.categories]
    for category in [*first, *(name for name in table.categories if name not in ORDER)]:
        place = table.categories.index(category)
        mine = np.flatnonzero(table.category_of == place)
        best = mine[table.iou[:, mine].argmax(1)][rows]
        met = table.iou[rows, best] > 0
        names_here = [
            table.concepts[k].name if known else "" for k, known in zip(best, met.tolist(), strict=True)
        ]
        columns |= {
            f"{category}-label": names_here,
            f"{category}-truth": (table.counts.truth[best] * met).tolist(),
            f"{category}-activation": table.counts.activation[rows, place].astype(float).tolist(),
            f"{category}-intersect": (table.counts.intersection[rows, best] * met).tolist(),
            f"{category}-iou": table.iou[rows, best].tolist(),
        }
    return columns


def as_csv(columns: dict[str, list[Any]], newline: str) -> str:
    """Columns of equal length as CSV with a header; None is empty."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator=newline)
    writer.writerow(columns)
    writer.writerows([_written(value) for value in row] for row in zip(*columns.values(), strict=True))
    return stream.getvalue()


def _written(value: Any) -> Any:
    """Reals as the published tables have them: 17 digits, and whole ones with a point."""
    if not isinstance(value, float):
        return value
    return f"{value:.1f}" if value.is_integer() else f"{value:.17g}"
