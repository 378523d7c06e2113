"""Page, figure and numbers of the study `semantic_features`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.training.irenet.metrics import quality

GOAL = 0.02
MEASURES = {
    "micro_f1": "F1",
    "accuracy": "accuracy",
    "jaccard": "accuracy (Jaccard)",
    "micro_precision": "precision",
    "micro_recall": "recall",
    "macro_f1": "macro F1",
    "map": "mAP",
}
FOUR = ("micro_f1", "accuracy", "jaccard", "micro_precision", "micro_recall")
RIVALS = ("resnet18", "resnet50", "resnet101", "resnet18-x3")
_DRAWS = 1_000
_TITLES = {"scenes": "Concept world", "carparts": "Car parts", "clothing": "Clothing"}


def measured(row: Mapping[str, Any]) -> dict[str, float]:
    """All measures of one trained network on test."""
    return quality(row["truth"], row["probabilities"], row["threshold"]).plain()


def tallies(row: Mapping[str, Any], places: Tensor, pictures: Tensor) -> Tensor:
    """[picture 6] sums over each test picture's crops: TP, FP, FN, TN, Jaccard index and crops. All of `FOUR` are ratios of
    sums of these, so that a bootstrap of pictures need not look at a crop again."""
    yes, said = row["truth"] == 1, row["probabilities"] >= row["threshold"]
    both, either = (yes & said).sum(1).double(), (yes | said).sum(1).double()
    one = torch.ones_like(both)
    each = torch.stack(
        [
            both,
            (~yes & said).sum(1).double(),
            (yes & ~said).sum(1).double(),
            (~yes & ~said).sum(1).double(),
            torch.where(either > 0, both / either.clamp(min=1), torch.zeros_like(both)),
            one,
        ],
        1,
    )
    found = torch.zeros(len(pictures), 6, dtype=torch.float64)
    return found.index_add_(0, torch.searchsorted(pictures, places), each)


def of_sums(sums: Tensor) -> dict[str, Tensor]:
    """`FOUR` from sums [… 6]."""
    tp, fp, fn, tn, shared, count = sums.unbind(-1)
    return {
        "micro_f1": 2 * tp / (2 * tp + fp + fn).clamp(min=1),
        "accuracy": (tp + tn) / (tp + fp + fn + tn),
        "jaccard": shared / count,
        "micro_precision": tp / (tp + fp).clamp(min=1),
        "micro_recall": tp / (tp + fn).clamp(min=1),
    }


def difference(
    one: list[Mapping[str, Any]], other: list[Mapping[str, Any]], places: Tensor
) -> dict[str, list[float]]:
    """Mean over seeds of one network's measure less the other's, and its 95 % interval: 1,000 draws of seeds (paired) and, in
    each, of test pictures, all crops of a picture together."""
    pictures = torch.unique(places)
    sums = torch.stack(
        [torch.stack([tallies(row, places, pictures) for row in rows]) for rows in (one, other)]
    )  # [network seed picture 6]
    dice = torch.Generator().manual_seed(0)
    seeds = torch.randint(len(one), (_DRAWS, len(one)), generator=dice)
    drawn = torch.randint(len(pictures), (_DRAWS, len(pictures)), generator=dice)
    times = torch.stack([torch.bincount(draw, minlength=len(pictures)) for draw in drawn]).double()
    resampled = torch.einsum("dp,nspk->dnsk", times, sums)
    measures, plain = of_sums(resampled), of_sums(sums.sum(2))
    found = {}
    for name in FOUR:
        by_seed = measures[name][:, 0] - measures[name][:, 1]  # [draw seed]
        means = by_seed.gather(1, seeds).mean(1)
        low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        mean = float((plain[name][0] - plain[name][1]).mean())
        found[name] = [round(mean, 4), round(low, 4), round(high, 4)]
    return found


def page(sets: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The result as JSON holds it (``json``) and as Markdown (``text``)."""
    content: dict[str, Any] = {"options": dict(options), "sets": {}}
    for name, one in sets.items():
        rows = one["rows"]
        networks = list(dict.fromkeys(row["network"] for row in rows))
        by_network = {network: [row for row in rows if row["network"] == network] for network in networks}
        numbers = {network: [measured(row) for row in group] for network, group in by_network.items()}
        fastest = by_network[networks[0]]
        prepared = one["prepared"]
        content["sets"][name] = {
            "labels": list(prepared.vocabulary.names),
            "left_out": list(prepared.left_out),
            "crops": {kind: len(getattr(prepared, kind)) for kind in ("training", "validation", "test")},
            "test_pictures": len(torch.unique(one["places"])),
            "epochs": one["epochs"],
            "networks": {
                network: {
                    **{key: _spread([each[key] for each in numbers[network]]) for key in (*MEASURES, "ece")},
                    "parameters": group[0]["parameters"],
                    "multiplications": group[0]["multiplications"],
                    "time": round(sum(r["seconds"] for r in group) / sum(r["seconds"] for r in fastest), 2),
                    "seconds": round(sum(r["seconds"] for r in group) / len(group), 1),
                    "best_epochs": [row["best_epoch"] for row in group],
                }
                for network, group in by_network.items()
            },
            "against": {
                network: difference(by_network["irenet"], group, one["places"])
                for network, group in by_network.items()
                if network != "irenet" and "irenet" in by_network
            },
        }
    content["goal"] = {name: _goal(one) for name, one in content["sets"].items()}
    return {"json": content, "text": _text(content)}


