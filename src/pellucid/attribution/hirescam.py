"""Maps that multiply gradient and activation element by element and only then sum over channels.

* HiResCAM, Draelos and Carin 2020: ``M = Σ_k g_k A_k``; at the last stage of a network with global average
  pooling and one linear layer it is CAM divided by the number of cells.
* Elementwise Grad-CAM (Gildenblat 2021): ``M = Σ_k ReLU(g_k A_k)``: evidence against the target does not
  cancel evidence for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.method import Method
from pellucid.core.capture import Trace
from pellucid.core.reading import activation, gradient
from pellucid.core.registry import register


@register("attribution", "hirescam", paper="draelos2020")
@dataclass(frozen=True)
class HiResCAM(Method):
    """HiResCAM: every position counts with its own gradient."""

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``Σ_k g_k A_k``."""
        return (gradient(trace, layer) * activation(trace, layer)).sum(1)


@register("attribution", "gradcam-elementwise", paper="gildenblat2021")
@dataclass(frozen=True)
class GradCAMElementwise(Method):
    """Elementwise Grad-CAM: only positive products count."""

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``Σ_k ReLU(g_k A_k)``."""
        return (gradient(trace, layer) * activation(trace, layer)).relu().sum(1)
