"""Speed of the concept world: scenes drawn and rendered with all masks per second and core.

    python benchmarks/speed/scenes.py --count 1000 --repeats 5 --out benchmarks/speed/results/scenes.json

Prints and stores the median and the spread over the repeats, after one untimed round that compiles.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import numba
import numpy as np

from pellucid.world import draw, render


def measure(count: int, size: int, first: int) -> tuple[float, float]:
    """Processor seconds per scene spent on drawing and on rendering, in one thread."""
    start = time.process_time()
    scenes = [draw(first + i) for i in range(count)]
    middle = time.process_time()
    for scene in scenes:
        render(scene, size)
    return (middle - start) / count, (time.process_time() - middle) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    clock = time.perf_counter()
    render(draw(0), arguments.size)
    first_call = time.perf_counter() - clock
    runs = [measure(arguments.count, arguments.size, k * arguments.count) for k in range(arguments.repeats)]
    rates = sorted(1.0 / (a + b) for a, b in runs)
    result = {
        "benchmark": "scenes",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "size": arguments.size,
        "count": arguments.count,
        "repeats": arguments.repeats,
        "scenes_per_second_per_core": {"median": statistics.median(rates), "min": rates[0], "max": rates[-1]},
        "draw_ms": 1e3 * statistics.median(a for a, _ in runs),
        "render_ms": 1e3 * statistics.median(b for _, b in runs),
        "first_call_s": first_call,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "numba": numba.__version__,
        },
    }
    print(json.dumps(result, indent=2))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
