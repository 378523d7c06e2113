"""Weights as training tools write them: laid into the right places, with a note of what was left out, or refused."""

import argparse

import numpy as np
import pytest
import torch
from tests.networks import PlainNet, lively
from torch import nn

import pellucid as pl
from pellucid.zoo.checkpoint import CheckpointError, read_state
from pellucid.zoo.fitting import class_count, fit, learned


@pytest.fixture(scope="module")
def state():
    return {key: value.clone() for key, value in lively(PlainNet()).state_dict().items()}


def same(module, state):
    return all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def fitted(content, tmp_path):
    """A fresh network with the weights of a saved checkpoint, and the notes on them."""
    torch.save(content, tmp_path / "w.ckpt")
    module = PlainNet()
    return module, fit(module, read_state(tmp_path / "w.ckpt")[0], tmp_path / "w.ckpt")


def under(prefix, state):
    return {prefix + key: value for key, value in state.items()}


PREFIXES = [
    "module._orig_mod.",
    "_orig_mod.module.",
    "model._orig_mod.",
    "network.",
    "encoder.",
    "resnet.",
    "a.b.c.d.e.",
    "_fsdp_wrapped_module.",
    "lightning_module.model.module._orig_mod.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("key", [None, "state_dict"])
def test_wrappers(state, tmp_path, prefix, key):
    content = under(prefix, state)
    module, notes = fitted({"epoch": 3, key: content} if key else content, tmp_path)
    assert same(module, state)
    assert notes == ()


def test_wrappers_inside_a_network(state, tmp_path):
    wrapped = {key.replace("features.", "features._orig_mod."): value for key, value in state.items()}
    assert same(fitted(wrapped, tmp_path)[0], state)
    parallel = {key.replace("features.", "features.module."): value for key, value in state.items()}
    assert same(fitted(parallel, tmp_path)[0], state)


@pytest.mark.parametrize(
    "beside",
    [
        {"criterion.weight": torch.ones(5)},
        {"loss_fn.pos_weight": torch.ones(5)},
        {"arcface.weight": torch.ones(5, 24)},
        {"metric_fc.weight": torch.ones(5, 24)},
        {"train_acc.correct": torch.tensor(3)},
        {"n_averaged": torch.tensor(7)},
        {"classifier.total_ops": torch.zeros(1, dtype=torch.float64)},
    ],
)
def test_what_losses_and_averages_leave_is_said_and_left_out(state, tmp_path, beside):
    for prefix in ("", "model."):
        module, notes = fitted({"state_dict": {**under(prefix, state), **beside}}, tmp_path)
        assert same(module, state)
        assert notes == (f"w.ckpt: left out 1 tensors that are not the network's ({next(iter(beside))})",)


def test_an_averaged_model(state, tmp_path):
    base = PlainNet()
    base.load_state_dict(state)
    assert same(fitted(torch.optim.swa_utils.AveragedModel(base).state_dict(), tmp_path)[0], state)


def test_a_whole_training_checkpoint(state, tmp_path):
    """Optimizer state, numbers of NumPy, and objects of foreign classes beside the weights; none of them is imported."""
    base = PlainNet()
    optimizer = torch.optim.AdamW(base.parameters())
    base(torch.zeros(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    content = {
        "state_dict": under("model.", state),
        "optimizer_states": [optimizer.state_dict()],
        "best": np.float64(0.9),
        "history": np.arange(4.0),
        "hyper_parameters": argparse.Namespace(lr=0.1),
        "of a library": tmp_path,
    }
    assert same(fitted(content, tmp_path)[0], state)


def test_counts_that_were_averaged(state, tmp_path):
    averaged = {
        key: value.float() if key.endswith("num_batches_tracked") else value for key, value in state.items()
    }
    module, notes = fitted(averaged, tmp_path)
    assert notes == ()
    own = module.state_dict()
    assert all(torch.equal(own[key], value) for key, value in state.items() if "num_batches" not in key)
    assert own["features.1.num_batches_tracked"].dtype == torch.int64


def test_the_network_itself_before_its_average(state, tmp_path):
    other = {key: value + 1 for key, value in state.items()}
    module, notes = fitted({"model_ema": other, "model": state}, tmp_path)
    assert same(module, state)
    assert notes == ("w.ckpt: `model` taken; `model_ema` would fit too",)
    assert same(fitted({**under("student.", other), **under("teacher.", state)}, tmp_path)[0], state)
    assert same(fitted({**under("ema_model.", other), **under("model.", state)}, tmp_path)[0], state)
    assert same(fitted({**under("a.", state), **under("b.", state)}, tmp_path)[0], state)


def test_two_networks_that_fit_are_not_guessed_between(state, tmp_path):
    other = {key: value + 1 for key, value in state.items()}
    with pytest.raises(
        CheckpointError, match=r"got several that fit in `.*`, under `rgb\.` and `flow\.`; try to save one"
    ):
        fitted({**under("rgb.", state), **under("flow.", other)}, tmp_path)


def test_a_deeper_network_is_no_shallower_one(tmp_path):
    models = pytest.importorskip("pellucid.zoo.zoos").import_torchvision().models
    torch.save(under("module.", models.resnet34(num_classes=3).state_dict()), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"unexpected \(module.layer1.2.conv1.weight"):
        pl.load("torchvision:resnet18", weights=tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("change", ["int8", "bool", "complex", "sparse", "meta", "quantized", "float8"])
def test_weights_of_another_kind_are_refused(state, tmp_path, change):
    key = "features.0.weight"
    changed = {
        "int8": lambda value: (value * 100).to(torch.int8),
        "bool": lambda value: value > 0,
        "complex": lambda value: value * (1 + 1j),
        "sparse": lambda value: value.to_sparse(),
        "meta": lambda value: value.to("meta"),
        "quantized": lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
        "float8": lambda value: value.to(torch.float8_e4m3fn),
    }[change]
    with pytest.raises(CheckpointError, match=rf"1 of another (type|shape) \({key} "):
        fitted({**state, key: changed(state[key])}, tmp_path)


def test_numbers_beyond_the_networks_type_are_refused(state, tmp_path):
    key = "features.0.weight"
    with pytest.raises(CheckpointError, match=r"got NaN or infinity in 1 of"):
        fitted({**state, key: state[key].double() * 0 + 1e300}, tmp_path)
    with pytest.raises(CheckpointError, match=r"got negative ones in `.*` \(features.1.running_var\)"):
        fitted({**state, "features.1.running_var": -state["features.1.running_var"]}, tmp_path)


def test_an_infinite_buffer_is_healthy(tmp_path):
    class Masked(PlainNet):
        def __init__(self):
            super().__init__()
            self.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))

    module = lively(Masked())
    torch.save(module.state_dict(), tmp_path / "w.pt")
    fresh = Masked()
    fit(fresh, read_state(tmp_path / "w.pt")[0], "w.pt")
    assert torch.equal(fresh.mask, module.mask)
    assert "mask" not in learned(fresh)


def test_what_a_module_keeps_beyond_tensors(state):
    class Extra(PlainNet):
        def get_extra_state(self):
            return {"version": 1}

        def set_extra_state(self, given):
            assert given == {"version": 1}

    module = Extra()
    fit(module, state, "w.pt")
    assert all(torch.equal(value, module.state_dict()[key]) for key, value in state.items())
    assert isinstance(pl.load(module, input_shape=(3, 32, 32)), pl.Network)


def test_no_classes_are_counted_that_are_not_there(state):
    module = PlainNet(classes=1000)
    head = {
        "classifier.3.weight": torch.zeros(1).expand(10**9, 24),
        "classifier.3.bias": torch.zeros(1).expand(10**9),
    }
    assert class_count(module, {**state, **head}, 1000) == 1000
    assert class_count(module, {**state, "classifier.3.bias": torch.zeros(9)}, 1000) == 1000


def test_linear_layers_of_other_names_are_not_matched():
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    state = {
        "1.weight": torch.ones(3, 3),
        "1.bias": torch.ones(3),
        "2.weight": torch.ones(3, 3),
        "2.bias": torch.ones(3),
    }
    with pytest.raises(
        CheckpointError, match=r"2 missing \(0.weight, 0.bias\); 2 unexpected \(2.weight, 2.bias\)"
    ):
        fit(module, state, "w.pt")
