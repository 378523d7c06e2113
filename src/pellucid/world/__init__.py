"""The embedded concept world: small pictures whose every pixel, part and cause is known (see its README).

>>> from pellucid.world import draw, render
>>> scene = draw(7, class_name="bicycle", split="test")
>>> picture = render(scene, size=64)
>>> picture.image.shape, "wheel" in scene.part_names()
((64, 64, 3), True)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .draw import SPLITS, draw
from .render import Rendering, render
from .scene import Part, Pose, Scene, Shape, Thing
from .vocabulary import (
    CATEGORIES,
    CLASSES,
    COLORS,
    HABITAT,
    MATERIALS,
    OBJECTS,
    PARTS,
    SCENES,
    STUFF,
    TEXTURES,
)

if TYPE_CHECKING:
    from .dataset import SceneDataset
    from .export import export_broden
    from .sheet import contact_sheet

__all__ = [
    "CATEGORIES",
    "CLASSES",
    "COLORS",
    "HABITAT",
    "MATERIALS",
    "OBJECTS",
    "PARTS",
    "SCENES",
    "SPLITS",
    "STUFF",
    "TEXTURES",
    "Part",
    "Pose",
    "Rendering",
    "Scene",
    "SceneDataset",
    "Shape",
    "Thing",
    "contact_sheet",
    "draw",
    "export_broden",
    "render",
]

_LAZY = {"SceneDataset": "dataset", "export_broden": "export", "contact_sheet": "sheet"}


def __getattr__(name: str) -> Any:
    """Load torch and Pillow only when asked for what needs them."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
