"""How sure an IoU is: percentile intervals from drawing the pictures again with replacement.

Every picture gets, in every draw, a Poisson(1) weight: how often it was drawn. The weights follow from the seed and the
picture's number alone, so that order and sharding change nothing.
Source: B. Efron 1979; Poisson weights: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Whole = npt.NDArray[np.int64]


def weights(indices: npt.NDArray[np.int64], draws: int, seed: int) -> npt.NDArray[np.int64]:
    """[picture draw], how often each picture is drawn."""
    found = np.empty((len(indices), draws), np.int64)
    for row, index in zip(found, indices, strict=True):
        row[:] = np.random.Generator(np.random.Philox(key=[seed, int(index)])).poisson(1.0, draws)
    return found


class Intervals:
    """Bootstrap of the IoU of chosen pairs: ``ranking`` [unit rank], the concepts in question of every unit."""

    def __init__(self, ranking: Whole, category_of: Whole, draws: int) -> None:
        concepts = len(category_of)
        self.ranking, self.category_of = ranking, category_of
        self._rank = np.full((len(ranking), concepts), -1, np.int64)
        np.put_along_axis(self._rank, ranking, np.arange(ranking.shape[1])[None], 1)
        self._intersection = np.zeros((*ranking.shape, draws), np.int64)
        self._activation = np.zeros((*ranking.shape, draws), np.int64)
        self._truth = np.zeros((concepts, draws), np.int64)

    def add(self, log: Any, drawn: npt.NDArray[np.int64]) -> None:
        """Add some pictures, with their weights ``drawn`` [picture draw].

        ``log``: rows ``active`` (picture, unit, area) of every active map, ``met`` (place in ``active``, concept, pixels) of
        every concept it meets, ``labeled`` (picture, concept, pixels), and ``present`` [picture category].
        """
        _add(
            log["active"], log["met"], log["labeled"], log["present"], drawn, self.ranking, self.category_of, self._rank,
            self._intersection, self._activation, self._truth,
        )  # fmt: skip

    def limits(self, level: float = 0.95) -> npt.NDArray[np.float64]:
        """[unit rank 2], the percentile interval."""
        union = self._activation + self._truth[self.ranking] - self._intersection
        iou = np.divide(self._intersection, union, out=np.zeros(union.shape), where=union > 0)
        tail = (1 - level) / 2
        return np.moveaxis(np.quantile(iou, [tail, 1 - tail], axis=2), 0, 2)


@njit(cache=True, nogil=True)
def _add(
    active: Any, met: Any, labeled: Any, present: Any, drawn: Any, ranking: Any, category_of: Any, rank: Any,
    intersection: Any, activation: Any, truth: Any,
) -> None:  # fmt: skip
    for n in range(active.shape[0]):
        picture, u, area = active[n, 0], active[n, 1], active[n, 2]
        for r in range(ranking.shape[1]):
            if present[picture, category_of[ranking[u, r]]]:
                for d in range(drawn.shape[1]):
                    activation[u, r, d] += drawn[picture, d] * area
    for n in range(met.shape[0]):
        picture, u = active[met[n, 0], 0], active[met[n, 0], 1]
        r = rank[u, met[n, 1]]
        if r >= 0:
            for d in range(drawn.shape[1]):
                intersection[u, r, d] += drawn[picture, d] * met[n, 2]
    for n in range(labeled.shape[0]):
        for d in range(drawn.shape[1]):
            truth[labeled[n, 1], d] += drawn[labeled[n, 0], d] * labeled[n, 2]
