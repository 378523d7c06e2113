"""One forward, one backward, the right numbers, and nothing left behind."""

import warnings

import pytest
import torch
from tests.bounds import rounding
from tests.networks import (
    FAMILIES,
    BinaryNet,
    DropoutNet,
    Headed,
    InplaceNet,
    PlainNet,
    ReusedReLU,
    TwoBranch,
    family,
    images,
    lively,
    wrap,
)
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import pellucid as pl
from pellucid.core.registry import UnknownNameError

EXACT = {"rtol": 0, "atol": 0}


def reference(module, x, target, wanted):
    """Plain autograd, layer by layer: the output of one call is replaced by a leaf that the rest depends on.

    ``wanted`` is a name as in the layer list. Returns activation and gradient.
    """
    path, _, number = wanted.partition(":")
    child, seen, kept = module.get_submodule(path), [0], []
    calls = [0]
    count = child.register_forward_hook(lambda *a: calls.__setitem__(0, calls[0] + 1))
    with torch.no_grad():
        module(x.clone())
    count.remove()
    number = int(number) if number else calls[0] - 1

    def hook(_module, _args, output):
        seen[0] += 1
        if seen[0] - 1 == number:
            kept.append(output.detach().clone().requires_grad_())
            return kept[0] * 1  # an in-place successor must not write into the leaf
        return None

    handle = child.register_forward_hook(hook)
    output = module(x.clone())
    handle.remove()
    score = output[torch.arange(len(x)), target].sum()
    (gradient,) = torch.autograd.grad(score, kept[0], allow_unused=True)
    return kept[0].detach(), torch.zeros_like(kept[0]) if gradient is None else gradient


@pytest.fixture
def fingerprint():
    """Everything of a module that must be as before; call it with a module before and after."""

    def take(module):
        return {
            "training": [child.training for child in module.modules()],
            "wanted": [p.requires_grad for p in module.parameters()],
            "grads": [None if p.grad is None else p.grad.clone() for p in module.parameters()],
            "state": {key: value.clone() for key, value in module.state_dict().items()},
            "hooks": [
                (
                    len(c._forward_hooks),
                    len(c._forward_pre_hooks),
                    len(c._backward_hooks),
                    len(c._backward_pre_hooks),
                )
                for c in module.modules()
            ],
            "own": [sorted(set(vars(child))) for child in module.modules()],
            "notes": [sorted(vars(t)) for t in (*module.parameters(), *module.buffers())],
            "random": torch.get_rng_state(),
            "grad mode": torch.is_grad_enabled(),
            "inference": torch.is_inference_mode_enabled(),
        }

    return take


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key in one:
        if key == "state":
            assert all(torch.equal(one[key][name], other[key][name]) for name in one[key])
        elif key == "grads":
            for mine, yours in zip(one[key], other[key], strict=True):
                assert (mine is None and yours is None) or torch.equal(mine, yours)
        elif key == "random":
            assert torch.equal(one[key], other[key]), "random state"
        else:
            assert one[key] == other[key], key


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_equal_plain_autograd_at_every_layer(name):
    net = family(name)
    x, target = images(3), [0, 3, 1]
    layers = [layer.name for layer in net.layers]
    together = pl.capture(net, x, layers, target)
    torch.testing.assert_close(together.output, net.module(x.clone()).detach(), **EXACT)
    for layer in layers:
        activation, gradient = reference(net.module, x, torch.tensor(target), layer)
        torch.testing.assert_close(together.activations[layer], activation, **EXACT)
        torch.testing.assert_close(together.gradients[layer], gradient, rtol=1e-5, atol=1e-7)
    assert torch.equal(together.score, together.output[torch.arange(3), torch.tensor(target)])


@pytest.mark.parametrize("name", ["inplace", "residual", "branches"])
def test_the_input_is_a_layer(name):
    net, x = family(name), images(2)
    trace = pl.capture(net, x, ["input", net.default_layers[-1]], 1)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net.module(leaf * 1)[:, 1].sum(), leaf)
    assert torch.equal(trace.activations["input"], x)
    torch.testing.assert_close(trace.gradients["input"], gradient, rtol=1e-5, atol=1e-7)


