"""Methods that follow a path or hand evidence from stage to stage equal their slow twins, and reduce to simpler ones
where theory says so."""

import numpy as np
import pytest
import torch
from tests.reference import attribution as twin
from tests.reference import relevance_maps as carried
from tests.reference.models import Plain, Tangled, Twin, lively
from tests.reference.network import TwinNetwork
from torch import nn

import pellucid as pl
from pellucid.core.capture import capture
from pellucid.core.registry import create
from pellucid.relevance import Composite, propagate

PLACES = {"input": "x", "relu1": "r1", "pool1": "p1", "relu2": "r2"}
TARGETS = (1, 2)
WEIGHTS = {
    "w1": "conv1.weight", "b1": "conv1.bias", "gamma": "norm1.weight", "beta": "norm1.bias",
    "mean": "norm1.running_mean", "var": "norm1.running_var", "w2": "conv2.weight", "b2": "conv2.bias",
    "w3": "fc.weight", "b3": "fc.bias",
}  # fmt: skip


@pytest.fixture(scope="module")
def by_hand():
    """The same network twice, and a trace of two images [2, 3, 6, 6] with a target each."""
    module = lively(Twin().double(), seed=3)
    state = module.state_dict()
    hand = TwinNetwork(**{key: state[name].numpy() for key, name in WEIGHTS.items()})
    net = pl.load(module, input_shape=(3, 6, 6))
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    return hand, capture(net, x, ["relu2"], list(TARGETS))


@pytest.fixture(params=PLACES)
def layer(request):
    return request.param


def each(by_hand):
    hand, trace = by_hand
    return [(row, hand.forward(x), TARGETS[row]) for row, x in enumerate(trace.images.numpy())]


def first_share(trace, state):
    low, high = (limit.double().numpy()[:, 0, 0] for limit in trace.network.preprocess.bounds())
    return carried.bounds(state, low, high)


def close(found, expected):
    """But for the stabilizers of relevance, a millionth each, of parts that nearly cancel."""
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4 * np.abs(expected).max())


def path(hand, x, target, place, steps, baseline, after_softmax):
    found = []
    for n in range(steps + 1):
        state = hand.forward(baseline + n / steps * (x - baseline))
        slopes = [hand.backward(state, c)[place] for c in range(len(hand.b3))]
        p = np.exp(state["output"]) / np.exp(state["output"]).sum()
        gradient = sum(p[target] * ((c == target) - p[c]) * slopes[c] for c in range(len(p)))
        found.append((state[place], gradient if after_softmax else slopes[target]))
    return found


@pytest.mark.parametrize("name", ["integrated-gradcam", "rsi-gradcam"])
def test_paths(by_hand, layer, name):
    found = create("attribution", name, steps=5, baseline=0.3)(by_hand[1], layer)
    for row, state, target in each(by_hand):
        along = path(by_hand[0], state["x"], target, PLACES[layer], 5, 0.3, name == "rsi-gradcam")
        close(found[row], (twin.rsi_gradcam if name == "rsi-gradcam" else twin.integrated_gradcam)(along))


@pytest.mark.parametrize("weights", ["gradient", "relevance"])
def test_fg_cam(by_hand, layer, weights):
    found = create("attribution", "fg-cam", weights=weights)(by_hand[1], layer)
    for row, state, target in each(by_hand):
        first = first_share(by_hand[1], state)
        close(found[row], carried.fg_cam(by_hand[0], state, target, PLACES[layer], weights, first))


@pytest.mark.parametrize("units", [1, 2, 32])
def test_hierarchical(by_hand, layer, units):
    found = create("attribution", "hierarchical", units=units)(by_hand[1], layer)
    for row, state, target in each(by_hand):
        close(found[row], carried.hierarchical(by_hand[0], state, target, PLACES[layer], units))


@pytest.mark.parametrize("balance", [1.0, 0.75])
def test_tsgb(by_hand, layer, balance):
    found = create("attribution", "tsgb", balance=balance)(by_hand[1], layer)
    for row, state, target in each(by_hand):
        close(found[row], carried.tsgb(by_hand[0], state, target, PLACES[layer], balance))


@pytest.mark.parametrize("channels", [1, 3])
def test_cf_cam(by_hand, layer, channels):
    found = create("attribution", "cf-cam", channels=channels, blur=0.2)(by_hand[1], layer)
    for row, state, target in each(by_hand):
        first = first_share(by_hand[1], state)
        close(found[row], carried.cf_cam(by_hand[0], state, target, PLACES[layer], channels, 0.2, first))


def wrapped(kind=Plain):
    return pl.load(lively(kind()).double(), input_shape=(3, 16, 16))


