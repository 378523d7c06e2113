"""Shallow-layer class activation maps by relevance handed from stage to stage; after Cheng et al. 2025.

Relevance carried between adjacent layers gives *inter-layer relevance weights*; feature maps with LayerCAM's spatial
weights are *masks*, which the weights multiply; the product is handed on to the next layer below:

    F^l_k = ReLU(g_k) ⊙ A_k,      m^l_k = N(F^l_k)^power, N scaling every feature map to [0, 1] by itself,
    r^l = z⁺ carries C^{l+1} down to layer l,      C^l_k = r^l_k ⊙ m^l_k,      M^l = Σ_k C^l_k.

The layers on the way are the rectified ones that everything passes (the ends of residual blocks, every rectifier of a
plain network), from the last stage L down to the layer in question. The last stage starts from its own evidence, for and
net: F counts what speaks for the target, H = Σ_k g_k A_k at a position also what speaks against it,

    C^L_k = F_k ⊙ (1 / max S + ReLU(H) / (S max ReLU(H))),      S = Σ_k F_k,

so that M^L is the sum of LayerCAM and rectified HiResCAM, each scaled to 1.

Of the paper's text only the abstract is public: this is a declared reconstruction. It fixes the weights, the masks, their
product and the gain over LayerCAM at every layer; the scaling, the seed and what is handed on are ours, chosen on one half of
the photographs and measured on the other by ``studies/shallow_cam.py``. Every part is a parameter:

* ``arm``: ``"adjacent"`` as above; ``"spatial"``: M = Σ_k ReLU(R^l_k) ⊙ m_k with relevance R^l walked from the output at once;
  ``"channel"``: M = Σ_k ρ_k m_k with ρ_k = mean_ij R^l_k;
* ``seed``: ``"evidence"`` as above; ``"layercam"``: C^L = F; or relevance R^L from the output by ``"contrastive"``, ``"logit"``
  or ``"softmax-gradient"``: C^L_k = ReLU(R^L_k) ⊙ m^L_k (`pellucid.relevance.seeds`, with 1 in place of the target's score, so
  that zero and negative scores are explained too). The other arms start at the output, where ``"evidence"`` means contrastive;
* ``mask``: ``"scaled"``, ``"plain"`` (F itself) or ``"none"`` (relevance alone). LayerCAM is F alone;
* ``power``: 1 is the plain mask; the square root keeps many masks in a row from leaving a few points;
* ``smooth``: M is averaged by a Gaussian whose σ is this share of the picture's shorter side (0: not at all). On grids finer than
  that single cells are noise, max-pooling and strides having left the evidence of a whole window on one of them;
* ``through``: ``"layers"`` as above, or ``"stages"``: from one asked layer or stage to the next at once;
* ``reach``: ``"output"``, or ``"next"``: start from the F of the adjacent stage instead of the last one.

Cost: two forward passes, a backward pass and a walk (about two
forward passes more), for all stages together; the first image of a network one more of each, to find the layers on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.staged import Staged
from pellucid.core.capture import Trace, capture
from pellucid.core.geometry import gaussian
from pellucid.core.reading import precise, unit
from pellucid.core.registry import UnknownNameError, register, suggest
from pellucid.relevance.composites import composite_named
from pellucid.relevance.passages import alike, passages
from pellucid.relevance.recording import Recording
from pellucid.relevance.seeds import seed_relevance
from pellucid.relevance.unknown import note_unknown

Arm = Literal["adjacent", "spatial", "channel"]
Start = Literal["evidence", "layercam", "contrastive", "softmax-gradient", "logit"]
Mask = Literal["scaled", "plain", "none"]
Through = Literal["layers", "stages"]
Reach = Literal["output", "next"]
Maps = Float[Tensor, "batch channel h w"]


@register("attribution", "shallow-cam", paper="cheng2025")
@dataclass(frozen=True)
class ShallowCAM(Staged):
    """Shallow-CAM: relevance handed from layer to layer, masked by each layer's own evidence."""

    nonnegative: ClassVar[bool] = True
    propagates: ClassVar[bool] = True
    arm: Arm = "adjacent"
    seed: Start = "evidence"
    mask: Mask = "scaled"
    power: float = 0.5
    smooth: float = 1 / 64
    through: Through = "layers"
    reach: Reach = "output"
    composite: str = "z-plus"

    def __post_init__(self) -> None:
        choices = {"arm": Arm, "seed": Start, "mask": Mask, "through": Through, "reach": Reach}
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in get_args(known):
                raise UnknownNameError(
                    f"Expected `{name}` to be one of its options, got `{value}`; {suggest(value, get_args(known))}"
                )
        if not self.power > 0:
            raise ValueError(f"Expected `power` above 0, got {self.power}; try 0.5.")
        if not 0 <= self.smooth < 1:
            raise ValueError(
                f"Expected `smooth` to be a share of the picture from 0 to 1, got {self.smooth}; try 1 / 64."
            )
        composite_named(self.composite)
        if self.arm != "adjacent" and (self.seed == "layercam" or self.reach == "next"):
            raise ValueError(
                f'Expected `seed="layercam"` and `reach="next"` only with `arm="adjacent"`, got `{self.arm}`.'
            )

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
        top = layers[-1]
        way = self._way(trace, layers)
        own = capture(trace.network, trace.images, way, trace.target)
        spatial = {name: precise(own.gradients[name]).relu() * precise(own.activations[name]) for name in way}
        # one long walk of positive and negative relevance all but cancels at shallow stages
        wide = self.arm != "adjacent" and self.seed != "logit"
        recording = Recording(trace.network, trace.images, way, composite=self.composite, double=wide)
        note_unknown(trace, recording.unknown)
        if self.arm != "adjacent":
            walked = self._walked(trace, recording, layers)
            return {name: self._weighted(walked[name], spatial[name]) for name in layers}
        if self.reach == "next":
            return self._of_neighbors(recording, spatial, layers)
        evidence = spatial[top]
        if self.seed == "evidence":
            evidence = _for_and_net(evidence, precise(own.gradients[top]) * precise(own.activations[top]))
        elif self.seed != "layercam":
            evidence = self._masked(self._walked(trace, recording, [top])[top].relu(), evidence)
        found = {top: evidence.sum(1)}
        for upper, lower in pairwise(way[::-1]):
            evidence = self._handed(recording, evidence, upper, lower, spatial)
            found[lower] = evidence.sum(1)
        return {name: found[name] for name in layers}

    def _way(self, trace: Trace, layers: Sequence[str]) -> list[str]:
        """The layers and what lies on the way between them, in order."""
        if len(layers) == 1 or self.arm != "adjacent" or self.through == "stages" or self.reach == "next":
            return list(layers)
        listed = trace.network.layers_at((int(trace.images.shape[2]), int(trace.images.shape[3])))
        between = [
            name
            for name in passages(trace.network, trace.images, layers[-1])
            if listed[name].index > listed[layers[0]].index
        ]
        return sorted({*layers, *between}, key=lambda name: listed[name].index)

    def _walked(self, trace: Trace, recording: Recording, layers: Sequence[str]) -> dict[str, Maps]:
        """Relevance from the seed at the output, in one walk."""
        name = "contrastive" if self.seed == "evidence" else self.seed
        seed = seed_relevance(trace.network, recording.output, trace.target, name, unit=True)
        return {name: precise(found) for name, found in recording.carry(seed, None, layers).items()}

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

    def _of_neighbors(
        self, recording: Recording, spatial: Mapping[str, Maps], layers: Sequence[str]
    ) -> dict[str, Float[Tensor, "batch h w"]]:
        """Every stage from the F of the next one; the last stage has none and keeps its own."""
        found = {layers[-1]: spatial[layers[-1]].sum(1)}
        for lower, upper in pairwise(layers):
            found[lower] = self._handed(recording, spatial[upper], upper, lower, spatial).sum(1)
        return found

    def _weighted(self, relevance: Maps, spatial: Maps) -> Float[Tensor, "batch h w"]:
        """The arms that walk from the output at once."""
        if self.arm == "channel":
            weights = relevance.mean((2, 3), keepdim=True, dtype=torch.float64).to(relevance)
            return self._masked(weights, spatial).sum(1).expand(-1, *spatial.shape[2:])
        return self._masked(relevance.relu(), spatial).sum(1)

    def _masked(self, weights: Tensor, spatial: Maps) -> Maps:
        """``r ⊙ m``."""
        if self.mask == "none":
            return weights
        mask = spatial if self.mask == "plain" else unit(spatial)
        return weights * (mask if self.power == 1 else mask.relu() ** self.power)


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
