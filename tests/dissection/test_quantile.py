"""Thresholds are the order statistic they claim to be, whatever comes in whatever order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import dissection as literal

from pellucid.dissection.quantile import Bound, Selection, count_above
from pellucid.dissection.shards import Cells


def numbers(rng, shape, kind):
    """Values as layers give them: rectified, signed, with many ties, of all magnitudes."""
    values = rng.standard_normal(shape).astype(np.float32)
    if kind == "rectified":
        return np.maximum(values, 0)
    if kind == "ties":
        return np.round(values).astype(np.float32)
    if kind == "magnitudes":
        return values * np.float32(10) ** rng.integers(-30, 30, shape).astype(np.float32)
    if kind == "sparse":
        return np.where(rng.random(shape) < 0.02, np.abs(values), 0).astype(np.float32)
    if kind == "negative":
        return -np.abs(values) - 1
    return values


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["plain", "rectified", "ties", "magnitudes", "sparse", "negative"]),
    st.floats(0.001, 0.6),
    st.integers(1, 4),
    st.booleans(),
)
def test_any_order_and_any_batches_give_the_exact_threshold(seed, kind, quantile, batch, dense):
    rng = np.random.default_rng(seed)
    acts = numbers(rng, (9, 3, 5, 6), kind)
    rank = count_above(quantile, 9 * 30) + 1
    bound, parts = Bound(3, rank), []
    for first in range(0, 9, batch):
        part = np.ascontiguousarray(acts[first : first + batch])
        if dense and first < 4:
            bound.push_all(part)
        cells = Cells.above(part, part.max((2, 3)), bound.low)
        parts.append(cells)
        if not (dense and first < 4):
            bound.push(cells)
        seen = acts[: first + batch]
        assert (bound.low <= [least(seen[:, u], rank) for u in range(3)]).all()
    selection = Selection(bound.low)
    for cells in rng.permutation(np.array(parts, dtype=object)):
        selection.add(cells)
    expected = [literal.threshold(acts[:, u].ravel(), quantile) for u in range(3)]
    np.testing.assert_array_equal(selection.threshold(rank), expected)


def least(values, rank):
    ordered = np.sort(values.ravel())[::-1]
    return ordered[rank - 1] if rank <= len(ordered) else np.inf


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["plain", "rectified", "sparse", "ties"]))
def test_parts_measured_apart_give_the_threshold_of_the_whole(seed, kind):
    rng = np.random.default_rng(seed)
    acts = numbers(rng, (8, 2, 4, 4), kind)
    rank = count_above(0.1, 8 * 16) + 1
    lows, parts = [], []
    for part in (acts[:3], acts[3:]):
        part = np.ascontiguousarray(part)
        bound = Bound(2, rank)
        bound.push_all(part[:2])
        cells = Cells.above(part, part.max((2, 3)), bound.low)
        lows.append(bound.low)
        parts.append(cells)
    joined = Bound(2, rank)
    for low, cells in zip(lows, parts, strict=True):
        joined.raise_to(low)
        joined.push(cells)
    selection = Selection(joined.low)
    for cells in parts:
        selection.add(cells)
    expected = [literal.threshold(acts[:, u].ravel(), 0.1) for u in range(2)]
    np.testing.assert_array_equal(selection.threshold(rank), expected)


def test_a_bound_goes_on_from_its_state():
    rng = np.random.default_rng(0)
    acts = numbers(rng, (6, 2, 4, 4), "plain")
    one, other = Bound(2, 7), Bound(2, 7)
    one.push_all(acts[:3])
    other.restore({key: value.copy() for key, value in one.state().items()})
    one.push_all(acts[3:])
    other.push_all(acts[3:])
    np.testing.assert_array_equal(one.low, other.low)
    assert (one.low > -np.inf).all()


def test_only_chosen_maps_count():
    rng = np.random.default_rng(1)
    acts = numbers(rng, (6, 2, 4, 4), "plain")
    chosen = np.array([True, False, True, True, False, False])
    one, other = Bound(2, 5), Bound(2, 5)
    one.push_all(acts, chosen)
    other.push_all(acts[chosen])
    np.testing.assert_array_equal(one.low, other.low)


@pytest.mark.parametrize(
    ("quantile", "total", "above"), [(0.005, 200, 1), (0.005, 5000, 25), (0.29, 100, 29), (0.005, 1, 0)]
)
def test_shares_are_counted_without_rounding(quantile, total, above):
    assert count_above(quantile, total) == above


def test_kept_cells_are_those_above_and_their_neighbors():
    acts = np.zeros((1, 2, 5, 5), np.float32)
    acts[0, 1, 0, 3] = 2
    cells = Cells.above(acts, acts.max((2, 3)), np.array([1, 1], np.float32))
    assert cells.unit.tolist() == [1]
    assert cells.cells.tolist() == [2, 3, 4, 7, 8, 9]
    assert cells.values.tolist() == [0, 2, 0, 0, 0, 0]