def test_the_order_of_layers_is_that_asked_for_and_each_comes_once():
    net = family("plain")
    trace = pl.capture(net, images(1), ["pool", "features.0", "pool"])
    assert list(trace.activations) == list(trace.gradients) == list(trace.layers) == ["pool", "features.0"]
    assert len(trace) == 1
    assert trace.network is net


def test_two_names_of_one_call_and_two_calls_of_one_module():
    net = family("residual")
    names = ["layer1.0.relu:0", "layer1.0.relu:1", "layer1.0.relu", "layer1.0"]
    trace = pl.capture(net, images(2), names, 2)
    assert torch.equal(trace.activations["layer1.0.relu"], trace.activations["layer1.0.relu:1"])
    assert torch.equal(trace.gradients["layer1.0.relu"], trace.gradients["layer1.0.relu:1"])
    assert torch.equal(trace.gradients["layer1.0.relu"], trace.gradients["layer1.0"])
    assert not torch.equal(trace.activations["layer1.0.relu:0"], trace.activations["layer1.0.relu:1"])
    alone = pl.capture(net, images(2), ["layer1.0.relu"], 2)
    assert torch.equal(alone.gradients["layer1.0.relu"], trace.gradients["layer1.0.relu"])


def test_in_place_relu_behind_a_layer_does_not_rewrite_it():
    net = family("inplace")
    trace = pl.capture(net, images(2), ["features.0", "features.1"])
    assert (trace.activations["features.0"] < 0).any()
    assert torch.equal(trace.activations["features.0"].relu(), trace.activations["features.1"])


class Alias(nn.Module):
    """A module that returns its own input, which is then written to under its old name."""

    def __init__(self):
        super().__init__()
        self.conv, self.same, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Identity(), nn.Linear(4, 3)

    def forward(self, x):
        x = self.conv(x)
        y = self.same(x) * 2
        x.mul_(100).clamp_(max=0.1)
        return self.fc((x + y).mean((2, 3)))


@pytest.mark.parametrize("layers", [["same"], ["conv", "same"]])
@pytest.mark.parametrize("gradients", [True, False])
def test_a_module_that_returns_its_own_input(layers, gradients):
    net = wrap(Alias())
    trace = pl.capture(net, images(2), layers, 0, gradients=gradients)
    expected = net.module.conv(images(2)).detach()
    for layer in layers:
        assert torch.equal(trace.activations[layer], expected)
    torch.testing.assert_close(trace.output, net.module(images(2)).detach())


class Normalizing(Headed):
    def forward(self, x):
        return super().forward(x.sub_(0.5).div_(2))


def test_a_network_that_writes_into_its_input_leaves_that_of_the_user():
    net, x = wrap(Normalizing()), images(2)
    for layers in (["conv1"], ["input"]):
        trace = pl.capture(net, x, layers)
        assert torch.equal(x, images(2))
        assert torch.equal(trace.images, x)
    torch.testing.assert_close(trace.activations["input"], x, **EXACT)
    torch.testing.assert_close(trace.output, net.module(x.clone()).detach())


def test_a_layer_beside_the_path_has_zero_gradient():
    net = family("branches")
    trace = pl.capture(net, images(2), ["stem", "aside", "right1"])
    assert trace.activations["aside"].abs().sum() > 0
    assert torch.equal(trace.gradients["aside"], torch.zeros_like(trace.activations["aside"]))
    assert trace.gradients["stem"].abs().sum() > 0
    with pytest.raises(
        ValueError, match=r"^Expected the target's score to depend on `aside` of `TwoBranch`, but no gradient"
    ):
        pl.capture(net, images(2), ["aside"])


def test_a_network_that_rounds_is_explained():
    net = wrap(Headed(head=lambda out, x: out.detach()))
    with pytest.raises(
        ValueError,
        match=r"on `conv1`, `conv2` of `Headed`, but no gradient reaches there; the network may detach",
    ):
        pl.capture(net, images(1), ["conv1", "conv2"])


