"""Words: what a network saw, in its own vocabulary; the regions its maps point at; what they are worth.

words = vocabulary(net)                               classes in plain words, nouns above them, calibration
read = cells(net, trace)                              exact class scores of every cell (no further pass)
found = regions(heatmaps, image[0])                   one to three connected regions, best evidence per cell first
names = name_regions(net, read, masks, words=words)   `Naming(words, kind, confidence, broader, alternatives, exact)`
losses = effects(net, image, masks)                   what filling each of them costs every class
"""

from __future__ import annotations

from pellucid.naming.calibration import SAID, Calibration
from pellucid.naming.cells import Cells, cells, last_layer, masses
from pellucid.naming.effects import Effects, effects, pictures_without
from pellucid.naming.given import GivenNames, concept_key, given_names, unit_key
from pellucid.naming.hierarchy import (
    Hierarchy,
    Noun,
    hierarchy_for,
    imagenet_hierarchy,
    read_hierarchy,
)
from pellucid.naming.naming import (
    Alternative,
    Naming,
    Vocabulary,
    name_direction,
    name_region,
    name_regions,
    name_units,
    vocabulary,
)
from pellucid.naming.regions import Region, class_regions, evidence_regions, regions

__all__ = [
    "SAID",
    "Alternative",
    "Calibration",
    "Cells",
    "Effects",
    "GivenNames",
    "Hierarchy",
    "Naming",
    "Noun",
    "Region",
    "Vocabulary",
    "cells",
    "class_regions",
    "concept_key",
    "effects",
    "evidence_regions",
    "given_names",
    "hierarchy_for",
    "imagenet_hierarchy",
    "last_layer",
    "masses",
    "name_direction",
    "name_region",
    "name_regions",
    "name_units",
    "pictures_without",
    "read_hierarchy",
    "regions",
    "unit_key",
    "vocabulary",
]
