import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.networks import Headed, PlainNet, lively
from torch import nn

from pellucid.zoo.checkpoint import CheckpointError, read_state
from pellucid.zoo.fitting import class_count, fit, learned, not_finite


@pytest.fixture(scope="module")
def state():
    return {key: value.clone() for key, value in lively(PlainNet()).state_dict().items()}


def text(caught):
    return str(caught.value)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_safetensors_with_metadata(state, tmp_path):
    save_file(state, tmp_path / "w.safetensors", {"architecture": "scenes-vgg"})
    read, metadata = read_state(tmp_path / "w.safetensors")
    assert same(read, state)
    assert metadata == {"architecture": "scenes-vgg"}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
@pytest.mark.parametrize("legacy", [False, True])
def test_pytorch_files(state, tmp_path, suffix, legacy):
    file = tmp_path / f"w{suffix}"
    torch.save(OrderedDict(state), file, _use_new_zipfile_serialization=not legacy)
    assert same(read_state(file)[0], state)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net"])
def test_wrapped_in_a_training_checkpoint(state, tmp_path, key):
    torch.save({"epoch": 3, "best": 0.7, key: state, "optimizer": {"lr": 0.1}}, tmp_path / "w.pt")
    assert same(read_state(tmp_path / "w.pt")[0], state)


def test_wrapped_twice(state, tmp_path):
    torch.save({"model": {"state_dict": state}}, tmp_path / "w.pt")
    assert same(read_state(str(tmp_path / "w.pt"))[0], state)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "net.", "backbone.", "module.model."])
def test_prefixes_of_wrappers_are_taken_off(state, prefix):
    module = PlainNet()
    fit(module, {prefix + key: value for key, value in state.items()}, "w.pt")
    assert same(module.state_dict(), state)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precision_is_cast(state, tmp_path, dtype, suffix):
    other = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    file = tmp_path / f"w{suffix}"
    save_file(other, file) if suffix == ".safetensors" else torch.save(other, file)
    read, _ = read_state(file)
    assert same(read, other)
    module = PlainNet()
    assert fit(module, read, file) == ()
    assert same(module.state_dict(), {key: value.to(state[key].dtype) for key, value in other.items()})


