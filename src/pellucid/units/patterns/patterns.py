"""What mining finds: patterns with their shares and regions, and the set of them with its file.

A pattern is present in an image when all its channels are in one transaction of the image, by the very rule, scales and
number of channels they were mined with; `Patterns.present` applies it to the maps of any image.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.bundle import SUFFIX, Arrays, Kind
from pellucid.core.documents import Count, DocumentError, FlawError, Share, Side
from pellucid.core.geometry import Geometry
from pellucid.core.network import Network
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.core.storage import fingerprint
from pellucid.units.patterns.settings import Mining
from pellucid.units.patterns.shares import Shares
from pellucid.units.patterns.transactions import at_cells, members, peaks, winning

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Occurrence:
    """A pattern in one image: ``image`` is its place among the mined images, ``held_out`` whether it took part.

    ``cells`` (row, column) and ``fields`` (receptive fields: top, left, bottom, right, end excluded) are those of every
    channel's largest value; ``evidence`` [h w] is the mean of the channels' values over their peaks.
    """

    image: int
    held_out: bool
    cells: tuple[tuple[int, int], ...]
    fields: tuple[Box, ...]
    evidence: Float[Tensor, "h w"]


@dataclass(frozen=True, eq=False)
class Pattern:
    """Channels of one layer that are active together in images of one class; ``held_out`` is None where nothing was."""

    name: str
    target: int
    layer: str
    channels: tuple[int, ...]
    mined: Shares
    held_out: Shares | None
    occurrences: tuple[Occurrence, ...] = ()

    @property
    def shares(self) -> Shares:
        """On held-out images where there are any, else on the mined ones."""
        return self.held_out or self.mined

    @property
    def label(self) -> str:
        """``"car 3+82+84"``."""
        return f"{self.name} {'+'.join(map(str, self.channels))}"


@dataclass(frozen=True)
class Summary:
    """Of one class: images mined and held out, rules accepted and kept, and the largest support and confidence there were."""

    name: str
    images: int
    held_out: int
    accepted: int
    kept: int
    largest_support: float
    largest_confidence: float


@dataclass(frozen=True, eq=False)
class Patterns:
    """The patterns of a layer; made by `mine`.

    ``scale`` [unit]: what a channel's activation is divided by. ``geometry``: the effective grid of the layer at ``size``.
    ``labels``: whether classes were given or predicted. ``notes``: what else has to be known, in words.
    """

    layer: str
    patterns: tuple[Pattern, ...]
    summary: tuple[Summary, ...]
    scale: Float[Tensor, " unit"]
    settings: Mining
    geometry: Geometry
    size: tuple[int, int]
    network: str
    sha256: str
    labels: str
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.patterns)

    def __repr__(self) -> str:
        classes = len({one.name for one in self.patterns})
        return f"Patterns({self.layer!r}, {len(self)} patterns of {classes} classes of {self.network!r})"

    def of_class(self, name: str) -> tuple[Pattern, ...]:
        """The patterns of a class, the most telling first. Raises UnknownNameError for a class that was not mined."""
        known = [one.name for one in self.summary]
        if name not in known:
            raise UnknownNameError(f"Expected a class that was mined, got `{name}`; {suggest(name, known)}")
        return tuple(one for one in self.patterns if one.name == name)

    def values(self, maps: Float[Tensor, "image unit h w"]) -> Float[Tensor, "image cell unit"]:
        """The channels' values by which transactions are made. Raises ValueError for another number of channels."""
        if maps.ndim != 4 or maps.shape[1] != len(self.scale):
            raise ValueError(
                f"Expected maps [image {len(self.scale)} h w] of layer `{self.layer}`, got {tuple(maps.shape)}."
            )
        whole = self.settings.where == "image"
        found = peaks(maps) if whole else at_cells(maps, winning(maps, self.scale, self.settings.cells))
        return found / self.scale.to(found)

    def present(self, maps: Float[Tensor, "image unit h w"]) -> Bool[Tensor, "image pattern"]:
        """Which patterns are present in images with these maps of the layer."""
        rows = members(self.values(maps), self.settings.top)
        found = [rows[:, :, list(one.channels)].all(2).any(1) for one in self.patterns]
        return torch.stack(found, 1)

    def occurrence(
        self, one: Pattern, maps: Float[Tensor, "unit h w"], image: int, held_out: bool = False
    ) -> Occurrence:
        """Where a pattern lies in an image with these maps of the layer."""
        channels = list(one.channels)
        mine = maps[channels].float().clamp(min=0)
        width = mine.shape[2]
        best = [int(cell) for cell in mine.flatten(1).argmax(1)]
        cells = tuple((cell // width, cell % width) for cell in best)
        fields = tuple(self.geometry.region(*cell, self.size) for cell in cells)
        high = mine.amax((1, 2), keepdim=True)
        return Occurrence(image, held_out, cells, fields, (mine / torch.where(high > 0, high, 1)).mean(0))

    def check(self, net: Network) -> None:
        """Raises ValueError where the patterns were mined in another network."""
        digest = fingerprint(net.module)
        if digest != self.sha256:
            raise ValueError(
                f"Expected patterns of this network, `{net.name}` with weights {digest[:12]}, got those of `{self.network}` "
                f"with weights {self.sha256[:12]}; try `pellucid patterns` with this network."
            )

    def to_json(self) -> dict[str, Any]:
        """Everything but maps and scales, as JSON can hold it."""
        return {
            "network": {"name": self.network, "sha256": self.sha256},
            "layer": self.layer,
            "units": len(self.scale),
            "size": list(self.size),
            "geometry": {key: list(value) for key, value in asdict(self.geometry).items()},
            "labels": self.labels,
            "settings": asdict(self.settings),
            "classes": [asdict(one) for one in self.summary],
            "patterns": [_row(one) for one in self.patterns],
            "notes": list(self.notes),
        }

    def save(self, folder: str | Path, stem: str = "patterns") -> Path:
        """Write ``<stem>.safetensors``; returns the folder. Read back by `load_patterns`."""
        evidence = [found.evidence for one in self.patterns for found in one.occurrences]
        arrays = {"scale": self.scale}
        if evidence:
            arrays["evidence"] = torch.stack(evidence)
        return PATTERNS.write(Path(folder) / f"{stem}{SUFFIX}", self.to_json(), arrays).parent


class PatternsError(DocumentError):
    """Stored patterns that cannot be read."""


class _Origin(msgspec.Struct, frozen=True):
    name: str
    sha256: str


class _Occurrence(msgspec.Struct, frozen=True):
    image: Count
    held_out: bool
    cells: tuple[tuple[Count, Count], ...]
    fields: tuple[tuple[Count, Count, Count, Count], ...]


class _Shares(msgspec.Struct, frozen=True):
    own: Count
    own_images: Count
    rest: Count
    rest_images: Count


class _Summary(msgspec.Struct, frozen=True):
    name: str
    images: Count
    held_out: Count
    accepted: Count
    kept: Count
    largest_support: Share
    largest_confidence: Share


class _Pattern(msgspec.Struct, frozen=True):
    name: str = msgspec.field(name="class")
    target: Count
    channels: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1)]
    mined: _Shares
    held_out: _Shares | None
    occurrences: tuple[_Occurrence, ...]


