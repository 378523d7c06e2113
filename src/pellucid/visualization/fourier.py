"""Fourier coefficients moved by Adam, in uncorrelated colors, under shift, zoom and turn.

    picture = sigmoid(M · irfft2(Z / max(f, 1/max(h, w))^decay) / 4),   Z ~ N(0, 0.01²) at the start

Source: Olah, Mordvintsev, Schubert, Feature Visualization, Distill 2017, as in Lucid and Lucent. We differ in that every image
has its own draw of the transforms, a picture is enlarged by mirroring instead of a gray border, and the network is shown
the picture at the size that was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.registry import register
from pellucid.visualization.draws import Transforms, normal
from pellucid.visualization.method import Adam, Method
from pellucid.visualization.problem import Problem
from pellucid.visualization.spectrum import colored, inverse, law


@register("visualization", "fourier", paper="olah2017")
@dataclass(frozen=True)
class Fourier(Method):
    """Fourier parametrization with uncorrelated colors and robust transforms, moved by Adam.

    Attributes:
        spread: standard deviation of the coefficients at the start.
        decay: how fast their scale falls with frequency.
    """

    steps: int = 256
    rate: float = 0.05
    spread: float = 0.01
    decay: float = 1.0
    jitter: int = 8
    scale: float = 0.1
    rotate: float = 10.0

    def painter(self, problem: Problem) -> _Coefficients:
        """What paints one batch."""
        return _Coefficients(problem, self)


class _Coefficients(Adam):
    def __init__(self, problem: Problem, method: Fourier) -> None:
        height, width = problem.size
        start = normal(problem.streams, problem.channels, height, width // 2 + 1, 2)
        leaves = [method.spread * start.to(problem.net.device, problem.net.dtype)]
        self._scale = (law(problem.size, method.decay) / 4).to(leaves[0])
        super().__init__(
            problem, leaves, method.steps, Transforms(method.jitter, method.scale, method.rotate), method.rate
        )

    def paint(self, leaves: list[Tensor]) -> Tensor:
        """Pictures of coefficients."""
        return colored(inverse(torch.view_as_complex(leaves[0]) * self._scale, self.problem.size))
