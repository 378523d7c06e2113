"""What every registered neuron criterion must do; a new criterion is tested by being registered."""

import dataclasses
import json
import typing

import pytest
import torch
from tests.bounds import assert_same, terms_of
from tests.conformance.harness import NETWORKS, images, network, untouched

import pellucid as pl
from pellucid.core.bibliography import PAPERS
from pellucid.core.registry import create, get

CRITERIA = pl.names("neurons")
FEW = {
    "shapley": {"permutations": 2},
    "integrated-gradients": {"steps": 3},
    "conductance": {"steps": 3},
}  # passes
CONDITION = 10  # by which a criterion may amplify the rounding of outputs and gradients


def variants(name):
    """The criterion by default and with every other value of a parameter that names its arms."""
    default = create("neurons", name, **FEW.get(name, {}))
    hints = typing.get_type_hints(type(default))
    options = [
        (entry.name, value)
        for entry in dataclasses.fields(default)
        if typing.get_origin(hints[entry.name]) is typing.Literal
        for value in typing.get_args(hints[entry.name])
    ]
    return list(
        dict.fromkeys([default, *(dataclasses.replace(default, **{key: value}) for key, value in options)])
    )


ALL = [pytest.param(each, id=repr(each)) for name in CRITERIA for each in variants(name)]


def run(net, x, criterion, target=1):
    layers = ("input", net.default_layers[0], net.default_layers[-1])
    return {name: pl.neurons(net, x, name, target, criterion, normalized=True).values for name in layers}


@pytest.fixture(params=NETWORKS)
def net(request):
    return network(request.param)


@pytest.fixture(params=NETWORKS)
def exact_net(request):
    return network(request.param, torch.float64)


def assert_scores(net, x, found, expected):
    """Scores are the same but for rounding. Many are differences of two outputs, whose rounding has the outputs' size."""
    size = float(pl.capture(net, x.to(net.dtype), (), gradients=False).output.abs().max())
    assert_same(found, expected, terms_of(net.module), size=size, condition=CONDITION)


@pytest.mark.parametrize("criterion", ALL)
class TestCriterion:
    def test_shape_type_device_and_finite(self, net, criterion):
        for layer, values in run(net, images(net), criterion).items():
            assert values.shape == (3, net.layer(layer).shape[0])
            assert values.dtype == torch.float32
            assert values.device == net.device
            assert not values.requires_grad
            assert bool(values.isfinite().all())

    def test_network_untouched(self, net, criterion):
        x = images(net)
        kept = x.clone()
        with untouched(net.module):
            run(net, x, criterion)
        assert torch.equal(x, kept)

    def test_batch_equals_one_by_one(self, exact_net, criterion):
        net = exact_net
        x, targets = images(net), [2, 0, 1]
        whole = run(net, x, criterion, targets)
        for row, target in enumerate(targets):
            for layer, values in run(net, x[row : row + 1], criterion, target).items():
                assert_scores(net, x, whole[layer][row], values[0])

    def test_same_values_twice(self, net, criterion):
        x = images(net)
        first = run(net, x, criterion)
        torch.manual_seed(99)
        for layer, values in run(net, x, criterion).items():
            assert torch.equal(first[layer], values)

    def test_float64(self, criterion):
        net = network("plain", torch.float64)
        x = images(network("plain")).double()
        exact = run(net, x, criterion)
        for layer, values in run(network("plain"), x.float(), criterion).items():
            assert exact[layer].dtype == torch.float64
            assert_scores(net, x, values, exact[layer])

    def test_reacts_to_the_target(self, net, criterion):
        x = images(net)
        one, other = run(net, x, criterion, 0), run(net, x, criterion, 1)
        for layer, values in one.items():
            assert torch.equal(values, other[layer]) != criterion.targeted

    def test_callers_without_gradients_and_frozen_parameters(self, net, criterion):
        x = images(net)
        expected = run(net, x, criterion)
        for parameter in net.module.parameters():
            parameter.requires_grad_(False)
        for context in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            with context():
                found = run(net, x.clone(), criterion)
            for layer, values in found.items():
                assert_scores(net, x, values, expected[layer])

    def test_half_precision(self, criterion):
        net = network("plain", torch.bfloat16)
        for values in run(net, images(net), criterion).values():
            assert values.dtype == torch.float32
            assert bool(values.isfinite().all())

    def test_parameters_round_trip_through_json(self, criterion):
        parameters = json.loads(json.dumps(dataclasses.asdict(criterion)))
        assert create("neurons", criterion.name, **parameters) == criterion


@pytest.mark.parametrize("name", CRITERIA)
def test_says_what_it_is(name):
    criterion = get("neurons", name)
    assert criterion.name == name
    assert criterion.paper in PAPERS
    assert criterion.needs in ("activation", "gradient", "passes")
    assert criterion.__doc__
    assert len(criterion.__doc__) > 20
