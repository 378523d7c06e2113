"""The plot of the study `shallow-cam`: margin over LayerCAM by stage, one panel per network."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from pellucid.evaluation import Interval
from shallow_cam_numbers import BLURRED, MAIN, PUBLISHED, Study, called

# Okabe & Ito 2008: told apart also by those who do not see all colors; the line style says it once more
STYLES: dict[str, dict[str, Any]] = {
    MAIN: {"color": "#0072B2", "marker": "o", "linewidth": 2.4, "zorder": 5},
    BLURRED: {"color": "#6b6b6b", "marker": "s", "linestyle": (0, (5, 2)), "linewidth": 1.5, "zorder": 3},
    "fg-cam": {"color": "#009E73", "marker": "^", "linestyle": "-.", "linewidth": 1.5, "zorder": 4},
    "relevance-cam": {
        "color": "#D55E00",
        "marker": "D",
        "linestyle": (0, (1.5, 1.5)),
        "linewidth": 1.5,
        "zorder": 4,
    },
}
COLUMNS = 4
BAND, PAPER = "#CC79A7", "published"
Curve = dict[int, Interval]


def plot(studies: Sequence[Study]) -> bytes:
    """The figure as PNG: pretrained networks in the first row, embedded ones in the second."""
    rows = [[s for s in studies if s.found["real"]], [s for s in studies if not s.found["real"]]]
    lines = [row[k : k + COLUMNS] for row in rows for k in range(0, len(row), COLUMNS)]
    columns = max(map(len, lines))
    figure = Figure(figsize=(1 + 4 * columns, 0.8 + 3.5 * len(lines)), dpi=130, layout="constrained")
    figure.get_layout_engine().set(hspace=0.06, wspace=0.03)  # type: ignore[union-attr, call-arg]
    grid = figure.add_gridspec(len(lines), columns)
    for row, line in enumerate(lines):
        limits = _limits(line)
        for column, study in enumerate(line):
            axes = figure.add_subplot(grid[row, column])
            _panel(axes, study, limits)
            axes.set_ylabel("margin over LayerCAM (composite × 100)" if column == 0 else "", fontsize=9)
            axes.tick_params(labelleft=column == 0)
    figure.suptitle(
        "Insertion − deletion, margin over LayerCAM at the same stage: mean paired difference, 95 % interval\n"
        "(shallowest stage on the left; shaded: between the least and greatest margin published for ILSVRC2012, by "
        "another protocol)",
        fontsize=10,
    )
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _curves(study: Study) -> dict[str, Curve]:
    """Method → stage → margin, where there is one."""
    found = {
        name: {
            place: margin
            for place, layer in enumerate(study.layers)
            if (margin := study.composite.margin(name, layer)) is not None
        }
        for name in STYLES
    }
    return {name: curve for name, curve in found.items() if curve}


def _limits(studies: Sequence[Study]) -> tuple[float, float]:
    """One scale for a row of panels: every mean, and every interval of the main method."""
    ends = [0.0, *PUBLISHED["ILSVRC2012"]]
    for study in studies:
        for name, curve in _curves(study).items():
            for margin in curve.values():
                ends += [margin.low, margin.high] if name == MAIN else [margin.mean]
    room = 0.08 * (max(ends) - min(ends))
    return min(ends) - room, max(ends) + room


def _panel(axes: Any, study: Study, limits: tuple[float, float]) -> None:
    curves, count = _curves(study), len(study.layers)
    least, greatest = PUBLISHED["ILSVRC2012"]
    axes.axhspan(least, greatest, color=BAND, alpha=0.14, linewidth=0, zorder=0)
    for value in (least, greatest):
        axes.axhline(value, color=BAND, linewidth=1.1, linestyle=":", zorder=1)
    axes.axhline(0, color="#222222", linewidth=0.9, zorder=1)
    for k, (name, curve) in enumerate(curves.items()):
        shift = 0.09 * (k - (len(curves) - 1) / 2)
        means = [margin.mean for margin in curve.values()]
        below = [margin.mean - margin.low for margin in curve.values()]
        above = [margin.high - margin.mean for margin in curve.values()]
        axes.errorbar(
            [place + shift for place in curve], means, [below, above], markersize=4.5, elinewidth=1.1, capsize=2,
            **STYLES[name],
        )  # fmt: skip
    axes.set_xlim(-0.4, count - 0.65)
    axes.set_ylim(*limits)
    long = max(map(len, study.layers)) > 8
    axes.set_xticks(
        range(count), study.layers, fontsize=8, rotation=20 if long else 0, ha="right" if long else "center"
    )
    axes.tick_params(axis="y", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(f"{study.title}, {study.found['images']} images", fontsize=9.5, loc="left", weight="bold")
    _labels(axes, curves, limits, count - 0.65)


def _labels(axes: Any, curves: dict[str, Curve], limits: tuple[float, float], edge: float) -> None:
    """The name of every line beside its end, pushed apart where they would meet."""
    wanted = {name: next(reversed(curve.values())).mean for name, curve in curves.items()}
    wanted[PAPER] = sum(PUBLISHED["ILSVRC2012"]) / 2
    placed = _apart(wanted, 0.06 * (limits[1] - limits[0]), limits)
    for name, height in placed.items():
        color = STYLES[name]["color"] if name in STYLES else "#9c4a7c"
        end = max(curves[name]) + 0.16 if name in curves else edge
        axes.annotate(
            called(name) if name in STYLES else name, (end, wanted[name]), (edge + 0.16, height), fontsize=8,
            color=color, va="center", annotation_clip=False, weight="bold" if name == MAIN else "normal",
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)},
        )  # fmt: skip


def _apart(wanted: dict[str, float], least: float, limits: tuple[float, float]) -> dict[str, float]:
    """Heights near the wanted ones, at least ``least`` from each other, inside the limits where there is room."""
    names = sorted(wanted, key=lambda name: wanted[name])
    heights = [wanted[name] for name in names]
    for _ in range(200):
        for k in range(len(heights) - 1):
            push = max(0.0, (least - (heights[k + 1] - heights[k])) / 2)
            heights[k], heights[k + 1] = heights[k] - push, heights[k + 1] + push
        heights[0], heights[-1] = max(heights[0], limits[0]), min(heights[-1], limits[1])
    return dict(zip(names, heights, strict=True))
