"""How the parts that filters mean are measured: the parameters of `measure_parts`, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Region = Literal["upsampled", "receptive-field", "effective-field", "cells"]
Anchor = Literal["effective", "nominal"]


@dataclass(frozen=True)
class PartSettings:
    """How the parts that filters mean are measured.

    Attributes:
        quantile: share of a filter's values, over all cells of all pictures, above its threshold.
        iou: a filter means a part in a picture where their overlap is above it.
        regions: which pixels a filter's valid cells stand for; the first is the one that is reported. "upsampled": the map
            is interpolated to the picture and held against the threshold; "receptive-field": the union of the valid cells'
            receptive fields; "effective-field": that of the middle of these; "cells": that of their patches of one stride.
        field: share of a receptive field's sides that matters ("effective-field"); measured: 72 of 195 pixels for the last
            pooling of AlexNet (Zhou, Khosla, Lapedriza, Oliva, Torralba, ICLR 2015).
        most_active: pictures, from the most activated down, on which the spread of the distance is measured.
        fewest: pictures a part must have been seen in; a part with fewer is left out.
        anchor: where cells lie on the picture: at their "effective" centers, or the "nominal" ones of kernels and paddings.
        ratio: input pixels per pixel of the grid on which regions and parts are compared.
        draws: how often regions and positions are held against the parts of another picture, for what chance gives.
        resamples: draws of the bootstrap over pictures; 0 for no intervals.
        examples: pictures kept per filter, the most activated first.
        seed: of everything drawn.
        batch_size: pictures that go through the network at once.
    """

    quantile: float = 0.005
    iou: float = 0.2
    regions: tuple[Region, ...] = ("upsampled", "receptive-field", "effective-field")
    field: float = 0.37
    most_active: int = 100
    fewest: int = 2
    anchor: Anchor = "effective"
    ratio: int = 1
    draws: int = 1
    resamples: int = 200
    examples: int = 6
    seed: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        object.__setattr__(self, "regions", tuple(self.regions))
        for name in ("quantile", "iou"):
            if not 0 < getattr(self, name) < 1:
                example = {"quantile": 0.005, "iou": 0.2}[name]
                raise ValueError(
                    f"Expected `{name}` between 0 and 1, got {getattr(self, name)}; try {example}."
                )
        if not 0 < self.field <= 1:
            raise ValueError(f"Expected `field` above 0 and at most 1, got {self.field}; try 0.37.")
        known = get_args(Region)
        if not self.regions or not set(self.regions) <= set(known) or _repeats(self.regions):
            raise ValueError(
                f"Expected `regions` to be one or more of {', '.join(known)}, got {list(self.regions)}."
            )
        if self.anchor not in get_args(Anchor):
            raise ValueError(f'Expected `anchor` to be "effective" or "nominal", got {self.anchor!r}.')
        least = {"most_active": 2, "fewest": 2, "ratio": 1, "draws": 0, "resamples": 0, "examples": 0}
        for name, value in (least | {"seed": 0, "batch_size": 1}).items():
            if getattr(self, name) < value:
                raise ValueError(f"Expected `{name}` to be at least {value}, got {getattr(self, name)}.")


def _repeats(names: tuple[str, ...]) -> bool:
    return len(set(names)) < len(names)
