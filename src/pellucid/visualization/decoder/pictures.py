"""What a decoder learns from: pictures as the network sees them, and their maps, kept in memory where they fit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from pellucid.core.capture import observe
from pellucid.core.network import Network
from pellucid.core.precision import exact
from pellucid.core.progress import bar
from pellucid.data.preprocess import to_batch
from pellucid.data.tensors import to_bytes

_AT_ONCE = 64


def as_pictures(net: Network, images: Any) -> UInt8[Tensor, "picture channel h w"]:
    """Pictures as the network sees them, in 8 bits. Raises ImageError as `pellucid.data.preprocess.to_batch` does."""
    size = net.input_shape
    if isinstance(images, Tensor) and images.dtype == torch.uint8 and images.shape[1:] == size:
        return images
    return to_bytes(net.preprocess.denormalize(to_batch(images, net.preprocess)[0]).clamp(0, 1)).cpu()


class Maps:
    """The maps [picture unit h w] of a layer, by index; kept in half precision where ``cache`` megabytes hold them."""

    def __init__(
        self, net: Network, layer: str, pictures: UInt8[Tensor, "picture channel h w"], cache: int, progress: bool | None
    ) -> None:  # fmt: skip
        self.net, self.layer, self.pictures = net, layer, pictures
        shape = net.layer(layer).shape
        self.kept: Tensor | None = None
        if len(pictures) * shape[0] * shape[1] * shape[2] * 2 <= cache * 1_000_000:
            self.kept = torch.empty(len(pictures), *shape, dtype=torch.float16)
            for part, maps in self._passes(progress):
                self.kept[part] = maps.cpu().half()

    def __call__(self, which: Int[Tensor, " picture"]) -> Float[Tensor, "picture unit h w"]:
        """The maps of some pictures, in single precision."""
        if self.kept is not None:
            return self.kept[which].float().to(self.net.device)
        return self._maps(self.pictures[which]).half().float()

    def scale(self, which: Int[Tensor, " picture"], progress: bool | None) -> Float[Tensor, " unit"]:
        """Mean peak of every channel over some pictures; 1 for one that never is positive."""
        total = torch.zeros(self.net.layer(self.layer).shape[0], dtype=torch.float64)
        with bar(len(which), "scales", "picture", progress) as shown:
            for part in torch.split(which, _AT_ONCE):
                total += exact(self(part).amax((2, 3)).clamp(min=0)).sum(0).cpu()
                shown.update(len(part))
        mean = (total / len(which)).float()
        return torch.where(mean > 0, mean, 1)

    def _passes(self, progress: bool | None) -> Iterator[tuple[slice, Tensor]]:
        with bar(len(self.pictures), f"maps of {self.layer}", "picture", progress) as shown:
            for first in range(0, len(self.pictures), _AT_ONCE):
                part = slice(first, first + _AT_ONCE)
                yield part, self._maps(self.pictures[part])
                shown.update(len(self.pictures[part]))

    def _maps(self, pictures: Tensor) -> Tensor:
        found: list[Tensor] = []
        batch = self.net.preprocess.normalize(pictures.to(self.net.device)).to(self.net.dtype)
        batch = batch.contiguous(memory_format=self.net.memory_format)
        observe(self.net, batch, (self.layer,), lambda _, maps: found.append(maps.float().clone()))
        return found[0]


def digest(pictures: UInt8[Tensor, "picture channel h w"]) -> str:
    """SHA-256 of all pixels, by which a training is known to go on with the same pictures."""
    return hashlib.sha256(pictures.contiguous().numpy().tobytes()).hexdigest()
