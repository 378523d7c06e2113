"""Tables on disk: the same bytes for the same table, exactly the same table back, and what is said of other files."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dissection.tables import PLAIN, same, table_of

from pellucid.data.concepts.base import Concept
from pellucid.dissection.counts import Counts
from pellucid.dissection.storing import TableError, load, save, summarized
from pellucid.dissection.table import UnitTable


def stored(table, folder, stem=None):
    return {name: (folder / name).read_bytes() for name in save(table, folder, stem)}


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 9), st.booleans())
def test_round_trip_and_bytes(tmp_path_factory, seed, units, concepts, rich):
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    table = table_of(units, concepts, seed, largest=9, rich=rich)
    files = stored(table, one)
    assert list(files) == ["layer4.1.json", "layer4.1.safetensors"]
    assert same(load(one, "layer4.1"), table)
    assert stored(load(one)["layer4.1"], other) == files
    twin = table_of(units, concepts, seed, largest=9, rich=rich)
    mixed = dataclasses.replace(twin, facts=dict(reversed(twin.facts.items())))
    assert stored(mixed, one) == files
    assert sorted(path.name for path in one.iterdir()) == sorted(files)


@pytest.mark.parametrize(
    "absent", ["thresholds", "held_out", "chance", "ranking", "interval", "examples", "facts"]
)
def test_whatever_is_not_there_stays_away(absent, tmp_path):
    empty = {"chance": (), "facts": {}}.get(absent)
    table = table_of(3, 5, 1, rich=True, complete=False, **{absent: empty})
    save(table, tmp_path)
    assert same(load(tmp_path, table.layer), table)


def test_examples_that_are_none_and_masks_of_odd_width(tmp_path):
    table = table_of(3, 4, rich=True)
    assert (table.examples.images == -1).any()
    assert table.examples.masks.shape[-1] % 8
    sizes = [len(content) for content in stored(table, tmp_path).values()]
    assert same(load(tmp_path, table.layer).examples, table.examples)
    wide = dataclasses.replace(table.examples, masks=np.zeros((3, 3, 112, 112), bool))
    more = [len(c) for c in stored(dataclasses.replace(table, examples=wide), tmp_path).values()]
    assert more[1] - sizes[1] < 9 * 112 * 112 / 8


def test_counts_that_need_more_than_32_bits(tmp_path):
    counts = Counts(np.array([[2**40, 3]]), np.array([[2**41]]), np.array([2**40, 2**31 - 1]))
    table = UnitTable("l", (Concept(1, "a", "object"), Concept(2, "b", "object")), counts)
    save(table, tmp_path)
    assert same(load(tmp_path, "l"), table)


@pytest.mark.parametrize("units", [1, 2])
def test_tables_of_one_concept_and_of_nothing(units, tmp_path):
    table = UnitTable("l", (Concept(1, "a", "object"),), Counts.zeros(units, 1, 1))
    save(table, tmp_path)
    assert same(load(tmp_path, "l"), table)
    assert same(summarized(table), dataclasses.replace(table, complete=False))


def test_several_layers_in_a_folder_beside_other_files(tmp_path):
    names = ["layer1", "a/b", "a-b", "é", "..", ""]
    tables = {name: table_of(2, 3, k, layer=name) for k, name in enumerate(names)}
    for table in tables.values():
        save(table, tmp_path)
    (tmp_path / "run.json").write_text('{"schema": 1}')
    (tmp_path / "notes.json").write_text("no JSON at all")
    found = load(tmp_path)
    assert set(found) == set(names)
    assert all(same(found[name], tables[name]) for name in names)
    with pytest.raises(
        KeyError, match=r"Expected a layer with a table in .* got `layer2`; did you mean `layer1`"
    ):
        load(tmp_path, "layer2")
    save(tables["layer1"], tmp_path, "again")
    with pytest.raises(
        TableError, match=r"Expected one table of `layer1` in .* got `again.json` and `layer1.json`"
    ):
        load(tmp_path)


def test_a_folder_without_tables(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match=r"Expected a folder with unit tables, got .* holds none"):
            load(folder)


def test_other_files_are_not_overwritten(tmp_path):
    table = table_of(2, 3)
    (tmp_path / "run.json").write_text('{"schema": 1}')
    save(table, tmp_path, "mine")
    save(table, tmp_path, "mine")
    for stem, other in (("run", table), ("mine", dataclasses.replace(table, layer="else"))):
        before = (tmp_path / f"{stem}.json").read_bytes()
        with pytest.raises(
            FileExistsError, match=r"Expected no file or an earlier table of .* try another folder"
        ):
            save(other, tmp_path, stem)
        assert (tmp_path / f"{stem}.json").read_bytes() == before


def test_facts_that_json_does_not_have(tmp_path):
    for facts in ({"a": {1, 2}}, {"a": float("nan")}, {"a": np.int64(3)}):
        with pytest.raises(ValueError, match="Expected facts that JSON has, got others"):
            save(table_of(2, 3, facts=facts), tmp_path)
    assert list(tmp_path.iterdir()) == []


def edit(name, value):
    def change(json_file, arrays):
        content = json.loads(json_file.read_text())
        content[name] = value
        if value is None:
            del content[name]
        json_file.write_text(json.dumps(content))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file, arrays: file.write_text("{"), "Expected JSON in the unit table .*x.json.* cannot be read"),
        (lambda file, arrays: arrays.unlink(), "Expected its arrays in `x.safetensors` in the unit table .* got none"),
        (lambda file, arrays: arrays.write_bytes(arrays.read_bytes()[:-1]), "Expected the arrays that `x.json` was written with"),
        (edit("schema", 2), "Expected a unit table of schema 1, got .*x.json` of schema 2; try"),
        (edit("layer", None), "Expected the field `layer` in the unit table .* got 'none'"),
        (edit("chance", "two"), "Expected the field `chance` in the unit table .* got 'two'"),
        (edit("units", 4), r"Expected `counts.activation` of shape \(4, 3\) in the unit table .* got int32 of \(3, 3\)"),
        (edit("chance", 3), "Expected the array `chance.2.* in the unit table .* got none"),
        (edit("categories", ["x", "y", "z"]), "Expected the categories .* got .'x', 'y', 'z'"),
        (edit("concepts", [[1, "a"]]), "Expected fields that fit together in the unit table"),
        (edit("held_out", [1]), "Expected fields that fit together in the unit table"),
        (edit("examples", 80), "Expected `examples.masks` of shape"),
    ],
)  # fmt: skip
def test_damaged_tables(change, message, tmp_path):
    table = table_of(3, listed=PLAIN, seed=1, rich=True)
    save(table, tmp_path, "x")
    change(tmp_path / "x.json", tmp_path / "x.safetensors")
    with pytest.raises(TableError, match=message):
        load(tmp_path)


def test_a_damaged_table_is_not_in_the_way_of_another(tmp_path):
    table = table_of(2, 3)
    save(table, tmp_path)
    save(dataclasses.replace(table, layer="other"), tmp_path)
    (tmp_path / "other.json").write_text("{")
    assert same(load(tmp_path, table.layer), table)
    with pytest.raises(TableError):
        load(tmp_path, "other")


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 9), st.integers(1, 4))
def test_a_summary_says_the_same(seed, units, concepts, candidates):
    table = table_of(units, concepts, seed, largest=9, rich=True)
    small = summarized(table, candidates)
    assert not small.complete
    assert small.examples is None
    for name in ("label", "score", "held_out_scores", "chance_scores", "thresholds", "ranking", "interval"):
        assert np.array_equal(getattr(small, name), getattr(table, name))
    for threshold in (0.0, 0.1, 0.3):
        assert small.unique_by_category(threshold) == table.unique_by_category(threshold)
        assert small.by_category(threshold) == table.by_category(threshold)
        assert small.expected_by_chance(threshold) == table.expected_by_chance(threshold)
    for unit in range(units):
        assert small.candidates(unit, candidates) == table.candidates(unit, candidates)
        assert small.held_out_score(unit) == table.held_out_score(unit)


def test_a_full_matrix_takes_four_bytes_a_pair(tmp_path):
    listed = tuple(Concept(k + 1, f"{k}", "object") for k in range(50))
    counts = Counts(np.full((40, 50), 3), np.full((40, 1), 9), np.full(50, 9))
    assert len(stored(UnitTable("l", listed, counts), tmp_path)["l.safetensors"]) < 4 * 40 * 50 + 1000


def test_a_summary_is_small(tmp_path):
    names = [f"concept {k}" for k in range(1200)]
    listed = tuple(Concept(k + 1, name, f"kind {k % 6}") for k, name in enumerate(names))
    table = table_of(128, listed=listed, rich=True)
    whole = sum(map(len, stored(table, tmp_path, "whole").values()))
    small = summarized(table)
    parts = sum(map(len, stored(small, tmp_path / "small").values()))
    assert parts < 250_000 < 2_000_000 < whole
    assert same(load(tmp_path / "small", table.layer), small)
    with pytest.raises(ValueError, match="Expected at least one candidate for every unit, got 0"):
        summarized(table, 0)
