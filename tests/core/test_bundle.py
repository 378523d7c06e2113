"""Bundles: facts and arrays in one file, or in the two of version 1."""

import hashlib
import json

import msgspec
import numpy as np
import pytest
import torch
from safetensors.numpy import save, save_file

from pellucid.core.bundle import Arrays, Kind, digest, kind_of, read_header
from pellucid.core.documents import DocumentError, FlawError


class Facts(msgspec.Struct, frozen=True):
    layer: str
    units: int
    more: dict[str, float] = {}


class OwnError(DocumentError):
    pass


KIND = Kind("pellucid table", 2, Facts, "measuring again", OwnError)
FACTS = Facts("features.3", 4, {"b": 0.5, "a": 1.0})


@pytest.fixture
def file(tmp_path):
    arrays = {
        "counts": np.arange(12).reshape(4, 3),
        "scores": torch.rand(3, 4, generator=torch.manual_seed(0)).T,
    }
    return KIND.write(tmp_path / "deep" / "x.safetensors", FACTS, arrays)


def pair(folder, schema=1, **changes):
    """The two files of version 1."""
    arrays = save({"counts": np.arange(3)})
    facts = {
        "kind": KIND.name,
        "schema": schema,
        "layer": "l",
        "units": 4,
        "sha256": hashlib.sha256(arrays).hexdigest(),
    }
    (folder / "old.safetensors").write_bytes(arrays)
    (folder / "old.json").write_text(json.dumps({**facts, **changes}))
    return folder / "old.json"


def test_what_is_written_is_read_and_equal_tables_give_equal_bytes(file, tmp_path):
    read = KIND.read(file)
    assert (read.kind, read.schema, read.facts) == ("pellucid table", 2, FACTS)
    assert KIND.glance(file) == FACTS
    assert read.arrays["scores"].shape == (4, 3)
    again = KIND.write(tmp_path / "again.safetensors", read.facts, dict(reversed(read.arrays.items())))
    assert again.read_bytes() == file.read_bytes()
    assert read_header(file)[1] == {"counts": ("I64", (4, 3)), "scores": ("F32", (4, 3))}


def test_arrays_of_one_value_of_bfloat16_and_shared_memory(tmp_path):
    shared = torch.arange(4)
    arrays = {
        "one": np.array(5),
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
        "a": shared,
        "b": shared[1:],
    }
    read = KIND.read(KIND.write(tmp_path / "x.safetensors", FACTS, arrays)).arrays
    assert read["one"].shape == ()
    assert read["half"].tolist() == [1.5]
    assert read["b"].tolist() == [1, 2, 3]


def test_two_files_of_version_1_are_read_by_either_name(tmp_path):
    file = pair(tmp_path)
    for name in (file, file.with_suffix(".safetensors")):
        read = KIND.read(name)
        assert read.facts == Facts("l", 4)
        assert KIND.glance(name) == read.facts
        assert read.arrays["counts"].tolist() == [0, 1, 2]
    assert list(KIND.files(tmp_path)) == [file]


