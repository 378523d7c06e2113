"""Small networks with random weights and lively biases, and the odd habits of real ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def lively(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights, biases and batch statistics, so that nothing is zero or one by chance."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if not tensor.is_floating_point():
            continue
        with torch.no_grad():
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            else:
                spread = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.5
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * spread * 1.4)
                if tensor.ndim == 1 and name.endswith("weight"):
                    tensor.abs_().add_(0.5)
    return module


class Plain(nn.Module):
    """Convolutions and rectifiers as modules, global average pooling, one linear layer: every method is
    defined."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.conv1, self.norm1, self.relu1 = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2, self.relu2 = nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.conv3, self.relu3 = nn.Conv2d(8, 10, 3, padding=1), nn.ReLU()
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(10, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.relu1(self.norm1(self.conv1(x))))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = self.relu3(self.conv3(x))
        return self.fc(self.gap(x).flatten(1))


class Twin(nn.Module):
    """The network of `tests/reference/network.py`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1, self.relu1 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2, self.relu2 = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.relu1(self.norm1(self.conv1(x))))
        return self.fc(self.relu2(self.conv2(x)).mean((2, 3)))


class ChannelsLast(nn.Module):
    """Linear layers over the last dimension of [batch h w channel], as in ConvNeXt; piecewise linear."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem, self.mix = nn.Conv2d(3, 6, 2, stride=2), nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.up, self.act, self.down = nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 6)
        self.scale = nn.Parameter(torch.ones(6, 1, 1))
        self.head = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.down(self.act(self.up(self.mix(x).permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)
        return self.head((x + self.scale * y).mean((2, 3)))


class Tangled(nn.Module):
    """One in-place ReLU used everywhere, a residual addition in place, functional calls, dropout, a flattened
    head.

    ``clean=True`` computes the same with a module for every call and nothing in place.
    """

    def __init__(self, classes: int = 4, clean: bool = False) -> None:
        super().__init__()
        self.clean = clean
        self.act = nn.ReLU(inplace=not clean)
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        inner = nn.ReLU() if clean else self.act
        self.body = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), inner, nn.Conv2d(6, 6, 3, padding=1))
        self.act2 = nn.ReLU() if clean else self.act
        self.down, self.drop = nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(8 * 4 * 4, 16), nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(x)))
        y = self.body(x)
        if self.clean:
            y = y + x
        else:
            y += x
        x = F.max_pool2d(F.relu(y, inplace=not self.clean), 2)
        x = self.act2(self.down(x))
        x = self.fc1(self.drop(x.flatten(1)))
        return self.fc2(torch.relu(x) if self.clean else torch.relu_(x))
