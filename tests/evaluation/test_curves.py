"""Deletion and insertion against a literal twin, closed forms, an independent implementation, and counted operations."""

import contextlib
import json
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from tests.conformance.harness import untouched
from tests.networks import BinaryNet, GreyNet, Headed, SigmoidNet, SoftmaxNet, family, images, lively, wrap
from tests.reference import evaluation as twin
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import pellucid as pl
from pellucid.core.registry import create
from pellucid.evaluation.blur import blurred
from pellucid.evaluation.curves import InsertionDeletion, area, curves
from pellucid.evaluation.metric import Case
from pellucid.evaluation.scores import at_once


def exact(module, shape, **options):
    """A network in float64."""
    return pl.load(lively(module).double(), input_shape=shape, **options)


def maps(count, size, seed=3, levels=None):
    draw = torch.Generator().manual_seed(seed)
    found = torch.rand(count, *size, generator=draw, dtype=torch.float64)
    return found if levels is None else (found * levels).floor()


def aim(net, target, count):
    return net.resolve_target(target, torch.empty(count, 0))


def probability(net, column):
    """The twin's network: one image in, one probability out."""

    def f(x):
        with torch.no_grad():
            return float(net.probabilities(net(torch.from_numpy(x)[None]))[0, column])

    return f


def expected(protocol, net, x, saliency, column):
    """Insertion and deletion of one image, from the definition."""
    x, saliency = x.numpy(), saliency.numpy()
    full = protocol.in_full()
    pixels = saliency.size
    counts = [k * pixels // (full.steps or 1) for k in range((full.steps or 1) + 1)]
    counts = twin.counts_by_step(pixels, full.step) if full.step else counts
    blur = twin.gaussian_blur if protocol.preset in ("group-cam", "quick") else twin.rise_blur
    f = probability(net, column)
    return (
        twin.insertion(f, x, blur(x, *full.blur), saliency, counts),
        twin.deletion(f, x, saliency, counts),
    )


class TestTwin:
    @pytest.mark.parametrize(
        "protocol",
        [
            InsertionDeletion(step=100),  # the last step is shorter
            InsertionDeletion(),
            InsertionDeletion("rise-batch", step=301),
            InsertionDeletion("group-cam"),
            InsertionDeletion("score-cam"),
            InsertionDeletion("quick"),
            InsertionDeletion("quick", steps=7, blur=(5, 1.5)),
            InsertionDeletion(steps=1),
        ],
        ids=str,
    )
    def test_equal_to_the_definition(self, protocol):
        shape = (3, 20, 33)
        net = exact(Headed(), shape)
        x, saliency = images(2, shape).double(), maps(2, shape[1:], levels=9)  # many ties
        found = curves(net, x, saliency, aim(net, [3, 1], 2), protocol, batch_size=5)
        for row, column in enumerate((3, 1)):
            into, out = expected(protocol, net, x[row], saliency[row], column)
            np.testing.assert_allclose(found.insertion[row], into, atol=1e-10)
            np.testing.assert_allclose(found.deletion[row], out, atol=1e-10)
            assert float(area(found.deletion[row])) == pytest.approx(twin.area(out), abs=1e-12)

    @pytest.mark.parametrize(
        ("module", "options", "shape"),
        [
            (GreyNet(), {}, (1, 18, 14)),
            (SoftmaxNet(), {}, (3, 16, 16)),
            (Headed(), {"head": "sigmoid"}, (3, 16, 16)),
            (SigmoidNet(), {}, (3, 16, 16)),
            (BinaryNet(), {}, (3, 16, 16)),
            (BinaryNet(squeezed=True), {}, (3, 16, 16)),
            (SigmoidNet(1), {}, (3, 16, 16)),
        ],
        ids=["grey", "probabilities", "sigmoid", "sigmoids", "binary", "squeezed", "one sigmoid"],
    )
    def test_every_head(self, module, options, shape):
        net = exact(module, shape, **options)
        x, saliency = images(2, shape).double(), maps(2, shape[1:])
        for columns in ((0, 1), (1, 1)):
            found = curves(net, x, saliency, aim(net, list(columns), 2), InsertionDeletion("quick"))
            for row, column in enumerate(columns):
                into, out = expected(InsertionDeletion("quick"), net, x[row], saliency[row], column)
                np.testing.assert_allclose(found.insertion[row], into, atol=1e-10)
                np.testing.assert_allclose(found.deletion[row], out, atol=1e-10)

    def test_both_classes_of_one_logit_are_complements(self):
        net, x, saliency = exact(BinaryNet(), (3, 16, 16)), images(2, (3, 16, 16)).double(), maps(2, (16, 16))
        one, other = (
            curves(net, x, saliency, aim(net, each, 2), InsertionDeletion("quick")) for each in (0, 1)
        )
        torch.testing.assert_close(one.deletion + other.deletion, torch.ones(2, 17, dtype=torch.float64))


class TestBlur:
    @pytest.mark.parametrize("shape", [(3, 40, 30), (1, 5, 7), (2, 1, 12)])
    @pytest.mark.parametrize(("size", "sigma"), [(11, 5.0), (51, 50.0), (3, 0.4), (1, 1.0)])
    def test_as_scipy(self, shape, size, sigma):
        x = images(2, shape).double()
        for kind, reference in (("rise", twin.rise_blur), ("gaussian", twin.gaussian_blur)):
            found = blurred(x, size, sigma, kind)
            for row in (0, 1):
                np.testing.assert_allclose(found[row], reference(x[row].numpy(), size, sigma), atol=1e-12)

    def test_rise_kernel_is_nearly_flat_and_darkens_borders(self):
        flat = torch.ones(1, 1, 31, 31, dtype=torch.float64)
        found = blurred(flat, 11, 5.0, "rise")[0, 0]
        assert float(found[15, 15]) == pytest.approx(1)
        assert float(found[0, 0]) < 0.4
        impulse = np.zeros((11, 11))
        impulse[5, 5] = 1
        kernel = ndimage.gaussian_filter(impulse, 5)
        assert kernel.max() / kernel.min() < 1.6  # folded; a Gaussian cut off here would have e = 2.7
        torch.testing.assert_close(blurred(flat, 51, 20.0, "gaussian"), flat)


class TestClosedForm:
    """The value of a linear network changes by the contribution of each pixel."""

    def linear(self, shape=(3, 6, 8)):
        net = exact(nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 3)), shape)
        x = images(2, shape).double()
        w = net.module[1].weight[1].detach().reshape(shape)
        return net, x, w, float(net.module[1].bias[1].detach())

    def test_deletion_and_insertion(self):
        net, x, w, bias = self.linear()
        contribution = (x * w).sum(1)
        protocol = InsertionDeletion(steps=48, blur=(5, 2.0))
        target = aim(net, lambda output: output[:, 1], 2)
        found = curves(net, x, contribution, target, protocol)
        falling = contribution.flatten(1).sort(descending=True).values.cumsum(1)
        zero = torch.zeros(2, 1, dtype=torch.float64)
        gone = torch.cat([zero, falling], 1)
        torch.testing.assert_close(found.deletion, bias + falling[:, -1:] - gone, atol=1e-10, rtol=0)
        order = contribution.flatten(1).argsort(descending=True)
        dull = (protocol.blurred(x) * w).sum(1).flatten(1).gather(1, order).cumsum(1)
        into = bias + gone + dull[:, -1:] - torch.cat([zero, dull], 1)
        torch.testing.assert_close(found.insertion, into, atol=1e-10, rtol=0)

    @settings(max_examples=15, deadline=None)
    @given(seed=st.integers(0, 10**6), steps=st.sampled_from([1, 2, 6, 16, 48]))
    def test_the_reversed_map_mirrors_deletion(self, seed, steps):
        net, x, _, _ = self.linear()
        saliency, target = maps(2, (6, 8), seed), aim(net, lambda output: output[:, 1], 2)
        one, other = (
            curves(net, x, s, target, InsertionDeletion(steps=steps)).deletion for s in (saliency, -saliency)
        )
        torch.testing.assert_close(one + other.flip(1), (one[:, :1] + one[:, -1:]).expand_as(one))

    def test_the_contribution_is_the_best_order(self):
        net, x, w, _ = self.linear()
        target, protocol = aim(net, lambda output: output[:, 1], 2), InsertionDeletion(steps=48)
        best = area(curves(net, x, (x * w).sum(1), target, protocol).deletion)
        assert bool((best < area(curves(net, x, maps(2, (6, 8)), target, protocol).deletion)).all())


