"""Decoding: the picture a few channels of a real image's maps stand for, painted by a trained up-convolution network.

Unlike the other methods it does not climb. The objective's channels, at the layer of the decoder, are kept of the maps of one
real image, the one in which they are most active together; all others are not told to the decoder
(`pellucid.visualization.decoder`). ``steps`` is 1. Source: Pang 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.registry import register
from pellucid.visualization.decoder.decoding import stretched
from pellucid.visualization.decoder.model import Decoder, DecoderError, load_decoder
from pellucid.visualization.draws import Stream, Transforms
from pellucid.visualization.method import Method, Painter
from pellucid.visualization.objective import Channel, Objective
from pellucid.visualization.problem import Problem

_AT_ONCE = 64


@register("visualization", "decode", paper="dosovitskiy2016")
@dataclass(frozen=True)
class Decode(Method):
    """Decoded from the channels' maps of a real image, by a network trained with `pellucid train decoder`.

    Attributes:
        steps: 1; nothing is climbed
        decoder: the file of the decoder
        contrast: stretch the picture to the contrast real ones have
    """

    steps: int = 1
    decoder: str = ""
    contrast: bool = True

    def __post_init__(self) -> None:
        if self.steps != 1:
            raise ValueError(f"Expected `steps` of 1, for nothing is climbed, got {self.steps}.")

    def painter(self, problem: Problem) -> Painter:
        """What decodes one batch. Raises DecoderError without a decoder of the network and of the objectives' layer."""
        return _Decoded(problem, self)


class _Decoded(Painter):
    def __init__(self, problem: Problem, method: Decode) -> None:
        self.decoder, self.contrast = load_decoder(method.decoder), method.contrast
        self.decoder.check(problem.net)
        self.decoder.to(problem.net.device)
        told = torch.stack([_channels(one, self.decoder) for one in problem.objectives])
        told = told.to(problem.net.device)
        # what is told is a leaf too, so that some rows can be painted by themselves
        leaves = [self._maps(problem, told), told.float()]
        super().__init__(problem, leaves, method.steps, Transforms())

    def paint(self, leaves: list[Tensor]) -> Float[Tensor, "rows channel h w"]:
        """Decoded pictures in [0, 1]."""
        painted: Tensor = self.decoder(leaves[0], leaves[1])
        return stretched(painted, self.decoder) if self.contrast else painted.clamp(0, 1)

    def see(self, pictures: Tensor, streams: Sequence[Stream]) -> Tensor:
        """The pictures as they are."""
        return pictures

    def move(self, gradients: list[Tensor], step: int) -> None:
        """Nothing is climbed."""

    @torch.no_grad()
    def _maps(self, problem: Problem, told: Tensor) -> Tensor:
        """For every objective the maps of the image whose weakest told channel is strongest."""
        if problem.real is None:
            raise ValueError(
                "Expected real images to decode the maps of, got none; try `images=FOLDER` (`--images FOLDER`)."
            )
        name = self.decoder.layer
        parts = [problem.read(part).activations[name].float() for part in torch.split(problem.real, _AT_ONCE)]
        maps = torch.cat(parts)
        shares = maps.amax((2, 3)) / self.decoder.scale
        best = [int(shares[:, row].amin(1).argmax()) for row in told]
        return maps[best]


def _channels(one: Objective, decoder: Decoder) -> Tensor:
    """Which channels an objective speaks of. Raises DecoderError for anything but channels of the decoder's layer."""
    told = torch.zeros(decoder.shape[0], dtype=torch.bool)
    for weight, atom in one.terms:
        if not isinstance(atom, Channel) or weight <= 0 or atom.layer != decoder.layer:
            raise DecoderError(
                f"Expected channels of `{decoder.layer}`, the layer of the decoder, got `{one.label}`; try patterns or units of "
                f"`{decoder.layer}`."
            )
        told[atom.index] = True
    return told
