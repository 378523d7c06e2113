"""PASCAL-Part as pictures of objects with parts, each cropped to its object.

``Annotations_Part/*.mat`` beside ``JPEGImages/``: per picture ``anno.objects`` with class, mask and parts. Of six animals the
parts are merged as the paper's authors do (eyes and beak belong to the head, hoofs to the legs; tails of cows, horses and
sheep are left out); elsewhere a part is its name without its number (wheel_1, wheel_2: wheel). A landmark is a centroid.

Source: Chen, Mottaghi, Liu, Fidler, Urtasun, Yuille, CVPR 2014; merges: released code of Zhang, Wu, Zhu, CVPR 2018.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pellucid.data.concepts.base import LabelError, Problem
from pellucid.data.images import read_image
from pellucid.data.parts.source import Mask, Part, PartedImage, PartSource, chosen

_EYES = "head leye reye"
_PAWS = {"front legs": "lfleg lfpa rfleg rfpa", "back legs": "lbleg lbpa rbleg rbpa", "tail": "tail"}
_LEGS = {"front legs": "lfuleg lflleg rfuleg rflleg", "back legs": "lbuleg lblleg rbuleg rblleg"}
_HOOFS = {"front legs": _LEGS["front legs"] + " lfho rfho", "back legs": _LEGS["back legs"] + " lbho rbho"}
_TORSO = {"torso": "torso neck"}
_HORNED = {"head": f"{_EYES} lear rear muzzle lhorn rhorn", **_TORSO, **_LEGS}
_BIRD = {"torso": "torso neck lwing rwing", "legs": "lleg lfoot rleg rfoot", "tail": "tail"}
MERGES: dict[str, dict[str, str]] = {
    "bird": {"head": f"{_EYES} beak", **_BIRD},
    "cat": {"head": f"{_EYES} lear rear nose", **_TORSO, **_PAWS},
    "cow": _HORNED,
    "dog": {"head": f"{_EYES} lear rear nose muzzle", **_TORSO, **_PAWS},
    "horse": {"head": f"{_EYES} lear rear muzzle", **_TORSO, **_HOOFS},
    "sheep": _HORNED,
}


class _Item(NamedTuple):
    stem: str
    place: int
    kind: str
    box: tuple[float, float, float, float]


@dataclass(eq=False)
class VocParts(PartSource):
    """Objects of PASCAL-Part; made by `VocParts.of`."""

    annotations: Path = Path()
    pictures: Path = Path()
    items: tuple[_Item, ...] = ()
    margin: float = 0.0

    @classmethod
    def of(
        cls,
        folder: str,
        *,
        classes: Sequence[str] = (),
        parts: Sequence[str] = (),
        margin: float = 0.0,
        least: int = 2500,
    ) -> VocParts:
        """Open a folder that holds ``Annotations_Part`` and ``JPEGImages`` (also in a VOC20xx below it).

        ``classes``: by default the six animals of the paper, or all where there is none of them. Objects whose box has fewer than
        ``least`` pixels are left out. Every annotation is read once for the list of objects. Raises ValueError where a folder is
        missing, nothing is usable, or for an unknown name.
        """
        root = Path(folder).expanduser()
        annotations, pictures = (_folder(root, name) for name in ("Annotations_Part", "JPEGImages"))
        problems: list[Problem] = []
        items: list[_Item] = []
        held: dict[str, dict[str, None]] = {}
        for file in sorted(annotations.glob("*.mat")):
            try:
                objects = _objects(file)
            except LabelError as error:
                problems.append(Problem(file.name, str(error)))
                continue
            if not (pictures / f"{file.stem}.jpg").is_file():
                problems.append(Problem(file.name, "Expected its picture, got no such JPEG; it is left out"))
                continue
            for place, (kind, mask, found) in enumerate(objects):
                box = _box(mask)
                if box is not None and (box[2] - box[0]) * (box[3] - box[1]) >= least:
                    items.append(_Item(file.stem, place, kind, box))
                    held.setdefault(kind, {}).update(dict.fromkeys(found))
        known = sorted(held)
        usual = [kind for kind in known if kind in MERGES] or known
        kinds = chosen(classes or usual, known, "class") if known else ()
        items = [item for item in items if item.kind in kinds]
        if not items:
            first = f" ({problems[0].where}: {problems[0].reason})" if problems else ""
            raise ValueError(
                f"Expected objects in {folder!r}, got none that is usable{first}; try another folder."
            )
        names = {kind: tuple(name for name in _ordered(kind, held[kind])) for kind in kinds}
        every = tuple(dict.fromkeys(name for found in names.values() for name in found))
        wanted = chosen(parts or every, every, "part")
        return cls(
            f"voc:{root.absolute().name}",
            {kind: tuple(name for name in names[kind] if name in wanted) for kind in kinds},
            "whole",
            problems,
            annotations=annotations,
            pictures=pictures,
            items=tuple(items),
            margin=margin,
        )

    def __len__(self) -> int:
        return len(self.items)

    def picture_name(self, index: int) -> str:
        """The picture's name and the object's number in it."""
        return f"{self.items[index].stem}.jpg#{self.items[index].place + 1}"

    def class_name(self, index: int) -> str:
        """The object's class."""
        return self.items[index].kind

    def files(self, index: int) -> tuple[Path, ...]:
        """The picture's file."""
        return (self.pictures / f"{self.items[index].stem}.jpg",)

    def __getitem__(self, index: int) -> PartedImage:
        item = self.items[index]
        image = read_image(self.pictures / f"{item.stem}.jpg", name=self.picture_name(index))
        kind, mask, found = _objects(self.annotations / f"{item.stem}.mat")[item.place]
        if mask.shape != image.image.size[::-1]:
            raise LabelError(
                f"Expected masks of {image.image.size[1]} × {image.image.size[0]}, got {mask.shape[0]} × {mask.shape[1]} "
                f"for {item.stem}; try the annotations made for these pictures"
            )
        parts = {
            name: Part(found[name]) for name in self.classes[kind] if name in found and found[name].any()
        }
        return PartedImage(image, kind, parts).cropped(item.box, self.margin)


