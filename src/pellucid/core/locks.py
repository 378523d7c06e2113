"""One writer at a time: locks that the system itself gives back when a process ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on this system, where runs are not kept apart
    fcntl = None  # type: ignore[assignment]


class InUseError(BlockingIOError):
    """Another process is writing here."""


class Lock:
    """A lock on a folder, or on a file that is made for it.

    Nothing stale stays after a kill: what is locked is an open file, and the system closes it. On file systems without locks,
    and on systems without ``fcntl``, nothing is locked.

    Args:
        path: A folder, or the name of a lock file, made where it is not there and taken away by `release`.
        refusal: What is said where another holds it.

    Raises:
        InUseError: Where another process, or another part of this one, holds it.
    """

    def __init__(self, path: Path, refusal: str) -> None:
        self.path = path
        self._descriptor: int | None = None
        if fcntl is None:
            return  # type: ignore[unreachable]
        while self._descriptor is None:
            flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
            descriptor = os.open(path, flags, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise InUseError(refusal) from None
            except OSError:  # a file system without locks
                os.close(descriptor)
                return
            if _same(descriptor, path):
                self._descriptor = descriptor
            else:  # its last holder took the file away after we had opened it
                os.close(descriptor)

    def release(self) -> None:
        """Give it back; a second time does nothing."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        if not self.path.is_dir():
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
        os.close(descriptor)

    def __del__(self) -> None:
        with suppress(Exception):
            self.release()


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Hold a `Lock` for a block."""
    lock = Lock(path, refusal)
    try:
        yield
    finally:
        lock.release()


def _same(descriptor: int, path: Path) -> bool:
    """Whether a name still is of the file that is open."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
