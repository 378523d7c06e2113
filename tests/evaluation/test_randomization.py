"""The sanity check: what is redrawn, that it computes sensible numbers, and what maps of known behavior score."""

import copy
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from scipy.stats import spearmanr
from tests.networks import FAMILIES, family, images, wrap
from tests.reference import localization as twin
from torch import nn

import pellucid as pl
from pellucid.attribution import Method
from pellucid.core.capture import capture
from pellucid.core.registry import create
from pellucid.core.storage import fingerprint
from pellucid.evaluation import randomization as rnd
from pellucid.evaluation.metric import Case


@dataclass(frozen=True)
class Picture(Method):
    """A map that shows the picture whatever the network."""

    name: ClassVar[str] = "picture"
    home: ClassVar = "input"

    def __call__(self, trace, layer):
        return trace.images.abs().sum(1)


@dataclass(frozen=True)
class Failing(Method):
    name: ClassVar[str] = "failing"

    def __call__(self, trace, layer):
        torch.rand(3)
        raise RuntimeError("on purpose")


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    from pellucid.core.registry import _methods

    monkeypatch.setitem(_methods["attribution"], "picture", Picture)
    monkeypatch.setitem(_methods["attribution"], "failing", Failing)


def case(net, method="layercam", layer=None, count=2, seed=0, **options):
    x = images(count, net.input_shape)
    target = capture(net, x, (), gradients=False).target
    made = create("attribution", method)
    layer = layer or net.default_layers[-1]
    maps = pl.attribute(net, x, made, layer, target, normalized=True)[layer]
    return Case(net, x, target, maps.upsample(), maps, method=made, seed=seed, **options)


def state(net):
    flags = [child.training for child in net.module.modules()]
    grads = [parameter.requires_grad for parameter in net.module.parameters()]
    return fingerprint(net.module), flags, grads, torch.get_rng_state().tolist()


