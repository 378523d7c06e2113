"""Labels on the label grid, as counting wants them: one number per pixel for the combination of concepts that is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.int32]
Places = npt.NDArray[np.int32]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LocalLabels:
    """Labels of one picture: ``code`` [h w], a number for every combination of concepts (0: none); combination k is
    ``combo_places[combo_starts[k] : combo_starts[k + 1]]``; ``places``: the concepts that occur somewhere, ``pixels`` of
    each; ``whole``: those that hold everywhere. Concepts are places in the set."""

    code: Codes
    combo_starts: Whole
    combo_places: Places
    places: Places
    pixels: Whole
    whole: Places


@dataclass(frozen=True, eq=False)
class LabelBlock:
    """Labels of several pictures in plain arrays, one picture after the other.

    ``code`` [picture h w]; the combinations of picture i start at ``combo_starts[combos[i]:combos[i + 1]]`` in
    ``combo_places``; its concepts are those of ``label_starts[i]:label_starts[i + 1]`` in ``places`` with ``pixels``, and of
    ``whole_starts[i]:whole_starts[i + 1]`` in ``whole``.
    """

    code: Codes
    combos: Whole
    combo_starts: Whole
    combo_places: Places
    label_starts: Whole
    places: Places
    pixels: Whole
    whole_starts: Whole
    whole: Places

    def __len__(self) -> int:
        return len(self.code)

    @classmethod
    def of(cls, labels: Sequence[LocalLabels]) -> LabelBlock:
        """The labels of some pictures."""
        if not labels:
            no, one = np.zeros(0, np.int32), np.zeros(1, np.int64)
            return cls(np.zeros((0, 0, 0), np.uint8), one, one[:0], no, one, no, one[:0], one, no)
        shift = _starts([len(one.combo_places) for one in labels])
        kind = np.result_type(*(one.code.dtype for one in labels))
        return cls(
            np.stack([one.code for one in labels]).astype(kind),
            _starts([len(one.combo_starts) for one in labels]),
            np.concatenate([one.combo_starts + first for one, first in zip(labels, shift, strict=False)]),
            np.concatenate([one.combo_places for one in labels]),
            _starts([len(one.places) for one in labels]),
            np.concatenate([one.places for one in labels]),
            np.concatenate([one.pixels for one in labels]),
            _starts([len(one.whole) for one in labels]),
            np.concatenate([one.whole for one in labels]),
        )

    def one(self, picture: int) -> LocalLabels:
        """The labels of one picture."""
        starts = self.combo_starts[self.combos[picture] : self.combos[picture + 1]]
        mine = slice(*self.label_starts[picture : picture + 2])
        return LocalLabels(
            self.code[picture],
            starts - starts[0],
            self.combo_places[starts[0] : starts[-1]],
            self.places[mine],
            self.pixels[mine],
            self.whole[slice(*self.whole_starts[picture : picture + 2])],
        )

    def rows(self) -> Whole:
        """(picture, concept, pixels) of everything that is labeled."""
        everywhere = self.code.shape[1] * self.code.shape[2]
        parts = [
            (_owners(self.label_starts), self.places, self.pixels),
            (_owners(self.whole_starts), self.whole, np.full(len(self.whole), everywhere)),
        ]
        return np.concatenate([np.stack(part, 1) for part in parts]).astype(np.int64)

    def present(self, category_of: Whole, categories: int) -> npt.NDArray[np.bool_]:
        """[picture category]: does some concept of the category occur?"""
        found = np.zeros((len(self), categories), np.bool_)
        rows = self.rows()
        found[rows[:, 0], category_of[rows[:, 1]]] = True
        return found


def _starts(sizes: Sequence[int]) -> Whole:
    return np.cumsum([0, *sizes]).astype(np.int64)


def _owners(starts: Whole) -> Any:
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


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
