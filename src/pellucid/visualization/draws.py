"""Random draws of one's own for every image, and the transforms that are drawn with them.

The stream of an image depends on the seed, on what is maximized and on which copy it is, and on nothing else in the batch: a
unit's image is the same alone and beside others.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


class Stream:
    """The random numbers of one image."""

    def __init__(self, seed: int, label: str, copy: int = 0) -> None:
        digest = hashlib.sha256(f"{seed} {copy} {label}".encode()).digest()
        self._noise = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        self._lots = random.Random(digest)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal, float32 on the processor."""
        return torch.randn(shape, generator=self._noise)

    def uniform(self, low: float, high: float) -> float:
        """One number."""
        return self._lots.uniform(low, high)

    def whole(self, low: int, high: int) -> int:
        """One whole number, both ends included."""
        return self._lots.randint(low, high)


def normal(streams: Sequence[Stream], *shape: int) -> Tensor:
    """Standard normal numbers [batch *shape], each image from its own stream."""
    return torch.stack([stream.normal(*shape) for stream in streams])


@dataclass(frozen=True)
class Transforms:
    """Shift by up to ``jitter`` pixels, zoom by up to ``scale``, turn by up to ``rotate`` degrees, drawn for every image.

    A shift alone moves whole pixels, what leaves on one side coming in on the other; with zoom or turn all is one bilinear
    sampling, mirrored at the border.
    """

    jitter: int = 0
    scale: float = 0.0
    rotate: float = 0.0

    def __call__(
        self, pictures: Float[Tensor, "batch channel h w"], streams: Sequence[Stream]
    ) -> Float[Tensor, "batch channel h w"]:
        """Differentiable."""
        if not (self.scale or self.rotate):
            return self._shifted(pictures, streams) if self.jitter else pictures
        height, width = pictures.shape[2:]
        rows = []
        for stream in streams:
            down, right = (stream.uniform(-self.jitter, self.jitter) for _ in range(2))
            angle = math.radians(stream.uniform(-self.rotate, self.rotate))
            zoom = 1 / (1 + stream.uniform(-self.scale, self.scale))
            cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
            rows.append(
                [
                    [cos, -sin * height / width, 2 * right / width],
                    [sin * width / height, cos, 2 * down / height],
                ]
            )
        theta = torch.tensor(rows, dtype=pictures.dtype, device=pictures.device)
        grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
        return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)

    def _shifted(self, pictures: Tensor, streams: Sequence[Stream]) -> Tensor:
        moves = [(s.whole(-self.jitter, self.jitter), s.whole(-self.jitter, self.jitter)) for s in streams]
        return torch.stack([one.roll(move, (1, 2)) for one, move in zip(pictures, moves, strict=True)])
