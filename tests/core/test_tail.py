"""What lies behind a layer, run alone, is what the whole network does."""

import pytest
import torch
from tests.bounds import assert_same
from tests.networks import (
    FAMILIES,
    BinaryNet,
    DropoutNet,
    Headed,
    PlainNet,
    ReusedReLU,
    SharedBlock,
    family,
    images,
    lively,
    wrap,
)
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import pellucid as pl

TERMS = 2000  # no network here adds more, one sum behind the other


def replaced(net, x, layer, activation):
    """The whole network on x, with the output of one call of one module replaced by a hook."""
    path, _, number = layer.partition(":")
    child, seen = net.module.get_submodule(path), []
    number = int(number) if number else net.layers.find(layer)[1].number

    def hook(_module, _args, _output):
        seen.append(1)
        return activation.clone() if len(seen) - 1 == number else None

    handle = child.register_forward_hook(hook)
    try:
        return net.module(x.clone())
    finally:
        handle.remove()


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("count", [1, 2])
def test_every_layer_can_be_cut(name, count):
    net, x = family(name), images(count)
    whole = net.module(x.clone()).detach()
    for layer in ["input", *(layer.name for layer in net.layers)]:
        tail = pl.Tail(net, x, layer)
        assert tail.cut, layer
        assert_same(tail.output, whole, TERMS)
        assert_same(tail(tail.activation).detach(), whole, TERMS)
        assert torch.equal(tail.activation, pl.capture(net, x, [layer], gradients=False).activations[layer])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("count", [1, 2])
def test_changed_activations_give_what_a_hook_replacement_gives(name, count):
    net, x = family(name), images(count)
    for layer in (layer.name for layer in net.layers):
        tail = pl.Tail(net, x, layer)
        changed = tail.activation * torch.rand_like(tail.activation) + 0.1
        expected = replaced(net, x, layer, changed).detach()
        assert_same(tail(changed).detach(), expected, TERMS)
        if layer != "aside":
            assert not torch.allclose(expected, tail.output, rtol=1e-3)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("count", [1, 3])
def test_several_rows_per_image_lie_batch_after_batch(name, count):
    net, x = family(name), images(count)
    for layer in (layer.name for layer in net.layers):
        tail = pl.Tail(net, x, layer)
        rows = torch.cat([tail.activation * scale for scale in (0.0, 0.5, 1.5, -1.0)])
        with torch.no_grad():
            many = tail(rows)
            single = torch.cat([tail(part) for part in rows.split(count)])
        assert many.shape == (4 * count, 5)
        assert_same(many, single, TERMS)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_through_the_tail_are_those_of_capture(name):
    net, x = family(name), images(2)
    for layer in (layer.name for layer in net.layers):
        if layer == "aside":
            continue
        tail = pl.Tail(net, x, layer)
        leaf = tail.activation.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(tail(leaf)[:, 2].sum(), leaf)
        assert_same(gradient, pl.capture(net, x, [layer], 2).gradients[layer], TERMS)
        with torch.no_grad():
            assert not tail(leaf).requires_grad


def test_the_shortcut_keeps_its_own_value_inside_a_residual_block():
    net, x = family("residual"), images(1)
    tail = pl.Tail(net, x, "layer3.1.bn2")
    silent = tail(torch.zeros_like(tail.activation))
    block_input = pl.capture(net, x, ["layer3.0"], gradients=False).activations["layer3.0"]
    assert_same(silent, net.module.fc(block_input.relu().mean((2, 3))), TERMS)


@pytest.mark.parametrize(
    "layer", ["block.conv1:0", "block.conv1:1", "block:0", "block:1", "block.relu:0", "block.relu:5"]
)
def test_a_block_called_three_times_is_cut_at_the_call_asked_for(layer):
    net, x = wrap(SharedBlock()), images(2)
    tail = pl.Tail(net, x, layer)
    changed = tail.activation + torch.randn_like(tail.activation)
    assert_same(tail(changed), replaced(net, x, layer, changed), TERMS)


class Gossiping(nn.Module):
    """A module leaves word with its parent, so that it is missed when it is skipped."""

    def __init__(self):
        super().__init__()
        self.conv2, self.fc = nn.Conv2d(4, 4, 3), nn.Linear(4, 5)

        self.first = nn.Conv2d(3, 4, 3)
        self.first.forward = self.leave_word

    def leave_word(self, x):
        self.seen = x.mean((1, 2, 3))
        return nn.Conv2d.forward(self.first, x)

    def forward(self, x):
        self.seen = None
        y = self.first(x)
        return self.fc(self.conv2(y).mean((2, 3)) * self.seen[:, None])