def _spread(values: list[float]) -> list[float]:
    """Mean and standard deviation over seeds (0 for one seed)."""
    each = torch.tensor(values, dtype=torch.float64)
    return [round(float(each.mean()), 4), round(float(each.std()) if len(values) > 1 else 0.0, 4)]


def _goal(one: Mapping[str, Any]) -> dict[str, Any]:
    """For each measure the best residual network by it, and IRENet's lead over that one."""
    found = {}
    for name in FOUR:
        rivals = [network for network in RIVALS if network in one["against"]]
        if not rivals:
            continue
        best = max(rivals, key=lambda network: one["networks"][network][name][0])
        mean, low, high = one["against"][best][name]
        found[name] = {"rival": best, "lead": mean, "interval": [low, high], "reached": mean >= GOAL}
    return found


def _text(content: Mapping[str, Any]) -> str:
    options = content["options"]
    parts = [
        "# Semantic features: IRENet and residual networks on the same crops",
        "",
        f"`pellucid study semantic-features`, {options['date']}, torch {options['torch']}, {options['machine']}, code "
        f"{options['code']}. All channel counts times {options['width']:g}, crops of {options['size']} × {options['size']} "
        f"pixels, about {options['samples']:,} crops shown to each network, {options['seeds']} seeds; trained from scratch. One "
        "threshold for all labels, where precision equals recall on validation. Micro averages unless said otherwise; *accuracy* "
        "is the share of right yes-or-no answers, *accuracy (Jaccard)* the mean over crops of |true ∩ said| / |true ∪ said|, "
        "the accuracy usual beside multi-label F1, which does not count what is rightly left unsaid.",
        "",
        "## IRENet's lead over the best residual network, in points",
        "",
        "The best one is chosen for each measure by its test mean. Mean over seeds, 95 % interval over seeds and test pictures; "
        f"bold where the mean reaches the goal of {100 * GOAL:g} points.",
        "",
        "| set | " + " | ".join(MEASURES[name] for name in FOUR) + " |",
        "|---|" + "---|" * len(FOUR),
    ]
    for name, goal in content["goal"].items():
        cells = [_lead(goal[measure]) if measure in goal else "–" for measure in FOUR]
        parts.append(f"| {_TITLES.get(name, name)} | " + " | ".join(cells) + " |")
    parts += ["", *_lacking(content)]
    for name, one in content["sets"].items():
        parts += ["", *_set(name, one)]
    return "\n".join(parts) + "\n"


