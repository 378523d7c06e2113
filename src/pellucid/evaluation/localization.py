"""Does the map lie on the object: pointing game, energy, overlap, top mass and boxes against a mask.

* pointing game, Zhang et al. 2018: a hit where the map's maximum lies within ``tolerance`` pixels of the mask.
* energy-based pointing game, Wang et al. 2020: positive saliency inside the mask / all positive saliency.
* top mass (relevance rank accuracy, Arras et al. 2022): share of the |mask| highest pixels inside the mask.
* overlap, ``|M ∩ S| / |M ∪ S|``: on the map's own cells. Every pixel belongs to its nearest cell, so the overlap is that of
  the map painted in boxes, and interpolation adds nothing to it.
* box, Selvaraju et al. 2017: box of the largest connected region above ``threshold`` of the maximum against the mask's box.

Where we differ: ties count by what drawing lots among them would give on average, so a plateau is neither a certain hit
nor a certain miss. A mask without pixels, a constant map and a map that is not finite are undefined (NaN with a reason),
never a hit or a miss. So is what needs positive saliency where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from pellucid.core.precision import exact
from pellucid.core.registry import register
from pellucid.core.results import Heatmap
from pellucid.evaluation.measurement import Measurement
from pellucid.evaluation.metric import Case, Metric, Needs, orders

Maps = Heatmap | Float[Tensor, "batch h w"]
Better = Mapping[str, Literal["higher", "lower"]]


@dataclass(frozen=True)
class _Localization(Metric):
    needs: ClassVar[Needs] = "masks"

    def _measured(
        self, case: Case, maps: Tensor, positive: bool, **values: Float[Tensor, " batch"]
    ) -> Measurement:
        reasons = undefined(maps, _masks(case), positive=positive)
        return Measurement(self.name, values, reasons, self.better, asdict(self))


@register("evaluation", "pointing", paper="zhang2018")
@dataclass(frozen=True)
class Pointing(_Localization):
    """Pointing game: does the maximum lie within ``tolerance`` pixels of the mask (``hit``), or on it (``strict``)."""

    better: ClassVar[Better] = {"hit": "higher", "strict": "higher"}
    tolerance: float = 15.0

    def __post_init__(self) -> None:
        if not self.tolerance >= 0:
            raise ValueError(
                f"Expected `tolerance` of at least 0 pixels, got {self.tolerance}; try 15, the paper's."
            )

    def __call__(self, case: Case) -> Measurement:
        """Share of the maximal pixels that hit: 0 or 1 where the maximum is unique."""
        masks = _masks(case)
        strict = pointing(case.saliency, masks, 0.0)
        return self._measured(
            case, case.saliency, False, hit=pointing(case.saliency, masks, self.tolerance), strict=strict
        )


@register("evaluation", "energy", paper="wang2020")
@dataclass(frozen=True)
class Energy(_Localization):
    """Energy-based pointing game: share of the positive saliency that lies inside the mask."""

    better: ClassVar[Better] = {"energy": "higher"}

    def __call__(self, case: Case) -> Measurement:
        """Positive saliency inside the mask / all positive saliency."""
        return self._measured(case, case.saliency, True, energy=energy(case.saliency, _masks(case)))


@register("evaluation", "top-mass", paper="arras2022")
@dataclass(frozen=True)
class TopMass(_Localization):
    """Relevance rank accuracy: share of the highest pixels, as many as the mask has, that lie inside it."""

    better: ClassVar[Better] = {"inside": "higher"}

    def __call__(self, case: Case) -> Measurement:
        """Top-|mask| pixels inside the mask / |mask|."""
        return self._measured(case, case.saliency, False, inside=top_mass(case.saliency, _masks(case)))


@register("evaluation", "iou")
@dataclass(frozen=True)
class Overlap(_Localization):
    """Intersection over union at the map's own resolution: of the highest cells of the mask's area, and above a threshold.

    ``equal`` takes the highest cells of the mask's own area; ``relative`` divides it by what the grid allows (``attainable``:
    the mask's own coverage of the cells as the map), so that it is fair between layers. ``iou`` takes the cells above
    ``threshold`` times the maximum (0.2: Zhou 2016); no threshold suits two layers, as fine maps are peaked and coarse ones
    broad, and a mere rescaling of values moves it.
    """

    better: ClassVar[Better] = {"relative": "higher", "equal": "higher", "iou": "higher"}
    threshold: float = 0.2

    def __post_init__(self) -> None:
        _check_threshold(self.threshold)

    def __call__(self, case: Case) -> Measurement:
        """``equal`` at the mask's area, ``attainable`` on this grid, ``relative`` to it; ``iou`` of thresholded cells."""
        maps, masks = case.saliency if case.heatmap is None else case.heatmap, _masks(case)
        values = maps.values if isinstance(maps, Heatmap) else maps
        equal, attainable = iou(maps, masks, None), best_iou(maps, masks)
        return self._measured(
            case, values, True, iou=iou(maps, masks, self.threshold), equal=equal,
            relative=equal / attainable, attainable=attainable,
        )  # fmt: skip


