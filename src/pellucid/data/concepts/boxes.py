"""Boxes as labels: rectangles of objects and of their parts, several to a picture.

A table has a row for every box; kind "object" is the whole thing, named by its wnid (a noun of WordNet) or by a label, any
other kind is a part named by the kind. What a box covers is not all of the thing: such labels are coarser than masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pellucid.data.concepts.base import Numbers, Problem
from pellucid.data.concepts.listed import Rows, whole_number
from pellucid.data.concepts.maps import Mask, layered
from pellucid.data.concepts.regions import rectangle

# the animals of ImageNet's detection challenge, as WordNet names them
NAMES = {
    line[:9]: line[10:]
    for line in (
        *("n01443537 goldfish", "n01503061 bird", "n01639765 frog", "n01662784 turtle"),
        *("n01674464 lizard", "n01882714 koala", "n01982650 lobster", "n02084071 dog"),
        *("n02118333 fox", "n02121808 domestic cat", "n02129165 lion", "n02129604 tiger"),
        *("n02131653 bear", "n02324045 rabbit", "n02342885 hamster", "n02355227 squirrel"),
        *("n02374451 horse", "n02391049 zebra", "n02395003 swine", "n02398521 hippopotamus"),
        *("n02402425 cattle", "n02411705 sheep", "n02419796 antelope", "n02437136 camel"),
        *("n02444819 otter", "n02454379 armadillo", "n02484322 monkey", "n02503517 elephant"),
        *("n02509815 red panda", "n02510455 giant panda"),
    )
}
_NEEDS = ("image", "kind", "x0", "y0", "x1", "y1", "width", "height")


class Box(NamedTuple):
    """A rectangle in pixels and the number of what is in it."""

    number: int
    part: bool
    left: float
    top: float
    right: float
    bottom: float


@dataclass
class BoxedPicture:
    """A picture of the table: its file, (height, width), split and boxes."""

    image: str
    size: tuple[int, int]
    split: str
    boxes: list[Box] = field(default_factory=list)


def boxed_sets(root: Path) -> dict[str, Path]:
    """The tables of boxes below a folder, by the name of their set ("" for the folder's own)."""
    own = {"": root / "boxes.csv"} if (root / "boxes.csv").is_file() else {}
    return own | {path.parent.name: path for path in sorted(root.glob("*/boxes.csv"))}


def read_boxes(
    path: Path, number: Callable[[str, str], int], problems: list[Problem]
) -> list[tuple[str, BoxedPicture]]:
    """The pictures of a table, each with where it was first named; ``number`` numbers a category and a name.

    Boxes that cannot be read are listed in ``problems``, and their picture is left out: its truth would lack something.
    """
    pictures: dict[str, tuple[str, BoxedPicture]] = {}
    broken = set()
    for where, row in Rows(path, _NEEDS, problems).rows:
        width, height = whole_number(row["width"]), whole_number(row["height"])
        corners = _corners(row)
        name = row["kind"] if row["kind"] != "object" else _name(row)
        if not (width and height and name and row["image"]) or corners is None:
            reason = f"Expected an image, its size, a kind and a box, got {', '.join(row.values())}; the picture is left out"
            problems.append(Problem(f"{path.parent.name}/{where}", reason))
            broken.add(row["image"])
            continue
        new = (where, BoxedPicture(row["image"], (height, width), row.get("split", "")))
        part = row["kind"] != "object"
        box = Box(number("part" if part else "object", name), part, *corners)
        pictures.setdefault(row["image"], new)[1].boxes.append(box)
    return [pair for image, pair in pictures.items() if image not in broken]


def box_maps(boxes: Sequence[Box], shape: tuple[int, int]) -> list[Numbers]:
    """Label maps [h w] of the boxes, objects apart from parts; boxes of one number are joined."""
    maps: list[Numbers] = []
    for part in (False, True):
        masks: dict[int, Mask] = {}
        for box in boxes:
            if box.part == part:
                mask = rectangle(shape, box.left, box.top, box.right, box.bottom)
                masks[box.number] = np.logical_or(masks[box.number], mask) if box.number in masks else mask
        maps += layered(masks.items())
    return maps


def _corners(row: dict[str, str]) -> tuple[float, float, float, float] | None:
    try:
        left, top, right, bottom = (float(row[key]) for key in ("x0", "y0", "x1", "y1"))
    except ValueError:
        return None
    sound = all(abs(side) < 1e9 for side in (left, top, right, bottom)) and left <= right and top <= bottom
    return (left, top, right, bottom) if sound else None


def _name(row: dict[str, str]) -> str:
    wnid = row.get("wnid", "")
    return row.get("label", "") or NAMES.get(wnid, wnid)
