"""TSGB (target-selective gradient backprop), Cheng et al. 2022: relevance from a classifier in which the evidence
against the target weighs as much as the evidence for it, spread by activation alone in the convolutions.

* Dense layers: the gradient through negative
  contributions is enlarged by β_k = Σ_j (x_j w_jk)⁺ / |Σ_j (x_j w_jk)⁻|, so that both sides of every output have the
  same size and cancel in sum. What speaks for all classes alike then drops out of the map.
* Convolutions: weights are put aside; an output's relevance is shared among its inputs in proportion to their
  size, ``R_j = |x_j| Σ_k R_k / Σ_j |x_j|``, the sums being over the kernel's window.

M = Σ_k R_k. The walk starts with the explained score's own gradient. ``balance`` is a factor to β: 1 is the
paper's, and its authors used 0.75 to 0.9 for some residual networks.

Where a convolution classifies (SqueezeNet) no layer is dense, and the target is selected by its own score map
alone. A reconstruction within our relevance graph: pooling, additions and everything else that is neither of the two
have the rules of `pellucid.relevance`, and contributions are split by the sign of x w, which for the non-negative
inputs of the paper's classifiers is the sign of w. Where nothing speaks against an output β has no part in it.

Cost: one forward pass and one walk (about two forward passes more) for all stages together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pellucid.attribution.method import Home, Method, Needs
from pellucid.core.capture import Trace
from pellucid.core.reading import precise
from pellucid.core.registry import register
from pellucid.relevance.composites import Composite
from pellucid.relevance.rules import Group, Problem, Rule
from pellucid.relevance.walk import relevances_of


@dataclass(frozen=True)
class Balanced(Rule):
    """Gradient times input of a dense layer, negative contributions enlarged to ``balance`` times the size of
    the positive ones."""

    epsilon: float = 1e-9
    balance: float = 1.0

    def groups(self, problem: Problem) -> list[Group]:
        """``((x w)⁺ + balance · β (x w)⁻) / z``."""
        x, weight = problem.x, problem.weight
        ways = [(x.clamp(min=0), weight.clamp(min=0), weight.clamp(max=0))]
        if not problem.nonnegative:
            ways.append((x.clamp(max=0), weight.clamp(max=0), weight.clamp(min=0)))
        positive, negative = [(part, up) for part, up, _ in ways], [(part, down) for part, _, down in ways]
        above, below = _summed(positive), _summed(negative)
        z = above + below if problem.bias is None else above + below + problem.bias
        balanced = torch.where(above > 0, -z * below / (self.balance * above), 0)  # z / (balance · β)
        return [Group(positive, denominator=z), Group(negative, denominator=balanced)]


def _summed(branches: list[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.stack([F.linear(*branch) for branch in branches]).sum(0)


@dataclass(frozen=True)
class Magnitude(Rule):
    """In proportion to the size of the inputs, whatever the weights; sums of one sign have no poles."""

    epsilon: float = 0.0

    def groups(self, problem: Problem) -> list[Group]:
        """``|x| / Σ |x|``."""
        return [Group([(problem.x.abs(), torch.ones_like(problem.weight))])]


@register("attribution", "tsgb", paper="cheng2022tsgb")
@dataclass(frozen=True)
class TSGB(Method):
    """TSGB: relevance from a classifier balanced between pro and contra, spread by the size of activations."""

    needs: ClassVar[Needs] = "passes"
    propagates: ClassVar[bool] = True
    home: ClassVar[Home] = "input"
    balance: float = 1.0

    def __post_init__(self) -> None:
        if not self.balance > 0:
            raise ValueError(f"Expected `balance` above 0, got {self.balance}; try 1.0.")

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``Σ_k R_k``."""
        composite = Composite(convolution=Magnitude(), dense=Balanced(balance=self.balance))
        found = relevances_of(trace, layer, composite, "logit")
        return precise(found.relevance[layer]).sum(1)
