"""How alike two maps are: rank correlation, and structural similarity.

* rank correlation, Spearman 1904: the correlation of ranks, ties given the mean of the ranks they take up.
* structural similarity, Wang et al. 2004, for maps in [0, 1]::

      (2 μ₁μ₂ + c₁)(2 σ₁₂ + c₂) / ((μ₁² + μ₂² + c₁)(σ₁² + σ₂² + c₂)),   c₁ = 0.01², c₂ = 0.03²,

  averaged over the map, moments under an 11 × 11 Gaussian window of σ = 1.5. At the border the window is cut and normalized
  anew, so coarse maps smaller than the window have a value too.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.geometry import gaussian
from pellucid.core.precision import exact


def spearman(
    one: Float[Tensor, "batch values"], other: Float[Tensor, "batch values"]
) -> Float[Tensor, " batch"]:
    """Rank correlation of every row; NaN where one of the two is constant or not finite."""
    first, second = (torch.stack([_ranks(row) for row in rows]) for rows in (one, other))
    first, second = (ranks - ranks.mean(1, keepdim=True) for ranks in (first, second))
    scale = (first.square().sum(1) * second.square().sum(1)).sqrt()
    return ((first * second).sum(1) / scale).clamp(-1, 1)  # 0 / 0 is NaN, and stays it


def ssim(one: Float[Tensor, "batch h w"], other: Float[Tensor, "batch h w"]) -> Float[Tensor, " batch"]:
    """Structural similarity of maps in [0, 1], on their own grid."""
    x, y = exact(one), exact(other)
    rows, columns = (gaussian(int(side), 1.5, 5).to(x) for side in x.shape[1:])

    def local(values: Tensor) -> Tensor:
        return rows @ values @ columns.T

    mean_x, mean_y = local(x), local(y)
    var_x, var_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    both = local(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    bright = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (bright * (2 * both + c2) / (var_x + var_y + c2)).mean((1, 2))


def _ranks(values: Float[Tensor, " values"]) -> Float[Tensor, " values"]:
    if not bool(values.isfinite().all()):
        return torch.full_like(values, float("nan"), dtype=torch.float64)
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    ranks: Tensor = exact(counts.cumsum(0)) - (exact(counts) - 1) / 2
    return ranks[place]
