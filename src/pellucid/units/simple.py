"""Criteria that cost at most one forward and one backward pass, read off activation A and gradient g.

* activation: ``mean_ij ReLU(A_k)``, the forward half of CGNIS.
* gradient: ``mean_ij |g_k|`` or, with ``rectified``, ``mean_ij ReLU(g_k)``, its backward half.
* gradient × activation: ``Σ_ij g_k A_k``, the first-order estimate of the score that is lost when the unit is
  set to zero (Molchanov et al. 2017, who take its absolute value for pruning; here the sign says for or
  against the target).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import Trace
from pellucid.core.reading import activation, gradient
from pellucid.core.registry import register
from pellucid.units.criterion import Criterion, Needs


@register("neurons", "activation", paper="lu2023")
@dataclass(frozen=True)
class Activation(Criterion):
    """Activation: mean positive activation, whatever the target."""

    needs: ClassVar[Needs] = "activation"
    targeted: ClassVar[bool] = False

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch unit"]:
        """``mean_ij ReLU(A_k)``."""
        return activation(trace, layer).relu().mean((2, 3))


@register("neurons", "gradient", paper="simonyan2013")
@dataclass(frozen=True)
class Gradient(Criterion):
    """Gradient: its mean size; ``rectified`` counts only what speaks for the target."""

    rectified: bool = False

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch unit"]:
        """``mean_ij |g_k|`` or ``mean_ij ReLU(g_k)``."""
        g = gradient(trace, layer)
        return (g.relu() if self.rectified else g.abs()).mean((2, 3))


@register("neurons", "gradient-x-activation", paper="molchanov2017")
@dataclass(frozen=True)
class GradientXActivation(Criterion):
    """Gradient × activation: first-order estimate of what removing the unit costs the target, signed."""

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch unit"]:
        """``Σ_ij g_k A_k``."""
        return (gradient(trace, layer) * activation(trace, layer)).sum((2, 3))
