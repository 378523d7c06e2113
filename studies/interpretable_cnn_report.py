"""From the runs of `studies/interpretable_cnn.py` to numbers with intervals, verdicts on the goals, and a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scipy import stats

import kit
from interpretable_cnn_runs import BACKBONES, CONDITIONS, EXTRA, FINE, Study

GROUPS = {
    **{f"multi {backbone}": f"several classes, {backbone}" for backbone in BACKBONES},
    f"multi {FINE}": f"several classes, {FINE}",
    **{f"single {backbone}": f"one class, {backbone}" for backbone in BACKBONES},
    "animal": "one animal, AlexNet's convolutions",
    "animals together": "several animals, AlexNet's convolutions",
}
WORDS = {
    "ordinary": "ordinary",
    "paper-l2": "L2, printed loss",
    "paper-l1": "L1, printed loss",
    "released-l2": "L2, released loss",
    "released-l1": "L1, released loss",
    "masks-l2": "L2, masks alone",
    "printed-l2": "L2, argmax and β = 4",
}
PUBLISHED = """\
| | VGG-16 | AlexNet | VGG-M | VGG-S |
|---|---|---|---|---|
| part interpretability, VOC parts, one class | .495 → .770 | .348 → .654 | .357 → .708 | .257 → .390 |
| location instability, ILSVRC animal parts | .144 → .085 | .146 → .091 | .147 → .090 | .145 → .090 |
| location instability, VOC parts | .139 → .096 | .140 → .088 | .141 → .088 | .139 → .089 |
| location instability, CUB-200 | .137 → .076 | .150 → .070 | .148 → .065 | .148 → .073 |"""
CUT, RAISED = -0.40, 0.55


def collected(study: Study) -> dict[str, Any]:
    """All runs by group, what they say together, and how they were made."""
    groups: dict[str, Any] = {}
    for group in GROUPS:
        runs = {key: run for key, run in study.done.items() if _group(key) == group}
        if runs:
            groups[group] = _summary(runs)
    code = Path(__file__).parent.glob("interpretable_cnn*.py")
    return {
        "metadata": kit.metadata(code, plan=asdict(study.plan)),
        "groups": groups,
        "runs": dict(sorted(study.done.items())),
    }


def _group(key: str) -> str:
    return next((group for group in sorted(GROUPS, key=len, reverse=True) if key.startswith(f"{group} ")), "")


def _condition(key: str) -> str:
    return next(word for word in (*CONDITIONS, *EXTRA) if f" {word}" in key)


def _unit(key: str, group: str) -> str:
    """What pairs a run with its ordinary twin: the seed, the class or the category."""
    rest = key.removeprefix(group)
    return rest.replace(_condition(key), "").strip() or "0"


def _summary(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Every condition's means, and how it differs from the ordinary twin, unit by unit."""
    group = _group(next(iter(runs)))
    by: dict[str, dict[str, Mapping[str, Any]]] = {}
    for key, run in runs.items():
        by.setdefault(_condition(key), {})[_unit(key, group)] = run
    found: dict[str, Any] = {}
    twins = by.get("ordinary", {})
    for condition in [each for each in WORDS if each in by]:
        mine = by[condition]
        row: dict[str, Any] = {"units": sorted(mine)}
        for name in ("interpretability", "instability", "accuracy", "seconds"):
            row[name] = _mean([float(run[name]) for run in mine.values()])
        regions = [_regions(run) for run in mine.values()]
        for region in sorted(set.intersection(*map(set, regions)) if regions else ()):
            row.setdefault("by_region", {})[region] = _mean([float(each[region]) for each in regions])
        shared = sorted(mine.keys() & twins.keys())
        if condition != "ordinary" and shared:
            row["change"] = {
                "interpretability": _ratio([(mine[u], twins[u]) for u in shared], "interpretability"),
                "instability": _ratio([(mine[u], twins[u]) for u in shared], "instability"),
                "accuracy": _difference([(mine[u], twins[u]) for u in shared], "accuracy"),
            }
            row["change"]["by_region"] = {
                region: _ratio([(_regions(mine[u]), _regions(twins[u])) for u in shared], region)
                for region in row.get("by_region", {})
                if all(region in _regions(twins[u]) for u in shared)
            }
        found[condition] = row
    for mode in ("paper", "released"):
        one, other = by.get(f"{mode}-l2", {}), by.get(f"{mode}-l1", {})
        shared = sorted(one.keys() & other.keys())
        if shared:
            found[f"{mode}-l2"]["against_l1"] = {
                name: _difference([(one[u], other[u]) for u in shared], name)
                for name in ("interpretability", "instability")
            }
    return found


