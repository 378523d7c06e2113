"""Own documents: strict JSON, and errors of one line that name the path of the field."""

import os
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pytest

from pellucid.core.documents import (
    Count,
    DocumentError,
    FileName,
    FlawError,
    Sha256,
    check_regular,
    convert,
    parse,
    plain,
    read_json,
    refuse_unknown,
)


@dataclass(frozen=True)
class Checked:
    n: int

    def __post_init__(self):
        if self.n < 3:
            raise ValueError(f"Expected `n` of at least 3, got {self.n}.")


class Facts(msgspec.Struct, frozen=True):
    units: Count = 0
    scores: list[float] = []
    pair: tuple[int, int] | None = None
    file: FileName | None = None
    named: dict[str, dict[str, list[int]]] = {}
    order: Literal["up", "down"] = "up"
    inner: Checked = Checked(3)
    numbered: dict[int, str] = {}
    digest: Sha256 = "0" * 64
    any: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"units": "x"}, 'units: expected a whole number, got "x"'),
        ({"units": True}, "units: expected a whole number, got true"),
        ({"units": -1}, "units: expected a whole number of at least 0, got -1"),
        ({"units": 2**60}, f"units: expected a whole number of at most {2**53}, got {2**60}"),
        ({"scores": [0.5, 1, None]}, "scores[2]: expected a number, got null"),
        ({"pair": [1]}, "pair: expected a list of 2, got [1]"),
        ({"pair": "x"}, 'pair: expected a list or null, got "x"'),
        ({"file": "../x"}, 'file: expected the name of a file in the same folder, got "../x"'),
        ({"file": "/x"}, 'file: expected the name of a file in the same folder, got "/x"'),
        ({"file": ".."}, 'file: expected the name of a file in the same folder, got ".."'),
        ({"file": "a\\b"}, 'file: expected the name of a file in the same folder, got "a\\\\b"'),
        ({"file": "a\0b"}, 'file: expected the name of a file in the same folder, got "a\\u0000b"'),
        (
            {"named": {"a": {"b": [1]}, "c [...]": {"d": [1], "e.f": [1, "y"]}}},
            'named["c [...]"]["e.f"][1]: expected a whole number, got "y"',
        ),
        ({"order": "left"}, 'order: expected one of the values it can have, got "left"'),
        ({"inner": {"n": 1}}, "inner: expected `n` of at least 3, got 1"),
        ({"inner": {}}, "inner.n: expected a value, got none"),
        ({"numbered": {"x": "y"}}, 'numbered: expected names that stand for a whole number, got {"x": "y"}'),
        ({"digest": "0" * 63}, f'digest: expected a SHA-256 in hexadecimal digits, got "{"0" * 58}…'),
        ([], "the document: expected an object, got []"),
        (None, "the document: expected an object, got null"),
    ],
)
def test_a_field_that_does_not_fit_is_named_with_its_path(content, says):
    assert convert({}, Facts) == Facts()
    with pytest.raises(FlawError) as caught:
        convert(content, Facts)
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "c: expected the name once in its object, got it 2 times"),
        (b"[1e999]", "expected finite numbers, got 1e999"),
        (b"[NaN]", "expected finite numbers, got NaN"),
        (b"[-Infinity]", "expected finite numbers, got -Infinity"),
        (b"[" * 10**6, "expected at most 64 levels of lists and objects, got more"),
        (b"[" * 65 + b"]" * 65, "expected at most 64 levels of lists and objects, got more"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "expected at most 64 levels of lists and objects, got more"),
        (b"[" + b"9" * 5000 + b"]", "expected whole numbers of at most 64 bits, got one of 5,000 digits"),
        (b'["\xff"]', "expected UTF-8, got byte 0xff at 2"),
        (b'{"\\ud800": 1}', "expected text, got half of a character (a lone surrogate)"),
        (b"", "expected JSON, got something else in line 1 (Expecting value)"),
        (b"{\n1", "expected JSON, got something else in line 2 (Expecting property name enclosed in double quotes)"),
    ],
)  # fmt: skip
def test_json_is_strict(content, says):
    with pytest.raises(FlawError) as caught:
        parse(content)
    assert str(caught.value) == says


def test_unknown_fields_are_refused_where_asked():
    known = {"a": [{"b": 1}, {"b": 2}], "c": None}
    refuse_unknown({"a": [{"b": 1}]}, known)
    with pytest.raises(FlawError, match=r"^a\[1\]\.x: expected no such field$"):
        refuse_unknown({"a": [{}, {"x": 1}]}, known)


def test_sound_json_is_read_as_it_is():
    value = {"a": [1, -2.5, 1e-300, None, True, "Ω \U0001f600", {"": []}]}
    assert parse(msgspec.json.encode(value)) == value
    assert parse(b"\xef\xbb\xbf[1]") == [1]  # an editor's byte order mark
    assert parse(b"[" * 64 + b"]" * 64)


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"^Expected facts, got `.*none`, which is not there; try more\.$"
    ):
        read_json(tmp_path / "none", Facts, "facts", "more")
    with pytest.raises(
        DocumentError, match=r"which is damaged: expected a regular file, got a folder; try more\.$"
    ):
        read_json(tmp_path, Facts, "facts", "more")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DocumentError, match=r"got a pipe or device; try more\.$"):
        read_json(tmp_path / "pipe", Facts, "facts", "more")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DocumentError, match=r"which is damaged: it cannot be read \(.*\); try more\.$"):
        read_json(tmp_path / "loop", Facts, "facts", "more")
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(FlawError, match=r"^expected at most 10 bytes, got 11$"):
        check_regular(tmp_path / "large", 10)


def test_facts_that_json_does_not_have_are_refused():
    assert plain(Facts(pair=(1, 2)))["pair"] == [1, 2]
    for facts in ({"a": float("nan")}, {"a": object()}):
        with pytest.raises(ValueError, match=r"^Expected facts that JSON has, got others"):
            plain(facts)
