"""Unit tables on disk: one file each, ``<stem>.safetensors``, with what it is in its header (`pellucid.core.bundle`).

Equal tables give equal bytes. Counts are stored in the fewest bytes that hold them exactly: 32 bits where they fit, and
where most of a matrix is 0 the places and values of the others; masks take a bit a pixel. ``facts`` come back as JSON has them
(tuples as lists). Tables of earlier versions, a JSON file beside the arrays, are read too.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, overload

import msgspec
import numpy as np
import numpy.typing as npt

from pellucid.core.bundle import SUFFIX, Arrays, Kind
from pellucid.core.documents import Count, DocumentError, FlawError, convert, lowered
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.data.concepts.base import Concept
from pellucid.dissection.counts import Counts, Whole
from pellucid.dissection.table import Examples, HeldOut, UnitTable

_MOST = 1 << 26  # numbers of all counts of a table, where the file itself is not large
_DENSE = 32  # numbers per stored byte, at most: sparse counts grow when they are read


class TableError(DocumentError):
    """A stored unit table that cannot be read."""


class _Network(msgspec.Struct, frozen=True):
    name: str | None = None
    sha256: str | None = None


class _Known(msgspec.Struct, frozen=True):
    """Facts that are read by name; others are only shown."""

    network: _Network = _Network()
    concepts: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    images: Count | None = None


class _Noted(msgspec.Struct, frozen=True):
    facts: _Known


class TableFacts(msgspec.Struct, frozen=True):
    """What a stored table says of itself; ``chance``: draws, ``examples``: width of their masks."""

    layer: str
    units: Count
    complete: bool
    categories: tuple[str, ...]
    concepts: tuple[tuple[Count, str, str, tuple[str, ...]], ...]
    held_out: tuple[Count, Count] | None
    chance: Count
    examples: Count | None
    facts: dict[str, Any]


TABLE = Kind("pellucid unit table", 2, TableFacts, "copying or dissecting it again", TableError)


def save(table: UnitTable, folder: str | Path, stem: str | None = None) -> list[str]:
    """Write a table and give the names of its files; ``stem`` is made of the layer's name unless given.

    Raises FileExistsError where the stem is taken by a file that is no table of this layer, ValueError for facts that JSON
    does not have.
    """
    file = Path(folder) / f"{stem or _stem(table.layer)}{SUFFIX}"
    earlier = _check_free(file, table.layer)
    facts = TableFacts(
        table.layer,
        len(table),
        table.complete,
        table.categories,
        tuple((each.number, each.name, each.category, each.synonyms) for each in table.concepts),
        None if table.held_out is None else table.held_out.images,
        len(table.chance),
        None if table.examples is None else table.examples.masks.shape[-1],
        dict(table.facts),
    )
    TABLE.write(file, facts, _pack(table))
    if earlier is not None:
        earlier.unlink()
    return [file.name]


@overload
def load(folder: str | Path, layer: str) -> UnitTable: ...
@overload
def load(folder: str | Path, layer: None = None) -> dict[str, UnitTable]: ...
def load(folder: str | Path, layer: str | None = None) -> UnitTable | dict[str, UnitTable]:
    """The table of a layer, or all tables of a folder by layer; other files are passed over.

    Raises FileNotFoundError where there is no table, KeyError (with close names) where there is none of the layer, TableError
    for a table that is damaged or of a newer pellucid.
    """
    files, broken = _files(Path(folder))
    if broken and (layer is None or layer not in files):
        raise broken[0]
    if not files:
        raise FileNotFoundError(
            f"Expected a folder with unit tables, got `{folder}`, which holds none; try the folder of a dissection."
        )
    if layer is None:
        return {name: read_table(file) for name, file in files.items()}
    if layer not in files:
        raise UnknownNameError(
            f"Expected a layer with a table in `{folder}`, got `{layer}`; {suggest(layer, files)}"
        )
    return read_table(files[layer])


def table_files(folder: Path) -> dict[str, Path]:
    """The files of the sound tables in a folder by layer."""
    return _files(folder)[0]


def _files(folder: Path) -> tuple[dict[str, Path], list[DocumentError]]:
    """The files of the tables in a folder by layer, and what is wrong with others."""
    files: dict[str, Path] = {}
    broken: list[DocumentError] = []
    for file in TABLE.files(folder):
        try:
            layer = TABLE.glance(file).layer
        except DocumentError as error:
            broken.append(error)
            continue
        if layer in files:
            raise TableError(
                f"Expected one table of `{layer}` in `{folder}`, got `{files[layer].name}` and `{file.name}`; try folders of "
                "their own."
            )
        files[layer] = file
    return files, broken


def read_table(file: Path) -> UnitTable:
    """The table of a file. Raises FileNotFoundError, and TableError for a damaged file or another."""
    bundle = TABLE.read(file)
    try:
        return _table(bundle.facts, bundle.arrays)
    except (FlawError, ArithmeticError) as flaw:
        raise TABLE.damaged(file, lowered(str(flaw))) from None


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


def _table(facts: TableFacts, arrays: Arrays) -> UnitTable:
    concepts = tuple(Concept(*entry) for entry in facts.concepts)
    shape = facts.units, len(concepts), len(facts.categories)
    convert({"facts": facts.facts}, _Noted)
    _check_size(facts, arrays)
    counts = _counts(arrays, "counts", shape)
    held = None
    if facts.held_out is not None:
        thresholds = arrays.take("held_out.thresholds", np.float32, shape[:1])
        fit, rest = (_counts(arrays, f"held_out.{part}", shape) for part in ("fit", "held"))
        held = HeldOut(thresholds, fit, rest, facts.held_out)
    most = max(len(concepts) - 1, 0)
    table = UnitTable(
        facts.layer,
        concepts,
        counts,
        arrays.optional("thresholds", np.float32, shape[:1]),
        held,
        tuple(_counts(arrays, f"chance.{draw}", shape, counts.truth) for draw in range(facts.chance)),
        arrays.optional("ranking", np.int64, (facts.units, None), 0, most),
        arrays.optional("interval", np.float64, (facts.units, None, 2), 0, 1, nan=True),
        None if facts.examples is None else _examples(arrays, facts.units, facts.examples),
        facts.complete,
        facts.facts,
    )
    _check(table, facts)
    return table


def _check_size(facts: TableFacts, arrays: Arrays) -> None:
    """That counts stored as a few places and values are no excuse for a table that fills the memory. Raises FlawError."""
    tables = 1 + 2 * (facts.held_out is not None) + facts.chance
    numbers = tables * facts.units * len(facts.concepts)
    limit = max(_MOST, _DENSE * sum(array.nbytes for array in arrays.values()))
    if numbers > limit:
        raise FlawError(f"units: expected at most {limit:,} counts in a file of this size, got {numbers:,}")


def _check(table: UnitTable, facts: TableFacts) -> None:
    """That the parts of a table fit together. Raises FlawError, ArithmeticError."""
    if table.categories != facts.categories:
        raise FlawError(f"categories: expected {list(table.categories)}, got {list(facts.categories)}")
    held = [] if table.held_out is None else [table.held_out.fit, table.held_out.held]
    for counts in (table.counts, *held, *table.chance):
        counts.check(table.category_of)
    ranks = None if table.ranking is None else table.ranking.shape
    if ranks is not None and table.interval is not None and table.interval.shape[:2] != ranks:
        raise FlawError(f"interval: expected {ranks[1]} of every unit, got {table.interval.shape[1]}")


def _examples(arrays: Arrays, units: int, width: int) -> Examples:
    """The pictures units are most active on; ``width`` of their masks, which are stored in whole bytes."""
    packed = arrays.take("examples.masks", np.uint8, (units, None, None, -(-width // 8)))
    images = arrays.take("examples.images", np.int64, (units, packed.shape[1]), -1)
    maxima = arrays.take("examples.maxima", np.float32, images.shape)
    return Examples(images, maxima, np.unpackbits(packed, axis=-1, count=width).astype(bool))


def _counts(arrays: Arrays, name: str, shape: tuple[int, int, int], truth: Whole | None = None) -> Counts:
    """Counts of (units, concepts, categories); ``truth``: what the pixels of concepts are where they are not stored."""
    units, concepts, categories = shape
    if f"{name}.intersection.places" in arrays:
        places = arrays.take(f"{name}.intersection.places", np.int64, (None,), 0, units * concepts - 1)
        values = arrays.take(f"{name}.intersection.values", np.int64, places.shape, 0)
        intersection = np.zeros((units, concepts), np.int64)
        intersection.ravel()[places] = values
    else:
        intersection = arrays.take(f"{name}.intersection", np.int64, (units, concepts), 0)
    activation = arrays.take(f"{name}.activation", np.int64, (units, categories), 0)
    if truth is None or f"{name}.truth" in arrays:
        truth = arrays.take(f"{name}.truth", np.int64, (concepts,), 0)
    return Counts(intersection, activation, truth)


def _pack(table: UnitTable) -> Arrays:
    """All arrays of a table by name."""
    arrays = Arrays()
    _pack_counts("counts", table.counts, None, arrays)
    if table.held_out is not None:
        arrays["held_out.thresholds"] = np.asarray(table.held_out.thresholds, np.float32)
        _pack_counts("held_out.fit", table.held_out.fit, None, arrays)
        _pack_counts("held_out.held", table.held_out.held, None, arrays)
    for draw, counts in enumerate(table.chance):
        _pack_counts(f"chance.{draw}", counts, table.counts.truth, arrays)
    for name, dtype in (("thresholds", np.float32), ("ranking", np.int64), ("interval", np.float64)):
        if getattr(table, name) is not None:
            arrays[name] = np.asarray(getattr(table, name), dtype)
    if table.examples is not None:
        arrays["examples.images"] = np.asarray(table.examples.images, np.int64)
        arrays["examples.maxima"] = np.asarray(table.examples.maxima, np.float32)
        arrays["examples.masks"] = np.packbits(table.examples.masks, axis=-1)
    return arrays


def _pack_counts(name: str, counts: Counts, truth: Whole | None, arrays: Arrays) -> None:
    """``truth``: what the pixels of concepts are if they are not stored."""
    places = np.flatnonzero(counts.intersection)
    if 2 * len(places) < counts.intersection.size:
        arrays[f"{name}.intersection.places"] = _short(places)
        arrays[f"{name}.intersection.values"] = _short(counts.intersection.ravel()[places])
    else:
        arrays[f"{name}.intersection"] = _short(counts.intersection)
    arrays[f"{name}.activation"] = _short(counts.activation)
    if truth is None or not np.array_equal(truth, counts.truth):
        arrays[f"{name}.truth"] = _short(counts.truth)


def _short(values: Whole) -> npt.NDArray[Any]:
    """In 32 bits where all of them fit."""
    limits = np.iinfo(np.int32)
    fits = not values.size or (limits.min <= values.min() and values.max() <= limits.max)
    return values.astype(np.int32 if fits else np.int64)


def _check_free(file: Path, layer: str) -> Path | None:
    """That nothing but an earlier table of the layer is overwritten; its JSON file, where it is of version 1."""
    pair = file.with_suffix(".json")
    if _is_of(pair, layer):
        return pair
    if file.exists() and not _is_of(file, layer):
        raise FileExistsError(
            f"Expected no file or an earlier table of `{layer}` under the name `{file}`, got another file; try another folder "
            "or `stem`."
        )
    return None


def _is_of(file: Path, layer: str) -> bool:
    try:
        return TABLE.glance(file).layer == layer
    except (DocumentError, FileNotFoundError):
        return False


def _stem(layer: str) -> str:
    """A file name from a layer's; a different one for every layer."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "-", layer).strip(".")[:80] or "layer"
    return safe if safe == layer else f"{safe}-{hashlib.sha256(layer.encode()).hexdigest()[:8]}"
