"""Criteria that run the network themselves: literal twins on the network computed by hand, captum where it defines the same,
and the sums they promise."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import neurons as twin
from tests.reference.models import Plain, Twin, lively
from tests.reference.network import TwinNetwork
from tests.reference.relevance_maps import plus, through_convolution
from torch import nn

import pellucid as pl
from pellucid.core.network import Network
from pellucid.core.registry import create
from pellucid.core.tail import Tail

PLACES = {"pool1": "p1", "relu2": "r2"}
REFERENCE = {"pool1": (0.3, -0.2, 0.1), "relu2": (0.1, 0.0, 0.2, 0.3)}
X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(5)).double()
TARGETS = [2, 0]


@pytest.fixture(scope="module")
def pair():
    """The network, and the same computed by hand."""
    module = lively(Twin().double(), seed=3)
    state = {name: tensor.double().numpy() for name, tensor in module.state_dict().items()}
    hand = TwinNetwork(
        state["conv1.weight"], state["conv1.bias"], state["norm1.weight"], state["norm1.bias"],
        state["norm1.running_mean"], state["norm1.running_var"], state["conv2.weight"], state["conv2.bias"],
        state["fc.weight"], state["fc.bias"],
    )  # fmt: skip
    return pl.load(module, input_shape=(3, 6, 6)), hand


def output(hand, place, A):
    return hand.tail(A)["output"] if place == "p1" else hand.w3 @ A.mean((1, 2)) + hand.b3


def softmax(z):
    return np.exp(z - z.max()) / np.exp(z - z.max()).sum()


def neurons(net, layer, criterion, target=TARGETS, images=X, **parameters):
    return pl.neurons(net, images, layer, target, criterion, normalized=True, **parameters).values.numpy()


def rows(hand, layer):
    """Activation by hand, target and row of every image."""
    for row, target in enumerate(TARGETS):
        yield hand.forward(X[row].numpy())[PLACES[layer]], target, row


@pytest.mark.parametrize("layer", PLACES)
@pytest.mark.parametrize("effect", ["score", "probability"])
@pytest.mark.parametrize("shifted", [False, True])
def test_ablation_and_shapley(pair, layer, effect, shifted):
    net, hand = pair
    reference = REFERENCE[layer] if shifted else ()
    ablated = neurons(net, layer, "ablation", effect=effect, reference=reference)
    made = create("neurons", "shapley", effect=effect, reference=reference, permutations=4)
    shared = neurons(net, layer, made)
    orders = [order.tolist() for order in made.orders(ablated.shape[1])]
    for A, target, row in rows(hand, layer):

        def score(a, target=target):
            z = output(hand, PLACES[layer], a)
            return z[target] if effect == "score" else softmax(z)[target]

        away = np.array(reference or (0.0,) * len(A))
        np.testing.assert_allclose(ablated[row], twin.ablation(score, A, away), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(shared[row], twin.shapley(score, A, away, orders), rtol=1e-9, atol=1e-12)
        everything = score(A) - score(twin.absent(A, set(range(len(A))), away))
        assert shared[row].sum() == pytest.approx(everything, abs=1e-10)


@pytest.mark.parametrize("layer", PLACES)
@pytest.mark.parametrize("shifted", [False, True])
def test_integrated_gradients(pair, layer, shifted):
    net, hand = pair
    reference = REFERENCE[layer] if shifted else ()
    found = neurons(net, layer, "integrated-gradients", steps=5, reference=reference)
    for A, target, row in rows(hand, layer):

        def slope(a, target=target):
            if layer == "relu2":
                return np.broadcast_to(hand.w3[target][:, None, None] / a[0].size, a.shape)
            return hand.backward(hand.tail(a), target)["p1"]

        away = np.array(reference or (0.0,) * len(A))
        np.testing.assert_allclose(found[row], twin.integrated(slope, A, away, 5), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layer", PLACES)
def test_conductance(pair, layer):
    net, hand = pair
    found = neurons(net, layer, "conductance", steps=4, baseline=0.2)
    for row, target in enumerate(TARGETS):
        start, points = np.full_like(X[row].numpy(), 0.2), []
        for n in range(5):
            state = hand.forward(start + n / 4 * (X[row].numpy() - start))
            points.append((state[PLACES[layer]], hand.backward(state, target)[PLACES[layer]]))
        np.testing.assert_allclose(found[row], twin.conductance(points), rtol=1e-9, atol=1e-12)


def test_relevance(pair):
    net, hand = pair
    last, before = (neurons(net, layer, "relevance") for layer in ("relu2", "pool1"))
    for row, target in enumerate(TARGETS):
        state = hand.forward(X[row].numpy())
        R = state["r2"] * (hand.w3[target] / state["r2"][0].size)[:, None, None]
        np.testing.assert_allclose(last[row], R.sum((1, 2)), rtol=1e-4)
        through = through_convolution(state["p1"], hand.w2, R, plus)
        np.testing.assert_allclose(before[row], through.sum((1, 2)), rtol=1e-4)


@given(seed=st.integers(0, 2**31), units=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_shapley_of_all_orders_is_the_definition(seed, units):
    """With every order walked once the estimate is the exact value; the standard error covers a sample's."""
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(units, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    for tensor in module.parameters():
        tensor.data = torch.randn(tensor.shape, generator=generator).double()
    net = Network(module.double(), pl.load("scenes-vgg").preprocess, input_shape=(units, 2, 2))
    x = torch.randn(1, units, 2, 2, generator=generator).double()
    from itertools import permutations

    from pellucid.core.capture import capture

    class Every(type(create("neurons", "shapley"))):
        def orders(self, units):
            return [torch.tensor(order) for order in permutations(range(units))]

    trace = capture(net, x, (), 1, gradients=False)
    found = Every(antithetic=False)(trace, "input")[0].numpy()

    def score(A):
        return float(module(torch.from_numpy(A)[None])[0, 1].detach())

    exact = twin.shapley_exactly(score, x[0].numpy(), np.zeros(units))
    np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-10)


