"""What a masked layer has to know while it learns, and what it says: the labels of the batch, the epoch, the losses.

Labels are needed in training alone, so they do not go through the network: a layer asks for the lesson it is in, and outside
of one it only masks. Nothing is kept on the modules, which stay copyable at any moment.

>>> with learning(labels, epoch=1) as lesson:
...     output = module(images)
>>> loss = task(output, labels) + lesson.loss()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(eq=False)
class Lesson:
    """One batch: ``labels`` [batch] are class indices, or 1 and 0 for object and background; ``epoch`` counts from 1."""

    labels: Int[Tensor, " batch"]
    epoch: int = 1
    losses: dict[str, Float[Tensor, " filter"]] = field(default_factory=dict)

    def loss(self) -> Float[Tensor, ""]:
        """Sum over all masked layers and their filters; zero where there are none."""
        total = torch.zeros((), device=self.labels.device)
        for losses in self.losses.values():
            total = total + losses.sum()
        return total

    def blame(self) -> str:
        """The first filter whose loss is not finite, in words; empty where all are."""
        for place, losses in self.losses.items():
            bad = (~losses.detach().isfinite()).nonzero().flatten().tolist()
            if bad:
                more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
                return f", in filter {bad[0]}{more} of `{place}`"
        return ""


_current: ContextVar[Lesson | None] = ContextVar("lesson", default=None)


def current() -> Lesson | None:
    """The lesson a forward pass is in, if any."""
    return _current.get()


@contextmanager
def learning(labels: Int[Tensor, " batch"], epoch: int = 1) -> Iterator[Lesson]:
    """Inside, masked layers in training mode take down their losses and bring their running estimates up to date."""
    lesson = Lesson(labels, epoch)
    token = _current.set(lesson)
    try:
        yield lesson
    finally:
        _current.reset(token)
