"""What tests with other processes share. They wait for what has to happen, however slow the machine, and leave no
process, pipe or port behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 600  # seconds without what is waited for: broken rather than slow, and just before pytest gives up

_HELD = """
import fnmatch, os, pathlib, sys, time
pattern, times, marker = sys.argv[1], int(sys.argv[2]), sys.argv[3]
replace = os.replace
def held(source, target, **options):
    global times
    replace(source, target, **options)
    fits = fnmatch.fnmatch(str(target), pattern)
    times -= fits
    if fits and times == 0:
        pathlib.Path(marker).touch()
        while True:  # until a signal comes
            time.sleep(3600)
os.replace = held
from pellucid.cli import main
sys.exit(main(sys.argv[4:]))
"""


@contextlib.contextmanager
def started(*command, **options):
    """A process with its output in pipes; it is gone when the block ends, whatever happens there."""
    environment = {"OMP_NUM_THREADS": "1", **os.environ, **options.pop("env", {})}
    settings = {"stdout": -1, "stderr": -1, "text": True, "env": environment, **options}
    with subprocess.Popen([str(part) for part in command], **settings) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()


def pellucid(*arguments, **options):
    """The command line as a process of its own."""
    return started(sys.executable, "-m", "pellucid.cli", *arguments, **options)


def await_condition(condition, *processes):
    """Return as soon as ``condition()`` is true; processes that end before fail the test with what they said."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        for process in processes:
            assert process.poll() is None, f"ended early with {process.returncode}: {process.communicate()}"
        assert time.monotonic() < deadline, f"not within {PATIENCE} seconds"
        time.sleep(0.01)


def stopped(how, pattern, marker, *arguments, times=1):
    """Stop a command right after it has written a file whose path fits ``pattern``, for the first time or so many
    ``times``: code, output, complaint.

    The command holds still there until the signal arrives, so that it is stopped at this very point on every machine.
    ``marker`` is a file to make, somewhere outside of what the command writes.
    """
    marker.unlink(missing_ok=True)
    with started(sys.executable, "-c", _HELD, pattern, times, marker, *arguments) as process:
        await_condition(marker.exists, process)
        process.send_signal(how)
        said, complaint = process.communicate(timeout=PATIENCE)
    return process.returncode, said, complaint


def interrupted(pattern, marker, *arguments, times=1):
    """`stopped` by Ctrl+C."""
    return stopped(signal.SIGINT, pattern, marker, *arguments, times=times)


def together(script, count=2):
    """Run a command line of Python in ``count`` processes that know of each other as torchrun would tell them."""
    with contextlib.ExitStack() as stack:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
        options = {"stdout": subprocess.DEVNULL, "cwd": ROOT}
        processes = [
            stack.enter_context(started(sys.executable, *script, env=common | rank, **options))
            for rank in ranks
        ]
        for process in processes:
            _, complaint = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, complaint[-2000:]
