"""Rows of `sentences.py` summed up, with intervals, and the page made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.evaluation.sentences import Rate, difference, rate

GOAL = 0.8  # of the part named first
CLOSE = 2e-4  # numbers computed anew are the same up to this
THRESHOLDS = (0.25, 0.30, 0.35, 0.40, 0.50)
Rows = Sequence[Mapping[str, Any]]


def summary(rows: Mapping[str, Rows]) -> dict[str, Any]:
    """Everything on the page, by network and kind of scenes (``"scenes-vgg/independent"``)."""
    return {
        "parts": {name: parts(one) for name, one in rows.items()},
        "maps": {name: maps(one) for name, one in rows.items() if any("maps" in row for row in one)},
        "background": {name: background(one) for name, one in rows.items()},
        "numbers": numbers([row for one in rows.values() for row in one]),
    }


def parts(rows: Rows) -> dict[str, Any]:
    """Presence and absence of what is named, and whether what is named first is right."""
    judged = [row for row in rows if "right" in row]
    named = sum(len(row["named"]) for row in rows)
    absent = sum(row["absent"] for row in rows)
    return {
        "present": Rate(sum(row["present"] for row in rows), named).to_json(),
        "truly absent": Rate(sum(row["truly absent"] for row in rows), absent).to_json(),
        "names a part": rate([bool(row["named"]) for row in rows]).to_json(),
        "first is right": rate([row["right"] for row in judged]).to_json(),
        "first is right where one is named": rate([row["right"] for row in judged if row["named"]]).to_json(),
        "effect of the first, of the largest": round(
            sum(row["kept"] for row in judged) / max(1, len(judged)), 4
        ),
        "by chance": round(sum(row["chance"] for row in judged) / max(1, len(judged)), 4),
        "by class": {
            label: rate([row["right"] for row in judged if row["class"] == label]).to_json()
            for label in sorted({row["class"] for row in judged})
        },
    }


def maps(rows: Rows) -> dict[str, Any]:
    """The sentence beside every map, on the scenes where all were held against the truth."""
    both = [row for row in rows if "maps" in row]
    ours = [row["right"] for row in both]
    rates = {name: rate([row["maps"][name] for row in both]) for name in both[0]["maps"]}
    best = max(rates, key=lambda name: rates[name].share)
    apart, low, high = difference(ours, [row["maps"][best] for row in both])
    ranked = sorted(rates.items(), key=lambda one: -one[1].share)
    return {
        "sentence": rate(ours).to_json(),
        "best map": best,
        "sentence ahead of it": {"by": round(apart, 4), "low": round(low, 4), "high": round(high, 4)},
        "maps": {name: one.to_json() for name, one in ranked},
    }


def background(rows: Rows) -> dict[str, Any]:
    """How often it is said that the surroundings carry much of the decision, or more than the object; by other thresholds."""
    weights = [row["weight"] if row["weight"] is not None else 0.0 for row in rows]
    return {
        "said": rate([bool(row["background"]) for row in rows]).to_json(),
        "more than the object": rate([True in row["background"] for row in rows]).to_json(),
        "by threshold": {
            f"{one:.2f}": round(rate([each >= one for each in weights]).share, 4) for one in THRESHOLDS
        },
    }


def numbers(rows: Rows) -> dict[str, Any]:
    """Numbers computed anew, and figures of texts that are no number of their clause."""
    anew = [row["recomputed"] for row in rows if "recomputed" in row]
    return {
        "sentences computed anew": len(anew),
        "numbers computed anew": sum(count for count, _ in anew),
        "farthest apart": max((apart for _, apart in anew), default=0.0),
        "all equal": all(apart <= CLOSE for _, apart in anew),
        "sentences read for figures": len(rows),
        "figures that are no number": sum(row["strange"] for row in rows),
        "most forward passes for parts": max(row["passes"] for row in rows),
    }


def page(found: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """All of it in Markdown; ``before``: the same of validation scenes."""
    told = found["metadata"]
    lines = [
        "# Do sentences tell the truth?",
        "",
        f"{told['scenes']} {told['split']} scenes of the concept world for each honest network, "
        f"{told['habitual scenes']} habitual "
        "ones (each class where it usually is) for all four; only the picture is shown. Intervals: 95 %. "
        "By `pellucid study sentences`.",
        "",
        "## Parts",
        "",
        "*First is right*: true removal of the part named first, the scene painted again without it, costs the class most. A "
        "sentence that names no part counts as a miss. *Effect*: what the true removal of the part named first costs, "
        "as a share of the largest.",
        "",
        "| network | scenes | named parts present | first is right | where one is named | names a part | effect | by chance |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in found["parts"].items():
        cells = [shown(one[key]) for key in _COLUMNS]
        lines.append(
            f"| {' | '.join(name.split('/'))} | {' | '.join(cells)} | {_percent(one['effect of the first, of the largest'])} | "
            f"{_percent(one['by chance'])} |"
        )
    lines += ["", "By class, first is right:", ""]
    independent = {name: one for name, one in found["parts"].items() if name.endswith("independent")}
    lines += [
        "| class | " + " | ".join(name.split("/")[0] for name in independent) + " |",
        "|---|" + "---|" * len(independent),
    ]
    for label in sorted({label for one in independent.values() for label in one["by class"]}):
        cells = [
            shown(one["by class"][label]) if label in one["by class"] else "–" for one in independent.values()
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    lines += [
        "",
        "## Beside the best heatmap",
        "",
        "A map is given the true regions of all parts; the sentence has to find them.",
        "",
    ]
    for name, one in found["maps"].items():
        ahead = one["sentence ahead of it"]
        network, best = name.split("/")[0], one["best map"]
        lines += [
            f"{network}, on {one['sentence']['of']} of these scenes: the sentence {shown(one['sentence'])}; the best of "
            f"{len(one['maps'])} maps, **{best}**, by the part with the most mass {shown(one['maps'][best])}. The sentence is "
            f"ahead by {100 * ahead['by']:.1f} points ({100 * ahead['low']:.1f} to {100 * ahead['high']:.1f}). The best map is "
            "the best on these very scenes, which favors it.",
            "",
            "| map | part with the most mass is right |",
            "|---|---|",
            *(f"| {each} | {shown(value)} |" for each, value in list(one["maps"].items())[:12]),
            "",
        ]
    lines += [
        "## The surroundings",
        "",
        "How often the sentence says that they carry much of the decision, or more than the object.",
    ]
    lines += [
        "",
        "| network | scenes | said | more than the object | "
        + " | ".join(f"≥ {one:.2f}" for one in THRESHOLDS)
        + " |",
    ]
    lines.append("|---|---|---|---|" + "---|" * len(THRESHOLDS))
    for source, each in (("", found), (", validation", before or {"background": {}})):
        for name, one in each["background"].items():
            cells = [_percent(value) for value in one["by threshold"].values()]
            first, kind = name.split("/")
            said = (first, f"{kind}{source}", shown(one["said"]), shown(one["more than the object"]), *cells)
            lines.append(f"| {' | '.join(said)} |")
    each = found["numbers"]
    lines += [
        "",
        "## Numbers",
        "",
        f"{each['numbers computed anew']:,} numbers of {each['sentences computed anew']} sentences computed anew by other "
        f"code: {'all equal' if each['all equal'] else 'NOT all equal'} (farthest apart {each['farthest apart']:.1e}, scores as "
        f"a share of the score). {each['sentences read for figures']:,} sentences read: {each['figures that are no number']} "
        f"figures that are no number of their clause. At most {each['most forward passes for parts']} forward passes for parts.",
        "",
        "## Where it falls short",
        "",
        *_short(found),
    ]
    return "\n".join(lines) + "\n"


_COLUMNS = ("present", "first is right", "first is right where one is named", "names a part")


def _short(found: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, one in found["parts"].items():
        first = one["first is right"]
        if first["share"] < GOAL:
            lines.append(
                f"- {name}: the part named first is right in {shown(first)}, below the goal of {_percent(GOAL)}."
            )
        if one["truly absent"]["of"]:
            lines.append(f"- {name}: of the parts called missing {shown(one['truly absent'])} are not there.")
        weak = [label for label, value in one["by class"].items() if value["share"] < 0.7]
        if weak and name.endswith("independent"):
            lines.append(
                f"- {name}: the first part is right in less than 70 % of the pictures of {', '.join(weak)}."
            )
    return lines or ["- Nothing below its goal."]


def shown(value: Mapping[str, Any]) -> str:
    """A rate with its interval."""
    if not value["of"]:
        return "–"
    return f"{_percent(value['share'])} ({100 * value['low']:.1f} to {100 * value['high']:.1f})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
