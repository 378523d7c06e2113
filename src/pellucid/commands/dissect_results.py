"""The results of a dissection in a folder: what is there, what is written, what is said of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image
from safetensors import safe_open

from pellucid.core.documents import FlawError, convert, parse
from pellucid.core.network import Network
from pellucid.core.run import Run, RunDirectory, read_run
from pellucid.core.storage import write_text
from pellucid.data.concepts import ConceptSource
from pellucid.dissection import UnitTable, load, save, summarized, to_csv, write_published
from pellucid.dissection.sampling import seen_as
from pellucid.dissection.storing import table_files
from pellucid.dissection.table import THRESHOLD
from pellucid.explanation.pictures import Pictures
from pellucid.report.dissection import file_names, write_dissection

_PROBLEMS = "problems.jsonl"
_FILES = (".html", ".safetensors", ".csv", ".published.csv")


def read(folder: Path) -> dict[str, UnitTable]:
    """The tables of a folder, in the order they were asked for; none where there is no table.

    Raises TableError for a damaged one.
    """
    try:
        found = load(folder)
    except FileNotFoundError:
        return {}
    run = _run_of(folder)
    order = {str(row.get("layer")): place for place, row in enumerate(run.results if run else ())}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))


def earlier(folder: Path, about: Mapping[str, Any]) -> dict[str, UnitTable]:
    """Finished tables of this very run. Raises ValueError for tables of another, which are not overwritten."""
    found = read(folder) if folder.is_dir() else {}
    for table in found.values():
        other = _difference(table.facts, about)
        if other is not None:
            raise ValueError(
                f"Expected a folder without tables or with those of the same run, got `{folder}` with tables of another "
                f"({other}); try another `--out`."
            )
    return found


def opened(
    folder: Path, parameters: Mapping[str, Any], about: Mapping[str, Any], again: bool
) -> RunDirectory:
    """The run directory, with the names of all files taken; ``again``: it holds tables of this run, with known problems.

    Raises FileExistsError where one would overwrite a file that is not pellucid's.
    """
    run = _run_of(folder) if again else None
    known = [] if run is None else [msgspec.structs.asdict(problem) for problem in run.problems]
    directory = RunDirectory(folder, "dissect", parameters, **about, problems=known)
    for name in ("index.html", *file_names(parameters["layers"])):
        stem = directory.claim(name, _FILES if name != "index.html" else (".html",))
        if f"{stem}.html" != name:
            raise FileExistsError(
                f"Expected a folder in which `{name}` and the tables beside it have no files of others in their way, got "
                f"`{folder}`; try another `--out`."
            )
    return directory


def write_tables(tables: Mapping[str, UnitTable], directory: RunDirectory, summary: Path | None) -> None:
    """Every table with its two CSV files, noted in run.json; ``summary``: a folder that gets small tables too."""
    folder = directory.folder
    there = table_files(folder)
    for (layer, table), page in zip(tables.items(), file_names(list(tables)), strict=True):
        stem = page.removesuffix(".html")
        if layer not in there:
            save(table, folder, stem)
        write_text(folder / f"{stem}.csv", to_csv(table))
        write_published(table, folder / f"{stem}.published.csv")
        table_file = there.get(layer, folder / f"{stem}.safetensors")
        directory.add({"layer": layer, "table": table_file.name, "page": page, **numbers(table)}, stem)
        if summary is not None:
            save(summarized(table), summary, stem)


def write_pages(
    tables: Mapping[str, UnitTable],
    net: Network,
    source: ConceptSource,
    directory: RunDirectory,
    painted: Pictures,
) -> Path:
    """A page per layer, with what was painted for its units, and the index, which is returned."""
    preprocess = seen_as(net.preprocess, (int(net.input_shape[1]), int(net.input_shape[2])), source.view)

    def picture(index: int) -> Image.Image:
        return preprocess.view(source.picture(index))

    index = write_dissection(tables, picture, directory.folder, painted=painted.found)
    directory.keep(index.stem)
    return index


def notes_on_pictures(painted: Pictures, layers: Sequence[str]) -> list[str]:
    """What is to be said of painted pictures: what they do not tell, and that none is of these layers."""
    layers_of = {label.rpartition(":")[0] for label in painted.found}
    if not painted.given or layers_of & set(layers):
        return list(painted.notes)
    return [*painted.notes, f"none of the painted pictures is of a unit of {', '.join(layers)}"]


def numbers(table: UnitTable) -> dict[str, Any]:
    """What a layer's table comes to; None for what was not measured."""
    held = table.held_out_scores
    return {
        "units": len(table),
        "detectors": int(table.detectors().sum()),
        "unique": table.unique("released"),
        "unique_top_label": table.unique("top-label"),
        "expected_by_chance": table.expected_by_chance(),
        "held_out_detectors": None if held is None else int((held > THRESHOLD).sum()),
    }


