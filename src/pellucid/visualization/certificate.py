"""Whether a painted picture excites its objective more than any real image does.

``ratio = achieved / best real``, both of pictures of 8 bits without transforms, through the network's ordinary preprocessing.
For a unit also the ratio of peaks, of the largest activation at any position: a mean can be raised by filling the picture,
a peak cannot. Where the best real value is not positive a ratio says nothing; it is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from pellucid.core.network import Network
from pellucid.data.tensors import to_bytes
from pellucid.visualization.objective import Objective, Reading, evaluate
from pellucid.visualization.problem import cut_for, single_unit
from pellucid.zoo.embedded import ScenesResNet, ScenesVGG

SCENES = 200
_BATCH = 32


@dataclass(frozen=True)
class Certificate:
    """Of one image: what it reaches, what the best of ``count`` real images reaches, and which one that is.

    ``peak`` and ``best_peak``: largest activation of a unit at one position (NaN for what is not a unit).
    """

    achieved: float
    best: float
    image: int
    count: int
    peak: float = math.nan
    best_peak: float = math.nan

    @property
    def ratio(self) -> float:
        """Achieved over best; ≥ 1 is stronger than any of the real images."""
        return self.achieved / self.best if self.best > 0 else math.nan

    @property
    def peak_ratio(self) -> float:
        """The same of peaks."""
        return self.peak / self.best_peak if self.best_peak > 0 else math.nan

    @property
    def holds(self) -> bool:
        """Is the picture at least as strong as the best real image?"""
        return self.achieved >= self.best and self.achieved > 0


def certificates(
    net: Network,
    objectives: Sequence[Objective],
    pictures: Float[Tensor, "image channel height width"],
    real: Float[Tensor, "real channel h w"],
) -> tuple[Certificate, ...]:
    """One for every objective and its picture; ``real`` is normalized, ``pictures`` are in [0, 1]."""
    listed = list(objectives)
    cut = cut_for(net, listed)
    layers = net.layers_at((int(pictures.shape[2]), int(pictures.shape[3])))
    grids = {name: (layers[name].shape[1], layers[name].shape[2]) for name in cut.names}
    shown = to_bytes(pictures.float()).to(net.device, net.dtype) / 255

    def measured(batch: Tensor, who: Sequence[Objective], each: bool) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            kept, output = cut(batch.to(net.device, net.dtype).contiguous(memory_format=net.memory_format))
            reading = Reading(net, kept, output, grids)
            count = len(batch)
            if each:
                peaks = [_peaks(one, kept, count)[k] for k, one in enumerate(who)]
                return evaluate(who, reading), torch.stack(peaks)
            values = [evaluate([one] * count, reading) for one in who]
            return torch.stack(values), torch.stack([_peaks(one, kept, count) for one in who])

    mine = [
        measured(net.preprocess.normalize(shown[k : k + _BATCH]), listed[k : k + _BATCH], True)
        for k in range(0, len(listed), _BATCH)
    ]
    distinct = list(dict.fromkeys(listed))
    theirs = [measured(real[k : k + _BATCH], distinct, False) for k in range(0, len(real), _BATCH)]
    achieved, peaks = (torch.cat(part).tolist() for part in zip(*mine, strict=True))
    values, tops = (torch.cat(part, 1) for part in zip(*theirs, strict=True))
    found = []
    for k, objective in enumerate(listed):
        row = distinct.index(objective)
        best, image = values[row].max(0)
        found.append(
            Certificate(achieved[k], float(best), int(image), len(real), peaks[k], float(tops[row].max()))
        )
    return tuple(found)


def _peaks(objective: Objective, kept: dict[str, Tensor], count: int) -> Float[Tensor, " batch"]:
    """Largest activation of the unit an objective is about, per image; NaN where it is about something else."""
    unit = single_unit(objective)
    return (
        torch.full((count,), math.nan) if unit is None else kept[unit.layer][:, unit.index].amax((1, 2)).cpu()
    )


def own_scenes(net: Network, count: int | None = None) -> UInt8[Tensor, "scene 3 h w"] | None:
    """Validation scenes for an embedded network, with the backgrounds it knows; None for any other."""
    if not isinstance(net.module, (ScenesVGG, ScenesResNet)):
        return None
    from pellucid.world import CLASSES, SceneDataset

    if net.classes != tuple(CLASSES):
        return None
    count = count or SCENES
    data = SceneDataset(
        "val", count, confounding=1.0 if "confounded" in net.name else 0.0, size=net.input_shape[1]
    )
    return torch.stack([data[k][0] for k in range(count)])


def as_real(
    net: Network, images: Any, normalized: bool | None = None
) -> Float[Tensor, "real channel h w"] | None:
    """Normalized real images: the user's, or scenes for an embedded network."""
    from pellucid.data.batches import as_batch

    if images is None:
        scenes = own_scenes(net)
        return None if scenes is None else as_batch(net, scenes, None)
    return as_batch(net, images, normalized)
