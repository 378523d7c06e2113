"""What every registered metric must do; a new metric is tested by being registered."""

import copy
import dataclasses
import json
from dataclasses import replace

import pytest
import torch
from tests import networks
from tests.conformance.harness import network, untouched

import pellucid as pl
from pellucid.core.bibliography import PAPERS
from pellucid.core.registry import create, get
from pellucid.core.results import judged
from pellucid.evaluation import Measurement, Metric
from pellucid.evaluation.cases import cases
from pellucid.world import draw, render

METRICS = pl.names("evaluation")
FEW = {"steps": 4, "draws": 1}
SIDE = 32
HEADS = {
    "plain": (networks.Headed, {}, 3),
    "grey": (networks.GreyNet, {}, 1),
    "single logit": (networks.BinaryNet, {}, 3),
    "sigmoid": (networks.SigmoidNet, {"head": "probabilities"}, 3),
    "normalization and dropout": (networks.PlainNet, {}, 3),
    "labels that do not compete": (networks.Headed, {"head": "sigmoid"}, 3),
}


def quick(name, **parameters):
    """The metric with fewer passes than by default, where it has such a parameter."""
    fields = {entry.name for entry in dataclasses.fields(get("evaluation", name))}
    return create(
        "evaluation",
        name,
        **{key: value for key, value in {**FEW, **parameters}.items() if key in fields},
    )


def scenes(count=3):
    """Scenes of the concept world that show an object of several parts: they bring all that a metric may ask for."""
    found = (render(draw(index, split="test")) for index in range(100))
    seen = (
        each for each in found if len(each.scene_data.part_names()) > 3 and each.object_mask().mean() > 0.05
    )
    return [each for each, _ in zip(seen, range(count), strict=False)]


SCENES = scenes()


def small(kind="plain", size=SIDE):
    make, options, channels = HEADS[kind]
    shape = (size, size) if isinstance(size, int) else size
    preprocess = pl.Preprocess(max(shape), shape, (0.5,) * channels, (0.25,) * channels, channels)
    return networks.wrap(make(), (channels, *shape), preprocess=preprocess, **options)


def prepared(net, method="gradcam", layer=None, count=3, **options):
    """A case of one layer with masks, scenes and the method."""
    place = layer or net.default_layers[0]
    return cases(net, SCENES[:count], method, layers=place, progress=False, **options)[place]


def spoiled(case, row, value):
    """The case with one map constant, or not finite."""
    saliency, values = case.saliency.clone(), case.heatmap.values.clone()
    saliency[row], values[row] = value, value
    old = case.heatmap
    heatmap = judged(values, old.layer, old.method, old.input_size, old.target)
    return replace(case, saliency=saliency, heatmap=heatmap)


def same(one: Measurement, other: Measurement, row=None, **tolerance):
    """Values, reasons and curves of two measurements, or of one row and a measurement of one image, agree."""
    rows = slice(None) if row is None else slice(row, row + 1)
    assert one.values.keys() == other.values.keys()
    assert one.curves.keys() == other.curves.keys()
    assert one.reasons[rows] == other.reasons
    for mine, theirs in ((one.values, other.values), (one.curves, other.curves)):
        for name in mine:
            torch.testing.assert_close(
                mine[name][rows].double(), theirs[name].double(), equal_nan=True,
                **(tolerance or {"rtol": 0, "atol": 0}),
            )  # fmt: skip


