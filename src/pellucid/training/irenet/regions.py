"""Crops that a classifier's important neurons choose: the squares around the regions in which they speak (Lü et al. 2023).

For every picture the units of the classifier's last stage are scored by CGNIS for the class it predicts; each of the most
important ones gives the square around its region (the top 0.5 % of its upsampled activation).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pellucid.core.progress import bar
from pellucid.core.registry import create
from pellucid.core.results import UnitScores
from pellucid.data.batches import traces
from pellucid.training.irenet.pictures import Box, Pictures, around
from pellucid.units import unit_regions
from pellucid.zoo.loading import load

_BATCH = 16


def neuron_boxes(
    pictures: Pictures, net: str, units: int, margin: float, least: int, *, progress: bool | None = None
) -> list[tuple[int, Box]]:
    """(place of the picture, square) of the ``units`` most important neurons of every picture; a square that comes twice is
    taken once. Pictures are stretched to the classifier's input, so that nothing of them is cut off.

    Raises ValueError for a classifier that cannot be loaded.
    """
    loaded = load(net)
    size = loaded.preprocess.size or (128, 128)
    found: list[tuple[int, Box]] = []
    with bar(len(pictures), "neurons' regions", "picture", progress) as shown:
        for start in range(0, len(pictures), _BATCH):
            places = range(start, min(start + _BATCH, len(pictures)))
            read = [pictures.read(place)[0] for place in places]
            batch = loaded.preprocess.normalize(torch.cat([_stretched(image, size) for image in read]))
            for place, image, regions in zip(places, read, _regions(loaded, batch, units), strict=True):
                height, width = int(image.shape[1]), int(image.shape[2])
                scale = (height / size[0], width / size[1])
                squares = [around(_scaled(box, scale), margin, least, height, width) for box in regions]
                found += [(place, square) for square in dict.fromkeys(squares)]
            shown.update(len(places))
    return found


def _regions(net: Any, batch: Tensor, units: int) -> list[list[Box]]:
    """The boxes of the most important units' regions, for every picture; silent units have none."""
    layer, criterion = net.default_layers[-1], create("neurons", "cgnis")
    (trace,) = traces(net, batch, [layer], None, len(batch), progress=False)
    with torch.no_grad():
        scores = UnitScores(criterion(trace, layer).detach(), trace.layers[layer], criterion.name)
    top = [[unit.index for unit in scores.top(units, image)] for image in range(len(batch))]
    union = sorted({index for row in top for index in row})
    regions = unit_regions(trace, union, layer=layer)
    boxes = [[regions[image][union.index(index)].box for index in row] for image, row in enumerate(top)]
    return [[box for box in row if box is not None] for row in boxes]


def _scaled(box: Box, scale: tuple[float, float]) -> Box:
    top, left, bottom, right = box
    return round(top * scale[0]), round(left * scale[1]), round(bottom * scale[0]), round(right * scale[1])


def _stretched(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[1:]) == size:
        return image[None]
    larger = F.interpolate(image[None].float(), size, mode="bilinear", antialias=True, align_corners=False)
    return larger.round().clamp(0, 255).to(torch.uint8)
