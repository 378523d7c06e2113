"""What is counted when a layer is dissected, and the IoU it gives.

    IoU[k, c] = I[k, c] / (A[k, cat(c)] + G[c] - I[k, c])

I: pixels that are in unit k's mask and of concept c. A: pixels of the mask in pictures where some concept of c's
category occurs. G: pixels of the concept. All are whole numbers, so that sums over pictures are exact in any order.
Source: Bau, Zhou, Khosla, Oliva, Torralba, CVPR 2017. Where a concept is named by two maps at one pixel we count the pixel
once (the released code counts it twice, and its intersections may then exceed the mask).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Counts:
    """Pixels counted over some pictures: ``intersection`` [unit concept], ``activation`` [unit category], ``truth`` [concept]."""

    intersection: Whole
    activation: Whole
    truth: Whole

    @classmethod
    def zeros(cls, units: int, concepts: int, categories: int) -> Counts:
        """Nothing counted yet."""
        return cls(
            np.zeros((units, concepts), np.int64),
            np.zeros((units, categories), np.int64),
            np.zeros(concepts, np.int64),
        )

    def __add__(self, other: Counts) -> Counts:
        """The counts over the pictures of both. Raises ValueError for other units, concepts or categories."""
        mine, theirs = self.intersection.shape, other.intersection.shape
        if mine != theirs or self.activation.shape != other.activation.shape:
            raise ValueError(
                f"Expected counts of the same units and concepts, got {mine[0]} × {mine[1]} and {theirs[0]} × {theirs[1]}."
            )
        return Counts(
            self.intersection + other.intersection,
            self.activation + other.activation,
            self.truth + other.truth,
        )

    def iou(self, category: Sequence[int] | npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """[unit concept]; ``category``: of every concept, its place among the categories. Nothing over nothing is 0."""
        union = self.activation[:, np.asarray(category, np.int64)] + self.truth - self.intersection
        return np.asarray(np.divide(self.intersection, union, out=np.zeros(union.shape), where=union > 0))

    def check(self, category: Sequence[int] | npt.NDArray[np.integer]) -> None:
        """The invariants of a count. Raises ArithmeticError that names the unit and concept where one is broken."""
        if (self.intersection < 0).any():
            unit, concept = map(int, np.argwhere(self.intersection < 0)[0])
            raise ArithmeticError(
                f"Expected counts of at least 0, got the intersection {self.intersection[unit, concept]} for unit {unit} "
                f"and concept {concept}."
            )
        limits = {
            "the mask's pixels": self.activation[:, np.asarray(category, np.int64)],
            "the concept's pixels": np.broadcast_to(self.truth, self.intersection.shape),
        }
        for what, limit in limits.items():
            broken = self.intersection > limit
            if broken.any():
                unit, concept = map(int, np.argwhere(broken)[0])
                raise ArithmeticError(
                    f"Expected an intersection of at most {what}, got {self.intersection[unit, concept]} > "
                    f"{limit[unit, concept]} for unit {unit} and concept {concept}."
                )
