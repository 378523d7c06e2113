"""Pieces of stuff that backgrounds are put together from: clouds, trees, buildings, waves, weeds, rocks.

All are in picture coordinates (0..1, y down) and have no contour, so that the main object stands out.
"""

from __future__ import annotations

from .dice import Dice
from .geometry import Loop, box, ellipse, rounded, smooth
from .scene import Part, Shape, stuff

Shade = tuple[float, float]


def flat(*loops: Loop, color: str | None = None, tone: float = 0.0, shade: Shade = (0.05, -0.05)) -> Shape:
    """A shape without contour."""
    return Shape(loops, color=color, tone=tone, outline=0.0, shade=shade)


def strokes(width: float, *loops: Loop, color: str | None = None, tone: float = 0.0) -> Shape:
    """Thick lines without contour."""
    return Shape(loops, width=width, color=color, tone=tone, outline=0.0, shade=(0.0, 0.0))


def backdrop(
    name: str, color: str, top: float, bottom: float, tone: float = 0.0, shade: Shade = (0.0, 0.0)
) -> Part:
    """A band over the full width; reaches beyond the picture so that its border never shows."""
    return stuff(name, color, flat(box(-0.1, top, 1.1, bottom), tone=tone, shade=shade), surface="speckle")


def terrain(
    dice: Dice, name: str, color: str, y: float, rough: float, tone: float, shade: Shade = (0.08, -0.08)
) -> Part:
    """Rolling ground from about ``y`` down to the lower border."""
    ridge: list[float] = []
    for k in range(7):
        ridge += (-0.2 + 0.2 * k * 1.17, y + dice.between(-rough, rough))
    outline = smooth((*ridge, 1.4, 1.3, -0.4, 1.3), 2)
    return stuff(name, color, flat(outline, tone=tone, shade=shade), surface="speckle")


def cloud(dice: Dice, x: float, y: float, size: float, color: str = "white") -> Part:
    """Three or four puffs on a flat base."""
    puffs = [ellipse(x, y - 0.2 * size, 0.5 * size, 0.36 * size)]
    puffs.append(ellipse(x - 0.5 * size, y, 0.34 * size, 0.24 * size))
    puffs.append(ellipse(x + 0.52 * size, y, 0.38 * size, 0.26 * size))
    if dice.chance(0.5):
        puffs.append(ellipse(x + 0.26 * size, y - 0.26 * size, 0.34 * size, 0.28 * size))
    base = rounded(x - 0.8 * size, y - 0.02 * size, x + 0.86 * size, y + 0.26 * size, 0.13 * size)
    return stuff("cloud", color, flat(*puffs, base, shade=(0.1, -0.06)))


def sun(x: float, y: float, r: float, color: str = "yellow") -> Part:
    """A plain disc."""
    return stuff("sun", color, flat(ellipse(x, y, r, steps=24), tone=0.1))


def fir(x: float, y: float, height: float, color: str, tone: float, snowy: bool = False) -> Part:
    """A conifer standing at (x, y): three skirts on a trunk, with snow on top if asked."""
    w = 0.3 * height
    trunk = flat(box(x - 0.04 * height, y - 0.2 * height, x + 0.04 * height, y), color="brown", tone=-0.2)
    skirts: list[Loop] = []
    tips: list[Loop] = []
    for k, share in enumerate((1.0, 0.78, 0.55)):
        low, top = y - (0.14 + 0.25 * k) * height, y - (0.56 + 0.22 * k) * height
        skirts.append((x, top, x + w * share, low, x - w * share, low))
        reach, hem = w * share * 0.42, top + (low - top) * 0.42
        tips.append((x, top, x + reach, hem, x - reach, hem))
    crown = flat(*skirts, tone=tone, shade=(0.1, -0.15))
    if snowy:
        return stuff("tree", color, crown, trunk, flat(*tips, color="white"))
    return stuff("tree", color, crown, trunk)


def leafy(dice: Dice, x: float, y: float, height: float, color: str, tone: float) -> Part:
    """A broad tree standing at (x, y)."""
    r = dice.between(0.24, 0.3) * height
    top = y - height + r
    crown = [ellipse(x, top, r), ellipse(x - 0.7 * r, top + 0.7 * r, 0.8 * r)]
    crown.append(ellipse(x + 0.7 * r, top + 0.65 * r, 0.85 * r))
    trunk = flat(box(x - 0.05 * height, top + r, x + 0.05 * height, y), color="brown", tone=-0.15)
    return stuff("tree", color, flat(*crown, tone=tone, shade=(0.14, -0.16)), trunk)


