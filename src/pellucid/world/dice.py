"""Random choices that are the same on every machine and in every Python version, and the paint of an object.

Only ``random.Random.random`` is used: the Mersenne twister behind it is guaranteed by the language to repeat
for a seed, which neither its convenience methods nor the distributions of numpy promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from .geometry import Loop, center
from .scene import Part, Shape
from .vocabulary import ACCENTS, COLORS, TEXTURES

T = TypeVar("T")

_TURNS = ((1.0, 0.0), (0.0, 1.0), (0.707107, 0.707107))
_BODY_MATERIALS = ("metal", "wood", "fabric", "feather", "stone")
_PANES = ("blue", "blue", "white", "yellow", "gray", "black", "green", "pink", "purple")


class Dice:
    """Draws from one of the independent streams of a seed."""

    def __init__(self, seed: int, stream: int = 0) -> None:
        self._next = Random(seed * 16 + stream).random

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self._next()

    def chance(self, share: float) -> bool:
        """True with the given probability."""
        return self._next() < share

    def pick(self, values: Sequence[T]) -> T:
        """One of the values, all equally likely."""
        return values[int(self._next() * len(values))]

    def count(self, low: int, high: int) -> int:
        """An integer in low..high, both included."""
        return low + int(self._next() * (high - low + 1))


@dataclass(frozen=True, slots=True)
class Coat:
    """Color, pattern and material of one piece."""

    color: str
    material: str | None
    texture: str = "solid"
    accent: str = "white"
    period: float = 0.2
    turn: tuple[float, float] = (1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Livery:
    """The paint of an object, drawn before its class is looked at, so that paint says nothing about class.

    ``main`` and ``second`` are for the big pieces, ``trim`` for what is small or thin, ``pane`` for glass.
    """

    main: Coat
    second: Coat
    trim: Coat
    pane: Coat
    lots: tuple[str, ...]

    @staticmethod
    def draw(dice: Dice) -> Livery:
        """Colors of the three coats differ; pattern, material and color are independent of each other."""
        main = dice.pick(COLORS)
        second = dice.pick([c for c in COLORS if c != main])
        trim = dice.pick([c for c in (*COLORS, "black", "black", "gray", "gray") if c not in (main, second)])
        pane = dice.pick([c for c in _PANES if c != main])
        return Livery(
            _patterned(dice, main, 0.62),
            _patterned(dice, second, 0.45),
            Coat(trim, dice.pick(("metal", "wood"))),
            Coat(pane, "glass"),
            tuple(dice.pick(COLORS) for _ in range(5)),
        )


def _patterned(dice: Dice, color: str, share: float) -> Coat:
    texture = dice.pick(TEXTURES[1:]) if dice.chance(share) else "solid"
    accent, period, turn = dice.pick(ACCENTS[color]), dice.between(0.17, 0.26), dice.pick(_TURNS)
    return Coat(color, dice.pick(_BODY_MATERIALS), texture, accent, period, turn)


def part(name: str, coat: Coat, *shapes: Shape | Loop, at: tuple[float, float] | None = None) -> Part:
    """A part painted with a coat; a bare outline is a filled shape; ``at`` is the landmark."""
    made = tuple(s if isinstance(s, Shape) else Shape((s,)) for s in shapes)
    landmark = center(made[0].loops[0]) if at is None else at
    paint = (coat.material, coat.texture, coat.accent, coat.period, coat.turn)
    return Part(name, made, coat.color, landmark, *paint)


def lines(
    width: float, *loops: Loop, outline: float = 0.025, color: str | None = None, tone: float = 0.0
) -> Shape:
    """Thick open lines without a pattern."""
    return Shape(loops, width=width, outline=outline, color=color, tone=tone, plain=True)


def detail(
    *loops: Loop,
    color: str | None = None,
    tone: float = 0.0,
    outline: float = 0.0,
    material: str | None = None,
) -> Shape:
    """A small filled shape on top of a part, without pattern."""
    return Shape(loops, color=color, tone=tone, outline=outline, material=material, plain=True)
