"""The tables of ``results/dissection.md``, each from one file that ``studies/dissection.py`` wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from kit import minus, number, percent, table

Found = Mapping[str, Any]
LOW, HIGH = ("color", "texture", "material"), ("part", "object", "scene")
UNIQUE = {"unique": "released", "unique top": "top label", "held out unique": "held out"}
PUBLISHED = {  # unique detectors of the last layers, released rule
    "ImageNet": {"AlexNet": 61, "VGG16": 119, "GoogLeNet": 136, "ResNet50": 251, "ResNet152": 242},
    "random weights": {"AlexNet": 2},
}
REMOVED = 0.8  # of the unique detectors, published for a full rotation


def share(layer: Found) -> float:
    """Of the layer's units, those that are detectors."""
    return float(layer["detectors"] / layer["units"])


def high(layer: Found, key: str = "detectors") -> float | None:
    """Of the detectors, those of a part, an object or a scene; None without detectors."""
    counts = {name: entry[key] for name, entry in layer["categories"].items()}
    total = sum(counts.values())
    return sum(counts.get(name, 0) for name in HIGH) / total if total else None


def removed(layer: Found, key: str = "unique") -> list[float]:
    """Of the unique detectors of a layer as it is, the part a full rotation removes: one number per seed."""
    none = next(turn for turn in layer["turns"] if turn["alpha"] == 0)[key]
    return [1 - turn[key] / none for turn in layer["turns"] if turn["alpha"] == 1 and none]


def mean(values: Sequence[float]) -> float | None:
    """None of nothing."""
    return sum(values) / len(values) if values else None


def spread(values: Sequence[float], digits: int = 0, scale: float = 1, unit: str = "") -> str:
    """Mean, and in brackets the least and greatest."""
    if not values:
        return "–"
    texts = [f"{scale * value:.{digits}f}" for value in (mean(values) or 0.0, min(values), max(values))]
    return minus(f"{texts[0]}{unit} [{texts[1]}, {texts[2]}]")


def by_category(layer: Found, names: Sequence[str]) -> list[str]:
    """Detectors / those on the held-out pictures, per category."""
    cells = [layer["categories"].get(name) for name in names]
    return ["–" if cell is None else f"{cell['detectors']} / {cell.get('held out', '–')}" for cell in cells]


def depth(found: Found) -> str:
    """Every stage of every network."""
    names = [*LOW, *HIGH]
    rows = [
        [
            network["network"], f"`{layer['layer']}`", layer["units"], f"{layer['detectors']} ({percent(share(layer))})",
            number(layer["by chance"], 1), layer["held out"], layer["unique"], layer["held out unique"],
            *by_category(layer, names),
        ]
        for network in found["networks"]
        for layer in network["layers"]
    ]  # fmt: skip
    head = [
        "network",
        "layer",
        "units",
        "detectors",
        "by chance",
        "held out",
        "unique",
        "held out unique",
        *names,
    ]
    return table(head, rows)


def networks(found: Found) -> str:
    """The last stages side by side, with what was published of last layers."""
    rows = [
        [f"published, {name} on {training}", "–", "–", "–", "–", "–", "–", count, "–", "–"]
        for training, counts in PUBLISHED.items()
        for name, count in counts.items()
    ]
    for network in found["networks"]:
        layer = network["layers"][-1]
        rows.append(
            [
                f"ours, {network['network']} `{layer['layer']}`", network["concepts"]["name"], layer["units"],
                f"{layer['detectors']} ({percent(share(layer))})", number(layer["by chance"], 1), layer["above chance"],
                layer["held out"], layer["unique"], layer["unique top"], layer["held out unique"],
            ]
        )  # fmt: skip
    head = (
        "network", "concepts", "units", "detectors", "by chance", "above chance", "held out", "unique, released",
        "unique, top label", "unique, held out",
    )  # fmt: skip
    return table(head, rows)


def rotation(found: Found) -> str:
    """Unique detectors by how far the units are rotated, mean and extremes over the seeds; beside the layer's name its
    `dissection_turning.dimensions`."""
    alphas = sorted({turn["alpha"] for turn in found["networks"][0]["layers"][0]["turns"]})
    rows = []
    for network in found["networks"]:
        for layer in network["layers"]:
            name = f"{network['network']} `{layer['layer']}` ({layer['turns'][0]['units']}, {layer['dimensions']:.0f})"
            rows.append([name, "detectors", *turned(layer, alphas, "detectors"), "–"])
            for key, word in UNIQUE.items():
                lost = spread(removed(layer, key), scale=100, unit=" %")
                rows.append([name, f"unique, {word}", *turned(layer, alphas, key), lost])
    shown = [f"α = {alpha:g}" for alpha in alphas]
    return table(["layer (units, directions)", "", *shown, "removed by α = 1"], rows)


def turned(layer: Found, alphas: Sequence[float], key: str) -> list[str]:
    """One cell for each α."""
    cells = []
    for alpha in alphas:
        values = [turn[key] for turn in layer["turns"] if turn["alpha"] == alpha]
        cells.append(spread(values) if len(values) > 1 else number(values[0]))
    return cells


