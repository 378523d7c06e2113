"""What a set with parts is: pictures of objects, and where every part of the object is.

A part has a mask, or a box, and a landmark; what is not given follows from the other: a box is a mask of its rectangle, the
landmark is the centroid of the mask or the center of the box. Positions are in pixels of the picture as a plane: the first pixel
reaches from 0 to 1, its center is at 0.5.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pellucid.core.documents import FlawError, check_regular
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.data.concepts.base import Problem, View
from pellucid.data.concepts.regions import rectangle
from pellucid.data.images import Picture

Mask = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]
Point = tuple[float, float]


class PartKey(NamedTuple):
    """A part of the objects of one class: a wheel of a car is another part than a wheel of a truck."""

    object_class: str
    name: str


@dataclass(frozen=True, eq=False)
class Part:
    """Where one part is in one picture: ``mask`` [h w], or ``box`` (left, top, right, bottom); ``landmark`` (x, y).

    A landmark outside the picture is allowed: the part is then taken as not to be seen.
    """

    mask: Mask | None = None
    box: Box | None = None
    landmark: Point | None = None

    def region(self, shape: tuple[int, int]) -> Mask:
        """The part's pixels in a picture of (height, width); none where it has only a landmark."""
        if self.mask is not None:
            return self.mask
        return rectangle(shape, *self.box) if self.box is not None else np.zeros(shape, np.bool_)

    def point(self) -> Point | None:
        """The landmark, the centroid of the mask, or the center of the box."""
        if self.landmark is not None:
            return self.landmark
        if self.mask is not None:
            return centroid(self.mask)
        if self.box is not None:
            return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2
        return None

    def shifted(self, left: int, top: int, right: int, bottom: int) -> Part:
        """The part in the crop of those pixels (ends excluded)."""
        x, y = self.landmark or (0.0, 0.0)
        box = self.box
        return Part(
            None if self.mask is None else self.mask[top:bottom, left:right],
            None if box is None else (box[0] - left, box[1] - top, box[2] - left, box[3] - top),
            None if self.landmark is None else (x - left, y - top),
        )


def centroid(mask: Mask) -> Point | None:
    """(x, y) of the middle of a mask's pixels; None of an empty one.

    >>> centroid(np.array([[False, True, True]]))
    (2.0, 0.5)
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    return float(columns.mean() + 0.5), float(rows.mean() + 0.5)


@dataclass(frozen=True, eq=False)
class PartedImage:
    """One picture of an object of a class, with those of its parts that are there."""

    image: Picture
    object_class: str
    parts: Mapping[str, Part]

    def cropped(self, box: Box, margin: float) -> PartedImage:
        """The object's box, wider by ``margin`` of its sides on every side as far as the picture goes."""
        width, height = self.image.image.size
        wide, high = margin * (box[2] - box[0]), margin * (box[3] - box[1])
        left, top = max(int(np.floor(box[0] - wide)), 0), max(int(np.floor(box[1] - high)), 0)
        right = min(max(int(np.ceil(box[2] + wide)), left + 1), width)
        bottom = min(max(int(np.ceil(box[3] + high)), top + 1), height)
        image = replace(self.image, pixels=self.image.image.crop((left, top, right, bottom)))
        parts = {name: part.shifted(left, top, right, bottom) for name, part in self.parts.items()}
        return PartedImage(image, self.object_class, parts)


@dataclass(eq=False)
class PartSource(ABC):
    """Pictures of objects with parts; subclasses know where they come from.

    Attributes:
        name: what the set is called.
        classes: of every object class, the names of its parts; only these occur.
        view: "network": pictures are resized and cropped as the network's own preprocessing says; "whole": the whole picture
            (a crop of an object) is brought to the input's size whatever its aspect, as the paper's code does.
        problems: what was found unusable so far; grows while reading.
    """

    name: str
    classes: Mapping[str, tuple[str, ...]]
    view: View = "network"
    problems: list[Problem] = field(default_factory=list)

    @abstractmethod
    def __len__(self) -> int:
        """How many pictures there are."""

    @abstractmethod
    def picture_name(self, index: int) -> str:
        """A picture's name, different from all others of the set and the same on every machine."""

    @abstractmethod
    def class_name(self, index: int) -> str:
        """The class of the picture's object."""

    @abstractmethod
    def __getitem__(self, index: int) -> PartedImage:
        """Picture and parts. Raises ImageError or LabelError where they cannot be read: the picture is left out."""

    def __iter__(self) -> Iterator[PartedImage]:
        return (self[index] for index in range(len(self)))

    @property
    def keys(self) -> tuple[PartKey, ...]:
        """All parts of all classes."""
        return tuple(PartKey(kind, part) for kind, parts in self.classes.items() for part in parts)

    def report(self, where: str, reason: str) -> None:
        """List a problem once."""
        problem = Problem(where, reason)
        if problem not in self.problems:
            self.problems.append(problem)

    def files(self, index: int) -> tuple[Path, ...]:
        """The files a picture is read from; none of a picture that is drawn."""
        return ()

    def digest(self) -> str:
        """SHA-256 over the names of the pictures and the bytes of their files: another one where a picture was changed."""
        content = hashlib.sha256()
        for index in range(len(self)):
            content.update(f"{self.picture_name(index)}\n".encode("utf-8", "surrogateescape"))
            for file in self.files(index):
                content.update(_digest_of(file))
        return content.hexdigest()

    def facts(self) -> dict[str, Any]:
        """What results note about the set; reads the files of its pictures once."""
        return {
            "sha256": self.digest(),
            "name": self.name,
            "images": len(self),
            "view": self.view,
            "classes": {kind: list(parts) for kind, parts in self.classes.items()},
        }


def _digest_of(file: Path) -> bytes:
    try:
        check_regular(file)
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").digest()
    except (OSError, FlawError):  # reading the picture will say what is wrong with it
        return b"not there"


def chosen(names: Sequence[str], known: Sequence[str], what: str) -> tuple[str, ...]:
    """The names asked for, in the order they are known in; case, hyphens and underscores do not matter.

    Raises UnknownNameError for another.
    """
    own = {_folded(name): name for name in reversed(known)}
    for name in names:
        if name not in known and _folded(name) not in own:
            raise UnknownNameError(f"Expected the name of a {what}, got `{name}`; {suggest(name, known)}")
    wanted = {name if name in known else own[_folded(name)] for name in names}
    return tuple(name for name in known if name in wanted)


def _folded(name: str) -> str:
    return name.strip().casefold().replace("-", " ").replace("_", " ")
