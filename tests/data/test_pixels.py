"""Arrays of every shape and type: the nearest of 256 levels, or a refusal that says what to do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pellucid.data.images import ImageError, read_image


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((4, 4), np.nan), "got 16 NaN or infinite of 16"),
        (np.array([[0.5, np.inf]]), "got 1 NaN or infinite of 2"),
        (np.array([[0.0, 255.0]]), r"from 0 to 255; try to divide them by 255"),
        (np.array([[-1.0, 1.0]]), r"from -1 to 1; try to scale them"),
        (np.zeros((4, 4), np.int64), r"got int64 of shape \(4, 4\); try array.astype"),
        (np.zeros((4, 4), bool), "got bool"),
        (np.zeros((4, 4), complex), "got complex128"),
        (np.zeros((4, 4), object), "got object"),
        (np.zeros((3, 9, 9), np.uint8), r"channels seem to come first: array.transpose\(1, 2, 0\)"),
        (np.zeros((2, 9, 9, 3), np.uint8), r"batch: pass list\(array\)"),
        (np.zeros((9, 9, 2), np.uint8), "layout"),
        (np.zeros(9, np.uint8), r"got shape \(9,\)"),
    ],
)
def test_arrays_that_are_no_pictures(array: np.ndarray, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        read_image(array)


def test_every_half_precision_value() -> None:
    values = np.arange(0x3C01, dtype=np.uint16).view(np.float16)[None]  # all from 0 to 1
    exact = values.astype(np.float64) * 255
    assert np.abs(np.asarray(read_image(values).image)[..., 0] - exact).max() <= 0.5


shapes = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3])),
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_arrays_of_every_shape_and_type(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["u1", "<u2", ">u2", "f2", "f4", ">f4", "f8"]))
    elements = {"min_value": 0, "max_value": 1} if "f" in dtype else None
    array = data.draw(hnp.arrays(dtype, data.draw(shapes), elements=elements))
    if data.draw(st.booleans()):
        array = array[::-1, ::-1]  # not contiguous
    full = 1 if "f" in dtype else np.iinfo(dtype).max
    exact = array.astype(np.float64) / full * 255
    expected = np.broadcast_to(exact.reshape(*array.shape[:2], -1), (*array.shape[:2], 3))
    read = read_image(array)
    assert (read.image.mode, read.original_size) == ("RGB", (array.shape[1], array.shape[0]))
    assert np.abs(np.asarray(read.image) - expected).max() <= 0.5 + 1e-4  # the nearest level, never clipped
