"""Mining patterns over the units of a layer: transactions of many images, rules per class, shares on images held out.

One pass over the images reads every channel's peak (a second one, with transactions of cells, the values at the winning
cells); the rules are found by `pellucid.units.patterns.rules`; a last pass over the few images that are shown reads where a
pattern lies. Works on any layer with a spatial map, of ordinary networks and on the masked maps of interpretable ones.
Source: Pang 2021 for patterns over the channels of a layer as what a picture can be decoded from; Agrawal, Srikant 1994 for
the search. Shares on held-out images, the merging and the choice of unlike patterns are ours.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.core.capture import Trace
from pellucid.core.layers import Layer, LayerLike
from pellucid.core.network import Network, NetworkLike, as_network
from pellucid.core.precision import exact
from pellucid.core.progress import bar, each
from pellucid.core.registry import suggest
from pellucid.core.steps import Steps
from pellucid.core.storage import fingerprint
from pellucid.data.batches import as_batch, as_layer, traces
from pellucid.units.patterns.patterns import Pattern, Patterns, Summary
from pellucid.units.patterns.rules import Counter, Found, Rows, search
from pellucid.units.patterns.settings import Mining
from pellucid.units.patterns.shares import Shares
from pellucid.units.patterns.transactions import at_cells, members, peaks, winning

_FEWEST = 4  # images of a class


def patterns(
    net: NetworkLike,
    images: Any,
    labels: Sequence[str | int] | None = None,
    layer: LayerLike | None = None,
    *,
    settings: Mining | None = None,
    classes: Sequence[str | int] | None = None,
    normalized: bool | None = None,
    batch_size: int = 32,
    folder: str | Path | None = None,
    progress: bool | None = None,
    **parameters: Any,
) -> Patterns:
    """Find units of a layer that are active together in images of a class, and seldom in others.

    The same call gives the same patterns.

    Args:
        net: a network, module, name or file; see `pellucid.load`.
        images: as in `pellucid.attribute`.
        labels: a class per image, by name or index; None for the predicted ones.
        layer: name, position or module; by default the last stage.
        settings: a `Mining`.
        classes: those to mine; by default all that have images.
        normalized: of a float tensor: True when it is ready for the network, False when it is in [0, 1].
        batch_size: images at once.
        folder: where what was read of the images is stored, so that the same call goes on there.
        progress: None shows a bar on a terminal.
        **parameters: fields of `Mining`, in place of those of ``settings``.

    Returns:
        The patterns of every class, with support and confidence.

    Raises:
        ValueError: no class has a pattern (the message names the threshold to lower and what was reached), a class of
            ``classes`` has no images, or there are fewer than two classes or units than ``top``.
        UnknownNameError: an unknown layer or class.
        TypeError: an unknown parameter.

    Example:
        >>> import pellucid as pl
        >>> net = pl.load(torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...     torch.nn.Linear(144, 2)), input_shape=(1, 8, 8))
        >>> noise = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> pl.patterns(net, noise, [0, 1] * 20, "1", normalized=True, top=3, shortest=1, longest=2, items=4, support=0.2,
        ...     confidence=0.3).layer
        '1'
    """
    net = as_network(net)
    chosen = _settings(settings, parameters)
    batch = as_batch(net, images, normalized)
    place = as_layer(net, batch, layer)
    _check_layer(place, chosen)
    plan: dict[str, Any] = {"layer": place.name, "batch_size": batch_size, "where": chosen.where}
    if folder is not None:
        plan |= {
            "network": fingerprint(net.module),
            "images": hashlib.sha256(batch.cpu().numpy().tobytes()).hexdigest(),
        }
    steps = Steps(None if folder is None else Path(folder), plan)
    reader = _Reader(net, batch, place.name, batch_size, progress, steps)
    values, predicted = reader.peaks()
    targets = torch.tensor(_targets(net, labels, predicted, len(batch)))
    wanted = _wanted(net, targets, classes)
    held = held_out(targets, chosen)
    scale = _scale(values[~held, 0]) if chosen.relative else torch.ones_like(values[0, 0])
    if chosen.where == "cell":
        values = reader.read(lambda maps: at_cells(maps, winning(maps, scale, chosen.cells)), "cells")
    rows: Rows = members(values / scale, chosen.top).numpy()
    found = _searched(net, rows, targets, held, wanted, chosen, progress)
    patterns, summary = _judged(net, place.name, rows, targets, held, found)
    if not patterns:
        raise ValueError(_nothing(place.name, summary, chosen))
    size = (int(batch.shape[2]), int(batch.shape[3]))
    made = Patterns(
        place.name, tuple(patterns), tuple(summary), scale, chosen,
        place.geometry.effective((place.shape[1], place.shape[2]), size), size, net.name, fingerprint(net.module),
        "predicted" if labels is None else "given", tuple(_notes(summary, chosen)),
    )  # fmt: skip
    return _with_regions(made, values / scale, rows, targets, held, reader)


def _settings(settings: Mining | None, parameters: dict[str, Any]) -> Mining:
    known = Mining.__dataclass_fields__
    for name in parameters:
        if name not in known:
            raise TypeError(f"Expected a parameter of mining, got `{name}`; {suggest(name, known)}")
    return replace(settings or Mining(), **parameters)


@dataclass(eq=False)
class _Reader:
    """Passes over all images, of which only what ``see`` makes of a batch's maps is kept."""

    net: Network
    batch: Tensor
    layer: str
    batch_size: int
    progress: bool | None
    steps: Steps

    def peaks(self) -> tuple[Tensor, Tensor]:
        """Peaks [image 1 unit] and predicted classes."""

        def see(trace: Trace) -> dict[str, Tensor]:
            classes = self.net.probabilities(trace.output).argmax(1).cpu()
            return {"values": peaks(trace.activations[self.layer]).float().cpu(), "classes": classes}

        parts = list(self._parts(see, self.batch, "peaks", keep=True))
        return torch.cat([part["values"] for part in parts]), torch.cat([part["classes"] for part in parts])

    def read(self, see: Callable[[Tensor], Tensor], label: str, which: Tensor | None = None) -> Tensor:
        """What ``see`` makes of the maps of all images, or of some."""

        def seen(trace: Trace) -> dict[str, Tensor]:
            return {"values": see(trace.activations[self.layer]).float().cpu()}

        batch = self.batch if which is None else self.batch[which]
        return torch.cat([part["values"] for part in self._parts(seen, batch, label, keep=which is None)])

    def _parts(
        self, see: Callable[[Trace], dict[str, Tensor]], batch: Tensor, label: str, keep: bool
    ) -> Iterator[dict[str, Tensor]]:
        """What is seen of one batch after the other, from an earlier run where it is there."""
        with bar(len(batch), label, "image", self.progress) as shown:
            for first in range(0, len(batch), self.batch_size):
                part = batch[first : first + self.batch_size]
                known = self.steps.get(f"{label}-{first:06d}") if keep else None
                if known is not None:
                    yield known
                else:
                    (trace,) = traces(
                        self.net, part, (self.layer,), None, self.batch_size, gradients=False, progress=False
                    )
                    made = see(trace)
                    if keep:
                        self.steps.put(f"{label}-{first:06d}", made)
                    yield made
                shown.update(len(part))


