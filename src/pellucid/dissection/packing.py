"""The arrays of a stored unit table: counts in the fewest bytes that hold them exactly.

32 bits where all values fit; where most of a matrix is 0, the places and values of the others. Taken back by name, with the
type and shape they must have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.dissection.counts import Counts, Whole
from pellucid.dissection.table import Examples, HeldOut, UnitTable

Arrays = dict[str, npt.NDArray[Any]]


class TableError(ValueError):
    """A stored unit table that cannot be read."""


def damaged(file: Path, expected: str, got: str) -> TableError:
    """The error for a file that is not what `save` wrote."""
    return TableError(
        f"Expected {expected} in the unit table `{file}`, got {got}; try copying or dissecting it again."
    )


def pack(table: UnitTable) -> Arrays:
    """All arrays of a table by name."""
    arrays: Arrays = {}
    _pack_counts("counts", table.counts, None, arrays)
    if table.held_out is not None:
        arrays["held_out.thresholds"] = np.asarray(table.held_out.thresholds, np.float32)
        _pack_counts("held_out.fit", table.held_out.fit, None, arrays)
        _pack_counts("held_out.held", table.held_out.held, None, arrays)
    for draw, counts in enumerate(table.chance):
        _pack_counts(f"chance.{draw}", counts, table.counts.truth, arrays)
    for name, dtype in (("thresholds", np.float32), ("ranking", np.int64), ("interval", np.float64)):
        if getattr(table, name) is not None:
            arrays[name] = np.asarray(getattr(table, name), dtype)
    if table.examples is not None:
        arrays["examples.images"] = np.asarray(table.examples.images, np.int64)
        arrays["examples.maxima"] = np.asarray(table.examples.maxima, np.float32)
        arrays["examples.masks"] = np.packbits(table.examples.masks, axis=-1)
    return arrays


def _pack_counts(name: str, counts: Counts, truth: Whole | None, arrays: Arrays) -> None:
    """``truth``: what the pixels of concepts are if they are not stored."""
    places = np.flatnonzero(counts.intersection)
    if 2 * len(places) < counts.intersection.size:
        arrays[f"{name}.intersection.places"] = _short(places)
        arrays[f"{name}.intersection.values"] = _short(counts.intersection.ravel()[places])
    else:
        arrays[f"{name}.intersection"] = _short(counts.intersection)
    arrays[f"{name}.activation"] = _short(counts.activation)
    if truth is None or not np.array_equal(truth, counts.truth):
        arrays[f"{name}.truth"] = _short(counts.truth)


def _short(values: Whole) -> npt.NDArray[Any]:
    """In 32 bits where all of them fit."""
    limits = np.iinfo(np.int32)
    fits = not values.size or (limits.min <= values.min() and values.max() <= limits.max)
    return values.astype(np.int32 if fits else np.int64)


class Stored:
    """The arrays of a file, taken by name with the type and shape they must have."""

    def __init__(self, file: Path, arrays: Arrays) -> None:
        self.file, self.arrays = file, arrays

    def take(self, name: str, dtype: Any, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
        """One array; None in ``shape`` is any length. Raises TableError for one that is not there or another."""
        value = self.arrays.get(name)
        if value is None:
            raise damaged(self.file, f"the array `{name}`", "none")
        fits = value.ndim == len(shape) and all(
            want in (None, got) for want, got in zip(shape, value.shape, strict=True)
        )
        if not fits or not np.can_cast(value.dtype, dtype, "safe"):
            raise damaged(self.file, f"`{name}` of shape {shape}", f"{value.dtype} of {value.shape}")
        return value.astype(dtype)

    def optional(self, name: str, dtype: Any, shape: tuple[int | None, ...]) -> npt.NDArray[Any] | None:
        """The same, None where it is not there."""
        return self.take(name, dtype, shape) if name in self.arrays else None

    def held_out(self, shape: tuple[int, int, int], images: tuple[int, int]) -> HeldOut:
        """The two parts of the honest score; ``images``: of either."""
        thresholds = self.take("held_out.thresholds", np.float32, shape[:1])
        fit, held = (self.counts(f"held_out.{part}", shape) for part in ("fit", "held"))
        return HeldOut(thresholds, fit, held, images)

    def examples(self, units: int, width: int) -> Examples:
        """The pictures units are most active on; ``width`` of their masks, which are stored in whole bytes."""
        packed = self.take("examples.masks", np.uint8, (units, None, None, -(-width // 8)))
        images = self.take("examples.images", np.int64, (units, packed.shape[1]))
        maxima = self.take("examples.maxima", np.float32, images.shape)
        return Examples(images, maxima, np.unpackbits(packed, axis=-1, count=width).astype(bool))

    def counts(self, name: str, shape: tuple[int, int, int], truth: Whole | None = None) -> Counts:
        """Counts of (units, concepts, categories); ``truth``: what the pixels of concepts are where they are not stored."""
        units, concepts, categories = shape
        if f"{name}.intersection.places" in self.arrays:
            places = self.take(f"{name}.intersection.places", np.int64, (None,))
            values = self.take(f"{name}.intersection.values", np.int64, places.shape)
            if places.size and not 0 <= places.min() <= places.max() < units * concepts:
                raise damaged(self.file, f"places in {units} × {concepts} for `{name}`", f"{places.max()}")
            intersection = np.zeros((units, concepts), np.int64)
            intersection.ravel()[places] = values
        else:
            intersection = self.take(f"{name}.intersection", np.int64, (units, concepts))
        activation = self.take(f"{name}.activation", np.int64, (units, categories))
        if truth is None or f"{name}.truth" in self.arrays:
            truth = self.take(f"{name}.truth", np.int64, (concepts,))
        return Counts(intersection, activation, truth)