def test_shapley_error_and_antithetic_orders():
    net = pl.load(lively(Plain()).double(), input_shape=(3, 16, 16))
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    from pellucid.core.capture import capture

    trace = capture(net, x, (), 1, gradients=False)
    made = create("neurons", "shapley", permutations=64)
    values, error = made.with_error(trace, "relu2")
    assert values.shape == error.shape == (2, 8)
    far, _ = create("neurons", "shapley", permutations=400, seed=1).with_error(trace, "relu2")
    assert ((values - far).abs() <= 4.5 * error + 1e-9).all()
    assert (error > 0).any()
    orders = made.orders(8)
    assert len(orders) == 64
    assert all(torch.equal(a, b.flip(0)) for a, b in zip(orders[::2], orders[1::2], strict=True))
    _, alone = create("neurons", "shapley", permutations=2).with_error(trace, "relu2")
    assert alone.isnan().all()


def test_random_is_by_seed_alone():
    net = pl.load(lively(Plain()), input_shape=(3, 16, 16))
    one = pl.neurons(net, torch.randn(2, 3, 16, 16), "relu2", [0, 1], "random", normalized=True).values
    two = pl.neurons(net, torch.randn(1, 3, 16, 16), "relu2", 3, "random", normalized=True).values
    assert torch.equal(one[0], one[1])
    assert torch.equal(one[0], two[0])
    other = pl.neurons(net, torch.randn(1, 3, 16, 16), "relu2", 3, "random", normalized=True, seed=1).values
    assert not torch.equal(one[0], other[0])
    assert ((one >= 0) & (one < 1)).all()
    drawn = torch.rand(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(one[0], drawn.float())


@pytest.fixture(scope="module")
def case():
    captum = pytest.importorskip("captum.attr", reason="captum is not installed")
    net = pl.load(lively(Plain()).double(), input_shape=(3, 16, 16))
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2)).double()
    for parameter in net.module.parameters():
        parameter.requires_grad_(False)
    tail = Tail(net, x, "relu2")

    def behind(A):
        return net.module.fc(net.module.gap(torch.relu(net.module.conv3(net.module.pool2(A)))).flatten(1))

    torch.testing.assert_close(behind(tail.activation), tail.output)
    return captum, net.module.eval(), net, x, tail.activation.detach(), behind


