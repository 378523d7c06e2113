"""Every criterion equals its slow float64 twin; importance by absolute weights equals the network computed by
hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import neurons as twin
from tests.reference.models import ChannelsLast, Plain, Tangled, Twin, lively
from tests.reference.network import TwinNetwork

import pellucid as pl
from pellucid.core.capture import Trace, capture
from pellucid.core.layers import Layer
from pellucid.core.registry import create
from pellucid.core.results import UnitScores
from pellucid.core.tail import Tail
from pellucid.core.target import Target
from pellucid.units import class_scores
from pellucid.units.importance import propagated_importance

TWINS = {
    "activation": [({}, twin.activation)],
    "gradient": [
        ({}, twin.gradient),
        ({"rectified": True}, lambda A, g: twin.gradient(A, g, rectified=True)),
    ],
    "gradient-x-activation": [({}, twin.gradient_x_activation)],
    "cgnis": [
        ({}, twin.cgnis_product),
        ({"arm": "elementwise"}, twin.cgnis_elementwise),
        ({"arm": "signed"}, twin.cgnis_signed),
    ],
}
ELSEWHERE = {
    "ablation",
    "conductance",
    "integrated-gradients",
    "random",
    "relevance",
    "shapley",
}  # test_passes.py


def trace_of(A, g):
    A, g = torch.as_tensor(A), torch.as_tensor(g)
    target = Target(torch.zeros(len(A), dtype=torch.long), ("class 0",) * len(A))
    layer, empty = Layer("layer", "Conv2d", tuple(A.shape[1:])), torch.zeros(len(A), 1)
    return Trace(None, A, empty, target, empty[:, 0], {"layer": A}, {"layer": g}, {"layer": layer})


def test_every_criterion_has_a_twin():
    assert set(TWINS) | ELSEWHERE == set(pl.names("neurons"))


@pytest.mark.parametrize("name", sorted(TWINS))
@given(seed=st.integers(0, 2**32 - 1), shape=st.tuples(*[st.integers(1, 4)] * 4), dead=st.booleans())
@settings(max_examples=25, deadline=None)
def test_twin(name, seed, shape, dead):
    random = np.random.default_rng(seed)
    A, g = random.normal(size=shape), random.normal(size=shape)
    if dead:
        A[0], g[-1] = -np.abs(A[0]), -np.abs(g[-1])
    for parameters, expected in TWINS[name]:
        found = create("neurons", name, **parameters)(trace_of(A, g), "layer").numpy()
        np.testing.assert_allclose(
            found, [expected(a, b) for a, b in zip(A, g, strict=True)], rtol=1e-10, atol=1e-13
        )


@pytest.mark.parametrize(
    ("layer", "place"), [("pool1", "p1"), ("relu1", "r1"), ("conv1", "z1"), ("input", "x")]
)
def test_importance_by_absolute_weights(layer, place):
    module = lively(Twin().double(), seed=3)
    state = {name: tensor.double().numpy() for name, tensor in module.state_dict().items()}
    hand = TwinNetwork(
        w1=state["conv1.weight"],
        b1=state["conv1.bias"],
        gamma=state["norm1.weight"],
        beta=state["norm1.bias"],
        mean=state["norm1.running_mean"],
        var=state["norm1.running_var"],
        w2=state["conv2.weight"],
        b2=state["conv2.bias"],
        w3=state["fc.weight"],
        b3=state["fc.bias"],
    )
    net = pl.load(module, input_shape=(3, 6, 6))
    trace = capture(net, torch.randn(3, 3, 6, 6).double(), [layer], [1, 2, 1])
    found = propagated_importance(trace, layer)
    for row, target in enumerate((1, 2, 1)):
        np.testing.assert_allclose(found[row], hand.importance(target, place, (6, 6)), rtol=1e-10)
    scores = create("neurons", "cgnis", arm="backpropagated")(trace, layer).numpy()
    for row, target in enumerate((1, 2, 1)):
        expected = twin.relative(twin.activation(trace.activations[layer][row].numpy(), None))
        expected = expected * twin.relative(hand.importance(target, place, (6, 6)))
        np.testing.assert_allclose(scores[row], expected, rtol=1e-10)


def test_importance_does_not_depend_on_the_image():
    net = pl.load(lively(Plain()), input_shape=(3, 16, 16))
    traces = [capture(net, torch.randn(1, 3, 16, 16) * size, ["relu2"], 2) for size in (1, 3)]
    first, second = (propagated_importance(trace, "relu2") for trace in traces)
    torch.testing.assert_close(first, second)
    assert (first > 0).all()


def test_importance_counts_for_and_against_alike():
    net = pl.load(lively(Plain()), input_shape=(3, 16, 16))
    x = torch.randn(1, 3, 16, 16)
    one, other = (
        propagated_importance(
            capture(net, x, ["relu2"], lambda output, sign=sign: sign * output[:, 2]), "relu2"
        )
        for sign in (1, -1)
    )
    torch.testing.assert_close(one, other)
    assert (one > 0).all()


@pytest.mark.parametrize("module", [Tangled(), ChannelsLast()], ids=lambda module: type(module).__name__)
def test_importance_at_every_layer_of_odd_networks(module):
    net = pl.load(lively(module), input_shape=(3, 16, 16) if isinstance(module, Tangled) else (3, 8, 8))
    x = torch.randn(2, *net.input_shape)
    for layer in net.layers:
        found = propagated_importance(capture(net, x, [layer.name], [0, 1]), layer.name)
        assert (found > 0).all(), layer.name
        assert found.max() < 1, layer.name  # calls of mean gain one neither amplify nor lose much
        assert found.mean() > 1e-4, layer.name


def test_gradient_x_activation_is_the_ablation_where_the_tail_is_linear():
    net = pl.load(lively(Plain()).double(), input_shape=(3, 16, 16))
    x = torch.randn(2, 3, 16, 16).double()
    scores = pl.neurons(net, x, "relu3", [0, 3], "gradient-x-activation", normalized=True)
    tail = Tail(net, x, "relu3")
    for unit in range(10):
        without = tail.activation.clone()
        without[:, unit] = 0
        lost = (tail(tail.activation) - tail(without)).detach()[[0, 1], [0, 3]]
        torch.testing.assert_close(scores.values[:, unit], lost)


def test_class_scores():
    layer = Layer("layer", "Conv2d", (2, 1, 1))
    scores = UnitScores(torch.tensor([[1.0, 2], [3, 4], [5, 0]]), layer, "cgnis", ("dog", "cat", "dog"))
    found = class_scores(scores)
    assert found.target == ("dog", "cat")
    torch.testing.assert_close(found.values, torch.tensor([[3.0, 1], [3, 4]]))
    assert class_scores(scores, ["a", "a", "b"]).values.tolist() == [[2, 3], [5, 0]]
    with pytest.raises(ValueError, match="one label for each of 3 images, got 2"):
        class_scores(scores, ["a", "b"])


def test_the_public_name():
    net = pl.load(lively(Plain()), input_shape=(3, 16, 16))
    x = torch.randn(2, 3, 16, 16)
    scores = pl.neurons(net, x, layer="relu2", criterion="activation", normalized=True)
    assert scores.values.shape == (2, 8)
    assert scores.criterion == "activation"
    assert scores.layer.name == "relu2"
    assert pl.neurons(net, x, normalized=True).layer.name == net.default_layers[-1]


def test_errors_name_what_was_expected():
    net = pl.load(lively(Plain()), input_shape=(3, 16, 16))
    x = torch.randn(2, 3, 16, 16)
    with pytest.raises(KeyError, match="did you mean `cgnis`"):
        pl.neurons(net, x, criterion="cgnls", normalized=True)
    with pytest.raises(KeyError, match="did you mean `relu2`"):
        pl.neurons(net, x, layer="rellu2", normalized=True)
    with pytest.raises(TypeError, match="Expected a parameter of `cgnis`, got `arms`; did you mean `arm`"):
        pl.neurons(net, x, arms="product", normalized=True)
    with pytest.raises(ValueError, match="Expected `arm` to be one of product"):
        pl.neurons(net, x, arm="produkt", normalized=True)
    with pytest.raises(ValueError, match="one target for each of 2 images, got 3"):
        pl.neurons(net, x, target=[0, 1, 2], normalized=True)
