"""How sure a word is: the probability that it is right, from the distribution over the classes that the region gives.

    P(right) = σ( w · (1, logit m, ln n, logit p, ln a) )

with m the probability of the word (of all classes below it), n how many classes those are, p that of the most probable class and
a the region's share of the picture. One form and one set of constants for all networks, fitted by logistic regression on labeled
regions of photographs (``studies/words.py``, tuning half; right: WordNet puts the word under the label, or the label under the
word). Networks that no labeled photographs speak for get the same, less `MARGIN`: by how much the mean confidence of a network
that was left out of the fit exceeded its share of right words, at worst.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)  # of the probability; a word is sought that holds so much
SAID = 0.75  # confidence from which on a word is said


@dataclass(frozen=True)
class Calibration:
    """Constants of the form above, and what is taken off for networks without labeled photographs."""

    bias: float
    mass: float
    count: float
    top: float
    area: float
    margin: float = 0.0

    def __call__(self, mass: float, count: int, top: float, area: float) -> float:
        """The probability that a word is right.

        Args:
            mass: Probability of the classes below the word.
            count: How many those are; 1 for a class.
            top: Probability of the most probable class.
            area: Share of the picture that the region covers.
        """
        value = (
            self.bias
            + self.mass * logit(mass)
            + self.count * math.log(max(count, 1))
            + self.top * logit(top)
            + self.area * math.log(min(max(area, 1e-3), 1.0))
        )
        return max(1 / (1 + math.exp(-value)) - self.margin, 0.0)


def logit(probability: float) -> float:
    """Log odds, cut off where a ten-thousandth is left.

    >>> logit(0.5), round(logit(1.0), 2)
    (0.0, 9.21)
    """
    clipped = min(max(probability, 1e-4), 1 - 1e-4)
    return math.log(clipped / (1 - clipped))


# fitted by `studies/words.py` on the tuning half of MSRC's object regions of at least 4 % of the picture
FITTED = Calibration(bias=0.5120, mass=0.4913, count=-0.0551, top=-0.1846, area=0.5187)
MARGIN = 0.11
CAUTIOUS = Calibration(FITTED.bias, FITTED.mass, FITTED.count, FITTED.top, FITTED.area, MARGIN)
