"""From what one pass gathered to the table of a layer: thresholds, overlaps, spreads, what chance gives, and bootstraps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pellucid.core.layers import Layer
from pellucid.dissection.bootstrap import weights
from pellucid.interpretable.parts.gathering import Gathering, partners
from pellucid.interpretable.parts.overlap import Reach
from pellucid.interpretable.parts.settings import PartSettings
from pellucid.interpretable.parts.spread import distances, spread, spread_draws
from pellucid.interpretable.parts.table import (
    Examples,
    Floats,
    PartTable,
    Whole,
    best_part,
    mean_by_class,
    smallest,
)


class LayerCount:
    """Makes the table of one layer."""

    def __init__(self, layer: Layer, gathering: Gathering, settings: PartSettings) -> None:
        self.layer, self.gathering, self.settings = layer, gathering, settings
        source = gathering.source
        self.keys = source.keys
        self.classes = tuple(dict.fromkeys(key.object_class for key in self.keys))
        self.class_of = np.array([self.classes.index(key.object_class) for key in self.keys], np.int64)
        self.kind = np.array([self.classes.index(kind) for kind in gathering.kinds], np.int64)
        self.first = np.array([int((self.class_of < k).sum()) for k in range(len(self.classes))], np.int64)
        peaks = gathering.peaks[layer.name]
        self.maxima, self.cells = np.concatenate(peaks.maxima), np.concatenate(peaks.cells)
        self.partners = partners(gathering.kinds, settings.draws)
        self.landmarks = self._landmarks()
        self.shown = self._shown()
        self.drawn = weights(np.array(gathering.used, np.int64), settings.resamples, settings.seed)

    def table(self, about: Mapping[str, Any]) -> PartTable:
        """All of it."""
        gathering, settings = self.gathering, self.settings
        thresholds = gathering.thresholds(self.layer)
        probability: dict[str, Floats] = {}
        chance: dict[str, Floats] = {}
        rows = np.zeros((0, 2), np.int64)
        for region in settings.regions:
            own, other, found = self._overlaps(thresholds, region)
            probability[region] = self._shares(own, self.shown.sum(0))
            if settings.draws:
                chance[region] = self._shares(other, settings.draws * self.shown.sum(0), settings.draws)
            if region == settings.regions[0]:
                rows = found
        values, used = self._spreads(self.cells, self.maxima)
        pictures = np.bincount(self.kind, minlength=len(self.classes))
        strength = np.stack(
            [
                self.maxima[self.kind == k].mean(0, dtype=np.float64) if pictures[k] else np.full(len(thresholds), -np.inf)
                for k in range(len(self.classes))
            ],
            1,
        )  # fmt: skip
        best = best_part(probability[settings.regions[0]], self.class_of, strength.argmax(1))
        steadiest = smallest(mean_by_class(values, self.class_of, len(self.classes)))
        return PartTable(
            layer=self.layer.name,
            keys=self.keys,
            pictures=pictures,
            masked=self.shown.sum(0),
            landmarked=np.isfinite(self.landmarks[..., 0]).sum(0),
            thresholds=thresholds,
            strength=strength,
            probability=probability,
            spread=values,
            used=used,
            chance_probability=chance,
            chance_spread=self._chance_spread() if settings.draws else None,
            center_spread=self._center_spread(),
            draws=self._draws(rows, best, values, steadiest) if settings.resamples else {},
            examples=self._examples() if settings.examples else None,
            facts={**about, **self._facts()},
        )

    def _landmarks(self) -> Floats:
        """[picture part 2], NaN where a part is not there."""
        found = np.full((len(self.kind), len(self.keys), 2), np.nan)
        for index, (kind, mine) in enumerate(zip(self.kind, self.gathering.landmarks, strict=True)):
            found[index, self.first[kind] : self.first[kind] + len(mine)] = mine
        return found

    def _shown(self) -> npt.NDArray[np.bool_]:
        """[picture part]: has it pixels?"""
        found = np.zeros((len(self.kind), len(self.keys)), np.bool_)
        for index, kind in enumerate(self.kind):
            pixels = self.gathering.labels.pixels(index)
            found[index, self.first[kind] : self.first[kind] + len(pixels)] = pixels > 0
        return found

    def _overlaps(self, thresholds: npt.NDArray[np.float32], region: Any) -> tuple[Whole, Whole, Whole]:
        """How often each filter lies on each part [filter part], of its own picture and of others.

        Third, when on its own: rows of (picture, filter · parts + part).
        """
        viewer, labels = self.gathering.viewer, self.gathering.labels
        reach = Reach.of(
            self.layer, viewer.size, viewer.grid, self.settings.anchor, region, self.settings.field
        )
        count = reach.upsampled if region == "upsampled" else reach.boxes
        own, other = (np.zeros((len(thresholds), len(self.keys)), np.int64) for _ in range(2))
        rows, index = [], 0
        for cells in self.gathering.kept(self.layer.name):
            for picture in range(len(cells.starts) - 1):
                one = cells.one(picture)
                for draw, place in enumerate([index, *self.partners[:, index]]):
                    area, met = count(one, thresholds, labels.codes(place), labels.means(place))
                    union = area[:, None] + labels.pixels(place) - met
                    active, part = np.nonzero(met > self.settings.iou * union)
                    key = self.first[self.kind[index]] + part
                    (other if draw else own)[one[0][active], key] += 1  # a filter has one map in a picture
                    if not draw:
                        where = one[0][active].astype(np.int64) * len(self.keys) + key
                        rows.append(np.stack([np.full(len(where), index), where], 1))
                index += 1
        return own, other, np.concatenate(rows) if rows else np.zeros((0, 2), np.int64)

    def _shares(self, counts: Whole, pictures: Whole, times: int = 1) -> Floats:
        """[filter part]; NaN for parts seen in too few pictures."""
        enough = pictures >= self.settings.fewest * times
        found = np.full(counts.shape, np.nan)
        found[:, enough] = counts[:, enough] / pictures[enough]
        return found

    def _distances(self, key: int, cells: npt.NDArray[np.int32], mine: Whole) -> tuple[Floats, Any]:
        """[picture filter]: from the landmarks of pictures ``mine`` to the centers of ``cells``, over the diagonal.

        Second, where there is a position at all.
        """
        size = self.gathering.viewer.size
        grid = (self.layer.shape[1], self.layer.shape[2])
        geometry = self.layer.geometry
        geometry = geometry.effective(grid, size) if self.settings.anchor == "effective" else geometry
        row, column = np.divmod(np.maximum(cells, 0), grid[1])
        vertical = geometry.start[0] + row * geometry.stride[0]
        horizontal = geometry.start[1] + column * geometry.stride[1]
        return distances(vertical, horizontal, self.landmarks[mine, key], size), cells >= 0

    def _spreads(self, cells: npt.NDArray[np.int32], maxima: npt.NDArray[Any]) -> tuple[Floats, Whole]:
        found = np.full((maxima.shape[1], len(self.keys)), np.nan)
        used = np.zeros(found.shape, np.int64)
        for key in range(len(self.keys)):
            mine = np.flatnonzero(np.isfinite(self.landmarks[:, key, 0]))
            distance, valid = self._distances(key, cells[mine], mine)
            found[:, key], used[:, key] = spread(
                distance, valid, maxima[mine], self.settings.most_active, self.settings.fewest
            )
        return found, used

    def _chance_spread(self) -> Floats:
        draws = [self._spreads(self.cells[other], self.maxima[other])[0] for other in self.partners]
        found = np.stack(draws)
        known = np.isfinite(found)
        count = known.sum(0)
        total = np.where(known, found, 0.0).sum(0)
        return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))

    def _center_spread(self) -> Floats:
        """[part]: D of the middle of the picture."""
        size = self.gathering.viewer.size
        found = np.full(len(self.keys), np.nan)
        for key in range(len(self.keys)):
            points = self.landmarks[np.isfinite(self.landmarks[:, key, 0]), key]
            if len(points) >= self.settings.fewest:
                middle = [np.full((len(points), 1), (side - 1) / 2) for side in size]
                found[key] = distances(middle[0], middle[1], points, size).std(ddof=1)
        return found

    def _draws(self, rows: Whole, best: Whole, values: Floats, steadiest: Whole) -> dict[str, Floats]:
        """Bootstraps of what was chosen on all pictures: the part of every filter, and the class it is steadiest in."""
        keys = len(self.keys)
        taken = rows[best[rows[:, 1] // keys] == rows[:, 1] % keys] if len(rows) else rows
        hits = np.zeros((self.drawn.shape[1], len(best)), np.int64)
        _add(hits, taken[:, 0], taken[:, 1] // keys, self.drawn)
        pictures = (self.drawn.T @ self.shown.astype(np.int64))[:, np.maximum(best, 0)]
        share = np.divide(hits, pictures, out=np.full(hits.shape, np.nan), where=(pictures > 0) & (best >= 0))
        total, count = np.zeros(hits.shape), np.zeros(hits.shape, np.int64)
        for key in range(keys):
            which = np.flatnonzero((steadiest == self.class_of[key]) & np.isfinite(values[:, key]))
            if not len(which):
                continue
            mine = np.flatnonzero(np.isfinite(self.landmarks[:, key, 0]))
            distance, valid = self._distances(key, self.cells[np.ix_(mine, which)], mine)
            drawn = spread_draws(
                distance, valid, self.maxima[np.ix_(mine, which)], self.settings.most_active, self.settings.fewest,
                self.drawn[mine],
            )  # fmt: skip
            total[:, which] += np.where(np.isfinite(drawn), drawn, 0.0)
            count[:, which] += np.isfinite(drawn)
        steady = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return {
            "interpretability": _mean(share),
            "instability": _mean(steady),
            "filter interpretability": share,
            "filter instability": steady,
        }

    def _examples(self) -> Examples:
        count = min(self.settings.examples, len(self.kind))
        order = np.argsort(-self.maxima, axis=0, kind="stable")[:count].T
        maxima = np.take_along_axis(self.maxima.T, order, 1).astype(np.float64)
        cells = np.take_along_axis(self.cells.T, order, 1)
        rows, columns = np.divmod(np.maximum(cells, 0), self.layer.shape[2])
        numbers = np.array(self.gathering.used, np.int64)
        images = np.where(cells >= 0, numbers[order], -1)
        source = self.gathering.source
        names = {int(n): source.picture_name(int(n)) for n in np.unique(images[images >= 0])}
        return Examples(images, np.stack([rows, columns], 2).astype(np.int64), maxima, names)

    def _facts(self) -> dict[str, Any]:
        size, cells = self.gathering.viewer.size, (self.layer.shape[1], self.layer.shape[2])
        geometry = self.layer.geometry
        placed = geometry.effective(cells, size) if self.settings.anchor == "effective" else geometry
        return {
            "images": len(self.kind),
            "images_left_out": len(self.gathering.source) - len(self.kind),
            "input_size": list(size),
            "grid": list(self.gathering.viewer.grid),
            "cells": list(cells),
            "start": list(placed.start),
            "stride": list(placed.stride),
            "receptive_field": list(geometry.size),
            "valid_cells_per_image": self.settings.quantile * cells[0] * cells[1],
            "without_position": int((self.cells < 0).sum()),
        }


def _mean(draws: Floats) -> Floats:
    """[draw]: over the filters that are no NaN in it."""
    known = np.isfinite(draws)
    count = known.sum(1)
    total = np.where(known, draws, 0.0).sum(1)
    return np.asarray(np.divide(total, count, out=np.full(len(draws), np.nan), where=count > 0))


@njit(cache=True, nogil=True)
def _add(hits: Any, picture: Any, unit: Any, drawn: Any) -> None:
    for n in range(picture.shape[0]):
        for d in range(drawn.shape[1]):
            hits[d, unit[n]] += drawn[picture[n], d]
