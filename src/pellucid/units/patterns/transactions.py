"""From activations to transactions: which channels are among the most active of an image, or of its most active cells.

A channel's value is its activation over its scale (its mean peak over the mined images where they are compared relatively,
else 1). The transaction of an image holds the ``top`` channels with the largest peaks, that of a cell those with the largest
values there; the most active cells are those with the largest sum of values. A channel that is not positive is in none;
ties go to the lower channel and to the earlier cell.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def members(values: Float[Tensor, "*row unit"], top: int) -> Bool[Tensor, "*row unit"]:
    """Which channels are in the transaction of every row: its ``top`` largest, if positive."""
    order = torch.sort(values, dim=-1, descending=True, stable=True).indices[..., :top]
    chosen = torch.zeros_like(values, dtype=torch.bool).scatter_(-1, order, True)
    return chosen & (values > 0)


def peaks(maps: Float[Tensor, "image unit h w"]) -> Float[Tensor, "image 1 unit"]:
    """Every channel's largest value."""
    return maps.amax((2, 3))[:, None]


def winning(
    maps: Float[Tensor, "image unit h w"], scale: Float[Tensor, " unit"], count: int
) -> Int[Tensor, "image cell"]:
    """The cells, counted row by row, with the largest sum of relative values."""
    total = (maps.clamp(min=0) / scale.to(maps)[:, None, None]).sum(1).flatten(1)
    return torch.sort(total, dim=1, descending=True, stable=True).indices[:, :count]


def at_cells(
    maps: Float[Tensor, "image unit h w"], cells: Int[Tensor, "image cell"]
) -> Float[Tensor, "image cell unit"]:
    """The values of all channels at some cells."""
    flat = maps.flatten(2).transpose(1, 2)
    return flat.gather(1, cells[:, :, None].expand(-1, -1, flat.shape[2]))
