"""Network dissection's experiments on the networks at hand: depth, networks, rotation, random weights, training, width.

    python studies/dissection.py                       all parts, results/dissection-PART.json each
    python studies/dissection.py depth rotation        some of them
    python studies/dissection_report.py                results/dissection.md and dissection.png from those files

Parts: ``anchor`` (where cells lie on the label grid), ``depth`` (every stage of every network; the last stages compare the
networks), ``random`` (fresh weights), ``rotation`` (of a layer's units), ``pictures`` (turned with their labels), ``training``
(checkpoints and widths of small trainings).

The embedded networks are dissected with validation scenes, which no training has seen; pretrained networks with photographs of
cars, objects, clothes and textures, for which ``PELLUCID_ASSETS`` names the folder (without it they are left out).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import kit
from dissection_networks import (
    ALEXNET,
    EMBEDDED,
    REAL,
    assets,
    concepts,
    facts,
    measured,
    network,
    rows,
    stages,
)
from dissection_training import trainings
from dissection_turning import turned_pictures, turned_units
from pellucid.core.storage import write_json
from pellucid.dissection import UnitTable

RESULTS = Path(__file__).parent / "results"
ANCHORS = ("effective", "nominal", "paper")


def known(names: Sequence[str]) -> list[str]:
    """Those of the names that can be loaded here."""
    return [name for name in names if name in EMBEDDED or assets() is not None]


def depth(scenes: int, photographs: int, names: Sequence[str] = (*EMBEDDED, *REAL)) -> dict[str, Any]:
    """Every stage of every network."""
    found = []
    for name in known(names):
        net, source = network(name), concepts(name, photographs if name in REAL else scenes)
        tables = measured(net, source, stages(name, net))
        found.append({"network": name, **facts(net, source), "layers": rows(net, tables)})
    return {"networks": found}


def random_weights(
    scenes: int,
    photographs: int,
    names: Sequence[str] = (*EMBEDDED, ALEXNET, "resnet18"),
    seeds: Sequence[int] = (0, 1),
) -> dict[str, Any]:
    """Every stage of the same architectures with fresh weights."""
    found = []
    for name in known(names):
        source = concepts(name, photographs if name in REAL else scenes, keep=True)
        for seed in seeds if name in EMBEDDED else seeds[:1]:
            net = network(name, random=seed)
            tables = measured(net, source, stages(name, net))
            found.append({"network": name, "seed": seed, **facts(net, source), "layers": rows(net, tables)})
    return {"networks": found}


def anchor(
    scenes: int, photographs: int, names: Sequence[str] = ("scenes-resnet", "resnet18")
) -> dict[str, Any]:
    """The same networks and pictures with cells placed in three ways."""
    found = []
    for name in known(names):
        net, source = network(name), concepts(name, photographs if name in REAL else scenes, keep=True)
        base: dict[str, Any] = {}
        for chosen in ANCHORS:
            tables = measured(net, source, stages(name, net), draws=1, anchor=chosen)
            base = base or tables
            kept = rows(net, tables)
            for entry in kept:
                entry["against effective"] = paired(tables[entry["layer"]], base[entry["layer"]])
            found.append({"network": name, "anchor": chosen, **facts(net, source), "layers": kept})
    return {"networks": found}


def paired(table: UnitTable, base: UnitTable) -> dict[str, float] | None:
    """Mean difference of the units' held-out IoU to another table of the same units, and its standard error."""
    if table.held_out_scores is None or base.held_out_scores is None:
        return None
    differences = table.held_out_scores - base.held_out_scores
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5
    return {"mean": round(float(differences.mean()), 5), "standard error": round(error, 5)}


def rotation(
    scenes: int,
    photographs: int,
    names: Sequence[str] = (*EMBEDDED, ALEXNET, "resnet18"),
    seeds: Sequence[int] = (0, 1, 2),
) -> dict[str, Any]:
    """Units rotated from not at all to fully."""
    return {
        "networks": [
            turned_units(name, photographs if name in REAL else scenes, seeds) for name in known(names)
        ]
    }


def pictures(scenes: int, photographs: int, names: Sequence[str] = (*EMBEDDED, "resnet18")) -> dict[str, Any]:
    """Pictures turned with their labels."""
    return {
        "networks": [turned_pictures(name, photographs if name in REAL else scenes) for name in known(names)]
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "anchor": lambda: anchor(500, 400),
    "depth": lambda: depth(1000, 720),
    "random": lambda: random_weights(1000, 720),
    "rotation": lambda: rotation(1000, 720),
    "pictures": lambda: pictures(500, 300),
    "training": trainings,
}


def main() -> None:
    """Measure the parts asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    unknown = [part for part in given.parts if part not in PARTS]
    if unknown:
        parser.error(f"Expected parts of {', '.join(PARTS)}, got {unknown[0]!r}.")
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    for part in given.parts or PARTS:
        began = time.process_time()
        found = PARTS[part]()
        spent = round((time.process_time() - began) / 60, 1)
        write_json(
            given.out / f"dissection-{part}.json",
            {**found, "metadata": kit.metadata(**{"processor minutes": spent})},
        )
        print(part, spent, "processor minutes", flush=True)


if __name__ == "__main__":
    main()
