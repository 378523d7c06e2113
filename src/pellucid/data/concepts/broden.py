"""Broden, the broadly and densely labeled set of network dissection, and whatever is stored in its layout.

``index.csv`` has a row for every picture: image, split, ih, iw, sh, sw and a column for every category. A cell joins layers
by ``;``: a bare number holds for the whole picture, anything else is a label PNG below ``images/``. A pixel's label is
R + 256 · G. ``label.csv`` names the numbers, ``category.csv`` orders the categories, ``c_<category>.csv`` counts every label
in a category. A label's primary category is that with the largest coverage, ties to the later one; where these tables lack
it, that with the largest number in the ``category`` cell of ``label.csv``.

Source: Bau, Zhou, Khosla, Oliva, Torralba, CVPR 2017. Where we differ: 0 is unlabeled and never a concept, also not as the
number of a whole picture (the released tools count it there).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pellucid.data.concepts.base import Concept, Labels, Problem, View
from pellucid.data.concepts.listed import (
    Entry,
    ListedConcepts,
    Presence,
    Rows,
    named_once,
    side,
    spoken,
    usable,
    whole_number,
)
from pellucid.data.concepts.maps import check_shape, read_numbers, stacked, upright_size

_FIXED = ("image", "split", "ih", "iw", "sh", "sw")
_COUNTED = re.compile(r"([^;()]+)(?:\((\d+)\))?")


@dataclass(frozen=True, slots=True)
class _Cells:
    layers: tuple[str, ...]
    whole: tuple[int, ...]


@dataclass(eq=False)
class BrodenConcepts(ListedConcepts):
    """A folder in Broden's layout; made by `BrodenConcepts.of`."""

    view: View = "whole"
    images: str = ""

    @classmethod
    def of(cls, folder: str | os.PathLike[str]) -> BrodenConcepts:
        """Open the folder that holds ``index.csv``, or the one above if it holds just one such.

        Rows with missing files, unknown whole-picture numbers and malformed rows are listed in ``problems``. Raises
        ValueError when a table is missing or nothing is usable.
        """
        root = _root(Path(folder).expanduser())
        problems: list[Problem] = []
        table = Rows(root / "index.csv", ("image",), problems)
        columns = tuple(column for column in table.columns if column not in _FIXED)
        categories = _categories(root, columns, problems)
        concepts = _vocabulary(root, categories, problems)
        images = str(root / "images")
        entries = _entries(table, columns, images, {concept.number for concept in concepts}, problems)
        return cls(
            f"broden:{root.absolute().name}",
            concepts,
            problems=problems,
            entries=usable(entries, problems, str(root)),
            declared=categories,
            images=images,
        )

    def labels(self, index: int) -> Labels:
        """One map for every layer, of the layers' own size. Raises LabelError when one is damaged or of another shape."""
        entry = self.entries[index]
        size = upright_size(entry.image) if entry.truth.layers else None
        maps = []
        for layer in entry.truth.layers:
            numbers = read_numbers(os.path.join(self.images, layer), palette="colors")
            check_shape(numbers.shape, size, layer)
            maps.append(self.known(numbers, layer))
        return Labels(stacked(maps), entry.truth.whole)


def _root(folder: Path) -> Path:
    if (folder / "index.csv").is_file():
        return folder
    below = sorted(
        path.parent for path in folder.glob("*/index.csv") if (path.parent / "label.csv").is_file()
    )
    if len(below) == 1:
        return below[0]
    got = f"{', '.join(path.name for path in below)} below it" if below else "no index.csv in it"
    advice = "one of these" if below else "the folder that holds index.csv, label.csv and images/"
    raise ValueError(f"Expected a folder in Broden's layout, got {str(folder)!r} with {got}; try {advice}.")


def _categories(root: Path, columns: tuple[str, ...], problems: list[Problem]) -> tuple[str, ...]:
    """In the order of category.csv; of the index's columns where there is none."""
    if not (root / "category.csv").is_file():
        problems.append(
            Problem(
                "category.csv", "Expected a table of categories, got none; the columns of index.csv are taken"
            )
        )
        return columns
    named = [row["name"] for _, row in Rows(root / "category.csv", ("name",), problems).rows]
    return tuple(dict.fromkeys([*named, *columns]))


