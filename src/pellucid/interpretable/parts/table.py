"""What the filters of a layer mean: how often each one lies on each part, and how steadily.

    P[f, k] = share of the pictures with part k in which IoU(f's region, k's mask) > 0.2
    D[f, k] = standard deviation of |k's landmark − f's position| / diagonal, over the pictures that activate f most

    interpretability of f: P_f = max over the parts of f's class; f's class: the one whose pictures activate it most
    instability of f:      D_f = min over classes of the mean of D[f, k] over the class's parts
    of a layer: means over filters.

Source: Zhang, Wu, Zhu, CVPR 2018, and its released code. The paper takes the smallest D_f over classes, the code that of f's
class; both are here (`instability`, `instability_of_own_class`). Left out, and counted: parts seen in fewer pictures than asked
for, filters whose maps are the same everywhere, which have no position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.data.parts.source import PartKey

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Examples:
    """The pictures that activate every filter most, strongest first.

    ``images`` [filter rank]: their numbers in the set, −1: none; ``cells`` [filter rank 2]: row and column of the maximum;
    ``maxima`` [filter rank]; ``names``: number → the picture's name.
    """

    images: Whole
    cells: Whole
    maxima: Floats
    names: Mapping[int, str]


@dataclass(frozen=True, eq=False)
class PartTable:
    """The filters of one layer against parts; made by `measure_parts`, stored by `save_parts`.

    Attributes:
        layer: its name.
        keys: the parts, each with its class.
        pictures: [class], pictures of every class, in the order of `classes`.
        masked, landmarked: [part], pictures in which the part has pixels, and a landmark within the picture.
        thresholds: [filter], T_f.
        strength: [filter class], mean over the class's pictures of the filter's largest activation.
        probability: region → P [filter part]; NaN where the part was seen in too few pictures.
        spread: D [filter part]; NaN where it was seen in too few pictures.
        used: [filter part], pictures D was measured on.
        chance_probability, chance_spread: as above, when positions and regions come from another picture of the class.
        center_spread: D [part] of a mark that stands still in the middle of the picture, over all pictures with the part; where
            objects are cropped it is small, and a filter that is no steadier says little.
        draws: name → [draw] or [draw filter] from the bootstrap over pictures: "interpretability" and "instability" (of the
            layer), and "filter interpretability", "filter instability"; the same seed draws the same pictures for every layer
            and network.
        examples: pictures to show.
        facts: network, set, settings, and what was left out.
    """

    layer: str
    keys: tuple[PartKey, ...]
    pictures: Whole
    masked: Whole
    landmarked: Whole
    thresholds: npt.NDArray[np.float32]
    strength: Floats
    probability: Mapping[str, Floats]
    spread: Floats
    used: Whole
    chance_probability: Mapping[str, Floats] = field(default_factory=dict)
    chance_spread: Floats | None = None
    center_spread: Floats | None = None
    draws: Mapping[str, Floats] = field(default_factory=dict)
    examples: Examples | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.thresholds)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes of the parts."""
        return tuple(dict.fromkeys(key.object_class for key in self.keys))

    @cached_property
    def class_of(self) -> Whole:
        """[part]: the place of its class."""
        return np.array([self.classes.index(key.object_class) for key in self.keys], np.int64)

    @property
    def regions(self) -> tuple[str, ...]:
        """The readings of a filter's region; the first is the one that is reported."""
        return tuple(self.probability)

    @cached_property
    def own_class(self) -> Whole:
        """[filter]: the class whose pictures activate it most."""
        return np.asarray(self.strength.argmax(1), np.int64)

    def best(self, region: str | None = None) -> Whole:
        """[filter]: the part of its class it lies on most often, −1 where no part was seen often enough.

        Raises UnknownNameError for a region that was not measured.
        """
        return self._best[self._region(region)]

    def interpretability(self, region: str | None = None) -> Floats:
        """[filter]: P_f; NaN where no part of its class was seen often enough."""
        return self._values[self._region(region)]

    def chance_interpretability(self, region: str | None = None) -> Floats | None:
        """[filter]: P_f when regions come from other pictures of the class; None where it was not measured."""
        if not self.chance_probability:
            return None
        values = self.chance_probability[self._region(region)]
        return picked(values, best_part(values, self.class_of, self.own_class))

    @cached_property
    def per_class(self) -> Floats:
        """[filter class]: the mean of D over the class's parts, without those seen in too few pictures."""
        return mean_by_class(self.spread, self.class_of, len(self.classes))

    @cached_property
    def steadiest(self) -> Whole:
        """[filter]: the class with the smallest instability, −1 where there is none."""
        return smallest(self.per_class)

    @cached_property
    def instability(self) -> Floats:
        """[filter]: D_f, the smallest over classes; NaN for a filter without a position."""
        return picked(self.per_class, self.steadiest)

    @cached_property
    def instability_of_own_class(self) -> Floats:
        """[filter]: D_f for the class whose pictures activate it most, as the released code has it."""
        return picked(self.per_class, self.own_class)

    @cached_property
    def chance_instability(self) -> Floats | None:
        """[filter]: D_f when positions come from other pictures of the class; None where it was not measured."""
        if self.chance_spread is None:
            return None
        values = mean_by_class(self.chance_spread, self.class_of, len(self.classes))
        return picked(values, smallest(values))

    @cached_property
    def instability_of_center(self) -> float | None:
        """D, smallest over classes, of a mark that stands still in the middle of the picture; None where it was not measured."""
        if self.center_spread is None:
            return None
        values = mean_by_class(self.center_spread[None], self.class_of, len(self.classes))
        return _mean(picked(values, smallest(values)))

    def meaning(self, index: int) -> PartKey | None:
        """The part a filter means: that of its class it lies on most often; None where it lies on none."""
        part = int(self.best()[index])
        return self.keys[part] if part >= 0 and self.interpretability()[index] > 0 else None

    def nearest(self, index: int) -> PartKey | None:
        """The part to which a filter keeps its distance most steadily, within the class it is steadiest in."""
        mine = self.class_of == self.steadiest[index]
        values = np.where(mine, self.spread[index], np.nan)
        return None if np.isnan(values).all() else self.keys[int(np.nanargmin(values))]

    def interval(self, name: str, level: float = 0.95) -> Floats | None:
        """Percentile interval: [2] of "interpretability" and "instability" (of the layer), [filter 2] of "filter …"; None
        without a bootstrap."""
        if name not in self.draws:
            return None
        return np.moveaxis(_quantiles(self.draws[name], (1 - level) / 2), 0, -1)

    def summary(self) -> dict[str, Any]:
        """The layer in numbers: means over filters with their intervals, what chance gives, and how many were left out."""
        found: dict[str, Any] = {"layer": self.layer, "filters": len(self), "parts": len(self.keys)}
        chance = {"interpretability": self.chance_interpretability(), "instability": self.chance_instability}
        values = {"interpretability": self.interpretability(), "instability": self.instability}
        for name, each in values.items():
            interval, by_chance = self.interval(name), chance[name]
            found[name] = _mean(each)
            found[f"{name}_interval"] = None if interval is None else [float(end) for end in interval]
            found[f"{name}_by_chance"] = None if by_chance is None else _mean(by_chance)
            found[f"{name}_filters"] = int(np.isfinite(each).sum())
        found["instability_of_own_class"] = _mean(self.instability_of_own_class)
        found["instability_of_center"] = self.instability_of_center
        found["interpretability_by_region"] = {
            region: _mean(self.interpretability(region)) for region in self.regions
        }
        return found

    @cached_property
    def _best(self) -> dict[str, Whole]:
        return {
            name: best_part(each, self.class_of, self.own_class) for name, each in self.probability.items()
        }

    @cached_property
    def _values(self) -> dict[str, Floats]:
        return {name: picked(each, self._best[name]) for name, each in self.probability.items()}

    def _region(self, region: str | None) -> str:
        if region is not None and region not in self.probability:
            raise UnknownNameError(
                f"Expected a region that was measured, got `{region}`; {suggest(region, self.regions)}"
            )
        return region or self.regions[0]


