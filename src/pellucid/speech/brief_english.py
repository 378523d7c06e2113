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
    "insensitive": "Do not rely on the regions: the map hardly depends on what the network learned.",
    "worse": "Do not rely on the regions: a blob in the center does better.",
    "flat": "It answers much the same whichever pixels are removed.",
}
_FIRST = ("untrained", "transformer")  # these stand before everything else


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
        parts = [WARNINGS[warning]] if warning in _FIRST else []
        parts.append(self.answer(name, whole, predicted, rival, against, numeric, unsure))
        if warning != "transformer":
            parts.append(
                self.looked(regions, whole, without, least, against, bool(warning or unsure or against))
            )
        if warning and warning not in _FIRST:
            parts.append(WARNINGS[warning])
        return " ".join(each for each in parts if each)

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
        short: bool,
    ) -> str:
        """The regions, and what is left without them."""
        if not regions:
            if least is None:
                return "No region of the picture stands out."
            return (
                f"No region carries it alone: whichever is covered, at least {self.amount_of(least)} is left."
            )
        told = f"It looks at {self.listed([self.seen(each, others=not short and not k) for k, each in enumerate(regions)])}"
        if without is None:
            return f"{told}."
        which = {1: "it", 2: "both", 3: "all three"}[len(regions)]
        if whole.probability is not None and without.probability is not None:
            if without.probability >= w.ENOUGH * whole.probability:
                return f"{told}, but without {which} {self.share(without.probability)} is left: the rest is enough too."
            told = f"{told}; without {which}, **{self.share(without.probability)}** is left"
            if against is not None and against.without is not None:
                return f"{told} and {self.name(against.name)} has {self.amount_of(against.without)}."
            return f"{told}."
        return f"{told}; without {which}, {text.number(without.score)} is left."

    def seen(self, region: Mapping[str, Any], others: bool) -> str:
        """A region: its word and place, or its place alone; other readings in brackets."""
        place = _where(region["place"])
        if region["word"] is not None:
            named = text.mention(f"**the {self.name(region['word'])}**", "region", region["number"])
            return f"{named} {_in(region['place'])}" if region["placed"] else named
        named = text.mention(f"**the {place}**", "region", region["number"])
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
