"""Class names by index, from every form in which tools keep them; what has no order is refused in one line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.core.class_names import _from_table, names_by_index, read_names

NAMES = ("cat", "dog", "great owl")
ID = {0: "cat", 1: "dog", 2: "great owl"}
INDEX = {"dog": 1, "great owl": 2, "cat": 0}


@pytest.mark.parametrize(
    "given",
    [
        list(NAMES), NAMES, iter(NAMES), np.array(NAMES), ID, dict(reversed(ID.items())), {str(k): v for k, v in ID.items()},
        {np.int64(k): v for k, v in ID.items()}, INDEX, {name: np.int64(index) for name, index in INDEX.items()}, ID.values(),
        [{"id": 2, "name": "great owl"}, {"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
        {"0": ["n1", "cat"], "1": ["n2", "dog"], "2": ["n3", "great owl"]},
    ],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
def test_right_by_index(given):
    assert names_by_index(given) == NAMES


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (set(NAMES), "got a set, which has none"),
        (frozenset(NAMES), "got a frozenset"),
        (ID.keys(), "got a dict_keys"),
        ({0: "cat", 2: "owl"}, "none for 1 \\(the highest is 2\\)"),
        ({1: "cat", 2: "dog"}, "none for 0 \\(they start at 1\\)"),
        ({"0": "cat", 0: "dog"}, "none for 1 \\(one is there twice\\)"),
        ({-1: "cat", 0: "dog"}, "names by index"),
        ({"cat": 0, "dog": 0}, "one is there twice"),
        ({"cat": "dog"}, "keys such as 'cat'"),
        ({"cat": 0.5}, "keys such as 'cat'"),
        ({}, "none; try"),
        (["cat", None], "number 1, got NoneType"),
        (["cat", ""], "number 1, got an empty one"),
        (["cat", b"dog"], "got bytes"),
        ("cat", "got str"),
        (3, "got int"),
        ([{"id": 0, "title": "x"}, {"id": 1}], "another at number 1"),
    ],
)
def test_what_has_no_order_is_refused(given, said):
    with pytest.raises(ValueError, match=said) as caught:
        names_by_index(given)
    assert str(caught.value).startswith("Expected ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.txt", "cat\ndog\ngreat owl\n"),
        ("c.txt", "\ufeffcat\r\ndog\r\ngreat owl"),
        ("c.txt", "2 great owl\n0 cat\n1: dog\n"),
        ("c.csv", "index,name\n1,dog\n0,cat\n2,great owl\n"),
        ("c.csv", "\ufeffname\ncat\ndog\ngreat owl\n"),
        ("c.csv", "0;cat\n1;dog\n2;great owl\n"),
        ("c.csv", "class_id,wnid,class_name\n0,n1,cat\n1,n2,dog\n2,n3,great owl\n"),
        ("c.csv", '"cat",0\n"dog",1\n"great owl",2\n'),
        ("c.tsv", "label\tid\ngreat owl\t2\ncat\t0\ndog\t1\n"),
        ("c.json", json.dumps(ID)),
        ("c.json", "\ufeff" + json.dumps(list(NAMES))),
        ("config.json", json.dumps({"architectures": ["x"], "id2label": ID, "label2id": INDEX})),
        ("c.json", json.dumps({"class_to_idx": INDEX})),
        (
            "c.json",
            json.dumps({"categories": [{"id": index, "name": name} for name, index in INDEX.items()]}),
        ),
        ("c.txt", json.dumps(ID)),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_files_right_by_index(tmp_path: Path, name, content, encoding):
    (tmp_path / name).write_bytes(
        content.removeprefix("\ufeff" if encoding == "utf-16" else "").encode(encoding)
    )
    assert read_names(tmp_path / name) == NAMES


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("c.json", b'{"0": "cat", "2": "owl"}', "none for 1"),
        ("c.json", b'{"0": "cat", "0": "owl"}', "got '0' twice"),
        ("c.json", b"3", "got int"),
        ("c.json", b"{", "got something else"),
        ("c.json", b"[" * 100_000, "nested too deep"),
        ("c.txt", b"\xff\xfecat", "not|zero"),
        ("c.txt", b"c\0at", "zero bytes"),
        ("c.txt", b"caf\xe9", "UTF-8"),
        ("c.csv", b"a,b\n1,2,3\n", "rows of 2 cells"),
        ("c.csv", b"x,y,z\np,q,r\n", "cannot be told"),
        ("c.csv", b"0,cat\n2,dog\n", "none for 1"),
        ("c.csv", b"", "empty file"),
        ("c.csv", b'"cat\n', "damaged table"),
    ],
)
def test_damaged_files_are_refused_in_a_line(tmp_path: Path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_names(tmp_path / name)
    assert str(caught.value).startswith("Expected ")
    assert "\n" not in str(caught.value)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)


def test_names_may_be_digits():
    assert names_by_index({"0": 0, "1": 1, "10": 2, "2": 3}) == ("0", "1", "10", "2")


@given(st.lists(WORDS, min_size=1, unique=True), st.randoms())
def test_any_order_of_rows_gives_the_same_names(names, random):
    pairs = list(enumerate(names))
    random.shuffle(pairs)
    assert names_by_index(dict(pairs)) == tuple(names)
    assert names_by_index({name: index for index, name in pairs}) == tuple(names)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["index", "name"])
    writer.writerows(pairs)
    assert _from_table(text.getvalue(), "a table") == tuple(names)
