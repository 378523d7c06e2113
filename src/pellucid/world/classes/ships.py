"""Sailboat and cargo ship."""

from __future__ import annotations

from ..dice import Coat, Dice, Livery, detail, lines, part
from ..geometry import Loop, box, rounded, smooth
from ..scene import Part, Shape


def sailboat(dice: Dice, paint: Livery) -> list[Part]:
    """Curved hull, mast, a main sail behind it and mostly a smaller one before it, flag."""
    top = dice.between(0.42, 0.5)
    mast = dice.between(-0.06, 0.14)
    back, front = dice.between(-0.74, -0.6), dice.between(0.62, 0.8)
    peak = -0.92
    hull: Loop = (-0.84, top, 0.98, top - 0.04, 0.74, top + 0.28, 0.55, top + 0.38)
    hull += (-0.56, top + 0.38, -0.7, top + 0.3)
    rim = detail((-0.84, top, 0.98, top - 0.04, 0.93, top + 0.06, -0.81, top + 0.08), tone=-0.25)
    pole = lines(0.07, (mast, top + 0.02, mast, peak - 0.08))
    parts = [part("mast", paint.trim, pole, at=(mast, top - 0.1))]
    bulge = dice.between(0.06, 0.2)
    main: Loop = (mast - 0.06, peak + 0.02, mast - 0.06, top - 0.16, back, top - 0.14)
    main += (0.45 * back + 0.55 * mast - bulge, -0.22 - 0.3 * bulge)
    parts.append(part("sail", paint.main, main, at=(mast - 0.2, top - 0.35)))
    if dice.chance(0.75):
        low = dice.between(-0.75, -0.45)
        jib: Loop = (mast + 0.07, low, 0.55 * mast + 0.45 * front + 0.14, -0.08, front, top - 0.12)
        jib += (mast + 0.07, top - 0.16)
        parts.append(part("sail", paint.second, jib, at=(mast + 0.2, top - 0.3)))
    coat = paint.second if dice.chance(0.5) else paint.main
    parts.append(part("hull", coat, hull, rim, at=(0.0, top + 0.2)))
    for k in range(dice.count(0, 3)):
        x = -0.35 + 0.3 * k
        porthole = rounded(x - 0.07, top + 0.13, x + 0.07, top + 0.25, 0.06)
        parts.append(part("window", paint.pane, Shape((porthole,), outline=0.02)))
    if dice.chance(0.7):
        cloth = (mast - 0.02, peak - 0.22, mast - 0.36, peak - 0.14, mast - 0.02, peak - 0.03)
        top_pole = lines(0.04, (mast, peak - 0.2, mast, peak - 0.05), color=paint.trim.color)
        parts.append(
            part("flag", Coat(paint.lots[0], "fabric"), cloth, top_pole, at=(mast - 0.12, peak - 0.13))
        )
    return parts


def cargo_ship(dice: Dice, paint: Livery) -> list[Part]:
    """Long hull with stacked containers, a tall cabin and a chimney at the stern, a crane mast at the bow."""
    deck, keel = dice.between(0.1, 0.16), dice.between(0.5, 0.58)
    hull: Loop = (-1.0, deck - 0.06, -0.6, deck - 0.06, -0.58, deck, 0.74, deck)
    hull += (0.78, deck - 0.1, 1.06, deck - 0.14, 0.9, keel, -0.92, keel)
    belly = detail((-0.955, keel - 0.14, 0.945, keel - 0.14, 0.9, keel, -0.92, keel), color=paint.trim.color)
    parts = _superstructure(paint, deck, dice.between(0.5, 0.66))
    pole = lines(0.055, (0.88, deck, 0.88, deck - 0.52), (0.88, deck - 0.2, 0.64, deck - 0.56))
    parts.append(part("mast", paint.trim, pole, at=(0.88, deck - 0.3)))
    parts += _containers(dice, paint, deck)
    parts.append(part("hull", paint.main, smooth(hull, 1), belly, at=(0.0, deck + 0.14)))
    return parts


def _superstructure(paint: Livery, deck: float, high: float) -> list[Part]:
    smoke = rounded(-0.97, deck - high - 0.22, -0.79, deck, 0.02)
    band = detail(box(-0.955, deck - high - 0.12, -0.805, deck - high - 0.04), color=paint.second.color)
    parts = [part("chimney", paint.trim, smoke, band, at=(-0.88, deck - high - 0.16))]
    tower = (-0.9, deck - high, -0.5, deck - high, -0.5, deck, -0.9, deck)
    parts.append(part("cabin", paint.second, tower, at=(-0.7, deck - 0.08)))
    for row in range(2):
        for k in range(2):
            x, y = -0.85 + 0.17 * k, deck - high + 0.08 + 0.19 * row
            parts.append(part("window", paint.pane, Shape((box(x, y, x + 0.12, y + 0.12),), outline=0.02)))
    return parts


def _containers(dice: Dice, paint: Livery, deck: float) -> list[Part]:
    parts = []
    columns, size = dice.count(3, 4), dice.between(0.19, 0.23)
    length = (1.2 - 0.02) / columns
    for k in range(columns):
        for row in range(dice.count(1, 3)):
            x, y = -0.46 + length * k, deck - 0.005 - size * row
            crate = box(x, y - size, x + length - 0.02, y)
            ribs = [(x + f * length, y - size + 0.03, x + f * length, y - 0.03) for f in (0.3, 0.5, 0.7)]
            coat = Coat(dice.pick(paint.lots), "metal")
            parts.append(part("container", coat, crate, lines(0.02, *ribs, outline=0.0, tone=-0.3)))
    return parts
