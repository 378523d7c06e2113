"""The loop: show, differentiate, move; take back what is not finite; keep the best.

Every step is done for a whole batch, and no image's way depends on the others. Where a value or gradient is not finite, the
image goes back half of its last step and its rate is halved; after eight times in a row the run ends with an error that
names the step. From three quarters of the run on, and when it is stopped, pictures are scored as they would be saved, and the
best of each is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from pellucid.visualization.method import Method, Painter
from pellucid.visualization.problem import Problem

_HALVINGS = 8
_LOOKS = 4  # at the pictures, in the last quarter


@dataclass(frozen=True, eq=False)
class Run:
    """Finished pictures with what they reach, the value of every step (NaN where a unit was climbed before its rectifier),
    and whether the run was stopped."""

    pictures: Float[Tensor, "batch channel height width"]
    achieved: Float[Tensor, " batch"]
    history: Float[Tensor, "steps batch"]
    stopped: bool


def climb(problem: Problem, method: Method, bar: tqdm | None = None) -> Run:
    """Paint one batch. Ctrl-C ends it early, with the best pictures so far.

    Raises ValueError for an objective without gradient, ArithmeticError when values stay non-finite.
    """
    painter = method.painter(problem)
    best = _Best(problem)
    history: list[Tensor] = []
    first_look = method.steps - method.steps // 4
    looks = {method.steps - 1 - k * max(1, (method.steps - first_look) // _LOOKS) for k in range(_LOOKS)}
    stopped = False
    good = [leaf.clone() for leaf in painter.leaves]
    trials = torch.zeros(len(problem), dtype=torch.long, device=good[0].device)
    try:
        for step in range(method.steps):
            painter.begin(step)
            if painter.leaves[0].shape != good[0].shape:
                good = [leaf.clone() for leaf in painter.leaves]
            values, gradients = _gradients(problem, painter)
            bad = ~torch.isfinite(values) | _broken(gradients)
            if bool(bad.any()):
                trials = torch.where(bad, trials + 1, 0)
                _take_back(painter, good, bad, trials, step, problem)
                for one in gradients:
                    one[bad] = 0
            else:
                trials.zero_()
            good = [_rows(bad, before, leaf) for before, leaf in zip(good, painter.leaves, strict=True)]
            held = [leaf.clone() for leaf in painter.leaves] if bool(bad.any()) else None
            painter.move(gradients, step)
            if held is not None:  # momentum must not move what was taken back
                painter.leaves = [
                    _rows(bad, kept, leaf) for kept, leaf in zip(held, painter.leaves, strict=True)
                ]
            history.append(values.cpu())
            if step in looks and step >= first_look:
                best.look(painter)
            if bar is not None:
                bar.update(len(problem))
    except KeyboardInterrupt:
        stopped = True
    if best.pictures is None:
        best.look(painter)
    if not bool(torch.isfinite(best.reached).all()):  # the last step led where nothing is finite
        painter.leaves = good
        best.look(painter)
    assert best.pictures is not None
    return Run(
        best.pictures,
        best.reached,
        torch.stack(history) if history else torch.zeros(0, len(problem)),
        stopped,
    )


class _Best:
    """The best picture of every image, scored as it would be saved."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.pictures: Tensor | None = None
        self.reached = torch.empty(0)

    def look(self, painter: Painter) -> None:
        with torch.no_grad():
            pictures = painter.paint(painter.leaves).clamp(0, 1)
            if tuple(pictures.shape[2:]) != self.problem.size:
                pictures = F.interpolate(pictures, self.problem.size, mode="bilinear", antialias=False)
            pictures = torch.nan_to_num(pictures, nan=0.5)
        reached = self.problem.score(pictures)
        if self.pictures is None:
            self.pictures, self.reached = pictures, reached
            return
        better = torch.isfinite(reached) & ~(reached <= self.reached)
        self.pictures = _rows(better, pictures, self.pictures)
        self.reached = torch.where(better, reached, self.reached)


def _gradients(problem: Problem, painter: Painter) -> tuple[Tensor, list[Tensor]]:
    """Values and gradients; of units that are off everywhere, those of what goes into their rectifier."""
    everyone = range(len(problem))
    values, gradients = problem.gradients(painter.leaves, everyone, painter.paint, painter.see)
    silent = [
        row
        for row, still in enumerate(_still(gradients).tolist())
        if still and problem.rectified(row) and bool(torch.isfinite(values[row]))
    ]
    if silent:
        leaves = [leaf[silent] for leaf in painter.leaves]
        _, redirected = problem.gradients(leaves, silent, painter.paint, painter.see, redirect=True)
        for mine, other in zip(gradients, redirected, strict=True):
            mine[silent] = other
    return values, gradients


def _still(gradients: list[Tensor]) -> Bool[Tensor, " batch"]:
    return torch.stack([(one == 0).flatten(1).all(1) for one in gradients]).all(0)


def _broken(gradients: list[Tensor]) -> Bool[Tensor, " batch"]:
    return torch.stack([(~torch.isfinite(one)).flatten(1).any(1) for one in gradients]).any(0)


def _take_back(
    painter: Painter, good: list[Tensor], bad: Tensor, trials: Tensor, step: int, problem: Problem
) -> None:
    """Half of the last step back for the rows that are not finite."""
    hopeless = (trials > _HALVINGS).nonzero().flatten().tolist()
    if hopeless:
        raise ArithmeticError(
            f"Expected finite values while `{problem.objectives[hopeless[0]].label}` is climbed, got NaN or infinity at step "
            f"{step}, and again after the step was halved {_HALVINGS} times; try a smaller rate, or look whether "
            f"`{problem.net.name}` gives finite values on ordinary pictures."
        )
    painter.leaves = [
        _rows(bad, before + (leaf - before) / 2, leaf)
        for before, leaf in zip(good, painter.leaves, strict=True)
    ]
    painter.rate[bad] /= 2
    painter.forget(bad)


def _rows(which: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(which.view(-1, *[1] * (yes.ndim - 1)), yes, no)
