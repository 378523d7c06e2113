"""CUB-200-2011: birds of 200 species with the places of fifteen parts.

``images.txt``, ``classes.txt``, ``image_class_labels.txt``, ``bounding_boxes.txt``, ``train_test_split.txt``,
``parts/parts.txt``, ``parts/part_locs.txt`` and, if there, ``segmentations/``. The set marks a part by a point only. Our
reconstruction of its region is a disk around every visible point with a radius of ``share`` times the diagonal of the
bird's bounding box,

    radius = share · √(width² + height²)

so that parts grow with the bird; where disks overlap, a picture has several maps. The species is an object: the segmentation
where at least half of the annotators agree (a gray value of 128), else the bounding box.

Source: Wah, Branson, Welinder, Perona, Belongie, Caltech CNS-TR-2011-001.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pellucid.data.concepts.base import Concept, LabelError, Labels, Problem
from pellucid.data.concepts.listed import (
    Entry,
    ListedConcepts,
    Presence,
    named_once,
    read_lines,
    usable,
    whole_number,
)
from pellucid.data.concepts.maps import check_shape, layered, read_numbers, stacked, upright_size
from pellucid.data.concepts.regions import disk, rectangle

_AGREED = 128


class _Bird(NamedTuple):
    species: int
    box: tuple[float, float, float, float]
    parts: tuple[tuple[int, float, float], ...]
    segmentation: str


@dataclass(eq=False)
class CubConcepts(ListedConcepts):
    """Birds with parts; made by `CubConcepts.of`. ``share``: radius of a part over the diagonal of the bounding box."""

    share: float = 0.05

    @classmethod
    def of(cls, folder: str | os.PathLike[str], *, share: float = 0.05) -> CubConcepts:
        """Open ``CUB_200_2011``, or the folder above it.

        The training pictures are the fit split, the others are held out. Numbers: the species first, the parts after them.
        Missing files and malformed lines are listed in ``problems``. Raises ValueError when a list is missing, ``share`` is
        not in 0…1 or nothing is usable.
        """
        if not 0 < share <= 1:
            raise ValueError(f"Expected share to be above 0 and at most 1, got {share!r}; try 0.05.")
        root = _root(Path(folder).expanduser())
        problems: list[Problem] = []
        species = _named(root / "classes.txt", problems)
        parts = _named(root / "parts" / "parts.txt", problems)
        shift = max(species, default=0)
        concepts = [Concept(number, _plain(name), "object") for number, name in species.items()]
        concepts += [Concept(number + shift, name, "part") for number, name in parts.items()]
        entries = usable(_entries(root, set(species), set(parts), shift, problems), problems, str(root))
        return cls(
            f"cub:{root.absolute().name}",
            named_once(concepts, problems),
            problems=problems,
            entries=entries,
            declared=("object", "part"),
            share=share,
        )

    def labels(self, index: int) -> Labels:
        """A map of the species and as many of parts as it takes for none to hide another, of the picture's size.

        Raises LabelError when the segmentation is damaged or of another shape, or the picture's size is unknown.
        """
        entry = self.entries[index]
        bird: _Bird = entry.truth
        size = upright_size(entry.image)
        left, top, width, height = bird.box
        if bird.segmentation:
            body = read_numbers(bird.segmentation) >= _AGREED
            check_shape(body.shape, size, os.path.basename(bird.segmentation))
        elif size is None:
            raise LabelError(
                f"Expected a picture that tells its size, got {entry.name}; try to copy it again"
            )
        else:
            body = rectangle(size, left, top, left + width, top + height)
        # points are in pixels of the picture, and the maps may be of another size
        scale = 1.0 if size is None else body.shape[0] / size[0]
        radius = scale * self.share * float(np.hypot(width, height))
        shape = (body.shape[0], body.shape[1])
        disks = [(number, disk(shape, scale * x, scale * y, radius)) for number, x, y in bird.parts]
        maps = [*layered([(bird.species, body)]), *layered(disks)]
        return Labels(stacked([self.known(each, entry.name) for each in maps]))


def _root(folder: Path) -> Path:
    for root in (folder, folder / "CUB_200_2011"):
        if (root / "image_class_labels.txt").is_file():
            return root
    raise ValueError(
        f"Expected image_class_labels.txt in {str(folder)!r}, got none; try the folder CUB_200_2011."
    )


def _plain(name: str) -> str:
    """``001.Black_footed_Albatross`` as Black footed Albatross."""
    head, dot, tail = name.partition(".")
    return (tail if dot and head.isdecimal() else name).replace("_", " ")


def _named(path: Path, problems: list[Problem]) -> dict[int, str]:
    names: dict[int, str] = {}
    for where, (key, name) in read_lines(path, 2, problems):
        number = whole_number(key, 32_767)
        if number and number not in names:
            names[number] = name
        else:
            problems.append(
                Problem(where, f"Expected a new number from 1 on, got {key!r}; the line is left out")
            )
    return names


def _entries(
    root: Path, species: set[int], parts: set[int], shift: int, problems: list[Problem]
) -> list[Entry]:
    kinds = {key: kind for _, (key, kind) in read_lines(root / "image_class_labels.txt", 2, problems)}
    folds = {
        key: fold for _, (key, fold) in read_lines(root / "train_test_split.txt", 2, problems, needed=False)
    }
    boxes = {key: _numbers(box) for _, (key, *box) in read_lines(root / "bounding_boxes.txt", 5, problems)}
    points = _points(root, parts, shift, problems)
    masks = next(
        (path for path in (root / "segmentations", root.parent / "segmentations") if path.is_dir()), None
    )
    present, seen = Presence(root.parent), set()
    entries = []
    for where, (key, name) in read_lines(root / "images.txt", 2, problems):
        kind, box = kinds.get(key, ""), boxes.get(key, ())
        if key in seen:
            reason = f"Expected another picture, got {key} again"
        elif whole_number(kind) not in species or len(box) != 4 or min(box[2:]) <= 0:
            reason = f"Expected a species and a bounding box, got {kind or 'none'} and {box or 'none'} for {name!r}"
        elif not present(str(root / "images" / name)):
            reason = f"Expected the file {name!r}, got none"
        else:
            mask = str(masks / Path(name).with_suffix(".png")) if masks else ""
            if mask and not present(mask):
                problems.append(
                    Problem(where, f"Expected a segmentation of {name!r}, got none; the box is taken")
                )
                mask = ""
            bird = _Bird(int(kind), (box[0], box[1], box[2], box[3]), tuple(points.get(key, ())), mask)
            split = {"1": "fit", "0": "held-out"}.get(folds.get(key, ""))
            entries.append(Entry(name, str(root / "images" / name), bird, split))
            reason = ""
        if reason:
            problems.append(Problem(where, f"{reason}; the line is left out"))
        seen.add(key)
    return entries


def _points(
    root: Path, parts: set[int], shift: int, problems: list[Problem]
) -> dict[str, list[tuple[int, float, float]]]:
    """Of every picture: its visible parts, as their concepts' numbers with x and y."""
    points: dict[str, list[tuple[int, float, float]]] = {}
    for where, (key, part, *rest) in read_lines(root / "parts" / "part_locs.txt", 5, problems):
        found = _numbers(rest)
        if whole_number(part) not in parts or len(found) != 3:
            got = " ".join([part, *rest])
            problems.append(
                Problem(
                    where, f"Expected a part, x, y and whether it is visible, got {got}; the line is left out"
                )
            )
        elif found[2]:
            points.setdefault(key, []).append((int(part) + shift, found[0], found[1]))
    return points


def _numbers(cells: list[str]) -> tuple[float, ...]:
    try:
        found = tuple(float(cell) for cell in cells)
    except ValueError:
        return ()
    return found if all(abs(each) < 1e9 for each in found) else ()
