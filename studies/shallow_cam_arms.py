"""The arms of Shallow-CAM that ``studies/shallow_cam.py`` compares; the method itself is `pellucid.attribution.shallow_cam`.

* ``arm``: ``"adjacent"`` is the method; ``"spatial"``: M = Σ_k ReLU(R^l_k) ⊙ m_k with relevance R^l walked from the output at
  once; ``"channel"``: M = Σ_k ρ_k m_k with ρ_k = mean_ij R^l_k;
* ``seed``: ``"evidence"`` as in the method; ``"layercam"``: C^L = F; or relevance R^L from the output by ``"contrastive"``,
  ``"logit"`` or ``"softmax-gradient"``: C^L_k = ReLU(R^L_k) ⊙ m^L_k (`pellucid.relevance.seeds`, with 1 in place of the target's
  score, so that zero and negative scores are explained too). The other arms start at the output, where ``"evidence"`` means
  contrastive;
* ``mask``: ``"scaled"``, ``"plain"`` (F itself) or ``"none"`` (relevance alone). LayerCAM is F alone;
* ``power``: of the mask; the method's is a half;
* ``through``: ``"layers"`` as in the method, or ``"stages"``: from one asked layer or stage to the next at once;
* ``reach``: ``"output"``, or ``"next"``: start from the F of the adjacent stage instead of the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.shallow_cam import Maps, ShallowCAM
from pellucid.core.capture import Trace, capture
from pellucid.core.reading import precise, unit
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.relevance.recording import Recording
from pellucid.relevance.seeds import seed_relevance
from pellucid.relevance.unknown import note_unknown

Arm = Literal["adjacent", "spatial", "channel"]
Start = Literal["evidence", "layercam", "contrastive", "softmax-gradient", "logit"]
Mask = Literal["scaled", "plain", "none"]
Through = Literal["layers", "stages"]
Reach = Literal["output", "next"]


@dataclass(frozen=True)
class ShallowCAMArm(ShallowCAM):
    """Shallow-CAM with every part of it as a parameter."""

    arm: Arm = "adjacent"
    seed: Start = "evidence"
    mask: Mask = "scaled"
    power: float = 0.5
    through: Through = "layers"
    reach: Reach = "output"

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
        super().__post_init__()
        if self.arm != "adjacent" and (self.seed == "layercam" or self.reach == "next"):
            raise ValueError(
                f'Expected `seed="layercam"` and `reach="next"` only with `arm="adjacent"`, got `{self.arm}`.'
            )

    def _sums(self, trace: Trace, layers: Sequence[str]) -> dict[str, Float[Tensor, "batch h w"]]:
        if self.arm == "adjacent" and self.reach == "output":
            return super()._sums(trace, layers)
        own = capture(trace.network, trace.images, list(layers), trace.target)
        spatial = {
            name: precise(own.gradients[name]).relu() * precise(own.activations[name]) for name in layers
        }
        # one long walk of positive and negative relevance all but cancels at shallow stages
        wide = self.arm != "adjacent" and self.seed != "logit"
        recording = Recording(
            trace.network, trace.images, list(layers), composite=self.composite, double=wide
        )
        note_unknown(trace, recording.unknown)
        if self.reach == "next":
            return self._of_neighbors(recording, spatial, layers)
        walked = self._walked(trace, recording, layers)
        return {name: self._weighted(walked[name], spatial[name]) for name in layers}

    def _way(self, trace: Trace, layers: Sequence[str]) -> list[str]:
        return list(layers) if self.through == "stages" else super()._way(trace, layers)

    def _start(
        self, trace: Trace, own: Trace, spatial: Mapping[str, Maps], recording: Recording, top: str
    ) -> Maps:
        if self.seed == "evidence":
            return super()._start(trace, own, spatial, recording, top)
        if self.seed == "layercam":
            return spatial[top]
        return self._masked(self._walked(trace, recording, [top])[top].relu(), spatial[top])

    def _walked(self, trace: Trace, recording: Recording, layers: Sequence[str]) -> dict[str, Maps]:
        """Relevance from the seed at the output, in one walk."""
        name = "contrastive" if self.seed == "evidence" else self.seed
        seed = seed_relevance(trace.network, recording.output, trace.target, name, unit=True)
        return {name: precise(carried) for name, carried in recording.carry(seed, None, layers).items()}

    def _of_neighbors(
        self, recording: Recording, spatial: Mapping[str, Maps], layers: Sequence[str]
    ) -> dict[str, Float[Tensor, "batch h w"]]:
        """Every stage from the F of the next one; the last stage has none and keeps its own."""
        sums = {layers[-1]: spatial[layers[-1]].sum(1)}
        for lower, upper in pairwise(layers):
            sums[lower] = self._handed(recording, spatial[upper], upper, lower, spatial).sum(1)
        return sums

    def _weighted(self, relevance: Maps, spatial: Maps) -> Float[Tensor, "batch h w"]:
        """The arms that walk from the output at once."""
        if self.arm == "channel":
            weights = relevance.mean((2, 3), keepdim=True, dtype=torch.float64).to(relevance)
            return self._masked(weights, spatial).sum(1).expand(-1, *spatial.shape[2:])
        return self._masked(relevance.relu(), spatial).sum(1)

    def _masked(self, weights: Tensor, spatial: Maps) -> Maps:
        if self.mask == "none":
            return weights
        mask = spatial if self.mask == "plain" else unit(spatial)
        return weights * (mask if self.power == 1 else mask.relu() ** self.power)