def check(found, metric, count=3):
    """A measurement that is whole: what it may hold, and what it must say."""
    assert isinstance(found, Measurement)
    assert found.metric == metric.name
    assert len(found) == count
    for name, values in found.values.items():
        assert values.shape == (count,), name
        assert values.device.type == "cpu"
        assert not values.requires_grad
    for curve in found.curves.values():
        assert len(curve) == count
    assert found.better
    assert set(found.better) <= set(found.values)
    assert set(found.better.values()) <= {"higher", "lower"}
    for row, reason in enumerate(found.reasons):
        missing = [name for name, values in found.values.items() if values[row].isnan()]
        if missing:
            assert reason, f"{missing} of image {row} are not defined, and nothing says why"
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("name", METRICS)
class TestMetric:
    @pytest.mark.parametrize("kind", HEADS)
    def test_heads(self, name, kind):
        net = small(kind)
        found = quick(name)(prepared(net))
        check(found, get("evaluation", name))
        assert any(value.isfinite().any() for value in found.values.values())

    @pytest.mark.parametrize("size", [(24, 32), (32, 24)])
    def test_images_that_are_not_square(self, name, size):
        check(quick(name)(prepared(small(size=size))), get("evaluation", name))

    def test_embedded_network(self, name):
        net = network("scenes-resnet")
        metric = quick(name)
        found = metric(prepared(net, count=2, layer=net.default_layers[-1]))
        check(found, metric, 2)
        assert found.reasons == (None, None)

    def test_parameters_hold_those_of_the_metric(self, name):
        metric = quick(name)
        found = metric(prepared(small()))
        assert {field.name for field in dataclasses.fields(metric)} <= set(found.parameters)

    def test_batch_equals_one_by_one(self, name):
        net, metric = small(), quick(name)
        targets = [2, 0, 1]
        whole = metric(prepared(net, target=targets))
        for row, target in enumerate(targets):
            alone = cases(
                net,
                SCENES[row : row + 1],
                "gradcam",
                layers=net.default_layers[0],
                target=target,
                progress=False,
            )[net.default_layers[0]]
            same(whole, metric(alone), row, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("size", [1, 5])
    def test_size_of_forward_passes_does_not_matter(self, name, size):
        net, metric = small(), quick(name)
        case = prepared(net)
        same(metric(case), metric(replace(case, batch_size=size)), rtol=1e-4, atol=1e-4)

    def test_same_seed_same_values(self, name):
        net, metric = small(), quick(name)
        case = prepared(net)
        first = metric(case)
        torch.manual_seed(99)
        same(first, metric(case))

    @pytest.mark.parametrize("kind", ["plain", "normalization and dropout"])
    def test_network_untouched(self, name, kind):
        net, metric = small(kind), quick(name)
        case = prepared(net)
        kept = [case.images.clone(), case.saliency.clone(), case.masks.clone()]
        with untouched(net.module):
            metric(case)
        assert all(map(torch.equal, kept, [case.images, case.saliency, case.masks])), (
            "the case itself is altered"
        )

    @pytest.mark.parametrize("call", [1, 2])
    def test_network_untouched_by_an_error(self, name, call):
        net, metric = small("normalization and dropout"), quick(name)
        case = fresh(prepared(net))
        calls = []

        def breaking(*_):
            calls.append(1)
            if len(calls) == call:
                raise ArithmeticError("no output today")

        net.module.classifier.register_forward_hook(breaking)
        with untouched(net.module):
            if get("evaluation", name).needs == "masks":
                metric(case)
                assert not calls, "what looks at masks only never runs the network"
            else:
                with pytest.raises(ArithmeticError, match="no output today"):
                    metric(replace(case, batch_size=1))

    def test_callers_without_gradients(self, name):
        net, metric = small(), quick(name)
        case = prepared(net)
        expected = metric(case)
        for context in (torch.no_grad, torch.inference_mode):
            with context():
                same(expected, metric(fresh(case)), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0], ids=["NaN", "infinite", "constant"])
    def test_a_map_that_says_nothing_is_undefined_and_disturbs_no_other(self, name, value):
        net, metric = small(), quick(name)
        case = prepared(net)
        expected = metric(case)
        found = metric(spoiled(case, 1, value))
        check(found, metric)
        assert found.reasons[1]
        assert found.values[found.main][1].isnan()
        for row in (0, 2):
            assert found.reasons[row] == expected.reasons[row]
            for quantity, values in expected.values.items():
                torch.testing.assert_close(
                    found.values[quantity][row], values[row], rtol=1e-4, atol=1e-4, equal_nan=True
                )


def fresh(case):
    """The case on a network that nothing is remembered of."""
    return replace(case, net=copy.copy(case.net))


@pytest.mark.parametrize("name", METRICS)
def test_parameters_round_trip_through_json(name):
    metric = create("evaluation", name)
    again = create("evaluation", name, **json.loads(json.dumps(dataclasses.asdict(metric))))
    assert again == metric
    assert hash(again) == hash(metric)
    with pytest.raises(dataclasses.FrozenInstanceError):
        metric.anything = 1


@pytest.mark.parametrize("name", METRICS)
def test_says_what_it_is(name):
    metric = get("evaluation", name)
    assert issubclass(metric, Metric)
    assert metric.name == name
    assert metric.paper is None or metric.paper in PAPERS
    assert metric.needs in ("maps", "masks", "method", "scenes")
    assert metric.__doc__
    assert len(metric.__doc__) > 20
    assert metric.__doc__.strip().split("\n\n")[0].rstrip().endswith(".")
