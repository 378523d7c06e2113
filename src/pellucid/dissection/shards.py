"""What is kept of a part of the pictures between the first look and the count: labels, and the cells that may matter.

A shard holds all that its pictures contribute, so that shards can be made in any order, by several processes, before and after
an interruption, and give the same table. It is one file of plain arrays, written whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pellucid.core.bundle import digest, read_header
from pellucid.core.documents import FlawError, Sha256, within
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
        with plain_arrays(path) as held:
            found = {}
            for k, name in enumerate(layers):
                if only in (None, name):
                    cells = (
                        Cells(*(held[f"{k}.{part}"] for part in _CELLS)) if f"{k}.starts" in held else None
                    )
                    found[name] = LayerShard(held[f"{k}.maxima"], held[f"{k}.bounds"], cells)
            labels = LabelBlock.of([])
            if only is None:
                labels = LabelBlock(*(held[name] for name in _LABELS))
            return cls(held["indices"], labels, found)


class PlainArrays(Mapping[str, npt.NDArray[Any]]):
    """The arrays of a file, read one by one as they are asked for; each is checked to be as it was written."""

    def __init__(self, held: Any, digests: Mapping[str, str]) -> None:
        self._held, self._digests = held, digests

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        if name not in self._digests:
            raise FlawError(f"{name}: expected an array, got none")
        value: npt.NDArray[Any] = self._held.get_tensor(name)
        if digest({name: value}) != self._digests[name]:
            raise FlawError(f"{name}: expected the array that was written, got another")
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._digests

    def __iter__(self) -> Iterator[str]:
        return iter(self._digests)

    def __len__(self) -> int:
        return len(self._digests)


@contextmanager
def plain_arrays(path: Path) -> Iterator[PlainArrays]:
    """What `write_plain` wrote. Raises ValueError, in one line, for a file that is damaged or another."""
    try:
        digests = within(read_header(path)[0], "sha256", dict[str, Sha256])
        with safe_open(path, framework="np") as held:
            yield PlainArrays(held, digests)
    except (FlawError, SafetensorError, OSError) as error:
        raise ValueError(
            f"Expected partial results of an unfinished run, got `{path}` ({error}); try deleting it: it is made again."
        ) from None


def write_plain(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write plain arrays whole or not at all, each with its SHA-256."""
    values = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    digests = {name: digest({name: value}) for name, value in sorted(values.items())}
    write_bytes(path, save(values, {"sha256": json.dumps(digests)}))


_LABELS = tuple(field.name for field in fields(LabelBlock))
_CELLS = ("starts", "unit", "cell_starts", "cells", "values")


def _chained(starts: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """Running starts of parts laid one after the other."""
    found = [starts[0]]
    for part in starts[1:]:
        found.append(part[1:] + found[-1][-1])
    return np.concatenate(found)
