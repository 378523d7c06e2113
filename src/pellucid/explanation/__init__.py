"""From maps, neurons and probabilities to one honest sentence: `explain`, and the `Explanation` it gives."""

from pellucid.explanation.explaining import explain
from pellucid.explanation.explanation import Clause, Explanation

__all__ = ["Clause", "Explanation", "explain"]
