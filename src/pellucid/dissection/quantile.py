"""Exact thresholds of all units from a stream of activation maps, in memory that does not grow with it.

T_k is the (m + 1)-th largest of the n values of unit k over all cells of all pictures, with m = floor(q n): at most the
share q of the values lies above it, and as near to q as ties allow.

`Bound` counts values by the first 13 bits of their floats (bins at most 6 % wide, in the order of numbers). The bin of
the (m + 1)-th largest value seen so far gives at every moment a lower bound of the final threshold, whatever the order and
the number of batches; what lies at or below it can be dropped. `Selection` picks the threshold from what was kept.
Source: Bau, Zhou, Khosla, Oliva, Torralba, CVPR 2017 (q = 0.005; the released code takes quantiles from a sketch).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pellucid.dissection.shards import Cells

Values = npt.NDArray[np.float32]
_SHIFT = 19  # 32 bits of a float less the 13 that are counted by
_BINS = 1 << (32 - _SHIFT)
_SIGN = 1 << 31


def count_above(quantile: float, total: int) -> int:
    """m = floor(q n), free of rounding: 0.005 means five thousandths."""
    return int(Fraction(str(quantile)) * total)


class Bound:
    """A lower bound of every unit's ``keep``-th largest value: ``low`` [unit]; only values above it can matter."""

    def __init__(self, units: int, keep: int) -> None:
        self.keep = keep
        self._counts = np.zeros((units, _BINS), np.int32)
        self._place = np.zeros(units, np.int64)
        self._above = np.zeros(units, np.int64)
        self.low = np.full(units, -np.inf, np.float32)

    def push(self, cells: Cells, chosen: npt.NDArray[np.bool_] | None = None) -> None:
        """Add the kept values of maps, or of the chosen [map] of them; what was not kept lay at or below ``low``."""
        taken = np.ones(len(cells.starts) - 1, np.bool_) if chosen is None else chosen
        _push_cells(
            cells.starts,
            cells.unit,
            cells.cell_starts,
            cells.values.view(np.uint32),
            taken,
            *self._state,
            self.keep,
        )
        self._set_low()

    def push_all(self, acts: Values, chosen: npt.NDArray[np.bool_] | None = None) -> None:
        """Add all values of maps [map unit h w], or of the chosen [map] of them."""
        taken = np.ones(len(acts), np.bool_) if chosen is None else chosen
        flat = acts.reshape(acts.shape[0], acts.shape[1], -1).view(np.uint32)
        _push_all(flat, taken, *self._state, self.keep)
        self._set_low()

    @property
    def bytes(self) -> int:
        """Memory it holds, whatever has been pushed."""
        return self._counts.nbytes

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All it has to remember, for `restore`."""
        return {"counts": self._counts, "place": self._place, "above": self._above}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a `state`."""
        for mine, theirs in zip(self._state, (state["counts"], state["place"], state["above"]), strict=True):
            mine[:] = theirs
        self._set_low()

    def raise_to(self, low: Values) -> None:
        """Take over a bound found elsewhere, where values at or below it were dropped."""
        self.low = np.maximum(self.low, low)
        above = np.nextafter(self.low, np.float32(np.inf))
        self._place[:] = np.where(np.isneginf(self.low), 0, _keys(above.view(np.uint32)) >> _SHIFT)
        for u, place in enumerate(self._place):
            self._above[u] = self._counts[u, place:].sum(dtype=np.int64)

    @property
    def _state(self) -> tuple[Any, Any, Any]:
        return self._counts, self._place, self._above

    def _set_low(self) -> None:
        """Just below the least number of the bin."""
        key = (self._place << _SHIFT) - 1
        bits = np.where(key >= _SIGN, key - _SIGN, ~key & 0xFFFFFFFF).astype(np.uint32)
        low = np.where(self._place > 0, bits.view(np.float32), -np.inf).astype(np.float32)
        self.low = np.where(np.isnan(low), np.float32(-np.inf), low)


