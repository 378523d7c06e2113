"""Turn any pixel format into 8-bit gray or RGB without losing its range.

Pillow's own `convert("RGB")` clips 16-bit gray, 32-bit integers and floats at 255, which turns most of such a
picture white. Here a value is scaled by the full range of its type,

    uint16:  v -> round(255 v / 65535)          float in [0, 1]:  v -> round(255 v)

and a value whose range is not defined (a float beyond [0, 1], a negative integer) is refused, never guessed,
clipped or stretched. Transparent pixels are composited over white, the page most cut-out pictures are drawn
for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[Any]
ROUNDING = 1e-6  # how far float arithmetic may carry a value beyond [0, 1]


class ImageError(ValueError):
    """A picture that cannot be used; the text says what was expected, what came, and what to try."""


def eight_bit(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """The loaded picture in mode L (it was gray) or RGB, and notes about what was done to it.

    Raises:
        ImageError: the mode has values of no defined range, or no way to RGB.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        values, notes = _scaled(np.asarray(image))
        return Image.fromarray(values), notes
    gray = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        return _over_white(image, "L" if gray else "RGB")
    notes = ["converted from CMYK without its color profile"] if image.mode == "CMYK" else []
    return image.convert("L" if gray else "RGB"), notes


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
    if values.dtype.kind == "f":
        return _scaled_floats(values)
    if values.dtype.itemsize == 1:
        return values, []
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(
            f"Expected integer pixels in [0, 65535], got values from {low} to {high}; "
            "try to scale them to 8 or 16 bits first"
        )
    # 65535 = 255 · 257, so round(255 v / 65535) = round(v / 257), here in integers
    scaled = (values.astype(np.uint32) + 128) // 257
    return scaled.astype(np.uint8), [f"16-bit values ({low} to {high}) scaled by 65535"]


def _scaled_floats(values: Pixels) -> tuple[Pixels, list[str]]:
    broken = int(values.size - np.isfinite(values).sum())
    if broken:
        raise ImageError(
            f"Expected finite pixels, got {broken} NaN or infinite of {values.size}; "
            "try numpy.nan_to_num, or mend their source"
        )
    low, high = float(values.min()), float(values.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        hint = "divide them by 255" if low >= 0 and high <= 255 else "scale them to [0, 1] first"
        got = f"values from {low:.4g} to {high:.4g}"
        raise ImageError(f"Expected float pixels in [0, 1], got {got}; try to {hint}")
    # float16 cannot hold 255 v to the nearest half
    wide = values.astype(np.float32) if values.dtype.itemsize < 4 else values
    return np.rint(np.clip(wide, 0, 1) * 255).astype(np.uint8), ["float values in [0, 1] rounded to 8 bits"]


def _over_white(image: Image.Image, mode: str) -> tuple[Image.Image, list[str]]:
    # Pillow leads the premultiplied modes only to their plain sisters
    plain = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)).convert("RGBA")
    lowest, _ = plain.getchannel("A").getextrema()
    if lowest == 255:
        return plain.convert("RGB").convert(mode), []
    page = Image.new("RGBA", plain.size, "white")
    page.alpha_composite(plain)
    return page.convert("RGB").convert(mode), ["alpha channel composited over white"]
