"""Rates with intervals, and whether the part named first is right: literal numbers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pellucid.evaluation.intervention import Effects
from pellucid.evaluation.sentences import (
    Rate,
    by_chance,
    difference,
    judgeable,
    kept,
    rate,
    right,
    right_by_mass,
)


def effects(logit, names=("wing", "tail", "wheel")):
    masks = torch.zeros(len(names), 4, 6, dtype=torch.bool)
    for k in range(len(names)):
        masks[k, k] = True
    values = torch.tensor(logit, dtype=torch.float64)
    return Effects(tuple(names), masks, values, values / 10)


def test_wilson_by_its_published_values():
    low, high = Rate(81, 263).interval  # Newcombe, Statistics in Medicine 17, 1998, table I
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = Rate(0, 20).interval
    assert (low, round(high, 4)) == (0.0, 0.1611)
    assert Rate(0, 0).interval == (0.0, 1.0)
    assert Rate(0, 0).share == 0


@given(st.integers(1, 500), st.data())
def test_the_interval_holds_the_share(total, data):
    found = Rate(data.draw(st.integers(0, total)), total)
    low, high = found.interval
    assert 0 <= low <= found.share + 1e-12
    assert found.share - 1e-12 <= high <= 1


def test_right_is_the_part_that_costs_most():
    found = effects([1.0, 4.0, -2.0])
    assert [right(found, name) for name in ("wing", "tail", "wheel", "sail", None)] == [0, 1, 0, 0, 0]
    assert [kept(found, name) for name in ("wing", "tail", None)] == [0.25, 1, 0]
    assert by_chance(found) == pytest.approx(1 / 3)
    assert by_chance(effects([4.0, 4.0, 1.0])) == pytest.approx(2 / 3)


def test_right_by_mass_draws_lots_where_masses_are_equal():
    saliency = torch.zeros(4, 6)
    saliency[1] = 1.0
    assert right_by_mass(effects([1.0, 4.0, 2.0]), saliency) == 1
    saliency[0] = 1.0
    assert right_by_mass(effects([1.0, 4.0, 2.0]), saliency) == 0.5
    assert right_by_mass(effects([1.0, 4.0, 2.0]), torch.zeros(4, 6)) == pytest.approx(1 / 3)


def test_too_few_parts_are_not_judged():
    assert judgeable(effects([1.0, 4.0, 2.0]))
    assert not judgeable(effects([1.0, 4.0], ("wing", "tail")))
    assert not judgeable(effects([1.0, 1.0, 1.0]))
    assert not judgeable(effects([1.0, math.nan, 1.0]))


def test_differences_are_paired():
    assert difference([1, 0, 1, 0], [1, 0, 1, 0]) == (0, 0, 0)
    mean, low, high = difference([1, 1, 1, 0] * 25, [0, 1, 0, 0] * 25)
    assert mean == 0.5
    assert 0.3 < low < 0.5 < high < 0.7
    assert difference([1, 0] * 9, [0, 0] * 9, seed=3) == difference([1, 0] * 9, [0, 0] * 9, seed=3)
    with pytest.raises(ValueError, match="got 2 and 1"):
        difference([1, 0], [1])
    assert rate([]).total == 0
