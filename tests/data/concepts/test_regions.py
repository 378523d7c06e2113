"""Run lengths, polygons, boxes, disks against literal values and slow twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pellucid.data.concepts import LabelError
from pellucid.data.concepts.maps import check_shape, layered, nearest
from pellucid.data.concepts.regions import decode_runs, disk, paint_polygon, rectangle


def encode(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, unlabeled first, one pixel at a time."""
    runs, last = [0], False
    for value in mask.T.ravel().tolist():
        if value != last:
            runs.append(0)
            last = value
        runs[-1] += 1
    return runs


def compress(runs: list[int]) -> str:
    """COCO's text: groups of five bits, lowest first; from the fourth run on the difference to the one two before."""
    text = ""
    for place, run in enumerate(runs):
        rest = run - runs[place - 2] if place > 2 else run
        while True:
            group, rest = rest & 31, rest >> 5
            done = rest == -1 if group & 16 else rest == 0
            text += chr(48 + (group if done else group | 32))
            if done:
                break
    return text


MASKS = arrays(np.bool_, st.tuples(st.integers(1, 70), st.integers(1, 70)))


@settings(max_examples=80, deadline=None)
@given(MASKS)
def test_run_lengths_decode_to_what_was_encoded(mask: np.ndarray) -> None:
    runs = encode(mask)
    assert np.array_equal(decode_runs(runs, *mask.shape), mask)
    assert np.array_equal(decode_runs(compress(runs), *mask.shape), mask)
    assert np.array_equal(decode_runs(compress(runs).encode(), *mask.shape), mask)


def test_literal_run_lengths() -> None:
    mask = np.array([[0, 0, 1, 1, 1, 0, 1]], bool)
    assert np.array_equal(decode_runs([2, 3, 1, 1], 1, 7), mask)
    assert np.array_equal(decode_runs("231N", 1, 7), mask)
    assert decode_runs([1, 2, 3], 2, 3).tolist() == [
        [False, True, False],
        [True, False, False],
    ]  # down the columns
    assert decode_runs("l4", 12, 13).sum() == 0  # 156 = 28 + 4 · 32, without a sign
    assert decode_runs([0, 4], 2, 2).all()


@pytest.mark.parametrize("counts", [[2, 3], [3, -1, 2], "23", "2\x7f", "P", "é", [[1], [2, 3]], [2, "a"]])
def test_bad_run_lengths(counts: object) -> None:
    with pytest.raises(LabelError, match="Expected run lengths"):
        decode_runs(counts, 2, 2)  # type: ignore[arg-type]


def inside(points: np.ndarray, x: float, y: float) -> bool:
    """Even-odd, one edge at a time."""
    odd = False
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
        if (min(y0, y1) <= y < max(y0, y1)) and x >= x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            odd = not odd
    return odd


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-12, 60), st.integers(-12, 60)), min_size=3, max_size=9))
def test_polygons_hold_the_centers_inside(corners: list[tuple[int, int]]) -> None:
    points = np.array(corners) / 4 + 0.0625  # no corner at a center's height
    mask = np.zeros((13, 11), bool)
    paint_polygon(mask, points)
    twin = [[inside(points, x + 0.5, y + 0.5) for x in range(11)] for y in range(13)]
    assert mask.tolist() == twin


def test_polygons_that_touch_share_no_pixel() -> None:
    left, right = np.zeros((6, 8), bool), np.zeros((6, 8), bool)
    paint_polygon(left, np.array([[1, 1], [4, 1], [4, 5], [1, 5]]))
    paint_polygon(right, np.array([[4, 1], [7, 1], [7, 5], [4, 5]]))
    assert (left.sum(), right.sum(), (left & right).sum()) == (12, 12, 0)
    assert left[1:5, 1:4].all()
    paint_polygon(left, np.array([[0, 0], [2, 0], [2, 2], [0, 2]]))
    assert left.sum() == 15  # added, not toggled
    paint_polygon(left, np.array([[20, 1], [30, 1], [30, 3]]))
    assert left.sum() == 15  # outside


def test_boxes_and_disks() -> None:
    assert np.argwhere(rectangle((5, 6), 1, 2, 4, 4)).tolist() == [
        [2, 1],
        [2, 2],
        [2, 3],
        [3, 1],
        [3, 2],
        [3, 3],
    ]
    assert rectangle((5, 6), 2.6, 1, 2.9, 3).sum() == 2  # thinner than a pixel
    assert rectangle((5, 6), -9, -9, 99, 99).all()
    assert not rectangle((5, 6), 7, 0, 9, 3).any()
    assert not rectangle((5, 6), -9, 0, -3, 3).any()
    assert disk((5, 5), 2.5, 2.5, 1).astype(int).tolist()[2] == [0, 1, 1, 1, 0]
    assert disk((5, 5), 2.5, 2.5, 1).sum() == 5


def test_layers_hide_nothing() -> None:
    masks = [
        (1, disk((9, 9), 3, 3, 2.5)),
        (2, disk((9, 9), 5, 4, 2.5)),
        (3, rectangle((9, 9), 7, 7, 9, 9)),
        (4, disk((9, 9), 4, 4, 1)),
    ]
    maps = layered(masks)
    assert len(maps) == 3  # 3 shares the first with 1, 4 lies over both 1 and 2
    for number, mask in masks:
        assert np.array_equal(np.any([layer == number for layer in maps], axis=0), mask)


def test_nearest_takes_the_number_at_the_center() -> None:
    numbers = np.arange(16, dtype=np.uint16).reshape(1, 4, 4)
    assert nearest(numbers, 2, 2).tolist() == [[[5, 7], [13, 15]]]
    assert np.array_equal(nearest(nearest(numbers, 8, 8), 4, 4), numbers)
    assert nearest(numbers[0], 1, 4).tolist() == [[8, 9, 10, 11]]


@pytest.mark.parametrize(("shape", "picture", "fits"), [
    ((112, 112), (224, 224), True),
    ((113, 150), (225, 300), True),
    ((112, 150), (225, 300), True),
    ((100, 150), (225, 300), False),
    ((150, 113), (225, 300), False),
    ((0, 5), (225, 300), False),
    ((7, 99), None, True),
])  # fmt: skip
def test_only_rounding_is_no_other_shape(
    shape: tuple[int, int], picture: tuple[int, int] | None, fits: bool
) -> None:
    if fits:
        check_shape(shape, picture, "map")
    else:
        with pytest.raises(LabelError, match="Expected a label map of the shape of its picture"):
            check_shape(shape, picture, "map")
