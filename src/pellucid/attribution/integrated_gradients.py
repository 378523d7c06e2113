"""Integrated gradients, Sundararajan et al. 2017: M = Σ_k (A − A′)_k ∫₀¹ g_k(A′ + t (A − A′)) dt, signed.

At the input the path runs from the baseline image to the image. At an inner layer it runs from the layer's
activation for the baseline image to that for the image, in the layer's own space, through the tail of the
network (as captum's LayerIntegratedGradients). Completeness: Σ M = score(A) − score(A′);
`IntegratedGradients.gap` says how far the quadrature is from it. Cost: ``steps`` forward and backward passes
through what lies behind the layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.method import Home, Method, Needs
from pellucid.core.capture import Trace, capture
from pellucid.core.layers import INPUT
from pellucid.core.reading import groups, precise, tail_gradient
from pellucid.core.registry import register, suggest
from pellucid.core.tail import Tail


@register("attribution", "integrated-gradients", paper="sundararajan2017")
@dataclass(frozen=True)
class IntegratedGradients(Method):
    """Integrated Gradients: gradients along the straight path from a baseline.

    ``baseline`` is in normalized units, one number or one per input channel; 0 is the mean color of the
    network's preprocessing. ``rule`` is the quadrature: Gauss–Legendre (exact for smooth paths) or trapezoid
    (both ends included).
    """

    needs: ClassVar[Needs] = "passes"
    home: ClassVar[Home] = "input"
    rectified: ClassVar[bool] = False
    steps: int = 32
    baseline: float | tuple[float, ...] = 0.0
    rule: Literal["gausslegendre", "trapezoid"] = "gausslegendre"

    def __post_init__(self) -> None:
        if self.rule not in ("gausslegendre", "trapezoid"):
            raise ValueError(
                f"Expected `rule` to be gausslegendre or trapezoid, got `{self.rule}`; "
                f"{suggest(self.rule, ('gausslegendre', 'trapezoid'))}"
            )
        least = 2 if self.rule == "trapezoid" else 1
        if self.steps < least:
            raise ValueError(f"Expected at least {least} `steps` for {self.rule}, got {self.steps}; try 32.")
        if not isinstance(self.baseline, (int, float)):  # a list, when the parameters come from JSON
            object.__setattr__(self, "baseline", tuple(self.baseline))

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``Σ_k (A − A′)_k ∫ g_k dt``."""
        return self.integrate(Tail(trace.network, trace.images, layer), trace, layer).sum(1)

    def gap(self, trace: Trace, layer: str) -> Float[Tensor, " batch"]:
        """Σ M − (score at the activation − score at the baseline), per image: zero when the integral is
        exact."""
        tail = Tail(trace.network, trace.images, layer)
        total = self.integrate(tail, trace, layer).sum((1, 2, 3))
        start = self._start(trace, layer).to(tail.activation)
        with torch.no_grad():
            ends = [trace.target.score(tail(activation)) for activation in (tail.activation, start)]
        return total - precise(ends[0]) + precise(ends[1])

    def integrate(self, tail: Tail, trace: Trace, layer: str) -> Float[Tensor, "batch channel h w"]:
        """Contribution of every element of the layer's activation."""
        end, start = precise(tail.activation), precise(self._start(trace, layer))
        points, weights = self._quadrature()
        total = torch.zeros_like(end)
        for group in groups(self.steps, len(trace)):
            position = torch.cat([start + points[n] * (end - start) for n in group]).to(tail.activation)
            found = tail_gradient(tail, position, trace.target.repeat(len(group)))
            for n, each in zip(group, found.chunk(len(group)), strict=True):
                total += weights[n] * each
        return (end - start) * total

    def _start(self, trace: Trace, layer: str) -> Tensor:
        values = torch.as_tensor(self.baseline, dtype=trace.images.dtype, device=trace.images.device)
        if values.ndim and len(values) != trace.images.shape[1]:
            raise ValueError(
                f"Expected `baseline` to be one number or {trace.images.shape[1]}, one per channel, "
                f"got {len(values)}; try 0.0, the mean color."
            )
        image = torch.zeros_like(trace.images) + values.view(-1, 1, 1)
        if layer == INPUT:
            return image
        return capture(trace.network, image, [layer], trace.target, gradients=False).activations[layer]

    def _quadrature(self) -> tuple[list[float], list[float]]:
        if self.rule == "trapezoid":
            weights = np.full(self.steps, 1 / (self.steps - 1))
            weights[[0, -1]] /= 2
            return np.linspace(0, 1, self.steps).tolist(), weights.tolist()
        points, weights = np.polynomial.legendre.leggauss(self.steps)
        return ((points + 1) / 2).tolist(), (weights / 2).tolist()
