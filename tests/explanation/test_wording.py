"""Words for numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.speech import wording as w


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.971, "97 %"),
        (0.0004, "<0.1 %"),
        (0.004, "0.4 %"),
        (0.998, "99.8 %"),
        (0.99999, ">99.9 %"),
    ],
)
def test_percent(share: float, text: str) -> None:
    assert w.percent(share) == text


@given(st.floats(0, 1))
def test_percent_never_rounds_to_certainty(share: float) -> None:
    text = w.percent(share)
    assert (text == "100 %") == (share == 1)
    assert (text == "0 %") == (share == 0)


def test_place_names_the_nine_fields() -> None:
    names = [w.place(row, column, 90, 90) for row in (10, 45, 80) for column in (10, 45, 80)]
    assert names == [
        "upper left", "upper middle", "upper right", "left side", "center", "right side",
        "lower left", "lower middle", "lower right",
    ]  # fmt: skip


def test_lists() -> None:
    assert w.listed(["a"]) == "a"
    assert w.listed(["a", "b"]) == "a and b"
    assert w.listed(["a", "b", "c"]) == "a, b and c"


def test_names_cannot_break_the_markup() -> None:
    assert "*" not in w.name("**bold** <b>\n x")
    assert w.name("  ") == "(no name)"
