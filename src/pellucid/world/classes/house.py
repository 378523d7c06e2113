"""House."""

from __future__ import annotations

from ..dice import Dice, Livery, detail, lines, part
from ..geometry import Loop, box, ellipse, rounded
from ..scene import Part, Shape


def house(dice: Dice, paint: Livery) -> list[Part]:
    """Wall with door and windows under a gable or hipped roof with a chimney."""
    half, eave, floor = dice.between(0.62, 0.86), dice.between(-0.2, -0.05), 0.78
    ridge = eave - dice.between(0.5, 0.7)
    flat = dice.pick((0.0, 0.0, 0.3, 0.5)) * half
    over = 0.14
    parts: list[Part] = []
    if dice.chance(0.75):
        x, top = dice.between(0.3, 0.5) * half * dice.pick((-1.0, 1.0)), ridge - dice.between(0.0, 0.1)
        cap = detail(box(x - 0.13, top - 0.07, x + 0.13, top + 0.02), tone=-0.2, outline=0.02)
        parts.append(part("chimney", paint.trim, box(x - 0.1, top, x + 0.1, eave), cap, at=(x, top + 0.06)))
    block = box(-half, eave - 0.02, half, floor)
    parts.append(part("wall", paint.main, block, at=(half - 0.06, floor - 0.08)))
    slope: Loop = (-half - over, eave, -flat, ridge, flat, ridge, half + over, eave)
    if flat == 0.0:
        slope = (-half - over, eave, 0.0, ridge, half + over, eave)
    parts.append(part("roof", paint.second, slope, at=(0.0, eave - 0.12)))
    wide, tall = dice.between(0.13, 0.17), dice.between(0.46, 0.54)
    slots = [-0.62 * half, 0.0, 0.62 * half] if half > 0.72 else [-0.5 * half, 0.5 * half]
    chosen = dice.count(0, len(slots) - 1)
    for i, x in enumerate(slots):
        if i == chosen:
            knob = detail(ellipse(x + 0.55 * wide, floor - 0.45 * tall, 0.03, steps=8), color="yellow")
            frame = rounded(x - wide, floor - tall, x + wide, floor, 0.03)
            parts.append(part("door", paint.trim, frame, knob))
        elif dice.chance(0.9):
            parts.append(_window(paint, x, 0.3 * eave + 0.3 * floor + 0.08, wide + 0.02))
    if flat == 0.0 and dice.chance(0.5):
        y = eave - 0.2
        cross = lines(
            0.03, (-0.1, y, 0.1, y), (0.0, y - 0.1, 0.0, y + 0.1), outline=0.0, color=paint.trim.color
        )
        disc = Shape((ellipse(0.0, y, 0.13, steps=16),), outline=0.04)
        parts.append(part("window", paint.pane, disc, cross, at=(0.05, y - 0.05)))
    return parts


def _window(paint: Livery, x: float, y: float, r: float) -> Part:
    bars = lines(0.035, (x - r, y, x + r, y), (x, y - r, x, y + r), outline=0.0, color=paint.trim.color)
    pane = Shape((box(x - r, y - r, x + r, y + r),), outline=0.045)
    return part("window", paint.pane, pane, bars, at=(x + 0.4 * r, y - 0.4 * r))
