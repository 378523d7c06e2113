"""Ascent with spatial pyramids: normalized gradient, momentum, Laplacian and Gaussian pyramid, octaves, a region.

Source: Tao, Fu, Zhu, Wang, Journal of Harbin Institute of Technology 49(11), 2017. Its abstract fixes the order of the
components, not their constants; whether the pyramids act on the gradient or on the image is open there, so both arms exist.
With g the gradient of the objective at the picture x:

    ĝ ← g / rms(g)                                         normalize
    ĝ ← Σ_l ω_l L_l(ĝ) / rms(L_l(ĝ))^equalize              laplacian = "gradient": its bands, fine to coarse
    ĝ ← blur(ĝ, σ)            or  x ← (1−β) x + β blur(x, σ)   gaussian = "gradient" or "image"; σ falls over the run
    ĝ ← R ĝ                                                region: class activation map of x, every few steps
    v ← μ v + (1−μ) ĝ,   x ← x + η v                        momentum

With ``laplacian="image"`` the image is itself the sum of a pyramid whose levels are moved, each by its own share of the
gradient (the reduced gradient) made equally strong. ``octaves`` starts small and enlarges by ``ratio``. Beyond the source: the
step is taken in colors that are uncorrelated in photographs (``decorrelate``), and the network is shown the picture under
random shifts, zooms and turns. Every component can be switched off; all off is plain ascent along the gradient, whose unit is
the size of an image's first gradient. ``equalize`` below 1 leaves the bands a part of their own strengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from pellucid.core.registry import register
from pellucid.visualization.colors import natural
from pellucid.visualization.draws import Transforms, normal
from pellucid.visualization.method import Method, Painter
from pellucid.visualization.problem import Problem
from pellucid.visualization.pyramids import balanced, expand, gaussian, normalized, reduce, smooth
from pellucid.visualization.pyramids import depth as depth_of
from pellucid.visualization.region import region

Arm = Literal["gradient", "image", "off"]


@register("visualization", "pyramid", paper="tao2017")
@dataclass(frozen=True)
class Pyramid(Method):
    """Spatial pyramids: normalized gradient with momentum, its bands balanced, the image smoothed, limited to a region.

    Attributes:
        rate: root mean square of a step, in the unit of pixels [0, 1], at the start; it falls to a third.
        bands: weights of the Laplacian bands, fine to coarse.
        sigma: of the Gaussian, at the start and at the end.
        blend: how much of the smoothed image is blended in.
        cam: attribution method that gives the region of a class.
    """

    steps: int = 96
    rate: float = 0.08
    normalize: bool = True
    momentum: float = 0.9
    laplacian: Arm = "gradient"
    levels: int = 4
    bands: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    equalize: float = 0.85
    gaussian: Arm = "image"
    sigma: tuple[float, float] = (2.5, 0.8)
    blend: float = 0.05
    octaves: int = 3
    ratio: float = 1.3
    region: bool = True
    every: int = 8
    threshold: float = 0.3
    softness: float = 0.1
    cam: str = "layercam"
    decorrelate: float = 0.5
    jitter: int = 12
    scale: float = 0.05
    rotate: float = 3.0
    noise: float = 0.02

    def __post_init__(self) -> None:
        for name in ("laplacian", "gaussian"):
            if getattr(self, name) not in ("gradient", "image", "off"):
                raise ValueError(
                    f'Expected `{name}` to be "gradient", "image" or "off", got {getattr(self, name)!r}.'
                )
        for name, least in (("levels", 1), ("octaves", 1), ("every", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"Expected `{name}` of at least {least}, got {getattr(self, name)}.")
        if not self.bands or min(self.bands) < 0 or not 0 <= self.momentum < 1 or self.ratio <= 1:
            raise ValueError(
                "Expected `bands` of at least 0, a momentum in [0, 1) and a ratio above 1, got "
                f"{self.bands}, {self.momentum} and {self.ratio}."
            )

    def painter(self, problem: Problem) -> _Pixels:
        """What paints one batch."""
        return _Pixels(problem, self)


class _Pixels(Painter):
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
        self._unit: Tensor | None = None

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
        if method.laplacian == "gradient":
            g = balanced(g, method.levels, method.bands, method.equalize)
        elif method.laplacian == "image":
            g = _of_levels(g, method.levels, method.bands)
        elif method.normalize:
            g = normalized(g)
        else:
            g = g / self._first_size(g)
        if method.gaussian == "gradient":
            g = normalized(gaussian(g, sigma)) if method.normalize else gaussian(g, sigma)
        if self._region is not None:
            g = g * self._region
        self._velocity = method.momentum * self._velocity + (1 - method.momentum) * g
        x = self.leaves[0]
        rate = method.rate * (1 - 2 / 3 * share)
        x = x + rate * self.stepsize(x) * self._velocity
        if method.gaussian == "image":
            x = x + method.blend * (gaussian(x, sigma) - x)
        self.leaves = [x.clamp(0, 1)]

    def _first_size(self, g: Tensor) -> Tensor:
        """Root mean square of every image's first gradient that is not zero: what a plain step is measured in."""
        if self._unit is None:
            self._unit = torch.zeros_like(g[:, :1, :1, :1])
        now = g.square().mean((1, 2, 3), keepdim=True).sqrt()
        self._unit = torch.where((self._unit == 0) & torch.isfinite(now), now, self._unit)
        return torch.where(self._unit > 0, self._unit, 1)

    def forget(self, rows: Bool[Tensor, " batch"]) -> None:
        """Velocity of these rows starts anew."""
        self._velocity[rows] = 0


def _of_levels(gradient: Tensor, levels: int, weights: tuple[float, ...]) -> Tensor:
    """The step of an image that is the sum of a pyramid's expanded levels, when each level moves equally far.

    The gradient at a level is the gradient filtered and thinned as often (the adjoint of expanding, up to scale).
    """
    count = depth_of((int(gradient.shape[2]), int(gradient.shape[3])), levels)
    omega = [*weights, *[weights[-1]] * (levels - len(weights))]
    parts = [normalized(gradient)]
    for _ in range(count - 1):
        parts.append(reduce(parts[-1]))
    step = omega[count - 1] * normalized(parts[-1])
    for level in range(count - 2, -1, -1):
        finer = parts[level]
        step = omega[level] * normalized(finer) + expand(step, (int(finer.shape[2]), int(finer.shape[3])))
    return normalized(step)


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
