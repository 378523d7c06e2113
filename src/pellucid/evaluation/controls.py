"""Maps that know nothing of the network, to print beside every method: what they reach, a method has to beat.

Noise, blurred noise, a Gaussian in the middle of the picture, the picture's own edges, and a method's map made smooth:
shallow maps gain from being blurred alone, which is no merit of the method that claims it.

A Gaussian filter is ``G_ij ∝ exp(−(i − j)² / 2σ²)`` along each axis, its rows normalized to 1 within the picture: nothing
is invented beyond the border, and pictures smaller than the kernel need no special case.
"""

from __future__ import annotations

from dataclasses import replace
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pellucid.core.geometry import gaussian
from pellucid.core.results import Heatmap

LUMINANCE = (0.299, 0.587, 0.114)  # Rec. 601


def controls(
    images: Float[Tensor, "batch channel height width"], seed: int = 0
) -> dict[str, Float[Tensor, "batch height width"]]:
    """Every control for a batch of images, on their device: ``random``, ``random-blurred``, ``center``, ``edges``."""
    count, size = len(images), (int(images.shape[2]), int(images.shape[3]))
    made = {
        "random": random_maps(count, size, seed),
        "random-blurred": random_blurred(count, size, seed),
        "center": center_gaussian(size).expand(count, *size).clone(),
        "edges": edges(images),
    }
    return {name: values.to(images.device) for name, values in made.items()}


def random_maps(count: int, size: tuple[int, int], seed: int = 0) -> Float[Tensor, "count height width"]:
    """Uniform noise in [0, 1); map ``i`` does not depend on ``count``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.rand(size, generator=generator) for _ in range(count)])


def random_blurred(
    count: int, size: tuple[int, int], seed: int = 0, sigma: float | None = None
) -> Float[Tensor, "count height width"]:
    """Noise as smooth as a coarse layer's map, in [0, 1]: blurred with ``sigma`` pixels, by default a sixteenth of the side."""
    width = max(size) / 16 if sigma is None else sigma
    # one by one: map i does not depend on count, to the last bit
    maps = torch.cat([blurred(each[None], width) for each in random_maps(count, size, seed)])
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, 1)


def center_gaussian(size: tuple[int, int]) -> Float[Tensor, "height width"]:
    """A Gaussian in the middle with its peak at 1, σ a quarter of each side: where objects are in most photographs."""
    rows, columns = (
        (-((torch.arange(side) - (side - 1) / 2) / (side / 4)).square() / 2).exp() for side in size
    )
    return rows[:, None] * columns


def edges(images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch height width"]:
    """Gradient magnitude (Sobel) of the luminance; the mean over channels where there are not three."""
    values = images.detach() if images.dtype == torch.float64 else images.detach().float()
    channels = values.shape[1]
    weights = values.new_tensor(LUMINANCE if channels == 3 else [1 / channels] * channels)
    light = F.pad(torch.einsum("bchw,c->bhw", values, weights)[:, None], (1, 1, 1, 1), mode="replicate")
    across = values.new_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    slopes = F.conv2d(light, torch.stack([across, across.T])[:, None])
    return slopes.square().sum(1).sqrt()


@overload
def blurred(maps: Heatmap, sigma: float) -> Heatmap: ...
@overload
def blurred(maps: Float[Tensor, "batch h w"], sigma: float) -> Float[Tensor, "batch h w"]: ...
def blurred(maps: Heatmap | Tensor, sigma: float) -> Heatmap | Tensor:
    """Maps smoothed with a Gaussian of ``sigma`` cells, on their own grid; 0 leaves them as they are.

    >>> blurred(torch.tensor([[[0.0, 1.0, 0.0]]]), 0.0)
    tensor([[[0., 1., 0.]]])
    """
    if not 0 <= sigma < float("inf"):
        raise ValueError(f"Expected `sigma` of at least 0 cells, got {sigma}; try 1.0.")
    if isinstance(maps, Heatmap):
        return replace(maps, values=blurred(maps.values, sigma), method=f"{maps.method}, blurred {sigma:g}")
    if sigma == 0:
        return maps
    rows, columns = (gaussian(int(side), sigma).to(maps) for side in maps.shape[-2:])
    return rows @ maps @ columns.T