def _folder(root: Path, name: str) -> Path:
    for place in (root, *sorted(root.glob("*")), *sorted(root.glob("*/*"))):
        if (place / name).is_dir():
            return place / name
    raise ValueError(
        f"Expected a folder {name} in {str(root)!r}, got none; try the folder VOC2010 that holds it."
    )


def _objects(file: Path) -> list[tuple[str, Mask, dict[str, Mask]]]:
    """(class, mask, part → mask) of every object of a picture."""
    from scipy.io import loadmat

    try:
        objects = _listed(loadmat(file, simplify_cells=True)["anno"]["objects"])
        return [
            (
                str(one["class"]),
                np.asarray(one["mask"]) > 0,
                _merged(str(one["class"]), _listed(one["parts"])),
            )
            for one in objects
        ]
    except Exception as error:  # the reader fails in many ways on a damaged file
        raise LabelError(
            f"Expected parts of objects in {file.name}, got something else ({error}); try to copy it again"
        ) from error


def _listed(value: Any) -> list[Any]:
    """MATLAB has one structure where there is one, and an empty matrix where there is none."""
    return [value] if isinstance(value, dict) else list(value)


def _merged(kind: str, parts: list[Any]) -> dict[str, Mask]:
    group = {one: name for name, ones in MERGES.get(kind, {}).items() for one in ones.split()}
    found: dict[str, Mask] = {}
    for part in parts:
        own = str(part["part_name"])
        name = group.get(own, "") if kind in MERGES else re.sub(r"_\d+$", "", own)
        if name:
            mask = np.asarray(part["mask"]) > 0
            found[name] = np.logical_or(found[name], mask) if name in found else mask
    return found


def _ordered(kind: str, found: dict[str, None]) -> list[str]:
    return [name for name in MERGES.get(kind, found) if name in found]


def _box(mask: Mask) -> tuple[float, float, float, float] | None:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
