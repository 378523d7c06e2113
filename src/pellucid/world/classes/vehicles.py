"""Car, truck and bicycle."""

from __future__ import annotations

from ..dice import Coat, Dice, Livery, detail, lines, part
from ..geometry import Loop, box, ellipse, hole, rounded, smooth
from ..scene import Part, Shape


def _wheel(paint: Livery, x: float, y: float, r: float, hub: str) -> Part:
    rim = detail(ellipse(x, y, 0.55 * r, steps=16), color=hub, outline=0.02, material="metal")
    bolt = detail(ellipse(x, y, 0.16 * r, steps=8), tone=-0.2)
    tire = Shape((ellipse(x, y, r, steps=24),), plain=True)
    return part("wheel", Coat(paint.trim.color, None), tire, rim, bolt)


def _lamp(paint: Livery, x: float, y: float, width: float, height: float) -> Part:
    glass = rounded(x - width, y - height, x + width, y + height, 0.04)
    return part("lamp", Coat(paint.lots[1], "glass"), Shape((glass,), outline=0.02))


def car(dice: Dice, paint: Livery) -> list[Part]:
    """Low body with hood, glass house under a roof, two wheels."""
    belt, floor = dice.between(-0.06, 0.02), 0.34
    roof, r = belt - dice.between(0.34, 0.46), dice.between(0.2, 0.25)
    rear, front = dice.between(-0.84, -0.5), dice.between(0.3, 0.5)
    slant, back = dice.between(0.16, 0.3), dice.between(0.05, 0.26)
    hub = paint.lots[0]
    body: Loop = (-1.0, belt + 0.06, -0.9, belt, front + 0.1, belt, 0.9, belt + 0.1, 1.02, belt + 0.2)
    body += (1.02, floor, -1.02, floor)
    house = (rear, belt + 0.03, rear + back, roof, front - slant, roof, front + 0.06, belt + 0.03)
    post = 0.5 * (rear + back + front - slant) + 0.02
    low, up = belt - 0.01, roof + 0.08
    first = (rear + 0.1, low, rear + back + 0.05, up, post - 0.04, up, post - 0.04, low)
    second = (post + 0.04, low, post + 0.04, up, front - slant - 0.03, up, front - 0.05, low)
    slab = rounded(rear + back - 0.05, roof - 0.05, front - slant + 0.05, roof + 0.04, 0.04)
    parts = [
        part("cabin", paint.main, house, at=(post, belt - 0.15)),
        part("window", paint.pane, Shape((first,), outline=0.02)),
        part("window", paint.pane, Shape((second,), outline=0.02)),
        part("body", paint.main, smooth(body, 1), at=(0.0, belt + 0.22)),
        part("roof", paint.second, slab),
    ]
    handle = detail(rounded(post - 0.2, belt + 0.1, post - 0.08, belt + 0.14, 0.02), color=paint.trim.color)
    if dice.chance(0.8):
        door: Loop = (post - 0.27, belt + 0.03, post + 0.22, belt + 0.03)
        door += (post + 0.22, floor - 0.06, post - 0.22, floor - 0.06)
        parts.append(part("door", paint.main if dice.chance(0.5) else paint.second, door, handle))
    parts.append(part("bumper", paint.trim, rounded(0.84, floor - 0.1, 1.07, floor + 0.02, 0.05)))
    parts.append(part("bumper", paint.trim, rounded(-1.07, floor - 0.1, -0.84, floor + 0.02, 0.05)))
    parts.append(_lamp(paint, 0.92, belt + 0.19, 0.07, 0.055))
    spread = dice.between(0.54, 0.62)
    parts.append(_wheel(paint, -spread, floor, r, hub))
    parts.append(_wheel(paint, spread, floor, r, hub))
    return parts