class _Facts(msgspec.Struct, frozen=True):
    """What stored patterns say of themselves."""

    network: _Origin
    layer: str
    size: tuple[Side, Side]
    geometry: Geometry
    labels: str
    settings: Mining
    classes: tuple[_Summary, ...]
    patterns: tuple[_Pattern, ...]
    notes: tuple[str, ...]
    units: Count | None = None  # not told before version 2


PATTERNS = Kind("pellucid patterns", 2, _Facts, "mining them anew with `pellucid patterns`", PatternsError)


def load_patterns(folder: str | Path, net: Network | None = None) -> Patterns:
    """The patterns that `Patterns.save` or ``pellucid patterns`` wrote into a folder, or those of one file.

    Raises FileNotFoundError where there are none, ValueError (PatternsError) for damaged files and, with ``net``, for another
    network's.
    """
    place = Path(folder)
    file = place if place.suffix in (".json", SUFFIX) else place / "patterns.json"
    if not file.is_file() and not file.with_suffix(SUFFIX).is_file():
        raise FileNotFoundError(
            f"Expected a folder with patterns.safetensors, got `{folder}`; try `pellucid patterns --out FOLDER` first."
        )
    bundle = PATTERNS.read(file)
    try:
        patterns = _read(bundle.facts, bundle.arrays)
    except FlawError as flaw:
        raise PATTERNS.damaged(file, flaw) from None
    if net is not None:
        patterns.check(net)
    return patterns


def _row(one: Pattern) -> dict[str, Any]:
    return {
        "class": one.name,
        "target": one.target,
        "channels": list(one.channels),
        "mined": asdict(one.mined),
        "held_out": None if one.held_out is None else asdict(one.held_out),
        "occurrences": [
            {
                "image": found.image,
                "held_out": found.held_out,
                "cells": [list(cell) for cell in found.cells],
                "fields": [list(box) for box in found.fields],
            }
            for found in one.occurrences
        ],
    }


def _read(facts: _Facts, arrays: Arrays) -> Patterns:
    """The patterns of a file, checked to fit together. Raises FlawError."""
    scale = torch.from_numpy(arrays.take("scale", "floating", (facts.units,), 0))
    count = sum(len(row.occurrences) for row in facts.patterns)
    stored = arrays.take("evidence", "floating", (count, None, None), 0, 1) if count else ()
    evidence = iter(map(torch.from_numpy, stored))
    patterns = []
    for place, row in enumerate(facts.patterns):
        path = f"patterns[{place}]"
        if max(row.channels) >= len(scale):
            raise FlawError(f"{path}.channels: expected channels below {len(scale)}, got {max(row.channels)}")
        mined = Shares(**msgspec.structs.asdict(row.mined))
        held_out = None if row.held_out is None else Shares(**msgspec.structs.asdict(row.held_out))
        for name, shares in (("mined", mined), ("held_out", held_out)):
            if shares is not None and not shares.possible:
                raise FlawError(f"{path}.{name}: expected parts of the images, got {shares}")
        occurrences = []
        for number, each in enumerate(row.occurrences):
            if not len(each.cells) == len(each.fields) == len(row.channels):
                raise FlawError(
                    f"{path}.occurrences[{number}]: expected a cell and a field of {len(row.channels)} channels, got "
                    f"{len(each.cells)} and {len(each.fields)}"
                )
            occurrences.append(Occurrence(each.image, each.held_out, each.cells, each.fields, next(evidence)))
        patterns.append(
            Pattern(row.name, row.target, facts.layer, row.channels, mined, held_out, tuple(occurrences))
        )
    return Patterns(
        facts.layer,
        tuple(patterns),
        tuple(Summary(**msgspec.structs.asdict(each)) for each in facts.classes),
        scale,
        facts.settings,
        facts.geometry,
        facts.size,
        facts.network.name,
        facts.network.sha256,
        facts.labels,
        facts.notes,
    )
