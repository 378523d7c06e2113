"""Pictures with labels, in memory as bytes, to train on: scenes, or a folder with a folder of pictures for each class.

With a target the labels are 1 where it is and 0 in as many pictures without it; else they are class indices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from pellucid.core.progress import each
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.data.images import ImageError, read_image
from pellucid.data.preprocess import Preprocess
from pellucid.interpretable.settings import InterpretableTraining
from pellucid.world import CLASSES, Scene, draw, render

EVERY = 5  # of a folder's pictures, one in so many is kept for the test


@dataclass(frozen=True, eq=False)
class Pictures:
    """``images`` as bytes [picture channel h w], ``labels`` [picture], and the names of what the network's outputs mean.

    Raises ValueError where a class has no picture.
    """

    images: UInt8[Tensor, "picture channel h w"]
    labels: Int[Tensor, " picture"]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        counts = torch.bincount(self.labels, minlength=len(self.classes)).tolist()
        missing = [name for name, count in zip(self.classes, counts, strict=True) if not count]
        if missing:
            raise ValueError(
                f"Expected pictures of every class, got none of {', '.join(missing)}; try more pictures, or leave it out."
            )

    def __len__(self) -> int:
        return len(self.labels)


def open_pictures(
    settings: InterpretableTraining, split: str, preprocess: Preprocess, *, progress: bool | None = False
) -> Pictures:
    """The training (``"train"``) or test (``"test"``) pictures that the settings name.

    Raises UnknownNameError for a target that is no class, ValueError for a folder without classes or a class without pictures.
    """
    if settings.data == "scenes":
        return _scenes(settings, split, preprocess, progress)
    return _folder(settings, split, preprocess, progress)


def _check(target: str | None, classes: tuple[str, ...]) -> None:
    if target is not None and target not in classes:
        raise UnknownNameError(
            f"Expected the target to be a class, got `{target}`; {suggest(target, classes)}"
        )


def _scenes(
    settings: InterpretableTraining, split: str, preprocess: Preprocess, progress: bool | None
) -> Pictures:
    target, count = settings.target, settings.images if split == "train" else settings.test_images
    _check(target, CLASSES)
    size = preprocess.size or (128, 128)

    def scene(index: int) -> tuple[Scene, int]:
        if target is None:
            found = draw(index, split=split)
            return found, found.target
        if index % 2 == 0:  # object and background in turn
            return draw(index // 2, split=split, class_name=target), 1
        if settings.background == "empty":
            return draw(count + index // 2, split=split, class_name=target).without_object(), 0
        other = draw(index // 2, split=split)
        if other.label == target:
            kinds = [kind for kind in CLASSES if kind != target]
            other = draw(index // 2, split=split, class_name=kinds[index // 2 % len(kinds)])
        return other, 0

    def picture(index: int) -> tuple[Tensor, int]:
        drawn, label = scene(index)
        image = render(drawn, max(size)).image
        return torch.from_numpy(image).permute(2, 0, 1), label

    classes = tuple(CLASSES) if target is None else ("background", target)
    return _collected(picture, count, classes, f"rendering {split}", progress)


def _folder(
    settings: InterpretableTraining, split: str, preprocess: Preprocess, progress: bool | None
) -> Pictures:
    root = Path(settings.data).expanduser()
    kinds = sorted(each.name for each in root.iterdir() if each.is_dir()) if root.is_dir() else []
    if len(kinds) < 2:
        raise ValueError(
            f"Expected a folder with a folder of pictures for each of several classes, got `{settings.data}` with "
            f"{len(kinds)}; try `scenes`."
        )
    classes = tuple(kinds)
    _check(settings.target, classes)
    listed: list[tuple[Path, int]] = []
    for index, kind in enumerate(kinds):
        files = sorted(
            each for each in (root / kind).rglob("*") if each.is_file() and not each.name.startswith(".")
        )
        held = [each for place, each in enumerate(files) if (place % EVERY == EVERY - 1) == (split == "test")]
        listed += [(each, index) for each in held]
    if settings.target is not None:
        listed = _against(listed, classes.index(settings.target), settings.seed)
        classes = ("background", settings.target)
    kept: list[tuple[Tensor, int]] = []
    for path, label in listed:
        try:
            pixels = np.array(preprocess.view(read_image(path)))
        except ImageError:
            continue
        kept.append((torch.from_numpy(pixels).permute(2, 0, 1), label))
    if not kept:
        raise ValueError(f"Expected pictures in `{settings.data}`, got none that can be read.")
    return _collected(lambda index: kept[index], len(kept), classes, f"reading {split}", progress)


def _against(listed: list[tuple[Path, int]], target: int, seed: int) -> list[tuple[Path, int]]:
    """The target's pictures and as many others, drawn at random."""
    own = [(path, 1) for path, label in listed if label == target]
    others = [path for path, label in listed if label != target]
    drawn = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))[: len(own)]
    return own + [(others[place], 0) for place in sorted(drawn.tolist())]


def _collected(
    picture: Callable[[int], tuple[Tensor, int]],
    count: int,
    classes: tuple[str, ...],
    title: str,
    progress: bool | None,
) -> Pictures:
    images: Tensor | None = None
    labels = torch.empty(count, dtype=torch.long)
    for index in each(range(count), title, "picture", progress):
        pixels, labels[index] = picture(index)
        if images is None:
            images = torch.empty(count, *pixels.shape, dtype=torch.uint8)
        images[index] = pixels
    assert images is not None
    return Pictures(images, labels, classes)
