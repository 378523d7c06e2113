"""How numbers and sentences are put on the page: percentages, plain numbers, and the parts of a sentence.

A sentence is cut twice. First into its clauses, found in the whole text so that what stands between them is
kept; then every clause into segments that are bold or not, and that mention a neuron or not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# "neurons 12, 87 (wheel) and 101" or "unit #12": only numbers announced by such a word are taken for neurons, and what is
# in brackets behind one is its concept, whatever digits that may hold. In Chinese: "神经元12、87（车轮）和101".
_NUMBER = r"#?\d+(?:\s+\([^()]*\)|（[^（）]*）)?"
_MENTIONS = re.compile(
    rf"(?:\b(?:neurons?|units?|channels?)\s+|神经元){_NUMBER}(?:(?:\s*,\s*(?:and\s+)?|\s+and\s+|[、和]){_NUMBER})*",
    re.IGNORECASE,
)
_IN_BRACKETS = re.compile(r"\([^()]*\)|（[^（）]*）")
_FRACTIONS = re.compile(r"probab|share|fraction|inside|outside|covers|part of|area|evidence", re.IGNORECASE)


@dataclass(frozen=True)
class Segment:
    """A run of text: bold or not, and the place in the document of the neuron it mentions, or None."""

    text: str
    bold: bool = False
    neuron: int | None = None


@dataclass(frozen=True)
class Part:
    """A piece of the sentence: a clause by its position, or (None) the words between two clauses."""

    clause: int | None
    segments: tuple[Segment, ...]


def percent(value: float | None) -> str:
    r"""A fraction as a percentage with one decimal; never rounded to a certainty it is not.

    >>> percent(0.93125), percent(0.99999), percent(0.0)
    ('93.1\xa0%', '>\xa099.9\xa0%', '0\xa0%')
    """
    if value is None or not math.isfinite(value):
        return "unknown"
    if 0 < value < 0.001:
        return "<\N{NO-BREAK SPACE}0.1\N{NO-BREAK SPACE}%"
    if 0.9995 <= value < 1:
        return ">\N{NO-BREAK SPACE}99.9\N{NO-BREAK SPACE}%"
    digits = 0 if value in (0, 1) else 1
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def bar_width(value: float | None) -> float:
    """How long a bar for this fraction is, in percent; nothing where the fraction is unknown."""
    return round(100 * min(max(value, 0.0), 1.0), 2) if value is not None and math.isfinite(value) else 0.0


def number(value: Any) -> str:
    """Any value of the document for a reader: three significant digits, lists joined, yes and no."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return "not finite"
        return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {number(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(number(entry) for entry in value)
    return str(value)


def outcome(value: float | None, target: Mapping[str, Any]) -> str:
    """What the target comes to: a percentage where it is a probability, else the plain score."""
    return percent(value) if target["probability"] is not None else number(value)


def labeled(label: str, value: Any) -> str:
    """A number beside its label: what the label calls a probability or a share is shown as a percentage."""
    if isinstance(value, float) and abs(value) <= 1 and _FRACTIONS.search(label):
        return percent(value) if value >= 0 else _mirrored(percent(-value))
    return number(value)


def _mirrored(text: str) -> str:
    """The percentage of the opposite number: "< 0.1 %" becomes "> −0.1 %"."""
    swapped = text.translate(str.maketrans("<>", "><"))
    return re.sub(r"(?=\d)", "\N{MINUS SIGN}", swapped, count=1)


def short_title(method: Mapping[str, Any]) -> str:
    """What a method is called where room is scarce: its title up to a colon, else its name.

    >>> short_title({"name": "layercam", "title": "LayerCAM: activations weighted by positive gradients"})
    'LayerCAM'
    """
    head = str(method["title"]).partition(":")[0]
    return head if 0 < len(head) <= 28 else str(method["name"])


def plain(text: str) -> str:
    """The text without its ``**bold**`` marks; an unpaired mark is an ordinary character."""
    return "".join(segment for segment, _ in _bold_runs(text))


def sentence(document: Mapping[str, Any]) -> tuple[Part, ...]:
    """The document's text as clauses and the words between them.

    A clause that does not stand in the text word for word makes the text unusable as a frame; the clauses are
    then put one after the other.
    """
    clauses: Sequence[Mapping[str, Any]] = document["clauses"]
    neurons = {(unit["layer"], unit["unit"]): place for place, unit in enumerate(document["neurons"])}
    whole, parts, cursor = plain(document["text"]), list[Part](), 0
    for place, clause in enumerate(clauses):
        words = plain(clause["text"])
        found = whole.find(words, cursor)
        if found < 0:
            return _joined(clauses, neurons)
        if found > cursor:
            parts.append(Part(None, (Segment(whole[cursor:found]),)))
        parts.append(Part(place, _segments(clause, neurons)))
        cursor = found + len(words)
    if cursor < len(whole):
        parts.append(Part(None, (Segment(whole[cursor:]),)))
    return tuple(parts)


def _joined(clauses: Sequence[Mapping[str, Any]], neurons: Mapping[tuple[str, int], int]) -> tuple[Part, ...]:
    parts: list[Part] = []
    for place, clause in enumerate(clauses):
        if place and not clause["text"].startswith((",", ".", ";", ":")):
            parts.append(Part(None, (Segment(" "),)))
        parts.append(Part(place, _segments(clause, neurons)))
    return tuple(parts)


def _bold_runs(text: str) -> list[tuple[str, bool]]:
    pieces = text.split("**")
    if len(pieces) % 2 == 0:
        return [(text, False)]
    return [(piece, bool(place % 2)) for place, piece in enumerate(pieces)]


def _segments(clause: Mapping[str, Any], neurons: Mapping[tuple[str, int], int]) -> tuple[Segment, ...]:
    """Cut a clause wherever boldness or the neuron spoken of changes."""
    runs = _bold_runs(clause["text"])
    text = "".join(piece for piece, _ in runs)
    bold = [flag for piece, flag in runs for _ in piece]
    mentioned = {int(index): neurons.get((layer, index)) for layer, index in reversed(clause["units"])}
    marks: list[int | None] = [None] * len(text)
    for run in _MENTIONS.finditer(text):
        bare = _IN_BRACKETS.sub(lambda found: " " * len(found.group()), run.group())
        for digits in re.finditer(r"#?(\d+)", bare):
            place = mentioned.get(int(digits.group(1)))
            for position in range(run.start() + digits.start(), run.start() + digits.end()):
                marks[position] = place
    segments: list[Segment] = []
    start = 0
    for position in range(1, len(text) + 1):
        if position == len(text) or (bold[position], marks[position]) != (bold[start], marks[start]):
            segments.append(Segment(text[start:position], bold[start], marks[start]))
            start = position
    return tuple(segments)
