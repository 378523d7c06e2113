"""Small classifiers, one per habit of real ones that an explanation has to survive. All take 3×32×32 unless
said."""

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

import pellucid as pl

CLASSES = 5
SHAPE = (3, 32, 32)


def wrap(module, input_shape=SHAPE, seed=0, **options):
    """A `Network` around a module whose weights are drawn from the seed and lively enough not to vanish."""
    lively(module, seed)
    return pl.load(module, input_shape=input_shape, **options)


def lively(module, seed=0):
    """Random weights for which neighboring inputs differ in the output, normalization statistics included."""
    draw = torch.Generator().manual_seed(seed)
    for child in module.modules():
        if isinstance(child, (nn.Conv2d, nn.Linear)):
            fan = child.weight[0].numel()
            child.weight.data.copy_(torch.randn(child.weight.shape, generator=draw) * (2 / fan) ** 0.5)
            if child.bias is not None:
                child.bias.data.copy_(torch.randn(child.bias.shape, generator=draw) * 0.1)
        elif isinstance(child, nn.BatchNorm2d):
            count = child.num_features
            child.weight.data.copy_(0.5 + torch.rand(count, generator=draw))
            child.bias.data.copy_(torch.randn(count, generator=draw) * 0.2)
            child.running_mean.copy_(torch.randn(count, generator=draw) * 0.2)
            child.running_var.copy_(0.5 + torch.rand(count, generator=draw))
    return module.eval()


def images(count=2, shape=SHAPE, seed=1):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


class PlainNet(nn.Module):
    """VGG-like: stages of convolutions with in-place ReLU, pooling between, a hidden layer in the head."""

    def __init__(self, classes=CLASSES, channels=3, normalized=True):
        super().__init__()
        features, inputs = [], channels
        for stage, width in enumerate((8, 12, 16)):
            if stage:
                features.append(nn.MaxPool2d(2))
            for _ in range(2):
                features.append(nn.Conv2d(inputs, width, 3, padding=1))
                if normalized:
                    features.append(nn.BatchNorm2d(width))
                features.append(nn.ReLU(inplace=True))
                inputs = width
        self.features = nn.Sequential(*features)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(
            nn.Linear(64, 24), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(24, classes)
        )

    def forward(self, x):
        return self.classifier(self.pool(self.features(x)).flatten(1))


class InplaceNet(PlainNet):
    """As `PlainNet`, without normalization: an in-place ReLU stands right behind every convolution."""

    def __init__(self, **options):
        super().__init__(normalized=False, **options)


class Block(nn.Module):
    """ResNet's block: one ReLU module used twice, in place, and an in-place addition of the shortcut."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class ReusedReLU(nn.Module):
    """ResNet-like, with every ReLU of a block the same module."""

    def __init__(self, classes=CLASSES):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        )
        self.layer1 = nn.Sequential(Block(8, 8), Block(8, 8))
        self.layer2 = nn.Sequential(Block(8, 12, 2), Block(12, 12))
        self.layer3 = nn.Sequential(Block(12, 16, 2), Block(16, 16))
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        return self.fc(self.layer3(self.layer2(self.layer1(self.stem(x)))).mean((2, 3)))


ResidualNet = ReusedReLU


class DenseNet(nn.Module):
    """DenseNet-like: concatenations of everything before, a functional in-place ReLU behind the last map."""

    class Unit(nn.Module):
        def __init__(self, inputs, growth=4):
            super().__init__()
            self.norm, self.relu = nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)
            self.conv = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

        def forward(self, features):
            return self.conv(self.relu(self.norm(torch.cat(features, 1))))

    class Stage(nn.ModuleDict):
        def __init__(self, inputs, count=3):
            super().__init__({f"unit{i}": DenseNet.Unit(inputs + 4 * i) for i in range(count)})

        def forward(self, x):
            features = [x]
            for unit in self.values():
                features.append(unit(features))
            return torch.cat(features, 1)

    def __init__(self, classes=CLASSES):
        super().__init__()
        self.conv0 = nn.Conv2d(3, 8, 3, padding=1)
        self.dense1 = DenseNet.Stage(8)
        self.transition = nn.Sequential(
            nn.BatchNorm2d(20), nn.ReLU(inplace=True), nn.Conv2d(20, 10, 1), nn.AvgPool2d(2)
        )
        self.dense2 = DenseNet.Stage(10)
        self.norm = nn.BatchNorm2d(22)
        self.fc = nn.Linear(22, classes)

    def forward(self, x):
        x = self.norm(self.dense2(self.transition(self.dense1(self.conv0(x)))))
        return self.fc(F.adaptive_avg_pool2d(F.relu(x, inplace=True), 1).flatten(1))


class TwoBranch(nn.Module):
    """Inception-like: parallel branches of unlike depth, and functional in-place ReLU after every
    convolution.

    ``aside`` is run but does not reach the output.
    """

    def __init__(self, classes=CLASSES):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.left = nn.Conv2d(8, 6, 1)
        self.right1 = nn.Conv2d(8, 4, 3, padding=1)
        self.right2 = nn.Conv2d(4, 6, (1, 5), padding=(0, 2))
        self.aside = nn.Conv2d(8, 2, 3)
        self.join = nn.Conv2d(12, 10, 3, 2, 1)
        self.fc = nn.Linear(10, classes)

    def forward(self, x):
        x = F.relu(self.stem(x), inplace=True)
        left = F.relu(self.left(x), inplace=True)
        right = F.relu(self.right2(F.relu_(self.right1(x))), inplace=True)
        self.aside(x)
        return self.fc(F.relu(self.join(torch.cat([left, right], 1))).amax((2, 3)))


class SharedBlock(nn.Module):
    """One whole block called three times, and one ReLU object that stands under two names."""

    def __init__(self, classes=CLASSES):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.block = Block(8, 8)
        self.act = self.block.relu
        self.last = nn.Conv2d(8, 8, 3, 2, 1)
        self.fc = nn.Linear(8, classes)

    def forward(self, x):
        x = self.act(self.stem(x))
        for _ in range(3):
            x = self.block(x)
        return self.fc(self.act(self.last(x)).mean((2, 3)))


class FunctionalNet(nn.Module):
    """Parameters without modules in the middle: the second convolution is a functional call."""

    def __init__(self, classes=CLASSES):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.weight = nn.Parameter(torch.randn(12, 8, 3, 3, generator=torch.Generator().manual_seed(5)) * 0.2)
        self.conv3 = nn.Conv2d(12, 12, 3, padding=1)
        self.fc = nn.Linear(12, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu_(self.conv1(x)), 2)
        x = F.relu(F.conv2d(x, self.weight, stride=2, padding=1))
        return self.fc(F.relu_(self.conv3(x)).mean((-2, -1)))


class FullyConvolutional(nn.Module):
    """SqueezeNet's head: a 1×1 convolution gives one map per class, their means are the scores."""

    def __init__(self, classes=CLASSES, pooled=True):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(inplace=True)
        )
        self.head = nn.Conv2d(16, classes, 1)
        self.pooled = pooled

    def forward(self, x):
        x = self.head(self.features(x))
        return x.mean((2, 3)) if self.pooled else x


