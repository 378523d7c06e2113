"""What a network can still do without some of its units: accuracy while the units of an order are deleted one after another.

Deleted units hold zero, or the ``reference`` (one number per unit). Activations are captured once; every point of a curve
costs one run of what lies behind the layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.core.network import Network
from pellucid.core.precision import exact
from pellucid.core.results import UnitScores
from pellucid.core.tail import Tail
from pellucid.data.batches import as_batch, as_layer
from pellucid.units.absence import absent


def correct_without(
    net: Network,
    images: Any,
    labels: Sequence[str | int],
    order: Sequence[int] | UnitScores | Tensor,
    counts: Iterable[int],
    layer: str | None = None,
    *,
    reference: Sequence[float] = (),
    batch_size: int = 32,
    normalized: bool | None = None,
) -> Bool[Tensor, "count batch"]:
    """Is every image still recognized when the first n units of ``order`` are deleted, for every n of ``counts``?

    ``order``: units, most important first. Raises ValueError for more units than the order has, or another number of
    labels than of images; IndexError for units the layer does not have.
    """
    batch = as_batch(net, images, normalized)
    place = as_layer(net, batch, layer)
    listed = _listed(order)
    steps = [int(n) for n in counts]
    if any(not 0 <= n <= len(listed) for n in steps):
        raise ValueError(f"Expected `counts` from 0 to the {len(listed)} units of `order`, got {max(steps)}.")
    truth = [net.class_index(label) for label in labels]
    if len(truth) != len(batch):
        raise ValueError(f"Expected one label for each of {len(batch)} images, got {len(truth)}.")
    found = []
    with torch.no_grad():
        for first in range(0, len(batch), batch_size):
            tail = Tail(net, batch[first : first + batch_size], place.name)
            left = absent(tail.activation, reference)
            outputs = tail.without([listed[:n] for n in steps], left, at_once=batch_size)
            found.append(torch.stack([net.probabilities(each).argmax(1) for each in outputs]).cpu())
    return torch.cat(found, 1) == torch.tensor(truth)


def selectivity(
    own: Float[Tensor, " count"], others: Float[Tensor, " count"], shares: Sequence[float]
) -> tuple[Float[Tensor, " count"], float]:
    """Own drop less the others' drop, and the mean of it over the deleted share (the area under the curve by trapezoids,
    divided by its width).

    ``own`` and ``others`` are accuracies at the deleted ``shares`` (rising, the first one 0).
    """
    x = torch.as_tensor(shares, dtype=torch.float64)
    if len(x) < 2 or float(x[0]) != 0 or bool((x.diff() <= 0).any()):
        raise ValueError(f"Expected rising `shares` from 0, at least two, got {list(shares)}.")
    drop = (own[0] - own) - (others[0] - others)
    return drop, float(torch.trapezoid(exact(drop), x) / (x[-1] - x[0]))


def _listed(order: Sequence[int] | UnitScores | Tensor) -> Int[Tensor, " unit"]:
    if isinstance(order, UnitScores):
        if len(order.values) != 1:
            raise ValueError(
                f"Expected the scores of one class or image, got {len(order.values)}; try `scores.top(n, row)`."
            )
        return torch.sort(exact(order.values[0]), descending=True, stable=True).indices
    return torch.as_tensor(order, dtype=torch.long).reshape(-1)
