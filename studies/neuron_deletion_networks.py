"""Networks, layers and pictures of the study `neuron_deletion`: activations of a layer, and what lies behind it as a network.

Everything the study asks happens behind one layer, so the images are run to it once, and the *tail* is a network of its own
whose input is the activation: criteria read the tail's ``"input"``, deletions run the tail alone.
"""

from __future__ import annotations

import copy
import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import pellucid as pl
from pellucid.core.capture import capture
from pellucid.data.preprocess import to_batch
from pellucid.world import CLASSES, draw, render
from shallow_cam import PRETRAINED, assets, network

# last stage first; `features.11` pools `features.10`: deleting a channel before or after a maximum is the same
LAYERS = {
    "scenes-vgg": ("features.30", "features.23"),
    "scenes-resnet": ("layer4", "layer3"),
    "squeezenet1_0": ("features.12", "features.11"),
    "resnet18": ("layer4", "layer3"),
    "resnet50": ("layer4", "layer3"),
}
ANIMALS = {
    "n01443537": "goldfish", "n01882714": "koala", "n02129165": "lion", "n02129604": "tiger", "n02342885": "hamster",
    "n02391049": "zebra", "n02398521": "hippopotamus", "n02444819": "otter", "n02454379": "armadillo",
    "n02509815": "lesser panda", "n02510455": "giant panda",
}  # fmt: skip
FRESH = 1000  # the number of the first test scene of a class: the first of them were looked at while forms were sought
MARGIN = 0.15  # of the object box's longer side, on every side
PARTS = ("rank", "choose", "test")


@dataclass(frozen=True, eq=False)
class Held:
    """Activations of one part of the pictures [batch unit h w] and their classes (positions among the study's classes)."""

    activation: Tensor
    labels: Tensor

    def of(self, label: int, count: int | None = None) -> Tensor:
        """Positions of the first ``count`` pictures of a class."""
        return (self.labels == label).nonzero()[:count, 0]

    def others(self, label: int, each: int, classes: int) -> Tensor:
        """Positions of the first ``each`` pictures of every other class."""
        return torch.cat([self.of(other, each) for other in range(classes) if other != label])


@dataclass(frozen=True, eq=False)
class Case:
    """One layer of one network: the network behind it, ``quick`` the same in bfloat16, and the activations of all parts.

    ``index``: output of each of the study's classes; ``images``: the ranking pictures themselves; ``share``: of the
    operations of a forward pass, how many are behind the layer.
    """

    name: str
    layer: str
    net: pl.Network
    images: Tensor
    share: float
    tail: pl.Network
    quick: nn.Module
    classes: tuple[str, ...]
    index: tuple[int, ...]
    parts: dict[str, Held]

    @property
    def units(self) -> int:
        """Channels of the layer."""
        return int(self.tail.input_shape[0])


def behind(module: nn.Module, layer: str) -> nn.Module:
    """What lies behind a layer at whose end nothing goes past it. Raises ValueError for a layer that is none of a stage."""
    stages = dict(module.named_children())
    top, _, place = layer.partition(".")
    after = list(stages)[list(stages).index(top) + 1 :]
    parts: list[nn.Module] = [stages[top][int(place) + 1 :]] if place else []  # type: ignore[index]
    for name in after:
        if isinstance(stages[name], nn.Linear):
            parts.append(nn.Flatten(1))
        parts.append(stages[name])
    if not isinstance(parts[-1], nn.Linear):
        parts.append(nn.Flatten(1))
    return nn.Sequential(*parts)


def tail_of(net: pl.Network, layer: str, images: Tensor) -> pl.Network:
    """The network behind a layer; checked on images. Raises ValueError where something goes past the layer."""
    shape = net.layers_at((int(images.shape[2]), int(images.shape[3])))[layer].shape
    module = copy.deepcopy(behind(net.module, layer)).eval()
    tail = pl.Network(
        module, net.preprocess, name=f"{net.name} behind {layer}", classes=net.classes, input_shape=shape
    )
    trace = capture(net, images, [layer], gradients=False)
    with torch.no_grad():
        again = tail(trace.activations[layer].clone())
    if not torch.allclose(again, trace.output, rtol=1e-3, atol=1e-3):
        raise ValueError(
            f"Expected everything of `{net.name}` to pass through `{layer}`, but something goes past it."
        )
    return tail