class Counter:
    """Counts calls of leaf modules forward and backward, by hooks."""

    def __init__(self, module):
        self.forward, self.backward = 0, 0
        self.handles = [
            module.register_forward_hook(lambda *a: setattr(self, "forward", self.forward + 1)),
            *(
                child.register_full_backward_hook(lambda *a: setattr(self, "backward", self.backward + 1))
                for child in module.modules()
                if isinstance(child, nn.Conv2d)
            ),
        ]


def test_one_forward_and_one_backward_for_all_layers():
    net = wrap(ReusedReLU())
    counter = Counter(net.module)
    pl.capture(net, images(2), ["input", *(layer.name for layer in net.layers)], 0)
    convolutions = sum(isinstance(child, nn.Conv2d) for child in net.module.modules())
    assert (counter.forward, counter.backward) == (1, convolutions)


def flops(function):
    with FlopCounterMode(display=False) as counted:
        function()
    return counted.get_total_flops()


def test_the_backward_pass_stops_at_the_first_asked_layer():
    net, x = family("residual"), images(2)
    assert len(net.layers) > 20  # looked at before, so that this is not counted
    with torch.no_grad():
        forward = flops(lambda: net(x))
    assert flops(lambda: pl.capture(net, x, net.default_layers, gradients=False)) == forward
    last = flops(lambda: pl.capture(net, x, ["layer3"])) - forward
    middle = flops(lambda: pl.capture(net, x, ["layer2", "layer3"])) - forward
    everything = flops(lambda: pl.capture(net, x, ["input", *net.default_layers])) - forward
    assert last < 0.01 * forward  # only the linear layer lies behind
    assert last < middle < everything
    assert everything <= forward  # weights are frozen: one product per layer, not two


def test_without_gradients_there_are_none():
    trace = pl.capture(family("plain"), images(2), ["features.0", "pool"], gradients=False)
    assert trace.gradients == {}
    assert not any(value.requires_grad for value in trace.activations.values())


def test_what_is_returned_holds_no_graph():
    trace = pl.capture(family("plain"), images(2).requires_grad_(), ["input", "features.0"])
    held = (trace.images, trace.output, trace.score, *trace.activations.values(), *trace.gradients.values())
    assert not any(value.requires_grad or value.is_inference() for value in held)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_whatever_the_mode_of_the_caller(mode):
    net = family("inplace")
    expected = pl.capture(net, images(2), net.default_layers, 1)
    with mode():
        x = images(2)
        trace = pl.capture(net, x, net.default_layers, 1)
    for name in net.default_layers:
        assert torch.equal(trace.gradients[name], expected.gradients[name])
        assert not trace.activations[name].is_inference()
    assert not trace.images.is_inference()


def test_frozen_parameters():
    net = wrap(PlainNet().requires_grad_(False))
    assert torch.equal(
        pl.capture(net, images(2), ["features.2"], 1).gradients["features.2"],
        pl.capture(family("plain"), images(2), ["features.2"], 1).gradients["features.2"],
    )
    assert not any(p.requires_grad for p in net.module.parameters())


@pytest.mark.parametrize("make", [DropoutNet, PlainNet])
def test_a_set_training_flag(make, fingerprint):
    net = wrap(make())
    layer = net.default_layers[0]
    expected = pl.capture(net, images(2), [layer], 1)
    net.module.train()
    before = fingerprint(net.module)
    trace = pl.capture(net, images(2), [layer], 1)
    assert torch.equal(trace.output, expected.output)
    assert torch.equal(trace.gradients[layer], expected.gradients[layer])
    assert_same(before, fingerprint(net.module))


