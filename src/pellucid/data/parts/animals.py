"""Photographs with boxes of the animal and of its parts, each cropped to its animal.

``boxes.csv`` as `pellucid.data.concepts.boxes` reads it: a box of kind "object", and boxes of other kinds, which are parts
named by their kind; paths are relative to the folder of the table or the one above. A part's landmark is the center of its
box; of several boxes of one part the region is their union and the landmark the center of the largest. Pictures of several
objects give the largest one, with the parts whose centers it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pellucid.data.concepts.base import Problem
from pellucid.data.concepts.boxes import Box, BoxedPicture, boxed_sets, read_boxes
from pellucid.data.concepts.listed import side
from pellucid.data.images import read_image
from pellucid.data.parts.source import Part, PartedImage, PartSource, chosen


@dataclass(eq=False)
class AnimalParts(PartSource):
    """Animals with boxes; made by `AnimalParts.of`. ``names``: of the numbers of boxes."""

    root: Path = Path()
    items: tuple[BoxedPicture, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    margin: float = 0.1

    @classmethod
    def of(
        cls,
        folder: str,
        *,
        classes: Sequence[str] = (),
        parts: Sequence[str] = (),
        split: str | None = None,
        margin: float = 0.1,
    ) -> AnimalParts:
        """Open a folder with ``boxes.csv``, or one above it. ``classes``, ``parts``: names to keep, by default all.

        ``split``: "fit" or "held-out"; ``margin``: see `PartedImage.cropped`. Raises ValueError where there is no table,
        nothing is usable, or for an unknown name.
        """
        place = Path(folder).expanduser()
        tables = boxed_sets(place)
        if not tables:
            raise ValueError(
                f"Expected a folder with boxes.csv, got {folder!r}; try the folder that holds it."
            )
        numbers: dict[str, int] = {}
        problems: list[Problem] = []
        items: list[BoxedPicture] = []
        for table in tables.values():
            read = read_boxes(table, lambda _, name: numbers.setdefault(name, 1 + len(numbers)), problems)
            items += [one for _, one in read if split in (None, side(one.split))]
        names = {number: name for name, number in numbers.items()}
        items = [one for one in items if any(not box.part for box in one.boxes)]
        root = next((at for at in (place, place.parent) if items and (at / items[0].image).is_file()), place)
        kinds = sorted({names[_object(one).number] for one in items})
        kinds = list(chosen(classes or kinds, kinds, "class"))
        items = [one for one in items if names[_object(one).number] in kinds]
        if not items:
            first = f" ({problems[0].where}: {problems[0].reason})" if problems else ""
            raise ValueError(f"Expected boxes of objects in {folder!r}, got none{first}; try another folder.")
        held: dict[str, dict[str, None]] = {kind: {} for kind in kinds}
        for one in items:
            held[names[_object(one).number]].update(
                (names[box.number], None) for box in one.boxes if box.part
            )
        every = sorted({name for found in held.values() for name in found})
        wanted = chosen(parts or every, every, "part")
        return cls(
            f"animals:{place.absolute().name}",
            {kind: tuple(name for name in wanted if name in held[kind]) for kind in kinds},
            "whole",
            problems,
            root=root,
            items=tuple(items),
            names=names,
            margin=margin,
        )

    def __len__(self) -> int:
        return len(self.items)

    def picture_name(self, index: int) -> str:
        """The picture's path in the set."""
        return self.items[index].image

    def class_name(self, index: int) -> str:
        """The name of its largest object."""
        return self.names[_object(self.items[index]).number]

    def files(self, index: int) -> tuple[Path, ...]:
        """The picture's file."""
        return (self.root / self.items[index].image,)

    def __getitem__(self, index: int) -> PartedImage:
        one = self.items[index]
        image = read_image(self.root / one.image, name=one.image)
        width, height = image.image.size
        rows, columns = (
            height / one.size[0],
            width / one.size[1],
        )  # boxes are in pixels of the size the table says
        animal = _object(one)
        kind = self.names[animal.number]
        parts = {}
        for name in self.classes[kind]:
            mine = [
                box
                for box in one.boxes
                if box.part and self.names[box.number] == name and _holds(animal, box)
            ]
            if mine:
                scaled = [_scaled(box, rows, columns) for box in mine]
                parts[name] = _joined(scaled, (height, width))
        return PartedImage(image, kind, parts).cropped(_scaled(animal, rows, columns), self.margin)


def _object(one: BoxedPicture) -> Box:
    return max((box for box in one.boxes if not box.part), key=_area)


def _area(box: Box) -> float:
    return (box.right - box.left) * (box.bottom - box.top)


def _holds(animal: Box, box: Box) -> bool:
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    return animal.left <= x <= animal.right and animal.top <= y <= animal.bottom


def _scaled(box: Box, rows: float, columns: float) -> tuple[float, float, float, float]:
    return box.left * columns, box.top * rows, box.right * columns, box.bottom * rows


def _joined(boxes: list[tuple[float, float, float, float]], shape: tuple[int, int]) -> Part:
    largest = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    if len(boxes) == 1:
        return Part(box=largest)
    mask = np.logical_or.reduce([Part(box=box).region(shape) for box in boxes])
    return Part(mask, landmark=Part(box=largest).point())
