"""When is a map called better than a center blob, and how often is a map that knows nothing called so?

The verdict of `pellucid.explanation.faithfulness` on maps of the deepest stage by the default method and LayerCAM, and on blurred
noise in their place; how far the advantage in its few steps is from that in many; and how far the sanity check differs
between single random networks. Thresholds of ``wording.BETTER`` beside the one in use show what it costs and buys.

Embedded networks see validation scenes, the confounded ones with the backgrounds they know; ResNet-18 sees photographs
where ``PELLUCID_ASSETS`` names the folder of weights and photographs.

Run: ``python studies/faithfulness.py [--scenes 40] [--photographs 24]``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import kit
import pellucid as pl
from pellucid.attribution.method import DEFAULT as DEFAULT_METHOD
from pellucid.data.preprocess import to_batch
from pellucid.evaluation.controls import center_gaussian, random_blurred
from pellucid.evaluation.curves import InsertionDeletion, curves
from pellucid.evaluation.randomization import sanity
from pellucid.explanation.faithfulness import STEPS, verdict_of
from pellucid.speech.wording import BETTER
from pellucid.world import SceneDataset
from pellucid.zoo.embedded import NAMES
from shallow_cam import PRETRAINED, assets, network

RESULTS = Path(__file__).parent / "results"
METHODS = (DEFAULT_METHOD, "layercam")
NOISE = "blurred noise"
MANY = 48  # steps
THRESHOLDS = (0.05, 0.1, 0.15, 0.2)
DRAWS = 6  # random networks


def pictures(net: pl.Network, name: str, count: int, split: str = "val") -> Tensor:
    """Normalized scenes, or photographs evenly taken from all of them, for networks trained on such."""
    if name in PRETRAINED:
        files = sorted((assets() / "images" / "imagenet_sample").glob("*.jpg"))
        chosen = [str(files[k * len(files) // count]) for k in range(count)]
        return to_batch(chosen, net.preprocess)[0]
    data = SceneDataset(split, count, confounding=1.0 if name.endswith("confounded") else 0.0)
    return net.preprocess.normalize(torch.stack([data[k][0] for k in range(count)]))


def advantages(net: pl.Network, batch: Tensor, target: pl.Target, maps: Tensor, steps: int) -> Tensor:
    """Advantage over the center of every map, [maps batch]; NaN where nothing moves the network."""
    size = (int(batch.shape[2]), int(batch.shape[3]))
    center = center_gaussian(size).expand(1, *batch.shape[:1], *size)
    protocol = InsertionDeletion(preset="quick", steps=steps)
    found = curves(net, batch, torch.cat([maps, center]), target, protocol, progress=False)

    def one(place: int, image: int) -> float:
        drawn = {
            who: {kind: getattr(found, kind)[at, image].tolist() for kind in ("deletion", "insertion")}
            for who, at in (("map", place), ("center", -1))
        }
        advantage = verdict_of(drawn, "probability")[2]
        return float("nan") if advantage is None else advantage

    return torch.tensor([[one(place, image) for image in range(len(batch))] for place in range(len(maps))])


def measured(name: str, count: int, checked: int) -> list[dict[str, Any]]:
    """One row per map of one network; many steps and draws for the first ``checked`` images only."""
    net = network(name)
    batch, layer = pictures(net, name, count), net.default_layers[-1]
    with torch.no_grad():
        target = net.resolve_target(None, net(batch))
    drawn = [
        pl.attribute(net, batch, method, layer, target, normalized=True, progress=False)[layer].upsample()
        for method in METHODS
    ]
    size = (int(batch.shape[2]), int(batch.shape[3]))
    maps = torch.stack([*(one.float() for one in drawn), random_blurred(len(batch), size, seed=1)])
    few = advantages(net, batch, target, maps, STEPS)
    many = advantages(net, batch[:checked], target[:checked], maps[:, :checked], MANY)
    return [
        {
            "network": name,
            "images": count,
            "map": who,
            "flat": int(few[place].isnan().sum()),
            "better from": {f"{one:.2f}": share(few[place] >= one, few[place]) for one in THRESHOLDS},
            "worse": share(few[place] <= -BETTER, few[place]),
            "error of few steps": [round(float(e), 4) for e in (few[place, :checked] - many[place]).abs()],
            "deviation between draws": None if who == NOISE else deviation(net, batch[:checked], target[:checked], who),
        }
        for place, who in enumerate((*METHODS, NOISE))
    ]  # fmt: skip


def share(said: Tensor, advantage: Tensor) -> float:
    """Share of the images that are not flat."""
    return round(float(said[~advantage.isnan()].float().mean()), 3)


def deviation(net: pl.Network, batch: Tensor, target: pl.Target, method: str) -> float:
    """Standard deviation between single draws of the sanity check, mean over the images."""
    layer = net.default_layers[-1]
    alike = torch.stack([sanity(net, batch, target, method, layer, seed, draws=1) for seed in range(DRAWS)])
    return round(float(alike.std(0).nanmean()), 3)


def quantile(rows: list[dict[str, Any]]) -> float:
    """95 % of the pictures are closer than this to many steps."""
    errors = torch.tensor([error for row in rows for error in row["error of few steps"]])
    return round(float(errors[~errors.isnan()].quantile(0.95)), 3)


def table(rows: list[dict[str, Any]], over_all: float) -> str:
    """All rows in Markdown."""
    lines = [
        "# Better than a center blob",
        "",
        f"Share of images, flat ones left out, in which a map of the deepest stage is called better, by threshold (in use: "
        f"{BETTER}), and worse; distance of the advantage in {STEPS} steps from that in {MANY}, below which 95 % of the pictures "
        f"are (over all rows: {over_all:.3f}); standard deviation of the sanity check's rank correlation between single random "
        "networks. By `python studies/faithfulness.py`.",
        "",
    ]
    head = [
        "network", "images", "flat", "map", *(f"≥ {threshold:.2f}" for threshold in THRESHOLDS), f"≤ −{BETTER:.2f}",
        f"error of {STEPS} steps, 95 %", "deviation between draws",
    ]  # fmt: skip
    cells = []
    for row in rows:
        shares = [kit.percent(share) for share in (*row["better from"].values(), row["worse"])]
        between = kit.number(row["deviation between draws"], 2)
        about = (row["network"], row["images"], row["flat"], row["map"])
        cells.append([*about, *shares, f"{quantile([row]):.3f}", between])
    return "\n".join(lines) + "\n" + kit.table(head, cells) + "\n"


def main() -> None:
    """Measure every network; write JSON and Markdown."""
    parser = kit.parser(__doc__)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--photographs", type=int, default=24)
    parser.add_argument("--checked", type=int, default=16, help="images measured with many steps and draws")
    options = parser.parse_args()
    rows = []
    for name in (*NAMES, *(["resnet18"] if "PELLUCID_ASSETS" in os.environ else [])):
        count = options.photographs if name in PRETRAINED else options.scenes
        rows += measured(name, count, min(options.checked, count))
        print(name, flush=True)
    metadata = kit.metadata() | {
        "steps": STEPS,
        "many": MANY,
        "checked": options.checked,
        "draws": DRAWS,
        "threshold in use": BETTER,
        "error of few steps, 95 %": quantile(rows),
    }
    text = table(rows, metadata["error of few steps, 95 %"])
    kit.write(options.out, "faithfulness", {"rows": rows, "metadata": metadata}, text)


if __name__ == "__main__":
    main()
