"""Pictures from Fourier coefficients, and the mean amplitude of real pictures at every frequency.

With Z complex coefficients on the half plane of frequencies [channel h w/2+1] and f the frequency in cycles per pixel:

    picture = sigmoid(M · irfft2(Z))          orthonormal transform, M as in `pellucid.visualization.colors`

1/f law: amplitudes of photographs fall as ``1 / max(f, 1/max(h, w))``.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.precision import exact
from pellucid.visualization.colors import correlate, decorrelate


def frequencies(size: tuple[int, int]) -> Float[Tensor, "h half"]:
    """Cycles per pixel at every coefficient."""
    down = torch.fft.fftfreq(size[0], dtype=torch.float64)[:, None]
    square: Tensor = down**2 + torch.fft.rfftfreq(size[1], dtype=torch.float64) ** 2
    return square.sqrt()


def law(size: tuple[int, int], decay: float = 1.0) -> Float[Tensor, "h half"]:
    """``1 / max(f, 1/max(h, w))^decay``."""
    falling: Tensor = frequencies(size).clamp(min=1 / max(size)) ** -decay
    return falling


def inverse(coefficients: Tensor, size: tuple[int, int]) -> Float[Tensor, "batch channel h w"]:
    """Real pictures of complex coefficients, orthonormal."""
    pictures: Tensor = torch.fft.irfft2(coefficients, s=size, norm="ortho")
    return pictures


def measured(pictures: Float[Tensor, "real channel h w"]) -> Float[Tensor, "channel h half"]:
    """Mean amplitude of real pictures in [0, 1], in uncorrelated colors before the sigmoid; the mean color is left out."""
    values = exact(pictures).clamp(0.02, 0.98)
    amplitude = torch.fft.rfft2(decorrelate(values.logit()), norm="ortho").abs().mean(0)
    amplitude[:, 0, 0] = 0
    return torch.as_tensor(amplitude)


def natural_amplitude(
    size: tuple[int, int], channels: int, contrast: float = 1.5
) -> Float[Tensor, "channel h half"]:
    """The 1/f law scaled so that a picture has standard deviation ``contrast`` before the sigmoid, without mean color."""
    amplitude = law(size)
    amplitude[0, 0] = 0
    power = amplitude.square()
    # all but the first and, of an even width, the last column stand for two frequencies
    twice = torch.full((power.shape[1],), 2.0, dtype=power.dtype)
    twice[0] = 1
    if size[1] % 2 == 0:
        twice[-1] = 1
    total = float((power * twice).sum()) / (size[0] * size[1])
    scaled = amplitude * contrast / math.sqrt(total)
    return scaled.expand(channels, -1, -1).clone()


def colored(values: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel h w"]:
    """Uncorrelated coordinates as colors in [0, 1]."""
    return torch.sigmoid(correlate(values))
