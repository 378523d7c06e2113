"""What a pattern holds, as a picture: only its channels of the maps of a typical image are told to the decoder.

Beside it stand the same image with all channels told, and with as many channels drawn at random among those active in it. Every
picture is fed back, in 8 bits: which of the pattern's channels are in its transaction, by the rule they were mined with, and
how probable the class is. A pattern whose picture brings back its channels and its class where that of random channels does not
holds what the picture shows; where neither does, or both, the picture says little.

A decoder of pixels by their squared error paints the mean of all pictures that agree with what it is told, and that mean is the
fainter the less it is told. So every picture, the random ones too, gets the contrast real pictures have: its distance from
what is painted when nothing is told is stretched to their mean standard deviation, at most six times. Errors are those of
pictures that were not stretched.

Source: Pang 2021 (patterns of masked maps, decoded). The typical image, the decoder that knows what it is not told, the
contrast, and the random channels are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.network import Network, NetworkLike, as_network
from pellucid.core.progress import each
from pellucid.data.batches import as_batch, traces
from pellucid.data.tensors import to_bytes
from pellucid.units.patterns import Occurrence, Pattern, Patterns
from pellucid.units.patterns.transactions import members
from pellucid.visualization.decoder.errors import untold
from pellucid.visualization.decoder.model import Decoder, DecoderError, load_decoder

Source = Literal["typical", "mean"]
_MOST_GAIN = 6.0


@dataclass(frozen=True)
class Feedback:
    """What the network makes of a decoded picture: the share of the pattern's channels in its transaction, whether all are, and
    the probability of the pattern's class. Means where there are several pictures."""

    channels: float
    present: float
    probability: float


@dataclass(frozen=True, eq=False)
class Decoded:
    """One pattern: ``picture`` of its channels alone, ``whole`` of all channels, ``random`` of as many others (the first draw),
    and the ``real`` image (of several: the typical one), all [channel h w] in [0, 1].

    ``image`` is its place among the images, ``images`` how many have the pattern, ``where`` it lies in the typical one.
    ``error`` and ``error_alone``: mean squared errors of ``whole`` and of ``picture``.
    """

    pattern: Pattern
    image: int
    images: int
    real: Float[Tensor, "channel h w"]
    whole: Float[Tensor, "channel h w"]
    picture: Float[Tensor, "channel h w"]
    random: Float[Tensor, "channel h w"]
    error: float
    error_alone: float
    own: Feedback
    of_whole: Feedback
    of_random: Feedback
    where: Occurrence

    def to_json(self) -> dict[str, Any]:
        """The numbers, as JSON can hold them."""
        return {
            "class": self.pattern.name,
            "channels": list(self.pattern.channels),
            "image": self.image,
            "images": self.images,
            "error": self.error,
            "error of the pattern alone": self.error_alone,
            "feedback": {
                name: {"channels": one.channels, "present": one.present, "probability": one.probability}
                for name, one in (
                    ("pattern", self.own),
                    ("all channels", self.of_whole),
                    ("random", self.of_random),
                )
            },
        }


@dataclass(frozen=True, eq=False)
class Decodings:
    """Decoded patterns, and in ``notes`` those no image had."""

    decoded: tuple[Decoded, ...]
    patterns: Patterns
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.decoded)


