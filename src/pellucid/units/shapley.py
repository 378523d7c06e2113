"""Shapley values of the units of a layer, by sampled permutations: how the target's effect is shared out among them.

    S_k = mean over orders π of  f(units before k in π, and k) − f(units before k in π)

Units that are not there hold zero or the ``reference``. The order is walked from no unit to all, so for every order
the scores sum to ``f(A) − f(reference)`` exactly (efficiency). Ghorbani & Zou 2020 use the values of units on a whole test
set; here they are per image. ``antithetic`` walks every order backwards too, which halves the work of drawing and mostly
the variance (Mitchell et al. 2022). Orders depend on ``seed`` alone and are the same for every image.

Cost: ``permutations`` × units runs of what lies behind the layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import Trace
from pellucid.core.registry import register
from pellucid.core.tail import Tail
from pellucid.units.ablation import Removal
from pellucid.units.absence import absent


@register("neurons", "shapley", paper="ghorbani2020")
@dataclass(frozen=True)
class Shapley(Removal):
    """Shapley: the unit's fair share of what all units do together, over sampled orders.

    With ``antithetic`` the number of ``permutations`` has to be even.
    """

    permutations: int = 8
    antithetic: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.permutations < 1 or (self.antithetic and self.permutations % 2):
            kind = "an even number of" if self.antithetic else "at least 1 of"
            raise ValueError(f"Expected {kind} `permutations`, got {self.permutations}; try 8.")

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch unit"]:
        """Mean gain of every unit over the orders."""
        return self.with_error(trace, layer)[0]

    def with_error(
        self, trace: Trace, layer: str
    ) -> tuple[Float[Tensor, "batch unit"], Float[Tensor, "batch unit"]]:
        """Scores, and their standard error: over orders, or over pairs of an order and its reverse; NaN for a single one."""
        tail = Tail(trace.network, trace.images, layer)
        gains = torch.stack(
            [self._walk(tail, trace, order) for order in self.orders(tail.activation.shape[1])]
        )
        draws = gains.reshape(-1, 2, *gains.shape[1:]).mean(1) if self.antithetic else gains
        return gains.mean(0), draws.std(0, correction=1) / len(draws) ** 0.5 if len(draws) > 1 else draws[
            0
        ] * torch.nan

    def orders(self, units: int) -> list[Tensor]:
        """The orders that are walked; with ``antithetic`` every second one is the one before it backwards."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = [
            torch.randperm(units, generator=generator)
            for _ in range(self.permutations // (2 if self.antithetic else 1))
        ]
        return [each for one in drawn for each in ((one, one.flip(0)) if self.antithetic else (one,))]

    def _walk(self, tail: Tail, trace: Trace, order: Tensor) -> Float[Tensor, "batch unit"]:
        """Gain of every unit as it joins those before it."""
        reference = absent(tail.activation, self.reference)
        # without all, all but the first, … and none of the units of the order
        outputs = tail.without([order[count:] for count in range(len(order) + 1)], reference)
        target = trace.target.repeat(len(outputs))
        values = self.measured(trace.network, outputs.flatten(0, 1), target).view(len(outputs), len(trace))
        return values.diff(dim=0)[torch.argsort(order).to(values.device)].T.contiguous()