def test_a_missing_file_suggests_neighbors(tmp_path):
    (tmp_path / "resnet.safetensors").touch()
    (tmp_path / "resnet.txt").touch()
    with pytest.raises(CheckpointError) as caught:
        read_state(tmp_path / "resnt.safetensors")
    assert text(caught) == (
        f"Expected a weights file, got `{tmp_path / 'resnt.safetensors'}`, which is not there; "
        "did you mean `resnet.safetensors`?"
    )
    with pytest.raises(CheckpointError, match=r"which is not there; there are none\.$"):
        read_state(tmp_path / "no" / "where.pt")
    with pytest.raises(
        CheckpointError, match=r"expected a regular file, got a folder; try `.*resnet.safetensors`\.$"
    ):
        read_state(tmp_path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize(
    "content", [b"", b"hello, I am no weights file\n" * 40, bytes(range(256)) * 8, b"PK\x03\x04" + b"\0" * 99]
)
def test_corrupt_files(tmp_path, suffix, content):
    file = tmp_path / f"w{suffix}"
    file.write_bytes(content)
    with pytest.raises(
        CheckpointError,
        match=r"^Expected a .* file, got `.*`, which cannot be read \(.*is the download\s+complete\?$",
    ):
        read_state(file)


@pytest.mark.parametrize("kind", ["safetensors", "pt", "legacy"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated_files(state, tmp_path, kind, share):
    file = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "pt")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"which cannot be read \(.*is the download complete\?$"):
        read_state(file)


class Malice:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def malicious(kind, file, mark):
    if kind == "pickle":
        file.write_bytes(pickle.dumps({"weight": Malice(mark)}, protocol=2))
    elif kind == "pickle 4":
        file.write_bytes(pickle.dumps({"weight": Malice(mark)}, protocol=4))
    elif kind == "torch":
        torch.save({"weight": torch.zeros(2), "more": Malice(mark)}, file)
    else:
        torch.save(
            {"weight": torch.zeros(2), "more": Malice(mark)}, file, _use_new_zipfile_serialization=False
        )


@pytest.mark.parametrize("kind", ["pickle", "pickle 4", "torch", "legacy"])
def test_code_in_a_pickle_is_refused_by_name_and_never_run(tmp_path, kind):
    file, mark = tmp_path / "w.pt", tmp_path / "was-run"
    malicious(kind, file, mark)
    with pytest.raises(CheckpointError) as caught:
        read_state(file)
    assert not mark.exists()
    expected = (
        f"Expected plain weights, got `{file}`, a pickle that would run `posix.system` when opened; refused"
    )
    assert expected in text(caught)
    pickle.loads(pickle.dumps(Malice(mark)))
    assert mark.exists(), "the malice of this test is none"


def test_a_whole_module_is_refused_by_the_name_of_its_class(tmp_path):
    torch.save(Headed(), tmp_path / "w.pt")
    with pytest.raises(CheckpointError) as caught:
        read_state(tmp_path / "w.pt")
    assert "a pickle that would run `tests.networks.Headed` when opened; refused" in text(caught)
    assert "torch.save(model.state_dict(), ...)" in text(caught)


def test_a_torchscript_program_is_named(tmp_path):
    file = tmp_path / "w.pt"
    with zipfile.ZipFile(file, "w") as archive:  # as torch.jit.save lays it out
        for name in ("w/data.pkl", "w/constants.pkl", "w/code/__torch__.py", "w/version"):
            archive.writestr(name, b"3\n")
    with pytest.raises(CheckpointError) as caught:
        read_state(file)
    assert "a TorchScript program; try `pl.load(module)` with the Python module" in text(caught)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ({"epoch": 3, "loss": 0.5}, "a dict with 'epoch', 'loss'"),
        ([1, 2], "list"),
        (torch.zeros(3), "Tensor"),
        ({}, "a dict with "),
    ],
)
def test_files_without_a_state_dict(tmp_path, content, got):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError) as caught:
        read_state(tmp_path / "w.pt")
    assert text(caught).startswith(f"Expected weights by name (a state dict), got {got}")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(state, tmp_path, value):
    bad = {key: tensor.clone() for key, tensor in state.items()}
    bad["features.0.weight"][0, 0, 0, 0] = value
    bad["classifier.3.bias"][1] = value
    save_file(bad, tmp_path / "w.safetensors")
    module = PlainNet()
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        fit(module, read_state(tmp_path / "w.safetensors")[0], "w.safetensors")
    assert same(module.state_dict(), before)
    assert f"NaN or infinity in 2 of {len(learned(module))} tensors (" in text(caught)
    assert "features.0.weight" in text(caught)
    assert "classifier.3.bias" in text(caught)
    assert not_finite(state) == ""


def test_what_does_not_fit_is_counted_and_named(state):
    wrong = {key: value for key, value in state.items() if not key.startswith("features.0.")}
    wrong |= {f"extra.{i}": torch.zeros(1) for i in range(6)}
    wrong["classifier.3.weight"] = torch.zeros(7, 24)
    module = PlainNet()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        fit(module, wrong, "w.pt")
    assert text(caught) == (
        f"Expected the {len(state)} tensors of PlainNet, got {len(wrong)} from `w.pt`: "
        "2 missing (features.0.weight, features.0.bias); "
        "6 unexpected (extra.0, extra.1, extra.2, extra.3 and 2 more); "
        "1 of another shape (classifier.3.weight (7, 24) for (5, 24)). "
        "Try the architecture the weights were trained with."
    )
    assert same(module.state_dict(), before)


def test_batch_counters_may_be_missing(state):
    module = PlainNet()
    fit(
        module,
        {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")},
        "w.pt",
    )
    assert all(torch.equal(value, module.state_dict()[key]) for key, value in state.items())


def test_other_class_counts_are_read_from_the_head(state):
    assert class_count(PlainNet(classes=1000), state, 1000) == 5
    assert class_count(PlainNet(classes=1000), {f"module.{k}": v for k, v in state.items()}, 1000) == 5
    assert class_count(PlainNet(classes=1000), {}, 1000) == 1000
    assert class_count(nn.Linear(2, 3), {"weight": torch.tensor(1.0), "bias": torch.tensor(2.0)}, 3) == 3


def test_a_path_may_be_given_as_text(state, tmp_path):
    save_file(state, tmp_path / "w.safetensors")
    assert same(
        read_state(str(tmp_path / "w.safetensors"))[0], read_state(Path(tmp_path / "w.safetensors"))[0]
    )
