"""What the files of `hostile_checkpoints` are made with: a case, the healthy weights, and ways to write them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from inspect import isfunction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pellucid as pl

NETWORK = "scenes-resnet"
State = dict[str, Tensor]
WEIGHT, BIAS, MEAN, VARIANCE = (
    "layer1.0.conv1.weight",
    "classifier.bias",
    "stem.1.running_mean",
    "stem.1.running_var",
)


@dataclass(frozen=True)
class Case:
    """One file: ``make`` writes it into a folder and returns its path; ``healthy`` ones have to load."""

    kind: str
    name: str
    make: Callable[[Path], Path]
    healthy: bool = False
    network: str = ""
    expected: State | None = None


def healthy_state() -> State:
    """The weights all cases start from: the embedded network's."""
    return {key: value.clone() for key, value in pl.load(NETWORK).module.state_dict().items()}


def saved(content: Any, name: str = "w.pt", **options: Any) -> Callable[[Path], Path]:
    """A file of ``torch.save``."""

    def make(folder: Path) -> Path:
        torch.save(content() if isfunction(content) else content, folder / name, **options)
        return folder / name

    return make


def written(content: Any, name: str = "w.pt") -> Callable[[Path], Path]:
    """A file of these bytes."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content() if isfunction(content) else content)
        return folder / name

    return make


def under(prefix: str, state: State) -> State:
    """The state with a prefix before every name."""
    return {prefix + key: value for key, value in state.items()}


def zipped(records: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "w.pt", "w", compression) as archive:
            for name, data in records.items():
                archive.writestr(name, data)
        return folder / "w.pt"

    return make
