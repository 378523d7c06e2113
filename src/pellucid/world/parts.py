"""Scenes of the embedded world as pictures with parts: every mask and landmark is exact.

A part that comes several times (two wheels) is one part: its mask is the union, its landmark the mean of the landmarks of the
pieces of which something is to be seen. What is wholly hidden is not there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from pellucid.core.registry import suggest
from pellucid.data.images import Picture
from pellucid.data.parts.source import Part, PartedImage, PartSource
from pellucid.world import CLASSES, SPLITS, Rendering, draw, render

_SAMPLED = 40  # scenes of a class that tell which parts it can have


@dataclass(eq=False)
class SceneParts(PartSource):
    """Scenes of the embedded world; made by `SceneParts.of`. ``items``: (class or None for any, number)."""

    items: tuple[tuple[str | None, int], ...] = ()
    split: str = "val"
    confounding: float = 0.0
    size: int = 128

    @classmethod
    def of(
        cls, text: str = "", *, classes: Sequence[str] = (), confounding: float = 0.0, size: int = 128
    ) -> SceneParts:
        """From ``""``, ``"test"``, ``"test/0-499"``, ``"bird:test/0-499"`` (every scene a bird), ``"bird,cargo ship:test/0-99"``.

        Without a class a scene has the class it is drawn with, and ``classes`` picks those of them. Without numbers: 0 to 499.
        Raises ValueError for another text, class or split.
        """
        found = re.fullmatch(
            r"(?:(?P<kinds>[^:/]+):)?(?P<split>[a-z]+)?(?:/(?P<first>\d{1,8})-(?P<last>\d{1,8}))?", text
        )
        if found is None or (found["first"] and int(found["last"]) < int(found["first"])):
            raise ValueError(
                f'Expected scenes as "scenes:test/0-499" or "scenes:bird:test/0-499", got {"scenes:" + text!r}.'
            )
        split = found["split"] or "val"
        if split not in SPLITS:
            raise ValueError(f"Expected a split of the scenes, got `{split}`; {suggest(split, SPLITS)}")
        numbers = range(int(found["first"] or 0), int(found["last"] or 499) + 1)
        kinds = _classes(found["kinds"].split(",")) if found["kinds"] else ()
        wanted = _classes(classes) or kinds or CLASSES
        items: list[tuple[str | None, int]]
        if kinds:
            items = [(kind, number) for kind in kinds if kind in wanted for number in numbers]
        else:
            drawn = (
                (n, _drawn(split, n, confounding, None).label) for n in numbers if len(wanted) < len(CLASSES)
            )
            items = [(None, n) for n, label in drawn if label in wanted]
            items = items if len(wanted) < len(CLASSES) else [(None, n) for n in numbers]
        if not items:
            raise ValueError(
                f"Expected scenes of {', '.join(wanted)}, got none in {'scenes:' + text!r}; try other numbers."
            )
        held = [kind for kind in wanted if kind in (kinds or wanted)]
        made = cls(
            f"scenes:{text}" + (f" (confounding {confounding:g})" if confounding else ""),
            {kind: _parts_of(kind) for kind in CLASSES if kind in held},
            items=tuple(items),
            split=split,
            confounding=confounding,
            size=size,
        )
        made._rendering(0)  # what cannot be drawn says so now
        return made

    def __len__(self) -> int:
        return len(self.items)

    def picture_name(self, index: int) -> str:
        """As ``scene-test-12``, with the class where it was chosen: ``bird-test-12``."""
        kind, number = self.items[index]
        return f"{(kind or 'scene').replace(' ', '-')}-{self.split}-{number}"

    def class_name(self, index: int) -> str:
        """The class of the scene."""
        kind, number = self.items[index]
        return kind or _drawn(self.split, number, self.confounding, None).label

    def __getitem__(self, index: int) -> PartedImage:
        painted = self._rendering(index)
        image = Picture(
            Image.fromarray(painted.image), self.picture_name(index), (), (painted.size, painted.size)
        )
        return PartedImage(image, painted.scene_data.label, scene_parts(painted))

    def facts(self) -> dict[str, Any]:
        """With what the scenes were drawn with."""
        return {**super().facts(), "split": self.split, "confounding": self.confounding, "size": self.size}

    def _rendering(self, index: int) -> Rendering:
        kind, number = self.items[index]
        return render(_drawn(self.split, number, self.confounding, kind), self.size)


def scene_parts(painted: Rendering) -> dict[str, Part]:
    """The parts of a rendering's main object that show."""
    landmarks = painted.landmarks()
    shown = np.bincount(painted.index[painted.index >= 0], minlength=len(landmarks)) > 0
    found = {}
    for name in painted.scene_data.part_names():
        places = [(x, y) for k, (own, x, y, _) in enumerate(landmarks) if own == name and shown[k]]
        if places:
            x, y = np.mean(places, 0)
            found[name] = Part(painted.part_mask(name), landmark=(float(x), float(y)))
    return found


def _drawn(split: str, number: int, confounding: float, kind: str | None) -> Any:
    return draw(number, split=split, confounding=confounding, class_name=kind)


def _classes(names: Sequence[str]) -> tuple[str, ...]:
    found = [name.strip().replace("-", " ").replace("_", " ") for name in names]
    for name in found:
        if name not in CLASSES:
            raise ValueError(f"Expected a class of the scenes, got `{name}`; {suggest(name, CLASSES)}")
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=len(CLASSES))
def _parts_of(kind: str) -> tuple[str, ...]:
    """The parts objects of a class can have, as they come in its first scenes."""
    names = [name for number in range(_SAMPLED) for name in draw(number, class_name=kind).part_names()]
    return tuple(dict.fromkeys(names))