@pytest.mark.parametrize("length", [0, 7, 8, 40, 150, -1])
def test_a_part_of_a_file_is_refused_in_one_line(file, length):
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(OwnError) as caught:
        KIND.read(file)
    text = str(caught.value)
    assert text.startswith(
        f"Expected a table, got `{file}`, which is damaged: expected a whole safetensors file, got "
    )
    assert text.endswith("; try measuring again.")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"layer": 3}, "is damaged: layer: expected text, got 3;"),
        ({"units": "x"}, 'is damaged: units: expected a whole number, got "x";'),
        ({"more": {"a": 1, "b": "y"}}, 'is damaged: more.b: expected a number, got "y";'),
        ({"kind": "pellucid patterns"}, r"which is something else (pellucid patterns)."),
        ({"kind": 3}, "which is something else (without facts of pellucid)."),
        ({"schema": "1"}, 'is damaged: schema: expected a whole number, got "1";'),
        ({"schema": 3}, "Expected a table of version 2 or older, got `"),
        ({"schema": 0}, "of version 0; try the pellucid that wrote it, or a newer one."),
        ({"sha256": "0" * 64}, "expected the arrays in `old.safetensors` that it was written with, got others;"),
        ({"sha256": 0}, "expected the arrays in `old.safetensors` that it was written with, got others;"),
    ],
)  # fmt: skip
def test_facts_that_do_not_fit_are_refused_with_the_path_of_the_field(tmp_path, changes, says):
    with pytest.raises(OwnError) as caught:
        KIND.read(pair(tmp_path, **changes))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arrays_that_changed_on_the_way_are_noticed(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(OwnError, match="sha256: expected the arrays that it was written with, got others"):
        KIND.read(file)


def test_files_that_are_not_of_the_kind(tmp_path):
    (tmp_path / "notes.json").write_text("no JSON")
    (tmp_path / "weights.safetensors").write_bytes(b"damaged")
    save_file({"a": np.zeros(2)}, tmp_path / "other.safetensors")
    Kind("pellucid other", 2, Facts, "more").write(tmp_path / "third.safetensors", FACTS, {})
    assert list(KIND.files(tmp_path)) == []
    assert kind_of(tmp_path / "third.safetensors") == "pellucid other"
    with pytest.raises(
        OwnError,
        match=r"Expected a table, got `.*other.*`, which is something else \(without facts of pellucid\)",
    ):
        KIND.read(tmp_path / "other.safetensors")
    with pytest.raises(
        FileNotFoundError,
        match=r"^Expected a table, got `.*none.safetensors`, which is not there; try measuring",
    ):
        KIND.read(tmp_path / "none.safetensors")
    pair(tmp_path).write_text("{")
    assert list(KIND.files(tmp_path)) == [tmp_path / "old.json"]  # it may be one, and is said to be damaged


def test_hostile_headers_are_refused_before_anything_is_made(tmp_path):
    file = tmp_path / "x.safetensors"
    for content, says in (
        ((1 << 40).to_bytes(8, "little"), r"expected safetensors with a header of at most 67,108,864 bytes"),
        (
            header('{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "a": 1}'),
            r"a: expected the name once",
        ),
        (header('{"__metadata__": {"bundle": "{\\"kind\\": 1}"}}'), r"kind: expected text, got 1"),
        (header('{"__metadata__": {"bundle": 1}}'), r"bundle: expected text, got 1"),
        (header('{"__metadata__": {"bundle": "[NaN]"}}'), r"expected finite numbers, got NaN"),
        (
            header('{"a": {"dtype": "F32", "shape": [99999999999], "data_offsets": [0, 4]}}'),
            r"which is something else",
        ),
        (header("[" * 10**5), r"expected at most 64 levels"),
    ):
        file.write_bytes(content)
        with pytest.raises(OwnError, match=says):
            KIND.read(file)
    arrays = {"a": np.zeros(3, np.float32)}
    head = {"kind": "pellucid table", "schema": 2, "sha256": digest(arrays)}
    file.write_bytes(save(arrays, {"bundle": json.dumps(head)}))
    with pytest.raises(OwnError, match=r"layer: expected a value, got none"):
        KIND.read(file)


def header(text):
    return len(text).to_bytes(8, "little") + text.encode() + bytes(64)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("b", "int64", (4, 3)), "b: expected an array int64 [4 3], got none"),
        (("a", "int64", (4, None)), "a: expected an array int64 [4 …], got float64 [2 2]"),
        (("a", "float32", (2, 2)), "a: expected an array float32 [2 2], got float64 [2 2]"),
        (("a", "float64", (2,)), "a: expected an array float64 [2], got float64 [2 2]"),
        (("a", "float64", (2, 2)), "a: expected finite values, got NaN or infinity"),
        (("i", "float64", (1,)), "i: expected finite values, got NaN or infinity"),
        (("c", "int64", (3,), 0), "c: expected values of at least 0, got -1"),
        (("c", "int64", (3,), None, 1), "c: expected values of at most 1, got 2"),
    ],
)
def test_an_array_is_taken_with_its_type_shape_and_range(arguments, says):
    arrays = Arrays(
        a=np.array([[1.0, np.nan], [0.0, 2.0]]), c=np.array([-1, 0, 2], np.int32), i=np.array([np.inf])
    )
    with pytest.raises(FlawError) as caught:
        arrays.take(*arguments)
    assert str(caught.value) == says


def test_unknown_values_are_taken_where_they_may_be():
    arrays = Arrays(a=np.array([[1.0, np.nan], [0.0, 2.0]]), none=np.zeros((0, 2)))
    assert np.isnan(arrays.take("a", "float64", (2, 2), 0, 2, nan=True)).sum() == 1
    assert arrays.take("none", "float64", (None, 2)).shape == (0, 2)
    assert arrays.optional("b", "int64", (1,)) is None
    with pytest.raises(FlawError, match="at most 1, got 2"):
        arrays.optional("a", "float64", (2, 2), 0, 1, nan=True)
