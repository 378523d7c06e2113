"""Regions of a picture that its map points at: connected, one for each place the network looked at, best evidence first.

The deepest map says *where* (every strong local maximum is the seed of a region), the finer ones and the picture say *how far*
it reaches: the map's pixels are divided among the seeds, follow the picture's edges by a guided filter (He et al. 2013) ::

    q = mean(a) · I + mean(b),   a = cov(I, m) / (var(I) + ε),   b = mean(m) − a · mean(I)     in windows of radius r

and a pixel belongs to its seed's region where q reaches half of the seed's height; what is thinner than a few pixels is
taken off. Regions are ranked by evidence *per cell*, their mean in the deep map, shrunk for small ones ::

    e(R) = Σ_{p ∈ R} m(p) / (|R| + 4 % of the picture)

since the region whose filling costs the class most is the one with the most evidence per cell in about four pictures of five, by
total evidence in less, and a mean over a few pixels is all noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from pellucid.core.precision import exact
from pellucid.core.results import Heatmap
from pellucid.naming.cells import Cells

HEIGHT = 0.5  # of its seed's evidence, from which on a pixel belongs to a region
LEAST = 0.01  # share of the picture from which on a region counts
COARSE = 56  # pixels along the shorter side, on which seeds are sought
LEVELS = 20
APART = 0.15  # a seed has to stand out by this share of its height from the saddle to a higher one
SMALL = 0.04  # of the picture: a region so small counts by half
THIN = 7  # pixels of a picture of 224: what is thinner is taken off
RADIUS = 8  # of the guided filter, pixels of a picture of 224
EPSILON = 1e-3


@dataclass(frozen=True, eq=False)
class Region:
    """One connected region.

    Attributes:
        mask: Where it is, at input size.
        evidence: Evidence per pixel, shrunk for small regions, on the map's own scale; regions are ranked by it.
        share: Of all positive evidence in the picture, how much lies in it.
        peak: (row, column) of its strongest pixel.
    """

    mask: Bool[Tensor, "height width"]
    evidence: float
    share: float
    peak: tuple[int, int]

    @property
    def area(self) -> float:
        """Share of the picture."""
        return float(self.mask.float().mean())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The box around it: top, left, bottom, right, end excluded."""
        rows, columns = self.mask.any(1).nonzero()[:, 0], self.mask.any(0).nonzero()[:, 0]
        return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def regions(
    heatmaps: Heatmap | Mapping[str, Heatmap],
    picture: Float[Tensor, "channel height width"] | None = None,
    *,
    most: int = 3,
    least: float = LEAST,
) -> list[Region]:
    """The regions that a picture's maps point at, the most evidence per cell first.

    Args:
        heatmaps: One map, or maps of several layers of the same image; the deepest says where, the shallower ones, like the
            picture, how far.
        picture: The picture, normalized or not, for outlines.
        most: How many regions at most.
        least: Share of the picture that a region has at least.

    Returns:
        No regions where the deepest map cannot be read.
    """
    ordered = (
        [heatmaps]
        if isinstance(heatmaps, Heatmap)
        else sorted(heatmaps.values(), key=lambda map_: map_.layer.index)
    )
    if not ordered:
        raise ValueError("Expected at least one heatmap, got none; try `pl.attribute(net, image)`.")
    deep = ordered[-1][0]
    if deep.status[0] != "ok":
        return []
    guides = [map_[0].upsample()[0].relu() for map_ in ordered[:-1] if map_.status[0] == "ok"]
    return evidence_regions(deep.upsample()[0], picture, guides, most=most, least=least)


def class_regions(
    read: Cells,
    target: int,
    picture: Float[Tensor, "channel height width"] | None = None,
    *,
    most: int = 3,
    least: float = LEAST,
) -> list[Region]:
    """The regions whose cells speak for a class, by their exact scores: no pass more than reading the cells.

    Raises ValueError where the head is not linear and cells have no scores; use `regions` with a map there.
    """
    if read.scores is None:
        raise ValueError(
            "Expected cells with class scores, got a network whose head is not linear after pooling; try `regions(heatmaps)`."
        )
    map_ = Heatmap(read.scores[target][None], read.layer, "cells", read.input_size, ("ok",))
    return evidence_regions(map_.upsample()[0], picture, most=most, least=least)


