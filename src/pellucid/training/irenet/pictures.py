"""Labeled pictures of a set of concepts, with one map of labels for each category; and squares cut out of them.

A label holds for a square when it covers at least a share of it: `LEAST`. In views, where a small part is to be found in a
whole scene, parts need six pixels of a 128-pixel picture; what is there but smaller is doubtful (−1): neither taught nor
counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pellucid.data.concepts.base import ConceptSource
from pellucid.world.concepts import SceneConcepts

LEAST = {"crop": 0.05, "view": 0.01, "part in view": 0.00035}
_WHOLE = "scene"  # the category that has no maps: it belongs to the picture
Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The attributes to recognize: those with maps first, category by category.

    Attributes:
        names, categories: of every attribute
        numbers: its concept's number in the set
        mapped: the categories that have maps, in order
        sizes: attributes in each of them
        tables: [category, number of a concept] → 1 + its place in the category, 0 for any other concept
        whole: number of a concept → its place among the attributes without maps
    """

    names: tuple[str, ...]
    categories: tuple[str, ...]
    numbers: tuple[int, ...]
    mapped: tuple[str, ...]
    sizes: tuple[int, ...]
    tables: Any
    whole: dict[int, int]

    @classmethod
    def of(cls, source: ConceptSource, categories: Sequence[str], without: Sequence[int] = ()) -> Vocabulary:
        """Of a set's concepts but for those numbered in ``without``; names that stand in two categories get theirs in brackets.

        Raises ValueError where the set has none of the categories.
        """
        chosen = [
            each for each in source.concepts if each.category in categories and each.number not in without
        ]
        if not chosen:
            held = ", ".join(source.categories) or "none"
            raise ValueError(
                f"Expected concepts of the categories {', '.join(categories)} in {source.name}, got none of them; it has {held}."
            )
        mapped = tuple(
            name for name in categories if name != _WHOLE and any(c.category == name for c in chosen)
        )
        ordered = [c for name in (*mapped, _WHOLE) for c in chosen if c.category == name]
        twice = {c.name for c in ordered if sum(other.name == c.name for other in ordered) > 1}
        names = tuple(f"{c.name} ({c.category})" if c.name in twice else c.name for c in ordered)
        tables = np.zeros((len(mapped), 65_536), np.uint8)
        sizes = []
        for row, name in enumerate(mapped):
            own = [c for c in ordered if c.category == name]
            sizes.append(len(own))
            tables[row, [c.number for c in own]] = np.arange(1, len(own) + 1)
        whole = {c.number: sum(sizes) + k for k, c in enumerate(c for c in ordered if c.category == _WHOLE)}
        kinds, numbers = tuple(c.category for c in ordered), tuple(c.number for c in ordered)
        return cls(names, kinds, numbers, mapped, tuple(sizes), tables, whole)


@dataclass(eq=False)
class Pictures:
    """Some pictures of a set, read on demand and, unless they are quickly drawn again, kept."""

    source: ConceptSource
    indices: Sequence[int]
    vocabulary: Vocabulary
    _kept: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, place: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels uint8 [3 h w], label maps uint8 [category h w] (0: none), and the attributes of the whole picture [n]."""
        if place in self._kept:
            return self._kept[place]
        index, words = self.indices[place], self.vocabulary
        image = self.source.picture(index).image.convert("RGB")
        labels = self.source.labels(index)
        maps = np.zeros((len(words.mapped), image.height, image.width), np.uint8)
        for layer in labels.maps:
            if layer.shape != maps.shape[1:]:  # a map over the whole picture, of another size
                rows = (np.arange(maps.shape[1]) + 0.5) * layer.shape[0] / maps.shape[1]
                columns = (np.arange(maps.shape[2]) + 0.5) * layer.shape[1] / maps.shape[2]
                layer = layer[rows.astype(int)[:, None], columns.astype(int)]
            found = words.tables[:, layer]
            maps = np.where(found > 0, found, maps)
        for number in labels.whole:
            for row in np.flatnonzero(words.tables[:, number]):
                maps[row] = words.tables[row, number]
        whole = [words.whole[number] for number in labels.whole if number in words.whole]
        read = (
            torch.from_numpy(np.array(image)).permute(2, 0, 1),
            torch.from_numpy(maps),
            torch.tensor(whole, dtype=torch.long),
        )
        if not isinstance(self.source, SceneConcepts):
            self._kept[place] = read
        return read

    def labels(self, maps: Tensor, whole: Tensor, kind: str) -> Tensor:
        """int8 [attribute] of a square: 1 there, 0 not there, −1 doubtful; ``kind``: "crop" or "view"."""
        words = self.vocabulary
        found = torch.zeros(len(words.names), dtype=torch.int8)
        first, area = 0, maps[0].numel() if len(maps) else 1
        for row, (category, size) in enumerate(zip(words.mapped, words.sizes, strict=True)):
            share = torch.bincount(maps[row].flatten(), minlength=size + 1)[1:] / area
            least = LEAST["part in view" if kind == "view" and category == "part" else kind]
            values = (share >= least).to(torch.int8)
            if kind == "view":
                values[(share > 0) & (share < least)] = -1
            found[first : first + size] = values
            first += size
        found[whole] = 1
        return found


def cut(image: Tensor, box: Box, size: int) -> Tensor:
    """The square (top, left, bottom, right) of a picture [3 h w] in uint8, resized with antialiasing."""
    top, left, bottom, right = box
    part = image[:, top:bottom, left:right]
    if tuple(part.shape[1:]) == (size, size):
        return part
    scaled = F.interpolate(
        part[None].float(), (size, size), mode="bilinear", antialias=True, align_corners=False
    )[0]
    return scaled.round().clamp(0, 255).to(torch.uint8)


def sampled(maps: Tensor, box: Box, cells: int) -> Tensor:
    """Label maps [category h w] of a square, at the centers of ``cells`` × ``cells`` cells."""
    top, left, bottom, right = box
    steps = (torch.arange(cells) + 0.5) / cells
    rows = (top + steps * (bottom - top)).long()
    columns = (left + steps * (right - left)).long()
    return maps[:, rows[:, None], columns]


def around(box: Box, margin: float, least: int, height: int, width: int) -> Box:
    """The square around a box with a margin (a share of its side), at least ``least`` pixels wide, moved into the picture; not
    quite a square where the picture is too narrow."""
    top, left, bottom, right = box
    side = max(least, round(max(bottom - top, right - left) * (1 + 2 * margin)))
    tall, wide = min(side, height), min(side, width)
    top = min(max(0, (top + bottom - tall) // 2), height - tall)
    left = min(max(0, (left + right - wide) // 2), width - wide)
    return top, left, top + tall, left + wide


def part_boxes(pictures: Pictures, margin: float, least: int) -> list[tuple[int, Box]]:
    """(place of the picture, square) around every labeled part and object; of a set without either, around every label of its
    first category. Those of less than 0.05 % of their picture do not count."""
    words = pictures.vocabulary
    rows = [row for row, category in enumerate(words.mapped) if category in ("part", "object")] or [0]
    found = []
    for place in range(len(pictures)):
        for maps in pictures.read(place)[1][rows]:
            for label in torch.unique(maps[maps > 0]).tolist():
                mask = maps == label
                if int(mask.sum()) < 0.0005 * mask.numel():
                    continue
                down, right = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
                box = (int(down[0]), int(right[0]), int(down[-1]) + 1, int(right[-1]) + 1)
                found.append((place, around(box, margin, least, int(maps.shape[0]), int(maps.shape[1]))))
    return found
