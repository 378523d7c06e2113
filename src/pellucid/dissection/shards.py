"""What is kept of a part of the pictures between the first look and the count: labels, and the cells that may matter.

A shard holds all that its pictures contribute, so that shards can be made in any order, by several processes, before and after
an interruption, and give the same table. It is one file of plain arrays, written whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pellucid.core.storage import write_bytes
from pellucid.dissection import collecting
from pellucid.dissection.labels import LabelBlock

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of some pictures' maps that may exceed the threshold, and their neighbors (see `collecting.collect`)."""

    starts: npt.NDArray[np.int64]
    unit: npt.NDArray[np.int32]
    cell_starts: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int32]
    values: Values

    @classmethod
    def above(cls, acts: Values, maxima: Values, low: Values) -> Cells:
        """Of maps [map unit h w] with these ``maxima`` [map unit], given a lower bound of every unit's threshold.

        In whichever order the channels lie in memory; the cells are the same.
        """
        last = acts.transpose(0, 2, 3, 1)
        if last.flags.c_contiguous and not acts.flags.c_contiguous:
            return cls(*collecting.collect_last(last, low))
        return cls(*collecting.collect(np.ascontiguousarray(acts), maxima, low))

    def one(self, picture: int) -> tuple[Any, Any, Any, Any]:
        """Units of one picture's active maps, where each one's cells start, the cells and their values."""
        first, last = self.starts[picture], self.starts[picture + 1]
        begin, end = self.cell_starts[first], self.cell_starts[last]
        starts = self.cell_starts[first : last + 1] - begin
        return self.unit[first:last], starts, self.cells[begin:end], self.values[begin:end]

    @classmethod
    def joined(cls, parts: Sequence[Cells]) -> Cells:
        """The cells of all parts' pictures, in order."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            none = np.zeros(1, np.int64)
            return cls(none, np.zeros(0, np.int32), none, np.zeros(0, np.int32), np.zeros(0, np.float32))
        return cls(
            _chained([part.starts for part in parts]),
            np.concatenate([part.unit for part in parts]),
            _chained([part.cell_starts for part in parts]),
            np.concatenate([part.cells for part in parts]),
            np.concatenate([part.values for part in parts]),
        )


@dataclass(frozen=True, eq=False)
class LayerShard:
    """One layer's share of a shard: ``maxima`` [picture unit]; ``bounds`` [2 unit]: values at or below them were dropped, of
    all pictures' threshold and of the fitting ones'; ``cells`` None where they are computed again."""

    maxima: Values
    bounds: Values
    cells: Cells | None


@dataclass(frozen=True, eq=False)
class Shard:
    """Some pictures (``indices``, their numbers in the set) with their labels, and every layer's share."""

    indices: npt.NDArray[np.int64]
    labels: LabelBlock
    layers: Mapping[str, LayerShard]

    def save(self, path: Path) -> None:
        """Write the shard whole or not at all."""
        arrays: dict[str, Any] = {"indices": self.indices}
        arrays |= {name: getattr(self.labels, name) for name in _LABELS}
        for k, layer in enumerate(self.layers.values()):
            arrays |= {f"{k}.maxima": layer.maxima, f"{k}.bounds": layer.bounds}
            for name in _CELLS if layer.cells is not None else ():
                arrays[f"{k}.{name}"] = getattr(layer.cells, name)
        write_plain(path, arrays)

    @classmethod
    def load(cls, path: Path, layers: Sequence[str], only: str | None = None) -> Shard:
        """Read what `save` wrote for these layers: all, or of only one layer the cells. Raises ValueError for another file."""
        try:
            with safe_open(path, framework="np") as held:
                found = {}
                for k, name in enumerate(layers):
                    if only in (None, name):
                        found[name] = LayerShard(
                            held.get_tensor(f"{k}.maxima"),
                            held.get_tensor(f"{k}.bounds"),
                            cls._cells(held, k),
                        )
                labels = LabelBlock.of([])
                if only is None:
                    labels = LabelBlock(*(held.get_tensor(name) for name in _LABELS))
                return cls(held.get_tensor("indices"), labels, found)
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"Expected partial results of a dissection, got `{path}` ({error}); try deleting it: it is made again."
            ) from error

    @staticmethod
    def _cells(held: Any, k: int) -> Cells | None:
        if f"{k}.starts" not in held.keys():  # noqa: SIM118
            return None
        return Cells(*(held.get_tensor(f"{k}.{part}") for part in _CELLS))


def write_plain(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write plain arrays whole or not at all."""
    write_bytes(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


_LABELS = tuple(field.name for field in fields(LabelBlock))
_CELLS = ("starts", "unit", "cell_starts", "cells", "values")


def _chained(starts: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """Running starts of parts laid one after the other."""
    found = [starts[0]]
    for part in starts[1:]:
        found.append(part[1:] + found[-1][-1])
    return np.concatenate(found)
