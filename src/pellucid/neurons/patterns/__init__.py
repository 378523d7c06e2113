"""Patterns: channels of a layer that are active together in images of one class, and seldom in others."""

from pellucid.neurons.patterns.mining import mine as mine
from pellucid.neurons.patterns.overlay import overlay as overlay
from pellucid.neurons.patterns.overlay import region as region
from pellucid.neurons.patterns.overlay import region_box as region_box
from pellucid.neurons.patterns.patterns import Occurrence as Occurrence
from pellucid.neurons.patterns.patterns import Pattern as Pattern
from pellucid.neurons.patterns.patterns import Patterns as Patterns
from pellucid.neurons.patterns.patterns import Summary as Summary
from pellucid.neurons.patterns.patterns import load_patterns as load_patterns
from pellucid.neurons.patterns.settings import Mining as Mining
from pellucid.neurons.patterns.shares import Shares as Shares
from pellucid.neurons.patterns.shares import wilson as wilson

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
