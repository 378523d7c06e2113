"""What is known of one explanation, before any word is chosen: quantities, clauses, units, regions, removals, costs.

A clause is a phrase with its facts: which function of a speaker says it, and of what (`pellucid.speech`). Its numbers are
quantities, which stay values until they are printed; their labels belong to the languages (`pellucid.speech.labels`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from pellucid.core.precision import exact
from pellucid.explanation.concepts import Meaning
from pellucid.speech.languages import said, speaker_of
from pellucid.visualization.painted import Painted

Box = tuple[int, int, int, int]
Kind = Literal["probability", "share", "score", "count", "iou", "correlation", "name", "place"]


@dataclass(frozen=True)
class Quantity:
    """One number of a clause, or a name that stands for one.

    Args:
        key: what it measures, a key of `pellucid.speech.labels`.
        value: the value itself.
        kind: of value, which decides how it is printed.
        about: what it is about, by the blanks of its label: names of classes, parts and layers, indices, counts.
        spread: how far it varies (a standard error), which decides how many digits are printed; None where nothing is known.
        said: whether the text ends with it, as a sentence of its own; most numbers are in its phrase, or beside it.
    """

    key: str
    value: float | str
    kind: Kind
    about: Mapping[str, Any] = field(default_factory=dict)
    spread: float | None = None
    said: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data, with what it measures in English."""
        return {
            "key": self.key,
            "value": self.value,
            "kind": self.kind,
            "about": dict(self.about),
            "spread": self.spread,
            "label": speaker_of("en").label(self),
        }


@dataclass(frozen=True)
class Clause:
    """One thing that can be said, and what it rests on.

    Args:
        kind: what sort of thing: prediction, region, part, units, doubt, failure …
        phrase: the function of a speaker that says it.
        facts: that function's arguments.
        numbers: every number of its text, and some more that it rests on.
        layer: of which it speaks.
        method: whose map it speaks of.
        units: (layer, index) of the units it speaks of.
        box: (top, left, bottom, right) on the network's input, end excluded.
        concepts: what units respond to, as `Meaning.to_json` says it.
        part: the region it speaks of, by name in `Explanation.regions`.
    """

    kind: str
    phrase: str
    facts: Mapping[str, Any]
    numbers: tuple[Quantity, ...] = ()
    layer: str | None = None
    method: str | None = None
    units: tuple[tuple[str, int], ...] = ()
    box: Box | None = None
    concepts: tuple[Mapping[str, Any], ...] = ()
    part: str | None = None

    @property
    def text(self) -> str:
        """What it says in English, with its marks (`pellucid.speech.text`)."""
        return self.say()

    def say(self, language: str = "en", names: Mapping[str, str] | None = None) -> str:
        """What it says in a language, with its marks; ``names``: of classes and concepts in that language."""
        return said(self, speaker_of(language, names))

    def value(self, key: str, **about: Any) -> float | str:
        """A number of the clause: the first of this key that is about these.

        Raises:
            KeyError: where there is none; the message lists those there are.
        """
        for quantity in self.numbers:
            if quantity.key == key and all(quantity.about.get(name) == each for name, each in about.items()):
                return quantity.value
        have = ", ".join(f"`{quantity.key}`" for quantity in self.numbers) or "none"
        raise KeyError(
            f"Expected a number of the clause `{self.phrase}`, got `{key}` {about}; it has {have}."
        )


def clause(
    kind: str, phrase: str, facts: Mapping[str, Any], numbers: list[Quantity] | None = None, **rest: Any
) -> Clause:
    """A clause, with its numbers as a list."""
    return Clause(kind, phrase, facts, tuple(numbers or ()), **rest)


@dataclass(frozen=True)
class Effect:
    """What is left of the target: its score and its probability (None where the target is a function)."""

    score: float
    probability: float | None