def _regions(run: Mapping[str, Any]) -> Mapping[str, Any]:
    """Part interpretability by other readings than the one that is reported first."""
    return {
        name: value
        for name, value in run.get("interpretability_by_region", {}).items()
        if name != "upsampled"
    }


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


def _interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval (Student's t over units); the mean alone where there is one."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    spread = math.sqrt(sum((each - mean) ** 2 for each in values) / (len(values) - 1) / len(values))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * spread
    return mean, mean - half, mean + half


def _ratio(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], name: str) -> dict[str, Any]:
    """Relative change, geometric mean over units."""
    logs = [math.log(max(float(one[name]), 1e-4) / max(float(other[name]), 1e-4)) for one, other in pairs]
    return _shown([math.exp(each) - 1 for each in _interval(logs)])


def _difference(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], name: str) -> dict[str, Any]:
    return _shown(_interval([float(one[name]) - float(other[name]) for one, other in pairs]))


def _shown(values: Sequence[float]) -> dict[str, Any]:
    mean, low, high = (None if math.isnan(each) else round(each, 4) for each in values)
    return {"mean": mean, "interval": None if low is None else [low, high]}


def page(found: Mapping[str, Any]) -> str:
    """The results in Markdown."""
    lines = [
        "# Filters that mean one part",
        "",
        "Location instability (lower is better) and part interpretability (higher is better) of the topmost layer, as in Zhang",
        "2018, of interpretable networks and of their ordinary twins: the same new convolution from the same random numbers, the",
        "same pictures in the same order, the same steps. Changes are against the twin, with 95 % intervals over seeds (several",
        "classes), classes (one class; each with a seed of its own) or categories (animals). By `pellucid study",
        "interpretable-cnn`.",
        "",
    ]  # fmt: skip
    for group, rows in found["groups"].items():
        lines += [f"## {GROUPS[group][0].upper()}{GROUPS[group][1:]}", "", *_table(rows), ""]
    lines += [
        "## Goals",
        "",
        *_verdicts(found["groups"]),
        "",
        "## Published, ordinary → interpretable",
        "",
        PUBLISHED,
        "",
    ]
    lines += [
        "Several classes, VGG-16, part interpretability with the logistic and the softmax loss: .710 and .723 → .938 and .897.",
        "Accuracy there: −0.2 to −3.3 points for one class, +0.5 to +8.0 for several.",
        "",
        "![where filters fire](interpretable-cnn.png)",
        "",
        *_notes(found["metadata"]),
    ]
    return "\n".join(lines) + "\n"


def _notes(metadata: Mapping[str, Any]) -> list[str]:
    plan = metadata["plan"]
    return [
        "## How",
        "",
        f"Scenes: {plan['images']:,} training scenes and {plan['epochs']} epochs for several classes, "
        f"{plan['single_images']:,} and {plan['single_epochs']} for one; layers up to the last stage but one are the embedded "
        "network's own and frozen; masks behind the last stage and behind the new convolution above it, about the centroid of a "
        f"map, β = 3, weight 1. Measured on {plan['scenes']} test scenes; for one class on {plan['single_scenes']} of it and "
        "as many of others, which count for the thresholds.",
        "",
        "A filter is taken to mark what lies above its 0.5 % quantile over all cells. On the source's 14×14 maps that is one "
        "cell a picture, on these 8×8 maps a third of one, so that a filter of a network for one class marks nothing in most "
        "of its pictures. Beside the printed quantile those networks are therefore read with one cell a picture (1 in 64).",
        "",
        "Animals: crops of the animal, half of every category for training with image labels alone and half for measuring; "
        "AlexNet up to its fourth convolution frozen, the fifth trained; weight 0.001, since its activations go to 30 without "
        "normalization (0.1 and more diverges). Its parts are boxes of head and legs, far larger than what a filter marks at "
        "the 0.5 % quantile: part interpretability is close to zero for every network and says little there.",
        "",
        f"{metadata['machine']}, torch {metadata['torch']}, pellucid {metadata['pellucid']}, {metadata['date']}.",
    ]


