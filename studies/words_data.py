"""Pictures, labels and networks of the study of words: photographs of the assets, in two halves by a hash of the file's name."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

import pellucid as pl
from pellucid.core.network import Network
from pellucid.naming import imagenet_hierarchy
from pellucid.naming.hierarchy import Noun

NETWORKS = ("resnet50", "resnet18", "squeezenet", "efficientnet-lite0")
_FILES = {
    "resnet50": ("resnet50", "resnet50_pqf"),
    "resnet18": ("resnet18", "resnet18_pqf"),
    "squeezenet": ("squeezenet1_0", "squeezenet1_0"),
}
LEAST = 0.04  # share of the picture from which on a labeled region counts

# MSRC's object labels → the nouns of WordNet under which a name is right
KINDS = {
    "building": (  # also castles, roofs, arches, towers, places of business, dwellings, bell cotes, domes
        "n02913152", "n02914991", "n03385557", "n04105068", "n02733524", "n04460130", "n03297735", "n03546340", "n02825657",
        "n03220513",
    ),
    "cow": ("n02402010", "n02407959"),
    "horse": ("n02374149",),
    "sheep": ("n02411705", "n02415435"),
    "aeroplane": ("n02686568",),
    "car": ("n03791235",),
    "bicycle": ("n02834778",),
    "flower": ("n11669921",),
    "sign": ("n04217882", "n06793231", "n06791372"),
    "bird": ("n01503061",),
    "book": ("n02870880", "n02871525", "n03661043", "n06596364", "n07248320"),
    "chair": ("n04161981",),
    "cat": ("n02120997",),
    "dog": ("n02083346",),
    "boat": ("n04530566",),
}  # fmt: skip


def network(name: str, assets: Path) -> Network:
    """One of the study's networks."""
    if name not in _FILES:
        return pl.load(name)
    architecture, file = _FILES[name]
    weights = assets / "weights" / f"{file}.safetensors"
    return pl.load(f"torchvision:{architecture}", weights=weights, classes="imagenet", name=name)


def half(name: str) -> str:
    """The half a file belongs to: ``tuning`` or ``reporting``."""
    return ("tuning", "reporting")[hashlib.sha256(name.encode()).digest()[0] % 2]


def _order(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[1:]


@dataclass(frozen=True)
class Labeled:
    """A photograph with a mask whose values are labels."""

    name: str
    image: Path
    mask: Path
    labels: dict[int, str]

    def read(self, net: Network) -> tuple[Tensor, dict[str, Bool[Tensor, "height width"]]]:
        """The normalized image [1 channel height width], and where each label is that covers enough."""
        with Image.open(self.image) as picture:
            image = net.preprocess(picture.convert("RGB"))[None]
        with Image.open(self.mask) as picture:
            values = np.asarray(picture)
        height, width = int(image.shape[2]), int(image.shape[3])
        rows, columns = net.preprocess.positions(
            (values.shape[1], values.shape[0]), (height, width), (height, width)
        )
        sampled = values[
            (rows * values.shape[0]).astype(int)[:, None], (columns * values.shape[1]).astype(int)
        ]
        masks = {name: torch.from_numpy(sampled == value) for value, name in self.labels.items()}
        return image, {name: mask for name, mask in masks.items() if float(mask.float().mean()) >= LEAST}


def labeled(assets: Path, which: str, source: str = "msrc") -> list[Labeled]:
    """The labeled photographs of one half of a set, in an order that does not depend on their content."""
    folder = assets / "parts"
    with (folder / "labels.csv").open(encoding="utf-8") as stream:
        labels = {
            int(row["label_id"]): row["group"] for row in csv.DictReader(stream) if row["set"] == source
        }
    with (folder / "index.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["set"] == source and half(row["name"]) == which]
    rows.sort(key=lambda row: _order(row["name"]))
    return [Labeled(row["name"], folder / row["image"], folder / row["mask"], labels) for row in rows]


def photographs(assets: Path, which: str) -> Iterator[tuple[str, int, Path]]:
    """(name, class, file) of the photographs of one half of ImageNet's sample."""
    folder = assets / "images"
    with (folder / "labels.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if half(row["file"]) == which]
    for row in sorted(rows, key=lambda row: _order(row["file"])):
        yield row["file"], int(row["class_index"]), folder / row["file"]


@cache
def right(kind: str) -> Bool[Tensor, " class"]:
    """Which classes WordNet puts under a label."""
    return imagenet_hierarchy().under(*KINDS[kind])


@cache
def _tops(kind: str) -> tuple[frozenset[int], ...]:
    nouns = {noun.key: noun for noun in imagenet_hierarchy().nouns}
    return tuple(frozenset(nouns[key].classes) for key in KINDS[kind])


def true_of(noun: Noun | int, kind: str) -> bool:
    """Whether a class or noun is under a label, or a label's noun under it."""
    classes = {noun} if isinstance(noun, int) else set(noun.classes)
    return classes <= set(right(kind).nonzero()[:, 0].tolist()) or any(classes >= top for top in _tops(kind))
