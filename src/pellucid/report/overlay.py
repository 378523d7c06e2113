"""A heatmap over its picture as a plain image file, without matplotlib."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pellucid.core.results import Heatmap

# eleven points of a dark-to-bright scale that also rises in lightness when printed in gray
_SCALE = np.array(
    [
        (8, 6, 30), (38, 12, 78), (78, 18, 105), (117, 27, 109), (156, 42, 99), (193, 60, 78), (223, 88, 52),
        (243, 125, 22), (250, 168, 22), (246, 213, 70), (252, 252, 180),
    ],
    dtype=np.float64,
)  # fmt: skip


def overlay(view: Image.Image, heatmap: Heatmap, strength: float = 0.75) -> Image.Image:
    """The first map of a heatmap over the picture the network saw; evidence shines, the rest stays visible.

    A map that cannot be read (`Heatmap.status`) leaves the picture as it is.
    """
    picture = np.asarray(view.convert("RGB"), dtype=np.float64)
    if heatmap.status[0] != "ok":
        return view.convert("RGB")
    size = (picture.shape[0], picture.shape[1])
    values = heatmap[0].normalized().upsample(size)[0].detach().cpu().double().numpy().clip(0, 1)
    points = np.linspace(0, 1, len(_SCALE))
    color = np.stack([np.interp(values, points, _SCALE[:, channel]) for channel in range(3)], axis=2)
    alpha = (strength * np.sqrt(values))[:, :, None]
    return Image.fromarray((picture * (1 - alpha) + color * alpha).round().astype(np.uint8))
