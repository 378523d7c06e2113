"""Which cells of activation maps may matter, compiled: those above a lower bound of their unit's threshold, and their neighbors.

Exact, because bilinear interpolation cannot exceed its corners: a map that nowhere exceeds the bound is skipped, and between
four quiet corners nothing can exceed the threshold.
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
def _hot(plane: Any, low: Any, hot_unit: Any, hot_cell: Any, found: Any) -> int:
    """Units and cells of [cell unit] above the bounds ``low`` [unit], and how many each unit has; returns how many in all."""
    cells, units = plane.shape
    found[:] = 0
    n = 0
    for i in range(cells):
        row = plane[i]
        for first in range(0, units, 32):
            last = min(first + 32, units)
            above = 0
            for u in range(first, last):  # no branch: compiled to vector instructions
                above += row[u] > low[u]
            if above:
                for u in range(first, last):
                    if row[u] > low[u]:
                        hot_unit[n] = u
                        hot_cell[n] = i
                        found[u] += 1
                        n += 1
    return n


@njit(cache=True, nogil=True)
def collect_last(acts: Any, low: Any) -> Any:
    """As `collect`, of maps whose channels lie next to each other in memory: [map h w unit]."""
    maps, h, w, units = acts.shape
    starts = np.zeros(maps + 1, np.int64)
    unit = np.empty(maps * units, np.int32)
    cell_starts = np.zeros(maps * units + 1, np.int64)
    cells = np.empty(1 << 16, np.int32)
    values = np.empty(1 << 16, np.float32)
    hot_unit = np.empty(h * w * units, np.int32)
    hot_cell = np.empty(h * w * units, np.int32)
    found = np.zeros(units, np.int64)
    marks = np.zeros((h, w), np.bool_)
    a = 0
    z = 0
    for b in range(maps):
        plane = acts[b].reshape(h * w, units)
        count = _hot(plane, low, hot_unit, hot_cell, found)
        begins = np.zeros(units + 1, np.int64)
        begins[1:] = np.cumsum(found)
        sorted_cells = np.empty(count, np.int32)
        place = begins[:-1].copy()
        for n in range(count):
            u = hot_unit[n]
            sorted_cells[place[u]] = hot_cell[n]
            place[u] += 1
        for u in range(units):
            if found[u] == 0:
                continue
            first, last = h, 0
            for n in range(begins[u], begins[u + 1]):
                y, x = sorted_cells[n] // w, sorted_cells[n] % w
                for yy in range(max(y - 1, 0), min(y + 2, h)):
                    for xx in range(max(x - 1, 0), min(x + 2, w)):
                        marks[yy, xx] = True
                first, last = min(first, max(y - 1, 0)), max(last, min(y + 2, h))
            if z + h * w > cells.shape[0]:
                more = max(2 * cells.shape[0], z + h * w)
                grown, grown_values = np.empty(more, np.int32), np.empty(more, np.float32)
                grown[:z], grown_values[:z] = cells[:z], values[:z]
                cells, values = grown, grown_values
            for y in range(first, last):
                for x in range(w):
                    if marks[y, x]:
                        marks[y, x] = False
                        cells[z] = y * w + x
                        values[z] = plane[y * w + x, u]
                        z += 1
            unit[a] = u
            a += 1
            cell_starts[a] = z
        starts[b + 1] = a
    return starts, unit[:a].copy(), cell_starts[: a + 1].copy(), cells[:z].copy(), values[:z].copy()
