"""Files that are whole or not there: written under a temporary name, then renamed; and a hash of weights.

Who keeps an account of what is written into a folder (`pellucid.core.run`) is told before a file is begun, and again before it
gets its name: so that after a kill at any moment it is known which files are ours.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

_PARTIAL = re.compile(r"\.(?P<name>.+)\.(?P<process>[0-9]+)\.partial", re.DOTALL)
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Witness(Protocol):
    """Who is told of every file that `whole` writes."""

    def begins(self, path: Path) -> None:
        """A file is going to be written."""

    def ends(self, path: Path, partial: Path) -> None:
        """It is written, and is about to get its name."""


witnesses: list[Witness] = []


class DiskFullError(OSError):
    """There is no room for a file."""

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """The name to write a file under; it gets its own when the block ends, and is taken away when that fails.

    Raises DiskFullError where there is no room for it.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with room(path):
            for witness in tuple(witnesses):
                witness.begins(path)
            yield partial
            for witness in tuple(witnesses):
                witness.ends(path, partial)
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def room(path: Path) -> Iterator[None]:
    """Say of a disk that is full that it is. Raises DiskFullError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL or isinstance(error, DiskFullError):
            raise
        text = (
            f"Expected room on the disk for `{path}`, got none left; make some and run the same command again: what is "
            "finished stays."
        )
        raise DiskFullError(error.errno, text) from error


def sweep(folder: Path, names: Collection[str]) -> None:
    """Take away what processes that are gone have left half written of files with these names."""
    for file in folder.iterdir():
        match = _PARTIAL.fullmatch(file.name)
        if match and match["name"] in names and not _runs(int(match["process"])):
            file.unlink(missing_ok=True)


def digest_of(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _runs(process: int) -> bool:
    """Whether there is a process of this number. Where that cannot be told, there is."""
    if os.name != "posix" or process == os.getpid():
        return process != os.getpid()
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


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
