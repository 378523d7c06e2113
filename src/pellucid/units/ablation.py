"""True ablation: what the target loses when one unit is taken away, one run of the tail per unit.

``S_k = f(A) − f(A with A_k = r_k)``, f the target's score or its probability, r zero or the ``reference``.
Morcos et al. 2018 ablate single units (of the whole test set at once); here every image has its own effect.

Cost: one forward pass and, for every unit, one run of what lies behind the layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import Trace
from pellucid.core.network import Network
from pellucid.core.reading import precise
from pellucid.core.registry import register, suggest
from pellucid.core.tail import Tail
from pellucid.core.target import Target
from pellucid.units.absence import absent
from pellucid.units.criterion import Criterion, Needs

EFFECTS = ("score", "probability")


@dataclass(frozen=True)
class Removal(Criterion):
    """Base of the criteria that take units away: the measured ``effect``, and the ``reference`` that is left."""

    needs: ClassVar[Needs] = "passes"
    effect: Literal["score", "probability"] = "score"
    reference: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.effect not in EFFECTS:
            raise ValueError(
                f"Expected `effect` to be score or probability, got `{self.effect}`; {suggest(self.effect, EFFECTS)}"
            )
        object.__setattr__(self, "reference", tuple(self.reference))  # a list, when it comes from JSON

    def measured(self, net: Network, output: Float[Tensor, "rows classes"], target: Target) -> Tensor:
        """Score or probability of the target, [rows], in float32 or float64."""
        return effect_of(net, precise(output), target, self.effect)


def effect_of(net: Network, output: Tensor, target: Target, effect: str) -> Float[Tensor, " rows"]:
    """The target's score, or its probability; a function's value is what it is."""
    if effect == "score" or target.indices is None or net.head == "probabilities":
        return target.score(output)
    plain = Target(target.indices, target.names, target.signs)
    if net.head == "softmax" and output.shape[1] > 1:
        return plain.score(output.softmax(1))
    return plain.score(output).sigmoid()


@register("neurons", "ablation", paper="morcos2018")
@dataclass(frozen=True)
class Ablation(Removal):
    """Ablation: what the target truly loses when the unit alone is set to its reference; below zero, what it gains."""

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch unit"]:
        """``f(A) − f(A without k)`` for every unit."""
        tail = Tail(trace.network, trace.images, layer)
        reference, units = absent(tail.activation, self.reference), tail.activation.shape[1]
        outputs = tail.without([[], *([unit] for unit in range(units))], reference)
        target = trace.target.repeat(len(outputs))
        values = self.measured(trace.network, outputs.flatten(0, 1), target).view(len(outputs), len(trace))
        return (values[0] - values[1:]).T.contiguous()
