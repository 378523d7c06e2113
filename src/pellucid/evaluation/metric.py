"""What every metric is: parameters in a frozen dataclass, a case goes in, a measurement comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.attribution.method import Method
from pellucid.core.network import Network
from pellucid.core.results import Heatmap
from pellucid.core.target import Target
from pellucid.evaluation.measurement import Measurement

Needs = Literal["maps", "masks", "method", "scenes"]


@dataclass(frozen=True, eq=False)
class Case:
    """Maps of one layer for a batch of images, and what is known about the images.

    ``images``: normalized, on the network's device. ``saliency``: the maps at input size, float, on the same
    device; NaN in a map makes its image undefined, never the others. ``heatmap``: the maps on their own grid, None
    where bare tensors were given. ``masks``: the object or part, at input size. ``method``: what made the maps, where it
    is known. ``scenes``: scenes or renderings of the concept world.
    """

    net: Network
    images: Float[Tensor, "batch channel height width"]
    target: Target
    saliency: Float[Tensor, "batch height width"]
    heatmap: Heatmap | None = None
    masks: Bool[Tensor, "batch height width"] | None = None
    method: Method | None = None
    scenes: Sequence[Any] | None = None
    batch_size: int = 64
    seed: int = 0
    progress: bool | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Metric(ABC):
    """Base of all metrics.

    ``needs``: what a case must bring beside network, images and maps. ``better``: quantity → whether higher or lower
    speaks for the map; the first is the one that is compared and plotted.
    """

    name: ClassVar[str] = ""
    paper: ClassVar[str | None] = None
    needs: ClassVar[Needs] = "maps"
    better: ClassVar[Mapping[str, Literal["higher", "lower"]]] = {}

    @abstractmethod
    def __call__(self, case: Case) -> Measurement:
        """Measure every image of the case."""


def orders(saliency: Float[Tensor, "*maps pixels"]) -> Bool[Tensor, "*maps"]:
    """Whether a map is finite and tells pixels apart; what is equal within rounding is constant."""
    low, high = saliency.aminmax(dim=-1)
    slack = 8 * torch.finfo(saliency.dtype).eps * torch.maximum(low.abs(), high.abs())
    return torch.isfinite(low) & torch.isfinite(high) & (high - low > slack)


def undefined(
    case: Case, values: Mapping[str, Float[Tensor, " batch"]] | None = None
) -> tuple[str | None, ...]:
    """Why an image has no value, None where it has: a map that is not finite or orders nothing.

    Where ``values`` holds a NaN all the same, the network's output was not finite.
    """
    found: list[str | None] = []
    flat = case.saliency.flatten(1)
    whole, ordered = flat.isfinite().all(1).tolist(), orders(flat).tolist()
    broken = torch.stack(list(values.values())).isnan().any(0).tolist() if values else [False] * len(case)
    for finite, usable, lost in zip(whole, ordered, broken, strict=True):
        if not finite:
            found.append("the map is not finite")
        elif not usable:
            found.append("constant map: it orders nothing")
        else:
            found.append("the network's output is not finite" if lost else None)
    return tuple(found)
