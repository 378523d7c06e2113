"""When does a sentence say that a network leans on the surroundings of an object? The threshold, and how often it is right.

The measure is the part of the evidence on the object that maps on these grids could have there (LayerCAM, mean over the
stages; `pellucid.semantics.clauses.on_object`). Honest networks were trained where class and background are independent,
confounded ones where each class has its habitual scene; both are shown habitual scenes, on which both are right, so that
only their reasons differ. The threshold ``LEAN`` is chosen on validation scenes and reported on test scenes.

Run: ``python studies/surroundings.py [--scenes 200]``.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import torch

import pellucid as pl
from pellucid.data.scenes import SceneDataset
from pellucid.embedded import NAMES
from pellucid.semantics.wording import LEAN

RESULTS = Path(__file__).parent / "results"
THRESHOLDS = (0.40, 0.44, 0.48, 0.52, 0.56)


def parts(net: pl.Network, split: str, count: int) -> torch.Tensor:
    """Part of the attainable share that lies on the object, per scene."""
    data = SceneDataset(split, count, confounding=1.0)
    found = []
    for index in range(count):
        explained = pl.explain(net, data.rendering(index), methods=[], units=1)
        (clause,) = [clause for clause in explained.clauses if clause.kind == "object"]
        inside, attainable, _ = clause.numbers.values()
        found.append(float(inside) / float(attainable))
    return torch.tensor(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in NAMES:
        net = pl.load(name)
        for split in ("val", "test"):
            values = parts(net, split, options.scenes)
            said = {
                f"{threshold:.2f}": round(float((values < threshold).float().mean()), 3)
                for threshold in THRESHOLDS
            }
            rows.append(
                {
                    "network": name,
                    "split": split,
                    "median": round(float(values.median()), 3),
                    "said below": said,
                }
            )
    facts = {
        "scenes": options.scenes,
        "threshold in use": LEAN,
        "pellucid": pl.__version__,
        "torch": torch.__version__,
    }
    result = {"rows": rows, "metadata": {**facts, "machine": platform.machine()}}
    lines = [
        "# Leaning on the surroundings",
        "",
        f"Share of {options.scenes} scenes in which the sentence would say it, by threshold (in use: {LEAN}).",
        "By `python studies/surroundings.py`.",
        "",
        "| network | split | median part | "
        + " | ".join(f"< {threshold:.2f}" for threshold in THRESHOLDS)
        + " |",
        "|---|---|---|" + "---|" * len(THRESHOLDS),
    ]
    for row in rows:
        shares = " | ".join(f"{100 * value:.1f} %" for value in row["said below"].values())
        lines.append(f"| {row['network']} | {row['split']} | {row['median']:.2f} | {shares} |")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "surroundings.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (options.out / "surroundings.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
