"""Pages that show what the units of a layer detect: one HTML file per layer, and an index from shallow to deep.

A page holds everything it shows and asks for nothing. Pictures are shared between units and stored once, small; the mask of
a unit on a picture is stored as run lengths on the label grid and laid over the picture in the browser, for the cards that
come into view only. Names enter the page as text, never as markup.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pellucid.core.storage import write_text
from pellucid.dissection.table import THRESHOLD, UnitTable
from pellucid.report import build
from pellucid.report import dissection_words as say
from pellucid.speech.english import English
from pellucid.speech.text import listed, times
from pellucid.visualization.painted import read
from pellucid.visualization.result import Stored

Pictures = Callable[[int], Image.Image]
SIDE, QUALITY = 112, 70  # of a stored picture: longest side at most, JPEG
BUDGET = 9_500_000  # bytes of pictures a page should hold at most; many pictures get smaller
_PER_PIXEL, _HEAD = 0.3, 620  # bytes of such a JPEG: per pixel of a photograph, and of its tables
_TAKEN = {"index", "con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(10))}


def write_dissection(
    tables: Mapping[str, UnitTable],
    pictures: Pictures,
    folder: str | Path,
    *,
    title: str | None = None,
    threshold: float = THRESHOLD,
    painted: Mapping[str, Stored] | None = None,
) -> Path:
    """Write one page per layer beside an ``index.html``, which is returned; ``tables`` in the order shallow to deep.

    ``pictures(i)`` gives picture i of the set as the network saw it, any mode and size; only the examples of the tables
    are asked for. ``title`` names the index (default: the network). A unit is called a detector above ``threshold``.
    ``painted``: what `pellucid.visualization.stored` found, pictures by label (``"layer4:12"``), shown beside the real ones of
    their unit; that they are of the same network is for the caller to see to (`pellucid.visualization.painted.pictures_for`).
    Files appear whole or not at all, the index last. Raises ValueError without a table, for a table without units or
    concepts, for a threshold outside [0, 1), and ImageError for a painted picture that cannot be read.
    """
    check(tables, threshold)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(pictures)
    names = dict(zip(tables, file_names(list(tables)), strict=True))
    links = [None, *names.items(), None]
    for place, (layer, table) in enumerate(tables.items()):
        neighbors = {"before": links[place], "after": links[place + 2]}
        write_text(
            folder / names[layer], _layer_page(layer, table, store, threshold, painted or {}, **neighbors)
        )
    return write_text(folder / "index.html", _index_page(tables, names, title, threshold))


def render(template: str, scripts: Sequence[str], **values: Any) -> str:
    """A page with the report's style and that of dissection."""
    return build.render(template, scripts, ("report.css", "dissection.css"), say=say, **values)


def file_names(layers: Sequence[str]) -> list[str]:
    """A file name for every layer, safe and different on every file system.

    >>> file_names(["layer4.1.conv2", "features[12]/relu", "features_12_relu", "index"])
    ['layer4.1.conv2.html', 'features-12-relu.html', 'features_12_relu.html', 'index-2.html']
    """
    used, files = set(_TAKEN), []
    for layer in layers:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", layer).strip(".-_")[:80].rstrip(".-_") or "layer"
        candidate, number = stem, 1
        # Windows keeps its devices' names with any ending: aux.conv.html would be one
        while candidate.lower() in used or candidate.lower().partition(".")[0] in _TAKEN - {"index"}:
            number += 1
            head, dot, tail = (
                stem.partition(".") if stem.lower().partition(".")[0] in _TAKEN else (stem, "", "")
            )
            candidate = f"{head}-{number}{dot}{tail}"
        used.add(candidate.lower())
        files.append(f"{candidate}.html")
    return files


@dataclass
class Store:
    """Small copies of the set's pictures as base64 of a JPEG, each made once for all layers."""

    pictures: Pictures
    kept: dict[tuple[int, int], str] = field(default_factory=dict)

    def small(self, index: int, side: int) -> str:
        """Picture ``index`` with a longest side of at most ``side``."""
        if (index, side) not in self.kept:
            picture = self.pictures(index).convert("RGB")
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
            self.kept[index, side] = _jpeg(picture)
        return self.kept[index, side]


