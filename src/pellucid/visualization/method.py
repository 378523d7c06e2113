"""What every way of painting shares: a frozen dataclass of parameters, and the painter it makes for one batch.

A painter holds what is moved (``leaves``, batch first: pixels, or coefficients), makes pictures in [0, 1] of it, says what
the network is shown of a picture, and moves along gradients. The loop around it is in `pellucid.visualization.ascent`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.visualization.draws import Stream, Transforms
from pellucid.visualization.problem import Problem


class Painter:
    """Base of all painters; the pixels themselves are moved unless a subclass says otherwise."""

    def __init__(self, problem: Problem, leaves: list[Tensor], steps: int, transforms: Transforms) -> None:
        self.problem, self.leaves, self.steps, self.transforms = problem, leaves, steps, transforms
        self.rate = torch.ones(len(problem), device=leaves[0].device)  # halved where values were not finite

    def begin(self, step: int) -> None:
        """Called before every step."""

    def paint(self, leaves: list[Tensor]) -> Float[Tensor, "rows channel h w"]:
        """Pictures in [0, 1] of leaves, differentiable, row by row."""
        return leaves[0]

    def see(self, pictures: Tensor, streams: Sequence[Stream]) -> Tensor:
        """What the network is shown: every picture under its own draw of the transforms."""
        return self.transforms(pictures, streams)

    @abstractmethod
    def move(self, gradients: list[Tensor], step: int) -> None:
        """Go along the gradients."""

    def forget(self, rows: Bool[Tensor, " batch"]) -> None:
        """Drop the momentum of some rows, whose step was taken back."""

    def stepsize(self, leaf: Tensor) -> Tensor:
        """The rows' shares of the rate, shaped to multiply a leaf."""
        return self.rate.to(leaf).view(-1, *[1] * (leaf.ndim - 1))


class Adam(Painter):
    """Moves its leaves by Adam (Kingma, Ba 2015), every image with moments of its own."""

    def __init__(
        self,
        problem: Problem,
        leaves: list[Tensor],
        steps: int,
        transforms: Transforms,
        rate: float,
        nesterov: bool = False,
    ) -> None:
        super().__init__(problem, leaves, steps, transforms)
        self._rate, self._nesterov = rate, nesterov
        self._first = [torch.zeros_like(leaf) for leaf in leaves]
        self._second = [torch.zeros_like(leaf) for leaf in leaves]
        self._count = 0

    def move(self, gradients: list[Tensor], step: int) -> None:
        """``x ← x + η m̂ / (√v̂ + ε)`` with m and v decaying by 0.9 and 0.999."""
        self._count += 1
        for k, (leaf, g) in enumerate(zip(self.leaves, gradients, strict=True)):
            first = self._first[k] = 0.9 * self._first[k] + 0.1 * g
            second = self._second[k] = 0.999 * self._second[k] + 0.001 * g * g
            if self._nesterov:
                first = 0.9 * first / (1 - 0.9 ** (self._count + 1)) + 0.1 * g / (1 - 0.9**self._count)
            else:
                first = first / (1 - 0.9**self._count)
            root = (second / (1 - 0.999**self._count)).sqrt()
            self.leaves[k] = leaf + self._rate * self.stepsize(leaf) * first / (root + 1e-8)

    def forget(self, rows: Bool[Tensor, " batch"]) -> None:
        """Moments of these rows start anew."""
        for moment in (*self._first, *self._second):
            moment[rows] = 0


@dataclass(frozen=True)
class Method:
    """Base of all methods; ``steps`` is how often the picture is moved."""

    name: ClassVar[str] = ""
    paper: ClassVar[str | None] = None
    steps: int = 256

    @abstractmethod
    def painter(self, problem: Problem) -> Painter:
        """What paints one batch."""
