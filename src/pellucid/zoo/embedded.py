"""The embedded classifiers of the concept world: small plain and residual networks, and where their weights
lie.

Both end in global average pooling and one linear layer, so that class activation mapping in its first form
(Zhou 2016) is defined on them. Every rectifier is a module of its own; convolutions carry no bias, batch
normalization does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

WEIGHTS = Path(__file__).parents[1] / "data" / "weights"


def _unit(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]


class ScenesVGG(nn.Module):
    """A plain network in the manner of VGG: convolutions in stages, a max-pool between stages."""

    def __init__(
        self,
        classes: int = 10,
        widths: tuple[int, ...] = (16, 32, 64, 96, 128),
        depths: tuple[int, ...] = (1, 2, 2, 2, 2),
    ) -> None:
        super().__init__()
        features: list[nn.Module] = []
        inputs = 3
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if stage:
                features.append(nn.MaxPool2d(2))
            for _ in range(depth):
                features += [*_unit(inputs, width), nn.ReLU(inplace=True)]
                inputs = width
        self.features = nn.Sequential(*features)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch classes] of images [batch 3 height width]."""
        pooled: Tensor = self.pool(self.features(images)).flatten(1)
        return torch.as_tensor(self.classifier(pooled))


class Residual(nn.Module):
    """Two convolutions and a shortcut; a projection where width or stride changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _unit(inputs, outputs, stride)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = _unit(outputs, outputs)
        same = inputs == outputs and stride == 1
        self.shortcut: nn.Module = (
            nn.Identity() if same else nn.Sequential(*_unit(inputs, outputs, stride, 1))
        )
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch channel h w] to [batch outputs h/stride w/stride]."""
        inner: Tensor = self.relu1(self.bn1(self.conv1(x)))
        return torch.as_tensor(self.relu2(self.bn2(self.conv2(inner)) + self.shortcut(x)))


class ScenesResNet(nn.Module):
    """A residual network in the manner of ResNet-18, narrow, with a 3×3 stem."""

    def __init__(
        self, classes: int = 10, widths: tuple[int, ...] = (16, 32, 64, 128), depth: int = 2
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_unit(3, widths[0], 2), nn.ReLU(inplace=True))
        inputs = widths[0]
        for stage, width in enumerate(widths):
            blocks = [
                Residual(inputs if i == 0 else width, width, 2 if i == 0 and stage else 1)
                for i in range(depth)
            ]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            inputs = width
        self.stages = len(widths)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch classes] of images [batch 3 height width]."""
        x: Tensor = self.stem(images)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return torch.as_tensor(self.classifier(self.pool(x).flatten(1)))


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {"scenes-vgg": ScenesVGG, "scenes-resnet": ScenesResNet}
NAMES: tuple[str, ...] = ("scenes-vgg", "scenes-resnet", "scenes-vgg-confounded", "scenes-resnet-confounded")
INTERPRETABLE: tuple[str, ...] = ("scenes-vgg-interpretable",)


def architecture(name: str) -> Callable[..., nn.Module]:
    """The class behind an embedded name; the confounded twins share their architecture."""
    return ARCHITECTURES[name.removesuffix("-confounded")]


def weights_of(name: str) -> Path:
    """Where the weights of an embedded network lie."""
    return WEIGHTS / f"{name}.safetensors"
