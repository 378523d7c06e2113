"""From maps, neurons and probabilities to one honest sentence: `explain`, and the `Explanation` it gives."""

from pellucid.semantics.builder import explain
from pellucid.semantics.explanation import Clause, Explanation

__all__ = ["Clause", "Explanation", "explain"]
