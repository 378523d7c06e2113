"""Layer-wise relevance propagation over the real graph of any network: rules, composites, one walk for all
layers."""

from pellucid.relevance.composites import COMPOSITES, Composite
from pellucid.relevance.rules import AlphaBeta, Epsilon, Flat, Gamma, Rule, WSquare, ZBox, ZPlus
from pellucid.relevance.seeds import SEEDS
from pellucid.relevance.walk import Conservation, Relevances, propagate, relevances_of

__all__ = [
    "COMPOSITES",
    "SEEDS",
    "AlphaBeta",
    "Composite",
    "Conservation",
    "Epsilon",
    "Flat",
    "Gamma",
    "Relevances",
    "Rule",
    "WSquare",
    "ZBox",
    "ZPlus",
    "propagate",
    "relevances_of",
]
