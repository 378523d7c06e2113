"""Counting a layer's masks against the labels, shard by shard: all pictures, the two parts of the honest score, and chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file

from pellucid.data.concepts.base import ConceptSource
from pellucid.dissection import kernels, tensors
from pellucid.dissection.bootstrap import Intervals, Log, weights
from pellucid.dissection.counts import Counts, Whole
from pellucid.dissection.placement import Placement
from pellucid.dissection.sampling import LocalLabels
from pellucid.dissection.shards import Cells, Shard, Values, write_arrays
from pellucid.dissection.table import Examples, HeldOut, UnitTable
from pellucid.types import Layer

if TYPE_CHECKING:
    from pellucid.dissection.engine import Settings

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
        self.category_of = _categories(source)
        sizes = (layer.shape[0], len(source.concepts), len(source.categories))
        self._counts = [Counts.zeros(*sizes) for _ in range(_CHANCE + self.draws)]
        self._intersection = np.stack([each.intersection for each in self._counts])
        self._activation = np.stack([each.activation for each in self._counts])
        self._truth = np.stack([each.truth for each in self._counts])
        self._dense = np.full(layer.shape[1] * layer.shape[2], -np.inf, np.float32)
        self._images = np.zeros(2, np.int64)
        self._logs: list[Path] = []
        self._wanted = np.where(best.maxima > thresholds[:, None], best.images, -1)
        self._maxima = np.where(self._wanted >= 0, best.maxima, 0).astype(np.float32)
        self._masks = np.zeros((*self._wanted.shape, *placement.pixels), np.bool_)

    def count(self, shard: Shard, cells: Cells, number: int) -> None:
        """Add a shard's pictures."""
        log = Log()
        present = [self._present(one) for one in shard.labels]
        partners = self._partners(len(shard.labels), number)
        for i, index in enumerate(shard.indices.tolist()):
            first, last = cells.starts[i], cells.starts[i + 1]
            others = [row[i] for row in partners]
            self._one(index, cells, first, last, shard.labels, present, i, others, log)
        if self.settings.resamples and len(shard.indices):
            path = self.folder / f"log-{self.layer.index:05d}-{number:05d}.safetensors"
            write_arrays(path, {"indices": shard.indices, **log.arrays()})
            self._logs.append(path)

    def _one(
        self, index: int, cells: Cells, first: int, last: int, labels: Sequence[LocalLabels],
        present: Sequence[npt.NDArray[np.bool_]], i: int, others: Sequence[int], log: Log,
    ) -> None:  # fmt: skip
        fit = bool(self.fits[index])
        part = [] if self.split is None else [_FIT if fit else _HELD]
        slots = np.array([_ALL, *part, *range(_CHANCE, _CHANCE + len(others))], np.int64)
        limits = [
            self.thresholds,
            *([self.split] if self.split is not None else []),
            *[self.thresholds] * len(others),
        ]
        met = [i] * (1 + len(part)) + list(others)
        for slot, other in zip(slots.tolist(), met, strict=True):
            self._add_truth(labels[other], slot)
        self._images[0 if fit else 1] += 1
        begin, end = cells.cell_starts[first], cells.cell_starts[last]
        unit = cells.unit[first:last]
        kept = (
            unit,
            cells.cell_starts[first : last + 1] - begin,
            cells.cells[begin:end],
            cells.values[begin:end],
        )
        outline_of, wanted = self._outlines(index, unit)
        count = self._compiled if self._kernel == "compiled" else self._on_device
        area, rows, outlines = count(
            kept, np.stack(limits), slots, [labels[k] for k in met], [present[k] for k in met], outline_of
        )
        for (u, rank), outline in zip(wanted, outlines, strict=True):
            self._masks[u, rank] = outline
        if self.settings.resamples:
            self._write(log, i, unit, area, rows, labels[i], present[i])

    def _compiled(
        self, kept: tuple[Any, Any, Any, Any], limits: Values, slots: Whole, labels: Sequence[LocalLabels],
        present: Sequence[npt.NDArray[np.bool_]], outline_of: Whole,
    ) -> tuple[Whole, Whole, npt.NDArray[np.bool_]]:  # fmt: skip
        """Areas [active] and rows (active, concept, pixels) of the first threshold, and the outlines wanted."""
        outlines = np.zeros((int((outline_of >= 0).sum()), *self.placement.pixels), np.bool_)
        area = np.zeros(len(outline_of), np.int64)
        rows = np.zeros((len(area) * (len(labels[0].places) + len(labels[0].whole)), 3), np.int64)
        p = self.placement
        logged = kernels.tally(
            *kept, p.cells[1], self._dense, p.rows.begins, p.rows.fraction, p.columns.begins, p.columns.fraction,
            limits, slots, tuple(one.local for one in labels), tuple(one.places for one in labels),
            tuple(one.whole for one in labels), tuple(present), self._intersection, self._activation,
            area, rows, outline_of, outlines,
        )  # fmt: skip
        return area, rows[:logged], outlines

    def _on_device(
        self, kept: tuple[Any, Any, Any, Any], limits: Values, slots: Whole, labels: Sequence[LocalLabels],
        present: Sequence[npt.NDArray[np.bool_]], outline_of: Whole,
    ) -> tuple[Whole, Whole, npt.NDArray[np.bool_]]:  # fmt: skip
        """As `_compiled`, in tensor operations."""
        unit = kept[0]
        areas, hits, outlines = tensors.tally(*kept, self.placement, limits, labels, self._device)
        rows = np.zeros((0, 3), np.int64)
        for t, slot in enumerate(slots):
            own = np.concatenate([labels[t].places, labels[t].whole])
            pixels = np.concatenate(
                [hits[t][:, 1:], np.repeat(areas[t][:, None], len(labels[t].whole), 1)], 1
            )
            self._intersection[slot][np.ix_(unit, own)] += pixels
            self._activation[slot][unit] += areas[t][:, None] * present[t]
            if t == 0:
                active, place = np.nonzero(pixels)
                rows = np.stack([active, own[place], pixels[active, place]], 1).astype(np.int64)
        wanted = np.argsort(outline_of, kind="stable")[(outline_of < 0).sum() :]
        return areas[0], rows, outlines[wanted]

    def _write(
        self,
        log: Log,
        i: int,
        unit: Any,
        area: Any,
        met: Whole,
        labels: LocalLabels,
        present: npt.NDArray[np.bool_],
    ) -> None:
        log.active.append(np.stack([np.full(len(unit), i), unit, area], 1).astype(np.int64))
        log.met.append(met)
        everywhere = int(np.prod(self.placement.pixels))
        places = np.concatenate([labels.places, labels.whole])
        pixels = np.concatenate([labels.pixels, np.full(len(labels.whole), everywhere)])
        log.labeled.append(np.stack([np.full(len(places), i), places, pixels], 1).astype(np.int64))
        log.present.append(present)

    def _add_truth(self, labels: LocalLabels, slot: int) -> None:
        self._truth[slot, labels.places] += labels.pixels
        self._truth[slot, labels.whole] += int(np.prod(self.placement.pixels))

    def _present(self, labels: LocalLabels) -> npt.NDArray[np.bool_]:
        found = np.zeros(len(self.source.categories), np.bool_)
        found[self.category_of[labels.places]] = True
        found[self.category_of[labels.whole]] = True
        return found

    def _partners(self, pictures: int, number: int) -> list[npt.NDArray[np.int64]]:
        """Per draw, whose labels every picture of the shard meets: another's of the shard, every one's once."""
        found = []
        for draw in range(self.draws if pictures > 1 else 0):
            shift = np.random.default_rng([self.settings.seed, draw, number]).integers(1, pictures)
            found.append((np.arange(pictures) + shift) % pictures)
        return found

    def _outlines(self, index: int, unit: npt.NDArray[np.int32]) -> tuple[Whole, list[tuple[int, int]]]:
        """Where masks of a picture are wanted as examples: per active map a place or −1, and per place (unit, rank)."""
        found = np.full(len(unit), -1, np.int64)
        places: list[tuple[int, int]] = []
        for u, rank in np.argwhere(self._wanted == index).tolist():
            at = np.searchsorted(unit, u)
            if at < len(unit) and unit[at] == u:
                found[at] = len(places)
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
            log = load_file(path)
            found.add(log, weights(log["indices"], self.settings.resamples, self.settings.seed))
            path.unlink()
        return found.limits()


def _categories(source: ConceptSource) -> Whole:
    place = {name: k for k, name in enumerate(source.categories)}
    return np.array([place[concept.category] for concept in source.concepts], np.int64)
