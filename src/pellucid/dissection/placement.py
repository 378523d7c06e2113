"""Where the cells of a layer lie on the label grid: for every label pixel the cell before it and how far it is to the next.

Activation maps are upsampled bilinearly, anchored at receptive-field centers; beyond the outermost centers the border
value is kept. Three anchors: ``"effective"`` (default; see `Geometry.effective`), ``"nominal"`` (the centers that kernel
sizes and paddings give), and ``"paper"``: label pixel (s // 2 + o + a t) / r for cell a, as Network Dissection computes it,
which lies half an input pixel below the center for even s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from pellucid.core.layers import Layer
from pellucid.dissection.kernels import Grid

Anchor = Literal["effective", "nominal", "paper"]


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of a label grid: ``low`` [pixel], the cell at or before it, and ``fraction`` [pixel] of the way to the next;
    ``begins`` [cell + 1]: pixels ``begins[a]`` to ``begins[a + 1] - 1`` lie between cell a and the next."""

    low: npt.NDArray[np.int64]
    fraction: npt.NDArray[np.float64]
    begins: npt.NDArray[np.int64]

    @classmethod
    def of(cls, cells: int, pixels: int, start: float, stride: float, extent: int, *, paper: bool) -> Axis:
        """``pixels`` label pixels over ``extent`` input pixels, ``cells`` cells from ``start`` on every ``stride``."""
        ratio = extent / pixels
        pixel = np.arange(pixels, dtype=np.float64)
        position = pixel * ratio if paper else (pixel + 0.5) * ratio - 0.5
        place = np.clip((position - start) / stride, 0, cells - 1)
        low = np.minimum(np.floor(place), max(cells - 2, 0)).astype(np.int64)
        return cls(low, place - low, np.searchsorted(low, np.arange(cells + 1)).astype(np.int64))


@dataclass(frozen=True, eq=False)
class Placement:
    """A layer's cells on the label grid, both axes."""

    rows: Axis
    columns: Axis
    cells: tuple[int, int]
    pixels: tuple[int, int]

    @cached_property
    def grid(self) -> Grid:
        """The same as the kernels take it."""
        rows, columns = self.rows, self.columns
        return Grid(*self.cells, rows.begins, rows.fraction, columns.begins, columns.fraction)

    @classmethod
    def of(
        cls, layer: Layer, input_size: tuple[int, int], pixels: tuple[int, int], anchor: Anchor = "effective"
    ) -> Placement:
        """``pixels``: (height, width) of the label grid over the whole input. Raises ValueError for another anchor."""
        if anchor not in get_args(Anchor):
            raise ValueError(f"Expected `anchor` to be one of {', '.join(get_args(Anchor))}, got {anchor!r}.")
        cells = layer.shape[1:]
        geometry = layer.geometry.effective(cells, input_size) if anchor == "effective" else layer.geometry
        axes = []
        for k in (0, 1):
            start = geometry.start[k]
            if anchor == "paper":  # s // 2 + o, where our start is (s - 1) / 2 + o
                start += 0.5 * (geometry.size[k] % 2 == 0)
            axes.append(
                Axis.of(
                    cells[k], pixels[k], start, geometry.stride[k], input_size[k], paper=anchor == "paper"
                )
            )
        return cls(axes[0], axes[1], cells, pixels)
