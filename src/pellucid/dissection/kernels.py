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
    """Label maps [map h w] of numbers as one map of combinations: pixels with the same labels have the same code.

    ``place_of`` [number]: a concept's place in the set, −1 for none; ``whole``: places that hold everywhere; ``scratch``
    [concept], zero before and after. Returns ``code`` [h w] (0 where nothing is labeled), ``combo_starts`` [code + 1] into
    ``combo_places``, the ``places`` that occur, and how many pixels each has. A concept named twice at a pixel is kept once;
    what holds everywhere is not named again.
    """
    layers, h, w = maps.shape
    local = np.zeros((h * w, layers), np.int32)
    places = np.zeros(scratch.shape[0], np.int32)
    pixels = np.zeros(scratch.shape[0], np.int64)
    found = 0
    for place in whole:
        scratch[place] = -1
    for i in range(h * w):
        filled = 0
        for m in range(layers):
            place = place_of[maps[m, i // w, i % w]]
            if place < 0 or scratch[place] < 0:
                continue
            if scratch[place] == 0:
                places[found] = place
                found += 1
                scratch[place] = found
            here = scratch[place]
            again = False
            for other in range(filled):
                again |= local[i, other] == here
            if not again:
                local[i, filled] = here
                filled += 1
                pixels[here - 1] += 1
    for n in range(found):
        scratch[places[n]] = 0
    for place in whole:
        scratch[place] = 0
    code, shown = _codes(local)
    combo_starts = np.zeros(shown.shape[0] + 1, np.int64)
    combo_places = np.empty(shown.shape[0] * layers, np.int32)
    n = 0
    for k in range(shown.shape[0]):
        for m in range(layers):
            if shown[k] >= 0 and local[shown[k], m]:
                combo_places[n] = places[local[shown[k], m] - 1]
                n += 1
        combo_starts[k + 1] = n
    return (
        code.reshape(h, w),
        combo_starts,
        combo_places[:n].copy(),
        places[:found].copy(),
        pixels[:found].copy(),
    )


@njit(cache=True, nogil=True)
def _codes(local: Any) -> Any:
    """A number for every different row of [pixel map], 0 for rows of zeros, and a pixel that shows it (−1 for 0)."""
    pixels, layers = local.shape
    code = np.zeros(pixels, np.int32)
    shown = np.full(pixels + 1, -1, np.int64)
    heads = np.full(4096, -1, np.int64)
    chain = np.full(pixels + 1, -1, np.int64)
    count = 1
    for i in range(pixels):
        if layers == 0 or local[i, 0] == 0:
            continue
        if i and code[i - 1] and _equal(local, i, i - 1):
            code[i] = code[i - 1]
            continue
        mixed = 0
        for m in range(layers):
            mixed = (mixed * 31 + local[i, m]) & 4095
        k = heads[mixed]
        while k >= 0 and not _equal(local, i, shown[k]):
            k = chain[k]
        if k < 0:
            k = count
            shown[k] = i
            chain[k] = heads[mixed]
            heads[mixed] = k
            count += 1
        code[i] = k
    return code, shown[:count].copy()


@njit(cache=True, nogil=True)
def _equal(local: Any, i: int, j: int) -> bool:
    for m in range(local.shape[1]):  # noqa: SIM110
        if local[i, m] != local[j, m]:
            return False
    return True


@njit(cache=True, nogil=True)
def _interval(left: float, rise: float, fraction: Any, first: int, last: int, limit: Any) -> Any:
    """Where in ``first`` … ``last`` − 1 a row exceeds the limit, from and up to.

    A row is left + rise · fraction, rounded to float32: every operation is monotone in the fraction, so what exceeds the
    limit is one run at an end of the row, and bisection finds where it stops.
    """
    begins = np.float32(left + rise * fraction[first]) > limit
    ends = np.float32(left + rise * fraction[last - 1]) > limit
    if begins and ends:
        return first, last
    if not begins and not ends:
        return first, first
    low, high = first, last - 1
    while high - low > 1:
        middle = (low + high) // 2
        if (np.float32(left + rise * fraction[middle]) > limit) == begins:
            low = middle
        else:
            high = middle
    return (first, high) if begins else (high, last)


@njit(cache=True, nogil=True)
def mask_counts(
    dense: Any, cells: Any, width: int, rows: Any, row_fraction: Any, columns: Any, column_fraction: Any,
    limits: Any, codes: Any, seen: Any, limit_of: Any, hits: Any, areas: Any, outline: Any,
) -> None:  # fmt: skip
    """One map's mask at several thresholds against the labels of several pictures.

    ``dense`` [cell]: values at ``cells``, −∞ elsewhere. The mask at ``limits[limit_of[t]]`` meets ``codes[seen[t]]`` [h w].
    Adds to ``hits`` [t code] and ``areas`` [limit]; sets ``outline`` [h w] where the first limit is exceeded, unless it is
    empty.
    """
    height = dense.shape[0] // width
    y = 0
    for cell in cells:
        while cell >= (y + 1) * width:
            y += 1
        x = cell - y * width
        first, last = columns[x], columns[x + 1]
        if rows[y] == rows[y + 1] or first == last:
            continue
        below = cell + width if y + 1 < height else cell
        step = 1 if x + 1 < width else 0
        most = max(max(dense[cell], dense[cell + step]), max(dense[below], dense[below + step]))
        for j in range(limits.shape[0]):
            limit = limits[j]
            if not most > limit:
                continue
            a, b = float(dense[cell]), float(dense[cell + step])
            c, d = float(dense[below]), float(dense[below + step])
            for p in range(rows[y], rows[y + 1]):
                left = a + (c - a) * row_fraction[p]
                right = b + (d - b) * row_fraction[p]
                if left <= limit and right <= limit and max(left, right) < limit - 1e-9 * abs(limit):
                    continue  # clearly below: no rounding brings it back
                begin, end = _interval(left, right - left, column_fraction, first, last, limit)
                if begin == end:
                    continue
                areas[j] += end - begin
                if j == 0 and outline.shape[0]:
                    outline[p, begin:end] = True
                for t in range(limit_of.shape[0]):
                    if limit_of[t] == j:
                        line, counted = codes[seen[t], p], hits[t]
                        here, run = line[begin], 0
                        for q in range(begin, end):  # runs of equal labels: one addition each
                            if line[q] != here:
                                counted[here] += run
                                here, run = line[q], 0
                            run += 1
                        counted[here] += run


@njit(cache=True, nogil=True)
def tally(
    starts: Any, unit: Any, cell_starts: Any, cells: Any, values: Any, height: int, width: int,
    rows: Any, row_fraction: Any, columns: Any, column_fraction: Any, thresholds: Any, split: Any, partners: Any,
    code: Any, combos: Any, combo_starts: Any, combo_places: Any, whole_starts: Any, whole: Any, present: Any,
    intersection: Any, activation: Any, area: Any, log: Any, outline_of: Any, outlines: Any,
) -> int:  # fmt: skip
    """Count all active maps of some pictures (``starts`` … ``values``: see `collect`; ``code`` … ``whole``: see `LabelBlock`).

    Masks at ``thresholds[0]`` [unit] meet their own picture's labels (slot 0 of ``intersection`` [slot unit concept] and
    ``activation`` [slot unit category]) and those of the pictures ``partners`` [draw picture] (slots 3, 4, …); masks at
    ``thresholds[1]``, where there is one, their own picture's (slot ``split`` [picture]). ``present`` [picture category].
    For slot 0, ``area`` [active] and the rows (active, concept, pixels) of ``log`` are set; returns how many rows.
    ``outline_of`` [active]: where in ``outlines`` [place h w] the mask is wanted, or −1.
    """
    pictures = starts.shape[0] - 1
    parted = thresholds.shape[0] > 1
    targets = 1 + parted + partners.shape[0]
    limit_of = np.zeros(targets, np.int64)
    slots = np.zeros(targets, np.int64)
    seen = np.zeros(targets, np.int64)
    for t in range(1 + parted, targets):
        slots[t] = 3 + t - 1 - parted
    most_codes = 1
    for i in range(pictures):
        most_codes = max(most_codes, combos[i + 1] - combos[i])
    hits = np.zeros((targets, most_codes), np.int64)
    areas = np.zeros(thresholds.shape[0], np.int64)
    limits = np.zeros(thresholds.shape[0], np.float32)
    met = np.zeros(intersection.shape[2], np.int64)
    touched = np.zeros(intersection.shape[2], np.int64)
    nothing = np.zeros((0, 0), np.bool_)
    dense = np.full(height * width, -np.inf, np.float32)
    logged = 0
    for i in range(pictures):
        seen[:] = i
        if parted:
            limit_of[1], slots[1] = 1, split[i]
        for t in range(1 + parted, targets):
            seen[t] = partners[t - 1 - parted, i]
        for n in range(starts[i], starts[i + 1]):
            u = unit[n]
            mine = cells[cell_starts[n] : cell_starts[n + 1]]
            for z in range(mine.shape[0]):
                dense[mine[z]] = values[cell_starts[n] + z]
            limits[:] = thresholds[:, u]
            areas[:] = 0
            outline = outlines[outline_of[n]] if outline_of[n] >= 0 else nothing
            mask_counts(
                dense, mine, width, rows, row_fraction, columns, column_fraction,
                limits, code, seen, limit_of, hits, areas, outline,
            )  # fmt: skip
            for z in range(mine.shape[0]):
                dense[mine[z]] = -np.inf
            area[n] = areas[0]
            for t in range(targets):
                size = areas[limit_of[t]]
                if size == 0:
                    continue
                s, other = slots[t], seen[t]
                for k in range(present.shape[1]):
                    if present[other, k]:
                        activation[s, u, k] += size
                count = 0
                base = combos[other]
                hits[t, 0] = 0
                for k in range(1, combos[other + 1] - base - 1):
                    here = hits[t, k]
                    if here:
                        hits[t, k] = 0
                        for z in range(combo_starts[base + k], combo_starts[base + k + 1]):
                            place = combo_places[z]
                            if met[place] == 0:
                                touched[count] = place
                                count += 1
                            met[place] += here
                for z in range(whole_starts[other], whole_starts[other + 1]):
                    touched[count] = whole[z]
                    count += 1
                    met[whole[z]] = size
                for k in range(count):
                    place = touched[k]
                    intersection[s, u, place] += met[place]
                    if t == 0 and log.shape[0]:
                        log[logged, 0], log[logged, 1], log[logged, 2] = n, place, met[place]
                        logged += 1
                    met[place] = 0
    return logged
