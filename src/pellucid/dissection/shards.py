"""What is kept of a part of the pictures between the first look and the count: labels, and the cells that may matter.

A shard holds all that its pictures contribute, so that shards can be made in any order, by several processes, before and after
an interruption, and give the same table. It is one file of plain arrays, written whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pellucid.dissection import kernels
from pellucid.dissection.sampling import LocalLabels

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of some pictures' maps that may exceed the threshold, and their neighbors (see `kernels.collect`)."""

    starts: npt.NDArray[np.int64]
    unit: npt.NDArray[np.int32]
    cell_starts: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int32]
    values: Values

    @classmethod
    def above(cls, acts: Values, maxima: Values, low: Values) -> Cells:
        """Of maps [map unit h w] with these ``maxima`` [map unit], given a lower bound of every unit's threshold."""
        return cls(*kernels.collect(acts, maxima, low))

    @classmethod
    def joined(cls, parts: Sequence[Cells]) -> Cells:
        """The cells of all parts' pictures, in order."""
        if len(parts) == 1:
            return parts[0]
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
    labels: tuple[LocalLabels, ...]
    layers: Mapping[str, LayerShard]

    def save(self, path: Path) -> None:
        """Write the shard whole or not at all."""
        arrays: dict[str, Any] = {"indices": self.indices}
        lists = {
            name: [getattr(one, name) for one in self.labels]
            for name in ("local", "places", "pixels", "whole")
        }
        wide = any(one.dtype == np.uint16 for one in lists["local"])
        arrays["grid"] = np.array([one.shape for one in lists["local"]], np.int64).reshape(-1, 3)
        for name, parts in lists.items():
            kind = (
                (np.uint16 if wide else np.uint8)
                if name == "local"
                else parts[0].dtype
                if parts
                else np.int32
            )
            arrays[name] = (
                np.concatenate([part.ravel() for part in parts]).astype(kind) if parts else np.zeros(0, kind)
            )
            arrays[f"{name}_starts"] = np.cumsum([0, *(part.size for part in parts)])
        for k, layer in enumerate(self.layers.values()):
            arrays |= {f"{k}.maxima": layer.maxima, f"{k}.bounds": layer.bounds}
            for name in _CELLS if layer.cells is not None else ():
                arrays[f"{k}.{name}"] = getattr(layer.cells, name)
        write_arrays(path, arrays)

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
                return cls(
                    held.get_tensor("indices"), tuple(cls._labels(held)) if only is None else (), found
                )
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"Expected partial results of a dissection, got `{path}` ({error}); try deleting it: it is made again."
            ) from error

    @staticmethod
    def _cells(held: Any, k: int) -> Cells | None:
        if f"{k}.starts" not in held.keys():  # noqa: SIM118
            return None
        return Cells(*(held.get_tensor(f"{k}.{part}") for part in _CELLS))

    @staticmethod
    def _labels(held: Any) -> list[LocalLabels]:
        names = ("local", "places", "pixels", "whole")
        flat = {name: (held.get_tensor(name), held.get_tensor(f"{name}_starts")) for name in names}
        found = []
        for k, shape in enumerate(held.get_tensor("grid")):
            local, *rest = (values[slice(*starts[k : k + 2])] for values, starts in flat.values())
            found.append(LocalLabels(local.reshape(shape), *rest))
        return found


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write plain arrays whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


_CELLS = ("starts", "unit", "cell_starts", "cells", "values")


def _chained(starts: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """Running starts of parts laid one after the other."""
    found = [starts[0]]
    for part in starts[1:]:
        found.append(part[1:] + found[-1][-1])
    return np.concatenate(found)
