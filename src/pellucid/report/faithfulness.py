"""The section that says whether a map can be trusted: its words, and two line charts drawn as SVG without any script.

Both curves of a chart begin and end at the same values, so names at line ends would fall on each other: each line is named
where its name is clear of both lines (`_named`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.report import words

WIDTH, HEIGHT = 340, 214
LEFT, RIGHT, TOP, BOTTOM = 46, 330, 22, 176
LETTER, LINE, GAP = 6.6, 15, 6  # of the names: width of a letter, height, distance to the line
TOPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # where an axis of probabilities may end
# By kind of curve: title, what is better, what the horizontal axis counts.
KINDS = {
    "deletion": ("Removing pixels, strongest first", "lower is better", "of the pixels removed"),
    "insertion": ("Bringing pixels back, strongest first", "higher is better", "of the pixels brought back"),
}
Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom

# By verdict: the answer in a word, and why.
ANSWERS = {
    "better": ("So far, yes.", "The pixels it marks matter more to the network than those under a blob in the center."),
    "as good": ("Not shown.", "A blob in the center, which knows neither network nor picture, does as well."),
    "worse": ("No.", "A blob in the center, which knows neither network nor picture, does better."),
    "flat": ("Cannot be told.", "Whichever pixels are removed, the network's answer hardly moves."),
}  # fmt: skip


@dataclass(frozen=True)
class Name:
    """The name of a line: where it begins (x) and stands (y), on the chart."""

    text: str
    x: float
    y: float


@dataclass(frozen=True)
class Chart:
    """One chart in the units of its ``viewBox``: every list of points as SVG writes it."""

    title: str
    about: str
    axis: str
    grid: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str], ...]
    map: str
    center: str
    between: str
    dots: tuple[Point, ...]
    names: tuple[Name, Name]
    spoken: str


def section(document: Mapping[str, Any], titles: Mapping[str, str]) -> dict[str, Any] | None:
    """What the template shows of ``document["faithfulness"]``; None where the map was not tested."""
    found = document.get("faithfulness")
    if found is None:
        return None
    answer, because = ANSWERS.get(found["verdict"], ("No map to test:", f"{found['reason']}."))
    sanity = found["sanity"]
    if sanity["insensitive"] and found["verdict"] == "better":
        answer = "With care."
    curves, shown = found["curves"], words.percent if found["unit"] == "probability" else words.number
    return {
        "about": f"{titles.get(found['method'], found['method'])} at {found['layer']}",
        "good": answer == ANSWERS["better"][0],
        "answer": answer,
        "because": because,
        "sanity": sanity,
        "charts": [] if not curves else [_chart(kind, found, document["target"]["name"]) for kind in KINDS],
        "rows": [] if not curves else _rows(found, shown),
        "unit": found["unit"],
        "steps": len(found["share"]) - 1,
    }


def _chart(kind: str, found: Mapping[str, Any], target: str) -> Chart:
    title, better, axis = KINDS[kind]
    low, high, shown = _scale(found)
    lines = {
        name: [
            (LEFT + (RIGHT - LEFT) * share, BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low))
            for share, value in zip(found["share"], curves[kind], strict=True)
        ]
        for name, curves in found["curves"].items()
    }
    label = _named("this map", lines["map"], lines["center"], None)
    other = _named("center blob", lines["center"], lines["map"], _box(label))
    spoken = "; ".join(
        f"{words_of}: {', '.join(shown(value) for value in found['curves'][name][kind])}"
        for name, words_of in (("map", "this map"), ("center", "a center blob"))
    )
    steps = f"in {len(found['share']) - 1} steps from none to all {axis}"
    return Chart(
        title=title,
        about=f"{found['unit'].capitalize()} of {target}: {better}",
        axis=axis,
        grid=tuple((BOTTOM - (BOTTOM - TOP) * at, shown(low + (high - low) * at)) for at in (0, 0.5, 1)),
        ticks=tuple((LEFT + (RIGHT - LEFT) * at, f"{100 * at:.0f}") for at in (0, 0.25, 0.5, 0.75, 1)),
        map=_points(lines["map"]),
        center=_points(lines["center"]),
        between=_points([*lines["map"], *reversed(lines["center"])]),
        dots=tuple((round(x, 1), round(y, 1)) for x, y in lines["map"]),
        names=(label, other),
        spoken=f"{title}. {found['unit'].capitalize()} of {target} {steps}: {spoken}.",
    )


def _scale(found: Mapping[str, Any]) -> tuple[float, float, Any]:
    """Both ends of the vertical axis, the same for both charts, and how its numbers are written."""
    every = [value for of in found["curves"].values() for curve in of.values() for value in curve]
    if found["unit"] == "probability":
        top = next((top for top in TOPS if max(every) <= top), 1.0)
        return 0.0, top, lambda share: f"{100 * share:.3g}\N{NO-BREAK SPACE}%"
    low, high = min(0.0, *every), max(0.0, *every)
    return low, high if high > low else low + 1, words.number


def _rows(found: Mapping[str, Any], shown: Any) -> list[list[str]]:
    """The table: share of the pixels, then removed and brought back by map and center; last the means."""
    columns = [(name, kind) for kind in KINDS for name in ("map", "center")]
    rows = [
        [words.percent(share), *(shown(found["curves"][name][kind][at]) for name, kind in columns)]
        for at, share in enumerate(found["share"])
    ]
    return [*rows, ["mean", *(shown(found["areas"][name][kind]) for name, kind in columns)]]


def _points(line: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in line)


def _named(text: str, own: Sequence[Point], other: Sequence[Point], taken: Box | None) -> Name:
    """The name of a line where it is near its own line, which is level there, and far from the other line and name."""
    width = LETTER * len(text)
    best, found = float("-inf"), Name(text, LEFT + GAP, TOP - GAP)
    for left in range(LEFT + 3, int(RIGHT - width), 4):
        span = (left - GAP, left + width + GAP)
        mine, theirs = _heights(own, span), _heights(other, span)
        for y in (min(mine) - GAP, max(mine) + GAP + LINE - 4):
            name = Name(text, left, round(y, 1))
            box = _box(name)
            if box[1] < 0 or box[3] > BOTTOM - 1 or (taken is not None and _overlap(box, taken)):
                continue
            clear = max(box[1] - max(theirs), min(theirs) - box[3])
            score = min(clear, 40) - 0.25 * (max(mine) - min(mine))
            if score > best:
                best, found = score, name
    return found


def _box(name: Name) -> Box:
    return name.x, name.y - LINE + 4, name.x + LETTER * len(name.text), name.y + 3


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _heights(line: Sequence[Point], span: tuple[float, float]) -> list[float]:
    """Heights of a line at a few places of a span."""
    heights = []
    for part in range(9):
        x = min(max(span[0] + (span[1] - span[0]) * part / 8, line[0][0]), line[-1][0])
        at = max(1, next(k for k, point in enumerate(line) if point[0] >= x))
        (x0, y0), (x1, y1) = line[at - 1], line[at]
        heights.append(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
    return heights
