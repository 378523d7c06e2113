"""Part tables on disk: per layer ``<stem>.parts.safetensors`` (`pellucid.core.bundle`) and ``<stem>.parts.csv`` (a row per
filter, for people). A table that is loaded equals the one that was saved, to the last bit.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from pellucid.core.bundle import Arrays, Kind
from pellucid.core.documents import Count, DocumentError, FlawError, convert
from pellucid.core.storage import write_text
from pellucid.data.parts.source import PartKey
from pellucid.interpretable.parts.table import Examples, PartTable

ENDINGS = (".safetensors", ".csv")
_ARRAYS = (
    "pictures",
    "masked",
    "landmarked",
    "thresholds",
    "strength",
    "spread",
    "used",
    "chance_spread",
    "center_spread",
)
_FEW, _MANY = ("interpretability", "instability"), ("filter interpretability", "filter instability")
_COLUMNS = (
    *("filter", "class", "part", "interpretability", "interpretability_low", "interpretability_high"),
    *("interpretability_by_chance", "steadiest_class", "steadiest_part", "instability", "instability_low"),
    *("instability_high", "instability_by_chance", "instability_of_own_class", "threshold"),
)


class TableError(DocumentError):
    """A stored part table that cannot be read."""


class _Network(msgspec.Struct, frozen=True):
    name: str = "a network"


class _Source(msgspec.Struct, frozen=True):
    name: str = "–"


class _Settings(msgspec.Struct, frozen=True):
    seed: int | None = None


class _Known(msgspec.Struct, frozen=True):
    """Facts that are read by name; others are only shown."""

    network: _Network = _Network()
    parts: _Source = _Source()
    settings: _Settings = _Settings()
    images: Count = 0
    input_size: tuple[Count, Count] | None = None
    start: tuple[float, float] | None = None
    stride: tuple[float, float] | None = None
    cells: tuple[Count, Count] | None = None


class _Noted(msgspec.Struct, frozen=True):
    facts: _Known


class PartFacts(msgspec.Struct, frozen=True):
    """What a stored table says of itself; ``names``: of the pictures of its examples, by number."""

    layer: str
    parts: Annotated[tuple[tuple[str, str], ...], msgspec.Meta(min_length=1)]
    regions: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    names: dict[int, str]
    facts: dict[str, Any]


TABLE = Kind("pellucid part table", 2, PartFacts, "measuring again with `pellucid parts`", TableError)


def save_parts(
    tables: Mapping[str, PartTable], folder: str | Path, stems: Mapping[str, str] | None = None
) -> list[str]:
    """Write tables by layer and give the names of their files; ``stems`` are made of the layers' names unless given.

    Raises ValueError for facts that JSON does not have.
    """
    names = []
    for stem, table in zip(
        file_stems(tables) if stems is None else map(stems.__getitem__, tables), tables.values(), strict=True
    ):
        facts = {
            "layer": table.layer,
            "parts": [list(key) for key in table.keys],
            "regions": list(table.regions),
            "names": {} if table.examples is None else dict(table.examples.names),
            "summary": table.summary(),
            "facts": dict(table.facts),
        }
        head, rows = (Path(folder) / f"{stem}{ending}" for ending in ENDINGS)
        TABLE.write(head, facts, _arrays(table))
        write_text(rows, to_csv(table))
        names += [head.name, rows.name]
    return names


def load_parts(folder: str | Path) -> dict[str, PartTable]:
    """All part tables of a folder by layer; other files are passed over.

    Raises FileNotFoundError where there is none, ValueError (TableError) for one that is damaged or of a newer pellucid.
    """
    tables = [read_parts(file) for file in TABLE.files(Path(folder))]
    if not tables:
        raise FileNotFoundError(
            f"Expected a folder with part tables, got `{folder}`, which holds none; try the folder of `pellucid parts`."
        )
    return {table.layer: table for table in tables}


def read_parts(file: Path) -> PartTable:
    """The table of a file. Raises FileNotFoundError, and TableError for a damaged file or another."""
    bundle = TABLE.read(file)
    try:
        return _table(bundle.facts, bundle.arrays)
    except FlawError as flaw:
        raise TABLE.damaged(file, flaw) from None


def file_stems(layers: Mapping[str, Any]) -> list[str]:
    """A safe stem for every layer, all different.

    >>> file_stems({"features.28": 0, "a/b": 0, "a:b": 0})
    ['features.28.parts', 'a-b.parts', 'a-b-2.parts']
    """
    used: list[str] = []
    for layer in layers:
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", layer).strip("-.")[:80] or "layer"
        stem, count = base, 1
        while stem.casefold() in (one.casefold() for one in used):
            count += 1
            stem = f"{base}-{count}"
        used.append(stem)
    return [f"{stem}.parts" for stem in used]


def to_csv(table: PartTable) -> str:
    """A row per filter: its part and numbers, then P and D of every part (``P class/part``). Empty: not known."""
    names = [f"{key.object_class}/{key.name}" for key in table.keys]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(f"P {name}" for name in names), *(f"D {name}" for name in names)])
    for row in rows(table):
        index = row["filter"]
        values = [*table.probability[table.regions[0]][index], *table.spread[index]]
        writer.writerow([*(_cell(row[column]) for column in _COLUMNS), *map(_cell, values)])
    return text.getvalue()


def rows(table: PartTable) -> list[dict[str, Any]]:
    """What every filter means, in numbers; None: not known."""
    ends = {name: table.interval(f"filter {name}") for name in ("interpretability", "instability")}
    chance = {"interpretability": table.chance_interpretability(), "instability": table.chance_instability}
    found = []
    for index in range(len(table)):
        part, near = table.meaning(index), table.nearest(index)
        row: dict[str, Any] = {
            "filter": index,
            "class": table.classes[int(table.own_class[index])],
            "part": part.name if part else None,
            "steadiest_class": near.object_class if near else None,
            "steadiest_part": near.name if near else None,
            "instability_of_own_class": _number(table.instability_of_own_class[index]),
            "threshold": _number(table.thresholds[index]),
        }
        for name, values in (
            ("interpretability", table.interpretability()),
            ("instability", table.instability),
        ):
            low_high, by_chance = ends[name], chance[name]
            row[name] = _number(values[index])
            row[f"{name}_low"], row[f"{name}_high"] = (
                (None, None) if low_high is None else map(_number, low_high[index])
            )
            row[f"{name}_by_chance"] = None if by_chance is None else _number(by_chance[index])
        found.append(row)
    return found


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else value


def _arrays(table: PartTable) -> dict[str, Any]:
    found = {name: getattr(table, name) for name in _ARRAYS if getattr(table, name) is not None}
    for kind, values in (
        ("probability", table.probability),
        ("chance", table.chance_probability),
        ("draws", table.draws),
    ):
        found |= {f"{kind}/{name}": value for name, value in values.items()}
    if table.examples is not None:
        examples = table.examples
        found |= {
            "examples/images": examples.images,
            "examples/cells": examples.cells,
            "examples/maxima": examples.maxima,
        }
    return found


def _table(facts: PartFacts, arrays: Arrays) -> PartTable:
    """The table of a file's facts and arrays, checked to fit together. Raises FlawError."""
    convert({"facts": facts.facts}, _Noted)
    keys = tuple(PartKey(*key) for key in facts.parts)
    if len(set(keys)) < len(keys) or len(set(facts.regions)) < len(facts.regions):
        raise FlawError("parts: expected parts and regions of different names, got two of one")
    parts, classes = len(keys), len({key.object_class for key in keys})
    filters = len(arrays.take("thresholds", np.float32, (None,), infinite=True))
    square = filters, parts
    shares = {f"probability/{region}": True for region in facts.regions}
    shares |= {f"chance/{region}": False for region in facts.regions}
    read = {
        name: arrays.take(name, np.float64, square, 0, 1, nan=True)
        for name, needed in shares.items()
        if needed or name in arrays
    }
    draws = {name: arrays.optional(f"draws/{name}", np.float64, (None,), nan=True) for name in _FEW}
    draws |= {name: arrays.optional(f"draws/{name}", np.float64, (None, filters), nan=True) for name in _MANY}
    counts = sorted({len(values) for values in draws.values() if values is not None})
    if len(counts) > 1:
        raise FlawError(f"draws: expected as many of every number, got {' and '.join(map(str, counts))}")
    return PartTable(
        facts.layer,
        keys,
        arrays.take("pictures", np.int64, (classes,), 0),
        arrays.take("masked", np.int64, (parts,), 0),
        arrays.take("landmarked", np.int64, (parts,), 0),
        arrays.take("thresholds", np.float32, (filters,), infinite=True),
        arrays.take("strength", np.float64, (filters, classes), infinite=True),
        {region: read[f"probability/{region}"] for region in facts.regions},
        arrays.take("spread", np.float64, square, 0, nan=True),
        arrays.take("used", np.int64, square, 0),
        {region: read[f"chance/{region}"] for region in facts.regions if f"chance/{region}" in read},
        arrays.optional("chance_spread", np.float64, square, 0, nan=True),
        arrays.optional("center_spread", np.float64, (parts,), 0, nan=True),
        {name: values for name, values in draws.items() if values is not None},
        _examples(facts, arrays, filters),
        facts.facts,
    )


def _examples(facts: PartFacts, arrays: Arrays, filters: int) -> Examples | None:
    if "examples/images" not in arrays:
        return None
    images = arrays.take("examples/images", np.int64, (filters, None), -1)
    cells = arrays.take("examples/cells", np.int64, (*images.shape, 2), -1)
    maxima = arrays.take("examples/maxima", np.float64, images.shape, infinite=True)
    return Examples(images, cells, maxima, facts.names)
