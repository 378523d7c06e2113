"""The networks that are made interpretable: embedded, torchvision's, or AlexNet's five convolutions, each with a new head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.data.preprocess import Preprocess
from pellucid.zoo import embedded
from pellucid.zoo.checkpoint import read_state
from pellucid.zoo.fitting import fit
from pellucid.zoo.zoos import from_torchvision

ALEXNET = "alexnet-convolutions"


class AlexNetConvolutions(nn.Module):
    """The five convolutions of AlexNet as trained by BVLC (grouped, with local response normalization), an average over
    positions and one linear layer.

    Takes 227×227 pictures; the last map is 13×13. Krizhevsky, Sutskever, Hinton, NeurIPS 2012.
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(3, 96, 11, 4), nn.ReLU(inplace=True)
        self.norm1, self.pool1 = nn.LocalResponseNorm(5, 1e-4, 0.75), nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.relu2 = nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(inplace=True)
        self.norm2, self.pool2 = nn.LocalResponseNorm(5, 1e-4, 0.75), nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.relu3 = nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(inplace=True)
        self.conv4, self.relu4 = nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(inplace=True)
        self.conv5, self.relu5 = nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(256, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch classes] of images [batch 3 height width]."""
        x = self.pool1(self.norm1(self.relu1(self.conv1(images))))
        x = self.pool2(self.norm2(self.relu2(self.conv2(x))))
        x = self.relu5(self.conv5(self.relu4(self.conv4(self.relu3(self.conv3(x))))))
        return torch.as_tensor(self.classifier(self.pool(x).flatten(1)))


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network to be made interpretable, and what it takes."""

    architecture: str
    module: nn.Module
    preprocess: Preprocess


def open_backbone(
    name: str, *, weights: str | Path | None = None, outputs: int | None = None, seed: int = 0
) -> Backbone:
    """An embedded network (with its own weights), ``"torchvision:NAME"`` or ``"alexnet-convolutions"`` (``weights``: a file).

    Without ``weights`` the latter two start from random numbers, drawn from ``seed``, as the new head for ``outputs`` does.
    Raises UnknownNameError for another name, CheckpointError for weights that do not fit.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        if name == ALEXNET:
            module: nn.Module = AlexNetConvolutions()
            if weights is not None:
                state = read_state(weights)[0]
                fit(module, {**state, **_of(module, "classifier.")}, weights)
            found = Backbone(name, module, Preprocess(227, 227, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        elif name in embedded.NAMES or name.startswith("torchvision:"):
            architecture = name.removesuffix("-confounded")
            found = Backbone(architecture, *_trained(name, weights))
        else:
            known = (*embedded.NAMES, ALEXNET)
            raise UnknownNameError(
                f"Expected a network to make interpretable ({', '.join(known)} or torchvision:NAME), got `{name}`; "
                f"{suggest(name, known)}"
            )
        if outputs is not None:
            replace_head(found.module, outputs)
    return found


def replace_head(module: nn.Module, outputs: int) -> None:
    """Put a fresh linear layer, or 1×1 convolution, for ``outputs`` in the place of the last one; drawn from torch's own state.

    Raises ValueError where the module has neither.
    """
    heads = [name for name, each in module.named_modules() if isinstance(each, (nn.Linear, nn.Conv2d))]
    old = module.get_submodule(heads[-1]) if heads else None
    fresh: nn.Module
    if isinstance(old, nn.Linear):
        fresh = nn.Linear(old.in_features, outputs, old.bias is not None)
    elif isinstance(old, nn.Conv2d) and old.kernel_size == (1, 1):
        fresh = nn.Conv2d(old.in_channels, outputs, 1, bias=old.bias is not None)
    else:
        raise ValueError(
            f"Expected a network that ends in a linear layer, got {type(module).__name__}; try another one."
        )
    parent, _, last = heads[-1].rpartition(".")
    setattr(module.get_submodule(parent), last, fresh)


def bare(architecture: str, outputs: int) -> Backbone:
    """The network of that architecture and number of outputs, its weights to be loaded."""
    if architecture in embedded.ARCHITECTURES:
        return Backbone(
            architecture, embedded.ARCHITECTURES[architecture](classes=outputs), Preprocess.scenes()
        )
    if architecture == ALEXNET:
        return open_backbone(architecture, outputs=outputs)
    with torch.random.fork_rng(devices=()):
        module, preprocess = _trained(architecture, None)
        replace_head(module, outputs)
    return Backbone(architecture, module, preprocess)


def _trained(name: str, weights: str | Path | None) -> tuple[nn.Module, Preprocess]:
    """An embedded network with its weights, or torchvision's with those given, and its preprocessing."""
    if name in embedded.NAMES:
        file = Path(weights) if weights is not None else embedded.weights_of(name)
        module = embedded.architecture(name)()
        fit(module, read_state(file)[0], file)
        return module.eval(), Preprocess.scenes()
    module, preprocess, _, _ = from_torchvision(name.removeprefix("torchvision:"), weights, {})
    return module.eval(), preprocess or Preprocess.imagenet()


def _of(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {key: value for key, value in module.state_dict().items() if key.startswith(prefix)}