@register("evaluation", "box", paper="selvaraju2017")
@dataclass(frozen=True)
class Box(_Localization):
    """Box of the largest region above ``threshold`` of the maximum: its ``iou`` with the mask's box; a ``hit`` from ``least``."""

    better: ClassVar[Better] = {"hit": "higher", "iou": "higher"}
    threshold: float = 0.15
    least: float = 0.5

    def __post_init__(self) -> None:
        _check_threshold(self.threshold)
        if not 0 < self.least <= 1:
            raise ValueError(f"Expected `least` in (0, 1], got {self.least}; try 0.5.")

    def __call__(self, case: Case) -> Measurement:
        """1 where the boxes' intersection over union reaches ``least``, else 0; and the overlap itself."""
        found = box_iou(case.saliency, _masks(case), self.threshold)
        hit = torch.where(found.isnan(), found, exact(found >= self.least))
        return self._measured(case, case.saliency, True, hit=hit, iou=found)


def pointing(
    saliency: Float[Tensor, "batch height width"], masks: Bool[Tensor, "batch height width"], tolerance: float
) -> Float[Tensor, " batch"]:
    """Share of each map's maximal pixels at most ``tolerance`` pixels (Euclidean) from its mask; NaN where undefined."""
    found = []
    slack = 8 * torch.finfo(saliency.dtype).eps  # interpolation makes plateaus that differ by rounding
    for one, mask, reason in zip(saliency, masks.cpu(), undefined(saliency, masks), strict=True):
        if reason is not None:
            found.append(float("nan"))
            continue
        peak = one.max()
        maximal = (one >= peak - slack * peak.abs()).cpu()
        near = torch.from_numpy(ndimage.distance_transform_edt(~mask.numpy()) <= tolerance)
        found.append(float(exact(near[maximal]).mean()))
    return torch.tensor(found, dtype=torch.float64)


def energy(
    saliency: Float[Tensor, "batch height width"], masks: Bool[Tensor, "batch height width"]
) -> Float[Tensor, " batch"]:
    """Share of the positive saliency inside the mask; NaN where undefined."""
    positive = exact(saliency).clamp(min=0)
    share = (positive * masks.to(positive)).sum((1, 2)) / positive.sum((1, 2))
    return _defined(share, saliency, masks, positive=True)


def top_mass(
    saliency: Float[Tensor, "batch height width"], masks: Bool[Tensor, "batch height width"]
) -> Float[Tensor, " batch"]:
    """Share of the top-|mask| pixels inside the mask; NaN where undefined."""
    inside = exact(masks.to(saliency.device))
    size = inside.sum((1, 2))
    chosen = highest(saliency, torch.ones_like(inside[0]), size)
    return _defined((chosen * inside).sum((1, 2)) / size, saliency, masks)


def iou(
    maps: Maps, masks: Bool[Tensor, "batch height width"], threshold: float | None
) -> Float[Tensor, " batch"]:
    """Overlap of a map's cells with the mask: those of at least ``threshold``·maximum, or (None) the highest of its area."""
    values, inside, area = _on_grid(maps, masks)
    if threshold is None:
        chosen = highest(values, area, inside.sum((1, 2)))
    else:
        chosen = exact(values >= threshold * values.amax((1, 2), keepdim=True))
    return _defined(_overlap(chosen, inside, area), values, masks, positive=True)


def best_iou(maps: Maps, masks: Bool[Tensor, "batch height width"]) -> Float[Tensor, " batch"]:
    """What `iou` at equal area gives for the best possible map on this grid: the share of every cell the mask covers."""
    values, inside, area = _on_grid(maps, masks)
    share = (inside / area.clamp(min=1e-12)).round(
        decimals=9
    )  # cells covered alike are ties, not rounding errors
    chosen = highest(share, area, inside.sum((1, 2)))
    return _defined(_overlap(chosen, inside, area), values, masks, positive=True)


def box_iou(
    saliency: Float[Tensor, "batch height width"], masks: Bool[Tensor, "batch height width"], threshold: float
) -> Float[Tensor, " batch"]:
    """Intersection over union of two boxes: of the largest 8-connected region above ``threshold``·maximum, and of the mask."""
    found = []
    reasons = undefined(saliency, masks, positive=True)
    for one, mask, reason in zip(saliency.detach().cpu(), masks.cpu().numpy(), reasons, strict=True):
        if reason is not None:
            found.append(float("nan"))
            continue
        regions, _ = ndimage.label((one >= threshold * one.max()).numpy(), np.ones((3, 3)))
        largest = np.bincount(regions.ravel())[1:].argmax() + 1
        found.append(_boxes_overlap(_box(regions == largest), _box(mask)))
    return torch.tensor(found, dtype=torch.float64)


