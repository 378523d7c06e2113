"""Interpretable networks as files, and back: safetensors that say how they were made, read without running any code of theirs.

The metadata of a file holds the backbone's name, the `Interpretation`, the class names and the preprocessing. `pellucid.load`
reads such a file like any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.documents import FlawError, lowered, within
from pellucid.core.registry import UnknownNameError
from pellucid.core.storage import whole
from pellucid.data.preprocess import Preprocess
from pellucid.zoo.checkpoint import CheckpointError, read_state
from pellucid.zoo.fitting import fit
from pellucid.zoo.interpretable.backbones import bare
from pellucid.zoo.interpretable.wrapping import Interpretation, interpret

_SMALLEST, _LARGEST = 8, 640  # pixels of a side


def save_network(
    file: Path,
    state: Mapping[str, Tensor],
    *,
    name: str,
    architecture: str,
    how: Interpretation,
    classes: Sequence[str],
    preprocess: Preprocess,
    training: Mapping[str, Any] | None = None,
) -> Path:
    """Write an interpretable network, or its ordinary twin, whole or not at all."""
    from safetensors.torch import save

    metadata = {
        "architecture": architecture,
        "name": name,
        "interpretation": json.dumps(how.to_dict()),
        "classes": json.dumps(list(classes)),
        "preprocess": json.dumps(preprocess.to_json()),
        "licence": "Apache-2.0",
        "training": json.dumps(dict(training or {})),
    }
    with whole(file) as partial:
        partial.write_bytes(save({key: value.cpu().contiguous() for key, value in state.items()}, metadata))
    return file


def read_network(
    file: str | Path, metadata: Mapping[str, str] | None = None
) -> tuple[nn.Module, Preprocess, tuple[str, ...]]:
    """The module in evaluation mode, its preprocessing and class names, from a file of `save_network`.

    Raises CheckpointError for another file, or one whose weights do not fit what it says of itself.
    """
    state, found = read_state(file)
    metadata = found if metadata is None else metadata
    try:
        how = within(metadata, "interpretation", Interpretation)
        classes = within(metadata, "classes", tuple[str, ...])
        preprocess = within(metadata, "preprocess", Preprocess)
        _check(how, classes, preprocess)
        module = bare(str(metadata.get("architecture")), how.classes).module
        interpret(module, how)
    except (AttributeError, RuntimeError, TypeError, ValueError, UnknownNameError) as error:
        raise CheckpointError(
            f"Expected an interpretable network, got `{file}`, which does not say how it was made ({lowered(str(error))})."
        ) from None
    fit(module, state, file)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module.eval(), preprocess, classes


def _check(how: Interpretation, classes: Sequence[str], preprocess: Preprocess) -> None:
    """That a file does not ask for more than a network of its classes and pictures of a usual size. Raises FlawError."""
    if not 1 <= how.classes <= max(len(classes), 1):
        raise FlawError(f"interpretation.classes: expected 1 to {max(len(classes), 1)}, got {how.classes}")
    if not all(_SMALLEST <= side <= _LARGEST for side in how.size):
        raise FlawError(
            f"interpretation.size: expected sides of {_SMALLEST} to {_LARGEST}, got {list(how.size)}"
        )
    for name, value in (("resize", preprocess.resize), ("crop", preprocess.crop)):
        if max(value if isinstance(value, tuple) else (value or 1,)) > _LARGEST:
            raise FlawError(f"preprocess.{name}: expected at most {_LARGEST} pixels, got {value}")
