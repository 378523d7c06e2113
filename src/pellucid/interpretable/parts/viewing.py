"""Pictures with parts as a network sees them: pixels of its input, masks on a grid over the input, landmarks in input pixels."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from pellucid.data.parts.source import Mask, PartedImage, PartSource
from pellucid.data.tensors import to_pixels
from pellucid.data.transform import Preprocess
from pellucid.dissection.labels import localize
from pellucid.dissection.sampling import seen_as


@dataclass(frozen=True, eq=False)
class Seen:
    """One picture as the network sees it.

    ``masks`` [part h w] on the grid; ``landmarks`` [part 2] as (x, y) in pixels of the input, whose first pixel's center is 0,
    NaN where there is none within the view. Parts are in the order of the class's names.
    """

    pixels: Tensor
    object_class: str
    masks: Mask
    landmarks: npt.NDArray[np.float64]


class Viewer:
    """Brings pictures of a set to an input of ``size`` (height, width), with ``ratio`` input pixels to a pixel of the grid."""

    def __init__(self, preprocess: Preprocess, size: tuple[int, int], source: PartSource, ratio: int) -> None:
        self.preprocess = seen_as(preprocess, size, source.view)
        self.size = size
        self.grid = (max(1, size[0] // ratio), max(1, size[1] // ratio))
        self._mode = "RGB" if preprocess.channels == 3 else "L"

    def picture(self, parted: PartedImage) -> Image.Image:
        """The picture the network sees, for people."""
        return self.preprocess.view(parted.image)

    def __call__(self, parted: PartedImage, names: Sequence[str]) -> Seen:
        """A picture with those of its parts that its class has."""
        width, height = parted.image.image.size
        rows, columns = self.preprocess.positions((width, height), self.size, self.grid)
        at = np.ix_((rows * height).astype(np.int64), (columns * width).astype(np.int64))
        masks = np.zeros((len(names), *self.grid), np.bool_)
        landmarks = np.full((len(names), 2), np.nan)
        for k, name in enumerate(names):
            part = parted.parts.get(name)
            if part is not None:
                masks[k] = part.region((height, width))[at]
                landmarks[k] = self.place(part.point(), (width, height))
        pixels = to_pixels(self.picture(parted).convert(self._mode))
        return Seen(pixels, parted.object_class, masks, landmarks)

    def place(self, point: tuple[float, float] | None, picture: tuple[int, int]) -> tuple[float, float]:
        """Where a point (x, y) of a picture of (width, height) lies on the input; NaN outside of the view."""
        if point is None:
            return np.nan, np.nan
        found = []
        centers = self.preprocess.positions(picture, self.size, self.size)
        for share, center, extent in zip(
            (point[0] / picture[0], point[1] / picture[1]), centers[::-1], self.size[::-1], strict=True
        ):
            # the centers of the input's pixels are evenly spaced over the picture
            step = (center[-1] - center[0]) / (extent - 1) if extent > 1 else 1.0
            found.append(float((share - center[0]) / step))
        inside = all(
            -0.5 <= value <= extent - 0.5 for value, extent in zip(found, self.size[::-1], strict=True)
        )
        return (found[0], found[1]) if inside else (np.nan, np.nan)


class Labels:
    """The masks of many pictures, small: of every picture a map of codes, compressed, and which parts each code means."""

    def __init__(self, grid: tuple[int, int]) -> None:
        self.grid = grid
        self._codes: list[bytes] = []
        self._means: list[Mask] = []
        self._pixels: list[npt.NDArray[np.int64]] = []

    def __len__(self) -> int:
        return len(self._codes)

    def add(self, masks: Mask) -> None:
        """Keep the masks [part h w] of the next picture."""
        count = len(masks)
        maps = masks.astype(np.uint16) * np.arange(1, count + 1, dtype=np.uint16)[:, None, None]
        place_of = np.arange(-1, count, dtype=np.int32)
        code, starts, places, _, _ = localize(
            maps, place_of, np.zeros(0, np.int32), np.zeros(max(count, 1), np.int32)
        )
        means = np.zeros((len(starts) - 1, count), np.bool_)
        for k in range(len(means)):
            means[k, places[starts[k] : starts[k + 1]]] = True
        self._codes.append(zlib.compress(code.astype(np.uint16).tobytes(), 1))
        self._means.append(means)
        self._pixels.append(masks.sum((1, 2)).astype(np.int64))

    def codes(self, index: int) -> npt.NDArray[np.uint16]:
        """[h w]: the code at every pixel."""
        return np.frombuffer(zlib.decompress(self._codes[index]), np.uint16).reshape(self.grid)

    def means(self, index: int) -> Mask:
        """[code part]: whether pixels of a code belong to a part."""
        return self._means[index]

    def pixels(self, index: int) -> npt.NDArray[np.int64]:
        """[part]: how many pixels it has."""
        return self._pixels[index]
