"""What the study of painted pictures measures on a picture, apart from scores: spectrum, features, evidence, concepts.

Recognition of a unit's picture: the unit has a concept c (its best in the shipped table, IoU > 0.04). Units of the *other*
network with the same concept, in any of its layers that have a table, are looked at. Each counts as responding when its largest
activation at any position is above the 99th percentile of that over real scenes; the picture is recognized as c when at least
half of them respond. Beside it stands how often the same picture is recognized as the other concepts (``others``), which is
what a picture that excites everything would reach, and the same of the unit's best real scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import pellucid as pl
from pellucid.data.tensors import to_bytes
from pellucid.explanation.concepts import names_for

INSIDE = 0.3  # of a map's maximum: the threshold of the pyramid's own region


def log_spectrum(pictures: Tensor) -> Tensor:
    """log₁₀ of the power at every whole radius [batch radius], windowed, of the mean over colors."""
    gray = pictures.double().mean(1)
    gray = gray - gray.mean((1, 2), keepdim=True)
    side = gray.shape[-1]
    window = torch.hann_window(side, dtype=torch.float64)
    power = torch.fft.fft2(gray * window[:, None] * window).abs().square().flatten(1)
    f = torch.fft.fftfreq(side, dtype=torch.float64) * side
    radius = (f[:, None] ** 2 + f**2).sqrt().round().long().clamp(max=side // 2).flatten()
    total = torch.zeros(len(gray), side // 2 + 1, dtype=torch.float64).index_add_(1, radius, power)
    return (total / torch.bincount(radius) + 1e-8).log10()[:, 1 : side // 2]


def _activations(net: pl.Network, batch: Tensor, layers: Sequence[str], how: str) -> Tensor:
    """Mean or peak over positions of all units of the layers [batch unit]."""
    parts = []
    for k in range(0, len(batch), 16):
        found = pl.capture(net, batch[k : k + 16], layers, 0, gradients=False).activations
        values = [found[layer] for layer in layers]
        parts.append(torch.cat([v.mean((2, 3)) if how == "mean" else v.amax((2, 3)) for v in values], 1))
    return torch.cat(parts)


def features(net: pl.Network, batch: Tensor) -> Tensor:
    """Pooled activation of the last stage [batch channel]."""
    return _activations(net, batch, [net.default_layers[-1]], "mean").double()


def kernel_distance(one: Tensor, other: Tensor) -> float:
    """Unbiased MMD² with ``(x·y/d + 1)³``, features scaled by the deviation of the other's."""
    scale = other.std(0).clamp(min=1e-9)
    x, y = one / scale, other / scale

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        k = kernel(a, a)
        return (k.sum() - k.diagonal().sum()) / (len(a) * (len(a) - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())


def shares(own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Of maps [batch h w]: the share of the other's evidence where the own map is at least `INSIDE` of its maximum, and the
    share of the area that is. NaN where either map is zero."""
    inside = (own >= INSIDE * own.amax((1, 2), keepdim=True)).double()
    inside[own.amax((1, 2)) <= 0] = torch.nan
    weight = other.double().clamp(min=0)
    return (weight * inside).sum((1, 2)) / weight.sum((1, 2)), inside.mean((1, 2))


def evidence(
    net: pl.Network, judge: pl.Network, pictures: Tensor, targets: list[int]
) -> tuple[Tensor, Tensor]:
    """`shares` of the judge's LayerCAM of the class inside the region that the network's own LayerCAM marks."""
    maps = []
    for one in (net, judge):
        layer, batch = one.default_layers[-1], one.preprocess.normalize(to_bytes(pictures))
        found = pl.attribute(one, batch, "layercam", layer, targets, normalized=True, progress=False)[layer]
        maps.append(found.upsample())
    return shares(*maps)


def concepts_of(net: pl.Network, units: Sequence[pl.Unit]) -> list[str | None]:
    """The concept of every unit; None where it has none above the threshold."""
    found = [names_for(net, None, unit.layer).of(unit.layer, unit.index) for unit in units]
    return [one.concept if one is not None and one.named else None for one in found]


class Recognition:
    """Concepts of the judge's units, and how strongly each responds to real scenes."""

    def __init__(self, judge: pl.Network, real: Tensor, layers: Sequence[str] | None = None) -> None:
        self.judge, self.layers = judge, layers or judge.default_layers
        units = [pl.Unit(layer, k) for layer in self.layers for k in range(judge.layer(layer).shape[0])]
        names = concepts_of(judge, units)
        self.concepts = sorted({name for name in names if name is not None})
        self._members = torch.tensor([[name == one for name in names] for one in self.concepts]).double()
        self._usual = self._peaks(real).double().quantile(0.99, 0)

    def _peaks(self, batch: Tensor) -> Tensor:
        return _activations(self.judge, batch, self.layers, "peak")

    def responding(self, batch: Tensor) -> Tensor:
        """Share of each concept's units above their usual peak [batch concept]."""
        over = (self._peaks(batch).double() > self._usual).double()
        return over @ self._members.T / self._members.sum(1)

    def judged(self, batch: Tensor, concepts: Sequence[str | None]) -> dict[str, Any]:
        """How many normalized pictures are recognized as their concept, and as another one; those without are left out."""
        return tally(self.responding(batch), [self._place(name) for name in concepts])

    def _place(self, name: str | None) -> int | None:
        return self.concepts.index(name) if name in self.concepts else None


def tally(responding: Tensor, places: Sequence[int | None]) -> dict[str, Any]:
    """Pictures [picture concept] against the places of their concepts; those with None are left out."""
    rows = [k for k, place in enumerate(places) if place is not None]
    if not rows:
        return {"units": 0}
    seen = (responding[rows] >= 0.5).double()
    own = seen[torch.arange(len(rows)), torch.tensor([places[k] for k in rows])]
    others = (seen.sum(1) - own) / (seen.shape[1] - 1)
    return {
        "units": len(rows),
        "recognized": round(float(own.mean()), 3),
        "others": round(float(others.mean()), 3),
    }
