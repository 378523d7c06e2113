"""Any set of concepts whose category "part" has masks: folders with ``index.csv`` and ``labels.csv``, Broden, and whatever else
`pellucid.open_concepts` opens.

A picture's class is the object that has most pixels in it, among those the set names; where it names none all are of one class,
"object". A part's landmark is the centroid of its pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.data.concepts import ConceptSource
from pellucid.data.concepts.base import Labels
from pellucid.data.concepts.maps import nearest
from pellucid.data.parts.source import Part, PartedImage, PartSource, chosen

ANY = "object"


@dataclass(eq=False)
class LabeledParts(PartSource):
    """The parts of a set of concepts; made by `LabeledParts.of`."""

    held: Any = None
    places: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        held: ConceptSource,
        *,
        classes: Sequence[str] = (),
        parts: Sequence[str] = (),
        split: str | None = None,
    ) -> LabeledParts:
        """Parts of an open set. Where the set names objects, a picture without one has no class, and is left out later.

        Raises ValueError where the set has no parts, UnknownNameError for an unknown class or part.
        """
        known = [concept.name for concept in held.concepts if concept.category == "part"]
        if not known:
            raise ValueError(
                f"Expected concepts of the category part in {held.name}, got {', '.join(held.categories)}; "
                "try a set with masks of parts."
            )
        objects = [concept.name for concept in held.concepts if concept.category == "object"] or [ANY]
        kinds = chosen(classes or objects, objects, "class")
        names = chosen(parts or known, known, "part")
        places = tuple(k for k in range(len(held)) if split in (None, held.split(k)))
        if classes and objects != [ANY]:
            made = cls(held.name, {}, held.view, held=held, places=places)
            places = tuple(k for n, k in enumerate(places) if made.class_name(n) in kinds)
        return cls(held.name, dict.fromkeys(kinds, names), held.view, held.problems, held=held, places=places)

    def __len__(self) -> int:
        return len(self.places)

    def picture_name(self, index: int) -> str:
        """The picture's name in the set."""
        return str(self.held.picture_name(self.places[index]))

    def class_name(self, index: int) -> str:
        """The object that has most pixels; "" where the set names objects and none is in the picture."""
        return self._kind(self.held.labels(self.places[index]))

    def files(self, index: int) -> tuple[Path, ...]:
        """The picture's file."""
        return tuple(self.held.files(self.places[index]))

    def __getitem__(self, index: int) -> PartedImage:
        place = self.places[index]
        image = self.held.picture(place)
        width, height = image.image.size
        labels = self.held.labels(place)
        kind = self._kind(labels)
        maps = (
            labels.maps if labels.maps.shape[1:] == (height, width) else nearest(labels.maps, height, width)
        )
        parts = {}
        for concept in self.held.concepts:
            if concept.category == "part" and concept.name in self.classes.get(kind, ()):
                mask = (maps == concept.number).any(0)
                if mask.any():
                    parts[concept.name] = Part(mask)
        return PartedImage(image, kind, parts)

    def _kind(self, labels: Labels) -> str:
        objects = {each.number: each.name for each in self.held.concepts if each.category == "object"}
        if not objects:
            return ANY
        counts = np.bincount(labels.maps.ravel(), minlength=65_536)
        best = max(objects, key=lambda number: (int(counts[number]), -number))
        return objects[best] if counts[best] else ""
