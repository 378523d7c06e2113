"""What all sets on disk share: pictures listed when the set is opened, rows of tables, and which numbers are known.

Opening reads tables and the names in folders, no pixel. What cannot be used is listed as a `Problem` and left out: a
malformed row, a row that comes twice, a file that is not there. A set with nothing usable is an error.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.core.documents import FlawError, check_regular
from pellucid.core.printable import shown
from pellucid.data.concepts.base import Concept, ConceptSource, Numbers, Problem, sorted_concepts
from pellucid.data.images import Picture, read_image

_FIT = ("fit", "train", "training")
_HELD_OUT = ("held-out", "val", "valid", "validation", "test", "testing")


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture of a set: its name, its file, what its labels are read from, its split (None: by the hash of its name)."""

    name: str
    image: str
    truth: Any
    split: str | None = None


@dataclass(eq=False)
class ListedConcepts(ConceptSource):
    """A set whose pictures are files; ``entries`` lists them, ``declared`` are the categories its vocabulary names."""

    entries: tuple[Entry, ...] = ()
    declared: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)

    def picture_name(self, index: int) -> str:
        """The picture's path inside the set, with slashes on every system."""
        return self.entries[index].name

    def picture(self, index: int) -> Picture:
        """Read from its file. Raises ImageError when it is missing or damaged."""
        return read_image(self.entries[index].image, name=self.entries[index].name)

    def files(self, index: int) -> tuple[Path, ...]:
        """The picture's file."""
        return (Path(self.entries[index].image),)

    def split(self, index: int) -> str:
        """The set's own division where it has one with both sides, else by the hash of the name."""
        return self.entries[index].split or super().split(index)

    def empty(self) -> tuple[str, ...]:
        """The categories the set's vocabulary names but has no concept of."""
        held = set(self.categories)
        return tuple(category for category in self.declared if category not in held)

    def known(self, numbers: Numbers, where: str) -> Numbers:
        """The numbers with those that are no concept of the set replaced by 0; each of these is listed once."""
        kept = self._own[numbers]
        strange = kept != numbers
        if strange.any():
            self._list_strange([int(number) for number in np.unique(numbers[strange])], where)
        return kept

    def _list_strange(self, numbers: Sequence[int], where: str) -> None:
        new = [number for number in numbers if number not in self._strange]
        if new:  # a number that thousands of files hold is one problem
            self._strange.update(new)
            self.report(where, f"Expected numbers of concepts, got {spoken(new)}; they count as unlabeled")

    @cached_property
    def _own(self) -> Numbers:
        """Of every number: itself if it is a concept's, else 0."""
        table = np.zeros(65_536, np.uint16)
        numbers = [concept.number for concept in self.concepts]
        table[numbers] = numbers
        return table

    @cached_property
    def _strange(self) -> set[int]:
        return set()


class Presence:
    """Which regular files are there below a folder, with one look into each folder: a set may list hundreds of thousands."""

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self._names: dict[str, frozenset[str]] = {}
        self._files: dict[str, frozenset[str]] = {}
        self._root = None if root is None else os.path.join(os.path.abspath(root), "")

    def __call__(self, path: str) -> bool:
        """Whether there is a file of this path, and the path does not lead out of the folder. A pipe would be waited for."""
        if "\0" in path or (self._root and not os.path.abspath(path).startswith(self._root)):
            return False
        folder, name = os.path.split(path)
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder or "."))
            except OSError:
                self._names[folder] = frozenset()
        if name in self._names[folder]:
            return name in self._regular(folder)
        # a system that ignores case or normalizes names may know the file under another spelling
        return bool(name) and os.path.isfile(path)

    def _regular(self, folder: str) -> frozenset[str]:
        if folder not in self._files:
            with os.scandir(folder or ".") as entries:
                self._files[folder] = frozenset(entry.name for entry in entries if _is_regular(entry))
        return self._files[folder]


