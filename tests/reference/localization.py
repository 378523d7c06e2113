"""Localization metrics and similarities straight from their definitions: loops over float64 arrays, one image at a time."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def pointing(M: Array, mask: NDArray[np.bool_], tolerance: float) -> float:
    """Share of the maximal pixels with a mask pixel at most ``tolerance`` away."""
    peak, hits, count = M.max(), 0, 0
    for i, j in np.ndindex(*M.shape):
        if M[i, j] == peak:
            count += 1
            hits += any(mask[p, q] and math.hypot(p - i, q - j) <= tolerance for p, q in np.ndindex(*M.shape))
    return hits / count


def energy(M: Array, mask: NDArray[np.bool_]) -> float:
    inside = total = 0.0
    for place in np.ndindex(*M.shape):
        total += max(M[place], 0.0)
        inside += max(M[place], 0.0) * mask[place]
    return inside / total


def top_mass(M: Array, mask: NDArray[np.bool_], draws: int = 4000) -> float:
    """Mean over random orders of tied pixels of the share of the top |mask| pixels inside."""
    size, flat, inside = int(mask.sum()), M.ravel(), mask.ravel()
    generator = np.random.default_rng(0)
    found = 0.0
    for _ in range(draws):
        lots = generator.random(len(flat))
        order = np.lexsort((lots, -flat))
        found += inside[order[:size]].sum() / size
    return found / draws


def painted(values: Array, start: float, stride: float, extent: int, scale: int = 4) -> list[int]:
    """Along one axis: the cell nearest to every sub-pixel (``scale`` per pixel)."""
    nearest = []
    for k in range(extent * scale):
        at = (k + 0.5) / scale - 0.5
        distance = [abs(at - (start + stride * c)) for c in range(len(values))]
        nearest.append(distance.index(min(distance)))
    return nearest


def iou(
    M: Array,
    mask: NDArray[np.bool_],
    starts: tuple[float, float],
    strides: tuple[float, float],
    threshold: float,
) -> float:
    """Overlap of the map painted in boxes on a picture of quarter pixels, thresholded, with the mask."""
    scale = 4
    rows = painted(M[:, 0], starts[0], strides[0], mask.shape[0], scale)
    columns = painted(M[0], starts[1], strides[1], mask.shape[1], scale)
    both = either = 0
    for a, row in enumerate(rows):
        for b, column in enumerate(columns):
            chosen = M[row, column] >= threshold * M.max()
            known = mask[a // scale, b // scale]
            both += bool(chosen and known)
            either += bool(chosen or known)
    return both / either


def box_iou(M: Array, mask: NDArray[np.bool_], threshold: float) -> float:
    """Flood fill for the largest region, then the boxes' overlap counted pixel by pixel."""
    above = threshold * M.max() <= M
    left = {(int(i), int(j)) for i, j in zip(*np.nonzero(above), strict=True)}
    largest: set[tuple[int, int]] = set()
    while left:
        start = min(left)
        region, edge = {start}, [start]
        left.discard(start)
        while edge:
            i, j = edge.pop()
            for near in [(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]:
                if near in left:
                    left.discard(near)
                    region.add(near)
                    edge.append(near)
        if len(region) > len(largest):
            largest = region
    boxes = []
    for pixels in (largest, {(int(i), int(j)) for i, j in zip(*np.nonzero(mask), strict=True)}):
        rows, columns = zip(*pixels, strict=True)
        boxes.append(
            {(i, j) for i in range(min(rows), max(rows) + 1) for j in range(min(columns), max(columns) + 1)}
        )
    return len(boxes[0] & boxes[1]) / len(boxes[0] | boxes[1])


def ssim(x: Array, y: Array) -> float:
    """Structural similarity of maps in [0, 1]: an 11 × 11 Gaussian window at every cell, cut at the border."""
    height, width = x.shape
    total = 0.0
    for i, j in np.ndindex(height, width):
        weights: dict[tuple[int, int], float] = {}
        for p in range(max(0, i - 5), min(height, i + 6)):
            for q in range(max(0, j - 5), min(width, j + 6)):
                weights[p, q] = math.exp(-((p - i) ** 2 + (q - j) ** 2) / (2 * 1.5**2))
        whole = sum(weights.values())
        weights = {place: value / whole for place, value in weights.items()}
        mx = sum(w * x[place] for place, w in weights.items())
        my = sum(w * y[place] for place, w in weights.items())
        vx = sum(w * (x[place] - mx) ** 2 for place, w in weights.items())
        vy = sum(w * (y[place] - my) ** 2 for place, w in weights.items())
        cov = sum(w * (x[place] - mx) * (y[place] - my) for place, w in weights.items())
        c1, c2 = 0.01**2, 0.03**2
        total += (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return total / (height * width)


def blurred(M: Array, sigma: float) -> Array:
    """Gaussian mean over the picture, weights normalized within it."""
    out = np.zeros_like(M)
    for i, j in np.ndindex(*M.shape):
        total = weight = 0.0
        for p, q in np.ndindex(*M.shape):
            w = math.exp(-((p - i) ** 2 + (q - j) ** 2) / (2 * sigma**2))
            total += w * M[p, q]
            weight += w
        out[i, j] = total / weight
    return out


def equal_area(M: Array, mask: NDArray[np.bool_], cells: tuple[int, int]) -> Fraction:
    """Overlap of the best cells of the mask's area for distinct values on a grid that divides the picture evenly."""
    height, width = mask.shape[0] // cells[0], mask.shape[1] // cells[1]
    left, common = Fraction(int(mask.sum())), Fraction(0)
    for i, j in sorted(np.ndindex(*cells), key=lambda place: -M[place]):
        taken = min(left, Fraction(height * width))
        inside = int(mask[i * height : (i + 1) * height, j * width : (j + 1) * width].sum())
        common += taken / (height * width) * inside
        left -= taken
    return common / (2 * int(mask.sum()) - common)
