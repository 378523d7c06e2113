"""When does a sentence say that a network leans on the surroundings of an object? The threshold, and how often it is right.

The measure is the part of the evidence on the object that maps on these grids could have there (the default method, mean over
the stages; `pellucid.explanation.clauses.on_object`). Honest networks were trained where class and background are
independent, confounded ones where each class has its habitual scene; both are shown habitual scenes, on which both are
right, so that only their reasons differ. The threshold ``LEAN`` is chosen on validation scenes and reported on test scenes:
the highest of those tried that says it of no honest network in more than 6 % of the scenes.

Run: ``python studies/surroundings.py [--scenes 300] [--method NAME]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import kit
import pellucid as pl
from pellucid.attribution.method import DEFAULT as DEFAULT_METHOD
from pellucid.speech.wording import LEAN
from pellucid.world import SceneDataset
from pellucid.zoo.embedded import NAMES

RESULTS = Path(__file__).parent / "results"
THRESHOLDS = (0.44, 0.48, 0.49, 0.50, 0.51, 0.52, 0.54)


def parts(net: pl.Network, split: str, count: int, method: str) -> torch.Tensor:
    """Part of the attainable share that lies on the object, per scene."""
    data = SceneDataset(split, count, confounding=1.0)
    found = []
    for index in range(count):
        explained = pl.explain(
            net, data.rendering(index), method=method, methods=[], units=1, faithfulness=False
        )
        (clause,) = [clause for clause in explained.clauses if clause.kind == "object"]
        found.append(float(clause.value("object.evidence")) / float(clause.value("object.attainable")))
    return torch.tensor(found)


def measured(name: str, split: str, count: int, method: str) -> dict[str, Any]:
    """One row: how often one network would be said to lean on the surroundings, by threshold."""
    values = parts(pl.load(name), split, count, method)
    said = {
        f"{threshold:.2f}": round(float((values < threshold).float().mean()), 3) for threshold in THRESHOLDS
    }
    return {
        "network": name,
        "split": split,
        "median": round(float(values.median()), 3),
        "said below": said,
    }


def table(rows: list[dict[str, Any]], scenes: int, method: str) -> str:
    """All rows in Markdown."""
    lines = [
        "# Leaning on the surroundings",
        "",
        f"Share of {scenes} scenes in which the sentence would say it with `{method}`, by threshold (in use: {LEAN:.2f}).",
        "By `python studies/surroundings.py`.",
        "",
    ]
    cells = [
        [
            row["network"],
            row["split"],
            f"{row['median']:.2f}",
            *(kit.percent(value, 1) for value in row["said below"].values()),
        ]
        for row in rows
    ]
    head = ("network", "split", "median part", *(f"< {threshold:.2f}" for threshold in THRESHOLDS))
    return "\n".join(lines) + "\n" + kit.table(head, cells) + "\n"


def main() -> None:
    """Measure every embedded network on both splits; write JSON and Markdown."""
    parser = kit.parser(__doc__)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--method", default=DEFAULT_METHOD)
    options = parser.parse_args()
    rows = [
        measured(name, split, options.scenes, options.method) for name in NAMES for split in ("val", "test")
    ]
    metadata = kit.metadata() | {
        "method": options.method,
        "scenes": options.scenes,
        "threshold in use": LEAN,
    }
    text = table(rows, options.scenes, options.method)
    kit.write(options.out, "surroundings", {"rows": rows, "metadata": metadata}, text)


if __name__ == "__main__":
    main()
