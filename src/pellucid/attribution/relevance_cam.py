"""Relevance-CAM, Lee et al. 2021: M = Σ_k (mean_ij R_k) A_k, made for shallow layers, where gradients shatter.

R is relevance by z⁺ (zB at the pixels) from the contrastive seed: z_t at the target, −z_t / (N − 1) at every
other class. The authors' code differs from their paper (the variance of a batch normalization squared twice,
biases added twice, −1/N in the seed); this is the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.lrp import Relevance
from pellucid.attribution.method import Home
from pellucid.core.capture import Trace
from pellucid.core.precision import widest
from pellucid.core.reading import precise
from pellucid.core.registry import register
from pellucid.relevance.walk import relevances_of


@register("attribution", "relevance-cam", paper="lee2021")
@dataclass(frozen=True)
class RelevanceCAM(Relevance):
    """Relevance-CAM: activations weighted by the mean relevance of their channel."""

    home: ClassVar[Home] = "stages"
    rectified: ClassVar[bool] = True
    composite: str = "z-plus"
    seed: str = "contrastive"

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``Σ_k (mean_ij R_k) A_k``."""
        found = relevances_of(trace, layer, self.composite, self.seed)
        relevance = precise(found.relevance[layer])
        # contrastive relevance sums to about zero: its means need more digits than its values
        weights = relevance.mean((2, 3), keepdim=True, dtype=widest(relevance.device)).to(relevance)
        return (weights * precise(found.activations[layer])).sum(1)
