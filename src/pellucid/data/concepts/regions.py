"""Regions of a picture as masks: COCO's run lengths and polygons, rectangles, disks.

A pixel belongs to a region when its center (x + ½, y + ½) lies in it; the left and upper border belong to it, the right and
lower do not, so that regions that touch share no pixel. COCO's own tool rasterizes polygons at five times the size and
rounds; the two differ in pixels of the outline.

Run lengths go down the columns, unlabeled first. COCO's compressed text holds, from the third run on, the difference to
the run two before; each as groups of five bits, lowest first, plus 48 as a character, 32 marking that more follow, the
sixteens bit of the last one being the sign. Source of both: the COCO API of Lin et al., ECCV 2014 (format only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.data.concepts.base import LabelError
from pellucid.data.concepts.maps import Mask

Points = npt.NDArray[np.floating[Any]]


def decode_runs(counts: str | bytes | Sequence[int], height: int, width: int) -> Mask:
    """COCO's run lengths, plain or compressed, as a mask [h w].

    Raises LabelError when they do not fill the picture.

    >>> decode_runs("231N", 1, 7).astype(int).tolist()
    [[0, 0, 1, 1, 1, 0, 1]]
    """
    try:
        runs = np.asarray(_expanded(counts) if isinstance(counts, (str, bytes)) else list(counts), np.int64)
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise LabelError(
            f"Expected run lengths, got what cannot be read ({error}); try to copy the file again"
        ) from error
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != height * width:
        raise LabelError(
            f"Expected run lengths that add up to {height} × {width} = {height * width} pixels, got {runs.sum()} in "
            f"{len(runs)} runs; try to copy the file again"
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _expanded(text: str | bytes) -> list[int]:
    content = text.encode("ascii") if isinstance(text, str) else text
    runs: list[int] = []
    value = shift = 0
    for byte in content:
        group = byte - 48
        if not 0 <= group < 64:
            raise ValueError(f"the character {chr(byte)!r}")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("an unfinished number")
    return runs


def paint_polygon(mask: Mask, points: Points) -> None:
    """Add a polygon, points [n 2] of (x, y), to a mask [h w]; inside is what a line from the left enters an odd number of
    times."""
    height, width = mask.shape
    x0, y0 = np.clip(np.asarray(points, np.float64).T, -1e9, 1e9)
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    # an edge crosses the centers of rows first…last-1
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(np.intp)
    last = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(np.intp)
    lengths = last - first
    edge = np.repeat(np.arange(len(lengths)), lengths)
    if not len(edge):
        return
    row = np.arange(len(edge)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[edge]
    crossing = x0[edge] + (row + 0.5 - y0[edge]) * ((x1 - x0)[edge] / (y1 - y0)[edge])
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.intp)
    top, left, bottom, right = row.min(), column.min(), row.max() + 1, column.max()
    if right > left:
        span = right - left + 1
        count = np.bincount((row - top) * span + column - left, minlength=(bottom - top) * span)
        inside = count.reshape(bottom - top, span).cumsum(axis=1) % 2 == 1
        mask[top:bottom, left:right] |= inside[:, :-1]


def rectangle(shape: tuple[int, int], left: float, top: float, right: float, bottom: float) -> Mask:
    """A mask [h w] of the pixels whose centers lie in a box; of at least one pixel where the box touches the picture."""
    mask = np.zeros(shape, np.bool_)
    x, y = _range(left, right, shape[1]), _range(top, bottom, shape[0])
    mask[y, x] = True
    return mask


def _range(first: float, last: float, size: int) -> slice:
    start, stop = int(np.ceil(first - 0.5)), int(np.ceil(last - 0.5))
    if stop <= start and last >= first:  # thinner than a pixel
        start = int(np.floor(first))
        stop = start + 1
    return slice(max(start, 0), max(stop, 0)) if start < size else slice(0, 0)


def disk(shape: tuple[int, int], x: float, y: float, radius: float) -> Mask:
    """A mask [h w] of the pixels whose centers are at most ``radius`` from (x, y)."""
    rows = np.arange(shape[0]) + 0.5 - y
    columns = np.arange(shape[1]) + 0.5 - x
    inside: Mask = rows[:, None] ** 2 + columns**2 <= radius**2
    return inside
