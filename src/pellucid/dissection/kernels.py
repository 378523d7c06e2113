"""The counting itself, compiled: which pixels are in a mask, and what is labeled there.

What makes it cheap, all of it exact: only cells near the threshold are visited (`pellucid.dissection.collecting`); a
row of pixels between two cells is monotone, so that the part of it in the mask is a run, whose end is near that of
the row before; labels are looked up once per run of pixels with the same combination of labels; what holds for a
whole picture is a multiplication of the mask's area.

Interpolation is done in float64 and rounded to float32 before it is compared, so that an implementation with another order
of operations meets the same integers; between corners that do not exceed the threshold no pixel is in the mask. Arithmetic is
plain (no fused or reordered operations). The literal twin is in ``tests/reference/dissection.py``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit


class Grid(NamedTuple):
    """Where cells lie on the label grid (`pellucid.dissection.placement`): the pixels ``rows[y]`` to ``rows[y + 1]`` lie between
    the cells y and y + 1, ``row_fraction`` [pixel] of the way to the next; the same of columns."""

    height: int
    width: int
    rows: Any
    row_fraction: Any
    columns: Any
    column_fraction: Any


class Maps(NamedTuple):
    """The active maps of some pictures: see `pellucid.dissection.collecting.collect`."""

    starts: Any
    unit: Any
    cell_starts: Any
    cells: Any
    values: Any


class Labels(NamedTuple):
    """The labels of some pictures: see `pellucid.dissection.labels.LabelBlock`; ``present`` [picture category]."""

    code: Any
    combos: Any
    combo_starts: Any
    combo_places: Any
    whole_starts: Any
    whole: Any
    present: Any


class Meetings(NamedTuple):
    """What meets what: masks at ``thresholds[0]`` [unit] meet their own picture's labels (slot 0) and those of the pictures
    ``partners`` [draw picture] (slots 3, 4, …); masks at ``thresholds[1]``, where there is one, their own picture's (slot
    ``split`` [picture])."""

    thresholds: Any
    split: Any
    partners: Any


class Sums(NamedTuple):
    """What is added up: ``intersection`` [slot unit concept] and ``activation`` [slot unit category]; of slot 0 also ``area``
    [active] and the rows (active, concept, pixels) of ``log``."""

    intersection: Any
    activation: Any
    area: Any
    log: Any


class Outlines(NamedTuple):
    """Masks that are wanted: ``place`` [active], where in ``masks`` [place h w], or −1."""

    place: Any
    masks: Any


class Targets(NamedTuple):
    """The mask at ``limits[limit_of[t]]`` meets ``codes[seen[t]]`` [h w]."""

    limits: Any
    codes: Any
    seen: Any
    limit_of: Any


class Found(NamedTuple):
    """Of one map: pixels ``hits`` [t code] and ``areas`` [limit], added to; ``outline`` [h w], set where the first limit is
    exceeded, unless it is empty."""

    hits: Any
    areas: Any
    outline: Any


@njit(cache=True, nogil=True)
def _interval(left: float, rise: float, fraction: Any, first: int, last: int, limit: Any, near: int) -> Any:
    """Where in ``first`` … ``last`` − 1 a row exceeds the limit, from and up to; and where it crosses the limit.

    A row is left + rise · fraction, rounded to float32: every operation is monotone in the fraction, so what exceeds the
    limit is one run at an end of the row. Its other end is looked for from ``near`` on, where the row before had it.
    """
    begins = np.float32(left + rise * fraction[first]) > limit
    ends = np.float32(left + rise * fraction[last - 1]) > limit
    if begins == ends:
        return first, (last if begins else first), near
    q = min(max(near, first + 1), last - 1)
    while q < last - 1 and (np.float32(left + rise * fraction[q]) > limit) == begins:
        q += 1
    while q > first + 1 and (np.float32(left + rise * fraction[q - 1]) > limit) != begins:
        q -= 1
    if begins:
        return first, q, q
    return q, last, q


@njit(cache=True, nogil=True)
def mask_counts(dense: Any, cells: Any, grid: Any, targets: Any, found: Any) -> None:
    """One map's mask at several thresholds against the labels of several pictures.

    ``dense`` [cell]: values at ``cells``, −∞ elsewhere; ``grid``, ``targets``, ``found``: see `Grid`, `Targets`, `Found`.
    """
    width, rows, columns, column_fraction = grid.width, grid.rows, grid.columns, grid.column_fraction
    limits, limit_of, outline = targets.limits, targets.limit_of, found.outline
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
            a, b = np.float64(dense[cell]), np.float64(dense[cell + step])
            c, d = np.float64(dense[below]), np.float64(dense[below + step])
            near = (first + last) // 2
            for p in range(rows[y], rows[y + 1]):
                left = a + (c - a) * grid.row_fraction[p]
                right = b + (d - b) * grid.row_fraction[p]
                if left <= limit and right <= limit and max(left, right) < limit - 1e-9 * abs(limit):
                    continue  # clearly below: no rounding brings it back
                begin, end, near = _interval(left, right - left, column_fraction, first, last, limit, near)
                if begin == end:
                    continue
                found.areas[j] += end - begin
                if j == 0 and outline.shape[0]:
                    outline[p, begin:end] = True
                for t in range(limit_of.shape[0]):
                    if limit_of[t] == j:
                        line, counted = targets.codes[targets.seen[t], p], found.hits[t]
                        here, run = line[begin], 0
                        for q in range(begin, end):  # runs of equal labels: one addition each
                            if line[q] != here:
                                counted[here] += run
                                here, run = line[q], 0
                            run += 1
                        counted[here] += run


@njit(cache=True, nogil=True)
def tally(maps: Any, grid: Any, labels: Any, meetings: Any, sums: Any, wanted: Any) -> int:
    """Count all active maps of some pictures: see `Maps`, `Grid`, `Labels`, `Meetings`, `Sums`, and `Outlines` for ``wanted``.

    Returns how many rows of the log are set.
    """
    starts, unit, cell_starts, cells = maps.starts, maps.unit, maps.cell_starts, maps.cells
    thresholds, split, partners = meetings.thresholds, meetings.split, meetings.partners
    intersection, log = sums.intersection, sums.log
    combos, combo_starts, whole_starts, whole = (
        labels.combos,
        labels.combo_starts,
        labels.whole_starts,
        labels.whole,
    )
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
    dense = np.full(grid.height * grid.width, -np.inf, np.float32)
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
                dense[mine[z]] = maps.values[cell_starts[n] + z]
            limits[:] = thresholds[:, u]
            areas[:] = 0
            outline = wanted.masks[wanted.place[n]] if wanted.place[n] >= 0 else nothing
            targets_here = Targets(limits, labels.code, seen, limit_of)
            mask_counts(dense, mine, grid, targets_here, Found(hits, areas, outline))
            for z in range(mine.shape[0]):
                dense[mine[z]] = -np.inf
            sums.area[n] = areas[0]
            for t in range(targets):
                size = areas[limit_of[t]]
                if size == 0:
                    continue
                s, other = slots[t], seen[t]
                for k in range(labels.present.shape[1]):
                    if labels.present[other, k]:
                        sums.activation[s, u, k] += size
                count = 0
                base = combos[other]
                hits[t, 0] = 0
                for k in range(1, combos[other + 1] - base - 1):
                    here = hits[t, k]
                    if here:
                        hits[t, k] = 0
                        for z in range(combo_starts[base + k], combo_starts[base + k + 1]):
                            place = labels.combo_places[z]
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
