"""Maps that weight whole channels, M = Σ_k w_k A_k, with the weight taken from the gradient g = ∂score/∂A.

* Grad-CAM, Selvaraju et al. 2017: ``w_k = mean_ij g_k``.
* Grad-CAM++, Chattopadhay et al. 2018: ``w_k = Σ_ij α_k ReLU(g_k)``, ``α = g² / (2 g² + ΣA · g³ + ε)``. The
  paper explains exp(score), whose derivatives are powers of g times one positive factor that cancels in α.
* XGrad-CAM, Fu et al. 2020: ``w_k = Σ_ij g_k A_k / (Σ_ij A_k + ε)``.

The last two divide by 2 + g ΣA and by ΣA: they are made for non-negative activations. At layers without a rectifier (SiLU,
GELU, sums in residual blocks) these denominators may vanish, and rounding alone would decide the map. There ΣA counts as 0
where it is negative for Grad-CAM++, so that α stays within (0, ½], and XGrad-CAM divides by Σ|A|, so that a weight stays a mean
of gradients. Nothing changes for non-negative activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.method import Method
from pellucid.core.capture import Trace
from pellucid.core.reading import activation, gradient
from pellucid.core.registry import register


@register("attribution", "gradcam", paper="selvaraju2017")
@dataclass(frozen=True)
class GradCAM(Method):
    """Grad-CAM: channels weighted by the mean of their gradient."""

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``w_k = mean_ij g_k``."""
        return weighted(gradient(trace, layer).mean((2, 3)), activation(trace, layer))


@register("attribution", "gradcam++", paper="chattopadhay2018")
@dataclass(frozen=True)
class GradCAMPlusPlus(Method):
    """Grad-CAM++: positive gradients weighted by how much of the score each position accounts for.

    Where g is zero so is α, without ``epsilon``. Common code adds an absolute 1e-6 to the denominator, which
    at shallow layers, with gradients near 1e-4, outweighs g² and turns α into g²/ε; it is here to reproduce
    that, negative sums included.
    """

    nonnegative: ClassVar[bool] = True
    epsilon: float = 0.0

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``w_k = Σ_ij α_k ReLU(g_k)``."""
        A = activation(trace, layer)
        g = gradient(trace, layer).relu()  # where g is not positive the weight has no part in it
        total = A.sum((2, 3), keepdim=True)
        below = ((total if self.epsilon else total.clamp(min=0)) * g).add_(2)
        part = g  # α ReLU(g) = g³ / (g² below): g² cancels but for epsilon
        if self.epsilon:
            square = g * g
            below, part = below.mul_(square).add_(self.epsilon), square.mul_(g)
        return weighted(torch.where(below == 0, 0, part / below).sum((2, 3)), A)


@register("attribution", "xgradcam", paper="fu2020")
@dataclass(frozen=True)
class XGradCAM(Method):
    """XGrad-CAM: gradients weighted by each position's share of its channel.

    ``absolute=False`` divides by ΣA wherever the activations are negative too, as common code does.
    """

    nonnegative: ClassVar[bool] = True
    epsilon: float = 1e-7
    absolute: bool = True

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``w_k = Σ_ij g_k A_k / (Σ_ij |A_k| + ε)``."""
        A = activation(trace, layer)
        total = (A.abs() if self.absolute else A).sum((2, 3)) + self.epsilon
        share = (gradient(trace, layer) * A).sum((2, 3))
        return weighted(torch.where(total == 0, 0, share / total), A)


def weighted(
    weights: Float[Tensor, "batch channel"], activations: Float[Tensor, "batch channel h w"]
) -> Float[Tensor, "batch h w"]:
    """Σ_k w_k A_k, per image."""
    batch, _, h, w = activations.shape
    return torch.bmm(weights[:, None], activations.flatten(2)).view(batch, h, w)