def cases(
    name: str, layers: Sequence[str], counts: dict[str, int], net: pl.Network | None = None
) -> Iterator[Case]:
    """Every layer of a network, on ``counts`` pictures of every class in each part."""
    net = net or network(name)
    classes = tuple(ANIMALS.values()) if name in PRETRAINED else CLASSES
    index = _outputs() if name in PRETRAINED else tuple(range(len(CLASSES)))
    kept: dict[str, dict[str, list[Tensor]]] = {layer: {part: [] for part in PARTS} for layer in layers}
    labels: dict[str, list[int]] = {part: [] for part in PARTS}
    images: list[Tensor] = []
    for part in PARTS:
        for label, pictures in enumerate(_pictures(name, part, counts)):
            for first in range(0, len(pictures), 16):
                batch = torch.cat(
                    [to_batch(each, net.preprocess)[0] for each in pictures[first : first + 16]]
                )
                images += [batch] if part == "rank" else []
                trace = capture(net, batch, layers, gradients=False)
                labels[part] += [label] * len(batch)
                for layer in layers:
                    found = trace.activations[layer]
                    kept[layer][part].append(found if part == "rank" else found.bfloat16())
    for layer in layers:
        tail = tail_of(net, layer, images[0][:2])
        quick = copy.deepcopy(tail.module).bfloat16().to(memory_format=torch.channels_last)
        parts = {part: Held(torch.cat(kept[layer].pop(part)), torch.tensor(labels[part])) for part in PARTS}
        operations = [_operations(net, images[0][:1]), _operations(tail, parts["rank"].activation[:1])]
        share = operations[1] / operations[0]
        yield Case(name, layer, net, torch.cat(images), share, tail, quick, classes, index, parts)


def _operations(net: pl.Network, images: Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(images)
    return int(counter.get_total_flops())


def _outputs() -> tuple[int, ...]:
    table: dict[str, list[str]] = json.loads((assets() / "images/imagenet_class_index.json").read_text())
    place = {wnid: int(index) for index, (wnid, _) in table.items()}
    return tuple(place[wnid] for wnid in ANIMALS)


def _pictures(name: str, part: str, counts: dict[str, int]) -> Iterator[list[Any]]:
    """The pictures of every class in turn: parts never share one."""
    skipped = counts["rank"] if part == "choose" else 0
    chosen = slice(skipped, skipped + counts[part])
    if name not in PRETRAINED:
        split = "test" if part == "test" else "train"
        for each in CLASSES:
            first = FRESH if part == "test" else chosen.start
            numbers = range(first, first + counts[part])
            yield [render(draw(n, class_name=each, split=split)).image for n in numbers]
        return
    boxes = _boxes(assets() / "parts", "test" if part == "test" else "train")
    for wnid in ANIMALS:
        yield [_cropped(*each) for each in boxes[wnid][chosen]]


def _boxes(folder: Path, split: str) -> dict[str, list[tuple[Path, tuple[float, ...]]]]:
    """Largest object box of every picture of a split, by category."""
    largest: dict[str, dict[str, tuple[float, ...]]] = {wnid: {} for wnid in ANIMALS}
    with (folder / "animals/boxes.csv").open() as stream:
        for row in csv.DictReader(stream):
            if row["kind"] == "object" and row["split"] == split and row["wnid"] in ANIMALS:
                box = tuple(float(row[key]) for key in ("x0", "y0", "x1", "y1"))
                known = largest[row["wnid"]].get(row["image"])
                if known is None or _area(box) > _area(known):
                    largest[row["wnid"]][row["image"]] = box
    return {
        wnid: [(folder / image, box) for image, box in sorted(found.items())]
        for wnid, found in largest.items()
    }


def _area(box: tuple[float, ...]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _cropped(file: Path, box: tuple[float, ...]) -> Image.Image:
    """A square about the object's box, as far as the picture reaches."""
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    x0, y0, x1, y1 = box
    half = max(x1 - x0, y1 - y0) * (0.5 + MARGIN)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    corners = (
        max(x - half, 0),
        max(y - half, 0),
        min(x + half, picture.width),
        min(y + half, picture.height),
    )
    return picture.crop(tuple(round(each) for each in corners))
