"""One image after the other: what cannot be done is noted, what is finished stays, whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pellucid.commands.console import complain
from pellucid.commands.options import ImageOptions, plain
from pellucid.commands.sources import Gathered, Source, gather
from pellucid.core.journal import Entry
from pellucid.core.network import Network
from pellucid.core.progress import bar, ticking
from pellucid.core.run import RunDirectory
from pellucid.core.storage import fingerprint


def prepare(options: ImageOptions) -> tuple[Network, Gathered]:
    """The network and the pictures; everything that can be wrong with them is said before work begins."""
    if options.max_pixels < 1:
        raise ValueError(f"Expected `--max-pixels` to be at least 1, got {options.max_pixels}.")
    net = options.load()
    if options.target is not None:
        net.class_index(options.target)
    for note in net.notes:
        complain(f"note on {net.name}: {note}")
    return net, gather(options.images, options.recursive)


def results(name: str, options: ImageOptions, net: Network, gathered: Gathered) -> RunDirectory:
    """The folder of the results, with what could not be gathered noted."""
    about = {"name": net.name, "sha256": fingerprint(net.module)}
    directory = RunDirectory(options.out, name, plain(options), network=about)
    say_what_is_there(directory)
    for left, note in ((gathered.failed, directory.fail), (gathered.skipped, directory.skip)):
        for what, reason in left:
            note(what, reason)
    return directory


def say_what_is_there(directory: RunDirectory) -> None:
    """That an earlier part of this run is there, or another run that was stopped."""
    if directory.going_on:
        complain(f"going on with the unfinished run in {directory.folder}")
    for other in directory.beside:
        complain(f"another run is unfinished, in {other}; this one does not go on with it")


def one_by_one(
    gathered: Gathered,
    directory: RunDirectory,
    label: str,
    work: Callable[[Source], None],
    again: Callable[[Source, Entry], None] = lambda source, entry: None,
) -> None:
    """Do the work for every picture; what cannot be done for one is noted, and the others go on.

    ``work`` adds its result under the key of the source; where an earlier part of this run has done so, ``again`` is told
    instead. Raises KeyboardInterrupt that says how much is finished.
    """
    count = len(gathered.sources)
    with saying_how_far(directory, count), ticking(bar(count, label)) as shown:
        for source in gathered.sources:
            with _noting(source, directory):
                entry = directory.recall(source.key)
                if entry is None:
                    work(source)
                else:
                    again(source, entry)
            shown.update()


def in_batches(
    gathered: Gathered,
    directory: RunDirectory,
    label: str,
    size: int,
    read: Callable[[Source], Any],
    work: Callable[[list[tuple[Source, Any]], Any], None],
    each: int = 1,
) -> None:
    """As `one_by_one` with ``size`` pictures at a time, of which no more than those are held.

    ``read`` makes something of every picture, ``work`` gets all of a batch with their sources, and the bar, which it moves
    by ``each`` for every picture. A batch that fails is done again picture by picture, so that one does not end the others.
    """
    sources = gathered.sources
    total = len(sources) * each
    with saying_how_far(directory, len(sources)), ticking(bar(total, label, "map")) as shown:
        for first in range(0, len(sources), size):
            batch: list[tuple[Source, Any]] = []
            for source in sources[first : first + size]:
                with _noting(source, directory):
                    _ = source.key  # hashed before it may go away
                    batch.append((source, read(source)))
            try:
                if batch:
                    work(batch, shown)
            except Exception as error:
                if reason_of(error) is None:
                    raise
                for each_one in batch:
                    with _noting(each_one[0], directory):
                        if len(batch) == 1:
                            raise
                        work([each_one], shown)
            shown.n = min(first + size, len(sources)) * each
            shown.update(0)


@contextmanager
def _noting(source: Source, directory: RunDirectory) -> Iterator[None]:
    """What concerns one picture ends nothing but its own work."""
    try:
        yield
    except Exception as error:
        reason = reason_of(error)
        if reason is None:
            raise
        directory.fail(source.name, reason)


def reason_of(error: Exception) -> str | None:
    """Why one picture could not be done, in a line; None for what concerns all of them (a full disk, an error of ours)."""
    text = str(error).strip()
    if isinstance(error, (ValueError, ArithmeticError)) and text.startswith("Expected "):
        return text
    short = isinstance(error, RuntimeError) and any(words in text for words in _SHORT)
    if isinstance(error, MemoryError) or short:
        return (
            "Expected memory for this picture, got none left; try a smaller copy, or fewer layers and methods"
        )
    return None


# how torch says that there is no memory, on a processor and on a device
_SHORT = ("not enough memory", "an't allocate memory", "out of memory")


@contextmanager
def saying_how_far(directory: RunDirectory, count: int, what: str = "images") -> Iterator[None]:
    """Around work whose results are added one by one: a stop says how many there are, and that the same command goes on."""
    try:
        yield
    except KeyboardInterrupt:
        done = len(directory.facts["results"])
        text = f"{done} of {count} {what} are finished, in {directory.folder}; the same command goes on from there."
        raise KeyboardInterrupt(text if done else f"No {what.removesuffix('s')} is finished.") from None


def verdict(directory: RunDirectory) -> int:
    """Name what was left out; returns the exit code."""
    failed = directory.facts["failed"]
    skipped = [one for one in directory.facts["skipped"] if one["reason"] != "hidden"]
    if len(failed) == 1 and not directory.facts["results"]:
        complain(failed[0]["reason"])
        return 2
    few = failed + skipped if len(skipped) <= 5 else failed
    for one in few:
        complain(f"left out {one['name']}: {one['reason']}")
    if len(skipped) > 5:
        complain(
            f"left out {len(skipped)} files that are no images: {directory.folder / 'run.json'} names them"
        )
    return 2 if not directory.facts["results"] else 1 if failed else 0
