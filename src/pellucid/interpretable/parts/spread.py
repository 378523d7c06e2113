"""How far a filter's distance to a landmark spreads over the pictures that activate it most, compiled, also of bootstraps.

    d = |landmark − position| / diagonal;  D = √(Σ (d − mean d)² / (n − 1)) over the first n ≤ most pictures by activation

Pictures in which a filter has no position (the same value everywhere) are passed over.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]


def distances(
    vertical: npt.NDArray[Any], horizontal: npt.NDArray[Any], landmarks: Floats, size: tuple[int, int]
) -> Floats:
    """d [picture filter] between positions [picture filter] and ``landmarks`` [picture 2] (x, y); ``size``: (height, width)."""
    down, across = vertical - landmarks[:, 1:], horizontal - landmarks[:, :1]
    return np.asarray(np.sqrt(down**2 + across**2) / np.hypot(*size))


def spread(
    distance: Floats, valid: npt.NDArray[np.bool_], maxima: npt.NDArray[Any], most: int, fewest: int
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """D [filter] and the number of pictures [filter] it was measured on; NaN for fewer than ``fewest``.

    ``distance``, ``valid``, ``maxima``: [picture filter]. Of equal activations the earlier picture comes first.
    """
    found, used = _spread(distance, valid, _order(maxima), most)
    return np.where(used >= fewest, found, np.nan), used


def spread_draws(
    distance: Floats,
    valid: npt.NDArray[np.bool_],
    maxima: npt.NDArray[Any],
    most: int,
    fewest: int,
    drawn: npt.NDArray[np.int64],
) -> Floats:
    """D [draw filter] when picture i comes ``drawn`` [picture draw] times; NaN for fewer than ``fewest`` pictures in all.

    A sample drawn from n pictures spreads less than they do, by √((n − 1) / n) on average; that is made good.
    """
    found = np.asarray(_draws(distance, valid, _order(maxima), most, fewest, drawn))
    pictures = np.maximum(np.minimum(valid.sum(0), most), 2)
    return np.asarray(found * np.sqrt(pictures / (pictures - 1)))


def _order(maxima: npt.NDArray[Any]) -> Any:
    return np.argsort(-maxima, axis=0, kind="stable")


@njit(cache=True, nogil=True)
def _spread(distance: Any, valid: Any, order: Any, most: int) -> Any:
    pictures, filters = distance.shape
    found = np.full(filters, np.nan)
    used = np.zeros(filters, np.int64)
    taken = np.empty(most, np.float64)
    for u in range(filters):
        n = 0
        for z in range(pictures):
            i = order[z, u]
            if valid[i, u] and n < most:
                taken[n] = distance[i, u]
                n += 1
        used[u] = n
        if n > 1:
            mean = taken[:n].mean()
            found[u] = np.sqrt(((taken[:n] - mean) ** 2).sum() / (n - 1))
    return found, used


@njit(cache=True, nogil=True)
def _draws(distance: Any, valid: Any, order: Any, most: int, fewest: int, drawn: Any) -> Any:
    pictures, filters = distance.shape
    draws = drawn.shape[1]
    found = np.full((draws, filters), np.nan)
    for u in range(filters):
        count = np.zeros(draws, np.int64)
        total = np.zeros(draws)
        squares = np.zeros(draws)
        full = 0
        for z in range(pictures):
            i = order[z, u]
            if not valid[i, u]:
                continue
            shifted = distance[i, u] - distance[order[0, u], u]  # near 0: sums of squares lose little
            for d in range(draws):
                times = min(drawn[i, d], most - count[d])
                if times > 0:
                    count[d] += times
                    total[d] += times * shifted
                    squares[d] += times * shifted * shifted
                    full += count[d] == most
            if full == draws:
                break
        for d in range(draws):
            if count[d] >= fewest:
                spared = squares[d] - total[d] * total[d] / count[d]
                found[d, u] = np.sqrt(max(spared, 0.0) / (count[d] - 1))
    return found