@pytest.mark.parametrize("mode", rnd.MODES)
def test_a_map_of_the_picture_is_caught_and_a_map_of_the_network_is_not(mode):
    net = family("plain")
    caught = rnd.Randomization(mode=mode)(case(net, "picture", "input"))
    for quantity in ("rank", "ssim", "half", "last", "last-ssim", "insensitive"):
        assert caught.values[quantity].tolist() == pytest.approx([1, 1])
    free = rnd.Randomization(mode=mode)(case(net, "gradient-x-input", "input"))
    assert (free.values["last"] < 0.5).all()
    assert (free.values["rank"] < 0.9).all()
    assert free.values["insensitive"].tolist() == [0, 0]
    assert caught.main == "rank"


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_cascade_by_hand(name):
    """The same redrawing written out: cumulative, from the top, compared with loops and scipy."""
    net = family(name)
    given = case(net)
    metric = rnd.Randomization(draws=1, steps=3)
    found = metric(given)
    hand = copy.deepcopy(net.module)
    groups = found.parameters["layers"]
    modules = dict(hand.named_modules())
    for step, group in enumerate(groups):
        for child in group:
            generator = torch.Generator().manual_seed(rnd.zlib.crc32(f"0/0/{child}".encode()))
            rnd.forget(modules[child], generator)
        other = pl.load(hand, input_shape=net.input_shape)
        layer = given.heatmap.layer.name
        drawn = pl.attribute(other, given.images, "layercam", layer, given.target, normalized=True)[layer]
        for i in range(2):
            a, b = (h.values[i].double().abs() for h in (given.heatmap, drawn))
            rank, alike = found.curves["rank"][i, step], found.curves["ssim"][i, step]
            if b.max() == b.min():
                assert rank.isnan()
                continue
            assert float(rank) == pytest.approx(spearmanr(a.flatten(), b.flatten()).statistic, abs=1e-6)
            assert float(alike) == pytest.approx(
                twin.ssim((a / a.max()).numpy(), (b / b.max()).numpy()), abs=1e-6
            )
    for i in range(2):
        assert float(found.values["rank"][i]) == pytest.approx(
            float(found.curves["rank"][i].nanmean()), nan_ok=True
        )
    last = found.curves["rank"][:, -1]
    assert torch.equal(found.values["last"].nan_to_num(9), last.nan_to_num(9))
    half = found.curves["rank"][:, (len(groups) + 1) // 2 - 1]
    assert found.values["half"].tolist() == pytest.approx(half.tolist(), nan_ok=True)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_parameter_is_redrawn_from_the_output_down_and_comes_back(name):
    net = family(name)
    random = rnd.RandomCopy(net, net.input_shape[1:])
    groups = random.groups(100)
    everything = [child for group in groups for child in group]
    assert len(everything) == len(set(everything))
    owners = {n for n, m in net.module.named_modules() if list(m.parameters(recurse=False))}
    assert owners == set(everything)
    assert groups[0][0] in ("classifier.3", "fc", "head")
    random.redraw(everything)
    trained = dict(net.module.named_parameters())
    for key, value in random.net.module.named_parameters():
        assert value.isfinite().all()
        assert not torch.equal(value, trained[key])
    random.restore(everything)
    assert fingerprint(random.net.module) == fingerprint(net.module)


def test_normalizations_go_with_what_they_normalize_and_groups_are_even():
    net = family("plain")
    random = rnd.RandomCopy(net, (32, 32))
    assert random.groups(100)[2] == ("features.14", "features.15") or (
        "features.14",
        "features.15",
    ) in random.groups(100)
    assert [len(random.groups(count)) for count in (1, 3, 8, 50)] == [1, 3, 8, 8]
    assert random.groups(8)[0] == ("classifier.3",)
    sizes = [len(group) for group in random.groups(4)]
    assert max(sizes) - min(sizes) <= 2


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_random_network_still_reacts_to_its_input(name):
    """Logits differ between images by much more than rounding, and no layer is dead."""
    net = family(name)
    x = images(4, net.input_shape)
    random = rnd.RandomCopy(net, net.input_shape[1:])
    random.redraw([child for group in random.groups(1) for child in group])
    trace = capture(random.net, x, net.default_layers, 0)
    assert 1e-2 < float(trace.output.std(0).mean()) < 1e3
    for values in trace.activations.values():
        assert 1e-2 < float(values.std()) < 1e3


def test_weights_have_the_promised_moments_and_draws_differ():
    conv, wide = nn.Conv2d(2, 4000, 2), nn.Linear(64, 4000)
    norm, scale = nn.BatchNorm2d(5), nn.PReLU(6)
    norm.running_var.fill_(7), norm.running_mean.fill_(3), norm.bias.data.fill_(2)
    scale.weight.data.copy_(torch.arange(6.0))
    for module in (conv, wide, norm, scale):
        rnd.forget(module, torch.Generator().manual_seed(1))
    for parameter in (conv.weight, wide.weight, scale.weight):
        parameter.requires_grad_(False)
    assert float(conv.weight.std()) == pytest.approx(
        (2 / 8) ** 0.5, rel=0.02
    )  # too few inputs to be centered
    assert float(wide.weight.mean(1).abs().max()) < 1e-6
    # one input's freedom goes into the mean
    assert float(wide.weight.var()) == pytest.approx(rnd.GAIN / 64 * 63 / 64, rel=0.02)
    assert not wide.bias.any()
    assert sorted(scale.weight.tolist()) == list(range(6))
    x = torch.randn(3, 5, 4, 4)
    assert torch.allclose(norm.eval()(x), x, atol=1e-4)
    before = wide.weight.clone()
    rnd.forget(wide, torch.Generator().manual_seed(2))
    assert not torch.equal(before, wide.weight)


def test_an_inputs_mean_and_deviation_are_not_forgotten():
    class Normalize(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.full((3, 1, 1), 0.3))
            self.register_buffer("std", torch.full((3, 1, 1), 0.2))

        def forward(self, x):
            return (x - self.mean) / self.std

    net = wrap(nn.Sequential(Normalize(), FAMILIES["plain"]()))
    random = rnd.RandomCopy(net, (32, 32))
    random.redraw([child for group in random.groups(1) for child in group])
    assert random.net.module[0].std.tolist() == net.module[0].std.tolist()
    assert random.net.module[0].mean.tolist() == net.module[0].mean.tolist()


def test_frozen_normalizations_are_forgotten_too():
    class FrozenBatchNorm(nn.Module):
        """As in detection: weights and statistics are buffers."""

        def __init__(self):
            super().__init__()
            for key, value in (("weight", 2.0), ("bias", 1.0), ("running_mean", 0.5), ("running_var", 9.0)):
                self.register_buffer(key, torch.full((8,), value))

        def forward(self, x):
            return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)

    frozen = FrozenBatchNorm()
    net = wrap(nn.Sequential(nn.Conv2d(3, 8, 3), frozen, nn.ReLU(), nn.Flatten(), nn.Linear(7200, 2)))
    random = rnd.RandomCopy(net, (32, 32))
    assert random.groups(9) == (("4",), ("0", "1"))
    random.redraw(["1"])
    assert random.net.module[1].running_var.tolist() == [1.0] * 8
    random.restore(["1"])
    assert random.net.module[1].running_var.tolist() == [9.0] * 8


