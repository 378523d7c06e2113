"""What every registered attribution method must do; a new method is tested by being registered."""

import dataclasses
import json

import pytest
import torch
from tests.bounds import assert_same, terms_of
from tests.conformance.harness import NETWORKS, images, network, shape_at, untouched

import pellucid as pl
from pellucid.core.bibliography import PAPERS
from pellucid.core.registry import create, get

METHODS = pl.names("attribution")
FEW = {"samples": 3, "steps": 4}
CONDITION = 100  # by which a method may amplify the rounding of activations and gradients


def quick(name):
    """The method with fewer passes than by default, where it has such a parameter."""
    fields = {entry.name for entry in dataclasses.fields(get("attribution", name))}
    return create("attribution", name, **{key: value for key, value in FEW.items() if key in fields})


def places(net, name):
    """A few layers where the method has to work: the input, a shallow and a deep one; for CAM-like methods
    the last."""
    if get("attribution", name).home == "last":
        return net.default_layers[-1:]
    stages = (net.default_layers[0], net.default_layers[-1])
    return stages if get("attribution", name).nonnegative else ("input", *stages)


def run(net, x, name, target=1, layers=None, **options):
    """Values of all layers, or a skip where the method says that this network has no place for it."""
    try:
        maps = pl.attribute(
            net, x, quick(name), layers or places(net, name), target, normalized=True, **options
        )
    except ValueError as error:
        if get("attribution", name).home == "last" and "; try `" in str(error):
            pytest.skip("the network has another head, and the method says so")
        raise
    return {layer: heatmap.values for layer, heatmap in maps.items()}


@pytest.fixture(params=NETWORKS)
def net(request):
    return network(request.param)


@pytest.fixture(params=NETWORKS)
def exact_net(request):
    return network(request.param, torch.float64)


@pytest.fixture(params=["plain", "tangled"])
def small(request):
    return network(request.param)


@pytest.mark.parametrize("name", METHODS)
class TestMethod:
    def test_shape_type_device_and_finite(self, net, name):
        x = images(net)
        for layer, values in run(net, x, name).items():
            assert values.shape == (3, *shape_at(net, layer, x)[1:])
            assert values.dtype == torch.float32
            assert values.device == net.device
            assert not values.requires_grad
            assert bool(values.isfinite().all())
            assert (values >= 0).all() or not get("attribution", name).rectified

    def test_network_untouched(self, net, name):
        x = images(net)
        kept = x.clone()
        with untouched(net.module):
            run(net, x, name)
        assert torch.equal(x, kept)
        assert x.grad is None

    def test_network_untouched_by_an_error(self, net, name):
        def broken(output):
            raise ArithmeticError("no score today")

        x = images(net)
        if get("attribution", name).needs != "activation":  # else the target may never be asked
            with untouched(net.module), pytest.raises(ArithmeticError, match="no score today"):
                run(net, x, name, broken)

    def test_batch_equals_one_by_one(self, exact_net, name):
        net = exact_net
        x, targets = images(net), [2, 0, 1]
        whole = run(net, x, name, targets)
        for row, target in enumerate(targets):
            for layer, values in run(net, x[row : row + 1], name, target).items():
                assert_same(
                    whole[layer][row], values[0], terms_of(net.module), condition=100 * CONDITION
                )  # float64 has room

    def test_same_seed_same_values(self, net, name):
        x = images(net)
        first = run(net, x, name)
        torch.manual_seed(99)
        for layer, values in run(net, x, name).items():
            assert torch.equal(first[layer], values)

    def test_float64(self, name):
        net = network("plain", torch.float64)
        x = images(network("plain")).double()
        exact = run(net, x, name)
        for layer, values in run(network("plain"), x.float(), name).items():
            assert exact[layer].dtype == torch.float64
            assert_same(values, exact[layer], terms_of(net.module), condition=CONDITION)

    def test_reacts_to_the_target(self, net, name):
        x = images(net)
        one, other = run(net, x, name, 0, signed=True), run(net, x, name, 1, signed=True)
        for layer, values in one.items():
            assert torch.equal(values, other[layer]) != get("attribution", name).targeted

    def test_callers_without_gradients_and_frozen_parameters(self, net, name):
        x = images(net)
        expected = run(net, x, name)
        for parameter in net.module.parameters():
            parameter.requires_grad_(False)
        for context in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            with context():
                found = run(net, x.clone(), name)
            for layer, values in found.items():
                assert_same(values, expected[layer], terms_of(net.module), condition=CONDITION)

    def test_every_layer(self, small, name):
        net = small
        if get("attribution", name).home == "last":
            pytest.skip("defined at one layer only")
        x = images(net, 1)
        names = ["input", *(layer.name for layer in net.layers)]
        for layer, values in run(net, x, name, layers=names).items():
            assert values.shape == (1, *shape_at(net, layer, x)[1:]), layer
            assert bool(values.isfinite().all()), layer


@pytest.mark.parametrize("name", METHODS)
def test_parameters_round_trip_through_json(name):
    method = create("attribution", name)
    again = create("attribution", name, **json.loads(json.dumps(dataclasses.asdict(method))))
    assert again == method
    assert hash(again) == hash(method)


@pytest.mark.parametrize("name", METHODS)
def test_says_what_it_is(name):
    method = get("attribution", name)
    assert method.name == name
    assert method.paper in PAPERS
    assert method.needs in ("activation", "gradient", "passes")
    assert method.home in ("stages", "last", "input")
    assert method.__doc__
    assert len(method.__doc__) > 20


@pytest.mark.parametrize("name", pl.names("attribution"))
def test_the_first_line_names_the_method_and_says_what_it_does(name):
    """Lists, menus and captions are made from it."""
    title, colon, rest = get("attribution", name).__doc__.strip().splitlines()[0].partition(":")
    assert colon
    assert 0 < len(title) <= 28
    assert rest.strip()
