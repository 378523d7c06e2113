"""IRENet, its arms and the residual networks it is measured against, by name and width.

``irenet`` has both additions, ``vgg16-eca`` and ``vgg16-sirm`` one of them, ``vgg16`` none. ``resnet18``, ``resnet50`` and
``resnet101`` are torchvision's definitions (He et al. 2016) with all channel counts times ``width``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.training.irenet.network import STRIDES, IRENet
from pellucid.zoo.checkpoint import CheckpointError, read_state
from pellucid.zoo.fitting import cast_weights, fit
from pellucid.zoo.zoos import import_torchvision

ARMS = {
    "irenet": (True, True),
    "vgg16": (False, False),
    "vgg16-eca": (False, True),
    "vgg16-sirm": (True, False),
}
_LAYERS = {"resnet18": [2, 2, 2, 2], "resnet50": [3, 4, 6, 3], "resnet101": [3, 4, 23, 3]}
NETWORKS = (*ARMS, *_LAYERS)
_DEEPEST = 4096  # channels of the head


@dataclass(frozen=True)
class Architecture:
    """Which network: what its weights file says of it.

    Raises UnknownNameError for another network, ValueError for numbers it cannot be built with.

    Attributes:
        network: one of `NETWORKS`
        labels: outputs
        width: factor on all channel counts
        sizes: labels in each category that has maps; empty for a network without maps
        grid: pixels from cell to cell of the maps
        depth: channels of the head that makes them
    """

    network: str = "irenet"
    labels: int = 10
    width: float = 1.0
    sizes: tuple[int, ...] = field(default=())
    grid: int = 4
    depth: int = 48

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))  # JSON knows lists only
        if self.network not in NETWORKS:
            raise UnknownNameError(
                f"Expected a network, got `{self.network}`; {suggest(self.network, NETWORKS)}"
            )
        if self.labels < 1 or not 0 < self.width <= 4:
            raise ValueError(
                f"Expected at least one label and a width in (0, 4], got {self.labels} and {self.width:g}; try 0.25."
            )
        if not 1 <= self.depth <= _DEEPEST:
            raise ValueError(f"Expected `depth` from 1 to {_DEEPEST}, got {self.depth}; try 48.")
        if self.sizes and self.network not in ARMS:
            raise ValueError(
                f'Expected maps of IRENet or one of its arms, got `{self.network}`; try `network="irenet"`.'
            )
        if self.sizes and (self.grid not in STRIDES or sum(self.sizes) > self.labels):
            raise ValueError(f"Expected `grid` to be one of {STRIDES}, got {self.grid}; try 4.")


def build(architecture: Architecture) -> nn.Module:
    """The network with random weights, drawn from torch's generator: He et al. 2015 by fan-out, as torchvision does."""
    a = architecture
    if a.network in _LAYERS:
        return _resnet(a)
    sirm, eca = ARMS[a.network]
    module = IRENet(a.labels, width=a.width, sirm=sirm, eca=eca, sizes=a.sizes, grid=a.grid, depth=a.depth)
    joined = {part.join for part in module.sirm.values()}  # these begin at zero
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and part not in joined:
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return module


def _resnet(architecture: Architecture) -> nn.Module:
    resnet = import_torchvision().models.resnet
    width = architecture.width

    def scaled(channels: int) -> int:
        return max(8, round(width * channels / 8) * 8)

    class Scaled(resnet.ResNet):  # type: ignore[misc, name-defined]
        """torchvision's residual network; only the channel counts are others."""

        def _make_layer(
            self, block: Any, planes: int, blocks: int, stride: int = 1, dilate: bool = False
        ) -> nn.Sequential:
            if planes == 64 and width != 1:  # the first stage: the stem is there already, and too wide
                self.inplanes = scaled(64)
                self.conv1 = nn.Conv2d(3, self.inplanes, 7, 2, 3, bias=False)
                self.bn1 = nn.BatchNorm2d(self.inplanes)
            made: nn.Sequential = super()._make_layer(block, scaled(planes), blocks, stride, dilate)
            return made

    block = resnet.BasicBlock if architecture.network == "resnet18" else resnet.Bottleneck
    module: nn.Module = Scaled(block, _LAYERS[architecture.network])
    module.fc = nn.Linear(scaled(512) * block.expansion, architecture.labels)
    return module


