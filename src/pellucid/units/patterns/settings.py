"""How patterns are mined: one declaration for the library, the flags and the file of patterns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

_MOST = 1_000_000  # itemsets a search may have to look at, for one class
_LEAST = {"top": 1, "cells": 1, "shortest": 1, "keep": 1, "examples": 0, "seed": 0}


@dataclass(frozen=True)
class Mining:
    """How patterns are mined.

    Raises ValueError for a value out of range, and for a search that could look at more than a million itemsets.

    Attributes:
        top: channels of a transaction, the most active ones
        where: of the whole image, or of the cells where the layer is most active
        cells: how many cells of an image, for `where` "cell"
        relative: measure a channel by its own mean peak, so that loud channels are not in every transaction
        support: least share of a class's images that have the pattern
        confidence: least share of the images with the pattern that are of the class
        shortest: channels of a pattern, at least
        longest: channels of a pattern, at most
        items: channels of a class that are searched, the most telling ones
        keep: patterns of a class that are kept, the most telling ones
        overlap: largest part two kept patterns of a class may have in common
        held_out: part of every class's images on which the shares are tested
        examples: images in which the regions of a pattern are kept
        seed: of the choice of the images held out
    """

    top: int = 20
    where: Literal["image", "cell"] = "image"
    cells: int = 1
    relative: bool = True
    support: float = 0.3
    confidence: float = 0.6
    shortest: int = 3
    longest: int = 6
    items: int = 20
    keep: int = 4
    overlap: float = 0.5
    held_out: float = 0.5
    examples: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"Expected `{name}` to be at least {least}, got {value!r}.")
        if self.where not in ("image", "cell"):
            raise ValueError(f'Expected `where` to be "image" or "cell", got {self.where!r}.')
        for name in ("support", "confidence"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"Expected `{name}` in (0, 1], got {getattr(self, name)}; try 0.3.")
        if not 0 <= self.overlap <= 1:
            raise ValueError(f"Expected `overlap` in [0, 1], got {self.overlap}; try 0.5.")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"Expected `held_out` in [0, 1), got {self.held_out}; try 0.5.")
        if not self.shortest <= self.longest:
            raise ValueError(f"Expected `longest` of at least {self.shortest}, got {self.longest}.")
        if self.items < self.longest:
            raise ValueError(f"Expected `items` of at least `longest`, {self.longest}, got {self.items}.")
        looked = sum(math.comb(self.items, length) for length in range(1, self.longest + 1))
        if looked > _MOST:
            raise ValueError(
                f"Expected a search of at most {_MOST:,} itemsets, got up to {looked:,} with {self.items} channels in sets of "
                f"up to {self.longest}; try fewer `items` or a shorter `longest`."
            )
