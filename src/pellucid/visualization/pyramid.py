"""Ascent with spatial pyramids: normalized gradient, momentum, Laplacian and Gaussian pyramid, octaves, a region.

Source: Tao, Fu, Zhu, Wang, Journal of Harbin Institute of Technology 49(11), 2017. Its abstract fixes the order of the
components, not their constants; whether the pyramids act on the gradient or on the image is open there.
With g the gradient of the objective at the picture x:

    ĝ ← g / rms(g)
    ĝ ← Σ_l ω_l L_l(ĝ) / rms(L_l(ĝ))^equalize              Laplacian bands of the gradient, fine to coarse
    ĝ ← R ĝ                                                region: class activation map of x, every few steps
    v ← μ v + (1−μ) ĝ,   x ← x + η v                        momentum
    x ← (1−β) x + β blur(x, σ)                              Gaussian pyramid of the image; σ falls over the run

Octaves start small and enlarge by ``ratio``. Beyond the source: the step is taken in colors that are uncorrelated in photographs
(``decorrelate``), and the network is shown the picture under random shifts, zooms and turns. The constants were chosen by
``studies/visualization.py``; the other arms, with every component switched on and off, are in ``studies/visualization_arms.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from pellucid.core.registry import register
from pellucid.visualization.colors import natural
from pellucid.visualization.draws import Transforms, normal
from pellucid.visualization.method import Method, Painter
from pellucid.visualization.problem import Problem
from pellucid.visualization.pyramids import balanced, gaussian, normalized, smooth
from pellucid.visualization.region import region


@register("visualization", "pyramid", paper="tao2017")
@dataclass(frozen=True)
class Pyramid(Method):
    """Spatial pyramids: normalized gradient with momentum, its bands balanced, the image smoothed, limited to a region.

    Attributes:
        steps: of the ascent.
        rate: root mean square of a step, in the unit of pixels [0, 1], at the start; it falls to a third.
        region: move what belongs to the objective alone, where a class activation map finds it.
        octaves: sizes that are passed through, small to large.
    """

    steps: int = 96
    rate: float = 0.08
    region: bool = True
    octaves: int = 3
    momentum: ClassVar[float] = 0.9
    levels: ClassVar[int] = 4
    bands: ClassVar[tuple[float, ...]] = (
        1.0,
        1.0,
        1.0,
        1.0,
    )  # weights of the Laplacian bands, fine to coarse
    equalize: ClassVar[float] = 0.85
    sigma: ClassVar[tuple[float, float]] = (2.5, 0.8)  # of the Gaussian, at the start and at the end
    blend: ClassVar[float] = 0.05  # how much of the smoothed image is blended in
    ratio: ClassVar[float] = 1.3
    every: ClassVar[int] = 8  # steps between two looks for the region
    threshold: ClassVar[float] = 0.3
    softness: ClassVar[float] = 0.1
    cam: ClassVar[str] = "layercam"
    decorrelate: ClassVar[float] = 0.5
    jitter: ClassVar[int] = 12
    scale: ClassVar[float] = 0.05
    rotate: ClassVar[float] = 3.0
    noise: ClassVar[float] = 0.02

    def __post_init__(self) -> None:
        if self.octaves < 1:
            raise ValueError(f"Expected `octaves` of at least 1, got {self.octaves}.")

    def painter(self, problem: Problem) -> PyramidPainter:
        """What paints one batch."""
        return PyramidPainter(problem, self)


class PyramidPainter(Painter):
    """Pixels with momentum; see the module."""

    def __init__(self, problem: Problem, method: Pyramid) -> None:
        self.method = method
        self._plan = _octaves(problem, method)
        small = self._plan[0]
        start = normal(problem.streams, problem.channels, *small).to(problem.net.device, problem.net.dtype)
        leaves = [0.5 + method.noise * normalized(smooth(start))]
        super().__init__(
            problem, leaves, method.steps, Transforms(method.jitter, method.scale, method.rotate)
        )
        self._velocity = torch.zeros_like(leaves[0])
        self._region: Tensor | None = None

    def begin(self, step: int) -> None:
        """Enlarge at the start of an octave; look where the objective is."""
        size = self._plan[step * len(self._plan) // self.steps]
        if tuple(self.leaves[0].shape[2:]) != size:
            self.leaves = [_resized(self.leaves[0], size).clamp(0, 1)]
            self._velocity = _resized(self._velocity, size)
            self._region = None if self._region is None else _resized(self._region, size)
        if self.method.region and step and step % self.method.every == 0:
            self._region = region(
                self.problem, self.leaves[0], self.method.cam, self.method.threshold, self.method.softness
            )

    def move(self, gradients: list[Tensor], step: int) -> None:
        """One step as in the module's formulas."""
        method, g = self.method, gradients[0]
        share = step / max(1, self.steps - 1)
        sigma = method.sigma[0] + (method.sigma[1] - method.sigma[0]) * share
        if method.decorrelate:
            g = natural(g, method.decorrelate)
        g = self.direction(g, sigma)
        if self._region is not None:
            g = g * self._region
        self._velocity = method.momentum * self._velocity + (1 - method.momentum) * g
        x = self.leaves[0]
        rate = method.rate * (1 - 2 / 3 * share)
        x = x + rate * self.stepsize(x) * self._velocity
        self.leaves = [self.blended(x, sigma).clamp(0, 1)]

    def direction(self, g: Tensor, sigma: float) -> Tensor:
        """The gradient with its bands balanced."""
        return balanced(g, self.method.levels, self.method.bands, self.method.equalize)

    def blended(self, x: Tensor, sigma: float) -> Tensor:
        """The picture with some of its smoothed self."""
        return x + self.method.blend * (gaussian(x, sigma) - x)

    def forget(self, rows: Bool[Tensor, " batch"]) -> None:
        """Velocity of these rows starts anew."""
        self._velocity[rows] = 0


def _octaves(problem: Problem, method: Pyramid) -> list[tuple[int, int]]:
    """Sizes from small to the finished one; only those the network takes."""
    sizes = []
    for k in range(method.octaves - 1, -1, -1):
        shrink = method.ratio**k
        size = (round(problem.size[0] / shrink), round(problem.size[1] / shrink))
        if k == 0 or (min(size) >= 16 and problem.accepts(size)):
            sizes.append(size)
    return sizes


def _resized(values: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(values, size, mode="bilinear", align_corners=False)
