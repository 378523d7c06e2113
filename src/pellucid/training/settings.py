"""Settings of a classifier's training: one declaration for the library, the flags and the model card."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.zoo import embedded

_LEAST = {"images": 1, "epochs": 1, "batch_size": 1, "test_images": 1, "size": 32, "seed": 0}


def check_numbers(settings: Any, least: Mapping[str, float], advice: str) -> None:
    """Raises ValueError where a number of a training is below its ``least`` value or not finite, or where `learning_rate` or
    `weight_decay` is out of range; ``advice``: a pair of these to try."""
    for name, bound in least.items():
        if not bound <= getattr(settings, name) < math.inf:
            raise ValueError(f"Expected `{name}` to be at least {bound}, got {getattr(settings, name)}.")
    if not (0 < settings.learning_rate < math.inf and 0 <= settings.weight_decay < math.inf):
        raise ValueError(
            "Expected a positive `learning_rate` and a `weight_decay` of at least 0, got "
            f"{settings.learning_rate:g} and {settings.weight_decay:g}; try {advice}."
        )


@dataclass(frozen=True)
class ClassifierTraining:
    """How an embedded classifier is trained.

    Raises UnknownNameError for another network, ValueError for a value out of range.

    Attributes:
        network: embedded name; one that ends in -confounded is trained where class and background go
            together
        images: training scenes, rendered once
        epochs: passes over them
        batch_size: images a step
        learning_rate: peak of the cycle
        weight_decay: pull of all weights towards zero
        seed: of initialization and order
        precision: of convolutions; bf16 is faster on processors that have it
        test_images: scenes of the test split on which the accuracy is stated
        size: side of the pictures in pixels
    """

    network: str = "scenes-vgg"
    images: int = 16_000
    epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    seed: int = 0
    precision: Literal["bf16", "float32"] = "bf16"
    test_images: int = 5_000
    size: int = 128

    def __post_init__(self) -> None:
        if self.network not in embedded.NAMES:
            raise UnknownNameError(
                f"Expected an embedded network, got `{self.network}`; {suggest(self.network, embedded.NAMES)}"
            )
        if self.precision not in ("bf16", "float32"):
            raise ValueError(f'Expected `precision` to be "bf16" or "float32", got {self.precision!r}.')
        check_numbers(self, _LEAST, "0.1 and 0.0005")

    @property
    def confounding(self) -> float:
        """1 where each class is seen only in its habitual scene, else 0."""
        return 1.0 if self.network.endswith("-confounded") else 0.0
