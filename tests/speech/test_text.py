"""Numbers, lists and marks, once for the sentence, the pages and the terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.speech import text
from pellucid.speech import wording as w


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.971, "97 %"),
        (0.0004, "<0.1 %"),
        (0.004, "0.4 %"),
        (0.998, "99.8 %"),
        (0.9993, "99.9 %"),
        (0.9996, ">99.9 %"),
        (0.99999, ">99.9 %"),
        (-0.0004, ">−0.1 %"),
        (-0.9996, "<−99.9 %"),
        (-0.25, "−25 %"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_percent(share, words):
    assert text.percent(share) == words


@given(st.floats(0, 1), st.integers(0, 1))
def test_percent_never_rounds_to_certainty(share, digits):
    words = text.percent(share, digits)
    assert (words == "100 %") == (share == 1)
    assert (words == "0 %") == (share == 0)


@given(st.floats(-1e12, 1e12, allow_nan=False))
def test_a_number_is_close(value):
    words = text.number(value).replace(",", "").replace("−", "-")
    if "10" in words and "·" in words:
        digits, power = words.split(" · 10")
        shown = float(digits) * 10.0 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))
        assert abs(shown - value) <= 0.06 * abs(value)
    else:
        assert abs(float(words) - value) <= max(0.006 * abs(value), 0.5 if abs(value) >= 999 else 0)


def test_numbers_for_a_reader():
    assert text.number(25557032) == "25,557,032"
    assert text.number(1234.5) == "1,234"
    assert text.number(0.0001234) == "0.000123"
    assert text.number({"mean": [0.5, 0.25], "flip": False}) == "mean 0.5, 0.25, flip no"
    assert text.number(None) == text.number(float("nan")) == "–"


@given(st.floats(-1e4, 1e4), st.floats(1e-6, 1e3))
def test_no_digit_is_printed_that_the_spread_does_not_let_stand(value, spread):
    words = text.measured(value, spread)
    shown = float(words.replace(",", "").replace("−", "-"))
    decimals = len(words.partition(".")[2])
    assert decimals == 0 or 10.0**-decimals > spread / 10 * (1 - 1e-9)
    assert abs(shown - value) <= max(spread, 0.006 * abs(value), 0.5) + 1e-9


def test_lists():
    assert text.listed(["a"]) == "a"
    assert text.listed(["a", "b"]) == "a and b"
    assert text.listed(["a", "b", "c"]) == "a, b and c"
    assert text.listed([]) == ""


@given(st.text(max_size=30), st.text(max_size=30), st.integers(0, 9999))
def test_names_cannot_break_the_marks(name, layer, unit):
    escaped = text.name(name)
    marked = f"**{escaped}** and {text.mention(escaped, 'unit', layer, unit)}."
    shown = " ".join(name.split()) or "(no name)"
    assert text.plain(marked) == f"{shown} and {shown}."
    about = [each for each in text.segments(marked) if each.about]
    assert [(each.text, each.about) for each in about] == [(shown, ("unit", layer, str(unit)))]
    assert [each.text for each in text.segments(marked) if each.bold] == [shown]


@given(st.text(alphabet="ab*[]()\\: ", max_size=40))
def test_no_character_of_a_text_is_lost(words):
    """Marks without a partner are ordinary characters; only pairs and escapes go."""
    shown = text.plain(words)
    left = [character for character in words if character not in "*[]()\\:"]
    assert [character for character in shown if character not in "*[]()\\:"] == left or "](" in words


def test_marks_may_lie_in_each_other():
    runs = text.segments("**wheel + [85](unit:top:85)** x")
    assert [(run.text, run.bold, run.about) for run in runs] == [
        ("wheel + ", True, ()),
        ("85", True, ("unit", "top", "85")),
        (" x", False, ()),
    ]


def test_place_names_the_nine_fields():
    names = [w.place(row, column, 90, 90) for row in (10, 45, 80) for column in (10, 45, 80)]
    assert names == [
        "upper left", "upper middle", "upper right", "left side", "center", "right side",
        "lower left", "lower middle", "lower right",
    ]  # fmt: skip
