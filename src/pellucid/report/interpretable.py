"""Pages that show which part every filter means: a page per layer, an index, and a page per picture with where each filter sits.

A page holds everything it shows and asks for nothing. Pictures are those the network saw; the mark is the center of the strongest
cell, and where a layer is interpretable its template is drawn around it: a filter sees only what is inside.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pellucid.core.storage import write_text
from pellucid.interpretable.parts.filters import FilterHere, LayerTemplates
from pellucid.interpretable.parts.table import PartTable
from pellucid.report import build
from pellucid.report import interpretable_words as say
from pellucid.report.dissection import Pictures, Store, axis_end, file_names, side_for

_STYLES = ("report.css", "dissection.css", "interpretable.css")
_SIDE, _SMALL = 640, 112  # of the picture of a page about one picture, at most


def write_interpretable(
    tables: Mapping[str, PartTable],
    pictures: Pictures,
    folder: str | Path,
    *,
    templates: Mapping[str, LayerTemplates] | None = None,
    images: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write a page per layer, and an ``index.html`` (the page itself where there is one layer), which is returned.

    ``pictures(i)`` gives picture i of the set as the network saw it; only the examples of the tables are asked for.
    ``templates``: of interpretable layers, what `layer_templates` gives. ``images``: (file name, name) of pages about single
    pictures, to link to. Files appear whole or not at all, the index last. Raises ValueError without a table, or for one without
    filters or parts.
    """
    check(tables)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(pictures)
    names = dict(zip(tables, file_names(list(tables)), strict=True))
    for layer, table in tables.items():
        alone = len(tables) == 1
        text = _layer_page(table, store, (templates or {}).get(layer), alone, images)
        path = write_text(folder / ("index.html" if alone else names[layer]), text)
        if alone:
            return path
    rows = [
        {**table.summary(), "href": names[layer], "points": int(say.clear(table).sum())}
        for layer, table in tables.items()
    ]
    first = next(iter(tables.values()))
    page = _render("interpretable_index.html.j2", (), rows=rows, first=first, images=list(images))
    return write_text(folder / "index.html", page)


def write_image_page(
    picture: Image.Image,
    name: str,
    found: Mapping[str, Sequence[FilterHere]],
    tables: Mapping[str, PartTable],
    path: str | Path,
    *,
    index: str | None = None,
) -> Path:
    """Write the page of one picture: of every layer the filters ``found`` (see `filters_of`), where they sit, and what they mean.

    ``picture``: what the network saw; ``index``: the file name of the page about the network. Raises ValueError for a layer that
    has no table.
    """
    for layer in found:
        if layer not in tables:
            raise ValueError(
                f"Expected a table for every layer, got none for `{layer}`; try `measure_parts` with it."
            )
    layers = [
        {
            "name": layer,
            "table": tables[layer],
            "filters": [_here(one, tables[layer]) for one in ones],
            "found": ones,
            "first": ones.index(first) if (first := say.first(ones)) is not None else 0,
        }
        for layer, ones in found.items()
    ]
    page = _render(
        "interpretable_image.html.j2",
        ("interpretable_image.js",),
        name=name,
        layers=layers,
        size=(picture.height, picture.width),
        uri=_uri(picture, _SIDE),
        thumbnail=_uri(picture, _SMALL),
        index=index,
    )
    return write_text(Path(path), page)


def check(tables: Mapping[str, PartTable]) -> None:
    """Raises ValueError for what no page can be made of."""
    if not tables:
        raise ValueError("Expected at least one table, got none; try `measure_parts` first.")
    for layer, table in tables.items():
        if not len(table) or not table.keys:
            raise ValueError(
                f"Expected filters and parts for `{layer}`, got {len(table)} filters and {len(table.keys)} parts."
            )


def _render(template: str, scripts: Sequence[str], **values: Any) -> str:
    return build.render(template, scripts, _STYLES, say=say, **values)


def _layer_page(
    table: PartTable,
    store: Store,
    templates: LayerTemplates | None,
    alone: bool,
    images: Sequence[tuple[str, str]],
) -> str:
    data = layer_data(table, store, templates)
    return _render(
        "interpretable.html.j2",
        ("elements.js", "interpretable.js"),
        table=table,
        filters=data["filters"],
        parts=data["parts"],
        data=build.script_json(data),
        groups=say.groups(table),
        templates=templates if templates is not None and _placed(templates) else None,
        alone=alone,
        images=list(images),
    )