def left(what: str, effect: Effect, **about: Any) -> list[Quantity]:
    """Score and probability of an effect, as quantities ``WHAT.score`` and ``WHAT.probability``."""
    numbers = [Quantity(f"{what}.score", effect.score, "score", about)]
    if effect.probability is not None:
        numbers.append(Quantity(f"{what}.probability", effect.probability, "probability", about))
    return numbers


@dataclass(frozen=True, eq=False)
class Region:
    """A region of the picture that clauses point at.

    Args:
        mask: bool [height width] at input size.
        words: what it may be called, the surest first; none where no word is sure.
        confidence: of the first word, in [0, 1]; None where it was not measured.
        effect: what is left of the target with the region filled in; None where that was not measured.
        number: by which the sentence and the picture name it, from 1 in the order of effects; None for regions that are not
            listed (the object, its surroundings).
        box: bounding box of the mask.
    """

    mask: Tensor
    words: tuple[str, ...] = ()
    confidence: float | None = None
    effect: Effect | None = None
    number: int | None = None
    box: Box | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data, without the mask."""
        return {
            "box": listed(self.box),
            "area": float(exact(self.mask).mean()),
            "words": list(self.words),
            "confidence": self.confidence,
            "effect": None if self.effect is None else {"score": self.effect.score, "probability": self.effect.probability},
            "number": self.number,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Neuron:
    """An important unit in one image: its score, the share of its layer's positive total, and where it was active.

    Args:
        region: bool mask [height width] at input size of where it was most active.
        removed: the target's probability with the unit set to zero.
        removed_score: its score then.
        cited: removing it lowers the score, so that it may be called evidence.
        meaning: what the unit responds to over many pictures, None without a table.
        painted: what it wants to see, None where no picture was painted.
    """

    layer: str
    unit: int
    criterion: str
    score: float
    share: float
    rank: int
    region: Tensor
    box: Box | None
    removed: float | None
    removed_score: float | None
    cited: bool = True
    meaning: Meaning | None = None
    painted: Painted | None = None

    @property
    def concept(self) -> str | None:
        """Name of the concept the unit detects; None without a table, or where its IoU is not above 0.04."""
        return self.meaning.concept if self.meaning is not None and self.meaning.named else None

    @property
    def strength(self) -> str | None:
        """ "strong" or "weak" by the concept's IoU on held-out pictures; None without a concept or such pictures."""
        return self.meaning.strength if self.meaning is not None and self.meaning.named else None

    @property
    def iou(self) -> float | None:
        """IoU of the unit with its best concept, named or not; None without a table."""
        return None if self.meaning is None else self.meaning.iou

    @property
    def held_out(self) -> float | None:
        """IoU on pictures that had no part in choosing the concept; None without them."""
        return None if self.meaning is None or self.meaning.held_out is None else self.meaning.held_out[1]


@dataclass(frozen=True)
class Removal:
    """What happens to the target when important units are set to zero together, and random ones of equal number.

    ``before``, ``after`` and ``random`` are probabilities (the score itself where the target is a function); the scores
    beside them do not saturate. The random ones are means over ``draws``, of which ``score_spread`` is the standard error.
    """

    layer: str
    units: tuple[int, ...]
    before: float
    after: float
    random: float
    score_before: float
    score_after: float
    score_random: float
    draws: int
    score_spread: float | None = None


@dataclass(frozen=True)
class Cost:
    """What the explanation took, counted at the network (`pellucid.core.counting`): images that went through it.

    Args:
        forward: whole passes.
        backward: passes of gradients.
        tail_runs: passes of the part behind a layer.
        parts: how many of the forward passes were for parts and contrast, at most 40.
        recognizer: pictures a recognizer looked at, which is another network.
    """

    forward: int
    backward: int
    tail_runs: int
    parts: int = 0
    recognizer: int = 0


def listed(box: Box | None) -> list[int] | None:
    """A box as JSON holds it."""
    return None if box is None else list(box)