def _table(rows: Mapping[str, Any]) -> list[str]:
    lines = [
        "| | instability | change | interpretability | change | accuracy | change |",
        "|---|---|---|---|---|---|---|",
    ]
    for condition, row in rows.items():
        change = row.get("change", {})
        cells = [
            f"{row['instability']:.4f}",
            _percent(change.get("instability")),
            f"{row['interpretability']:.3f}",
            _percent(change.get("interpretability")),
            f"{100 * row['accuracy']:.1f} %",
            _points(change.get("accuracy")),
        ]
        lines.append(f"| {WORDS[condition]} ({len(row['units'])}) | {' | '.join(cells)} |")
    for region in sorted({region for row in rows.values() for region in row.get("by_region", {})}):
        words = ", ".join(
            f"{WORDS[condition]} {row['by_region'][region]:.3f}"
            for condition, row in rows.items()
            if "by_region" in row
        )
        lines += ["", f"Part interpretability, {region}: {words}."]
    return lines


def _percent(change: Mapping[str, Any] | None) -> str:
    if change is None:
        return ""
    ends = change["interval"]
    text = f"{100 * change['mean']:+.0f} %"
    return text if ends is None else f"{text} ({100 * ends[0]:+.0f} to {100 * ends[1]:+.0f})"


def _points(change: Mapping[str, Any] | None) -> str:
    if change is None:
        return ""
    ends = change["interval"]
    text = f"{100 * change['mean']:+.1f}"
    return text if ends is None else f"{text} ({100 * ends[0]:+.1f} to {100 * ends[1]:+.1f})"


def _verdicts(groups: Mapping[str, Any]) -> list[str]:
    """Each goal for each group on scenes, met or missed by how much; on animals the direction."""
    lines = [
        "| | instability −40 % | interpretability +55 % | accuracy | L2 at least L1 (printed loss) |",
        "|---|---|---|---|---|",
    ]
    for group, rows in groups.items():
        row = rows.get("paper-l2", {})
        change = row.get("change")
        if change is None:
            continue
        several = group.startswith(("multi", "animals"))
        least = 0.0 if several else -0.01
        cells = [
            _goal(change["instability"]["mean"], CUT, lower=True),
            _goal(change["interpretability"]["mean"], RAISED, lower=False),
            "met"
            if change["accuracy"]["mean"] >= least
            else f"missed: {100 * change['accuracy']['mean']:+.1f} points",
            _against(row.get("against_l1")),
        ]
        for region, other in change.get("by_region", {}).items():
            if group.startswith("single"):
                cells[1] += f"; {region}: {_goal(other['mean'], RAISED, lower=False)}"
        if group.startswith("animal"):
            ends = change["instability"]["interval"]
            clear = ends is not None and ends[1] < 0
            same = "same direction" if change["instability"]["mean"] < 0 else "other direction"
            interval = (
                "interval below zero"
                if clear
                else "one unit, no interval"
                if ends is None
                else "interval holds zero"
            )
            cells[0] = f"{same}, {interval}"
            up = change["interpretability"]["mean"] > 0
            cells[1] = f"{'same' if up else 'other'} direction, values near zero"
        lines.append(f"| {GROUPS[group]} | {' | '.join(cells)} |")
    return lines


def _goal(value: float, goal: float, *, lower: bool) -> str:
    met = value <= goal if lower else value >= goal
    return f"met ({100 * value:+.0f} %)" if met else f"missed ({100 * value:+.0f} %)"


def _against(change: Mapping[str, Any] | None) -> str:
    if change is None:
        return ""
    part, place = change["interpretability"]["mean"], change["instability"]["mean"]
    words = f"{part:+.3f} interpretability, {place:+.4f} instability"
    return f"{'met' if part >= 0 and place <= 0.0005 else 'mixed' if part >= 0 or place <= 0 else 'missed'} ({words})"
