"""Running a hostile case in a process of its own, with its time and memory watched."""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

SECONDS = 30  # of processor time: a busy machine makes no hang
BYTES = 1 << 30
REFUSALS = (ValueError, LookupError, TypeError, ArithmeticError, OSError, ImportError)

Outcome = tuple[str, str]


def watched(run: Callable[[], Outcome], seconds: float = SECONDS) -> Outcome:
    """What ``run`` says, in a process of its own.

    Returns:
        Its outcome and words; "hang" where it took more processor time (or twenty times that on the clock), "memory" where its
        resident memory came to more than a gigabyte, "crash" where it ended without a word.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(run, writer, seconds)
    os.close(writer)
    content = b""
    end = time.monotonic() + 20 * seconds
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            os.kill(child, signal.SIGKILL)
            break
        chunk = os.read(reader, 1 << 16)
        if not chunk:
            break
        content += chunk
    os.close(reader)
    _, status, usage = os.wait4(child, 0)
    if not ready or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)):
        return "hang", f"more than {seconds:g} s"
    if usage.ru_maxrss * 1024 > BYTES:
        return "memory", f"{usage.ru_maxrss >> 10} MB"
    if not content:
        return "crash", f"status {status}"
    outcome: Outcome = pickle.loads(content)
    return outcome


def _child(run: Callable[[], Outcome], writer: int, seconds: float) -> None:
    import resource

    spent = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(spent.ru_utime + spent.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 2))
    try:
        outcome = run()
    except BaseException as error:  # the outcome of the case
        outcome = "traceback", f"{type(error).__name__}: {error}"[:300]
    try:
        os.write(writer, pickle.dumps(outcome))
    finally:
        sys.stdout.flush()
        os._exit(0)


def refusal(error: BaseException, name: str) -> Outcome:
    """The outcome of a case that ended in an exception: "refused" for one line of a user's kind that names the file."""
    text = str(error)
    clear = isinstance(error, REFUSALS) and text.startswith("Expected ") and name in text
    clear = (
        clear
        and "\n" not in text
        and all(part.isprintable() for part in text.split(" "))
        and len(text) < 1500
    )
    return ("refused" if clear else "traceback"), f"{type(error).__name__}: {text}"[:300]


def summary(outcomes: Sequence[tuple[str, str, Outcome]], fine: Sequence[str]) -> dict[str, Any]:
    """Counts by kind and outcome, and what got through: (kind, case, (outcome, words)) whose outcome is not among ``fine``."""
    kinds: dict[str, Counter[str]] = {}
    for kind, _, (how, _) in outcomes:
        kinds.setdefault(kind, Counter())[how] += 1
    through = [
        {"kind": kind, "case": case, "outcome": how, "words": words}
        for kind, case, (how, words) in outcomes
        if how not in fine
    ]
    return {
        "cases": len(outcomes),
        "got_through": len(through),
        "outcomes": dict(sum(kinds.values(), Counter())),
        "kinds": {kind: dict(count) for kind, count in kinds.items()},
        "through": through,
    }


def tell(found: dict[str, Any], width: int = 24) -> int:
    """Print the counts of a measurement and what got through; the exit code: 1 where something did."""
    for kind, count in found["kinds"].items():
        print(f"{kind:{width}}", *(f"{how} {number}" for how, number in sorted(count.items())), sep="  ")
    for case in found["through"]:
        print(f"GOT THROUGH  {case['kind']}: {case['case']}: {case['outcome']}: {case['words']}")
    print(f"{found['cases']} cases, {found['got_through']} got through")
    return int(found["got_through"] > 0)
