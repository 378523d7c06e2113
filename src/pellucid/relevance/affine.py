"""Convolutions and linear layers whose backward is a rule, and the normalization folded into them.

A batch normalization y = s z + t behind an affine map z = x w + b makes it the map with weight ``s w`` and
bias ``s b + t``. When the map runs nobody knows yet that a normalization follows; so the normalization notes s
and t on the call it takes its input from, and passes relevance on unchanged. The call reads them when
relevance arrives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pellucid.core.hidden import Own
from pellucid.relevance.ledger import Entry
from pellucid.relevance.memory import Saved
from pellucid.relevance.rules import Epsilon, Gamma, Problem, Rule, share


@dataclass(frozen=True)
class Convolution:
    """A (transposed) convolution of one, two or three dimensions, without its weights."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int = 1
    backwards: bool = False
    output_padding: Sequence[int] = (0, 0)

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution."""
        return torch.convolution(x, weight, None, *self._settings)

    def transposed(self, s: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        """Its transpose, in the shape of the input."""
        only_input = [True, False, False]
        found = torch.ops.aten.convolution_backward(s, like, weight, None, *self._settings, only_input)
        return found[0]  # type: ignore[no-any-return]

    def over_outputs(self, vector: Tensor, ndim: int) -> Tensor:
        """One value per channel, along dimension 1."""
        return vector.view(-1, *[1] * (ndim - 2))

    def scaled(self, weight: Tensor, scale: Tensor) -> Tensor:
        """The weight whose outputs are ``scale`` times larger."""
        if not self.backwards:
            return weight * scale.view(-1, *[1] * (weight.ndim - 1))
        inputs, outputs, *rest = weight.shape  # [input, output of one group, ...], groups along the inputs
        grouped = weight.view(self.groups, inputs // self.groups, outputs, *rest)
        return (grouped * scale.view(self.groups, 1, outputs, *[1] * len(rest))).view_as(weight)

    @property
    def _settings(self) -> tuple[Any, ...]:
        return self.stride, self.padding, self.dilation, self.backwards, self.output_padding, self.groups


@dataclass(frozen=True)
class Linear:
    """A linear layer over the last dimension, without its weights."""

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """``x wᵀ``, the weight being [output input]."""
        return F.linear(x, weight)

    def transposed(self, s: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        """``s w``."""
        return s @ weight

    def over_outputs(self, vector: Tensor, ndim: int) -> Tensor:
        """One value per output feature, along the last dimension."""
        return vector

    def scaled(self, weight: Tensor, scale: Tensor) -> Tensor:
        """The weight whose outputs are ``scale`` times larger."""
        return weight * scale[:, None]


@dataclass(eq=False)
class AffineCall:
    """One call of an affine map: what its rule needs when relevance arrives; ``keep`` it for further walks."""

    linear: Convolution | Linear
    weight: Tensor
    bias: Tensor | None
    rule: Rule
    entry: Entry
    limits: tuple[Tensor, Tensor] | None = None
    fold: tuple[Tensor, Tensor] | None = None
    keep: bool = False
    output: Tensor | None = field(default=None, repr=False)

    def run(self, x: Tensor) -> Tensor:
        """The ordinary output; a copy stays here when the rule divides by it."""
        y = self.linear.forward(x, self.weight)
        if self.bias is not None:
            y += self.linear.over_outputs(self.bias, y.ndim)
        if isinstance(self.rule, (Epsilon, Gamma)):
            self.output = y.clone()  # an in-place activation function may overwrite the one handed out
        return y

    def relevance(self, x: Tensor, arriving: Tensor) -> Tensor:
        """Relevance of the input; enters into the ledger what the bias kept and what got lost."""
        weight, bias = self.weight, self.bias
        if self.fold is not None:
            scale, shift = self.fold
            weight = self.linear.scaled(weight, scale)
            bias = shift if bias is None else bias * scale + shift
        nonnegative = float(x.amin()) >= 0
        problem = Problem(x, weight, bias, self._folded_output, nonnegative, self._bounds(x))
        found, kept = share(self.rule, self.linear, problem, arriving)
        self.entry.arrived(arriving)
        self.entry.left(found)
        if kept is not None:
            self.entry.kept(kept)
        return found

    def _folded_output(self) -> Tensor:
        assert self.output is not None
        if self.fold is None:
            return self.output
        scale, shift = (self.linear.over_outputs(each, self.output.ndim) for each in self.fold)
        return self.output * scale + shift

    def _bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image's limits, wider where it goes beyond them; of any other input its own, per channel."""
        dims = tuple(range(2, x.ndim)) or (1,)
        low, high = x.amin(dims, keepdim=True), x.amax(dims, keepdim=True)
        if self.limits is None:
            return low, high
        return torch.minimum(low, self.limits[0].to(x)), torch.maximum(high, self.limits[1].to(x))


class AffineRule(Own):
    """The ordinary output forward, the rule backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, call: AffineCall, saved: Saved) -> Tensor:
        """The affine map of ``x``, which ``saved`` holds."""
        ctx.call, ctx.saved = call, saved
        return call.run(x)

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Tensor, None, None]:
        """The rule."""
        found = ctx.call.relevance(ctx.saved.value, arriving)
        if not ctx.call.keep:
            ctx.call.output = ctx.saved = None  # memory goes back while the walk goes on
        return found, None, None
