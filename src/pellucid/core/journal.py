"""The account of an unfinished run: which files it has written and what is finished, a line of JSON each.

A line is there before the file it speaks of has its name, so that after a kill at any moment it is known what is ours. Lines
are only ever added; one that a kill or a full disk cut off is passed over, and what it would have said is done again.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from pellucid.core.documents import FileName, FlawError, Sha256, convert, parse
from pellucid.core.storage import digest_of, room

FILE = "journal.jsonl"
VERSION = 1
_FREE = ("identity", "result", "data", "remark")  # JSON in text: it may hold NaN, and names that are no text


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a journal.

    Attributes:
        journal: In the first line, the version; with it goes ``identity``.
        identity: What the run is, as JSON has it.
        begins: Name of a file that is going to be written.
        ends: Name of a file that is written.
        sha256: Of its bytes; None for a file among the unfinished ones.
        unfinished: Whether the file lies beside the journal, not among the results.
        key: What is finished.
        result: What run.json says of it; None for what it does not list.
        files: Names of its files among the results.
        data: What else is to be known of it.
        remark: Something that was noticed on the way.
    """

    journal: int = 0
    identity: Any = None
    begins: FileName | None = None
    ends: FileName | None = None
    sha256: Sha256 | None = None
    unfinished: bool = False
    key: str | None = None
    result: dict[str, Any] | None = None
    files: tuple[FileName, ...] = ()
    data: Any = None
    remark: Any = None


class Journal:
    """The journal of one run.

    Args:
        folder: Where it lies; must be there.
        identity: What the run is, as JSON has it; noted where the journal is new.
    """

    def __init__(self, folder: Path, identity: Any) -> None:
        self.folder = folder
        self.entries = read(folder)
        self._lock = Lock()
        file = folder / FILE
        with room(file):
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        os.ftruncate(self._descriptor, _whole_lines(file) if self.entries else 0)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        if not self.entries:
            self.add(Entry(journal=VERSION, identity=identity))

    def add(self, entry: Entry) -> None:
        """Note something for good. Raises DiskFullError where there is no room."""
        fields = msgspec.to_builtins(entry)
        fields |= {name: json.dumps(fields[name], separators=(",", ":")) for name in _FREE if name in fields}
        line = json.dumps(fields, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        with self._lock, room(self.folder / FILE):
            start = os.lseek(self._descriptor, 0, os.SEEK_CUR)
            try:
                rest = line
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except BaseException:
                os.ftruncate(self._descriptor, start)
                os.lseek(self._descriptor, start, os.SEEK_SET)
                raise
            self.entries.append(entry)

    def close(self) -> None:
        """No more is noted; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def read(folder: Path) -> list[Entry]:
    """The entries of the journal in a folder; none where there is none of ours."""
    entries = list(_entries(folder / FILE))
    return entries if entries and entries[0].journal == VERSION else []


def numbered(path: Path) -> Iterator[Path]:
    """``unfinished``, ``unfinished-2``, …"""
    return (path.with_name(path.name + (f"-{count}" if count > 1 else "")) for count in itertools.count(1))


def is_free(place: Path) -> bool:
    """Whether nothing is there, or what a kill leaves before the first line of a journal."""
    if place.is_symlink() or not place.is_dir():
        return not place.is_symlink() and not place.exists()
    return all(file.name == FILE and not file.stat().st_size for file in place.iterdir())


def ours(folder: Path, entries: Sequence[Entry]) -> Iterator[str]:
    """The files among the results that a journal says are written, and that still are as they were."""
    written = {entry.ends: entry.sha256 for entry in entries if entry.ends and not entry.unfinished}
    for name, sha256 in written.items():
        if sha256 is not None and digest(folder / name) == sha256:
            yield name


def digest(file: Path) -> str | None:
    """SHA-256 of a file; None where there is none that can be read."""
    try:
        return digest_of(file) if file.is_file() else None
    except OSError:
        return None


def _entries(file: Path) -> Iterator[Entry]:
    """Up to the first line that is no entry."""
    try:
        content = file.read_bytes()[: _whole_lines(file)] if file.is_file() else b""
    except OSError:
        return
    for line in content.splitlines():
        try:
            value = parse(line)
            if isinstance(value, dict):
                value |= {name: json.loads(value[name]) for name in _FREE if isinstance(value.get(name), str)}
            yield convert(value, Entry)
        except (ValueError, RecursionError, FlawError):
            return


def _whole_lines(file: Path) -> int:
    """The bytes up to the end of the last whole line."""
    return file.read_bytes().rfind(b"\n") + 1
