"""What runs in a network's place: nothing of the user's is touched, in any thread, whatever the forward code does."""

import functools
import random
import threading
import time

import numpy as np
import pytest
import torch
from tests.networks import ReusedReLU, images, lively
from torch import nn
from torch.nn import functional as F

import pellucid as pl
from pellucid.core.running import habits_of, standing, undisturbed
from pellucid.core.tail import Tail
from pellucid.core.twins import twin

METHODS = ("gradcam", "lrp", "guided-backprop", "integrated-gradients")


class Small(nn.Module):
    """A stem, a block and a classifier; subclasses run the block in ways of their own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.fc = nn.Linear(8, 4)
        nn.init.normal_(self.block[1].running_mean)
        self.setup()

    def setup(self):
        pass

    def forward(self, x):
        return self.fc(self.run_block(self.stem(x)).mean((2, 3)))

    def run_block(self, x):
        return self.block(x)


def load(module):
    return pl.load(module, input_shape=(3, 32, 32))


def state_of(module):
    """Everything of a module that has to stay as it is."""
    return {
        "training": [child.training for child in module.modules()],
        "trained": [p.requires_grad for p in module.parameters()],
        "tensors": {key: value.detach().clone() for key, value in module.state_dict().items()},
        "hooks": [(len(c._forward_hooks), len(c._forward_pre_hooks)) for c in module.modules()],
        "own": [sorted(vars(child)) for child in module.modules()],
        "random": (torch.get_rng_state(), random.getstate(), repr(np.random.get_state())),  # noqa: NPY002
    }


def assert_as_before(before, module):
    after = state_of(module)
    for key in ("training", "trained", "hooks", "own"):
        assert before[key] == after[key], key
    for key, value in before["tensors"].items():
        torch.testing.assert_close(after["tensors"][key], value, rtol=0, atol=0, equal_nan=True, msg=key)
    assert torch.equal(before["random"][0], after["random"][0])
    assert before["random"][1:] == after["random"][1:]


def maps(net, x, method, target=1):
    found = pl.attribute(net, x, method, target=target, normalized=True, progress=False)
    return [each.values for each in found.values()]


def assert_maps_as(module, reference, methods=METHODS, training=(False, True)):
    """The same maps as those of another module, which is left as it is."""
    x = images(2)
    expected = {method: maps(load(reference.eval()), x, method) for method in methods}
    for flag in training:
        module.train(flag)
        before = state_of(module)
        net = load(module)
        for method in methods:
            for found, wanted in zip(maps(net, x, method), expected[method], strict=True):
                torch.testing.assert_close(
                    found,
                    wanted,
                    rtol=1e-3,
                    atol=1e-5 * float(wanted.abs().max()),
                    msg=lambda m, n=method: f"{n}: {m}",
                )
        assert_as_before(before, module)


def in_threads(count, work):
    """Run ``work(thread)`` in threads that start together; what one raises is raised here."""
    errors, together = [], threading.Barrier(count)

    def run(number):
        try:
            together.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class Bearing(Small):
    """Keeps what it sees in a list that its hook fills: state that threads would share."""

    def setup(self):
        self.seen = []
        self.block.register_forward_hook(self.keep)

    def keep(self, _module, _args, output):
        self.seen.append(output)

    def forward(self, x):
        self.seen.clear()
        self.block(self.stem(x))
        time.sleep(0)  # other threads may run
        return self.fc(self.seen[-1].mean((2, 3)))


class Noisy(Small):
    def run_block(self, x):
        return F.dropout(self.block(x), 0.5, training=True)


@pytest.mark.parametrize("make", [Small, Bearing, Noisy, ReusedReLU])
def test_many_threads_explain_as_one(make):
    module = make()
    net = load(module.train() if make is not ReusedReLU else lively(module).train())
    pictures = images(8).split(1)
    calls = [
        lambda x: maps(net, x, "gradcam")[0],
        lambda x: maps(net, x, "lrp")[0],
        lambda x: pl.neurons(net, x, net.default_layers[-1], 1, "ablation", normalized=True).values,
        lambda x: pl.capture(net, x, net.default_layers, 2).gradients[net.default_layers[0]],
    ]
    alone = [[call(x) for x in pictures] for call in calls]
    before = state_of(module)

    def work(number):
        for step in range(32):
            which, picture = (number + step) % len(calls), (3 * number + step) % len(pictures)
            found = calls[which](pictures[picture])
            assert torch.equal(found, alone[which][picture]), f"thread {number}, explanation {step}"

    in_threads(8, work)
    assert_as_before(before, module)


def test_networks_that_share_modules_and_the_module_itself_at_once():
    trunk = Small()
    one = load(
        nn.Sequential(trunk.stem, trunk.block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), trunk.fc).train()
    )
    other, x = load(trunk.train()), images(2)
    with torch.no_grad():
        predicted = twin(trunk)(x)
    expected = [maps(net, x, "gradcam")[0] for net in (one, other)]
    trunk.eval()
    before = state_of(trunk)

    def work(number):
        for _ in range(20):
            if number < 2:
                assert torch.equal(maps((one, other)[number], x, "gradcam")[0], expected[number])
            elif number == 2:  # the user's own predictions
                with torch.no_grad():
                    assert torch.equal(trunk(x), predicted)
            else:
                tail = Tail(other, x, "block")
                assert torch.equal(tail.without([[0]]), tail.without([[0]]))

    in_threads(5, work)
    assert_as_before(before, trunk)


def test_training_goes_on_beside_explanations():
    module = Small().train()
    net, x = load(module), images(2)
    done = threading.Event()

    def work(number):
        if number:
            while not done.is_set():
                maps(net, x, "layercam")
            return
        try:
            for _ in range(50):
                module.zero_grad()
                module(x).sum().backward()
                assert all(parameter.grad is not None for parameter in module.parameters())
                assert all(child.training for child in module.modules())
        finally:
            done.set()

    in_threads(3, work)


def test_the_random_numbers_of_other_threads_are_their_own():
    net, x = load(Small()), images(1)
    torch.manual_seed(3)
    expected = [torch.rand(1).item() for _ in range(200)]
    torch.manual_seed(3)
    drawn, done = [], threading.Event()

    def work(number):
        if number:
            while not done.is_set():
                maps(net, x, "gradcam")
            return
        for _ in range(200):
            drawn.append(torch.rand(1).item())
            time.sleep(0)
        done.set()

    in_threads(2, work)
    assert drawn == expected


class Counting(Small):
    """Writes into a buffer and counts in evaluation mode too."""

    def setup(self):
        self.register_buffer("runs", torch.zeros(()))
        self.register_buffer("sparse", torch.eye(3).to_sparse(), persistent=False)
        self.register_buffer("gap", torch.tensor(torch.nan))
        self.calls = 0

    def run_block(self, x):
        self.runs += 1
        self.calls += 1
        return self.block(x)


class Global(Small):
    """Reaches its block by a global variable."""

    known: dict = {}

    def setup(self):
        Global.known["block"] = self.block

    def run_block(self, x):
        return Global.known["block"](x)


class Listed(Small):
    def setup(self):
        self.order = [(self.block,)]

    def run_block(self, x):
        return self.order[0][0](x)


class Closed(Small):
    def setup(self):
        self.way = lambda x: self.block(x)

    def run_block(self, x):
        return self.way(x)


class Partial(Small):
    def setup(self):
        self.way = functools.partial(self.scaled, scale=1.0)

    def scaled(self, x, scale):
        return self.block(x) * scale

    def run_block(self, x):
        return self.way(x)


class Delegating(nn.Module):
    """Answers for what it holds."""

    def __init__(self):
        super().__init__()
        self.held = Small()

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("held"), name)

    def forward(self, x):
        return self.held(x)


class Remembering(Small):
    """A hook writes where the forward method reads."""

    def setup(self):
        self.block.register_forward_hook(self.keep)

    def keep(self, _module, _args, output):
        self.last = output

    def forward(self, x):
        self.block(self.stem(x))
        return self.fc(self.last.mean((2, 3)))


class Hooked(Small):
    """Has hooks of the user's, forward and backward."""

    def setup(self):
        self.block.register_full_backward_hook(lambda *_: None)
        self.block.register_forward_hook(lambda _m, _a, output: output * 1.0)
        self.stem.register_forward_pre_hook(lambda _m, args: (args[0] * 1.0,))


