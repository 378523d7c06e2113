"""Files that are whole or not there: written under a temporary name, then renamed; and a hash of weights."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """The name to write a file under; it gets its own when the block ends, and is taken away when that fails."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file whole or not at all."""
    with whole(path) as partial:
        partial.write_bytes(content)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text file whole or not at all."""
    return write_bytes(
        path, text.encode("utf-8", "replace")
    )  # names of files may hold bytes that are no text


def write_json(path: Path, content: Any) -> Path:
    """Write JSON whole or not at all; raises ValueError for NaN or infinity."""
    return write_text(path, json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, Tensor]) -> Path:
    """Write tensors as safetensors, whole or not at all."""
    from safetensors.torch import save

    return write_bytes(path, save({key: value.detach().cpu().contiguous() for key, value in arrays.items()}))


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over names, types and bytes of all tensors of a module, in order."""
    digest = hashlib.sha256()
    for key, tensor in module.state_dict().items():
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.numel():
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
