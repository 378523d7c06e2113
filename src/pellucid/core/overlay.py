"""A heatmap over its picture as a plain image, without matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from pellucid.core.results import Heatmap

# eleven points of a dark-to-bright scale that also rises in lightness when printed in gray
_SCALE = np.array(
    [
        (8, 6, 30), (38, 12, 78), (78, 18, 105), (117, 27, 109), (156, 42, 99), (193, 60, 78), (223, 88, 52),
        (243, 125, 22), (250, 168, 22), (246, 213, 70), (252, 252, 180),
    ],
    dtype=np.float64,
)  # fmt: skip
Window = tuple[float, float, float, float]


def overlay(
    view: Image.Image, heatmap: Heatmap, strength: float = 0.75, window: Window | None = None
) -> Image.Image:
    """The first map of a heatmap over a picture; evidence shines, the rest stays visible.

    A map that cannot be read (`Heatmap.status`) leaves the picture as it is.

    Args:
        view: the picture the network saw, or one that it saw a part of.
        heatmap: its first map is drawn.
        strength: opacity of the strongest evidence, from 0 to 1.
        window: (left, top, right, bottom) of what the network saw, in pixels of ``view``; by default all of it. Outside of it
            the picture is grayed.

    Returns:
        An RGB picture of the size of ``view``.
    """
    if heatmap.status[0] != "ok":
        return view.convert("RGB")
    picture = np.asarray(view.convert("RGB"), dtype=np.float64)
    left, top, right, bottom = _whole(window or (0, 0, view.width, view.height), view.size)
    values = heatmap[0].normalized().upsample((bottom - top, right - left))[0]
    painted = _dimmed(picture) if window is not None else picture.copy()
    shares = values.detach().cpu().double().numpy()
    painted[top:bottom, left:right] = blended(picture[top:bottom, left:right], shares, strength)
    return Image.fromarray(painted.round().astype(np.uint8))


def blended(
    picture: npt.NDArray[np.float64], shares: npt.NDArray[np.float64], strength: float
) -> npt.NDArray[np.float64]:
    """Shares [h w] in [0, 1] as colors over a picture [h w 3]; the higher, the more opaque."""
    shares = shares.clip(0, 1)
    points = np.linspace(0, 1, len(_SCALE))
    color = np.stack([np.interp(shares, points, _SCALE[:, channel]) for channel in range(3)], axis=2)
    alpha = (strength * np.sqrt(shares))[:, :, None]
    painted: npt.NDArray[np.float64] = picture * (1 - alpha) + color * alpha
    return painted


def _dimmed(picture: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    gray = picture.mean(2, keepdims=True)
    return np.repeat(0.5 * gray + 0.5 * 255, 3, axis=2)


def _whole(window: Window, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The window in whole pixels, inside the picture, at least one pixel wide and high."""
    left, top, right, bottom = (round(edge) for edge in window)
    left, top = min(max(left, 0), size[0] - 1), min(max(top, 0), size[1] - 1)
    return left, top, max(min(right, size[0]), left + 1), max(min(bottom, size[1]), top + 1)
