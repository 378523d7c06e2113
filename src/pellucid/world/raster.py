"""Anti-aliased filling of polygons and thick lines with patterns, compiled.

Coverage is the exact area of a pixel inside the shape. Every edge adds its signed area to an accumulation
buffer, and a running sum along the row turns it into coverage (the scheme of the font renderers FreeType and
font-rs):

    coverage[y, x] = | sum over x' <= x of area[y, x'] |, clipped to 1.

Overlapping pieces of the same orientation add up and are clipped; a piece of opposite orientation is a hole.
Coverage is rounded to 1/255, so that a pixel a shape does not touch keeps its bytes. Only ``+ - * /``,
``sqrt`` and ``floor`` on float64 are used and no fused or reordered arithmetic is allowed: the same scene
gives the same bytes on every machine.

A shape is a row of integers (frame, first and last path, kind, color, accent, texture, surface) and a row of
floats (tone, shades, outline, line width, period and turn of the pattern), written by `render.py`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

FRAME, FIRST, LAST, KIND, COLOR, ACCENT, TEXTURE, SURFACE, INTS = range(9)
TONE, SHADE_TOP, SHADE_BOTTOM, OUTLINE, WIDTH, PERIOD, TURN_COS, TURN_SIN, FLOATS = range(9)
LOOPS, LINES = 0, 1
PLAIN, METAL, WOOD, GLASS, FABRIC, FEATHER, STONE, SPECKLE = range(8)


@njit(cache=True)
def _row_area(acc: Any, y: int, d: float, xa: float, xb: float) -> None:
    """Spread the signed height ``d`` of an edge piece running from ``xa <= xb`` inside row ``y``."""
    first = math.floor(xa)
    i, last = int(first), math.ceil(xb)
    if last <= i + 1:
        mean = 0.5 * (xa + xb) - first
        acc[y, i] += d - d * mean
        acc[y, i + 1] += d * mean
        return
    slope = 1.0 / (xb - xa)
    left = xa - first
    right = xb - last + 1.0
    a0 = 0.5 * slope * (1.0 - left) * (1.0 - left)
    am = 0.5 * slope * right * right
    acc[y, i] += d * a0
    if last == i + 2:
        acc[y, i + 1] += d * (1.0 - a0 - am)
    else:
        a1 = slope * (1.5 - left)
        acc[y, i + 1] += d * (a1 - a0)
        for k in range(i + 2, last - 1):
            acc[y, k] += d * slope
        acc[y, last - 1] += d * (1.0 - (a1 + (last - i - 3) * slope) - am)
    acc[y, last] += d * am


@njit(cache=True)
def _edge(acc: Any, height: int, width: int, x0: float, y0: float, x1: float, y1: float) -> None:
    """Add one edge; what lies left of the picture counts as on its border, what lies right is dropped."""
    if y0 == y1:
        return
    sign = 1.0
    if y0 > y1:
        sign = -1.0
        x0, y0, x1, y1 = x1, y1, x0, y0
    if y1 <= 0.0 or y0 >= height:
        return
    slope = (x1 - x0) / (y1 - y0)
    low, high = max(y0, 0.0), min(y1, float(height))
    for y in range(int(low), min(height, math.ceil(high))):
        top, bottom = max(low, float(y)), min(high, y + 1.0)
        xa, xb = x0 + (top - y0) * slope, x0 + (bottom - y0) * slope
        if xa > xb:
            xa, xb = xb, xa
        d = sign * (bottom - top)
        if xb <= 0.0:
            acc[y, 0] += d
        elif xa < width:
            run = xb - xa
            if xa < 0.0:
                acc[y, 0] += d * (-xa / run)
            ca, cb = max(xa, 0.0), min(xb, float(width))
            if run > 0.0:
                d = d * ((cb - ca) / run)
            _row_area(acc, y, d, ca, cb)


@njit(cache=True)
def _stroke(
    acc: Any, height: int, width: int, x0: float, y0: float, x1: float, y1: float, half: float, cap: float
) -> None:
    """Add the rectangle of half width ``half`` around a segment, lengthened by ``cap`` at both ends."""
    dx, dy = x1 - x0, y1 - y0
    length = math.sqrt(dx * dx + dy * dy)
    if length < 1e-9:
        return
    ux, uy = dx / length, dy / length
    nx, ny = -uy * half, ux * half
    ax, ay, bx, by = x0 - ux * cap, y0 - uy * cap, x1 + ux * cap, y1 + uy * cap
    _edge(acc, height, width, ax + nx, ay + ny, bx + nx, by + ny)
    _edge(acc, height, width, bx + nx, by + ny, bx - nx, by - ny)
    _edge(acc, height, width, bx - nx, by - ny, ax - nx, ay - ny)
    _edge(acc, height, width, ax - nx, ay - ny, ax + nx, ay + ny)


@njit(cache=True)
def _trace(area: Any, edge: Any, pixels: Any, paths: Any, row: Any, outline: float, line: float) -> None:
    """Accumulate one shape: ``area`` gets its silhouette, ``edge`` its contour (loops) or core (lines)."""
    height, width = area.shape[0], area.shape[1] - 2
    for path in range(row[FIRST], row[LAST]):
        start, stop = paths[path], paths[path + 1]
        if row[KIND] == LOOPS:
            px, py = pixels[stop - 1, 0], pixels[stop - 1, 1]
            for i in range(start, stop):
                qx, qy = pixels[i, 0], pixels[i, 1]
                _edge(area, height, width, px, py, qx, qy)
                if outline > 0.0:
                    _stroke(edge, height, width, px, py, qx, qy, 0.5 * outline, 0.25 * outline)
                px, py = qx, qy
        else:
            wide, core = 0.5 * (line + outline), 0.5 * max(line - outline, 0.0)
            for i in range(start, stop - 1):
                px, py, qx, qy = pixels[i, 0], pixels[i, 1], pixels[i + 1, 0], pixels[i + 1, 1]
                _stroke(area, height, width, px, py, qx, qy, wide, wide)
                if outline > 0.0 and core > 0.0:
                    _stroke(edge, height, width, px, py, qx, qy, core, core)


@njit(cache=True)
def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)


@njit(cache=True)
def _wave(u: float) -> float:
    """Triangle wave of period 1 between 0 (at integers) and 1."""
    return 1.0 - abs(2.0 * (u - math.floor(u)) - 1.0)


@njit(cache=True)
def _band(u: float, share: float, soft: float) -> float:
    """1 on a band of the given share of the period, 0 elsewhere, with a border ``soft`` wide (one pixel)."""
    return _clip((_wave(u) - (1.0 - share)) * 0.5 / soft + 0.5)


@njit(cache=True)
def _pattern(texture: int, u: float, v: float, soft: float) -> float:
    """Share of the accent color at texture coordinates (period 1)."""
    if texture == 1:
        return _band(u, 0.5, soft)
    if texture == 2:
        du, dv = u - math.floor(u) - 0.5, v - math.floor(v) - 0.5
        return _clip((0.33 - math.sqrt(du * du + dv * dv)) / soft + 0.5)
    if texture == 3:
        a, b = _band(0.5 * u, 0.5, 0.5 * soft), _band(0.5 * v, 0.5, 0.5 * soft)
        return a + b - 2.0 * a * b
    if texture == 4:
        return _band(v + 0.5 * _wave(0.8 * u), 0.5, soft)
    if texture == 5:
        return max(_band(u, 0.28, soft), _band(v, 0.28, soft))
    return 0.0


@njit(cache=True)
def _noise(x: int, y: int, seed: int) -> float:
    """Uniform in [0, 1), a hash of an integer place (PCG-style mixing in 32 bits)."""
    h = (x * 374761393 + y * 668265263 + seed * 974634541) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 2246822519) & 0xFFFFFFFF
    return ((h ^ (h >> 15)) & 0xFFFF) / 65536.0


@njit(cache=True)
def _surface(kind: int, u: float, v: float, seed: int) -> float:
    """Lightness added by a material at frame coordinates: the light and grain that tells metal from wood."""
    if kind == METAL:
        w = _wave(0.9 * u + 0.55 * v)
        return 0.34 * _clip(5.0 * w - 4.2) - 0.10 * _clip(1.0 - 3.0 * w)
    if kind == WOOD:
        w = v * 8.0 + 0.55 * _wave(u * 1.3 + 0.4 * v)
        return -0.20 * _clip(3.0 * _wave(w) - 2.0) + 0.04
    if kind == GLASS:
        w = u + 0.9 * v
        return 0.42 * _band(2.1 * w, 0.32, 0.06)
    if kind == FABRIC:
        return 0.16 * (_wave(u * 9.0 + v * 9.0) * _wave(u * 9.0 - v * 9.0) - 0.35)
    if kind == FEATHER:
        row = math.floor(v * 7.0)
        f = v * 7.0 - row
        w = 2.0 * _wave(u * 5.0 + 0.5 * row) - 1.0
        return -0.20 * _clip(1.0 - 4.0 * abs(f - 0.75 + 0.6 * w * w)) + 0.03
    if kind == STONE:
        row = math.floor(v * 6.0)
        joint = max(_band(v * 6.0, 0.16, 0.08), _band(u * 3.2 + 0.5 * row, 0.09, 0.05))
        block = _noise(math.floor(u * 3.2 + 0.5 * row + 0.5), int(row), seed)
        return -0.20 * joint + 0.14 * (block - 0.5)
    if kind == SPECKLE:
        return 0.05 * (_noise(math.floor(u * 128.0), math.floor(v * 128.0), seed) - 0.5)
    return 0.0


@njit(cache=True)
def _tint(value: float, amount: float) -> float:
    """Mix a channel toward white (positive amount) or black (negative)."""
    if amount >= 0.0:
        return value + (255.0 - value) * amount
    return value * (1.0 + amount)


@njit(cache=True)
def _coverage(kind: int, outline: float, area: float, edge: float) -> tuple[float, float]:
    """(coverage of the shape, share of contour ink), both rounded to 1/255 and 0..1."""
    a, e = min(abs(area), 1.0), min(abs(edge), 1.0)
    ink = 0.0
    if kind == LOOPS:
        a = max(a, e)
        ink = e
    elif outline > 0.0:
        ink = max(a - e, 0.0)
    return math.floor(a * 255.0 + 0.5) / 255.0, ink


@njit(cache=True)
def _bounds(pixels: Any, start: int, stop: int, margin: float, size: int) -> tuple[int, int, int, int]:
    """Rows and columns (half open) a run of points can touch."""
    x0 = y0 = 1e9
    x1 = y1 = -1e9
    for i in range(start, stop):
        x0, x1 = min(x0, pixels[i, 0]), max(x1, pixels[i, 0])
        y0, y1 = min(y0, pixels[i, 1]), max(y1, pixels[i, 1])
    top, bottom = max(math.floor(y0 - margin), 0), min(math.ceil(y1 + margin), size)
    return top, bottom, max(math.floor(x0 - margin), 0), min(math.ceil(x1 + margin), size)


@njit(cache=True)
def _to_pixels(points: Any, paths: Any, ints: Any, frames: Any) -> Any:
    """Points in pixels; a frame is (a, b, c, d, x, y, scale): pixel = (a u + b v + x, c u + d v + y)."""
    pixels = np.empty_like(points)
    for s in range(ints.shape[0]):
        f = frames[ints[s, FRAME]]
        for i in range(paths[ints[s, FIRST]], paths[ints[s, LAST]]):
            u, v = points[i, 0], points[i, 1]
            pixels[i, 0] = f[0] * u + f[1] * v + f[4]
            pixels[i, 1] = f[2] * u + f[3] * v + f[5]
    return pixels


@njit(cache=True)
def _blend(
    canvas: Any, top_shape: Any, accent_shown: Any, area: Any, edge: Any, bounds: Any, look: Any, s: int
) -> None:
    """Composite one traced shape onto the canvas inside its bounds, and clear the buffers behind it.

    ``look``: the shape's rows of integers and floats, its frame, its two colors, its top and bottom, the
    seed.
    """
    ints, floats, f, rgb, second, v_low, v_high, seed = look
    y0, y1, x0, x1 = bounds
    kind, texture, surface = ints[KIND], ints[TEXTURE], ints[SURFACE]
    outline, period = floats[OUTLINE] * f[6], floats[PERIOD]
    span, det = max(v_high - v_low, 1e-9), f[0] * f[3] - f[1] * f[2]
    soft = 1.0 / (f[6] * period)
    for y in range(y0, y1):
        sum_area = sum_edge = 0.0
        for x in range(x0, x1):
            sum_area += area[y, x]
            sum_edge += edge[y, x]
            cover, ink = _coverage(kind, outline, sum_area, sum_edge)
            if cover == 0.0:
                continue
            px, py = x + 0.5 - f[4], y + 0.5 - f[5]
            u, v = (f[3] * px - f[1] * py) / det, (f[0] * py - f[2] * px) / det
            share = 0.0
            if texture > 0:
                tu = (u * floats[TURN_COS] + v * floats[TURN_SIN]) / period
                tv = (v * floats[TURN_COS] - u * floats[TURN_SIN]) / period
                share = _pattern(texture, tu, tv, soft)
            t = _clip((v - v_low) / span)
            light = floats[SHADE_TOP] + (floats[SHADE_BOTTOM] - floats[SHADE_TOP]) * t
            if surface != PLAIN:
                light += _surface(surface, u, v, seed)
            for c in range(3):
                value = _tint(rgb[c] + (second[c] - rgb[c]) * share, light) * (1.0 - 0.55 * ink)
                canvas[y, x, c] += (value - canvas[y, x, c]) * cover
            if cover >= 0.5:
                top_shape[y, x] = s
                accent_shown[y, x] = share >= 0.5
        for x in range(x0, x1 + 2):
            area[y, x] = edge[y, x] = 0.0


@njit(cache=True)
def _rounded_bytes(canvas: Any) -> Any:
    """Canvas to uint8."""
    image = np.empty(canvas.shape, np.uint8)
    for y in range(canvas.shape[0]):
        for x in range(canvas.shape[1]):
            for c in range(3):
                image[y, x, c] = math.floor(min(max(canvas[y, x, c], 0.0), 255.0) + 0.5)
    return image


@njit(cache=True, nogil=True)
def paint(
    size: int, points: Any, paths: Any, ints: Any, floats: Any, frames: Any, palette: Any, seed: int
) -> Any:
    """Paint all shapes in order.

    Returns the image uint8 [size, size, 3], the topmost shape int16 [size, size] (-1: none), and where a
    pattern shows its second color, bool [size, size].
    """
    canvas = np.zeros((size, size, 3))
    top_shape = np.full((size, size), -1, np.int16)
    accent_shown = np.zeros((size, size), np.bool_)
    area, edge = np.zeros((size, size + 2)), np.zeros((size, size + 2))
    pixels = _to_pixels(points, paths, ints, frames)
    rgb, second = np.zeros(3), np.zeros(3)
    for s in range(ints.shape[0]):
        f = frames[ints[s, FRAME]]
        outline, line = floats[s, OUTLINE] * f[6], floats[s, WIDTH] * f[6]
        first, last = paths[ints[s, FIRST]], paths[ints[s, LAST]]
        bounds = _bounds(pixels, first, last, outline + line, size)
        if bounds[0] >= bounds[1] or bounds[2] >= bounds[3]:
            continue
        _trace(area, edge, pixels, paths, ints[s], outline, line)
        for c in range(3):
            rgb[c] = _tint(palette[ints[s, COLOR], c], floats[s, TONE])
            second[c] = _tint(palette[ints[s, ACCENT], c], floats[s, TONE])
        v_low = v_high = points[first, 1]
        for i in range(first, last):
            v_low, v_high = min(v_low, points[i, 1]), max(v_high, points[i, 1])
        look = (ints[s], floats[s], f, rgb, second, v_low, v_high, seed)
        _blend(canvas, top_shape, accent_shown, area, edge, bounds, look, s)
    return _rounded_bytes(canvas), top_shape, accent_shown


@njit(cache=True, nogil=True)
def visible_coverage(
    size: int, points: Any, paths: Any, ints: Any, floats: Any, frames: Any, chosen: Any
) -> Any:
    """Share of each pixel's final color that comes from the chosen shapes, float64 [size, size] in 0..1."""
    result = np.zeros((size, size))
    area, edge = np.zeros((size, size + 2)), np.zeros((size, size + 2))
    pixels = _to_pixels(points, paths, ints, frames)
    for s in range(ints.shape[0]):
        scale = frames[ints[s, FRAME], 6]
        outline = floats[s, OUTLINE] * scale
        area[:] = 0.0
        edge[:] = 0.0
        _trace(area, edge, pixels, paths, ints[s], outline, floats[s, WIDTH] * scale)
        goal = 1.0 if chosen[s] else 0.0
        for y in range(size):
            sum_area = sum_edge = 0.0
            for x in range(size):
                sum_area += area[y, x]
                sum_edge += edge[y, x]
                cover, _ = _coverage(ints[s, KIND], outline, sum_area, sum_edge)
                result[y, x] += (goal - result[y, x]) * cover
    return result
