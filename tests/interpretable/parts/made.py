"""Sets and networks made up for tests of parts: every number can be worked out."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import nn

import pellucid as pl
from pellucid.data.images import ImageError, Picture
from pellucid.data.transform import Preprocess
from pellucid.interpretable.parts import Part, PartedImage, PartSource

SIDE = 16
AS_IS = Preprocess(SIDE, SIDE, (0.0,) * 3, (1.0,) * 3)


class Spots(nn.Module):
    """Its maps are the mean colors of patches of 4 × 4 pixels: filter 0 sees red, 1 green, 2 blue."""

    def __init__(self, pool=4):
        super().__init__()
        self.pool = nn.AvgPool2d(pool)
        self.head = nn.Linear(3, 4)
        nn.init.constant_(self.head.weight, 0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, x):
        return self.head(self.pool(x).mean((2, 3)))


def spots(pool=4):
    return pl.load(Spots(pool).eval(), input_shape=(3, SIDE, SIDE), preprocess=AS_IS)


@dataclass(eq=False)
class Made(PartSource):
    """Pictures at hand; one that is None cannot be read."""

    pictures: tuple = ()

    def __len__(self):
        return len(self.pictures)

    def picture_name(self, index):
        return f"picture-{index}"

    def class_name(self, index):
        return self.pictures[index].object_class

    def __getitem__(self, index):
        if self.pictures[index] is None:
            raise ImageError("Expected a picture, got rubbish")
        return self.pictures[index]


def parted(pixels, parts, kind="bird", name="made"):
    """A picture from uint8 [h w 3] and name → Part."""
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    return PartedImage(Picture(image, name, (), image.size), kind, parts)


def lit(cells, color=0, level=200):
    """A black picture of 16 × 16 with patches of 4 × 4 lit: cells as (row, column) or (row, column, level)."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    for row, column, *own in cells:
        pixels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4, color] = own[0] if own else level
    return pixels


def box_mask(top, left, bottom, right, side=SIDE):
    mask = np.zeros((side, side), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def noise(count, seed=0, size=(40, 36), kinds=("bird", "fish"), names=("head", "tail")):
    """Pictures of noise in blocks, with parts that are sometimes not there, or have landmarks off the picture."""
    draw = np.random.default_rng(seed)
    found = []
    for index in range(count):
        blocks = draw.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        pixels = np.asarray(Image.fromarray(blocks).resize(size[::-1], Image.Resampling.BICUBIC))
        parts = {}
        for name in names:
            what = draw.integers(6)
            top, left = draw.integers(0, size[0] - 12), draw.integers(0, size[1] - 12)
            mask = np.zeros(size, np.bool_)
            mask[top : top + draw.integers(4, 20), left : left + draw.integers(4, 20)] = True
            if what == 1:
                parts[name] = Part(mask, landmark=(-3.0, 5.0))
            elif what == 2:
                parts[name] = Part(box=(left, top, left + 9.0, top + 7.5))
            elif what == 3:
                parts[name] = Part(landmark=(left + 0.25, top + 0.5))
            elif what:
                parts[name] = Part(mask)
        found.append(parted(pixels, parts, kinds[int(draw.integers(len(kinds)))], f"picture-{index}"))
    return Made("noise", dict.fromkeys(kinds, tuple(names)), pictures=tuple(found))
