"""Page and figure of the study `neuron_deletion`, from the files of its measured layers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ORDER = ("scenes-vgg", "scenes-resnet", "squeezenet1_0", "resnet18", "resnet50")
ONE_PASS = ("activation", "gradient", "gradient × activation", "relevance")
ABLATIONS = (
    "ablation",
    "ablation of probability",
    "ablation, compared",
    "ablation against rest, compared",
    "ablation against rest, reordered",
)
SHOWN = {
    "cgnis": ("CGNIS, chosen", "#c1272d"),
    "gradient × activation": ("gradient × activation", "#1f77b4"),
    "activation": ("activation", "#7f7f7f"),
    "ablation": ("true ablation", "#2ca02c"),
    "random 0": ("random", "#bbbbbb"),
}
HEAD = """# Deleting the units one class needs

For every class the first n units of its ranking are set to zero, n from one unit to half of the layer. *Selectivity* is the
drop of the class's own accuracy less the drop of the other classes' mean accuracy; a ranking's *area* is the mean of it over
the deleted share (1 would be: own pictures all lost, no other touched, from the first unit on). Rankings come from training
pictures, which CGNIS is used was chosen on other training pictures for every layer (`tuning` in the files), and all numbers
here are of test pictures. Brackets are 95 % intervals (bootstrap over classes and pictures). Photographs are ImageNet animals
cropped to their box. Method and options: `studies/neuron_deletion.py`; numbers: `studies/results/neuron-deletion/`.

CGNIS is a reconstruction from an abstract. Its chosen form starts the backward pass from the log-odds of the class and weighs
pictures against those of the other classes; *temperature* orders units one by one (`pellucid.units.orders`), *others × w*
subtracts w times the other classes' mean. Its signed arm is gradient × activation asked about the log-odds. Criteria marked
"compared" got the subtraction (w = 1) too, "reordered" the temperature 0.1: what they gain is owed to that, not to CGNIS.

Two limits. "Others" are the other classes of the study: rankings that compare classes know these alone, may raise their accuracy
above what it was (which counts as selectivity), and what becomes of the other ImageNet classes is not measured. And the chosen
form is chosen for accuracy over *all* outputs; where the network may only answer with one of the study's classes, the last row
of the areas, it can be worse than ablation, and is with ResNet-18.

The candidate forms were settled after a first version of this study had been seen on test scenes (scenes-vgg, and layer4 of
scenes-resnet); the test scenes here are others (from number 1,000 of every class on). The photographs' test pictures had
been seen by no choice but that of which criteria are worth a row.
"""


def write(folder: Path) -> None:
    """Write ``neuron-deletion.md`` and ``.png`` beside the folder of measurements. Raises FileNotFoundError for an empty one."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.json")]
    if not found:
        raise FileNotFoundError(f"Expected measurements in `{folder}`, got none; try without `--report`.")
    found.sort(key=lambda one: (ORDER.index(one["network"]), one["behind"]))
    page = folder.parent / "neuron-deletion.md"
    page.write_text(text(found), encoding="utf-8")
    draw(found, folder.parent / "neuron-deletion.png")


def text(found: Sequence[dict[str, Any]]) -> str:
    """The page."""
    parts = [HEAD, "![own and other classes' accuracy while units are deleted](neuron-deletion.png)\n"]
    parts += ["## Goals\n", _goals(found), "\n## Areas\n", _areas(found), "\n## Every n\n"]
    parts += [_leads(one) for one in found]
    parts += ["\n## Deleted to the mean instead of zero\n", _means(found), "\n## Made with\n", _made(found)]
    return "\n".join(parts)


