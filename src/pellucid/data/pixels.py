"""Turn any pixel format into 8-bit gray or RGB without losing its range.

Pillow's own `convert("RGB")` clips 16-bit gray, 32-bit integers and floats at 255, which turns most of such a
picture white. Here a value is scaled by the full range of its type,

    uint16:  v -> round(255 v / 65535)          float in [0, 1]:  v -> round(255 v)

and a value whose range is not defined (a float beyond [0, 1], a negative integer) is refused, never guessed,
clipped or stretched. Transparent pixels are composited over white, the page most cut-out pictures are drawn
for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[Any]
Color = int | tuple[int, ...]
ROUNDING = 1e-6  # how far float arithmetic may carry a value beyond [0, 1]
_BAND = 1 << 20  # pixels converted at once: a large picture is never held in three forms
_PLAIN = ("1", "L", "RGB")  # modes in which a color, where one is named, means transparent
_COMPOSITED = "alpha channel composited over white"


class ImageError(ValueError):
    """A picture that cannot be used; the text says what was expected, what came, and what to try."""


def eight_bit(image: Image.Image, key: Color | None = None) -> tuple[Image.Image, list[str]]:
    """The loaded picture in mode L (it was gray) or RGB, and notes about what was done to it; itself if it is that already.

    Args:
        image: decoded. Of what is converted no more than some rows are held a third time.
        key: gray value or (red, green, blue) that means transparent; by default what Pillow says.

    Raises:
        ImageError: the mode has values of no defined range, or no way to RGB.
    """
    if key is None and image.mode in _PLAIN:
        key = image.info.get("transparency")
    mode = "L" if image.mode in ("1", "L", "LA", "La") or _is_wide(image) else "RGB"
    if _is_wide(image):
        return _narrowed(image, key)
    if key is not None and image.mode in _PLAIN:
        return _keyed(image, mode, key)
    if image.has_transparency_data:
        return _over_white(image, mode)
    notes = ["converted from CMYK without its color profile"] if image.mode == "CMYK" else []
    return image if image.mode == mode else image.convert(mode), notes


def from_array(array: Pixels) -> tuple[Image.Image, list[str]]:
    """An array H×W, H×W×1, H×W×3 or H×W×4 as a picture in mode L or RGB, with notes.

    Args:
        array: uint8, uint16, or float in [0, 1].

    Raises:
        ImageError: another shape or type, no pixels, NaN or infinite values, floats outside [0, 1].
    """
    _check_shape(array.shape)
    if array.dtype.kind not in "uf" or (array.dtype.kind == "u" and array.dtype.itemsize > 2):
        raise ImageError(
            "Expected an array of uint8, uint16 or float in [0, 1], "
            f"got {array.dtype} of shape {array.shape}; "
            "try array.astype(numpy.uint8) when its values lie in [0, 255]"
        )
    values, notes = _scaled(array)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    image, more = eight_bit(Image.fromarray(np.ascontiguousarray(values)))
    return image, notes + more


def _check_shape(shape: tuple[int, ...]) -> None:
    if 0 in shape:
        raise ImageError(f"Expected an array of at least one pixel, got shape {shape}; try another")
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)):
        return
    hint = "height × width × 1, 3 or 4 is the layout"
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        hint = "the channels seem to come first: array.transpose(1, 2, 0)"
    elif len(shape) == 4:
        hint = "this looks like a batch: pass list(array)"
    raise ImageError(f"Expected an array H×W, H×W×1, H×W×3 or H×W×4, got shape {shape}; try: {hint}")


def _scaled(values: Pixels) -> tuple[Pixels, list[str]]:
    """Values as uint8 by the full range of their type; 32-bit integers are 16-bit ones Pillow widened."""
    if values.dtype.kind != "f" and values.dtype.itemsize == 1:
        return values, []
    bands = [values[rows] for rows in _bands(len(values), values[:1].size)]
    notes = [_range_note(bands)]
    scaled = np.empty(values.shape, np.uint8)
    for rows, band in zip(_bands(len(values), values[:1].size), bands, strict=True):
        scaled[rows] = _scaled_band(band)
    return scaled, notes


def _narrowed(image: Image.Image, key: Color | None) -> tuple[Image.Image, list[str]]:
    """A picture of integers of 16 or 32 bits, or of floats, in mode L."""
    bands = list(_bands(image.height, image.width))
    notes = [_range_note(_band(image, rows) for rows in bands)]
    scaled = np.empty((image.height, image.width), np.uint8)
    transparent = False
    for rows in bands:
        values = _band(image, rows)
        scaled[rows] = _scaled_band(values)
        if isinstance(key, int):
            hidden = values == key
            scaled[rows][hidden] = 255
            transparent = transparent or bool(hidden.any())
    return Image.fromarray(scaled), notes + ([_COMPOSITED] if transparent else [])


def _range_note(bands: Iterable[Pixels]) -> str:
    """What is done to the values, by the range they all lie in. Raises ImageError where that range is not defined."""
    low, high, broken, size, kind = math.inf, -math.inf, 0, 0, "u"
    for band in bands:
        kind, size = band.dtype.kind, size + band.size
        broken += int(band.size - np.isfinite(band).sum()) if kind == "f" else 0
        low, high = min(low, band.min().item()), max(high, band.max().item())
    if broken:
        raise ImageError(
            f"Expected finite pixels, got {broken} NaN or infinite of {size}; "
            "try numpy.nan_to_num, or mend their source"
        )
    if kind == "f":
        if low < -ROUNDING or high > 1 + ROUNDING:
            hint = "divide them by 255" if low >= 0 and high <= 255 else "scale them to [0, 1] first"
            got = f"values from {low:.4g} to {high:.4g}"
            raise ImageError(f"Expected float pixels in [0, 1], got {got}; try to {hint}")
        return "float values in [0, 1] rounded to 8 bits"
    if low < 0 or high > 65535:
        raise ImageError(
            f"Expected integer pixels in [0, 65535], got values from {low} to {high}; "
            "try to scale them to 8 or 16 bits first"
        )
    return f"16-bit values ({low} to {high}) scaled by 65535"


def _scaled_band(values: Pixels) -> Pixels:
    if values.dtype.kind == "f":  # float16 cannot hold 255 v to the nearest half
        wide = values.astype(np.float32) if values.dtype.itemsize < 4 else values
        rounded: Pixels = np.rint(np.clip(wide, 0, 1) * 255).astype(np.uint8)
        return rounded
    # 65535 = 255 · 257, so round(255 v / 65535) = round(v / 257), here in integers
    scaled: Pixels = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return scaled


def _keyed(image: Image.Image, mode: str, key: Color) -> tuple[Image.Image, list[str]]:
    """White where a picture without alpha channel has the color that means transparent."""
    result = Image.new(mode, image.size)
    transparent = False
    for rows in _bands(image.height, image.width):
        values = np.array(_crop(image, rows).convert(mode))
        hidden = values == key if mode == "L" else (values == np.asarray(key)).all(2)
        values[hidden] = 255
        transparent = transparent or bool(hidden.any())
        result.paste(Image.fromarray(values), (0, rows.start))
    return result, [_COMPOSITED] if transparent else []


def _over_white(image: Image.Image, mode: str) -> tuple[Image.Image, list[str]]:
    result = Image.new(mode, image.size)
    lowest: float = 255
    for rows in _bands(image.height, image.width):
        # Pillow leads the premultiplied modes only to their plain sisters
        band = _crop(image, rows).convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode))
        plain = band.convert("RGBA")
        least, _ = plain.getchannel("A").getextrema()
        assert isinstance(least, (int, float))
        lowest = min(lowest, least)
        if least < 255:
            page = Image.new("RGBA", plain.size, "white")
            page.alpha_composite(plain)
            plain = page
        result.paste(plain.convert("RGB").convert(mode), (0, rows.start))
    return result, [] if lowest == 255 else [_COMPOSITED]


def _is_wide(image: Image.Image) -> bool:
    """Does a pixel hold one number of more than 8 bits?"""
    return image.mode == "F" or image.mode.startswith("I")


def _band(image: Image.Image, rows: slice) -> Pixels:
    return np.asarray(_crop(image, rows))


def _crop(image: Image.Image, rows: slice) -> Image.Image:
    return image.crop((0, rows.start, image.width, rows.stop))


def _bands(height: int, width: int) -> Iterator[slice]:
    """Rows of about a million pixels."""
    step = max(1, _BAND // max(width, 1))
    return (slice(first, min(first + step, height)) for first in range(0, height, step))
