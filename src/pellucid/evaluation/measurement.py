"""Numbers per image, and what they allow to say: means with bootstrap intervals, paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.registry import UnknownNameError, suggest


@dataclass(frozen=True)
class Interval:
    """A mean over images and its percentile bootstrap interval; NaN where no image has a value."""

    mean: float
    low: float
    high: float
    count: int
    confidence: float = 0.95

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, eq=False)
class Measurement:
    """What a metric found.

    ``values``: quantity → one number per image, float64 on the processor, NaN where it is not defined; ``reasons`` says
    why, per image, None where all is well. ``curves``: name → [batch points]. ``better``: quantity → "higher" or
    "lower". ``parameters``: what it takes to measure the same again.
    """

    metric: str
    values: Mapping[str, Float[Tensor, " batch"]]
    reasons: tuple[str | None, ...]
    better: Mapping[str, str]
    parameters: Mapping[str, Any]
    curves: Mapping[str, Float[Tensor, "batch points"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.reasons)

    @property
    def main(self) -> str:
        """The quantity that stands for the metric."""
        return next(iter(self.better))

    def mean(
        self, quantity: str | None = None, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
    ) -> Interval:
        """Mean of a quantity (default: `main`) over the images where it is defined."""
        return bootstrap(
            self.values[self._known(quantity)], confidence=confidence, resamples=resamples, seed=seed
        )

    def compare(
        self,
        other: Measurement,
        quantity: str | None = None,
        *,
        confidence: float = 0.95,
        resamples: int = 2000,
        seed: int = 0,
    ) -> Interval:
        """Mean of self − other on the same images, over those where both are defined.

        Raises ValueError for measurements of different metrics, parameters or numbers of images.
        """
        if self.metric != other.metric or len(self) != len(other):
            raise ValueError(
                f"Expected two measurements of one metric on the same images, got {self.metric} of {len(self)} and "
                f"{other.metric} of {len(other)}; try measuring both on one batch."
            )
        differing = _differing(self, other)
        if differing:
            raise ValueError(
                f"Expected two measurements by one protocol, got different {', '.join(differing)}; "
                "try the same parameters for both."
            )
        name = self._known(quantity)
        difference = self.values[name] - other.values[name]
        return bootstrap(difference, confidence=confidence, resamples=resamples, seed=seed)

    def to_json(self) -> dict[str, Any]:
        """A mapping of JSON types only; what is not defined is None."""
        return {
            "metric": self.metric,
            "parameters": _plain(self.parameters),
            "better": dict(self.better),
            "values": _plain(self.values),
            "reasons": list(self.reasons),
            "curves": _plain(self.curves),
        }

    def _known(self, quantity: str | None) -> str:
        if quantity is not None and quantity not in self.values:
            raise UnknownNameError(
                f"Expected a quantity of `{self.metric}`, got `{quantity}`; {suggest(quantity, self.values)}"
            )
        return quantity or self.main


def merge(measurements: Sequence[Measurement]) -> Measurement:
    """The measurements of several batches, one behind the other, as one.

    Raises ValueError when there are none, or when they differ in metric or parameters.
    """
    if not measurements:
        raise ValueError("Expected at least one measurement, got none.")
    first = measurements[0]
    for other in measurements[1:]:
        differing = ["metric"] if other.metric != first.metric else _differing(first, other)
        if differing:
            raise ValueError(
                f"Expected measurements by one protocol, got different {', '.join(differing)}; try them apart."
            )
    return replace(
        first,
        values={name: torch.cat([each.values[name] for each in measurements]) for name in first.values},
        reasons=tuple(reason for each in measurements for reason in each.reasons),
        curves={name: torch.cat([each.curves[name] for each in measurements]) for name in first.curves},
    )


def _differing(one: Measurement, other: Measurement) -> list[str]:
    """Names of the parameters in which two measurements differ; JSON turns tuples into lists."""
    left, right = _plain(one.parameters), _plain(other.parameters)
    return [key for key in dict.fromkeys([*left, *right]) if left.get(key) != right.get(key)]


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def bootstrap(
    values: Float[Tensor, " batch"], *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean of the values that are not NaN with a percentile bootstrap interval; the same seed gives the same."""
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(
            f"Expected `confidence` in (0, 1) and `resamples` of at least 1, got {confidence} and {resamples}."
        )
    kept = values.cpu().double()
    kept = kept[~kept.isnan()]
    if not len(kept):
        return Interval(float("nan"), float("nan"), float("nan"), 0, confidence)
    generator = torch.Generator().manual_seed(seed)
    means = []
    for rows in torch.split(torch.arange(resamples), max(1, 2**20 // len(kept))):  # a few megabytes at a time
        drawn = torch.randint(len(kept), (len(rows), len(kept)), generator=generator)
        means.append(kept[drawn].mean(1))
    tail = (1 - confidence) / 2
    low, high = torch.quantile(torch.cat(means), torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Interval(float(kept.mean()), low, high, len(kept), confidence)
