"""Which units mattered: a score per unit and image, by any registered criterion; and where those units speak.

`neurons` (in `scoring`) is the frame around the criteria, which are in the other files of this package.
"""

from __future__ import annotations

from pellucid.units.classes import ClassScores, class_importance
from pellucid.units.classes import load as load_class_scores
from pellucid.units.criterion import Criterion
from pellucid.units.regions import Region, importance_map, unit_regions
from pellucid.units.scoring import class_scores, neurons

__all__ = [
    "ClassScores",
    "Criterion",
    "Region",
    "class_importance",
    "class_scores",
    "importance_map",
    "load_class_scores",
    "neurons",
    "unit_regions",
]
