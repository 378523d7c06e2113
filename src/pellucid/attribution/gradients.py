"""Plain gradients, at the input or at any layer.

* gradient, Simonyan et al. 2013: ``M = max_k |g_k|``.
* gradient × input, Shrikumar et al. 2017: ``M = Σ_k g_k A_k``, signed: at the input the first-order share of
  every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.method import Home, Method
from pellucid.core.capture import Trace
from pellucid.core.reading import activation, gradient
from pellucid.core.registry import register, suggest

Reduction = Literal["max", "sum", "mean", "l2"]


@register("attribution", "gradient", paper="simonyan2013")
@dataclass(frozen=True)
class Gradient(Method):
    """Gradient: its size; ``reduce`` says how channels are joined: max, sum, mean or l2 of |g|."""

    home: ClassVar[Home] = "input"
    rectified: ClassVar[bool] = False
    reduce: Reduction = "max"

    def __post_init__(self) -> None:
        check_reduction(self.reduce)

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``max_k |g_k|``, or another reduction."""
        return reduced(gradient(trace, layer), self.reduce)


@register("attribution", "gradient-x-input", paper="shrikumar2017")
@dataclass(frozen=True)
class GradientXInput(Method):
    """Gradient × input: times the activation (at the input: the normalized pixel), summed over channels, signed."""

    home: ClassVar[Home] = "input"
    rectified: ClassVar[bool] = False

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``Σ_k g_k A_k``."""
        return (gradient(trace, layer) * activation(trace, layer)).sum(1)


def reduced(values: Float[Tensor, "batch channel h w"], reduce: Reduction) -> Float[Tensor, "batch h w"]:
    """Join channels by the size of their values."""
    if reduce == "l2":
        return values.square().sum(1).sqrt()
    size = values.abs()
    return size.amax(1) if reduce == "max" else size.sum(1) if reduce == "sum" else size.mean(1)


def check_reduction(reduce: str) -> None:
    """Raise ValueError for a word that names no way of joining channels."""
    known = ("max", "sum", "mean", "l2")
    if reduce not in known:
        raise ValueError(
            f"Expected `reduce` to be one of {', '.join(known)}, got `{reduce}`; {suggest(reduce, known)}"
        )