def best_part(probability: Floats, class_of: Whole, own: Whole) -> Whole:
    """[filter]: the likeliest part of its own class, the first of equal ones; −1 where all are NaN."""
    mine = np.where(class_of[None] == own[:, None], probability, np.nan)
    known = ~np.isnan(mine).all(1)
    return np.where(known, np.where(np.isnan(mine), -1.0, mine).argmax(1), -1).astype(np.int64)


def mean_by_class(values: Floats, class_of: Whole, classes: int) -> Floats:
    """[filter class]: means over a class's parts that are no NaN; NaN where all are."""
    found = np.full((len(values), classes), np.nan)
    for place in range(classes):
        mine = values[:, class_of == place]
        count = np.isfinite(mine).sum(1)
        total = np.where(np.isfinite(mine), mine, 0.0).sum(1)
        found[:, place] = np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
    return found


def smallest(values: Floats) -> Whole:
    """[filter]: the place of the smallest value, the first of equal ones; −1 where all are NaN."""
    known = np.isfinite(values).any(1)
    return np.where(known, np.where(np.isfinite(values), values, np.inf).argmin(1), -1).astype(np.int64)


def picked(values: Floats, place: Whole) -> Floats:
    """[filter]: the value at each one's place, NaN at −1."""
    taken = np.take_along_axis(values, np.maximum(place, 0)[:, None], 1)[:, 0]
    return np.where(place >= 0, taken, np.nan)


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _quantiles(draws: Floats, tail: float) -> Floats:
    """[2 …] of the draws that are no NaN, linear between two of them; NaN where all are."""
    ordered = np.sort(draws, axis=0)  # NaN last
    count = np.isfinite(draws).sum(0)
    ends = []
    for share in (tail, 1 - tail):
        place = share * np.maximum(count - 1, 0)
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, np.maximum(count - 1, 0))
        first, second = (np.take_along_axis(ordered, at[None], 0)[0] for at in (low, high))
        ends.append(first + (place - low) * (second - first))
    return np.stack(ends)


