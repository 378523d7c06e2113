"""How much of every part the regions of active filters cover, picture by picture, compiled.

``upsampled``: a region is where the bilinearly interpolated map exceeds its threshold, counted as in dissection. ``boxes``: a
region is the union of boxes around the valid cells; boxes of one row of cells are equally high, of one column equally wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pellucid.core.layers import Layer
from pellucid.dissection.kernels import Found, Targets, mask_counts
from pellucid.dissection.placement import Placement
from pellucid.interpretable.parts.settings import Anchor, Region

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reach:
    """What the cells of a layer stand for on a grid: the axes of interpolation, and boxes as [cell 2], first and end."""

    placement: Placement
    rows: Whole
    columns: Whole

    @classmethod
    def of(
        cls,
        layer: Layer,
        input_size: tuple[int, int],
        grid: tuple[int, int],
        anchor: Anchor,
        region: Region,
        field: float = 1.0,
    ) -> Reach:
        """For a grid of (height, width) over an input of ``input_size``; ``field``: see `PartSettings`."""
        cells = (layer.shape[1], layer.shape[2])
        geometry = layer.geometry.effective(cells, input_size) if anchor == "effective" else layer.geometry
        sides = geometry.stride if region == "cells" else geometry.size
        if region == "effective-field":  # a cell stands at least for its own patch
            sides = (max(field * sides[0], geometry.stride[0]), max(field * sides[1], geometry.stride[1]))
        spans = []
        for axis in (0, 1):
            center = geometry.start[axis] + np.arange(cells[axis]) * geometry.stride[axis]
            # in edges of input pixels, then of the grid's; a grid pixel belongs to the box that holds its center
            ends = center[:, None] + 0.5 + np.array([-0.5, 0.5]) * sides[axis]
            ends = ends * grid[axis] / input_size[axis]
            spans.append(np.clip(np.ceil(ends - 0.5), 0, grid[axis]).astype(np.int64))
        return cls(Placement.of(layer, input_size, grid, anchor), spans[0], spans[1])

    def upsampled(
        self, one: tuple[Any, Any, Any, Any], limits: Any, codes: Any, means: Any
    ) -> tuple[Whole, Whole]:
        """Areas [map] of the regions, and the pixels [map part] they share with every part.

        ``one``: a picture's active maps (see `Cells.one`); ``limits`` [filter]; ``codes`` [h w] and what they mean,
        ``means`` [code part]: see `Labels`.
        """
        area, hits = _upsampled(*one, limits, codes, len(means), self.placement.grid)
        return area, hits @ means.astype(np.int64)

    def boxes(
        self, one: tuple[Any, Any, Any, Any], limits: Any, codes: Any, means: Any
    ) -> tuple[Whole, Whole]:
        """As `upsampled`, for the union of boxes around the cells above the threshold."""
        masks = means.T[:, codes]
        before = np.zeros((masks.shape[0], codes.shape[0], codes.shape[1] + 1), np.int64)
        np.cumsum(masks, axis=2, out=before[:, :, 1:])
        area, met = _boxes(*one, limits, before, self.placement.cells[1], self.rows, self.columns)
        return area, met


@njit(cache=True, nogil=True)
def _upsampled(
    unit: Any, starts: Any, cells: Any, values: Any, limits: Any, codes: Any, count: int, grid: Any
) -> Any:
    active = unit.shape[0]
    area = np.zeros(active, np.int64)
    hits = np.zeros((active, count), np.int64)
    dense = np.full(grid.height * grid.width, -np.inf, np.float32)
    limit = np.zeros(1, np.float32)
    nothing = np.zeros((0, 0), np.bool_)
    none = np.zeros(1, np.int64)
    labels = codes.reshape(1, codes.shape[0], codes.shape[1])
    for n in range(active):
        mine = cells[starts[n] : starts[n + 1]]
        for z in range(mine.shape[0]):
            dense[mine[z]] = values[starts[n] + z]
        limit[0] = limits[unit[n]]
        targets = Targets(limit, labels, none, none)
        mask_counts(dense, mine, grid, targets, Found(hits[n : n + 1], area[n : n + 1], nothing))
        for z in range(mine.shape[0]):
            dense[mine[z]] = -np.inf
    return area, hits


@njit(cache=True, nogil=True)
def _boxes(
    unit: Any,
    starts: Any,
    cells: Any,
    values: Any,
    limits: Any,
    before: Any,
    width: int,
    rows: Any,
    columns: Any,
) -> Any:
    """``before`` [part h w + 1]: pixels of a part to the left of every column."""
    parts, high = before.shape[0], before.shape[1]
    active = unit.shape[0]
    area = np.zeros(active, np.int64)
    met = np.zeros((active, parts), np.int64)
    chosen = np.empty(rows.shape[0] * columns.shape[0], np.int64)
    held = np.zeros(columns.shape[0], np.bool_)
    for n in range(active):
        valid = 0
        for z in range(starts[n], starts[n + 1]):
            if values[z] > limits[unit[n]]:
                chosen[valid] = cells[z]
                valid += 1
        for y in range(high):
            held[:] = False
            some = False
            for v in range(valid):
                row = chosen[v] // width
                if rows[row, 0] <= y < rows[row, 1]:
                    held[chosen[v] % width] = True
                    some = True
            if not some:
                continue
            end = 0  # boxes begin and end in the order of their columns
            for x in range(held.shape[0]):
                if held[x]:
                    begin = max(columns[x, 0], end)
                    if columns[x, 1] > begin:
                        end = columns[x, 1]
                        area[n] += end - begin
                        for k in range(parts):
                            met[n, k] += before[k, y, end] - before[k, y, begin]
    return area, met