class _Given:
    """Hands maps to torchcam in place of an extractor."""

    def __init__(self, net, saliency):
        self.model, self.saliency = net.module, saliency

    def __call__(self, *_, **__):
        return [self.saliency]

    def fuse_cams(self, cams):
        return cams[0]

    _hooks_off = staticmethod(contextlib.nullcontext)


@pytest.mark.parametrize("steps", [4, 16])
def test_as_torchcam(steps):
    metrics = pytest.importorskip("torchcam.metrics")
    net, x, saliency = exact(Headed(), (3, 16, 24)), images(3, (3, 16, 24)).double(), maps(3, (16, 24))
    protocol = InsertionDeletion(steps=steps)
    found = curves(net, x, saliency, aim(net, 2, 3), protocol)
    theirs = []
    for baseline in (None, protocol.blurred):
        metric = metrics.DeletionInsertionMetric(
            _Given(net, saliency), lambda out: out.softmax(1), steps=steps, baseline=baseline
        )
        metric.update(x, 2)
        theirs.append(metric.summary())
    assert float(area(found.deletion).mean()) == pytest.approx(theirs[0]["deletion_auc"], abs=1e-6)
    assert float(area(found.insertion).mean()) == pytest.approx(theirs[1]["insertion_auc"], abs=1e-6)


