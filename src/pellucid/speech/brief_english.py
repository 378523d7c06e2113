# ruff: noqa: D102 (a phrase is called what it says; what it tells is in `pellucid.explanation.brief`)
"""The short sentence in English: class and certainty, the regions that carried it, what is left without them, a warning.

At most 35 words (40 where it doubts or warns) and four numbers; `tests/speech/test_brief.py` counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.speech import text
from pellucid.speech import wording as w
from pellucid.speech.speaking import Against, Left, Speaker

# What is said first where the regions cannot be trusted, by the reason.
WARNINGS = {
    "untrained": "**Its weights look untrained**: what follows explains noise.",
    "transformer": "**Where it looked is not known**: a transformer has no maps behind its patch embedding.",
    "insensitive": "**Its map is not to be trusted**: it hardly depends on what was learned.",
    "worse": "**Its map is not to be trusted**: a central blob does better.",
    "flat": "It answers much the same whatever is removed.",
}
_FIRST = ("untrained", "transformer")  # these stand before everything else
_LAST = ("insensitive", "worse", "flat")  # these behind the answer
WORDS, DOUBTFUL = 35, 40  # at most, the longer where it doubts, warns or compares
_THRIFT = 3


class BriefEnglish(Speaker):
    """Says the short sentence in English."""

    def brief(
        self,
        name: str,
        whole: Left,
        predicted: tuple[str, float] | None,
        rival: tuple[str, float] | None,
        against: Against | None,
        numeric: bool,
        unsure: bool,
        regions: Sequence[Mapping[str, Any]],
        without: Left | None,
        warning: str | None,
        least: Left | None,
    ) -> str:
        careful = bool(warning or unsure or against)
        parts = [WARNINGS[warning]] if warning in _FIRST else []
        parts.append(self.answer(name, whole, predicted, rival, against, numeric, unsure))
        if warning in _LAST:
            parts.append(WARNINGS[warning])
        if warning == "transformer":
            return " ".join(parts)
        said = " ".join(parts)
        for thrift in range(_THRIFT + 1):  # the more there is to say, the shorter it is said
            looked = self.looked(regions, whole, without, least, against, thrift + careful)
            if len(f"{said} {looked}".split()) <= (DOUBTFUL if careful else WORDS):
                break
        return f"{said} {looked}"

    def answer(
        self,
        name: str,
        whole: Left,
        predicted: tuple[str, float] | None,
        rival: tuple[str, float] | None,
        against: Against | None,
        numeric: bool,
        unsure: bool,
    ) -> str:
        """Class and certainty."""
        if numeric:
            return (
                f"Predicts **{self.amount_of(whole)}**{'' if name == 'value' else f' for {self.name(name)}'}."
            )
        if whole.probability is None:
            return f"**{self.name(name)}**: {self.amount_of(whole)}."
        told = f"**{self.name(name)}**, {self.amount_of(whole)}"
        if against is not None:
            return f"{told}, not **{self.name(against.name)}** ({self.amount_of(against.whole)})."
        if predicted is not None:
            return f"{told} (its answer is {self.name(predicted[0])}, {self.share(predicted[1])})."
        if rival is not None:
            return f"{told}{': unsure' if unsure else ''}, {self.name(rival[0])} has {self.share(rival[1])}."
        return f"{told}{', unsure' if unsure else ''}."

    def looked(
        self,
        regions: Sequence[Mapping[str, Any]],
        whole: Left,
        without: Left | None,
        least: Left | None,
        against: Against | None,
        thrift: int,
    ) -> str:
        """The regions, and what is left without them; with ``thrift`` without other readings, places, and long words."""
        if not regions:
            if least is None:
                return "No region of the picture stands out."
            return (
                f"No region carries it alone: whichever is covered, at least {self.amount_of(least)} is left."
            )
        told = f"It looks at {self.listed([self.seen(each, not thrift and not k, thrift) for k, each in enumerate(regions)])}"
        if without is None:
            return f"{told}."
        which = {1: "it", 2: "both", 3: "all three"}[len(regions)]
        if whole.probability is not None and without.probability is not None:
            if without.probability >= w.ENOUGH * whole.probability:
                return f"{told}, but without {which} {self.share(without.probability)} is left."
            told = f"{told}; without {which}, **{self.share(without.probability)}** is left"
            if against is not None and against.without is not None:
                return f"{told} and {self.name(against.name)} has {self.amount_of(against.without)}."
            return f"{told}."
        return f"{told}; without {which}, {text.number(without.score)} is left."

    def seen(self, region: Mapping[str, Any], others: bool, thrift: int = 0) -> str:
        """A region: its word and place, or its place alone; other readings in brackets."""
        word = region["word"]
        if word is not None and (thrift < 3 or len(word.split()) <= 2):
            named = text.mention(f"**the {self.name(word)}**", "region", region["number"])
            return f"{named} {_in(region['place'])}" if region["placed"] and thrift < 2 else named
        named = text.mention(f"**the {_where(region['place'])}**", "region", region["number"])
        if others and region["others"]:
            return f"{named} (as for {self.either([self.name(each) for each in region['others']])})"
        return named

    def either(self, words: Sequence[str]) -> str:
        """ "a or b"."""
        return text.listed(words, " or ")

    def amount_of(self, left: Left) -> str:
        """A probability, or the score where there is none."""
        return text.number(left.score) if left.probability is None else self.share(left.probability)


def _where(place: str) -> str:
    """A place as what is looked at."""
    return "middle" if place == "center" else place


def _in(place: str) -> str:
    """A place as where something lies."""
    if place == "center":
        return "in the middle"
    if place.endswith("side"):
        return f"on the {place.removesuffix(' side')}"
    vertical, horizontal = place.split(" ")
    edge = "at the top" if vertical == "upper" else "at the bottom"
    return edge if horizontal == "middle" else f"{edge} {horizontal}"