def change(before: PartTable, after: PartTable, level: float = 0.95) -> dict[str, dict[str, Any]]:
    """How much a layer's means differ from another's on the same pictures, paired picture by picture.

    Per measure: ``before``, ``after``, ``ratio`` = after / before − 1 and its ``interval`` [2] from the common bootstrap (None
    without one). Raises ValueError where the two were not measured on the same pictures with the same draws.
    """
    same = [table.facts.get("parts") for table in (before, after)]
    shapes = [{name: len(values) for name, values in table.draws.items()} for table in (before, after)]
    seeds = [table.facts.get("settings", {}).get("seed") for table in (before, after)]
    counts = [table.facts.get("images") for table in (before, after)]
    if same[0] != same[1] or shapes[0] != shapes[1] or seeds[0] != seeds[1] or counts[0] != counts[1]:
        raise ValueError(
            f"Expected two tables of the same pictures and draws, got `{before.layer}` and `{after.layer}` of others; try one "
            "source, one seed and one number of resamples for both."
        )
    found: dict[str, dict[str, Any]] = {}
    ends, tail = (before.summary(), after.summary()), (1 - level) / 2
    for name in ("interpretability", "instability"):
        first, second = ends[0][name], ends[1][name]
        ratio = interval = None
        if first and second is not None:
            ratio = second / first - 1
            if name in before.draws:
                drawn = after.draws[name] / before.draws[name] - 1
                interval = [float(end) for end in np.nanquantile(drawn, [tail, 1 - tail])]
        found[name] = {"before": first, "after": second, "ratio": ratio, "interval": interval}
    return found