class TestProperties:
    net = exact(Headed(), (3, 12, 12))
    x = images(3, (3, 12, 12)).double()
    target = net.resolve_target([0, 4, 2], torch.empty(3, 0))

    def drawn(self, saliency, rows=slice(None), **options):
        found = curves(
            self.net, self.x[rows], saliency, self.target[rows], InsertionDeletion("quick"), **options
        )
        return torch.stack(found)

    @settings(max_examples=15, deadline=None)
    @given(
        seed=st.integers(0, 10**6),
        transform=st.sampled_from(
            [lambda s: s**3, lambda s: s.exp(), lambda s: 5 * s - 2, lambda s: s.log1p()]
        ),
    )
    def test_only_the_order_counts(self, seed, transform):
        saliency = maps(3, (12, 12), seed, levels=50)
        assert torch.equal(self.drawn(saliency), self.drawn(transform(saliency / 50)))

    @pytest.mark.parametrize("batch_size", [1, 2, 7, 1000])
    def test_batch_size_does_not_matter(self, batch_size):
        saliency = maps(3, (12, 12))
        whole = self.drawn(saliency)
        torch.testing.assert_close(self.drawn(saliency, batch_size=batch_size), whole, atol=1e-12, rtol=0)
        for row in range(3):
            alone = self.drawn(saliency[row : row + 1], slice(row, row + 1), batch_size=batch_size)
            torch.testing.assert_close(alone[:, 0], whole[:, row], atol=1e-12, rtol=0)

    @pytest.mark.parametrize("batch_size", [2, 64])
    def test_several_maps_of_the_same_images(self, batch_size):
        saliency = torch.stack([maps(3, (12, 12), seed) for seed in (1, 2, 3, 4)])
        together = self.drawn(saliency, batch_size=batch_size)
        for row in range(4):
            torch.testing.assert_close(together[:, row], self.drawn(saliency[row]), atol=1e-12, rtol=0)

    @pytest.mark.parametrize("broken", [float("nan"), float("inf"), "constant", "rounding", "zero"])
    def test_a_map_that_orders_nothing_concerns_its_image_only(self, broken):
        saliency = maps(3, (12, 12))
        whole = self.drawn(saliency)
        if isinstance(broken, float):
            saliency[1, 3, 4] = broken
        else:
            saliency[1] = {"zero": 0, "constant": -0.7, "rounding": 1 + 1e-15 * maps(1, (12, 12))[0]}[broken]
        found = self.drawn(saliency)
        assert bool(found[:, 1].isnan().all())
        torch.testing.assert_close(found[:, ::2], whole[:, ::2], atol=1e-12, rtol=0)
        measured = InsertionDeletion("quick")(Case(self.net, self.x, self.target, saliency))
        why = "the map is not finite" if isinstance(broken, float) else "constant map: it orders nothing"
        assert measured.reasons == (None, why, None)
        assert all(value.isnan().tolist() == [False, True, False] for value in measured.values.values())

    def test_values_follow_from_the_curves(self):
        case = Case(self.net, self.x, self.target, maps(3, (12, 12)))
        found = InsertionDeletion("quick")(case)
        for name in ("insertion", "deletion"):
            assert torch.equal(found.values[name], area(found.curves[name]))
        assert torch.equal(found.values["composite"], found.values["insertion"] - found.values["deletion"])
        assert found.main == "composite"
        assert found.parameters["share"] == [k / 16 for k in range(17)]
        assert found.parameters["score"] == "probability"

    def test_a_network_that_gives_nan_is_undefined(self):
        class Nan(nn.Module):
            def forward(self, x):
                return torch.stack([x.sum((1, 2, 3)) * float("nan"), x.sum((1, 2, 3))], 1)

        net = pl.load(Nan(), input_shape=(3, 12, 12))
        case = Case(net, self.x.float(), aim(net, 1, 3), maps(3, (12, 12)))
        assert InsertionDeletion("quick")(case).reasons == ("the network's output is not finite",) * 3

    def test_a_target_whose_logit_is_zero(self):
        net = exact(Headed(head=lambda out, x: out * torch.tensor([1.0, 0, 1, 1, 1])), (3, 12, 12))
        found = curves(net, self.x, maps(3, (12, 12)), aim(net, 1, 3), InsertionDeletion("quick"))
        assert bool((found.deletion > 0).all())
        function = curves(
            net, self.x, maps(3, (12, 12)), aim(net, lambda out: out[:, 1], 3), InsertionDeletion("quick")
        )
        assert not function.deletion.any()


