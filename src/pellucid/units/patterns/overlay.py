"""The region of a pattern over its picture: bright where its channels are active together, their receptive fields outlined.

The evidence of an `Occurrence` is carried to pixels between receptive-field centers, and the region is where it reaches half of
its maximum. The box of a channel's receptive field is drawn where it is smaller than the picture.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool
from PIL import Image, ImageDraw
from torch import Tensor

from pellucid.core.geometry import upsample
from pellucid.data.tensors import to_picture, to_pixels
from pellucid.units.patterns.patterns import Box, Occurrence, Patterns
from pellucid.units.regions import box_of

_DIM = 0.3  # brightness outside the region
_LINE = (255, 196, 0)


def region(patterns: Patterns, found: Occurrence) -> Bool[Tensor, "height width"]:
    """Pixels of the network's input where the evidence is at least half of its maximum; none where it is zero."""
    large = upsample(found.evidence[None], patterns.geometry, patterns.size, patterns.size)[0]
    return (large >= large.max() / 2) & (large > 0)


def region_box(patterns: Patterns, found: Occurrence) -> Box | None:
    """The box (top, left, bottom, right), end excluded, of `region`."""
    return box_of(region(patterns, found))


def overlay(patterns: Patterns, found: Occurrence, picture: Image.Image) -> Image.Image:
    """The picture, as the network sees it, with the region bright and receptive fields outlined; mode RGB, size of the input."""
    height, width = patterns.size
    shown = picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    inside = region(patterns, found)
    values = to_pixels(shown).float()
    gray = values.mean(0, keepdim=True).expand_as(values) * _DIM
    page = to_picture(torch.where(inside, values, gray).round().to(torch.uint8))
    pen = ImageDraw.Draw(page)
    for top, left, bottom, right in dict.fromkeys(found.fields):
        if bottom - top < height and right - left < width:
            pen.rectangle((left, top, right - 1, bottom - 1), outline=_LINE)
    return page
