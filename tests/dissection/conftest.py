"""A small network, a small set with everything a set can have, and its dissection spelled out."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import pellucid as pl
from pellucid.data.concepts.base import Concept, ConceptSource, LabelError, Labels, sorted_concepts
from pellucid.data.images import Picture


class MadeUp(ConceptSource):
    """Random pictures of random blocks: two maps in conflict, numbers for the whole picture, gaps, categories that are
    missing from pictures."""

    def __init__(self, count=12, size=24, seed=0, damaged=(), view="network"):
        concepts = [
            Concept(3 * n + 2, f"thing {n}", ("object", "part", "scene")[n % 3], ()) for n in range(9)
        ]
        super().__init__("made up", sorted_concepts(concepts), view)
        rng = np.random.default_rng(seed)
        numbers = np.array([0, 0, *(concept.number for concept in concepts if concept.category != "scene")])
        scenes = [concept.number for concept in concepts if concept.category == "scene"]
        self.pictures = rng.integers(0, 256, (count, size, size, 3), np.uint8)
        for picture in self.pictures:  # smooth enough that units have a place
            picture[: size // 2] = picture[0, 0]
        if count > 7:
            self.pictures[7] = self.pictures[3]  # equally active: the order of examples has to be said
        blocks = rng.choice(numbers, (count, 3, size // 4, size // 4)).astype(np.uint16)
        self.maps = blocks.repeat(2, 2).repeat(2, 3)
        self.maps[:, 2] = np.where(rng.random(self.maps[:, 0].shape) < 0.3, self.maps[:, 0], 0)
        self.maps[::4, 1:] = 0
        self.wholes = [
            (scenes[k % 3], *((int(numbers[3]),) if k % 5 == 0 else ())) if k % 3 else ()
            for k in range(count)
        ]
        self.damaged = set(damaged)

    def __len__(self):
        return len(self.pictures)

    def picture_name(self, index):
        return f"picture {index}"

    def picture(self, index):
        return Picture(Image.fromarray(self.pictures[index]), f"picture {index}", (), (24, 24))

    def labels(self, index):
        if index in self.damaged:
            raise LabelError(f"Expected labels, got none for picture {index}.")
        return Labels(self.maps[index], self.wholes[index])


@pytest.fixture
def source():
    return MadeUp()


@pytest.fixture
def make_source():
    return MadeUp


@pytest.fixture
def network():
    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 7, 4, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 4),
    )  # fmt: skip
    # in double precision the last bits do not depend on how many pictures go through at once
    return pl.load(module.double(), preprocess=pl.Preprocess(24, 24, (0.5,) * 3, (0.25,) * 3))