def test_channels_last():
    net = wrap(ReusedReLU().to(memory_format=torch.channels_last))
    x = images(2).to(memory_format=torch.channels_last)
    trace, expected = (
        pl.capture(net, x, net.default_layers, 1),
        pl.capture(family("residual"), images(2), net.default_layers, 1),
    )
    for name in net.default_layers:
        torch.testing.assert_close(trace.activations[name], expected.activations[name], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(trace.gradients[name], expected.gradients[name], rtol=1e-4, atol=1e-5)


def test_autocast():
    net = family("residual")
    expected = pl.capture(net, images(2), net.default_layers, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trace = pl.capture(net, images(2), net.default_layers, 1)
    for name in net.default_layers:
        assert trace.gradients[name].dtype == trace.activations[name].dtype
        exact = expected.activations[name]
        error = (trace.activations[name].float() - exact).norm() / exact.norm()
        assert float(error) < rounding(torch.bfloat16, terms=len(net.layers)), name  # every layer rounds once
        cosine = F.cosine_similarity(
            trace.gradients[name].float().flatten(), expected.gradients[name].flatten(), dim=0
        )
        assert cosine > 0.97


def test_autocast_keeps_training_possible_in_the_same_context():
    net = wrap(InplaceNet())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pl.capture(net, images(2), net.default_layers)
        net.module(images(2)).sum().backward()
    assert all(p.grad is not None for p in net.module.parameters())


def test_a_module_in_bfloat16():
    net = wrap(PlainNet().to(torch.bfloat16))
    trace = pl.capture(net, images(2), ["features.2"], 1)
    assert trace.gradients["features.2"].dtype == torch.bfloat16
    assert trace.gradients["features.2"].abs().sum() > 0


def test_float64_follows_the_module():
    net = wrap(PlainNet().double())
    assert pl.capture(net, images(2), ["features.2"]).gradients["features.2"].dtype == torch.float64


@pytest.mark.parametrize("name", ["inplace", "residual", "dense", "branches", "shared"])
def test_a_batch_is_its_single_images(name):
    # in float64: where rounding decides a ReLU, gradients of float32 differ by what lies behind it
    net, x = wrap(FAMILIES[name]().double()), images(4).double()
    layers = [layer.name for layer in net.layers]
    batch = pl.capture(net, x, layers, [0, 1, 2, 3])
    for i in range(4):
        single = pl.capture(net, x[i : i + 1], layers, i)
        for layer in layers:
            torch.testing.assert_close(batch.activations[layer][i : i + 1], single.activations[layer])
            torch.testing.assert_close(batch.gradients[layer][i : i + 1], single.gradients[layer])


def test_targets_reach_the_gradient():
    net, x = family("plain"), images(2)
    by_index = pl.capture(net, x, ["pool"], [1, 4])
    by_function = pl.capture(net, x, ["pool"], lambda output: torch.stack([output[0, 1], output[1, 4]]))
    assert torch.equal(by_index.gradients["pool"], by_function.gradients["pool"])
    predicted = pl.capture(net, x, ["pool"])
    assert predicted.target.indices.tolist() == predicted.output.argmax(1).tolist()
    binary = wrap(BinaryNet())
    yes, no = (pl.capture(binary, x, ["conv2"], target) for target in ("positive", "negative"))
    assert torch.equal(yes.gradients["conv2"], -no.gradients["conv2"])
    assert torch.equal(yes.score, -no.score)


def test_gradients_the_user_has_are_untouched(fingerprint):
    net = wrap(PlainNet())
    x = images(2).requires_grad_()
    net.module(x).sum().backward()
    before, mine = fingerprint(net.module), x.grad.clone()
    pl.capture(net, x, ["input", "features.2"])
    assert_same(before, fingerprint(net.module))
    assert torch.equal(x.grad, mine)
    assert x.requires_grad


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_is_left_behind(name, fingerprint):
    module = lively(FAMILIES[name]()).train()
    net = pl.load(module, input_shape=(3, 32, 32))
    before = fingerprint(module)
    pl.capture(net, images(2), ["input", *(layer.name for layer in net.layers)])
    assert_same(before, fingerprint(module))


class Failing(Headed):
    """Breaks behind its first convolutions once it is told to."""

    broken = False

    def forward(self, x):
        out = super().forward(x)
        torch.rand(3)
        if self.broken:
            raise KeyboardInterrupt
        return out


@pytest.mark.parametrize("where", ["forward", "target", "choice of target", "backward"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_nothing_is_left_behind_after_an_exception(where, mode, fingerprint):
    class Refusing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            raise KeyboardInterrupt

    def failing(output):
        torch.rand(3)
        raise KeyboardInterrupt

    module = lively(Failing()).train()
    net = pl.load(module, input_shape=(3, 32, 32))
    module.broken = where == "forward"
    targets = {
        "forward": 0,
        "target": failing,
        "choice of target": 99,
        "backward": lambda o: Refusing.apply(o)[:, 0],
    }
    x = images(2)
    with mode():
        before = fingerprint(module)
        with pytest.raises((KeyboardInterrupt, IndexError)):
            pl.capture(net, x, ["input", "conv2"], targets[where])
        assert_same(before, fingerprint(module))
    assert x.grad is None
    assert not x.requires_grad
    module.broken = False
    assert pl.capture(net, x, ["conv2"]).gradients["conv2"].abs().sum() > 0


def test_hooks_of_the_user_stay_and_run():
    net, seen = wrap(PlainNet()), []
    handle = net.module.features[0].register_forward_hook(lambda *a: seen.append(1))
    pl.capture(net, images(1), ["features.0", "features.1"])
    assert seen == [1]
    assert list(net.module.features[0]._forward_hooks.values())
    handle.remove()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            torch.zeros(2, 1, 32, 32),
            r"got torch.float32 \(2, 1, 32, 32\); try `net.preprocess\(picture\)\[None\]`",
        ),
        (torch.zeros(3, 32, 32), r"a float tensor \[batch 3 height width\], got torch.float32 \(3, 32, 32\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "got torch.uint8"),
        ("cat.jpg", "got str"),
        (torch.zeros(0, 3, 32, 32), "^Expected at least one image, got an empty batch"),
    ],
)
def test_unusable_images(x, message):
    with pytest.raises(ValueError, match=message):
        pl.capture(family("plain"), x, ["pool"])


def test_unknown_layers():
    with pytest.raises(UnknownNameError, match=r"got `layer9`; did you mean `layer1` or"):
        pl.capture(family("residual"), images(1), ["layer9"])


class Fickle(Headed):
    """Takes its second convolution only for bright images."""

    def forward(self, x):
        y = self.conv1(x)
        return self.fc((self.conv2(y) if x.mean() > -0.5 else y[:, [0, 1, 2, 3, 4, 5, 0, 1]]).mean((2, 3)))


def test_a_layer_that_does_not_run_this_time():
    net = wrap(Fickle())
    with pytest.raises(
        ValueError,
        match=r"^Expected layer `conv2` of `Fickle` to run for this input, but it did not; the network takes",
    ):
        pl.capture(net, images(1) - 5, ["conv1", "conv2"])
    assert pl.capture(net, images(1) - 5, ["conv1"]).gradients["conv1"].abs().sum() > 0


def test_no_warning_and_no_growth_of_the_network_object():
    net = family("plain")
    pl.capture(net, images(1), ["pool"])
    held = dict(vars(net))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pl.capture(net, images(1), ["pool"])
    assert vars(net) == held


def test_parallel_branches_share_the_gradient_of_their_sum():
    net = wrap(TwoBranch())
    trace = pl.capture(net, images(2), ["stem", "left", "right2", "join"], 0)
    stem = trace.activations["stem"].clone().requires_grad_()
    module, x = net.module, F.relu(stem * 1)
    left, right = module.left(x), module.right2(F.relu(module.right1(x)))
    (sum_of_both,) = torch.autograd.grad(
        [left, right], stem, [trace.gradients["left"], trace.gradients["right2"]]
    )
    torch.testing.assert_close(trace.gradients["stem"], sum_of_both, rtol=1e-5, atol=1e-7)
