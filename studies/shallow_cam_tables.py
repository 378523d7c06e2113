"""Tables of the study `shallow-cam` in Markdown, with sentences that follow from the numbers, wins and losses alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import kit
from kit import listed
from pellucid.evaluation import Interval, bootstrap
from shallow_cam_numbers import BASE, BLURRED, EVERYWHERE, MAIN, Board, Study, called, numbers

NONE = "–"
QUANTITIES = {"pointing": "pointing game", "energy": "energy inside", "relative": "relative IoU"}


table = partial(kit.table, right=True)


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, a true minus, and no negative zero."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def plain(value: float | None, digits: int = 2) -> str:
    """A number with a true minus."""
    return NONE if value is None or value != value else f"{value:.{digits}f}".replace("-", "−")


def shown(interval: Interval | None, digits: int = 2) -> str:
    """A mean difference with its interval."""
    if interval is None or not interval.count:
        return NONE
    return (
        f"{signed(interval.mean, digits)} [{signed(interval.low, digits)}, {signed(interval.high, digits)}]"
    )


def codes(layers: Iterable[str]) -> list[str]:
    """Names of layers as code."""
    return [f"`{layer}`" for layer in layers]


def faithfulness(study: Study) -> list[str]:
    """Every method and control at every stage."""
    board = study.composite
    placed = {layer for at in board.values.values() for layer in at} - {EVERYWHERE}
    columns = [*study.layers, *sorted(placed - set(study.layers))]
    best = {layer: board.best(layer) for layer in columns}

    def cell(name: str, layer: str) -> str:
        text = _bold(plain(board.mean(name, layer), 1), name in best[layer])
        margin = None if name == BASE else board.margin(name, layer)
        return text if margin is None else f"{text}<br><sub>{shown(margin, 1)}</sub>"

    rows = [
        [_name(board, name), *(cell(name, layer) for layer in columns)]
        for name in [*board.methods, *board.controls]
    ]
    notes = [f"{study.found['images']} images."]
    if study.found.get("blur_sigma"):
        sigmas = (f"`{layer}` {sigma:g}" for layer, sigma in study.found["blur_sigma"].items())
        notes.append(f"σ of the blurred LayerCAM in pixels: {', '.join(sigmas)}.")
    return [
        f"### {study.title}",
        _verdict(study),
        table(("method", *codes(columns)), rows),
        " ".join([*notes, *_dagger(study, board)]),
    ]


def _verdict(study: Study) -> str:
    board, count = study.composite, len(study.layers)
    wins, blurred = (
        sum(board.above(MAIN, layer, over) for layer in study.layers) for over in (BASE, BLURRED)
    )
    short = {layer: study.short_of(layer) for layer in study.layers}
    missed = [f"`{layer}` by {by:.2f}" for layer, by in short.items() if by is not None]
    sentences = [
        f"Shallow-CAM is above LayerCAM at {wins} of {count} stages and above the blurred LayerCAM at {blurred}; the goal is "
        + (f"missed at {listed(missed)}." if missed else "reached at all of them.")
    ]
    best = [layer for layer in study.layers if board.best(layer) == [MAIN]]
    if best:
        sentences.append(f"It is the best method at {listed(codes(best))}.")
    for layer in study.layers:
        rivals = board.rivals(layer)
        named = [f"{_name(board, name)} by {shown(by, 1)}" for name, by in [*rivals.items()][:3]]
        more = [f"{len(rivals) - 3} more"] if len(rivals) > 3 else []
        if rivals:
            sentences.append(f"Above it at `{layer}`: {listed([*named, *more])}.")
    return " ".join(sentences)


def localization(studies: Sequence[Study]) -> list[str]:
    """LayerCAM and Shallow-CAM on every kind of mask."""
    blocks: list[str] = []
    lower: list[str] = []
    total = 0
    for study in studies:
        for masks, found in (study.found.get("localization") or {}).items():
            rows = [row for layer in study.layers for row in _on_masks(layer, found)]
            if rows:
                head = ("stage, measure", "LayerCAM", "Shallow-CAM", "difference", "outcome")
                blocks += [f"### {study.title}: {masks}, {found['images']} images", table(head, rows)]
            total += len(rows)
            lower += [f"{study.name}, {masks}, {row[0]} ({row[3]})" for row in rows if row[4] != "no worse"]
    verdict = f"Shallow-CAM is no worse than LayerCAM in {total - len(lower)} of {total} comparisons"
    verdict += ". It is not in:\n\n" + "\n".join(f"- {each}" for each in lower) if lower else "."
    return blocks and [
        "## Localization",
        "Does the map's maximum lie on the mask (pointing game), how much of the map lies inside (energy), and how well "
        "do map and mask overlap at the layer's own resolution, relative to what is attainable there (relative IoU). "
        "Goal: no worse. “Lower” is below LayerCAM with an interval that includes zero; “worse” is below zero with its "
        "whole interval.",
        verdict,
        *blocks,
    ]


def _on_masks(layer: str, found: Mapping[str, Any]) -> list[list[str]]:
    theirs, ours = (found.get(name, {}).get(layer, {}) for name in (BASE, MAIN))
    rows = []
    for quantity, title in QUANTITIES.items():
        if theirs.get(quantity) and ours.get(quantity):
            one, other = numbers(theirs[quantity]), numbers(ours[quantity])
            change = bootstrap(other - one)
            means = [plain(bootstrap(values).mean, 3) for values in (one, other)]
            rows.append([f"`{layer}`, {title}", *means, shown(change, 3), _outcome(change)])
    return rows


def _outcome(change: Interval) -> str:
    if not change.count:
        return "undefined"
    if change.mean >= 0:
        return "no worse"
    return "**worse**" if change.high < 0 else "lower"


def intervention(studies: Sequence[Study]) -> list[str]:
    """Agreement with the true effects of parts, every method at every stage."""
    blocks = []
    for study in studies:
        rank, gain = study.truth("rank"), study.truth("gain")
        if rank.values:
            rows = [
                [_name(rank, name), *(_agreement(rank, gain, name, layer) for layer in study.layers)]
                for name in [*rank.methods, *rank.controls]
            ]
            head = ("method", *codes(study.layers))
            notes = " ".join(_dagger(study, rank))
            blocks += [f"### {study.title}", _highest(study, rank), table(head, rows), notes]
    return blocks and [
        "## Agreement with the true effects of parts",
        "Every part of the object is taken out of the scene and the scene painted again; what the network loses is the truth. "
        "Above: rank correlation of the map's mass on the parts with it. Below: its gain over the rank correlation of "
        "the parts' areas. **Bold**: the best method. Goal: Shallow-CAM highest at every stage.",
        *blocks,
    ]


def _agreement(rank: Board, gain: Board, name: str, layer: str) -> str:
    ours, above = rank.mean(name, layer), gain.mean(name, layer)
    if ours is None or above is None:
        return NONE
    low = _bold(signed(above, 3), name in gain.best(layer))
    return f"{_bold(plain(ours, 3), name in rank.best(layer))}<br><sub>{low}</sub>"


def _highest(study: Study, rank: Board) -> str:
    won = [layer for layer in study.layers if rank.best(layer) == [MAIN]]
    lost = [layer for layer in study.layers if layer not in won]
    parts = [f"highest at {len(won)} of {len(study.layers)} stages"]
    for layer in lost:
        rivals = rank.rivals(layer, controls=False)
        named = [f"{_name(rank, name)} by {shown(by, 3)}" for name, by in [*rivals.items()][:3]]
        more = [f"{len(rivals) - 3} more"] if len(rivals) > 3 else []
        parts.append(
            f"at `{layer}` above it: {listed([*named, *more])}" if rivals else f"undefined at `{layer}`"
        )
    return f"By rank correlation Shallow-CAM is {'; '.join(parts)}."


def tuning(studies: Sequence[Study]) -> list[str]:
    """The forms and ablations that were tried on the tuning half."""
    blocks = []
    for study in studies:
        tried = study.found.get("tuning") or {}
        if len(tried) > 1 and BASE in tried:
            read = {
                form: {at: 100 * numbers(values) for at, values in found.items()}
                for form, found in tried.items()
            }
            head = ("form", *codes(study.layers))
            count = len(next(iter(tried[BASE].values())))
            blocks += [f"### {study.title}, {count} images", table(head, _forms(Board(read), study.layers))]
    return blocks and [
        "## Forms tried on the tuning half",
        "Margin over LayerCAM of every form of Shallow-CAM (the first is the one in use, the others change the named "
        "parameter) and of the blurred control, on images that are not among those reported above. **Bold**: the highest "
        "of a stage.",
        *blocks,
    ]


def _forms(board: Board, layers: Sequence[str]) -> list[list[str]]:
    margins = {form: [board.margin(form, layer) for layer in layers] for form in board.values if form != BASE}
    highest = [
        max((found.mean for found in column if found is not None), default=None)
        for column in zip(*margins.values(), strict=True)
    ]
    rows = [["LayerCAM, its composite", *(plain(board.mean(BASE, layer), 1) for layer in layers)]]
    for form, found in margins.items():
        cells = [
            _bold(shown(each, 1), each is not None and each.mean == most)
            for each, most in zip(found, highest, strict=True)
        ]
        rows.append([form, *cells])
    return rows


def _dagger(study: Study, board: Board) -> list[str]:
    if not board.fewer & set(board.methods):
        return []
    return [
        f"† on the first {study.few} images only: compared on exactly those, and bold where better on them than the best "
        "of the rest; their means are not to be read against the others."
    ]


def _name(board: Board, method: str) -> str:
    control = "control: " if method in board.controls else ""
    return f"{control}{called(method)}{' †' if method in board.fewer else ''}"


def _bold(text: str, really: bool) -> str:
    return f"**{text}**" if really and text != NONE else text