def _goals(found: Sequence[dict[str, Any]]) -> str:
    rows = [
        "| layer | ahead of every one-pass criterion at every n | area over the best of them | share of true ablation's area "
        "| of the best ablation's | runs of the tail | own accuracy ≥ 3 points down |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        best = _best(one, ABLATIONS)
        cells = (
            _name(one),
            every_n(one),
            _best_lead(one),
            _ratio(one, "ablation"),
            f"{_ratio(one, best)} ({best})",
        )
        last = f"2 : {one['units'] + 1} | {_first(one)}"
        rows += [f"| {' | '.join(cells)} | {last} |"]
    return "\n".join(rows) + (
        '\n\n*At every n*: "yes" where the mean lead is nowhere below zero; "tied" where it is, but its interval nowhere '
        "excludes zero; else the worst n. The best one-pass criterion and the best ablation are picked on the test pictures. "
        "The last column: the smallest n where the drop is seen, and the smallest where the interval lies above 3 points.\n"
    )


def every_n(one: dict[str, Any]) -> str:
    """Is CGNIS ahead of all criteria of one backward pass, at every n?"""
    worst: tuple[float, str] | None = None
    tied = False
    for title in ONE_PASS:
        row = one["rows"][title]["full"]
        for step, (lead, (low, high)) in enumerate(
            zip(row["cgnis_lead_steps"], row["cgnis_lead_steps_interval"], strict=True)
        ):
            tied |= lead < 0
            if high < 0 and (worst is None or lead < worst[0]):
                worst = (
                    lead,
                    f"no: {100 * lead:.1f} [{100 * low:.1f}, {100 * high:.1f}] points at n = {one['counts'][step]} ({title})",
                )
    return worst[1] if worst else "tied" if tied else "yes"


def _best(one: dict[str, Any], titles: Sequence[str]) -> str:
    return max((t for t in titles if t in one["rows"]), key=lambda t: float(one["rows"][t]["full"]["area"]))


def _best_lead(one: dict[str, Any]) -> str:
    title = _best(one, ONE_PASS)
    row = one["rows"][title]["full"]
    return f"{_signed(row['cgnis_lead'])} {_interval(row['cgnis_lead_interval'])} ({title})"


def _ratio(one: dict[str, Any], title: str) -> str:
    mine, row = one["rows"]["cgnis"]["full"]["area"], one["rows"][title]["full"]
    low, high = row["cgnis_ratio_interval"]
    bounds = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
    return f"{100 * mine / row['area']:.0f}{bounds} %" if row["area"] > 0 else "–"


def _first(one: dict[str, Any]) -> str:
    row = one["rows"]["cgnis"]["full"]
    drops = [row["own"][0] - value for value in row["own"]]
    seen = next((n for n, drop in zip(one["counts"], drops, strict=True) if drop >= 0.03), None)
    sure = next(
        (n for n, (low, _) in zip(one["counts"], row["own_drop_interval"], strict=True) if low >= 0.03), None
    )
    return " / ".join(
        "never" if n is None else f"n = {n} ({100 * n / one['units']:.0f} %)" for n in (seen, sure)
    )


def _areas(found: Sequence[dict[str, Any]]) -> str:
    titles = list(
        dict.fromkeys(title for one in found for title in one["rows"] if "to the mean" not in title)
    )
    titles.sort(key=lambda t: (t != "cgnis", t.startswith("random"), t))
    rows = ["| ranking | " + " | ".join(map(_name, found)) + " |", "|---|" + "---|" * len(found)]
    for title in titles:
        cells = [_area(one["rows"].get(title)) for one in found]
        shown = "**CGNIS, chosen**" if title == "cgnis" else title
        rows.append(f"| {shown} | " + " | ".join(cells) + " |")
    rows.append("| *which was chosen* | " + " | ".join(one["best"] for one in found) + " |")
    few = " | ".join(
        f"{one['rows']['cgnis']['few']['area']:.3f} / {one['rows']['ablation']['few']['area']:.3f}"
        for one in found
    )
    rows.append(f"| *among the study's classes alone: CGNIS / ablation* | {few} |")
    return "\n".join(rows) + (
        "\n\nBehind an area: its cost in forward passes per ranking picture, counted in operations (what lies behind the last "
        "stage is next to nothing, so even ablation is cheap there). Where ablation is dear it saw fewer pictures (`images`).\n"
    )


def _area(row: dict[str, Any] | None) -> str:
    return (
        "–"
        if row is None
        else f"{row['full']['area']:.3f} {_interval(row['full']['area_interval'])} · {row['cost']:.3g}"
    )


def _leads(one: dict[str, Any]) -> str:
    titles = [
        "cgnis",
        *ONE_PASS,
        "gradient × activation, compared",
        "ablation",
        _best(one, ABLATIONS),
        "random 0",
    ]
    rows = [
        f"**{_name(one)}**, selectivity in points after n of {one['units']} units\n",
        "| n | " + " | ".join(str(n) for n in one["counts"][1:]) + " |",
        "|---|" + "---|" * (len(one["counts"]) - 1),
    ]
    for title in dict.fromkeys(titles):
        values = one["rows"][title]["full"]["selectivity"][1:]
        rows.append(f"| {title} | " + " | ".join(f"{100 * value:.0f}" for value in values) + " |")
    row = one["rows"]["cgnis"]["full"]
    for kind in ("own", "others"):
        cells = " | ".join(f"{100 * value:.0f}" for value in row[kind][1:])
        rows.append(f"| *{kind} accuracy under CGNIS ({100 * row[kind][0]:.0f} before)* | {cells} |")
    return "\n".join(rows) + "\n"


def _means(found: Sequence[dict[str, Any]]) -> str:
    rows = ["| ranking | " + " | ".join(map(_name, found)) + " |", "|---|" + "---|" * len(found)]
    for title in ("cgnis", "gradient × activation", "random 0"):
        cells = [one["rows"].get(f"{title}, to the mean") for one in found]
        shown = [
            "–" if row is None else f"{row['full']['area']:.3f} {_interval(row['full']['area_interval'])}"
            for row in cells
        ]
        rows.append(f"| {title} | " + " | ".join(shown) + " |")
    return "\n".join(rows) + (
        "\n\nThe mean over all ranking pictures. The rankings are those for deletion to zero.\n"
    )


def _made(found: Sequence[dict[str, Any]]) -> str:
    lines = []
    for one in found:
        facts, counts = one["metadata"], one["pictures"]
        lines.append(
            f"- {_name(one)}: {counts['rank']} pictures to rank, {counts['choose']} to choose, {counts['test']} to test (own "
            f"{one['measured']['own']}, {one['measured']['others']} of each other class); torch {facts['torch']}, {facts['date']}"
        )
    return "\n".join(lines) + "\n"


def draw(found: Sequence[dict[str, Any]], file: Path) -> None:
    """Accuracy of the own (solid) and of the other classes (dashed) over the deleted share."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = 2
    lines = (len(found) + columns - 1) // columns
    figure, axes = plt.subplots(lines, columns, figsize=(9, 2.5 * lines), squeeze=False, sharey=True)
    for place, axis in enumerate(axes.flat):
        if place >= len(found):
            axis.set_axis_off()
            continue
        one = found[place]
        x = [100 * n / one["units"] for n in one["counts"]]
        for title, (name, color) in SHOWN.items():
            row = one["rows"][title]["full"]
            axis.plot(x, [100 * v for v in row["own"]], color=color, label=name, linewidth=1.6)
            axis.plot(x, [100 * v for v in row["others"]], color=color, linestyle="--", linewidth=1.2)
        axis.set_title(_name(one), fontsize=9)
        axis.set_ylim(-3, 103)
    for axis in axes[-1]:
        axis.set_xlabel("% of units deleted")
    for axis in axes[:, 0]:
        axis.set_ylabel("accuracy, %")
    axes[0, 0].legend(fontsize=7, title="solid: own, dashed: others", title_fontsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=90, metadata={"Software": None})
    plt.close(figure)


def _name(one: dict[str, Any]) -> str:
    return f"{one['network']} {one['layer']}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _interval(bounds: Sequence[float | None]) -> str:
    return "" if None in bounds else f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"
