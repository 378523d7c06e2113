"""``pellucid dissect --compare``: tables of earlier runs side by side, as a page, Markdown and JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pellucid.commands.console import say
from pellucid.commands.dissect_results import read
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.core.run import RunDirectory
from pellucid.core.storage import write_json, write_text
from pellucid.dissection import UnitTable
from pellucid.dissection import compare as compared
from pellucid.dissection.storing import table_files
from pellucid.report.dissection import file_names
from pellucid.report.dissection_compare import write_comparison

_NAME = "comparison"


def compare(folders: Sequence[str], layers: Sequence[str], out: Path) -> int:
    """Write the comparison and say where it is; what is gained and lost is meant against the first table.

    Where ``out`` holds tables itself, the comparison goes into a folder in it, so that the run stays described.

    Raises FileNotFoundError for a folder without tables, UnknownNameError for a layer none of them has, ValueError for less
    than two tables.
    """
    out = out / _NAME if table_files(out) else out
    tables, pages = _chosen(folders, layers, out)
    if len(tables) < 2:
        raise ValueError(
            f"Expected two tables or more to compare, got {len(tables)} ({', '.join(tables)}); try another folder or layer."
        )
    found = compared(tables, baseline=next(iter(tables)))
    parameters = {"compare": list(folders), "layers": list(layers), "out": str(out)}
    with RunDirectory(out, "dissect", parameters) as directory:
        stem = directory.claim(f"{_NAME}.html", (".html", ".md", ".json"))
        write_json(out / f"{stem}.json", found.to_json())
        write_text(out / f"{stem}.md", found.to_markdown())
        page = write_comparison(tables, out / f"{stem}.html", pages=pages)
        directory.add({"tables": list(tables), "page": page.name}, stem)
    say(found.to_markdown().rstrip())
    say(f"\nreport: {page}")
    return 0


def _chosen(
    folders: Sequence[str], layers: Sequence[str], out: Path
) -> tuple[dict[str, UnitTable], dict[str, str]]:
    """The tables by what they are called, and where the page of each is, seen from ``out``."""
    tables: dict[str, UnitTable] = {}
    pages: dict[str, str] = {}
    known: dict[str, None] = {}
    places = list(dict.fromkeys(Path(folder) for folder in folders))
    for folder in places:
        held = _held(folder)
        known.update(dict.fromkeys(held))
        wanted = [name for name in layers if name in held] if layers else list(held)
        if not layers and len(places) > 1:
            wanted = wanted[-1:]
        for layer in wanted:
            name = layer if len(places) == 1 else f"{_called(folder, places)}: {layer}"
            tables[name] = held[layer]
            page = folder / dict(zip(held, file_names(list(held)), strict=True))[layer]
            if page.is_file():
                pages[name] = Path(os.path.relpath(page, out)).as_posix()
    for layer in layers:
        if layer not in known:
            raise UnknownNameError(
                f"Expected a layer with a table in {', '.join(map(str, places))}, got `{layer}`; {suggest(layer, known)}"
            )
    return tables, pages


def _held(folder: Path) -> dict[str, UnitTable]:
    found = read(folder) if folder.is_dir() else {}
    if not found:
        raise FileNotFoundError(
            f"Expected the folder of a finished dissection, got `{folder}`, which "
            + ("holds no tables" if folder.is_dir() else "is not there")
            + "; try the `--out` of an earlier `pellucid dissect`."
        )
    return found


def _called(folder: Path, places: Sequence[Path]) -> str:
    """A folder's own name, or its whole path where another has the same."""
    same = [other for other in places if other.resolve().name == folder.resolve().name]
    return folder.resolve().name if len(same) == 1 else str(folder)
