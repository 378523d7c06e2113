"""Tables on disk: the same bytes for the same table, exactly the same table back, and what is said of other files."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bundles import as_pair, rewrite
from tests.dissection.tables import PLAIN, same, table_of

from pellucid.data.concepts.base import Concept
from pellucid.dissection.counts import Counts
from pellucid.dissection.storing import TableError, load, read_table, save, summarized, table_files
from pellucid.dissection.table import UnitTable


def stored(table, folder, stem=None):
    return {name: (folder / name).read_bytes() for name in save(table, folder, stem)}


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 9), st.booleans())
def test_round_trip_and_bytes(tmp_path_factory, seed, units, concepts, rich):
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    table = table_of(units, concepts, seed, largest=9, rich=rich)
    files = stored(table, one)
    assert list(files) == ["layer4.1.safetensors"]
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
    assert more[0] - sizes[0] < 9 * 112 * 112 / 8


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
        TableError,
        match=r"Expected one table of `layer1` in .* got `again.safetensors` and `layer1.safetensors`",
    ):
        load(tmp_path)


def test_a_folder_without_tables(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match=r"Expected a folder with unit tables, got .* holds none"):
            load(folder)


def test_other_files_are_not_overwritten(tmp_path):
    table = table_of(2, 3)
    (tmp_path / "weights.safetensors").write_bytes(b"mine")
    (tmp_path / "mine.json").write_text("notes")
    save(table, tmp_path, "mine")
    save(table, tmp_path, "mine")
    for stem, other in (("weights", table), ("mine", dataclasses.replace(table, layer="else"))):
        before = (tmp_path / f"{stem}.safetensors").read_bytes()
        with pytest.raises(
            FileExistsError, match=r"Expected no file or an earlier table of .* try another folder"
        ):
            save(other, tmp_path, stem)
        assert (tmp_path / f"{stem}.safetensors").read_bytes() == before
    assert (tmp_path / "mine.json").read_text() == "notes"


def test_facts_that_json_does_not_have(tmp_path):
    for facts in ({"a": {1, 2}}, {"a": float("nan")}, {"a": np.int64(3)}):
        with pytest.raises(ValueError, match="Expected facts that JSON has, got others"):
            save(table_of(2, 3, facts=facts), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_tables_of_version_1_are_read_and_replaced(tmp_path):
    table = table_of(3, listed=PLAIN, seed=1, rich=True)
    save(table, tmp_path, "x")
    pair = as_pair(tmp_path / "x.safetensors")
    assert same(load(tmp_path, table.layer), table)
    assert table_files(tmp_path) == {table.layer: pair}
    assert same(read_table(tmp_path / "x.safetensors"), table)
    assert save(table, tmp_path, "x") == ["x.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]
    assert same(load(tmp_path, table.layer), table)


def put(name, value):
    def change(file):
        rewrite(file, lambda facts: facts.update({name: value}))

    return change


def put_array(name, place, value):
    def change(file):
        rewrite(file, arrays=lambda arrays: arrays[name].__setitem__(place, value))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "expected a whole safetensors file, got another"),
        (lambda file: file.write_bytes(file.read_bytes()[:900]), "expected a whole safetensors file, got a part of one"),
        (lambda file: rewrite(file, schema=3), "Expected a unit table of version 2 or older, got `.*` of version 3; try"),
        (lambda file: rewrite(file, lambda facts: facts.pop("layer")), "layer: expected a value, got none"),
        (put("chance", "two"), 'chance: expected a whole number, got "two"'),
        (put("units", 4), r"counts.activation: expected an array int64 \[4 3\], got int32 \[3 3\]"),
        (put("units", 10**15), r"units: expected at most 67,108,864 counts in a file of this size, got"),
        (put("chance", 3), r"chance.2.intersection: expected an array int64 \[3 6\], got none"),
        (put("categories", ["x", "y", "z"]), r"categories: expected \[.*\], got \['x', 'y', 'z'\]"),
        (put("concepts", [[1, "a"]]), r'concepts\[0\]: expected a list of 4, got \[1, "a"\]'),
        (put("held_out", [1]), r"held_out: expected a list of 2, got \[1\]"),
        (put("examples", 80), r"examples.masks: expected an array uint8 \[3 … … 10\]"),
        (put("facts", {"network": {"sha256": 5}}), r"facts.network.sha256: expected text or null, got 5"),
        (put_array("counts.activation", (0, 0), -1), "counts.activation: expected values of at least 0, got -1"),
        (put_array("counts.truth", 0, 0), "expected an intersection of at most the concept's pixels, got"),
        (put_array("ranking", (0, 0), 99), "ranking: expected values of at most 5, got 99"),
        (put_array("interval", (0, 0, 0), np.inf), "interval: expected finite values, got NaN or infinity"),
        (put_array("thresholds", 0, np.nan), "thresholds: expected finite values, got NaN or infinity"),
    ],
)  # fmt: skip
def test_damaged_tables(change, message, tmp_path):
    table = table_of(3, listed=PLAIN, seed=1, rich=True)
    save(table, tmp_path, "x")
    change(tmp_path / "x.safetensors")
    with pytest.raises(TableError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "x.safetensors") in str(caught.value)


def test_a_damaged_table_is_not_in_the_way_of_another(tmp_path):
    table = table_of(2, 3)
    save(table, tmp_path)
    save(dataclasses.replace(table, layer="other"), tmp_path)
    file = tmp_path / "other.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
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
    assert (
        len(stored(UnitTable("l", listed, counts), tmp_path)["l.safetensors"]) < 4 * 40 * 50 + 2500
    )  # the names of the concepts among it


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
