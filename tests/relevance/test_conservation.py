"""What the seed holds is found again at every layer, in biases, or in losses too small to matter."""

import pytest
import torch
from tests.networks import lively
from tests.reference.models import ChannelsLast, Plain, Tangled
from torch import nn
from torch.nn import functional as F

import pellucid as pl
from pellucid.relevance import COMPOSITES, Composite, Epsilon, ZPlus, propagate

SMALL = 1e-3


def check(net, x, layers, composite, seed="logit"):
    found = propagate(net, x, layers, composite=composite, seed=seed)  # the best class: its logit is not 0
    for image in range(len(x)):
        for row in found.conservation(image):
            assert row.seed > 0
            assert abs(row.absorbed) < SMALL, row
            assert abs(row.beside) < SMALL, row
            if composite == "z-plus" and type(net.module) in (Plain, Tangled):
                assert abs(row.bias) < 0.5, row
    assert found.unknown == ()
    assert not found.leaks(SMALL)
    return found


class Gated(nn.Module):
    """Depthwise convolution, squeeze and excitation, ReLU6, Hardswish written out, an addition in place."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.depth, self.project = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1)
        self.down, self.up, self.head = nn.Linear(8, 4), nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x):
        x = self.bn(self.stem(x))
        x = x * F.relu6(x + 3) / 6
        y = F.relu6(self.depth(x), inplace=True)
        gate = torch.sigmoid(self.up(F.silu(self.down(y.mean((2, 3))))))[..., None, None]
        x = x.add_(self.project(gate * y))
        return self.head(F.gelu(x).mean((2, 3)))


class Branches(nn.Module):
    """Concatenation, channel shuffle by view and transpose, chunk, average pooling in a branch."""

    def __init__(self):
        super().__init__()
        self.stem, self.one, self.two = (
            nn.Conv2d(3, 8, 3),
            nn.Conv2d(4, 4, 1),
            nn.Conv2d(4, 4, 3, padding="same"),
        )
        self.norm, self.head = nn.BatchNorm2d(8), nn.Linear(8, 4)

    def forward(self, x):
        x = torch.tanh(self.stem(x))
        left, right = x.chunk(2, 1)
        left = F.elu(self.one(F.avg_pool2d(left, 3, 1, 1)), 1.0, True)
        x = torch.cat([left, F.leaky_relu(self.two(right))], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        x = F.relu(self.norm(x) - 0.1).mT.mT
        return self.head(F.adaptive_avg_pool2d(F.max_pool2d(x, 2), 1).flatten(1))


CUTS = {
    Plain: ["input", "conv1", "norm1", "relu1", "pool1", "conv2", "relu2", "pool2", "conv3", "relu3", "gap"],
    Tangled: ["input", "stem", "norm", "act:0", "down", "act:2"],
    ChannelsLast: ["input", "stem"],
    Gated: ["input", "stem", "bn"],
    Branches: ["input", "stem", "norm"],
}


@pytest.mark.parametrize("composite", sorted(COMPOSITES))
@pytest.mark.parametrize("kind", CUTS)
def test_small_networks_conserve_at_every_cut(kind, composite):
    net = pl.load(lively(kind()), input_shape=(3, 16, 16))
    names = {layer.name for layer in net.layers} | {"input"}
    found = check(net, torch.randn(3, 3, 16, 16), [cut for cut in CUTS[kind] if cut in names], composite)
    assert len(found.relevance) >= 2


@pytest.mark.parametrize("seed", ["contrastive", "softmax-gradient", lambda output: output])
@pytest.mark.parametrize("kind", [Plain, Gated])
def test_every_seed_conserves(kind, seed):
    net = pl.load(lively(kind()), input_shape=(3, 16, 16))
    check(net, torch.randn(2, 3, 16, 16), CUTS[kind], "z-plus", seed)


@pytest.mark.parametrize("addition", ["proportion", "positive"])
def test_both_ways_to_share_a_sum_conserve(addition):
    net = pl.load(lively(Tangled()), input_shape=(3, 16, 16))
    found = check(
        net, torch.randn(2, 3, 16, 16), CUTS[Tangled], Composite(ZPlus(), ZPlus(), addition=addition)
    )
    if addition == "positive":  # and nothing of the other sign comes up
        signs = found.seed_total.sign().view(-1, 1, 1, 1)
        assert all((signs * relevance >= 0).all() for relevance in found.relevance.values())


ZOO = {
    "resnet18": ["input", "layer2"],
    "vgg11": ["input", "features.9"],
    "alexnet": ["input", "features.4"],
    "squeezenet1_1": ["input", "features.7"],
    "densenet121": ["input", "features.transition2"],
    "mobilenet_v2": ["input", "features.7"],
    "mobilenet_v3_small": ["input", "features.4"],
    "efficientnet_b0": ["input", "features.4"],
    "googlenet": ["input", "inception4b"],
    "regnet_y_400mf": ["input", "trunk_output.block2"],
    "shufflenet_v2_x1_0": ["input", "stage3"],
    "convnext_tiny": ["input", "features.4"],
}


@pytest.mark.parametrize("name", ZOO)
def test_zoo_conserves(name):
    net = pl.load(f"torchvision:{name}", weights=None, input_shape=(3, 64, 64))
    lively(net.module)
    for composite in ("z-plus", "epsilon-gamma-box"):
        check(net, torch.randn(1, 3, 64, 64), ZOO[name], composite)


def test_a_bias_kept_is_told_from_a_loss():
    net = pl.load(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 2)), input_shape=(1, 2, 2))
    found = propagate(
        net, torch.rand(1, 1, 2, 2), ["input", "0"], 0, composite=Composite(Epsilon(), Epsilon())
    )
    last, first = net.module[2].requires_grad_(False), net.module[0].requires_grad_(False)
    assert float(found.bias["0"]) == pytest.approx(float(last.bias[0]), rel=1e-4)
    slope = last.weight[0].view(2, 4).sum(1)
    assert float(found.bias["input"]) == pytest.approx(
        float(last.bias[0] + (slope * first.bias).sum()), rel=1e-4
    )
    torch.testing.assert_close(found.total("0") + found.bias["0"], found.seed_total, rtol=1e-4, atol=1e-6)


class Strange(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.logsumexp(torch.cumsum(F.relu(self.conv(x)), 2), (2, 3)))


def test_unknown_operations_are_named():
    net = pl.load(lively(Strange()), input_shape=(3, 8, 8))
    found = propagate(net, torch.randn(2, 3, 8, 8), ["input", "conv"], 0)
    assert found.unknown == ("cumsum", "logsumexp")
    assert "logsumexp" in found.leaks()
    assert all(relevance.isfinite().all() for relevance in found.relevance.values())
