"""Where `pellucid evaluate` measures: every method and control on a batch of images, of which only the numbers are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pellucid.attribution import Method, attribute
from pellucid.commands.comparison import Comparison, Entry
from pellucid.commands.masks import mask_of
from pellucid.commands.sources import Source
from pellucid.core.capture import capture
from pellucid.core.layers import INPUT
from pellucid.core.network import Network
from pellucid.core.run import RunDirectory
from pellucid.data.batches import as_batch
from pellucid.evaluation import Case, Measurement, Metric, merge
from pellucid.evaluation.controls import blurred, controls

if TYPE_CHECKING:
    from pellucid.commands.evaluate import Evaluate

Key = tuple[str, str | None]  # label of a method or control, and layer
Batch = tuple[list[str], tuple[str, ...], dict[Key, Measurement]]  # images, classes, values


class Bench:
    """Measures batches of images, and keeps only the numbers."""

    def __init__(
        self,
        net: Network,
        metric: Metric,
        places: Sequence[tuple[Method, tuple[str, ...]]],
        controls: Sequence[str],
        options: Evaluate,
    ) -> None:
        self.net, self.metric, self.options, self.controls = net, metric, options, controls
        self.methods = {method.name: method for method, _ in places}
        self.layers = {method.name: layers for method, layers in places}
        self.smoothed = options.baseline if options.baseline in self.layers else places[0][0].name
        self.soft = f"blurred {self.smoothed}"
        order = [INPUT, *(layer.name for layer in net.layers)]
        self.used = sorted({layer for layers in self.layers.values() for layer in layers}, key=order.index)
        labels = {**self.layers, **({self.soft: self.layers[self.smoothed]} if "blurred" in controls else {})}
        self.keys: list[Key] = [
            (name, layer) for name, layers in labels.items() for layer in self.used if layer in layers
        ]
        self.keys += [(name, None) for name in controls if name != "blurred"]
        self.done: list[Batch] = []

    def read(self, source: Source) -> tuple[Any, Any, Any]:
        """Picture, rendering (of a scene) and mask (where the metric looks at it). Raises ImageError."""
        folder, most = self.options.masks, self.options.max_pixels
        read = source.read(most)
        scene: Any = read.rendering
        mask = None
        if self.metric.needs == "masks":
            known = (
                scene.object_mask() if scene is not None else mask_of(source, read, Path(folder or ""), most)
            )
            mask = self.net.preprocess.view_mask(known)
        return read, scene, mask

    def measure(self, batch: list[tuple[Source, Any]], bar: Any, directory: RunDirectory) -> None:
        """All maps of a batch, each noted as soon as it is measured; nothing of it counts before all are."""
        digest = hashlib.sha256(
            "\n".join(source.key for source, _ in batch).encode("utf-8", "replace")
        ).hexdigest()
        names = {key: f"{digest} {key[0]} {key[1]}" for key in self.keys}
        found = {key: entry.data for key, name in names.items() if (entry := directory.recall(name))}
        known = directory.recall(digest)
        if known is None or len(found) < len(names):
            case = self._case([read for _, read in batch])
            classes = case.target.names
            for key, each in self._cases(case):
                if key not in found:
                    found[key] = _plain(self.metric(each))
                    directory.note(names[key], found[key])
                bar.update(len(batch))
        else:
            classes = tuple(known.data)
            bar.update(len(batch) * len(names))
        self.done.append(
            (
                [source.name for source, _ in batch],
                classes,
                {key: _measurement(found[key]) for key in names},
            )
        )
        directory.note(digest, classes)
        for (source, _), name in zip(batch, classes, strict=True):
            directory.add({"image": source.name, "sha256": source.sha256, "target": name})

    def _case(self, read: Sequence[tuple[Any, Any, Any]]) -> Case:
        pictures, scenes, masks = zip(*read, strict=True)
        images = as_batch(self.net, list(pictures), None)
        target = capture(self.net, images, (), self.options.target, gradients=False).target
        return Case(
            self.net, images, target, images[:, 0],
            masks=None if masks[0] is None else torch.stack(masks).to(images.device),
            scenes=None if None in scenes else scenes, seed=self.options.seed, progress=False,
        )  # fmt: skip

    def _cases(self, case: Case) -> Iterator[tuple[Key, Case]]:
        """Every map of a batch as (key, case), one at a time."""
        smooth = max(case.images.shape[2:]) / 16
        for name, method in self.methods.items():
            maps = attribute(
                self.net, case.images, method, self.layers[name], case.target, normalized=True, progress=False
            )
            for layer, heatmap in maps.items():
                yield (
                    (name, layer),
                    replace(case, saliency=heatmap.upsample(), heatmap=heatmap, method=method),
                )
                if name == self.smoothed and "blurred" in self.controls:
                    soft = blurred(heatmap, smooth / max(heatmap.grid.stride))
                    yield (self.soft, layer), replace(case, saliency=soft.upsample(), heatmap=soft)
        for name, saliency in self._controls(case.images).items():
            yield (name, None), replace(case, saliency=saliency)

    def _controls(self, images: Tensor) -> dict[str, Tensor]:
        """Controls of no layer; noise depends on the image's number, not on how images are batched."""
        wanted = [name for name in self.controls if name != "blurred"]
        first = sum(len(names) for names, _, _ in self.done)
        each = [
            controls(image[None], self.options.seed * 1_000_003 + first + row)
            for row, image in enumerate(images)
        ]
        return {name: torch.cat([made[name] for made in each]) for name in wanted}

    def comparison(self, count: int = 0) -> Comparison:
        """What is finished of so many images."""
        entries = [
            Entry(
                label,
                layer,
                label not in self.methods,
                merge([found[label, layer] for *_, found in self.done]),
            )
            for label, layer in self.keys
        ]
        baseline = self.soft if self.options.baseline == "blurred" else self.options.baseline
        names = [name for each, _, _ in self.done for name in each]
        targets = [name for _, each, _ in self.done for name in each]
        missing = max(0, count - len(names))
        return Comparison(entries, self.used, names, targets, baseline, self.options.seed, missing)


def _plain(measurement: Measurement) -> dict[str, Any]:
    """A measurement as a journal holds it."""
    return {
        "metric": measurement.metric,
        "values": {name: each.tolist() for name, each in measurement.values.items()},
        "reasons": list(measurement.reasons),
        "better": dict(measurement.better),
        "parameters": dict(measurement.parameters),
        "curves": {name: [str(each.dtype), each.tolist()] for name, each in measurement.curves.items()},
    }


def _measurement(data: dict[str, Any]) -> Measurement:
    """What `_plain` holds."""
    return Measurement(
        data["metric"],
        {name: torch.tensor(each, dtype=torch.float64) for name, each in data["values"].items()},
        tuple(data["reasons"]),
        data["better"],
        data["parameters"],
        {name: torch.tensor(each, dtype=getattr(torch, dtype.removeprefix("torch.")))
         for name, (dtype, each) in data["curves"].items()},
    )  # fmt: skip
