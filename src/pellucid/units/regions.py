"""Where units speak in an image: the map of a set of units, and the region of a single one.

Both sit on the layer's receptive-field geometry: cell values are carried to pixels by interpolation between
receptive-field centers, and every region knows the receptive field of its strongest cell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.capture import Trace
from pellucid.core.geometry import upsample
from pellucid.core.reading import activation
from pellucid.core.results import Heatmap, Unit, UnitScores, judged

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Region:
    """Where one unit is at its strongest in one image.

    ``mask`` is [height width] at input size, ``box`` encloses it (top, left, bottom, right, end excluded;
    None when empty), ``cell`` is the strongest cell (row, column) with its ``value``, ``field`` the receptive
    field of that cell.
    """

    unit: Unit
    mask: Bool[Tensor, "height width"]
    box: Box | None
    cell: tuple[int, int]
    value: float
    field: Box


def importance_map(trace: Trace, scores: UnitScores, units: Sequence[Unit | int] | None = None) -> Heatmap:
    """``Σ_{k∈T} S_k A_k`` per image, Lü et al. 2023: the evidence of a set of units T (all of them by
    default) as one map.

    ``trace`` holds the activations of ``scores.layer`` for the same images. The map keeps the layer's grid;
    the paper's figure is ``.upsample()`` of it scaled to [0, 1]. Raises ValueError for another number of
    images or units of other layers.
    """
    A = activation(trace, scores.layer.name)
    values = scores.values.to(A)
    if values.shape != A.shape[:2]:
        raise ValueError(
            f"Expected scores [batch unit] of {tuple(A.shape[:2])} for layer `{scores.layer.name}`, got "
            f"{tuple(values.shape)}; try the same images for both."
        )
    if units is not None:
        chosen = torch.zeros(A.shape[1], dtype=torch.bool, device=A.device)
        chosen[_indices(units, scores.layer.name, A.shape[1])] = True
        values = values * chosen
    map_ = (values[:, :, None, None] * A).sum(1)
    size = (int(trace.images.shape[2]), int(trace.images.shape[3]))
    return judged(map_, scores.layer, scores.criterion, size, trace.target.names)


def unit_regions(
    trace: Trace,
    units: Sequence[Unit | int],
    *,
    layer: str | None = None,
    quantile: float = 0.005,
    thresholds: Mapping[int, float] | Sequence[float] | None = None,
) -> list[list[Region]]:
    """For every image the region of every unit, in the given order: ``result[image][position]``.

    Without ``thresholds`` a region is the share ``quantile`` of the image's pixels where the unit's upsampled
    activation is largest; a unit that is the same everywhere has an empty one. With ``thresholds`` (one per
    unit, in their order or by unit index; for instance a quantile over a data set) it is where the upsampled
    activation exceeds them.
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"Expected `quantile` in (0, 1], got {quantile}; try 0.005.")
    name = (
        layer
        or next((unit.layer for unit in units if isinstance(unit, Unit)), None)
        or next(iter(trace.activations))
    )
    A, place = activation(trace, name), trace.layers[name]
    indices = _indices(units, name, A.shape[1])
    limits = _limits(thresholds, indices)
    size = (int(trace.images.shape[2]), int(trace.images.shape[3]))
    found = []
    for image in A[:, indices]:
        cells = (int(image.shape[1]), int(image.shape[2]))
        large = upsample(image, place.geometry.effective(cells, size), size, size)
        regions = []
        for position, index in enumerate(indices):
            mask = _top(large[position], quantile) if limits is None else large[position] > limits[position]
            best = int(image[position].argmax())
            cell = (best // image.shape[2], best % image.shape[2])
            field = place.geometry.region(*cell, size)
            regions.append(
                Region(Unit(name, index), mask, box_of(mask), cell, float(image[position].max()), field)
            )
        found.append(regions)
    return found


def _top(values: Float[Tensor, "height width"], share: float) -> Bool[Tensor, "height width"]:
    """The largest values; what equals the last of them belongs to them too, unless that is the whole
    picture's minimum."""
    count = max(1, math.floor(share * values.numel() + 0.5))
    limit = values.flatten().topk(count).values[-1]
    return (values >= limit) & (values > values.min())


def box_of(mask: Bool[Tensor, "height width"]) -> Box | None:
    """Bounding box (top, left, bottom, right), end excluded, of a mask; None where it is empty."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    if not len(rows):
        return None
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _indices(units: Sequence[Unit | int], layer: str, count: int) -> list[int]:
    strange = [unit for unit in units if isinstance(unit, Unit) and unit.layer != layer]
    if strange:
        raise ValueError(f"Expected units of layer `{layer}`, got {strange[0]}; try one call for each layer.")
    indices = [unit.index if isinstance(unit, Unit) else int(unit) for unit in units]
    for index in indices:
        if not 0 <= index < count:
            raise IndexError(f"Expected a unit from 0 to {count - 1} of layer `{layer}`, got {index}.")
    return indices


def _limits(
    thresholds: Mapping[int, float] | Sequence[float] | None, indices: list[int]
) -> list[float] | None:
    if thresholds is None:
        return None
    if isinstance(thresholds, Mapping):
        missing = [index for index in indices if index not in thresholds]
        if missing:
            raise ValueError(
                f"Expected a threshold for every unit, got none for {missing[:5]}; try one for each."
            )
        return [float(thresholds[index]) for index in indices]
    if len(thresholds) != len(indices):
        raise ValueError(f"Expected one threshold for each of {len(indices)} units, got {len(thresholds)}.")
    return [float(limit) for limit in thresholds]
