"""Patterns: channels of a layer that are active together in images of one class, and seldom in others."""

from pellucid.units.patterns.mining import patterns as mine
from pellucid.units.patterns.overlay import overlay as overlay
from pellucid.units.patterns.overlay import region as region
from pellucid.units.patterns.overlay import region_box as region_box
from pellucid.units.patterns.patterns import Occurrence as Occurrence
from pellucid.units.patterns.patterns import Pattern as Pattern
from pellucid.units.patterns.patterns import Patterns as Patterns
from pellucid.units.patterns.patterns import Summary as Summary
from pellucid.units.patterns.patterns import load_patterns as load_patterns
from pellucid.units.patterns.settings import Mining as Mining
from pellucid.units.patterns.shares import Shares as Shares
from pellucid.units.patterns.shares import wilson as wilson

__all__ = [
    "Mining",
    "Occurrence",
    "Pattern",
    "Patterns",
    "Shares",
    "Summary",
    "load_patterns",
    "mine",
    "overlay",
    "region",
    "region_box",
    "wilson",
]
