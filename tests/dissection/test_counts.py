"""Counts: their IoU, their sum, and what cannot have been counted."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dissection.tables import concepts_of, counts_of, same, table_of

from pellucid.dissection.counts import Counts

PLACE = [0, 0, 1]


def counts(intersection=((3, 0, 1),), activation=((4, 2),), truth=(6, 5, 1)):
    return Counts(*(np.array(values, np.int64) for values in (intersection, activation, truth)))


def test_iou_by_hand():
    found = counts().iou(PLACE)
    assert found.dtype == np.float64
    assert found.tolist() == [[3 / 7, 0.0, 1 / 2]]


def test_nothing_over_nothing_is_0():
    found = Counts.zeros(2, 3, 2).iou(PLACE)
    assert found.tolist() == [[0.0] * 3] * 2


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 6))
def test_iou_against_exact_fractions(seed, units, concepts):
    table = table_of(units, concepts, seed, largest=9)
    kinds = [concept.category for concept in table.concepts]
    for k in range(units):
        for c, kind in enumerate(kinds):
            mask = int(table.counts.activation[k, list(dict.fromkeys(kinds)).index(kind)])
            inter, truth = int(table.counts.intersection[k, c]), int(table.counts.truth[c])
            union = mask + truth - inter
            assert table.iou[k, c] == (float(Fraction(inter, union)) if union else 0)
            assert 0 <= table.iou[k, c] <= 1
    table.counts.check(table.category_of)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.permutations(range(4)))
def test_sums_do_not_depend_on_the_order(seed, order):
    rng = np.random.default_rng(seed)
    named = concepts_of(5, rng)
    parts = [counts_of(3, named, rng) for _ in order]
    total = parts[0] + parts[1] + parts[2] + parts[3]
    mixed = (parts[order[0]] + parts[order[1]]) + (parts[order[2]] + parts[order[3]])
    assert same(total, mixed)
    assert total.truth.tolist() == [sum(int(part.truth[c]) for part in parts) for c in range(5)]
    assert total.activation[1, 0] == sum(int(part.activation[1, 0]) for part in parts)
    assert total.intersection[2, 4] == sum(int(part.intersection[2, 4]) for part in parts)


def test_a_sum_is_the_count_over_both_pictures():
    """Masks and labels of a few pictures, counted one by one and all at once."""
    rng = np.random.default_rng(1)
    masks, labels = rng.random((4, 2, 6, 6)) < 0.4, rng.integers(0, 4, (4, 6, 6))

    def counted(pictures):
        found = Counts.zeros(2, 3, 1)
        mask, label = masks[pictures], labels[pictures]
        for c in range(3):
            found.truth[c] = (label == c + 1).sum()
            found.intersection[:, c] = (mask & (label == c + 1)[:, None]).sum((0, 2, 3))
        found.activation[:, 0] = mask.sum((0, 2, 3))
        return found

    one_by_one = counted([0]) + counted([1]) + counted([2]) + counted([3])
    assert same(one_by_one, counted([0, 1, 2, 3]))
    one_by_one.check([0, 0, 0])


def test_counts_of_other_units_or_categories_are_not_added():
    with pytest.raises(
        ValueError, match=r"Expected counts of the same units and concepts, got 1 × 3 and 2 × 3"
    ):
        counts() + Counts.zeros(2, 3, 2)
    with pytest.raises(ValueError, match="Expected counts of the same"):
        counts() + Counts.zeros(1, 3, 1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"intersection": ((5, 0, 1),)}, "the mask's pixels, got 5 > 4 for unit 0 and concept 0"),
        ({"truth": (6, 5, 0)}, "the concept's pixels, got 1 > 0 for unit 0 and concept 2"),
        ({"intersection": ((3, -2, 1),)}, "for unit 0 and concept 1"),
    ],
)
def test_what_cannot_have_been_counted(changed, message):
    counts().check(PLACE)
    with pytest.raises(ArithmeticError, match=message):
        counts(**changed).check(PLACE)
