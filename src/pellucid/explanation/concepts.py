"""What a neuron answers to: the concept of its unit in a table of dissection, for the sentence and the page.

A name is given where the IoU is above 0.04, the paper's rule for a detector (Bau, Zhou, Khosla, Oliva, Torralba, CVPR 2017).
It says on what the unit is most active over many pictures. It does not say that the decision about one picture used it: what a
unit contributes there is measured by its score and by removing it.

A table belongs to one network, known by the SHA-256 of its weights; the embedded networks bring theirs along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pellucid.core.network import Network
from pellucid.core.registry import UnknownNameError
from pellucid.core.storage import fingerprint
from pellucid.dissection.storing import TABLE, load, read_table, table_files
from pellucid.dissection.table import THRESHOLD, UnitTable
from pellucid.zoo.embedded import WEIGHTS

SHIPPED = WEIGHTS / "tables"
TableLike = UnitTable | Mapping[str, UnitTable] | str | Path | None


@dataclass(frozen=True)
class Meaning:
    """A unit's best concept: IoU, its 95 % interval where it was drawn, and over how many pictures of which set.

    ``held_out``: the concept chosen on one part of the pictures and its IoU on the other, None where nothing was held out;
    ``quantile``: share of the unit's values that count as active, None where the table does not say.
    """

    unit: int
    concept: str
    category: str
    iou: float
    interval: tuple[float, float] | None
    held_out: tuple[str, float] | None
    images: int | None
    source: str | None
    quantile: float | None

    @property
    def strength(self) -> Literal["strong", "weak"] | None:
        """Does the name hold on pictures that had no part in choosing it? None without such pictures."""
        if self.held_out is None:
            return None
        concept, iou = self.held_out
        return "strong" if concept == self.concept and iou > THRESHOLD else "weak"

    @property
    def named(self) -> bool:
        """Is the overlap large enough to call the unit by the concept?"""
        return self.iou > THRESHOLD

    def to_json(self) -> dict[str, Any]:
        """Plain data, as the evidence of a clause and the card of a neuron carry it."""
        held = self.held_out
        return {
            "unit": self.unit,
            "concept": self.concept,
            "category": self.category,
            "iou": self.iou,
            "interval": None if self.interval is None else list(self.interval),
            "held_out": None if held is None else {"concept": held[0], "iou": held[1]},
            "named": self.named,
            "strength": self.strength,
            "threshold": THRESHOLD,
            "images": self.images,
            "set": self.source,
            "quantile": self.quantile,
        }


@dataclass(frozen=True, eq=False)
class Names:
    """Tables of a network's layers, known to be its own; ``notes``: what could not be told. Made by `names_for`."""

    tables: Mapping[str, UnitTable]
    notes: tuple[str, ...] = ()

    def of(self, layer: str, unit: int) -> Meaning | None:
        """What a unit answers to; None where its layer has no table."""
        table = self.tables.get(layer)
        if table is None:
            return None
        best, held = table.detection(unit), table.held_out_score(unit)
        return Meaning(
            unit=unit,
            concept=best.concept.name,
            category=best.concept.category,
            iou=best.iou,
            interval=best.interval,
            held_out=None if held is None else (held[0].name, held[1]),
            images=_fact(table, "images"),
            source=_fact(table, "concepts", "name"),
            quantile=_fact(table, "settings", "quantile"),
        )


def names_for(net: Network, table: TableLike | Names, layer: str) -> Names:
    """The tables to call the neurons of ``layer`` by.

    ``table``: a `UnitTable`, a mapping of layers to tables, the folder of a dissection, or None for the tables that come with
    the embedded networks. An empty mapping leaves all names away.

    Raises ValueError for a table of another network (other weights) or another number of units, FileNotFoundError for a
    folder without tables, and as `pellucid.dissection.load` does for damaged ones.
    """
    if isinstance(table, Names):
        return table
    if table is None:
        return Names(_shipped(net, layer))
    found = _given(table, layer)
    notes = []
    digest = fingerprint(net.module) if found else ""
    for name, one in found.items():
        _check(net, name, one, digest)
        if _fact(one, "network", "sha256") is None:
            notes.append(
                f"the table of {name} does not say of which network it is; its concepts are taken on trust"
            )
    if found and layer not in found:
        notes.append(f"no concepts are known for {layer}: the tables given are of {', '.join(found)}")
    return Names(found, tuple(notes))


def _given(table: UnitTable | Mapping[str, UnitTable] | str | Path, layer: str) -> dict[str, UnitTable]:
    if isinstance(table, UnitTable):
        return {table.layer: table}
    if isinstance(table, Mapping):
        return dict(table)
    if not isinstance(table, (str, Path)):
        raise TypeError(
            f"Expected `table` to be a UnitTable, a mapping of layers to them or a folder, got {type(table).__name__}; try "
            "the result of `pellucid.dissect`."
        )
    try:
        return {layer: load(table, layer)}
    except UnknownNameError:
        return load(table)


def _check(net: Network, layer: str, table: UnitTable, digest: str) -> None:
    """Raises ValueError where a table cannot be this network's."""
    theirs, name = _fact(table, "network", "sha256"), _fact(table, "network", "name")
    if theirs is not None and theirs != digest:
        raise ValueError(
            f"Expected a table of this network, `{net.name}` with weights {digest[:12]}, got one of `{name}` with weights "
            f"{theirs[:12]}; try `pellucid dissect` with this network."
        )
    units = net.layer(layer).shape[0]
    if units != len(table):
        raise ValueError(
            f"Expected a table of the {units} units of `{layer}`, got one of {len(table)}; try `pellucid dissect` with this "
            "network."
        )


def _shipped(net: Network, layer: str) -> dict[str, UnitTable]:
    """The embedded table of a layer, where one was made with exactly these weights."""
    digest = None
    for file, units, sha256 in _index().get(layer, ()):
        if units != net.layer(layer).shape[0]:
            continue
        digest = digest or fingerprint(net.module)
        if digest == sha256:
            return {layer: _embedded(file)}
    return {}


@lru_cache(maxsize=1)
def _index() -> dict[str, list[tuple[Path, int, str]]]:
    """By layer: the files of the embedded tables, how many units they know, and the weights they were made with."""
    found: dict[str, list[tuple[Path, int, str]]] = {}
    for folder in sorted(path for path in SHIPPED.glob("*") if path.is_dir()):
        for layer, file in table_files(folder).items():
            facts = TABLE.glance(file)
            found.setdefault(layer, []).append((file, facts.units, str(facts.facts["network"]["sha256"])))
    return found


@lru_cache(maxsize=8)
def _embedded(file: Path) -> UnitTable:
    return read_table(file)


def _fact(table: UnitTable, *keys: str) -> Any:
    """One of the table's facts; None where it is not there."""
    found: Any = table.facts
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
