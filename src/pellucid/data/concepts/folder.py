"""A folder of pictures with label maps and two tables; several sets may share it.

``index.csv``: image, mask and, as far as there are, set, name, image_level_label_id, split, width, height. Paths are relative
to the folder; a cell may join several masks or labels by ``;``. A mask is a gray PNG (8 or 16 bits) or a palette PNG of label
ids, 0 where nothing is said. ``labels.csv``: label_id, name and, as far as there are, set, category, group. Label ids belong to
their set; concepts are numbered anew, one number for all that share category and name, over all chosen sets.

The least that will do is an ``index.csv`` with the columns image and mask and a ``labels.csv`` with label_id and name: there
is then one set without a name, and every concept is of the category "object".

``boxes.csv`` in the folder or ``<set>/boxes.csv``: image, kind, x0, y0, x1, y1, width, height, and wnid or label, several rows a
picture. A box of kind "object" is a rectangle of the object its wnid (label) names; any other kind is a part of that name.
Objects and parts are in maps of their own, as many as it takes for no box to hide another.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from pellucid.core.registry import suggest
from pellucid.data.concepts.base import Concept, Labels, Numbers, Problem, sorted_concepts
from pellucid.data.concepts.boxes import Box, box_maps, boxed_sets, read_boxes
from pellucid.data.concepts.listed import Entry, ListedConcepts, Presence, Rows, side, usable, whole_number
from pellucid.data.concepts.maps import check_shape, read_numbers, stacked, upright_size

Merge = Literal["name", "group"]


@dataclass(frozen=True, slots=True)
class _Cells:
    set: str
    masks: tuple[str, ...] = ()
    whole: tuple[int, ...] = ()
    boxes: tuple[Box, ...] = ()
    size: tuple[int, int] = (0, 0)


@dataclass(eq=False)
class _Vocabulary:
    """The concepts of the chosen sets, and from a set's own ids to their numbers."""

    concepts: dict[tuple[str, str], Concept] = field(default_factory=dict)
    tables: dict[str, Numbers] = field(default_factory=dict)

    def number(self, category: str, name: str) -> int:
        key = (category, name)
        if key not in self.concepts:
            self.concepts[key] = Concept(1 + len(self.concepts), name, category)
        return self.concepts[key].number


@dataclass(eq=False)
class FolderConcepts(ListedConcepts):
    """Sets of a folder; made by `FolderConcepts.of`."""

    folder: str = ""
    tables: dict[str, Numbers] = field(default_factory=dict)

    @classmethod
    def of(
        cls, folder: str | os.PathLike[str], *, sets: str | Sequence[str] | None = None, merge: Merge = "name"
    ) -> FolderConcepts:
        """Open a folder.

        Args:
            folder: where ``index.csv`` and ``labels.csv`` are.
            sets: names of sets, by default all with masks or labels of whole pictures (not those with boxes only).
            merge: "group" names concepts by the ``group`` column: front_left_door and back_right_door are both door.

        Raises ValueError for an unknown set, when a table is missing or nothing is usable. Everything else is listed in
        ``problems``.
        """
        if merge not in ("name", "group"):
            raise ValueError(f'Expected merge to be "name" or "group", got {merge!r}; try "group".')
        root = Path(folder).expanduser()
        problems: list[Problem] = []
        table = Rows(root / "index.csv", ("image",), problems)
        boxed = boxed_sets(root)
        chosen = _chosen(table, list(boxed), sets)
        vocabulary = _vocabulary(root, chosen, merge, problems)
        entries = _entries(root, table, chosen, vocabulary, problems)
        for name in chosen:
            if name in boxed:
                entries += _boxed(root, boxed[name], name, vocabulary, problems)
        concepts = sorted_concepts(tuple(vocabulary.concepts.values()))
        return cls(
            f"folder:{root.absolute().name}" + (f":{','.join(chosen)}" if any(chosen) else ""),
            concepts,
            problems=problems,
            entries=usable(entries, problems, str(root)),
            folder=str(root),
            tables=vocabulary.tables,
        )

    def labels(self, index: int) -> Labels:
        """A map for every mask, or for boxes as many as they need, of the picture's size.

        Raises LabelError when a mask is missing, damaged or of another shape than its picture.
        """
        entry = self.entries[index]
        cells: _Cells = entry.truth
        size = upright_size(entry.image) if cells.masks or cells.boxes else None
        maps = []
        for mask in cells.masks:
            ids = read_numbers(os.path.join(self.folder, mask))
            check_shape(ids.shape, size, mask)
            numbers = self.tables[cells.set][ids]
            strange = (numbers == 0) & (ids != 0)
            if strange.any():
                self._list_strange([int(number) for number in np.unique(ids[strange])], mask)
            maps.append(numbers)
        if cells.boxes:
            check_shape(cells.size, size, f"the boxes of {entry.name}")
            maps += box_maps(cells.boxes, cells.size)
        return Labels(stacked(maps), cells.whole)


