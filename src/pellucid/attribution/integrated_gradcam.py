"""Integrated Grad-CAM, Sattarzadeh et al. 2021: Grad-CAM summed up on the way from a baseline image x′ to the
image x,

    M = ∫₀¹ ReLU(Σ_k mean_ij g_k(x_t) · (A_k(x_t) − A_k(x′))) dt,      x_t = x′ + t (x − x′).

Where the score is saturated at x its gradient vanishes, and Grad-CAM with it; on the way it does not. The
integral is the mean over t = 1/steps, 2/steps … 1 (at t = 0 there is nothing to add). The rectifier is inside
of the integral, so the map has no negative side, not with ``signed`` either. The baseline is a number in
normalized units; 0, the mean color of the network's preprocessing, is our choice.

Cost: ``steps`` + 1 forward and backward passes, for all stages together. Needs gradients only: any network, any
layer, any target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.gradcam import weighted
from pellucid.attribution.staged import Staged
from pellucid.core.capture import Trace, capture
from pellucid.core.reading import groups, precise
from pellucid.core.registry import register
from pellucid.core.target import Target

Point = Mapping[str, tuple[Tensor, Tensor]]  # layer → activation and gradient [batch channel h w]


@dataclass(frozen=True)
class Path(Staged):
    """Base of the methods that follow the straight line of images from a baseline; its ``steps``."""

    steps: int = 20
    baseline: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"Expected at least 1 of `steps`, got {self.steps}; try 20.")

    def points(self, trace: Trace, layers: Sequence[str], target: Target) -> Iterator[Point]:
        """Activations and gradients for the baseline (t = 0), then for t = 1/steps … 1."""
        end = precise(trace.images)
        start = torch.full_like(end, self.baseline)
        for group in groups(self.steps + 1, len(trace)):
            images = torch.cat([torch.lerp(start, end, n / self.steps) for n in group])
            found = capture(trace.network, images.to(trace.images), layers, target.repeat(len(group)))
            parts = {
                name: tuple(
                    precise(each[name]).chunk(len(group)) for each in (found.activations, found.gradients)
                )
                for name in layers
            }
            for place in range(len(group)):
                yield {name: (A[place], g[place]) for name, (A, g) in parts.items()}


@register("attribution", "integrated-gradcam", paper="sattarzadeh2021")
@dataclass(frozen=True)
class IntegratedGradCAM(Path):
    """Integrated Grad-CAM: Grad-CAM of what changes, averaged along the path from a baseline image."""

    def maps(self, trace: Trace, layers: Sequence[str]) -> Mapping[str, Float[Tensor, "batch h w"]]:
        """``mean_t ReLU(Σ_k mean_ij g_k(x_t) (A_k(x_t) − A_k(x′)))``."""
        points = self.points(trace, layers, trace.target)
        first = next(points)
        total = {name: torch.zeros_like(A[:, 0]) for name, (A, _) in first.items()}
        for point in points:
            for name, (A, g) in point.items():
                total[name] += weighted(g.mean((2, 3)), A - first[name][0]).relu() / self.steps
        return total
