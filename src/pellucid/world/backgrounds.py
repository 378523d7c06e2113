"""The eight backgrounds, and the stuff that may stand in front of the object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .dice import Dice
from .geometry import box, ellipse
from .scene import Part, stuff
from .stuff import (
    backdrop,
    building,
    cactus,
    cloud,
    fir,
    flat,
    leafy,
    mountain,
    post,
    rock,
    strokes,
    sun,
    terrain,
    tuft,
    waves,
)

_STREAM, _FRONT_STREAM = 1, 2
_AIR = (("blue", 0.45), ("blue", 0.3), ("blue", 0.55), ("gray", 0.5), ("orange", 0.5), ("pink", 0.5))
_PLASTER = ("gray", "brown", "blue", "red", "purple", "orange")


@dataclass(frozen=True, slots=True)
class Background:
    """Stuff behind the object; ``floor``: range of heights objects stand on, None where they float freely."""

    parts: tuple[Part, ...]
    floor: tuple[float, float] | None = None


def draw_background(scene: str, seed: int) -> Background:
    """The background of a kind for a seed; it does not depend on the object in front of it."""
    return _BACKGROUNDS[scene](Dice(seed, _STREAM))


def _air(dice: Dice, bottom: float) -> Part:
    color, tone = dice.pick(_AIR)
    return backdrop("air", color, -0.1, bottom, tone=tone, shade=(-0.1, 0.35))


def _clouds(
    dice: Dice, low: int, high: int, top: float, bottom: float, size: tuple[float, float]
) -> list[Part]:
    count = dice.count(low, high)
    made = []
    for k in range(count):
        x = (k + dice.between(0.1, 0.9)) / count
        made.append(cloud(dice, x, dice.between(top, bottom), dice.between(*size)))
    return made


def _sky(dice: Dice) -> Background:
    parts = [_air(dice, 1.1)]
    if dice.chance(0.5):
        parts.append(sun(dice.between(0.12, 0.88), dice.between(0.1, 0.3), dice.between(0.06, 0.1)))
    parts += _clouds(dice, 2, 4, 0.1, 0.5, (0.08, 0.16))
    parts += _clouds(dice, 2, 3, 0.75, 0.98, (0.14, 0.26))
    return Background(tuple(parts))


def _open_sea(dice: Dice) -> Background:
    horizon = dice.between(0.42, 0.56)
    parts = [_air(dice, horizon + 0.02)]
    if dice.chance(0.5):
        parts.append(sun(dice.between(0.12, 0.88), dice.between(0.12, horizon), dice.between(0.06, 0.1)))
    parts += _clouds(dice, 1, 3, 0.08, horizon - 0.12, (0.06, 0.12))
    if dice.chance(0.35):
        x, width = dice.between(0.1, 0.9), dice.between(0.2, 0.4)
        parts.append(mountain(dice, x, horizon, width, 0.08, "gray", 0.2, False))
    parts.append(backdrop("water", "blue", horizon, 1.1, tone=dice.between(-0.2, 0.05), shade=(0.16, -0.16)))
    parts.append(waves(dice, horizon + 0.05, 0.97, dice.count(9, 13)))
    return Background(tuple(parts), (max(horizon + 0.1, 0.66), 0.88))


def _underwater(dice: Dice) -> Background:
    color = dice.pick(("blue", "blue", "green"))
    deep = dice.between(-0.28, -0.08)
    parts = [backdrop("water", color, -0.1, 1.1, tone=deep, shade=(0.3, -0.3))]
    rays = []
    for k in range(dice.count(2, 4)):
        x, w = 0.05 + 0.28 * k + dice.between(0.0, 0.15), dice.between(0.03, 0.06)
        rays.append((x, -0.1, x + w, -0.1, x + 2.6 * w - 0.16, 1.1, x - 1.6 * w - 0.16, 1.1))
    parts.append(stuff("water", color, flat(*rays, tone=deep + 0.14, shade=(0.3, -0.3))))
    bottom = dice.between(0.84, 0.92)
    parts.append(terrain(dice, "sand", "yellow", bottom, 0.03, -0.12))
    for k in range(dice.count(2, 4)):
        x = (k + dice.between(0.0, 0.7)) * 0.3
        weed = dice.pick(("green", "purple", "red"))
        height, blades = dice.between(0.14, 0.34), dice.count(3, 5)
        parts.append(tuft(dice, "plant", weed, x, bottom + 0.06, height, blades, -0.2))
    if dice.chance(0.6):
        parts.append(rock(dice, dice.between(0.1, 0.9), bottom + 0.06, dice.between(0.07, 0.13)))
    places = [
        (dice.between(0.05, 0.95), dice.between(0.05, 0.75), dice.between(0.01, 0.022)) for _ in range(8)
    ]
    bubbles = [ellipse(x, y, r, steps=12) for x, y, r in places]
    parts.append(stuff("water", color, flat(*bubbles, tone=0.5)))
    return Background(tuple(parts))


def _road(dice: Dice) -> Background:
    horizon = dice.between(0.4, 0.52)
    parts = [_air(dice, horizon + 0.1)]
    parts += _clouds(dice, 1, 3, 0.08, horizon - 0.16, (0.06, 0.11))
    parts.append(terrain(dice, "grass", "green", horizon - 0.05, 0.05, 0.25))
    parts.append(terrain(dice, "grass", "green", horizon + 0.05, 0.015, 0.05))
    for _ in range(dice.count(1, 3)):
        x, y = dice.between(0.05, 0.95), horizon + dice.between(0.08, 0.12)
        parts.append(leafy(dice, x, y, dice.between(0.16, 0.3), "green", -0.15))
    top, bottom = dice.between(0.66, 0.72), 0.97
    parts.append(backdrop("road surface", "gray", top, bottom, tone=-0.42, shade=(0.06, -0.06)))
    edge = dice.pick(("white", "yellow"))
    parts.append(stuff("road surface", edge, flat(box(-0.1, top + 0.015, 1.1, top + 0.028))))
    shift, mid = dice.between(0.0, 0.2), 0.5 * (top + bottom) + 0.01
    starts = [x + shift for x in (-0.2, 0.0, 0.2, 0.4, 0.6, 0.8)]
    dashes = [box(x, mid, x + 0.11, mid + 0.02) for x in starts]
    parts.append(stuff("road surface", "white", flat(*dashes)))
    return Background(tuple(parts), (top + 0.06, bottom - 0.03))


def _city(dice: Dice) -> Background:
    ground = dice.between(0.74, 0.8)
    parts = [_air(dice, ground + 0.02)]
    for depth, (tone, low, high) in enumerate(((0.35, 0.36, 0.66), (0.05, 0.2, 0.46))):
        x = dice.between(-0.12, -0.02)
        while x < 1.0:
            width, height = dice.between(0.13, 0.22), dice.between(low, high)
            if depth == 0 or dice.chance(0.8):
                color = dice.pick(_PLASTER if depth else ("gray", "blue"))
                parts.append(building(dice, x, ground + 0.01, width, height, color, tone))
            x += width + dice.between(0.0, 0.04)
    parts.append(backdrop("road surface", "gray", ground, 1.1, tone=-0.2, shade=(0.1, -0.1)))
    curb = flat(box(-0.1, ground, 1.1, ground + 0.045), tone=0.3)
    parts.append(stuff("road surface", "gray", curb))
    spots = [(dice.between(0.08, 0.92), dice.between(0.26, 0.34)) for _ in range(dice.count(0, 2))]
    parts += [post(x, ground + 0.03, height) for x, height in spots]
    return Background(tuple(parts), (ground + 0.04, 0.95))


def _forest(dice: Dice) -> Background:
    ground = dice.between(0.68, 0.76)
    parts = [backdrop("air", dice.pick(("blue", "green", "yellow")), -0.1, 1.1, tone=0.6, shade=(0.0, 0.1))]
    for tone, low, high, count in ((0.3, 0.4, 0.6, 8), (-0.02, 0.42, 0.7, 6), (-0.3, 0.5, 0.74, 4)):
        for k in range(count):
            x, height = (k + dice.between(0.0, 1.0)) / count, dice.between(low, high)
            y = ground + 0.02 - 0.02 * tone
            if dice.chance(0.6):
                parts.append(fir(x, y, height, "green", tone - 0.1))
            else:
                leaf = dice.pick(("green", "green", "orange", "yellow"))
                parts.append(leafy(dice, x, y, 0.85 * height, leaf, tone))
    parts.append(terrain(dice, "grass", "green", ground, 0.015, -0.12, (0.12, -0.14)))
    for _ in range(dice.count(2, 4)):
        x, y = dice.between(0.0, 1.0), dice.between(ground + 0.06, 0.98)
        parts.append(tuft(dice, "grass", "green", x, y, 0.06, 5, 0.1))
    return Background(tuple(parts), (ground + 0.06, 0.95))


def _desert(dice: Dice) -> Background:
    horizon = dice.between(0.5, 0.6)
    parts = [_air(dice, horizon + 0.15)]
    if dice.chance(0.7):
        parts.append(sun(dice.between(0.12, 0.88), dice.between(0.12, 0.32), dice.between(0.07, 0.11)))
    if dice.chance(0.6):
        x, width, height = dice.between(0.1, 0.9), dice.between(0.3, 0.6), dice.between(0.12, 0.24)
        parts.append(mountain(dice, x, horizon + 0.04, width, height, "brown", 0.3, False))
    sand = dice.pick(("yellow", "orange", "yellow"))
    tones = (0.28, 0.12, -0.04) if sand == "yellow" else (0.5, 0.36, 0.24)
    parts.append(terrain(dice, "sand", sand, horizon, 0.05, tones[0]))
    parts.append(terrain(dice, "sand", sand, horizon + 0.12, 0.05, tones[1]))
    for _ in range(dice.count(1, 3)):
        x, y = dice.between(0.04, 0.96), horizon + dice.between(0.1, 0.2)
        parts.append(cactus(x, y, dice.between(0.2, 0.38), -0.2))
    parts.append(terrain(dice, "sand", sand, horizon + 0.25, 0.03, tones[2]))
    for _ in range(dice.count(0, 2)):
        x, y, size = dice.between(0.05, 0.95), dice.between(0.84, 0.96), dice.between(0.04, 0.08)
        parts.append(rock(dice, x, y, size, "brown", 0.1))
    return Background(tuple(parts), (horizon + 0.27, 0.95))


def _snow(dice: Dice) -> Background:
    horizon = dice.between(0.48, 0.58)
    color = dice.pick(("blue", "blue", "gray", "purple"))
    parts = [backdrop("air", color, -0.1, 1.1, tone=0.35, shade=(-0.05, 0.3))]
    for k in range(dice.count(2, 3)):
        x = 0.38 * k + dice.between(-0.05, 0.3)
        width, height, color = dice.between(0.5, 0.8), dice.between(0.24, 0.4), dice.pick(("gray", "blue"))
        parts.append(mountain(dice, x, horizon + 0.05, width, height, color, 0.1, True))
    parts.append(terrain(dice, "snow cover", "white", horizon, 0.03, -0.1, (0.0, 0.0)))
    for _ in range(dice.count(2, 5)):
        x, y = dice.between(0.02, 0.98), horizon + dice.between(0.04, 0.16)
        parts.append(fir(x, y, dice.between(0.2, 0.36), "green", -0.2, snowy=True))
    parts.append(terrain(dice, "snow cover", "white", horizon + 0.2, 0.02, -0.02, (0.0, -0.05)))
    places = [
        (dice.between(0.0, 1.0), dice.between(0.0, 0.95), dice.between(0.006, 0.011)) for _ in range(26)
    ]
    flakes = [ellipse(x, y, r, steps=8) for x, y, r in places]
    parts.append(stuff("snow cover", "white", flat(*flakes, shade=(0.0, 0.0))))
    return Background(tuple(parts), (horizon + 0.23, 0.95))


_BACKGROUNDS: dict[str, Callable[[Dice], Background]] = {
    "sky": _sky,
    "open sea": _open_sea,
    "underwater": _underwater,
    "road": _road,
    "city": _city,
    "forest": _forest,
    "desert": _desert,
    "snow": _snow,
}


def draw_front(
    scene: str, seed: int, where: tuple[float, float, float, float], share: float
) -> tuple[Part, ...]:
    """With probability ``share``, one piece of stuff that covers a corner or a strip of the object's box."""
    dice = Dice(seed, _FRONT_STREAM)
    if not dice.chance(share):
        return ()
    x0, y0, x1, y1 = where
    width, height = x1 - x0, y1 - y0
    x = x0 + width * (dice.between(0.0, 0.2) if dice.chance(0.5) else dice.between(0.8, 1.0))
    low = y1 + dice.between(0.0, 0.04)
    if scene == "sky":
        return (cloud(dice, x, y1 - dice.between(0.0, 0.25) * height, dice.between(0.09, 0.14)),)
    if scene == "open sea":
        y = y1 - dice.between(0.06, 0.14) * height
        crest = tuple(v for k in range(9) for v in (-0.1 + 0.15 * k, y + (0.018 if k % 2 else 0.0)))
        body = flat((*crest, 1.1, y + 0.09, -0.1, y + 0.09), tone=0.08, shade=(0.2, -0.1))
        return (stuff("water", "blue", body, strokes(0.01, crest, tone=0.5)),)
    if scene == "underwater":
        weed = dice.pick(("green", "red", "purple"))
        return (tuft(dice, "plant", weed, x, max(low, 0.9) + 0.02, 0.5 * height + 0.1, 3, -0.1),)
    if scene in ("road", "city") and dice.chance(0.5):
        return (post(x, low + 0.02, min(low - 0.05, height + 0.12)),)
    if scene == "desert":
        return (cactus(x, low + 0.02, dice.between(0.24, 0.34), -0.1),)
    if scene in ("forest", "snow") and dice.chance(0.5):
        return (fir(x, low + 0.03, dice.between(0.3, 0.42), "green", -0.1, snowy=scene == "snow"),)
    if scene == "snow":
        return (rock(dice, x, low + 0.02, dice.between(0.1, 0.15), "white", -0.04),)
    return (tuft(dice, "grass", "green", x, low + 0.02, dice.between(0.12, 0.2), 5, 0.0),)