def _vocabulary(root: Path, categories: tuple[str, ...], problems: list[Problem]) -> tuple[Concept, ...]:
    coverage = _coverage(root, categories, problems)
    concepts: dict[int, Concept] = {}
    for where, row in Rows(root / "label.csv", ("number", "name"), problems).rows:
        number = whole_number(row["number"])
        if number == 0:
            continue  # unlabeled; some copies have a row for it
        counts = coverage.get(number or 0) or _counts(row.get("category", ""))
        if number is None or number in concepts or not counts:
            wanted = "a number of 1 to 65,535 that is new, and a category"
            got = f"{row['number']!r} and {row.get('category', '')!r}"
            problems.append(Problem(where, f"Expected {wanted}, got {got}; the row is left out"))
            continue
        order = {category: place for place, category in enumerate(dict.fromkeys([*categories, *counts]))}
        primary = max(counts, key=lambda category: (counts[category], order[category]))
        names = dict.fromkeys(name.strip() for name in row.get("syns", "").split(";"))
        synonyms = tuple(name for name in names if name and name != row["name"])
        concepts[number] = Concept(number, row["name"], primary, synonyms)
    if not concepts:
        raise ValueError(
            f"Expected the names of labels in {root / 'label.csv'}, got none that is usable; try another copy."
        )
    return named_once(concepts.values(), problems)


def _coverage(
    root: Path, categories: tuple[str, ...], problems: list[Problem]
) -> dict[int, dict[str, float]]:
    """Of every number: its coverage in the categories that count it."""
    found: dict[int, dict[str, float]] = {}
    for category in categories:
        path = root / f"c_{category}.csv"
        if not path.is_file():
            problems.append(
                Problem(path.name, "Expected a table of the category's labels, got none; label.csv is taken")
            )
            continue
        for where, row in Rows(path, ("number", "coverage"), problems).rows:
            number = whole_number(row["number"])
            try:
                share = float(row["coverage"])
            except ValueError:
                share = np.nan
            if number is None or not share >= 0:
                got = f"{row['number']!r} and {row['coverage']!r}"
                reason = f"Expected a number and a coverage, got {got}; the row is left out"
                problems.append(Problem(where, reason))
            else:
                found.setdefault(number, {})[category] = share
    return found


def _counts(cell: str) -> dict[str, float]:
    """``material(36);object(3)`` as numbers by category."""
    return {name.strip(): float(count or 0) for name, count in _COUNTED.findall(cell) if name.strip()}


def _entries(
    table: Rows, columns: tuple[str, ...], images: str, known: set[int], problems: list[Problem]
) -> list[Entry]:
    present, seen = Presence(images), set()
    entries = []
    for where, row in table.rows:
        name = row["image"]
        cells = [cell.strip() for column in columns for cell in row[column].split(";") if cell.strip()]
        numbers = dict.fromkeys(whole_number(cell, 10**9) or 0 for cell in cells if cell.isdecimal())
        strange = [number for number in numbers if number and number not in known]
        if strange:
            problems.append(
                Problem(where, f"Expected numbers of label.csv, got {spoken(strange)}; they are left out")
            )
        layers = tuple(dict.fromkeys(cell for cell in cells if not cell.isdecimal()))
        path = os.path.join(images, name)
        lacking = [file for file in (name, *layers) if not present(os.path.join(images, file))]
        if not name or name in seen:
            problems.append(
                Problem(where, f"Expected another picture, got {name!r} again; the row is left out")
            )
        elif lacking:
            problems.append(
                Problem(where, f"Expected the file {lacking[0]!r}, got none; {name!r} is left out")
            )
        else:
            whole = tuple(number for number in numbers if number in known)
            entries.append(Entry(name, path, _Cells(layers, whole), side(row.get("split", ""))))
        seen.add(name)
    return entries
