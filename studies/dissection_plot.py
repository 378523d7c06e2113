"""The figure of the study `dissection`: depth, rotated units, turned pictures, random weights, training, width."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

from matplotlib.figure import Figure

from dissection_tables import HIGH, LOW, REMOVED, mean

# Okabe & Ito 2008: told apart also by those who do not see all colors; marker and line style say it once more
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", (0, (5, 2)), "-.", (0, (1.5, 1.5)), (0, (7, 2, 2, 2)), (0, (3, 1)))
MARKERS = "osD^vP"
GRAY = "#6b6b6b"
Found = Mapping[str, Any]


def plot(parts: Mapping[str, Found]) -> bytes:
    """The figure as PNG, a panel for every experiment."""
    figure = Figure(figsize=(13.5, 7.6), dpi=120, layout="constrained")
    figure.get_layout_engine().set(hspace=0.06, wspace=0.04)  # type: ignore[union-attr, call-arg]
    panels: list[tuple[str, str, Callable[[Any, Found], None]]] = [
        ("depth", "Depth: units above 0.04 on held-out pictures", _depth),
        ("depth", "Depth: categories of the detectors", _categories),
        ("rotation", "Units rotated: unique detectors, last stage", _rotation),
        ("pictures", "Pictures turned: detectors that keep their label", _pictures),
        ("training", "Training: plain network, last stage", _training),
        ("training", "Width: plain networks, last stage", _widths),
    ]
    for place, (part, title, draw) in enumerate(panels):
        axes = figure.add_subplot(2, 3, place + 1)
        axes.set_title(title, fontsize=9.5, loc="left", weight="bold")
        draw(axes, parts[part])
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#eeeeee", linewidth=0.8)
        axes.set_axisbelow(True)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _style(place: int) -> dict[str, Any]:
    return {
        "color": COLORS[place % 6], "linestyle": LINES[place % 6], "marker": MARKERS[place % 6], "markersize": 4.5,
        "linewidth": 1.6,
    }  # fmt: skip


def _named(axes: Any, x: str, y: str, **where: Any) -> None:
    axes.set_xlabel(x, fontsize=8.5)
    axes.set_ylabel(y, fontsize=8.5)
    axes.legend(fontsize=7.5, frameon=False, **where)


def _depth(axes: Any, found: Found) -> None:
    for place, network in enumerate(found["networks"]):
        shares = [100 * layer["held out"] / layer["units"] for layer in network["layers"]]
        depth = [k / (len(shares) - 1) for k in range(len(shares))]
        axes.plot(depth, shares, label=network["network"], **_style(place))
    axes.set_ylim(bottom=0)
    axes.set_xticks([0, 1], ["first stage", "last stage"])
    _named(axes, "", "% of units")


def _categories(axes: Any, found: Found) -> None:
    """Bars of every stage, stacked by category, as shares of the stage's detectors."""
    names = [*LOW, *HIGH]
    shades = ("#E69F00", "#F0C75E", "#F7E3B0", "#9CC9E8", "#3A8FC4", "#0B4F79")
    at, ticks = 0.0, []
    for network in found["networks"]:
        middle = at + (len(network["layers"]) - 1) / 2
        for layer in network["layers"]:
            total, low = sum(entry["detectors"] for entry in layer["categories"].values()), 0.0
            for name, shade in zip(names, shades, strict=True):
                part = 100 * layer["categories"].get(name, {"detectors": 0})["detectors"] / max(total, 1)
                axes.bar(at, part, 0.85, low, color=shade, label=name if not at else None)
                low += part
            at += 1
        ticks.append((middle, network["network"]))
        at += 0.8
    axes.set_xticks(
        [x for x, _ in ticks],
        [name.replace("scenes-", "scenes-\n").replace("net1_0", "-\nnet") for _, name in ticks],
    )
    axes.set_ylim(0, 100)
    _named(
        axes, "stages from left to right", "% of detectors", ncols=6, loc="upper center",
        bbox_to_anchor=(0.5, -0.2), columnspacing=0.8, handlelength=1.0,
    )  # fmt: skip
    axes.tick_params(axis="x", labelsize=7)


def _rotation(axes: Any, found: Found) -> None:
    for place, network in enumerate(found["networks"]):
        turns = network["layers"][-1]["turns"]
        alphas = sorted({turn["alpha"] for turn in turns})
        whole = mean([turn["held out unique"] for turn in turns if turn["alpha"] == 0]) or 1
        parts = [
            [100 * turn["held out unique"] / whole for turn in turns if turn["alpha"] == alpha]
            for alpha in alphas
        ]
        means = [mean(values) or 0.0 for values in parts]
        below = [middle - min(values) for middle, values in zip(means, parts, strict=True)]
        above = [max(values) - middle for middle, values in zip(means, parts, strict=True)]
        axes.errorbar(alphas, means, [below, above], capsize=2, label=network["network"], **_style(place))
    axes.plot(
        [0, 1],
        [100, 100 * (1 - REMOVED)],
        color=GRAY,
        marker="*",
        linestyle="none",
        label="published, both ends",
    )
    axes.set_ylim(bottom=0)
    _named(axes, "α (0 as trained, 1 fully rotated)", "% of the unique held-out detectors")


def _pictures(axes: Any, found: Found) -> None:
    for place, network in enumerate(found["networks"]):
        layer = network["layers"][-1]
        whole = layer["angles"][0]["detectors"] or 1
        axes.plot(
            [turn["angle"] for turn in layer["angles"]],
            [100 * turn["still labeled so"] / whole for turn in layer["angles"]],
            label=network["network"],
            **_style(place),
        )
    axes.set_ylim(0, 105)
    axes.set_xticks([0, 45, 90, 180])
    _named(axes, "angle in degrees", "% of the detectors of 0°")


def _training(axes: Any, found: Found) -> None:
    points = found["checkpoints"]
    steps = [point["step"] for point in points]
    units = points[0]["layers"][-1]["units"]
    curves = {
        "accuracy": [100 * point["accuracy"] for point in points],
        "units that are detectors": [100 * point["layers"][-1]["detectors"] / units for point in points],
        "the same, on held-out pictures": [100 * point["layers"][-1]["held out"] / units for point in points],
    }
    for place, (name, values) in enumerate(curves.items()):
        axes.plot(steps, values, label=name, **_style(place))
    axes.set_ylim(0, 105)
    _named(axes, "step", "%")


def _widths(axes: Any, found: Found) -> None:
    keys = {"unique top": "unique detectors (top label)", "held out unique": "the same, on held-out pictures"}
    for place, (key, name) in enumerate(keys.items()):
        points = [(entry["layers"][-1]["units"], entry["layers"][-1][key]) for entry in found["widths"]]
        style = _style(place) | {"linestyle": "none"}
        axes.plot([units for units, _ in points], [count for _, count in points], label=name, **style)
    sizes = sorted({entry["layers"][-1]["units"] for entry in found["widths"]})
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(0, 1.3 * max(entry["layers"][-1][key] for entry in found["widths"] for key in keys) + 1)
    _named(axes, "units of the last stage", "concepts")
