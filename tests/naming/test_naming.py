"""What cells, regions and units say in the network's own vocabulary."""

import pytest
import torch
from tests.networks import PlainNet, images, wrap
from torch import nn

import pellucid as pl
from pellucid.naming import (
    cells,
    effects,
    imagenet_hierarchy,
    last_layer,
    masses,
    name_direction,
    name_regions,
    name_units,
    vocabulary,
)
from pellucid.naming.calibration import CAUTIOUS, FITTED, SAID

CLASSES = ["cat", "dog", "plane", "ship", "car"]


class Averaged(nn.Module):
    """Convolutions, global average pooling, a linear head; or a head with one more layer in it."""

    def __init__(self, hidden=False, dense=False):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1))
        self.act = nn.Identity() if dense else nn.ReLU()
        self.dense = dense
        self.head = (
            nn.Sequential(nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 5)) if hidden else nn.Linear(12, 5)
        )

    def forward(self, x):
        x = self.act(self.features(x))
        if self.dense:
            x = x.relu()
        return self.head(x.mean((2, 3)))


class Scored(nn.Module):
    """A map of class scores that is averaged."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.ReLU())

    def forward(self, x):
        return self.features(x).mean((2, 3))


def halves(size=32):
    masks = torch.zeros(2, size, size, dtype=torch.bool)
    masks[0, :, : size // 2] = True
    masks[1, :, size // 2 :] = True
    return masks


@pytest.mark.parametrize("module", [Averaged(), Averaged(dense=True), Scored()])
def test_regions_of_a_linear_head_average_to_the_networks_own_scores(module):
    net = wrap(module, classes=CLASSES)
    read = cells(net, images(1))
    assert read.exact
    everywhere = torch.ones(1, 32, 32, dtype=torch.bool)
    shares = read.shares(everywhere)
    torch.testing.assert_close(read.scores.mean((1, 2)), read.output[0], rtol=1e-4, atol=1e-4)
    expected = (shares[0] * read.scores).sum((1, 2))
    torch.testing.assert_close(read.regions(everywhere)[0], expected, rtol=1e-4, atol=1e-4)


def test_a_cell_says_what_its_activation_says_alone():
    net = wrap(Averaged(), classes=CLASSES)
    x = images(1)
    read = cells(net, x)
    linear = net.module.head
    torch.testing.assert_close(
        read.scores[:, 2, 3], linear(read.activation[0, :, 2, 3]).detach(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(("module", "head"), [(Averaged(hidden=True), "pooled"), (PlainNet(), "flat")])
def test_other_heads_are_asked_with_the_region_alone(module, head):
    net = wrap(module, classes=CLASSES)
    read = cells(net, images(1))
    assert read.head == head
    assert not read.exact
    left, right = read.regions(halves())
    assert not torch.allclose(left, right)
    if head == "pooled":
        mean = (read.shares(halves())[:1] * read.activation[0]).sum((1, 2))
        torch.testing.assert_close(left, net.module.head(mean[None])[0].detach(), rtol=1e-3, atol=1e-3)


def test_a_trace_with_the_last_layer_costs_no_pass():
    net = wrap(Averaged(), classes=CLASSES)
    trace = pl.capture(net, images(2), [last_layer(net)])
    calls = []
    handle = net.module.register_forward_hook(lambda *_: calls.append(1))
    read = cells(net, trace, 1)
    handle.remove()
    assert not calls
    torch.testing.assert_close(read.activation, trace.activations[last_layer(net)][1:])


def test_units_speak_for_the_classes_that_lose_by_their_removal():
    net = wrap(Averaged(), classes=CLASSES)
    x = images(1)
    layer = last_layer(net)
    tail = pl.Tail(net, x, layer)
    words = vocabulary(net)
    named = name_units(net, x, layer, range(12), words=words)
    for unit, naming in enumerate(named):
        activation = tail.activation.clone()
        activation[:, unit] = 0
        loss = (tail.output - tail(activation))[0]
        assert naming.exact
        if float(loss.max()) > 1e-4:
            assert naming.alternatives[0].index == int(loss.argmax())
    shallow = name_units(net, x, "features.0", [0, 3], words=words)
    part = torch.zeros_like(pl.Tail(net, x, "features.0").activation)
    part[:, 3] = pl.Tail(net, x, "features.0").activation[:, 3]
    same = name_direction(net, x, "features.0", part, words=words)
    assert same.classes == shallow[1].classes
    assert not shallow[1].exact


def test_nothing_is_said_below_the_confidence_and_a_broader_word_is_said_before_none():
    net = wrap(Averaged(), classes=CLASSES)
    words = vocabulary(net)
    assert words.calibration is CAUTIOUS
    sure, unsure = torch.tensor([0.9999, 1e-4, 0, 0, 0]), torch.full((5,), 0.2)
    assert words.name(unsure, 0.2, True).words is None
    assert words.name(sure, 0.9, True).words == "cat"
    assert words.name(sure, 0.9, True).confidence >= SAID
    imagenet = imagenet_hierarchy()
    dogs = torch.zeros(1000)
    dogs[151:269] = 1 / 118
    named = type(words)(imagenet, FITTED).name(dogs, 0.5, True)
    assert (named.kind, named.words) == ("broader", "dog")


def test_two_names_of_one_thing_are_one_word():
    net = wrap(Averaged(), classes=["sunglass", "sunglasses", "b", "c", "d"])
    named = vocabulary(net).name(torch.tensor([0.45, 0.5, 0.05, 0, 0]), 0.5, True)
    assert named.classes == ("sunglasses", "b")
    assert named.alternatives[0].share == pytest.approx(0.95)


def test_a_class_that_is_a_number_has_no_word():
    net = wrap(Averaged())
    assert not vocabulary(net).speaks
    named = name_regions(net, images(1), halves())
    assert [each.words for each in named] == [None, None]


def test_an_empty_region_has_no_word():
    net = wrap(Averaged(), classes=CLASSES)
    assert name_regions(net, images(1), torch.zeros(1, 32, 32, dtype=torch.bool))[0].words is None


def test_caution_takes_off_what_confidence_was_at_worst_too_high():
    assert CAUTIOUS(0.99, 1, 0.99, 0.5) == pytest.approx(FITTED(0.99, 1, 0.99, 0.5) - CAUTIOUS.margin)
    assert FITTED(0.9, 1, 0.9, 0.3) > FITTED(0.3, 1, 0.3, 0.3)


def test_a_distribution_sums_to_one_for_every_head():
    net = wrap(Averaged(), classes=CLASSES, head="sigmoid")
    torch.testing.assert_close(masses(net, torch.randn(3, 5)).sum(1), torch.ones(3))


def test_effects_are_what_the_network_says_of_filled_pictures():
    net = wrap(Averaged(), classes=CLASSES)
    x = images(1)
    measured = effects(net, x, halves())
    blank = torch.where(halves()[1][None, None], x.mean((2, 3), keepdim=True), x)
    with torch.no_grad():
        torch.testing.assert_close(measured.filled[1, 1], net(blank)[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(measured.falls[0], measured.whole - measured.filled[0].mean(0))
    assert effects(net, x, halves()[:0]).falls.shape == (0, 5)
