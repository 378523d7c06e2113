"""The command line: ``pellucid COMMAND …``. Each command is a dataclass, read by tyro; torch is imported only
by those that run.

Exit codes: 0 done, 1 some images could not be done, 2 bad input (one line says what was expected, what came
and what to try); stopped, with finished results kept: 130 by Ctrl-C, 143 by SIGTERM, 129 by a closed terminal.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Timer, current_thread, main_thread
from types import FrameType

from pellucid._version import __version__
from pellucid.commands.console import complain, say, stand_in
from pellucid.core.registry import suggest

COMMANDS = {
    "explain": "why a network decided as it did: a sentence, maps, neurons, one page to show",
    "attribute": "maps of where the network looked, by any method, at any layer",
    "neurons": "which units of a layer mattered, by any criterion",
    "dissect": "what every unit detects: concepts by overlap, over many labeled pictures",
    "parts": "which object part every filter means, and how steadily it points there",
    "patterns": "channels that are active together in images of a class, in words, numbers and pictures",
    "concepts": "directions found in your own pictures: examples, words, what they are worth",
    "visualize": "what units and classes want to see: pictures, a contact sheet, how they compare with real ones",
    "evaluate": "how true maps are: methods against each other and against controls, by any metric",
    "train": "embedded classifiers, interpretable networks, IRENet, decoders; all resume and scale out",
    "study": "the experiments of the repository, by name",
    "models": "embedded networks, zoo networks, and the layers of any of them",
    "methods": "every attribution method, neuron criterion and metric, with its source",
    "data": "the embedded concept world: contact sheets, exports, single scenes",
}
_EXAMPLES = """\
examples:
  pellucid explain                       the embedded network on an embedded picture
  pellucid explain photo.jpg --net torchvision:resnet50 --weights DEFAULT --out result
  pellucid evaluate --methods shallow-cam layercam --metric energy --baseline layercam
  pellucid models --layers torchvision:resnet18"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    stand_in()
    caught: list[int] = []
    try:
        with _stopping_as_by_keyboard(caught):
            return _dispatch(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt as stop:
        complain(f"stopped. {stop}".rstrip())
        return 128 + (caught[0] if caught else signal.SIGINT)
    except BrokenPipeError:  # the reader of a pipe has seen enough; nothing may be flushed into it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, LookupError, TypeError, ArithmeticError, OSError, ImportError) as error:
        if not _is_for_the_user(error):
            raise
        complain(_said(error))
        return 2


@contextmanager
def _stopping_as_by_keyboard(caught: list[int]) -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP stop a command as Ctrl-C does, and are noted; signals that are ignored stay so.

    While compiled code calls back into Python, any of them waits: the exception would come out as a SystemError.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if _calls_back(frame):
            again = Timer(0.05, signal.raise_signal, (number,))
            again.daemon = True
            again.start()
            return
        caught.append(number)
        raise KeyboardInterrupt

    kinds = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    before = {}
    if current_thread() is main_thread():
        before = {kind: signal.getsignal(kind) for kind in kinds if kind is not None}
    usual = (signal.SIG_DFL, signal.default_int_handler)
    mine = {kind: old for kind, old in before.items() if old in usual}
    try:
        for kind in mine:
            signal.signal(kind, stop)
        yield
    finally:
        for kind, old in mine.items():
            signal.signal(kind, old)


def _calls_back(frame: FrameType | None) -> bool:
    """Whether the compiler of our kernels is at work below the frame."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in ("numba", "llvmlite"):
            return True
        frame = frame.f_back
    return False


def _dispatch(given: list[str]) -> int:
    if given[:1] == ["help"]:  # `pellucid help explain`
        given = [*given[1:2], "--help"]
    if not given or given[0] in ("-h", "--help"):
        say(_overview())
        return 0
    if given[0] in ("-V", "--version", "version"):
        say(f"pellucid {__version__}")
        return 0
    if given[0] not in COMMANDS:
        what = "option" if given[0].startswith("-") else "command"
        raise ValueError(f"Expected a command, got the {what} `{given[0]}`; {suggest(given[0], COMMANDS)}")
    return int(importlib.import_module(f"pellucid.commands.{given[0]}").run(given[1:]) or 0)


def _said(error: Exception) -> str:
    """A message for the user in one line."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and not str(error).startswith("Expected "):
        return f"Expected room on the disk, got none ({error}); make some and run the same command again: what is finished stays."
    return str(error)


def _is_for_the_user(error: Exception) -> bool:
    """A message written for the user, or an ordinary file error; everything else keeps its traceback."""
    return str(error).startswith("Expected ") or (isinstance(error, OSError) and error.errno is not None)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    usage = "usage: pellucid COMMAND [options]        pellucid COMMAND --help"
    title = f"pellucid {__version__}: what a convolutional image classifier did and why, with evidence"
    return "\n".join([title, "", usage, "", *lines, "", _EXAMPLES])


if __name__ == "__main__":
    sys.exit(main())
