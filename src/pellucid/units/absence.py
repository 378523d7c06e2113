"""What a unit holds when it is taken away: zero, or a value of its own, as its mean over a data set.

A criterion that takes units away has a parameter ``reference``: one number per unit, or nothing for zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.reading import precise


def absent(
    activation: Float[Tensor, "batch unit h w"], reference: Sequence[float]
) -> Float[Tensor, "1 unit 1 1"]:
    """Value of every unit when it is away, in the activation's precision (half precision in float32).

    Raises ValueError unless ``reference`` is empty or holds a finite number for every unit.
    """
    units = activation.shape[1]
    values = torch.tensor(tuple(reference) or (0.0,) * units, dtype=torch.float64)
    if len(values) != units or not bool(values.isfinite().all()):
        bad = "" if len(values) != units else " of which some are not finite"
        raise ValueError(
            f"Expected `reference` to hold one finite number for each of {units} units, or nothing for zero, "
            f"got {len(values)}{bad}."
        )
    return values.to(precise(activation))[None, :, None, None]
