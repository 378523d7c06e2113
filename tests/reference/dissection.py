"""Network dissection spelled out: every pixel of every map, one after the other, in whole numbers."""

import math
from fractions import Fraction

import numpy as np


def threshold(values, quantile):
    """The (m + 1)-th largest, m = floor(q n)."""
    ordered = sorted((float(v) for v in values), reverse=True)
    return np.float32(ordered[math.floor(Fraction(str(quantile)) * len(ordered))])


def centers(layer, input_size, anchor):
    """Position of the first cell and step, per axis, in input pixels (pixel 0 has its center at 0)."""
    found = []
    for axis in (0, 1):
        start, stride = layer.geometry.start[axis], layer.geometry.stride[axis]
        if anchor == "effective":
            cells = layer.shape[1 + axis]
            middle = (input_size[axis] - 1) / 2 - (cells - 1) / 2 * stride
            if 0.1 < abs(middle - start) / stride <= 1:
                start = middle
        found.append((start, stride))
    return found


def upsampled(plane, layer, input_size, grid, anchor):
    """Bilinear at every label pixel, in float64, rounded to float32, never beyond the corners it lies between."""
    (top, down), (left, right) = centers(layer, input_size, anchor)
    out = np.zeros(grid, np.float32)
    most = np.zeros(grid, np.float32)
    for p in range(grid[0]):
        y, y0, y1 = _place(
            p, grid[0], input_size[0], top, down, plane.shape[0], layer.geometry.size[0], anchor
        )
        for q in range(grid[1]):
            x, x0, x1 = _place(
                q, grid[1], input_size[1], left, right, plane.shape[1], layer.geometry.size[1], anchor
            )
            a, b, c, d = (float(plane[i, j]) for i, j in ((y0, x0), (y0, x1), (y1, x0), (y1, x1)))
            one, other = a + (c - a) * (y - y0), b + (d - b) * (y - y0)
            out[p, q] = np.float32(one + (other - one) * (x - x0))
            most[p, q] = max(a, b, c, d)
    return np.minimum(out, most)


def _place(pixel, pixels, extent, start, stride, cells, size, anchor):
    ratio = extent / pixels
    if anchor == "paper":  # (s // 2 + o + a t) / r, with o = start - (s - 1) / 2
        offset = start - (size - 1) / 2
        at = (pixel * ratio - (size // 2 + offset)) / stride
    else:
        at = ((pixel + 0.5) * ratio - 0.5 - start) / stride
    at = min(max(at, 0), cells - 1)
    low = min(math.floor(at), max(cells - 2, 0))
    return at, low, min(low + 1, cells - 1)


def regions(maps, whole, grid):
    """{number: set of pixels} of one picture; a concept in two maps, or everywhere, is one region."""
    found = {}
    for stored in maps:
        for p in range(grid[0]):
            for q in range(grid[1]):
                number = int(stored[p * stored.shape[0] // grid[0], q * stored.shape[1] // grid[1]])
                if number:
                    found.setdefault(number, set()).add((p, q))
    for number in whole:
        found[int(number)] = {(p, q) for p in range(grid[0]) for q in range(grid[1])}
    return found


def counts(masks, pictures, concepts):
    """(I[unit][concept], A[unit][category], G[concept]) of masks [picture][unit] (sets of pixels) and regions [picture]."""
    categories = list(dict.fromkeys(concept.category for concept in concepts))
    units = len(masks[0])
    intersection = [[0] * len(concepts) for _ in range(units)]
    activation = [[0] * len(categories) for _ in range(units)]
    truth = [0] * len(concepts)
    for mask, labeled in zip(masks, pictures, strict=True):
        occurring = {concept.category for concept in concepts if labeled.get(concept.number)}
        for place, concept in enumerate(concepts):
            truth[place] += len(labeled.get(concept.number, ()))
        for unit in range(units):
            for k, category in enumerate(categories):
                activation[unit][k] += len(mask[unit]) if category in occurring else 0
            for place, concept in enumerate(concepts):
                intersection[unit][place] += len(mask[unit] & labeled.get(concept.number, set()))
    return np.array(intersection), np.array(activation), np.array(truth)


def mask(plane, limit, layer, input_size, grid, anchor):
    """Pixels above a threshold."""
    return {
        (int(p), int(q)) for p, q in np.argwhere(upsampled(plane, layer, input_size, grid, anchor) > limit)
    }
