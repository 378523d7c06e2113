"""One forward pass over all pictures: where each filter of the layers peaks, how much, and which cells may be valid.

No map is kept: of every picture and filter one number and one cell, in memory; and on disk the cells above a rising bound of
the thresholds (`pellucid.dissection.quantile.Bound`), with their neighbors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pellucid.core.capture import observe
from pellucid.core.layers import Layer
from pellucid.core.network import Network
from pellucid.core.steps import Steps
from pellucid.data.concepts.base import LabelError
from pellucid.data.images import ImageError
from pellucid.data.parts.source import PartSource
from pellucid.dissection.quantile import Bound, Selection, count_above
from pellucid.dissection.shards import Cells, plain_arrays, write_plain
from pellucid.interpretable.parts.settings import PartSettings
from pellucid.interpretable.parts.viewing import Labels, Seen, Viewer

_AHEAD = 2  # batches that are read while one is computed
_FIELDS = ("starts", "unit", "cell_starts", "cells", "values")


@dataclass(eq=False)
class Peaks:
    """Of one layer, batch by batch: ``maxima`` [picture filter] and the ``cells`` [picture filter] they are in.

    The cell is −1 where a map is the same everywhere.
    """

    bound: Bound
    maxima: list[npt.NDArray[Any]] = field(default_factory=list)
    cells: list[npt.NDArray[np.int32]] = field(default_factory=list)


class Gathering:
    """The pass; after it of every picture that was usable: its number in the set (``used``), its class (``kinds``), ``labels``
    and ``landmarks``."""

    def __init__(
        self,
        net: Network,
        layers: Sequence[Layer],
        source: PartSource,
        settings: PartSettings,
        folder: Path,
        plan: Mapping[str, Any],
    ) -> None:
        self.steps = Steps(folder, plan)
        self.net, self.source, self.settings, self.folder = net, source, settings, folder
        self.layers = {layer.name: layer for layer in layers}
        size = (int(net.input_shape[1]), int(net.input_shape[2]))
        self.viewer = Viewer(net.preprocess, size, source, settings.ratio)
        self.labels = Labels(self.viewer.grid)
        self.used: list[int] = []
        self.kinds: list[str] = []
        self.landmarks: list[npt.NDArray[np.float64]] = []
        self.peaks = {
            layer.name: Peaks(Bound(layer.shape[0], self._rank(layer, len(source)))) for layer in layers
        }
        self._batches = 0

    def run(self, progress: Any) -> None:
        """Look at everything once; ``progress(n)`` is told how many pictures are done."""
        for numbers, seen in self._read():
            if seen:
                if not self._known(numbers):
                    batch = self.net.preprocess.normalize(torch.stack([one.pixels for one in seen]))
                    self._look(batch, numbers)
                self._batches += 1
                for number, one in zip(numbers, seen, strict=True):
                    self.used.append(number)
                    self.kinds.append(one.object_class)
                    self.labels.add(one.masks)
                    self.landmarks.append(one.landmarks)
            progress(self.settings.batch_size)

    def thresholds(self, layer: Layer) -> npt.NDArray[np.float32]:
        """[filter]: T_f, exact."""
        selection = Selection(self.peaks[layer.name].bound.low)
        for cells in self.kept(layer.name):
            selection.add(cells)
        return np.asarray(selection.threshold(self._rank(layer, len(self.used))), np.float32)

    def kept(self, name: str) -> Iterator[Cells]:
        """The cells of a layer that may exceed the thresholds, batch by batch."""
        place = list(self.layers).index(name)
        for batch in range(self._batches):
            yield _cells(self._file(batch, place))

    def _rank(self, layer: Layer, pictures: int) -> int:
        return count_above(self.settings.quantile, pictures * layer.shape[1] * layer.shape[2]) + 1

    def _read(self) -> Iterator[tuple[list[int], list[Seen]]]:
        """Pictures batch by batch, the next ones read in a thread; what cannot be used is listed in the set's problems."""
        size = self.settings.batch_size
        chunks = [
            range(first, min(first + size, len(self.source))) for first in range(0, len(self.source), size)
        ]
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self._chunk, chunk) for chunk in chunks[:_AHEAD]]
            try:
                for following in [*chunks[_AHEAD:], *([None] * min(_AHEAD, len(chunks)))]:
                    yield waiting.pop(0).result()
                    if following is not None:
                        waiting.append(pool.submit(self._chunk, following))
            finally:
                for future in waiting:
                    future.cancel()

    def _chunk(self, numbers: range) -> tuple[list[int], list[Seen]]:
        kept, seen = [], []
        for number in numbers:
            name = self.source.picture_name(number)
            try:
                parted = self.source[number]
            except (ImageError, LabelError) as error:
                self.source.report(name, str(error))
                continue
            names = self.source.classes.get(parted.object_class, ())
            if not names:
                got = parted.object_class or "none"
                self.source.report(
                    name, f"Expected an object of a class with parts, got {got}; it is left out"
                )
                continue
            seen.append(self.viewer(parted, names))
            kept.append(number)
        return kept, seen

    def _look(self, batch: Tensor, numbers: Sequence[int]) -> None:
        def see(name: str, value: Tensor) -> None:
            peaks = self.peaks[name]
            flat = value.flatten(2)
            highest, cell = flat.max(2)
            if not bool(highest.isfinite().all() and flat.amin(2).isfinite().all()):
                bad = int((~value.isfinite()).flatten(1).any(1).nonzero()[0, 0])
                raise ValueError(
                    f"Expected finite activations of layer `{name}`, got NaN or infinity for "
                    f"`{self.source.picture_name(numbers[bad])}`; try float32, or look at the network's weights."
                )
            cell = torch.where(highest > flat.amin(2), cell, -1)
            peaks.maxima.append(_numbers(highest))
            peaks.cells.append(cell.to(torch.int32).cpu().numpy())
            acts = np.ascontiguousarray(value.to(torch.float32).cpu().numpy())
            peaks.bound.push_all(acts)
            cells = Cells.above(acts, acts.max((2, 3)), peaks.bound.low)
            write_plain(
                self._file(self._batches, list(self.layers).index(name)),
                {one: getattr(cells, one) for one in _FIELDS},
            )

        images = batch.to(self.net.dtype)
        if images.dtype == torch.float32:
            images = images.contiguous(memory_format=self.net.memory_format)
        observe(self.net, images, list(self.layers), see)
        kept: dict[str, Any] = {"numbers": np.array(numbers)}
        for place, peaks in enumerate(self.peaks.values()):
            kept |= {
                f"{place}.maxima": peaks.maxima[-1],
                f"{place}.cells": peaks.cells[-1],
                f"{place}.low": peaks.bound.low,
            }
        self.steps.put(f"peaks-{self._batches:06d}", kept)

    def _known(self, numbers: Sequence[int]) -> bool:
        """Take over what an earlier run saw of these pictures, where it is there."""
        kept = self.steps.get(f"peaks-{self._batches:06d}")
        files = [self._file(self._batches, place) for place in range(len(self.layers))]
        if (
            kept is None
            or kept["numbers"].tolist() != list(numbers)
            or not all(file.exists() for file in files)
        ):
            return False
        for place, (peaks, file) in enumerate(zip(self.peaks.values(), files, strict=True)):
            peaks.bound.raise_to(kept[f"{place}.low"].numpy())
            peaks.bound.push(_cells(file))
            peaks.maxima.append(kept[f"{place}.maxima"].numpy())
            peaks.cells.append(kept[f"{place}.cells"].numpy())
        return True

    def _file(self, batch: int, layer: int) -> Path:
        return self.folder / f"cells-{layer}-{batch:06d}.safetensors"


def _numbers(values: Tensor) -> npt.NDArray[Any]:
    """As NumPy knows them: half precisions as float32."""
    wide = values if values.dtype in (torch.float32, torch.float64) else values.float()
    return wide.cpu().numpy()


def partners(kinds: Sequence[str], draws: int) -> npt.NDArray[np.int64]:
    """[draw picture]: another picture of the same class, the next ones in turn; the picture itself where it is the only one."""
    found = np.tile(np.arange(len(kinds)), (draws, 1))
    places: Mapping[str, list[int]] = {kind: [] for kind in kinds}
    for index, kind in enumerate(kinds):
        places[kind].append(index)
    for mine in places.values():
        for draw in range(draws if len(mine) > 1 else 0):
            found[draw, mine] = np.roll(mine, -1 - draw % (len(mine) - 1))
    return found


def _cells(file: Path) -> Cells:
    """The cells of a file. Raises ValueError for a damaged one."""
    with plain_arrays(file) as held:
        return Cells(*(held[name] for name in _FIELDS))
