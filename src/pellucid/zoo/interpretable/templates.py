"""Masking templates: a cone about one cell of a filter's map, and nothing elsewhere.

A filter's rectified map x [h w] is compared with one template per cell μ and one for *nothing here*::

    T_μ(i, j) = τ max(1 − β ‖(i, j) − μ‖ / n, −1)        T⁻ = −τ        τ = 0.5 / (h w), n = max(h, w)

with the norm a choice: Euclidean (Pang, thesis, Xidian 2021) or city block (Zhang, Wu, Zhu, CVPR 2018, arXiv:1710.00935).
The position μ̂ is the strongest cell or the centroid of the map, rounded. Forward, the map becomes max(x ∘ T_μ̂ / τ, 0): τ only
sets the temperature of the loss, and would but rescale what the network goes on with.

The authors' released code measures on axes from −1 to 1, with a sharpness w per filter that is learned: T = max(1 − w ‖·‖, −1),
which is β = 2 w n / (n − 1) here. Both are `Templates`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

Norm = Literal["l2", "l1"]
_CHOICES = {"norm": ("l2", "l1"), "position": ("argmax", "centroid"), "mode": ("paper", "released")}


@dataclass(frozen=True)
class Templates:
    """How filters are held to one place.

    Raises ValueError for a value out of range.

    Attributes:
        norm: distance from the peak: l2 (Pang's thesis) or l1 (Zhang 2018)
        mode: paper, the printed loss; released, that of the authors' code, which also learns a sharpness per filter
        position: the strongest cell (argmax, as printed), or the map's centroid (as in the released code)
        beta: how fast a template falls; it reaches zero n/β cells from its peak (paper mode)
        sharpness: the same on axes from −1 to 1, to begin with (released mode)
        weight: factor of the loss beside the task's
        temperature: the loss compares exp(tr(x T) / temperature); 1 as printed (paper mode)
    """

    norm: Norm = "l2"
    mode: Literal["paper", "released"] = "paper"
    position: Literal["argmax", "centroid"] = "argmax"
    beta: float = 4.0
    sharpness: float = 2.0
    weight: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for name, options in _CHOICES.items():
            if getattr(self, name) not in options:
                listed = " or ".join(f'"{option}"' for option in options)
                raise ValueError(f"Expected `{name}` to be {listed}, got {getattr(self, name)!r}.")
        for name in ("beta", "sharpness", "temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"Expected `{name}` to be positive, got {getattr(self, name)}; try its default."
                )
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"Expected `weight` to be at least 0, got {self.weight}; try 1.")


def tau(grid: tuple[int, int]) -> float:
    """Height of a template on a map of this size."""
    return 0.5 / (grid[0] * grid[1])


def prior(grid: tuple[int, int]) -> float:
    """α: how probable it is beforehand that the part is there at all, h w / (1 + h w)."""
    cells = grid[0] * grid[1]
    return cells / (1 + cells)


def positions(
    maps: Float[Tensor, "batch filter h w"], kind: Literal["argmax", "centroid"]
) -> tuple[Int[Tensor, "batch filter"], Int[Tensor, "batch filter"]]:
    """Row and column of every map's peak, or of its centroid, rounded half up. A map of zeros is at the first cell."""
    height, width = maps.shape[2:]
    if kind == "argmax":
        cell = maps.flatten(2).argmax(2)
        return cell // width, cell % width
    maps = maps if maps.dtype == torch.float64 else maps.float()
    rows = torch.arange(height, device=maps.device, dtype=maps.dtype)
    columns = torch.arange(width, device=maps.device, dtype=maps.dtype)
    mass = maps.sum((2, 3)).clamp_min(1e-9)
    row, column = (maps.sum(3) @ rows) / mass, (maps.sum(2) @ columns) / mass
    return (row + 0.5).long().clamp(0, height - 1), (column + 0.5).long().clamp(0, width - 1)


def cones(
    row: Int[Tensor, "batch filter"],
    column: Int[Tensor, "batch filter"],
    grid: tuple[int, int],
    slope: float | Float[Tensor, " filter"],
    norm: Norm,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "batch filter h w"]:
    """Templates divided by τ, max(1 − slope ‖·‖, −1) with the distance in cells; channels last in memory."""
    rows = torch.arange(grid[0], device=row.device)[:, None]
    columns = torch.arange(grid[1], device=row.device)[:, None]
    vertical = (rows - row[:, None]).to(dtype)[:, :, None]  # [batch h 1 filter]
    horizontal = (columns - column[:, None]).to(dtype)[:, None]  # [batch 1 w filter]
    if norm == "l2":
        vertical, horizontal = vertical.square(), horizontal.square()
    distance = vertical.abs() + horizontal.abs()
    distance = distance.sqrt_() if norm == "l2" else distance
    return distance.mul_(slope).neg_().add_(1).clamp_min_(-1).permute(0, 3, 1, 2)


def bank(
    grid: tuple[int, int], beta: float, norm: Norm, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "template cell"]:
    """All templates of a map: one row per cell, in reading order, and T⁻ last."""
    cells = torch.arange(grid[0] * grid[1])[:, None]
    every = cones(cells // grid[1], cells % grid[1], grid, beta / max(grid), norm, dtype).flatten(1)
    return tau(grid) * torch.cat([every, -torch.ones_like(every[:1])])
