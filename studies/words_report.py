"""The page of the study of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import kit

GOALS = {"first": 0.75, "three": 0.90, "said": 0.90, "coverage": 0.60, "harm": 0.85, "own": 0.75}


def _share(found: Sequence[float] | None) -> str:
    """A share with its interval: ``.67 (.60–.74)``."""
    if found is None or found[0] is None:
        return "–"
    mean, low, high = (f"{value:.2f}".replace("0.", ".", 1) for value in found)
    return f"{mean} ({low}–{high})"


def _met(value: float, goal: float) -> str:
    return "met" if value >= goal else f"missed by {100 * (goal - value):.0f} points"


def page(found: Mapping[str, Any]) -> str:
    """Markdown of all measurements, losses beside wins."""
    networks = found["networks"]
    return (
        "\n\n".join(
            [
                "# Words on photographs: are they true?",
                _setup(found),
                _names(networks),
                _said(found),
                _harm(networks),
                _worth(networks),
                _units(found["units"]),
                _masking(networks),
                _looked(networks),
            ]
        )
        + "\n"
    )


def _setup(found: Mapping[str, Any]) -> str:
    data = found["metadata"]
    return (
        f"Made by `pellucid study words` on {data['date']} ({data['machine']}, {data['threads']} thread). "
        f"Form and calibration "
        "come from the tuning half of the photographs; all numbers here are of the reporting half, with 95 % bootstrap intervals."
    )


def _names(networks: Mapping[str, Any]) -> str:
    sources = next(iter(networks.values()))["named"]
    rows = []
    for name, each in networks.items():
        for source in sources:
            first, three = each["named"][source]["first"], each["named"][source]["three"]
            rows.append([name if source == "cells" else "", source, _share(first), _share(three)])
        rows.append(["", "chance", f"{each['chance'][0]:.3f}", f"{each['chance'][1]:.3f}"])
    goals = "; ".join(
        f"{name}: first {_met(each['named']['cells']['first'][0], GOALS['first'])}, three "
        f"{_met(each['named']['cells']['three'][0], GOALS['three'])}"
        for name, each in networks.items()
    )
    labels = sorted({label for each in networks.values() for label in each["by label"]})
    by_label = [
        [
            label,
            *(
                f"{each['by label'].get(label, [0, 0])[0]} of {each['by label'].get(label, [0, 0])[1]}"
                for each in networks.values()
            ),
        ]
        for label in labels
    ]
    return "\n\n".join(
        [
            "## 1. Named right",
            f"{next(iter(networks.values()))['regions']} labeled regions of objects of at least 4 % of the "
            f"picture. Right: WordNet puts "
            "the class under the label.",
            kit.table(["network", "named by", "first name right", "one of three right"], rows),
            f"Goals (.75 and .90): {goals}.",
            "First names right by the region's cells, label by label:",
            kit.table(["label", *networks], by_label, right=True),
        ]
    )


def _said(found: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            _share(each["said"]["coverage"]),
            _share(each["said"]["right"]),
            kit.percent(each["said"]["classes"]),
            f"{each['said']['confidence']:.2f}",
            _met(each["said"]["right"][0], GOALS["said"]),
            _met(each["said"]["coverage"][0], GOALS["coverage"]),
        ]
        for name, each in found["networks"].items()
    ]
    constants = found["calibration"]
    shown = ", ".join(f"{key} {constants[key]:.4f}" for key in ("bias", "mass", "count", "top", "area"))
    return "\n\n".join(
        [
            "### Words that are said",
            "Of the most probable class and ever broader nouns the narrowest that is sure enough (.75); "
            "otherwise nothing. A noun "
            "above the label's own counts as right: a sheep called a hoofed animal.",
            kit.table(
                [
                    "network",
                    "said of",
                    "right",
                    "classes",
                    "mean confidence",
                    "goal .90 right",
                    "goal .60 said",
                ],
                rows,
            ),
            f"One calibration for all networks: {shown}. Left out of the fit, a network was at worst "
            f"{constants['margin']:.2f} less "
            "often right than the calibration said; so much is taken off for networks without labeled photographs.",
        ]
    )


def _harm(networks: Mapping[str, Any]) -> str:
    names = list(next(iter(networks.values()))["harmful"]["agree"])
    rows = [[name, *(_share(each["harmful"]["agree"][name]) for each in networks.values())] for name in names]
    rows.append(
        ["chance", *(f"{each['harmful']['chance']:.2f}".replace("0.", ".", 1) for each in networks.values())]
    )
    fills = [
        [
            f"filled by {fill} alone",
            *(_share(each["harmful"]["one fill"][fill]) for each in networks.values()),
        ]
        for fill in next(iter(networks.values()))["harmful"]["one fill"]
    ]
    ranks = [
        [name, *(f"{each['harmful']['rank'][name][0]:.2f}" for each in networks.values())]
        for name in next(iter(networks.values()))["harmful"]["rank"]
    ]
    maps = [
        [method, *(_share(each["harmful"]["maps"].get(method)) for each in networks.values())]
        for method in next(iter(networks.values()))["harmful"]["maps"]
    ]
    own = [
        [
            "evidence per cell",
            *(_share(each["harmful"]["of the same pictures"]) for each in networks.values()),
        ]
    ]
    goals = "; ".join(
        f"{name}: labeled {_met(each['harmful']['agree']['evidence per cell'][0], GOALS['harm'])}, our own "
        f"{_met(each['harmful']['agree']['our first region'][0], GOALS['own'])}"
        for name, each in networks.items()
    )
    counts = ", ".join(f"{name} {each['harmful']['pictures']}" for name, each in networks.items())
    return "\n\n".join(
        [
            "## 2. The most harmful region first",
            f"Every labeled region is filled three ways; pictures with two regions or more ({counts}). "
            f"Agreement with the region whose "
            "filling costs the predicted class most; *our first region* is the labeled one in which most of it lies.",
            kit.table(["first by", *networks], rows),
            "How far one fill agrees with the mean of all three, the ceiling of what can be asked for:",
            kit.table(["", *networks], fills),
            "Spearman's rank correlation with the falls:",
            kit.table(["by", *networks], ranks, right=True),
            "The maps of the library, by their mean over a region, on the first pictures:",
            kit.table(["map", *networks], own + maps),
            f"Goals (.85 given the labeled regions, .75 with our own): {goals}.",
        ]
    )


def _worth(networks: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            each["worth"]["pictures"],
            kit.percent(each["worth"]["area"][0]),
            f"{_share(each['worth']['kept'])} against {_share(each['worth']['kept elsewhere'])}",
            _share(each["worth"]["sufficient"]),
            f"{_share(each['worth']['filled'])} against {_share(each['worth']['filled elsewhere'])}",
            _share(each["worth"]["necessary"]),
        ]
        for name, each in networks.items()
    ]
    head = [
        "network",
        "pictures",
        "area",
        "probability with them alone, against elsewhere",
        "better than all elsewhere",
    ]
    return "\n\n".join(
        [
            "## 3. Sufficient and necessary",
            "The one to three regions found by ourselves on photographs that are classified right; the rest, or "
            "they, blurred. "
            "*Elsewhere*: the same shape moved at random, four times. The goal is 95 %.",
            kit.table(
                [*head, "probability with them filled, against elsewhere", "lower than all elsewhere"], rows
            ),
        ]
    )


def _units(units: Mapping[str, Any]) -> str:
    rows = []
    for name, each in units["names"].items():
        if not each["auc"]:
            rows.append([name, 0, "–", "–", "–"])
            continue
        less = kit.mean_interval(each["ours less theirs"], 3) if each["ours less theirs"] else None
        against = (
            "–"
            if less is None
            else f"{kit.signed(less[0], 3)} ({kit.signed(less[1], 3)} to {kit.signed(less[2], 3)})"
        )
        rows.append(
            [
                name,
                each["named"],
                _share(kit.mean_interval(each["auc"], 3)),
                f"{kit.mean_interval(each['mad'], 2)[0]:.2f}",
                against,
            ]
        )
    return "\n\n".join(
        [
            "## 4. Names of units",
            f"ResNet-18, last stage, {units['units']} units, {units['pictures']} photographs of the reporting "
            f"half. AUC: how surely "
            "a unit is more active on pictures of what its name says. Published names that are no noun of "
            "WordNet above a class of ImageNet "
            "cannot be scored; *ours less theirs* is on units that both name, ours by the noun above the first classes.",
            kit.table(["names by", "units scored", "mean AUC", "mean MAD", "ours less theirs, AUC"], rows),
        ]
    )


def _masking(networks: Mapping[str, Any]) -> str:
    criteria = list(next(iter(networks.values()))["masking"])
    for each in networks.values():
        criteria += [name for name in each["masking"] if name not in criteria]

    def cell(each: Mapping[str, Any], name: str) -> str:
        value = each["masking"].get(name)
        return (
            "–"
            if value is None
            else f"{value['score'][0]:.2f} ({value['score'][1]:.2f}–{value['score'][2]:.2f})"
        )

    rows = [[name, *(cell(each, name) for each in networks.values())] for name in criteria]
    return "\n\n".join(
        [
            "## 5. Masking units",
            "The fall of the class's score when the first five units of the last stage are removed. *named*: "
            "the units that add most to "
            "the class, whose regions and words are shown.",
            kit.table(["criterion", *networks], rows),
        ]
    )


def _looked(networks: Mapping[str, Any]) -> str:
    name, each = next(iter(networks.items()))
    rows = [
        [
            row["picture"],
            row["label"],
            row["said"] or "–",
            f"{row['confidence']:.2f}",
            ", ".join(row["classes"]),
        ]
        for row in each["looked at"]
    ]
    return "\n\n".join(
        [
            f"## Looked at: {name}",
            kit.table(["picture", "label", "said", "confidence", "first classes"], rows),
        ]
    )