@pytest.mark.parametrize("count", [1, 2])
def test_where_a_skipped_module_is_missed_everything_is_run_again(count):
    net, x = wrap(Gossiping()), images(count)
    tail = pl.Tail(net, x, "conv2")
    assert not tail.cut
    assert_same(tail(tail.activation), net.module(x), TERMS)
    changed = torch.rand_like(tail.activation)
    assert_same(tail(changed), replaced(net, x, "conv2", changed), TERMS)
    rows = torch.cat([changed, tail.activation])
    assert_same(tail(rows)[count:], tail.output, TERMS)


def test_user_hooks_that_change_outputs_do_not_act_twice():
    net = wrap(PlainNet())
    handle = net.module.features[0].register_forward_hook(lambda m, a, out: out * 2)
    tail = pl.Tail(net, images(2), "features.8")
    assert_same(tail(tail.activation), net.module(images(2)), TERMS)
    handle.remove()


class Structured(nn.Module):
    """Modules that hand on dicts, tuples, named tuples and things without a batch dimension."""

    class Pair(nn.Module):
        def forward(self, x):
            return torch.max(x, dim=1, keepdim=True)  # a named tuple

    class Place(nn.Module):
        def __init__(self):
            super().__init__()
            self.place = nn.Parameter(torch.randn(1, 4, 1, 1))

        def forward(self):
            return {"place": self.place, "scale": 2.0, "more": [torch.tensor(3.0)]}

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3), nn.Linear(4, 5)
        self.pair, self.place = self.Pair(), self.Place()

    def forward(self, x):
        x, given = self.conv1(x), self.place()
        x = torch.cat([x + given["place"] * given["scale"] + given["more"][0], self.pair(x).values], 1)
        return self.fc(self.conv2(x).relu().mean((2, 3)))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_modules_that_return_structures_are_answered_for(count):
    net, x = wrap(Structured()), images(count)
    tail = pl.Tail(net, x, "conv2")
    assert tail.cut
    rows = tail.activation.repeat(2, 1, 1, 1)
    assert_same(tail(rows), tail.output.repeat(2, 1), TERMS)


def test_a_late_tail_costs_little():
    net, x = family("residual"), images(2)
    with FlopCounterMode(display=False) as whole, torch.no_grad():
        net(x)
    shares = {}
    for layer in ("stem", "layer1", "layer2", "layer3.1.bn1", "layer3"):
        tail = pl.Tail(net, x, layer)
        with FlopCounterMode(display=False) as counted, torch.no_grad():
            tail(tail.activation)
        shares[layer] = counted.get_total_flops() / whole.get_total_flops()
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert shares["stem"] < 0.97
    assert shares["layer3.1.bn1"] < 0.2
    assert shares["layer3"] < 0.01


def test_one_image_is_lent_without_copies():
    net, x = family("plain"), images(1)
    tail = pl.Tail(net, x, "features.12")
    rows = tail._rows(next(iter(tail._stored.values())), 100)
    assert rows.shape[0] == 100
    assert rows.stride(0) == 0


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_whatever_the_mode_of_the_caller(mode):
    net = family("residual")
    with mode():
        x = images(2)
        tail = pl.Tail(net, x, "layer2")
        out = tail(tail.activation * 2)
        assert not out.requires_grad
    changed = tail.activation * 2
    assert_same(tail(changed), replaced(net, images(2), "layer2", changed), TERMS)
    leaf = tail.activation.clone().requires_grad_()
    assert tail(leaf).requires_grad, "made without gradients, it still passes them"


def test_training_flag_bfloat16_and_channels_last():
    trained = wrap(DropoutNet())
    trained.module.train()
    tail = pl.Tail(trained, images(2), "bn")
    assert tail.cut
    assert trained.module.training
    half = wrap(PlainNet().to(torch.bfloat16))
    assert pl.Tail(half, images(2), "features.6").cut
    last = wrap(ReusedReLU().to(memory_format=torch.channels_last))
    assert pl.Tail(last, images(2).to(memory_format=torch.channels_last), "layer2").cut


def test_autocast():
    net = family("residual")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tail = pl.Tail(net, images(2), "layer2")
        assert tail.cut
        torch.testing.assert_close(tail(tail.activation), tail.output, rtol=0.05, atol=0.05)


def test_gray_binary_networks():
    net = wrap(BinaryNet(squeezed=True))
    tail = pl.Tail(net, images(1), "relu1")
    assert tail(tail.activation.repeat(3, 1, 1, 1)).shape == (3, 1)


