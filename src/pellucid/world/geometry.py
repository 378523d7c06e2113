"""Outlines as flat tuples ``(x0, y0, x1, y1, ...)`` in a frame whose y axis points down.

The circle is a table rounded to six digits, and nothing else here needs a trigonometric function: coordinates
come out the same on every machine. Every closed outline runs clockwise on the screen; `hole` turns one
around.
"""

from __future__ import annotations

import math

Loop = tuple[float, ...]

_STEPS = (8, 12, 16, 24, 32)
_CIRCLES: dict[int, tuple[tuple[float, float], ...]] = {
    n: tuple((round(math.cos(math.tau * k / n), 6), round(math.sin(math.tau * k / n), 6)) for k in range(n))
    for n in _STEPS
}


def ellipse(cx: float, cy: float, rx: float, ry: float | None = None, steps: int = 16) -> Loop:
    """An ellipse (a circle when ``ry`` is not given) as a polygon of 8, 12, 16, 24 or 32 corners."""
    ry = rx if ry is None else ry
    return tuple([value for c, s in _CIRCLES[steps] for value in (cx + rx * c, cy + ry * s)])


def box(x0: float, y0: float, x1: float, y1: float) -> Loop:
    """An upright rectangle."""
    return (x0, y0, x1, y0, x1, y1, x0, y1)


def rounded(x0: float, y0: float, x1: float, y1: float, r: float) -> Loop:
    """An upright rectangle with corners rounded by radius ``r``."""
    r = min(r, 0.5 * (x1 - x0), 0.5 * (y1 - y0))
    k = 0.293 * r
    return (
        *(x0, y0 + r, x0 + k, y0 + k, x0 + r, y0, x1 - r, y0, x1 - k, y0 + k, x1, y0 + r),
        *(x1, y1 - r, x1 - k, y1 - k, x1 - r, y1, x0 + r, y1, x0 + k, y1 - k, x0, y1 - r),
    )


def smooth(loop: Loop, rounds: int = 2) -> Loop:
    """Round the corners of a closed outline by cutting them (Chaikin 1974)."""
    points = list(loop)
    for _ in range(rounds):
        cut: list[float] = []
        px, py = points[-2], points[-1]
        for i in range(0, len(points), 2):
            qx, qy = points[i], points[i + 1]
            dx, dy = 0.25 * (qx - px), 0.25 * (qy - py)
            cut += (px + dx, py + dy, qx - dx, qy - dy)
            px, py = qx, qy
        points = cut
    return tuple(points)


def hole(loop: Loop) -> Loop:
    """The same outline with opposite orientation, which cuts a hole into what it lies on."""
    return tuple([value for i in range(len(loop) - 2, -2, -2) for value in (loop[i], loop[i + 1])])


def center(loop: Loop) -> tuple[float, float]:
    """Mean of the corners."""
    n = len(loop) // 2
    return sum(loop[::2]) / n, sum(loop[1::2]) / n
