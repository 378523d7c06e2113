"""A kept forward pass: carrying relevance from anywhere down to anywhere, as often as one likes."""

import gc
import weakref

import pytest
import torch
from tests.networks import lively
from tests.reference.models import Plain, Tangled
from torch import nn

import pellucid as pl
from pellucid.relevance import propagate
from pellucid.relevance.passages import passages
from pellucid.relevance.recording import Recording


def wrapped(kind):
    return pl.load(lively(kind()).double(), input_shape=(3, 16, 16))


def images(count=2):
    return torch.randn(count, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("composite", ["z-plus", "epsilon-plus", "epsilon-gamma-box", "epsilon-alpha2-beta1"])
def test_from_the_output_it_is_the_walk(composite):
    net = wrapped(Tangled)
    names = ["input", "stem", "body.0", "down"]
    walked = propagate(net, images(), names, 1, composite=composite)
    recording = Recording(net, images(), names, composite=composite)
    for _ in range(2):  # what one walk has used is still there for the next
        carried = recording.carry(walked.seed, None, names)
        for name in names:
            torch.testing.assert_close(carried[name], walked.relevance[name])


def test_two_steps_are_one_where_everything_passes_the_layer_between():
    recording = Recording(wrapped(Plain), images(), ["input", "relu1", "relu2"])
    top = torch.rand_like(recording.activations["relu2"])
    between = recording.carry(top, "relu2", ["relu1"])["relu1"]
    torch.testing.assert_close(
        recording.carry(between, "relu1", ["input"]), recording.carry(top, "relu2", ["input"])
    )
    torch.testing.assert_close(between.sum((1, 2, 3)), top.sum((1, 2, 3)))  # z⁺ conserves


def test_nothing_reaches_a_layer_above_the_start():
    recording = Recording(wrapped(Plain), images(), ["relu1", "relu2"])
    up = recording.carry(torch.ones_like(recording.activations["relu1"]), "relu1", ["relu2"])
    assert not up["relu2"].any()


def test_the_graph_goes_with_the_recording():
    net = wrapped(Plain)
    recording = Recording(net, images(), ["relu1"])
    kept = weakref.ref(recording._kept["relu1"])
    recording.carry(recording.output, None, ["relu1"])
    del recording
    gc.collect()
    assert kept() is None


def test_what_cannot_be_carried_is_said():
    recording = Recording(wrapped(Plain), images(), ["relu1", "relu2"])
    with pytest.raises(ValueError, match=r"Expected a recorded layer, got `relu3`; did you mean `relu1`"):
        recording.carry(recording.output, None, ["relu3"])
    with pytest.raises(ValueError, match="Expected relevance of shape"):
        recording.carry(recording.output, "relu2", ["relu1"])


class Cumulative(nn.Module):
    """A network with an operation nobody has a rule for."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        x = torch.cummax(self.conv1(x).relu(), 2).values
        return self.fc(self.conv2(x).relu().mean((2, 3)))


def test_operations_without_a_rule_are_named_beside_every_map_relevance_had_a_part_in():
    net = wrapped(Cumulative)
    assert Recording(net, images(), ["conv1", "conv2"]).unknown == ("cummax",)
    methods = ["layercam", "lrp", "relevance-cam", "fg-cam", "shallow-cam", "cf-cam", "tsgb"]
    found = pl.attribute(net, images(), methods, ["conv1"], normalized=True)
    assert found["layercam"]["conv1"].notes == ()
    for name in methods[1:]:
        (note,) = found[name]["conv1"].notes
        assert "no relevance rule for `cummax`" in note, name
    assert pl.attribute(net, images(), "lrp", ["conv2"], normalized=True)["conv2"].notes == ()
    told = pl.explain(
        net, images()[:1], method="shallow-cam", layers=["conv1"], normalized=True, faithfulness=False
    )
    (said,) = [one for one in told.image["notes"] if "cummax" in one]
    assert said.startswith("shallow-cam: no relevance rule")


class OneStage(nn.Module):
    """Its only stage is its first layer, as the patch embedding of a transformer."""

    def __init__(self):
        super().__init__()
        self.embed, self.fc = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.embed(x).relu().mean((2, 3)))


def test_a_network_whose_first_layer_is_its_only_stage():
    net = wrapped(OneStage)
    assert passages(net, images(), "embed") == ()
    found = pl.attribute(net, images(), "shallow-cam", normalized=True)
    assert list(found) == ["embed"]
    assert found["embed"].values.shape == (2, 4, 4)


def test_the_embedded_networks_need_no_excuse():
    for name in ("scenes-vgg", "scenes-resnet"):
        net = pl.load(name)
        batch = torch.randn(1, 3, 128, 128)
        maps = pl.attribute(net, batch, "shallow-cam", net.default_layers[-1], normalized=True)
        assert not any(one.notes for one in maps.values())