def _check_layer(place: Layer, settings: Mining) -> None:
    if place.shape[0] <= settings.top:
        raise ValueError(
            f"Expected `top` below the {place.shape[0]} channels of layer `{place.name}`, got {settings.top}; "
            f"try {max(1, place.shape[0] // 6)}."
        )


def _targets(net: Network, labels: Sequence[str | int] | None, predicted: Tensor, count: int) -> list[int]:
    if labels is None:
        return [int(one) for one in predicted]
    listed: Any = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if len(listed) != count:
        raise ValueError(f"Expected one label for each of {count} images, got {len(listed)}.")
    return [net.class_index(one) for one in listed]


def _wanted(net: Network, targets: Tensor, classes: Sequence[str | int] | None) -> list[int]:
    """The classes to mine: those with images enough. Raises ValueError for too few."""
    counts = torch.bincount(targets, minlength=len(net.classes)).tolist()
    present = [index for index, count in enumerate(counts) if count]
    if len(present) < 2:
        raise ValueError(
            f"Expected images of at least two classes, got {counts[present[0]]} of `{net.classes[present[0]]}` alone: a pattern "
            "says what sets a class apart from others; try more images, or `labels`."
        )
    for one in classes or ():
        index = net.class_index(one)
        if counts[index] < _FEWEST:
            have = [net.classes[k] for k in present if counts[k] >= _FEWEST]
            raise ValueError(
                f"Expected at least {_FEWEST} images of `{net.classes[index]}`, got {counts[index]}; try one of "
                f"{', '.join(have) or 'more images'}."
            )
    if classes is not None:
        return [net.class_index(one) for one in classes]
    enough = [index for index in present if counts[index] >= _FEWEST]
    if not enough:
        raise ValueError(
            f"Expected at least {_FEWEST} images of a class, got {max(counts)} at most; try more images."
        )
    return enough


def held_out(targets: Tensor, settings: Mining) -> Tensor:
    """Which images are held out: of every class the share, drawn by the seed, at least one stays on either side."""
    held = torch.zeros(len(targets), dtype=torch.bool)
    if settings.held_out == 0:
        return held
    draw = torch.Generator().manual_seed(settings.seed)
    for target in sorted(set(targets.tolist())):
        mine = (targets == target).nonzero().flatten()
        count = min(max(1, round(settings.held_out * len(mine))), len(mine) - 1)
        held[mine[torch.randperm(len(mine), generator=draw)[:count]]] = True
    return held


