"""Neuron criteria written straight from the formulas: loops over float64 arrays, one image, one function per
criterion."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise
from math import factorial

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


def cgnis_signed(A: Array, g: Array) -> Array:
    return gradient_x_activation(A, g)


Score = Callable[[Array], float]  # of an activation [channel h w]


def absent(A: Array, missing: set[int], reference: Array) -> Array:
    out = A.copy()
    for k in missing:
        for i in range(A.shape[1]):
            for j in range(A.shape[2]):
                out[k, i, j] = reference[k]
    return out


def ablation(score: Score, A: Array, reference: Array) -> Array:
    return np.array([score(A) - score(absent(A, {k}, reference)) for k in range(len(A))])


def shapley(score: Score, A: Array, reference: Array, orders: list[list[int]]) -> Array:
    """Mean gain over the given orders."""
    out = np.zeros(len(A))
    for order in orders:
        missing = set(range(len(A)))
        for k in order:
            before = score(absent(A, missing, reference))
            missing = missing - {k}
            out[k] += (score(absent(A, missing, reference)) - before) / len(orders)
    return out


def shapley_exactly(score: Score, A: Array, reference: Array) -> Array:
    """From the definition: every set of other units, with its weight."""
    units = set(range(len(A)))
    out = np.zeros(len(A))
    for k in units:
        for size in range(len(A)):
            for there in combinations(sorted(units - {k}), size):
                weight = factorial(size) * factorial(len(A) - size - 1) / factorial(len(A))
                without = score(absent(A, units - set(there), reference))
                out[k] += weight * (score(absent(A, units - set(there) - {k}, reference)) - without)
    return out


def integrated(slope: Callable[[Array], Array], A: Array, reference: Array, steps: int) -> Array:
    """Midpoint rule along the straight way from the reference to the activation."""
    start = absent(A, set(range(len(A))), reference)
    out = np.zeros(len(A))
    for n in range(steps):
        g = slope(start + (n + 0.5) / steps * (A - start))
        for k in range(len(A)):
            out[k] += ((A[k] - start[k]) * g[k]).sum() / steps
    return out


def conductance(points: list[tuple[Array, Array]]) -> Array:
    """From activation and gradient at the ends of all steps of the way."""
    out = np.zeros(len(points[0][0]))
    for (A, g), (B, h) in pairwise(points):
        for k in range(len(A)):
            out[k] += ((g[k] + h[k]) / 2 * (B[k] - A[k])).sum()
    return out


def log_odds(output: Array, target: int) -> float:
    return float(output[target] - np.log(sum(np.exp(z) for j, z in enumerate(output) if j != target)))


def margin(output: Array, target: int) -> float:
    return float(output[target] - max(z for j, z in enumerate(output) if j != target))


def class_scores(scores: Array, labels: list[int], others: float) -> tuple[Array, Array]:
    """Mean of every class less ``others`` times the mean of the other classes' means; and its standard error."""
    classes = sorted(set(labels))
    mean = {
        c: np.mean([s for s, label in zip(scores, labels, strict=True) if label == c], axis=0)
        for c in classes
    }
    variance = {}
    for c in classes:
        mine = [s for s, label in zip(scores, labels, strict=True) if label == c]
        variance[c] = sum((s - mean[c]) ** 2 for s in mine) / (len(mine) - 1) / len(mine)
    values, errors = [], []
    for c in classes:
        rest = [d for d in classes if d != c]
        values.append(mean[c] - others * sum(mean[d] for d in rest) / len(rest))
        errors.append(np.sqrt(variance[c] + others**2 * sum(variance[d] for d in rest) / len(rest) ** 2))
    return np.array(values), np.array(errors)
