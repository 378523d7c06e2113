"""One meaning of `progress`, and bars that never end the work they are about."""

import io
import sys

import pytest

from pellucid.core import progress
from pellucid.core.progress import bar, each, ticking


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Broken(Terminal):
    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(progress, "_DELAY", 0)


@pytest.mark.parametrize(
    ("wanted", "stream", "shown"),
    [
        (None, Terminal, True),
        (None, io.StringIO, False),
        (True, io.StringIO, True),
        (True, Terminal, True),
        (False, Terminal, False),
    ],
)
def test_what_progress_means(wanted, stream, shown, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream())
    with bar(3, "looking", "image", wanted, done=1) as made:
        made.update()
        made.refresh()
    assert ("looking" in sys.stderr.getvalue()) == shown


@pytest.mark.parametrize("stream", [Broken(), None])
def test_streams_that_are_gone(stream, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(each(range(3), "looking", progress=True)) == [0, 1, 2]
    with ticking(bar(3, "looking", progress=True)) as made:
        made.update(3)


def test_a_stream_that_was_closed(monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    with bar(1, "looking") as made:
        made.update()
