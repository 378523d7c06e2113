"""Pixels under four regularizers: decay, blur every few steps, clipping of small norms and of small contributions.

After every step ``x ← x + η g / mean|g|`` on pixels around gray, in 1/255:

    x ← (1 − decay) x
    every k steps: blur with a Gaussian of σ
    pixels whose norm over colors is below a percentile are set to gray
    pixels whose contribution Σ_c x_c g_c is below a percentile in size are set to gray

Source: Yosinski, Clune, Nguyen, Fuchs, Lipson, Understanding Neural Networks Through Deep Visualization, 2015, with its four
published settings (``preset`` 1 to 4). We differ in the learning rate, which is made independent of a network's scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.precision import exact
from pellucid.core.registry import register
from pellucid.visualization.draws import Transforms
from pellucid.visualization.method import Method, Painter
from pellucid.visualization.pixels import gray_noise
from pellucid.visualization.problem import Problem
from pellucid.visualization.pyramids import gaussian

# decay, blur σ, blur every, norm percentile, contribution percentile
PRESETS = {
    1: (0.0, 0.5, 4, 50.0, 0.0),
    2: (0.3, 0.0, 0, 20.0, 0.0),
    3: (1e-4, 1.0, 4, 0.0, 0.0),
    4: (0.0, 0.5, 4, 0.0, 90.0),
}


@register("visualization", "yosinski", paper="yosinski2015")
@dataclass(frozen=True)
class Yosinski(Method):
    """Decay, blur and two clippings on pixels.

    Attributes:
        preset: one of the four published settings, 1 to 4; 0 takes the values below it.
        rate: mean size of a step, in 1/255.
        blur: σ of the Gaussian; ``every`` how many steps, 0 for never.
        norm, contribution: percentiles of what is clipped.
    """

    steps: int = 256
    rate: float = 5.0
    preset: int = 3
    decay: float = 0.0
    blur: float = 0.0
    every: int = 0
    norm: float = 0.0
    contribution: float = 0.0
    noise: float = 0.02

    def __post_init__(self) -> None:
        if self.preset not in (0, *PRESETS):
            raise ValueError(
                f"Expected `preset` from 1 to 4, or 0 for the values beside it, got {self.preset}."
            )

    @property
    def settings(self) -> tuple[float, float, int, float, float]:
        """(decay, blur σ, blur every, norm percentile, contribution percentile) in use."""
        given = (self.decay, self.blur, self.every, self.norm, self.contribution)
        return PRESETS[self.preset] if self.preset else given

    def painter(self, problem: Problem) -> _Regularized:
        """What paints one batch."""
        return _Regularized(problem, self)


def regularized(
    x: Float[Tensor, "batch channel h w"],
    g: Float[Tensor, "batch channel h w"],
    step: int,
    settings: tuple[float, float, int, float, float],
) -> Float[Tensor, "batch channel h w"]:
    """``x``, around zero, after the four regularizers."""
    decay, blur, every, norm, contribution = settings
    x = x * (1 - decay)
    if every and blur and step % every == 0:
        x = gaussian(x, blur)
    if norm:
        x = x * _kept(x.norm(dim=1), norm)
    if contribution:
        x = x * _kept((x * g).sum(1).abs(), contribution)
    return x


def _kept(size: Float[Tensor, "batch h w"], percentile: float) -> Float[Tensor, "batch 1 h w"]:
    # in float64: torch's quantile interpolates, as NumPy's percentile does
    limit = torch.quantile(exact(size.flatten(1)), percentile / 100, dim=1).to(size)
    return (size >= limit[:, None, None])[:, None].to(size)


class _Regularized(Painter):
    def __init__(self, problem: Problem, method: Yosinski) -> None:
        self.method = method
        super().__init__(problem, [gray_noise(problem, method.noise).clamp(0, 1)], method.steps, Transforms())

    def move(self, gradients: list[Tensor], step: int) -> None:
        """One step, then the regularizers."""
        x, g = self.leaves[0] - 0.5, gradients[0]
        mean = g.abs().mean((1, 2, 3), keepdim=True)
        x = x + self.method.rate / 255 * self.stepsize(x) * g / torch.where(mean > 0, mean, 1)
        self.leaves = [(regularized(x, g, step, self.method.settings) + 0.5).clamp(0, 1)]