def _lead(goal: Mapping[str, Any]) -> str:
    low, high = goal["interval"]
    mean = f"{100 * goal['lead']:+.1f}"
    mean = f"**{mean}**" if goal["reached"] else mean
    return f"{mean} ({100 * low:+.1f} to {100 * high:+.1f}; {goal['rival']})"


def _lacking(content: Mapping[str, Any]) -> list[str]:
    """What falls short, in words."""
    short = [
        f"{_TITLES.get(name, name)}: {MEASURES[measure]} leads by {100 * one['lead']:.1f}"
        for name, goal in content["goal"].items()
        for measure, one in goal.items()
        if not one["reached"]
    ]
    return [
        "Short of the goal: " + "; ".join(short) + "."
        if short
        else "The goal is reached on every measure of every set.",
        "",
        "``resnet18-x3`` is ResNet-18 on the same crops enlarged three times, which gives it as many multiply-adds as IRENet. "
        "Part of the lead is that of VGG16, whose early maps keep the full resolution of small crops, at several times the "
        "multiply-adds of a residual network; what SIRM and ECA add to it stands in the tables below.",
    ]


def _set(name: str, one: Mapping[str, Any]) -> list[str]:
    crops = one["crops"]
    lines = [
        f"## {_TITLES.get(name, name)}",
        "",
        f"{len(one['labels'])} labels; {crops['training']:,} crops to train, {crops['validation']:,} to validate, "
        f"{crops['test']:,} of {one['test_pictures']} pictures to test; {one['epochs']} epochs. Mean ± standard deviation over "
        "seeds, in %; time is processor time of a whole training over IRENet's.",
        "",
        "| network | " + " | ".join(MEASURES.values()) + " | ECE | parameters | multiply-adds | time |",
        "|---|" + "---|" * (len(MEASURES) + 4),
    ]
    for network, row in one["networks"].items():
        values = [f"{100 * row[key][0]:.1f} ± {100 * row[key][1]:.1f}" for key in MEASURES]
        cost = [
            f"{row['ece'][0]:.3f}",
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['multiplications'] / 1e6:.1f} M",
        ]
        lines.append(f"| {network} | " + " | ".join([*values, *cost, f"{row['time']:.2f}"]) + " |")
    lines += [
        "",
        "IRENet less each other network, in points (95 % interval):",
        "",
        "| network | " + " | ".join(MEASURES[key] for key in FOUR) + " |",
        "|---|" + "---|" * len(FOUR),
    ]
    for network, leads in one["against"].items():
        cells = [
            f"{100 * m:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})" for m, low, high in map(leads.get, FOUR)
        ]  # type: ignore[misc]
        lines.append(f"| {network} | " + " | ".join(cells) + " |")
    return lines


def plot(content: Mapping[str, Any], file: Path) -> None:
    """F1 of every network against its multiply-adds, a panel for each set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(content["sets"]), 3.4), layout="constrained")
    axes = figure.subplots(1, len(content["sets"]), squeeze=False)[0]
    for axis, (name, one) in zip(axes, content["sets"].items(), strict=True):
        for network, row in one["networks"].items():
            x, (y, spread) = row["multiplications"] / 1e6, row["micro_f1"]
            color = "#c2410c" if network == "irenet" else "#1d4ed8" if network in RIVALS else "#64748b"
            axis.errorbar(x, 100 * y, 100 * spread, fmt="o", color=color, capsize=3)
            axis.annotate(network, (x, 100 * y), xytext=(4, 4), textcoords="offset points", fontsize=8)
        axis.set(
            xscale="log",
            title=_TITLES.get(name, name),
            xlabel="million multiply-adds",
            ylabel="micro F1 in %",
        )
        axis.margins(0.2)
    figure.savefig(file, dpi=110)
