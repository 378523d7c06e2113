"""The arms of the pyramid method that ``studies/visualization.py`` compares; the method is `pellucid.visualization.pyramid`.

Every component can be switched off; all off is plain ascent along the gradient, whose unit is the size of an image's first
gradient. With ``laplacian="image"`` the image is itself the sum of a pyramid whose levels are moved, each by its own share of the
gradient (the reduced gradient) made equally strong. ``gaussian="gradient"`` blurs the gradient instead of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pellucid.visualization.problem import Problem
from pellucid.visualization.pyramid import Pyramid, PyramidPainter
from pellucid.visualization.pyramids import depth as depth_of
from pellucid.visualization.pyramids import expand, gaussian, normalized, reduce

Arm = Literal["gradient", "image", "off"]


@dataclass(frozen=True)
class PyramidArm(Pyramid):
    """The pyramid method with every component and constant as a parameter."""

    normalize: bool = True
    momentum: float = 0.9  # type: ignore[misc]
    laplacian: Arm = "gradient"
    levels: int = 4  # type: ignore[misc]
    bands: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)  # type: ignore[misc]
    equalize: float = 0.85  # type: ignore[misc]
    gaussian: Arm = "image"
    sigma: tuple[float, float] = (2.5, 0.8)  # type: ignore[misc]
    blend: float = 0.05  # type: ignore[misc]
    ratio: float = 1.3  # type: ignore[misc]
    decorrelate: float = 0.5  # type: ignore[misc]
    jitter: int = 12  # type: ignore[misc]
    scale: float = 0.05  # type: ignore[misc]
    rotate: float = 3.0  # type: ignore[misc]
    noise: float = 0.02  # type: ignore[misc]

    def __post_init__(self) -> None:
        for name in ("laplacian", "gaussian"):
            if getattr(self, name) not in ("gradient", "image", "off"):
                raise ValueError(
                    f'Expected `{name}` to be "gradient", "image" or "off", got {getattr(self, name)!r}.'
                )
        super().__post_init__()
        if self.levels < 1:
            raise ValueError(f"Expected `levels` of at least 1, got {self.levels}.")
        if not self.bands or min(self.bands) < 0 or not 0 <= self.momentum < 1 or self.ratio <= 1:
            raise ValueError(
                "Expected `bands` of at least 0, a momentum in [0, 1) and a ratio above 1, got "
                f"{self.bands}, {self.momentum} and {self.ratio}."
            )

    def painter(self, problem: Problem) -> _ArmPainter:
        """What paints one batch."""
        return _ArmPainter(problem, self)


class _ArmPainter(PyramidPainter):
    """Pixels with momentum, components on or off."""

    method: PyramidArm

    def __init__(self, problem: Problem, method: PyramidArm) -> None:
        super().__init__(problem, method)
        self._unit: Tensor | None = None

    def direction(self, g: Tensor, sigma: float) -> Tensor:
        """One step's direction by the arm."""
        method = self.method
        if method.laplacian == "gradient":
            g = super().direction(g, sigma)
        elif method.laplacian == "image":
            g = _of_levels(g, method.levels, method.bands)
        else:
            g = normalized(g) if method.normalize else g / self._first_size(g)
        if method.gaussian == "gradient":
            g = normalized(gaussian(g, sigma)) if method.normalize else gaussian(g, sigma)
        return g

    def blended(self, x: Tensor, sigma: float) -> Tensor:
        """The picture, smoothed where the arm says so."""
        return super().blended(x, sigma) if self.method.gaussian == "image" else x

    def _first_size(self, g: Tensor) -> Tensor:
        """Root mean square of every image's first gradient that is not zero: what a plain step is measured in."""
        if self._unit is None:
            self._unit = torch.zeros_like(g[:, :1, :1, :1])
        now = g.square().mean((1, 2, 3), keepdim=True).sqrt()
        self._unit = torch.where((self._unit == 0) & torch.isfinite(now), now, self._unit)
        return torch.where(self._unit > 0, self._unit, 1)


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