class TestCaptum:
    """Where captum defines the same."""

    def test_ablation(self, case):
        captum, _, net, x, A, behind = case
        mask = torch.arange(A.shape[1])[None, :, None, None].expand_as(A[:1]).contiguous()
        expected = captum.FeatureAblation(behind).attribute(A, target=[1, 3], feature_mask=mask)[:, :, 0, 0]
        found = neurons(net, "relu2", "ablation", [1, 3], x)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-9, atol=1e-12)

    def test_integrated_gradients(self, case):
        captum, _, net, x, A, behind = case
        expected = captum.IntegratedGradients(behind).attribute(
            A, target=[1, 3], n_steps=12, method="riemann_middle"
        )
        found = neurons(net, "relu2", "integrated-gradients", [1, 3], x, steps=12)
        np.testing.assert_allclose(
            found, expected.sum((2, 3)).detach().numpy(), rtol=1e-6
        )  # its points are float32

    @pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad:UserWarning")
    def test_conductance(self, case):
        """captum takes the gradient at the first end of a step; both meet as steps shrink."""
        captum, module, net, x, _, _ = case
        oracle = captum.LayerConductance(module, module.relu2)
        expected = oracle.attribute(x, target=[1, 3], n_steps=600, method="riemann_trapezoid").sum((2, 3))
        found = neurons(net, "relu2", "conductance", [1, 3], x, steps=600)
        scale = float(expected.abs().max())
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=0, atol=4e-3 * scale)

    def test_shapley(self, case):
        """Two samples of the same values."""
        captum, _, net, x, A, behind = case
        mask = torch.arange(A.shape[1])[None, :, None, None].expand_as(A[:1]).contiguous()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            expected = captum.ShapleyValueSampling(behind).attribute(
                A, target=[1, 3], feature_mask=mask, n_samples=150
            )[:, :, 0, 0]
        found = neurons(net, "relu2", "shapley", [1, 3], x, permutations=150)
        scale = float(expected.abs().max())
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=0.05 * scale)


@pytest.mark.parametrize(
    ("layer", "criterion"), [("relu2", "integrated-gradients"), ("relu2", "conductance")]
)
def test_paths_are_complete(layer, criterion):
    net = pl.load(lively(Plain()).double().eval(), input_shape=(3, 16, 16))
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(4)).double()
    found = neurons(net, layer, criterion, [1, 3], x, steps=300).sum(1)
    tail = Tail(net, x, layer)
    start = (
        tail(torch.zeros_like(tail.activation))
        if criterion.startswith("integrated")
        else net(torch.zeros_like(x))
    )
    gone = (tail.output - start).detach()[[0, 1], [1, 3]].numpy()
    np.testing.assert_allclose(found, gone, atol=2e-3 * abs(gone).max())


BAD = {
    "length": ("ablation", {"reference": (0.0, 1.0)}, "one finite number for each of 8 units, .* got 2"),
    "not finite": ("shapley", {"reference": (float("nan"),) * 8}, "got 8 of which some are not finite"),
    "effect": ("ablation", {"effect": "logit"}, "`effect` to be score or probability, got `logit`"),
    "odd": ("shapley", {"permutations": 3}, "an even number of `permutations`, got 3"),
    "none": ("shapley", {"permutations": 0, "antithetic": False}, "at least 1 of `permutations`, got 0"),
    "steps": ("conductance", {"steps": 0}, "at least 1 of `steps`, got 0"),
    "composite": ("relevance", {"composite": "epsilon-pus"}, "did you mean `epsilon-plus`"),
    "seed": ("relevance", {"seed": "logits"}, "did you mean `logit`"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_parameters(case):
    criterion, parameters, message = BAD[case]
    net = pl.load(lively(Plain()), input_shape=(3, 16, 16))
    with pytest.raises(ValueError, match=message):
        neurons(net, "relu2", criterion, 1, torch.randn(1, 3, 16, 16), **parameters)
