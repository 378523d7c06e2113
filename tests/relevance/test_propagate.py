"""The walk over real graphs: in-place and reused modules, layers, seeds, memory, errors; and the methods on
it."""

import gc
import weakref

import pytest
import torch
from tests.conformance.harness import untouched
from tests.networks import lively
from tests.reference.models import Plain, Tangled
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import pellucid as pl
from pellucid.relevance import COMPOSITES, Composite, Epsilon, ZPlus, functions, propagate


def wrapped(kind, dtype=torch.float64, **options):
    return pl.load(lively(kind(**options)).to(dtype), input_shape=(3, 16, 16))


def images(count=2, dtype=torch.float64):
    return torch.randn(count, 3, 16, 16, dtype=dtype, generator=torch.Generator().manual_seed(3))


def close(one, other, scale=1e-9):
    torch.testing.assert_close(one, other, rtol=1e-6, atol=scale * float(other.abs().max()))


@pytest.mark.parametrize("composite", sorted(COMPOSITES))
def test_in_place_and_reused_modules_change_nothing(composite):
    tangled, clean = wrapped(Tangled), wrapped(Tangled, clean=True)
    clean.module.load_state_dict(tangled.module.state_dict())
    names = ["input", "stem", "norm", "body.0", "down"]
    one = propagate(tangled, images(), names, 1, composite=composite)
    other = propagate(clean, images(), names, 1, composite=composite)
    for name in names:
        close(one.relevance[name], other.relevance[name])
        close(one.activations[name], other.activations[name])


def test_a_layer_s_relevance_does_not_depend_on_which_others_were_asked():
    net = wrapped(Tangled)
    names = ["input", *(layer.name for layer in net.layers)]
    for composite in COMPOSITES:
        everything = propagate(net, images(), names, 1, composite=composite)
        for name in names:
            alone = propagate(net, images(), [name], 1, composite=composite)
            close(alone.relevance[name], everything.relevance[name])


def folded():
    """`Plain` with its normalization written into the convolution by hand, nothing to fold."""
    net, bare = lively(Plain()).double().eval(), lively(Plain()).double().eval()
    bare.load_state_dict(net.state_dict())
    norm = net.norm1
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    with torch.no_grad():
        bare.conv1.weight.copy_(net.conv1.weight * scale.view(-1, 1, 1, 1))
        bare.conv1.bias.copy_((net.conv1.bias - norm.running_mean) * scale + norm.bias)
    bare.norm1 = nn.Identity()
    return (pl.load(each, input_shape=(3, 16, 16)) for each in (net, bare))


@pytest.mark.parametrize("composite", sorted(COMPOSITES))
def test_batch_normalization_counts_as_part_of_its_convolution(composite):
    net, bare = folded()
    for one, other in zip(
        *(propagate(each, images(), ["input", "conv1", "relu1"], 2, composite=composite).relevance.values()
          for each in (net, bare)),
        strict=True,
    ):  # fmt: skip
        close(one, other)


def test_epsilon_on_a_rectifier_network_is_gradient_times_input(monkeypatch):
    monkeypatch.setattr(functions, "STABILIZER", 1e-14)
    net = wrapped(Plain)
    exact = Composite(Epsilon(1e-14), Epsilon(1e-14))
    found = propagate(net, images(), ["relu1", "relu2"], 1, composite=exact)
    trace = pl.capture(net, images(), ["relu1", "relu2"], 1)
    for name, relevance in found.relevance.items():
        expected = trace.activations[name] * trace.gradients[name]
        torch.testing.assert_close(relevance, expected, rtol=1e-6, atol=1e-9 * float(expected.abs().max()))


class Excited(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.squeeze, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1), nn.Linear(6, 3)

    def forward(self, x):
        x = self.conv(x).relu()
        return self.head((self.squeeze(x).sigmoid() * x).mean((2, 3)))


