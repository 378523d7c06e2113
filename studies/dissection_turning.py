"""Pictures turned with their labels, and layers turned in the space of their units: for `studies/dissection.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

import pellucid as pl
from dissection_networks import concepts, facts, measured, network, row, stages
from pellucid.core.capture import observe
from pellucid.data.concepts import ConceptSource, Labels
from pellucid.data.images import Picture
from pellucid.dissection import UnitTable
from pellucid.dissection.rotation import rotated, rotated_name, rotations
from pellucid.dissection.table import THRESHOLD

ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
ANGLES = (0, 10, 20, 30, 45, 60, 90, 180)
GRAY = (124, 116, 104)  # close to the mean of photographs


class Turned(ConceptSource):
    """Pictures and label maps turned around the center of their largest central square.

    Only the disc inside that square is shown and labeled, whatever the angle: so all angles show the same content, and what
    changes is the angle alone. ``angle`` in degrees, counterclockwise; labels are turned without interpolation.
    """

    def __init__(self, inner: ConceptSource, angle: float) -> None:
        super().__init__(f"{inner.name}, turned by {angle:g}°", inner.concepts, inner.view)
        self.inner, self.angle = inner, angle

    def __len__(self) -> int:
        return len(self.inner)

    def picture_name(self, index: int) -> str:
        """As in the set it is taken from."""
        return self.inner.picture_name(index)

    def split(self, index: int) -> str:
        """As in the set it is taken from."""
        return self.inner.split(index)

    def picture(self, index: int) -> Picture:
        """The turned disc on gray."""
        square = _square(self.inner.picture(index).image.convert("RGB"))
        shown = square.rotate(self.angle, Image.Resampling.BILINEAR)
        content = Image.composite(shown, Image.new("RGB", square.size, GRAY), _disc(square.width))
        return Picture(content, self.picture_name(index), (), content.size)

    def labels(self, index: int) -> Labels:
        """The turned maps, 0 outside the disc; what holds for the whole picture stays."""
        found = self.inner.labels(index)
        maps = []
        for stored in found.maps:
            square = _square(Image.fromarray(stored.astype(np.int32)))
            turned = np.asarray(square.rotate(self.angle, Image.Resampling.NEAREST), np.int32)
            maps.append(np.where(np.asarray(_disc(square.width)) > 0, turned, 0).astype(np.uint16))
        return Labels(np.stack(maps) if maps else found.maps, found.whole)


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _disc(side: int) -> Image.Image:
    """White where a pixel's center is inside the circle."""
    place = np.arange(side) + 0.5 - side / 2
    inside = place[:, None] ** 2 + place[None] ** 2 <= (side / 2) ** 2
    return Image.fromarray(inside.astype(np.uint8) * 255)


def turned_pictures(name: str, count: int, angles: Sequence[float] = ANGLES) -> dict[str, Any]:
    """Detectors when pictures and labels are turned, and what becomes of the labels found upright."""
    net, source = network(name), concepts(name, count, keep=True)
    layers = stages(name, net)[-2:]
    tables = {angle: measured(net, Turned(source, angle), layers, draws=1) for angle in angles}
    whole = measured(net, source, layers, draws=1)
    found = []
    for layer in layers:
        upright = tables[angles[0]][layer]
        found.append(
            {
                "layer": layer,
                "whole picture": row(whole[layer]),
                "angles": [
                    {"angle": angle, **row(tables[angle][layer]), **kept(upright, tables[angle][layer])}
                    for angle in angles
                ],
            }
        )
    return {"network": name, **facts(net, source), "layers": found}


def kept(upright: UnitTable, turned: UnitTable) -> dict[str, Any]:
    """What becomes of the detectors of one table in another of the same units."""
    above = upright.detectors()
    units = np.flatnonzero(above)
    again = turned.iou[units, upright.label[units]]
    return {
        "still detect it": int((again > THRESHOLD).sum()),
        "still labeled so": int(
            ((turned.label[units] == upright.label[units]) & turned.detectors()[units]).sum()
        ),
        "mean iou with label": round(float(again.mean()), 4) if len(units) else None,
    }


def turned_units(
    name: str,
    count: int,
    seeds: Sequence[int] = (0, 1, 2),
    alphas: Sequence[float] = ALPHAS,
    pictures: int = 64,
) -> dict[str, Any]:
    """Detectors when the units of a middle and of the last stage are rotated, all rotations in one pass."""
    net, source = network(name), concepts(name, count)
    layers = stages(name, net)[-2:]
    turns = [(alpha, seed) for alpha in alphas for seed in (seeds if alpha else seeds[:1])]
    turned = net
    for layer in layers:
        turned = rotations(turned, layer, turns)
    tables = measured(
        turned,
        source,
        [rotated_name(layer, place) for layer in layers for place in range(len(turns))],
        draws=1,
    )
    found = [
        {
            "layer": layer,
            "turns": [
                {"alpha": alpha, "seed": seed, **row(tables[rotated_name(layer, place)])}
                for place, (alpha, seed) in enumerate(turns)
            ],
        }
        for layer in layers
    ]
    few = concepts(name, pictures)
    images = torch.stack([net.preprocess(few.picture(index)) for index in range(len(few))])
    for entry in found:
        entry["dimensions"] = dimensions(net, images, entry["layer"])
    return {"network": name, **facts(net, source), "same": same(net, images, layers), "layers": found}


def dimensions(net: pl.Network, images: torch.Tensor, layer: str) -> float:
    """In how many directions the values of a layer vary: (Σ λ)² / Σ λ² of the covariance of its units over all positions."""
    kept: list[torch.Tensor] = []
    observe(
        net, images, [layer], lambda _, value: kept.append(value.transpose(0, 1).flatten(1).double().clone())
    )
    spectrum = torch.linalg.eigvalsh(torch.cov(kept[0])).clamp(min=0)
    return round(float(spectrum.sum() ** 2 / spectrum.square().sum()), 1)


def same(net: pl.Network, images: torch.Tensor, layers: Sequence[str]) -> dict[str, Any]:
    """How far the outputs of the fully rotated network are from the network's own."""
    full = net
    for layer in layers:
        full = rotated(full, layer, 1.0, 0)
    with torch.no_grad():
        before, after = net(images), full(images)
    return {
        "pictures": len(images),
        "largest change of an output": float(f"{float((after - before).abs().max()):.2g}"),
        "largest output": round(float(before.abs().max()), 2),
        "same class": int((after.argmax(1) == before.argmax(1)).sum()),
    }