class TestCost:
    @pytest.mark.parametrize("steps", [16, 50])
    def test_a_curve_of_n_steps_costs_n_forward_passes(self, steps):
        net = pl.load("torchvision:resnet18", input_shape=(3, 64, 64))
        x, saliency = images(3, (3, 64, 64)), maps(3, (64, 64)).float()
        net.layers_at((64, 64))
        with FlopCounterMode(display=False) as once, torch.no_grad():
            net(x)
        with FlopCounterMode(display=False) as given:  # both curves
            pl.evaluate(net, x, saliency, preset="quick", steps=steps, target=0, normalized=True)
        with FlopCounterMode(display=False) as predicted:
            pl.evaluate(net, x, saliency, preset="quick", steps=steps, normalized=True)
        plain = 2 * steps * once.get_total_flops()
        assert plain <= given.get_total_flops() <= 1.02 * plain
        assert predicted.get_total_flops() <= 1.05 * plain

    def test_what_no_map_changes_is_run_once(self):
        net, x = wrap(Headed()), images(4)
        seen = []
        handle = net.module.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
        curves(net, x, torch.stack([maps(4, (32, 32), seed) for seed in range(3)]), aim(net, 0, 4),
               InsertionDeletion("quick"), batch_size=6)  # fmt: skip
        handle.remove()
        assert sum(seen) == 4 * (3 * 2 * 15 + 2) + 1
        assert max(seen) <= 6

    def test_large_images_go_in_small_batches_on_a_processor(self, monkeypatch):
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
        sizes = {(224, 224): 8, (32, 32): 64, (4000, 4000): 1}
        for size, expected in sizes.items():
            assert at_once(torch.empty(1, 3, *size, device="cpu"), 64) == expected
            assert at_once(torch.empty(1, 3, *size, device="meta"), 64) == 64

    def test_no_gradients_and_everything_as_before(self):
        net, x = family("dropout"), images(2)
        seen = []
        handle = net.module.conv.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
        with untouched(net.module), torch.enable_grad():
            found = pl.evaluate(net, x, maps(2, (32, 32)), preset="quick", target=1, normalized=True)
        handle.remove()
        assert not any(seen)
        again = pl.evaluate(net, x, maps(2, (32, 32)), preset="quick", target=1, normalized=True)
        assert torch.equal(found.curves["insertion"], again.curves["insertion"])

    @pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
    def test_inside_other_contexts_and_in_half_precision(self, context):
        net = pl.load(lively(Headed()).bfloat16(), input_shape=(3, 32, 32))
        with context():
            found = pl.evaluate(net, images(2), maps(2, (32, 32)), preset="quick", target=1, normalized=True)
        exactly = pl.evaluate(
            wrap(Headed()), images(2), maps(2, (32, 32)), preset="quick", target=1, normalized=True
        )
        torch.testing.assert_close(found.values["deletion"], exactly.values["deletion"], atol=0.03, rtol=0)


