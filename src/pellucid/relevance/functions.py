"""Operations with an ordinary forward and a backward that shares relevance; all but the affine ones.

The relevance of a complex number (in a Fourier layer) is a complex number too, as autograd demands: the relevance of its real
and of its imaginary part. Gradient times input multiplies part by part.
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


def whole(relevance: Tensor) -> Tensor:
    """Relevance of numbers, of complex ones that of both parts together."""
    return relevance.real + relevance.imag if relevance.is_complex() else relevance


def _of_type(relevance: Tensor, dtype: torch.dtype) -> Tensor:
    """Relevance handed on to inputs of another type."""
    return relevance.to(dtype) if dtype.is_complex else whole(relevance).to(dtype)


def _times(x: Tensor, slope: Tensor) -> Tensor:
    """Input times gradient, part by part."""
    return torch.complex(x.real * slope.real, x.imag * slope.imag) if x.is_complex() else x * slope


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
        ctx.shares, ctx.entry = shares, entry
        ctx.shapes, ctx.dtypes = [each.shape for each in inputs], [each.dtype for each in inputs]
        value = compute()
        return value.clone() if any(value is each for each in inputs) else value

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Tensor | None, ...]:
        """Every input's share."""
        found: list[Tensor | None] = []
        if ctx.entry is not None:
            ctx.entry.arrived(arriving)
        for place, (part, shape, dtype) in enumerate(zip(ctx.shares, ctx.shapes, ctx.dtypes, strict=True)):
            mine = arriving if part is None else arriving * part
            if ctx.entry is not None:
                ctx.entry.left(mine)
            found.append(
                _of_type(mine.sum_to_size(shape), dtype) if ctx.needs_input_grad[3 + place] else None
            )
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
        found = _times(x, slope)
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
        return torch.where(y == 0, 0, whole(arriving) / stabilized(y, STABILIZER).conj()), None


def summand_shares(one: Tensor, other: Tensor, positive: bool) -> tuple[Tensor, Tensor]:
    """How two summands share the relevance of their sum; ``positive``: by the parts with the sum's sign.

    Of complex numbers that is their part along the sum.
    """
    total = one + other
    if total.is_complex():
        total = stabilized(total, STABILIZER)
        return (one / total).real, (other / total).real
    if positive:
        upward = total >= 0
        one, other = (torch.where(upward, each.clamp(min=0), each.clamp(max=0)) for each in (one, other))
        total = one + other
    total = stabilized(total, STABILIZER)
    return one / total, other / total
