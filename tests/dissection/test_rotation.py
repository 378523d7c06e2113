"""Rotations of a layer's units: uniform, with exact powers, and unseen by the network's output."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import pellucid as pl
from pellucid.core.capture import capture
from pellucid.core.registry import UnknownNameError
from pellucid.core.storage import fingerprint
from pellucid.dissection import dissect
from pellucid.dissection.rotation import power, random_rotation, rotated, rotated_name, rotations

PREPROCESS = pl.Preprocess(24, 24, (0.5,) * 3, (0.25,) * 3)


@given(units=st.integers(1, 24), seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_a_rotation_and_its_powers(units, seed):
    q = random_rotation(units, seed)
    assert np.allclose(q @ q.T, np.eye(units), atol=1e-12)
    assert np.linalg.det(q) == pytest.approx(1)
    half, rest = power(q, 0.3), power(q, 0.7)
    assert np.allclose(half @ rest, q, atol=1e-9)
    assert np.allclose(power(half, 0.5), power(q, 0.15), atol=1e-9)
    assert np.array_equal(power(q, 1), q)
    assert np.array_equal(power(q, 0), np.eye(units))


def test_powers_are_those_of_the_matrix_logarithm():
    q = random_rotation(8, 5)
    assert np.allclose(power(q, 0.35), scipy.linalg.expm(0.35 * scipy.linalg.logm(q)).real, atol=1e-9)


def test_rotations_are_uniform():
    """Moments of the trace on SO(3), by the theory of characters: 0, 1, 1; on O(3) the third would be 0."""
    traces = np.array([np.trace(random_rotation(3, seed)) for seed in range(12_000)])
    moments = [np.mean(traces**k) for k in (1, 2, 3)]
    assert moments == pytest.approx([0, 1, 1], abs=0.15)  # four standard errors of the third
    assert not np.array_equal(random_rotation(3, 0), random_rotation(3, 1))


def test_two_axes_turned_around_are_one_turned_plane():
    around = np.diag([1.0, -1.0, -1.0])
    quarter = power(around, 0.5)
    assert np.allclose(quarter @ quarter, around)
    assert np.allclose(np.abs(quarter), [[1, 0, 0], [0, 0, 1], [0, 1, 0]])


@pytest.mark.parametrize(
    ("matrix", "text"),
    [
        (np.diag([1.0, 1.0, -1.0]), "a reflection"),
        (np.ones((2, 2)), "columns are not orthonormal"),
        (np.ones((2, 3)), r"matrix \(2, 3\)"),
    ],
)
def test_what_is_no_rotation(matrix, text):
    with pytest.raises(ValueError, match=f"^Expected a rotation, got .*{text}"):
        power(matrix, 0.5)


def test_no_units():
    with pytest.raises(ValueError, match=r"^Expected at least one unit to rotate, got 0"):
        random_rotation(0)


def test_the_map_is_rotated_and_the_output_is_not(network):
    images = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(1)).double()
    before = fingerprint(network.module)
    network.module.train()
    made = rotated(network, "1", 0.6, seed=4)
    assert network.module.training
    assert fingerprint(network.module) == before
    maps = capture(network, images, ["1"]).activations["1"]
    turned = capture(made, images, [rotated_name("1")]).activations[rotated_name("1")]
    q = power(random_rotation(6, 4), 0.6)
    by_hand = np.einsum("ku,buhw->bkhw", q, maps.detach().numpy())
    assert np.allclose(turned.detach().numpy(), by_hand, atol=1e-12)
    assert torch.allclose(made(images), network(images), atol=1e-12)
    assert (made.classes, made.head, made.input_shape) == (network.classes, network.head, network.input_shape)
    assert made.layer(rotated_name("1")).geometry == network.layer("1").geometry


def test_it_is_the_same_as_folding_the_inverse_into_the_next_convolution():
    torch.manual_seed(0)
    one, two = nn.Conv2d(3, 5, 3).double(), nn.Conv2d(5, 4, 3).double()
    net = pl.load(
        nn.Sequential(one, two, nn.AdaptiveAvgPool2d(1), nn.Flatten()).double(), preprocess=PREPROCESS
    )
    q = torch.from_numpy(random_rotation(5, 2))
    images = torch.randn(2, 3, 24, 24, dtype=torch.float64)
    turned = torch.einsum("ku,buhw->bkhw", q, one(images))
    folded = torch.einsum("ouhw,ku->okhw", two.weight, q)
    by_folding = F.conv2d(turned, folded, two.bias).mean((2, 3))
    assert torch.allclose(rotated(net, "0", 1.0, 2)(images), by_folding, atol=1e-12)


def test_several_at_once_are_what_each_is_alone(network):
    images = torch.rand(2, 3, 24, 24).double()
    turns = [(0.0, 0), (0.4, 1), (1.0, 7)]
    together = rotations(rotations(network, "1", turns), "3", turns[1:])
    names = [rotated_name("1", place) for place in range(3)]
    maps = capture(together, images, names).activations
    for name, turn in zip(names, turns, strict=True):
        alone = capture(rotated(network, "1", *turn), images, [rotated_name("1")]).activations
        assert torch.equal(maps[name], alone[rotated_name("1")])
    assert torch.equal(maps[names[0]], capture(network, images, ["1"]).activations["1"])
    assert rotated_name("3", 1) in {layer.name for layer in together.layers}
    assert torch.allclose(together(images), network(images), atol=1e-12)


@pytest.mark.parametrize("name", ["scenes-vgg", "scenes-resnet"])
def test_every_stage_of_the_embedded_networks(name):
    net = pl.load(name)
    made = net
    for layer in net.default_layers:
        made = rotated(made, layer, 1.0, 0)
    assert made.default_layers == net.default_layers
    images = torch.randn(4, *net.input_shape)
    with torch.no_grad():
        before, after = net(images), made(images)
    assert (after - before).abs().max() < 1e-4 * before.abs().max()
    assert not torch.equal(before, after)


def test_turning_nothing_detects_the_same(network, source):
    plain = dissect(network, source, "1", resamples=0, quantile=0.1)["1"]
    still, turned = (
        dissect(rotated(network, "1", alpha, 0), source, rotated_name("1"), resamples=0, quantile=0.1)[
            rotated_name("1")
        ]
        for alpha in (0.0, 1.0)
    )
    assert np.array_equal(plain.counts.intersection, still.counts.intersection)
    assert np.array_equal(plain.thresholds, still.thresholds)
    assert not np.array_equal(plain.counts.intersection, turned.counts.intersection)


class Parts(nn.Module):
    """A rectifier that runs twice, and a parent that reads a setting of its child."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.relu = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu(self.two(self.relu(self.one(x))))
        return x.mean((2, 3)) * self.two.stride[0]


@pytest.fixture
def parts():
    torch.manual_seed(1)
    return pl.load(Parts(), preprocess=PREPROCESS)


def test_a_parent_still_reads_its_child(parts):
    images = torch.randn(2, 3, 24, 24)
    assert torch.allclose(rotated(parts, "two", 1.0, 3)(images), parts(images), atol=1e-5)


def test_what_cannot_be_rotated(parts):
    with pytest.raises(ValueError, match=r"^Expected a layer whose module runs once .* runs 2 times; try"):
        rotated(parts, "relu")
    with pytest.raises(ValueError, match=r"^Expected a layer of `Parts` behind its input, got 'input'; try"):
        rotated(parts, "input")
    with pytest.raises(UnknownNameError, match="twoo"):
        rotated(parts, "twoo")
    with pytest.raises(ValueError, match=r"^Expected at least one rotation, got none"):
        rotations(parts, "two", [])


def test_an_output_that_changes_is_told(parts):
    coarse = pl.load(Parts().to(torch.bfloat16), preprocess=PREPROCESS)
    with pytest.raises(ArithmeticError, match=r"^Expected the outputs of `Parts` to stay the same to 0.0001"):
        rotated(coarse, "two", 1.0, 0)
