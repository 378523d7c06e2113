"""`UnitTable` against its rules spelled out on made-up counts."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dissection.tables import table_of

from pellucid.data.concepts.base import Concept
from pellucid.dissection.counts import Counts
from pellucid.dissection.table import UnitTable

SEEDS = st.integers(0, 10**6)


def iou(table, unit, concept):
    """Of one pair, in whole numbers to the last step."""
    kinds = [entry.category for entry in table.concepts]
    column = list(dict.fromkeys(kinds)).index(kinds[concept])
    inter = int(table.counts.intersection[unit, concept])
    union = int(table.counts.activation[unit, column]) + int(table.counts.truth[concept]) - inter
    return inter / union if union else 0.0


def best(table, unit, category=None):
    """(IoU, place) of the best concept; the lower place of equal ones."""
    found = (-1.0, -1)
    for place, concept in enumerate(table.concepts):
        if category in (None, concept.category) and iou(table, unit, place) > found[0]:
            found = iou(table, unit, place), place
    return found


def passes(value, threshold, inclusive):
    return value >= threshold if inclusive else value > threshold


@settings(deadline=None)
@given(
    SEEDS, st.integers(1, 6), st.integers(1, 7), st.sampled_from([0.0, 0.04, 0.2, 0.25, 0.5]), st.booleans()
)
def test_scoring_and_both_rules_as_they_are_written(seed, units, concepts, threshold, inclusive):
    table = table_of(units, concepts, seed, largest=8)
    chosen = [best(table, unit) for unit in range(units)]
    assert table.score.tolist() == [score for score, _ in chosen]
    assert table.label.tolist() == [place for _, place in chosen]
    above = [passes(score, threshold, inclusive) for score, _ in chosen]
    assert table.detectors(threshold, inclusive=inclusive).tolist() == above
    tops = {place for (_, place), own in zip(chosen, above, strict=True) if own}
    assert table.unique("top-label", threshold, inclusive=inclusive) == len(tops)
    released = {}
    for category in table.categories:
        inner = [best(table, unit, category) for unit in range(units)]
        released[category] = len({place for score, place in inner if passes(score, threshold, inclusive)})
    assert table.unique_by_category(threshold, inclusive=inclusive) == released
    assert table.unique("released", threshold, inclusive=inclusive) == sum(released.values())
    if not inclusive:
        for category, entry in table.by_category(threshold).items():
            mine = [place for (_, place), own in zip(chosen, above, strict=True) if own]
            mine = [place for place in mine if table.concepts[place].category == category]
            assert entry == {"detectors": len(mine), "unique": len(set(mine))}


@settings(deadline=None)
@given(SEEDS, st.integers(2, 6))
def test_the_order_of_concepts_decides_ties_only(seed, concepts):
    table = table_of(4, concepts, seed, largest=6)
    order = np.random.default_rng(seed).permutation(concepts)
    named = tuple(table.concepts[k] for k in order)
    categories = list(dict.fromkeys(concept.category for concept in named))
    columns = [table.categories.index(name) for name in categories]
    counts = table.counts
    mixed = UnitTable(
        table.layer,
        named,
        Counts(counts.intersection[:, order], counts.activation[:, columns], counts.truth[order]),
    )
    assert np.array_equal(mixed.iou, table.iou[:, order])
    assert np.array_equal(mixed.score, table.score)
    assert np.array_equal(mixed.detectors(0.2), table.detectors(0.2))
    for unit in range(4):
        if (table.iou[unit] == table.score[unit]).sum() == 1:
            assert mixed.concepts[mixed.label[unit]] == table.concepts[table.label[unit]]


def tied(first="object", second="object", intersection=(2, 2)):
    concepts = (Concept(4, "a", first), Concept(9, "b", second))
    categories = len({first, second})
    return UnitTable(
        "l",
        concepts,
        Counts(np.array([intersection]), np.full((1, categories), 25), np.array([27, 27])),
    )


def test_a_tie_goes_to_the_lower_number():
    for second in ("object", "part"):
        assert tied(second=second).label.tolist() == [0]
        assert tied(second=second, intersection=(1, 2)).label.tolist() == [1]


def test_the_threshold_itself_counts_only_if_asked():
    table = tied()
    assert table.score.tolist() == [0.04]  # 2 / (25 + 27 - 2)
    assert not table.detectors().any()
    assert table.detectors(inclusive=True).all()
    assert (table.unique(), table.unique(inclusive=True)) == (0, 1)
    assert (table.unique("top-label"), table.unique("top-label", inclusive=True)) == (0, 1)


def test_the_rules_differ_where_a_unit_answers_to_two_categories():
    table = tied(second="part", intersection=(20, 10))
    assert table.unique("released") == 2
    assert table.unique("top-label") == 1
    with pytest.raises(ValueError, match='Expected the rule "released" or "top-label", got \'html\''):
        table.unique("html")


def test_detection_and_candidates():
    table = table_of(3, 6, 1, rich=True)
    found = table.detection(1)
    assert found.concept == table.concepts[table.label[1]]
    assert (
        found.iou
        == table.score[1]
        == found.intersection / (found.activation + found.truth - found.intersection)
    )
    assert found.interval == tuple(table.interval[1, 0])
    absent = int(np.argmin(table.iou[1]))
    assert absent not in table.ranking[1]
    assert table.detection(1, absent).interval is None
    ranked = table.candidates(1, 6)
    assert [entry.iou for entry in ranked] == sorted((v for v in table.iou[1] if v > 0), reverse=True)
    assert len(table.candidates(1, 2)) == 2
    for unit in (-1, 3):
        with pytest.raises(IndexError, match=f"Expected a unit of `layer4.1` from 0 to 2, got {unit}"):
            table.candidates(unit)


def test_held_out_label_is_chosen_on_one_part_and_measured_on_the_other():
    table = table_of(4, 6, 2, rich=True)
    fit = dataclasses.replace(table, counts=table.held_out.fit)
    held = dataclasses.replace(table, counts=table.held_out.held)
    for unit in range(4):
        place = best(fit, unit)[1]
        assert table.held_out_score(unit) == (table.concepts[place], iou(held, unit, place))
    assert table.held_out_scores.tolist() == [table.held_out_score(unit)[1] for unit in range(4)]


def test_chance_is_the_mean_count_over_the_draws():
    table = table_of(4, 6, 2, rich=True)
    drawn = [dataclasses.replace(table, counts=counts) for counts in table.chance]
    assert table.chance_scores.tolist() == [[best(draw, unit)[0] for unit in range(4)] for draw in drawn]
    for threshold in (0.0, 0.2, 0.5):
        found = [int(draw.detectors(threshold).sum()) for draw in drawn]
        assert table.expected_by_chance(threshold) == sum(found) / 2


def test_what_was_not_asked_for_is_none():
    table = table_of(2, 3)
    assert table.held_out_score(0) is table.held_out_scores is None
    assert table.chance_scores is table.expected_by_chance() is None


@pytest.mark.parametrize("units", [1, 3])
def test_a_table_of_nothing(units):
    table = UnitTable("l", (Concept(1, "a", "object"),), Counts.zeros(units, 1, 1))
    assert table.score.tolist() == [0.0] * units
    assert (table.unique(), table.unique("top-label"), table.candidates(0)) == (0, 0, ())
    assert repr(table) == f"UnitTable('l', {units} units, 0 detectors of 0 concepts)"
