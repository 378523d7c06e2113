"""The counting itself, compiled: which cells may matter, which pixels are in a mask, and what is labeled there.

What makes it cheap, all of it exact:

- a map that nowhere exceeds a lower bound of its unit's threshold is skipped, because bilinear interpolation cannot exceed
  its corners;
- of the other maps only cells above the bound and their neighbors are kept: between four quiet corners nothing can
  exceed the threshold;
- labels are looked up only at pixels of a mask, and what holds for a whole picture is a multiplication of the mask's area.

Interpolation is done in float64 and rounded to float32 before it is compared, so that an implementation with another order
of operations meets the same integers; between corners that do not exceed the threshold no pixel is in the mask. Arithmetic is
plain (no fused or reordered operations). The literal twin is in ``tests/reference/dissection.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _emit(plane: Any, limit: Any, marks: Any, cells: Any, values: Any, z: int) -> int:
    """Append the cells of [h w] above the limit and their neighbors to ``cells`` and ``values`` from place ``z`` on.

    ``marks`` [h w] is false before and after. Returns the place behind the last.
    """
    h, w = plane.shape
    first, last = h, 0
    for y in range(h):
        row = plane[y]
        above = 0
        for x in range(w):  # no branch: compiled to vector instructions
            above += row[x] > limit
        if above == 0:
            continue
        top, bottom = max(y - 1, 0), min(y + 2, h)
        first, last = min(first, top), bottom
        for x in range(w):
            if row[x] > limit:
                for yy in range(top, bottom):
                    for xx in range(max(x - 1, 0), min(x + 2, w)):
                        marks[yy, xx] = True
    for y in range(first, last):
        for x in range(w):
            if marks[y, x]:
                marks[y, x] = False
                cells[z] = y * w + x
                values[z] = plane[y, x]
                z += 1
    return z


@njit(cache=True, nogil=True)
def collect(acts: Any, maxima: Any, low: Any) -> Any:
    """What may matter of maps [map unit h w] with these ``maxima`` [map unit], given lower bounds ``low`` [unit] of the
    thresholds: cells above the bound and their neighbors.

    Returns ``starts`` [map + 1] into the active maps, their ``unit``, ``cell_starts`` [active + 1], and ``cells`` (place
    in the flattened map, ascending) with ``values``.
    """
    maps, units, h, w = acts.shape
    starts = np.zeros(maps + 1, np.int64)
    for b in range(maps):
        starts[b + 1] = starts[b] + np.sum(maxima[b] > low)
    active = starts[maps]
    unit = np.empty(active, np.int32)
    cell_starts = np.zeros(active + 1, np.int64)
    cells = np.empty(active * h * w, np.int32)
    values = np.empty(active * h * w, np.float32)
    marks = np.zeros((h, w), np.bool_)
    a = 0
    z = 0
    for b in range(maps):
        for u in range(units):
            if maxima[b, u] > low[u]:
                z = _emit(acts[b, u], low[u], marks, cells, values, z)
                unit[a] = u
                a += 1
                cell_starts[a] = z
    return starts, unit, cell_starts, cells[:z].copy(), values[:z].copy()


@njit(cache=True, nogil=True)
def localize(maps: Any, place_of: Any, whole: Any, scratch: Any) -> Any:
    """Label maps [map h w] of numbers as places among the concepts of this picture alone.

    ``place_of`` [number]: a concept's place in the set, −1 for none; ``whole``: places that hold everywhere; ``scratch``
    [concept], zero before and after. Returns ``local`` [h w map], 0 or 1 + place in ``places``; ``places``; and how many pixels
    each has. A concept named twice at a pixel is kept once; what holds everywhere is not named again.
    """
    layers, h, w = maps.shape
    local = np.zeros((h, w, layers), np.uint16)
    places = np.zeros(scratch.shape[0], np.int32)
    pixels = np.zeros(scratch.shape[0], np.int64)
    found = 0
    for place in whole:
        scratch[place] = -1
    for y in range(h):
        for x in range(w):
            for m in range(layers):
                place = place_of[maps[m, y, x]]
                if place < 0 or scratch[place] < 0:
                    continue
                here = scratch[place]
                if here == 0:
                    places[found] = place
                    found += 1
                    here = found
                    scratch[place] = here
                again = False
                for other in range(m):
                    again |= local[y, x, other] == here
                if not again:
                    local[y, x, m] = here
                    pixels[here - 1] += 1
    for n in range(found):
        scratch[places[n]] = 0
    for place in whole:
        scratch[place] = 0
    return local, places[:found].copy(), pixels[:found].copy()


@njit(cache=True, nogil=True)
def mask_counts(
    dense: Any, cells: Any, width: int, rows: Any, row_fraction: Any, columns: Any, column_fraction: Any,
    thresholds: Any, locals_: Any, hits: Any, areas: Any, outline: Any,
) -> None:  # fmt: skip
    """One map's mask at several thresholds against the labels of several pictures.

    ``dense`` [cell]: values at ``cells``, −∞ elsewhere. ``thresholds`` [t]; threshold t meets ``locals_[t]`` [h w map].
    Adds to ``hits`` [t, 1 + local] and ``areas`` [t]; sets ``outline`` [h w] where the first threshold is exceeded,
    unless it is empty.
    """
    height = dense.shape[0] // width
    least = thresholds.min()
    for cell in cells:
        y, x = cell // width, cell % width
        if rows[y] == rows[y + 1] or columns[x] == columns[x + 1]:
            continue
        below, right = min(y + 1, height - 1), min(x + 1, width - 1)
        a, b = float(dense[cell]), float(dense[y * width + right])
        c, d = float(dense[below * width + x]), float(dense[below * width + right])
        most = max(max(a, b), max(c, d))
        if not most > least:
            continue
        for p in range(rows[y], rows[y + 1]):
            left = a + (c - a) * row_fraction[p]
            rise = (b + (d - b) * row_fraction[p]) - left
            for q in range(columns[x], columns[x + 1]):
                value = np.float32(left + rise * column_fraction[q])
                for t in range(thresholds.shape[0]):
                    if value > thresholds[t] and most > thresholds[t]:
                        areas[t] += 1
                        labels = locals_[t]
                        for m in range(labels.shape[2]):
                            hits[t, labels[p, q, m]] += 1
                        if t == 0 and outline.shape[0]:
                            outline[p, q] = True


@njit(cache=True, nogil=True)
def tally(
    unit: Any, cell_starts: Any, cells: Any, values: Any, width: int, dense: Any,
    rows: Any, row_fraction: Any, columns: Any, column_fraction: Any,
    thresholds: Any, slots: Any, locals_: Any, places: Any, wholes: Any, present: Any,
    intersection: Any, activation: Any, area: Any, log: Any, outline_of: Any, outlines: Any,
) -> int:  # fmt: skip
    """Count all active maps of one picture.

    ``thresholds`` [t unit] are met by the labels ``locals_[t]``, whose places are ``places[t]``, with ``wholes[t]`` holding
    everywhere and ``present[t]`` [category] occurring; the counts go to ``intersection`` [slot unit concept] and
    ``activation`` [slot unit category] of slot ``slots[t]``. ``dense`` [cell]: scratch of −∞. Of the first threshold,
    ``area`` [active] and the rows (active, place, pixels) of ``log`` are set; returns how many rows. ``outline_of`` [active]:
    where in ``outlines`` [place h w] the mask is wanted, or −1.
    """
    draws = slots.shape[0]
    most_labels = 0
    for t in range(draws):
        most_labels = max(most_labels, places[t].shape[0])
    hits = np.zeros((draws, most_labels + 1), np.int64)
    areas = np.zeros(draws, np.int64)
    nothing = np.zeros((0, 0), np.bool_)
    limits = np.zeros(draws, np.float32)
    logged = 0
    for n in range(unit.shape[0]):
        u = unit[n]
        mine = cells[cell_starts[n] : cell_starts[n + 1]]
        for z in range(mine.shape[0]):
            dense[mine[z]] = values[cell_starts[n] + z]
        for t in range(draws):
            limits[t] = thresholds[t, u]
        hits[:] = 0
        areas[:] = 0
        outline = outlines[outline_of[n]] if outline_of[n] >= 0 else nothing
        mask_counts(
            dense, mine, width, rows, row_fraction, columns, column_fraction, limits, locals_, hits, areas, outline
        )  # fmt: skip
        for z in range(mine.shape[0]):
            dense[mine[z]] = -np.inf
        area[n] = areas[0]
        for t in range(draws):
            if areas[t] == 0:
                continue
            s = slots[t]
            for k in range(present[t].shape[0]):
                if present[t][k]:
                    activation[s, u, k] += areas[t]
            for m in range(places[t].shape[0]):
                if hits[t, m + 1]:
                    intersection[s, u, places[t][m]] += hits[t, m + 1]
                    if t == 0:
                        log[logged, 0], log[logged, 1], log[logged, 2] = n, places[0][m], hits[0, m + 1]
                        logged += 1
            for place in wholes[t]:
                intersection[s, u, place] += areas[t]
                if t == 0:
                    log[logged, 0], log[logged, 1], log[logged, 2] = n, place, areas[0]
                    logged += 1
    return logged
