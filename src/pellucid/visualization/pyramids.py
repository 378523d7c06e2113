"""Gaussian and Laplacian pyramids of pictures, and the gradient whose bands are made equally strong.

    reduce: filter with the 5-tap binomial kernel (1 4 6 4 1)/16 in both directions, keep every second pixel
    expand: insert zeros, filter with twice the kernel per direction; here written with its normalization at borders
    level l: G_l − expand(G_{l+1}), the last level is G_L itself; the sum of all expanded levels gives the picture back exactly

Source: Burt, Adelson 1983. Borders are mirrored, so any size down to 2 × 2 is split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

TAPS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def smooth(pictures: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel h w"]:
    """Filtered with the binomial kernel; borders mirrored without repeating the edge."""
    return separable(pictures, TAPS)


def separable(pictures: Float[Tensor, "batch channel h w"], taps: Sequence[float], step: int = 1) -> Tensor:
    """Filtered in both directions with an odd symmetric kernel, every ``step``-th pixel kept; borders mirrored, repeated where a
    side is too short for that."""
    return _along(_along(pictures, taps, 2, step), taps, 3, step)


def _along(values: Tensor, taps: Sequence[float], axis: int, step: int) -> Tensor:
    """One direction, as a sum of shifted slices: on a processor several times faster than a convolution per channel."""
    reach, size = len(taps) // 2, int(values.shape[axis])
    pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
    padded = F.pad(values, pad, mode="reflect" if size > reach else "replicate")

    def shifted(offset: int) -> Tensor:
        rows = slice(offset, offset + size, step)
        return padded[:, :, rows] if axis == 2 else padded[..., rows]

    total = taps[reach] * shifted(reach)
    for k in range(reach):
        total = total.add_(shifted(k) + shifted(2 * reach - k), alpha=taps[k])
    return total


def gaussian(
    pictures: Float[Tensor, "batch channel h w"], sigma: float
) -> Float[Tensor, "batch channel h w"]:
    """Filtered with a Gaussian cut at 3σ."""
    reach = max(1, int(3 * sigma + 0.5))
    taps = [math.exp(-(k**2) / (2 * sigma**2)) for k in range(-reach, reach + 1)]
    return separable(pictures, [tap / sum(taps) for tap in taps])


def reduce(pictures: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel h2 w2"]:
    """Half the size, rounded up."""
    return separable(pictures, TAPS, step=2)


def expand(
    pictures: Float[Tensor, "batch channel h w"], size: tuple[int, int]
) -> Float[Tensor, "batch channel H W"]:
    """Twice the size, to ``size``: a constant stays constant up to the border."""
    return _doubled(_doubled(pictures, size[0], 2), size[1], 3)


def _doubled(values: Tensor, size: int, axis: int) -> Tensor:
    """Zeros put between, filtered, over the same of ones, in one direction: even pixels are (1 6 1)/8 of their neighbors, odd
    ones the mean of two; beyond a border the mirrored pixels are taken."""
    shape = list(values.shape)
    shape[axis] = size
    sparse, weight = (
        values.new_zeros(shape),
        values.new_zeros([1, 1, *(size if a == axis else 1 for a in (2, 3))]),
    )
    for target, source in ((sparse, values), (weight, 1)):
        rows = slice(0, size, 2)
        target[(slice(None), slice(None), rows) if axis == 2 else (..., rows)] = source
    return _along(sparse, TAPS, axis, 1) / _along(weight, TAPS, axis, 1)


def depth(size: tuple[int, int], levels: int) -> int:
    """How many levels a picture of this size has: the coarsest keeps at least 4 pixels a side."""
    count = 1
    while count < levels and min(size) >= 8 * 2 ** (count - 1):
        count += 1
    return count


def split(
    pictures: Float[Tensor, "batch channel h w"], levels: int
) -> list[Float[Tensor, "batch channel h_l w_l"]]:
    """The Laplacian pyramid, fine to coarse; fewer levels where the picture is too small for them."""
    found = []
    for _ in range(depth((int(pictures.shape[2]), int(pictures.shape[3])), levels) - 1):
        coarser = reduce(pictures)
        found.append(pictures - expand(coarser, (int(pictures.shape[2]), int(pictures.shape[3]))))
        pictures = coarser
    return [*found, pictures]


def merge(levels: Sequence[Float[Tensor, "batch channel h_l w_l"]]) -> Float[Tensor, "batch channel h w"]:
    """The picture of a Laplacian pyramid; the inverse of `split`."""
    picture = levels[-1]
    for finer in reversed(levels[:-1]):
        picture = finer + expand(picture, (int(finer.shape[2]), int(finer.shape[3])))
    return picture


def rms(pictures: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch 1 1 1"]:
    """Root mean square of every picture; where it is zero, one."""
    found = pictures.square().mean((1, 2, 3), keepdim=True).sqrt()
    return torch.where(found > torch.finfo(found.dtype).tiny, found, 1)


def normalized(pictures: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel h w"]:
    """Each divided by its root mean square."""
    # first by the largest value: squares of very small gradients would vanish
    largest = pictures.abs().amax((1, 2, 3), keepdim=True)
    scaled = pictures / torch.where(largest > 0, largest, 1)
    return scaled / rms(scaled)


def balanced(
    gradient: Float[Tensor, "batch channel h w"], levels: int, weights: Sequence[float], share: float = 1.0
) -> Float[Tensor, "batch channel h w"]:
    """``Σ_l ω_l L_l / rms(L_l)^share``: the bands of a gradient made more equally strong, then weighted, fine to coarse.

    With ``share`` 1 all bands are equally strong before they are weighted, with 0 they keep their strengths. A weight that is
    missing is the last one given. The result has root mean square 1.
    """
    bands = split(normalized(gradient), levels)
    omega = [*weights, *[weights[-1]] * (levels - len(weights))]
    return normalized(merge([w * band / rms(band) ** share for w, band in zip(omega, bands, strict=False)]))
