"""The thresholds that choose words, here and nowhere else; numbers, names and English places as text.

What is said in which words: `pellucid.speech.english` and `pellucid.speech.chinese`.
"""

from __future__ import annotations

import re

UNSURE = 0.5  # a predicted class below this probability is called unsure
RIVAL = 0.1  # a second class is named from this probability on
LEAN = 0.5  # less than this part of the evidence that could lie on the object is a doubt (default map, see `clauses.on_object`)
FAINT = 0.05  # a smaller change of the probability is called hardly a change
BETTER = 0.1  # advantage over a center blob from which on a map is called better, from minus that on worse (see `faithfulness`)
SINGLE = 0.1  # filling in a part has to take this share of the score's lead over the mean of all outputs for it to be named
NAMED = 3  # parts, at most
CARRY = 0.35  # weight of the surroundings (see `parts`) from which on they carry much of the decision …
MOST = 0.5  # … and from which on more than the object
ABSENT = 0.5  # a part is called absent below this part of the probability from which on it is named
COLORED = 0.6  # a part or the surroundings are called by a color that covers this share of them

# Why a map cannot be read, by its status.
UNREADABLE = {
    "negative": "all evidence speaks against the target",
    "constant": "the map is the same everywhere and points nowhere",
    "zero": "the map is zero everywhere",
    "not finite": "the map holds NaN or infinity",
}

# What the comparison with a center blob comes to.
FAITHFUL = {
    "better": "the map is **better than a center blob**",
    "as good": "the map is **only as good as a center blob**, which proves nothing either way",
    "worse": "the map is **worse than a center blob**, do not rely on it here",
}


def percent(share: float) -> str:
    """0.971 → "97 %"; small shares keep a digit, and nothing but 0 and 1 is called 0 % or 100 %."""
    value = 100 * share
    if 0 < value < 0.1:
        return "<0.1 %"
    if 0 < value < 1:
        return f"{value:.1f} %"
    if 99.5 <= value < 100:
        return f"{value:.1f} %" if value < 99.95 else ">99.9 %"
    return f"{value:.0f} %"


def number(value: float) -> str:
    """A score in three significant digits."""
    return f"{value:.3g}"


def listed(words: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def name(label: str) -> str:
    """A class name that cannot break the markup of a sentence."""
    return re.sub(r"\s+", " ", label.replace("*", "∗")).strip() or "(no name)"


def bracketed(label: str) -> str:
    """A name that can stand in round brackets: its own become square ones."""
    return name(label.replace("(", "[").replace(")", "]"))


def place(row: float, column: float, height: int, width: int) -> str:
    """Where a point lies in a picture: "upper left" … "center" … "lower right"."""
    vertical = ("upper", "", "lower")[min(int(3 * row / height), 2)]
    horizontal = ("left", "", "right")[min(int(3 * column / width), 2)]
    if not vertical and not horizontal:
        return "center"
    if not vertical:
        return f"{horizontal} side"
    return f"{vertical} {horizontal or 'middle'}"