def load_convolutions(module: nn.Module, file: str | Path) -> int:
    """Put the convolutions of a pretrained network into a fresh one; returns how many tensors were taken.

    torchvision's key names: a file of the same network gives all but its head; one of plain ``vgg16`` gives IRENet the
    convolutions, whose batch normalization then learns its statistics; one that `pellucid train irenet` wrote gives
    everything, to be trained on. Raises CheckpointError for a file of another network or width.
    """
    state, metadata = read_state(file)
    given: dict[str, Tensor] = state
    wanted = module.state_dict()
    if "irenet" in metadata:  # one of ours, to be trained on
        fit(module, given, file)
        return len(given)
    if isinstance(module, IRENet) and "features.1.weight" not in given:
        given = _renamed(module, given)
    head = ("classifier.", "fc.")
    own = ("sirm.", "eca.", "where.", "largest", "area")
    needed = [key for key in wanted if not key.startswith((*head, *own)) and "num_batches" not in key]
    if isinstance(module, IRENet) and "features.1.running_mean" not in given:
        needed = [key for key in needed if key in _convolutions(module)]
    missing = [key for key in needed if key not in given]
    misshapen = [key for key in needed if key in given and given[key].shape != wanted[key].shape]
    if missing or misshapen:
        key = (misshapen or missing)[0]
        got = f"{tuple(given[key].shape)}" if misshapen else "none"
        raise CheckpointError(
            f"Expected the {len(needed)} feature tensors of {type(module).__name__}, got `{file}` without {len(missing)} of "
            f"them and with {len(misshapen)} of another shape (`{key}`: {tuple(wanted[key].shape)} wanted, {got} given); "
            "try a file of the same network and width."
        )
    module.load_state_dict(cast_weights(module, {key: given[key] for key in needed}, file), strict=False)
    return len(needed)


def _convolutions(module: IRENet) -> list[str]:
    places = [place for place, part in enumerate(module.features) if isinstance(part, nn.Conv2d)]
    return [f"features.{place}.{kind}" for place in places for kind in ("weight", "bias")]


def _renamed(module: IRENet, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Plain VGG16's convolutions, in order, under the places they have between batch normalizations."""
    places = sorted(
        {int(key.split(".")[1]) for key in state if key.startswith("features.") and key.count(".") == 2}
    )
    own = [place for place, part in enumerate(module.features) if isinstance(part, nn.Conv2d)]
    found = {}
    for place, there in zip(own, places, strict=False):
        for kind in ("weight", "bias"):
            if f"features.{there}.{kind}" in state:
                found[f"features.{place}.{kind}"] = state[f"features.{there}.{kind}"]
    return found


def parameters(module: nn.Module) -> int:
    """How many numbers training sets."""
    return sum(parameter.numel() for parameter in module.parameters())


def multiplications(module: nn.Module, size: int) -> int:
    """Multiply-adds of all convolutions and linear layers for one picture of ``size`` × ``size`` pixels."""
    total = 0

    def count(part: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total
        weight = part.weight
        assert isinstance(weight, Tensor)
        total += weight.numel() * output[0, 0].numel() if output.ndim > 2 else weight.numel()

    kinds = (nn.Conv2d, nn.Conv1d, nn.Linear)
    hooks = [part.register_forward_hook(count) for part in module.modules() if isinstance(part, kinds)]
    training = module.training
    try:
        with torch.no_grad():
            like = next(module.parameters())
            module.eval()(torch.zeros(1, 3, size, size, device=like.device, dtype=like.dtype))
    finally:
        for hook in hooks:
            hook.remove()
        module.train(training)
    return total