class Selection:
    """Picks every unit's threshold from all values above a lower bound of it, ``low`` [unit]."""

    def __init__(self, low: Values) -> None:
        self.low, self.bytes = low, 0
        self._units: list[npt.NDArray[np.int32]] = []
        self._values: list[Values] = []

    def add(self, cells: Cells, chosen: npt.NDArray[np.bool_] | None = None) -> None:
        """Add the kept values of maps, or of the chosen [map] of them."""
        taken = np.ones(len(cells.starts) - 1, np.bool_) if chosen is None else chosen
        unit, value = _above(cells.starts, cells.unit, cells.cell_starts, cells.values, taken, self.low)
        self._units.append(unit)
        self._values.append(value)
        self.bytes += unit.nbytes + value.nbytes

    def threshold(self, rank: int) -> Values:
        """[unit]: the ``rank``-th largest value; the values are given free.

        Where fewer lie above the bound (a unit that is 0 nearly everywhere), it is the bound itself.
        """
        counts = np.sum([np.bincount(unit, minlength=len(self.low)) for unit in self._units], axis=0)
        edges = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        value, place = np.empty(edges[-1], np.float32), edges[:-1].copy()
        while self._units:  # given free one by one
            _sort_in(self._units.pop(), self._values.pop(), place, value)
        found = self.low.copy()
        for u in range(len(found)):
            mine = value[edges[u] : edges[u + 1]]
            if len(mine) >= rank:
                found[u] = np.partition(mine, len(mine) - rank)[len(mine) - rank]
        return np.asarray(found + np.float32(0))  # no negative zero


def _keys(bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """Whole numbers in the order of the floats with these bits."""
    wide = bits.astype(np.int64)
    return np.where(wide >= _SIGN, 0xFFFFFFFF - wide, wide + _SIGN)


@njit(cache=True, nogil=True)
def _bin(bits: Any) -> int:
    wide = np.int64(bits)
    key = 0xFFFFFFFF - wide if wide >= _SIGN else wide + _SIGN
    return int(key >> _SHIFT)


@njit(cache=True, nogil=True)
def _advance(counts: Any, place: Any, above: Any, u: int, keep: int) -> None:
    while above[u] - counts[u, place[u]] >= keep:
        above[u] -= counts[u, place[u]]
        place[u] += 1


@njit(cache=True, nogil=True)
def _push_cells(
    starts: Any,
    unit: Any,
    cell_starts: Any,
    bits: Any,
    chosen: Any,
    counts: Any,
    place: Any,
    above: Any,
    keep: int,
) -> None:
    for b in range(starts.shape[0] - 1):
        if chosen[b]:
            for a in range(starts[b], starts[b + 1]):
                u = unit[a]
                for z in range(cell_starts[a], cell_starts[a + 1]):
                    k = _bin(bits[z])
                    if k >= place[u]:
                        counts[u, k] += 1
                        above[u] += 1
                _advance(counts, place, above, u, keep)


@njit(cache=True, nogil=True)
def _push_all(bits: Any, chosen: Any, counts: Any, place: Any, above: Any, keep: int) -> None:
    for b in range(bits.shape[0]):
        if chosen[b]:
            for u in range(bits.shape[1]):
                for i in range(bits.shape[2]):
                    k = _bin(bits[b, u, i])
                    if k >= place[u]:
                        counts[u, k] += 1
                        above[u] += 1
                _advance(counts, place, above, u, keep)


@njit(cache=True, nogil=True)
def _above(starts: Any, unit: Any, cell_starts: Any, values: Any, chosen: Any, low: Any) -> Any:
    """Unit and value of all kept values of the chosen maps above the bound."""
    units = np.empty(values.shape[0], np.int32)
    kept = np.empty(values.shape[0], np.float32)
    n = 0
    for b in range(starts.shape[0] - 1):
        if chosen[b]:
            for a in range(starts[b], starts[b + 1]):
                for z in range(cell_starts[a], cell_starts[a + 1]):
                    if values[z] > low[unit[a]]:
                        units[n] = unit[a]
                        kept[n] = values[z]
                        n += 1
    return units[:n].copy(), kept[:n].copy()


@njit(cache=True, nogil=True)
def _sort_in(unit: Any, value: Any, place: Any, out: Any) -> None:
    """Put every value where its unit's next one goes."""
    for n in range(unit.shape[0]):
        out[place[unit[n]]] = value[n]
        place[unit[n]] += 1
