"""Is what a sentence says true: parts against pictures painted again without them, rates with intervals.

Only the embedded concept world knows. A part that is named is *present* where a pixel of it shows. The part named *first* is
right where its true removal (`evaluation.intervention.part_effects`) costs the target most ::

    right(name) = 1 if effect(name) = max over visible parts, else 0        kept(name) = effect(name) / max effect

Rates carry Wilson's interval (E. B. Wilson, Journal of the American Statistical Association 22, 1927), differences of rates over
the same pictures the interval of a paired bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.precision import exact
from pellucid.evaluation.intervention import LEAST, Effects, agreement
from pellucid.units.patterns import wilson


@dataclass(frozen=True)
class Rate:
    """How often something holds: ``hits`` of ``total``; hits may be fractions where lots are drawn."""

    hits: float
    total: int

    @property
    def share(self) -> float:
        """Hits divided by total, 0 where there is none."""
        return self.hits / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval; (0, 1) where there is nothing to count."""
        return wilson(self.hits, self.total)

    def to_json(self) -> dict[str, Any]:
        """Plain data, rounded."""
        low, high = self.interval
        return {"share": round(self.share, 4), "low": round(low, 4), "high": round(high, 4), "of": self.total}


def rate(values: Sequence[float | bool]) -> Rate:
    """The rate of a list of hits and misses.

    >>> rate([True, True, False, True]).share
    0.75
    """
    return Rate(float(sum(values)), len(values))


def difference(
    one: Sequence[float | bool], other: Sequence[float | bool], seed: int = 0, draws: int = 2000
) -> tuple[float, float, float]:
    """Mean of one − other over the same pictures, and the 95 % interval of a paired bootstrap.

    Raises ValueError for lists of different lengths or none.
    """
    if len(one) != len(other) or not one:
        raise ValueError(f"Expected two values for each picture, got {len(one)} and {len(other)}.")
    apart = torch.tensor(one, dtype=torch.float64) - torch.tensor(other, dtype=torch.float64)
    chosen = torch.randint(len(apart), (draws, len(apart)), generator=torch.Generator().manual_seed(seed))
    low, high = apart[chosen].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(apart.mean()), low, high


def judgeable(effects: Effects) -> bool:
    """Are there at least `LEAST` visible parts, one of which matters more than another?"""
    logit = effects.logit
    return len(effects.names) >= LEAST and bool(logit.isfinite().all()) and bool(logit.max() > logit.min())


def right(effects: Effects, name: str | None) -> float:
    """1 where the true removal of the part costs the score most, else 0; 0 too for None and for a part that does not show."""
    if name not in effects.names:
        return 0.0
    return float(effects.logit[effects.names.index(name)] == effects.logit.max())


def kept(effects: Effects, name: str | None) -> float:
    """The true effect of a part as a share of the largest, which is positive; 0 for None and for a part that does not show."""
    largest = float(effects.logit.max())
    if name not in effects.names or largest <= 0:
        return 0.0
    return float(effects.logit[effects.names.index(name)]) / largest


def right_by_mass(effects: Effects, saliency: Float[Tensor, "height width"]) -> float:
    """The same for the part with the most mass of a map; equal masses count by what drawing lots would give, no map by chance."""
    found = agreement(saliency, effects)
    return found.hit if found.reason is None else by_chance(effects)


def by_chance(effects: Effects) -> float:
    """How often a visible part drawn by lot is right."""
    return float(exact(effects.logit == effects.logit.max()).mean())
