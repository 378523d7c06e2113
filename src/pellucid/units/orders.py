"""In which order to delete units so that one class is lost and the others are kept: class scores, reweighted on the way.

A mean over images counts every image alike, also one that is recognized far beyond doubt, or lost already. Here an image counts
by how undecided it is *after what was deleted so far*, estimated from the scores themselves. With s_k(x) the scores and m(x) the
log-odds of image x for its own class, w(x) = 1 / |D_c| for images of class c and −1 / ((classes − 1) |D_d|) for those of every
other class d, and T the temperature, the next unit is

    argmax_k Σ_x w(x) σ′(m(x) / T) s_k(x),      then  m(x) ← m(x) − s_k(x) for the unit that was taken.

That is the steepest way down the difference of smoothed accuracies, ``mean_c σ(m / T) − mean_others σ(m / T)``. It asks the
network nothing: forward and backward pass of CGNIS (Lü et al. 2023) are enough, and the order is a choice of this reconstruction
of theirs. ``temperature`` is a share of the mean log-odds: small, and only images about to change sides count; above 1, all do
and the order is that of `ClassScores.compared` with weight 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def deletion_order(
    scores: Float[Tensor, "image unit"],
    log_odds: Float[Tensor, " image"],
    labels: Sequence[int] | Int[Tensor, " image"],
    label: int,
    temperature: float = 0.1,
) -> Int[Tensor, " unit"]:
    """All units, the one to delete first for class ``label`` first; ties go to the lower index.

    ``scores`` of every image for its own class of ``labels``, in units of the log-odds. Raises ValueError for shapes that do
    not fit, values that are not finite, a temperature that is not above 0, or a class without images.
    """
    kinds = torch.as_tensor(labels).cpu()
    if scores.ndim != 2 or not len(scores) == len(log_odds) == len(kinds):
        raise ValueError(
            f"Expected scores [image unit], log-odds and labels of the same images, got {tuple(scores.shape)}, "
            f"{len(log_odds)} and {len(kinds)}."
        )
    if not temperature > 0:
        raise ValueError(f"Expected `temperature` above 0, got {temperature}; try 0.1.")
    s, m = scores.detach().cpu().double(), log_odds.detach().cpu().double().clone()
    if not bool(s.isfinite().all() and m.isfinite().all()):
        raise ValueError("Expected finite scores and log-odds; leave images without them out.")
    weights = _weights(kinds, label)
    scale = temperature * float(m.clamp(min=0).mean())
    scale = scale if scale > 0 else 1.0  # nothing is recognized: any scale will do
    left = torch.ones(s.shape[1], dtype=torch.bool)
    order = []
    for _ in range(s.shape[1]):
        gain = (weights * _slopes(m, scale)) @ s
        unit = int(gain.masked_fill(~left, -torch.inf).argmax())
        order.append(unit)
        left[unit] = False
        m -= s[:, unit]
    return torch.tensor(order)


def _slopes(log_odds: Float[Tensor, " image"], scale: float) -> Float[Tensor, " image"]:
    """σ′(m / scale) up to a factor that all images share, which no order depends on; the steepest is 1.

    σ′ itself is 0 in floating point from |m / scale| ≈ 37 or 745 on, and where all images are that far from undecided
    nothing would be left to order by. Its logarithm, −|x| − 2 log(1 + e^−|x|), is exact everywhere.
    """
    far = (log_odds.abs() / scale).clamp(max=torch.finfo(log_odds.dtype).max)
    slope = -far - 2 * (-far).exp().log1p()
    return (slope - slope.max()).exp()


def _weights(labels: Int[Tensor, " image"], label: int) -> Float[Tensor, " image"]:
    kinds = sorted(set(labels.tolist()))
    if label not in kinds:
        raise ValueError(
            f"Expected images of class {label}, got none; try one of {', '.join(map(str, kinds[:8]))}."
        )
    weights = torch.zeros(len(labels), dtype=torch.float64)
    for kind in kinds:
        at = labels == kind
        share = 1.0 if kind == label else -1.0 / (len(kinds) - 1)
        weights[at] = share / int(at.sum())
    return weights