def test_a_gate_gets_nothing_and_its_signal_everything():
    net = wrapped(Excited)
    found = propagate(net, images(), ["conv", "squeeze"], 0, composite="z-plus")
    assert not found.relevance["squeeze"].any()
    close(found.total("conv"), found.seed_total, 1e-5)


@pytest.mark.parametrize("seed", ["logit", "contrastive"])
@pytest.mark.parametrize("kind", [Plain, Tangled])
def test_half_precision_networks_are_walked_in_a_wider_one(kind, seed):
    exact = propagate(wrapped(kind), images(), ["input", "conv1" if kind is Plain else "stem"], 1, seed=seed)
    net = wrapped(kind, torch.bfloat16)
    found = propagate(net, images(), list(exact.relevance), 1, seed=seed)
    for name, expected in exact.relevance.items():
        relevance = found.relevance[name]
        assert relevance.dtype == torch.float32
        error = (relevance.double() - expected).norm() / expected.norm()
        assert error < 0.15, name  # the weights and the image themselves are rounded


class TestSeeds:
    def seeds(self, seed, target=1, net=None):
        net = net or wrapped(Plain)
        found = propagate(net, images(), ["relu3"], target, seed=seed)
        return found.seed, net(images()).detach()

    def test_logit(self):
        seed, z = self.seeds("logit")
        close(seed[:, 1], z[:, 1])
        assert seed.abs().sum() == seed[:, 1].abs().sum()

    def test_contrastive(self):
        seed, z = self.seeds("contrastive")
        close(seed[:, 1], z[:, 1])
        for other in (0, 2, 3, 4):
            close(seed[:, other], -z[:, 1] / 4)

    def test_softmax_gradient(self):
        seed, z = self.seeds("softmax-gradient")
        p = z.softmax(1)
        close(seed[:, 1], p[:, 1] * (1 - p[:, 1]))
        close(seed[:, 3], -p[:, 1] * p[:, 3])

    def test_function_of_the_user(self):
        seed, z = self.seeds(lambda output: output.relu())
        close(seed, z.relu())

    def test_target_that_is_a_function(self):
        seed, z = self.seeds("contrastive", lambda output: output[:, 0] - output[:, 2])
        close(seed[:, 0], z[:, 0])
        close(seed[:, 2], -z[:, 2])
        close(seed.sum(1) + 1, torch.ones_like(seed[:, 0]))

    def test_one_output_has_nothing_to_contrast_with(self):
        net = pl.load(lively(Plain(1)).double(), input_shape=(3, 16, 16))
        target = lambda output: output[:, 0]  # noqa: E731
        assert torch.equal(self.seeds("contrastive", target, net)[0], self.seeds("logit", target, net)[0])

    def test_zero_logit_has_no_relevance(self):
        net = wrapped(Plain)
        nn.init.zeros_(net.module.fc.weight)
        nn.init.zeros_(net.module.fc.bias)
        found = propagate(net, images(), ["input"], 0)
        assert not found.relevance["input"].any()
        assert found.conservation()[0].total == 0


class TestBadInput:
    def test_names(self):
        net = wrapped(Plain)
        with pytest.raises(
            KeyError, match="name of a composite, got `epsilonplus`; did you mean `epsilon-plus`"
        ):
            propagate(net, images(), ["input"], composite="epsilonplus")
        with pytest.raises(KeyError, match="name of a seed, got `logits`; did you mean `logit`"):
            propagate(net, images(), ["input"], seed="logits")
        with pytest.raises(KeyError, match="relu9"):
            propagate(net, images(), ["relu9"])
        with pytest.raises(KeyError, match="composite"):
            pl.attribute(net, images(), "lrp", composite="z+", normalized=True)

    def test_images_and_seeds(self):
        net = wrapped(Plain)
        with pytest.raises(ValueError, match="normalized images"):
            propagate(net, torch.rand(3, 16, 16), ["input"])
        with pytest.raises(ValueError, match=r"seed to return relevance \(2, 5\), got \(2,\)"):
            propagate(net, images(), ["input"], seed=lambda output: output[:, 0])


