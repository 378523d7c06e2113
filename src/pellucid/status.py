"""Says of every map whether it can be read, so that a constant, negative or broken map is never shown as if
it spoke."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.types import Heatmap, Layer


def judged(
    values: Float[Tensor, "batch h w"],
    layer: Layer,
    method: str,
    input_size: tuple[int, int],
    target: tuple[str, ...],
    *,
    rectified: bool = False,
    notes: tuple[str, ...] = (),
) -> Heatmap:
    """A heatmap of raw maps with the status of each, judged before the final ReLU (``rectified``)."""
    status = tuple(_status(each) for each in values)
    return Heatmap(values.relu() if rectified else values, layer, method, input_size, status, target, notes)


def _status(values: Float[Tensor, "h w"]) -> str:
    """What is equal within rounding counts as constant."""
    low, high = values.aminmax()
    least, most = float(low), float(high)
    if not (math.isfinite(least) and math.isfinite(most)):
        return "not finite"
    if least == most == 0:
        return "zero"
    if most <= 0:
        return "negative"
    return "constant" if most - least <= 8 * torch.finfo(values.dtype).eps * most else "ok"
