"""One way to show how far a long computation is.

    progress=None   a bar on standard error once two seconds have passed, where that is a terminal
    progress=True   the same, wherever standard error leads
    progress=False  none

A bar never ends the work it is about: where standard error is closed, or its reader has gone, it shows nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
_DELAY = 2.0
_TICK = 0.5


class _Stream:
    """Standard error as it is at the moment, where it can be written to."""

    def write(self, text: str) -> int:
        try:
            return sys.stderr.write(text) if sys.stderr is not None else len(text)
        except (OSError, ValueError):  # gone, full, or closed
            return len(text)

    def flush(self) -> None:
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
        except (OSError, ValueError):
            pass

    def isatty(self) -> bool:
        try:
            return sys.stderr is not None and sys.stderr.isatty()
        except ValueError:
            return False

    def fileno(self) -> int:
        if sys.stderr is None:
            raise OSError("no standard error")
        return sys.stderr.fileno()

    @property
    def encoding(self) -> str:
        return getattr(sys.stderr, "encoding", None) or "ascii"


def bar(
    total: int | None, label: str, unit: str = "image", progress: bool | None = None, done: int = 0
) -> tqdm[Any]:
    """A bar, as a context manager with ``update(count)``.

    Args:
        total: How many there are.
        label: What is done.
        unit: Of what.
        progress: See this module.
        done: How many of them were done before.
    """
    return tqdm(
        total=total, initial=done, desc=label, unit=unit, delay=_DELAY, leave=False, file=_Stream(),
        disable=None if progress is None else not progress,
    )  # fmt: skip


def each(items: Iterable[T], label: str, unit: str = "image", progress: bool | None = None) -> Iterator[T]:
    """The items one after the other, with a bar."""
    listed = list(items)
    with bar(len(listed), label, unit, progress) as shown:
        for item in listed:
            yield item
            shown.update()


@contextmanager
def ticking(shown: tqdm[Any]) -> Iterator[tqdm[Any]]:
    """A bar whose clock goes on while one step takes long."""
    over = Event()

    def tick() -> None:
        pause = _DELAY
        while not over.wait(pause):
            shown.refresh()
            shown.last_print_t = time.time()  # else the bar takes itself for never shown, and is not cleared
            pause = _TICK

    with shown:
        clock = Thread(target=tick, daemon=True)
        if not shown.disable:
            clock.start()
        try:
            yield shown
        finally:
            over.set()
            if clock.is_alive():
                clock.join()
