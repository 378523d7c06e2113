"""The two blurs from which insertion starts; both are separable and applied to normalized images.

* ``"rise"``, as the evaluation of Petsiuk et al. 2018: a Gaussian filter (σ, cut at 4σ, borders mirrored with the edge
  repeated: … c b a | a b c …) applied to a unit impulse in the middle of a ``size`` × ``size`` grid. What would fall outside the
  grid is folded back, so for size 11 and σ 5 the kernel is nearly flat. Outside the image is zero, the mean color:
  borders darken towards it.
* ``"gaussian"``, as kornia: ``exp(−d² / 2σ²)`` on ``size`` taps, scaled to sum 1; the image is mirrored without repeating
  its edge (… c b | a b c …).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Blur = Literal["rise", "gaussian"]


def blurred(
    images: Float[Tensor, "batch channel height width"], size: int, sigma: float, kind: Blur = "gaussian"
) -> Float[Tensor, "batch channel height width"]:
    """Images under one of the two blurs; ``size`` is odd.

    A mirrored image has to be larger than what is mirrored, ``size // 2`` pixels: along a shorter side the Gaussian
    has the most taps that fit, 2 · pixels − 1, and the same σ. The kernel of RISE fits every image.
    """
    channels = images.shape[1]
    for axis in (2, 3):
        reach = size // 2 if kind == "rise" else min(size // 2, images.shape[axis] - 1)
        taps = (_folded if kind == "rise" else _gaussian)(2 * reach + 1, sigma).to(images)
        weight = taps.view(1, 1, -1, 1) if axis == 2 else taps.view(1, 1, 1, -1)
        pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        padded = F.pad(images, pad, mode="constant" if kind == "rise" else "reflect")
        images = F.conv2d(padded, weight.expand(channels, 1, -1, -1), groups=channels)
    return images


def _gaussian(size: int, sigma: float) -> Float[Tensor, " taps"]:
    distance = torch.arange(size, dtype=torch.float64) - size // 2
    weights = torch.exp(-(distance**2) / (2 * sigma**2))
    return weights / weights.sum()


def _folded(size: int, sigma: float) -> Float[Tensor, " taps"]:
    """A Gaussian cut at 4σ about the middle of ``size`` cells, what lies outside them mirrored back in."""
    radius = int(4 * sigma + 0.5)
    weights = _gaussian(2 * radius + 1, sigma)
    place = (torch.arange(-radius, radius + 1) + size // 2) % (2 * size)
    place = torch.where(place < size, place, 2 * size - 1 - place)
    return torch.zeros(size, dtype=torch.float64).index_add_(0, place, weights)


def check_blur(blur: tuple[int, float]) -> None:
    """Raises ValueError unless ``blur`` is an odd kernel size and a positive σ."""
    size, sigma = blur if len(blur) == 2 else (0, 0.0)
    whole = isinstance(size, int) and not isinstance(size, bool)
    if not (whole and size > 0 and size % 2 and math.isfinite(sigma) and sigma > 0):
        raise ValueError(
            f"Expected `blur` to be an odd kernel size and a positive σ, got {blur}; try (51, 20.0)."
        )
