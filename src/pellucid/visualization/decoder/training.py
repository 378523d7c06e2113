"""Training a decoder: what ``pellucid train decoder`` runs.

The network is frozen; its maps are inputs and are computed once where they fit into memory. Loss: the mean squared distance of
pixels in [0, 1], plus ``perceptual`` times that of the activations of the network's own first stages over their variance
(Dosovitskiy, Brox 2016; Johnson, Alahi, Fei-Fei 2016). Adam, one cycle of the learning rate. Of a share ``partial`` of
the pictures of a step only a random set of channels is told, of any number from 1 to all, small ones more often.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid._version import __version__
from pellucid.core.network import Network
from pellucid.core.provenance import machine
from pellucid.core.running import undisturbed
from pellucid.core.storage import fingerprint, write_text
from pellucid.training.loop import Job, generator, order, shares, train
from pellucid.training.workplace import check_free, workplace
from pellucid.visualization.cut import Cut
from pellucid.visualization.decoder.errors import Errors, errors
from pellucid.visualization.decoder.model import Decoder, doublings
from pellucid.visualization.decoder.pictures import Maps, as_pictures, digest
from pellucid.visualization.decoder.settings import DecoderTraining

_FEWEST = 8  # pictures


@dataclass(frozen=True)
class _Setup(DecoderTraining):
    """The settings with what else a checkpoint must agree on."""

    network: str = ""
    layer: str = ""
    pictures: str = ""


def train_decoder(
    net: Network,
    images: Any,
    layer: str | None = None,
    settings: DecoderTraining | None = None,
    *,
    out: str | Path = "pellucid-out/decoder",
    progress: bool | None = None,
) -> Decoder:
    """Train a decoder of a layer and write ``NAME-LAYER.safetensors`` with its card ``NAME-LAYER.md`` into ``out``.

    ``images``: what `pellucid.data.preprocess.to_batch` takes, or bytes [picture channel h w] at the network's size; no labels
    are needed. ``layer`` is the last stage by default. Every epoch ends with a checkpoint in ``out``; the same call goes on
    there and reaches the same weights.

    Raises DecoderError for a layer of one cell or of the picture's size, ValueError for fewer than 8 pictures or a checkpoint of
    other settings, UnknownNameError for an unknown layer, FloatingPointError when the loss is no longer finite.
    """
    chosen = settings or DecoderTraining()
    name = net.layer(layer or net.default_layers[-1]).name
    doublings(net.layer(name).shape, net.input_shape)
    pictures = as_pictures(net, images)
    if len(pictures) < _FEWEST:
        raise ValueError(
            f"Expected at least {_FEWEST} pictures to train a decoder on, got {len(pictures)}; some hundreds are a beginning."
        )
    folder, stem = Path(out), stem_of(net.name, name)
    check_free(folder, stem)
    with workplace(folder, stem) as checkpoint:
        with undisturbed(net.module):
            maps = Maps(net, name, pictures, chosen.cache, progress)
            job = DecoderJob(net, name, pictures, maps, chosen, progress)
            record = train(job, checkpoint, precision=chosen.precision, progress=progress)
            decoder = job.decoder
            _round(decoder)
            measured = errors(decoder, maps, pictures, job.training, job.held)
        decoder.facts = _facts(net, name, chosen, job, record.seconds, record.history, measured)
        decoder.save(folder / f"{stem}.safetensors")
        write_text(folder / f"{stem}.md", card(decoder.facts))
    return decoder.requires_grad_(False)


class DecoderJob(Job):
    """The training of one decoder, for `pellucid.training.loop`."""

    def __init__(
        self, net: Network, layer: str, pictures: UInt8[Tensor, "picture channel h w"], maps: Maps,
        settings: DecoderTraining, progress: bool | None,
    ) -> None:  # fmt: skip
        self.net, self.layer, self.pictures, self.maps, self.options = net, layer, pictures, maps, settings
        self.settings = _Setup(
            **asdict(settings), network=fingerprint(net.module), layer=layer, pictures=digest(pictures)
        )
        self.title, self.epochs, self.seed = f"decoder of {layer}", settings.epochs, settings.seed
        self.held, self.training = _parted(len(pictures), settings)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(settings.seed)
            self.decoder = Decoder(
                net.layer(layer).shape, net.input_shape, settings.width, settings.convolutions
            )
        self.decoder.scale.copy_(maps.scale(self.training, progress))
        self.decoder.to(net.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.module = self.decoder
        rate = settings.learning_rate
        self.optimizer = torch.optim.Adam(self.decoder.parameters(), rate)
        total = max(8, self.steps() * settings.epochs)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, rate, total_steps=total, pct_start=0.1, cycle_momentum=False
        )
        self.perceptual = _Perceptual(net, settings.stages) if settings.perceptual else None
        if self.perceptual is not None:
            self.perceptual.measure(self._pictures(self.training[:64]))

    def steps(self) -> int:
        """Batches of an epoch."""
        return math.ceil(len(self.training) / self.options.batch_size)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Pictures, and which of their channels are told."""
        draws = generator(self.seed, epoch, 1)
        units = self.decoder.shape[0]
        for which in shares(order(len(self.training), self.seed, epoch), self.options.batch_size):
            yield self.training[which], _told(len(which), units, self.options.partial, draws)

    def loss(self, forward: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Pixels, and the first stages where asked for."""
        which, told = batch
        wanted = self._pictures(which)
        painted: Tensor = forward(self.maps(which), told.to(self.net.device))
        pixels = (painted.float() - wanted).square().mean()
        if self.perceptual is None:
            return pixels, {"pixels": float(pixels.detach())}
        felt = self.perceptual(painted.to(wanted), wanted)
        numbers = {"pixels": float(pixels.detach()), "perceptual": float(felt.detach())}
        return pixels + self.options.perceptual * felt, numbers

    def validate(self) -> dict[str, float]:
        """Mean squared error of the pictures held out, all channels told."""
        total = 0.0
        for part in torch.split(self.held, 64):
            painted = self.decoder(self.maps(part)).clamp(0, 1)
            total += float((painted - self._pictures(part)).square().mean((1, 2, 3)).sum())
        return {"held_out": total / len(self.held)}

    def _pictures(self, which: Tensor) -> Tensor:
        return self.pictures[which].to(self.net.device).float() / 255


class _Perceptual:
    """Squared distance of the activations of the network's first stages, over their variance, mean over the stages.

    The pictures are halved first: the texture of single pixels is what maps of a later layer cannot know, and their mean over
    what it could be is nothing. It is also four times as fast.
    """

    def __init__(self, net: Network, stages: int) -> None:
        self.net = net
        self.cut = Cut(net, list(net.default_layers[:stages]), whole=False)
        mean, std = net.preprocess.mean, net.preprocess.std
        self._mean, self._std = (
            torch.tensor(values, device=net.device)[:, None, None] for values in (mean, std)
        )
        self.variance: dict[str, Tensor] = {}

    def measure(self, pictures: Tensor) -> None:
        """Variance of the activations, by which distances are divided."""
        with torch.no_grad():
            for name, maps in self._see(pictures).items():
                self.variance[name] = maps.float().var((0, 2, 3), unbiased=False).mean().clamp(min=1e-12)

    def __call__(self, painted: Tensor, wanted: Tensor) -> Tensor:
        with torch.no_grad():
            goal = self._see(wanted)
        seen = self._see(painted)
        parts = [
            (maps.float() - goal[name].float()).square().mean() / self.variance[name]
            for name, maps in seen.items()
        ]
        return torch.stack(parts).mean()

    def _see(self, pictures: Tensor) -> Mapping[str, Tensor]:
        given = (F.avg_pool2d(pictures, 2) - self._mean.to(pictures)) / self._std.to(pictures)
        kept: Mapping[str, Tensor] = self.cut(
            given.to(self.net.dtype).contiguous(memory_format=self.net.memory_format)
        )[0]
        return kept


def _told(count: int, units: int, partial: float, draws: torch.Generator) -> Tensor:
    """Which channels are told, [picture unit]: all, or of a share ``partial`` of the pictures some.

    Half of those get a share of the channels that is the square of a uniform number, half at most eight channels, as a pattern
    has; one at least.
    """
    kind, size = torch.rand(2, count, generator=draws)
    few = torch.rand(count, generator=draws) < 0.5
    number = torch.where(few, 1 + size * min(8, units), 1 + size.square() * units).long().clamp(max=units)
    rank = torch.rand(count, units, generator=draws).argsort(1).argsort(1)
    return torch.logical_or(rank < number[:, None], (kind >= partial)[:, None])


def _parted(count: int, settings: DecoderTraining) -> tuple[Tensor, Tensor]:
    """Pictures held out, and those trained on."""
    draw = torch.Generator().manual_seed(settings.seed)
    shuffled = torch.randperm(count, generator=draw)
    held = min(max(1, round(settings.held_out * count)), count - 1)
    return shuffled[:held].sort().values, shuffled[held:].sort().values


def _round(decoder: Decoder) -> None:
    """Matrices as they will be in the file, so that the stated error is that of the file."""
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.ndim > 1:
                parameter.copy_(parameter.half().float())


def stem_of(network: str, layer: str) -> str:
    """What the files of a decoder are called."""
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in f"{network}-{layer}")
    return safe.strip("-.") or "decoder"


def _facts(
    net: Network, layer: str, settings: DecoderTraining, job: DecoderJob, seconds: float,
    history: list[dict[str, float]], measured: Errors,
) -> dict[str, Any]:  # fmt: skip
    return {
        "network": net.name,
        "sha256": fingerprint(net.module),
        "layer": layer,
        "settings": asdict(settings),
        "pictures": len(job.pictures),
        "parameters": sum(parameter.numel() for parameter in job.decoder.parameters()),
        "errors": asdict(measured),
        "history": history,
        "training_minutes": round(seconds / 60, 1),
        "machine": machine(),
        "pellucid": __version__,
    }


def card(facts: Mapping[str, Any]) -> str:
    """The card of a decoder, in Markdown."""
    settings, measured = facts["settings"], facts["errors"]
    rows = {
        "network": f"{facts['network']}, weights {facts['sha256'][:12]}",
        "layer": facts["layer"],
        "pictures": f"{facts['pictures']:,}, of which {measured['pictures']:,} held out",
        "squared error of held-out pictures": f"{measured['decoder']:.4f}",
        "of the mean picture": f"{measured['mean']:.4f}",
        "of the training picture with the nearest maps": f"{measured['nearest_maps']:.4f}",
        "of the training picture with the nearest pixels": f"{measured['nearest_pixels']:.4f}",
        "parameters": f"{facts['parameters']:,}, matrices in half precision",
        "training": ", ".join(f"{name} {value}" for name, value in settings.items()),
        "time": f"{facts['training_minutes']:g} minutes of training steps",
        "machine": facts["machine"],
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""# Decoder of {facts["layer"]} of {facts["network"]}

Paints the picture that maps of this layer stand for, of all channels or of some (`pellucid visualize --method decode`). It was
trained on the maps of this very network and knows nothing of pictures unlike those it was trained on.

| | |
|---|---|
{table}

Made by `pellucid train decoder --net {facts["network"]} --layer {facts["layer"]}`.
"""
