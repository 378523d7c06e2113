"""Questions to a table against the same questions in plain loops, and tables that are added up."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dissection.tables import PLAIN, counts_of, same, table_of

from pellucid.data.concepts.base import Concept, places_of
from pellucid.dissection.counts import Counts
from pellucid.dissection.merging import merge
from pellucid.dissection.storing import load, save, summarized
from pellucid.dissection.table import Examples, UnitTable

query, filter_units = UnitTable.query, UnitTable.filter

SEEDS = st.integers(0, 10**6)


@settings(deadline=None)
@given(SEEDS, st.sampled_from([0.0, 0.04, 0.25, 0.5]), st.booleans(), st.sampled_from([None, 0, 2]))
def test_query_is_every_pair_above_the_minimum(seed, minimum, inclusive, unit):
    table = table_of(3, 7, seed, largest=8)
    for category in (None, *table.categories):
        found = query(table, category=category, minimum=minimum, inclusive=inclusive, unit=unit)
        expected = {
            (k, c)
            for k in range(3)
            for c, concept in enumerate(table.concepts)
            if unit in (None, k) and category in (None, concept.category)
            and table.iou[k, c] > 0
            and (table.iou[k, c] > minimum or (inclusive and table.iou[k, c] == minimum))
        }  # fmt: skip
        pairs = [(entry.unit, table.concepts.index(entry.concept)) for entry in found]
        assert set(pairs) == expected
        assert pairs == sorted(pairs, key=lambda pair: (-table.iou[pair], pair))
        assert found == [table.detection(*pair) for pair in pairs]


def test_concepts_are_found_by_name_or_synonym():
    assert places_of(PLAIN, "wheel") == places_of(PLAIN, "TYRE") == [0]
    assert places_of(PLAIN, "car") == [1]  # a name goes before the synonym of another
    assert places_of(PLAIN, "automobile") == [1]
    assert places_of(PLAIN, "street lamp") == places_of(PLAIN, "Street_Lamp") == [2]
    assert places_of(PLAIN, "tile") == [3, 4]
    assert places_of(PLAIN, "tile", "object") == [4]
    table = table_of(4, listed=PLAIN, seed=3)
    assert query(table, concept="tire", minimum=0) == query(table, concept="wheel", minimum=0) != []
    both = query(table, concept="tile", minimum=0)
    assert {entry.concept.category for entry in both} == {"part", "object"}
    assert query(table, concept="tile", category="part", minimum=0) == [
        entry for entry in both if entry.concept.category == "part"
    ]


def test_unknown_names():
    table = table_of(4, listed=PLAIN)
    for ask in (query, filter_units):
        with pytest.raises(
            KeyError, match="Expected the name of a concept, got `whel`; did you mean `wheel`"
        ):
            ask(table, concept="whel")
        with pytest.raises(
            KeyError,
            match="of a concept of the category `weather`, got `car`; try one of `fog`",
        ):
            ask(table, concept="car", category="weather")
        for concept in (None, "car"):
            with pytest.raises(KeyError, match="Expected a category, got `objects`; did you mean `object`"):
                ask(table, concept=concept, category="objects")
    with pytest.raises(IndexError, match=r"Expected a unit of `layer4.1` from 0 to 3, got 4"):
        query(table, unit=4)


@settings(deadline=None)
@given(SEEDS, st.sampled_from([0.0, 0.1, 0.25]), st.booleans())
def test_filter_goes_by_the_label(seed, minimum, inclusive):
    table = table_of(6, 4, seed, largest=8, rich=True)

    def above(value):
        return value > minimum or (inclusive and value == minimum)

    for category in table.categories:
        for held_out in (None, minimum):
            units = filter_units(
                table, category=category, minimum=minimum, held_out=held_out, inclusive=inclusive
            )
            assert units == [
                k
                for k in range(6)
                if table.concepts[table.label[k]].category == category
                and above(table.score[k])
                and (held_out is None or above(table.held_out_score(k)[1]))
            ]
    for concept in table.concepts:
        units = filter_units(table, concept=concept.name, minimum=minimum)
        assert all(table.concepts[table.label[k]] == concept for k in units)


def test_filter_by_what_was_not_held_out():
    with pytest.raises(
        ValueError, match=r"Expected a table with a held-out part, got one of `layer4.1` without"
    ):
        filter_units(table_of(), held_out=0.04)


def test_a_summary_answers_for_what_it_keeps():
    table = table_of(6, 30, 4)
    small = summarized(table, 2)
    assert filter_units(small) == filter_units(table)
    assert set(query(small)) < set(query(table))


@pytest.mark.parametrize("units", [1, 3])
def test_a_table_of_nothing(units):
    table = UnitTable("l", (Concept(1, "a", "object"),), Counts.zeros(units, 1, 1))
    assert query(table, concept="a", minimum=0, inclusive=True) == []
    assert filter_units(table, minimum=0) == []
    assert same(merge([table, table]).counts, table.counts)


def parts_of(count, seed, rich=True):
    """Tables of one dissection over different pictures."""
    first = table_of(3, 5, seed, rich=rich)
    rng = np.random.default_rng(seed)
    parts = [first]
    for k in range(1, count):
        own = [counts_of(3, first.concepts, rng) for _ in range(5)]
        other = dataclasses.replace(first, counts=own[0], facts={**first.facts, "shard": k})
        if rich:
            shuffled = rng.permuted(first.examples.images, axis=1)
            images = np.where(shuffled < 0, -1, shuffled + 100 * k)
            maxima = (rng.integers(0, 4, (3, 3)) / 4).astype(np.float32)
            held = dataclasses.replace(first.held_out, fit=own[1], held=own[2], images=(7 * k, k))
            examples = Examples(
                images, np.where(images < 0, np.float32(0), maxima), rng.random((3, 3, 5, 11)) < 0.5
            )
            other = dataclasses.replace(other, held_out=held, chance=tuple(own[3:]), examples=examples)
        parts.append(other)
    return parts


def written(table, folder):
    return {name: (folder / name).read_bytes() for name in save(table, folder)}


@settings(deadline=None)
@given(SEEDS, st.permutations(range(4)), st.booleans())
def test_merging_in_any_order_and_grouping(tmp_path_factory, seed, order, rich):
    folder = tmp_path_factory.mktemp("merged")
    parts = parts_of(4, seed, rich)
    all_at_once = merge(parts)
    mixed = [parts[k] for k in order]
    grouped = merge([merge(mixed[:2]), merge(mixed[2:])])
    assert same(grouped, all_at_once)
    assert written(grouped, folder) == written(all_at_once, folder)
    assert same(load(folder, all_at_once.layer), all_at_once)
    assert same(merge(iter(mixed)), all_at_once)


def test_what_a_merged_table_holds():
    parts = parts_of(3, 5)
    merged = merge(parts)
    assert np.array_equal(merged.counts.intersection, sum(part.counts.intersection for part in parts))
    assert np.array_equal(merged.held_out.held.truth, sum(part.held_out.held.truth for part in parts))
    assert np.array_equal(merged.held_out.fit.activation, sum(part.held_out.fit.activation for part in parts))
    assert merged.held_out.images == (70 + 7 + 14, 30 + 1 + 2)
    for draw in range(2):
        total = sum(part.chance[draw].intersection for part in parts)
        assert np.array_equal(merged.chance[draw].intersection, total)
    assert merged.ranking is merged.interval is None
    assert np.array_equal(merged.thresholds, parts[0].thresholds)
    assert merged.facts == {**parts[0].facts, "merged": [{"shard": 1}, {"shard": 2}, {}]}
    for unit in range(3):
        ranked = sorted(
            (
                -part.examples.maxima[unit, k],
                part.examples.images[unit, k],
                part.examples.masks[unit, k].tobytes(),
            )
            for part in parts
            for k in range(3)
            if part.examples.images[unit, k] >= 0
        )[:3]
        assert merged.examples.images[unit].tolist() == [image for _, image, _ in ranked]
        assert merged.examples.maxima[unit].tolist() == [-maximum for maximum, *_ in ranked]
        assert [mask.tobytes() for mask in merged.examples.masks[unit]] == [mask for *_, mask in ranked]


def test_pictures_that_are_none_stay_last():
    parts = parts_of(2, 5)
    few = [
        dataclasses.replace(part, examples=dataclasses.replace(
            part.examples,
            images=np.where(np.arange(3) < 1, part.examples.images, -1),
            maxima=np.tile(np.float32([-2, 0, 0]), (3, 1)),
        ))
        for part in parts
    ]  # fmt: skip
    for entry in few:
        entry.examples.images[:, 0] = np.abs(entry.examples.images[:, 0])
    assert (merge(few).examples.images >= 0).tolist() == [[True, True, False]] * 3


def test_one_table_merges_to_itself():
    table = table_of(rich=True)
    assert merge([table]) is table


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layer": "other"}, "the same layer to merge, got layer4.1 and other"),
        ({"concepts": PLAIN[:5]}, "the same list of concepts"),
        ({"thresholds": np.zeros(3, np.float32)}, "the same thresholds to merge"),
        ({"thresholds": None}, "the same thresholds to merge"),
        ({"held_out": None}, "the same held-out thresholds"),
        ({"chance": ()}, "the same number of draws by chance to merge, got 2 and 0"),
        ({"examples": None}, "the same number and size of examples"),
    ],
)
def test_tables_that_cannot_be_added(changed, message):
    one, other = parts_of(2, 1)
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        merge([one, dataclasses.replace(other, **changed)])


def test_a_summary_cannot_be_added():
    one, other = parts_of(2, 1)
    for pair in ((one, summarized(other)), (summarized(one), other)):
        small = [dataclasses.replace(part, examples=None) for part in pair]
        with pytest.raises(
            ValueError, match="Expected complete tables to merge, got one that keeps the best"
        ):
            merge(small)


def test_other_units_and_nothing_at_all():
    with pytest.raises(ValueError, match="the same number of units to merge, got 3 and 4"):
        merge([table_of(3), table_of(4)])
    with pytest.raises(ValueError, match="Expected tables to merge, got none"):
        merge([])


def test_a_picture_in_two_tables():
    one, other = parts_of(2, 1)
    images = other.examples.images.copy()
    images[1, 1] = one.examples.images[2, 0]
    twice = dataclasses.replace(other, examples=dataclasses.replace(other.examples, images=images))
    with pytest.raises(ValueError, match=f"different pictures, got picture {images[1, 1]} in two of them"):
        merge([one, twice])
