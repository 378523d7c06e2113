"""What makes two runs the same: the files that their parameters name; and what sets them apart."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_APART = ("images", "out", "summary", "compare")  # name no sources, or some with hashes of their own
_OURS = ("run.json", "unfinished")


def stamps(parameters: Any) -> dict[str, list[Any]]:
    """Size and time of every file that parameters name, and of those in a folder that they name."""
    if isinstance(parameters, Mapping):
        chosen = [value for key, value in parameters.items() if key not in _APART]
        return {name: stamp for value in chosen for name, stamp in stamps(value).items()}
    if isinstance(parameters, (list, tuple)):
        return {name: stamp for value in parameters for name, stamp in stamps(value).items()}
    if not isinstance(parameters, (str, Path)) or not str(parameters):
        return {}
    with suppress(OSError, ValueError):
        path = Path(parameters)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        files = [file for file in files if not file.name.startswith(_OURS)]
        return {str(path): [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files]}
    return {}


def difference(theirs: Any, mine: Any, name: str = "") -> str:
    """The first thing in which another run differs."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        for key in dict.fromkeys([*theirs, *mine]):
            if theirs.get(key) != mine.get(key):
                return difference(theirs.get(key), mine.get(key), key)
    return f"{name} was {str(theirs)[:80]}, now {str(mine)[:80]}"