def test_neither_activation_nor_images_of_the_user_are_written_to():
    net, x = family("inplace"), images(2)
    tail = pl.Tail(net, x, "features.0")
    activation = tail.activation.clone()
    tail(tail.activation)
    assert torch.equal(tail.activation, activation)
    assert torch.equal(x, images(2))
    mine = torch.randn_like(activation)
    kept = mine.clone()
    with torch.no_grad():
        tail(mine)
    assert torch.equal(mine, kept)


def state(module):
    return (
        [child.training for child in module.modules()],
        [p.requires_grad for p in module.parameters()],
        [(len(c._forward_hooks), len(c._forward_pre_hooks)) for c in module.modules()],
        [sorted(vars(child)) for child in module.modules()],
        [p.grad for p in module.parameters()],
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
    )


def test_nothing_is_left_behind():
    module = lively(ReusedReLU()).train()
    net = pl.load(module, input_shape=(3, 32, 32))
    before = state(module)
    tail = pl.Tail(net, images(2), "layer2.0.conv1")
    tail(tail.activation)
    assert state(module) == before


@pytest.mark.parametrize("when", ["making", "running"])
def test_nothing_is_left_behind_after_an_exception(when):
    class Failing(ReusedReLU):
        broken = False

        def forward(self, x):
            out = super().forward(x)
            torch.rand(2)
            if self.broken:
                raise KeyboardInterrupt
            return out

    module = lively(Failing()).train()
    own = module.layer3.forward  # an instance's own forward, as some wrappers set it
    module.layer1.forward = module.layer1.forward
    net = pl.load(module, input_shape=(3, 32, 32))
    module.broken = False
    before = state(module)
    if when == "making":
        module.broken = True
        with pytest.raises(KeyboardInterrupt):
            pl.Tail(net, images(2), "layer2.0.conv1")
    else:
        tail = pl.Tail(net, images(2), "layer2.0.conv1")
        module.broken = True
        with pytest.raises(KeyboardInterrupt):
            tail(tail.activation)
    module.broken = False
    assert state(module) == before
    assert module.layer1.__dict__["forward"] == module.layer1.forward
    assert "forward" not in vars(module.layer3)
    assert module.layer3.forward == own


def test_wrong_activations():
    tail = pl.Tail(family("plain"), images(2), "features.7")
    for wrong in (
        torch.zeros(3, 12, 16, 16),
        torch.zeros(2, 12, 8, 16),
        torch.zeros(0, 12, 16, 16),
        torch.zeros(2, 12),
    ):
        with pytest.raises(ValueError) as caught:
            tail(wrong)
        assert str(caught.value) == (
            "Expected activations [k*2 12 16 16] for layer `features.7`, k copies of the batch, got "
            f"{tuple(wrong.shape)}."
        )


def test_a_layer_that_does_not_run_this_time():
    class Fickle(Headed):
        def forward(self, x):
            y = self.conv1(x)
            return self.fc(
                (self.conv2(y) if x.mean() > -0.5 else y[:, [0, 1, 2, 3, 4, 5, 0, 1]]).mean((2, 3))
            )

    with pytest.raises(
        ValueError, match=r"^Expected layer `conv2` of `Fickle` to run for this input, but it did not"
    ):
        pl.Tail(wrap(Fickle()), images(1) - 5, "conv2")


@pytest.mark.parametrize("count", [1, 2])
def test_without_sets_of_units(count):
    net, x = family("residual"), images(count)
    tail = pl.Tail(net, x, "layer2")
    channels = tail.activation.shape[1]
    reference = torch.randn(1, channels, 1, 1)
    sets = [[], [0], torch.tensor([3, 1]), range(channels)]
    for left in (None, reference):
        outputs = tail.without(sets, left, at_once=2)
        assert outputs.shape == (4, count, 5)
        for units, found in zip(sets, outputs, strict=True):
            changed = tail.activation.clone()
            for unit in units:
                changed[:, int(unit)] = 0 if left is None else left[0, int(unit)]
            assert_same(found, replaced(net, x, "layer2", changed).detach(), TERMS)
        assert not outputs.requires_grad
    assert_same(tail.without(sets, reference, at_once=100), outputs, TERMS)
    assert tail.without([]).shape == (0, count, 5)
    with pytest.raises(
        IndexError, match=f"units from 0 to {channels - 1}, got 2 to {channels} of layer `layer2`"
    ):
        tail.without([[0], [2, channels]])