def overview(tables: Mapping[str, UnitTable]) -> str:
    """The numbers of all layers as a table to print, and what its columns mean."""
    head = ["layer", "units", "detectors", "by chance", "held out", "unique", "by top label"]
    keys = ["detectors", "expected_by_chance", "held_out_detectors", "unique", "unique_top_label"]
    rows = [head]
    for layer, table in tables.items():
        found = numbers(table)
        rows.append([layer, str(len(table)), *(_shown(found[key]) for key in keys)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]  # fmt: skip
    return "\n".join(
        [
            *lines,
            "",
            f"detectors: units with an IoU above {THRESHOLD:g}; by chance: how many there would be if masks had nothing to do",
            "with the pictures; held out: on pictures that had no part in choosing; unique: different concepts, by both rules",
        ]
    )


def remember_problems(source: ConceptSource, folder: Path) -> None:
    """Let the set note its problems in ``folder`` as it finds them, and tell it those of the part that is done."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / _PROBLEMS
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            where, reason = convert(parse(line), tuple[str, str])
        except FlawError:  # the run was killed while it wrote this line
            continue
        source.report(where, reason)
    report = source.report

    def noted(where: str, reason: str) -> None:
        before = len(source.problems)
        report(where, reason)
        if len(source.problems) > before:
            with file.open("a", encoding="utf-8", errors="replace") as stream:
                stream.write(json.dumps([where, reason]) + "\n")

    source.report = noted  # type: ignore[method-assign]


def forget_unfinished(folder: Path) -> None:
    """Take away a folder of unfinished results."""
    for file in folder.glob("*"):
        file.unlink()
    if folder.is_dir():
        folder.rmdir()


def how_far(folder: Path, total: int) -> str:
    """How many pictures are looked at in an unfinished run, and that the same command goes on."""
    done = 0
    for file in folder.glob("shard-*.safetensors"):
        with safe_open(file, "numpy") as held:
            done += held.get_slice("indices").get_shape()[0]
    if not done:
        return "Nothing is finished; the same command begins anew."
    return f"{done} of {total} pictures are looked at; the same command goes on from there."


def all_problems(source: ConceptSource, known: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """What was found unusable, now and when the tables that are there were made."""
    found = [(one["name"], one["reason"]) for one in known]
    found += [(problem.where, problem.reason) for problem in source.problems]
    return [{"name": name, "reason": reason} for name, reason in dict.fromkeys(found)]


def _difference(facts: Mapping[str, Any], about: Mapping[str, Any]) -> str | None:
    """The first way in which a table is of another run; None where it is of this one."""
    theirs = {**facts.get("network", {})}
    if theirs.get("sha256") != about["network"]["sha256"]:
        return f"the network {theirs.get('name')}"
    for kind in ("concepts", "settings"):
        wanted = json.loads(json.dumps(about[kind]))
        for key, value in sorted(facts.get(kind, {}).items(), key=lambda item: item[0] != "name"):
            if wanted.get(key) != value:
                return f"{kind} with {key} {value}, here {wanted.get(key)}"
    return None


def _run_of(folder: Path) -> Run | None:
    """What run.json says, where it is of a dissection."""
    run = read_run(folder)
    return run if run is not None and run.command == "dissect" else None


def _shown(value: float | None) -> str:
    return "–" if value is None else str(value) if isinstance(value, int) else f"{value:.1f}"
