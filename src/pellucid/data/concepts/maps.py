"""Label maps: read from PNG files, held against their picture's shape, put on top of one another."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from pellucid.core.documents import check_regular
from pellucid.data.concepts.base import LabelError, Numbers
from pellucid.data.images import MAX_PIXELS

Mask = npt.NDArray[np.bool_]
_ORIENTATION = 0x0112
_FORMATS = ("PNG", "TIFF", "BMP", "GIF", "PPM")  # without loss


def read_numbers(path: str, *, palette: Literal["colors", "indices"] = "indices") -> Numbers:
    """The numbers [h w] of a label map.

    A gray map (8 or 16 bits) holds numbers themselves; of a color map a number is R + 256 · G where blue is 0 everywhere
    (Broden's code), else R where all three are equal. Of a palette either the index is the number, or the color is read.

    Raises LabelError when the file is missing, damaged, of a lossy format or of other colors.
    """
    try:
        check_regular(Path(path))
        with warnings.catch_warnings(), Image.open(path, formats=_FORMATS) as image:
            warnings.simplefilter("ignore")  # of the decoders; what matters is raised
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} × {image.height} pixels")
            image.load()
            read = image.convert("RGB") if palette == "colors" and image.mode == "P" else image
            pixels = np.asarray(read)
    except Exception as error:  # the decoders fail in many ways on a damaged file
        raise LabelError(
            f"Expected a label map, got {os.path.basename(path)}, which is missing, damaged or no PNG ({error}); "
            "try to copy it again"
        ) from error
    if pixels.ndim == 3 and pixels.shape[2] < 3:  # gray or palette with transparency
        pixels = pixels[..., 0]
    numbers = pixels if pixels.ndim == 2 else _from_colors(pixels, path)
    if numbers.dtype.kind not in "bui" or (numbers.dtype.itemsize > 2 and not _in_range(numbers)):
        raise LabelError(
            f"Expected numbers 0 to 65,535 in a label map, got {numbers.dtype} values in {os.path.basename(path)}; "
            "try a PNG of 8 or 16 bits"
        )
    return numbers.astype(np.uint16)


def _from_colors(pixels: npt.NDArray[np.uint8], path: str) -> npt.NDArray[np.uint16]:
    red, green, blue = (pixels[..., channel] for channel in range(3))
    if not blue.any():
        return red + 256 * green.astype(np.uint16)
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return red.astype(np.uint16)
    raise LabelError(
        f"Expected numbers coded as R + 256 · G in a label map, got other colors in {os.path.basename(path)}; "
        "try a gray PNG of the numbers"
    )


def _in_range(numbers: npt.NDArray[np.integer]) -> bool:
    return not numbers.size or (int(numbers.min()) >= 0 and int(numbers.max()) <= 65_535)


def upright_size(path: str) -> tuple[int, int] | None:
    """(height, width) of a picture from its header, as `read_image` turns it; None when the header cannot be read."""
    try:
        check_regular(Path(path))
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            width, height = image.size
            # asking a PNG without EXIF data for it would decode all of it
            turned = "exif" in image.info and image.getexif().get(_ORIENTATION, 1) >= 5
    except Exception:  # reading the picture itself will say what is wrong with it
        return None
    return (width, height) if turned else (height, width)


def check_shape(shape: Sequence[int], picture: tuple[int, int] | None, name: str) -> None:
    """Raise LabelError when a map (h w) cannot be a scaled picture (h w), one pixel of rounding on each side aside."""
    h, w = shape[-2:]
    if h * w > MAX_PIXELS:
        raise LabelError(
            f"Expected a label map of at most {MAX_PIXELS:,} pixels, got {h} × {w} in {name}; try a smaller one"
        )
    if picture is None:
        return
    height, width = picture
    if not h * w or abs(w * height - h * width) > height + width:
        raise LabelError(
            f"Expected a label map of the shape of its picture ({height} × {width}), got {h} × {w} in {name}; "
            "try the map made for this picture"
        )


def stacked(maps: Sequence[Numbers]) -> Numbers:
    """Maps of one picture as [map h w], smaller ones brought to the largest by the nearest pixel; [0 1 1] of none."""
    if not maps:
        return np.zeros((0, 1, 1), np.uint16)
    height, width = max((each.shape[0], each.shape[1]) for each in maps)
    return np.stack(
        [each if each.shape == (height, width) else nearest(each, height, width) for each in maps]
    )


def nearest(numbers: Numbers, height: int, width: int) -> Numbers:
    """A map [… h w] at another size; every pixel takes the number at its center."""
    h, w = numbers.shape[-2:]
    rows = ((np.arange(height) + 0.5) * h / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * w / width).astype(np.intp)
    return numbers[..., rows[:, None], columns]


def layered(regions: Iterable[tuple[int, Mask]]) -> list[Numbers]:
    """Regions as few maps as it takes for none to hide another: each goes into the first map it fits."""
    maps: list[Numbers] = []
    for number, mask in regions:
        for layer in maps:
            taken = layer[mask]
            if not np.any((taken != 0) & (taken != number)):
                layer[mask] = number
                break
        else:
            maps.append(np.where(mask, np.uint16(number), np.uint16(0)))
    return maps


def encode_labels(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Label numbers [h, w] as Broden's RGB [h, w, 3]: number = R + 256 * G."""
    return np.stack([numbers % 256, numbers // 256, np.zeros_like(numbers)], -1).astype(np.uint8)


def decode_labels(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Inverse of `encode_labels`."""
    return pixels[..., 0].astype(np.int64) + 256 * pixels[..., 1].astype(np.int64)
