"""A readout: which parts and colors a picture of the concept world shows, read off the stages of two embedded networks.

    x       = b + Σ over stages of both networks of enlarged W_stage · activation       (64 × 64 cells of 2 × 2 pixels)
    answers = W ReLU(x)              softmax over parts, and over colors, each with "none"
    scene   = softmax(W_scene · GAP(last activations))

The networks stay as they are; only the readout was fitted, on pixels of 1,600 training scenes
(``studies/sentences_readout.py``), in the manner of the probes of Fong and Vedaldi, "Net2Vec", CVPR 2018, but over all stages
at once and with a hidden layer. It answers as a `pellucid.explanation.recognizer.Recognizer` does. A part's probability is the
mean of its six largest cells; its threshold is the lowest at which 99 % of the parts named on validation scenes are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.core.capture import capture
from pellucid.core.documents import FlawError, Share, within
from pellucid.core.network import Network
from pellucid.world.vocabulary import COLORS, PARTS, SCENES
from pellucid.zoo.checkpoint import CheckpointError, read_state
from pellucid.zoo.embedded import WEIGHTS
from pellucid.zoo.fitting import fit

NETWORKS = ("scenes-vgg", "scenes-resnet")
FILE = WEIGHTS / "scenes-readout.safetensors"
CELLS = 64
SIZE = 128
PEAK = 6  # cells whose mean is a part's probability


class Decoder(nn.Module):
    """From the stages of the networks to answers per cell, and to the scene.

    ``channels``: of every stage; ``last``: of the pooled ones; ``depth``: of the hidden layer.
    """

    def __init__(self, channels: Sequence[int], last: int, depth: int = 128) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, depth, 1, bias=False) for count in channels)
        self.bias = nn.Parameter(torch.zeros(depth))
        self.answer = nn.Conv2d(depth, len(PARTS) + len(COLORS) + 2, 1)
        self.scene = nn.Linear(last, len(SCENES))

    def forward(self, stages: Sequence[Tensor], last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of parts and of colors, [batch 1+names h w] with none of them first, and of scenes."""
        x = self.bias[:, None, None]
        for one, stage in zip(self.lateral, stages, strict=True):
            x = x + resized(one(resized(stage) if stage.shape[2] > CELLS else stage))
        parts, colors = self.answer(x.relu()).split([len(PARTS) + 1, len(COLORS) + 1], 1)
        return parts, colors, self.scene(last)


class Readout:
    """Answers as a recognizer does: ``names``, ``categories``, ``thresholds``, ``probabilities`` and ``maps``."""

    names = (*PARTS, *COLORS, *SCENES)
    categories = ("part",) * len(PARTS) + ("color",) * len(COLORS) + ("scene",) * len(SCENES)
    mapped = (*PARTS, *COLORS)

    def __init__(self, networks: Sequence[Network], decoder: Decoder, thresholds: Sequence[float]) -> None:
        self.networks, self.decoder = tuple(networks), decoder.eval()
        self.thresholds = torch.tensor(list(thresholds))
        self._latest: tuple[bytes, Tensor, Tensor] | None = None

    def probabilities(self, pictures: Any) -> Float[Tensor, "1 attribute"]:
        """How probable each attribute is in a picture, in [0, 1]."""
        maps, scene = self._read(pictures)
        return torch.cat([maps.flatten(1).topk(PEAK).values.mean(1), scene])[None]

    def maps(
        self, pictures: Any, attributes: Sequence[str] | None = None
    ) -> Float[Tensor, "1 attribute h w"]:
        """Where each attribute is seen, in [0, 1]; parts, and colors, add up to at most 1 at every cell."""
        chosen = self.mapped if attributes is None else attributes
        return self._read(pictures)[0][[self.mapped.index(name) for name in chosen]][None]

    def _read(self, picture: Any) -> tuple[Tensor, Tensor]:
        """Maps and scene probabilities of one picture; the latest picture is remembered."""
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture))
        pixels = np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        key = pixels.tobytes()
        if self._latest is None or self._latest[0] != key:
            batch = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
            with torch.inference_mode(False), torch.no_grad():
                parts, colors, scene = self.decoder(*features(self.networks, batch))
            maps = torch.cat([parts.softmax(1)[0, 1:], colors.softmax(1)[0, 1:]])
            self._latest = key, maps, scene.softmax(1)[0]
        return self._latest[1], self._latest[2]


def features(
    networks: Sequence[Network], pixels: Float[Tensor, "batch 3 h w"]
) -> tuple[list[Tensor], Tensor]:
    """All stages of the networks for pixels in [0, 1], and the means of the last of each."""
    stages: list[Tensor] = []
    last = []
    for net in networks:
        trace = capture(net, net.preprocess.normalize(pixels), net.default_layers, gradients=False)
        found = [trace.activations[layer] for layer in net.default_layers]
        stages += found
        last.append(found[-1].mean((2, 3)))
    return stages, torch.cat(last, 1)


def fresh(networks: Sequence[Network]) -> Decoder:
    """An untrained decoder for these networks."""
    channels = [net.layer(layer).shape[0] for net in networks for layer in net.default_layers]
    return Decoder(channels, sum(net.layer(net.default_layers[-1]).shape[0] for net in networks))


@lru_cache(maxsize=1)
def readout(file: Path = FILE) -> Readout:
    """The shipped readout. Raises CheckpointError for a missing or damaged file."""
    import pellucid as pl

    state, metadata = read_state(file)
    networks = [pl.load(name) for name in NETWORKS]
    decoder = fresh(networks)
    fit(decoder, {name: value.float() for name, value in state.items()}, file)
    try:
        thresholds = within(metadata, "thresholds", tuple[Share, ...])
        if len(thresholds) != len(Readout.names):
            raise FlawError(f"thresholds: expected {len(Readout.names)}, got {len(thresholds)}")
    except FlawError as flaw:
        raise CheckpointError(
            f"Expected the file of a readout, got `{file}`, which is damaged: {flaw}."
        ) from None
    return Readout(networks, decoder, thresholds)


def resized(x: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel cells cells"]:
    """A stage on the readout's cells: means where it is finer, bilinear where it is coarser."""
    if x.shape[2] > CELLS:
        return F.adaptive_avg_pool2d(x, CELLS)
    return F.interpolate(x, size=(CELLS, CELLS), mode="bilinear", align_corners=False)