class Headed(nn.Module):
    """A small trunk, then whatever ``head`` makes of [batch 8]; ``outputs`` of the linear layer before it."""

    def __init__(self, outputs=CLASSES, head=None, channels=3):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 3, padding=1)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.relu2 = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, outputs)
        self.head = head

    def forward(self, x):
        x = self.relu2(self.conv2(self.pool(self.relu1(self.conv1(x)))))
        out = self.fc(x.mean((2, 3)))
        return out if self.head is None else self.head(out, x)


def GreyNet():  # noqa: N802
    return Headed(channels=1)


def BinaryNet(squeezed=False):  # noqa: N802
    return Headed(1, (lambda out, x: out.squeeze()) if squeezed else None)


def SigmoidNet(outputs=CLASSES):  # noqa: N802
    return Headed(outputs, lambda out, x: torch.sigmoid(out))


def SoftmaxNet():  # noqa: N802
    return Headed(head=lambda out, x: F.softmax(out, 1))


def TupleNet():  # noqa: N802
    return Headed(head=lambda out, x: (out, x))


def DictNet(key="logits"):  # noqa: N802
    return Headed(head=lambda out, x: {"features": x, key: out})


def ObjectNet():  # noqa: N802
    return Headed(head=lambda out, x: SimpleNamespace(logits=out, hidden=x))


class DropoutNet(nn.Module):
    """Batch normalization and dropout, both visible at once when the training flag is obeyed."""

    def __init__(self, classes=CLASSES):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.bn = nn.BatchNorm2d(8)
        self.drop = nn.Dropout2d(0.5)
        self.fc = nn.Linear(8, classes)

    def forward(self, x):
        return self.fc(F.dropout(F.relu(self.drop(self.bn(self.conv(x)))), 0.5, self.training).mean((2, 3)))


FAMILIES = {
    "plain": PlainNet,
    "inplace": InplaceNet,
    "residual": ReusedReLU,
    "dense": DenseNet,
    "branches": TwoBranch,
    "shared": SharedBlock,
    "functional": FunctionalNet,
    "convolutional": FullyConvolutional,
    "dropout": DropoutNet,
}


def family(name, **options):
    """A wrapped network of one of `FAMILIES`, with the same weights every time."""
    return wrap(FAMILIES[name](), **options)


class Small(nn.Module):
    """Two stages, the second of so many units, and a pooled linear head of four classes."""

    def __init__(self, units):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(6, units, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(units, 4)

    def forward(self, x):
        return self.head(self.two(self.one(x)).mean((2, 3)))
