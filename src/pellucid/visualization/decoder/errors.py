"""How far a decoder's pictures are from held-out ones, and from what else could be shown without one.

Mean squared error of pixels in [0, 1]: of the decoder, of the mean training picture, of the training picture whose maps are
nearest (what a look-up by the same maps would show), and of the training picture whose pixels are nearest (the best a
look-up could ever show, which no method that sees the maps alone can know).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from pellucid.core.precision import exact
from pellucid.visualization.decoder.model import Decoder
from pellucid.visualization.decoder.pictures import Maps

_MOST = 256  # held-out pictures that are looked up
_AT_ONCE = 64


@dataclass(frozen=True)
class Errors:
    """Mean squared errors over ``pictures`` held-out pictures; the look-ups over the first 256 of them.

    ``contrast``: how far a held-out picture is from what the decoder paints when nothing is told, as a standard deviation.
    """

    pictures: int
    decoder: float
    mean: float
    nearest_maps: float
    nearest_pixels: float
    contrast: float


def errors(
    decoder: Decoder, maps: Maps, pictures: UInt8[Tensor, "picture channel h w"], known: Int[Tensor, " known"],
    held: Int[Tensor, " held"],
) -> Errors:  # fmt: skip
    """The errors on the pictures ``held`` out of those a decoder was trained on (``known``)."""
    with torch.no_grad():
        mean = torch.zeros(pictures.shape[1:], dtype=torch.float64)
        for part in torch.split(known, _AT_ONCE):
            mean += (exact(pictures[part]) / 255).sum(0)
        mean /= len(known)
        own = plain = contrast = 0.0
        none = untold(decoder).cpu()
        for part in torch.split(held, _AT_ONCE):
            wanted = pictures[part].float() / 255
            painted = decoder(maps(part)).float().clamp(0, 1).cpu()
            own += float(exact(painted - wanted).square().mean((1, 2, 3)).sum())
            contrast += float(exact((wanted - none).flatten(1).std(1, unbiased=False)).sum())
            plain += float((mean - wanted).square().mean((1, 2, 3)).sum())
        some = held[:_MOST]
        by_maps, by_pixels = _nearest(decoder, maps, pictures, known, some)
        found = [
            float((exact(pictures[match]) - exact(pictures[some])).div(255).square().mean((1, 2, 3)).mean())
            for match in (by_maps, by_pixels)
        ]
    return Errors(len(held), own / len(held), plain / len(held), found[0], found[1], contrast / len(held))


def untold(decoder: Decoder) -> Float[Tensor, "1 channel h w"]:
    """What the decoder paints when no channel is told."""
    maps = decoder.scale.new_zeros(1, *decoder.shape)
    with torch.no_grad():
        painted: Tensor = decoder(maps, maps.new_zeros(maps.shape[:2]))
    return painted.float()


def _nearest(
    decoder: Decoder, maps: Maps, pictures: Tensor, known: Tensor, some: Tensor
) -> tuple[Tensor, Tensor]:
    """For every one of ``some`` the known picture with the nearest maps (over mean peaks), and with the nearest pixels."""

    def seen(which: Tensor) -> Tensor:
        return (maps(which) / decoder.scale[:, None, None]).flatten(1).cpu()

    def shown(which: Tensor) -> Tensor:
        return pictures[which].float().flatten(1) / 255

    places = []
    for look in (seen, shown):
        wanted: Float[Tensor, "some value"] = look(some)
        best = torch.full((len(some),), torch.inf)
        place = torch.zeros(len(some), dtype=torch.long)
        for part in torch.split(known, 4 * _AT_ONCE):
            others = look(part)
            distance = others.square().sum(1) - 2 * wanted @ others.T
            least, where = distance.min(1)
            nearer = least < best
            best, place = torch.where(nearer, least, best), torch.where(nearer, part[where], place)
        places.append(place)
    return places[0], places[1]