def building(dice: Dice, x: float, y: float, width: float, height: float, color: str, tone: float) -> Part:
    """A tower standing on ``y`` with rows of windows."""
    top, columns = y - height, max(2, int(width / 0.05))
    pitch = width / columns
    panes: list[Loop] = []
    for row in range(int((height - 0.03) / 0.07)):
        for k in range(columns):
            left, up = x + (k + 0.27) * pitch, top + 0.03 + 0.07 * row
            panes.append(box(left, up, left + 0.46 * pitch, up + 0.032))
    wall = flat(box(x, top, x + width, y), tone=tone)
    if not panes:
        return stuff("building", color, wall)
    glow = dice.pick(("yellow", "blue", "white"))
    return stuff("building", color, wall, flat(*panes, color=glow, tone=0.25))


def waves(dice: Dice, top: float, bottom: float, count: int, tone: float = 0.3) -> Part:
    """Short light crests spread over a stretch of water."""
    crests: list[Loop] = []
    for k in range(count):
        y = top + (bottom - top) * (k + dice.between(0.1, 0.9)) / count
        x, w = dice.between(-0.05, 0.95), dice.between(0.04, 0.08)
        crests.append((x, y, x + 0.5 * w, y - 0.012, x + w, y, x + 1.5 * w, y - 0.012, x + 2 * w, y))
    return stuff("water", "blue", strokes(0.009, *crests, tone=tone))


def tuft(
    dice: Dice, name: str, color: str, x: float, y: float, height: float, blades: int, tone: float
) -> Part:
    """Pointed blades growing from (x, y): grass, or weed under water."""
    loops: list[Loop] = []
    for k in range(blades):
        foot = x + 0.16 * height * (k - 0.5 * (blades - 1))
        lean = 0.3 * height * (k - 0.5 * (blades - 1)) / blades + dice.between(-0.08, 0.08) * height
        tall = height * dice.between(0.7, 1.0)
        w = 0.09 * height
        blade: Loop = (foot - w, y, foot - 0.8 * w + 0.4 * lean, y - 0.5 * tall, foot + lean, y - tall)
        blade += (foot + 0.8 * w + 0.4 * lean, y - 0.5 * tall, foot + w, y)
        loops.append(blade)
    return stuff(name, color, flat(*loops, tone=tone, shade=(0.15, -0.15)))


def rock(dice: Dice, x: float, y: float, size: float, color: str = "gray", tone: float = -0.1) -> Part:
    """A boulder lying at (x, y)."""
    h = size * dice.between(0.5, 0.8)
    outline: Loop = (x - size, y, x - 0.8 * size, y - 0.6 * h, x - 0.2 * size, y - h)
    outline += (x + 0.5 * size, y - 0.8 * h, x + size, y)
    return stuff("rock", color, flat(outline, tone=tone, shade=(0.2, -0.2)), material="stone")


def cactus(x: float, y: float, height: float, tone: float) -> Part:
    """A saguaro with two arms."""
    w, h = 0.16 * height, height
    trunk = rounded(x - 0.5 * w, y - h, x + 0.5 * w, y + 0.02, 0.5 * w)
    left = (x - 0.3 * h, y - 0.74 * h, x - 0.3 * h, y - 0.42 * h, x, y - 0.42 * h)
    right = (x + 0.28 * h, y - 0.86 * h, x + 0.28 * h, y - 0.56 * h, x, y - 0.56 * h)
    return stuff("plant", "green", flat(trunk, tone=tone), strokes(0.75 * w, left, right, tone=tone))


def post(x: float, y: float, height: float, color: str = "gray") -> Part:
    """A street lamp standing at (x, y)."""
    pole = flat(box(x - 0.014, y - height, x + 0.014, y), tone=-0.25)
    arm = flat(box(x - 0.02, y - height, x + 0.12, y - height + 0.022), tone=-0.25)
    glass = rounded(x + 0.06, y - height + 0.015, x + 0.13, y - height + 0.045, 0.02)
    bulb = flat(glass, color="yellow", tone=0.2)
    return stuff("post", color, pole, arm, bulb, material="metal")


def mountain(
    dice: Dice, x: float, y: float, width: float, height: float, color: str, tone: float, snowy: bool
) -> Part:
    """A peak with its foot at ``y``; white on top if asked."""
    left, right = x - 0.5 * width, x + 0.5 * width
    top = x + dice.between(-0.12, 0.12) * width
    cone = flat((left, y, top, y - height, right, y), tone=tone)
    if not snowy:
        return stuff("mountain", color, cone)
    q = 0.38
    a, b = top + (left - top) * q, top + (right - top) * q
    low = y - height + q * height
    cap: Loop = (a, low, top, y - height, b, low, top + 0.5 * (b - top), low - 0.08 * height)
    cap += (top, low + 0.06 * height, top + 0.5 * (a - top), low - 0.09 * height)
    return stuff("mountain", color, cone, flat(cap, color="white"))
