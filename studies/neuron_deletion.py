"""Which ranking of units finds those that one class needs and the others do not? Deletion of the most important units.

For every class the first n units of its ranking are deleted (set to zero; the chosen CGNIS also to their mean), n from 1 % to
50 % of the layer, and the accuracy on the class's own pictures and on the other classes' is measured. *Selectivity* is the
drop of the own accuracy less the drop of the others'; a ranking's area is its mean over the deleted share.

Rankings come from one part of the training pictures; which CGNIS to use (arm, and weight of the other classes) is chosen on
another part of them, for every layer; all that is reported is measured on test pictures. Real photographs are the ImageNet
animals of the assets, cropped to the object's box. Accuracy is over all classes of the network ("full"), and among the
study's own ("few"). Deletion runs in bfloat16, rankings in float32. 95 % intervals: bootstrap over classes and pictures.

    pellucid study neuron-deletion                       all networks, one file each in studies/results/neuron-deletion/
    pellucid study neuron-deletion --networks resnet18   one of them; pretrained ones need PELLUCID_ASSETS
    pellucid study neuron-deletion --report              the page and the figure from the files that are there
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import kit

sys.path.insert(0, str(Path(__file__).parent))

from neuron_deletion_measures import (
    Curves,
    Ranker,
    Scored,
    area,
    cost_of,
    curves,
    draws,
    ranking,
    rates,
    selective,
    steps,
)
from neuron_deletion_networks import LAYERS, PARTS, Case, cases
from pellucid.core.storage import write_json

RESULTS = Path(__file__).parent / "results" / "neuron-deletion"
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
ARMS = {
    f"{arm}, others × {weight:g}": Ranker("cgnis", (("arm", arm), ("against", "rest")), "rest", weight)
    for arm in ("product", "elementwise", "signed")
    for weight in (1.0, 4.0)
} | {
    f"{arm}, temperature {warmth:g}": Ranker("cgnis", (("arm", arm), ("against", "rest")), "rest", temperature=warmth)
    for arm in ("elementwise", "signed")
    for warmth in (0.05, 0.1, 0.25)
}  # fmt: skip
WEIGHT = 1.0  # of the other classes, for every criterion but CGNIS
ONE_PASS = {
    "activation": Ranker("activation"),
    "gradient": Ranker("gradient"),
    "gradient × activation": Ranker("gradient-x-activation"),
    "relevance": Ranker("relevance"),
}
PLAIN = {
    f"cgnis {arm}": Ranker("cgnis", (("arm", arm),)) for arm in ("product", "elementwise", "backpropagated")
}
CONTROLS = {f"random {seed}": Ranker("random", (("seed", seed),)) for seed in range(3)}
TIMES = 1000


def costly(case: Case, cheap: bool, fewer: int) -> dict[str, Ranker]:
    """Rankings that take many runs of the tail; only the most needed ones where that is dear."""
    images = None if cheap else fewer
    found = {
        "ablation": Ranker("ablation", images=images),
        "ablation, compared": Ranker("ablation", others=WEIGHT, images=images),
    }
    if cheap:
        found["ablation of probability"] = Ranker("ablation", (("effect", "probability"),))
        found["ablation against rest, compared"] = Ranker("ablation", (), "rest", WEIGHT)
        found["ablation against rest, reordered"] = Ranker("ablation", (), "rest", temperature=0.1)
        found["shapley"] = Ranker("shapley", (("permutations", 4),), images=fewer)
        found["integrated gradients"] = Ranker("integrated-gradients", (("steps", 8),))
    if case.units <= 128:
        found["conductance"] = Ranker("conductance", (("steps", 8),), images=fewer)
    return found


def measured(case: Case, options: argparse.Namespace, cheap: bool) -> dict[str, Any]:
    """Choose a CGNIS on training pictures, then measure every ranking on test pictures."""
    counts = steps(case.units, SHARES)
    known: dict[Any, Scored] = {}
    x = [count / case.units for count in counts]
    zero = torch.zeros(case.units)

    def run(part: str, ranker: Ranker, own: int, each: int, reference: Tensor = zero) -> Curves:
        return curves(case, part, ranking(case, ranker, known), counts, own, each, reference)

    tuning = {}
    for title, ranker in ARMS.items():
        own, others = rates(run("choose", ranker, options.choose, options.each), "full")
        tuning[title] = float(area(selective(own, others), x).mean())
    best = max(tuning, key=lambda title: tuning[title])
    rankers = {
        **ONE_PASS, **PLAIN, "cgnis": ARMS[best],
        "activation, compared": Ranker("activation", others=WEIGHT),
        "gradient × activation, compared": Ranker("gradient-x-activation", others=WEIGHT),
        **costly(case, cheap, options.fewer), **CONTROLS,
    }  # fmt: skip
    if cheap:
        rankers["relevance, compared"] = Ranker("relevance", others=WEIGHT)
    found: dict[str, Curves] = {}
    for title, ranker in rankers.items():
        found[title] = run("test", ranker, options.test, options.each)
    mean = case.parts["rank"].activation.mean((0, 2, 3))
    for title in ("cgnis", "gradient × activation", "random 0") if cheap else ("cgnis",):
        found[f"{title}, to the mean"] = run("test", rankers[title], options.test, options.each, mean)
    rows = _rows(found, x, options.draws)
    for title, row in rows.items():
        ranker = rankers[title.removesuffix(", to the mean")]
        row |= {
            "cost": cost_of(case, ranker),
            "others": ranker.others,
            "images": ranker.images,
            "seconds": known[ranker.key].seconds,
        }
    return {
        "network": case.name, "layer": case.layer, "units": case.units, "behind": case.share, "counts": counts,
        "classes": list(case.classes), "best": best, "tuning": tuning, "rows": rows,
        "pictures": {part: len(case.parts[part].labels) for part in PARTS},
        "measured": {"own": options.test, "others": options.each},
    }  # fmt: skip


def _rows(found: dict[str, Curves], x: Sequence[float], times: int) -> dict[str, dict[str, Any]]:
    """Curves, areas, intervals; and differences from and ratios to the chosen CGNIS, in the same draws."""
    rows: dict[str, dict[str, Any]] = {title: {} for title in found}
    for kind in ("full", "few"):
        drawn = draws(found, kind, times)
        chosen = drawn["cgnis"]["selectivity"]
        mine = area(chosen, x)
        for title, one in found.items():
            own, others = rates(one, kind)
            steps_of, drop = drawn[title]["selectivity"], drawn[title]["own"]
            theirs = area(steps_of, x)
            rows[title][kind] = {
                "own": own.mean(0).tolist(),
                "others": others.mean(0).tolist(),
                "selectivity": selective(own, others).mean(0).tolist(),
                "selectivity_interval": [kit.percentile_interval(step) for step in steps_of.T],
                "own_drop_interval": [kit.percentile_interval(step) for step in drop.T],
                "area": float(area(selective(own, others), x).mean()),
                "area_interval": kit.percentile_interval(theirs),
                "cgnis_lead": float((mine - theirs).mean()),
                "cgnis_lead_interval": kit.percentile_interval(mine - theirs),
                "cgnis_lead_steps": (chosen - steps_of).mean(0).tolist(),
                "cgnis_lead_steps_interval": [
                    kit.percentile_interval(step) for step in (chosen - steps_of).T
                ],
                "cgnis_ratio_interval": kit.percentile_interval(
                    mine / np.where(np.abs(theirs) > 1e-9, theirs, np.nan)
                ),
            }
    return rows


def metadata(options: argparse.Namespace) -> dict[str, Any]:
    """What the numbers depend on."""
    code = Path(__file__).parent.glob("neuron_deletion*.py")
    return kit.metadata(code, options, leave=("report", "networks", "layers"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, network after network, layer after layer; what is measured already stays."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=list(LAYERS), choices=list(LAYERS))
    parser.add_argument(
        "--layers", nargs="+", help="of these networks; by default the last stage and an earlier one"
    )
    parser.add_argument("--rank", type=int, default=16, help="ranking pictures of every class")
    parser.add_argument("--choose", type=int, default=12, help="pictures of every class to choose a CGNIS on")
    parser.add_argument("--test", type=int, default=30, help="test pictures of every class")
    parser.add_argument(
        "--each", type=int, default=3, help="test pictures of each other class, for every class"
    )
    parser.add_argument(
        "--fewer", type=int, default=3, help="ranking pictures of every class for dear criteria"
    )
    parser.add_argument("--draws", type=int, default=TIMES, help="of the bootstrap")
    parser.add_argument("--again", action="store_true", help="measure anew what is there already")
    parser.add_argument("--report", action="store_true", help="only write the page and the figure")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in () if options.report else options.networks:
        missing = [
            layer
            for layer in options.layers or LAYERS[name]
            if options.again or not _file(options.out, name, layer).exists()
        ]
        counts = {"rank": options.rank, "choose": options.choose, "test": options.test}
        for case in cases(name, missing, counts) if missing else ():
            cheap = case.share * case.units < 40  # ablation of one picture costs less than 40 forward passes
            facts = metadata(options)
            write_json(
                _file(options.out, name, case.layer),
                kit.plain(measured(case, options, cheap)) | {"metadata": facts},
            )
            print(f"{name} {case.layer}: {_file(options.out, name, case.layer)}", flush=True)
    if options.report or options.out == RESULTS:
        from neuron_deletion_report import write

        write(options.out)
    return 0


def _file(folder: Path, name: str, layer: str) -> Path:
    return folder / f"{name}-{layer}.json"


if __name__ == "__main__":
    sys.exit(main())