def test_nothing_is_left_behind():
    net, x = wrapped(Tangled), images()
    net.layers_at((16, 16))
    before = x._version, vars(x).copy()
    with untouched(net.module):
        found = propagate(net, x, ["input", "stem"])
        with pytest.raises(ArithmeticError):
            propagate(net, x, ["stem"], seed=lambda output: 1 // 0)
    assert (x._version, vars(x)) == before
    held = weakref.ref(found.relevance["input"])
    assert not found.relevance["input"].requires_grad
    del found
    gc.collect()
    assert held() is None


def test_no_more_than_a_forward_pass_per_rule():
    module = nn.Sequential(
        nn.Conv2d(3, 16, 1),
        *[layer for _ in range(8) for layer in (nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())],
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip
    net, x = pl.load(lively(module), input_shape=(3, 16, 16)), torch.randn(2, 3, 16, 16)
    net.layers_at((16, 16))
    cost = {}
    for name, composite in {"forward": None, "z+": Composite(ZPlus(), Epsilon())}.items():
        with FlopCounterMode(display=False) as counter:
            _ = net(x) if composite is None else propagate(net, x, ["1"], 1, composite=composite)
        cost[name] = counter.get_total_flops()
    assert cost["z+"] < 3 * cost["forward"]  # forward, denominators, transposed


class TestMethods:
    def test_lrp_sums_relevance_over_channels(self):
        net = wrapped(Plain)
        found = propagate(net, images(), ["input", "relu2"], 1, composite="z-plus", seed="logit")
        maps = pl.attribute(net, images(), "lrp", ["input", "relu2"], 1, composite="z-plus", normalized=True)
        for layer, heatmap in maps.items():
            close(heatmap.values, found.relevance[layer].sum(1))

    def test_relevance_cam_weighs_activations_by_mean_relevance(self):
        net = wrapped(Plain)
        found = propagate(net, images(), ["relu2"], 1, composite="z-plus", seed="contrastive")
        weights = found.relevance["relu2"].mean((2, 3), keepdim=True)
        expected = (weights * found.activations["relu2"]).sum(1)
        maps = pl.attribute(net, images(), "relevance-cam", "relu2", 1, normalized=True)
        close(maps["relu2"].values, expected.relu())

    def test_clrp_is_the_difference_of_the_scaled_walks(self):
        net = wrapped(Plain)

        def dual(output):
            rest = output[:, 1:2].expand_as(output) / 4
            return rest.index_fill(1, torch.tensor([1]), 0)

        own, other = (
            propagate(net, images(), ["relu1"], 1, composite="z-plus", seed=seed).relevance["relu1"]
            for seed in ("logit", dual)
        )
        expected = sum(
            sign * each.sum(1) / each.sum((1, 2, 3))[:, None, None].abs()
            for sign, each in ((1, own), (-1, other))
        )
        maps = pl.attribute(net, images(), "clrp", "relu1", 1, normalized=True, signed=True)
        close(maps["relu1"].values, expected, 1e-7)

    def test_sglrp_starts_from_the_softmax_gradient(self):
        net = wrapped(Plain)
        found = propagate(net, images(), ["relu2"], 1, composite="z-plus", seed="softmax-gradient")
        maps = pl.attribute(net, images(), "sglrp", "relu2", 1, normalized=True, signed=True)
        close(maps["relu2"].values, found.relevance["relu2"].sum(1))

    def test_default_layers_cost_one_walk(self, monkeypatch):
        walks = []
        monkeypatch.setattr(
            "pellucid.relevance.walk.propagate",
            lambda *args, **options: walks.append(args[2]) or propagate(*args, **options),
        )
        net = wrapped(Plain)
        pl.attribute(net, images(), "relevance-cam", normalized=True)
        assert walks == [list(net.default_layers)]
