"""The section that says whether a map can be trusted: its words, and two line charts drawn as SVG without any script.

Both curves of a chart begin and end at the same values, so names at line ends would fall on each other: each line is named
where its name is clear of both lines (`_named`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.report.words import percent
from pellucid.speech import text
from pellucid.speech.speaking import Speaker

WIDTH, HEIGHT = 340, 214
LEFT, RIGHT, TOP, BOTTOM = 46, 330, 22, 176
LETTER, WIDE, LINE, GAP = (
    6.6,
    12,
    15,
    6,
)  # of the names: width of a letter and of a Chinese one, height, distance to the line
TOPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # where an axis of probabilities may end
# By kind of curve: title, what its vertical axis says, what the horizontal axis counts.
KINDS = {
    "deletion": ("Removing pixels, strongest first", "{0} of {1}: lower is better", "of the pixels removed"),
    "insertion": (
        "Bringing pixels back, strongest first",
        "{0} of {1}: higher is better",
        "of the pixels brought back",
    ),
}
Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom

# By verdict of one test: what it says.
SAYS = {
    "better": "better than a center blob",
    "as good": "only as good as a center blob",
    "worse": "worse than a center blob",
}
ANSWER = "Removing pixels: {0}. Bringing them back: {1}."
ALIKE = "Both tests: {0}."
BETTER = (
    "In both tests the pixels it marks matter more to the network than those under a blob in the center, which knows neither "
    "network nor picture. That is needed, and no proof."
)
WORSE = "A blob in the center, which knows neither network nor picture, does better in at least one test: do not rely on it here."
AS_GOOD = "A blob in the center, which knows neither network nor picture, does as well in at least one test: that shows nothing."
FLAT = ("Cannot be told.", "Whichever pixels are removed, the network's answer hardly moves.")
OVERRIDDEN = (
    "Do not trust it.",
    "It hardly depends on what the network learned, however it compares with a blob in the center.",
)
NO_MAP = "No map to test:"
SPOKEN = "{0}. {1} of {2} in {3} steps from none to all {4}: this map: {5}; a center blob: {6}."


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


def section(document: Mapping[str, Any], titles: Mapping[str, str], voice: Speaker) -> dict[str, Any] | None:
    """What the template shows of ``document["faithfulness"]``; None where the map was not tested."""
    found = document.get("faithfulness")
    if found is None:
        return None
    curves = found["curves"]
    target = voice.names.get(document["target"]["name"], document["target"]["name"])
    answer, because = _answer(found, voice)
    return {
        "about": voice.fixed("{0} at {1}", titles.get(found["method"], found["method"]), found["layer"]),
        "good": not found["overridden"] and set(found["verdicts"].values()) == {"better"},
        "answer": answer,
        "because": because,
        "sanity": found["sanity"],
        "correlation": text.measured(found["sanity"]["similarity"], found["sanity"].get("spread")),
        "charts": [] if not curves else [_chart(kind, found, target, voice) for kind in KINDS],
        "rows": [] if not curves else _rows(found, _shown(found), voice),
        "unit": voice.fixed(found["unit"]),
        "steps": len(found["share"]) - 1,
    }


def _answer(found: Mapping[str, Any], voice: Speaker) -> tuple[str, str]:
    """What was tested and with which result; and what that means. A failed sanity check overrides every verdict."""
    verdicts = found["verdicts"]
    if found["overridden"] and found["curves"]:
        answer, because = OVERRIDDEN
    elif found["verdict"] == "flat":
        answer, because = FLAT
    elif not verdicts:
        return voice.fixed(NO_MAP), f"{voice.fixed(found['reason'])}{'.' if voice.code == 'en' else '。'}"
    else:
        deletion, insertion = (voice.fixed(SAYS[verdicts[kind]]) for kind in KINDS)
        meaning = (
            WORSE
            if "worse" in verdicts.values()
            else BETTER
            if set(verdicts.values()) == {"better"}
            else AS_GOOD
        )
        same = deletion == insertion
        answer = voice.fixed(ALIKE, deletion) if same else voice.fixed(ANSWER, deletion, insertion)
        return answer, voice.fixed(meaning)
    return voice.fixed(answer), voice.fixed(because)


def _shown(found: Mapping[str, Any]) -> Callable[[float], str]:
    """How values of the curves are written."""
    return percent if found["unit"] == "probability" else text.number


def _at_axis(value: float, unit: str) -> str:
    """A number at an axis: no more decimals than it has."""
    if unit != "probability":
        return text.number(value)
    return percent(value, 0 if round(100 * value, 6) == round(100 * value) else 1)


def _chart(kind: str, found: Mapping[str, Any], target: str, voice: Speaker) -> Chart:
    title, vertical, axis = KINDS[kind]
    low, high = _scale(found)
    shown = _shown(found)
    lines = {
        name: [
            (LEFT + (RIGHT - LEFT) * share, BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low))
            for share, value in zip(found["share"], curves[kind], strict=True)
        ]
        for name, curves in found["curves"].items()
    }
    label = _named(voice.fixed("this map"), lines["map"], lines["center"], None)
    other = _named(voice.fixed("center blob"), lines["center"], lines["map"], _box(label))
    measure = voice.fixed(found["unit"].capitalize())
    values = [", ".join(shown(value) for value in found["curves"][name][kind]) for name in ("map", "center")]
    steps = len(found["share"]) - 1
    return Chart(
        title=voice.fixed(title),
        about=voice.fixed(vertical, measure, target),
        axis=voice.fixed(axis),
        grid=tuple(
            (BOTTOM - (BOTTOM - TOP) * at, _at_axis(low + (high - low) * at, found["unit"]))
            for at in (0, 0.5, 1)
        ),
        ticks=tuple((LEFT + (RIGHT - LEFT) * at, f"{100 * at:.0f}") for at in (0, 0.25, 0.5, 0.75, 1)),
        map=_points(lines["map"]),
        center=_points(lines["center"]),
        between=_points([*lines["map"], *reversed(lines["center"])]),
        dots=tuple((round(x, 1), round(y, 1)) for x, y in lines["map"]),
        names=(label, other),
        spoken=voice.fixed(SPOKEN, voice.fixed(title), measure, target, steps, voice.fixed(axis), *values),
    )


def _scale(found: Mapping[str, Any]) -> tuple[float, float]:
    """Both ends of the vertical axis, the same for both charts."""
    every = [value for of in found["curves"].values() for curve in of.values() for value in curve]
    if found["unit"] == "probability":
        return 0.0, next((top for top in TOPS if max(every) <= top), 1.0)
    low, high = min(0.0, *every), max(0.0, *every)
    return low, high if high > low else low + 1


def _rows(found: Mapping[str, Any], shown: Callable[[float], str], voice: Speaker) -> list[list[str]]:
    """The table: share of the pixels, then removed and brought back by map and center; last the means."""
    columns = [(name, kind) for kind in KINDS for name in ("map", "center")]
    rows = [
        [percent(share), *(shown(found["curves"][name][kind][at]) for name, kind in columns)]
        for at, share in enumerate(found["share"])
    ]
    return [*rows, [voice.fixed("mean"), *(shown(found["areas"][name][kind]) for name, kind in columns)]]


def _points(line: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in line)


def _named(words: str, own: Sequence[Point], other: Sequence[Point], taken: Box | None) -> Name:
    """The name of a line where it is near its own line, which is level there, and far from the other line and name."""
    width = _width(words)
    best, found = float("-inf"), Name(words, LEFT + GAP, TOP - GAP)
    for left in range(LEFT + 3, int(RIGHT - width), 4):
        span = (left - GAP, left + width + GAP)
        mine, theirs = _heights(own, span), _heights(other, span)
        for y in (min(mine) - GAP, max(mine) + GAP + LINE - 4):
            name = Name(words, left, round(y, 1))
            box = _box(name)
            if box[1] < 0 or box[3] > BOTTOM - 1 or (taken is not None and _overlap(box, taken)):
                continue
            clear = max(box[1] - max(theirs), min(theirs) - box[3])
            score = min(clear, 40) - 0.25 * (max(mine) - min(mine))
            if score > best:
                best, found = score, name
    return found


def _box(name: Name) -> Box:
    return name.x, name.y - LINE + 4, name.x + _width(name.text), name.y + 3


def _width(words: str) -> float:
    return sum(LETTER if letter.isascii() else WIDE for letter in words)


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
