"""CUB-200-2011 as pictures of birds with parts, each cropped to its bird.

The set marks parts by points only; a part's region is the disk of `pellucid.data.concepts.cub`. Unless told otherwise the parts
are back, forehead and tail, by which the paper's authors measure, and all species are one class, as there.

Source: Wah, Branson, Welinder, Perona, Belongie, Caltech CNS-TR-2011-001.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import hypot
from pathlib import Path

from pellucid.data.concepts.cub import CubConcepts
from pellucid.data.concepts.regions import disk
from pellucid.data.parts.source import Part, PartedImage, PartSource, chosen

USUAL = ("back", "forehead", "tail")
KIND = "bird"


@dataclass(eq=False)
class BirdParts(PartSource):
    """Birds with parts; made by `BirdParts.of`."""

    held: CubConcepts = field(default_factory=lambda: CubConcepts("", ()))
    places: tuple[int, ...] = ()
    margin: float = 0.0

    @classmethod
    def of(
        cls,
        folder: str,
        *,
        parts: Sequence[str] = USUAL,
        split: str | None = None,
        margin: float = 0.0,
        share: float = 0.05,
    ) -> BirdParts:
        """Open ``CUB_200_2011``. ``split``: "fit" or "held-out".

        ``margin``: see `PartedImage.cropped`; ``share``: see `CubConcepts`.
        Raises ValueError as `CubConcepts.of` does, and for a part the set does not have.
        """
        held = CubConcepts.of(folder, share=share)
        names = [concept.name for concept in held.concepts if concept.category == "part"]
        wanted = chosen([name for name in parts if name in names or parts is not USUAL], names, "part")
        places = tuple(k for k in range(len(held)) if split in (None, held.split(k)))
        return cls(
            held.name,
            {KIND: wanted or tuple(names)},
            "whole",
            held.problems,
            held=held,
            places=places,
            margin=margin,
        )

    def __len__(self) -> int:
        return len(self.places)

    def picture_name(self, index: int) -> str:
        """The picture's path in the set."""
        return self.held.picture_name(self.places[index])

    def class_name(self, index: int) -> str:
        """All are birds."""
        return KIND

    def files(self, index: int) -> tuple[Path, ...]:
        """The picture's file."""
        return self.held.files(self.places[index])

    def __getitem__(self, index: int) -> PartedImage:
        entry = self.held.entries[self.places[index]]
        image = self.held.picture(self.places[index])
        width, height = image.image.size
        left, top, wide, high = entry.truth.box
        names = {concept.number: concept.name for concept in self.held.concepts}
        radius = self.held.share * hypot(wide, high)
        parts = {
            names[number]: Part(disk((height, width), x, y, radius), landmark=(x, y))
            for number, x, y in entry.truth.parts
            if names.get(number) in self.classes[KIND]
        }
        return PartedImage(image, KIND, parts).cropped((left, top, left + wide, top + high), self.margin)
