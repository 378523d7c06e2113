"""A comparison as a picture: bars with intervals at every layer, and below them the mean curves where there are any."""

from __future__ import annotations

import io
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pellucid.commands.comparison import Comparison, Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

# Okabe & Ito 2008: told apart also by those who do not see all colors
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = ("#555555", "#888888", "#aaaaaa", "#c4c4c4")
DASHES = ("--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
MOST_LAYERS = 8  # with curves


def figure(comparison: Comparison) -> bytes | None:
    """The figure as PNG; None where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    curves = list(comparison.first.curves)
    columns = _spread(comparison.layers, MOST_LAYERS)
    width = max(6.4, 1.3 + 2.3 * len(columns)) if curves else max(6.4, 2 + 0.8 * len(comparison.layers))
    drawn = Figure(figsize=(width, 3.4 + 2.1 * len(curves)), dpi=130, layout="constrained")
    grid = drawn.add_gridspec(1 + len(curves), len(columns), height_ratios=[1.35, *([1.0] * len(curves))])
    styles = _styles(comparison)
    axes = drawn.add_subplot(grid[0, :])
    _bars(axes, comparison, styles)
    for row, name in enumerate(curves):
        shared = None
        for column, layer in enumerate(columns):
            shared = drawn.add_subplot(grid[1 + row, column], sharey=shared)
            _curves(shared, comparison, styles, layer, name)
            shared.tick_params(labelleft=column == 0, labelbottom=row + 1 == len(curves))
            shared.set_title(layer if row == 0 else "", fontsize=9)
            shared.set_ylabel(name if column == 0 else "")
            shared.set_xlabel(_axis(comparison) if row + 1 == len(curves) else "", fontsize=8)
    _legend(drawn, axes, comparison)
    if comparison.missing:
        drawn.suptitle(comparison.unfinished, color="#b00020")
    stream = io.BytesIO()
    drawn.savefig(stream, format="png")
    return stream.getvalue()


def _legend(drawn: Any, axes: Any, comparison: Comparison) -> None:
    """Methods first, the baseline before the others, below the whole figure."""
    named = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    controls = {entry.label for entry in comparison.entries if entry.control}
    order = sorted(named, key=lambda label: (label in controls, label != comparison.baseline))
    handles = [named[label] for label in order]
    labels = [f"{label} (control)" if label in controls else label for label in order]
    columns = min(len(labels), max(2, int(drawn.get_figwidth() / 1.9)))
    drawn.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def _spread(layers: Sequence[str], most: int) -> list[str]:
    """All, or evenly chosen ones from first to last."""
    if len(layers) <= most:
        return list(layers)
    return [layers[round(k * (len(layers) - 1) / (most - 1))] for k in range(most)]


def _styles(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Methods in color, controls in grey; controls of no layer are lines."""
    methods = dict.fromkeys(e.label for e in comparison.entries if not e.control)
    styles: dict[str, dict[str, Any]] = {
        label: {"color": COLORS[k % len(COLORS)], "hatch": "" if k < len(COLORS) else "///"}
        for k, label in enumerate(methods)
    }
    lines = dict.fromkeys(e.label for e in comparison.entries if e.control and e.layer is None)
    for k, label in enumerate(lines):
        styles[label] = {"color": GREY[k % len(GREY)], "linestyle": DASHES[k % len(DASHES)]}
    for entry in comparison.entries:
        styles.setdefault(entry.label, {"color": "#dddddd", "hatch": ""})  # a method's map, blurred
    return styles


def _bars(axes: Any, comparison: Comparison, styles: dict[str, dict[str, Any]]) -> None:
    layered = [e for e in comparison.entries if e.layer is not None]
    at = {layer: [e.label for e in layered if e.layer == layer] for layer in comparison.layers}
    wide = 0.8 / max(map(len, at.values()))
    for label, group in groupby(layered, key=lambda e: e.label):
        kept = [(str(e.layer), mean) for e in group if (mean := comparison.means[label, e.layer]).count]
        shifts = [at[layer].index(label) - (len(at[layer]) - 1) / 2 for layer, _ in kept]
        places = [comparison.layers.index(layer) for layer, _ in kept]
        errors = [[m.mean - m.low for _, m in kept], [m.high - m.mean for _, m in kept]]
        axes.bar(
            [place + shift * wide for place, shift in zip(places, shifts, strict=True)],
            [mean.mean for _, mean in kept], wide * 0.94, yerr=errors, label=label,
            ecolor="#333333", error_kw={"elinewidth": 0.9, "capsize": min(3.0, 14 * wide)}, **styles[label],
        )  # fmt: skip
    for entry in comparison.entries:
        mean = comparison.means[entry.label, entry.layer]
        if entry.layer is None and mean.count:
            axes.axhline(mean.mean, label=entry.label, linewidth=1.3, zorder=2.5, **styles[entry.label])
    first = comparison.first
    axes.axhline(0, color="#333333", linewidth=0.6)
    axes.set_xticks(range(len(comparison.layers)), comparison.layers)
    if len(comparison.layers) > 10:
        axes.tick_params(axis="x", rotation=60)
    axes.set_xlim(-0.6, len(comparison.layers) - 0.4)
    axes.set_ylabel(f"{first.main} ({first.better[first.main]} is better)")
    count = len(comparison.images)
    axes.set_title(
        f"{first.metric}: {count} image{'' if count == 1 else 's'}, means with 95 % intervals", fontsize=10
    )
    _plain(axes)


def _curves(
    axes: Any, comparison: Comparison, styles: dict[str, dict[str, Any]], layer: str, name: str
) -> None:
    for entry in comparison.entries:
        if entry.layer in (layer, None):
            curve = entry.measurement.curves[name].nanmean(0).tolist()
            axes.plot(_steps(entry, len(curve)), curve, **_line(entry, styles[entry.label]))
    _plain(axes)


def _axis(comparison: Comparison) -> str:
    return "share of pixels" if "share" in comparison.first.parameters else "step"


def _line(entry: Entry, style: dict[str, Any]) -> dict[str, Any]:
    return {
        "color": "#bbbbbb" if entry.control and entry.layer is not None else style["color"],
        "linestyle": style.get("linestyle", "-"),
        "linewidth": 1.0 if entry.control else 1.6,
        "zorder": 1 if entry.control else 2,
    }


def _steps(entry: Entry, count: int) -> list[float]:
    share = entry.measurement.parameters.get("share")
    return list(share) if share is not None and len(share) == count else list(range(1, count + 1))


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
