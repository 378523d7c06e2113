"""Metrics written straight from their definitions: one image, one pixel order, float64, one run of the network per number.

``f`` maps an image [channel, row, column] to the number that is judged. Nothing is shared with the library.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
Network = Callable[[Array], float]


def rise_blur(x: Array, size: int, sigma: float) -> Array:
    """A Gaussian filter of an impulse on a small grid is the kernel; the image is convolved with it, zero outside."""
    impulse = np.zeros((size, size))
    impulse[size // 2, size // 2] = 1
    kernel = ndimage.gaussian_filter(impulse, sigma)
    return np.stack([ndimage.convolve(channel, kernel, mode="constant", cval=0.0) for channel in x])


def gaussian_blur(x: Array, size: int, sigma: float) -> Array:
    """The normalized Gaussian on ``size`` taps, image mirrored without its edge; fewer taps along a short side."""
    for axis in (1, 2):
        reach = min(size // 2, x.shape[axis] - 1)
        kernel = np.array([math.exp(-(d**2) / (2 * sigma**2)) for d in range(-reach, reach + 1)])
        x = ndimage.convolve1d(x, kernel / kernel.sum(), axis=axis, mode="mirror") if reach else x
    return x


def raster_order(saliency: Array) -> list[int]:
    """Pixels by descending saliency; ties keep raster order."""
    flat = saliency.ravel().tolist()
    return sorted(range(len(flat)), key=lambda pixel: (-flat[pixel], pixel))


def deletion(f: Network, x: Array, saliency: Array, counts: list[int]) -> list[float]:
    order = raster_order(saliency)
    curve = []
    for count in counts:
        image = x.copy()
        for pixel in order[:count]:
            image[:, pixel // x.shape[2], pixel % x.shape[2]] = 0
        curve.append(f(image))
    return curve


def insertion(f: Network, x: Array, start: Array, saliency: Array, counts: list[int]) -> list[float]:
    order = raster_order(saliency)
    curve = []
    for count in counts:
        image = start.copy()
        for pixel in order[:count]:
            row, column = pixel // x.shape[2], pixel % x.shape[2]
            image[:, row, column] = x[:, row, column]
        curve.append(f(image))
    return curve


def counts_by_step(pixels: int, step: int) -> list[int]:
    """Points of RISE: ceil(pixels / step) steps, the last one shorter."""
    return [min(k * step, pixels) for k in range(math.ceil(pixels / step) + 1)]


def area(curve: list[float]) -> float:
    return (sum(curve) - curve[0] / 2 - curve[-1] / 2) / (len(curve) - 1)


def average_drop(f: Network, x: Array, saliency: Array) -> tuple[float, float, float]:
    """Drop, increase, gain."""
    weight = (saliency - saliency.min()) / (saliency.max() - saliency.min())
    y, o = f(x), f(x * weight)
    return max(0.0, y - o) / y, float(o > y), max(0.0, o - y) / (1 - y)
