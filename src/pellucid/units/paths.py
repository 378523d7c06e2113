"""Gradients gathered on a way from absence to presence: they see past saturation, where the gradient at the end is
silent.

* integrated-gradients: ``S_k = Σ_ij (A − r)_k ∫₀¹ g_k(r + t (A − r)) dt``, the straight way in the layer's own space from
  the ``reference`` (zero) to the activation (Sundararajan et al. 2017 at an inner layer; the internal influence of Leino
  et al. 2018 times activation). ``Σ_k S_k = f(A) − f(r)``. Midpoint rule.
* conductance: ``S_k = Σ_ij ∫ g_k(A(x_t)) dA_k(x_t)`` along ``x_t = x′ + t (x − x′)``, the straight way of *images* from
  ``baseline`` to the image, which bends in the layer (Dhamdhere et al. 2018). ``Σ_k S_k = f(x) − f(x′)`` where nothing goes
  past the layer. Trapezoid rule: the mean gradient of both ends of a step times the step the activation really takes;
  captum's LayerConductance takes the gradient of the first end. Along the layer's own straight way conductance is
  integrated gradients.

Cost: ``steps`` forward and backward passes, of the tail and of the network (one more).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import Trace, capture
from pellucid.core.reading import groups, precise, tail_gradient
from pellucid.core.registry import register
from pellucid.core.tail import Tail
from pellucid.units.absence import absent
from pellucid.units.criterion import Criterion, Needs


@dataclass(frozen=True)
class Path(Criterion):
    """Base of both: how many ``steps`` the way is cut into."""

    needs: ClassVar[Needs] = "passes"
    steps: int = 16

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"Expected at least 1 of `steps`, got {self.steps}; try 16.")


@register("neurons", "integrated-gradients", paper="sundararajan2017")
@dataclass(frozen=True)
class IntegratedGradients(Path):
    """Integrated gradients: the unit's part in the score, gathered while all units fade in together."""

    reference: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "reference", tuple(self.reference))

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch unit"]:
        """``Σ_ij (A − r)_k · mean_t g_k``."""
        tail = Tail(trace.network, trace.images, layer)
        start, end = absent(tail.activation, self.reference), precise(tail.activation)
        total = torch.zeros_like(end)
        for group in groups(self.steps, len(trace)):
            points = torch.cat([start + (n + 0.5) / self.steps * (end - start) for n in group])
            found = tail_gradient(tail, points.to(tail.activation), trace.target.repeat(len(group)))
            total += found.reshape(len(group), *end.shape).sum(0)
        return ((end - start) * total).sum((2, 3)) / self.steps


@register("neurons", "conductance", paper="dhamdhere2018")
@dataclass(frozen=True)
class Conductance(Path):
    """Conductance: the unit's part in how the score builds up while the image fades in.

    ``baseline``: the image it fades in from, a number in normalized units; 0 is the mean color of the preprocessing.
    """

    baseline: float = 0.0

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch unit"]:
        """``Σ_ij Σ_steps ½ (g_k + g_k′) (A_k′ − A_k)``."""
        end = precise(trace.images)
        start = torch.full_like(end, self.baseline)
        before: tuple[Tensor, Tensor] | None = None
        total: Tensor | None = None
        for group in groups(self.steps + 1, len(trace)):
            images = torch.cat([torch.lerp(start, end, n / self.steps) for n in group])
            found = capture(trace.network, images.to(trace.images), [layer], trace.target.repeat(len(group)))
            here = (precise(each[layer]).chunk(len(group)) for each in (found.activations, found.gradients))
            for A, g in zip(*here, strict=True):
                if before is not None:
                    part = ((g + before[1]) / 2 * (A - before[0])).sum((2, 3))
                    total = part if total is None else total + part
                before = A, g
        assert total is not None
        return total
