"""From whatever a user calls images to a batch for the network, and beside it the pictures to show.

Files, folders, arrays and PIL images are read by `pellucid.data.images` and put through a `Preprocess`. A
float tensor is never guessed at: whether it is normalized already cannot be seen from its values, so it has
to be said.
"""

from __future__ import annotations

import glob
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.data.files import listed
from pellucid.data.images import MAX_PIXELS, ImageError, InputImage, Skipped, read_image, read_images
from pellucid.data.tensors import check_finite, check_layout, to_bytes, to_picture, to_pixels
from pellucid.data.transform import CropMode, Interpolation, Preprocess

__all__ = ["CropMode", "Interpolation", "Preprocess", "from_floats", "to_batch"]


def to_batch(
    images: Any,
    preprocess: Preprocess,
    *,
    normalized: bool | None = None,
    max_pixels: int | None = MAX_PIXELS,
) -> tuple[Float[Tensor, "batch channel h w"], list[InputImage]]:
    """A batch for the network, and beside each entry the picture to show for it.

    Args:
        images: a path, PIL image, NumPy array or tensor, a folder or pattern, or a list or batch of these. A
            uint8 tensor, [channel, h, w] with or without a batch axis, is resized and cropped like a picture.
            A float tensor is taken at its own size, and `normalized` must say what it is.
        preprocess: what the network expects.
        normalized: of float tensors: True when they are normalized already (used as they are, with their
            dtype, device and graph), False when they lie in [0, 1].
        max_pixels: larger files are refused before they are decoded; None for no limit.

    Returns:
        The batch, and one `InputImage` per entry whose `.image` is the picture as the network sees it,
        resized and cropped, aligned with the batch pixel by pixel; of float tensors `Preprocess.denormalize`
        makes it.

    Raises:
        ImageError: an unusable picture, a float tensor without `normalized`, NaN, an empty list, or sizes
            that differ after preprocessing. In a folder, unreadable pictures are left out, and a warning
            names them.

    >>> batch, shown = to_batch([np.zeros((40, 60, 3), np.uint8)], Preprocess.imagenet())
    >>> batch.shape, shown[0].image.size, shown[0].original_size
    (torch.Size([1, 3, 224, 224]), (224, 224), (60, 40))
    """
    sources = _batch_entries(images)
    tensors: list[Tensor] = []
    shown: list[InputImage] = []
    for index, source in enumerate(sources):
        name = f"image {index}" if len(sources) > 1 else None
        if isinstance(source, Tensor) and source.dtype != torch.uint8:
            batch = from_floats(source, preprocess, normalized)
            pictures = _shown(batch, preprocess, name or "tensor")
        elif isinstance(source, Tensor) and normalized:
            raise ImageError(
                "Expected a float tensor with normalized=True, got uint8; try without normalized"
            )
        else:
            read = _read_entry(source, name, max_pixels)
            pictures = [replace(item, image=preprocess.view(item)) for item in read]
            _check_one_size(shown + pictures)
            mode = "RGB" if preprocess.channels == 3 else "L"
            batch = preprocess.normalize(
                torch.stack([to_pixels(item.image.convert(mode)) for item in pictures])
            )
        tensors.append(batch)
        shown += pictures
        _check_one_size(shown)
    return torch.cat(tensors) if len(tensors) > 1 else tensors[0], shown


def _batch_entries(images: Any) -> list[Any]:
    """Sources that are one picture each, or one folder, or one tensor of floats."""
    entries = listed(images)
    if not entries:
        raise ImageError("Expected at least one image, got an empty list")
    flat: list[Any] = []
    for entry in entries:
        batched = isinstance(entry, np.ndarray) or (isinstance(entry, Tensor) and entry.dtype == torch.uint8)
        if batched and entry.ndim == 4:
            if len(entry) == 0:
                raise ImageError(
                    f"Expected at least one image, got an empty batch of shape {tuple(entry.shape)}"
                )
            flat += list(entry)
        else:
            flat.append(entry)
    return flat


