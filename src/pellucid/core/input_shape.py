"""The shape of images that a network takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def checked_shape(shape: Any, module: nn.Module, name: str) -> tuple[int, int, int]:
    """Raises ValueError for another form than (channels, height, width), as networks of volumes or sounds have."""
    sides = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    whole = all(hasattr(side, "__index__") and not isinstance(side, bool) and side >= 1 for side in sides)
    first = next((child for child in module.modules() if isinstance(child, _CONVOLUTIONS)), None)
    if len(sides) == 3 and whole and not isinstance(first, (nn.Conv1d, nn.Conv3d)):
        return (int(sides[0]), int(sides[1]), int(sides[2]))
    if isinstance(first, (nn.Conv1d, nn.Conv3d)):
        kind = "volumes (Conv3d)" if isinstance(first, nn.Conv3d) else "sequences (Conv1d)"
        raise ValueError(
            f"Expected a network of images [channels height width], got `{name}`, a network of {kind}; "
            "try a network of Conv2d, on single slices."
        )
    raise ValueError(
        f"Expected `input_shape` (channels, height, width) for `{name}`, three whole numbers of at least 1, got {shape!r}; "
        "try (3, 224, 224)."
    )
