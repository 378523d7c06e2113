"""`concepts`: directions in a layer over the user's own pictures, each with what it is worth, words, and how steady it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import capture
from pellucid.core.layers import Layer
from pellucid.core.network import Network
from pellucid.core.storage import fingerprint
from pellucid.core.tail import Tail
from pellucid.data.pictures import each_picture
from pellucid.data.preprocess import to_batch
from pellucid.naming.book.book import Book, Box, Crop, Facts, box_of, region
from pellucid.naming.book.factorizing import METHODS, How, Rows, directions, explained, loadings, matched
from pellucid.naming.cells import last_layer
from pellucid.naming.given import GivenNames
from pellucid.naming.naming import Vocabulary, vocabulary

MEMORY = 1 << 30  # bytes of activations that are held
ROWS = 6000  # cells that are factorized
BATCH = 16


@dataclass(frozen=True)
class Finding:
    """How concepts are found.

    Attributes:
        count: How many are looked for.
        method: "nmf", "kmeans" or "units".
        most: Pictures at most; of more the first are taken, with a note.
        crops: Examples of each.
        measured: Pictures in which each is taken away.
        seeds: Starts that are compared; 1 for none.
        seed: Of the cells drawn and of the random directions.
    """

    count: int = 8
    method: How = "nmf"
    most: int = 500
    crops: int = 8
    measured: int = 16
    seeds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("most", 1), ("crops", 1), ("measured", 1), ("seeds", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"Expected `{name}` to be at least {least}, got {getattr(self, name)}.")
        if self.method not in METHODS:
            raise ValueError(f"Expected `method` to be one of {', '.join(METHODS)}, got {self.method!r}.")


@dataclass(frozen=True, eq=False)
class _Seen:
    """The pictures with their activations."""

    names: list[str]
    images: list[Tensor]  # the first few, to take concepts away from
    activations: Float[Tensor, "picture unit h w"]
    size: tuple[int, int]
    notes: tuple[str, ...]


def concepts(
    net: Network,
    images: Any,
    layer: str | None = None,
    *,
    words: Vocabulary | None = None,
    **settings: Any,
) -> Book:
    """Concepts in the user's own pictures: directions of a layer with examples, words, and what they are worth.

    Args:
        net: The network.
        images: A folder, paths, PIL images, arrays, or a list of these: at least one picture.
        layer: Where to look; by default the deepest layer with several cells.
        words: The network's vocabulary, made anew where it is not given.
        **settings: See `Finding`: ``count``, ``method``, ``most``, ``crops``, ``measured``, ``seeds``, ``seed``.

    Returns:
        A `Book`, the concept with the largest share of the decision first.

    Raises:
        ImageError: Where nothing is a picture.
        ValueError: For settings out of range, or a layer that is zero in every picture.

    Example:
        >>> import pellucid as pl
        >>> net = pl.load("scenes-resnet")
        >>> book = pl.concepts(net, [np.full((64, 64, 3), 40 * i, np.uint8) for i in range(1, 4)], count=2, seeds=1, measured=1)
        >>> 1 <= len(book) <= 2
        True
    """
    how = Finding(**settings)
    name = layer or last_layer(net)
    place = net.layer(name)
    seen = _see(net, images, place, how)
    words = words or vocabulary(net)
    rows = _rows(seen.activations, how.seed)
    if not len(rows):
        raise ValueError(
            f"Expected activations at layer `{name}` of `{net.name}`, got zero in every picture; try another layer."
        )
    found = directions(rows, how.count, how.method)
    made = np.concatenate([loadings(_flat(part[None]), found, how.method) for part in seen.activations])
    h, w = int(seen.activations.shape[2]), int(seen.activations.shape[3])
    strength = torch.from_numpy(made).view(len(seen.names), h, w, -1).movedim(-1, 1)
    worth = _worth(net, name, seen, strength, torch.from_numpy(found), how)
    steady = _steadiness(seen.activations, rows, found, how)
    cells = net.layers_at(seen.size)[name]
    crops = [_crops(strength[:, index], seen, cells, how.crops) for index in range(len(found))]
    facts = [_facts(index, words, worth, steady, crops[index]) for index in range(len(found))]
    order = sorted(range(len(found)), key=lambda index: -facts[index].share)
    share = explained(_flat(seen.activations), made, found)
    ordered = torch.from_numpy(found[order])
    book = Book(
        net.name, fingerprint(net.module), name, how.method, ordered, tuple(facts[index] for index in order), len(seen.names),
        share, seen.notes,
    )  # fmt: skip
    return book if words.given is None else with_names(book, words.given)


def with_names(book: Book, given: GivenNames) -> Book:
    """The book with the names that its user gave its concepts."""
    named = tuple(
        msgspec.structs.replace(facts, given=given.concept(book.fingerprint, index))
        for index, facts in enumerate(book.concepts)
    )
    return replace(book, concepts=named)


def _see(net: Network, images: Any, layer: Layer, how: Finding) -> _Seen:
    """One pass over the pictures, a batch at a time; as many as fit into `MEMORY`."""
    each = 4 * int(np.prod(layer.shape))
    fitting = max(1, min(how.most, MEMORY // each))
    notes: tuple[str, ...] = ()
    names: list[str] = []
    shown: list[Tensor] = []
    parts: list[Tensor] = []
    for batch in _batches(each_picture(images), fitting + 1):
        room = fitting - len(names)
        if len(batch) > room:
            notes = (f"the first {fitting} pictures of more; `most` says how many are taken",)
            batch = batch[:room]
        if not batch:
            break
        tensor, _ = to_batch(batch, net.preprocess)
        shown += [tensor[i : i + 1] for i in range(min(len(tensor), how.measured - len(shown)))]
        names += [picture.name for picture in batch]
        parts.append(
            capture(net, tensor, [layer.name], gradients=False).activations[layer.name].cpu().float()
        )
        size = (int(tensor.shape[2]), int(tensor.shape[3]))
    if len(names) < 4:
        notes += ("fewer than four pictures: whether the concepts are steady is not known",)
    activations = torch.cat(parts)
    if bool((activations < 0).any()):
        notes += (f"layer {layer.name} has negative activations, which are left out",)
    return _Seen(names, shown, activations, size, notes)


def _batches(pictures: Iterator[Any], most: int) -> Iterator[list[Any]]:
    limited = islice(pictures, most)
    while batch := list(islice(limited, BATCH)):
        yield batch


def _flat(activations: Float[Tensor, "picture unit h w"]) -> Rows:
    """Cells as rows, [cell unit], without what is negative."""
    return activations.relu().movedim(1, -1).flatten(0, 2).numpy()


def _rows(activations: Float[Tensor, "picture unit h w"], seed: int) -> Rows:
    """Cells that are factorized: at most `ROWS`, none of them zero."""
    rows = _flat(activations)
    rows = rows[rows.any(1)]
    if len(rows) <= ROWS:
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), ROWS, replace=False)
    return rows[np.sort(chosen)]


def _steadiness(
    activations: Tensor, rows: Rows, found: Rows, how: Finding
) -> list[tuple[float | None, float | None]]:
    """Of every direction the mean cosine with its partner under other starts, and in the two halves of the pictures."""
    starts = [matched(found, directions(rows, how.count, how.method, seed)) for seed in range(1, how.seeds)]
    halves = []
    if len(activations) >= 4 and how.seeds > 1:
        for part in (activations[::2], activations[1::2]):
            own = _rows(part, how.seed)
            if len(own):
                halves.append(matched(found, directions(own, how.count, how.method)))
    return [
        (
            float(np.mean([values[index] for values in starts])) if starts else None,
            float(np.mean([values[index] for values in halves])) if halves else None,
        )
        for index in range(len(found))
    ]


@dataclass(frozen=True, eq=False)
class _Worth:
    """Means over the measured pictures, by concept; ``loss`` of every class."""

    share: Float[Tensor, " concept"]
    estimate: Float[Tensor, " concept"]
    control: Float[Tensor, " concept"]
    loss: Float[Tensor, "concept class"]
    pictures: int


def _worth(
    net: Network,
    layer: str,
    seen: _Seen,
    strength: Tensor,
    found: Float[Tensor, "concept unit"],
    how: Finding,
) -> _Worth:
    """What taking each concept away costs, beside its estimate and a random direction of the same size."""
    draw = torch.Generator().manual_seed(how.seed)
    rows = []
    losses = []
    for place, image in enumerate(seen.images):
        trace = capture(net, image, [layer])
        tail = Tail(net, image, layer)
        parts = torch.einsum("chw,ck->ckhw", strength[place], found).to(tail.activation)
        other = torch.rand(len(found), found.shape[1], generator=draw)
        other = torch.einsum("chw,ck->ckhw", strength[place], other / other.norm(dim=1, keepdim=True)).to(
            parts
        )
        empty = torch.zeros_like(tail.activation)
        with torch.no_grad():
            outputs = tail(torch.cat([tail.activation - parts, tail.activation - other, empty]))
        score = trace.target.score(tail.output)[0]
        scores = torch.stack([trace.target.score(row[None])[0] for row in outputs])
        whole = score - scores[-1]
        scale = whole if abs(float(whole)) > 1e-9 else torch.full_like(whole, torch.inf)
        falls = (score - scores[:-1]) / scale
        estimate = (trace.gradients[layer] * parts).sum((1, 2, 3)) / scale
        rows.append(torch.stack([falls[: len(found)], estimate, falls[len(found) :]]))
        losses.append(tail.output - outputs[: len(found)])
    share, estimates, control = torch.stack(rows).mean(0).cpu().double()
    return _Worth(share, estimates, control, torch.stack(losses).mean(0).cpu(), len(rows))


def _facts(
    index: int,
    words: Vocabulary,
    worth: _Worth,
    steady: Sequence[tuple[float | None, float | None]],
    crops: tuple[Crop, ...],
) -> Facts:
    naming = words.losses(worth.loss[index], False)
    seeds, halves = steady[index]
    return Facts(
        naming.classes, naming.broader, crops, float(worth.share[index]), float(worth.estimate[index]),
        float(worth.control[index]), worth.pictures, seeds, halves,
    )  # fmt: skip


def _crops(maps: Float[Tensor, "picture h w"], seen: _Seen, layer: Layer, count: int) -> tuple[Crop, ...]:
    """The pictures in which a concept is strongest, with the box around its peak."""
    peaks = maps.flatten(1).amax(1)
    found = []
    for image in torch.sort(peaks, descending=True, stable=True).indices[:count].tolist():
        if float(peaks[image]) <= 0:
            break
        found.append(
            Crop(image, seen.names[image], _peak_box(maps[image], layer, seen.size), float(peaks[image]))
        )
    return tuple(found)


def _peak_box(map_: Float[Tensor, "h w"], layer: Layer, size: tuple[int, int]) -> Box:
    """The box around the part of a concept's region that holds its strongest cell."""
    from scipy import ndimage

    mask = region(map_, layer, size)
    labels, count = ndimage.label(mask.numpy())
    if count < 2:
        return box_of(mask)
    cell = int(map_.flatten().argmax())
    grid = layer.geometry.effective((int(map_.shape[0]), int(map_.shape[1])), size)
    row, column = grid.center(*divmod(cell, int(map_.shape[1])))
    at = (min(max(round(row), 0), size[0] - 1), min(max(round(column), 0), size[1] - 1))
    number = int(labels[at])
    return box_of(torch.from_numpy(labels == number)) if number else box_of(mask)
