"""A book of concepts: directions found in a layer over the user's own pictures, and its file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.bundle import SUFFIX, Kind
from pellucid.core.capture import Trace, capture
from pellucid.core.documents import Count, DocumentError, Positive, Sha256
from pellucid.core.geometry import upsample
from pellucid.core.layers import Layer
from pellucid.core.network import Network
from pellucid.core.storage import fingerprint
from pellucid.naming.book.factorizing import How, loadings

HEIGHT = 0.5  # of a concept's largest value in a picture, from which on a pixel belongs to its region

Box = tuple[int, int, int, int]


class Crop(msgspec.Struct, frozen=True):
    """Where a concept is strongest in a picture: its place among the pictures, name, box at input size, and value."""

    image: Count
    name: str
    box: tuple[int, int, int, int]
    value: float


class Facts(msgspec.Struct, frozen=True):
    """What is known of a concept.

    Attributes:
        words: The classes that lose most when it is taken away, the most first.
        broader: The noun above most of that loss, or None.
        crops: Its strongest examples, the strongest first.
        share: Of the predicted class's score above that of empty activations, how much falls when it is taken away; mean.
        estimate: The same by gradient times part.
        control: The same for a random direction of the same size in the same cells.
        measured: In how many pictures.
        seeds: Cosine with its partner under other starts, mean; None where there was but one.
        halves: Cosine with its partner in both halves of the pictures, mean; None with fewer than four pictures.
        given: Name given by the user.
    """

    words: tuple[str, ...]
    broader: str | None
    crops: tuple[Crop, ...]
    share: float
    estimate: float
    control: float
    measured: Positive
    seeds: float | None = None
    halves: float | None = None
    given: str | None = None


class _Facts(msgspec.Struct, frozen=True):
    network: str
    sha256: Sha256
    layer: str
    method: str
    pictures: Positive
    explained: Annotated[float, msgspec.Meta(le=1)]
    concepts: tuple[Facts, ...]
    notes: tuple[str, ...] = ()


KIND = Kind("pellucid concept book", 2, _Facts, "to find the concepts again with `pellucid concepts`")


@dataclass(frozen=True, eq=False)
class Seen:
    """A concept in one picture.

    Attributes:
        index: Which of the book's.
        part: Its part of the activations, [1 unit h w].
        mask: Its region at input size, [height width].
        value: Its largest value.
    """

    index: int
    part: Float[Tensor, "1 unit h w"]
    mask: Bool[Tensor, "height width"]
    value: float


@dataclass(frozen=True, eq=False)
class Book:
    """Concepts of one layer of one network.

    Attributes:
        network: Name of the network.
        sha256: Of its weights.
        layer: Where the directions are.
        method: How they were found.
        directions: [concept unit], of length 1.
        concepts: What is known of each, the largest share of the decision first.
        pictures: In how many pictures.
        explained: Share of the squared activations that the directions explain together.
        notes: What a reader has to know.
    """

    network: str
    sha256: str
    layer: str
    method: How
    directions: Float[Tensor, "concept unit"]
    concepts: tuple[Facts, ...]
    pictures: int
    explained: float
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.concepts)

    def __iter__(self) -> Iterator[Facts]:
        return iter(self.concepts)

    @property
    def fingerprint(self) -> str:
        """A short name of these very directions, under which given names are kept."""
        return hashlib.sha256(self.directions.cpu().contiguous().numpy().tobytes()).hexdigest()[:12]

    def save(self, folder: str | Path, stem: str = "concepts") -> Path:
        """Write the book to ``folder/stem.safetensors``; returns the file."""
        facts = _Facts(
            self.network,
            self.sha256,
            self.layer,
            self.method,
            self.pictures,
            self.explained,
            self.concepts,
            self.notes,
        )
        return KIND.write(Path(folder) / f"{stem}{SUFFIX}", facts, {"directions": self.directions})

    def check(self, net: Network) -> Layer:
        """The layer of ``net`` that the book is about. Raises DocumentError for another network's book."""
        if fingerprint(net.module) != self.sha256:
            raise DocumentError(
                f"Expected concepts of `{net.name}`, got those of `{self.network}` with other weights; try to find them again "
                "with `pellucid concepts`."
            )
        return net.layer(self.layer)

    def look(
        self, net: Network, images: Trace | Float[Tensor, "1 channel height width"], image: int = 0
    ) -> list[Seen]:
        """The concepts in a picture, in the book's order; those that are nowhere in it are left out.

        Args:
            net: The book's network.
            images: A trace that holds the book's layer, or normalized images.
            image: Which of them.
        """
        self.check(net)
        pixels = images.images if isinstance(images, Trace) else images
        size = (int(pixels.shape[2]), int(pixels.shape[3]))
        layer = net.layers_at(size)[self.layer]
        keep = slice(image, image + 1 or None)
        if isinstance(images, Trace) and self.layer in images.activations:
            activation = images.activations[self.layer][keep]
        else:
            activation = capture(net, pixels[keep], [self.layer], gradients=False).activations[self.layer]
        strength = self.strength(activation)[0]
        found = []
        for index, map_ in enumerate(strength):
            value = float(map_.max())
            if value > 0:
                part = self.directions[index].to(activation)[None, :, None, None] * map_
                found.append(Seen(index, part, region(map_, layer, size), value))
        return found

    def strength(self, activation: Float[Tensor, "batch unit h w"]) -> Float[Tensor, "batch concept h w"]:
        """How much of each concept is in every cell."""
        batch, _, h, w = activation.shape
        rows = activation.relu().movedim(1, -1).flatten(0, 2).detach().cpu().float().numpy()
        made = loadings(rows, self.directions.cpu().numpy(), self.method)
        return torch.from_numpy(made).view(batch, h, w, -1).movedim(-1, 1).to(activation)


def region(map_: Float[Tensor, "h w"], layer: Layer, size: tuple[int, int]) -> Bool[Tensor, "height width"]:
    """Where a concept is in a picture: pixels of at least `HEIGHT` of its largest value."""
    grid = layer.geometry.effective((int(map_.shape[0]), int(map_.shape[1])), size)
    pixels = upsample(map_[None].detach().cpu(), grid, size, size)[0]
    return pixels >= HEIGHT * pixels.max().clamp(min=torch.finfo(pixels.dtype).tiny)


def box_of(mask: Bool[Tensor, "height width"]) -> Box:
    """The box around a region that is not empty: top, left, bottom, right, end excluded."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def load_book(file: str | Path) -> Book:
    """Read a book of concepts, with the names that its user gave.

    Args:
        file: The file, or a folder that holds ``concepts.safetensors``.

    Raises:
        FileNotFoundError: Where there is none.
        DocumentError: In one line, for a file that is damaged or something else.
    """
    path = Path(file).expanduser()
    path = path / f"concepts{SUFFIX}" if path.is_dir() else path
    read: Any = KIND.read(path)
    facts = read.facts
    given = read.arrays.take("directions", np.float32, (len(facts.concepts), None))
    if facts.method not in ("nmf", "kmeans", "units"):
        raise KIND.damaged(path, f"method: expected nmf, kmeans or units, got {facts.method[:20]}")
    return Book(
        facts.network, facts.sha256, facts.layer, facts.method, torch.from_numpy(given), facts.concepts, facts.pictures,
        facts.explained, facts.notes,
    )  # fmt: skip
