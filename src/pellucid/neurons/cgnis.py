"""CGNIS, Lü et al. 2023: units important for a class, from the forward and the backward pass together.

Public is the abstract only ("forward and backward propagation"); this is a declared reconstruction with three
arms:

* product (default): ``S_k = f_k / max f · b_k / max b`` with ``f_k = mean_ij ReLU(A_k)`` and ``b_k = mean_ij
  ReLU(g_k)``;
* elementwise: ``S_k = Σ_ij ReLU(A_k g_k)``, where both must meet at the same position;
* backpropagated: ``S_k = f_k / max f · n_k / max n``, n_k the importance carried back from the output by
  absolute weights (see `pellucid.neurons.importance`), the same for every image of a class.

Maxima are per image, so scores of one image do not depend on its batch. The score of a class is the mean over
its images (`class_scores`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.neurons.criterion import Criterion
from pellucid.neurons.importance import propagated_importance
from pellucid.reading import activation, gradient
from pellucid.registry import register, suggest
from pellucid.types import Trace

ARMS = ("product", "elementwise", "backpropagated")


@register("neurons", "cgnis", paper="lu2023")
@dataclass(frozen=True)
class CGNIS(Criterion):
    """CGNIS: active in the image and important for the class.

    Scores lie in [0, 1] per image, but for the elementwise arm, which is in units of the score.
    """

    arm: Literal["product", "elementwise", "backpropagated"] = "product"

    def __post_init__(self) -> None:
        if self.arm not in ARMS:
            raise ValueError(
                f"Expected `arm` to be one of {', '.join(ARMS)}, got `{self.arm}`; {suggest(self.arm, ARMS)}"
            )

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch unit"]:
        """Scores by the chosen arm."""
        A = activation(trace, layer)
        if self.arm == "elementwise":
            return (A * gradient(trace, layer)).relu().sum((2, 3))
        backward = (
            gradient(trace, layer).relu().mean((2, 3))
            if self.arm == "product"
            else propagated_importance(trace, layer).to(A)
        )
        return _to_one(A.relu().mean((2, 3))) * _to_one(backward)


def _to_one(values: Float[Tensor, "batch unit"]) -> Float[Tensor, "batch unit"]:
    peak = values.amax(1, keepdim=True)
    return values / torch.where(peak > 0, peak, 1)
