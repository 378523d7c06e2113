"""Forward code whose operations are out of sight: run in the open, recognized, or said so."""

import threading

import pytest
import torch
from tests.core.test_running import Small, assert_as_before, assert_maps_as, images, load, maps, state_of
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

import pellucid as pl
from pellucid.core import hidden
from pellucid.core.running import undisturbed
from pellucid.core.wrappers import unwrapped


class Own(torch.autograd.Function):
    """Checkpointing as other packages write it."""

    @staticmethod
    def forward(ctx, function, x):
        ctx.function = function
        ctx.save_for_backward(x)
        with torch.no_grad():
            return function(x)

    @staticmethod
    def backward(ctx, gradient):
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            y = ctx.function(x)
        return None, torch.autograd.grad(y, x, gradient)[0]


CHECKPOINTED = {
    "not reentrant": lambda net, x: checkpoint(net.block, x, use_reentrant=False),
    "reentrant": lambda net, x: checkpoint(net.block, x, use_reentrant=True),
    "closure": lambda net, x: checkpoint(lambda y: net.block(y), x, use_reentrant=True),
    "sequential": lambda net, x: checkpoint_sequential(net.block, 2, x, use_reentrant=False),
    "another's": lambda net, x: Own.apply(net.block, x),
}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True:UserWarning")
@pytest.mark.parametrize("how", CHECKPOINTED)
def test_checkpointing(how):
    class Checkpointed(Small):
        def run_block(self, x):
            return CHECKPOINTED[how](self, x)

    assert_maps_as(Checkpointed(), Small(), ("gradcam", "lrp", "guided-backprop", "fullgrad", "smoothgrad"))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True:UserWarning")
@pytest.mark.parametrize("how", CHECKPOINTED)
def test_layers_inside_checkpointed_code(how):
    class Pooled(Small):
        def setup(self):
            self.block.append(nn.AvgPool2d(2, 1))  # whose rule keeps a tensor for the walk back

    class Checkpointed(Pooled):
        def run_block(self, x):
            return CHECKPOINTED[how](self, x)

    names = ["stem", "block.0", "block.1", "block.3"]
    found, expected = (pl.capture(load(make()), images(2), names, 1) for make in (Checkpointed, Pooled))
    for name in names:
        torch.testing.assert_close(found.gradients[name], expected.gradients[name])
    found, expected = (
        pl.attribute(load(make()), images(2), "relevance-cam", names, 1, normalized=True)
        for make in (Checkpointed, Pooled)
    )
    for name in names:
        torch.testing.assert_close(found[name].values, expected[name].values)


def test_checkpointing_still_saves_memory_for_others():
    block, runs = nn.Sequential(nn.Linear(3, 3), nn.ReLU()), []
    block.register_forward_pre_hook(lambda *_: runs.append(1))
    inside, outside = threading.Event(), threading.Event()

    def train():
        inside.wait()
        x = torch.randn(2, 3, requires_grad=True)
        for reentrant in (True, False):
            checkpoint(block, x, use_reentrant=reentrant).sum().backward()
        outside.set()

    thread = threading.Thread(target=train)
    thread.start()
    with undisturbed(Small()):
        inside.set()
        outside.wait()
    thread.join()
    assert len(runs) == 4  # twice each: forward, and again in the backward pass
    assert "apply" not in vars(hidden._SingleLevelFunction)


def function_of(plain, slope):
    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return plain(x)

        @staticmethod
        def backward(ctx, gradient):
            return gradient * slope(ctx.saved_tensors[0])

    return Hidden


def sigmoid_slope(x):
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))


SWISH = function_of(lambda x: x * torch.sigmoid(x), sigmoid_slope)
RELU = function_of(lambda x: x.clamp(min=0), lambda x: (x > 0).to(x))


class Activated(Small):
    """Its block ends in an activation function of choice."""

    def __init__(self, activation):
        super().__init__()
        self.activation = activation

    def run_block(self, x):
        return self.activation(self.block[1](self.block[0](x)))


EVERY = ("gradcam", "lrp", "guided-backprop", "deconvnet", "relevance-cam", "shallow-cam")


@pytest.mark.parametrize(
    ("written", "known"), [(SWISH, F.silu), (RELU, F.relu), (lambda x: SWISH.apply(x.double()).float(), None)]
)
def test_a_known_activation_function_is_what_it_is(written, known):
    call = written.apply if known is not None else written
    reference = Activated(known or (lambda x: F.silu(x.double()).float()))
    assert_maps_as(Activated(call), reference, EVERY)


class Written(torch.autograd.Function):
    """The newer form of a function."""

    @staticmethod
    def forward(x):
        return torch.relu(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)


def test_the_newer_form_of_a_function():
    assert_maps_as(Activated(Written.apply), Activated(F.relu), EVERY)


