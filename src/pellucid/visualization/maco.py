"""Only phases are moved; every frequency keeps the amplitude it has in real pictures.

    picture = sigmoid(M · standardized(irfft2(r · exp(iφ)))),   φ moved by NAdam

r: mean amplitude of the real images that were given, else a 1/f law; nothing is downloaded. The network is shown crops of random
place and side with noise. Source: Fel and others, Unlocking Feature Visualization for Deeper Networks with MAgnitude
Constrained Optimization, NeurIPS 2023. We differ in that r may come from the user's own images, in fewer crops per step, each
drawn for every image by itself, and in leaving out the transparency made of accumulated gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from pellucid.core.registry import register
from pellucid.visualization.draws import Stream, Transforms, normal
from pellucid.visualization.method import Adam, Method
from pellucid.visualization.problem import Problem
from pellucid.visualization.spectrum import colored, inverse, measured, natural_amplitude


@register("visualization", "maco", paper="fel2023")
@dataclass(frozen=True)
class Maco(Method):
    """Magnitude-constrained: phases alone are moved, amplitudes are those of real pictures.

    Attributes:
        spectrum: where amplitudes come from: the real images of the call, the 1/f law, or images if there are any.
        crops: views of each picture per step.
        side: mean and standard deviation of a crop's side, as a share of the picture's.
        noise: standard deviation of the noise added to a crop.
    """

    steps: int = 256
    rate: float = 0.3
    spectrum: Literal["auto", "images", "law"] = "auto"
    crops: int = 1
    side: tuple[float, float] = (0.7, 0.15)
    noise: float = 0.05

    def __post_init__(self) -> None:
        if self.spectrum not in ("auto", "images", "law"):
            raise ValueError(f'Expected `spectrum` to be "auto", "images" or "law", got {self.spectrum!r}.')
        if self.crops < 1:
            raise ValueError(f"Expected `crops` of at least 1, got {self.crops}.")

    def painter(self, problem: Problem) -> _Phases:
        """What paints one batch."""
        return _Phases(problem, self)


class _Phases(Adam):
    def __init__(self, problem: Problem, method: Maco) -> None:
        self.method = method
        if method.spectrum == "images" and problem.real is None:
            raise ValueError(
                'Expected real images for `spectrum="images"`, got none; try `images=` or "law".'
            )
        if problem.real is not None and method.spectrum != "law":
            pictures = problem.real
            if tuple(pictures.shape[2:]) != problem.size:
                pictures = F.interpolate(pictures, problem.size, mode="bilinear", antialias=True)
            amplitude = measured(pictures)
        else:
            amplitude = natural_amplitude(problem.size, problem.channels)
        start = normal(problem.streams, problem.channels, *amplitude.shape[1:])
        leaves = [start.to(problem.net.device, problem.net.dtype)]
        self._amplitude = amplitude.to(leaves[0])
        super().__init__(problem, leaves, method.steps, Transforms(), method.rate, nesterov=True)

    def paint(self, leaves: list[Tensor]) -> Tensor:
        """Pictures of phases."""
        return colored(
            inverse(torch.polar(self._amplitude.expand_as(leaves[0]), leaves[0]), self.problem.size)
        )

    def see(self, pictures: Tensor, streams: Sequence[Stream]) -> Tensor:
        """Crops with noise, ``crops`` of every picture."""
        return torch.cat([self._cropped(pictures, streams) for _ in range(self.method.crops)])

    def _cropped(self, pictures: Tensor, streams: Sequence[Stream]) -> Tensor:
        boxes = []
        for stream in streams:
            mean, spread = self.method.side
            side = min(1.0, max(0.1, mean + spread * 3**0.5 * stream.uniform(-1, 1)))
            right, down = (stream.uniform(-1, 1) * (1 - side) for _ in range(2))
            boxes.append([[side, 0, right], [0, side, down]])
        theta = torch.tensor(boxes, dtype=pictures.dtype, device=pictures.device)
        grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
        views = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
        noise = normal(streams, *pictures.shape[1:]).to(views)
        return views + self.method.noise * noise