def _jpeg(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def side_for(count: int) -> int:
    """Longest side of ``count`` pictures that keeps a page within `BUDGET`, from 48 to 112 pixels.

    >>> side_for(100), side_for(2560), side_for(10_000)
    (112, 84, 48)
    """
    bytes_each = 0.75 * BUDGET / max(count, 1)  # base64 writes four characters for three bytes
    area = (bytes_each - _HEAD) / _PER_PIXEL
    return min(max(int(math.sqrt(max(area, 0))) // 4 * 4, 48), SIDE)


def runs(mask: npt.NDArray[np.bool_]) -> str:
    """A mask as lengths of its runs, row by row and beginning with one outside it: base64 of numbers of 7 bits a byte, low
    bits first, the high bit set where more follow.

    >>> import numpy as np
    >>> base64.b64decode(runs(np.array([[False, True], [True, False]]))).hex()
    '010201'
    """
    flat = np.concatenate([[False], mask.ravel(), [not mask.ravel()[-1]]]) if mask.size else np.zeros(0, bool)
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    lengths = np.diff(edges, prepend=0) if len(edges) else np.zeros(0, int)
    encoded = bytearray()
    for length in lengths.tolist():
        while length > 127:
            encoded.append(length & 127 | 128)
            length >>= 7
        encoded.append(length)
    return base64.b64encode(bytes(encoded)).decode()


def check(tables: Mapping[str, UnitTable], threshold: float) -> None:
    """Raises ValueError for what no page can be made of."""
    if not tables:
        raise ValueError("Expected at least one table, got none; try dissecting a layer first.")
    if not 0 <= threshold < 1:
        raise ValueError(f"Expected a threshold from 0 to below 1, got {threshold}; try {THRESHOLD}.")
    for layer, table in tables.items():
        if not len(table) or not table.concepts:
            raise ValueError(
                f"Expected units and concepts for `{layer}`, got {len(table)} units and {len(table.concepts)} concepts; "
                "try another layer or set of concepts."
            )


def _layer_page(
    layer: str,
    table: UnitTable,
    store: Store,
    threshold: float,
    painted: Mapping[str, Stored],
    **neighbors: tuple[str, str] | None,
) -> str:
    data = layer_data(table, store, threshold, painted)
    return render(
        "dissection.html.j2",
        ("maps.js", "elements.js", "dissection.js"),
        layer=layer,
        table=table,
        threshold=threshold,
        groups=say.groups(table, threshold),
        units=data["units"],
        data=build.script_json(data),
        top=data["top"],
        methods=_methods(table, painted),
        **neighbors,
    )


def _index_page(
    tables: Mapping[str, UnitTable], names: Mapping[str, str], title: str | None, threshold: float
) -> str:
    networks = list(dict.fromkeys(say.network(table) for table in tables.values()))
    layers = [summary(layer, table, threshold, names[layer]) for layer, table in tables.items()]
    return render(
        "dissection_index.html.j2",
        (),
        title=title or listed(networks),
        networks=networks,
        threshold=threshold,
        first=next(iter(tables.values())),
        layers=layers,
        finding=say.finding(layers),
        key=category_key(tables.values()),
        most=max(layer["unique"] for layer in layers),
    )


def summary(name: str, table: UnitTable, threshold: float, href: str | None = None) -> dict[str, Any]:
    """A table in numbers, as the index and a comparison show it beside others."""
    return {
        "name": name,
        "href": href,
        "units": len(table),
        "detectors": int(table.detectors(threshold).sum()),
        "unique": table.unique("top-label", threshold),
        "released": table.unique("released", threshold),
        "chance": table.expected_by_chance(threshold),
        "held": say.held_out_mean(table),
        "groups": say.groups(table, threshold),
        "clearest": say.clearest(table, threshold),
    }


def category_key(tables: Iterable[UnitTable]) -> list[tuple[str, int]]:
    """Every category of the tables with the number of its color."""
    return list(say.shades([name for table in tables for name in table.categories]).items())


def layer_data(
    table: UnitTable, store: Store, threshold: float, painted: Mapping[str, Stored] | None = None
) -> dict[str, Any]:
    """What the script of a page shows: units in their order, the names they speak of, and the pictures, each once."""
    examples = table.examples
    shown = [] if examples is None else sorted({int(index) for index in examples.images.flat if index >= 0})
    mine = _painted_of(table, painted or {})
    side = side_for(len(shown) + len(mine))
    chance = None if table.chance_scores is None else table.chance_scores.mean(0)
    shade = say.shades(table.categories)
    place = {concept.number: at for at, concept in enumerate(table.concepts)}
    units = [
        _unit(table, unit, threshold, place, None if chance is None else float(chance[unit]))
        for unit in range(len(table))
    ]
    for unit, one in mine.items():
        units[unit]["painted"] = [
            _jpeg(read(one, side)),
            _short_caption(one),
            English().caption(one.status, one.ratio),
        ]
    highest = max(max(unit["iou"], (unit["interval"] or [0, 0])[1], unit["chance"] or 0) for unit in units)
    return {
        "layer": table.layer,
        "threshold": threshold,
        "top": axis_end(max(highest, 2 * threshold)),
        "categories": [[name, shade[name]] for name in table.categories],
        "concepts": [
            [concept.name, int(place), *([list(concept.synonyms)] if concept.synonyms else [])]
            for concept, place in zip(table.concepts, table.category_of, strict=True)
        ],
        "complete": table.complete,
        "units": units,
        "grid": list(examples.masks.shape[2:]) if examples is not None else [0, 0],
        "pictures": {str(index): store.small(index, side) for index in shown},
    }


def axis_end(value: float) -> float:
    """Where an axis of IoUs ends: the next of 0.1, 0.2, 0.3 … 1.

    >>> axis_end(0.08), axis_end(0.1), axis_end(0.234)
    (0.1, 0.1, 0.3)
    """
    return min(max(math.ceil(round(value * 10, 6)), 1), 10) / 10


def _unit(
    table: UnitTable, unit: int, threshold: float, place: Mapping[int, int], chance: float | None
) -> dict[str, Any]:
    best, *others = table.candidates(unit) or (table.detection(unit),)
    held = table.held_out_score(unit)
    return {
        "unit": unit,
        "concept": int(table.label[unit]),
        "iou": _short(best.iou),
        "interval": None if best.interval is None else [_short(end) for end in best.interval],
        "detector": best.iou > threshold,
        "silent": not table.counts.activation[unit].any(),
        "chance": None if chance is None else _short(chance),
        "held": None if held is None else [place[held[0].number], _short(held[1])],
        "others": [[place[other.concept.number], _short(other.iou)] for other in others],
        "examples": _examples(table, unit),
    }


def _painted_of(table: UnitTable, painted: Mapping[str, Stored]) -> dict[int, Stored]:
    """The painted pictures of a table's units."""
    labels = {unit: f"{table.layer}:{unit}" for unit in range(len(table))}
    return {unit: painted[label] for unit, label in labels.items() if label in painted}


def _methods(table: UnitTable, painted: Mapping[str, Stored]) -> list[str]:
    return sorted({one.method for one in _painted_of(table, painted).values()})


def _short_caption(one: Stored) -> str:
    """What fits below a small picture: its ratio, or why it shows nothing."""
    return (
        f"failed: {one.status}"
        if one.status != "ok"
        else ""
        if one.ratio is None
        else times(max(one.ratio, 0))
    )


def _examples(table: UnitTable, unit: int) -> list[list[Any]]:
    """(picture, largest activation, mask) of a unit, strongest first."""
    if table.examples is None:
        return []
    found = zip(
        table.examples.images[unit], table.examples.maxima[unit], table.examples.masks[unit], strict=True
    )
    return [[int(image), float(f"{top:.4g}"), runs(mask)] for image, top, mask in found if image >= 0]


def _short(value: float) -> float:
    return round(float(value), 5)
