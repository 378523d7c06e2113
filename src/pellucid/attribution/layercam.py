"""LayerCAM, Jiang et al. 2021: M = Σ_k ReLU(g_k) ⊙ A_k, good at shallow stages; and the paper's fusion of
several stages.

Fusion brings each stage's ReLU(M) to [0, 1] by its maximum, lifts the faint shallow stages by tanh(γ · M /
max M) with γ = 2, and takes the largest value at every pixel. The paper lifts the first three of VGG-16's
five stages: all but the last two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.method import Method
from pellucid.core.capture import Trace
from pellucid.core.reading import activation, gradient
from pellucid.core.registry import register
from pellucid.core.results import Heatmap


@register("attribution", "layercam", paper="jiang2021")
@dataclass(frozen=True)
class LayerCAM(Method):
    """LayerCAM: activations weighted, position by position, by their positive gradient."""

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``Σ_k ReLU(g_k) A_k``."""
        return (gradient(trace, layer).relu() * activation(trace, layer)).sum(1)


def fuse(
    maps: Mapping[str, Heatmap] | Iterable[Heatmap],
    size: tuple[int, int] | None = None,
    *,
    shallow: int | None = None,
    gamma: float = 2.0,
) -> Float[Tensor, "batch height width"]:
    """One map in [0, 1] at input size (or ``size``) out of the maps of several layers of the same images.

    ``shallow`` is how many of the first layers, in the network's order, are lifted by tanh; all but two when
    not given. Raises ValueError for no maps or maps of different images.
    """
    ordered = sorted(maps.values() if isinstance(maps, Mapping) else maps, key=lambda each: each.layer.index)
    if not ordered or len({(len(each), each.input_size) for each in ordered}) > 1:
        got = [(each.layer.name, len(each), each.input_size) for each in ordered]
        raise ValueError(
            f"Expected heatmaps of the same images at one or more layers, got {got}; try `attribute(...)`."
        )
    lifted = max(0, len(ordered) - 2) if shallow is None else shallow
    scaled = []
    for place, heatmap in enumerate(ordered):
        map_ = torch.nan_to_num(heatmap.upsample(size)).relu()
        peak = map_.amax((1, 2), keepdim=True)
        map_ = map_ / torch.where(peak > 0, peak, 1)
        scaled.append(torch.tanh(gamma * map_) if place < lifted else map_)
    return torch.stack(scaled).amax(0)
