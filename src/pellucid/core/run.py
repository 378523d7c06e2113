"""A run directory: results, and ``run.json`` (what was run, with which settings, versions, weights and data).

One mechanism for all commands. While a run lasts, the folder is locked; what is finished is noted in a journal
(`pellucid.core.journal`) in a folder ``unfinished`` below it, beside whatever the run keeps there until its end. The same
command in the same folder goes on behind what is finished, after a stop of any kind, and comes to the same bytes. At the end
``unfinished`` goes away.

Nothing that pellucid did not write is overwritten or deleted: a result whose name is taken by another file gets another name,
and so does ``unfinished``. Files of earlier runs in the folder, by ``run.json`` and by the journals there, count as pellucid's
own.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Annotated, Any

import msgspec

from pellucid._version import __version__
from pellucid.core import journal
from pellucid.core.documents import FileName, FlawError, convert, parse, read_json, read_regular
from pellucid.core.identity import difference, stamps
from pellucid.core.journal import Entry, Journal
from pellucid.core.locks import Lock
from pellucid.core.names import folded, stem_of
from pellucid.core.provenance import versions
from pellucid.core.storage import digest_of, sweep, witnesses, write_json

SCHEMA = 1
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")
UNFINISHED = "unfinished"
PLAN = "plan.json"
_FACTS = "run.json"
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

    Args:
        folder: Where the results go.
        command: What is run.
        parameters: With what, as JSON has it.
        identity: What makes two runs the same, as JSON has it; by default command, parameters, facts and the files they name.
        facts: What else run.json says.

    Attributes:
        unfinished: A folder for what is kept until the end; all in it that `pellucid.core.storage` writes goes away with it.
        going_on: Whether a run of the same identity was stopped here.
        beside: Other runs that were stopped here, each by what it was.

    Raises:
        OSError: Where the folder cannot be made or written to.
        InUseError: Where another run is writing to it.
        FileExistsError: Where its ``run.json`` is not pellucid's.
    """

    def __init__(
        self,
        folder: str | Path,
        command: str,
        parameters: Mapping[str, Any],
        *,
        identity: Any = None,
        **facts: Any,
    ) -> None:
        self.folder = folder_for_results(Path(folder))
        self._lock = Lock(self.folder, f"Expected a folder that no other run is writing to, got `{folder}`; wait for that run, "
                          "or try another `--out`.")  # fmt: skip
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
        if identity is None:
            given = {key: value for key, value in parameters.items() if key != "out"}
            identity = {"parameters": given, "facts": facts, "files": stamps(parameters)}
        self._identity = json.loads(
            json.dumps({"command": command, "versions": self.facts["versions"], "of": identity})
        )
        self._claimed = {folded(_FACTS)}
        self._half: dict[str, list[str]] = {}
        self._own: set[str] = set()
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise

    def _open(self) -> None:
        self.beside: list[str] = []
        self._earlier = _earlier_files(self.folder)
        self.unfinished = self._chosen()
        self._write()
        self.unfinished.mkdir(exist_ok=True)
        self._journal = Journal(self.unfinished, self._identity)
        self.going_on = len(self._journal.entries) > 1
        sweep(self.unfinished, {entry.begins for entry in self._journal.entries if entry.begins})
        self._digests = {entry.ends: entry.sha256 for entry in self._journal.entries if entry.sha256}
        self._before: dict[str, Entry] = {}
        for entry in self._journal.entries:
            if entry.key is not None:
                self._before[entry.key] = entry
        for entry in self._before.values():
            self._claimed.update(map(folded, entry.files))
        witnesses.append(self)

    def _chosen(self) -> Path:
        """The folder of this run's unfinished results; what is known from those of others is taken over."""
        mine: Path | None = None
        self.beside = []
        begun = {_FACTS, *self._earlier}
        for place in sorted(self.folder.glob(f"{UNFINISHED}*")):
            entries = journal.read(place)
            begun.update(entry.begins for entry in entries if entry.begins and not entry.unfinished)
            self._earlier |= set(journal.ours(self.folder, entries))
            if entries and mine is None and entries[0].identity == self._identity:
                mine = place
            elif len(entries) > 1:
                self.beside.append(f"`{place}` ({difference(entries[0].identity, self._identity)})")
        sweep(self.folder, begun)
        return mine or next(filter(journal.is_free, journal.numbered(self.folder / UNFINISHED)))

    # what is finished

    def recall(self, key: str) -> Entry | None:
        """What an earlier part of this run has finished under a key, listed again; None where there is none, or one of its
        files is no longer there as it was written."""
        entry = self._before.pop(key, None)
        if entry is None:
            return None
        if not all(
            name in self._digests and self._digests[name] == journal.digest(self.folder / name)
            for name in entry.files
        ):
            self._claimed.difference_update(map(folded, entry.files))
            return None
        self._own.update(entry.files)
        if entry.result is not None:
            self.facts["results"].append(entry.result)
        return entry

    def add(
        self, result: Mapping[str, Any], stem: str | None = None, *, key: str | None = None, data: Any = None
    ) -> None:
        """Note a finished result, and that the files claimed for it are written; with a ``key``, so that `recall` finds it."""
        files = [] if stem is None else self._half.get(stem, [])
        if key is not None:
            self._journal.add(Entry(key=key, result=dict(result), files=tuple(files), data=data))
        if stem is not None:
            self.keep(stem)
        self.facts["results"].append(dict(result))
        self._write_now_and_then()

    def note(self, key: str, data: Any) -> None:
        """Note something that is no result by itself, for `recall`."""
        self._journal.add(Entry(key=key, data=data))

    def remark(self, remark: Any) -> None:
        """Keep something that was noticed, for `remarks`."""
        self._journal.add(Entry(remark=remark))

    def remarks(self) -> list[Any]:
        """What was noticed so far, also by earlier parts of this run."""
        return [entry.remark for entry in self._journal.entries if entry.remark is not None]

    # names

    def claim(self, name: str, suffixes: Sequence[str]) -> str:
        """A safe stem for the files of a result, such that ``stem + suffix`` is free for every suffix.

        They count as half done, and are taken away at the end, until `add` or `keep` is told the stem.
        """
        base, count = stem_of(name), 1
        stem = base
        while any(self._taken(stem + suffix) for suffix in suffixes):
            count += 1
            stem = f"{base}-{count}"
        files = [stem + suffix for suffix in suffixes]
        self._claimed.update(map(folded, files))
        self._half[stem] = files
        return stem

    def keep(self, stem: str, suffixes: Sequence[str] | None = None) -> None:
        """Note that the files claimed under a stem are written, all or those with some suffixes."""
        written = self._half.pop(stem, [])
        if suffixes is not None:
            chosen = [stem + suffix for suffix in suffixes]
            self._half[stem] = [name for name in written if name not in chosen]
            written = chosen
        self._own.update(written)

    def fail(self, name: str, reason: str) -> None:
        """Note something that was asked for and could not be done."""
        self.facts["failed"].append({"name": name, "reason": reason})
        self._write_now_and_then()

    def skip(self, name: str, reason: str) -> None:
        """Note something in a folder that was not asked for."""
        self.facts["skipped"].append({"name": name, "reason": reason})

    # the end

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end(kind, error)
        except OSError:
            if error is None:
                raise  # the disk is full, say: nothing is lost, as the journal stays
        finally:
            self.close()

    def close(self) -> None:
        """Give the folder back to others, as after a kill: what is unfinished stays."""
        if self in witnesses:
            witnesses.remove(self)
        self._journal.close()
        self._lock.release()

    def _end(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        for name in itertools.chain(*self._half.values()):
            if name not in self._earlier and name in self._written():
                self.folder.joinpath(name).unlink(missing_ok=True)
        if kind is None:
            self.facts["finished"] = True
        else:
            self.facts["stopped"] = f"{kind.__name__}: {error}".rstrip(": ")
        self._write()
        if kind is None or not self._worth_keeping():
            self._clear()

    def _worth_keeping(self) -> bool:
        """Whether anything is there to go on with."""
        entries = self._journal.entries
        kept = {entry.ends for entry in entries if entry.ends and entry.unfinished} - {PLAN}
        return any(entry.key for entry in entries) or any((self.unfinished / name).exists() for name in kept)

    def _clear(self) -> None:
        """Take away what was kept until the end; files of others stay, and their folder then too."""
        for name in {entry.ends for entry in self._journal.entries if entry.ends and entry.unfinished}:
            self.unfinished.joinpath(name).unlink(missing_ok=True)
        self.unfinished.joinpath(journal.FILE).unlink(missing_ok=True)
        with suppress(OSError):
            self.unfinished.rmdir()

    def _taken(self, file: str) -> bool:
        """By this run, or on disk by something that is not pellucid's."""
        exists = file not in self._earlier and self.folder.joinpath(file).exists()
        return exists or folded(file) in self._claimed

    # files

    def begins(self, path: Path) -> None:
        """See `pellucid.core.storage.Witness`."""
        place = self._place(path)
        if place is not None:
            self._journal.add(Entry(begins=path.name, unfinished=place == self.unfinished))

    def ends(self, path: Path, partial: Path) -> None:
        """See `pellucid.core.storage.Witness`."""
        place = self._place(path)
        if place == self.unfinished:
            self._journal.add(Entry(ends=path.name, unfinished=True))
        elif place is not None:
            self._digests[path.name] = digest_of(partial)
            self._journal.add(Entry(ends=path.name, sha256=self._digests[path.name]))

    def _place(self, path: Path) -> Path | None:
        """Which of the two folders a file is going to lie in."""
        if path.name == _FACTS:
            return None
        parent = path.parent.absolute()
        return next((place for place in (self.folder, self.unfinished) if place.absolute() == parent), None)

    def _written(self) -> set[str]:
        return {entry.ends for entry in self._journal.entries if entry.ends and not entry.unfinished}

    def _write(self) -> None:
        self.facts["files"] = sorted(self._earlier | self._own)
        started = time.monotonic()
        write_json(self.folder / _FACTS, self.facts)
        # the file grows with the results: writing it may not come to dominate a long run
        self._due = time.monotonic() + max(_SECONDS, 20 * (time.monotonic() - started))

    def _write_now_and_then(self) -> None:
        if time.monotonic() >= self._due:
            self._write()


def folder_for_results(folder: Path) -> Path:
    """A folder that can be written to, made with its parents. Raises OSError."""
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
    if not os.path.lexists(file):
        return set()
    try:
        run = convert(parse(read_regular(file)), _Claims)
    except (FlawError, FileNotFoundError) as error:
        flaw = error if isinstance(error, FlawError) else "a link to nothing"
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
