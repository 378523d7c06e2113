"""What a set of concepts is: pictures, and for every picture which concept is at which pixel.

A label map holds a concept's number at every pixel, 0 where nothing is said. A picture may have several maps (a
pixel can be a wheel, a car, metal and black at once), maps of another size than its own (Broden's have half), and numbers
that hold for the whole picture (a scene, a texture). Reading is lazy: nothing is held but names.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.data.images import Picture

Numbers = npt.NDArray[np.uint16]
View = Literal["network", "whole"]
SPLITS = ("fit", "held-out")
UNLABELED = 0


@dataclass(frozen=True)
class Concept:
    """A thing with a name that pixels can be; ``number`` is its label (1 to 65,535), ``category`` its primary category."""

    number: int
    name: str
    category: str
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Labels:
    """The truth about one picture: ``maps`` [map h w] of numbers, each map over the whole picture, and ``whole``: what holds
    everywhere. Maps need not have the picture's size; there may be none of them ([0 1 1])."""

    maps: Numbers
    whole: tuple[int, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Something in a set that cannot be used as it is: ``where`` (a file, a row), and what was expected and came."""

    where: str
    reason: str


class LabelError(ValueError):
    """Labels of one picture that cannot be read; the picture is left out and listed."""


@dataclass(eq=False)
class ConceptSource(ABC):
    """Pictures with labels; subclasses know a layout on disk.

    Attributes:
        name: what the set is called.
        concepts: sorted by number; only these numbers may occur in labels.
        view: "network": pictures are resized and cropped as the network's own preprocessing says; "whole": the
            whole picture is resized to the input's size whatever its aspect, as Broden is meant.
        problems: what was found unusable so far; grows while reading.
    """

    name: str
    concepts: tuple[Concept, ...]
    view: View = "network"
    problems: list[Problem] = field(default_factory=list)

    @abstractmethod
    def __len__(self) -> int:
        """How many pictures there are."""

    @abstractmethod
    def picture_name(self, index: int) -> str:
        """A picture's name, different from all others of the set and the same on every machine."""

    @abstractmethod
    def picture(self, index: int) -> Picture:
        """The picture itself. Raises ImageError when it is missing or damaged."""

    @abstractmethod
    def labels(self, index: int) -> Labels:
        """Its truth; numbers that are no concept of the set are replaced by 0 and listed in `problems`.

        Raises LabelError, or ImageError for a damaged PNG: the picture is then left out.
        """

    def files(self, index: int) -> tuple[Path, ...]:
        """The files a picture is read from; none of a picture that is drawn."""
        return ()

    def split(self, index: int) -> str:
        """ "fit" or "held-out": thresholds and labels for the honest score are chosen on the first, measured on the second.

        Unless a set brings its own division, 30 % of the pictures are held out by a hash of their names.
        """
        digest = hashlib.sha256(self.picture_name(index).encode("utf-8", "surrogateescape")).digest()
        return SPLITS[int.from_bytes(digest[:4], "big") % 10 < 3]

    def facts(self) -> dict[str, Any]:
        """What a run directory notes about the set: its name, size and a hash of its vocabulary and picture names."""
        digest = hashlib.sha256()
        for concept in self.concepts:
            line = f"{concept.number}\t{concept.name}\t{concept.category}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        for index in range(len(self)):
            digest.update(
                f"{self.picture_name(index)}\t{self.split(index)}\n".encode("utf-8", "surrogateescape")
            )
        return {
            "name": self.name,
            "images": len(self),
            "concepts": len(self.concepts),
            "view": self.view,
            "sha256": digest.hexdigest(),
        }

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The categories in the order of their first concept."""
        return categories_of(self.concepts)

    def report(self, where: str, reason: str) -> None:
        """List a problem once."""
        problem = Problem(where, reason)
        if problem not in self._listed:
            self._listed.add(problem)
            self.problems.append(problem)

    @cached_property
    def _listed(self) -> set[Problem]:
        return set(self.problems)

    def empty(self) -> tuple[str, ...]:
        """Categories the set speaks of without having a concept of them."""
        return ()


def categories_of(concepts: Sequence[Concept]) -> tuple[str, ...]:
    """The categories in the order of their first concept."""
    return tuple(dict.fromkeys(concept.category for concept in concepts))


def category_places(concepts: Sequence[Concept]) -> npt.NDArray[np.int64]:
    """[concept]: the place of its category among `categories_of`."""
    place = {name: k for k, name in enumerate(categories_of(concepts))}
    return np.array([place[concept.category] for concept in concepts], np.int64)


def sorted_concepts(concepts: Sequence[Concept]) -> tuple[Concept, ...]:
    """By number. Raises ValueError for a number that is not 1…65,535, or stands for two concepts."""
    ordered = tuple(sorted(concepts, key=lambda concept: concept.number))
    for concept in ordered:
        if not 1 <= concept.number <= 65_535:
            raise ValueError(
                f"Expected the number of a concept to be 1 to 65,535 (0 is unlabeled), got {concept.number} for "
                f"`{concept.name}`."
            )
    for one, other in pairwise(ordered):
        if one.number == other.number:
            raise ValueError(
                f"Expected every number to stand for one concept, got {one.number} for `{one.name}` and `{other.name}`."
            )
    return ordered


def places_of(concepts: Sequence[Concept], name: str, category: str | None = None) -> list[int]:
    """Places of the concepts with a name, or where none has it, with such a synonym.

    Raises KeyError for an unknown name or category, naming close ones.
    """
    categories = list(dict.fromkeys(concept.category for concept in concepts))
    if category is not None and category not in categories:
        raise UnknownNameError(f"Expected a category, got `{category}`; {suggest(category, categories)}")
    inside = [k for k, concept in enumerate(concepts) if category in (None, concept.category)]
    wanted = _folded(name)
    for names in ([(known.name,) for known in concepts], [known.synonyms for known in concepts]):
        found = [k for k in inside if wanted in map(_folded, names[k])]
        if found:
            return found
    texts = [text for k in inside for text in (concepts[k].name, *concepts[k].synonyms)]
    of = "" if category is None else f" of the category `{category}`"
    raise UnknownNameError(f"Expected the name of a concept{of}, got `{name}`; {suggest(name, texts)}")


def _folded(name: str) -> str:
    return name.casefold().replace("_", " ").strip()
