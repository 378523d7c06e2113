"""IRENet: VGG16 whose middle blocks rebuild their features and weigh their channels, for several labels at once.

After blocks 3 and 4 of VGG16 (before their max-pooling) stand, in this order,

    SIRM:  y = x + W [ r(3×3 x), r(3×3 dilated x), r(1×1 x) ]        r: convolution, batch normalization, ReLU
    ECA:   z = y · σ( k-wide convolution across the channels of GAP(y) ),   k = |log2(C)/2 + 1/2|, made odd

and the head is a linear layer on global average pooling. Public of Lü et al. 2023 is the abstract alone: the names, VGG16
and "middle layers" are theirs, the rest of SIRM is our reconstruction. ECA is that of Wang et al. 2020; an even k is
raised to the next odd one, so that 128 channels, exactly 4, give 5. Convolutions and batch normalization have the key
names of torchvision's ``vgg16_bn``. Batch normalization is ours: the network is to learn from scratch too.

`Where` is our extension: a second head that says at every second, fourth … pixel which label of each category is seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = (2, 2, 3, 3, 3)
MIDDLE = (3, 4)
STRIDES = (1, 2, 4, 8, 16)  # of every block before its max-pooling


def eca_kernel(channels: int) -> int:
    """The width of ECA's convolution: 64 → 3, 128 → 5, 256 → 5, 512 → 5 (Wang et al. 2020, γ = 2, b = 1).

    >>> [eca_kernel(channels) for channels in (16, 64, 128, 512)]
    [3, 3, 5, 5]
    """
    if channels < 1:
        raise ValueError(f"Expected at least one channel, got {channels}.")
    width = int(abs(math.log2(channels) / 2 + 0.5))
    return width if width % 2 else width + 1


class ECA(nn.Module):
    """Efficient channel attention: every channel is scaled by what its neighbors' means say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = eca_kernel(channels)
        self.conv = nn.Conv1d(1, 1, width, padding=width // 2, bias=False)

    def forward(self, x: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel h w"]:
        """The map, each channel times a number in (0, 1)."""
        weights = torch.sigmoid(self.conv(x.mean((2, 3))[:, None])).transpose(1, 2)
        return x * weights[..., None].to(x.dtype)


def _rectified(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class SIRM(nn.Module):
    """Three looks at a map, near, wider and pointwise, put together and added to it.

    Each branch has ``channels / 2`` channels; the last 1×1 convolution begins at zero, so that a fresh SIRM, also one put
    into pretrained features, changes nothing.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.point = _rectified(channels, inner, 1)
        self.near = _rectified(channels, inner, 3)
        self.wide = _rectified(channels, inner, 3, dilation=2)
        self.join = nn.Conv2d(3 * inner, channels, 1)
        nn.init.zeros_(self.join.weight)
        nn.init.zeros_(self.join.bias)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel h w"]:
        """A map of the same shape."""
        looks = torch.cat([self.point(x), self.near(x), self.wide(x)], 1)
        return x + torch.as_tensor(self.join(looks))


class Where(nn.Module):
    """Which label of each category is seen, at every cell of a grid: our extension of IRENet.

    The maps of the blocks from the grid's stride on are brought to ``depth`` channels, enlarged to the grid and added; a
    3×3 convolution and a linear layer per position follow. ``sizes``: number of labels of each category; one more
    answer each says that none of them is there.
    """

    def __init__(self, widths: Sequence[int], sizes: Sequence[int], grid: int, depth: int) -> None:
        super().__init__()
        self.first, self.sizes = STRIDES.index(grid), tuple(sizes)
        self.lateral = nn.ModuleList(nn.Conv2d(width, depth, 1, bias=False) for width in widths[self.first :])
        self.norm = nn.BatchNorm2d(depth)
        self.mix = _rectified(depth, depth, 3)
        self.linear = nn.Conv2d(depth, sum(size + 1 for size in sizes), 1)

    def forward(self, stages: Sequence[Tensor]) -> Float[Tensor, "batch answer h w"]:
        """Logits of all answers, category by category, none of them first."""
        x = self.lateral[-1](stages[-1])
        for lateral, stage in zip(
            list(self.lateral)[-2::-1], stages[-2 : self.first - len(stages) - 1 : -1], strict=True
        ):
            side = lateral(stage)
            x = side + F.interpolate(x, size=side.shape[2:], mode="bilinear", align_corners=False)
        return torch.as_tensor(self.linear(self.mix(torch.relu(self.norm(x)))))

    def logs(self, answers: Float[Tensor, "batch answer h w"]) -> list[Tensor]:
        """For every category the logarithm of each answer's probability, [batch 1+size h w], none of them first."""
        precise = answers.to(torch.promote_types(answers.dtype, torch.float32))
        parts = torch.split(precise, [size + 1 for size in self.sizes], 1)
        return [part.log_softmax(1) for part in parts]

    def shares(self, answers: Float[Tensor, "batch answer h w"]) -> Float[Tensor, "batch label h w"]:
        """The probability of every label at every cell; those of a category and "none of them" add up to 1."""
        return torch.cat([part[:, 1:].exp() for part in self.logs(answers)], 1)


class IRENet(nn.Module):
    """VGG16 with SIRM and ECA after blocks 3 and 4, and a head for ``labels`` labels.

    Args:
        labels: outputs.
        width: factor on all channel counts; 1 is VGG16.
        sirm, eca: whether the blocks have them; neither is plain VGG16.
        sizes: number of labels in each category that has maps (the first labels, in order); empty without `Where`.
        grid: pixels from cell to cell of `Where`: 1, 2, 4, 8 or 16.
        depth: channels of `Where`.
    """

    def __init__(
        self,
        labels: int,
        *,
        width: float = 1.0,
        sirm: bool = True,
        eca: bool = True,
        sizes: Sequence[int] = (),
        grid: int = 4,
        depth: int = 48,
    ) -> None:
        super().__init__()
        widths = [max(8, round(width * each / 8) * 8) for each in WIDTHS]
        self.features, self.ends = _features(widths)
        self.sirm = nn.ModuleDict({str(block): SIRM(widths[block - 1]) for block in MIDDLE if sirm})
        self.eca = nn.ModuleDict({str(block): ECA(widths[block - 1]) for block in MIDDLE if eca})
        self.classifier = nn.Linear(widths[-1], labels)
        self.where = Where(widths, sizes, grid, depth) if sizes else None
        if sizes:
            # what the maps add to a label's logit: its largest share, and its area
            self.largest = nn.Parameter(torch.ones(sum(sizes)))
            self.area = nn.Parameter(torch.full((sum(sizes),), 0.1))

    def stages(self, images: Float[Tensor, "batch 3 h w"]) -> list[Tensor]:
        """The maps of the five blocks, before their max-pooling."""
        found, start, x = [], 0, images
        for block, end in enumerate(self.ends, 1):
            x = self.features[start:end](x)
            for extra in (self.sirm, self.eca):
                if str(block) in extra:
                    x = extra[str(block)](x)
            found.append(x)
            start = end
        return found

    def both(self, images: Float[Tensor, "batch 3 h w"]) -> tuple[Tensor, list[Tensor]]:
        """Logits [batch label], and what `Where.logs` gives. A label's largest share and its area speak for it, too.

        Raises ValueError for a network without maps."""
        if self.where is None:
            raise ValueError("Expected a network with maps, got one without; try `sizes=`.")
        stages = self.stages(images)
        logs = self.where.logs(self.where(stages))
        shares = [part[:, 1:].exp() for part in logs]
        largest = torch.logit(torch.cat([part.amax((2, 3)) for part in shares], 1), 1e-4)
        area = (torch.cat([part.mean((2, 3)) for part in shares], 1) + 1e-4).log()
        found = self.largest * largest + self.area * area
        logits = self.classifier(stages[-1].mean((2, 3)))
        return logits + F.pad(found, (0, logits.shape[1] - found.shape[1])), logs

    def maps(self, images: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch label h w"]:
        """Where each label with a map is seen, as `Where.shares`. Raises ValueError for a network without maps."""
        if self.where is None:
            raise ValueError("Expected a network with maps, got one without; try `sizes=`.")
        return self.where.shares(self.where(self.stages(images)))

    def forward(self, images: Float[Tensor, "batch 3 h w"], maps: bool = False) -> Any:
        """Logits [batch label] of the labels, each of which may hold or not; with ``maps`` what `both` gives."""
        if maps:
            return self.both(images)
        if self.where is not None:
            return self.both(images)[0]
        return torch.as_tensor(self.classifier(self.stages(images)[-1].mean((2, 3))))


def _features(widths: Sequence[int]) -> tuple[nn.Sequential, list[int]]:
    """VGG16's convolutions under torchvision's names, and where each block ends; every block but the first begins with a
    max-pooling."""
    layers: list[nn.Module] = []
    ends: list[int] = []
    inputs = 3
    for width, depth in zip(widths, DEPTHS, strict=True):
        if ends:
            layers.append(nn.MaxPool2d(2))
        for _ in range(depth):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            inputs = width
        ends.append(len(layers))
    return nn.Sequential(*layers), ends
