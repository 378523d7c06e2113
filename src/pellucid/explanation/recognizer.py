"""A trained IRENet as a recognizer of semantic features: which attributes a picture shows, and where.

The shipped ``scenes-irenet`` knows the words of the concept world; ``pellucid train irenet`` writes others. A threshold
belongs to every attribute, chosen on validation pictures the training did not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pellucid.core.bundle import check_size
from pellucid.core.documents import FlawError, Share, within
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.data.images import read_image
from pellucid.training.irenet.build import Architecture, build
from pellucid.training.irenet.network import IRENet
from pellucid.zoo.checkpoint import CheckpointError, read_state
from pellucid.zoo.embedded import WEIGHTS
from pellucid.zoo.fitting import fit

NAMES = ("scenes-irenet",)
_MEAN, _STD = 0.5, 0.25
_BATCH = 64


class Recognizer:
    """Attributes of pictures; made by `recognizer`.

    Attributes:
        names: the attributes, in the order of all answers.
        categories: of every attribute: part, color, texture, material, object or scene.
        thresholds: [attribute]; an attribute is said to be there where its probability reaches it.
        size: side of the pictures the network reads, in pixels.
        facts: how it was trained, and what it reached on validation and test pictures, by attribute too.
    """

    def __init__(self, module: IRENet, facts: dict[str, Any]) -> None:
        self.module = module.eval()
        self.facts = facts
        self.names: tuple[str, ...] = tuple(facts["names"])
        self.categories: tuple[str, ...] = tuple(facts["categories"])
        self.thresholds = torch.tensor([float(value) for value in facts["thresholds"]])
        self.size = int(facts["size"])
        mapped = sum(facts["architecture"]["sizes"])
        self.mapped: tuple[str, ...] = self.names[:mapped]

    def index(self, name: str) -> int:
        """The place of an attribute. Raises UnknownNameError for another name, with the close ones."""
        if name not in self.names:
            raise UnknownNameError(
                f"Expected an attribute the recognizer knows, got `{name}`; {suggest(name, self.names)}"
            )
        return self.names.index(name)

    def probabilities(self, pictures: Any) -> Float[Tensor, "batch attribute"]:
        """How probable each attribute is, in [0, 1].

        ``pictures``: a uint8 tensor [batch 3 h w] or [3 h w], a PIL image, an array [h w 3], a path, or a list of
        these; any size, resized to the network's. Raises ValueError (ImageError) for anything else.
        """
        with torch.no_grad():
            return torch.cat([self.module(x).float().sigmoid() for x in self._inputs(pictures)])

    def present(self, pictures: Any) -> Bool[Tensor, "batch attribute"]:
        """Which attributes reach their threshold."""
        return self.probabilities(pictures) >= self.thresholds

    def maps(
        self, pictures: Any, attributes: Sequence[str] | None = None
    ) -> Float[Tensor, "batch attribute h w"]:
        """Where each attribute is seen, in [0, 1], on the recognizer's own grid over the whole picture.

        A value is the probability of the attribute at a cell, against the others of its category and none of them;
        above one half it is more probable than all of those together. ``attributes``: names, by default all that have
        maps (`mapped`: whole-picture attributes such as scenes have none). Raises UnknownNameError for another.
        """
        if self.module.where is None:
            raise ValueError(
                "Expected a recognizer trained with maps, got one without; try `pellucid train irenet` without `--no-maps`."
            )
        chosen = list(self.mapped) if attributes is None else list(attributes)
        for name in chosen:
            if self.index(name) >= len(self.mapped):
                raise UnknownNameError(
                    f"Expected an attribute with maps, got `{name}`, which belongs to the whole picture; "
                    f"{suggest(name, self.mapped)}"
                )
        places = [self.index(name) for name in chosen]
        with torch.no_grad():
            return torch.cat([self.module.maps(x)[:, places] for x in self._inputs(pictures)])

    def _inputs(self, pictures: Any) -> Any:
        """Normalized batches [batch 3 size size], as many pictures at a time as memory is sure to hold."""
        like = next(self.module.parameters())
        for part in torch.split(self._batch(pictures), _BATCH):
            yield normalized(part).to(like)

    def _batch(self, pictures: Any) -> Tensor:
        if isinstance(pictures, Tensor) and pictures.dtype == torch.uint8 and pictures.ndim in (3, 4):
            batch = pictures if pictures.ndim == 4 else pictures[None]
            if batch.shape[1] != 3 or not batch.numel():
                raise ValueError(
                    f"Expected pictures as a uint8 tensor [batch 3 h w], got shape {tuple(pictures.shape)}."
                )
            return resized(batch, self.size)
        if isinstance(pictures, Tensor):
            raise ValueError(
                f"Expected pictures as a uint8 tensor [batch 3 h w], got {pictures.dtype} of shape "
                f"{tuple(pictures.shape)}; try pixels of 0 to 255 with .to(torch.uint8)."
            )
        several = isinstance(pictures, (list, tuple)) or (
            isinstance(pictures, np.ndarray) and pictures.ndim == 4
        )
        entries = list(pictures) if several else [pictures]
        if not entries:
            raise ValueError("Expected at least one picture, got an empty list.")
        return torch.cat([self._one(entry) for entry in entries])

    def _one(self, entry: Any) -> Tensor:
        if isinstance(entry, Tensor):
            return self._batch(entry)
        image = (
            entry
            if isinstance(entry, Image.Image) and entry.mode == "RGB"
            else read_image(entry).image.convert("RGB")
        )
        return resized(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None], self.size)


def normalized(pictures: Tensor) -> Float[Tensor, "batch 3 h w"]:
    """What the network reads: bytes to floats around 0."""
    return (pictures.float() / 255 - _MEAN) / _STD


def resized(pictures: Tensor, size: int) -> Tensor:
    """uint8 pictures [batch 3 h w] at ``size`` × ``size``: bilinear, antialiased; those of that size stay as they are."""
    if tuple(pictures.shape[2:]) == (size, size):
        return pictures
    larger = F.interpolate(
        pictures.float(), size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
    return larger.round().clamp(0, 255).to(torch.uint8)


def recognizer(source: str | Path = "scenes-irenet") -> Recognizer:
    """The shipped recognizer by name, or one that ``pellucid train irenet`` saved, from its ``.safetensors`` file.

    Raises UnknownNameError for another name, CheckpointError (a ValueError) for a file that is missing, damaged, or no
    recognizer. The same source gives the same object while its file stays as it is.

    >>> from pellucid.world import draw, render
    >>> seen = recognizer()
    >>> picture = render(draw(7, class_name="bicycle", split="test")).image
    >>> bool(seen.present(picture)[0, seen.index("wheel")])
    True
    """
    text = str(source)
    path = WEIGHTS / f"{text}.safetensors" if text in NAMES else Path(text).expanduser()
    if text not in NAMES and path.suffix != ".safetensors" and not path.is_file():
        raise UnknownNameError(
            f"Expected a recognizer's name or file, got `{text}`; {suggest(text, NAMES)} `pellucid train irenet` writes others."
        )
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    return _read(path, changed)


class _Facts(msgspec.Struct, frozen=True):
    """What is read of the facts of a recognizer."""

    names: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    categories: tuple[str, ...]
    thresholds: tuple[Share, ...]
    size: Annotated[int, msgspec.Meta(ge=8, le=4096)]
    architecture: Architecture

    def check(self) -> None:
        """That the parts fit together. Raises FlawError."""
        labels = self.architecture.labels
        for name in ("names", "categories", "thresholds"):
            if len(set(self.names)) < len(self.names) or len(getattr(self, name)) != labels:
                raise FlawError(
                    f"irenet.{name}: expected {labels}, all different names, got {len(getattr(self, name))}"
                )


@lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> Recognizer:
    state, metadata = read_state(path)
    try:
        facts = within(metadata, "irenet", dict[str, Any])
        known = within(metadata, "irenet", _Facts)
        known.check()
    except FlawError as flaw:
        raise CheckpointError(
            f"Expected the file of a recognizer, got `{path}`, which does not say what it recognizes ({flaw}); "
            "try one that `pellucid train irenet` wrote."
        ) from None
    architecture = known.architecture
    try:
        with torch.device("meta"):
            check_size(build(architecture).state_dict(), state)
    except FlawError as flaw:
        raise CheckpointError(
            f"Expected the file of a recognizer, got `{path}`, which is damaged: {flaw}."
        ) from None
    module = build(architecture)
    if not isinstance(module, IRENet):
        raise CheckpointError(
            f"Expected the file of an IRENet, got `{path}`, a {architecture.network}; try a file of `--network irenet`."
        )
    fit(module, state, path)
    return Recognizer(module, facts)
