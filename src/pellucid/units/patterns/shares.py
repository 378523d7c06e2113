"""How often a pattern is found: in the class and in the rest, with an interval.

The interval is Wilson's (1927), which stays within [0, 1] and holds for shares of 0 and 1:
``(p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)`` with z = 1.96 for 95 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_Z = 1.959963984540054


def wilson(count: float, total: int) -> tuple[float, float]:
    """95 % interval of a share; (0, 1) of nothing. The count may be a fraction where lots are drawn."""
    if total == 0:
        return 0.0, 1.0
    share, square = count / total, _Z * _Z / total
    middle = (share + square / 2) / (1 + square)
    half = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    low = 0.0 if count == 0 else max(0.0, middle - half)
    return low, 1.0 if count == total else min(1.0, middle + half)


@dataclass(frozen=True)
class Shares:
    """``own`` of ``own_images`` of the class have the pattern, and ``rest`` of ``rest_images`` of all others."""

    own: int
    own_images: int
    rest: int
    rest_images: int

    @property
    def possible(self) -> bool:
        """Whether no more images have the pattern than there are."""
        return 0 <= self.own <= self.own_images and 0 <= self.rest <= self.rest_images

    @property
    def share(self) -> float:
        """Of the class's images; NaN where there are none."""
        return self.own / self.own_images if self.own_images else math.nan

    @property
    def rest_share(self) -> float:
        """Of all other images; NaN where there are none."""
        return self.rest / self.rest_images if self.rest_images else math.nan

    @property
    def confidence(self) -> float:
        """Share of the class among the images that have the pattern; NaN where none has it."""
        found = self.own + self.rest
        return self.own / found if found else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, of the share of the class's images."""
        return wilson(self.own, self.own_images)

    @property
    def rest_interval(self) -> tuple[float, float]:
        """Wilson's, of the share of all other images."""
        return wilson(self.rest, self.rest_images)
