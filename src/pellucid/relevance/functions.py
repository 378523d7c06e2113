"""Operations with an ordinary forward and a backward that shares relevance; all but the affine ones.

A complex number (in a Fourier layer) is a pair of real ones: its relevance is a complex number too, as autograd demands, the
relevance of its real and of its imaginary part. Gradient times input multiplies part by part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pellucid.core.hidden import Own
from pellucid.relevance.ledger import Entry
from pellucid.relevance.memory import Saved
from pellucid.relevance.rules import stabilized

STABILIZER = 1e-6


def applied(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    """``function.apply``, with a type."""
    return function.apply(*arguments)  # type: ignore[no-any-return, no-untyped-call]


def by_parts(combined: Callable[[Tensor, Tensor], Tensor], one: Tensor, other: Tensor) -> Tensor:
    """What is computed of two numbers; of complex ones for the real parts and for the imaginary parts."""
    if not one.is_complex():
        return combined(one, other)
    return torch.complex(combined(one.real, other.real), combined(one.imag, other.imag))


class Shared(Own):
    """``compute()`` forward; backward ``share · relevance`` for every input, None being the whole.

    ``entry`` is for operations whose shares do not sum to one.
    """

    @staticmethod
    def forward(
        ctx: Any,
        compute: Callable[[], Tensor],
        shares: Sequence[Tensor | float | None],
        entry: Entry | None,
        *inputs: Tensor,
    ) -> Tensor:
        """The value, in memory of its own."""
        ctx.shares, ctx.entry, ctx.shapes = shares, entry, [each.shape for each in inputs]
        value = compute()
        return value.clone() if any(value is each for each in inputs) else value

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Tensor | None, ...]:
        """Every input's share."""
        found: list[Tensor | None] = []
        if ctx.entry is not None:
            ctx.entry.arrived(arriving)
        for place, (part, shape) in enumerate(zip(ctx.shares, ctx.shapes, strict=True)):
            mine = arriving if part is None else arriving * part
            if ctx.entry is not None:
                ctx.entry.left(mine)
            found.append(mine.sum_to_size(shape) if ctx.needs_input_grad[3 + place] else None)
        return None, None, None, *found


class Enter(Own):
    """With `Leave` behind an operation: relevance ``x ⊙ Jᵀ(R / y)``, gradient times input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, entry: Entry, saved: Saved) -> Tensor:
        """The input itself, which ``saved`` holds."""
        ctx.entry, ctx.saved = entry, saved
        return x.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        """Times the input."""
        # an unknown operation may have an endless slope (a root at zero); it must not spoil the rest
        x = ctx.saved.value
        found = by_parts(torch.mul, x, slope)
        found = torch.where(found.isfinite(), found, 0)
        ctx.entry.left(found)
        return found, None, None


class Leave(Own):
    """See `Enter`."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, entry: Entry) -> Tensor:
        """The output itself."""
        ctx.entry = entry
        ctx.save_for_backward(y)
        return y.clone()

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Tensor, None]:
        """Divided by the output."""
        (y,) = ctx.saved_tensors
        ctx.entry.arrived(arriving)
        return by_parts(_divided, arriving, y), None


def _divided(relevance: Tensor, y: Tensor) -> Tensor:
    return torch.where(y == 0, 0, relevance / stabilized(y, STABILIZER))


def summand_shares(one: Tensor, other: Tensor, positive: bool) -> tuple[Tensor, Tensor]:
    """How two summands share the relevance of their sum; ``positive``: by the parts with the sum's sign."""
    total = one + other
    if positive:
        upward = total >= 0
        one, other = (torch.where(upward, each.clamp(min=0), each.clamp(max=0)) for each in (one, other))
        total = one + other
    total = stabilized(total, STABILIZER)
    return one / total, other / total
