"""Unit tables on disk: ``<stem>.json`` says what it is and names the arrays of ``<stem>.safetensors``.

Equal tables give equal bytes. Counts are stored in the fewest bytes that hold them exactly: 32 bits where they fit, and
where most of a matrix is 0 the places and values of the others; masks take a bit a pixel. The arrays are written first and
their SHA-256 is in the JSON, so that two files that do not belong together are noticed. ``facts`` come back as JSON has them
(tuples as lists).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.core.storage import write_arrays, write_json
from pellucid.data.concepts.base import Concept
from pellucid.dissection.counts import Counts
from pellucid.dissection.packing import Arrays, Stored, TableError, damaged, pack
from pellucid.dissection.table import HeldOut, UnitTable

SCHEMA = 1
KIND = "pellucid unit table"


def save(table: UnitTable, folder: str | Path, stem: str | None = None) -> list[str]:
    """Write a table and give the names of its files; ``stem`` is made of the layer's name unless given.

    Raises FileExistsError where the stem is taken by a file that is no table of this layer, ValueError for facts that JSON
    does not have.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    stem = stem or _stem(table.layer)
    file = place / f"{stem}.json"
    _check_free(file, table.layer)
    content = {
        "kind": KIND,
        "schema": SCHEMA,
        "layer": table.layer,
        "units": len(table),
        "complete": table.complete,
        "categories": list(table.categories),
        "concepts": [[*asdict(concept).values()] for concept in table.concepts],
        "held_out": None if table.held_out is None else list(table.held_out.images),
        "chance": len(table.chance),
        "examples": None if table.examples is None else table.examples.masks.shape[-1],
        "facts": _plain(table.facts),
    }
    arrays = {name: _tensor(value) for name, value in pack(table).items()}
    write_arrays(place / f"{stem}.safetensors", arrays)
    content["sha256"] = _digest(place / f"{stem}.safetensors")
    write_json(file, content)
    return [file.name, f"{stem}.safetensors"]


@overload
def load(folder: str | Path, layer: str) -> UnitTable: ...
@overload
def load(folder: str | Path, layer: None = None) -> dict[str, UnitTable]: ...
def load(folder: str | Path, layer: str | None = None) -> UnitTable | dict[str, UnitTable]:
    """The table of a layer, or all tables of a folder by layer; other files are passed over.

    Raises FileNotFoundError where there is no table, KeyError (with close names) where there is none of the layer, TableError
    for a table that is damaged or of a newer pellucid.
    """
    place = Path(folder)
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    broken: list[TableError] = []
    for file in sorted(place.glob("*.json")):
        try:
            content = _read(file)
        except TableError as error:
            broken.append(error)
            continue
        if content is not None:
            name = content["layer"]
            if name in found:
                raise TableError(
                    f"Expected one table of `{name}` in `{place}`, got `{found[name][0].name}` and `{file.name}`; "
                    "try folders of their own."
                )
            found[name] = file, content
    if broken and (layer is None or layer not in found):
        raise broken[0]
    if not found:
        raise FileNotFoundError(
            f"Expected a folder with unit tables, got `{place}`, which holds none; try the folder of a dissection."
        )
    if layer is None:
        return {name: _unpack(*entry) for name, entry in found.items()}
    if layer not in found:
        raise UnknownNameError(
            f"Expected a layer with a table in `{place}`, got `{layer}`; {suggest(layer, found)}"
        )
    return _unpack(*found[layer])


def summarized(table: UnitTable, candidates: int = 5) -> UnitTable:
    """A small table (``complete`` is False) that keeps the counts of every unit with its best ``candidates``, its best concept
    of each category, and the same of the part its held-out label was chosen on; of every draw by chance the best concept.

    Labels, scores, intervals, detectors, both counts of unique ones, honest scores and those by chance stay exactly
    what they were; examples are left out. Raises ValueError for less than one candidate.
    """
    if candidates < 1:
        raise ValueError(f"Expected at least one candidate for every unit, got {candidates}; try 5.")
    kept = _best(table, table.counts, candidates)
    held = table.held_out
    if held is not None:
        kept |= _best(table, held.fit, candidates)
        held = HeldOut(held.thresholds, _only(held.fit, kept), _only(held.held, kept), held.images)
    chance = tuple(_only(counts, _best(table, counts, 1, by_category=False)) for counts in table.chance)
    return UnitTable(
        table.layer,
        table.concepts,
        _only(table.counts, kept),
        table.thresholds,
        held,
        chance,
        table.ranking,
        table.interval,
        complete=False,
        facts=table.facts,
    )