def images(count=2):
    return torch.randn(count, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def bare():
    """Homogeneous: activations grow in proportion to the image, and the head is linear in them."""
    module = nn.Sequential(
        nn.Conv2d(3, 5, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 14 * 14, 4, bias=False)
    )
    return pl.load(lively(module).double(), input_shape=(3, 16, 16))


@pytest.mark.parametrize("steps", [1, 4])
def test_integrated_gradcam_of_a_linear_head_is_gradcam(steps):
    """Each step t adds t times the same map: (steps + 1) / (2 steps) in the mean."""
    net, x = bare(), images()
    plain = pl.attribute(net, x, "gradcam", "1", 1, normalized=True)["1"].values
    found = pl.attribute(net, x, "integrated-gradcam", "1", 1, normalized=True, steps=steps)["1"].values
    assert plain.any()
    torch.testing.assert_close(found, plain * (steps + 1) / (2 * steps))


def test_rsi_gradcam_of_a_linear_score_needs_one_step():
    """A constant gradient comes out of the integral: ReLU(g) times what changed."""
    net, x = bare(), images()

    def score(output):
        return output[:, 1]

    trace = capture(net, x, ["1"], score)
    A, g = trace.activations["1"], trace.gradients["1"]
    expected = ((g.relu() * A).mean((2, 3), keepdim=True) * A).sum(1)
    for steps in (1, 7):
        found = create("attribution", "rsi-gradcam", steps=steps)(trace, "1")
        torch.testing.assert_close(found, expected)


def test_rsi_gradcam_survives_saturation():
    """At the image itself the probability is 1 and has no gradient left."""
    net = bare()
    x = images() * 300
    target = net(x).argmax(1).tolist()
    end = capture(net, x, ["1"], target)
    assert net.probabilities(end.output).amax(1).min() == 1
    found = pl.attribute(net, x, "rsi-gradcam", "1", target, normalized=True, steps=200)["1"]
    assert found.status == ("ok", "ok")


@pytest.mark.parametrize(("weights", "same"), [("gradient", "gradcam"), ("relevance", "relevance-cam")])
@pytest.mark.parametrize("kind", [Plain, Tangled])
def test_fg_cam_is_its_start_at_the_last_stage(kind, weights, same):
    net = wrapped(kind)
    last = net.default_layers[-1]
    found, expected = (
        pl.attribute(net, images(), name, last, 1, signed=True, normalized=True, **options)[last].values
        for name, options in (("fg-cam", {"weights": weights}), (same, {}))
    )
    torch.testing.assert_close(found, expected)


def test_fg_cam_keeps_its_total_on_the_way_down():
    """z⁺ conserves what the stage above has handed on: its positive evidence."""
    net = wrapped()
    maps = pl.attribute(net, images(), "fg-cam", ["relu1", "relu2", "relu3"], 4, signed=True, normalized=True)
    for upper, lower in (("relu3", "relu2"), ("relu2", "relu1")):
        handed = maps[upper].values.relu().sum((1, 2))
        assert handed.all()
        torch.testing.assert_close(maps[lower].values.sum((1, 2)), handed)


def test_fg_cam_with_nothing_but_contrary_evidence_is_negative():
    net = wrapped()
    with torch.no_grad():
        net.module.fc.weight[1] = -net.module.fc.weight[1].abs()
    for heatmap in pl.attribute(net, images(), "fg-cam", target=1, normalized=True).values():
        assert heatmap.status == ("negative", "negative")


@pytest.mark.parametrize("kind", [Plain, Tangled])
def test_hierarchical_with_all_units_is_layercam_at_the_last_stage(kind):
    net = wrapped(kind)
    last = net.default_layers[-1]
    found, expected = (
        pl.attribute(net, images(), name, last, 1, normalized=True)[last].values
        for name in ("hierarchical", "layercam")
    )
    torch.testing.assert_close(found, expected)


def test_tsgb_balances_pro_and_contra_everywhere():
    """Both sides cancel at the classifier, and what follows conserves."""
    net = wrapped()
    maps = pl.attribute(net, images(), "tsgb", ["input", "relu1", "relu3"], 1, signed=True, normalized=True)
    for heatmap in maps.values():
        size = heatmap.values.abs().sum((1, 2))
        assert size.all()
        assert bool((heatmap.values.sum((1, 2)).abs() < 1e-5 * size).all())


def test_tsgb_knows_inputs_of_both_signs():
    """Contributions of a dense layer behind no rectifier are told apart by their own sign."""
    from pellucid.attribution.tsgb import Balanced, Magnitude

    module = nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), nn.Flatten(), nn.Linear(4, 2)).double()
    net = pl.load(lively(module, seed=4), input_shape=(1, 1, 1))
    x = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    rules = Composite(convolution=Magnitude(), dense=Balanced())
    found = propagate(net, x, ["0"], 0, composite=rules)
    products = found.activations["0"].flatten() * module[2].weight[0].detach()
    assert (found.activations["0"] < 0).any()
    assert (products > 0).any()
    assert (products < 0).any()
    beta = products.clamp(min=0).sum() / products.clamp(max=0).sum().abs()
    expected = torch.where(products > 0, products, beta * products)
    torch.testing.assert_close(found.relevance["0"].flatten(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["integrated-gradcam", "rsi-gradcam", "fg-cam", "hierarchical"])
def test_a_layer_s_map_does_not_depend_on_which_others_were_asked(name):
    net = wrapped()
    together = pl.attribute(net, images(), name, ["relu1", "relu2", "relu3"], 1, normalized=True)
    for layer, heatmap in together.items():
        alone = pl.attribute(net, images(), name, layer, 1, normalized=True)[layer]
        torch.testing.assert_close(alone.values, heatmap.values)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("integrated-gradcam", {"steps": 0}, "at least 1 of `steps`, got 0; try 20"),
        ("rsi-gradcam", {"steps": -2}, "at least 1 of `steps`, got -2"),
        ("fg-cam", {"weights": "gradients"}, "got `gradients`; did you mean `gradient`"),
        ("hierarchical", {"units": 0}, "at least 1 of `units` to keep at every stage, got 0"),
        ("tsgb", {"balance": 0.0}, "`balance` above 0, got 0.0"),
        ("tsgb", {"balance": float("nan")}, "`balance` above 0, got nan"),
        ("cf-cam", {"channels": 0}, "`channels` of at least 1 and `blur` above 0, got 0 and 0.06"),
        ("cf-cam", {"blur": 0.0}, "got 32 and 0.0"),
    ],
)
def test_bad_parameters_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        create("attribution", name, **options)
