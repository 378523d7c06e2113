"""`UnitTable`: what every unit of a layer detects, with the counts it follows from.

A unit's label is the concept with the highest IoU; ties go to the lower number. It is a *detector* when that IoU is above
0.04 (the paper's rule; the authors' summary says "at least": ``inclusive=True``). Unique detectors are counted by both rules
in use: *released* adds up, over the categories, the distinct labels that are a unit's best of their category with an IoU above
the threshold; *top-label* counts the distinct labels of detectors.
Source: Bau, Zhou, Khosla, Oliva, Torralba, CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.data.concepts.base import Concept, categories_of, category_places, places_of
from pellucid.dissection.counts import Counts, Whole

THRESHOLD = 0.04
Rule = Literal["released", "top-label"]
Real = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Detection:
    """One unit against one concept: the counts, the IoU, and its 95 % interval where it was drawn."""

    unit: int
    concept: Concept
    iou: float
    intersection: int
    activation: int
    truth: int
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The honest score: threshold and label chosen on one part of the pictures (``fit``), the IoU measured on the other."""

    thresholds: npt.NDArray[np.float32]
    fit: Counts
    held: Counts
    images: tuple[int, int]  # of fit, of held


@dataclass(frozen=True, eq=False)
class Examples:
    """The pictures a unit is most active on: ``images`` [unit rank], places in the set, −1 where there is none; ``maxima``
    [unit rank]; ``masks`` bool [unit rank h w] on the label grid."""

    images: npt.NDArray[np.int64]
    maxima: npt.NDArray[np.float32]
    masks: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class UnitTable:
    """What the units of one layer detect.

    Attributes:
        layer: name of the layer.
        concepts: in the order of the counts' columns.
        counts: over all pictures at ``thresholds``.
        thresholds: activation above which a unit counts as active, [unit].
        held_out: the honest score, where it was asked for.
        chance: counts with every picture's labels replaced by another's, one `Counts` per draw.
        ranking: the best concepts, best first, [unit rank].
        interval: 95 % interval of their IoU, [unit rank 2].
        examples: the pictures each unit is most active on.
        complete: False for a published table, in which only the best concept per category is known.
        facts: network, concepts, settings.
    """

    layer: str
    concepts: tuple[Concept, ...]
    counts: Counts
    thresholds: npt.NDArray[np.float32] | None = None
    held_out: HeldOut | None = None
    chance: tuple[Counts, ...] = ()
    ranking: Whole | None = None
    interval: Real | None = None
    examples: Examples | None = None
    complete: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.counts.intersection)

    def __repr__(self) -> str:
        found = self.unique("top-label")
        return f"UnitTable({self.layer!r}, {len(self)} units, {int(self.detectors().sum())} detectors of {found} concepts)"

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Categories in the order of their first concept: the columns of ``counts.activation``."""
        return categories_of(self.concepts)

    @cached_property
    def category_of(self) -> Whole:
        """Place of every concept's category."""
        return category_places(self.concepts)

    @cached_property
    def iou(self) -> Real:
        """IoU of every unit with every concept, [unit concept]."""
        return self.counts.iou(self.category_of)

    @cached_property
    def label(self) -> Whole:
        """Place of every unit's best concept; the lower number where two are equal."""
        return np.asarray(self.iou.argmax(1), np.int64)

    @cached_property
    def score(self) -> Real:
        """IoU of every unit with its label."""
        return np.asarray(self.iou[np.arange(len(self)), self.label])

    def detectors(self, threshold: float = THRESHOLD, *, inclusive: bool = False) -> npt.NDArray[np.bool_]:
        """Which units detect their label.

        Args:
            threshold: on the IoU.
            inclusive: an IoU equal to the threshold counts.

        Returns:
            bool [unit].
        """
        return np.asarray(self.score >= threshold if inclusive else self.score > threshold)

    def unique(
        self, rule: Rule = "released", threshold: float = THRESHOLD, *, inclusive: bool = False
    ) -> int:
        """How many different concepts are detected.

        Args:
            rule: ``"released"``, as the authors' code counts, or ``"top-label"``.
            threshold: on the IoU.
            inclusive: an IoU equal to the threshold counts.

        Returns:
            The number of unique detectors.

        Raises:
            ValueError: another rule.
        """
        if rule == "top-label":
            return len(np.unique(self.label[self.detectors(threshold, inclusive=inclusive)]))
        if rule == "released":
            return sum(self.unique_by_category(threshold, inclusive=inclusive).values())
        raise ValueError(f'Expected the rule "released" or "top-label", got {rule!r}.')

    def unique_by_category(self, threshold: float = THRESHOLD, *, inclusive: bool = False) -> dict[str, int]:
        """The released rule before it is added up: distinct best labels of each category.

        Args:
            threshold: on the IoU.
            inclusive: an IoU equal to the threshold counts.

        Returns:
            ``{category: number}``.
        """
        found = {}
        for place, name in enumerate(self.categories):
            mine = np.flatnonzero(self.category_of == place)
            inner = self.iou[:, mine]
            best = inner.argmax(1)
            reached = inner[np.arange(len(self)), best]
            above = reached >= threshold if inclusive else reached > threshold
            found[name] = len(np.unique(best[above]))
        return found

    def by_category(self, threshold: float = THRESHOLD) -> dict[str, dict[str, int]]:
        """Units and concepts per category, by the units' labels.

        Args:
            threshold: on the IoU.

        Returns:
            Per category, how many units detect a concept of it, and how many different concepts these are.
        """
        own = self.category_of[self.label]
        above = self.detectors(threshold)
        return {
            name: {
                "detectors": int((above & (own == place)).sum()),
                "unique": len(np.unique(self.label[above & (own == place)])),
            }
            for place, name in enumerate(self.categories)
        }

    def detection(self, unit: int, concept: int | None = None) -> Detection:
        """One unit against one concept.

        Args:
            unit: index, from 0.
            concept: index of the concept; by default the unit's label.

        Returns:
            Counts, IoU and interval.

        Raises:
            IndexError: a unit that the layer does not have.
        """
        if not 0 <= unit < len(self):
            raise IndexError(f"Expected a unit of `{self.layer}` from 0 to {len(self) - 1}, got {unit}.")
        place = int(self.label[unit]) if concept is None else concept
        return Detection(
            unit,
            self.concepts[place],
            float(self.iou[unit, place]),
            int(self.counts.intersection[unit, place]),
            int(self.counts.activation[unit, self.category_of[place]]),
            int(self.counts.truth[place]),
            self._interval(unit, place),
        )

    def candidates(self, unit: int, count: int = 4) -> tuple[Detection, ...]:
        """The label of a unit and its runners-up; concepts it never meets are left out.

        Args:
            unit: index, from 0.
            count: how many, at most.

        Returns:
            Detections, best first.
        """
        self.detection(unit)
        order = np.argsort(-self.iou[unit], kind="stable")[:count]
        return tuple(self.detection(unit, int(place)) for place in order if self.iou[unit, place] > 0)

    def held_out_score(self, unit: int) -> tuple[Concept, float] | None:
        """The honest score: the concept chosen on one part of the pictures, and its IoU on the other.

        Args:
            unit: index, from 0.

        Returns:
            Concept and IoU; None where nothing was held out.
        """
        if self.held_out is None:
            return None
        place = int(self._fit_label[unit])
        return self.concepts[place], float(self._held_iou[unit, place])

    @cached_property
    def held_out_scores(self) -> Real | None:
        """`held_out_score` of every unit."""
        if self.held_out is None:
            return None
        return np.asarray(self._held_iou[np.arange(len(self)), self._fit_label])

    @cached_property
    def chance_scores(self) -> Real | None:
        """[draw unit]: the best IoU of every unit when masks meet the labels of other pictures."""
        if not self.chance:
            return None
        return np.stack([counts.iou(self.category_of).max(1) for counts in self.chance])

    def expected_by_chance(self, threshold: float = THRESHOLD) -> float | None:
        """How many units would pass for detectors if masks had nothing to do with the pictures.

        Args:
            threshold: on the IoU.

        Returns:
            The mean over the draws; None without draws.
        """
        found = self.chance_scores
        return None if found is None else float((found > threshold).sum(1).mean())

    def query(
        self,
        concept: str | None = None,
        *,
        category: str | None = None,
        minimum: float = THRESHOLD,
        unit: int | None = None,
        inclusive: bool = False,
    ) -> list[Detection]:
        """All pairs of a unit and a concept above an IoU; pairs that never meet are left out.

        Of a table that is not ``complete`` only the concepts it knows are found.

        Args:
            concept: name or synonym, in any case; one that several categories have is asked in all of them unless ``category``
                is given.
            category: of the concept.
            minimum: IoU to exceed.
            unit: only this one.
            inclusive: an IoU equal to ``minimum`` counts.

        Returns:
            Detections, the highest first.

        Raises:
            KeyError: an unknown concept or category; close names are given.
            IndexError: a unit that the layer does not have.
        """
        wanted = self._wanted(concept, category)
        rows = np.arange(len(self))
        if unit is not None:
            self.detection(unit)
            rows = np.array([unit])
        inner = self.iou[np.ix_(rows, wanted)]
        above = (inner >= minimum if inclusive else inner > minimum) & (inner > 0)
        pairs = np.argwhere(above)
        order = np.argsort(-inner[above], kind="stable")
        return [self.detection(int(rows[row]), int(wanted[column])) for row, column in pairs[order]]

    def filter(
        self,
        concept: str | None = None,
        *,
        category: str | None = None,
        minimum: float = THRESHOLD,
        held_out: float | None = None,
        inclusive: bool = False,
    ) -> list[int]:
        """The units whose label is a concept, or of a category, in their order.

        Args:
            concept: name or synonym, in any case.
            category: of the concept.
            minimum: IoU to exceed.
            held_out: only units whose honest score is above it too.
            inclusive: an IoU equal to a bound counts.

        Returns:
            Indices of the layer's units, which hold for the table, activations and reports alike.

        Raises:
            KeyError: an unknown concept or category; close names are given.
            ValueError: ``held_out`` where nothing was held out.
        """
        chosen = np.isin(self.label, self._wanted(concept, category))
        chosen &= self.detectors(minimum, inclusive=inclusive)
        if held_out is not None:
            scores = self.held_out_scores
            if scores is None:
                raise ValueError(
                    f"Expected a table with a held-out part, got one of `{self.layer}` without; try without `held_out`."
                )
            chosen &= scores >= held_out if inclusive else scores > held_out
        return [int(unit) for unit in np.flatnonzero(chosen)]

    def _wanted(self, concept: str | None, category: str | None) -> Whole:
        """Places of the concepts that are asked for."""
        if concept is not None:
            return np.array(places_of(self.concepts, concept, category), np.int64)
        if category is not None and category not in self.categories:
            raise UnknownNameError(
                f"Expected a category, got `{category}`; {suggest(category, self.categories)}"
            )
        return np.flatnonzero([category in (None, known.category) for known in self.concepts]).astype(
            np.int64
        )

    @cached_property
    def _fit_label(self) -> Whole:
        assert self.held_out is not None
        return np.asarray(self.held_out.fit.iou(self.category_of).argmax(1), np.int64)

    @cached_property
    def _held_iou(self) -> Real:
        assert self.held_out is not None
        return self.held_out.held.iou(self.category_of)

    def _interval(self, unit: int, concept: int) -> tuple[float, float] | None:
        if self.ranking is None or self.interval is None:
            return None
        at = np.flatnonzero(self.ranking[unit] == concept)
        if not len(at):
            return None
        low, high = self.interval[unit, int(at[0])]
        return (float(low), float(high)) if low < high else None  # drawn from one picture it has no width
