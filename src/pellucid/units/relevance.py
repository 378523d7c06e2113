"""Relevance of units: ``S_k = Σ_ij R_k``, R from layer-wise relevance propagation started at the target (Bach et al. 2015).

Signed; which rules propagate is the ``composite``, what is propagated the ``seed`` (see `pellucid.relevance`).
Cost: one forward pass and one walk back, about three forward passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import Trace
from pellucid.core.reading import precise
from pellucid.core.registry import register
from pellucid.relevance.composites import composite_named
from pellucid.relevance.seeds import check_seed
from pellucid.relevance.walk import propagate
from pellucid.units.criterion import Criterion, Needs


@register("neurons", "relevance", paper="bach2015")
@dataclass(frozen=True)
class Relevance(Criterion):
    """Relevance: how much of the score the unit is made answerable for by layer-wise relevance propagation."""

    needs: ClassVar[Needs] = "passes"
    composite: str = "epsilon-plus"
    seed: str = "logit"

    def __post_init__(self) -> None:
        composite_named(self.composite)
        check_seed(self.seed)

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch unit"]:
        """``Σ_ij R_k``."""
        found = propagate(
            trace.network, trace.images, [layer], trace.target, composite=self.composite, seed=self.seed
        )
        return precise(found.relevance[layer]).sum((2, 3))
