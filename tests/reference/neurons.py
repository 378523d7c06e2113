"""Neuron criteria written straight from the formulas: loops over float64 arrays, one image, one function per
criterion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def activation(A: Array, g: Array) -> Array:
    channels, h, w = A.shape
    out = np.zeros(channels)
    for k in range(channels):
        for i in range(h):
            for j in range(w):
                out[k] += max(A[k, i, j], 0.0) / (h * w)
    return out


def gradient(A: Array, g: Array, rectified: bool = False) -> Array:
    channels, h, w = g.shape
    out = np.zeros(channels)
    for k in range(channels):
        for i in range(h):
            for j in range(w):
                out[k] += (max(g[k, i, j], 0.0) if rectified else abs(g[k, i, j])) / (h * w)
    return out


def gradient_x_activation(A: Array, g: Array) -> Array:
    channels, h, w = A.shape
    out = np.zeros(channels)
    for k in range(channels):
        for i in range(h):
            for j in range(w):
                out[k] += g[k, i, j] * A[k, i, j]
    return out


def cgnis_product(A: Array, g: Array) -> Array:
    return relative(activation(A, g)) * relative(gradient(A, g, rectified=True))


def cgnis_elementwise(A: Array, g: Array) -> Array:
    channels, h, w = A.shape
    out = np.zeros(channels)
    for k in range(channels):
        for i in range(h):
            for j in range(w):
                out[k] += max(A[k, i, j] * g[k, i, j], 0.0)
    return out


def relative(values: Array) -> Array:
    peak = max(values)
    return values / peak if peak > 0 else values


def importance_map(A: Array, scores: Array, units: list[int]) -> Array:
    _, h, w = A.shape
    out = np.zeros((h, w))
    for k in units:
        for i in range(h):
            for j in range(w):
                out[i, j] += scores[k] * A[k, i, j]
    return out


def top_region(values: Array, share: float) -> NDArray[np.bool_]:
    """The pixels among the largest ``share`` of a map, ties with the last of them included, its minimum
    excluded."""
    ordered = sorted((float(value) for value in values.flatten()), reverse=True)
    count = max(1, int(np.floor(share * len(ordered) + 0.5)))
    mask = np.zeros(values.shape, dtype=bool)
    for index in np.ndindex(values.shape):
        mask[index] = values[index] >= ordered[count - 1] and values[index] > ordered[-1]
    return mask
