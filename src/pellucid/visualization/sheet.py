"""Contact sheets: pictures in a grid, each with a caption below."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_GAP, _CAPTION = 4, 14
_TITLE = 18
_PAPER, _INK, _WARNING = (252, 252, 250), (60, 60, 66), (176, 0, 32)


def sheet(
    pictures: Sequence[Image.Image],
    captions: Sequence[str] | None = None,
    *,
    columns: int = 8,
    size: int = 128,
    title: str = "",
) -> Image.Image:
    """A grid of pictures, each ``size`` pixels wide; captions that are too long are cut. ``title``: what has to be said on top.

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
    font = ImageFont.load_default(size=10)
    width, top = columns * (size + _GAP) + _GAP, _TITLE if title else 0
    page = Image.new("RGB", (width, rows * (tall + _GAP) + _GAP + top), _PAPER)
    pen = ImageDraw.Draw(page)
    if title:
        pen.rectangle((0, 0, width, top - 1), fill=_WARNING)
        pen.text((_GAP + 1, 3), _fitting(title, width - 2 * _GAP, font), fill=_PAPER, font=font)
    for k, picture in enumerate(pictures):
        x, y = _GAP + (k % columns) * (size + _GAP), top + _GAP + (k // columns) * (tall + _GAP)
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
