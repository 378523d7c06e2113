"""From settings to samples: which pictures train, validate and test, what is cut out of them, and which attributes are left.

Of the concept world the splits train, val and test are taken. Any other set is divided by its own split: the held-out pictures
test, of the others every fifth, by a hash of its name, validates.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.data.concepts import ConceptSource, open_concepts
from pellucid.training.irenet.pictures import Pictures, Vocabulary, part_boxes
from pellucid.training.irenet.samples import Crops, Samples, Views
from pellucid.training.irenet.settings import RecognizerTraining
from pellucid.world.concepts import SceneConcepts

_COUNTED = 1_000  # views are drawn anew each time; so many tell how common an attribute is
_SMALLEST = 0.125  # of a picture's shorter side: a crop of a few pixels shows nothing


@dataclass(eq=False)
class Prepared:
    """Samples of all three kinds; ``positives`` [attribute]: how many of the ``counted`` training samples show it; ``left_out``:
    attributes with too few."""

    vocabulary: Vocabulary
    training: Samples
    validation: Samples
    test: Samples
    positives: Tensor
    counted: int
    left_out: tuple[str, ...]

    def weights(self, most: float) -> Tensor:
        """The weight of a positive answer: negatives over positives, between 1 and ``most``."""
        ratio = (self.counted - self.positives) / self.positives.clamp(min=1)
        return ratio.clamp(1, most).float()


def prepare(settings: RecognizerTraining, *, progress: bool | None = None) -> Prepared:
    """Open the set, cut and count. Raises ValueError where nothing is left to learn."""
    sources = _sources(settings)
    words = Vocabulary.of(sources[0][0], settings.categories)
    samples = [_samples(settings, source, indices, words, progress) for source, indices in sources]
    counted, positives = _positives(samples[0])
    kept = positives >= min(settings.positives, counted)
    if not bool(kept.any()):
        raise ValueError(
            f"Expected attributes shown by at least {settings.positives} of {counted} training samples, got none of "
            f"{len(words.names)}; try more pictures or a smaller `positives`."
        )
    left_out = tuple(name for name, keep in zip(words.names, kept.tolist(), strict=True) if not keep)
    if left_out:
        numbers = [number for number, keep in zip(words.numbers, kept.tolist(), strict=True) if not keep]
        words = Vocabulary.of(sources[0][0], settings.categories, numbers)
        samples = [_without(each, kept, words) for each in samples]
    training, validation, test = samples
    return Prepared(words, training, validation, test, positives[kept], counted, left_out)


def _sources(settings: RecognizerTraining) -> list[tuple[ConceptSource, list[int]]]:
    """(set, indices) for training, validation and test."""
    if settings.data == "scenes":
        amounts = (("train", settings.pictures), ("val", settings.checked), ("test", settings.checked))
        return [
            (SceneConcepts.of(count, split=split, size=settings.size), list(range(count)))
            for split, count in amounts
        ]
    source = open_concepts(settings.data, **({"merge": "group"} if settings.merge == "group" else {}))
    fit = [index for index in range(len(source)) if source.split(index) == "fit"]
    held = [index for index in range(len(source)) if source.split(index) != "fit"]
    checked = [index for index in fit if _hash(source.picture_name(index)) % 5 == 0]
    chosen = [index for index in fit if _hash(source.picture_name(index)) % 5]
    parts = (chosen[: settings.pictures], checked[: settings.checked], held[: settings.checked])
    for part, kind in zip(parts, ("training", "validation", "test"), strict=True):
        if not part:
            raise ValueError(
                f"Expected pictures for {kind} in {source.name}, got none of {len(source)}; try a larger set."
            )
    return [(source, part) for part in parts]


def _hash(name: str) -> int:
    digest = hashlib.sha256(f"validation {name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:4], "big")


def _samples(
    settings: RecognizerTraining,
    source: ConceptSource,
    indices: list[int],
    words: Vocabulary,
    progress: bool | None,
) -> Samples:
    pictures = Pictures(source, indices, words)
    if settings.crops == "views":
        return Views(pictures, settings.size, settings.size // settings.grid if settings.maps else 1)
    shape = pictures.read(0)[0].shape
    least = max(4, round(_SMALLEST * min(int(shape[1]), int(shape[2]))))
    if settings.crops == "parts":
        return Crops.of(pictures, part_boxes(pictures, settings.margin, least), settings.size)
    from pellucid.training.irenet.regions import neuron_boxes

    boxes = neuron_boxes(pictures, settings.net, settings.units, settings.margin, least, progress=progress)
    return Crops.of(pictures, boxes, settings.size)


def _positives(samples: Samples) -> tuple[int, Tensor]:
    """How many samples were looked at, and how many of them show each attribute."""
    if isinstance(samples, Crops):
        return len(samples), (samples.labels == 1).sum(0)
    count = min(len(samples), _COUNTED)
    pictures: Any = samples.pictures
    found = torch.zeros(len(pictures.vocabulary.names), dtype=torch.long)
    for place in range(count):
        _, maps, whole = pictures.read(place)
        found += pictures.labels(maps, whole, "view") == 1
    return count, found


def _without(samples: Samples, kept: Tensor, words: Vocabulary) -> Samples:
    if isinstance(samples, Crops):
        return samples.only(kept)
    pictures = Pictures(samples.pictures.source, samples.pictures.indices, words)
    return replace(samples, pictures=pictures)
