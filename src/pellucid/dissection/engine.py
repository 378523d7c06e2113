"""Dissecting all asked layers in one pass over the pictures: look, then count.

*Look*: every picture goes through the network once. What was seen so far gives every unit a lower bound of its threshold;
only cells above the bound (with their neighbors) and the labels are kept, on disk. At the end the exact thresholds are picked
from what was kept. *Count*: the kept cells are counted against the labels. A layer whose cells would need more than
``scratch`` bytes on disk is passed through the network a second time instead, with the same numbers.

Memory does not grow with the number of pictures, but for the values a layer's thresholds are picked from (``selection_bytes``
in the table's facts): the share q of its values. A stopped run goes on from its last shard and gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pellucid.core.capture import observe
from pellucid.core.layers import Layer
from pellucid.core.network import Network
from pellucid.core.progress import bar
from pellucid.core.run import PLAN
from pellucid.core.steps import Steps
from pellucid.data.concepts.base import SPLITS, ConceptSource
from pellucid.dissection import tensors
from pellucid.dissection.counting import BestPictures, Counter
from pellucid.dissection.labels import LabelBlock, LocalLabels
from pellucid.dissection.placement import Placement
from pellucid.dissection.quantile import Bound, Selection, count_above
from pellucid.dissection.sampling import Sample, Sampler
from pellucid.dissection.settings import Settings
from pellucid.dissection.shards import Cells, LayerShard, Shard, Values, plain_arrays, write_plain
from pellucid.dissection.table import UnitTable

SHARD = 128  # pictures in a shard, at most
_SHARD_BYTES = 32 << 20  # of a shard of which everything is kept, as the first of a large set may be
_KEPT = 0.07  # share of all values that is kept in a long run, neighbors included
_SETTLED = 4  # batches after which a bound moves slowly


class Dissection:
    """One run over a set of concepts; ``folder`` keeps what a stopped run goes on from, of all ``layers``; counted are those
    that are ``wanted``."""

    def __init__(
        self,
        net: Network,
        source: ConceptSource,
        layers: Sequence[Layer],
        settings: Settings,
        folder: Path,
        identity: Mapping[str, Any],
        progress: bool | None,
        wanted: Sequence[str] | None = None,
    ) -> None:
        self.wanted = [layer.name for layer in layers] if wanted is None else list(wanted)
        self.net, self.source, self.settings, self.folder = net, source, settings, folder
        self.progress = progress
        self.kernel = settings.kernel
        if self.kernel == "auto":
            self.kernel = "compiled" if net.device.type == "cpu" else "tensor"
        size = (int(net.input_shape[1]), int(net.input_shape[2]))
        self.layers = {layer.name: layer for layer in layers}
        self.sampler = Sampler(source, net.preprocess, size, settings.ratio)
        order = np.random.default_rng(settings.seed).permutation(len(source))
        values = sum(layer.shape[0] * _cells(layer) for layer in layers)
        self.shard = min(SHARD, max(16, _SHARD_BYTES // (8 * values)))
        self.shards = np.array_split(order, -(-len(source) // self.shard))
        self.fits = np.array([source.split(index) == SPLITS[0] for index in range(len(source))])
        self.again = {name for name in self.layers if self._kept_bytes(name) > settings.scratch}
        self._note(identity)
        counts = [len(source), int(self.fits.sum())]
        self.parts = counts if 0 < counts[1] < counts[0] else counts[:1]
        self.bounds = {
            name: [Bound(layer.shape[0], self._rank(name, count)) for count in self.parts]
            for name, layer in self.layers.items()
        }
        self.best = {
            name: BestPictures(layer.shape[0], settings.examples) for name, layer in self.layers.items()
        }
        self.used: list[npt.NDArray[np.int64]] = []

    def run(self) -> dict[str, UnitTable]:
        """The tables of all layers. Raises ValueError where no picture could be used, or an activation is not finite."""
        self._look()
        total = sum(map(len, self.used))
        if not total:
            first = self.source.problems[0] if self.source.problems else None
            self._forget()
            raise ValueError(
                f"Expected at least one usable picture in {self.source.name}, got none"
                + (f" ({first.where}: {first.reason})" if first else "") + "."
            )  # fmt: skip
        self._look_again(total)
        counters = {name: self._counter(name) for name in self.wanted}
        self._count(counters, total)
        facts = {
            "images": total,
            "images_left_out": len(self.source) - total,
            "label_grid": list(self.sampler.grid),
            "input_size": list(self.sampler.size),
        }
        found = {}
        for name, counter in counters.items():
            more = {
                "selection_bytes": counter.selection_bytes,
                "bound_bytes": sum(bound.bytes for bound in self.bounds[name]),
                "passes": 2 if name in self.again else 1,
            }
            found[name] = counter.table({**facts, **more})
        return found

    def _rank(self, name: str, images: int) -> int:
        return count_above(self.settings.quantile, images * _cells(self.layers[name])) + 1

    def _kept_bytes(self, name: str) -> float:
        layer = self.layers[name]
        return len(self.source) * layer.shape[0] * _cells(layer) * max(_KEPT, 12 * self.settings.quantile) * 8

    # Look

    def _look(self) -> None:
        done = 0
        while done < len(self.shards) and self._path(done).exists():
            done += 1
        if self.again:
            done = self._restore(done)
        for k in range(done):
            shard = self._load(k)
            self._remember(shard)
            self._take(shard)
        with self._bar(len(self.source), "looking", sum(map(len, self.shards[:done]))) as bar:
            for k in range(done, len(self.shards)):
                shard = self._looked_at(k, bar)
                if self.again:
                    self._store_bounds(k)
                shard.save(self._path(k))
                self._take(shard)

    def _take(self, shard: Shard) -> None:
        self.used.append(shard.indices)
        for name, held in shard.layers.items():
            self.best[name].add(held.maxima, shard.indices)

    def _looked_at(self, k: int, bar: Any) -> Shard:
        cells: dict[str, list[Cells]] = {name: [] for name in self.layers if name not in self.again}
        maxima: dict[str, list[Values]] = {name: [] for name in self.layers}
        kept: list[int] = []
        labels: list[LocalLabels] = []
        before = sum(map(len, self.used))
        for sample in self._samples(self.shards[k]):
            fit = self.fits[list(sample.indices)]
            fresh = before + len(kept) < _SETTLED * len(fit)

            def see(
                name: str, value: Tensor, sample: Sample = sample, fit: Any = fit, fresh: bool = fresh
            ) -> None:
                most, found = self._seen(name, value, fit, sample, fresh)
                maxima[name].append(most)
                if name in cells:
                    cells[name].append(found)

            observe(self.net, self._laid_out(sample.batch), list(self.layers), see)
            kept += sample.indices
            labels += sample.labels
            bar.update(len(sample.indices))
        found = {
            name: LayerShard(
                np.concatenate(maxima[name]) if kept else np.zeros((0, layer.shape[0]), np.float32),
                np.stack([bound.low for bound in self.bounds[name]]),
                Cells.joined(cells[name]) if name in cells else None,
            )
            for name, layer in self.layers.items()
        }
        return Shard(np.array(kept, np.int64), LabelBlock.of(labels), found)

    def _seen(
        self, name: str, value: Tensor, fit: npt.NDArray[np.bool_], sample: Sample, fresh: bool
    ) -> tuple[Values, Cells]:
        """Maxima of a layer's maps, and the cells that may matter; both are taken into the bounds."""
        acts, most = _float32(value)
        if not most.isfinite().all():
            picture = self.source.picture_name(sample.indices[int((~most.isfinite()).nonzero()[0, 0])])
            raise ValueError(
                f"Expected finite activations of layer `{name}`, got NaN or infinity for `{picture}`; "
                "try float32, or look at the picture and the network's weights."
            )
        chosen = [None, fit]
        if fresh:  # the bound still moves fast: first raise it, then keep what is above
            plain = acts.contiguous().cpu().numpy()
            for bound, taken in zip(self.bounds[name], chosen, strict=False):
                bound.push_all(plain, taken)
        cells = self._cells_above(acts, most, self._low(name))
        if not fresh:
            self._push(name, cells, fit)
        return most.cpu().numpy(), cells

    def _cells_above(self, acts: Tensor, most: Tensor, low: Values) -> Cells:
        if self.kernel == "compiled":
            return Cells.above(acts.cpu().numpy(), most.cpu().numpy(), low)
        return Cells(*tensors.collect(acts, most, torch.from_numpy(low).to(acts.device)))

    def _push(self, name: str, cells: Cells, fit: npt.NDArray[np.bool_]) -> None:
        for bound, chosen in zip(self.bounds[name], [None, fit], strict=False):
            bound.push(cells, chosen)

    def _low(self, name: str) -> Values:
        return np.asarray(np.min([bound.low for bound in self.bounds[name]], axis=0))

    def _samples(self, indices: npt.NDArray[np.int64]) -> Iterator[Sample]:
        size = self.settings.batch_size
        chunks = [indices[first : first + size].tolist() for first in range(0, len(indices), size)]
        for sample in self.sampler.batches(chunks):
            if sample.indices:
                yield sample

    def _laid_out(self, batch: Tensor) -> Tensor:
        return batch.contiguous(memory_format=self.net.memory_format)

    def _look_again(self, total: int) -> None:
        """Keep the cells of layers that were only measured, now that the bounds are near the thresholds."""
        names = [name for name in self.layers if name in self.again]
        with self._bar(total if names else 0, "looking again", 0) as bar:
            for k in range(len(self.shards) if names else 0):
                if self._path(k, "again").exists():  # of a stopped run
                    bar.update(len(self.used[k]))
                    continue
                parts: dict[str, list[Cells]] = {name: [] for name in names}

                def see(name: str, value: Tensor, parts: dict[str, list[Cells]] = parts) -> None:
                    parts[name].append(self._cells_above(*_float32(value), self._low(name)))

                for sample in self._samples(self.used[k]):
                    observe(self.net, self._laid_out(sample.batch), names, see)
                    bar.update(len(sample.indices))
                none = np.zeros((0, 0), np.float32)
                kept = {name: LayerShard(none, none, Cells.joined(part)) for name, part in parts.items()}
                Shard(self.used[k], LabelBlock.of([]), kept).save(self._path(k, "again"))

    # Resume

    def _remember(self, shard: Shard) -> None:
        """Take over the values of a shard made earlier; of layers that are looked at again, the bounds were restored."""
        fit = self.fits[shard.indices]
        for name, held in shard.layers.items():
            if held.cells is not None:
                for bound, low in zip(self.bounds[name], held.bounds, strict=True):
                    bound.raise_to(low)
                self._push(name, held.cells, fit)

    def _store_bounds(self, k: int) -> None:
        states = {
            f"{n}.{j}.{key}": value
            for n, name in enumerate(sorted(self.again))
            for j, bound in enumerate(self.bounds[name])
            for key, value in bound.state().items()
        }
        write_plain(self._path(k, "bounds"), states)
        self._path(k - 2, "bounds").unlink(missing_ok=True)

    def _restore(self, done: int) -> int:
        """Load the latest bounds whose shards are all there; returns how many shards these are."""
        for count in range(done, 0, -1):
            if self._path(count - 1, "bounds").exists():
                with plain_arrays(self._path(count - 1, "bounds")) as stored:
                    for n, name in enumerate(sorted(self.again)):
                        for j, bound in enumerate(self.bounds[name]):
                            bound.restore({key: stored[f"{n}.{j}.{key}"] for key in bound.state()})
                return count
        return 0

    # Count

    def _counter(self, name: str) -> Counter:
        layer = self.layers[name]
        images = [sum(map(len, self.used)), int(self.fits[np.concatenate(self.used)].sum())]
        split = len(self.parts) > 1 and 0 < images[1] < images[0]
        chosen = [Selection(bound.low) for bound in self.bounds[name]][: 1 + split]
        for k, used in enumerate(self.used):
            cells = self._cells_of(name, k)
            for selection, part in zip(chosen, (None, self.fits[used]), strict=False):
                selection.add(cells, part)
        found = [
            selection.threshold(self._rank(name, count))
            for selection, count in zip(chosen, images, strict=False)
        ]
        placement = Placement.of(layer, self.sampler.size, self.sampler.grid, self.settings.anchor)
        counter = Counter(
            layer, self.source, placement, self.settings, found[0], found[1] if split else None, self.fits,
            self.best[name], self.folder, self.kernel, self.net.device,
        )  # fmt: skip
        counter.selection_bytes = sum(selection.bytes for selection in chosen)
        return counter

    def _cells_of(self, name: str, k: int) -> Cells:
        if name in self.again:
            found = Shard.load(
                self._path(k, "again"), [one for one in self.layers if one in self.again], name
            )
        else:
            found = Shard.load(self._path(k), list(self.layers), name)
        cells = found.layers[name].cells
        assert cells is not None
        return cells

    def _count(self, counters: Mapping[str, Counter], total: int) -> None:
        with self._bar(total, "counting", 0) as bar, ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for k in range(len(self.shards)):
                shard = self._load(k)
                jobs = [
                    pool.submit(counter.count, shard, self._cells_of(name, k), k)
                    for name, counter in counters.items()
                ]
                for job in jobs:
                    job.result()
                bar.update(len(shard.indices))

    # Files

    def _path(self, k: int, kind: str = "shard") -> Path:
        return self.folder / f"{kind}-{k:05d}.safetensors"

    def _load(self, k: int) -> Shard:
        return Shard.load(self._path(k), list(self.layers))

    def _note(self, identity: Mapping[str, Any]) -> None:
        """Say what the unfinished results belong to; refuse those of another run."""
        plan = {
            **identity,
            "settings": asdict(self.settings),
            "layers": list(self.layers),
            "shard": self.shard,
        }
        Steps(self.folder, plan)

    def _forget(self) -> None:
        """Take away what leads nowhere: no picture could be used, and the next run may find them put right."""
        for k in range(len(self.shards)):
            for kind in ("shard", "bounds"):
                self._path(k, kind).unlink(missing_ok=True)
        self.folder.joinpath(PLAN).unlink(missing_ok=True)

    def _bar(self, total: int, label: str, done: int) -> Any:
        return bar(total, label, "image", self.progress, done)


def _cells(layer: Layer) -> int:
    return layer.shape[1] * layer.shape[2]


def _float32(value: Tensor) -> tuple[Tensor, Tensor]:
    """Maps [map unit h w] in float32, and the largest value of each [map unit]; NaN where there is one."""
    acts = value.to(torch.float32)
    return acts, acts.amax((2, 3))