def evidence_regions(
    evidence: Float[Tensor, "height width"],
    picture: Float[Tensor, "channel height width"] | None = None,
    guides: list[Float[Tensor, "height width"]] | None = None,
    *,
    most: int = 3,
    least: float = LEAST,
) -> list[Region]:
    """As `regions`, of a map of pixels, such as the upsampled class scores of cells."""
    positive = evidence.detach().cpu().double().relu()
    if not bool(positive.max() > 0):
        return []
    layers = [each.detach().cpu().double() for each in guides or []]
    if picture is not None:
        layers += list(picture.detach().cpu().double())
    outlined = guided(positive, layers) if layers else positive
    labels, peaks = basins(positive)
    total = float(positive.sum())
    made = []
    for number, peak in enumerate(peaks, 1):
        basin = labels == number
        inside = basin & (outlined >= HEIGHT * outlined[basin].max())
        mask = _around(opened(inside), peak)
        if float(exact(mask).mean()) < least:
            continue
        held = float(positive[mask].sum())
        made.append(Region(mask, held / (float(mask.sum()) + SMALL * mask.numel()), held / total, peak))
    return sorted(made, key=lambda region: -region.evidence)[:most]


def guided(
    values: Float[Tensor, "height width"],
    guides: list[Float[Tensor, "height width"]],
    radius: int | None = None,
) -> Float[Tensor, "height width"]:
    """A map that follows the edges of the guides: the mean of its guided filters by each of them."""
    radius = radius or max(1, round(RADIUS * min(values.shape) / 224))

    def mean(map_: Tensor) -> Tensor:
        side = 2 * radius + 1
        return F.avg_pool2d(map_[None, None], side, 1, radius, count_include_pad=False)[0, 0]

    filtered = []
    for guide in guides:
        low, high = guide.aminmax()
        scaled = (guide - low) / torch.where(high > low, high - low, 1)
        center, target = mean(scaled), mean(values)
        slope = (mean(scaled * values) - center * target) / (mean(scaled * scaled) - center**2 + EPSILON)
        filtered.append(mean(slope) * scaled + mean(target - slope * center))
    return torch.stack(filtered).mean(0)


def basins(
    values: Float[Tensor, "height width"],
) -> tuple[Int[Tensor, "height width"], list[tuple[int, int]]]:
    """Which seed every pixel belongs to (from 1; 0 without evidence), and the seeds, the highest first.

    From the highest pixel down, level by level: what rises above the level alone and by `APART` of its height is a seed of its
    own; every other pixel joins the nearest pixel that has one. On every n-th pixel of a large map, of which n leaves `COARSE`.
    """
    step = max(1, min(values.shape) // COARSE)
    array = values[step // 2 :: step, step // 2 :: step].numpy()
    top = float(array.max())
    labels = np.zeros(array.shape, np.int64)
    peaks: list[tuple[int, int]] = []
    for level in [*np.linspace(1, 0, LEVELS, endpoint=False), 1e-9]:
        above = array >= level * top
        parts, count = ndimage.label(above)
        owned = set(parts[labels > 0].tolist())
        for number, spot in enumerate(ndimage.maximum_position(array, parts, range(1, count + 1)), 1):
            if number not in owned and float(array[spot]) * (1 - APART) >= level * top:
                peaks.append((int(spot[0]), int(spot[1])))
                labels[parts == number] = len(peaks)
                owned.add(number)
        if owned:
            nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
            joining = (labels == 0) & np.isin(parts, list(owned)) & above
            labels[joining] = labels[tuple(nearest)][joining]
    rows, columns = (
        (torch.arange(size) // step).clamp(max=limit - 1)
        for size, limit in zip(values.shape, array.shape, strict=True)
    )
    full = torch.from_numpy(labels)[rows[:, None], columns[None]]
    seeds = [
        (
            min(row * step + step // 2, values.shape[0] - 1),
            min(column * step + step // 2, values.shape[1] - 1),
        )
        for row, column in peaks
    ]
    return torch.where(values > 0, full, 0), seeds


def opened(inside: Bool[Tensor, "height width"]) -> Bool[Tensor, "height width"]:
    """A region without what is thinner than `THIN`, at the picture's border too."""
    side = max(1, round(THIN * min(inside.shape) / 224))
    square = torch.ones(side, side, dtype=torch.bool).numpy()
    padded = F.pad(inside[None, None].float(), (side,) * 4, mode="replicate")[0, 0].bool()
    return torch.from_numpy(ndimage.binary_opening(padded.numpy(), square))[side:-side, side:-side]


def _around(inside: Bool[Tensor, "height width"], peak: tuple[int, int]) -> Bool[Tensor, "height width"]:
    """The connected part of a region nearest its peak, without holes."""
    parts, count = ndimage.label(inside.numpy())
    if not count:
        return torch.zeros_like(inside)
    number = int(parts[peak])
    if not number:
        nearest = ndimage.distance_transform_edt(parts == 0, return_distances=False, return_indices=True)
        number = int(parts[tuple(nearest[:, peak[0], peak[1]])])
    return torch.from_numpy(ndimage.binary_fill_holes(parts == number))
