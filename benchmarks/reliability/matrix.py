"""The tests with other instruction sets, thread counts and loads: what fails anywhere, and how near bounds anything comes.

    python benchmarks/reliability/matrix.py                            # every test in every row: hours
    python benchmarks/reliability/matrix.py tests/core tests/units     # of these only
    python benchmarks/reliability/matrix.py --rows avx2-4 --out look.json

A row is a set of instructions (all libraries that do arithmetic are held to it), a number of threads, and whether busy
processes run beside. Every row runs pytest anew with `tests/margins.py`, which notes for every comparison of floats how much of
its bound it uses: a comparison that uses 1 % here will hold elsewhere. A row is written as soon as it is finished; rows that
are in the file with the same code and the same tests are not run again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy._core._multiarray_umath import __cpu_dispatch__ as dispatched

from pellucid.core.provenance import code_digest, processor, versions

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).with_suffix(".json")
BUSY = 8
INSTRUCTIONS: dict[str, dict[str, str]] = {
    "native": {},
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2", "OPENBLAS_CORETYPE": "Haswell", "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2", "MKL_CBWR": "AVX2",
    },
    "none": {
        "ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Nehalem", "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "MKL_CBWR": "COMPATIBLE", "NUMBA_CPU_NAME": "generic",
    },
}  # fmt: skip
NUMPY = {
    "native": (),
    "avx2": ("AVX512", "X86_V4"),
    "none": ("AVX", "FMA", "X86_V"),
}  # beginnings of what is left out
ROWS = {
    "native-1": ("native", 1, 0), "native-4": ("native", 4, 0), "avx2-1": ("avx2", 1, 0), "avx2-4": ("avx2", 4, 0),
    "none-1": ("none", 1, 0), "none-4": ("none", 4, 0), "native-1-busy": ("native", 1, BUSY),
    "none-4-busy": ("none", 4, BUSY),
}  # fmt: skip
PROBE = """
import json, numpy, torch
from threadpoolctl import threadpool_info
pools = {f"{pool['internal_api']}": pool.get("architecture") for pool in threadpool_info()}
print(json.dumps({"torch": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads(), "pools": pools}))
"""


def main() -> None:
    options = arguments()
    digest = code_digest([*ROOT.glob("src/**/*.py"), *ROOT.glob("tests/**/*.py")])
    content = json.loads(options.out.read_text()) if options.out.exists() else {}
    if content.get("code") != digest or content.get("tests") != options.tests:
        content = about(digest, options.tests)
    for name in options.rows:
        if name in content["rows"]:
            continue
        content["rows"][name] = row(name, options)
        options.out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(name, {key: content["rows"][name][key] for key in ("passed", "failed", "seconds")}, flush=True)
    print(report(content))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tests", nargs="*", default=["tests"], help="files or folders; by default all")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--workers", default="2", help="processes of pytest")
    parser.add_argument("--out", type=Path, default=RESULT)
    return parser.parse_args()


def about(digest: str, tests: list[str]) -> dict[str, Any]:
    """What holds for all rows."""
    return {
        "date": time.strftime("%Y-%m-%d"), "code": digest, "tests": tests, "processor": model(),
        "machine": processor(), "versions": versions("torch", "numpy", "scipy", "numba", "pytest", "hypothesis"),
        "rows": {},
    }  # fmt: skip


def model() -> str:
    """The processor's name, where the system says it."""
    facts = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", facts.read_text()) if facts.exists() else None
    return named[1] if named else processor()


def surroundings(instructions: str, threads: int) -> dict[str, str]:
    """The environment in which no library uses more than these instructions, and all use so many threads."""
    strict = {"MKL_DYNAMIC": "FALSE", "OMP_DYNAMIC": "FALSE", "OMP_NUM_THREADS": str(threads)}
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    left_out = [name for name in dispatched if name.startswith(NUMPY[instructions])]
    numpy = {"NPY_DISABLE_CPU_FEATURES": " ".join(left_out)} if left_out else {}
    return os.environ | INSTRUCTIONS[instructions] | strict | path | numpy


def row(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run the tests as the row says, and count."""
    instructions, threads, count = ROWS[name]
    environment = surroundings(instructions, threads)
    probe = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    with tempfile.TemporaryDirectory() as folder, busy(count):
        place = Path(folder)
        command = [
            sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-n", options.workers, "-p", "no:cacheprovider",
            "-p", "tests.margins", "--margins", str(place / "margins"), f"--junitxml={place / 'tests.xml'}",
            *options.tests,
        ]  # fmt: skip
        started = time.monotonic()
        subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        seconds = round(time.monotonic() - started)
        found = counted(ElementTree.parse(place / "tests.xml").getroot()) | {"seconds": seconds}
        margins = [
            json.loads(line) for file in place.glob("margins*") for line in file.read_text().splitlines()
        ]
    settings = {
        "instructions": instructions,
        "threads": threads,
        "busy": count,
        "seen": json.loads(probe.stdout),
    }
    return settings | found | nearest(margins)


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes beside, each with a core's worth of work."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def counted(tree: ElementTree.Element) -> dict[str, Any]:
    """Numbers of tests by outcome, and the names of those that failed."""
    cases = list(tree.iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return {
        "passed": len(cases) - len(failed) - skipped, "failed": len(failed), "skipped": skipped,
        "failures": [f"{case.get('classname')}::{case.get('name')}" for case in failed],
    }  # fmt: skip


def nearest(margins: list[dict[str, Any]], most: int = 10) -> dict[str, Any]:
    """How many lines compare floats, and those that use most of a bound that rounding could reach.

    Numbers printed with few digits, draws and discretizations use up what their bounds allow on every machine alike; what differs
    by more than a ten-thousandth of its size is one of those.
    """
    lines: dict[str, dict[str, Any]] = {}
    for entry in margins:
        known = lines.get(entry["line"])
        if known is None or entry["share"] > known["share"]:
            lines[entry["line"]] = entry
    rounded = [entry for entry in lines.values() if 0 < entry["gap"] < 1e-4 * entry["size"]]
    rounded.sort(key=lambda entry: -entry["share"])
    kept = ("line", "test", "dtype", "share", "gap", "size")
    return {
        "compared": len(lines),
        "nearest": [{key: entry[key] for key in kept} for entry in rounded[:most]],
    }


def report(content: dict[str, Any]) -> str:
    """The table for a page."""
    lines = [
        f"{content['processor']} ({content['machine']}), {content['date']}.",
        "",
        "| instructions | threads | busy processes beside | passed | failed | skipped | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in content["rows"].values():
        cells = [one[key] for key in ("instructions", "threads", "busy", "passed", "failed", "skipped")]
        lines.append("| " + " | ".join(map(str, [*cells, f"{one['seconds'] / 60:.0f}"])) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
