"""Part tables on disk: per layer ``<stem>.parts.json`` (what it is), ``<stem>.parts.safetensors`` (its arrays) and
``<stem>.parts.csv`` (a row per filter, for people). A table that is loaded equals the one that was saved, to the last bit.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pellucid.core.storage import write_arrays, write_json, write_text
from pellucid.data.parts.source import PartKey
from pellucid.interpretable.parts.table import Examples, PartTable

KIND, SCHEMA = "pellucid part table", 1
ENDINGS = (".json", ".safetensors", ".csv")
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
_DRAWS = ("interpretability", "instability", "filter interpretability", "filter instability")
_COLUMNS = (
    *("filter", "class", "part", "interpretability", "interpretability_low", "interpretability_high"),
    *("interpretability_by_chance", "steadiest_class", "steadiest_part", "instability", "instability_low"),
    *("instability_high", "instability_by_chance", "instability_of_own_class", "threshold"),
)


def save_parts(
    tables: Mapping[str, PartTable], folder: str | Path, stems: Mapping[str, str] | None = None
) -> list[str]:
    """Write tables by layer and give the names of their files; ``stems`` are made of the layers' names unless given.

    Raises ValueError for facts that JSON does not have.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    names = []
    for stem, table in zip(
        file_stems(tables) if stems is None else map(stems.__getitem__, tables), tables.values(), strict=True
    ):
        head, arrays, rows = (stem + ending for ending in ENDINGS)
        write_arrays(
            place / arrays, {key: torch.from_numpy(np.array(value)) for key, value in _arrays(table).items()}
        )
        content = {
            "kind": KIND,
            "schema": SCHEMA,
            "layer": table.layer,
            "parts": [list(key) for key in table.keys],
            "regions": list(table.regions),
            "names": {}
            if table.examples is None
            else {str(k): name for k, name in table.examples.names.items()},
            "summary": table.summary(),
            "facts": dict(table.facts),
            "sha256": hashlib.sha256((place / arrays).read_bytes()).hexdigest(),
        }
        write_json(place / head, content)
        write_text(place / rows, to_csv(table))
        names += [head, arrays, rows]
    return names


def load_parts(folder: str | Path) -> dict[str, PartTable]:
    """All part tables of a folder by layer; other files are passed over.

    Raises FileNotFoundError where there is none, ValueError for one that is damaged or of a newer pellucid.
    """
    place = Path(folder)
    found: dict[str, PartTable] = {}
    for file in sorted(place.glob(f"*.parts{ENDINGS[0]}")):
        table = _load(file)
        found[table.layer] = table
    if not found:
        raise FileNotFoundError(
            f"Expected a folder with part tables, got `{place}`, which holds none; try the folder of `pellucid parts`."
        )
    return found


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


def _load(file: Path) -> PartTable:
    arrays = file.with_name(file.name.removesuffix(ENDINGS[0]) + ENDINGS[1])
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content.get("kind") != KIND or content["schema"] > SCHEMA:
            raise ValueError(f"of schema {content.get('schema')}")
        if hashlib.sha256(arrays.read_bytes()).hexdigest() != content["sha256"]:
            raise ValueError(f"whose arrays in {arrays.name} are of another table")
        held = load_file(arrays)
        arrays_of: dict[str, Any] = {name: held.get(name) for name in _ARRAYS}
        examples = None
        if "examples/images" in held:
            images, cells, maxima = (held[f"examples/{name}"] for name in ("images", "cells", "maxima"))
            names = {int(number): name for number, name in content["names"].items()}
            examples = Examples(images, cells, maxima, names)
        return PartTable(
            layer=content["layer"],
            keys=tuple(PartKey(*key) for key in content["parts"]),
            probability={region: held[f"probability/{region}"] for region in content["regions"]},
            chance_probability=_group(held, "chance", content["regions"]),
            draws=_group(held, "draws", _DRAWS),
            examples=examples,
            facts=content["facts"],
            **arrays_of,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ValueError(
            f"Expected a part table of this pellucid, got `{file}` ({error}); try measuring again."
        ) from error


def _group(held: Mapping[str, Any], kind: str, names: Sequence[str]) -> dict[str, Any]:
    return {name: held[f"{kind}/{name}"] for name in names if f"{kind}/{name}" in held}