@pytest.mark.parametrize("mode", rnd.MODES)
def test_the_network_and_the_random_state_are_untouched_after_an_exception_too(mode):
    net = family("residual")
    net.module.train()
    next(net.module.parameters()).requires_grad_(False)
    given = case(net)
    before = state(net)
    rnd.Randomization(mode=mode, draws=1, steps=2)(given)
    rnd.sanity(net, given.images, given.target, "layercam", given.heatmap.layer.name)
    assert state(net) == before
    broken = Case(net, given.images, given.target, given.saliency, given.heatmap, method=Failing())
    with pytest.raises(RuntimeError, match="on purpose"):
        rnd.Randomization(mode=mode)(broken)
    assert state(net)[:3] == before[:3]
    assert all(parameter.grad is None for parameter in net.module.parameters())


@pytest.mark.parametrize("mode", rnd.MODES)
def test_batch_is_one_by_one_and_the_seed_decides(mode):
    net = family("plain")
    metric = rnd.Randomization(mode=mode, draws=1, steps=2)
    whole, again = metric(case(net)), metric(case(net))
    other = metric(case(net, seed=1))
    x, both = whole.values["rank"], case(net)
    assert torch.equal(x, again.values["rank"])
    assert not torch.equal(x, other.values["rank"])
    for i in range(2):
        one = Case(
            net,
            both.images[i : i + 1],
            both.target[i],
            both.saliency[i : i + 1],
            both.heatmap[i],
            method=both.method,
        )
        assert float(metric(one).values["rank"]) == pytest.approx(float(x[i]), abs=1e-5)


def test_independent_redraws_one_group_at_a_time():
    net = family("inplace")
    given = case(net)
    groups = rnd.RandomCopy(net, (32, 32)).groups(3)
    found = rnd.Randomization(mode="independent", draws=1, steps=3)(given)
    cascade = rnd.Randomization(draws=1, steps=3)(given)
    random = rnd.RandomCopy(net, (32, 32))
    for step, group in enumerate(groups):
        random.redraw(group)
        layer = given.heatmap.layer.name
        drawn = pl.attribute(random.net, given.images, "layercam", layer, given.target, normalized=True)[
            layer
        ]
        want = [
            spearmanr(a.flatten(), b.flatten()).statistic
            for a, b in zip(given.heatmap.values, drawn.values, strict=True)
        ]
        assert found.curves["rank"][:, step].tolist() == pytest.approx(want, abs=1e-6)
        random.restore(group)
    assert found.curves["rank"].shape == (2, 3)
    for quantity in ("half", "last", "last-ssim"):
        assert found.values[quantity].tolist() == pytest.approx(cascade.values[quantity].tolist(), abs=1e-9)


def test_maps_without_contrast_are_undefined_and_the_others_are_not():
    net = family("plain")
    given = case(net, count=5)
    values = given.heatmap.values.clone()
    values[1] = values[2] = 0
    values[3] = 1
    values[3, 0, 0] += 2e-7  # differs by rounding only
    status = ("ok", "zero", "negative", "constant", "ok")
    maps = pl.Heatmap(values, given.heatmap.layer, "layercam", (32, 32), status)
    found = rnd.Randomization(draws=1, steps=2)(
        Case(net, given.images, given.target, given.saliency, maps, method=given.method)
    )
    assert found.reasons == (None, "map is zero", "map is negative", "map is constant", None)
    for name in found.better:
        assert found.values[name].isnan().tolist() == [False, True, True, True, False]
    for curve in found.curves.values():
        assert curve.isnan().all(1).tolist() == [False, True, True, True, False]


