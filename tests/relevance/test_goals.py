"""What relevance may cost and lose on networks as they are used: operations by count, conservation by account.

Operations do not depend on the machine nor, in proportion, on the size of the image; so small images are counted.
"""

import os
from pathlib import Path

import pytest
import torch
from tests.networks import lively
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import pellucid as pl
from pellucid.data.batches import as_batch
from pellucid.relevance import propagate

ASSETS = os.environ.get("PELLUCID_ASSETS")
# forward passes: at every stage and convolution, and down to the pixels too
LIMIT = 3.1
COSTS = {
    "vgg16": (LIMIT, LIMIT),
    "resnet18": (LIMIT, 3.2),
    "resnet50": (LIMIT, LIMIT),
    "squeezenet1_1": (LIMIT, 3.2),  # the signed image costs the first convolution twice the maps of any other
    "densenet121": (LIMIT, 3.2),
    "mobilenet_v2": (
        4.1,
        4.2,
    ),  # beyond the goal: its blocks end without a rectifier, so half its inputs are signed
}


def network(name, size=64):
    net = pl.load(f"torchvision:{name}", weights=None, input_shape=(3, size, size))
    lively(net.module)
    net.layers_at((size, size))
    return net


def places(net):
    """Every stage and every convolution."""
    known = {layer.name for layer in net.layers}
    convolutions = [name for name, child in net.module.named_modules() if isinstance(child, nn.Conv2d)]
    assert known.issuperset(convolutions)
    return list(dict.fromkeys([*convolutions, *net.default_layers]))


def operations(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("composite", ["epsilon-plus", "z-plus"])
@pytest.mark.parametrize("name", COSTS)
def test_relevance_of_every_layer_costs_about_three_forward_passes(name, composite):
    net = network(name, 96)
    x, layers = torch.randn(1, 3, 96, 96), places(net)
    with torch.no_grad():
        once = operations(lambda: net(x))
    for more, limit in zip(([], ["input"]), COSTS[name], strict=True):
        cost = operations(lambda more=more: propagate(net, x, [*more, *layers], composite=composite)) / once
        print(f"{name}, {composite}, {'pixels' if more else 'layers'}: {cost:.3f}")  # for -s
        assert 2 < cost <= limit


def conserved(net, x, layers, composite):
    """All of the seed is found again; what biases keep is told apart."""
    found = propagate(net, x, layers, composite=composite)
    assert found.unknown == ()
    for image in range(len(x)):
        for row in found.conservation(image):
            assert abs(row.absorbed) < 1e-3, row
            assert abs(row.beside) < 1e-3, row
            assert abs(row.total + row.bias - float(found.seed_total[image].sign())) < 1e-3, row
            print(f"{composite}, {row.layer}: lost {row.absorbed:.1e}, bias {row.bias:.1e}")
    return found


CUTS = {
    "vgg16": "features.16",
    "alexnet": "features.4",
    "squeezenet1_0": "features.7",
    "resnet50": "layer2",
    "densenet121": "features.transition2",
    "mobilenet_v2": "features.7",
    "mobilenet_v3_large": "features.7",
    "efficientnet_b0": "features.4",
    "convnext_tiny": "features.4",
    "googlenet": "inception4b",
    "inception_v3": "Mixed_6b",
    "regnet_y_400mf": "trunk_output.block2",
    "shufflenet_v2_x1_0": "stage3",
}


@pytest.mark.parametrize("composite", ["epsilon-plus", "z-plus"])
@pytest.mark.parametrize("name", CUTS)
def test_every_family_conserves(name, composite):
    size = 96 if name == "inception_v3" else 64
    conserved(network(name, size), torch.randn(1, 3, size, size), ["input", CUTS[name]], composite)


@pytest.mark.skipif(not ASSETS, reason="the weights of real networks are found through PELLUCID_ASSETS")
@pytest.mark.parametrize("weights", ["squeezenet1_0", "resnet18_pqf", "resnet50_pqf"])
def test_trained_networks_conserve_on_a_photograph(weights):
    name = weights.removesuffix("_pqf")
    net = pl.load(f"torchvision:{name}", weights=Path(ASSETS, "weights", f"{weights}.safetensors"))
    photograph = next(iter(sorted(Path(ASSETS, "images", "imagenet_sample").glob("*.jpg"))))
    x = as_batch(net, photograph, None)
    for composite in ("epsilon-plus", "z-plus"):
        found = conserved(net, x, ["input", *net.default_layers], composite)
        for layer in net.default_layers:
            assert found.relevance[layer].any()


class Custom(nn.Module):
    """A pooling of its own that no rule knows, between known layers."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.Linear(6, 3)

    def forward(self, x):
        x = F.relu(self.one(x))
        x = F.relu(self.two(x.cummax(2).values))
        return self.head(torch.logsumexp(x, (2, 3)))


@pytest.mark.parametrize("name", pl.names("attribution"))
def test_methods_work_where_operations_are_unknown(name):
    """Gradient × input stands in, and the account names it."""
    net = pl.load(lively(Custom()), input_shape=(3, 12, 12))
    x = torch.randn(2, 3, 12, 12)
    found = propagate(net, x, ["input", "one", "two"], 1)
    assert found.unknown == ("cummax", "logsumexp")
    assert set(found.leaks()) <= {"cummax", "logsumexp"}
    assert found.leaks()
    try:
        maps = pl.attribute(net, x, name, ["one", "two"] if name != "cam" else "two", 1, normalized=True)
    except ValueError:
        assert name == "cam"  # no pooling and linear layer at the end, and it says so
        return
    for heatmap in maps.values():
        assert bool(heatmap.values.isfinite().all())