def _best(
    table: UnitTable, counts: Counts, candidates: int, by_category: bool = True
) -> npt.NDArray[np.bool_]:
    """[unit concept]: which are among the unit's best, or the best of their category."""
    iou = counts.iou(table.category_of)
    kept = np.zeros(iou.shape, bool)
    np.put_along_axis(kept, np.argsort(-iou, axis=1, kind="stable")[:, :candidates], True, 1)
    for place in range(len(table.categories) if by_category else 0):
        mine = np.flatnonzero(table.category_of == place)
        kept[np.arange(len(iou)), mine[iou[:, mine].argmax(1)]] = True
    return kept


def _only(counts: Counts, kept: npt.NDArray[np.bool_]) -> Counts:
    return Counts(np.where(kept, counts.intersection, 0), counts.activation, counts.truth)


def _unpack(file: Path, content: Mapping[str, Any]) -> UnitTable:
    """The table that a JSON file and its arrays hold."""
    try:
        table = _table(file, content)
    except TableError:
        raise
    except (ValueError, TypeError, IndexError) as error:
        raise damaged(file, "fields that fit together", f"others ({error})") from None
    if list(table.categories) != content["categories"]:
        raise damaged(file, f"the categories {list(table.categories)}", f"{content['categories']}")
    return table


def _table(file: Path, content: Mapping[str, Any]) -> UnitTable:
    arrays = Stored(file, _arrays(file, content))
    units, concepts = content["units"], tuple(_concept(entry) for entry in content["concepts"])
    shape = units, len(concepts), len(content["categories"])
    counts = arrays.counts("counts", shape)
    held, examples = content["held_out"], content["examples"]
    return UnitTable(
        content["layer"],
        concepts,
        counts,
        arrays.optional("thresholds", np.float32, (units,)),
        None if held is None else arrays.held_out(shape, (int(held[0]), int(held[1]))),
        tuple(arrays.counts(f"chance.{draw}", shape, counts.truth) for draw in range(content["chance"])),
        arrays.optional("ranking", np.int64, (units, None)),
        arrays.optional("interval", np.float64, (units, None, 2)),
        None if examples is None else arrays.examples(units, examples),
        content["complete"],
        content["facts"],
    )


_FIELDS: dict[str, type | tuple[type, ...]] = {
    "layer": str,
    "units": int,
    "complete": bool,
    "categories": list,
    "concepts": list,
    "held_out": (list, type(None)),
    "chance": int,
    "examples": (int, type(None)),
    "facts": dict,
    "sha256": str,
}


def _read(file: Path) -> dict[str, Any] | None:
    """What a JSON file says of a table; None for a file about something else. Raises TableError for a damaged one."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        if file.with_suffix(".safetensors").exists() or isinstance(error, OSError):
            raise damaged(file, "JSON", f"what cannot be read ({error})") from None
        return None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        return None
    schema = content.get("schema")
    if schema != SCHEMA:
        raise TableError(
            f"Expected a unit table of schema {SCHEMA}, got `{file}` of schema {schema}; try the pellucid that wrote it, or a "
            "newer one."
        )
    for name, kind in _FIELDS.items():
        if not isinstance(content.get(name, ...), kind):
            raise damaged(file, f"the field `{name}`", f"{content.get(name, 'none')!r}")
    return content


def _arrays(file: Path, content: Mapping[str, Any]) -> Arrays:
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    arrays = file.with_suffix(".safetensors")
    try:
        stored = arrays.read_bytes()
    except OSError as error:
        raise damaged(file, f"its arrays in `{arrays.name}`", f"none ({error.strerror})") from None
    if hashlib.sha256(stored).hexdigest() != content["sha256"]:
        raise damaged(arrays, f"the arrays that `{file.name}` was written with", "others")
    try:
        return {name: tensor.numpy() for name, tensor in parse(stored).items()}
    except SafetensorError as error:
        raise damaged(arrays, "safetensors", f"what cannot be read ({error})") from None


def _concept(entry: Any) -> Concept:
    number, name, category, synonyms = entry
    return Concept(number, name, category, tuple(synonyms))


def _check_free(file: Path, layer: str) -> None:
    """That nothing but an earlier table of the layer is overwritten."""
    arrays = file.with_suffix(".safetensors")
    if not file.exists() and not arrays.exists():
        return
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        own = content["kind"] == KIND and content["layer"] == layer
    except (ValueError, KeyError, TypeError, OSError):
        own = False
    if not own:
        raise FileExistsError(
            f"Expected no file or an earlier table of `{layer}` under the name `{file}`, got another file; try another folder "
            "or `stem`."
        )


def _stem(layer: str) -> str:
    """A file name from a layer's; a different one for every layer."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "-", layer).strip(".")[:80] or "layer"
    return safe if safe == layer else f"{safe}-{hashlib.sha256(layer.encode()).hexdigest()[:8]}"


def _plain(facts: Mapping[str, Any]) -> Any:
    """The facts in one order, whatever order they were noted in."""
    try:
        return json.loads(json.dumps(dict(facts), sort_keys=True, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Expected facts that JSON has, got others ({error}); try numbers and text."
        ) from None


def _tensor(values: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(values, order="C"))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
