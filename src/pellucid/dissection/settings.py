"""How a network is dissected: the parameters of `dissect`, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pellucid.dissection.placement import Anchor

KERNELS = ("auto", "compiled", "tensor")


@dataclass(frozen=True)
class Settings:
    """How a network is dissected.

    Attributes:
        quantile: share of a unit's values above its threshold.
        anchor: where a layer's cells lie on the label grid (see `pellucid.dissection.placement`).
        ratio: input pixels per label pixel.
        draws: how often masks are counted against the labels of other pictures, for what is to be expected by chance.
        resamples: draws of the bootstrap; 0 for no intervals.
        ranked: concepts per unit that get an interval.
        examples: pictures kept per unit.
        seed: order of the pictures, and everything drawn.
        batch_size: pictures that go through the network at once.
        kernel: "compiled" counts on the processor, "tensor" on the network's device; "auto" chooses by the device. The
            numbers are the same.
        scratch: bytes on disk beyond which a layer is passed through the network twice.
    """

    quantile: float = 0.005
    anchor: Anchor = "effective"
    ratio: int = 2
    draws: int = 4
    resamples: int = 200
    ranked: int = 5
    examples: int = 8
    seed: int = 0
    batch_size: int = 32
    kernel: Literal["auto", "compiled", "tensor"] = "auto"
    scratch: int = 8 << 30

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1:
            raise ValueError(f"Expected `quantile` between 0 and 1, got {self.quantile}; try 0.005.")
        if self.kernel not in KERNELS:
            raise ValueError(f"Expected `kernel` to be one of {', '.join(KERNELS)}, got {self.kernel!r}.")
        least = {
            "draws": 0,
            "resamples": 0,
            "ranked": 1,
            "examples": 0,
            "seed": 0,
            "batch_size": 1,
            "scratch": 0,
        }
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"Expected `{name}` to be at least {value}, got {getattr(self, name)}.")
