"""Shallow-layer class activation maps by relevance handed from stage to stage; after Cheng et al. 2025.

Relevance carried between adjacent layers gives *inter-layer relevance weights*; feature maps with LayerCAM's spatial
weights are *masks*, which the weights multiply; the product is handed on to the next layer below:

    F^l_k = ReLU(g_k) ⊙ A_k,      m^l_k = N(F^l_k)^½, N scaling every feature map to [0, 1] by itself,
    r^l = z⁺ carries C^{l+1} down to layer l,      C^l_k = r^l_k ⊙ m^l_k,      M^l = Σ_k C^l_k.

The layers on the way are the rectified ones that everything passes (the ends of residual blocks, every rectifier of a
plain network), from the last stage L down to the layer in question. The last stage starts from its own evidence, for and
net: F counts what speaks for the target, H = Σ_k g_k A_k at a position also what speaks against it,

    C^L_k = F_k ⊙ (1 / max S + ReLU(H) / (S max ReLU(H))),      S = Σ_k F_k,

so that M^L is the sum of LayerCAM and rectified HiResCAM, each scaled to 1. The square root keeps many masks in a row from
leaving a few points.

Of the paper's text only the abstract is public: this is a declared reconstruction. It fixes the weights, the masks, their
product and the gain over LayerCAM at every layer; the scaling, the seed and what is handed on are ours, chosen on one half of
the photographs and measured on the other by ``studies/shallow_cam.py``, whose other arms are in ``studies/shallow_cam_arms.py``.

Cost: two forward passes, a backward pass and a walk (about two
forward passes more), for all stages together; the first image of a network one more of each, to find the layers on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.staged import Staged
from pellucid.core.capture import Trace, capture
from pellucid.core.geometry import gaussian
from pellucid.core.reading import precise, unit
from pellucid.core.registry import register
from pellucid.relevance.composites import composite_named
from pellucid.relevance.passages import alike, passages
from pellucid.relevance.recording import Recording
from pellucid.relevance.unknown import note_unknown

Maps = Float[Tensor, "batch channel h w"]


@register("attribution", "shallow-cam", paper="cheng2025")
@dataclass(frozen=True)
class ShallowCAM(Staged):
    """Shallow-CAM: relevance handed from layer to layer, masked by each layer's own evidence.

    Attributes:
        smooth: the map is averaged by a Gaussian whose σ is this share of the picture's shorter side; 0 leaves it as it is. On
            grids finer than that single cells are noise, max-pooling and strides having left the evidence of a whole window
            on one of them.
        composite: rules that carry relevance down; a name of `pellucid.relevance.COMPOSITES`.
    """

    nonnegative: ClassVar[bool] = True
    propagates: ClassVar[bool] = True
    wide: ClassVar[bool] = False  # walks in float64
    smooth: float = 1 / 64
    composite: str = "z-plus"

    def __post_init__(self) -> None:
        if not 0 <= self.smooth < 1:
            raise ValueError(
                f"Expected `smooth` to be a share of the picture from 0 to 1, got {self.smooth}; try 1 / 64."
            )
        composite_named(self.composite)

    def maps(self, trace: Trace, layers: Sequence[str]) -> Mapping[str, Float[Tensor, "batch h w"]]:
        """``Σ_k C_k`` of every layer, smoothed."""
        size = (int(trace.images.shape[2]), int(trace.images.shape[3]))
        listed = trace.network.layers_at(size)
        return {
            name: _smoothed(map_, self.smooth * min(size), listed[name].stride)
            for name, map_ in self._sums(trace, layers).items()
        }

    def _sums(self, trace: Trace, layers: Sequence[str]) -> dict[str, Float[Tensor, "batch h w"]]:
        """``Σ_k C_k``, from the last layer down."""
        way = self._way(trace, layers)
        own = capture(trace.network, trace.images, way, trace.target)
        spatial = {name: precise(own.gradients[name]).relu() * precise(own.activations[name]) for name in way}
        recording = Recording(trace.network, trace.images, way, composite=self.composite, double=self.wide)
        note_unknown(trace, recording.unknown)
        evidence = self._start(trace, own, spatial, recording, layers[-1])
        sums = {layers[-1]: evidence.sum(1)}
        for upper, lower in pairwise(way[::-1]):
            evidence = self._handed(recording, evidence, upper, lower, spatial)
            sums[lower] = evidence.sum(1)
        return {name: sums[name] for name in layers}

    def _way(self, trace: Trace, layers: Sequence[str]) -> list[str]:
        """The layers and what lies on the way between them, in order."""
        if len(layers) == 1:
            return list(layers)
        listed = trace.network.layers_at((int(trace.images.shape[2]), int(trace.images.shape[3])))
        between = [
            name
            for name in passages(trace.network, trace.images, layers[-1])
            if listed[name].index > listed[layers[0]].index
        ]
        return sorted({*layers, *between}, key=lambda name: listed[name].index)

    def _start(
        self, trace: Trace, own: Trace, spatial: Mapping[str, Maps], recording: Recording, top: str
    ) -> Maps:
        """``C^L``: evidence of the last layer, for and net."""
        return _for_and_net(spatial[top], precise(own.gradients[top]) * precise(own.activations[top]))

    def _handed(
        self, recording: Recording, evidence: Maps, upper: str, lower: str, spatial: Mapping[str, Maps]
    ) -> Maps:
        sent = _to_one(evidence)
        carried = precise(recording.carry(sent, upper, [lower])[lower]).relu()
        if alike(
            carried, sent
        ):  # the same values by another name (a block and its last rectifier): masked already
            return carried
        return self._masked(carried, spatial[lower])

    def _masked(self, weights: Tensor, spatial: Maps) -> Maps:
        """``r ⊙ m``."""
        return weights * unit(spatial).relu() ** 0.5


def _smoothed(
    maps: Float[Tensor, "batch h w"], sigma: float, stride: tuple[float, float]
) -> Float[Tensor, "batch h w"]:
    """Averaged by a Gaussian of ``sigma`` pixels on a grid of this stride; at the border the rest of the kernel counts."""
    if not sigma:
        return maps
    # the tails are not cut off: far from all evidence they still order the cells by their distance from it
    sides = zip(maps.shape[1:], stride, strict=True)
    rows, columns = (gaussian(cells, sigma / step).to(maps) for cells, step in sides)
    return rows @ maps @ columns.T


def _for_and_net(spatial: Maps, signed: Maps) -> Maps:
    """F shared out so that its sum is that of LayerCAM and rectified HiResCAM, each scaled to 1."""
    total, net = spatial.sum(1, keepdim=True), signed.sum(1, keepdim=True).relu()
    most, net_most = total.amax((2, 3), keepdim=True), net.amax((2, 3), keepdim=True)
    return _over(spatial, most) + _over(spatial, total) * _over(net, net_most)


def _over(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole``; zero where there is nothing to share."""
    return torch.where(whole > 0, part / whole, 0)


def _to_one(evidence: Maps) -> Maps:
    """The same evidence with a total of one per image: products of several stages would leave float32."""
    total = evidence.sum((1, 2, 3), keepdim=True)
    return evidence / torch.where(total > 0, total, 1)
