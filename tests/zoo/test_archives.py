"""Files of torch.save, read by our own machine: the same tensors as torch reads, and no byte of a damaged file believed."""

import json
import os
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pellucid.zoo.checkpoint import CheckpointError, read_state
from pellucid.zoo.pickles import MOST, follow
from pellucid.zoo.stored import Foreign, PickleError

TYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
    torch.bool, torch.complex64, torch.complex128, torch.uint16,
]  # fmt: skip


def content():
    base = torch.arange(60.0)
    made = {f"type {index}": torch.arange(6).to(dtype).reshape(2, 3) for index, dtype in enumerate(TYPES)}
    made |= {
        "view": base[10:40].view(5, 6).T,
        "shared": base[3::7],
        "expanded": torch.ones(1).expand(3, 4),
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 4),
        "parameter": nn.Parameter(torch.ones(2)),
        "buffer": nn.Buffer(torch.ones(2)),
        "a name with ünïcode and spaces": torch.ones(1),
    }
    return made


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_same_tensors_as_torch(tmp_path, legacy, protocol):
    file, made = tmp_path / "w.pt", content()
    if legacy:
        del made["buffer"], made[f"type {len(TYPES) - 1}"]  # which torch itself cannot read there
    torch.save(made, file, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    before = file.read_bytes()
    state, metadata = read_state(file)
    assert metadata == {}
    expected = torch.load(file, weights_only=False)
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        assert state[key].dtype == value.dtype, key
        assert state[key].shape == value.shape, key
        assert torch.equal(state[key], value), key
    state["scalar"].fill_(9)
    assert file.read_bytes() == before


def read_or_refusal(file):
    try:
        return read_state(file)[0], ""
    except CheckpointError as error:
        return {}, str(error)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("bit", range(0, 8, 3))
def test_a_flipped_bit_is_noticed_wherever_it_lies(tmp_path, legacy, bit):
    """In an archive every byte of a record has a checksum; an old stream has none, but its sizes have to agree."""
    file = tmp_path / "w.pt"
    torch.save(
        {"w": torch.arange(40.0), "v": torch.arange(3)}, file, _use_new_zipfile_serialization=not legacy
    )
    whole = file.read_bytes()
    numbers = {"w": torch.arange(40.0), "v": torch.arange(3)}
    for at in range(0, len(whole), 7):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        state, refusal = read_or_refusal(file)
        assert refusal.startswith("Expected ") or state
        assert "\n" not in refusal
        if not legacy:
            assert all(torch.equal(value, numbers[key]) for key, value in state.items() if key in numbers), at


def test_an_archive_without_checksums(tmp_path):
    from torch.serialization import set_crc32_options

    set_crc32_options(False)
    try:
        torch.save({"w": torch.arange(40.0)}, tmp_path / "w.pt")
    finally:
        set_crc32_options(True)
    assert torch.equal(read_state(tmp_path / "w.pt")[0]["w"], torch.arange(40.0))


def test_shards(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "one.safetensors")
    torch.save({"b": torch.ones(3), "elsewhere": torch.ones(1)}, tmp_path / "two.bin")
    index = tmp_path / "model.safetensors.index.json"
    names = {"a": "one.safetensors", "b": "two.bin"}
    index.write_text(json.dumps({"metadata": {"total_size": 20}, "weight_map": names}))
    assert {key: len(value) for key, value in read_state(index)[0].items()} == {"a": 2, "b": 3}
    for changed, words in (
        ({"a": "../one.safetensors"}, "the name of a file in the same folder"),
        ({"a": "gone.safetensors"}, "its file gone.safetensors is not there"),
        ({"c": "one.safetensors"}, "its file one.safetensors lacks c"),
        ({"a": index.name}, "another index"),
        ({}, "at least 1"),
    ):
        index.write_text(json.dumps({"weight_map": changed}))
        with pytest.raises(CheckpointError, match=words):
            read_state(index)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_no_regular_file(tmp_path, make):
    make(tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"expected a regular file, got a (folder|pipe or device)"):
        read_state(tmp_path / "w.pt")


def test_what_claims_more_than_there_is(tmp_path):
    file = tmp_path / "w.safetensors"
    file.write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match=r"its header claims 1,099,511,627,776 of 10 bytes"):
        read_state(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", bytes(10**6))
    with pytest.raises(CheckpointError, match=r"record w/data.pkl is compressed"):
        read_state(file)


class Named:
    """A class of a user's own; reading a file must neither import nor make it."""

    def __init__(self):
        self.weights = {"w": torch.ones(2)}


def test_foreign_objects_are_inert():
    followed = follow(pickle.dumps({"mine": Named(), "n": 3, "when": {1, 2}, "nested": [(1, [2])]}))
    assert isinstance(followed.content["mine"], Foreign)
    assert followed.content["n"] == 3
    assert followed.content["nested"] == [(1, [2])]
    assert [name.rpartition(".")[2] for name in followed.foreign] == ["Named", "_load_from_bytes"]
    assert followed.harmful == []
    assert follow(pickle.dumps(NAMES)).harmful == ["builtins.eval"]


class _Evaluated:
    def __reduce__(self):
        return eval, ("1",)


NAMES = [_Evaluated()]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02]" + b"2" * (MOST + 1) + b".",
        b"\x80\x02" + b"]" * 100_000,
        b"(" * 100_000 + b"t" * 100_001 + b".",
        b"\x80\x04\x96\xff\xff\xff\xff\xff\x00\x00\x00.",
        b"\x80\x02r\xff\xff\xff\xff.",
        b"\x80\x02K\x01r\xff\xff\xff\xff" + b"j\xfe\xff\xff\xff.",
        b"\x82\x01.",
        b"I" + b"9" * 10_000 + b"\n.",
    ],
)
def test_pickles_made_to_harm(data):
    with pytest.raises(PickleError):
        follow(data)


def test_depth_and_cycles(tmp_path):
    deep: dict = {"w": torch.ones(2)}
    deep["model"] = deep
    torch.save(deep, tmp_path / "w.pt")
    assert list(read_state(tmp_path / "w.pt")[0]) == ["w"]
    assert follow(b"]" + b"\x85" * 500_000 + b".").end == 500_002
