"""Who won, by fixed rules, and the result as a table.

Every peer is compared with the pellucid run that makes the same maps, on four measures: operations, seconds
with one thread and with two, and the memory a call adds. Seconds: a win or a loss needs the whole
interquartile range of the ratio on one side of 1 (of fewer than three rounds: beyond a factor of 2).
Operations and memory have no spread: a difference within 2 % of the operations, or within 20 % or 8 MB of
memory, is a tie: two processes that do the same differ by about that much.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

GOALS = (
    ("Grad-CAM at the last stage", "last stage", "plain", 1.10),
    ("every method at every stage", "all stages", "floor", 1.25),
)
GOAL_NETWORK = "resnet50"
CLOCKS = {"wall": "wall clock", "processor": "processor time"}


def goals(result: dict[str, Any]) -> list[dict[str, Any]]:
    """pellucid's goals, on ResNet-50: the first pellucid row of each task; met when both clocks say so."""
    found = []
    if GOAL_NETWORK not in result["networks"]:
        return found
    for what, task, reference, limit in GOALS:
        rows = result["networks"][GOAL_NETWORK]["tasks"][task]
        row = next(each for each in rows if each["library"] == "pellucid")
        for threads, time in row["time"].items():
            measured = {clock: time[clock][reference] for clock in CLOCKS}
            found.append(
                {
                    "goal": what,
                    "network": GOAL_NETWORK,
                    "threads": int(threads),
                    "over": {"plain": "a plain forward pass", "floor": "the floor"}[reference],
                    "limit": limit,
                    "measured": measured,
                    "met": all(each["median"] <= limit for each in measured.values()),
                }
            )
    return found


def verdicts(result: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Wins, ties and losses of pellucid against every peer."""
    found: dict[str, dict[str, list[str]]] = {}
    for network, about in result["networks"].items():
        for task, rows in about["tasks"].items():
            by_name = {row["contender"]: row for row in rows}
            for row in rows:
                if "against" not in row:
                    continue
                mine = by_name[row["against"]]
                lists = found.setdefault(row["library"], {"wins": [], "ties": [], "losses": []})
                for measure, factor, verdict in _compare(row, mine):
                    lists[verdict].append(
                        f"{network}, {task}, {measure}: {factor} × ({row['contender']} / {mine['contender']})"
                    )
    return found


def _compare(peer: dict[str, Any], mine: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    ratio = peer["operations"] / mine["operations"]
    yield "operations", f"{ratio:.2f}", _verdict(ratio / 1.02, ratio * 1.02)
    for threads, time in peer["time"].items():
        each = time["wall"]["against"]
        slack = 1.0 if time["rounds"] >= 3 else 2.0
        verdict = _verdict(each["q1"] / slack, each["q3"] * slack)
        yield f"{threads} thread{'s' * (threads != '1')}", _spread(each), verdict
    theirs, ours = peer["memory"]["extra_mb"], mine["memory"]["extra_mb"]
    margin = max(0.2 * ours, 8)
    ratio = theirs / max(ours, 1)
    tie = abs(theirs - ours) <= margin
    yield "added memory", f"{ratio:.2f}", "ties" if tie else _verdict(ratio, ratio)


def _verdict(low: float, high: float) -> str:
    """``low`` to ``high``: what the peer takes over what pellucid takes."""
    return "wins" if low > 1 else "losses" if high < 1 else "ties"


def table(result: dict[str, Any]) -> str:
    """The whole result as Markdown."""
    machine, protocol = result["machine"], result["protocol"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    load = " to ".join(map(str, machine["load at start and end"]))
    hardware = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, load {load}"
    image = "×".join(map(str, protocol["image"]))
    lines = [
        "# Class activation maps: speed and memory",
        "",
        f"{result['date']} · {hardware} · {versions} · {protocol['rounds']} rounds.",
        "",
        f"One image {image}, random weights. Time: ratio {protocol['ratios']}; `n` rounds. "
        f"Operations: {protocol['operations']}. Added memory: {protocol['memory']}. Left out: "
        f"{protocol['left out']}.",
        "",
        "## Goals",
        "",
        "| goal | threads | limit | wall clock | processor time | |",
        "|---|---|---|---|---|---|",
    ]
    for each in result["goals"]:
        clocks = " | ".join(_spread(each["measured"][clock]) for clock in CLOCKS)
        what = f"{each['goal']}, {each['network']}, over {each['over']}"
        met = "met" if each["met"] else "**missed**"
        lines.append(f"| {what} | {each['threads']} | {each['limit']} | {clocks} | {met} |")
    for network, about in result["networks"].items():
        for task, rows in about["tasks"].items():
            lines += ["", f"## {network}, {task}", ""]
            lines += _rows(rows, "plain" if task == "last stage" else "floor")
    lines += ["", "## Wins and losses", ""]
    for peer, lists in result["verdicts"].items():
        counts = ", ".join(f"{len(listed)} {verdict}" for verdict, listed in lists.items())
        lines += [f"### pellucid against {peer}: {counts}", ""]
        for verdict in ("losses", "ties", "wins"):
            lines += [f"- {verdict}: {each}" for each in lists[verdict]]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _rows(rows: list[dict[str, Any]], reference: str) -> Iterator[str]:
    over = {"plain": "a plain forward pass", "floor": "the floor"}[reference]
    threads = list(rows[0]["time"])
    heads = [f"{clock}, {n} thread{'s' * (n != '1')}" for n in threads for clock in CLOCKS.values()]
    yield f"Time over {over}."
    yield ""
    yield f"| | maps | operations | {' | '.join(heads)} | n | added MB | peak MB |"
    yield "|" + "---|" * (len(heads) + 6)
    for row in rows:
        times = [_spread(row["time"][n][clock][reference]) for n in threads for clock in CLOCKS]
        rounds = "/".join(str(row["time"][n]["rounds"]) for n in threads)
        memory = f"{row['memory']['extra_mb']:.0f} | {row['memory']['peak_mb']:.0f}"
        name = f"**{row['contender']}**" if row["library"] == "pellucid" else row["contender"]
        cells = f"{row['maps'] or ''} | {row['operations']:.2f} | {' | '.join(times)} | {rounds} | {memory}"
        yield f"| {name} | {cells} |"


def _spread(found: dict[str, float]) -> str:
    digits = 2 if found["median"] < 10 else 0
    return f"{found['median']:.{digits}f} ({found['q1']:.{digits}f}–{found['q3']:.{digits}f})"
