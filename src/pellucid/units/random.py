"""Scores by chance: what any ranking has to beat, and the control of every deletion (Morcos et al. 2018 ablate units in random
order)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import Trace
from pellucid.core.reading import activation
from pellucid.core.registry import register
from pellucid.units.criterion import Criterion, Needs


@register("neurons", "random", paper="morcos2018")
@dataclass(frozen=True)
class Random(Criterion):
    """Random: uniform numbers in [0, 1) that depend on the seed alone, the same for every image and target."""

    needs: ClassVar[Needs] = "activation"
    targeted: ClassVar[bool] = False
    seed: int = 0

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch unit"]:
        """One draw per unit."""
        A = activation(trace, layer)
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.rand(A.shape[1], generator=generator, dtype=torch.float64)
        return drawn.to(A).expand(len(A), -1).clone()
