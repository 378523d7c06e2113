"""How a document's numbers and sentences are put on the page.

Numbers are written by `pellucid.speech.text`, with spaces at which no line ends. A sentence is its clauses, each cut by its
marks: what is bold, and which neuron of the page it mentions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pellucid.speech import text
from pellucid.speech.english import English
from pellucid.speech.languages import speaker_of
from pellucid.speech.speaking import Speaker


@dataclass(frozen=True)
class Segment:
    """A run of text: bold or not, and the place in the document of the neuron, or the number of the region, it mentions."""

    text: str
    bold: bool = False
    neuron: int | None = None
    spot: str | None = None


@dataclass(frozen=True)
class Spot:
    """A region of the short sentence, as its card shows it."""

    number: int
    title: str
    others: str
    score: float
    probability: float | None
    confidence: float | None


@dataclass(frozen=True)
class Part:
    """A piece of the sentence: a clause by its position, or (None) what stands between two clauses."""

    clause: int | None
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Number:
    """A quantity as a document holds it."""

    key: str
    value: float | str
    kind: str
    about: Mapping[str, Any] = field(default_factory=dict)
    spread: float | None = None
    label: str = ""


def percent(value: float | None, digits: int = 1) -> str:
    r"""A share as a percentage with one decimal, on one line.

    >>> percent(0.93125), percent(0.99999), percent(0.0)
    ('93.1\xa0%', '>99.9\xa0%', '0\xa0%')
    """
    return text.unbroken(text.percent(value, digits))


def answered(entry: Mapping[str, Any]) -> str:
    """What the network answers: the probability of a class, or a plain number."""
    return text.number(entry["output"]) if entry["probability"] is None else percent(entry["probability"])


def outcome(value: float | None, target: Mapping[str, Any]) -> str:
    """What the target comes to: a percentage where it is a probability, else the plain score."""
    return percent(value) if target["probability"] is not None else text.number(value)


def short_title(method: Mapping[str, Any]) -> str:
    """What a method is called where room is scarce: its title up to a colon, else its name.

    >>> short_title({"name": "layercam", "title": "LayerCAM: activations weighted by positive gradients"})
    'LayerCAM'
    """
    head = str(method["title"]).partition(":")[0]
    return head if 0 < len(head) <= 28 else str(method["name"])


def speaker(document: Mapping[str, Any]) -> English:
    """Who says the fixed words and numbers of a document's page, in its language."""
    return speaker_of(document.get("language", "en"), document.get("names", {}))


def sentence(document: Mapping[str, Any]) -> tuple[Part, ...]:
    """The document's clauses in its language, and what stands between them."""
    voice = speaker(document)
    neurons = {(unit["layer"], str(unit["unit"])): place for place, unit in enumerate(document["neurons"])}
    parts: list[Part] = []
    for place, clause in enumerate(document["clauses"]):
        if place and voice.gap:
            parts.append(Part(None, (Segment(voice.gap),)))
        marked = clause["texts"].get(voice.code, clause["text"])
        parts.append(Part(place, tuple(_segment(each, neurons) for each in text.segments(marked))))
    return tuple(parts)


def brief(document: Mapping[str, Any]) -> tuple[Segment, ...]:
    """The short sentence in the document's language."""
    voice = speaker(document)
    marked = document["brief"]["texts"].get(voice.code, document["brief"]["text"])
    return tuple(_segment(each, {}) for each in text.segments(marked))


def spots(document: Mapping[str, Any]) -> tuple[Spot, ...]:
    """The regions that the short sentence speaks of."""
    voice = speaker(document)
    found = []
    for each in document["spots"]:
        region = document["regions"][str(each["number"])]
        title = text.plain(voice.seen(each, others=False))
        others = voice.either([voice.name(word) for word in each["others"]]) if each["others"] else ""
        effect = region["effect"]
        found.append(
            Spot(
                each["number"],
                title[:1].upper() + title[1:],
                text.plain(others),
                effect["score"],
                effect["probability"],
                region["confidence"] if each["word"] is not None else None,
            )
        )
    return tuple(found)


def _segment(segment: text.Segment, neurons: Mapping[tuple[str, str], int]) -> Segment:
    """A run with the neuron it mentions, where the page has its card."""
    place = neurons.get((segment.about[1], segment.about[2])) if segment.about[:1] == ("unit",) else None
    spot = segment.about[1] if segment.about[:1] == ("region",) else None
    return Segment(segment.text, segment.bold, place, spot)


def numbers(clause: Mapping[str, Any], voice: Speaker) -> list[tuple[str, str]]:
    """What the numbers of a clause measure, and how they are written, in a language."""
    quantities = [Number(**quantity) for quantity in clause["numbers"]]
    return [(voice.label(each), _value(each, voice)) for each in quantities]


def _value(quantity: Number, voice: Speaker) -> str:
    shown = voice.value(quantity)
    return shown if isinstance(quantity.value, str) else text.unbroken(shown)
