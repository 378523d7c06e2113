"""Which share of a network must be random to tell a map of the network from a map of the picture, and which methods pass?

Rank correlation of a map with that of copies of the network (`pellucid.evaluation.randomization.sanity`) in which, counted
from the output, a quarter, half or three quarters of the layers, all but the first, or all are random. Methods with a
map per stage at the first, the middle and the last one; Shallow-CAM also without its smoothing, since smooth maps are more
alike. Mean over images and random networks; and the share of images whose map is called insensitive with the upper half
random, as a page would say it.

Embedded networks see test scenes; SqueezeNet 1.0 and ResNet-18 see photographs where ``PELLUCID_ASSETS`` names the folder of
weights and photographs.

Run: ``python studies/sanity.py [--scenes 12] [--photographs 4]``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

import kit
import pellucid as pl
from faithfulness import pictures
from pellucid.attribution import Method
from pellucid.core.layers import INPUT
from pellucid.core.registry import create
from pellucid.evaluation.randomization import INSENSITIVE, RandomCopy, sanity
from pellucid.explanation.faithfulness import DRAWS
from shallow_cam import PRETRAINED, network

RESULTS = Path(__file__).parent / "results"
METHODS: dict[str, Method] = {
    "shallow-cam, not smoothed" if parameters else name: create("attribution", name, **parameters)
    for name, parameters in (
        ("shallow-cam", {}), ("shallow-cam", {"smooth": 0.0}), ("layercam", {}), ("gradcam", {}), ("gradcam++", {}),
        ("eigencam", {}), ("guided-backprop", {}),
    )
}  # fmt: skip
EMBEDDED = ("scenes-vgg", "scenes-resnet")
SHARES = {"quarter": 0.25, "half": 0.5, "three quarters": 0.75, "all but the first": 0.0, "all": 1.0}


def measured(name: str, count: int) -> list[dict[str, Any]]:
    """One row per method and stage of one network."""
    net = network(name)
    batch = pictures(net, name, count, split="test")
    with torch.no_grad():
        target = net.resolve_target(None, net(batch))
    layers = len(RandomCopy(net, (int(batch.shape[2]), int(batch.shape[3]))).bundles)
    stages = (net.default_layers[0], net.default_layers[len(net.default_layers) // 2], net.default_layers[-1])
    rows = []
    for title, method in METHODS.items():
        at = (INPUT,) if method.home == "input" else stages
        for layer, heatmap in pl.attribute(
            net, batch, method, at, target, normalized=True, progress=False
        ).items():
            alike = {
                part: sanity(
                    net, batch, target, method, layer, share=share or (layers - 1.5) / layers, draws=DRAWS, heatmap=heatmap
                )
                for part, share in SHARES.items()
            }  # fmt: skip
            half = alike["half"][~alike["half"].isnan()]
            rows.append(
                {
                    "network": name,
                    "images": count,
                    "method": title,
                    "layer": layer,
                    "rank correlation": {
                        part: round(float(found.nanmean()), 3) for part, found in alike.items()
                    },
                    "insensitive": round(float((half >= INSENSITIVE).double().mean()), 3),
                    "without contrast": count - len(half),
                }
            )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """All rows in Markdown."""
    lines = [
        "# Does a map depend on what the network learned?",
        "",
        "Mean rank correlation with maps of copies of the network whose layers, counted from the output, are random to this "
        f"share ({DRAWS} random networks each), and the share of images whose map is called insensitive (from {INSENSITIVE} on, "
        "upper half random). By `python studies/sanity.py`.",
        "",
    ]
    cells = [
        [
            *(row[key] for key in ("network", "images", "method", "layer")),
            *(f"{rank:.2f}" for rank in row["rank correlation"].values()),
            kit.percent(row["insensitive"]),
        ]
        for row in rows
    ]
    head = ("network", "images", "method", "layer", *SHARES, "insensitive")
    return "\n".join(lines) + "\n" + kit.table(head, cells) + "\n"


def main() -> None:
    """Measure every network; write JSON and Markdown."""
    parser = kit.parser(__doc__)
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--photographs", type=int, default=4)
    options = parser.parse_args()
    rows = []
    for name in (*EMBEDDED, *(["squeezenet1_0", "resnet18"] if "PELLUCID_ASSETS" in os.environ else [])):
        rows += measured(name, options.photographs if name in PRETRAINED else options.scenes)
        print(name, flush=True)
    metadata = kit.metadata() | {"draws": DRAWS, "insensitive from": INSENSITIVE}
    text = table(rows)
    kit.write(options.out, "sanity", {"rows": rows, "metadata": metadata}, text)


if __name__ == "__main__":
    main()
