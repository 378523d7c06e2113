"""``pellucid train decoder``: what the maps of a layer stand for, learned as a picture, with its card."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pellucid.commands.console import complain, say
from pellucid.commands.options import Folder, NetOptions, Switch, flag, group, parse

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor

    from pellucid.core.network import Network

_SCENES = "scenes:train/0-3999"
_MAX_PIXELS = 100_000_000
_AT_ONCE = 64


@dataclass(frozen=True)
class TrainDecoder(NetOptions):
    """Train the up-convolution decoder of a layer, which pellucid visualize --method decode paints with.

    Writes NETWORK-LAYER.safetensors and its card. Interrupted, it goes on from the last whole epoch when called again with
    the same settings and pictures. No labels are needed.
    """

    layer: Annotated[str | None, flag("LAYER")] = None
    """where; by default the last stage"""
    images: Annotated[tuple[str, ...], flag("IMAGE ...")] = ("scenes",)
    """what to learn from: files, folders, scenes:SPLIT/FIRST-LAST, or scenes for 4000 training scenes"""
    recursive: Switch = False
    """look into subfolders too"""
    out: Folder = Path("pellucid-out/train")
    """where weights and card go"""


def run(arguments: Sequence[str]) -> int:
    """Parse, with the settings of the training among the flags, and train."""
    options: Any = parse(_command(), "train decoder", arguments)
    from pellucid.commands.train import keeping
    from pellucid.visualization.decoder import DecoderTraining, train_decoder
    from pellucid.visualization.decoder.model import doublings
    from pellucid.visualization.decoder.training import stem_of

    chosen = DecoderTraining(**vars(options.settings))
    net = options.noted()
    layer = net.layer(options.layer or net.default_layers[-1])
    doublings(layer.shape, net.input_shape)
    pictures = gathered_pictures(net, options.images, options.recursive)
    stem = stem_of(net.name, layer.name)
    with keeping(options.out / f"{stem}.checkpoint.pt"):
        decoder = train_decoder(net, pictures, layer.name, chosen, out=options.out)
    found = decoder.facts["errors"]
    say(
        f"squared error of {found['pictures']} held-out pictures: {found['decoder']:.4f}; of the mean picture "
        f"{found['mean']:.4f}, of the training picture with the nearest maps {found['nearest_maps']:.4f}, with the nearest "
        f"pixels {found['nearest_pixels']:.4f}"
    )
    say(f"decoder: {options.out / f'{stem}.safetensors'}")
    return 0


def _command() -> type[Any]:
    from pellucid.visualization.decoder.settings import DecoderTraining

    made = dataclasses.make_dataclass(
        "TrainDecoder",
        [group("settings", "training", DecoderTraining, "How it is trained.")],
        bases=(TrainDecoder,),
        frozen=True,
    )
    made.__doc__ = TrainDecoder.__doc__
    return made


def gathered_pictures(
    net: Network, named: Sequence[str], recursive: bool
) -> UInt8[Tensor, "picture channel h w"]:
    """All pictures named, as the network sees them, in 8 bits; some at a time, so that no folder is in memory as it is."""
    import torch

    from pellucid.commands.sources import gather
    from pellucid.data.pixels import ImageError
    from pellucid.visualization.decoder.pictures import as_pictures

    gathered = gather([_SCENES if one == "scenes" else one for one in named], recursive=recursive)
    for name, reason in (*gathered.failed, *gathered.skipped):
        complain(f"left out {name}: {reason}")
    read: list[Any] = []
    parts = []
    for one in gathered.sources:
        try:
            read.append(one.read(_MAX_PIXELS))
        except ImageError as error:
            complain(f"left out {one.name}: {error}")
        if len(read) == _AT_ONCE:
            parts.append(as_pictures(net, read))
            read = []
    if read:
        parts.append(as_pictures(net, read))
    if not parts:
        raise ValueError(f"Expected pictures that can be read, got none in {', '.join(named)}.")
    return torch.cat(parts)
