"""Our wider table of a layer's units, as CSV and Parquet: the published columns, and what only our tables know.

After the columns of `published`: ``index`` (the unit from 0, as everywhere else), its ``threshold``, ``low`` and ``high`` of the
score's interval, the honest score with the concept it is about, the mean over the draws of the best score by chance, and the
runners-up. Empty where it is not known. `read_published` reads such a CSV too.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.dissection.published import as_csv, published_columns
from pellucid.dissection.table import UnitTable

RUNNERS_UP = 3
# no hyphen: what follows the columns of the categories cannot be taken for one of them
_EXTRA: dict[str, type] = {
    "index": int,
    "threshold": float,
    "low": float,
    "high": float,
    "held_out_concept": str,
    "held_out_category": str,
    "held_out_score": float,
    "chance_mean": float,
    **{
        f"runner_up_{rank}{what}": kind
        for rank in range(1, RUNNERS_UP + 1)
        for what, kind in (("", str), ("_category", str), ("_score", float))
    },
}


def to_csv(table: UnitTable) -> str:
    """The published layout and more: ``index`` (the unit from 0), its threshold, the interval of its score, the honest score
    with its concept, the mean of the best scores by chance, and the runners-up. Empty where it is not known.

    Raises ValueError as `write_published` does; `read_published` reads the result.
    """
    return as_csv({**published_columns(table), **_extra_columns(table)}, "\n")


def write_parquet(table: UnitTable, path: str | Path) -> Path:
    """The columns of `to_csv` as Parquet. Raises ImportError where neither pyarrow nor duckdb is installed."""
    file = Path(path)
    columns = {**published_columns(table), **_extra_columns(table)}
    kinds = {name: _EXTRA.get(name) or _kind(name) for name in columns}
    file.parent.mkdir(parents=True, exist_ok=True)
    for package, written in (("pyarrow", _with_pyarrow), ("duckdb", _with_duckdb)):
        try:
            importlib.import_module(package)
        except ImportError:
            continue
        partial = file.with_name(f".{file.name}.partial")
        try:
            written(columns, kinds, partial)
            return partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    raise ImportError(
        "Expected pyarrow or duckdb to write Parquet, got neither; try `pip install pellucid[tables]`, or CSV."
    )


def _extra_columns(table: UnitTable) -> dict[str, list[Any]]:
    """What only our tables know, None where this one does not; units in the order of the published columns."""
    columns: dict[str, list[Any]] = {name: [] for name in _EXTRA}
    for unit in np.argsort(-table.score, kind="stable").tolist():
        honest = table.held_out_score(unit)
        chance = table.chance_scores
        row: dict[str, Any] = {"index": unit}
        if table.thresholds is not None:
            row["threshold"] = float(table.thresholds[unit])
        row["low"], row["high"] = table.detection(unit).interval or (None, None)
        if honest is not None:
            row["held_out_concept"], row["held_out_category"] = honest[0].name, honest[0].category
            row["held_out_score"] = honest[1]
        if chance is not None:
            row["chance_mean"] = float(chance[:, unit].mean())
        for rank, other in enumerate(table.candidates(unit, RUNNERS_UP + 1)[1:], 1):
            row[f"runner_up_{rank}"] = other.concept.name
            row[f"runner_up_{rank}_category"], row[f"runner_up_{rank}_score"] = (
                other.concept.category,
                other.iou,
            )
        for name, values in columns.items():
            values.append(row.get(name))
    return columns


def _kind(name: str) -> type:
    ending = name.rsplit("-", 1)[-1]
    return {"unit": int, "truth": int, "intersect": int, "category": str, "label": str}.get(ending, float)


def _with_pyarrow(columns: dict[str, list[Any]], kinds: dict[str, type], file: Path) -> None:
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    types = {int: arrow.int64(), float: arrow.float64(), str: arrow.string()}
    schema = arrow.schema([(name, types[kind]) for name, kind in kinds.items()])
    parquet.write_table(arrow.table(columns, schema=schema), str(file))


def _with_duckdb(columns: dict[str, list[Any]], kinds: dict[str, type], file: Path) -> None:
    def quoted(name: str, mark: str = '"') -> str:
        return mark + name.replace(mark, 2 * mark) + mark

    types = {int: "BIGINT", float: "DOUBLE", str: "VARCHAR"}
    declared = ", ".join(f"{quoted(name)} {types[kind]}" for name, kind in kinds.items())
    with importlib.import_module("duckdb").connect() as connection:
        connection.execute(f"CREATE TABLE units ({declared})")
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        connection.executemany(f"INSERT INTO units VALUES ({', '.join('?' * len(columns))})", rows)
        connection.execute(f"COPY units TO {quoted(str(file), chr(39))} (FORMAT parquet)")
