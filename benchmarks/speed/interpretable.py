"""What a training step of an interpretable network costs beside its ordinary twin's.

The whole network is trained, nothing is cached: forward, both losses, backward, optimizer, on one batch of scenes. Steps of the
twin and of the interpretable networks alternate, in shuffled order within a round; only ratios within a round are used, so that
whatever else the machine does weighs on both sides.

Run: ``python benchmarks/speed/interpretable.py [--rounds 12] [--batch 32]``; writes interpretable.json and .md beside itself.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import pellucid as pl
from pellucid.interpretable.job import InterpretableJob
from pellucid.interpretable.pictures import open_pictures
from pellucid.interpretable.settings import InterpretableTraining

RESULTS = Path(__file__).parent
CONDITIONS: dict[str, dict[str, Any]] = {
    "ordinary": {"ordinary": True},
    "L2, printed loss": {},
    "L1, printed loss": {"norm": "l1"},
    "L2, released loss": {"mode": "released"},
}
GOAL = 1.3


def step_of(job: InterpretableJob, batch: int) -> Callable[[], None]:
    """One whole step of a job."""
    chosen, mirrored = torch.arange(batch), torch.zeros(batch, dtype=torch.bool)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = job.loss(job.module, (chosen, mirrored))
        job.optimizer.zero_grad()
        loss.backward()
        job.optimizer.step()

    return step


def measured(backbone: str, rounds: int, batch: int) -> dict[str, Any]:
    """Processor seconds of a step, and the ratios to the twin's, round by round."""
    base = InterpretableTraining(backbone=backbone, images=max(64, batch), freeze="none")
    preprocess = pl.load(backbone).preprocess
    pictures = open_pictures(base, "train", preprocess)
    steps = {}
    for name, change in CONDITIONS.items():
        settings = InterpretableTraining(backbone=backbone, images=base.images, freeze="none", **change)
        job = InterpretableJob(settings, pictures, progress=False)
        job.module.train()
        steps[name] = step_of(job, batch)
    found: dict[str, list[float]] = {name: [] for name in steps}
    shuffle = random.Random(0)
    for number in range(rounds + 1):
        names = list(steps)
        shuffle.shuffle(names)
        for name in names:
            started = time.process_time()
            steps[name]()
            if number:  # the first round is not timed
                found[name].append(time.process_time() - started)
    rows = {}
    for name, values in found.items():
        ratios = [one / other for one, other in zip(values, found["ordinary"], strict=True)]
        rows[name] = {"seconds": round(statistics.median(values), 4), "ratio": spread(ratios)}
    return rows


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": round(middle, 3), "q1": round(low, 3), "q3": round(high, 3)}


def page(found: dict[str, Any]) -> str:
    """The table in Markdown."""
    lines = [
        "# A training step of interpretable networks",
        "",
        f"Processor seconds of one step (batch {found['metadata']['batch']}, 128×128 scenes, bf16, whole network, nothing "
        "cached), and the ratio to the ordinary twin within a round: median and quartiles.",
        f"Goal: at most {GOAL}. By `python benchmarks/speed/interpretable.py`.",
        "",
        "| backbone | network | seconds | ratio | |",
        "|---|---|---|---|---|",
    ]
    for backbone, rows in found["backbones"].items():
        for name, row in rows.items():
            ratio = row["ratio"]
            verdict = "" if name == "ordinary" else "met" if ratio["median"] <= GOAL else "missed"
            cells = f"{ratio['median']:.2f} ({ratio['q1']:.2f}–{ratio['q3']:.2f})"
            lines.append(f"| {backbone} | {name} | {row['seconds']:.3f} | {cells} | {verdict} |")
    about = found["metadata"]
    lines += [
        "",
        f"{about['machine']}, torch {about['torch']}, one thread, {about['rounds']} rounds, {about['date']}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure both embedded backbones and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    backbones = {
        name: measured(name, options.rounds, options.batch) for name in ("scenes-vgg", "scenes-resnet")
    }
    found = {
        "metadata": {
            "date": datetime.date.today().isoformat(),
            "torch": torch.__version__.split("+")[0],
            "pellucid": pl.__version__,
            "machine": platform.machine(),
            "batch": options.batch,
            "rounds": options.rounds,
        },
        "backbones": backbones,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "interpretable.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (options.out / "interpretable.md").write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
