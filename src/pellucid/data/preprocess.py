"""From whatever a user calls images to a batch for the network, and beside it the pictures to show.

Files, folders, arrays and PIL images are read by `pellucid.data.images` and put through a `Preprocess`. A
float tensor is never guessed at: whether it is normalized already cannot be seen from its values, so it has
to be said.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.data.images import MAX_PIXELS, ImageError, Picture
from pellucid.data.pictures import each_picture, pictures
from pellucid.data.tensors import check_finite, check_layout, check_values, to_bytes, to_picture, to_pixels
from pellucid.data.transform import CropMode, Interpolation, Preprocess

__all__ = ["CropMode", "Interpolation", "Preprocess", "from_floats", "to_batch"]


def to_batch(
    images: Any,
    preprocess: Preprocess,
    *,
    normalized: bool | None = None,
    max_pixels: int | None = MAX_PIXELS,
    channels: int | None = None,
) -> tuple[Float[Tensor, "batch channel h w"], list[Picture]]:
    """A batch for the network, and beside each entry the picture to show for it.

    Args:
        images: a path, PIL image, NumPy array or tensor, a folder or pattern, or a list or batch of these. A
            uint8 tensor, [channel, h, w] with or without a batch axis, is resized and cropped like a picture.
            A float tensor is taken at its own size, and `normalized` must say what it is.
        preprocess: what the network expects.
        normalized: of float tensors: True when they are normalized already (used as they are, with their
            dtype, device and graph), False when they lie in [0, 1].
        max_pixels: larger files are refused before they are decoded; None for no limit.
        channels: of normalized float tensors, by default those of `preprocess`.

    Returns:
        The batch, and one `Picture` per entry whose `.image` is the picture as the network sees it,
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
    tensors: list[Tensor] = []
    shown: list[Picture] = []
    if isinstance(images, Tensor) and images.dtype != torch.uint8:  # all rows at once, as they are
        batch = from_floats(images, preprocess, normalized, channels)
        sources = pictures(batch)
        return batch, [_shown(row, each, preprocess) for row, each in zip(batch, sources, strict=True)]
    for picture in each_picture(images, max_pixels=max_pixels):
        row, view = _prepared(picture, preprocess, normalized, channels)
        tensors.append(row)
        shown.append(view)
        _check_one_size(shown)
    return torch.stack(tensors), shown


def _prepared(
    picture: Picture, preprocess: Preprocess, normalized: bool | None, channels: int | None
) -> tuple[Tensor, Picture]:
    """The row of the batch, and the picture to show for it."""
    if isinstance(picture.pixels, Tensor):
        row = from_floats(picture.pixels, preprocess, normalized, channels)[0]
        return row, _shown(row, picture, preprocess)
    if normalized:
        raise ImageError(
            f"Expected a float tensor with normalized=True, got uint8 pixels ({picture.name}); try without normalized"
        )
    view = preprocess.view(picture)
    mode = "RGB" if preprocess.channels == 3 else "L"
    row = preprocess.normalize(to_pixels(view if view.mode == mode else view.convert(mode)))
    return row, replace(picture, pixels=view)


def from_floats(
    tensor: Tensor, preprocess: Preprocess, normalized: bool | None, channels: int | None = None
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
    check_values(tensor)
    batch = tensor if tensor.ndim == 4 else tensor[None]
    check_layout(batch, channels if channels is not None and normalized else preprocess.channels)
    check_finite(batch)
    return batch if normalized else preprocess.normalize(batch)


def _shown(row: Float[Tensor, "channel h w"], picture: Picture, preprocess: Preprocess) -> Picture:
    """The picture behind a normalized row of floats."""
    values = row.detach().cpu().float()
    channels = len(values)
    notes = picture.notes
    if channels == preprocess.channels:
        low, high = preprocess.bounds()
        # half precision is off by up to one level of 256
        if bool(((values < low - 0.02) | (values > high + 0.02)).any()):
            notes += ("values beyond what a picture can give, shown clamped",)
        pixels = preprocess.denormalize(values)
    else:  # how its channels were normalized is not known
        span = values.amax() - values.amin()
        pixels = (values - values.amin()) / (span if span > 0 else 1)
    if channels not in (1, 3):
        pixels = pixels[:3] if channels > 3 else pixels[:1]
        notes += (f"{len(pixels)} of its {channels} channels {'is' if len(pixels) == 1 else 'are'} shown",)
    return replace(picture, pixels=to_picture(to_bytes(pixels)).convert("RGB"), notes=notes)


def _check_one_size(shown: list[Picture]) -> None:
    if len({item.image.size for item in shown}) > 1:
        odd = next(item for item in shown if item.image.size != shown[0].image.size)
        sizes = ", ".join(
            f"{item.name}: {item.image.height} × {item.image.width}" for item in (shown[0], odd)
        )
        raise ImageError(
            f"Expected pictures of one size (height × width) after preprocessing, got {sizes}; "
            "try a Preprocess with resize and crop, or one picture at a time"
        )