def truck(dice: Dice, paint: Livery) -> list[Part]:
    """Upright cab before a big box on a frame, three or four wheels."""
    floor, r = 0.34, dice.between(0.17, 0.21)
    split, top = dice.between(0.26, 0.38), dice.between(-0.72, -0.5)
    cab = dice.between(-0.38, -0.24)
    nose = dice.between(0.86, 0.98)
    slope = dice.between(0.04, 0.2)
    parts = [part("frame", paint.trim, box(-0.98, floor - 0.13, 0.9, floor), at=(0.31, floor - 0.05))]
    if dice.chance(0.5):
        pipe = rounded(split + 0.01, cab - 0.24, split + 0.09, floor - 0.1, 0.02)
        parts.append(part("chimney", paint.trim, pipe, at=(split + 0.05, cab - 0.14)))
    parts.append(part("container", paint.main, Shape((rounded(-1.04, top, split, floor - 0.11, 0.04),))))
    body = (split + 0.07, cab, nose - slope, cab, nose, 0.0, nose + 0.03, floor, split + 0.07, floor)
    parts.append(part("cabin", paint.second, body, at=(split + 0.14, floor - 0.12)))
    glass = (split + 0.3, cab + 0.07, nose - slope - 0.05, cab + 0.07, nose - 0.07, 0.01, split + 0.3, 0.01)
    parts.append(part("window", paint.pane, glass))
    if dice.chance(0.8):
        door = box(split + 0.11, cab + 0.08, split + 0.27, floor - 0.05)
        handle = detail(rounded(split + 0.13, 0.0, split + 0.19, 0.05, 0.02), color=paint.trim.color)
        parts.append(part("door", paint.second, Shape((door,), tone=-0.1), handle))
    parts.append(
        part("bumper", paint.trim, rounded(nose - 0.14, floor - 0.1, nose + 0.08, floor + 0.03, 0.04))
    )
    parts.append(_lamp(paint, nose - 0.05, 0.15, 0.06, 0.05))
    places = [-0.76, -0.76 + 2.2 * r, 0.66]
    if dice.chance(0.4):
        places.insert(2, places[1] + 2.2 * r)
    hub = paint.lots[0]
    parts += [_wheel(paint, x, floor + 0.04, r, hub) for x in places]
    return parts


def bicycle(dice: Dice, paint: Livery) -> list[Part]:
    """Two open wheels with spokes, a frame of tubes, saddle, handlebar, pedals."""
    r, base = dice.between(0.38, 0.43), dice.between(0.52, 0.6)
    y, seat = 0.34, dice.between(-0.34, -0.24)
    hub = paint.lots[0]
    crank, head = -0.06, base - dice.between(0.14, 0.2)
    bar = seat + dice.between(-0.12, 0.04)
    parts = [_spoked(paint, x, y, r, hub) for x in (-base, base)]
    tubes = lines(
        dice.between(0.075, 0.1),
        (-base, y, crank, y + 0.02, head + 0.03, bar + 0.26, -0.24, seat + 0.2, -base, y),
        (crank, y + 0.02, -0.3, seat + 0.04),
        (base, y, head, bar + 0.08),
    )
    s, c = dice.pick(((0.17, 0.0), (0.13, 0.11), (-0.13, 0.11), (0.0, 0.17)))
    arm = lines(0.05, (crank - s, y + 0.02 - c, crank + s, y + 0.02 + c))
    places = [(crank + k * s, y + k * c) for k in (-1, 1)]
    feet = detail(*[rounded(a - 0.09, b - 0.01, a + 0.09, b + 0.05, 0.02) for a, b in places], outline=0.02)
    ring = Shape((ellipse(crank, y + 0.02, 0.11, steps=16),), plain=True)
    coat = Coat(paint.main.color, paint.main.material)
    parts.append(part("frame", coat, tubes, at=(-0.5 * base + 0.03, y + 0.01)))
    parts.append(part("pedal", paint.trim, ring, arm, feet))
    cushion: Loop = (-0.48, seat - 0.05, -0.3, seat - 0.03, -0.1, seat - 0.02, -0.12, seat + 0.03)
    cushion += (-0.3, seat + 0.06, -0.44, seat + 0.06)
    parts.append(part("saddle", Coat(paint.second.color, "fabric"), smooth(cushion, 1)))
    grip: Loop = (head, bar + 0.1, head - 0.04, bar - 0.08, head - 0.22, bar - 0.1)
    if dice.chance(0.5):
        grip = (head, bar + 0.1, head - 0.02, bar - 0.06, head + 0.16, bar - 0.1)
        grip += (head + 0.2, bar + 0.02, head + 0.1, bar + 0.06)
    parts.append(part("handlebar", paint.trim, lines(0.07, grip), at=(head - 0.02, bar)))
    if dice.chance(0.4):
        parts.append(_lamp(paint, head + 0.14, bar + 0.12, 0.07, 0.06))
    return parts


def _spoked(paint: Livery, x: float, y: float, r: float, hub: str) -> Part:
    ring = Shape(
        (ellipse(x, y, r, steps=32), hole(ellipse(x, y, 0.78 * r, steps=32))), plain=True, outline=0.02
    )
    q = 0.56 * r
    spokes = lines(
        0.022,
        *((x - 0.8 * r, y, x + 0.8 * r, y), (x, y - 0.8 * r, x, y + 0.8 * r)),
        *((x - q, y - q, x + q, y + q), (x - q, y + q, x + q, y - q)),
        outline=0.0,
        color=hub,
    )
    axle = detail(ellipse(x, y, 0.07, steps=8), outline=0.02)
    return part("wheel", Coat(paint.trim.color, None), ring, spokes, axle, at=(x, y))
