"""From a set of concepts to what the network sees and what is labeled there: pictures as a batch, labels on the label grid.

Label maps are sampled at the centers of the label grid's pixels, through the same resizing and cropping the picture went
through, whatever size they are stored in; no label is ever interpolated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.data.concepts.base import ConceptSource, LabelError, Labels, View
from pellucid.data.images import ImageError
from pellucid.data.tensors import to_pixels
from pellucid.data.transform import Preprocess
from pellucid.dissection.labels import LocalLabels, localize

_AHEAD = 3  # batches that are read while one is computed


@dataclass(frozen=True, eq=False)
class Sample:
    """Some pictures of a set: their numbers, the batch, and the labels of each."""

    indices: tuple[int, ...]
    batch: Tensor
    labels: tuple[LocalLabels, ...]


class Sampler:
    """Reads pictures and labels of a set for a network whose input is ``size`` (height, width).

    ``ratio``: input pixels per label pixel. What cannot be read is listed in the set's `problems` and left out.
    """

    def __init__(
        self, source: ConceptSource, preprocess: Preprocess, size: tuple[int, int], ratio: int
    ) -> None:
        if ratio < 1:
            raise ValueError(f"Expected at least one input pixel per label pixel, got {ratio}; try 2.")
        self.source, self.size = source, size
        self.preprocess = seen_as(preprocess, size, source.view)
        self.grid = (max(1, size[0] // ratio), max(1, size[1] // ratio))
        self._place_of = np.full(65_536, -1, np.int32)
        for place, concept in enumerate(source.concepts):
            self._place_of[concept.number] = place

    def batches(self, chunks: Sequence[Sequence[int]]) -> Iterator[Sample]:
        """A sample for every chunk of numbers, in order; what cannot be read is missing from it.

        The next ones are read in a thread while the caller works.
        """
        with ThreadPoolExecutor(1) as pool:
            waiting: list[Future[Sample]] = []
            try:
                for chunk in chunks:
                    waiting.append(pool.submit(self.read, chunk))
                    if len(waiting) > _AHEAD:
                        yield waiting.pop(0).result()
                while waiting:
                    yield waiting.pop(0).result()
            finally:
                for future in waiting:
                    future.cancel()

    def read(self, indices: Sequence[int]) -> Sample:
        """Pictures and labels of these numbers."""
        kept, pixels, labels = [], [], []
        mode = "RGB" if self.preprocess.channels == 3 else "L"
        for index in indices:
            try:
                picture = self.source.picture(index)
                width, height = picture.image.size
                found = self.labels(self.source.labels(index), (width, height))
                pixels.append(to_pixels(self.preprocess.view(picture).convert(mode)))
            except (ImageError, LabelError) as error:
                self.source.report(self.source.picture_name(index), str(error))
                continue
            kept.append(index)
            labels.append(found)
        batch = self.preprocess.normalize(torch.stack(pixels)) if pixels else torch.zeros(0)
        return Sample(tuple(kept), batch, tuple(labels))

    def labels(self, labels: Labels, picture: tuple[int, int]) -> LocalLabels:
        """Labels of a picture of (width, height) on the label grid."""
        rows, columns = self.preprocess.positions(picture, self.size, self.grid)
        sampled = np.zeros((len(labels.maps), *self.grid), np.uint16)
        for one, stored in zip(sampled, labels.maps, strict=True):
            height, width = stored.shape
            one[:] = stored[np.ix_((rows * height).astype(np.int64), (columns * width).astype(np.int64))]
        whole = (
            np.unique(self._place_of[np.array(labels.whole, np.int64)])
            if labels.whole
            else np.zeros(0, np.int32)
        )
        whole = whole[whole >= 0].astype(np.int32)
        scratch = np.zeros(len(self.source.concepts), np.int32)
        code, starts, combos, places, pixels = localize(sampled, self._place_of, whole, scratch)
        return LocalLabels(code.astype(_kind(len(starts))), starts, combos, places, pixels, whole)


def _kind(codes: int) -> Any:
    """The smallest type that holds so many codes."""
    return np.uint8 if codes <= 256 else np.uint16 if codes <= 65_536 else np.int32


def seen_as(preprocess: Preprocess, size: tuple[int, int], view: View) -> Preprocess:
    """How pictures of a set become inputs of ``size``: by the network's own way, where that gives one size, or the whole
    picture whatever its aspect."""
    if view == "network" and preprocess.size == size:
        return preprocess
    if view == "network" and preprocess.size is not None:
        return replace(preprocess, resize=min(size), crop=size)
    return replace(preprocess, resize=None, crop=size, crop_mode="squash")