def highest(
    values: Float[Tensor, "batch h w"], area: Float[Tensor, "h w"], budget: Float[Tensor, " batch"]
) -> Float[Tensor, "batch h w"]:
    """How much of every cell belongs to the highest cells of total area ``budget``: 1, 0, or for ties an equal share."""
    flat, weight = exact(values.flatten(1)), exact(area.flatten()).expand(len(values), -1)
    ordered, order = flat.sort(descending=True)
    reached = weight.gather(1, order).cumsum(1) >= budget[:, None] - 1e-9
    last = ordered.gather(1, exact(reached).argmax(1, keepdim=True))
    above, tied = flat > last, flat == last
    rest = budget[:, None] - (above * weight).sum(1, keepdim=True)
    share = (rest / (tied * weight).sum(1, keepdim=True).clamp(min=1e-12)).clamp(0, 1)
    return (above + tied * share).view_as(values)


def undefined(
    saliency: Float[Tensor, "batch h w"], masks: Tensor, *, positive: bool = False
) -> tuple[str | None, ...]:
    """Why an image has no value, None where it has: its mask, or its map (``positive``: it needs positive saliency)."""
    empty = ~masks.flatten(1).any(1)
    low, high = saliency.flatten(1).amin(1), saliency.flatten(1).amax(1)  # NaN in a map shows in both
    constant = ~orders(saliency.flatten(1))
    reasons: list[str | None] = []
    for row in zip(empty, ~(low.isfinite() & high.isfinite()), constant, high <= 0, strict=True):
        bare, broken, flat, negative = map(bool, row)
        reasons.append(
            "mask without pixels" if bare
            else "map is not finite" if broken
            else "map is constant" if flat
            else "map has no positive saliency" if positive and negative
            else None
        )  # fmt: skip
    return tuple(reasons)


def owned(cells: int, start: float, stride: float, extent: int) -> Float[Tensor, "cells extent"]:
    """Length of every pixel along one axis that is nearest to each cell's center; columns sum to 1."""
    edges = start + (torch.arange(cells + 1, dtype=torch.float64) - 0.5) * stride
    edges[0], edges[-1] = -0.5, extent - 0.5  # the outermost cells reach to the border
    edges = edges.clamp(-0.5, extent - 0.5)
    pixel = torch.arange(extent, dtype=torch.float64)
    upper = torch.minimum(edges[1:, None], pixel + 0.5)
    return (upper - torch.maximum(edges[:-1, None], pixel - 0.5)).clamp(min=0)


def _on_grid(
    maps: Maps, masks: Bool[Tensor, "batch height width"]
) -> tuple[Float[Tensor, "batch h w"], Float[Tensor, "batch h w"], Float[Tensor, "h w"]]:
    """Cell values, the area of the mask in every cell, and the area of the cell, in pixels."""
    values = maps.values if isinstance(maps, Heatmap) else maps
    known = exact(masks.to(values.device))
    if not isinstance(maps, Heatmap):
        _check_sizes(tuple(values.shape), tuple(masks.shape))
        return values, known, torch.ones_like(known[0])
    _check_sizes((len(values), *maps.input_size), tuple(masks.shape))
    grid, (height, width) = maps.grid, maps.input_size
    rows = owned(values.shape[1], grid.start[0], grid.stride[0], height).to(known)
    columns = owned(values.shape[2], grid.start[1], grid.stride[1], width).to(known)
    return values, rows @ known @ columns.T, rows.sum(1)[:, None] * columns.sum(1)


def _overlap(
    chosen: Float[Tensor, "batch h w"], inside: Float[Tensor, "batch h w"], area: Float[Tensor, "h w"]
) -> Float[Tensor, " batch"]:
    common = (chosen * inside).sum((1, 2))
    return common / ((chosen * area).sum((1, 2)) + inside.sum((1, 2)) - common)


def _defined(
    values: Float[Tensor, " batch"], maps: Tensor, masks: Tensor, *, positive: bool = False
) -> Float[Tensor, " batch"]:
    bad = torch.tensor([reason is not None for reason in undefined(maps, masks, positive=positive)])
    return values.cpu().masked_fill(bad, float("nan"))


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _boxes_overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    common = max(height, 0) * max(width, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)


def _masks(case: Case) -> Bool[Tensor, "batch height width"]:
    if case.masks is None:
        raise ValueError(
            "Expected masks [batch height width] of the object, got none; try `masks=` of the input's size."
        )
    _check_sizes(tuple(case.saliency.shape), tuple(case.masks.shape))
    return case.masks


def _check_sizes(maps: tuple[int, ...], masks: tuple[int, ...]) -> None:
    if maps != masks:
        raise ValueError(f"Expected a mask for every map, of the input's size {maps}, got {masks}.")


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise ValueError(
            f"Expected `threshold`, a share of the map's maximum, in (0, 1], got {threshold}; try 0.15."
        )
