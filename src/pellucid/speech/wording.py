"""The thresholds that choose what is said, here and nowhere else.

In which words it is said: `pellucid.speech.english` and `pellucid.speech.chinese`.
"""

from __future__ import annotations

UNSURE = 0.5  # a predicted class below this probability is called unsure
RIVAL = 0.1  # a second class is named from this probability on
LEAN = 0.5  # less than this part of the evidence that could lie on the object is a doubt (default map, see `clauses.on_object`)
FAINT = 0.05  # a smaller change of the probability is called hardly a change …
STEADY = 0.9  # … if at least this part of it is left: from 1 % to 0.1 % is much
SATURATED = 0.1  # the score has to fall by this share of it for the probability to be called saturated
MADE_UP = 0.9  # other units make up for the loss of some where together they cost less than this part of what each costs alone
BETTER = 0.1  # advantage over a center blob from which on a map is called better, from minus that on worse (see `faithfulness`)
SINGLE = 0.1  # filling in a part has to take this share of the score's lead over the mean of all outputs for it to be named
NAMED = 3  # parts, at most
CARRY = 0.35  # weight of the surroundings (see `parts`) from which on they carry much of the decision …
MOST = 0.5  # … and from which on more than the object
ABSENT = 0.5  # a part is called absent below this part of the probability from which on it is named
COLORED = 0.6  # a part or the surroundings are called by a color that covers this share of them
PLACES = 3  # places of a map that is not compact, at most …
PLACED = 0.2  # … each with this share of the evidence in it …
TOGETHER = 0.6  # … and all of them with this one; where that takes more, no place is named
MOST_OF_PICTURE = 0.6  # a region that covers more of the picture is no region
READ_AS = (
    0.5  # another class is named for a region that takes at least this part of what it takes from the target
)
ENOUGH = 0.75  # where this part of the probability is left without the regions, the rest of the picture is enough too


def place(row: float, column: float, height: int, width: int) -> str:
    """Where a point lies in a picture: "upper left" … "center" … "lower right"."""
    vertical = ("upper", "", "lower")[min(int(3 * row / height), 2)]
    horizontal = ("left", "", "right")[min(int(3 * column / width), 2)]
    if not vertical and not horizontal:
        return "center"
    if not vertical:
        return f"{horizontal} side"
    return f"{vertical} {horizontal or 'middle'}"
