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
    """Do the work for every picture; unusable pictures are noted.

    ``work`` adds its result under the key of the source; where an earlier part of this run has done so, ``again`` is told
    instead. Raises KeyboardInterrupt that says how much is finished.
    """
    from pellucid.data.pixels import ImageError

    count = len(gathered.sources)
    with saying_how_far(directory, count), ticking(bar(count, label)) as shown:
        for source in gathered.sources:
            try:
                entry = directory.recall(source.key)
                if entry is None:
                    work(source)
                else:
                    again(source, entry)
            except ImageError as error:
                directory.fail(source.name, str(error))
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
    by ``each`` for every picture.
    """
    from pellucid.data.pixels import ImageError

    sources = gathered.sources
    total = len(sources) * each
    with saying_how_far(directory, len(sources)), ticking(bar(total, label, "map")) as shown:
        for first in range(0, len(sources), size):
            batch = []
            for source in sources[first : first + size]:
                try:
                    batch.append((source, read(source)))
                except ImageError as error:
                    directory.fail(source.name, str(error))
                    shown.update(each)
            if batch:
                work(batch, shown)


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