def layer_data(table: PartTable, store: Store, templates: LayerTemplates | None = None) -> dict[str, Any]:
    """What the script of a page shows: parts, filters in their order, and the pictures, each once."""
    shown = [] if table.examples is None else sorted({int(k) for k in table.examples.images.flat if k >= 0})
    side = side_for(len(shown))
    spread = table.spread
    known = [value for value in (spread, table.chance_spread) if value is not None]
    most = max((float(np.nanmax(each)) for each in known if np.isfinite(each).any()), default=0.1)
    columns = _Columns(table)
    filters = [columns.filter(index, templates) for index in range(len(table))]
    return {
        "layer": table.layer,
        "classes": list(table.classes),
        "parts": [
            [say.named(key), int(place)] for key, place in zip(table.keys, table.class_of, strict=True)
        ],
        "top": axis_end(min(most, 1.0)),
        "size": list(table.facts["input_size"]),
        "norm": None if templates is None else templates.norm,
        "filters": filters,
        "pictures": {str(index): store.small(index, side) for index in shown},
    }


class _Columns:
    """The numbers of all filters of a table, worked out once."""

    def __init__(self, table: PartTable) -> None:
        self.table, self.clear = table, say.clear(table)
        self.interval = table.interval("filter interpretability")
        self.steady = table.interval("filter instability")
        self.chance = table.chance_interpretability()

    def filter(self, index: int, templates: LayerTemplates | None) -> dict[str, Any]:
        """What the script shows of one filter."""
        table = self.table
        part, value = int(table.best()[index]), float(table.interpretability()[index])
        near, wanders = table.nearest(index), table.spread[index, part] if part >= 0 else math.nan
        by_chance = table.chance_spread
        return {
            "index": index,
            "part": part if part >= 0 and value > 0 else None,
            "share": _short(value),
            "interval": None if self.interval is None else [_short(end) for end in self.interval[index]],
            "chance": None if self.chance is None else _short(self.chance[index]),
            "clear": bool(self.clear[index]),
            "wanders": _short(wanders),
            "wandersByChance": None if part < 0 or by_chance is None else _short(by_chance[index, part]),
            "instability": _short(table.instability[index]),
            "steady": None if self.steady is None else [_short(end) for end in self.steady[index]],
            "near": None if near is None else table.keys.index(near),
            "reach": _reach(table, templates.reach[index])
            if templates is not None and _placed(templates)
            else None,
            "examples": _examples(table, index, templates),
        }


def _placed(templates: LayerTemplates) -> bool:
    """Is it known where the templates are?"""
    return templates.position == "argmax" or templates.places is not None


def _examples(table: PartTable, index: int, templates: LayerTemplates | None) -> list[list[Any]]:
    """(picture, y, x, largest activation) of a filter, strongest first; and (y, x) of its template where that is elsewhere."""
    if table.examples is None:
        return []
    places = None if templates is None else templates.places
    found = []
    for image, cell, top in zip(
        table.examples.images[index], table.examples.cells[index], table.examples.maxima[index], strict=True
    ):
        if image >= 0:
            one = [int(image), *_center(table, cell), float(f"{top:.3g}")]
            found.append(one if places is None else one + _center(table, places[int(image)][index]))
    return found


def _here(one: FilterHere, table: PartTable) -> dict[str, Any]:
    """A filter in a picture, as the template draws it: centers in pixels from the upper left corner."""
    template = None
    if one.template is not None:
        reach = _reach(table, one.template.reach)
        template = {"norm": one.template.norm, "center": _center(table, one.template.cell), "reach": reach}
    stride = table.facts["stride"]
    return {
        "index": one.index,
        "name": "no known part" if one.part is None else say.named(one.part),
        "clear": one.part is not None and one.interpretability >= say.CLEAR,
        "center": _center(table, one.cell),
        "cell": [stride[0] / 2, stride[1] / 2],
        "template": template,
        "spread": None if one.part is None else float(table.spread[one.index, table.keys.index(one.part)]),
        "instability": one.instability,
        "answers": one.answers,
    }


def _uri(picture: Image.Image, side: int) -> str:
    shown = picture.convert("RGB")
    shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _center(table: PartTable, cell: Any) -> list[float]:
    """(y, x) of a cell's center from the upper left corner of the input."""
    start, stride = table.facts["start"], table.facts["stride"]
    return [round(start[k] + float(cell[k]) * stride[k] + 0.5, 2) for k in (0, 1)]


def _reach(table: PartTable, cells: float) -> list[float]:
    return [round(cells * stride, 2) for stride in table.facts["stride"]]


def _short(value: float) -> float | None:
    return round(float(value), 5) if math.isfinite(value) else None
