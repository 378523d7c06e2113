"""The results of a dissection in a folder: what is there, what is written, what is said of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from pellucid.commands.console import complain
from pellucid.commands.work import say_what_is_there
from pellucid.core.bundle import read_header
from pellucid.core.documents import FlawError
from pellucid.core.network import Network
from pellucid.core.run import Run, RunDirectory, read_run
from pellucid.core.storage import write_text
from pellucid.data.concepts import ConceptSource
from pellucid.data.concepts.base import Concept
from pellucid.dissection import UnitTable, load, save, summarized, to_csv, write_published
from pellucid.dissection.published import check_names
from pellucid.dissection.sampling import seen_as
from pellucid.dissection.storing import table_files
from pellucid.dissection.table import THRESHOLD
from pellucid.report.dissection import file_names, write_dissection
from pellucid.visualization.painted import Pictures

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
    folder: Path, parameters: Mapping[str, Any], about: Mapping[str, Any], again: bool, summary: Path | None
) -> RunDirectory:
    """The run directory, with the names of all files taken; ``again``: it holds tables of this run, with known problems.

    Raises FileExistsError where one would overwrite a file that is not pellucid's, there or in the folder of the summary.
    """
    run = _run_of(folder) if again else None
    known = [] if run is None else [msgspec.structs.asdict(problem) for problem in run.problems]
    directory = RunDirectory(folder, "dissect", parameters, identity=dict(about), **about, problems=known)
    try:
        say_what_is_there(directory)
        for name in ("index.html", *file_names(parameters["layers"])):
            stem = directory.claim(name, _FILES if name != "index.html" else (".html",))
            if f"{stem}.html" != name:
                raise FileExistsError(
                    f"Expected a folder in which `{name}` and the tables beside it have no files of others in their way, got "
                    f"`{folder}`; try another `--out`."
                )
        if summary is not None:
            _check_summary(summary, parameters["layers"])
    except BaseException as error:
        directory.__exit__(type(error), error, None)
        raise
    return directory


def _check_summary(folder: Path, layers: Sequence[str]) -> None:
    """Raises FileExistsError where a small table would overwrite a file of others."""
    tables = table_files(folder)
    for layer, page in zip(layers, file_names(list(layers)), strict=True):
        file = folder / f"{page.removesuffix('.html')}.safetensors"
        if file.exists() and tables.get(layer) != file:
            raise FileExistsError(
                f"Expected no file or an earlier table of `{layer}` under the name `{file}`, got another file; try another "
                "`--summary`."
            )


def names_tell_apart(concepts: Sequence[Concept], told: bool = False) -> bool:
    """Whether CSV, where concepts are known by name, can hold them; ``told``: say why not."""
    try:
        check_names(concepts)
    except ValueError as error:
        if told:
            complain(f"no CSV, only whole tables: {str(error).partition(';')[0]}")
        return False
    return True


def write_tables(tables: Mapping[str, UnitTable], directory: RunDirectory, summary: Path | None) -> None:
    """Every table with its two CSV files, noted in run.json; ``summary``: a folder that gets small tables too."""
    folder = directory.folder
    there = table_files(folder)
    for (layer, table), page in zip(tables.items(), file_names(list(tables)), strict=True):
        stem = page.removesuffix(".html")
        if layer not in there:
            save(table, folder, stem)
        directory.keep(stem, (".safetensors",))  # whatever stops what follows, the table is there
        if names_tell_apart(table.concepts):
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


def remember_problems(source: ConceptSource, directory: RunDirectory) -> None:
    """Let the run note the set's problems as they are found, and tell the set those of the part that is done."""
    for where, reason in directory.remarks():
        source.report(where, reason)
    report = source.report

    def noted(where: str, reason: str) -> None:
        before = len(source.problems)
        report(where, reason)
        if len(source.problems) > before:
            directory.remark([where, reason])

    source.report = noted  # type: ignore[method-assign]


def how_far(folder: Path, total: int) -> str:
    """How many pictures are looked at in an unfinished run, and that the same command goes on."""
    done = 0
    for file in folder.glob("shard-*.safetensors"):
        with suppress(FlawError, FileNotFoundError, KeyError):  # a damaged one is told when the run goes on
            done += read_header(file)[1]["indices"][1][0]
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
