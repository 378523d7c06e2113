"""Counting a layer's masks against the labels, shard by shard: all pictures, the two parts of the honest score, and chance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pellucid.core.layers import Layer
from pellucid.data.concepts.base import ConceptSource, category_places
from pellucid.dissection import kernels, tensors
from pellucid.dissection.bootstrap import Intervals, weights
from pellucid.dissection.counts import Counts, Whole
from pellucid.dissection.labels import LabelBlock
from pellucid.dissection.placement import Placement
from pellucid.dissection.settings import Settings
from pellucid.dissection.shards import Cells, Shard, Values, plain_arrays, write_plain
from pellucid.dissection.table import Examples, HeldOut, UnitTable

_ALL, _FIT, _HELD, _CHANCE = 0, 1, 2, 3


class BestPictures:
    """The pictures every unit is most active on, of all seen so far; the lower number where two are equal."""

    def __init__(self, units: int, count: int) -> None:
        self.images = np.full((units, count), -1, np.int64)
        self.maxima = np.full((units, count), -np.inf, np.float32)

    def add(self, maxima: Values, indices: npt.NDArray[np.int64]) -> None:
        """Take ``maxima`` [picture unit] of the pictures with these numbers into account."""
        count = self.images.shape[1]
        if not count or not len(indices):
            return
        values = np.concatenate([self.maxima, maxima.T], 1)
        images = np.concatenate([self.images, np.broadcast_to(indices, (len(values), len(indices)))], 1)
        order = np.lexsort((images, -values), axis=1)[:, :count]
        self.maxima, self.images = np.take_along_axis(values, order, 1), np.take_along_axis(images, order, 1)


class Counter:
    """The counts of one layer.

    ``thresholds`` [unit] of all pictures, ``split`` [unit] of the fitting ones (None: nothing is held out), ``fits``
    [picture of the set]. Partial sums are kept in memory, what the bootstrap needs in ``folder``.
    """

    def __init__(
        self,
        layer: Layer,
        source: ConceptSource,
        placement: Placement,
        settings: Settings,
        thresholds: Values,
        split: Values | None,
        fits: npt.NDArray[np.bool_],
        best: BestPictures,
        folder: Path,
        kernel: str,
        device: torch.device,
    ) -> None:
        self._kernel, self._device = kernel, device
        self.selection_bytes = 0
        self.layer, self.source, self.placement, self.settings = layer, source, placement, settings
        self.thresholds, self.split, self.fits, self.folder = thresholds, split, fits, folder
        self.draws = settings.draws if len(fits) > 1 else 0
        self.category_of = category_places(source.concepts)
        slots, units, concepts = _CHANCE + self.draws, layer.shape[0], len(source.concepts)
        self._intersection = np.zeros((slots, units, concepts), np.int64)
        self._activation = np.zeros((slots, units, len(source.categories)), np.int64)
        self._truth = np.zeros((slots, concepts), np.int64)
        self._images = np.zeros(2, np.int64)
        self._logs: list[Path] = []
        self._wanted = np.where(best.maxima > thresholds[:, None], best.images, -1)
        self._wanted_of: dict[int, list[tuple[int, int]]] = {}
        for u, rank in np.argwhere(self._wanted >= 0).tolist():
            self._wanted_of.setdefault(int(self._wanted[u, rank]), []).append((u, rank))
        self._maxima = np.where(self._wanted >= 0, best.maxima, 0).astype(np.float32)
        self._masks = np.zeros((*self._wanted.shape, *placement.pixels), np.bool_)

    def count(self, shard: Shard, cells: Cells, number: int) -> None:
        """Add a shard's pictures."""
        pictures = len(shard.indices)
        if not pictures:
            return
        present = shard.labels.present(self.category_of, len(self.source.categories))
        fit = self.fits[shard.indices]
        slots = np.full(pictures, -1) if self.split is None else np.where(fit, _FIT, _HELD)
        self._add_truth(shard.labels, slots)
        self._images += [int(fit.sum()), int((~fit).sum())]
        limits = self.thresholds[None] if self.split is None else np.stack([self.thresholds, self.split])
        partners = self._partners(pictures, number)
        outline_of, wanted = self._outlines(shard, cells)
        count = self._compiled if self._kernel == "compiled" else self._on_device
        area, met, outlines = count(cells, limits, slots, partners, shard.labels, present, outline_of)
        for (u, rank), outline in zip(wanted, outlines, strict=True):
            self._masks[u, rank] = outline
        if self.settings.resamples:
            path = self.folder / f"log-{self.layer.index:05d}-{number:05d}.safetensors"
            owner = np.repeat(np.arange(pictures), np.diff(cells.starts))
            active = np.stack([owner, cells.unit, area], 1).astype(np.int64)
            rows = {"active": active, "met": met, "labeled": shard.labels.rows(), "present": present}
            write_plain(path, {"indices": shard.indices, **rows})
            self._logs.append(path)

    def _compiled(
        self, cells: Cells, limits: Values, slots: Whole, partners: Whole, labels: LabelBlock,
        present: npt.NDArray[np.bool_], outline_of: Whole,
    ) -> tuple[Whole, Whole, npt.NDArray[np.bool_]]:  # fmt: skip
        """Areas [active] and rows (active, concept, pixels) at the first threshold, and the outlines wanted."""
        outlines = np.zeros((int((outline_of >= 0).sum()), *self.placement.pixels), np.bool_)
        area = np.zeros(len(cells.unit), np.int64)
        own = np.diff(labels.label_starts) + np.diff(labels.whole_starts)
        rows = np.zeros((int((np.diff(cells.starts) * own).sum()), 3), np.int32)
        logged = kernels.tally(
            kernels.Maps(cells.starts, cells.unit, cells.cell_starts, cells.cells, cells.values),
            self.placement.grid,
            kernels.Labels(
                labels.code,
                labels.combos,
                labels.combo_starts,
                labels.combo_places,
                labels.whole_starts,
                labels.whole,
                present,
            ),
            kernels.Meetings(limits, slots, partners),
            kernels.Sums(self._intersection, self._activation, area, rows),
            kernels.Outlines(outline_of, outlines),
        )
        return area, rows[:logged].astype(np.int64), outlines

    def _on_device(
        self, cells: Cells, limits: Values, slots: Whole, partners: Whole, labels: LabelBlock,
        present: npt.NDArray[np.bool_], outline_of: Whole,
    ) -> tuple[Whole, Whole, npt.NDArray[np.bool_]]:  # fmt: skip
        """As `_compiled`, in tensor operations, picture by picture."""
        outlines = np.zeros((int((outline_of >= 0).sum()), *self.placement.pixels), np.bool_)
        area = np.zeros(len(cells.unit), np.int64)
        rows = [np.zeros((0, 3), np.int64)]
        for i, slot in enumerate(slots):
            mine = slice(cells.starts[i], cells.starts[i + 1])
            unit = cells.unit[mine]
            targets = [(0, i, _ALL), *([(1, i, int(slot))] if slot >= 0 else [])]
            targets += [(0, int(row[i]), _CHANCE + draw) for draw, row in enumerate(partners)]
            met = [labels.one(picture) for _, picture, _ in targets]
            areas, hits, masks = tensors.tally(
                cells.one(i), self.placement, limits, [limit for limit, _, _ in targets], met, self._device
            )
            for (limit, picture, place), own, inner in zip(targets, met, hits, strict=True):
                concepts = np.concatenate([own.places, own.whole])
                pixels = np.concatenate([inner, np.repeat(areas[limit][:, None], len(own.whole), 1)], 1)
                self._intersection[place][np.ix_(unit, concepts)] += pixels
                self._activation[place][unit] += areas[limit][:, None] * present[picture]
                if place == _ALL:
                    active, column = np.nonzero(pixels)
                    rows.append(np.stack([active + mine.start, concepts[column], pixels[active, column]], 1))
            area[mine] = areas[0]
            wanted = outline_of[mine]
            outlines[wanted[wanted >= 0]] = masks[wanted >= 0]
        return area, np.concatenate(rows).astype(np.int64), outlines

    def _add_truth(self, labels: LabelBlock, slots: Whole) -> None:
        rows = labels.rows()
        np.add.at(self._truth[_ALL], rows[:, 1], rows[:, 2])
        for slot in (_FIT, _HELD):
            chosen = rows[slots[rows[:, 0]] == slot]
            np.add.at(self._truth[slot], chosen[:, 1], chosen[:, 2])
        if len(labels) > 1:  # every picture's labels are met once
            for draw in range(self.draws):
                np.add.at(self._truth[_CHANCE + draw], rows[:, 1], rows[:, 2])

    def _partners(self, pictures: int, number: int) -> Whole:
        """[draw picture]: whose labels every picture of the shard meets, another's of the shard, every one's once."""
        found = np.zeros((self.draws if pictures > 1 else 0, pictures), np.int64)
        for draw, row in enumerate(found):
            shift = np.random.default_rng([self.settings.seed, draw, number]).integers(1, pictures)
            row[:] = (np.arange(pictures) + shift) % pictures
        return found

    def _outlines(self, shard: Shard, cells: Cells) -> tuple[Whole, list[tuple[int, int]]]:
        """Where masks are wanted as examples: per active map a place or −1, and per place (unit, rank)."""
        found = np.full(len(cells.unit), -1, np.int64)
        places: list[tuple[int, int]] = []
        for i, index in enumerate(shard.indices.tolist()):
            for u, rank in self._wanted_of.get(index, ()):
                unit = cells.unit[cells.starts[i] : cells.starts[i + 1]]
                at = int(np.searchsorted(unit, u))
                if at < len(unit) and unit[at] == u:
                    found[cells.starts[i] + at] = len(places)
                    places.append((u, rank))
        return found, places

    def table(self, facts: Mapping[str, Any]) -> UnitTable:
        """What was counted, checked, with intervals."""
        counts = [
            Counts(self._intersection[slot], self._activation[slot], self._truth[slot])
            for slot in range(_CHANCE + self.draws)
        ]
        for each in counts:
            each.check(self.category_of)
        held = None
        if self.split is not None:
            held = HeldOut(
                self.split, counts[_FIT], counts[_HELD], (int(self._images[0]), int(self._images[1]))
            )
        iou = counts[_ALL].iou(self.category_of)
        ranking = np.argsort(-iou, axis=1, kind="stable")[:, : self.settings.ranked].astype(np.int64)
        return UnitTable(
            layer=self.layer.name,
            concepts=self.source.concepts,
            counts=counts[_ALL],
            thresholds=self.thresholds,
            held_out=held,
            chance=tuple(counts[_CHANCE:]),
            ranking=ranking,
            interval=self._intervals(ranking) if self.settings.resamples else None,
            examples=Examples(self._wanted, self._maxima, self._masks) if self._wanted.shape[1] else None,
            facts=dict(facts),
        )

    def _intervals(self, ranking: Whole) -> npt.NDArray[np.float64]:
        found = Intervals(ranking, self.category_of, self.settings.resamples)
        for path in self._logs:
            with plain_arrays(path) as held:
                log = dict(held)
            found.add(log, weights(log["indices"], self.settings.resamples, self.settings.seed))
            path.unlink()
        return found.limits()