@pytest.mark.parametrize(
    ("make", "habits"),
    [
        (Counting, {"writes"}),
        (Global, {"original"}),
        (Listed, set()),
        (Closed, set()),
        (Partial, set()),
        (Delegating, set()),
        (Remembering, set()),
        (Hooked, set()),
        (lambda: nn.DataParallel(Small()), set()),
        (lambda: torch.optim.swa_utils.AveragedModel(Small()), set()),
    ],
)
def test_whatever_the_module_is_made_of(make, habits):
    module = make()
    assert_maps_as(module, Small())
    known = habits_of(module)
    assert known.known
    assert {name for name in ("writes", "draws", "remembers", "original") if getattr(known, name)} == habits


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
@pytest.mark.parametrize("old", [False, True])
def test_weights_that_are_computed(old):
    """Weight and spectral normalization: the same maps in training and evaluation mode, nothing moved."""
    module = Small()
    utils = nn.utils if old else nn.utils.parametrizations
    utils.weight_norm(module.block[0])
    utils.spectral_norm(module.fc)
    module.eval()
    expected = maps(load(module), images(2), "gradcam")
    module.train()
    before = state_of(module)
    for found, wanted in zip(maps(load(module), images(2), "gradcam"), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert_as_before(before, module)


def test_a_network_that_draws_leaves_every_generator():
    class Drawing(Small):
        def run_block(self, x):
            return self.block(x) * (1 + torch.rand(()) + np.random.rand() + random.random())  # noqa: NPY002

    module = Drawing()
    net = load(module)
    before = state_of(module)
    assert torch.equal(maps(net, images(1), "gradcam")[0], maps(net, images(1), "gradcam")[0])
    assert_as_before(before, module)
    assert habits_of(module).draws


def test_a_twin_shares_weights_and_nothing_else():
    module = Small()
    made = twin(module)
    assert made.fc.weight.data_ptr() == module.fc.weight.data_ptr()
    assert not made.fc.weight.requires_grad
    made.block.register_forward_hook(lambda *_: None)
    made.extra = 1
    assert not module.block._forward_hooks
    assert not hasattr(module, "extra")
    with torch.no_grad():
        module.fc.weight.add_(1)
    assert torch.equal(made.fc.weight, module.fc.weight)
    own = twin(module, own_buffers=True)
    assert own.block[1].running_mean.data_ptr() != module.block[1].running_mean.data_ptr()
    tied = nn.ModuleDict({"one": module.fc, "other": module.fc})
    both = twin(tied)
    assert both["one"] is both["other"]


def test_the_network_inside_is_what_stands_in():
    net, x = load(Small().train()), images(1)
    assert standing(net.module) is net.module
    with undisturbed(net.module) as running:
        assert standing(net.module) is running
        with undisturbed(net.module) as again:
            assert again is running
        with torch.no_grad():
            assert torch.equal(net(x), running(x))
    assert standing(net.module) is net.module


def test_lazy_modules_are_refused_and_stay_lazy():
    module = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU())
    with pytest.raises(
        ValueError, match=r"got the uninitialized `(0\.)?weight`; run it once on an image first"
    ):
        load(module)
    assert isinstance(module[0].weight, nn.parameter.UninitializedParameter)
    assert len(module[0]._forward_pre_hooks) == 1


