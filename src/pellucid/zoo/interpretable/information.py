"""The loss that makes a filter mean one part: minus the mutual information of its maps and the templates.

For a filter with maps X and templates T (Zhang, Wu, Zhu, CVPR 2018)::

    Loss = −MI(X; T) = −Σ_T p(T) Σ_x p(x|T) log(p(x|T) / p(x))
    p(T_μ) = α / (h w),  p(T⁻) = 1 − α,  α = h w / (1 + h w)
    p(x|T) = exp(tr(x T)) / Z_T,  Z_T = Σ_x exp(tr(x T)),  p(x) = Σ_T p(T) p(x|T)

Of the sum over templates each map keeps the one that applies: T_μ̂ where the picture is of the filter's class, T⁻ elsewhere;
with Z_T and p(x) held fixed its gradient is

    ∂Loss/∂x = −p(T̂) p(x|T̂) (log(p(x|T̂) / p(x)) + 1) T̂.

The printed gradient has no minus sign, with which descent would *lower* the mutual information, and no + 1, which the
derivative of p log p has and the authors' code too. Z_T is estimated as a mean over pictures instead of a sum: their number
cancels out of the logarithm, and the loss becomes a mean over the batch.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.zoo.interpretable.templates import prior

TEMPERATURE = 0.5  # of the released code
# What the gradient is multiplied by in the first epoch. The released code has 1e-6, for maps whose activations go into the
# hundreds; with normalized ones, about 1, the task's gradient at a map is a thousand times larger.
RELEASED = 1e-3


def log_prior(grid: tuple[int, int], like: Tensor) -> Float[Tensor, " template"]:
    """log p(T) of all templates of a map, T⁻ last."""
    cells, alpha = grid[0] * grid[1], prior(grid)
    return like.new_tensor([math.log(alpha / cells)] * cells + [math.log(1 - alpha)])


def fits(
    maps: Float[Tensor, "batch filter h w"], templates: Float[Tensor, "template cell"]
) -> Float[Tensor, "batch filter template"]:
    """tr(x T) of every map with every template."""
    return maps.flatten(2) @ templates.T


def log_partition(fit: Float[Tensor, "batch filter template"]) -> Float[Tensor, "filter template"]:
    """log of the mean over the batch of exp(tr(x T)): log Z_T but for the number of pictures."""
    return fit.logsumexp(0) - math.log(len(fit))


def log_evidence(
    fit: Float[Tensor, "batch filter template"],
    partition: Float[Tensor, "filter template"],
    priors: Float[Tensor, " template"],
) -> Float[Tensor, "batch filter"]:
    """log p(x) of every map."""
    return (fit - partition + priors).logsumexp(2)


def information_loss(
    fit: Float[Tensor, "batch filter"],
    log_z: Float[Tensor, "batch filter"],
    log_px: Float[Tensor, "batch filter"],
    log_pt: Float[Tensor, "batch filter"],
) -> Float[Tensor, " filter"]:
    """Loss of every filter from tr(x T̂), log Z, log p(x) and log p(T̂), the last three held fixed; mean over the batch."""
    likelihood = fit - log_z.detach()
    terms = (likelihood + log_pt.detach()).exp() * (likelihood - log_px.detach())
    return -terms.mean(0)


def mutual_information(
    maps: Float[Tensor, "batch filter h w"], templates: Float[Tensor, "template cell"]
) -> Float[Tensor, " filter"]:
    """MI(X; T) in nats of the maps at hand with all templates, Z and p(x) taken over these maps alone."""
    fit = fits(maps, templates)
    grid = (int(maps.shape[2]), int(maps.shape[3]))
    likelihood = fit - fit.logsumexp(0)
    priors = log_prior(grid, fit)
    px = (likelihood + priors).logsumexp(2, keepdim=True)
    return ((likelihood + priors).exp() * (likelihood - px)).sum((0, 2))


def released_strength(
    fit: Float[Tensor, "batch filter"], log_z: Float[Tensor, " filter"], among: Bool[Tensor, "batch filter"]
) -> Float[Tensor, "batch filter"]:
    """The released code's factor of a template, exp(s/½)(s − log Z + ½), over its mean among the pictures it is for.

    s is the mean over cells of map times template. Zero for all other pictures, and for filters without any.
    """
    raw = (fit / TEMPERATURE).exp() * (fit - log_z + TEMPERATURE)
    raw = torch.where(among, raw, 0)
    mean = raw.sum(0) / among.sum(0).clamp_min(1)
    return torch.where(mean != 0, raw / torch.where(mean != 0, mean, 1), 0)


def soft_log_mean(values: Float[Tensor, "batch filter"]) -> Float[Tensor, " filter"]:
    """½ log of the mean over the batch of exp(value / ½): the released code's log Z."""
    return TEMPERATURE * ((values / TEMPERATURE).logsumexp(0) - math.log(len(values)))


def centered_spread(
    maps: Float[Tensor, "batch filter h w"],
    row: Int[Tensor, "batch filter"],
    column: Int[Tensor, "batch filter"],
) -> Float[Tensor, "batch filter"]:
    """σ: root of the mean squared distance, in cells, of a map's mass from its position."""
    rows = torch.arange(maps.shape[2], device=maps.device)
    columns = torch.arange(maps.shape[3], device=maps.device)
    mass = maps.sum((2, 3)).clamp_min(1e-9)
    vertical = ((rows - row[..., None]).square() * maps.sum(3)).sum(2)
    horizontal = ((columns - column[..., None]).square() * maps.sum(2)).sum(2)
    return ((vertical + horizontal) / mass).sqrt()
