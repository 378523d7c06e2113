"""Settings of a decoder's training: one declaration for the library, the flags and the card."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

_LEAST = {"epochs": 1, "batch_size": 1, "convolutions": 1, "seed": 0, "cache": 0}


@dataclass(frozen=True)
class DecoderTraining:
    """How a decoder of one layer is trained.

    Raises ValueError for a value out of range.

    Attributes:
        width: factor on the channels 256, 128, 64, 32
        convolutions: 3×3 convolutions before the first up-convolution
        partial: share of training pictures of which only some channels are told
        perceptual: weight of the distance in the network's own first stages beside that of pixels
        stages: how many of its stages that distance looks at
        epochs: passes over the pictures
        batch_size: pictures a step
        learning_rate: peak of Adam's cycle
        held_out: share of the pictures on which the error is measured
        seed: of initialization, order and told channels
        precision: of convolutions; bf16 is faster on processors that have it
        cache: megabytes of activations kept in memory; beyond, they are computed anew every epoch
    """

    width: float = 1.0
    convolutions: int = 2
    partial: float = 0.5
    perceptual: float = 0.1
    stages: int = 2
    epochs: int = 10
    batch_size: int = 16
    learning_rate: float = 1e-3
    held_out: float = 0.1
    seed: int = 0
    precision: Literal["bf16", "float32"] = "bf16"
    cache: int = 2_000

    def __post_init__(self) -> None:
        if self.precision not in ("bf16", "float32"):
            raise ValueError(f'Expected `precision` to be "bf16" or "float32", got {self.precision!r}.')
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"Expected `{name}` to be at least {least}, got {value!r}.")
        for name in ("width", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"Expected a positive `{name}`, got {getattr(self, name):g}.")
        if not 0 <= self.partial <= 1:
            raise ValueError(f"Expected `partial` in [0, 1], got {self.partial:g}; try 0.5.")
        if not 0 < self.held_out < 1:
            raise ValueError(f"Expected `held_out` in (0, 1), got {self.held_out:g}; try 0.1.")
        if not 0 <= self.perceptual < math.inf or self.stages < 1:
            raise ValueError(
                f"Expected `perceptual` of at least 0 and `stages` of at least 1, got {self.perceptual:g} and {self.stages}."
            )
