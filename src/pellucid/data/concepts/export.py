"""Write any set of concepts in Broden's layout, so that every tool that reads Broden reads it.

Pictures are resized to a square whatever their aspect, as Broden is meant, and label maps to half its side by the nearest
pixel. A pixel keeps all its labels: a category gets as many layers as it takes for none to hide another. Numbers, names and
synonyms are kept. frequency is the number of pictures with a label, coverage the sum of its shares of their pixels.

Every file is written under a temporary name and renamed, and the index comes last: a run that was stopped is continued.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from pellucid.core.storage import write_bytes
from pellucid.data.concepts.base import ConceptSource, LabelError, Labels, Numbers
from pellucid.data.concepts.maps import Mask, encode_labels, layered, nearest
from pellucid.data.images import ImageError

_FIXED = ("image", "split", "ih", "iw", "sh", "sw")
_WORDS = {"fit": "train", "held-out": "val"}


@dataclass
class _Tally:
    """Pictures with a number, and the sum of its shares of their pixels."""

    images: dict[int, int] = field(default_factory=dict)
    coverage: dict[int, float] = field(default_factory=dict)

    def add(self, number: int, share: float) -> None:
        self.images[number] = self.images.get(number, 0) + 1
        self.coverage[number] = self.coverage.get(number, 0.0) + share


def export_broden(source: ConceptSource, folder: str | Path, *, size: int = 224) -> Path:
    """Write a set to ``folder`` and return its path; `BrodenConcepts.of` reads it back.

    Existing files are kept, so a stopped run goes on where it was. Pictures that cannot be read are left out and listed in
    the set's ``problems``.

    Raises ValueError for an odd size or one below 16, a category that cannot be a column, a folder that holds another
    export, or when no picture could be read.
    """
    if size % 2 or size < 16:
        raise ValueError(
            f"Expected an even size of at least 16 (labels have half of it), got {size}; try 224."
        )
    for category in source.categories:
        if category in _FIXED or not re.fullmatch(r"[\w .-]+", category):
            raise ValueError(
                f"Expected a category that can name a column and a file, got {category!r}; try another word."
            )
    folder = Path(folder).expanduser()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    _claim(folder, f"{source.name} {source.facts()['sha256']} size={size}\n")
    tally, rows = _Tally(), []
    for index in range(len(source)):
        try:
            labels = source.labels(index)
            stem = _write_picture(source, index, folder / "images", size)
        except (LabelError, ImageError) as error:
            source.report(source.picture_name(index), str(error))
            continue
        cells = _write_labels(source, labels, folder / "images", stem, size // 2, tally)
        half = size // 2
        rows.append((f"{stem}.png", _WORDS[source.split(index)], size, size, half, half, *cells))
    if not rows:
        raise ValueError(
            f"Expected at least one readable picture in {source.name}, got none; try another set."
        )
    _write_tables(source, folder, tally)
    write_bytes(folder / "index.csv", _csv((*_FIXED, *source.categories), rows))
    return folder


def _write_picture(source: ConceptSource, index: int, images: Path, size: int) -> str:
    """The picture's file where it is missing; returns its path below ``images`` without the suffix."""
    name = re.sub(r"[^A-Za-z0-9-]+", "_", PurePosixPath(source.picture_name(index)).stem)
    stem = f"{index // 1000:03d}/{index:06d}" + (f"_{name[:60]}" if name else "")
    path = images / f"{stem}.png"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        picture = source.picture(index).image.convert("RGB")
        write_bytes(path, _png(picture.resize((size, size), Image.Resampling.BILINEAR)))
    return stem


def _write_labels(
    source: ConceptSource, labels: Labels, images: Path, stem: str, side: int, tally: _Tally
) -> list[str]:
    """The layers of every category where they are missing; returns the picture's cells of the index."""
    category = {concept.number: concept.category for concept in source.concepts}
    maps = nearest(labels.maps, side, side)
    held = [int(number) for number in np.unique(maps) if number]
    for number in sorted({*held, *labels.whole}):
        share = 1.0 if number in labels.whole else float((maps == number).any(axis=0).mean())
        tally.add(number, share)
    cells = []
    for name in source.categories:
        parts = [str(number) for number in labels.whole if category[number] == name]
        regions = _regions(maps, [number for number in held if category[number] == name])
        for place, layer in enumerate(layered(regions)):
            file = f"{stem}_{name}{f'_{place}' if place else ''}.png"
            parts.append(file)
            if not (images / file).exists():
                write_bytes(images / file, _png(Image.fromarray(encode_labels(layer.astype(np.int64)))))
        cells.append(";".join(parts))
    return cells


def _regions(maps: Numbers, numbers: list[int]) -> Iterable[tuple[int, Mask]]:
    for number in numbers:
        mask: Mask = (maps == number).any(axis=0)
        yield number, mask


def _write_tables(source: ConceptSource, folder: Path, tally: _Tally) -> None:
    rows: list[tuple[Any, ...]] = []
    by_category: dict[str, list[tuple[Any, ...]]] = {name: [] for name in source.categories}
    for concept in source.concepts:
        images, coverage = (
            tally.images.get(concept.number, 0),
            f"{tally.coverage.get(concept.number, 0.0):.6f}",
        )
        names = [name.replace(";", ",") for name in (concept.name, *concept.synonyms)]
        kind = f"{concept.category}({images})"
        rows.append((concept.number, concept.name, kind, images, coverage, ";".join(names)))
        table = by_category[concept.category]
        table.append((1 + len(table), concept.number, concept.name, images, coverage))
    write_bytes(
        folder / "label.csv", _csv(("number", "name", "category", "frequency", "coverage", "syns"), rows)
    )
    kinds: list[tuple[Any, ...]] = []
    for name, table in by_category.items():
        write_bytes(
            folder / f"c_{name}.csv", _csv(("code", "number", "name", "frequency", "coverage"), table)
        )
        numbers = [row[1] for row in table]
        kinds.append((name, min(numbers), max(numbers), len(numbers), sum(row[3] for row in table)))
    write_bytes(folder / "category.csv", _csv(("name", "first", "last", "count", "frequency"), kinds))


def _csv(header: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(list(header))
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _claim(folder: Path, recipe: str) -> None:
    """Note what the folder holds; refuse one that holds something else."""
    note, content = folder / "recipe.txt", recipe.encode("utf-8", "surrogateescape")
    if note.exists() and note.read_bytes() != content:
        raise ValueError(
            f"Expected an empty folder or an export of the same set and size, got {folder}; try another."
        )
    if not note.exists():
        write_bytes(note, content)
