"""What every language has: how names, numbers and lists are said, what numbers measure, and the fixed words of pages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pellucid.speech import text
from pellucid.speech.labels import ENGLISH


class Left(Protocol):
    """What is left of the target: its score, and its probability, None where it has none."""

    @property
    def score(self) -> float:
        """The score."""

    @property
    def probability(self) -> float | None:
        """The probability."""


class Against(Protocol):
    """Another class that was asked about."""

    @property
    def name(self) -> str:
        """The class."""

    @property
    def whole(self) -> Left:
        """What it has in the untouched picture."""

    @property
    def without(self) -> Left | None:
        """What it has without the regions of the sentence."""


class Quantity(Protocol):
    """A number as `label` and `value` print it; `pellucid.explanation.facts.Quantity` is one."""

    @property
    def key(self) -> str:
        """What it measures."""

    @property
    def value(self) -> float | str:
        """The value."""

    @property
    def kind(self) -> str:
        """What kind of value it is."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What it is about."""

    @property
    def spread(self) -> float | None:
        """How far it varies."""


class Speaker:
    """What every language has: names, numbers, lists, marks, and the fixed words of pages.

    Args:
        names: words of this language for names of classes and concepts; others stay as they are.

    Attributes:
        code: the language, as `pellucid.speech.languages.LANGUAGES` has it.
        html: the same, as HTML names languages.
        gap: what stands between two clauses.
        labels: what numbers measure, by the key of their quantity.
        page: the fixed words of pages, by their English.
        places: places of a picture, by their English.
    """

    code, html, gap = "en", "en", " "
    labels: Mapping[str, str] = ENGLISH
    page: Mapping[str, str] = {}
    places: Mapping[str, str] = {}

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self.names = names or {}

    def name(self, label: str) -> str:
        """A name as this language has it, which cannot break the marks."""
        return text.name(self.names.get(label, label))

    def bracketed(self, label: str) -> str:
        """The same for round brackets: its own become square ones."""
        return text.bracketed(self.names.get(label, label))

    def share(self, value: float, digits: int = 0) -> str:
        """A share as a percentage."""
        return text.percent(value, digits)

    def listed(self, words: Sequence[str]) -> str:
        """ "a, b and c"."""
        return text.listed(words)

    def amount(self, value: float, kind: str) -> str:
        """A probability as a percentage, a score as a number."""
        return self.share(value) if kind == "probability" else text.number(value)

    def fixed(self, words: str, *values: object) -> str:
        """The fixed words of a page, with ``{0}``, ``{1}`` … filled in."""
        return filled(self.page.get(words, words), dict(zip("0123456789", values, strict=False)))

    def caption(self, status: str, ratio: float | None) -> str:
        """What may be said of a picture painted for a unit.

        Args:
            status: "ok", or what is wrong with it.
            ratio: the unit's mean response to it over that to the best real picture; None where that is unknown.

        Example:
            >>> Speaker().caption("ok", 2.71), Speaker().caption("ok", 0.998)
            ('what it wants to see: 2.7 × the best real picture', 'painted, but only 0.99 × the best real picture')
            >>> Speaker().caption("never active", None)
            'painted, but never active: this is not what it wants to see'
        """
        if status != "ok":
            return self.fixed("painted, but {0}: this is not what it wants to see", self.fixed(status))
        if ratio is None:
            return self.fixed("what it wants to see; not compared with real pictures")
        if ratio <= 0:
            return self.fixed("painted, but real pictures excite it and this one does not")
        if ratio >= 1:
            return self.fixed("what it wants to see: {0} the best real picture", text.times(ratio))
        return self.fixed("painted, but only {0} the best real picture", text.times(ratio))

    def label(self, quantity: Quantity) -> str:
        """What a number measures."""
        about = {
            name: self.names.get(value, value) if isinstance(value, str) else text.number(value)
            for name, value in quantity.about.items()
        }
        return filled(self.labels[quantity.key], {**about, "kind": self.fixed(quantity.kind)})

    def value(self, quantity: Quantity) -> str:
        """A number as it stands beside its label."""
        value, kind = quantity.value, quantity.kind
        if isinstance(value, str):
            if kind == "place":
                return self.listed([self.places.get(each, each) for each in value.split("; ")])
            return self.names.get(value, self.page.get(value, value))
        if kind in ("probability", "share"):
            return self.share(value, 1)
        if kind == "iou":
            return text.iou(value)
        if kind == "count":
            return text.number(int(value))
        return text.measured(value, quantity.spread)

    def number(self, quantity: Quantity) -> str:
        """A number as a sentence of its own: "Area of the regions: 12.0 %."."""
        label = text.name(self.label(quantity))
        return f"{label[:1].upper()}{label[1:]}: {text.name(self.value(quantity))}."

    def unit(self, layer: str, unit: int, stressed: bool = False) -> str:
        """The number of a unit, which says of which unit it speaks."""
        return text.mention(text.bold(str(unit)) if stressed else str(unit), "unit", layer, unit)

    def part_name(self, name: str) -> str:
        """The name of a part in bold, which says of which part it speaks."""
        return text.mention(text.bold(self.name(name)), "part", name)


def filled(words: str, values: Mapping[str, object]) -> str:
    """The words with ``{name}`` replaced, by position or name; braces within values stay as they are.

    Example:
        >>> filled("{1} of {0}", {"0": "a", "1": "{0}"})
        '{0} of a'
    """
    return re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), words)