class TestParameters:
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"preset": "rize"}, "Expected a preset, got `rize`; did you mean `rise`"),
            ({"steps": 3, "step": 4}, "Expected `steps` or `step`, got both, 3 and 4; try one."),
            ({"steps": 0}, "Expected `steps` to be a whole number of at least 1, got 0"),
            ({"step": 2.5}, "Expected `step` to be a whole number of at least 1, got 2.5"),
            ({"blur": (10, 5.0)}, "Expected `blur` to be an odd kernel size and a positive σ"),
            ({"blur": (11, 0.0)}, "positive σ"),
            ({"blur": (11,)}, "odd kernel size"),
        ],
    )
    def test_errors(self, given, said):
        with pytest.raises(ValueError) as caught:
            InsertionDeletion(**given)
        assert said in str(caught.value)

    @pytest.mark.parametrize("given", [{"steps": 145}, {"step": 145}, {}])
    def test_more_steps_than_pixels(self, given):
        with pytest.raises(ValueError, match=r"image has pixels, 144, got .*; try `steps=16`"):
            InsertionDeletion(**given).counts(144)

    @pytest.mark.parametrize(
        ("protocol", "pixels", "points"),
        [
            (InsertionDeletion(), 224 * 224, 225),
            (InsertionDeletion("rise-batch"), 224 * 224, 29),
            (InsertionDeletion("group-cam"), 224 * 224, 113),
            (InsertionDeletion("score-cam"), 224 * 224, 101),
            (InsertionDeletion("quick"), 224 * 224, 17),
            (InsertionDeletion(), 1000, 6),
        ],
    )
    def test_points(self, protocol, pixels, points):
        counts = protocol.counts(pixels)
        assert len(counts) == points
        assert (counts[0], counts[-1]) == (0, pixels)
        assert all(one < other for one, other in pairwise(counts))

    def test_the_protocol_in_full_measures_the_same(self):
        for preset in ("rise", "score-cam", "group-cam"):
            full = InsertionDeletion(preset).in_full()
            assert full.in_full() == full
            assert full.counts(4096) == InsertionDeletion(preset).counts(4096)
            again = create("evaluation", "insertion-deletion", **json.loads(json.dumps(asdict(full))))
            assert again == full
            assert torch.equal(again.blurred(images(1)), InsertionDeletion(preset).blurred(images(1)))
