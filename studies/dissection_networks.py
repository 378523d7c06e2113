"""The networks and sets of concepts that `studies/dissection.py` works with, and what it keeps of a unit table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.storage import fingerprint
from pellucid.data.concepts import ConceptSource, Labels, open_concepts
from pellucid.data.images import Picture
from pellucid.data.preprocess import Preprocess
from pellucid.dissection import UnitTable, dissect
from pellucid.dissection.comparing import compare
from pellucid.dissection.table import THRESHOLD
from pellucid.zoo import embedded

EMBEDDED = ("scenes-vgg", "scenes-resnet")
PRETRAINED = {"resnet18": "resnet18_pqf", "resnet50": "resnet50_pqf", "squeezenet1_0": "squeezenet1_0"}
ALEXNET = "alexnet"  # its convolutions only
REAL = (ALEXNET, "squeezenet1_0", "resnet18", "resnet50")
PARTS = "carparts,msrc,ccp,dtd10"
DRAWS = 8  # of what is to be expected by chance; units of a layer meet the same pictures, so that few draws say little
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class AlexNetConvolutions(nn.Module):
    """The convolutions of BVLC's AlexNet; what it gives is the mean over the last map, since the rest is not at hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 11, 4)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.relu1, self.relu2, self.relu3, self.relu4, self.relu5 = (nn.ReLU() for _ in range(5))
        self.norm1, self.norm2 = (nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0) for _ in range(2))
        self.pool1, self.pool2 = (nn.MaxPool2d(3, 2, ceil_mode=True) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        """Means [batch 256] of the last map of images [batch 3 227 227]."""
        x = self.pool1(self.norm1(self.relu1(self.conv1(images))))
        x = self.pool2(self.norm2(self.relu2(self.conv2(x))))
        x = self.relu5(self.conv5(self.relu4(self.conv4(self.relu3(self.conv3(x))))))
        return torch.as_tensor(x.mean((2, 3)))


class Some(ConceptSource):
    """``count`` pictures evenly out of a set (all, where there are fewer), read once and kept where ``keep``."""

    def __init__(self, inner: ConceptSource, count: int, *, keep: bool = False) -> None:
        super().__init__(inner.name, inner.concepts, inner.view)
        count = min(count, len(inner))
        self.inner, self.indices = inner, [place * len(inner) // count for place in range(count)]
        self.kept: dict[int, tuple[Picture, Labels]] | None = {} if keep else None

    def __len__(self) -> int:
        return len(self.indices)

    def picture_name(self, index: int) -> str:
        """As in the set it is taken from."""
        return self.inner.picture_name(self.indices[index])

    def picture(self, index: int) -> Picture:
        """A picture."""
        return self._both(index)[0]

    def labels(self, index: int) -> Labels:
        """Its truth."""
        return self._both(index)[1]

    def split(self, index: int) -> str:
        """As in the set it is taken from."""
        return self.inner.split(self.indices[index])

    def _both(self, index: int) -> tuple[Picture, Labels]:
        if self.kept is not None and index in self.kept:
            return self.kept[index]
        found = self.inner.picture(self.indices[index]), self.inner.labels(self.indices[index])
        if self.kept is not None:
            self.kept[index] = found
        return found


def assets() -> Path | None:
    """Where pretrained weights and photographs lie; None without ``PELLUCID_ASSETS``."""
    folder = os.environ.get("PELLUCID_ASSETS")
    return Path(folder) if folder else None


def network(name: str, *, random: int | None = None) -> pl.Network:
    """A network of the study by name; with ``random``, freshly initialized from that seed."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(random or 0)
        if name in EMBEDDED:
            if random is None:
                return pl.load(name)
            return pl.load(embedded.architecture(name)(), preprocess=Preprocess.scenes())
        folder = assets()
        assert folder is not None, "pretrained networks need PELLUCID_ASSETS"
        if name == ALEXNET:
            module = AlexNetConvolutions()
            if random is None:
                stored = load_file(folder / "weights" / "alexnet_bvlc_conv.safetensors")
                module.load_state_dict({key: value.float() for key, value in stored.items()})
            preprocess = Preprocess(227, 227, *IMAGENET)
            return pl.load(module.eval(), preprocess=preprocess)
        weights = None if random is not None else folder / "weights" / f"{PRETRAINED[name]}.safetensors"
        return pl.load(f"torchvision:{name}", weights=weights)


def stages(name: str, net: pl.Network) -> list[str]:
    """The layers to dissect, shallow to deep."""
    return [f"relu{n}" for n in range(1, 6)] if name == ALEXNET else list(net.default_layers)


def concepts(name: str, count: int, *, keep: bool = False) -> ConceptSource:
    """The set a network is dissected with: validation scenes, or photographs of cars, objects, clothes and textures."""
    if name in REAL:
        folder = assets()
        assert folder is not None, "photographs need PELLUCID_ASSETS"
        return Some(open_concepts(f"folder:{folder}/parts:{PARTS}"), count, keep=keep)
    return Some(open_concepts(f"scenes:val/0-{count - 1}"), count, keep=keep)


def measured(
    net: pl.Network, source: ConceptSource, layers: Sequence[str], draws: int = DRAWS, **settings: Any
) -> dict[str, UnitTable]:
    """`dissect` without bars, intervals and examples."""
    return dissect(net, source, layers, progress=False, resamples=0, examples=0, draws=draws, **settings)


def row(table: UnitTable) -> dict[str, Any]:
    """What is kept of a table: its summary, and per category the units whose label holds on the pictures held out."""
    found = compare({"": table, "again": table}).summaries[""]
    held = table.held_out_scores
    chance = table.chance_scores
    kept = {
        "layer": found.layer,
        "shape": None,
        "units": found.units,
        "detectors": found.detectors,
        "unique": found.unique,
        "unique top": found.unique_top,
        "by chance": _rounded(found.chance, 2),
        "held out": found.confirmed,
        "held out unique": None if held is None else len(np.unique(table._fit_label[held > THRESHOLD])),
        "mean iou": _rounded(found.score),
        "mean held-out iou": _rounded(found.held_out),
        "mean iou by chance": None if chance is None else _rounded(float(chance.mean())),
        "categories": {
            name: {key: counts[key] for key in ("detectors", "unique")}
            for name, counts in found.categories.items()
        },
    }
    if chance is not None:
        # a concept that is large, or always at one place, is met by chance: what no mask on foreign pictures reaches is real
        limit = float(np.quantile(chance, 0.95))
        above = table.score > max(limit, THRESHOLD)
        kept["chance, 95 %"] = _rounded(limit)
        kept["above chance"] = int(above.sum())
        kept["above chance unique"] = len(np.unique(table.label[above]))
    if held is not None:
        own = table.category_of[table._fit_label]
        for place, name in enumerate(table.categories):
            kept["categories"][name]["held out"] = int(((held > THRESHOLD) & (own == place)).sum())
    return kept


def rows(net: pl.Network, tables: Mapping[str, UnitTable]) -> list[dict[str, Any]]:
    """`row` for every layer, with its shape."""
    return [row(table) | {"shape": list(net.layer(name).shape)} for name, table in tables.items()]


def facts(net: pl.Network, source: ConceptSource) -> dict[str, Any]:
    """What it takes to measure again: the hash of the weights and of the set."""
    return {
        "weights sha256": fingerprint(net.module)[:16],
        "concepts": source.facts() | {"sha256": source.facts()["sha256"][:16]},
    }


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)