def _scale(values: Tensor) -> Tensor:
    """Mean peak of every channel; 1 for one that never is positive, which then is in no transaction."""
    mean = exact(values.clamp(min=0)).mean(0).float()
    return torch.where(mean > 0, mean, 1)


def _searched(
    net: Network, rows: Rows, targets: Tensor, held: Tensor, wanted: list[int], settings: Mining, progress: bool | None
) -> dict[int, Found]:  # fmt: skip
    found = {}
    mined = ~held.numpy()
    labels = targets.numpy()
    for target in each(wanted, "rules", "class", progress):
        found[target] = search(rows[mined & (labels == target)], rows[mined & (labels != target)], settings)
    return found


def _judged(
    net: Network, layer: str, rows: Rows, targets: Tensor, held: Tensor, found: dict[int, Found]
) -> tuple[list[Pattern], list[Summary]]:
    """Patterns with their shares on both parts, and what came of every class."""
    patterns, summary = [], []
    labels, aside = targets.numpy(), held.numpy()
    for target, one in found.items():
        mine = labels == target
        own, rest = int((~aside & mine).sum()), int((~aside & ~mine).sum())
        tested = int((aside & mine).sum()), int((aside & ~mine).sum())
        count_own, count_rest = Counter(rows[aside & mine]), Counter(rows[aside & ~mine])
        for rule in one.kept:
            held_out = Shares(count_own(rule.channels), tested[0], count_rest(rule.channels), tested[1])
            mined = Shares(rule.own, own, rule.rest, rest)
            name = net.classes[target]
            patterns.append(
                Pattern(name, target, layer, rule.channels, mined, held_out if tested[0] else None)
            )
        counts = own, tested[0], len(one.accepted), len(one.kept)
        summary.append(Summary(net.classes[target], *counts, one.largest_support, one.largest_confidence))
    return patterns, summary


def _with_regions(
    made: Patterns, values: Tensor, rows: Rows, targets: Tensor, held: Tensor, reader: _Reader
) -> Patterns:
    """The patterns with the images that show them best, held-out ones before others, and where in them."""
    count = made.settings.examples
    chosen = [_best_images(one, values, rows, targets, held, count) for one in made.patterns]
    images = sorted({image for some in chosen for image in some})
    if not images:
        return made
    maps = reader.read(lambda maps: maps, "regions", torch.tensor(images))
    shown = [
        replace(
            one,
            occurrences=tuple(
                made.occurrence(one, maps[images.index(image)], image, bool(held[image])) for image in some
            ),
        )
        for one, some in zip(made.patterns, chosen, strict=True)
    ]
    return replace(made, patterns=tuple(shown))


def _best_images(
    one: Pattern, values: Tensor, rows: Rows, targets: Tensor, held: Tensor, count: int
) -> list[int]:
    """The images of the class that have the pattern with the largest smallest value of its channels."""
    channels = list(one.channels)
    has = torch.from_numpy(rows[:, :, channels].all(2))
    weakest = torch.where(has, values[:, :, channels].amin(2), -torch.inf).amax(1)
    mine = ((targets == one.target) & has.any(1)).nonzero().flatten().tolist()
    return sorted(mine, key=lambda k: (not held[k], -float(weakest[k]), k))[:count]


def _nothing(layer: str, summary: list[Summary], settings: Mining) -> str:
    """What to say where no class has a pattern: of the class that came nearest."""
    nearest = max(
        summary,
        key=lambda one: (
            one.largest_support >= settings.support,
            one.largest_confidence,
            one.largest_support,
        ),
    )
    return (
        f"Expected patterns of {settings.shortest} to {settings.longest} channels at layer `{layer}`, got none: "
        f"{_short(nearest, settings)}."
    )


def _notes(summary: list[Summary], settings: Mining) -> list[str]:
    """The classes without a pattern, and why."""
    return [f"no pattern of {one.name}: {_short(one, settings)}" for one in summary if not one.kept]


def _short(one: Summary, settings: Mining) -> str:
    if one.largest_support < settings.support:
        best = _rounded_down(one.largest_support)
        hint = f"try `support` {best}" if best > 0 else "try a larger `top`, or another layer"
        return (
            f"the largest support of {settings.shortest} channels was {one.largest_support:.2f} (class `{one.name}`), below "
            f"{settings.support:g}; {hint}"
        )
    return (
        f"with enough support the largest confidence was {one.largest_confidence:.2f} (class `{one.name}`), below "
        f"{settings.confidence:g}; try `confidence` {_rounded_down(one.largest_confidence)}, or a larger `items`"
    )


def _rounded_down(value: float) -> float:
    return math.floor(100 * value) / 100
