"""What a result was made with: versions, machine, code."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def versions(*packages: str) -> dict[str, str]:
    """Versions of the installed ones among ``packages``, without the local part (``+cpu``)."""
    installed = {}
    for package in packages:
        try:
            installed[package] = version(package).split("+")[0]
        except PackageNotFoundError:
            continue
    return installed


def machine() -> str:
    """Processor, cores and torch, as model cards state them."""
    return f"{processor()}, torch {versions('torch')['torch']}"


def processor() -> str:
    """Kind of processor and number of cores."""
    return f"{platform.machine()}, {os.cpu_count()} cores"


def code_digest(files: Iterable[Path]) -> str:
    """First 16 digits of a SHA-256 over the bytes of files, in their order by name."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:16]