def decode(
    net: NetworkLike,
    decoder: Decoder | str,
    patterns: Patterns,
    images: Any,
    labels: Sequence[str | int] | None = None,
    *,
    chosen: Sequence[Pattern] | None = None,
    source: Source = "typical",
    contrast: bool = True,
    draws: int = 8,
    seed: int = 0,
    normalized: bool | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Decodings:
    """Paint what patterns hold, and feed the pictures back.

    The same call gives the same pictures.

    Args:
        net: a network, module, name or file; see `pellucid.load`.
        decoder: as `pellucid.train` makes it, or its file.
        patterns: of the same network and layer.
        images: as in `pellucid.attribute`; a pattern is decoded from those of its class that have it.
        labels: a class per image; the predicted ones by default.
        chosen: some of the patterns; by default all.
        source: the maps of the typical image, whose maps of the pattern's units are nearest to their mean, or that mean.
        contrast: stretch all pictures to the contrast of real ones.
        draws: of random units, among those active in the same maps.
        seed: of the draws.
        normalized: of a float tensor: True when it is ready for the network, False when it is in [0, 1].
        batch_size: images at once.
        progress: None shows a bar on a terminal.

    Returns:
        A picture for every pattern, with the network's answer to it.

    Raises:
        DecoderError: a decoder of another network or layer.
        ValueError: patterns of another network, labels of another number, an option out of range, or no image that has any
            of the patterns.
    """
    net = as_network(net)
    made = load_decoder(decoder) if isinstance(decoder, str) else decoder
    _check(net, made, patterns, source, draws)
    batch = as_batch(net, images, normalized)
    maps, present, targets = _seen(net, batch, patterns, labels, batch_size, progress)
    wanted = [
        (patterns.patterns.index(one), one) for one in (patterns.patterns if chosen is None else chosen)
    ]
    draw = torch.Generator().manual_seed(seed)
    decoded, notes = [], []
    for place, one in each(wanted, "decode", "pattern", progress):
        having = (present[:, place] & (targets == one.target)).nonzero().flatten()
        if not len(having):
            notes.append(f"no image of {one.name} has the pattern {one.label}; it was not decoded")
            continue
        image, used = _typical(maps[having].float(), one, source)
        told = _random(used, one, draws, draw)
        plain = _painted(made, used, one, told)
        pictures = stretched(plain, made) if contrast else plain.clamp(0, 1)
        shown = net.preprocess.denormalize(batch[having[image]])[None].float().cpu().clamp(0, 1)
        found = _fed_back(net, patterns, one, pictures)
        difference = (plain[:2].clamp(0, 1) - shown).square().mean((1, 2, 3)).tolist()
        decoded.append(
            Decoded(
                one, int(having[image]), len(having), shown[0], pictures[0], pictures[1], pictures[2],
                difference[0], difference[1], found[1], found[0], _mean(found[2:]),
                patterns.occurrence(one, maps[having[image]], int(having[image])),
            )
        )  # fmt: skip
    if not decoded:
        raise ValueError(
            f"Expected images that have the patterns, got none among {len(batch)}; try more images of "
            f"{', '.join(dict.fromkeys(one.name for _, one in wanted))}."
        )
    return Decodings(tuple(decoded), patterns, tuple(notes))


def _check(net: Network, decoder: Decoder, patterns: Patterns, source: str, draws: int) -> None:
    patterns.check(net)
    decoder.check(net)
    if decoder.layer != patterns.layer:
        raise DecoderError(
            f"Expected a decoder of `{patterns.layer}`, the layer of the patterns, got one of `{decoder.layer}`; train one with "
            f"`pellucid train decoder --layer {patterns.layer}`."
        )
    if source not in ("typical", "mean"):
        raise ValueError(f'Expected `source` to be "typical" or "mean", got {source!r}.')
    if draws < 1:
        raise ValueError(f"Expected `draws` of at least 1, got {draws}.")


def _seen(
    net: Network, batch: Tensor, patterns: Patterns, labels: Sequence[str | int] | None, batch_size: int,
    progress: bool | None,
) -> tuple[Tensor, Bool[Tensor, "image pattern"], Tensor]:  # fmt: skip
    """Maps in half precision, which patterns are present, and the classes."""
    if labels is not None and len(labels) != len(batch):
        raise ValueError(f"Expected one label for each of {len(batch)} images, got {len(labels)}.")
    kept, present, classes = [], [], []
    for trace in traces(
        net,
        batch,
        (patterns.layer,),
        None,
        batch_size,
        gradients=False,
        progress=progress,
        label=patterns.layer,
    ):
        maps = trace.activations[patterns.layer].float().cpu()
        kept.append(maps.half())
        present.append(patterns.present(maps))
        classes.append(net.probabilities(trace.output).argmax(1).cpu())
    targets = torch.cat(classes) if labels is None else torch.tensor([net.class_index(one) for one in labels])
    return torch.cat(kept), torch.cat(present), targets


def _typical(maps: Tensor, one: Pattern, source: Source) -> tuple[int, Tensor]:
    """The place of the typical image, and the maps [unit h w] to decode."""
    mine = maps[:, list(one.channels)]
    distance = (mine - mine.mean(0)).square().sum((1, 2, 3))
    image = int(distance.argmin())
    return image, maps[image] if source == "typical" else maps.mean(0)


def _random(maps: Tensor, one: Pattern, draws: int, draw: torch.Generator) -> Bool[Tensor, "draw unit"]:
    """As many channels as the pattern has, among the others that are active in these maps; among all others where too few are."""
    others = torch.ones(len(maps), dtype=torch.bool)
    others[list(one.channels)] = False
    active = others & (maps.amax((1, 2)) > 0)
    pool = (active if int(active.sum()) >= len(one.channels) else others).nonzero().flatten()
    told = torch.zeros(draws, len(maps), dtype=torch.bool)
    for row in told:
        row[pool[torch.randperm(len(pool), generator=draw)[: len(one.channels)]]] = True
    return told


def _painted(
    decoder: Decoder, maps: Tensor, one: Pattern, random: Tensor
) -> Float[Tensor, "picture channel h w"]:
    """Pictures of all channels, of the pattern's, and of every draw of random ones."""
    told = torch.zeros(2, len(maps), dtype=torch.bool)
    told[0] = True
    told[1, list(one.channels)] = True
    told = torch.cat([told, random])
    device = decoder.scale.device
    with torch.no_grad():
        painted: Tensor = decoder(maps[None].expand(len(told), -1, -1, -1).to(device), told.to(device))
    return painted.float().cpu()


def stretched(pictures: Tensor, decoder: Decoder) -> Float[Tensor, "picture channel h w"]:
    """With the contrast of real pictures, about what is painted when nothing is told; in [0, 1]."""
    none = untold(decoder).to(pictures)
    apart = pictures - none
    spread = apart.flatten(1).std(1, unbiased=False).clamp(min=1e-6)
    gain = (float(decoder.facts["errors"]["contrast"]) / spread).clamp(1, _MOST_GAIN)
    stretched: Tensor = none + gain[:, None, None, None] * apart
    return stretched.clamp(0, 1)


def _fed_back(net: Network, patterns: Patterns, one: Pattern, pictures: Tensor) -> list[Feedback]:
    """Of every picture, in 8 bits."""
    batch = net.preprocess.normalize(to_bytes(pictures)).to(net.device, net.dtype)
    found = []
    for trace in traces(net, batch, (patterns.layer,), None, len(batch), gradients=False, progress=False):
        rows = members(
            patterns.values(trace.activations[patterns.layer].float().cpu()), patterns.settings.top
        )
        mine = rows[:, :, list(one.channels)].float().mean(2).amax(1).tolist()
        odds = net.probabilities(trace.output)[:, one.target].cpu().tolist()
        found += [Feedback(share, float(share == 1), odd) for share, odd in zip(mine, odds, strict=True)]
    return found


def _mean(several: Sequence[Feedback]) -> Feedback:
    return Feedback(
        fmean(one.channels for one in several),
        fmean(one.present for one in several),
        fmean(one.probability for one in several),
    )
