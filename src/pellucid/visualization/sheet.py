"""Contact sheets: pictures in a grid, each with a caption below."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_GAP, _CAPTION = 4, 14
_PAPER, _INK = (252, 252, 250), (60, 60, 66)


def sheet(
    pictures: Sequence[Image.Image],
    captions: Sequence[str] | None = None,
    *,
    columns: int = 8,
    size: int = 128,
) -> Image.Image:
    """A grid of pictures, each ``size`` pixels wide; captions that are too long are cut.

    Raises ValueError for no picture, no column, or another number of captions.
    """
    if not pictures or columns < 1 or size < 1:
        raise ValueError(
            f"Expected at least one picture, column and pixel, got {len(pictures)}, {columns} and {size}."
        )
    if captions is not None and len(captions) != len(pictures):
        raise ValueError(f"Expected a caption for each of {len(pictures)} pictures, got {len(captions)}.")
    columns = min(columns, len(pictures))
    height = max(1, round(size * pictures[0].height / pictures[0].width))
    tall = height + (_CAPTION if captions else 0)
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * (size + _GAP) + _GAP, rows * (tall + _GAP) + _GAP), _PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=10)
    for k, picture in enumerate(pictures):
        x, y = _GAP + (k % columns) * (size + _GAP), _GAP + (k // columns) * (tall + _GAP)
        page.paste(picture.convert("RGB").resize((size, height), Image.Resampling.LANCZOS), (x, y))
        if captions:
            pen.text((x + 1, y + height + 1), _fitting(captions[k], size, font), fill=_INK, font=font)
    return page


def png(picture: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _fitting(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "..") > width:
        text = text[:-1]
    return text + ".."
