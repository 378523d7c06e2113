"""Pixels moved along the plain gradient, with the regularizers of the first works.

    x ← x + η g/rms(g),   g = ∂/∂x ( J − λ₂ |x − ½|²  − λ_α |x − ½|_α^α  − λ_tv Σ √(Δ_x² + Δ_y²) )

L2: Simonyan, Vedaldi, Zisserman 2013; α-norm and total variation: Mahendran, Vedaldi 2015. The weights multiply means over
pixels, and the gradient of J is taken with root mean square 1 first, so that one setting fits all layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.registry import register
from pellucid.visualization.draws import Transforms, normal
from pellucid.visualization.method import Method, Painter
from pellucid.visualization.problem import Problem
from pellucid.visualization.pyramids import normalized


@register("visualization", "pixels", paper="simonyan2013")
@dataclass(frozen=True)
class Pixels(Method):
    """Plain ascent on pixels; weight decay, α-norm and total variation where they are asked for.

    Attributes:
        l2, alpha_norm, tv: weights of the regularizers, 0 for none.
        alpha: exponent of the α-norm.
    """

    steps: int = 256
    rate: float = 0.02
    l2: float = 0.0
    alpha_norm: float = 0.0
    alpha: float = 6.0
    tv: float = 0.0
    jitter: int = 0
    scale: float = 0.0
    rotate: float = 0.0
    noise: float = 0.02

    def painter(self, problem: Problem) -> _Plain:
        """What paints one batch."""
        return _Plain(problem, self)


def penalty_gradient(
    x: Float[Tensor, "batch channel h w"], method: Pixels
) -> Float[Tensor, "batch channel h w"]:
    """Gradient of the regularizers, times the number of values."""
    from_gray = x - 0.5
    found = 2 * method.l2 * from_gray
    if method.alpha_norm:
        found = found + method.alpha_norm * method.alpha * from_gray.sign() * (2 * from_gray.abs()) ** (
            method.alpha - 1
        )
    if method.tv:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            down = leaf[:, :, 1:, :-1] - leaf[:, :, :-1, :-1]
            right = leaf[:, :, :-1, 1:] - leaf[:, :, :-1, :-1]
            (slope,) = torch.autograd.grad((down**2 + right**2 + 1e-8).sqrt().sum(), leaf)
        found = found + method.tv * slope
    return found


def gray_noise(problem: Problem, amount: float) -> Float[Tensor, "batch channel h w"]:
    """Gray with a little noise, each image its own."""
    noise = normal(problem.streams, problem.channels, *problem.size)
    return 0.5 + amount * noise.to(problem.net.device, problem.net.dtype)


class _Plain(Painter):
    def __init__(self, problem: Problem, method: Pixels) -> None:
        self.method = method
        transforms = Transforms(method.jitter, method.scale, method.rotate)
        super().__init__(problem, [gray_noise(problem, method.noise).clamp(0, 1)], method.steps, transforms)

    def move(self, gradients: list[Tensor], step: int) -> None:
        """One step as in the module's formula."""
        x = self.leaves[0]
        g = normalized(gradients[0]) - penalty_gradient(x, self.method)
        self.leaves = [(x + self.method.rate * self.stepsize(x) * g).clamp(0, 1)]
