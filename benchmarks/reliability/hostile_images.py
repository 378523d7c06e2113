"""Hostile pictures through the reader: how many gave a traceback, a hang, more than a gigabyte, or wrong pixels in silence.

    python benchmarks/reliability/hostile_images.py            # all cases; writes results/hostile_images.json
    python benchmarks/reliability/hostile_images.py --small    # without the large ones, which take memory and a minute or two

Every case goes through `pellucid.data.pictures.pictures` in a process that is watched. What is right for it is known from how it
was made (`image_cases`). A refusal is an `ImageError` of one line that begins with "Expected". Some go through the command line,
whose right answers are exit codes 0 and 1, no traceback, and the results of the good picture beside it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from image_cases import REFUSED, Case, cases  # noqa: E402

PATIENCE = 30.0  # seconds for one picture
MOST = 1024.0  # MB of memory
OUTCOMES = ("traceback", "hang", "over 1 GB", "wrong pixels", "accepted", "refused")
ON_THE_COMMAND_LINE = ("wrong magic", "bomb", "path", "crafted", "truncated")


def judged(case: Case, folder: Path, begin: Callable[[], None] = lambda: None) -> tuple[str, str]:
    """What became of a case, and the words for it; ``begin`` is told when it is made and the reader has its turn."""
    from pellucid.data.images import ImageError
    from pellucid.data.pictures import pictures

    source = case.make(folder)
    start = _memory()
    begin()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (picture, *_) = pictures(source, **case.options)
            read = picture.image
    except ImageError as error:
        text = str(error)
        if "\n" in text or ": Expected " not in f": {text}":
            return "traceback", f"not one plain line: {text[:200]!r}"
        right = "refused" if isinstance(case.right, str) else "wrong pixels"
        return _unless_large(start, right, text)
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"[:300]
    if isinstance(case.right, str):
        wrong = case.right == REFUSED
        return _unless_large(
            start, "wrong pixels" if wrong else "accepted", "should be refused" if wrong else ""
        )
    right, pixels = np.asarray(case.right), np.asarray(read)
    if right.shape != pixels.shape:
        return "wrong pixels", f"{pixels.shape} for {right.shape}"
    off = float(np.abs(pixels.astype(float) - right).max())
    return _unless_large(
        start, "wrong pixels" if off > case.near else "accepted", f"off by {off:g}" if off > case.near else ""
    )


def _unless_large(start: float, outcome: str, text: str) -> tuple[str, str]:
    taken = _memory(peak=True) - start
    return ("over 1 GB", f"{taken:.0f} MB") if taken > MOST else (outcome, text)


def _memory(peak: bool = False) -> float:
    """Resident memory in MB, now (from when the peak is counted anew) or at its peak; 0 where Linux does not tell it."""
    try:
        if not peak:
            Path("/proc/self/clear_refs").write_text("5")
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", text)
    return int(found[1]) / 1024 if found else 0.0


def _work(seed: int, large: bool, first: int, results: Any) -> None:
    every = cases(seed, large)
    for index in range(first, len(every)):
        results.send((index, "making"))
        begun = [time.monotonic()]

        def begin(index: int = index, begun: list[float] = begun) -> None:
            results.send((index, "reading"))
            begun[0] = time.monotonic()

        with tempfile.TemporaryDirectory() as folder:
            outcome = judged(every[index], Path(folder), begin)
            seconds = time.monotonic() - begun[0]
        results.send((index, (*outcome, round(seconds, 3))))


def read_all(seed: int, large: bool) -> list[dict[str, Any]]:
    """Every case through the reader; what hangs or takes its process with it is noted, and the next goes on in another."""
    every = cases(seed, large)
    context = multiprocessing.get_context("spawn")
    rows: dict[int, dict[str, Any]] = {}

    def note(index: int, outcome: str, text: str, seconds: float) -> None:
        case = every[index]
        rows[index] = {
            "kind": case.kind,
            "name": case.name,
            "outcome": outcome,
            "seconds": seconds,
            "said": text,
        }

    first = 0
    while first < len(every):
        results, sender = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(seed, large, first, sender), daemon=True)
        worker.start()
        sender.close()
        current, since = (
            first,
            time.monotonic() + 60.0,
        )  # a process takes its time to begin, and to make a large file
        while first < len(every):
            gone = False
            try:
                index, outcome = results.recv() if results.poll(0.5) else (None, None)
            except EOFError:
                gone = True
            if gone or (index is None and time.monotonic() - since > PATIENCE):
                worker.join(1)
                said = f"process ended with {worker.exitcode}" if gone else ""
                note(current, "traceback" if gone else "hang", said, PATIENCE)
                first = current + 1
                break
            if index is None:
                continue
            current, since = index, time.monotonic() + (0.0 if outcome == "reading" else 60.0)
            if not isinstance(outcome, str):
                note(index, *outcome)
                first = index + 1
        worker.kill()
        worker.join()
    return [rows[index] for index in range(len(every))]


def on_the_command_line(seed: int, count: int) -> list[dict[str, Any]]:
    """Some cases as arguments of ``pellucid attribute``, beside a good picture that has to be finished."""
    from PIL import Image

    chosen = [case for case in cases(seed, False) if case.kind in ON_THE_COMMAND_LINE]
    rows = []
    for case in chosen[:: max(1, len(chosen) // max(1, count))][:count]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / "good.png")
            source = case.make(folder)
            if not isinstance(source, (str, Path)) or "\0" in str(source):
                continue
            arguments = [
                "attribute",
                str(source),
                str(folder / "good.png"),
                "--net",
                "scenes-resnet",
                "--out",
                str(folder / "out"),
            ]
            command = [sys.executable, "-m", "pellucid.cli", *arguments]
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=4 * PATIENCE, check=False
                )
            except subprocess.TimeoutExpired:
                rows.append({"kind": case.kind, "name": case.name, "outcome": "hang", "said": ""})
                continue
            finished = (folder / "out" / "good.png.safetensors").is_file() or any(
                (folder / "out").glob("good*.safetensors")
            )
            fine = done.returncode in (0, 1) and "Traceback" not in done.stderr and finished
            said = done.stderr.strip().splitlines()[-1:] or [""]
            outcome = ("accepted" if done.returncode == 0 else "refused") if fine else "traceback"
            rows.append({"kind": case.kind, "name": case.name, "outcome": outcome, "said": said[0][:300]})
    return rows


def counted(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How often every outcome came, in all and by kind."""
    kinds = dict.fromkeys(row["kind"] for row in rows)
    by_kind = {kind: dict(Counter(row["outcome"] for row in rows if row["kind"] == kind)) for kind in kinds}
    every = Counter(row["outcome"] for row in rows)
    return {"cases": len(rows), **{outcome: every[outcome] for outcome in OUTCOMES}, "by kind": by_kind}


def main() -> int:
    """Run, print and write; the exit code is 1 where something got through."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="without the large ones")
    parser.add_argument(
        "--command-line", type=int, default=12, help="how many go through the command line too"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    rows = read_all(options.seed, not options.small)
    commands = on_the_command_line(options.seed, options.command_line)
    bad = [row for row in (*rows, *commands) if row["outcome"] in OUTCOMES[:4]]
    for row in bad:
        print(f"{row['outcome']}: {row['kind']}, {row['name']}: {row['said']}")
    from studies.kit import metadata, write

    result = {
        "metadata": metadata([Path(__file__), Path(__file__).parent / "image_cases.py"], options),
        "reader": counted(rows), "command line": counted(commands), "got through": len(bad), "bad": bad,
        "slowest": [
            {key: row[key] for key in ("kind", "name", "seconds")}
            for row in sorted(rows, key=lambda row: -row["seconds"])[:5]
        ],
    }  # fmt: skip
    write(options.out, "hostile_images", result)
    print(
        json.dumps(
            {key: result[key] for key in ("reader", "command line", "got through", "slowest")}, indent=1
        )
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
