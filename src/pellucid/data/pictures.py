"""What an input is, decided once: `pictures` turns whatever a user hands over into a list of `Picture`.

A path, a folder, a pattern, encoded bytes, an open file, a PIL image, an array, a tensor, a scene or rendering of the concept
world, or a list or batch of these. Everything behind it asks a `Picture` for its pixels, name, notes and rendering, and never
again what it came from.
"""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pellucid.data.files import listed
from pellucid.data.images import MAX_PIXELS, Picture, Rendered, read_each, read_image
from pellucid.data.pixels import ImageError
from pellucid.data.tensors import check_values

__all__ = ["Renderable", "each_picture", "pictures"]

_DEEPEST = 4  # lists in lists


@runtime_checkable
class Renderable(Protocol):
    """What a picture can be made of: a scene of the concept world, or a rendering, which gives itself."""

    def rendered(self) -> Rendered:
        """The picture, with what is known of every pixel."""


def pictures(given: Any, *, max_pixels: int | None = MAX_PIXELS) -> list[Picture]:
    """Every picture that is meant, in order.

    Args:
        given: a path, a folder (its images in natural order), a pattern such as ``photos/*.jpg``, encoded bytes, an open
            binary file, a PIL image, an array (H×W, H×W×1, H×W×3, H×W×4, or a batch of these), a uint8 tensor [channel height
            width] or a float tensor [channel height width], both with or without a batch axis, a scene or rendering of
            `pellucid.world`, a `Picture`, or a list of these.
        max_pixels: larger files are refused before they are decoded; None for no limit.

    Returns:
        One `Picture` for each. Tensors of floats stay what they are: what they hold has to be said, to
        `pellucid.data.preprocess.to_batch`.

    Raises:
        ImageError: nothing was given, or something that is no picture or cannot be read. In a folder, unreadable pictures are
            left out, and a warning names them.

    >>> made = pictures([np.zeros((40, 60, 3), np.uint8), torch.zeros(2, 3, 8, 8)])
    >>> [(picture.name, picture.original_size) for picture in made]
    [('image 0', (60, 40)), ('image 1 [0]', (8, 8)), ('image 1 [1]', (8, 8))]
    """
    return list(each_picture(given, max_pixels=max_pixels))


def each_picture(given: Any, *, max_pixels: int | None = MAX_PIXELS) -> Iterator[Picture]:
    """As `pictures`, one after the other: of a folder of photographs no more than one is held."""
    entries = list(_entries(given, 0))
    if not entries:
        raise ImageError("Expected at least one image, got an empty list")
    for index, entry in enumerate(entries):
        yield from _of_one(entry, f"image {index}" if len(entries) > 1 else None, max_pixels)


def _entries(given: Any, depth: int) -> Iterator[Any]:
    """What stands for one picture, for one folder, or for one batch of floats; batches of bytes and lists are taken apart."""
    if isinstance(given, (Set, Mapping)):
        raise ImageError(
            f"Expected images in an order, got a {type(given).__name__}; try a list, such as list(images.values()) of a dict"
        )
    if _is_single(given):
        yield from _batch(given)
        return
    if depth == _DEEPEST:
        raise ImageError(f"Expected a list of images, got lists in lists, {depth} deep; try one list")
    for entry in listed(given):
        if entry is given:
            raise ImageError(f"Expected a path, an image or a list of them, got {_kind(entry)}")
        yield from _entries(entry, depth + 1)


def _is_single(given: Any) -> bool:
    known = (str, bytes, bytearray, os.PathLike, Image.Image, Picture, Renderable)
    return isinstance(given, known) or hasattr(given, "read") or hasattr(given, "shape")


def _batch(given: Any) -> Iterator[Any]:
    floats = isinstance(given, Tensor) and given.dtype != torch.uint8
    if floats or not isinstance(given, (np.ndarray, Tensor)) or given.ndim != 4:
        yield given
        return
    if len(given) == 0:
        raise ImageError(f"Expected at least one image, got an empty batch of shape {tuple(given.shape)}")
    yield from given


def _of_one(entry: Any, name: str | None, max_pixels: int | None) -> Iterator[Picture]:
    if isinstance(entry, Picture):
        yield entry
    elif isinstance(entry, Renderable):
        made = entry.rendered()
        yield replace(read_image(made.image, max_pixels=max_pixels, name=name or "scene"), rendering=made)
    elif isinstance(entry, Tensor) and entry.dtype != torch.uint8:
        yield from _of_floats(entry, name or "tensor")
    elif _stands_for_many(entry):
        left: list[Any] = []
        yield from read_each(entry, left, max_pixels=max_pixels)
        # files that are no pictures by their very name are no surprise in a folder
        failed = [item for item in left if item.reason.startswith("Expected")]
        if failed:
            text = "; ".join(f"{Path(item.name).name}: {item.reason}" for item in failed)
            warnings.warn(f"{len(failed)} unreadable pictures were left out: {text}", stacklevel=4)
    else:
        if isinstance(entry, Tensor):
            entry, name = _array_of(entry), name or "tensor"
        named = (
            isinstance(entry, (str, os.PathLike))
            or hasattr(entry, "read")
            or bool(getattr(entry, "filename", ""))
        )
        yield read_image(entry, max_pixels=max_pixels, name=None if named else name)


def _of_floats(tensor: Tensor, name: str) -> Iterator[Picture]:
    if not tensor.is_floating_point():
        raise ImageError(f"Expected a uint8 or float tensor, got {tensor.dtype}; try .to(torch.uint8)")
    if tensor.ndim not in (3, 4) or not len(tensor):
        raise ImageError(
            f"Expected a float tensor of [channel, h, w] with or without a batch axis, got {tuple(tensor.shape)}"
        )
    check_values(tensor)
    rows = tensor if tensor.ndim == 4 else tensor[None]
    for index, row in enumerate(rows):
        label = name if len(rows) == 1 else f"{name} [{index}]"
        yield Picture(row, label, (), (int(row.shape[2]), int(row.shape[1])))


def _array_of(tensor: Tensor) -> Any:
    check_values(tensor)
    if tensor.ndim != 3:
        raise ImageError(
            f"Expected a uint8 tensor of [channel, h, w] with or without a batch axis, got {tuple(tensor.shape)}"
        )
    if tensor.shape[0] not in (1, 3, 4):
        hint = (
            "tensor.movedim(-1, -3), for the channels seem to come last" if tensor.shape[-1] in (1, 3, 4) else
            "a float tensor in [0, 1] with normalized=False, tensor / 255, which may have any number of channels"
        )  # fmt: skip
        raise ImageError(
            f"Expected a uint8 tensor of 1, 3 or 4 channels [channel, h, w], got shape {tuple(tensor.shape)}; try {hint}"
        )
    return tensor.detach().cpu().movedim(0, -1).numpy()


def _stands_for_many(source: Any) -> bool:
    if not isinstance(source, (str, os.PathLike)):
        return False
    path = os.path.expanduser(os.fspath(source))
    return os.path.isdir(path) or (glob.has_magic(path) and not os.path.exists(path))


def _kind(given: Any) -> str:
    return f"{type(given).__module__}.{type(given).__qualname__}"