class Steep(torch.autograd.Function):
    """What nobody knows."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        return x.sign() * x.abs().sqrt() * scale

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 0.5 / (ctx.saved_tensors[0].abs().sqrt() + 1e-3), None


def test_what_nobody_knows_is_noted():
    net, x = load(Activated(lambda x: Steep.apply(x, 2.0))), images(1)
    for method in ("lrp", "relevance-cam", "guided-backprop", "fullgrad", "gradcam"):
        found = pl.attribute(net, x, method, target=1, normalized=True)
        notes = " ".join(note for each in found.values() for note in each.notes)
        assert ("`Steep`" in notes) == (method != "gradcam"), method


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_functions_and_modules():
    def rectified(x):
        return torch.relu(x)

    rectified.__annotations__ = {"x": torch.Tensor, "return": torch.Tensor}
    assert_maps_as(Activated(torch.jit.script(rectified)), Activated(F.relu), EVERY)
    module = Small().train()
    module.block = torch.jit.script(module.block)
    before = state_of(module)
    for found in maps(load(module), images(2), "gradcam"):  # of the stem: what is scripted has no layers
        torch.testing.assert_close(found, maps(load(Small()), images(2), "gradcam")[0])
    assert_as_before(before, module)
    notes = pl.attribute(load(module), images(1), "relevance-cam", target=1, normalized=True)
    assert any("`scripted module`" in note for each in notes.values() for note in each.notes)


@torch.no_grad()
def without_gradients(self, x):
    return Small.forward(self, x)


class Unrecorded(Small):
    forward = without_gradients


class Inference(Small):
    forward = torch.inference_mode()(Small.forward)


class Instance(Small):
    def setup(self):
        self.forward = torch.no_grad()(self.forward)


class FrozenStem(Small):
    def forward(self, x):
        with torch.no_grad():
            x = self.stem(x)
        return self.fc(self.block(x).mean((2, 3)))


class FrozenBlock(Small):
    def run_block(self, x):
        with torch.no_grad():
            return self.block(x)


class FrozenByHand(Small):
    def run_block(self, x):
        before = torch.is_grad_enabled()
        torch.set_grad_enabled(False)
        x = self.block(x)
        torch.set_grad_enabled(before)
        return x


@pytest.mark.parametrize("make", [Unrecorded, Inference, Instance, FrozenStem, FrozenBlock, FrozenByHand])
def test_code_that_switches_gradients_off(make):
    assert_maps_as(make(), Small(), ("gradcam", "layercam", "lrp", "guided-backprop", "fullgrad"))
    net = load(make())
    painted = pl.visualize(net, pl.Unit(net.default_layers[-1], 0), "yosinski", steps=2, progress=False)
    assert painted.images.isfinite().all()


def test_inference_mode_inside_is_refused_in_one_line():
    class Inside(Small):
        def run_block(self, x):
            with torch.inference_mode():
                return self.block(x)

    net, x = load(Inside()), images(1)
    for method in ("gradcam", "lrp", "guided-backprop", "integrated-gradients", "fullgrad"):
        with pytest.raises(
            ValueError, match=r"^Expected the target's score to depend on .*`torch.inference_mode\(\)`"
        ):
            pl.attribute(net, x, method, target=1, normalized=True)
    assert pl.neurons(net, x, "block", 1, "ablation", normalized=True).values.isfinite().all()


def test_compiled_networks_run_as_written():
    module = Small().eval()
    compiled = torch.compile(module, backend="eager")
    net = load(compiled)
    assert net.module is module
    assert net.name == "Small"
    inner = Small()
    inner.block = torch.compile(inner.block, backend="eager")
    inner.stem.compile(backend="eager")
    inner.way = torch.compile(lambda x: x * 1.0, backend="eager")
    assert_maps_as(inner, Small())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forms_without_layers_are_refused():
    module = Small().eval()
    with pytest.raises(
        TypeError, match=r"^Expected a module of Python code, got `Sequential` scripted by TorchScript"
    ):
        load(torch.jit.script(module.stem))
    with pytest.raises(
        TypeError, match=r"got `Small` traced by TorchScript, whose layers cannot be watched; try"
    ):
        load(torch.jit.trace(module, images(1)))
    with pytest.raises(
        TypeError,
        match=r"got an exported program, whose operations have other names and no rules; try the module it was",
    ):
        load(torch.export.export(module, (images(1),)))
    with pytest.raises(TypeError, match=r"^Expected an nn\.Module, got int"):
        unwrapped(3)


def test_transforms_are_refused_where_relevance_is_wanted():
    class Mapped(Small):
        def run_block(self, x):
            return torch.vmap(lambda y: self.block[2](self.block[0](y[None]))[0])(x)

    net = load(Mapped())
    assert maps(net, images(1), "gradcam")[0].isfinite().all()
    with pytest.raises(
        ValueError, match=r"^Expected operations on plain tensors, got some under `torch.vmap`"
    ):
        maps(net, images(1), "lrp")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantized_networks():
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    ).eval()
    net, x = load(torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8)), images(1)
    with pytest.raises(
        ValueError, match=r"no gradient reaches there; quantized modules have none \(`4` \(Linear\)\), try"
    ):
        maps(net, x, "gradcam")
    assert pl.neurons(net, x, "1", 1, "ablation", normalized=True).values.isfinite().all()


class Packed(nn.Sequential):
    """Keeps something beside its weights in its state."""

    def get_extra_state(self):
        return {"version": 1}

    def set_extra_state(self, state):
        pass


def test_what_a_module_packs_is_no_weight():
    module = Packed(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    module.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))
    assert len(load(module).classes) == 3
    module[0].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="got NaN or infinity in 1 of"):
        load(module)


def test_weights_that_change_in_between_are_said_in_words():
    module = Small().eval()
    net = load(module)

    def trained(scores):
        with torch.no_grad():
            for weight in module.parameters():
                weight.mul_(1.01)
        return scores[:, 0]

    with pytest.raises(ValueError, match=r"to stay as it is while it is explained, got values that changed"):
        pl.attribute(net, images(1), "gradcam", target=trained, normalized=True)
