"""The counting on an accelerator, in tensor operations: the same integers as `pellucid.dissection.kernels`.

Interpolation takes the same steps in the same order and precision (float64, rounded to float32, never beyond the corners);
multiplication and addition are separate operations, so that none is fused. Pixels are counted by a matrix product of masks
with the labels of every concept, in float64, in which whole numbers up to 2^53 are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from pellucid.dissection.labels import LocalLabels
from pellucid.dissection.placement import Axis, Placement

_MAPS = 256  # maps upsampled at once


def collect(
    acts: Float[Tensor, "map unit h w"], maxima: Float[Tensor, "map unit"], low: Float[Tensor, " unit"]
) -> tuple[Any, Any, Any, Any, Any]:
    """As `pellucid.dissection.collecting.collect`; the arrays are on the processor."""
    above = acts > low[:, None, None]
    active = maxima > low
    near = F.max_pool2d(above.to(acts.dtype), 3, 1, 1).bool()
    width = acts.shape[3]
    picked = near[active]
    place = picked.nonzero()
    values = acts[active][picked]
    unit = active.nonzero()[:, 1]
    sizes = picked.flatten(1).sum(1)
    starts = np.concatenate([[0], active.sum(1).cumsum(0).cpu().numpy()]).astype(np.int64)
    cell_starts = np.concatenate([[0], sizes.cumsum(0).cpu().numpy()]).astype(np.int64)
    cells = place[:, 1] * width + place[:, 2]
    return (
        starts,
        unit.to(torch.int32).cpu().numpy(),
        cell_starts,
        cells.to(torch.int32).cpu().numpy(),
        values.to(torch.float32).cpu().numpy(),
    )


def masks(
    dense: Float[Tensor, "map h w"], limits: Float[Tensor, "threshold map"], placement: Placement
) -> Bool[Tensor, "threshold map height width"]:
    """Pixels of every map above each of its thresholds."""
    y, fy = _axis(placement.rows, dense.device)
    x, fx = _axis(placement.columns, dense.device)
    below = (y + 1).clamp(max=dense.shape[1] - 1)
    right = (x + 1).clamp(max=dense.shape[2] - 1)
    high = dense.double()
    a, b = high[:, y][:, :, x], high[:, y][:, :, right]
    c, d = high[:, below][:, :, x], high[:, below][:, :, right]
    most = torch.maximum(torch.maximum(a, b), torch.maximum(c, d)).float()
    one = a + (c - a) * fy[:, None]
    other = b + (d - b) * fy[:, None]
    value = torch.minimum((one + (other - one) * fx).float(), most)
    return value > limits[:, :, None, None]


def tally(
    kept: tuple[Any, Any, Any, Any], placement: Placement,
    thresholds: Any, limit_of: Sequence[int], met: Sequence[LocalLabels], device: torch.device | str,
) -> tuple[Any, list[Any], Any]:  # fmt: skip
    """Masks of one picture's active maps at ``thresholds[limit_of[t]]`` [limit unit] against the labels ``met[t]``.

    Returns pixels of the masks [limit active], for every t the hits [active, place in ``met[t].places``], and the masks at
    the first threshold [active h w].
    """
    unit, cell_starts, cells, values = kept
    h, w = placement.cells
    owner = np.repeat(np.arange(len(unit)), np.diff(cell_starts))
    dense = torch.full((len(unit), h * w), -3e38, device=device)
    dense[torch.from_numpy(owner).to(device), torch.from_numpy(cells.astype(np.int64)).to(device)] = (
        torch.from_numpy(values).to(device)
    )
    limits = torch.from_numpy(thresholds[:, unit]).to(device)
    coded = [_coded(one, device) for one in met]
    areas = np.zeros(limits.shape, np.int64)
    hits = [np.zeros((len(unit), one.shape[1]), np.int64) for one in coded]
    outlines = np.zeros((len(unit), *placement.pixels), np.bool_)
    for first in range(0, len(unit), _MAPS):
        part = slice(first, first + _MAPS)
        above = masks(dense[part].reshape(-1, h, w), limits[:, part], placement)
        areas[:, part] = above.sum((2, 3)).cpu().numpy()
        for t, one in enumerate(coded):
            hits[t][part] = (above[limit_of[t]].flatten(1).double() @ one).long().cpu().numpy()
        outlines[part] = above[0].cpu().numpy()
    return areas, hits, outlines


def _coded(labels: LocalLabels, device: torch.device | str) -> Float[Tensor, "pixel place"]:
    """One where a concept of ``labels.places`` is, 0 elsewhere."""
    member = np.zeros((len(labels.combo_starts) - 1, len(labels.places)))
    column = {int(place): k for k, place in enumerate(labels.places)}
    for k in range(len(member)):
        for place in labels.combo_places[slice(*labels.combo_starts[k : k + 2])]:
            member[k, column[int(place)]] = 1
    code = torch.from_numpy(labels.code.astype(np.int64)).flatten()
    return torch.from_numpy(member)[code].to(device)


def _axis(axis: Axis, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(axis.low).to(device), torch.from_numpy(axis.fraction).to(device)
