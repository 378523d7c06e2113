# ruff: noqa: D102 (a phrase is called what it says; what it tells is in `pellucid.explanation.clauses`)
"""English: one function for each thing a clause can say, from its facts to a marked text (`pellucid.speech.text`).

`pellucid.speech.chinese` says the same things of the same facts. Neither measures, and neither leaves a fact out that the other
tells. Facts called ``before``, ``after``, ``left`` … are `Left`: what is left of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pellucid.speech import text
from pellucid.speech.brief_english import BriefEnglish
from pellucid.speech.speaking import Left

Named = tuple[
    int, str | None, str | None
]  # a unit, its concept, and whether it is "weak" on held-out pictures
Speaking = tuple[
    int, str | None, str | None, float
]  # the same, and what removing the unit takes from a difference

# Why a map cannot be read, by its status.
UNREADABLE = {
    "negative": "all evidence speaks against the target",
    "constant": "the map is the same everywhere and points nowhere",
    "zero": "the map is zero everywhere",
    "not finite": "the map holds NaN or infinity",
}

# What the comparison with a center blob comes to.
FAITHFUL = {
    "better": "**better than a center blob**",
    "as good": "**only as good as a center blob**",
    "worse": "**worse than a center blob**",
}
ADVICE = {"as good": ", which proves nothing either way", "worse": ", so do not rely on it here"}


class English(BriefEnglish):
    """Says clauses in English."""

    def prediction(self, first: str, probability: float) -> str:
        return f"Classified as **{self.name(first)}** ({self.share(probability)})."

    def explained(self, first: str, probability: float, target: str, value: float, kind: str) -> str:
        return f"{self.prediction(first, probability)} Explained here: **{self.name(target)}** ({self.amount(value, kind)})."

    def predicted(self, values: Sequence[tuple[str, float]], target: tuple[str, float] | None) -> str:
        (first, value), *others = values
        what = "" if first == "value" else f" for {self.name(first)}"
        rest = [f"{self.amount(number, 'score')} for {self.name(name)}" for name, number in others]
        told = f"Predicts **{self.amount(value, 'score')}**{what}{', ' if rest else ''}{self.listed(rest)}."
        if target is None:
            return told
        return f"{told} Explained here: **{self.name(target[0])}** ({self.amount(target[1], 'score')})."

    def second(self, unsure: bool, name: str, probability: float) -> str:
        if unsure:
            return f"The network is unsure: {self.name(name)} has {self.share(probability)}."
        return f"Second comes {self.name(name)} with {self.share(probability)}."

    def synonym(self, name: str, probability: float, together: float) -> str:
        return (
            f"{self.share(probability)} go to {self.name(name)}, another name for the same: "
            f"{self.share(together)} together."
        )

    def region(self, layer: str, deepest: bool, area: float, places: Sequence[str]) -> str:
        where = self.listed([_in(place) for place in places]) if places else "spread over it"
        return (
            f"Half of the evidence {_at(layer, deepest)} lies on {self.share(area)} of the picture, {where}."
        )

    def no_region(self, layer: str, deepest: bool, status: str) -> str:
        reason = UNREADABLE.get(status, "there is no positive evidence")
        return f"No region can be named: {_at(layer, deepest)} {reason}."

    def insensitive(self, correlation: float, spread: float | None) -> str:
        return (
            "With the upper half of the network randomized the map stays much the same (rank correlation "
            f"{text.measured(correlation, spread)}): it shows the **picture** more than the decision."
        )

    def flat(self, kind: str, low: float, high: float) -> str:
        return (
            f"Whichever pixels are removed, the {kind} stays between {self.amount(low, kind)} and "
            f"{self.amount(high, kind)}: that cannot tell whether the map is right."
        )

    def compared(
        self, kind: str, ours: Mapping[str, float], theirs: Mapping[str, float], verdicts: Mapping[str, str]
    ) -> str:
        deletion, insertion, other, others = (
            self.amount(area[each], kind) for area in (ours, theirs) for each in ("deletion", "insertion")
        )
        numbers = (
            f"Removing pixels in the map's order leaves a {kind} of {deletion} on average ({other} in a center blob's), "
            f"bringing them back {insertion} ({others})"
        )
        if not verdicts:
            return f"{numbers}."
        first, then = verdicts["deletion"], verdicts["insertion"]
        if first == then:
            return f"{numbers}: by both the map is {FAITHFUL[first]}{ADVICE.get(first, '')}."
        return f"{numbers}: removing, the map is {FAITHFUL[first]}, bringing back {FAITHFUL[then]}."

    def on_object(self, name: str, inside: float, best: float, area: float) -> str:
        return (
            f"On average over the stages {self.share(inside)} of the evidence lies on the **{self.name(name)}** "
            f"({self.share(best)} could, on such grids), which covers {self.share(area)} of the picture."
        )

    def little(self, name: str) -> str:
        return f"That is little: the network also leans on the **surroundings** of the {self.name(name)}."

    def other_object(self, name: str, target: str) -> str:
        return f"The object there is the {self.name(name)}, not the {self.name(target)}."

    def no_unit(self, criterion: str) -> str:
        return f"No single neuron of this layer has a positive {criterion} score."

    def none_cited(self, layer: str, deepest: bool, criterion: str, count: int) -> str:
        where = "In the deepest stage" if deepest else f"At {self.name(layer)}"
        who = f"the {count} neurons" if count > 1 else "the one neuron"
        it = "any of them" if count > 1 else "it"
        return (
            f"{where} {who} with the highest {criterion} scores cannot be said to carry it: without {it} the score does not "
            "fall."
        )

    def carried(
        self, layer: str, deepest: bool, units: Sequence[Named], share: float, criterion: str, total: int,
        effect: Mapping[str, Any] | None, target: str, probable: bool,
    ) -> str:  # fmt: skip
        one = len(units) == 1
        label = self.labeled(layer, units)
        who = f"neuron {label} carries" if one else f"neurons {label} carry"
        where = "In the deepest stage" if deepest else f"At {self.name(layer)}"
        told = f"{where} {who} {self.share(share)} of the {criterion} score of {text.count(total, 'neuron')}"
        if effect is None:
            return told + "."
        random = f"without {'one' if one else 'as many'} random"
        others = text.measured(effect["score_random"], effect["score_spread"])
        told += (
            f"; without {'it' if one else 'them'} the score of {self.name(target)} goes from "
            f"{text.number(effect['score_before'])} to **{text.number(effect['score_after'])}** ({random}: {others})"
        )
        if not probable:
            return told + "."
        return (
            f"{told} and its probability from {self.share(effect['before'])} to **{self.share(effect['after'])}** "
            f"({self.share(effect['random'])})."
        )

    def labeled(self, layer: str, units: Sequence[Named]) -> str:
        """The units' numbers, each with its concept in brackets; once at the end where it is the same for all."""
        names = [self.called(concept, strength) for _, concept, strength in units]
        numbers = [self.unit(layer, unit, stressed=True) for unit, _, _ in units]
        if len(units) > 1 and names[0] and len(set(names)) == 1:
            return f"{self.listed(numbers)} ({'both' if len(units) == 2 else 'all'} {names[0]})"
        pairs = zip(numbers, names, strict=True)
        return self.listed([number + (f" ({name})" if name else "") for number, name in pairs])

    def called(self, concept: str | None, strength: str | None) -> str:
        """What stands in brackets behind a unit: nothing without a concept, "perhaps" before a weak one."""
        if concept is None:
            return ""
        return f"{'perhaps ' if strength == 'weak' else ''}{self.bracketed(concept)}"

    def saturated(self, fall: float) -> str:
        return (
            f"The score falls by {self.share(fall)}; the probability hardly moves, for it is **saturated**."
        )

    def made_up(self, together: float, alone: float) -> str:
        return (
            f"The probability hardly changes: other neurons make up for these, which cost {text.number(together)} of the score "
            f"together and {text.number(alone)} one by one."
        )

    def hardly(self) -> str:
        return "The answer hardly depends on these neurons."

    def unnamed(self, one: bool, images: int | None, threshold: float) -> str:
        return (
            f"No concept is known for {'it' if one else 'them'}: over {_over(images)} {'it matches' if one else 'they match'} "
            f"none well (no IoU above {text.number(threshold)})."
        )

    def named(
        self,
        one: bool,
        images: int | None,
        low: float,
        high: float,
        layer: str,
        others: Sequence[int],
        weak: bool,
    ) -> str:
        ends = [f"{low:.2f}", f"{high:.2f}"]
        told = (
            f"In brackets: what {'the' if one else 'a'} neuron responds to most over {_over(images)} (overlap as IoU: "
            f"{ends[0] if ends[0] == ends[1] else ' to '.join(ends)}), which does not prove that this decision used it."
        )
        if weak:
            told += " “Perhaps”: on held-out pictures the name does not hold."
        if others:
            told += f" No concept is known for {self._units(layer, others)}."
        return told

    def parts(self, count: int, share: float | None) -> str:
        order = "" if count == 1 else ", the one that matters most first"
        if share is None:
            return f"What carries it{order}:"
        number = ("", "one part", "two parts", "three parts")[count]
        return f"{self.share(share)} of the evidence lies on {number}{order}:"

    def part(
        self, name: str, color: str | None, share: float | None, before: Left, after: Left, probable: bool,
        units: Mapping[str, Any] | None, first: bool, last: bool,
    ) -> str:  # fmt: skip
        tinted = f"{self.name(color)} " if color else ""
        told = [] if share is None or (first and last) else [self.share(share)]
        told.append(f"filled in, {self.change(before, after, probable)}")
        if units:
            told.append(self.removed(**units, probable=probable))
        lead = "" if first or not last else "and "
        return f"{lead}{tinted}{self.part_name(name)} ({'; '.join(told)}){'.' if last else ','}"

    def removed(self, units: Sequence[int], layer: str, left: Left, probable: bool) -> str:
        """What is left without the units of a part."""
        who = f"without {self._units(layer, units)} of {self.name(layer)}"
        if left.probability is None or not probable:
            return f"{who} it is {text.number(left.score)}"
        return f"{who} they are {text.number(left.score)} and {self.share(left.probability)}"

    def change(self, before: Left, after: Left, probable: bool = True) -> str:
        """How a fill changes the score, and with ``probable`` the probability."""
        told = f"the score {_moves(before.score, after.score, text.number, 'from ')}"
        if after.probability is None or before.probability is None or not probable:
            return told
        return f"{told} and the probability {_moves(before.probability, after.probability, self.share, '')}"

    def around(
        self, scene: str | None, color: str | None, share: float | None, before: Left, after: Left
    ) -> str:
        about = [f"**{self.name(scene)}**"] if scene else []
        about += [f"mostly {self.name(color)}"] if color else []
        what = f"The surroundings{' (' + ', '.join(about) + ')' if about else ''}"
        if share is None:
            return f"With the {what[4:]} filled in, {self.change(before, after)}."
        return f"{what} hold {self.share(share)}; filled in, {self.change(before, after)}."

    def background(
        self, most: bool, scene: str | None, weight: float, thing: Left, surroundings: Left, before: Left
    ) -> str:
        named = f" ({self.name(scene)})" if scene else ""
        said = f"The **surroundings**{named} carry {'the decision more than the object' if most else 'much of the decision'}"
        return (
            f"{said}: with them filled in, {self.change(before, surroundings)}; with the object filled in, "
            f"{self.change(before, thing)}; of both effects they have {self.share(weight)}."
        )

    def outside(self, share: float, best: float) -> str:
        return f"{self.share(share)} of the evidence lies **outside the object**; on such grids {self.share(best)} would have to."

    def no_single(self, count: int, name: str, lowers: bool, before: Left, after: Left) -> str:
        lead = "**No single part explains this**"
        if not lowers:
            return f"{lead}: filling in {f'any of the {count}' if count > 1 else 'the one'} found does not lower the score."
        found = (
            f"of {count} found, the {self.part_name(name)} matters most"
            if count > 1
            else f"one was found, the {self.part_name(name)}"
        )
        return f"{lead}: {found}, and with it filled in, {self.change(before, after)}."

    def none_found(self, known: int) -> str:
        return f"**No part can be named**: of {known} the recognizer knows, it is sure of none here."

    def absent(self, name: str, probability: float, units: Sequence[int], layer: str) -> str:
        return (
            f"No **{self.name(name)}** was found (probability {self.share(probability)}), though {self._units(layer, units)} of "
            f"{self.name(layer)} respond{'s' if len(units) == 1 else ''} to it elsewhere."
        )

    def pattern(
        self, concepts: Sequence[str], units: Sequence[int], layer: str, name: str, share: float, rest: float,
        held_out: bool, several: bool,
    ) -> str:  # fmt: skip
        return (
            f"**{self.pattern_name(concepts, units, layer)}** {'together appear' if several else 'appears'} in "
            f"{self.share(share)} of the {'held-out ' if held_out else ''}pictures of {self.name(name)} and in "
            f"{self.share(rest)} of all others."
        )

    def pattern_name(self, concepts: Sequence[str], units: Sequence[int], layer: str) -> str:
        """ "wheel + car + neuron 85"; without a concept "neurons 3, 7 and 12"."""
        if not concepts:
            return self._units(layer, units)
        return " + ".join(
            [self.name(name) for name in concepts] + [self._units(layer, [unit]) for unit in units]
        )

    def because(self, other: str, margin: float, parts: Sequence[tuple[str, float]]) -> str:
        return (
            f"Rather than {self.name(other)}, which is {text.number(margin)} behind, because of {self._drops(parts)}: so much of "
            "that lead goes when it is filled in."
        )

    def although(self, target: str, other: str, margin: float, parts: Sequence[tuple[str, float]]) -> str:
        return (
            f"{self.why_not(other, margin)} For {self.name(target)} against it {_speak(parts)} {self._drops(parts)}: so much of "
            "the difference goes when it is filled in."
        )

    def why_not(self, other: str, margin: float) -> str:
        return f"Why not {self.name(other)}? It is {text.number(abs(margin))} {'behind' if margin >= 0 else 'ahead'}."

    def for_other(self, other: str, parts: Sequence[tuple[str, float]]) -> str:
        return f"For {self.name(other)} {_speak(parts)} {self._drops(parts)}, by as much."

    def units_against(self, target: str, other: str, layer: str, units: Sequence[Speaking]) -> str:
        it = "it" if len(units) == 1 else "each"
        return (
            f"Of the neurons of {self.name(layer)}, {self._speaking(layer, units)} {_speak(units)} most for {self.name(target)} "
            f"against {self.name(other)}, by what removing {it} takes from the difference."
        )

    def units_for(self, other: str, layer: str, units: Sequence[Speaking]) -> str:
        return f"For {self.name(other)} {_speak(units)} {self._speaking(layer, units)} of {self.name(layer)}."

    def parts_turn(self, other: str, names: Sequence[str], margin: float) -> str:
        told = self.listed([self.part_name(name) for name in names])
        return f"With {told} filled in, {self.name(other)} would be ahead by {text.number(margin)}."

    def units_turn(self, other: str, layer: str, units: Sequence[int], margin: float) -> str:
        told = self._units(layer, units, stressed=True)
        return f"With {told} removed, {self.name(other)} would be ahead by {text.number(margin)}."

    def parts_stay(self, target: str, other: str, count: int, margin: float) -> str:
        every = f"all {count} parts" if count > 1 else "the one part"
        return f"Even with {every} filled in, {self._ahead(target, other, margin)}"

    def units_stay(self, target: str, other: str, count: int, margin: float) -> str:
        every = f"all {count} of these neurons" if count > 1 else "the one of these neurons"
        return f"Even with {every} removed, {self._ahead(target, other, margin)}"

    def unexplained(self, other: str) -> str:
        return (
            f"Which parts tell it from {self.name(other)} cannot be said: no part of this picture is known."
        )

    def _ahead(self, target: str, other: str, margin: float) -> str:
        return f"{self.name(target)} stays ahead of {self.name(other)} by {text.number(margin)}."

    def _drops(self, parts: Sequence[tuple[str, float]]) -> str:
        return self.listed([f"{self.part_name(name)} ({text.number(abs(drop))})" for name, drop in parts])

    def _units(self, layer: str, units: Sequence[int], stressed: bool = False) -> str:
        numbers = self.listed([self.unit(layer, unit, stressed) for unit in units])
        return f"neuron{'' if len(units) == 1 else 's'} {numbers}"

    def _speaking(self, layer: str, units: Sequence[Speaking]) -> str:
        told = []
        for unit, concept, strength, drop in units:
            about = [each for each in (self.called(concept, strength), text.number(abs(drop))) if each]
            told.append(f"{self.unit(layer, unit, stressed=True)} ({', '.join(about)})")
        return f"neuron{'' if len(units) == 1 else 's'} {self.listed(told)}"


def _moves(before: float, after: float, shown: Callable[[float], str], start: str) -> str:
    """ "falls from 9.4 to **3.8**"; where the shown numbers are the same, "stays at **9.4**"."""
    if shown(before) == shown(after):
        return f"stays at **{shown(after)}**"
    verb = "falls" if after < before else "rises"
    return f"{verb} {start + shown(before) + ' ' if start else ''}to **{shown(after)}**"


def _speak(subjects: Sequence[Any]) -> str:
    return "speaks" if len(subjects) == 1 else "speak"


def _over(images: int | None) -> str:
    return "many pictures" if images is None else text.count(images, "picture")


def _at(layer: str, deepest: bool) -> str:
    return f"in the deepest stage ({text.name(layer)})" if deepest else f"at {text.name(layer)}"


def _in(place: str) -> str:
    if place == "center":
        return f"at its {place}"
    return f"on its {place}" if place.endswith("side") else f"in its {place}"
