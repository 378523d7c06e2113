"""Every method equals its slow float64 twin, on random traces (formulas) and on a network computed by hand
(passes)."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import attribution as twin
from tests.reference.models import Twin, lively
from tests.reference.network import TwinNetwork

import pellucid as pl
from pellucid.attribution import fuse
from pellucid.core.capture import Trace, capture
from pellucid.core.geometry import Geometry
from pellucid.core.layers import Layer
from pellucid.core.registry import create
from pellucid.core.results import Heatmap
from pellucid.core.target import Target

FORMULAS = {
    "gradcam": twin.gradcam,
    "gradcam++": twin.gradcam_plus_plus,
    "xgradcam": twin.xgradcam,
    "hirescam": twin.hirescam,
    "gradcam-elementwise": twin.gradcam_elementwise,
    "layercam": twin.layercam,
    "gradient": twin.gradient,
    "gradient-x-input": twin.gradient_x_input,
}
PASSES = {"smoothgrad", "integrated-gradients", "guided-backprop", "deconvnet", "fullgrad"}
STAGED = {
    "integrated-gradcam",
    "rsi-gradcam",
    "fg-cam",
    "hierarchical",
    "tsgb",
    "cf-cam",
    "shallow-cam",
}  # test_staged_twins.py, test_shallow_cam.py
ELSEWHERE = {"cam", "eigencam", "eigengradcam"} | PASSES | STAGED
RELEVANCE = {"lrp", "clrp", "sglrp", "relevance-cam"}  # rule by rule in tests/relevance


def trace_of(A, g):
    A, g = torch.as_tensor(A), torch.as_tensor(g)
    batch = len(A)
    target = Target(torch.zeros(batch, dtype=torch.long), ("class 0",) * batch)
    layer = Layer("layer", "Conv2d", tuple(A.shape[1:]))
    empty = torch.zeros(batch, 1)
    return Trace(None, A, empty, target, empty[:, 0], {"layer": A}, {"layer": g}, {"layer": layer})


@st.composite
def pairs(draw):
    shape = tuple(draw(st.integers(1, top)) for top in (3, 5, 4, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    A, g = random.normal(size=shape), random.normal(size=shape) * 10.0 ** draw(st.integers(-6, 2))
    if draw(st.booleans()):
        A = np.maximum(A, 0)
    if draw(st.booleans()):
        g[random.random(shape) < 0.4] = 0
    if draw(st.booleans()):
        A[:, 0] = 0
    return A, g


def test_every_method_has_a_twin():
    assert set(FORMULAS) | ELSEWHERE | RELEVANCE == set(pl.names("attribution"))


@pytest.mark.parametrize("name", sorted(FORMULAS))
@given(pair=pairs())
@settings(max_examples=25, deadline=None)
def test_formula(name, pair):
    A, g = pair
    found = create("attribution", name)(trace_of(A, g), "layer").numpy()
    expected = np.stack([FORMULAS[name](a, b) for a, b in zip(A, g, strict=True)])
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * max(np.abs(expected).max(), 1e-300))


@pytest.mark.parametrize("reduce", ["max", "sum", "mean", "l2"])
@given(pair=pairs())
@settings(max_examples=10, deadline=None)
def test_reductions(reduce, pair):
    A, g = pair
    found = create("attribution", "gradient", reduce=reduce)(trace_of(A, g), "layer").numpy()
    np.testing.assert_allclose(
        found, [twin.gradient(a, b, reduce) for a, b in zip(A, g, strict=True)], rtol=1e-10
    )


@pytest.mark.parametrize("name", ["eigencam", "eigengradcam"])
@pytest.mark.parametrize("centered", [True, False])
@given(pair=pairs())
@settings(max_examples=25, deadline=None)
def test_first_component(name, centered, pair):
    A, g = pair
    found = create("attribution", name, centered=centered)(trace_of(A, g), "layer").numpy()
    for a, b, map_ in zip(A, g, found, strict=True):
        X = a if name == "eigencam" else a * b
        rows = X.reshape(len(X), -1)
        rows = rows - rows.mean(1, keepdims=True) if centered else rows
        values = np.append(np.linalg.svd(rows, compute_uv=False), 0)
        if values[0] < 1e-9 * np.abs(X).max() or values[0] == 0:
            np.testing.assert_allclose(map_, 0, atol=1e-9 * (np.abs(X).max() or 1))
            continue
        np.testing.assert_allclose(np.linalg.norm(map_), values[0], rtol=1e-10)
        direction = np.linalg.svd(rows)[0][:, 0]
        clear = values[0] - values[1] > 1e-2 * values[0] and abs(direction.sum()) > 1e-6
        if clear:  # else the direction or its sign is not determined by the matrix
            expected = getattr(twin, name)(a, b, centered)
            np.testing.assert_allclose(map_, expected, rtol=1e-9, atol=1e-9 * values[0])


@given(seed=st.integers(0, 1000), stages=st.integers(1, 5), gamma=st.floats(0.5, 4))
@settings(max_examples=20, deadline=None)
def test_fusion(seed, stages, gamma):
    random = np.random.default_rng(seed)
    maps = [random.normal(size=(4, 5)) for _ in range(stages)]
    maps[0] = -np.abs(maps[0])
    heatmaps = {
        str(place): Heatmap(
            torch.from_numpy(values)[None],
            Layer(str(place), "", (1, 4, 5), Geometry(), place),
            "",
            (4, 5),
            ("ok",),
        )
        for place, values in reversed(list(enumerate(maps)))  # the order given does not matter
    }
    expected = twin.fuse(maps, max(0, stages - 2), gamma)
    np.testing.assert_allclose(fuse(heatmaps, gamma=gamma)[0].numpy(), expected, rtol=1e-12)
    assert 0 <= float(fuse(heatmaps).min()) <= float(fuse(heatmaps).max()) <= 1


@pytest.fixture(scope="module")
def by_hand():
    """The same network twice, images [2, 3, 6, 6], and one target for each."""
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
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    return net, hand, capture(net, x, ["input", "pool1", "relu2"], [1, 2])


def each(by_hand):
    _, hand, trace = by_hand
    return [(x, hand.forward(x), target) for x, target in zip(trace.images.numpy(), (1, 2), strict=True)]


PLACES = {"input": "x", "pool1": "p1"}


def test_network_by_hand(by_hand):
    _, hand, trace = by_hand
    for row, (_, state, target) in enumerate(each(by_hand)):
        np.testing.assert_allclose(trace.output[row], state["output"], rtol=1e-12)
        np.testing.assert_allclose(
            trace.gradients["input"][row], hand.backward(state, target)["x"], rtol=1e-10
        )


def test_cam(by_hand):
    _, hand, trace = by_hand
    found = create("attribution", "cam")(trace, "relu2")
    for row, (_, state, target) in enumerate(each(by_hand)):
        np.testing.assert_allclose(found[row], twin.cam(state["r2"], hand.w3[target]), rtol=1e-10)


@pytest.mark.parametrize("layer", PLACES)
@pytest.mark.parametrize(("name", "rule"), [("guided-backprop", "guided"), ("deconvnet", "deconvnet")])
def test_changed_rectifiers(by_hand, layer, name, rule):
    _, hand, trace = by_hand
    found = create("attribution", name).gradients(trace, layer)
    for row, (_, state, target) in enumerate(each(by_hand)):
        expected = hand.backward(state, target, rule)[PLACES[layer]]
        np.testing.assert_allclose(found[row], expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("layer", PLACES)
@pytest.mark.parametrize("rule", ["gausslegendre", "trapezoid"])
def test_integrated_gradients(by_hand, layer, rule):
    _, hand, trace = by_hand
    found = create("attribution", "integrated-gradients", steps=5, rule=rule, baseline=[0.3, -0.2, 0.1])(
        trace, layer
    )
    if rule == "trapezoid":
        points, weights = [0, 0.25, 0.5, 0.75, 1], [0.125, 0.25, 0.25, 0.25, 0.125]
    else:
        nodes, masses = np.polynomial.legendre.leggauss(5)
        points, weights = list(nodes / 2 + 0.5), list(masses / 2)
    for row, (x, _, target) in enumerate(each(by_hand)):
        baseline = np.broadcast_to(np.array([0.3, -0.2, 0.1])[:, None, None], x.shape)
        expected = hand.integrated(x, baseline, target, points, weights, PLACES[layer]).sum(0)
        np.testing.assert_allclose(found[row], expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("layer", PLACES)
def test_smoothgrad(by_hand, layer):
    _, hand, trace = by_hand
    found = create("attribution", "smoothgrad", samples=3, noise=0.2, seed=5)(trace, layer)
    generator = torch.Generator().manual_seed(5)
    noises = [torch.randn(3, 6, 6, generator=generator).double().numpy() for _ in range(3)]
    for row, (x, _, target) in enumerate(each(by_hand)):
        sigma = 0.2 * (x.max() - x.min())
        mean = sum(hand.backward(hand.forward(x + sigma * n), target)[PLACES[layer]] for n in noises) / 3
        np.testing.assert_allclose(found[row], twin.gradient(mean, mean), rtol=1e-10)


@pytest.mark.parametrize("layer", PLACES)
def test_fullgrad_parts(by_hand, layer):
    _, hand, trace = by_hand
    parts = create("attribution", "fullgrad").parts(trace, layer)
    names = ["n1", "z1", "z2"] if layer == "input" else ["z2"]
    for row, (_, state, target) in enumerate(each(by_hand)):
        biases, place = hand.biases(state, target), PLACES[layer]
        np.testing.assert_allclose(
            parts.input[row], state[place] * hand.backward(state, target)[place], rtol=1e-10
        )
        found = {(*c.shape[1:], round(float(c[row].sum()), 9)) for _, c in parts.spatial}
        assert found == {(*biases[name].shape, round(float(biases[name].sum()), 9)) for name in names}
        np.testing.assert_allclose(parts.others[0][row], biases["output"], rtol=1e-10)
        np.testing.assert_allclose(parts.total[row], state["output"][target], rtol=1e-12)


@pytest.mark.parametrize("layer", PLACES)
@pytest.mark.parametrize("plain", [True, False])
def test_fullgrad_map(by_hand, layer, plain):
    _, hand, trace = by_hand
    found = create("attribution", "fullgrad", magnitude=not plain, rescale=not plain)(trace, layer)

    def processed(values):
        if plain:
            return values.sum(0)
        sizes = np.abs(values)
        return ((sizes - sizes.min()) / (sizes.max() - sizes.min())).sum(0)

    for row, (_, state, target) in enumerate(each(by_hand)):
        biases, place = hand.biases(state, target), PLACES[layer]
        expected = processed(state[place] * hand.backward(state, target)[place])
        if layer == "input":
            # a 2×2 max pool with stride 2 puts cell i at pixel 2 i + 1/2
            at = np.clip((np.arange(6) - 0.5) / 2, 0, 2)
            weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(3)))
            expected = expected + processed(biases["z1"]) + processed(biases["n1"])
            expected = expected + weights @ processed(biases["z2"]) @ weights.T
        else:
            expected = expected + processed(biases["z2"])
        np.testing.assert_allclose(found[row], expected, rtol=1e-10, atol=1e-14)


def test_parameters_change_the_result(by_hand):
    """Each field of each method means something."""
    trace = by_hand[2]
    other = {
        "epsilon": 0.5,
        "centered": False,
        "reduce": "sum",
        "samples": 2,
        "noise": 0.5,
        "seed": 1,
        "steps": 3,
        "baseline": 0.5,
        "rule": "trapezoid",
        "magnitude": False,
        "rescale": False,
        "weights": "relevance",
        "units": 1,
        "balance": 0.5,
        "channels": 1,
        "blur": 0.3,
        "absolute": False,
    }
    of_shallow_cam = {
        "arm": "spatial",
        "seed": "logit",
        "mask": "none",
        "power": 0.7,
        "smooth": 0.1,
        "reach": "next",
        "composite": "epsilon-plus",
    }
    for name in (*FORMULAS, *ELSEWHERE):
        method = create("attribution", name)
        for entry in dataclasses.fields(method):
            if (name, entry.name) == ("shallow-cam", "through"):
                continue  # a rectifier is all there is in a stage; see test_shallow_cam.py
            values = of_shallow_cam if name == "shallow-cam" else other
            changed = dataclasses.replace(method, **{entry.name: values[entry.name]})
            layer = "relu2" if name == "cam" else "input"
            assert not torch.allclose(method(trace, layer), changed(trace, layer), rtol=1e-6), (
                name,
                entry.name,
            )
