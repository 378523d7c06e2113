"""Templates against literal loops in float64: every cell, both norms, positions with their ties."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.interpretable import Templates
from pellucid.zoo.interpretable.templates import bank, cones, positions, prior, tau


def literal(row, column, grid, beta, norm):
    """max(1 − β ‖(i, j) − μ‖ / n, −1), cell by cell."""
    n = max(grid)
    found = torch.empty(grid, dtype=torch.float64)
    for i in range(grid[0]):
        for j in range(grid[1]):
            vertical, horizontal = abs(i - row), abs(j - column)
            distance = vertical + horizontal if norm == "l1" else math.hypot(vertical, horizontal)
            found[i, j] = max(1 - beta * distance / n, -1)
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(2, 6), st.floats(0.5, 8), st.sampled_from(["l1", "l2"]), st.data())
def test_a_cone_is_the_printed_formula(height, width, beta, norm, data):
    grid = (height, width)
    row = data.draw(st.integers(0, height - 1))
    column = data.draw(st.integers(0, width - 1))
    found = cones(
        torch.tensor([[row]]), torch.tensor([[column]]), grid, beta / max(grid), norm, torch.float64
    )
    assert found.shape == (1, 1, height, width)
    torch.testing.assert_close(found[0, 0], literal(row, column, grid, beta, norm), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_bank_holds_one_template_per_cell_and_the_empty_one(norm):
    grid = (3, 4)
    table = bank(grid, 4.0, norm, torch.float64)
    assert table.shape == (13, 12)
    for cell in range(12):
        wanted = tau(grid) * literal(cell // 4, cell % 4, grid, 4.0, norm)
        torch.testing.assert_close(table[cell], wanted.flatten())
    torch.testing.assert_close(table[12], torch.full((12,), -0.5 / 12, dtype=torch.float64))


def test_the_constants_are_those_of_the_paper():
    assert tau((14, 14)) == 0.5 / 196
    assert prior((14, 14)) == 196 / 197
    assert (Templates(beta=4).norm, Templates().position, Templates().mode) == ("l2", "argmax", "paper")


def test_each_filter_has_its_own_slope():
    row = column = torch.zeros(1, 2, dtype=torch.long)
    found = cones(row, column, (1, 3), torch.tensor([0.5, 1.0]), "l2")
    torch.testing.assert_close(found[0, :, 0], torch.tensor([[1, 0.5, 0], [1, 0, -1.0]]))


def test_argmax_takes_the_first_of_equal_peaks():
    maps = torch.tensor([[[[0.0, 2, 2], [1, 0, 2]]]])
    assert [int(each) for each in positions(maps, "argmax")] == [0, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_centroid_is_the_rounded_mean_place(dtype):
    maps = torch.zeros(1, 3, 4, 5, dtype=dtype)
    maps[0, 0, 0, 1], maps[0, 0, 2, 3] = 1, 1  # mean (1, 2)
    maps[0, 1, 3, 0], maps[0, 1, 0, 0] = 1, 1  # mean (1.5, 0): half rounds up
    row, column = positions(maps, "centroid")
    assert row.tolist() == [[1, 2, 0]]  # the last map is empty: first cell
    assert column.tolist() == [[2, 0, 0]]


def test_memory_layout_changes_nothing():
    maps = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    other = maps.contiguous(memory_format=torch.channels_last)
    for kind in ("argmax", "centroid"):
        for one, two in zip(positions(maps, kind), positions(other, kind), strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"norm": "l3"}, 'Expected `norm` to be "l2" or "l1", got \'l3\'.'),
        ({"mode": "new"}, 'Expected `mode` to be "paper" or "released", got \'new\'.'),
        ({"position": "mean"}, 'Expected `position` to be "argmax" or "centroid", got \'mean\'.'),
        ({"beta": 0}, "Expected `beta` to be positive, got 0; try its default."),
        ({"temperature": math.inf}, "Expected `temperature` to be positive, got inf; try its default."),
        ({"weight": -1}, "Expected `weight` to be at least 0, got -1; try 1."),
    ],
)
def test_values_out_of_range(given, message):
    with pytest.raises(ValueError) as caught:
        Templates(**given)
    assert str(caught.value) == message
