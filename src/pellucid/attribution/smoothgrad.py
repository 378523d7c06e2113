"""SmoothGrad, Smilkov et al. 2017: the mean gradient over noisy copies of the image, M = max_k |mean_n g_k(x
+ noise_n)|.

The noise is Gaussian with a standard deviation of ``noise`` times the range (max − min) of each image. Every
image gets the same sequence of noise, drawn from ``seed`` on the CPU: a batch equals its images one by one,
on every device. At an inner layer the noise is still put on the image and the layer's gradient is averaged.
Cost: ``samples`` forward and backward passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.gradients import Reduction, check_reduction, reduced
from pellucid.attribution.method import Home, Method, Needs
from pellucid.core.capture import Trace, capture
from pellucid.core.reading import groups, precise
from pellucid.core.registry import register


@register("attribution", "smoothgrad", paper="smilkov2017")
@dataclass(frozen=True)
class SmoothGrad(Method):
    """SmoothGrad: mean gradient over noisy copies of the image."""

    needs: ClassVar[Needs] = "passes"
    home: ClassVar[Home] = "input"
    rectified: ClassVar[bool] = False
    samples: int = 25
    noise: float = 0.15
    seed: int = 0
    reduce: Reduction = "max"

    def __post_init__(self) -> None:
        check_reduction(self.reduce)
        if self.samples < 1 or self.noise < 0:
            raise ValueError(
                "Expected `samples` of at least 1 and `noise` of at least 0, "
                f"got {self.samples} and {self.noise}; try samples=25, noise=0.15."
            )

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``max_k |mean_n g_k(x + noise_n)|``."""
        images = precise(trace.images)
        batch, *shape = images.shape
        spread = self.noise * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))
        generator = torch.Generator().manual_seed(self.seed)
        total: Tensor | None = None
        for group in groups(self.samples, batch):
            drawn = torch.stack(
                [torch.randn(shape, generator=generator, dtype=torch.float32) for _ in group]
            ).to(images)
            noisy = (images[None] + spread[None, :, None, None, None] * drawn[:, None]).flatten(0, 1)
            found = capture(trace.network, noisy.to(trace.images), [layer], trace.target.repeat(len(group)))
            gradients = torch.stack(precise(found.gradients[layer]).chunk(len(group))).sum(0)
            total = gradients if total is None else total + gradients
        assert total is not None
        return reduced(total / self.samples, self.reduce)
