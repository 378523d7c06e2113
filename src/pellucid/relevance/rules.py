"""The rules of layer-wise relevance propagation through affine maps, as data.

Every rule shares the relevance R_k of an output z_k = Σ_j x_j w_jk + b_k among the inputs in proportion to
contributions c_jk, ``R_j = Σ_k c_jk / Σ_j c_jk · R_k``; a rule says which contributions:

* ε (Bach et al. 2015): ``x w``, the bias being one of the contributors and keeping its share;
* γ (Montavon et al. 2019): ``x w + γ (x w)⁺`` where z ≥ 0 and ``x w + γ (x w)⁻`` where z < 0;
* α-β (Bach et al. 2015): ``α (x w)⁺ / Σ (x w)⁺ − β (x w)⁻ / Σ (x w)⁻``, α − β = 1; z⁺ is α = 1, β = 0. The
  paper says nothing of outputs that lack contributions of one sign (common behind depthwise convolutions,
  where relevance would vanish): there the other sign takes all;
* zB (Montavon et al. 2017), for inputs in [l, h]: ``x w − l w⁺ − h w⁻``;
* w²: ``w²``; flat: 1.

`Group` is one such quotient: contributions are sums of products ``x_b w_b`` of a few *branches*, so the
denominator costs one forward map per branch and the relevance one transposed map. An input without negative
values (behind every ReLU) has no negative branch: z⁺ and γ then need one of each. Denominators are
stabilized by ε times the mean size of the image's own denominators. ``bias`` says whether the bias
takes part. Where it does its share is relevance that stops here, and is reported. By default it does for ε and
γ, as z needs it; for z⁺ and α-β it does not, so that these conserve exactly.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class LinearMap(Protocol):
    """A map that is linear in its input and in its weight, and its transpose with respect to the input."""

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """``x w``."""

    def transposed(self, s: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        """``s wᵀ``, in the shape of the input ``like``."""

    def over_outputs(self, vector: Tensor, ndim: int) -> Tensor:
        """One value per output channel, shaped to broadcast over an output of ``ndim`` dimensions."""


@dataclass(frozen=True, eq=False)
class Problem:
    """One affine call: input, weight and bias (batch normalization folded in), output and input bounds.

    ``output`` computes z; ``nonnegative``: no input is below zero; ``bounds``: the least and largest value
    an input may take, broadcasting over it, None where nothing is known.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    output: Callable[[], Tensor]
    nonnegative: bool
    bounds: tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Group:
    """``coefficient · Σ_branches x_b ⊙ wᵀ_b (R / denominator)`` at the outputs where ``where`` holds.

    ``denominator`` is given where it is known without computing ``Σ_branches x_b w_b + bias``.
    """

    branches: Sequence[tuple[Tensor, Tensor]]
    bias: Tensor | None = None
    coefficient: float = 1.0
    where: Tensor | None = None
    denominator: Tensor | None = None


@dataclass(frozen=True)
class Rule:
    """Base of the rules; ``epsilon`` stabilizes denominators, relative to their mean size in the image."""

    epsilon: float = 1e-6

    @abstractmethod
    def groups(self, problem: Problem) -> list[Group]:
        """The quotients whose sum is the rule."""


@dataclass(frozen=True)
class Epsilon(Rule):
    """In proportion to the signed contributions."""

    bias: bool = True

    def groups(self, problem: Problem) -> list[Group]:
        """``x w / z``."""
        if not self.bias:
            return [Group([(problem.x, problem.weight)])]
        return [Group([(problem.x, problem.weight)], problem.bias, denominator=problem.output())]


@dataclass(frozen=True)
class Gamma(Rule):
    """Contributions of the output's own sign weigh 1 + γ."""

    gamma: float = 0.25
    bias: bool = True

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise ValueError(f"Expected `gamma` to be 0 or more, got {self.gamma}; try 0.25.")

    def groups(self, problem: Problem) -> list[Group]:
        """``(x w + γ (x w)^±) / Σ``, ± being the sign of z."""
        z = problem.output()
        plus, minus = (problem.weight + self.gamma * part for part in _parts(problem.weight))
        bias = problem.bias if self.bias else None
        biases = (None, None) if bias is None else tuple(bias + self.gamma * part for part in _parts(bias))
        return [
            Group(_signed(problem, plus, minus), biases[0], where=z >= 0),
            Group(_signed(problem, minus, plus), biases[1], where=z < 0),
        ]


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """Positive contributions share α times the relevance, negative ones β times."""

    alpha: float = 2.0
    beta: float = 1.0
    bias: bool = False

    def __post_init__(self) -> None:
        if self.alpha < 1 or self.beta < 0 or abs(self.alpha - self.beta - 1) > 1e-9:
            raise ValueError(
                f"Expected `alpha` − `beta` = 1 with `alpha` ≥ 1, got {self.alpha} and {self.beta}; "
                "try 2 and 1, or 1 and 0."
            )

    def groups(self, problem: Problem) -> list[Group]:
        """``α (x w)⁺ / Σ (x w)⁺ − β (x w)⁻ / Σ (x w)⁻``."""
        plus, minus = _parts(problem.weight)
        bias = problem.bias if self.bias else None
        biases = (None, None) if bias is None else _parts(bias)
        return [
            Group(_signed(problem, plus, minus), biases[0], self.alpha),
            Group(_signed(problem, minus, plus), biases[1], -self.beta),
        ]


@dataclass(frozen=True)
class ZPlus(AlphaBeta):
    """Positive contributions alone: α = 1, β = 0."""

    alpha: float = 1.0
    beta: float = 0.0


