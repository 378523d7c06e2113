"""The map of a set of units and the regions of single ones."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import neurons as twin

from pellucid.core.capture import Trace
from pellucid.core.geometry import Geometry, upsample
from pellucid.core.layers import Layer
from pellucid.core.results import Unit, UnitScores
from pellucid.core.target import Target
from pellucid.units import importance_map, unit_regions

PLACE = Layer("pool", "MaxPool2d", (3, 4, 5), Geometry((4.0, 4.0), (1.5, 1.5), (6.0, 6.0)))


def trace_of(A):
    A = torch.as_tensor(A)
    target = Target(torch.zeros(len(A), dtype=torch.long), ("class 0",) * len(A))
    images, empty = torch.zeros(len(A), 3, 16, 20), torch.zeros(len(A), 1)
    return Trace(None, images, empty, target, empty[:, 0], {"pool": A}, {}, {"pool": PLACE})


@given(seed=st.integers(0, 10**6), chosen=st.sets(st.integers(0, 2)))
@settings(max_examples=25, deadline=None)
def test_importance_map(seed, chosen):
    random = np.random.default_rng(seed)
    A, values = random.normal(size=(2, 3, 4, 5)), random.random(size=(2, 3))
    scores = UnitScores(torch.from_numpy(values), PLACE, "cgnis", ("class 0",) * 2)
    found = importance_map(trace_of(A), scores, [Unit("pool", k) for k in sorted(chosen)])
    expected = [twin.importance_map(a, s, sorted(chosen)) for a, s in zip(A, values, strict=True)]
    np.testing.assert_allclose(found.values, expected, rtol=1e-10, atol=1e-14)
    assert found.method == "cgnis"
    assert found.status == ("ok",) * 2 if chosen else ("zero",) * 2
    assert found.normalized().upsample().shape == (2, 16, 20)
    everything = importance_map(trace_of(A), scores)
    np.testing.assert_allclose(everything.values, importance_map(trace_of(A), scores, [0, 1, 2]).values)


@given(seed=st.integers(0, 10**6), share=st.floats(0.001, 1), steps=st.booleans())
@settings(max_examples=25, deadline=None)
def test_top_share_of_the_image(seed, share, steps):
    random = np.random.default_rng(seed)
    A = random.integers(0, 3, size=(2, 3, 4, 5)).astype(float) if steps else random.normal(size=(2, 3, 4, 5))
    found = unit_regions(trace_of(A), [2, 0], quantile=share)
    for image, regions in enumerate(found):
        assert [region.unit for region in regions] == [Unit("pool", 2), Unit("pool", 0)]
        for region in regions:
            cells = A[image, region.unit.index]
            large = upsample(torch.from_numpy(cells)[None], PLACE.geometry, (16, 20), (16, 20))[0].numpy()
            np.testing.assert_array_equal(region.mask, twin.top_region(large, share))
            assert cells[region.cell] == cells.max() == region.value
            assert region.field == PLACE.geometry.region(*region.cell, (16, 20))
            if region.box is None:
                assert not region.mask.any()
            else:
                top, left, bottom, right = region.box
                inside = region.mask[top:bottom, left:right]
                assert inside.sum() == region.mask.sum()
                assert all(bool(edge.any()) for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_the_region_is_where_the_unit_speaks():
    A = np.zeros((1, 3, 4, 5))
    A[0, 1, 2, 3] = 1
    (region,) = unit_regions(trace_of(A), [Unit("pool", 1)])[0]
    assert region.cell == (2, 3)
    assert region.mask[9:11, 13:15].all()  # the cell is centered at pixel (9.5, 13.5)
    assert region.mask.sum() == 4
    assert region.box == (9, 13, 11, 15)
    assert region.field == (7, 11, 13, 17)


def test_a_unit_that_is_the_same_everywhere_has_no_region():
    (region,) = unit_regions(trace_of(np.ones((1, 3, 4, 5))), [0])[0]
    assert region.box is None
    assert not region.mask.any()


def test_thresholds():
    A = np.arange(60, dtype=float).reshape(1, 3, 4, 5)
    by_order = unit_regions(trace_of(A), [2, 0], thresholds=[50.0, 19.0])[0]
    by_index = unit_regions(trace_of(A), [2, 0], thresholds={0: 19.0, 2: 50.0})[0]
    for one, other, limit in zip(by_order, by_index, (50, 19), strict=True):
        large = upsample(torch.from_numpy(A[0, [one.unit.index]]), PLACE.geometry, (16, 20), (16, 20))[0]
        assert torch.equal(one.mask, large > limit)
        assert torch.equal(other.mask, one.mask)
    assert by_order[1].box is None  # nothing of unit 0 exceeds its own maximum


def test_errors():
    trace = trace_of(np.zeros((2, 3, 4, 5)))
    with pytest.raises(ValueError, match="units of layer `pool`, got Unit"):
        unit_regions(trace, [Unit("conv", 1)], layer="pool")
    with pytest.raises(IndexError, match="a unit from 0 to 2 of layer `pool`, got 3"):
        unit_regions(trace, [3])
    with pytest.raises(ValueError, match=r"`quantile` in \(0, 1\], got 0"):
        unit_regions(trace, [1], quantile=0)
    with pytest.raises(ValueError, match="a threshold for every unit, got none for \\[1\\]"):
        unit_regions(trace, [1], thresholds={0: 1.0})
    with pytest.raises(ValueError, match="one threshold for each of 2 units, got 1"):
        unit_regions(trace, [1, 2], thresholds=[0.5])
    with pytest.raises(ValueError, match="try the same images for both"):
        importance_map(trace, UnitScores(torch.zeros(1, 3), PLACE, "cgnis"))
