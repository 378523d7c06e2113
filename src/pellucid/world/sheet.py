"""Contact sheets: many scenes at a glance, with captions and, if asked, their label maps beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from .draw import SPLITS, draw
from .render import Rendering, render
from .scene import Scene
from .vocabulary import CATEGORIES, COLORS, PALETTE, check_name

_GAP, _CAPTION = 4, 14
_PAPER = (252, 252, 250)


def colored(labels: npt.NDArray[np.uint8], category: str) -> npt.NDArray[np.uint8]:
    """A label map [h, w] as a picture [h, w, 3]: unlabeled near white, colors as they are, others by hue."""
    check_name("category", category, tuple(CATEGORIES))
    if category == "color":
        table = np.array([(252, 252, 250), *(PALETTE[name] for name in COLORS)], np.uint8)
        return np.asarray(table[labels])
    k = np.arange(1 + len(CATEGORIES[category]))
    hue = 6.0 * ((k * 0.618034) % 1.0)
    ramps = [np.clip(np.abs((hue + shift) % 6.0 - 3.0) - 1.0, 0.0, 1.0) for shift in (0.0, 4.0, 2.0)]
    light = np.where(k % 3 == 0, 0.95, np.where(k % 3 == 1, 0.75, 0.55))
    table = (255.0 * light[:, None] * (0.35 + 0.65 * np.stack(ramps, -1))).astype(np.uint8)
    table[0] = _PAPER
    return np.asarray(table[labels])


def _tile(rendering: Rendering, masks: Sequence[str]) -> npt.NDArray[np.uint8]:
    pictures = [rendering.image, *(colored(rendering.labels(c), c) for c in masks)]
    return np.concatenate(pictures, 1)


def contact_sheet(
    scenes: Sequence[Scene] | str = "train",
    *,
    count: int = 40,
    columns: int = 8,
    size: int = 128,
    labels: bool = True,
    masks: Sequence[str] = (),
    confounding: float = 0.0,
    shortcut: float = 0.0,
) -> Image.Image:
    """A grid of pictures as a PIL image.

    ``scenes``: scenes to show, or a split, of which the first ``count`` are drawn. ``labels``: class and
    background as a caption below each. ``masks``: categories whose label maps stand to the right of each
    picture, for example ``("object", "part")``. Raises ``ValueError`` if there is nothing to show or a name
    is unknown.
    """
    if isinstance(scenes, str):
        check_name("split", scenes, tuple(SPLITS))
        scenes = [draw(i, split=scenes, confounding=confounding, shortcut=shortcut) for i in range(count)]
    if not scenes or columns < 1:
        raise ValueError(
            f"Expected at least one scene and one column, got {len(scenes)} and {columns}; try 8 columns."
        )
    columns = min(columns, len(scenes))
    width, height = size * (1 + len(masks)), size + (_CAPTION if labels else 0)
    rows = -(-len(scenes) // columns)
    sheet = Image.new("RGB", (columns * (width + _GAP) + _GAP, rows * (height + _GAP) + _GAP), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=10)
    for i, scene in enumerate(scenes):
        x, y = _GAP + (i % columns) * (width + _GAP), _GAP + (i // columns) * (height + _GAP)
        sheet.paste(Image.fromarray(_tile(render(scene, size), masks)), (x, y))
        if labels:
            shown = scene.label if scene.thing is not None else f"(no {scene.label})"
            pen.text((x + 2, y + size + 1), f"{shown}, {scene.scene}", fill=(60, 60, 66), font=font)
    return sheet
