"""CGNIS, Lü et al. 2023: units important for a class, from the forward and the backward pass together.

Public is the abstract only ("forward and backward propagation"); this is a declared reconstruction with four
arms:

* product (default): ``S_k = f_k / max f · b_k / max b`` with ``f_k = mean_ij ReLU(A_k)`` and ``b_k = mean_ij
  ReLU(g_k)``;
* elementwise: ``S_k = Σ_ij ReLU(A_k g_k)``, where both must meet at the same position;
* backpropagated: ``S_k = f_k / max f · n_k / max n``, n_k the importance carried back from the output by
  absolute weights (see `pellucid.units.importance`), the same for every image of a class;
* signed: ``S_k = Σ_ij A_k g_k``, the elementwise arm without its rectifier, so that what speaks against the class is kept.

Two further choices of this reconstruction, both about *for this class rather than for another*:

* ``against``: the backward pass starts from the class's score ("nothing"), from its log-odds against all other
  classes ("rest") or from its lead over the strongest of them ("strongest"), see `pellucid.units.rivals`;
  the backpropagated arm then starts from the absolute weights of that;
* the score of a class is the mean over its images (`class_importance`), less ``others`` times the mean over the
  other classes: what every class needs is nobody's own. ``studies/neuron_deletion.py`` measures what that is worth.

Maxima are per image, so scores of one image do not depend on its batch. Cost: one forward and one backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import Trace
from pellucid.core.network import Network, TargetLike
from pellucid.core.reading import activation, gradient
from pellucid.core.registry import register, suggest
from pellucid.units.criterion import Criterion
from pellucid.units.importance import propagated_importance
from pellucid.units.rivals import AGAINST, against_rivals

ARMS = ("product", "elementwise", "backpropagated", "signed")


@register("neurons", "cgnis", paper="lu2023")
@dataclass(frozen=True)
class CGNIS(Criterion):
    """CGNIS: active in the image and important for the class.

    Scores lie in [0, 1] per image, but for the elementwise and the signed arm, which are in units of the score.
    """

    arm: Literal["product", "elementwise", "backpropagated", "signed"] = "product"
    against: Literal["nothing", "rest", "strongest"] = "nothing"

    def __post_init__(self) -> None:
        for name, value, known in (("arm", self.arm, ARMS), ("against", self.against, AGAINST)):
            if value not in known:
                raise ValueError(
                    f"Expected `{name}` to be one of {', '.join(known)}, got `{value}`; {suggest(value, known)}"
                )

    def explained(
        self, net: Network, images: Float[Tensor, "batch channel h w"], target: TargetLike
    ) -> TargetLike:
        """The target, or the target against its rivals."""
        return target if self.against == "nothing" else against_rivals(net, images, target, self.against)

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch unit"]:
        """Scores by the chosen arm."""
        A = activation(trace, layer)
        if self.arm in ("elementwise", "signed"):
            both = A * gradient(trace, layer)
            return (both.relu() if self.arm == "elementwise" else both).sum((2, 3))
        backward = (
            gradient(trace, layer).relu().mean((2, 3))
            if self.arm == "product"
            else propagated_importance(trace, layer).to(A)
        )
        return _to_one(A.relu().mean((2, 3))) * _to_one(backward)


def _to_one(values: Float[Tensor, "batch unit"]) -> Float[Tensor, "batch unit"]:
    peak = values.amax(1, keepdim=True)
    return values / torch.where(peak > 0, peak, 1)
