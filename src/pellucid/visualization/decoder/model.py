"""The decoder: from the maps of a layer to the picture, by 3×3 convolutions and 5×5 up-convolutions of stride 2.

Every up-convolution doubles the side and halves the channels (256, 128, 64, 32, picture, times a width), with leaky rectifiers
of slope 0.2 between them: the network of Pang 2021 and of the inversions of Dosovitskiy, Brox, CVPR 2016. We differ in one
input more per channel: whether the channel is told. It is trained on pictures of which only some channels are told too, so
that what it paints of the few channels of a pattern is the mean of the pictures that agree with them, not what a network
makes of maps it never saw. Maps come in as shares of the channel's mean peak.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.core.bundle import Kind, read_arrays, read_header
from pellucid.core.documents import DocumentError, FlawError, convert, lowered, within
from pellucid.core.network import Network
from pellucid.core.storage import fingerprint

_SLOPE = 0.2
_WIDEST, _NARROWEST = 256, 32


class DecoderError(DocumentError):
    """A decoder that cannot be made for a layer, cannot be read, or belongs to another network or layer."""


class Decoder(nn.Module):
    """Pictures [batch channel h w] in about [0, 1] of maps [batch unit h w].

    ``shape``: of the maps; ``picture``: of what is painted. Raises DecoderError for maps of one cell, or as large as the picture.
    """

    scale: Tensor

    def __init__(
        self, shape: tuple[int, int, int], picture: tuple[int, int, int], width: float = 1.0, convolutions: int = 2
    ) -> None:  # fmt: skip
        super().__init__()
        self.shape, self.picture, self.width, self.convolutions = shape, picture, width, convolutions
        self.facts: Mapping[str, Any] = {}
        widths = channels(shape, picture, width)
        layers: list[nn.Module] = []
        inputs = 2 * shape[0]
        for _ in range(convolutions):
            layers += [nn.Conv2d(inputs, widths[0], 3, padding=1), nn.LeakyReLU(_SLOPE, inplace=True)]
            inputs = widths[0]
        for outputs in (*widths[1:], picture[0]):
            layers += [nn.ConvTranspose2d(inputs, outputs, 5, 2, 2, 1), nn.LeakyReLU(_SLOPE, inplace=True)]
            inputs = outputs
        self.layers = nn.Sequential(*layers[:-1])
        self.register_buffer("scale", torch.ones(shape[0]))
        _begin(self.layers)

    def forward(
        self, maps: Float[Tensor, "batch unit h w"], told: Bool[Tensor, "batch unit"] | None = None
    ) -> Float[Tensor, "batch channel height width"]:
        """``told``: which channels may be used, all by default; the maps of the others are not looked at."""
        known = maps.new_ones(maps.shape[:2]) if told is None else told.to(maps)
        known = known[:, :, None, None]
        shares = torch.where(known > 0, maps / self.scale.to(maps)[:, None, None], 0)
        given = torch.cat([shares, known.expand_as(shares)], 1).contiguous(memory_format=torch.channels_last)
        painted: Tensor = self.layers(given)
        if painted.shape[2:] != self.picture[1:]:
            painted = F.interpolate(painted, self.picture[1:], mode="bilinear", antialias=False)
        return painted

    @property
    def layer(self) -> str:
        """Whose maps it decodes."""
        return str(self.facts.get("layer", ""))

    def check(self, net: Network) -> None:
        """Raises DecoderError where it was trained on another network."""
        digest = fingerprint(net.module)
        if self.facts.get("sha256") != digest:
            raise DecoderError(
                f"Expected a decoder of this network, `{net.name}` with weights {digest[:12]}, got one of "
                f"`{self.facts.get('network')}` with weights {str(self.facts.get('sha256'))[:12]}; train one with "
                "`pellucid train decoder`."
            )

    def save(self, file: Path) -> None:
        """Write weights and facts as one file, matrices in half precision."""
        built = _Built(self.shape, self.picture, self.width, self.convolutions)
        DECODER.write(
            file,
            _Facts(built, dict(self.facts)),
            {key: value.half() if value.ndim > 1 else value for key, value in self.state_dict().items()},
        )


_Side = Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]


class _Built(msgspec.Struct, frozen=True):
    """How large a decoder is; bounded, so that a file cannot ask for one that fills the memory."""

    shape: tuple[_Side, _Side, _Side]
    picture: tuple[_Side, _Side, _Side]
    width: Annotated[float, msgspec.Meta(gt=0, le=64)]
    convolutions: Annotated[int, msgspec.Meta(ge=1, le=64)]


class _Facts(msgspec.Struct, frozen=True):
    """What a stored decoder says of itself."""

    decoder: _Built
    facts: dict[str, Any]


class _Known(msgspec.Struct, frozen=True):
    """Facts that are read by name; others are only shown."""

    layer: str = ""
    network: str | None = None
    sha256: str | None = None


DECODER = Kind("pellucid decoder", 2, _Facts, "`pellucid train decoder`", DecoderError)


def load_decoder(file: str | Path, net: Network | None = None, layer: str | None = None) -> Decoder:
    """The decoder that ``pellucid train decoder`` wrote, in evaluation mode and on the network's device.

    Raises DecoderError for a missing or damaged file or another kind of weights, and, with ``net`` or ``layer``, for a
    decoder of another network or layer.
    """
    path = Path(file)
    if not str(file):
        raise DecoderError(
            "Expected the file of a decoder, got none; try `decoder=FILE` (`--decoder FILE`), which `pellucid train decoder` "
            "writes."
        )
    if not path.exists():
        raise DecoderError(
            f"Expected a decoder, got `{file}`, which is not there; try `pellucid train decoder --layer LAYER --images FOLDER`."
        )
    try:
        decoder = _read(path)
    except FlawError as flaw:
        raise DECODER.damaged(path, flaw) from None
    if layer is not None and decoder.layer != layer:
        raise DecoderError(
            f"Expected a decoder of layer `{layer}`, got one of `{decoder.layer}` in `{file}`; train one with "
            f"`pellucid train decoder --layer {layer}`, or take patterns of `{decoder.layer}`."
        )
    if net is not None:
        decoder.check(net)
        decoder.to(net.device)
    return decoder.eval().requires_grad_(False)


def _read(file: Path) -> Decoder:
    """The decoder of a file of either version; what it asks for is compared with what is there before it is built."""
    metadata, tensors = read_header(file)
    if metadata.get("kind") == DECODER.name and metadata.get("schema") == "1":
        facts = _Facts(within(metadata, "decoder", _Built), within(metadata, "facts", dict[str, Any]))
        arrays = read_arrays(file)
    else:
        bundle = DECODER.read(file)
        facts, arrays = bundle.facts, bundle.arrays
    known = convert({"facts": facts.facts}, dict[str, _Known])["facts"]
    built = facts.decoder
    sizes = built.shape, built.picture, built.width, built.convolutions
    try:
        with torch.device("meta"):
            wanted = Decoder(*sizes).state_dict()
    except DecoderError as error:
        raise FlawError(f"decoder: {lowered(str(error))}") from None
    for name, tensor in wanted.items():
        if tensors.get(name, ("", ()))[1] != tuple(tensor.shape):
            got = f"[{' '.join(map(str, tensors[name][1]))}]" if name in tensors else "none"
            raise FlawError(f"{name}: expected an array [{' '.join(map(str, tensor.shape))}], got {got}")
    decoder = Decoder(*sizes)
    decoder.load_state_dict(
        {
            name: torch.from_numpy(arrays.take(name, "float32", tuple(tensor.shape)))
            for name, tensor in wanted.items()
        }
    )
    if not bool((decoder.scale > 0).all()):
        raise FlawError(f"scale: expected values above 0, got {float(decoder.scale.min()):g}")
    decoder.facts = {**facts.facts, "layer": known.layer}
    return decoder


def doublings(shape: tuple[int, int, int], picture: tuple[int, int, int]) -> int:
    """How many up-convolutions lead from the maps nearest to the picture. Raises DecoderError where none does."""
    if min(shape[1:]) < 2:
        raise DecoderError(
            f"Expected a layer whose map has several cells, got {shape[1]}×{shape[2]}: a single cell says nothing of places; "
            "try an earlier layer."
        )
    count = round(math.log2(picture[1] / shape[1]))
    if count < 1:
        raise DecoderError(
            f"Expected a layer with a smaller map than the picture, got {shape[1]}×{shape[2]} for {picture[1]}×{picture[2]}; "
            "try a later layer."
        )
    return count


def channels(shape: tuple[int, int, int], picture: tuple[int, int, int], width: float) -> tuple[int, ...]:
    """Of the first convolutions and of every up-convolution but the last.

    >>> channels((128, 8, 8), (3, 128, 128), 1.0), channels((96, 16, 16), (3, 128, 128), 0.5)
    ((256, 128, 64, 32), (64, 32, 16))
    """
    count = doublings(shape, picture)
    halved = [min(_WIDEST, _NARROWEST * 2 ** (count - 1 - k)) for k in range(count)]
    return tuple(max(4, round(width * one)) for one in halved)


def _begin(layers: nn.Sequential) -> None:
    """Weights that keep the size of signals under this slope (He and others 2015) and begin smooth; the last begins at gray.

    torch begins transposed convolutions with their outputs' fan, which lets signals die out over four of them. With five taps
    and a stride of two, every other pixel gets three taps and its neighbor two, which shows as a grid for long; a binomial
    kernel gives both the same sum.
    """
    for layer in layers:
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            fan = layer.in_channels * layer.kernel_size[0] ** 2 / layer.stride[0] ** 2
            deviation = math.sqrt(2 / ((1 + _SLOPE**2) * fan))
            with torch.no_grad():
                layer.weight.normal_(0, deviation)
                if isinstance(layer, nn.ConvTranspose2d):
                    binomial = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0])
                    kernel = torch.outer(binomial, binomial)
                    smooth = (
                        torch.randn(*layer.weight.shape[:2], 1, 1) * kernel / kernel.square().mean().sqrt()
                    )
                    layer.weight.mul_(0.3).add_(smooth, alpha=deviation * math.sqrt(1 - 0.3**2))
                if layer.bias is not None:
                    layer.bias.zero_()
    last = layers[-1]
    assert isinstance(last, nn.ConvTranspose2d)
    assert last.bias is not None
    with torch.no_grad():
        last.weight.mul_(0.1)
        last.bias.fill_(0.5)
