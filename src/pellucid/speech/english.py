# ruff: noqa: D102 (a phrase is called what it says; what it tells is in `pellucid.explanation.clauses`)
"""English: one function for each thing a clause can say, from its facts to a text that may mark words as ``**bold**``.

`pellucid.speech.chinese` says the same things of the same facts. Neither measures, and neither leaves a fact out that the
other tells. ``Effect`` facts are what is left of the target: ``score`` and ``probability`` (None where there is none).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pellucid.speech import wording as w

# What the comparison with a center blob comes to.
FAITHFUL = w.FAITHFUL


class English:
    """Says clauses in English. ``names``: other words for names; English needs none."""

    code, gap = "en", " "

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self.names = names or {}

    def name(self, label: str) -> str:
        """A name as this language has it, which cannot break the markup."""
        return w.name(self.names.get(label, label))

    def bracketed(self, label: str) -> str:
        """The same for round brackets: its own become square ones."""
        return w.bracketed(self.names.get(label, label))

    def share(self, value: float) -> str:
        """A share as a percentage."""
        return w.percent(value)

    def listed(self, words: Sequence[str]) -> str:
        """ "a, b and c"."""
        return w.listed(list(words))

    def amount(self, value: float, unit: str) -> str:
        """A probability as a percentage, a score as a number."""
        return self.share(value) if unit == "probability" else w.number(value)

    def prediction(self, first: str, probability: float) -> str:
        return f"Classified as **{self.name(first)}** ({self.share(probability)})."

    def explained(self, first: str, probability: float, target: str, value: float, unit: str) -> str:
        return f"{self.prediction(first, probability)} Explained here: **{self.name(target)}** ({self.amount(value, unit)})."

    def second(self, unsure: bool, name: str, probability: float) -> str:
        if unsure:
            return f"The network is unsure: {self.name(name)} has {self.share(probability)}."
        return f"Second comes {self.name(name)} with {self.share(probability)}."

    def region(self, layer: str, deepest: bool, area: float, place: str) -> str:
        return f"Half of the evidence {_at(layer, deepest)} lies on {self.share(area)} of the picture, {_in(place)}."

    def no_region(self, layer: str, deepest: bool, status: str) -> str:
        reason = w.UNREADABLE.get(status, "there is no positive evidence")
        return f"No region can be named: {_at(layer, deepest)} {reason}."

    def insensitive(self, correlation: float) -> str:
        return (
            "With the upper half of the network randomized the map stays much the same (rank correlation "
            f"{w.number(correlation)}): it shows the **picture** more than the decision."
        )

    def flat(self, unit: str, low: float, high: float) -> str:
        return (
            f"Whichever pixels are removed, the {unit} stays between {self.amount(low, unit)} and "
            f"{self.amount(high, unit)}: that cannot tell whether the map is right."
        )

    def compared(
        self, unit: str, ours: Mapping[str, float], theirs: Mapping[str, float], verdict: str
    ) -> str:
        deletion, insertion, other, others = (
            self.amount(area[kind], unit) for area in (ours, theirs) for kind in ("deletion", "insertion")
        )
        return (
            f"Removing pixels in the map's order leaves a {unit} of {deletion} on average, bringing them back {insertion} "
            f"(in a center blob's order {other} and {others}): {FAITHFUL[verdict]}."
        )

    def on_object(self, name: str, inside: float, best: float, area: float) -> str:
        return (
            f"On average over the stages {self.share(inside)} of the evidence lies on the **{self.name(name)}** "
            f"({self.share(best)} could, on such grids), which covers {self.share(area)} of the picture."
        )

    def little(self, name: str) -> str:
        return f"That is little: the network also leans on the **surroundings** of the {self.name(name)}."

    def other_object(self, name: str, target: str) -> str:
        return f"The object there is the {self.name(name)}, not the {self.name(target)}."

    def no_neuron(self, criterion: str) -> str:
        return f"No single neuron of this layer has a positive {criterion} score."

    def carried(
        self, layer: str, deepest: bool, units: Sequence[tuple[int, str | None]], share: float, criterion: str,
        total: int, effect: Mapping[str, float] | None, target: str, probable: bool,
    ) -> str:  # fmt: skip
        one = len(units) == 1
        label = self.labeled(units)
        who = f"neuron {label} carries" if one else f"neurons {label} carry"
        where = "In the deepest stage" if deepest else f"At {layer}"
        text = f"{where} {who} {self.share(share)} of the {criterion} score of {total} neurons"
        if effect is None:
            return text + "."
        random = f"without {'one' if one else 'as many'} random"
        text += (
            f"; without {'it' if one else 'them'} the score of {self.name(target)} goes from {w.number(effect['score_before'])} "
            f"to **{w.number(effect['score_after'])}** ({random}: {w.number(effect['score_random'])})"
        )
        if not probable:
            return text + "."
        return (
            f"{text} and its probability from {self.share(effect['before'])} to **{self.share(effect['after'])}** "
            f"({self.share(effect['random'])})."
        )

    def labeled(self, units: Sequence[tuple[int, str | None]]) -> str:
        """The units' numbers, each with its concept in brackets; once at the end where it is the same for all."""
        names = [None if concept is None else self.bracketed(concept) for _, concept in units]
        if len(units) > 1 and names[0] is not None and len(set(names)) == 1:
            both = "both" if len(units) == 2 else "all"
            return self.listed([f"**{unit}**" for unit, _ in units]) + f" ({both} {names[0]})"
        return self.listed(
            [
                f"**{unit}**" + (f" ({name})" if name else "")
                for (unit, _), name in zip(units, names, strict=True)
            ]
        )

    def hardly(self) -> str:
        return "The probability hardly changes: other neurons make up for these."

    def unnamed(self, one: bool, images: int | None, threshold: float) -> str:
        return (
            f"No concept is known for {'it' if one else 'them'}: over {_over(images)} {'it matches' if one else 'they match'} "
            f"none well (no IoU above {w.number(threshold)})."
        )

    def named(self, one: bool, images: int | None, low: float, high: float, others: Sequence[int]) -> str:
        ends = [f"{low:.2f}", f"{high:.2f}"]
        text = (
            f"In brackets: what {'the' if one else 'a'} neuron responds to most over {_over(images)} (overlap as IoU: "
            f"{ends[0] if ends[0] == ends[1] else ' to '.join(ends)}), which does not prove that this decision used it."
        )
        if others:
            listed = w.listed([str(unit) for unit in others])
            text += f" No concept is known for neuron{'s' if len(others) > 1 else ''} {listed}."
        return text

    def parts(self, count: int, share: float | None) -> str:
        order = "" if count == 1 else ", the one that matters most first"
        if share is None:
            return f"What carries it{order}:"
        number = ("", "one part", "two parts", "three parts")[count]
        return f"{self.share(share)} of the evidence lies on {number}{order}:"

    def part(
        self, name: str, color: str | None, share: float | None, before: Any, after: Any, neurons: Any, first: bool,
        last: bool,
    ) -> str:  # fmt: skip
        tinted = f"{self.name(color)} " if color else ""
        told = [] if share is None or (first and last) else [self.share(share)]
        told.append(f"filled in, {self.change(before, after)}")
        if neurons:
            told.append(self.removed(**neurons))
        lead = "" if first or not last else "and "
        return f"{lead}{tinted}**{self.name(name)}** ({'; '.join(told)}){'.' if last else ','}"

    def removed(self, units: Sequence[int], layer: str, left: Any) -> str:
        """What is left without the neurons of a part."""
        who = f"without neuron{'' if len(units) == 1 else 's'} {self.listed([str(unit) for unit in units])} of {layer}"
        if left.probability is None:
            return f"{who} it is {w.number(left.score)}"
        return f"{who} they are {w.number(left.score)} and {self.share(left.probability)}"

    def change(self, before: Any, after: Any) -> str:
        """How a fill changes score and probability."""
        text = f"the score {_moves(before.score, after.score, w.number, 'from ')}"
        if after.probability is None:
            return text
        return f"{text} and the probability {_moves(before.probability, after.probability, self.share, '')}"

    def around(
        self, scene: str | None, color: str | None, share: float | None, before: Any, after: Any
    ) -> str:
        about = [f"**{self.name(scene)}**"] if scene else []
        about += [f"mostly {self.name(color)}"] if color else []
        what = f"The surroundings{' (' + ', '.join(about) + ')' if about else ''}"
        if share is None:
            return f"With the {what[4:]} filled in, {self.change(before, after)}."
        return f"{what} hold {self.share(share)}; filled in, {self.change(before, after)}."

    def background(
        self, most: bool, scene: str | None, weight: float, thing: Any, surroundings: Any, before: Any
    ) -> str:
        named = f" ({self.name(scene)})" if scene else ""
        said = f"The **surroundings**{named} carry {'the decision more than the object' if most else 'much of the decision'}"
        return (
            f"{said}: with them filled in, {self.change(before, surroundings)}; with the object filled in, "
            f"{self.change(before, thing)}; of both effects they have {self.share(weight)}."
        )

    def outside(self, share: float, best: float) -> str:
        return f"{self.share(share)} of the evidence lies **outside the object**; on such grids {self.share(best)} would have to."

    def no_single(self, count: int, name: str, before: Any, after: Any) -> str:
        found = (
            f"of {count} found, the {self.name(name)} matters most"
            if count > 1
            else f"one was found, the {self.name(name)}"
        )
        return (
            f"**No single part explains this**: {found}, and with it filled in, {self.change(before, after)}."
        )

    def none_found(self, known: int) -> str:
        return f"**No part can be named**: of {known} the recognizer knows, it is sure of none here."

    def absent(self, name: str, probability: float, units: Sequence[int], layer: str, one: bool) -> str:
        who = f"neuron{'' if one else 's'} {self.listed([str(unit) for unit in units])} of {layer}"
        return (
            f"No **{self.name(name)}** was found (probability {self.share(probability)}), though {who} "
            f"respond{'s' if one else ''} to it elsewhere."
        )

    def pattern(
        self,
        concepts: Sequence[str],
        units: Sequence[int],
        name: str,
        share: float,
        rest: float,
        held_out: bool,
        several: bool,
    ) -> str:
        return (
            f"**{self.pattern_name(concepts, units)}** {'together appear' if several else 'appears'} in {self.share(share)} of "
            f"the {'held-out ' if held_out else ''}pictures of {self.name(name)} and in {self.share(rest)} of all others."
        )

    def pattern_name(self, concepts: Sequence[str], units: Sequence[int]) -> str:
        """ "wheel + car + neuron 85"; without a concept "neurons 3, 7 and 12"."""
        if not concepts:
            return f"neuron{'s' if len(units) > 1 else ''} {self.listed([str(unit) for unit in units])}"
        return " + ".join([self.name(name) for name in concepts] + [f"neuron {unit}" for unit in units])

    def because(self, other: str, margin: float, parts: Sequence[tuple[str, float]]) -> str:
        return (
            f"Rather than {self.name(other)}, which is {w.number(margin)} behind, because of {self._drops(parts)}: so much of "
            "that lead goes when it is filled in."
        )

    def although(self, target: str, other: str, margin: float, parts: Sequence[tuple[str, float]]) -> str:
        return (
            f"{self.why_not(other, margin)} For {self.name(target)} against it {_speak(parts)} {self._drops(parts)}: so much of "
            "the difference goes when it is filled in."
        )

    def why_not(self, other: str, margin: float) -> str:
        return f"Why not {self.name(other)}? It is {w.number(abs(margin))} {'behind' if margin >= 0 else 'ahead'}."

    def for_other(self, other: str, parts: Sequence[tuple[str, float]]) -> str:
        return f"For {self.name(other)} {_speak(parts)} {self._drops(parts)}, by as much."

    def _drops(self, parts: Sequence[tuple[str, float]]) -> str:
        return self.listed([f"**{self.name(name)}** ({w.number(abs(drop))})" for name, drop in parts])

    def neurons_against(
        self, target: str, other: str, layer: str, units: Sequence[tuple[int, str | None, float]]
    ) -> str:
        it = "it" if len(units) == 1 else "each"
        return (
            f"Of the neurons of {layer}, {self._neurons(units)} {_speak(units)} most for {self.name(target)} against "
            f"{self.name(other)}, by what removing {it} takes from the difference."
        )

    def neurons_for(self, other: str, layer: str, units: Sequence[tuple[int, str | None, float]]) -> str:
        return f"For {self.name(other)} {_speak(units)} {self._neurons(units)} of {layer}."

    def _neurons(self, units: Sequence[tuple[int, str | None, float]]) -> str:
        told = [
            f"**{unit}** ({self.bracketed(concept) + ', ' if concept else ''}{w.number(abs(drop))})"
            for unit, concept, drop in units
        ]
        return f"neuron{'' if len(units) == 1 else 's'} {self.listed(told)}"

    def would_change(self, other: str, what: str, names: Sequence[Any], margin: float) -> str:
        told = self.listed([f"**{self.name(each) if isinstance(each, str) else each}**" for each in names])
        deed = (
            f"{told} filled in"
            if what == "parts"
            else f"neuron{'' if len(names) == 1 else 's'} {told} removed"
        )
        return f"With {deed}, {self.name(other)} would be ahead by {w.number(margin)}."

    def would_stay(self, target: str, other: str, what: str, count: int, margin: float) -> str:
        thing = "part" if what == "parts" else "of these neurons"
        every = f"all {count} {'parts' if what == 'parts' else thing}" if count > 1 else f"the one {thing}"
        return (
            f"Even with {every} {'filled in' if what == 'parts' else 'removed'}, {self.name(target)} stays ahead of "
            f"{self.name(other)} by {w.number(margin)}."
        )

    def unexplained(self, other: str) -> str:
        return (
            f"Which parts tell it from {self.name(other)} cannot be said: no part of this picture is known."
        )


def _moves(before: float, after: float, shown: Callable[[float], str], start: str) -> str:
    """ "falls from 9.4 to **3.8**"; where the shown numbers are the same, "stays at **9.4**"."""
    if shown(before) == shown(after):
        return f"stays at **{shown(after)}**"
    verb = "falls" if after < before else "rises"
    return f"{verb} {start + shown(before) + ' ' if start else ''}to **{shown(after)}**"


def _speak(subjects: Sequence[Any]) -> str:
    return "speaks" if len(subjects) == 1 else "speak"


def _over(images: int | None) -> str:
    return "many pictures" if images is None else f"{images:,} pictures"


def _at(layer: str, deepest: bool) -> str:
    return f"in the deepest stage ({layer})" if deepest else f"at {layer}"


def _in(place: str) -> str:
    if place == "center":
        return f"at its {place}"
    return f"on its {place}" if place.endswith("side") else f"in its {place}"
