"""The embedded concept world as a set of concepts: every pixel's object, part, material, texture and color, and the
scene of the whole picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from pellucid.data.concepts.base import Concept, ConceptSource, Labels, sorted_concepts
from pellucid.data.images import Picture
from pellucid.world.vocabulary import CATEGORIES

_MAPS = ("object", "part", "material", "texture", "color")


@dataclass(eq=False)
class SceneConcepts(ConceptSource):
    """Scenes ``first`` to ``first + count - 1`` of a split; made by `SceneConcepts.of`."""

    dataset: Any = None
    first: int = 0
    count: int = 0

    @classmethod
    def of(
        cls,
        count: int = 1000,
        *,
        split: str = "val",
        first: int = 0,
        confounding: float = 0.0,
        size: int = 128,
    ) -> SceneConcepts:
        """``count`` scenes of a split. Raises ValueError for an unknown split or a count below 1.

        >>> scenes = SceneConcepts.of(2, split="test")
        >>> scenes.labels(0).maps.shape, [concept.name for concept in scenes.concepts[:2]]
        ((5, 128, 128), ['sky', 'open sea'])
        """
        from pellucid.world.dataset import SceneDataset

        if count < 1 or first < 0:
            raise ValueError(f"Expected at least one scene from 0 on, got {count} from {first}.")
        data = SceneDataset(split, first + count, confounding=confounding, size=size)
        name = f"scenes:{split}/{first}-{first + count - 1}" + (
            f" (confounding {confounding:g})" if confounding else ""
        )
        return cls(name, _vocabulary(), dataset=data, first=first, count=count)

    def __len__(self) -> int:
        return self.count

    def picture_name(self, index: int) -> str:
        """As ``scene-val-12``."""
        return f"scene-{self.dataset.split}-{self.first + index}"

    def picture(self, index: int) -> Picture:
        """The painted scene."""
        painted = self._rendering(index)
        return Picture(
            Image.fromarray(painted.image), self.picture_name(index), (), (painted.size, painted.size)
        )

    def labels(self, index: int) -> Labels:
        """Five maps of the picture's size and the scene's number."""
        painted = self._rendering(index)
        maps = np.stack([_table(category)[painted.labels(category)] for category in _MAPS])
        return Labels(maps, (int(_table("scene")[painted.scene]),))

    def facts(self) -> dict[str, Any]:
        """The set's facts, with what the scenes were drawn with."""
        return {
            **super().facts(),
            "split": self.dataset.split,
            "first": self.first,
            "confounding": self.dataset.confounding,
            "size": self.dataset.size,
        }

    def _rendering(self, index: int) -> Any:
        kept = self.__dict__.setdefault("_kept", {})  # picture and labels are asked for one after the other
        if index not in kept:
            kept.clear()
            kept[index] = self.dataset.rendering(self.first + index)
        return kept[index]


@lru_cache(maxsize=1)
def _vocabulary() -> tuple[Concept, ...]:
    names = [(category, name) for category, names in CATEGORIES.items() for name in names]
    return sorted_concepts(
        [Concept(number, name, category) for number, (category, name) in enumerate(names, 1)]
    )


@lru_cache(maxsize=8)
def _table(category: str) -> Any:
    """From a category's own numbers to the set's."""
    number = {(each.category, each.name): each.number for each in _vocabulary()}
    return np.array([0, *(number[category, name] for name in CATEGORIES[category])], np.uint16)
