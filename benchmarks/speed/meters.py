"""Three ways to weigh a call: floating point operations, seconds in interleaved rounds, and peak memory.

* Operations: ``torch.utils.flop_counter`` counts convolutions and matrix products, backward ones too. It sees
  no elementwise work, no matrix–vector product and nothing outside torch: neither pellucid's Lanczos process
  nor grad-cam's singular value decomposition is in the count.
* Seconds: every round runs all contenders once, in a shuffled order, and only ratios within a round are used.
  Whatever else the machine does then weighs on both sides; medians and quartiles over the rounds do the rest.
* Memory: a fresh process per contender. After one plain forward pass the allocator gives back what is free
  and the kernel's high-water mark is reset; ``extra`` is how far resident memory then rises above its start.
"""

from __future__ import annotations

import ctypes
import gc
import random
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from contenders import Contender
from torch.utils.flop_counter import FlopCounterMode


def operations(run: Callable[[], Any]) -> int:
    """Floating point operations of all convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def seconds(
    contenders: Sequence[Contender], rounds: int, clean: Callable[[], None], seed: int = 0
) -> dict[str, dict[int, tuple[float, float]]]:
    """Per contender and round: wall clock and processor seconds. The fast ones run once untimed at first."""
    found: dict[str, dict[int, tuple[float, float]]] = {each.name: {} for each in contenders}
    shuffle = random.Random(seed)
    for each in contenders:
        if each.every == 1:
            each.run()
    for number in range(rounds):
        order = [each for each in contenders if number % each.every == 0]
        shuffle.shuffle(order)
        for each in order:
            wall, processor = time.perf_counter(), time.process_time()
            each.run()
            found[each.name][number] = (time.perf_counter() - wall, time.process_time() - processor)
            clean()
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    if len(values) < 2:
        return dict.fromkeys(("median", "q1", "q3"), values[0])
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": round(median, 4), "q1": round(q1, 4), "q3": round(q3, 4)}


def ratios(
    found: dict[str, dict[int, tuple[float, float]]], name: str, reference: str, clock: int
) -> dict[str, float]:
    """Ratio to another contender within each round they share; clock 0 is the wall, 1 the processor."""
    shared = found[name].keys() & found[reference].keys()
    return spread([found[name][k][clock] / found[reference][k][clock] for k in sorted(shared)])


def memory(run: Callable[[], Any], before: Callable[[], Any]) -> dict[str, float]:
    """Peak resident memory of one call in MB (2²⁰ bytes), whole process and above its start. Linux only."""
    before()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    start = _status("VmRSS")
    run()
    peak = _status("VmHWM")
    return {"peak_mb": round(peak, 1), "extra_mb": round(peak - start, 1)}


def _status(key: str) -> float:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
