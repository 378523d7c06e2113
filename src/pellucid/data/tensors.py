"""Between 8-bit pictures and tensors [channel, h, w], and the checks both ways."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from pellucid.data.pixels import ROUNDING, ImageError


def to_pixels(picture: Image.Image) -> UInt8[Tensor, "channel h w"]:
    """The values of a picture in mode RGB or L, as they are."""
    values = np.array(picture).reshape(picture.height, picture.width, -1)
    return torch.from_numpy(values).permute(2, 0, 1).contiguous()


def to_picture(pixels: UInt8[Tensor, "channel h w"]) -> Image.Image:
    """The inverse of `to_pixels`: mode RGB from three channels, L from one."""
    values = pixels.detach().cpu().movedim(0, -1).contiguous().numpy()
    return Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)


def to_bytes(unit: Float[Tensor, "*any"]) -> UInt8[Tensor, "*any"]:
    """Values in [0, 1], nearest of 256 levels."""
    return unit.detach().mul(255).round().to(torch.uint8)


def check_layout(tensor: Tensor, channels: int) -> None:
    """ImageError unless the shape is [..., channels, h, w] and not empty."""
    if tensor.ndim >= 3 and tensor.shape[-3] == channels and tensor.numel():
        return
    hint = "to add the missing axes"
    if tensor.ndim >= 3:
        given = tensor.shape[-3]
        hint = f"one of {channels} channels, or for a network that takes {given} channels={given} in the Preprocess"
    if tensor.ndim >= 3 and tensor.shape[-1] == channels:
        hint = "tensor.movedim(-1, -3), for the channels seem to come last"
    if not tensor.numel():
        hint = "a tensor with at least one pixel"
    shape = tuple(tensor.shape)
    raise ImageError(f"Expected a tensor [..., {channels}, height, width], got shape {shape}; try {hint}")


def check_values(tensor: Tensor) -> None:
    """ImageError for a tensor that holds no values (on the meta device), or not one for every pixel (sparse)."""
    if tensor.is_meta or tensor.layout != torch.strided:
        what = "on the meta device" if tensor.is_meta else f"of layout {tensor.layout}"
        raise ImageError(
            f"Expected a tensor with a value for every pixel, got one {what} of shape {tuple(tensor.shape)}; try .to_dense(), or "
            "real values"
        )


def check_finite(tensor: Tensor) -> None:
    """ImageError when a value is NaN or infinite."""
    broken = int((~torch.isfinite(tensor.detach())).sum())
    if broken:
        raise ImageError(
            f"Expected finite pixels, got {broken} NaN or infinite of {tensor.numel()} "
            f"in a tensor of shape {tuple(tensor.shape)}; try torch.nan_to_num, or mend their source"
        )


def check_unit_range(tensor: Tensor) -> None:
    """ImageError when a value is not finite or lies outside [0, 1]."""
    check_finite(tensor)
    low, high = float(tensor.detach().min()), float(tensor.detach().max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ImageError(
            f"Expected float pixels in [0, 1], got values from {low:.4g} to {high:.4g}; "
            "try to divide by 255, or normalized=True when they are normalized already"
        )
