"""Bird and fish."""

from __future__ import annotations

from ..dice import Coat, Dice, Livery, detail, lines, part
from ..geometry import Loop, ellipse, smooth
from ..scene import Part, Shape


def _eye(dice: Dice, x: float, y: float, r: float) -> Part:
    color = dice.pick(("white", "yellow", "orange", "green", "pink"))
    pupil = detail(ellipse(x + 0.2 * r, y, 0.5 * r, steps=8), color="black")
    ball = Shape((ellipse(x, y, r, steps=12),), plain=True, outline=0.02)
    return part("eye", Coat(color, None), ball, pupil, at=(x, y))


def bird(dice: Dice, paint: Livery) -> list[Part]:
    """Round body and head, beak, eye, one or two wings (folded or raised), fanned tail, legs."""
    plump = dice.between(0.34, 0.42)
    hx, hy, hr = dice.between(0.5, 0.6), dice.between(-0.4, -0.28), dice.between(0.22, 0.27)
    body: Loop = (0.66, 0.0, 0.5, -0.34, 0.1, -plump, -0.4, -0.16, -0.66, -0.02)
    body += (-0.5, 0.2, -0.1, plump, 0.4, plump - 0.04)
    beak = dice.between(0.2, 0.34)
    spread = dice.between(0.06, 0.16)
    fan = (-0.46, -0.06, -1.04, -0.06 - spread, -1.1, 0.05, -1.02, 0.1 + spread, -0.5, 0.16)
    parts = []
    flying = dice.chance(0.45)
    if flying:
        far = smooth((0.36, -0.2, 0.34, -0.56, 0.12, -0.96, 0.0, -1.0, 0.0, -0.5, 0.0, -0.1), 1)
        parts.append(part("wing", paint.second, Shape((far,), tone=-0.15), at=(0.16, -0.5)))
    foot = plump + dice.between(0.2, 0.28)
    for x in (-0.02, 0.2):
        leg = lines(0.06, (x, plump - 0.08, x, foot, x + 0.13, foot))
        parts.append(part("leg", paint.trim, leg, at=(x, 0.5 * (plump + foot))))
    parts.append(part("tail", paint.second, fan))
    parts.append(part("body", paint.main, smooth(body), at=(0.2, 0.16)))
    bill = (hx + 0.8 * hr, hy - 0.1, hx + hr + beak, hy + 0.06, hx + 0.8 * hr, hy + 0.13)
    cut = lines(0.02, (hx + 0.85 * hr, hy + 0.04, hx + hr + 0.8 * beak, hy + 0.05), outline=0.0, tone=-0.5)
    parts.append(part("beak", paint.trim, Shape((bill,), plain=True), cut))
    head = paint.main if dice.chance(0.5) else paint.second
    parts.append(part("head", head, ellipse(hx, hy, hr, steps=24), at=(hx - 0.5 * hr, hy + 0.4 * hr)))
    parts.append(_eye(dice, hx + 0.32 * hr, hy - 0.2 * hr, 0.3 * hr))
    if flying:
        near: Loop = (0.2, 0.0, 0.12, -0.44, -0.24, -0.86, -0.66, -0.98)
        near += (-0.6, -0.76, -0.74, -0.68, -0.56, -0.5)
        near += (-0.62, -0.36, -0.4, -0.22, -0.2, 0.04, 0.0, 0.12)
    else:
        low = dice.between(0.14, 0.24)
        near = (0.32, -0.1, 0.12, -0.24, -0.3, -0.14, -0.72, 0.06, -0.4, low, 0.06, low + 0.04)
    parts.append(part("wing", paint.second, smooth(near, 1), at=(-0.1, -0.03)))
    return parts


def fish(dice: Dice, paint: Livery) -> list[Part]:
    """Lens body, forked tail, fins above, below and on the side, eye, mouth."""
    high = dice.between(0.34, 0.54)
    body: Loop = (0.94, 0.02, 0.66, -0.72 * high, 0.1, -1.12 * high)
    body += (-0.42, -0.5 * high, -0.72, -0.12, -0.72, 0.12)
    body += (-0.42, 0.5 * high, 0.1, 1.12 * high, 0.66, 0.76 * high)
    fork, reach = dice.between(0.3, 0.46), dice.between(0.98, 1.12)
    tail: Loop = (-0.6, -0.04, -0.78, -0.16, -reach, -fork, -reach + 0.16, 0.0)
    tail += (-reach, fork, -0.78, 0.16, -0.6, 0.04)
    back = dice.between(0.2, 0.34)
    fin = (0.34, -0.7 * high, 0.12, -high - back, -0.34, -high - 0.7 * back, -0.4, -0.3 * high)
    belly = (0.1, 0.7 * high, -0.14, high + 0.7 * back, -0.34, high + 0.5 * back, -0.34, 0.36 * high)
    parts = [
        part("tail", paint.second, smooth(tail, 1), at=(-0.82, 0.0)),
        part("fin", paint.second, smooth(fin, 1), at=(0.0, -high - 0.1)),
        part("fin", paint.second, smooth(belly, 1), at=(-0.14, high + 0.04)),
        part("body", paint.main, smooth(body), at=(0.24, -0.4 * high)),
    ]
    side = smooth((0.2, 0.06, -0.1, 0.02, -0.24, 0.2, -0.12, 0.34 * high + 0.1, 0.08, 0.24), 1)
    if dice.chance(0.85):
        parts.append(part("fin", paint.second, Shape((side,), tone=-0.06), at=(-0.02, 0.17)))
    lips = lines(0.045, (0.82, 0.12, 0.72, 0.16, 0.6, 0.14), outline=0.0)
    parts.append(part("mouth", paint.trim, lips, at=(0.71, 0.157)))
    parts.append(_eye(dice, 0.56, -0.22 * high, dice.between(0.085, 0.115)))
    return parts
