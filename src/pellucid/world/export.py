"""Write scenes to disk in the layout of Broden (Bau, Zhou, Khosla, Oliva, Torralba, CVPR 2017).

``images/`` holds pictures and label PNGs, ``index.csv`` lists them, ``label.csv``, ``category.csv`` and
``c_<category>.csv`` hold the vocabulary. A label PNG has half the picture's side (the truth rendered at that
size, not a shrunk map) and codes a label number as R + 256 * G; 0 is unlabeled. Numbers are shared by all
categories. Scene is a whole-image number. Frequency is the number of images with a label, coverage the sum of
its shares of their pixels.

Where we differ: one layer per category, because nothing here is two objects or parts at once (Broden joins
several by ``;``). Every file is written under a temporary name and renamed, and the tables come last: a run
that was stopped is continued.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pellucid.core.storage import write_bytes
from pellucid.data.concepts.maps import encode_labels

from .draw import SPLITS, draw
from .render import Rendering, render
from .vocabulary import CATEGORIES, check_name

_COLUMNS = ("color", "object", "material", "part", "scene", "texture")
_STORED = tuple(name for name in _COLUMNS if name != "scene")
_SYNONYMS = {"airliner": "airplane", "helicopter": "chopper", "car": "automobile", "truck": "lorry"}
_SYNONYMS |= {"bicycle": "bike", "fin": "stabilizer", "container": "cargo box", "cabin": "cab", "air": "sky"}


@dataclass(frozen=True)
class _Vocabulary:
    """All label names once, numbered from 1, and the way from a map of one category to these numbers."""

    names: tuple[str, ...]
    tables: dict[str, npt.NDArray[np.int64]]

    @staticmethod
    def build() -> _Vocabulary:
        names = tuple(dict.fromkeys(name for c in _COLUMNS for name in CATEGORIES[c]))
        number = {name: 1 + i for i, name in enumerate(names)}
        return _Vocabulary(
            names, {c: np.array([0, *(number[n] for n in CATEGORIES[c])], np.int64) for c in _COLUMNS}
        )


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _csv(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


class _Tally:
    """Frequency (images) and coverage (summed share of pixels) of each label number, by category."""

    def __init__(self, vocabulary: _Vocabulary) -> None:
        shape = (len(_COLUMNS), 1 + len(vocabulary.names))
        self.images, self.coverage = np.zeros(shape, np.int64), np.zeros(shape)

    def add(self, category: str, numbers: npt.NDArray[np.int64]) -> None:
        """Count one map, or one whole-image number given as a map of one pixel."""
        counts = np.bincount(numbers.ravel(), minlength=self.images.shape[1])
        row = _COLUMNS.index(category)
        self.images[row] += counts > 0
        self.coverage[row] += counts / numbers.size


def _export_one(
    folder: Path, stem: str, picture: Rendering, half: Rendering, vocabulary: _Vocabulary, tally: _Tally
) -> dict[str, str]:
    """Write a picture and its label maps where they are missing; returns its cells of the index."""
    cells: dict[str, str] = {}
    for category in _COLUMNS:
        table = vocabulary.tables[category]
        if category == "scene":
            whole = table[[picture.scene]]
            cells[category] = str(int(whole[0]))
            tally.add(category, whole)
            continue
        numbers = table[half.labels(category)]
        tally.add(category, numbers)
        cells[category] = f"{stem}_{category}.png"
        _write_once(folder / "images" / cells[category], encode_labels(numbers))
    _write_once(folder / "images" / f"{stem}.png", picture.image)
    return cells


def _write_once(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    if not path.exists():
        write_bytes(path, _png(pixels))


def _write_tables(folder: Path, vocabulary: _Vocabulary, tally: _Tally) -> None:
    rows: list[tuple[Any, ...]] = []
    for k, name in enumerate(vocabulary.names, 1):
        held = [c for i, c in enumerate(_COLUMNS) if name in CATEGORIES[c]]
        kinds = ";".join(f"{c}({tally.images[_COLUMNS.index(c), k]})" for c in held)
        frequency, coverage = int(tally.images[:, k].sum()), float(tally.coverage[:, k].sum())
        synonyms = ";".join(n for n in (name, _SYNONYMS.get(name)) if n)
        rows.append((k, name, kinds, frequency, f"{coverage:.6f}", synonyms))
    write_bytes(
        folder / "label.csv",
        _csv(("number", "name", "category", "frequency", "coverage", "syns"), rows),
    )
    kinds_rows: list[tuple[Any, ...]] = []
    for i, category in enumerate(_COLUMNS):
        numbers = [int(n) for n in vocabulary.tables[category][1:]]
        total = int(tally.images[i].sum() - tally.images[i, 0])
        kinds_rows.append((category, min(numbers), max(numbers), len(numbers), total))
        table = [
            (code, n, vocabulary.names[n - 1], int(tally.images[i, n]), f"{tally.coverage[i, n]:.6f}")
            for code, n in enumerate(numbers, 1)
        ]
        header = ("code", "number", "name", "frequency", "coverage")
        write_bytes(folder / f"c_{category}.csv", _csv(header, table))
    header = ("name", "first", "last", "count", "frequency")
    write_bytes(folder / "category.csv", _csv(header, kinds_rows))


def export_broden(
    folder: str | Path,
    split: str = "val",
    count: int = 1000,
    *,
    confounding: float = 0.0,
    shortcut: float = 0.0,
    size: int = 128,
    val_share: float = 0.3,
) -> Path:
    """Write the first ``count`` scenes of a split to ``folder`` and return its path.

    The split column of the index is Broden's own division, for fitting thresholds on one part and scoring on
    the other: spread evenly, ``val_share`` of the rows are val, the others train. Existing images are kept,
    so a stopped run goes on where it was; a folder that holds another export (other parameters) is refused.

    Raises ``ValueError`` for an unknown split, an odd ``size``, a count below 1, or a folder of another
    export.
    """
    check_name("split", split, tuple(SPLITS))
    if count < 1:
        raise ValueError(f"Expected count to be at least 1, got {count}; try 1000.")
    if size % 2 or size < 16:
        raise ValueError(
            f"Expected an even size of at least 16 (labels have half of it), got {size}; try 128."
        )
    if not 0.0 <= val_share <= 1.0:
        raise ValueError(f"Expected val_share in 0..1, got {val_share}; try 0.3.")
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    _claim(folder, f"scenes {split} size={size} confounding={confounding!r} shortcut={shortcut!r}\n")
    vocabulary = _Vocabulary.build()
    tally = _Tally(vocabulary)
    rows: list[tuple[Any, ...]] = []
    for i in range(count):
        scene = draw(i, split=split, confounding=confounding, shortcut=shortcut)
        picture, half = render(scene, size), render(scene, size // 2)
        stem = f"scenes/{split}_{i:06d}"
        (folder / "images" / "scenes").mkdir(exist_ok=True)
        cells = _export_one(folder, stem, picture, half, vocabulary, tally)
        part = "val" if int((i + 1) * val_share) > int(i * val_share) else "train"
        rows.append((f"{stem}.png", part, size, size, size // 2, size // 2, *(cells[c] for c in _COLUMNS)))
    _write_tables(folder, vocabulary, tally)
    write_bytes(folder / "index.csv", _csv(("image", "split", "ih", "iw", "sh", "sw", *_COLUMNS), rows))
    return folder


def _claim(folder: Path, recipe: str) -> None:
    """Note what the folder holds; refuse one that holds something else."""
    note = folder / "recipe.txt"
    if note.exists() and note.read_text() != recipe:
        raise ValueError(
            f"Expected an empty folder or {recipe!r}, got {note.read_text()!r} in {folder}; try another."
        )
    if not note.exists():
        write_bytes(note, recipe.encode())
