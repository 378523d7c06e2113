"""Airliner and helicopter."""

from __future__ import annotations

from ..dice import Dice, Livery, detail, lines, part
from ..geometry import Loop, ellipse, rounded, smooth
from ..scene import Part, Shape


def airliner(dice: Dice, paint: Livery) -> list[Part]:
    """Tube with a row of windows, swept wings before and behind it, engines, upright tail and flat fin."""
    r = dice.between(0.15, 0.2)
    root, chord = dice.between(0.1, 0.28), dice.between(0.3, 0.42)
    reach, sweep = dice.between(0.5, 0.66), dice.between(0.35, 0.55)
    tail = dice.between(0.36, 0.5)
    far: Loop = (root + 0.02, -0.6 * r, root - chord, -0.6 * r, root - chord - 0.8 * sweep, -0.85 * reach)
    far += (root - chord - 0.8 * sweep + 0.17, -0.85 * reach)
    near: Loop = (root, 0.35 * r, root - chord, 0.45 * r, root - chord - sweep, reach)
    near += (root - chord - sweep + 0.17, reach)
    body: Loop = (1.04, 0.05, 0.9, -0.7 * r, 0.66, -r, 0.2, -r, -0.7, -r, -1.06, -0.95 * r, -1.06, -0.5 * r)
    body += (-0.62, 0.75 * r, -0.3, r, 0.3, r, 0.7, r, 0.98, 0.75 * r)
    fin = (-0.56, -0.75 * r, -0.84, -r - tail, -1.06, -r - tail, -0.98, -0.6 * r)
    parts = [
        part("wing", paint.second, Shape((far,), tone=-0.12)),
        part("tail", paint.second, fin),
        part("fuselage", paint.main, smooth(body), at=(0.0, 0.0)),
    ]
    parts += _windows(dice, paint, r)
    engine = root - 0.5 * chord - 0.25 * sweep
    for k in range(dice.count(1, 2)):
        x, y = engine + 0.02 - 0.27 * k, 0.3 * r + (0.27 + 0.27 * k) * reach + 0.05
        mouth = detail(ellipse(x + 0.24, y, 0.035, 0.075, 12), tone=-0.45)
        parts.append(part("engine", paint.trim, rounded(x - 0.06, y - 0.09, x + 0.26, y + 0.09, 0.08), mouth))
    middle = (root - 0.5 * chord - 0.5 * sweep + 0.04, 0.2 * r + 0.5 * reach)
    parts.append(part("wing", paint.second, near, at=middle))
    parts.append(part("fin", paint.second, (-0.7, -0.3 * r, -0.9, -0.3 * r, -1.16, 0.16, -1.02, 0.16)))
    return parts


def _windows(dice: Dice, paint: Livery, r: float) -> list[Part]:
    count = dice.count(4, 8)
    low, high = -0.52, 0.5
    step = (high - low) / count
    width = min(0.6 * step, 0.1)
    y = -0.5 * r
    parts = []
    for k in range(count):
        x = low + (k + 0.5) * step
        glass = rounded(x - 0.5 * width, y - 0.055, x + 0.5 * width, y + 0.055, 0.045)
        parts.append(part("window", paint.pane, Shape((glass,), outline=0.02)))
    pilot = (0.76, -0.86 * r, 0.9, -0.62 * r, 0.96, -0.3 * r, 0.76, -0.24 * r)
    parts.append(part("window", paint.pane, pilot))
    if dice.chance(0.75):
        door = rounded(0.58, -0.72 * r, 0.69, 0.62 * r, 0.03)
        parts.append(part("door", paint.trim, Shape((door,), outline=0.02)))
    return parts


def helicopter(dice: Dice, paint: Livery) -> list[Part]:
    """Bubble cabin, boom with a tail rotor, main rotor on a mast, skids."""
    width, height = dice.between(0.46, 0.56), dice.between(0.32, 0.4)
    cx, cy = 0.36, 0.1
    top, low = cy - height, cy + height
    blade, y = dice.between(0.82, 0.98), top - dice.between(0.15, 0.22)
    tip = dice.between(0.26, 0.4)
    boom: Loop = (cx - 0.3, cy - 0.22, -0.78, -0.12, -0.92, -0.12 - tip, -1.06, -0.12 - tip)
    boom += (-1.0, 0.06, cx - 0.3, cy + 0.14)
    left, right = cx - 0.34, cx + 0.34
    strut = (cx - 0.22, low - 0.1, cx - 0.26, low + 0.16)
    skid = lines(0.05, strut, (cx + 0.22, low - 0.1, cx + 0.26, low + 0.16))
    rail = lines(0.06, (left - 0.1, low + 0.17, right + 0.08, low + 0.17, right + 0.18, low + 0.1))
    body: Loop = (cx + width, cy + 0.06, cx + 0.75 * width, top + 0.08)
    body += (cx + 0.1, top - 0.03, cx - width, top + 0.1)
    body += (cx - width - 0.06, cy + 0.08, cx - 0.4 * width, low, cx + 0.6 * width, low)
    pole = lines(0.09, (cx - 0.08, top + 0.08, cx - 0.08, y))
    parts = [
        part("mast", paint.trim, pole, at=(cx - 0.08, 0.5 * (top + y))),
        part("skid", paint.trim, skid, rail, at=(cx, low + 0.17)),
        part("tail", paint.second, boom, at=(-0.4, -0.05)),
        part("cabin", paint.main, smooth(body), at=(cx - 0.1, low - 0.12)),
    ]
    glass: Loop = (cx + 0.2, top + 0.05, cx + 0.64 * width, top + 0.12, cx + 0.93 * width, cy - 0.02)
    glass += (cx + 0.9 * width, cy + 0.1, cx + 0.2, cy + 0.1)
    parts.append(part("window", paint.pane, smooth(glass, 1)))
    door = rounded(cx - 0.24, cy - 0.2, cx + 0.08, low - 0.06, 0.06)
    pane = rounded(cx - 0.19, cy - 0.15, cx + 0.03, cy + 0.06, 0.04)
    if dice.chance(0.7):
        parts.append(part("door", paint.second, door, at=(cx - 0.08, cy + 0.16)))
    parts.append(part("window", paint.pane, pane))
    parts.append(_main_rotor(paint, cx - 0.08, y, blade))
    parts.append(_tail_rotor(paint, -0.99, -0.12 - tip, dice.between(0.17, 0.23)))
    return parts


def _main_rotor(paint: Livery, x: float, y: float, reach: float) -> Part:
    blades: Loop = (x - reach, y - 0.02, x, y - 0.045, x + reach, y - 0.02)
    blades += (x + reach, y + 0.03, x, y + 0.035, x - reach, y + 0.03)
    hub = detail(rounded(x - 0.09, y - 0.075, x + 0.09, y + 0.055, 0.05), tone=-0.3, outline=0.02)
    return part("rotor", paint.trim, Shape((blades,), plain=True), hub, at=(x, y))


def _tail_rotor(paint: Livery, x: float, y: float, s: float) -> Part:
    cross = lines(0.05, (x - 0.4 * s, y - s, x + 0.4 * s, y + s), (x - s, y + 0.4 * s, x + s, y - 0.4 * s))
    hub = detail(ellipse(x, y, 0.05, steps=8), tone=-0.3)
    return part("rotor", paint.trim, cross, hub, at=(x, y))
