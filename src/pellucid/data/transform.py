"""From a picture to what a network sees: resize, center crop, scale to [0, 1], normalize by (x - mean) / std.

On ordinary pictures this equals torchvision's `Resize`, `CenterCrop`, `ToTensor`, `Normalize` on PIL images
bit for bit. We differ where `CenterCrop` would pad a small picture with black borders, which a network would
then look at: here the picture is enlarged until the crop fits. `Preprocess.view` gives the same picture
before normalization, aligned with the tensor pixel by pixel, for people to look at.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pellucid.core.registry import suggest
from pellucid.data.images import MAX_PIXELS, ImageError, Picture, read_image
from pellucid.data.tensors import (
    check_layout,
    check_unit_range,
    to_picture,
    to_pixels,
)

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
CropMode = Literal["center", "squash"]
_SMOOTH = ("nearest", "bilinear", "bicubic")  # what exists without antialiasing


@dataclass(frozen=True)
class Preprocess:
    """What is done to a picture before the network; callable on a picture, giving a tensor.

    Attributes:
        resize: length of the short side after resizing, in pixels; None leaves the size.
        crop: side, or (height, width), of the central crop; None keeps the whole picture.
        mean, std: one number per channel, on the [0, 1] scale.
        channels: 3 for RGB, 1 for gray; any other number for tensors that are ready, since no picture has as many.
        interpolation: filter of the resizing.
        antialias: False samples without low-pass filter, as torchvision does on tensors when told so.
        crop_mode: "center" keeps the aspect ratio; "squash" resizes both sides to `resize` whatever it is.

    >>> Preprocess.imagenet()(Image.new("RGB", (500, 375))).shape
    torch.Size([3, 224, 224])
    """

    resize: int | None
    crop: int | tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int = 3
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    crop_mode: CropMode = "center"

    def __post_init__(self) -> None:
        if isinstance(self.crop, Sequence):  # JSON and torchvision have lists
            object.__setattr__(self, "crop", tuple(self.crop) if len(self.crop) == 2 else self.crop[0])
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        self._check()

    def _check(self) -> None:
        if isinstance(self.channels, bool) or not isinstance(self.channels, int) or self.channels < 1:
            raise ValueError(
                f"Expected channels to be a number of at least 1, got {self.channels!r}; try 3 for RGB pictures"
            )
        for label, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels or not all(math.isfinite(value) for value in values):
                expected = f"Expected {label} to be {self.channels} finite numbers"
                raise ValueError(f"{expected}, got {values}; try one per channel")
        if min(self.std) <= 0:
            raise ValueError(
                f"Expected std to be positive, got {self.std}; try 1 for a channel that is not scaled"
            )
        sides = (self.resize, *(self.crop if isinstance(self.crop, tuple) else (self.crop,)))
        if any(side is not None and side < 1 for side in sides):
            raise ValueError(
                f"Expected sizes of at least 1 pixel, got resize={self.resize}, crop={self.crop}"
            )
        _known("the name of an interpolation", self.interpolation, get_args(Interpolation))
        _known("a crop_mode", self.crop_mode, get_args(CropMode))
        if not self.antialias and self.interpolation not in _SMOOTH:
            raise ValueError(
                f"Expected one of {_SMOOTH} with antialias=False, got {self.interpolation!r}; "
                "try antialias=True"
            )
        if self.crop_mode == "squash" and self.resize is None and self.crop is None:
            raise ValueError("Expected resize or crop with crop_mode='squash', got neither; try 'center'")

    @classmethod
    def imagenet(cls) -> Self:
        """The usual ImageNet evaluation.

        Returns:
            Short side 256, crop 224, bilinear, ImageNet mean and standard deviation.
        """
        return cls(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    @classmethod
    def scenes(cls, size: int = 128) -> Self:
        """For the embedded concept world: mean 0.5, standard deviation 0.25, nothing cut off squares.

        Args:
            size: side, in pixels.

        Returns:
            The preprocessing.
        """
        return cls(size, size, (0.5,) * 3, (0.25,) * 3)

    @classmethod
    def from_torchvision(cls, transforms: Any) -> Self:
        """From the transforms of a torchvision weights entry: `ResNet50_Weights.DEFAULT.transforms()`.

        Its `antialias` is left aside, as torchvision does with PIL images, which are always antialiased.

        Args:
            transforms: the object.

        Returns:
            The preprocessing.

        Raises:
            ValueError: the object lacks the attributes of torchvision's classification transforms.
        """
        needed = ("resize_size", "crop_size", "mean", "std", "interpolation")
        lacking = [name for name in needed if not hasattr(transforms, name)]
        if lacking:
            raise ValueError(
                f"Expected a torchvision classification transform, got {type(transforms).__name__} without "
                f"{', '.join(lacking)}; try weights.transforms(), or Preprocess(resize, crop, mean, std)"
            )
        resize = transforms.resize_size
        resize = resize[0] if isinstance(resize, Sequence) and len(resize) == 1 else resize
        if isinstance(resize, Sequence):
            raise ValueError(
                f"Expected resize_size to be the short side, got {list(resize)}; try Preprocess(…)"
            )
        mode = getattr(transforms.interpolation, "value", transforms.interpolation)
        return cls(
            resize, transforms.crop_size, tuple(transforms.mean), tuple(transforms.std), interpolation=mode
        )

    @classmethod
    def from_timm(cls, config: Mapping[str, Any]) -> Self:
        """From timm's data configuration (`timm.data.resolve_data_config`, or `model.pretrained_cfg`).

        Args:
            config: the mapping.

        Returns:
            The preprocessing.

        Raises:
            ValueError: a size or crop mode that is not square, centered or squashed.
        """
        channels, height, width = config.get("input_size", (3, 224, 224))
        mode: CropMode = config.get("crop_mode") or "center"
        if height != width or mode not in get_args(CropMode):
            raise ValueError(
                f"Expected a square input_size and a crop_mode of {get_args(CropMode)}, "
                f"got {(channels, height, width)} and {mode!r}; try Preprocess(resize, crop, mean, std)"
            )
        resize = math.floor(height / (config.get("crop_pct") or 0.875))
        mean, std = config.get("mean", (0.485, 0.456, 0.406)), config.get("std", (0.229, 0.224, 0.225))
        name = config.get("interpolation", "bilinear")
        return cls(resize, height, tuple(mean), tuple(std), channels, name, crop_mode=mode)

    @classmethod
    def from_json(cls, value: str | Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Args:
            value: what `to_json` gave, or its text.

        Returns:
            The preprocessing.
        """
        entries = dict(json.loads(value) if isinstance(value, str) else value)
        for name in entries:
            _known("the name of a field of Preprocess", name, [field.name for field in fields(cls)])
        return cls(**entries)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data.

        Returns:
            A mapping of JSON types only.
        """
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) that every picture ends with; None when it depends on the picture."""
        if self.crop is not None:
            return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop
        squashed = self.crop_mode == "squash" and self.resize is not None
        return (self.resize, self.resize) if squashed and self.resize else None

    def __call__(self, image: Image.Image | Picture) -> Float[Tensor, "channel h w"]:
        """The normalized tensor of a picture, float32."""
        return self.normalize(to_pixels(self._prepared(image)))

    def view(self, image: Image.Image | Picture) -> Image.Image:
        """The picture the network sees, aligned with the tensor.

        Args:
            image: the whole picture.

        Returns:
            An RGB picture; gray if `channels` is 1.
        """
        return self._prepared(image).convert("RGB")

    def view_mask(self, mask: Bool[np.ndarray, "h w"]) -> Bool[Tensor, "height width"]:
        """A mask of the picture, resized and cropped as the picture is.

        Args:
            mask: of the whole picture, bool [height width].

        Returns:
            What the network sees of it; at least half of a pixel makes it the object's.
        """
        gray = Image.fromarray(np.asarray(mask).astype(np.uint8) * 255).convert("RGB")
        return torch.from_numpy(np.asarray(self.view(gray).convert("L")) >= 128)

    def window(self, width: int, height: int) -> tuple[float, float, float, float]:
        """What the network sees of a picture.

        Args:
            width: of the picture, in pixels.
            height: of the picture, in pixels.

        Returns:
            (left, top, right, bottom), in pixels of the picture.

        Example:
            >>> Preprocess.imagenet().window(512, 256)
            (144.0, 16.0, 368.0, 240.0)
        """
        wide, high = self._resized_size(width, height)
        if self.crop is None:
            return 0.0, 0.0, float(width), float(height)
        low, across = self.size or (high, wide)
        left, top = self._corner(wide, high)
        x, y = width / wide, height / high
        return left * x, top * y, (left + across) * x, (top + low) * y

    def positions(
        self, picture: tuple[int, int], size: tuple[int, int], grid: tuple[int, int]
    ) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " columns"]]:
        """Where the centers of a grid over the view lie in a picture: to sample what is stored beside it in any size.

        Args:
            picture: (width, height).
            size: (height, width) of the view.
            grid: (rows, columns).

        Returns:
            Rows and columns, as shares in [0, 1) of the picture's height and width.
        """
        wide, high = self._resized_size(*picture)
        left, top = self._corner(wide, high) if self.crop is not None else (0, 0)
        rows = (top + (np.arange(grid[0]) + 0.5) * size[0] / grid[0]) / high
        columns = (left + (np.arange(grid[1]) + 0.5) * size[1] / grid[1]) / wide
        return np.clip(rows, 0, np.nextafter(1, 0)), np.clip(columns, 0, np.nextafter(1, 0))

    def normalize(self, batch: Tensor) -> Tensor:
        """Normalize pixels channel by channel.

        Args:
            batch: [..., channel, h, w], uint8 or float in [0, 1].

        Returns:
            Floats of the same shape; float32 from uint8.

        Raises:
            ImageError: another type, channel count or range, or NaN.

        Example:
            >>> Preprocess.scenes().normalize(torch.full((3, 1, 1), 1.0)).flatten()
            tensor([2., 2., 2.])
        """
        check_layout(batch, self.channels)
        if batch.dtype == torch.uint8:
            batch = batch.to(torch.float32).div(255)
        elif not batch.is_floating_point():
            raise ImageError(f"Expected uint8 or float pixels, got {batch.dtype}; try .to(torch.uint8)")
        else:
            check_unit_range(batch)
        mean, std = self._constants(batch)
        return (batch - mean) / std

    def denormalize(self, tensor: Tensor) -> Tensor:
        """The inverse of `normalize`.

        Args:
            tensor: normalized input, [..., channel, h, w].

        Returns:
            Floats in [0, 1]; what lies beyond is clamped.

        Example:
            >>> Preprocess.scenes().denormalize(torch.full((3, 1, 1), -1.0)).flatten()
            tensor([0.2500, 0.2500, 0.2500])
        """
        check_layout(tensor, self.channels)
        mean, std = self._constants(tensor)
        return (tensor * std + mean).clamp(0, 1)

    def bounds(self) -> tuple[Float[Tensor, "channel 1 1"], Float[Tensor, "channel 1 1"]]:
        """Lowest and highest value that a normalized pixel can have (the zB rule needs them).

        Returns:
            Two tensors [channel 1 1].
        """
        black = torch.zeros(self.channels, 1, 1)
        return self.normalize(black), self.normalize(black + 1)

    def _constants(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = torch.tensor((self.mean, self.std), dtype=like.dtype, device=like.device)[..., None, None]
        return mean, std

    def _prepared(self, image: Image.Image | Picture) -> Image.Image:
        """8-bit picture in mode RGB or L, resized and cropped."""
        picture = image.image if isinstance(image, Picture) else read_image(image, max_pixels=None).image
        if self.channels not in (1, 3):
            raise ImageError(
                f"Expected a float tensor [batch {self.channels} height width] for a network of {self.channels} channels, got a "
                "picture, which has 3 or 1; try normalized=True, or normalized=False for values in [0, 1]"
            )
        mode = "RGB" if self.channels == 3 else "L"
        picture = self._resized(picture if picture.mode == mode else picture.convert(mode))
        if self.crop is None:
            return picture
        height, width = (self.crop, self.crop) if isinstance(self.crop, int) else self.crop
        left, top = self._corner(picture.width, picture.height)
        return picture.crop((left, top, left + width, top + height))

    def _corner(self, width: int, height: int) -> tuple[int, int]:
        """(left, top) of the crop in a resized picture; rounding halves to even, as torchvision's CenterCrop does."""
        high, wide = self.size or (height, width)
        return round((width - wide) / 2), round((height - high) / 2)

    def _resized(self, picture: Image.Image) -> Image.Image:
        size = self._resized_size(picture.width, picture.height)
        if size == picture.size:
            return picture
        if size[0] * size[1] > MAX_PIXELS:
            raise ImageError(
                f"Expected a picture that stays below {MAX_PIXELS:,} pixels when resized, "
                f"got {picture.width} × {picture.height}, which would become {size[0]:,} × {size[1]:,}; "
                "try to crop the long side first"
            )
        if self.antialias:
            return picture.resize(size, Image.Resampling[self.interpolation.upper()])
        pixels = to_pixels(picture)[None].to(torch.float32)
        corners = None if self.interpolation == "nearest" else False
        sampled = F.interpolate(pixels, size=size[::-1], mode=self.interpolation, align_corners=corners)
        return to_picture(sampled[0].clamp(0, 255).round().to(torch.uint8))

    def _resized_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after resizing: the short side is `resize`, and both sides hold the crop."""
        low, wide = self.size or (1, 1)
        if self.crop_mode == "squash":
            return max(self.resize or wide, wide), max(self.resize or low, low)
        new = width, height
        if self.resize is not None:
            short, long = self.resize, int(self.resize * max(width, height) / min(width, height))
            new = (short, long) if width <= height else (long, short)
        if new[0] < wide or new[1] < low:
            scale = max(wide / width, low / height)
            new = max(wide, int(width * scale)), max(low, int(height * scale))
        return new


def _known(label: str, value: str, options: Sequence[str]) -> None:
    if value not in options:
        raise ValueError(f"Expected {label}, got {value!r}; {suggest(value, options)}")