def test_a_network_that_takes_its_images_apart():
    class Apart(Small):
        def forward(self, x):
            return torch.cat([super(Apart, self).forward(row) for row in x.split(1)])

    net = load(Apart())
    with pytest.raises(
        ValueError, match=r"^Expected `block` of `Apart` to give one map for each of 2 images, got 1; "
    ):
        pl.attribute(net, images(2), "gradcam", layers="block", target=1, normalized=True)
    single = pl.attribute(net, images(2), "gradcam", layers="block", target=1, normalized=True, batch_size=1)
    assert torch.allclose(single["block"].values, maps(load(Small()), images(2), "gradcam")[-1], atol=1e-6)


def test_hooks_that_come_later_are_watched_too():
    module = Small()
    net, x = load(module), images(1)
    maps(net, x, "gradcam")
    assert not habits_of(module).draws

    def draw(_module, args):
        torch.rand(3)
        module.block[1].running_mean.add_(1)
        raise KeyboardInterrupt

    for place in (module, module.fc):
        handle = place.register_forward_pre_hook(draw)
        kept = torch.get_rng_state(), module.block[1].running_mean.clone()
        with pytest.raises(KeyboardInterrupt):
            maps(net, x, "gradcam")
        handle.remove()
        assert torch.equal(torch.get_rng_state(), kept[0])
        assert torch.equal(module.block[1].running_mean, kept[1])
    maps(net, x, "gradcam")
