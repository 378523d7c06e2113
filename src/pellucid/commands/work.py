"""One image after the other: what cannot be done is noted, what is finished stays, whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from pellucid.commands.console import complain
from pellucid.commands.options import ImageOptions, plain
from pellucid.commands.sources import Gathered, Source, gather
from pellucid.core.network import Network
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
    for left, note in ((gathered.failed, directory.fail), (gathered.skipped, directory.skip)):
        for what, reason in left:
            note(what, reason)
    return directory


def one_by_one(
    gathered: Gathered, directory: RunDirectory, label: str, work: Callable[[Source], None]
) -> None:
    """Do the work for every picture; unusable pictures are noted.

    Raises KeyboardInterrupt that says how much is finished.
    """
    from pellucid.data.pixels import ImageError

    with _saying_how_far(gathered, directory), _bar(len(gathered.sources), label) as bar:
        for source in gathered.sources:
            try:
                work(source)
            except ImageError as error:
                directory.fail(source.name, str(error))
            bar.update()


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
    with _saying_how_far(gathered, directory), _bar(len(sources) * each, label, "map") as bar:
        for first in range(0, len(sources), size):
            found = []
            for source in sources[first : first + size]:
                try:
                    found.append((source, read(source)))
                except ImageError as error:
                    directory.fail(source.name, str(error))
                    bar.update(each)
            if found:
                work(found, bar)


@contextmanager
def _saying_how_far(gathered: Gathered, directory: RunDirectory) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        done, count = len(directory.facts["results"]), len(gathered.sources)
        text = f"{done} of {count} images are finished, in {directory.folder}"
        raise KeyboardInterrupt(text if done else "No image is finished.") from None


@contextmanager
def _bar(count: int, label: str, unit: str = "image") -> Iterator[Any]:
    """A bar on a terminal once two seconds have passed, whose clock goes on while one image takes long."""
    from tqdm import tqdm

    over = Event()

    def tick() -> None:
        pause = 2.0
        while not over.wait(pause):
            bar.refresh()
            bar.last_print_t = time.time()  # else the bar takes itself for never shown, and is not cleared
            pause = 0.5

    with tqdm(total=count, desc=label, unit=unit, delay=2, leave=False, disable=None) as bar:
        clock = Thread(target=tick, daemon=True)
        if not bar.disable:
            clock.start()
        try:
            yield bar
        finally:
            over.set()
            if clock.is_alive():
                clock.join()


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
