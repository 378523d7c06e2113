"""What a recognizer is shown: views drawn anew in every epoch, or crops cut out once.

Every draw of an epoch is in one table [sample, 8] of numbers in [0, 1) made from seed and epoch, so that a sample looks the
same whichever process trains on it. Augmentation is mirroring, a small shift (crops) or another square (views), and a
brightness and contrast within ten percent: colors are to be recognized, so they are not changed more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.training.irenet.pictures import Box, Pictures, cut, sampled

Batch = tuple[Tensor, Tensor, Tensor]
DRAWS, MIRRORED = 8, 4  # numbers of a sample, and which of them says whether it is mirrored
MEAN, STD = 0.5, 0.25
_SHIFT = 1.125  # crops are kept this much larger than they are shown


@dataclass(eq=False)
class Views:
    """Whole pictures and random squares of them, half of each; whole pictures alone where nothing is drawn.

    ``cells``: side of the label maps, 0 for none.
    """

    pictures: Pictures
    size: int
    cells: int = 0

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, chosen: Tensor, draws: Tensor | None = None) -> Batch:
        """Pictures [batch 3 size size] as the network reads them, labels int8 [batch attribute] and label maps uint8
        [batch category cells cells]."""
        images, labels, maps = [], [], []
        for place in chosen.tolist():
            image, truth, whole = self.pictures.read(place)
            height, width = int(image.shape[1]), int(image.shape[2])
            box = (0, 0, height, width) if draws is None else _square(draws[place], height, width)
            top, left, bottom, right = box
            labels.append(self.pictures.labels(truth[:, top:bottom, left:right], whole, "view"))
            pixels, answers = cut(image, box, self.size), sampled(truth, box, self.cells)
            mirrored = draws is not None and float(draws[place, MIRRORED]) < 0.5
            images.append(pixels.flip(2) if mirrored else pixels)
            maps.append(answers.flip(2) if mirrored else answers)
        x = _lit(torch.stack(images), None if draws is None else draws[chosen])
        return x, torch.stack(labels), torch.stack(maps)


def _square(draws: Tensor, height: int, width: int) -> Box:
    half, scale, down, right, *_ = draws.tolist()
    if half < 0.5:
        return 0, 0, height, width
    tall, wide = (max(8, round((0.4 + 0.6 * scale) * side)) for side in (height, width))
    top, left = int(down * (height - tall + 1)), int(right * (width - wide + 1))
    return top, left, top + tall, left + wide


@dataclass(eq=False)
class Crops:
    """Squares cut out once: uint8 [crop 3 s s], a little larger than shown, their labels int8 [crop attribute], and the place
    [crop] of the picture each comes from."""

    images: Tensor
    labels: Tensor
    places: Tensor
    size: int

    @classmethod
    def of(cls, pictures: Pictures, boxes: Sequence[tuple[int, Box]], size: int) -> Crops:
        """Cut out (place of the picture, square) by (place, square). Raises ValueError where there is none."""
        if not boxes:
            raise ValueError(
                f"Expected at least one crop from {len(pictures)} pictures of {pictures.source.name}, got none; try more "
                "pictures, other categories, or `crops` views."
            )
        side = round(size * _SHIFT)
        images = torch.empty(len(boxes), 3, side, side, dtype=torch.uint8)
        labels = torch.empty(len(boxes), len(pictures.vocabulary.names), dtype=torch.int8)
        for k, (place, box) in enumerate(boxes):
            image, maps, whole = pictures.read(place)
            top, left, bottom, right = box
            images[k] = cut(image, box, side)
            labels[k] = pictures.labels(maps[:, top:bottom, left:right], whole, "crop")
        return cls(images, labels, torch.tensor([place for place, _ in boxes]), size)

    def __len__(self) -> int:
        return len(self.images)

    def only(self, kept: Tensor) -> Crops:
        """With these attributes alone."""
        return Crops(self.images, self.labels[:, kept], self.places, self.size)

    def batch(self, chosen: Tensor, draws: Tensor | None = None) -> Batch:
        """As `Views.batch`, without maps; the middle of a crop where nothing is drawn."""
        room = self.images.shape[2] - self.size
        images = self.images[chosen]
        if draws is None:
            start = room // 2
            x = images[:, :, start : start + self.size, start : start + self.size]
            return _lit(x, None), self.labels[chosen], torch.empty(0)
        mine = draws[chosen]
        down, right = ((mine[:, k] * (room + 1)).long()[:, None] for k in (2, 3))
        steps = torch.arange(self.size)
        columns = torch.where(mine[:, MIRRORED, None] < 0.5, steps.flip(0), steps) + right
        rows = steps + down
        each = torch.arange(len(chosen))[:, None, None]
        x = images.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return _lit(x, mine), self.labels[chosen], torch.empty(0)


def _lit(pixels: Tensor, draws: Tensor | None) -> Tensor:
    """Bytes as the network reads them, around 0; a little brighter or darker by what was drawn."""
    x = (pixels.float() / 255 - MEAN) / STD
    if draws is not None:
        gain = (0.9 + 0.2 * draws[:, 5])[:, None, None, None]
        shift = (0.4 * draws[:, 6] - 0.2)[:, None, None, None]
        x = x * gain + shift
    return x.contiguous(memory_format=torch.channels_last)


Samples = Views | Crops
