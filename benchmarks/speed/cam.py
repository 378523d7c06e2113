"""Speed and memory of class activation maps, against the least possible and against the peers.

    python benchmarks/speed/cam.py [--networks resnet50 …] [--rounds 15] [--out cam.json]

Two tasks on one image at 224 × 224, random weights: Grad-CAM at the last stage, and every method that one
trace serves at every stage. What runs is in ``contenders.py``, how it is weighed in ``meters.py``, who won in
``verdicts.py``. Writes the JSON and, beside it, the same as a readable table.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from contenders import FLOOR, MOST_CELLS, NETWORKS, PLAIN, SEED, SIZE, TASKS, Setting, check, warm
from meters import memory, operations, ratios, seconds
from verdicts import goals, table, verdicts

import pellucid

THREADS = (1, 2)
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "grad-cam", "torchcam", "captum")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("cam.json"))
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.child:
        print(json.dumps(_child(*arguments.child, arguments.rounds)))
        return
    start, source = os.getloadavg()[0], _source()
    networks = {name: _network(name, arguments.rounds) for name in arguments.networks}
    if (end := _source()) != source:
        source = f"{source}, changed to {end} during the run"
    result: dict[str, Any] = {
        "benchmark": "cam",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "protocol": {
            "image": [1, 3, SIZE, SIZE],
            "weights": "random",
            "seed": SEED,
            "rounds": arguments.rounds,
            "threads": list(THREADS),
            "ratios": "within a round, contenders interleaved in shuffled order; median and quartiles",
            "operations": "convolutions and matrix products over those of one forward pass",
            "memory": "fresh process each; high-water mark of resident memory, MB of 2**20 bytes",
            "left out": f"grad-cam's Eigen methods at stages of more than {MOST_CELLS} cells (in its favor); "
            "grad-cam as documented on vgg16 (minutes a round)",
        },
        "machine": _machine(start),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("pellucid", *PACKAGES)},
            "pellucid's code": source,
        },
        "networks": networks,
    }
    result["goals"] = goals(result)
    result["verdicts"] = verdicts(result)
    text = table(result)
    print(text)
    arguments.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    arguments.out.with_suffix(".md").write_text(text)


def _network(name: str, rounds: int) -> dict[str, Any]:
    setting = Setting(name)
    check(setting)
    tasks: dict[str, list[dict[str, Any]]] = {}
    for task, make in TASKS.items():
        contenders = make(setting)
        once = operations(contenders[0].run)
        timed = {str(n): _run("seconds", name, task, n, rounds) for n in THREADS}
        tasks[task] = []
        for number, each in enumerate(contenders):
            print(f"{name}, {task}: {each.name}", file=sys.stderr, flush=True)
            row = {"contender": each.name, "library": each.library, "maps": each.maps}
            row |= {"against": each.against} if each.against else {}
            row["operations"] = round(operations(each.run) / once, 4)
            setting.clean()
            row["time"] = {threads: found[each.name] for threads, found in timed.items()}
            row["memory"] = _run("memory", name, task, 1, rounds, number)
            tasks[task].append(row)
    return {"stages": list(setting.stages), "methods": list(setting.methods), "tasks": tasks}


def _run(what: str, network: str, task: str, threads: int, rounds: int, number: int = 0) -> dict[str, Any]:
    """A fresh process with that many threads in torch and in every linear algebra library."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    command = [
        sys.executable,
        __file__,
        "--rounds",
        str(rounds),
        "--child",
        what,
        network,
        f"{task}:{number}",
    ]
    # threads that wait for one another must not spin where other processes want the core
    environment = os.environ | dict.fromkeys(names, str(threads)) | {"OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _child(what: str, network: str, place: str, rounds: int) -> dict[str, Any]:
    task, number = place.split(":")
    setting = Setting(network)
    contenders = TASKS[task](setting)
    if what == "memory":
        contender = contenders[int(number)]
        warm(contender.library)
        _ = setting.net, setting.pieces
        return memory(contender.run, setting.plain)
    found = seconds(contenders, rounds, setting.clean)
    rows: dict[str, Any] = {}
    for each in contenders:
        others = {"plain": PLAIN, "floor": FLOOR} | ({"against": each.against} if each.against else {})
        taken = sorted(wall for wall, _ in found[each.name].values())
        rows[each.name] = {
            "rounds": len(taken),
            "milliseconds": round(1e3 * taken[len(taken) // 2], 1),
            "wall": {key: ratios(found, each.name, other, 0) for key, other in others.items()},
            "processor": {key: ratios(found, each.name, other, 1) for key, other in others.items()},
        }
    return rows


def _source() -> str:
    """A digest of the code that decides what is measured; every process imports it anew."""
    folder = Path(pellucid.__file__).parent
    files = [*folder.glob("*.py"), *folder.glob("attribution/*.py"), *folder.glob("data/*.py")]
    text = b"".join(each.read_bytes() for each in sorted(files))
    return hashlib.sha256(text).hexdigest()[:12]


def _machine(load: float) -> dict[str, Any]:
    """What ran it: no name, no path."""
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*:\s*(.+)", about)
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load at start and end": [round(load, 1), round(os.getloadavg()[0], 1)],
        "torch": {
            "threads": torch.get_num_threads(),
            "mkldnn": torch.backends.mkldnn.is_available(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "cuda": torch.version.cuda,
        },
    }


if __name__ == "__main__":
    main()
