"""What the network saw of every picture of a batch, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from pellucid.core.overlay import Window
from pellucid.data.images import read_image
from pellucid.data.preprocess import Preprocess


@dataclass(frozen=True, eq=False, repr=False)
class Views:
    """The batch that maps were made of, and how it was prepared."""

    batch: Float[Tensor, "batch channel height width"]
    preprocess: Preprocess

    def __getitem__(self, image: int) -> Views:
        return Views(self.batch[image : image + 1 or None], self.preprocess)

    def seen(self, image: int = 0) -> Image.Image | None:
        """The picture the network saw, RGB; None where its channels are neither gray nor RGB."""
        pixels = self.batch[image].detach().to("cpu", torch.float32)
        if pixels.shape[0] != self.preprocess.channels or pixels.shape[0] not in (1, 3):
            return None
        values = self.preprocess.denormalize(pixels).mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        return Image.fromarray(np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values)

    def placed(self, picture: Any) -> tuple[Image.Image, Window | None]:
        """A whole picture (path, PIL image or array), and where in it the network's view lies.

        A picture of the size of the network's input is taken for the view itself.
        """
        shown = read_image(picture).image.convert("RGB")
        if shown.size == (self.batch.shape[3], self.batch.shape[2]):
            return shown, None
        return shown, self.preprocess.window(shown.width, shown.height)
