"""Average drop, increase and gain against a literal twin and torchcam; everything that would divide by zero."""

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conformance.harness import untouched
from tests.networks import BinaryNet, Headed, family, images, lively
from tests.reference import evaluation as twin
from torch import nn

import pellucid as pl
from pellucid.evaluation.drop import AverageDrop, scaled
from pellucid.evaluation.metric import Case

SHAPE = (3, 12, 20)


def maps(count=4, seed=3):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(count, *SHAPE[1:], generator=draw, dtype=torch.float64) - 0.3


def exact(module, **options):
    return pl.load(lively(module).double(), input_shape=SHAPE, **options)


def case(net, saliency, target=None, **options):
    x = images(len(saliency), SHAPE).to(net.dtype)
    with torch.no_grad():
        return Case(net, x, net.resolve_target(target, net(x)), saliency, **options)


class Sum(nn.Module):
    """Two logits: the mean of the image times a factor, and zero."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, x):
        total = x.mean((1, 2, 3)) * self.factor
        return torch.stack([total, torch.zeros_like(total)], 1)


@pytest.mark.parametrize(
    ("module", "options"), [(Headed(), {}), (Headed(), {"head": "sigmoid"}), (BinaryNet(), {})]
)
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_equal_to_the_definition(module, options, batch_size):
    net = exact(module, **options)
    given = case(net, maps(), [1, 0, 1, 1], batch_size=batch_size)
    found = AverageDrop()(given)
    assert found.reasons == (None,) * 4
    for row, column in enumerate([1, 0, 1, 1]):

        def f(x, column=column):
            with torch.no_grad():
                return float(net.probabilities(net(torch.from_numpy(x)[None]))[0, column])

        expected = twin.average_drop(f, given.images[row].numpy(), given.saliency[row].numpy())
        got = [float(found.values[name][row]) for name in ("drop", "increase", "gain")]
        assert got == pytest.approx(expected, abs=1e-10)
    assert found.values["drop"].dtype == torch.float64
    assert found.main == "drop"


def test_as_torchcam():
    metrics = pytest.importorskip("torchcam.metrics")
    net = exact(Headed())
    given = case(net, maps(), 2)

    class Given:
        model = net.module
        _hooks_off = staticmethod(contextlib.nullcontext)

        def __call__(self, *_, **__):
            return [scaled(given.saliency)]

        def fuse_cams(self, cams):
            return cams[0]

    metric = metrics.ClassificationMetric(Given(), lambda out: out.softmax(1))
    metric.update(given.images, 2)
    found, theirs = AverageDrop()(given), metric.summary()
    assert float(found.values["drop"].mean()) == pytest.approx(theirs["avg_drop"], abs=1e-5)  # they add 1e-7
    assert float(found.values["increase"].mean()) == theirs["conf_increase"]


def test_closed_form():
    """p = σ(mean): half the image kept under a map of 0 and 1 leaves σ(mean of that half / 2)."""
    net = pl.load(Sum(8.0), input_shape=SHAPE)
    saliency = torch.zeros(1, *SHAPE[1:])
    saliency[:, :, :10] = 7.0
    x = torch.full((1, *SHAPE), 0.5, dtype=torch.float64)
    for index, sign in ((0, 1), (1, -1)):
        target = net.resolve_target(index, torch.empty(1, 0))
        found = AverageDrop()(Case(net, x, target, saliency)).values
        y, o = (float(torch.tensor(sign * each, dtype=torch.float64).sigmoid()) for each in (4.0, 2.0))
        assert float(found["drop"]) == pytest.approx(max(0, (y - o) / y), abs=1e-12)
        assert float(found["increase"]) == float(o > y)
        assert float(found["gain"]) == pytest.approx(max(0, (o - y) / (1 - y)), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(
    factor=st.floats(0.01, 100), shift=st.floats(-10, 10), seed=st.integers(0, 1000), row=st.integers(0, 3)
)
def test_scale_of_the_map_does_not_matter_and_drop_excludes_gain(factor, shift, seed, row):
    net = exact(Headed())
    saliency = maps(seed=seed)
    found = AverageDrop()(case(net, saliency)).values
    moved = saliency.clone()
    moved[row] = moved[row] * factor + shift
    for name, values in AverageDrop()(case(net, moved)).values.items():
        torch.testing.assert_close(values, found[name], atol=1e-9, rtol=0)
    assert bool(((found["drop"] >= 0) & (found["drop"] <= 1)).all())
    assert bool(((found["gain"] >= 0) & (found["gain"] <= 1)).all())
    assert not bool((found["drop"] * found["gain"]).any())
    assert torch.equal(found["increase"] == 1, found["gain"] > 0)


@pytest.mark.parametrize("broken", [float("nan"), float("-inf"), "constant"])
def test_a_broken_map_concerns_its_image_only(broken):
    net = exact(Headed())
    saliency = maps()
    whole = AverageDrop()(case(net, saliency))
    if broken == "constant":
        saliency[2] = 3.0
    else:
        saliency[2, 1, 1] = broken
    found = AverageDrop()(case(net, saliency))
    why = "constant map: it orders nothing" if broken == "constant" else "the map is not finite"
    assert found.reasons == (None, None, why, None)
    for name, values in found.values.items():
        assert values.isnan().tolist() == [False, False, True, False]
        torch.testing.assert_close(values[:2], whole.values[name][:2], atol=1e-12, rtol=0)


def test_probabilities_of_zero_and_one():
    """Float32 rounds e⁻²⁰⁰ to 0 and 1 − e⁻²⁰⁰ to 1: what would divide by zero is undefined, the rest stays."""
    net = pl.load(Sum(400.0).float(), input_shape=SHAPE)
    x = torch.full((1, *SHAPE), 0.5)
    for index, missing, reason in (
        (0, "gain", "gain: the target's probability is 1"),
        (1, "drop", "drop: the target's score is not above 0"),
    ):
        target = net.resolve_target(index, torch.empty(1, 0))
        found = AverageDrop()(Case(net, x, target, maps(1)))
        assert found.reasons == (reason,)
        assert {name for name, value in found.values.items() if value.isnan()} == {missing}
        assert float(found.values["increase"]) in (0, 1)


def test_a_function_of_the_output_has_no_gain():
    net = exact(Headed())
    for low in (lambda output: output[:, 1] * 0, lambda output: -output[:, 1].exp()):
        found = AverageDrop()(case(net, maps(), low))
        assert set(found.values) == set(found.better) == {"drop", "increase"}
        assert bool(found.values["drop"].isnan().all())
        assert found.reasons == ("drop: the target's score is not above 0",) * 4
        assert found.parameters["score"] == "value of the target function"
    positive = AverageDrop()(case(net, maps(), lambda output: output[:, 1].exp()))
    assert bool(positive.values["drop"].isfinite().all())


def test_a_network_that_gives_nan_is_undefined():
    class Nan(Sum):
        def forward(self, x):
            return super().forward(x) * float("nan")

    found = AverageDrop()(case(pl.load(Nan(), input_shape=SHAPE), maps(), 0))
    assert found.reasons == ("the network's output is not finite",) * 4


def test_everything_as_before():
    net, saliency = family("dropout"), torch.rand(2, 32, 32)
    x = images(2)
    with untouched(net.module):
        pl.evaluate(net, x, saliency, "average-drop", normalized=True)
