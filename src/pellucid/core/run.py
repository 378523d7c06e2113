"""A run directory: ``run.json`` (what was run, with which settings, versions, weights and data) and results.

``run.json`` is written at the start with ``"finished": false``, from time to time, and at the end, also when
the run is stopped: what is finished then stays and is listed, what is half done is taken away. Nothing that
pellucid did not write is overwritten: a result whose name is taken by another file gets another name. Files
of earlier runs in the folder count as pellucid's own.
"""

from __future__ import annotations

import itertools
import platform
import time
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Annotated, Any

import msgspec

from pellucid._version import __version__
from pellucid.core.documents import FileName, FlawError, convert, parse, read_json, read_regular
from pellucid.core.provenance import versions
from pellucid.core.storage import write_json

SCHEMA = 1
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")
_FACTS = "run.json"
_LONGEST = 120  # bytes of a file name's stem; file systems allow 255 with all suffixes
_SECONDS = 2.0  # between two writings of run.json


class Network(msgspec.Struct, frozen=True):
    """Of which network a run was; None: it does not say."""

    name: str | None = None
    sha256: str | None = None


class Problem(msgspec.Struct, frozen=True):
    """Something that could not be used, and why."""

    name: str
    reason: str


class Run(msgspec.Struct, frozen=True):
    """What a ``run.json`` says that is read again; more is written for people."""

    command: Annotated[str, msgspec.Meta(min_length=1)]
    schema: Annotated[int, msgspec.Meta(ge=1, le=SCHEMA)] = SCHEMA
    files: tuple[str, ...] = ()
    results: tuple[dict[str, Any], ...] = ()
    problems: tuple[Problem, ...] = ()
    network: Network | None = None


class _Claims(msgspec.Struct, frozen=True):
    """What makes a ``run.json`` pellucid's, so that the files it names may be written over."""

    schema: Annotated[int, msgspec.Meta(ge=1, le=SCHEMA)]
    command: Annotated[str, msgspec.Meta(min_length=1)]
    files: tuple[str, ...]


class RunDirectory:
    """A folder of results with its ``run.json``; a context manager, made with its parents on construction.

    Raises OSError where the folder cannot be made or written to, FileExistsError where its ``run.json`` is
    not pellucid's.
    """

    def __init__(self, folder: str | Path, command: str, parameters: Mapping[str, Any], **facts: Any) -> None:
        self.folder = _made(Path(folder))
        self._earlier = _earlier_files(self.folder)
        self._claimed = {_folded(_FACTS)}
        self._unfinished: dict[str, list[str]] = {}
        self._own: set[str] = set()
        self.facts: dict[str, Any] = {
            "schema": SCHEMA,
            "command": command,
            "parameters": dict(parameters),
            **facts,
            "versions": {
                "pellucid": __version__,
                "python": platform.python_version(),
                **versions(*_PACKAGES),
            },
            "results": [],
            "failed": [],
            "skipped": [],
            "files": [],
            "finished": False,
        }
        self._write()

    def claim(self, name: str, suffixes: Sequence[str]) -> str:
        """A safe stem for the files of a result, such that ``stem + suffix`` is free for every suffix.

        They count as unfinished, and are taken away at the end, until `add` or `keep` is told the stem.
        """
        base, count = _stem(name), 1
        stem = base
        while any(self._taken(stem + suffix) for suffix in suffixes):
            count += 1
            stem = f"{base}-{count}"
        files = [stem + suffix for suffix in suffixes]
        self._claimed.update(map(_folded, files))
        self._unfinished[stem] = files
        return stem

    def add(self, result: Mapping[str, Any], stem: str | None = None) -> None:
        """Note a finished result, and that the files claimed for it are written."""
        if stem is not None:
            self.keep(stem)
        self.facts["results"].append(dict(result))
        self._write_now_and_then()

    def keep(self, stem: str) -> None:
        """Note that the files claimed under a stem are written."""
        self._own.update(self._unfinished.pop(stem, ()))

    def fail(self, name: str, reason: str) -> None:
        """Note something that was asked for and could not be done."""
        self.facts["failed"].append({"name": name, "reason": reason})
        self._write_now_and_then()

    def skip(self, name: str, reason: str) -> None:
        """Note something in a folder that was not asked for."""
        self.facts["skipped"].append({"name": name, "reason": reason})

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in itertools.chain(*self._unfinished.values()):
            if name not in self._earlier:
                self.folder.joinpath(name).unlink(missing_ok=True)
        if kind is None:
            self.facts["finished"] = True
        else:
            self.facts["stopped"] = f"{kind.__name__}: {error}".rstrip(": ")
        self._write()

    def _taken(self, file: str) -> bool:
        """By this run, or on disk by something that is not pellucid's."""
        exists = file not in self._earlier and self.folder.joinpath(file).exists()
        return exists or _folded(file) in self._claimed

    def _write(self) -> None:
        self.facts["files"] = sorted(self._earlier | self._own)
        started = time.monotonic()
        write_json(self.folder / _FACTS, self.facts)
        # the file grows with the results: writing it may not come to dominate a long run
        self._due = time.monotonic() + max(_SECONDS, 20 * (time.monotonic() - started))

    def _write_now_and_then(self) -> None:
        if time.monotonic() >= self._due:
            self._write()


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return folder
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(
            f"Expected a folder for the results, got `{folder}`, where a file is in the way; "
            "try another `--out`."
        ) from None
    except OSError as error:
        raise OSError(
            f"Expected a folder that can be written to, got `{folder}` ({error.strerror}); "
            "try another `--out`."
        ) from None


def read_run(folder: Path) -> Run | None:
    """What the run.json of a folder says; None where there is none. Raises DocumentError for one that is not pellucid's."""
    file = folder / _FACTS
    if not file.exists():
        return None
    return read_json(file, Run, "pellucid's run.json", "another folder")


def _earlier_files(folder: Path) -> set[str]:
    """What earlier runs have written into a folder and is still there; names that lead elsewhere do not count."""
    file = folder / _FACTS
    if not file.exists():
        return set()
    try:
        run = convert(parse(read_regular(file)), _Claims)
    except FlawError as flaw:
        raise FileExistsError(
            f"Expected a folder for the results, got `{folder}`, whose run.json ({flaw}) is not pellucid's; "
            "try another `--out`."
        ) from None
    return {name for name in run.files if _is_plain(name) and folder.joinpath(name).is_file()}


def _is_plain(name: str) -> bool:
    try:
        return bool(convert(name, FileName))
    except FlawError:
        return False


def _stem(name: str) -> str:
    """A file name from any name: letters and digits of any script, short enough with suffixes."""
    base = "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(name).stem).strip(".-")
    return base.encode()[:_LONGEST].decode(errors="ignore") or "image"


def _folded(name: str) -> str:
    """Names that some file systems hold for the same fold to the same text."""
    return unicodedata.normalize("NFC", name).casefold()