def _read_entry(source: Any, name: str | None, max_pixels: int | None) -> list[InputImage]:
    if _stands_for_many(source):
        read, skipped = read_images(source, max_pixels=max_pixels)
        _warn_of_failures(skipped)
        return read
    if isinstance(source, Tensor):
        if source.ndim != 3:
            shape = tuple(source.shape)
            raise ImageError(
                f"Expected a uint8 tensor of [channel, h, w] with or without a batch axis, got {shape}"
            )
        source, name = source.detach().cpu().movedim(0, -1).numpy(), name or "tensor"
    named = (
        isinstance(source, (str, os.PathLike)) or getattr(source, "filename", None) or hasattr(source, "read")
    )
    return [read_image(source, max_pixels=max_pixels, name=None if named else name)]


def _stands_for_many(source: Any) -> bool:
    if not isinstance(source, (str, os.PathLike)):
        return False
    path = os.path.expanduser(os.fspath(source))
    return os.path.isdir(path) or (glob.has_magic(path) and not os.path.exists(path))


def _warn_of_failures(skipped: list[Skipped]) -> None:
    # files that are no pictures by their very name are no surprise in a folder
    failed = [item for item in skipped if item.reason.startswith("Expected")]
    if failed:
        text = "; ".join(f"{Path(item.name).name}: {item.reason}" for item in failed)
        warnings.warn(f"{len(failed)} unreadable pictures were left out: {text}", stacklevel=4)


def from_floats(
    tensor: Tensor, preprocess: Preprocess, normalized: bool | None
) -> Float[Tensor, "batch channel h w"]:
    """A float tensor, with or without a batch axis, as a batch for the network; see `to_batch`."""
    if not tensor.is_floating_point():
        raise ImageError(f"Expected a uint8 or float tensor, got {tensor.dtype}; try .to(torch.uint8)")
    if normalized is None:
        raise ImageError(
            f"Expected to be told what the float tensor of shape {tuple(tensor.shape)} holds, got normalized=None; "
            "try normalized=True for what the network takes, or normalized=False for pixels in [0, 1]"
        )
    if tensor.ndim not in (3, 4):
        shape = tuple(tensor.shape)
        raise ImageError(
            f"Expected a float tensor of [channel, h, w] with or without a batch axis, got {shape}"
        )
    batch = tensor if tensor.ndim == 4 else tensor[None]
    check_layout(batch, preprocess.channels)
    check_finite(batch)
    return batch if normalized else preprocess.normalize(batch)


def _shown(batch: Float[Tensor, "batch channel h w"], preprocess: Preprocess, name: str) -> list[InputImage]:
    """The pictures behind a normalized batch."""
    values = batch.detach().cpu().float()
    low, high = preprocess.bounds()
    # half precision is off by up to one level of 256
    beyond = ((values < low - 0.02) | (values > high + 0.02)).flatten(1).any(1).tolist()
    pixels = to_bytes(preprocess.denormalize(values))
    pictures = []
    for index, row in enumerate(pixels):
        label = name if len(pixels) == 1 else f"{name} [{index}]"
        notes = ("values beyond what a picture can give, shown clamped",) if beyond[index] else ()
        pictures.append(
            InputImage(to_picture(row).convert("RGB"), label, notes, (row.shape[2], row.shape[1]))
        )
    return pictures


def _check_one_size(shown: list[InputImage]) -> None:
    if len({item.image.size for item in shown}) > 1:
        odd = next(item for item in shown if item.image.size != shown[0].image.size)
        sizes = ", ".join(
            f"{item.name}: {item.image.height} × {item.image.width}" for item in (shown[0], odd)
        )
        raise ImageError(
            f"Expected pictures of one size (height × width) after preprocessing, got {sizes}; "
            "try a Preprocess with resize and crop, or one picture at a time"
        )