def _chosen(table: Rows, boxed: list[str], sets: str | Sequence[str] | None) -> tuple[str, ...]:
    """The names of the sets to take, in the order asked for or of the table. A table without sets is one, named ""."""
    labeled = [
        row.get("set", "") for _, row in table.rows if row.get("mask") or row.get("image_level_label_id")
    ]
    if sets is None:
        return tuple(dict.fromkeys(labeled)) or tuple(boxed)
    known = list(dict.fromkeys([*labeled, *boxed]))
    asked = [name.strip() for name in (sets.split(",") if isinstance(sets, str) else sets)]
    for name in asked:
        if name not in known:
            raise ValueError(f"Expected the name of a set, got `{name}`; {suggest(name, known)}")
    return tuple(dict.fromkeys(asked))


def _vocabulary(root: Path, chosen: tuple[str, ...], merge: Merge, problems: list[Problem]) -> _Vocabulary:
    vocabulary = _Vocabulary()
    for name in chosen:
        vocabulary.tables[name] = np.zeros(65_536, np.uint16)
    needs = ("label_id", "name") if merge == "name" else ("label_id", "name", "group")
    for where, row in Rows(root / "labels.csv", needs, problems).rows:
        if row.get("set", "") not in chosen:
            continue
        ids, label = vocabulary.tables[row.get("set", "")], whole_number(row["label_id"])
        if not label or ids[label] or not row["name"]:
            got = f"{row['label_id']!r} and {row['name']!r}"
            reason = f"Expected a label id of 1 to 65,535 that is new in its set, and a name, got {got}; the row is left out"
            problems.append(Problem(where, reason))
            continue
        name = (row["group"] if merge == "group" else "") or row["name"]
        ids[label] = vocabulary.number(row.get("category") or "object", name)
    return vocabulary


def _entries(
    root: Path, table: Rows, chosen: tuple[str, ...], vocabulary: _Vocabulary, problems: list[Problem]
) -> list[Entry]:
    present, seen = Presence(root), set()
    entries = []
    for where, row in table.rows:
        image, kind = row["image"], row.get("set", "")
        if kind not in chosen:
            continue
        masks = _parts(row.get("mask", ""))
        ids = vocabulary.tables[kind]
        cells = _parts(row.get("image_level_label_id", ""))
        found = [int(ids[whole_number(cell) or 0]) for cell in cells]
        if cells and not all(found):
            reason = f"Expected label ids of labels.csv, got {', '.join(cells)}; the unknown are left out"
            problems.append(Problem(where, reason))
        lacking = [file for file in (image, *masks) if not present(os.path.join(root, file))]
        if not image or image in seen:
            problems.append(
                Problem(where, f"Expected another picture, got {image!r} again; the row is left out")
            )
        elif lacking:
            problems.append(
                Problem(where, f"Expected the file {lacking[0]!r}, got none; {image!r} is left out")
            )
        elif not masks and not any(found):
            problems.append(Problem(where, f"Expected a mask or a label, got none; {image!r} is left out"))
        else:
            whole = tuple(dict.fromkeys(number for number in found if number))
            truth = _Cells(kind, masks, whole)
            entries.append(Entry(image, os.path.join(root, image), truth, side(row.get("split", ""))))
        seen.add(image)
    return entries


def _boxed(
    root: Path, path: Path, name: str, vocabulary: _Vocabulary, problems: list[Problem]
) -> list[Entry]:
    present = Presence(root)
    entries = []
    for where, picture in read_boxes(path, vocabulary.number, problems):
        file = os.path.join(root, picture.image)
        if present(file):
            truth = _Cells(name, boxes=tuple(picture.boxes), size=picture.size)
            entries.append(Entry(picture.image, file, truth, side(picture.split)))
        else:
            problems.append(Problem(where, f"Expected the file {picture.image!r}, got none; it is left out"))
    return entries


def _parts(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(";") if part.strip())
