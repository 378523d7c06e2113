"""Attribution written straight from the formulas: loops over float64 arrays, one image, one function per
method.

Activations ``A`` and gradients ``g`` are [channel, row, column]. Slow on purpose; nothing is shared with the
library.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def cam(A: Array, w: Array) -> Array:
    channels, h, w_ = A.shape
    out = np.zeros((h, w_))
    for k in range(channels):
        for i in range(h):
            for j in range(w_):
                out[i, j] += w[k] * A[k, i, j]
    return out


def gradcam(A: Array, g: Array) -> Array:
    channels, h, w = A.shape
    weights = np.zeros(channels)
    for k in range(channels):
        for i in range(h):
            for j in range(w):
                weights[k] += g[k, i, j] / (h * w)
    return cam(A, weights)


def gradcam_plus_plus(A: Array, g: Array, epsilon: float = 0.0) -> Array:
    channels, h, w = A.shape
    weights = np.zeros(channels)
    for k in range(channels):
        total = 0.0
        for i in range(h):
            for j in range(w):
                total += A[k, i, j]
        total = total if epsilon else max(total, 0.0)
        for i in range(h):
            for j in range(w):
                slope = g[k, i, j]
                below = 2 * slope**2 + total * slope**3 + epsilon
                alpha = slope**2 / below if below != 0 else 0.0
                weights[k] += alpha * max(slope, 0.0)
    return cam(A, weights)


def xgradcam(A: Array, g: Array, epsilon: float = 1e-7, absolute: bool = True) -> Array:
    channels, h, w = A.shape
    weights = np.zeros(channels)
    for k in range(channels):
        above, below = 0.0, epsilon
        for i in range(h):
            for j in range(w):
                above += g[k, i, j] * A[k, i, j]
                below += abs(A[k, i, j]) if absolute else A[k, i, j]
        weights[k] = above / below if below != 0 else 0.0
    return cam(A, weights)


def hirescam(A: Array, g: Array) -> Array:
    channels, h, w = A.shape
    out = np.zeros((h, w))
    for k in range(channels):
        for i in range(h):
            for j in range(w):
                out[i, j] += g[k, i, j] * A[k, i, j]
    return out


gradient_x_input = hirescam


def gradcam_elementwise(A: Array, g: Array) -> Array:
    channels, h, w = A.shape
    out = np.zeros((h, w))
    for k in range(channels):
        for i in range(h):
            for j in range(w):
                out[i, j] += max(g[k, i, j] * A[k, i, j], 0.0)
    return out


def layercam(A: Array, g: Array) -> Array:
    channels, h, w = A.shape
    out = np.zeros((h, w))
    for k in range(channels):
        for i in range(h):
            for j in range(w):
                out[i, j] += max(g[k, i, j], 0.0) * A[k, i, j]
    return out


def first_component(X: Array, centered: bool = True) -> Array:
    """Through the full singular value decomposition of [cell, channel]."""
    channels, h, w = X.shape
    rows = np.zeros((h * w, channels))
    for k in range(channels):
        for i in range(h):
            for j in range(w):
                rows[i * w + j, k] = X[k, i, j]
    if centered:
        for k in range(channels):
            rows[:, k] = rows[:, k] - sum(rows[:, k]) / (h * w)
    direction = np.linalg.svd(rows, full_matrices=False)[2][0]
    if direction.sum() < 0:
        direction = -direction
    out = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            out[i, j] = sum(rows[i * w + j, k] * direction[k] for k in range(channels))
    return out


def eigencam(A: Array, g: Array, centered: bool = True) -> Array:
    return first_component(A, centered)


def eigengradcam(A: Array, g: Array, centered: bool = True) -> Array:
    return first_component(g * A, centered)


def gradient(A: Array, g: Array, reduce: str = "max") -> Array:
    channels, h, w = g.shape
    out = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            sizes = [abs(g[k, i, j]) for k in range(channels)]
            if reduce == "max":
                out[i, j] = max(sizes)
            elif reduce == "l2":
                out[i, j] = math.sqrt(sum(size**2 for size in sizes))
            else:
                out[i, j] = sum(sizes) / (channels if reduce == "mean" else 1)
    return out


def fuse(maps: list[Array], shallow: int, gamma: float = 2.0) -> Array:
    """Maps of one size, shallow first."""
    h, w = maps[0].shape
    out = np.full((h, w), -np.inf)
    for place, values in enumerate(maps):
        peak = max(values.max(), 0.0)
        for i in range(h):
            for j in range(w):
                value = max(values[i, j], 0.0) / peak if peak > 0 else 0.0
                value = math.tanh(gamma * value) if place < shallow else value
                out[i, j] = max(out[i, j], value)
    return out


def integrated_gradcam(path: list[tuple[Array, Array]]) -> Array:
    """``path``: activation and gradient at the baseline, then at every step, the image last."""
    baseline = path[0][0]
    out = np.zeros(baseline.shape[1:])
    for A, g in path[1:]:
        out += np.maximum(gradcam(A - baseline, g), 0) / (len(path) - 1)
    return out


def rsi_gradcam(path: list[tuple[Array, Array]]) -> Array:
    """``path`` as above, the gradients those of the probability."""
    last = path[-1][0]
    channels, h, w = last.shape
    weights = np.zeros(channels)
    for (before, start), (after, end) in pairwise(path):
        for k in range(channels):
            for i in range(h):
                for j in range(w):
                    slope = (max(start[k, i, j], 0.0) + max(end[k, i, j], 0.0)) / 2
                    weights[k] += slope * (after[k, i, j] - before[k, i, j]) / (h * w)
    return cam(last, weights)