def pictures(found: Found) -> str:
    """Detectors when pictures are turned with their labels."""
    rows = []
    for network in found["networks"]:
        for layer in network["layers"]:
            name = [network["network"], f"`{layer['layer']}`"]
            whole = layer["whole picture"]
            rows.append(
                [*name, "0°, whole", whole["detectors"], whole["held out"], whole["unique"], "–", "–", "–"]
            )
            rows += [
                [
                    *name, f"{turn['angle']:g}°", turn["detectors"], turn["held out"], turn["unique"],
                    turn["still detect it"], turn["still labeled so"], number(turn["mean iou with label"], 4),
                ]
                for turn in layer["angles"]
            ]  # fmt: skip
    head = (
        "network", "layer", "angle", "detectors", "held out", "unique", "still detect their label of 0°",
        "still have it as label", "mean IoU with it",
    )  # fmt: skip
    return table(head, rows)


def random_weights(found: Found, trained: Found) -> str:
    """Fresh weights of the first seed beside trained ones."""
    learned = {network["network"]: network["layers"] for network in trained["networks"]}
    rows = []
    for network in found["networks"]:
        if network["seed"]:
            continue
        for layer, other in zip(network["layers"], learned[network["network"]], strict=True):
            rows.append(
                [
                    network["network"], f"`{layer['layer']}`", layer["units"],
                    *(
                        f"{layer[key]} / {other[key]}"
                        for key in ("detectors", "above chance", "held out", "unique", "unique top", "held out unique")
                    ),
                    f"{number(layer['by chance'], 1)} / {number(other['by chance'], 1)}",
                    f"{number(layer['mean held-out iou'], 4)} / {number(other['mean held-out iou'], 4)}",
                ]
            )  # fmt: skip
    head = (
        "network", "layer", "units", "detectors", "above chance", "held out", "unique, released", "unique, top label",
        "unique, held out", "by chance", "mean held-out IoU",
    )  # fmt: skip
    return table(head, rows)


def checkpoints(found: Found) -> str:
    """Detectors on the way of a training, stage by stage."""
    rows = []
    for point in found["checkpoints"]:
        last = point["layers"][-1]
        rows.append(
            [
                point["step"], percent(point["accuracy"]),
                *(f"{layer['detectors']} / {layer['held out']}" for layer in point["layers"]),
                last["unique"], last["held out unique"], number(last["mean held-out iou"], 4),
            ]
        )  # fmt: skip
    layers = [f"`{layer['layer']}`" for layer in found["checkpoints"][0]["layers"]]
    return table(["step", "accuracy", *layers, "last: unique", "unique, held out", "mean held-out IoU"], rows)


def widths(found: Found) -> str:
    """Networks of several widths after the same training."""
    rows = []
    for entry in found["widths"]:
        layer = entry["layers"][-1]
        rows.append(
            [
                f"× {entry['factor']:g}", entry["seed"], layer["units"], percent(entry["accuracy"]),
                f"{layer['detectors']} ({percent(share(layer))})", number(layer["by chance"], 1), layer["held out"],
                layer["unique"], layer["unique top"], layer["held out unique"],
            ]
        )  # fmt: skip
    head = (
        "width", "seed", "units of the last stage", "accuracy", "detectors", "by chance", "held out", "unique, released",
        "unique, top label", "unique, held out",
    )  # fmt: skip
    return table(head, rows)


def anchors(found: Found) -> str:
    """The same dissection with cells placed in three ways; the highest of a layer in bold."""
    keys = ("detectors", "held out", "mean iou", "mean held-out iou")
    rows = []
    for _, group in groupby(found["networks"], key=lambda entry: entry["network"]):
        runs = list(group)
        for layers in zip(*(run["layers"] for run in runs), strict=True):
            best = max(layer["mean held-out iou"] for layer in layers)
            cells = [
                " · ".join(number(layer[key], 0 if isinstance(layer[key], int) else 4) for key in keys)
                for layer in layers
            ]
            cells = [
                f"**{cell}**" if layer["mean held-out iou"] == best else cell
                for cell, layer in zip(cells, layers, strict=True)
            ]
            against = [difference(layer["against effective"]) for layer in layers[1:]]
            rows.append([runs[0]["network"], f"`{layers[0]['layer']}`", layers[0]["units"], *cells, *against])
    names = list(dict.fromkeys(run["anchor"] for run in found["networks"]))
    return table(["network", "layer", "units", *names, *(f"{name} − {names[0]}" for name in names[1:])], rows)


def difference(found: Found | None) -> str:
    """In thousandths, with its standard error."""
    if found is None:
        return "–"
    return minus(f"{1000 * found['mean']:+.1f} ± {1000 * found['standard error']:.1f}")


def apart(found: Found) -> dict[str, tuple[int, int]]:
    """At how many layers an anchor is above, and below, effective by more than two standard errors."""
    counts: dict[str, tuple[int, int]] = {}
    for run in found["networks"]:
        if run["anchor"] != "effective":
            pairs = [layer["against effective"] for layer in run["layers"] if layer["against effective"]]
            above, below = counts.get(run["anchor"], (0, 0))
            above += sum(pair["mean"] > 2 * pair["standard error"] for pair in pairs)
            below += sum(pair["mean"] < -2 * pair["standard error"] for pair in pairs)
            counts[run["anchor"]] = above, below
    return counts


def highest(found: Found) -> dict[str, int]:
    """At how many layers each anchor has the highest mean IoU on held-out pictures; equals count for each."""
    wins = dict.fromkeys((run["anchor"] for run in found["networks"]), 0)
    for _, group in groupby(found["networks"], key=lambda entry: entry["network"]):
        runs = list(group)
        for layers in zip(*(run["layers"] for run in runs), strict=True):
            best = max(layer["mean held-out iou"] for layer in layers)
            for run, layer in zip(runs, layers, strict=True):
                wins[run["anchor"]] += layer["mean held-out iou"] == best
    return wins
