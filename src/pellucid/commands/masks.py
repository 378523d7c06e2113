"""Masks of objects in photographs: one PNG for each, not black where the object is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pellucid.data.images import Picture, read_image
from pellucid.data.pixels import ImageError

if TYPE_CHECKING:
    from pellucid.commands.sources import Source


def mask_of(source: Source, picture: Picture, folder: Path, max_pixels: int) -> npt.NDArray[np.bool_]:
    """The mask of a photograph, bool [height width] of its size. Raises ImageError where there is none that fits."""
    file = folder / Path(source.name).with_suffix(".png")
    if not file.is_file():
        raise ImageError(f"Expected its mask `{file}`, got no such file")
    mask = read_image(file, max_pixels=max_pixels)
    changed = [note for note in mask.notes if note.startswith(("16-bit", "alpha"))]
    if changed:
        raise ImageError(f"Expected a mask of 8 bits without transparency, got `{file}` ({changed[0]})")
    if mask.image.size != picture.image.size:
        width, height = picture.image.size
        raise ImageError(
            f"Expected a mask of the image's size {height}×{width}, got {mask.image.height}×{mask.image.width} in `{file}`"
        )
    return np.asarray(np.asarray(mask.image).any(-1))
