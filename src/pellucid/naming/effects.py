"""What a region is worth, measured: it is filled, and the network runs again.

Two fills say different things and are averaged: a strong blur leaves the colors, the picture's mean color leaves nothing. Half
of the effect depends on the fill, so none is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.network import Network
from pellucid.data.filling import fill
from pellucid.evaluation.blur import blurred

Fill = Literal["blur", "mean", "around"]
FILLS: tuple[Fill, ...] = ("blur", "mean")
BLUR = 20 / 224  # σ of the blur, of the picture's shorter side


@dataclass(frozen=True, eq=False)
class Effects:
    """Class scores with each region filled.

    Attributes:
        whole: Scores of the untouched picture.
        filled: Scores by region and fill.
        fills: The fills, in order.
    """

    whole: Float[Tensor, " class"]
    filled: Float[Tensor, "region fill class"]
    fills: tuple[Fill, ...]

    @property
    def falls(self) -> Float[Tensor, "region class"]:
        """By how much every class falls without each region, mean over the fills."""
        return self.whole - self.filled.mean(1)


def pictures_without(
    image: Float[Tensor, "1 channel height width"],
    masks: Bool[Tensor, "region height width"],
    fills: Sequence[Fill] = FILLS,
) -> Float[Tensor, "picture channel height width"]:
    """The normalized image without each region: all fills of the first region, then of the second …"""
    side = min(image.shape[2:])
    taps = 2 * round(1.25 * BLUR * side) + 1
    made = []
    for kind in fills:
        inside = masks[:, None]
        if kind == "blur":
            made.append(torch.where(inside, blurred(image, taps, BLUR * side), image))
        elif kind == "mean":
            made.append(torch.where(inside, image.mean((2, 3), keepdim=True), image))
        else:
            made.append(fill(image, masks))
    return torch.stack(made, 1).flatten(0, 1)


def effects(
    net: Network,
    image: Float[Tensor, "1 channel height width"],
    masks: Bool[Tensor, "region height width"],
    *,
    fills: Sequence[Fill] = FILLS,
    whole: Float[Tensor, "1 class"] | None = None,
    batch_size: int = 16,
) -> Effects:
    """Fill each region and run the network: ``len(fills)`` forward passes a region, one more unless ``whole`` is given.

    Args:
        net: The network.
        image: One normalized image.
        masks: Regions at input size.
        fills: What to put into a region.
        whole: The network's scores of the image, where they are known.
        batch_size: Pictures at once.
    """
    image = image.to(net.device, net.dtype)
    with torch.no_grad():
        scores = net(image) if whole is None else whole
        pictures = pictures_without(image, masks.to(image.device), fills)
        rows = [net(pictures[at : at + batch_size]) for at in range(0, len(pictures), batch_size)]
    filled = torch.cat(rows) if rows else scores.new_zeros(0, scores.shape[1])
    return Effects(scores[0].detach(), filled.view(len(masks), len(fills), scores.shape[1]), tuple(fills))
