"""Filling in: pull-push against a slow twin, and what it must never touch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.data.filling import FILLS, fill, widened, without


def slow(image, region):
    """One channel, square of a power of two: sums over blocks, then down again with the bilinear rule written out."""
    side = image.shape[0]
    if side == 1:
        value, weight = (0.0 if region[0, 0] else image[0, 0]), float(not region[0, 0])
        return [[value]], [[weight]]
    values = [[0.0 if region[y, x] else float(image[y, x]) for x in range(side)] for y in range(side)]
    weights = [[float(not region[y, x]) for x in range(side)] for y in range(side)]
    return values, weights


def pull_push(values, weights):
    side = len(values)
    if side == 1:
        return [[values[0][0] / max(weights[0][0], 1e-300)]]

    def halved(grid):
        return [
            [sum(grid[2 * y + a][2 * x + b] for a in (0, 1) for b in (0, 1)) / 4 for x in range(side // 2)]
            for y in range(side // 2)
        ]

    above = pull_push(halved(values), halved(weights))

    def at(place, half):
        position = min(max((place + 0.5) / 2 - 0.5, 0), half - 1)
        low = int(position)
        return low, min(low + 1, half - 1), position - low

    found = []
    for y in range(side):
        row = []
        top, bottom, down = at(y, side // 2)
        for x in range(side):
            left, right, across = at(x, side // 2)
            upper = above[top][left] * (1 - across) + above[top][right] * across
            lower = above[bottom][left] * (1 - across) + above[bottom][right] * across
            row.append(values[y][x] + (1 - weights[y][x]) * (upper * (1 - down) + lower * down))
        found.append(row)
    return found


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_pull_push_against_a_slow_twin(seed):
    draws = torch.Generator().manual_seed(seed)
    image = torch.rand(8, 8, generator=draws, dtype=torch.float64)
    region = torch.rand(8, 8, generator=draws) < 0.6
    if bool(region.all()):
        return
    values, weights = slow(image, region)
    expected = torch.tensor(pull_push(values, weights), dtype=torch.float64)
    found = fill(image[None, None], region[None])[0, 0]
    assert torch.allclose(found, torch.where(region, expected, image), atol=1e-12)


@given(st.integers(0, 10_000), st.integers(5, 23), st.integers(5, 23))
@settings(max_examples=20, deadline=None)
def test_known_pixels_stay_and_nothing_is_invented(seed, high, wide):
    draws = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 3, high, wide, generator=draws)
    regions = torch.rand(2, high, wide, generator=draws) < 0.4
    found = fill(images, regions)
    assert torch.equal(torch.where(regions[:, None], 0.0, found), torch.where(regions[:, None], 0.0, images))
    for image, region, filled in zip(images, regions, found, strict=True):
        known = image[:, ~region]
        assert (filled.amax((1, 2)) <= known.amax(1) + 1e-5).all()
        assert (filled.amin((1, 2)) >= known.amin(1) - 1e-5).all()


def test_one_color_stays_one_color_and_nan_stays_out():
    images = torch.full((1, 3, 9, 14), 2.5)
    regions = torch.zeros(1, 9, 14, dtype=torch.bool)
    regions[0, 2:7, 3:11] = True
    images[0, :, 3, 5] = float("nan")
    assert torch.allclose(fill(images, regions), torch.full_like(images, 2.5))


def test_a_region_that_is_everything_becomes_the_mean():
    everything = torch.ones(1, 4, 4, dtype=torch.bool)
    assert torch.equal(fill(torch.ones(1, 3, 4, 4), everything), torch.zeros(1, 3, 4, 4))


def test_a_part_is_widened_but_not_over_another():
    regions = torch.zeros(2, 9, 9, dtype=torch.bool)
    regions[0, 3:6, 1:4], regions[1, 3:6, 4:8] = True, True
    assert int(widened(regions)[0].sum()) == 25
    image = torch.rand(1, 1, 9, 9)
    found = without(image, regions, regions.any(0))
    assert found.shape == (2 * len(FILLS), 1, 9, 9)
    changed = (found != image)[:, 0]
    assert not (changed[:2] & regions[1]).any()
    assert not (changed[2:] & regions[0]).any()
    assert changed[0][2, 1]


def test_the_fill_from_behind_takes_no_color_of_the_object():
    image = torch.zeros(1, 1, 16, 16)
    image[..., 4:12, 4:12] = 1.0
    part = torch.zeros(1, 16, 16, dtype=torch.bool)
    part[0, 4:8, 4:12] = True
    thing = torch.zeros(16, 16, dtype=torch.bool)
    thing[4:12, 4:12] = True
    around, behind = without(image, part, widened(thing[None])[0])
    assert float(behind[0, 4:8, 4:12].max()) == 0.0
    assert float(around[0, 7, 6:10].min()) > 0.2


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match=r"regions \[batch h w\] for images \(2, 3, 4, 4\), got \(1, 4, 4\)"):
        fill(torch.zeros(2, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool))
