"""Heatmaps of layer-wise relevance propagation, Bach et al. 2015, and its contrastive relatives: M = Σ_k R_k.

* ``lrp``: relevance R from the logit, ``"epsilon-plus"`` by default;
* ``clrp``, Gu et al. 2018: ``R / ΣR − R_dual / ΣR_dual``, where the dual starts with z_t shared equally among
  the other classes. Σ is over the layer, per image, and without sign. The paper scales the dual to the total of
  R, which is the same up to one factor, and rectifies at every pixel, as the frame does here;
* ``sglrp``, Iwana et al. 2019: one walk from the softmax-gradient, p_t (1 − p_t) at the target and −p_t p_n
  elsewhere, which sums to zero by itself.

Cost: one forward pass and one walk (about three forward passes) for all default layers together; ``clrp``
twice that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.method import Home, Method, Needs
from pellucid.core.capture import Trace
from pellucid.core.precision import widest
from pellucid.core.reading import precise
from pellucid.core.registry import register
from pellucid.relevance.composites import composite_named
from pellucid.relevance.seeds import check_seed
from pellucid.relevance.walk import relevances_of


@dataclass(frozen=True)
class Relevance(Method):
    """Base of the methods that read relevance: ``composite`` and ``seed`` are names."""

    needs: ClassVar[Needs] = "passes"
    propagates: ClassVar[bool] = True
    home: ClassVar[Home] = "input"
    rectified: ClassVar[bool] = False
    composite: str = "epsilon-plus"
    seed: str = "logit"

    def __post_init__(self) -> None:
        composite_named(self.composite)
        check_seed(self.seed)

    def relevance(self, trace: Trace, layer: str) -> Float[Tensor, "batch channel h w"]:
        """Relevance of every element of the layer."""
        return precise(relevances_of(trace, layer, self.composite, self.seed).relevance[layer])

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``Σ_k R_k``."""
        return self.relevance(trace, layer).sum(1)


@register("attribution", "lrp", paper="bach2015")
@dataclass(frozen=True)
class LRP(Relevance):
    """LRP: how the score is made up of the values at a layer, by layer-wise relevance propagation."""


@register("attribution", "clrp", paper="gu2018")
@dataclass(frozen=True)
class CLRP(Relevance):
    """CLRP: relevance of the target less that of the other classes, each scaled to a total of one."""

    home: ClassVar[Home] = "stages"
    rectified: ClassVar[bool] = True
    composite: str = "z-plus"

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``Σ_k R_k / ΣR − Σ_k R_dual,k / ΣR_dual``."""

        def walked(seed: str) -> Tensor:
            found = relevances_of(trace, layer, self.composite, seed, double=True)
            return precise(found.relevance[layer])

        # Relevance is linear in its seed and the contrastive seed is own less dual. So the difference of the
        # scaled maps is computed from the small difference itself, not from two large maps that nearly agree.
        own, contrast = walked(self.seed), walked("contrastive")
        total, rest = (each.sum((1, 2, 3), dtype=widest(each.device)).to(each) for each in (own, contrast))
        dual = (total - rest).abs()
        tilt = torch.where(total == 0, 0, rest / total)[:, None, None]
        scale = torch.where(dual == 0, 1, dual)[:, None, None]
        return (contrast.sum(1) - tilt * own.sum(1)) / scale


@register("attribution", "sglrp", paper="iwana2019")
@dataclass(frozen=True)
class SGLRP(Relevance):
    """SGLRP: relevance propagated from the gradient of the target's probability."""

    home: ClassVar[Home] = "stages"
    rectified: ClassVar[bool] = True
    composite: str = "z-plus"
    seed: str = "softmax-gradient"