@dataclass(frozen=True)
class ZBox(Rule):
    """For inputs between bounds: how far they are from the bound that would speak least."""

    def groups(self, problem: Problem) -> list[Group]:
        """``(x − l) w⁺ + (x − h) w⁻``, which is ``x w − l w⁺ − h w⁻``, in two maps instead of three."""
        plus, minus = _parts(problem.weight)
        low, high = problem.bounds
        return [Group([(problem.x - low, plus), (problem.x - high, minus)])]


@dataclass(frozen=True)
class WSquare(Rule):
    """In proportion to the squared weights, whatever the input."""

    def groups(self, problem: Problem) -> list[Group]:
        """``w² / Σ w²``."""
        return [Group([(torch.ones_like(problem.x), problem.weight.square())])]


@dataclass(frozen=True)
class Flat(Rule):
    """The same for every input."""

    def groups(self, problem: Problem) -> list[Group]:
        """``1 / Σ 1``."""
        return [Group([(torch.ones_like(problem.x), torch.ones_like(problem.weight))])]


def share(rule: Rule, linear: LinearMap, problem: Problem, relevance: Tensor) -> tuple[Tensor, Tensor | None]:
    """Relevance of the input, and what the bias kept (in the shape of the output; None for nothing)."""
    total: Tensor | None = None
    kept: Tensor | None = None
    groups = rule.groups(problem)
    if isinstance(rule, AlphaBeta):
        parts, kept = _of_both_signs(linear, problem, groups, relevance, rule.epsilon)
    else:
        parts = _of_all_outputs(linear, groups, relevance)
    # sums of one sign that are not missing have no poles
    stabilizer = _exact if isinstance(rule, AlphaBeta) else stabilized
    for group, mine, denominator in parts:
        # an output without any contribution has nobody to give to, and must not become huge on the way
        quotient = torch.where(denominator == 0, 0, mine / stabilizer(denominator, rule.epsilon))
        for x, weight in group.branches:
            part = x * linear.transposed(quotient, weight, x)
            total = part if total is None else total.add_(part)
        if group.bias is not None:
            share_of_bias = quotient * linear.over_outputs(group.bias, relevance.ndim)
            kept = share_of_bias if kept is None else kept + share_of_bias
    return torch.zeros_like(problem.x) if total is None else total, kept


_Part = tuple[Group, Tensor, Tensor]  # with the relevance that arrives for it, and its denominator


def _of_all_outputs(linear: LinearMap, groups: list[Group], relevance: Tensor) -> list[_Part]:
    parts = []
    for group in groups:
        mine = relevance if group.where is None else torch.where(group.where, relevance, 0)
        # behind a ReLU nothing arrives at negative outputs: half the work of γ
        if group.where is None or bool(mine.any()):
            parts.append((group, mine, _denominator(linear, group, relevance.ndim)))
    return parts


def _of_both_signs(
    linear: LinearMap, problem: Problem, groups: list[Group], relevance: Tensor, epsilon: float
) -> tuple[list[_Part], Tensor | None]:
    """α and β at every output; where contributions of one sign are missing, the other sign takes all.

    Where all are missing, the output is its bias, which keeps the relevance. Missing is what stays below the
    rule's ε: a saturated SiLU gives values of 1e-20, and nothing should be divided by them.
    """
    plus, minus = groups
    positive = _denominator(linear, plus, relevance.ndim)
    lacking = positive <= margin(positive, epsilon)
    if not minus.coefficient and not bool((lacking & (relevance != 0)).any()):
        return [(plus, plus.coefficient * relevance, torch.where(lacking, 0, positive))], None
    negative = _denominator(linear, minus, relevance.ndim)
    missing = negative >= -margin(negative, epsilon)
    positive, negative = torch.where(lacking, 0, positive), torch.where(missing, 0, negative)
    parts = [
        (plus, torch.where(missing, 1, plus.coefficient) * relevance, positive),
        (minus, torch.where(lacking, 1, minus.coefficient) * relevance, negative),
    ]
    alone = torch.where(lacking & missing, relevance, 0)
    if problem.bias is None or not bool(alone.any()):
        return parts, None
    return parts, torch.where(linear.over_outputs(problem.bias, relevance.ndim) == 0, 0, alone)


def _denominator(linear: LinearMap, group: Group, ndim: int) -> Tensor:
    if group.denominator is not None:
        return group.denominator
    total: Tensor | None = None
    for x, weight in group.branches:
        part = linear.forward(x, weight)
        total = part if total is None else total.add_(part)
    assert total is not None
    return total if group.bias is None else total + linear.over_outputs(group.bias, ndim)


def stabilized(values: Tensor, epsilon: float) -> Tensor:
    """Moved away from zero by the `margin`."""
    away = margin(values, epsilon)
    return values + torch.where(values >= 0, away, -away)


def margin(values: Tensor, epsilon: float) -> Tensor:
    """``epsilon`` times the mean size over each row of the batch: one image, so none feels the others."""
    size = values.abs().flatten(1).mean(1) if values.ndim > 1 else values.abs()
    least = torch.finfo(values.dtype).tiny ** 0.5
    return (epsilon * size).clamp(min=least).view(-1, *[1] * (values.ndim - 1))


def _exact(values: Tensor, epsilon: float) -> Tensor:
    return values


def _parts(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.clamp(min=0), values.clamp(max=0)


def _signed(problem: Problem, for_positive: Tensor, for_negative: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Branches for positive and negative inputs; the second only where there are any."""
    if problem.nonnegative:
        return [(problem.x, for_positive)]
    positive, negative = _parts(problem.x)
    return [(positive, for_positive), (negative, for_negative)]