def _is_regular(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a loop of links
        return False


class Rows:
    """The rows of a CSV table as dictionaries; rows that do not have the header's number of cells are listed as problems.

    Raises ValueError when the table is missing, is no table or lacks a column of ``needs``.
    """

    def __init__(
        self, path: Path, needs: Iterable[str], problems: list[Problem], *, delimiter: str = ","
    ) -> None:
        self.columns: tuple[str, ...] = ()
        self.rows: list[tuple[str, dict[str, str]]] = []
        try:
            check_regular(path)
            with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
                self._read(csv.reader(file, delimiter=delimiter), path.name, problems)
        except OSError as error:
            text = f"Expected a table {path}, got none ({error.strerror}); try the folder that holds it."
            raise ValueError(text) from error
        except FlawError as flaw:
            raise ValueError(
                f"Expected a table {path}, got something else: {flaw}; try to copy it again."
            ) from None
        except csv.Error as error:
            raise ValueError(f"Expected a CSV table, got {path} ({error}); try to copy it again.") from error
        lacking = [column for column in needs if column not in self.columns]
        if lacking:
            raise ValueError(
                f"Expected columns {', '.join(needs)} in {path}, got {shown(', '.join(self.columns) or 'none', 200)}; "
                f"try a table with {', '.join(lacking)}."
            )

    def _read(self, reader: Any, name: str, problems: list[Problem]) -> None:
        self.columns = tuple(column.strip() for column in next(reader, ()))
        for cells in reader:
            where = f"{name}, line {reader.line_num}"
            if len(cells) == len(self.columns):
                pairs = zip(self.columns, cells, strict=True)
                self.rows.append((where, {column: cell.strip() for column, cell in pairs}))
            elif cells:
                reason = f"Expected {len(self.columns)} cells, got {len(cells)}; the row is left out"
                problems.append(Problem(where, reason))


def read_lines(
    path: Path, parts: int, problems: list[Problem], *, needed: bool = True
) -> list[tuple[str, list[str]]]:
    """The lines of a text file, each with where it is, split at blanks into ``parts`` parts (the last may hold blanks).

    Lines with fewer parts are listed as problems. Raises ValueError for a missing file that is needed.
    """
    try:
        check_regular(path)
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except FlawError as flaw:
        raise ValueError(
            f"Expected a list {path}, got something else: {flaw}; try to copy it again."
        ) from None
    except OSError as error:
        if not needed:
            return []
        raise ValueError(
            f"Expected a list {path}, got none ({error.strerror}); try the folder that holds it."
        ) from error
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        cells, where = line.split(maxsplit=parts - 1), f"{path.name}, line {number}"
        if len(cells) == parts:
            found.append((where, [cell.strip() for cell in cells]))
        elif cells:
            reason = f"Expected {parts} parts, got {len(cells)}; the line is left out"
            problems.append(Problem(where, reason))
    return found


def side(split: str) -> str | None:
    """ "fit" or "held-out" for a set's own word for it, None for another word."""
    word = split.casefold()
    return "fit" if word in _FIT else "held-out" if word in _HELD_OUT else None


def divided(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries with their splits; without any when all are on one side, which is no division."""
    if len({entry.split for entry in entries}) > 1:
        return tuple(entries)
    return tuple(replace(entry, split=None) for entry in entries)


def usable(entries: Sequence[Entry], problems: Sequence[Problem], what: str) -> tuple[Entry, ...]:
    """The entries, divided. Raises ValueError when there is none, with the first problems."""
    if entries:
        return divided(entries)
    first = "; ".join(f"{problem.where}: {problem.reason}" for problem in problems[:3])
    raise ValueError(
        f"Expected at least one usable picture in {what}, got none ({first or 'no row'}); try another folder."
    )


def named_once(concepts: Iterable[Concept], problems: list[Problem]) -> tuple[Concept, ...]:
    """The concepts whose names are new in their category: two of one name could not be told apart in a table.

    The others are listed as problems, and their numbers count as unlabeled."""
    seen: dict[tuple[str, str], int] = {}
    own = []
    for concept in sorted_concepts(tuple(concepts)):
        first = seen.setdefault((concept.category, concept.name), concept.number)
        if first == concept.number:
            own.append(concept)
        else:
            reason = f"Expected a new name in the category {concept.category}, got that of {first}; it counts as unlabeled"
            problems.append(Problem(f"label {concept.number}, {concept.name}", reason))
    return tuple(own)


def whole_number(text: str, highest: int = 65_535) -> int | None:
    """The number a cell holds, None for anything but digits of at most ``highest``."""
    return int(text) if text.isdecimal() and len(text) <= 12 and int(text) <= highest else None


def spoken(numbers: Sequence[int]) -> str:
    """Up to eight numbers in words."""
    return ", ".join(map(str, numbers[:8])) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")
