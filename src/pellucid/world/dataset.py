"""The concept world as a torch dataset: pictures are drawn on demand, nothing is stored."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from .draw import SPLITS, draw
from .render import Rendering, render
from .scene import Scene
from .vocabulary import CLASSES, check_name


class SceneDataset(Dataset[tuple[Tensor, int]]):
    """``count`` scenes of a split as (uint8 tensor [3, size, size] in 0..255, class index).

    ``confounding``, ``shortcut``: as in `draw`. Image ``i`` is the same bytes on every machine and in every
    worker. Raises ``ValueError`` for an unknown split, a count below 1 or a probability outside 0..1.

    >>> from pellucid.world import SceneDataset
    >>> image, target = SceneDataset("test", count=4)[0]
    >>> image.shape, image.dtype
    (torch.Size([3, 128, 128]), torch.uint8)
    """

    classes = CLASSES

    def __init__(
        self,
        split: str = "train",
        count: int = 10_000,
        *,
        confounding: float = 0.0,
        shortcut: float = 0.0,
        size: int = 128,
    ) -> None:
        check_name("split", split, tuple(SPLITS))
        if count < 1:
            raise ValueError(f"Expected count to be at least 1, got {count}; try 10000.")
        self.split, self.count, self.size = split, count, size
        self.confounding, self.shortcut = confounding, shortcut
        self.scene(0)

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> Scene:
        """The scene behind an image, to read or to edit. Raises ``IndexError`` out of range."""
        if not 0 <= index < self.count:
            raise IndexError(f"Expected an index below {self.count}, got {index}; try a larger count.")
        return draw(index, split=self.split, confounding=self.confounding, shortcut=self.shortcut)

    def rendering(self, index: int) -> Rendering:
        """An image with all its label maps."""
        return render(self.scene(index), self.size)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        rendering = self.rendering(index)
        return torch.from_numpy(rendering.image).permute(2, 0, 1).contiguous(), rendering.scene_data.target