def test_draws_that_vanish_count_as_vanished_not_as_similar(monkeypatch):
    net = family("plain")
    given = case(net)

    def dead(module, generator):
        for value in module.parameters(recurse=False):
            value.data.zero_()

    monkeypatch.setattr(rnd, "forget", dead)
    found = rnd.Randomization(draws=1, steps=1)(given)
    assert found.values["vanished"].tolist() == [1, 1]
    assert found.values["rank"].isnan().all()
    assert found.reasons == ("no map of a random network has contrast",) * 2


def test_methods_known_to_ignore_the_upper_layers_are_flagged_and_others_are_not():
    from pellucid.world import SceneDataset

    net, data = pl.load("scenes-vgg"), SceneDataset("test", count=4)
    x = net.preprocess.normalize(torch.stack([data[i][0] for i in range(4)]))
    for method, layer, share in (
        ("eigencam", "features.2", 1),
        ("gradcam++", "features.2", 1),
        ("guided-backprop", "input", 0.75),
        ("layercam", "features.9", 0),
        ("gradcam", "features.30", 0),
    ):
        found = rnd.sanity(net, x, None, method, layer)
        flagged = float((found >= rnd.INSENSITIVE).double().mean())
        assert flagged >= share if share else flagged == 0, method


def test_sanity_is_the_metric_with_half_or_all_layers():
    net = family("plain")
    given = case(net)
    layer = given.heatmap.layer.name
    metric = rnd.Randomization(draws=2, steps=100)(given)
    for share, quantity in ((0.5, "half"), (1.0, "last")):
        for heatmap in (None, given.heatmap):
            found = rnd.sanity(
                net, given.images, given.target, "layercam", layer, share=share, heatmap=heatmap
            )
            assert found.tolist() == pytest.approx(metric.values[quantity].tolist(), abs=1e-6)
    assert torch.equal(
        rnd.sanity(net, given.images, None, "layercam", layer),
        rnd.sanity(net, given.images, given.target, "layercam", layer),
    )


def test_sanity_runs_the_method_once_per_draw(monkeypatch):
    calls = []
    monkeypatch.setattr(
        Picture, "__call__", lambda self, trace, layer: calls.append(1) or trace.images.abs().sum(1)
    )
    net = family("plain")
    given = case(net, "picture", "input")
    calls.clear()
    found = rnd.sanity(net, given.images, given.target, "picture", "input", heatmap=given.heatmap, draws=3)
    assert len(calls) == 3
    assert (found >= rnd.INSENSITIVE).all()


def test_signed_maps_are_compared_with_signed_maps():
    net = family("plain")
    given = case(net, "gradcam")
    layer = given.heatmap.layer.name
    signed = pl.attribute(net, given.images, "gradcam", layer, given.target, normalized=True, signed=True)[
        layer
    ]
    assert (signed.values < 0).any()
    random = rnd.RandomCopy(net, (32, 32))
    random.redraw([child for group in random.groups(1) for child in group])
    drawn = pl.attribute(
        random.net, given.images, "gradcam", layer, given.target, normalized=True, signed=True
    )[layer]
    want = [
        spearmanr(a.abs().flatten(), b.abs().flatten()).statistic
        for a, b in zip(signed.values, drawn.values, strict=True)
    ]
    found = rnd.sanity(net, given.images, given.target, "gradcam", layer, share=1, draws=1, heatmap=signed)
    assert found.tolist() == pytest.approx(want, abs=1e-6)


def test_bad_input():
    net = family("plain")
    given = case(net)
    with pytest.raises(ValueError, match=r"Expected `mode`.*did you mean `cascading`"):
        rnd.Randomization(mode="cascade")
    with pytest.raises(ValueError, match="Expected `draws` and `steps`"):
        rnd.Randomization(draws=0)
    with pytest.raises(ValueError, match="Expected `draws` of at least 1"):
        rnd.sanity(net, given.images, None, "layercam", "features.16", share=0)
    with pytest.raises(ValueError, match="Expected maps made by a known method"):
        rnd.Randomization()(Case(net, given.images, given.target, given.saliency))
