"""What is asked of an explanation: its settings, the picture, and the object that is known to be in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pellucid.attribution import Method
from pellucid.core.layers import INPUT
from pellucid.core.network import Network, TargetLike
from pellucid.data.images import InputImage
from pellucid.explanation.concepts import Names
from pellucid.explanation.pictures import Pictures
from pellucid.explanation.sight import Recognizing
from pellucid.units.criterion import Criterion
from pellucid.units.patterns import Patterns


@dataclass(frozen=True, eq=False)
class Request:
    """Everything `explain` was asked, resolved once for all its images.

    ``methods``: the one the sentence speaks of comes first. ``place``: layer whose important neurons are looked at.
    ``meanings``: what units answer to.
    """

    methods: tuple[Method, ...]
    layers: tuple[str, ...]
    criterion: Criterion
    place: str
    units: int
    seed: int
    faithfulness: bool
    meanings: Names
    pictures: Pictures
    recognizer: Recognizing | None
    why_not: Any
    language: str
    names: Mapping[str, str]
    patterns: Patterns | None = None


@dataclass(frozen=True, eq=False)
class Known:
    """The object's mask in the picture, and its name, where they are known."""

    mask: Tensor | None = None
    label: str | None = None


def one_each(target: TargetLike, count: int) -> list[Any]:
    """A target for every image. Raises ValueError where a list has another length."""
    if isinstance(target, (list, tuple, Tensor)):
        if len(target) != count:
            raise ValueError(f"Expected one target for each of {count} images, got {len(target)}.")
        return [int(one) if isinstance(one, Tensor) else one for one in target]
    return [target] * count


def is_scene(image: Any) -> bool:
    """A scene or rendering of the concept world, told without importing it."""
    return type(image).__module__.startswith("pellucid.world")


def known_object(images: Any, mask: Any) -> tuple[Any, Known]:
    """The picture, and what is known of the object in it. Raises ValueError for an unusable mask."""
    if is_scene(images):
        from pellucid.world import render

        rendering = images if hasattr(images, "object_mask") else render(images)
        scene = rendering.scene_data
        picture = InputImage(Image.fromarray(rendering.image), "scene", (), (rendering.size, rendering.size))
        if scene.thing is None:
            return picture, Known()
        return picture, Known(torch.from_numpy(rendering.object_mask()), scene.thing.name)
    if mask is None:
        return images, Known()
    array = np.asarray(mask)
    if array.ndim != 2 or array.dtype.kind not in "bui" or not array.any():
        raise ValueError(
            f"Expected `mask` to be a bool array [height width] with pixels set, got {array.dtype} {array.shape}."
        )
    return images, Known(torch.from_numpy(array != 0), "object")


def mask_at_input(known: Tensor | None, net: Network, shown: InputImage, images: Tensor) -> Tensor | None:
    """The mask as the network sees it, None where sizes cannot agree. Raises ValueError for one of another size."""
    if known is None:
        return None
    width, height = shown.original_size
    if tuple(known.shape) != (height, width):
        raise ValueError(
            f"Expected a mask of the image's size {height}×{width}, got {known.shape[0]}×{known.shape[1]}."
        )
    view = net.preprocess.view_mask(known.numpy())
    return view if view.shape == images.shape[2:] else None


def last_layer(net: Network, layers: Sequence[str] | None = None) -> str:
    """The layer whose neurons are looked at unless another is named: the last of ``layers``, the input aside."""
    stages = tuple(layers) if layers is not None else net.default_layers
    return [name for name in stages if name != INPUT][-1]
