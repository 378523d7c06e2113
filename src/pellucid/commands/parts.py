"""``pellucid parts``: which object part every filter of a layer means, how steadily it points there, and where it sits in
a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pellucid.commands.console import complain, say
from pellucid.commands.options import (
    Folder,
    Layers,
    NetOptions,
    Number,
    at_least,
    flag,
    parse,
    plain,
    settings_of,
    with_settings,
)

if TYPE_CHECKING:
    from pellucid.core.network import Network
    from pellucid.core.run import RunDirectory
    from pellucid.interpretable.parts import PartSource, PartTable
    from pellucid.interpretable.parts.viewing import Viewer

_SHOWN = 3  # problems of a set that are printed


@dataclass(frozen=True)
class Parts(NetOptions):
    """Measure which part of an object every filter means: part interpretability (how often its region lies on the part)
    and location instability (how far its distance to parts wanders), after Zhang, Wu and Zhu, CVPR 2018.

    Writes tables (JSON, CSV) and pages to look at; with --images also where every filter sits in pictures of yours.
    """

    layers: Layers = ()
    """where; by default the last stage"""
    parts: Annotated[str, flag("SET")] = "scenes:test/0-499"
    """pictures with parts: scenes:SPLIT/FIRST-LAST, scenes:CLASS:SPLIT/FIRST-LAST, cub:FOLDER, voc:FOLDER (PASCAL-Part),
    animals:FOLDER (boxes.csv), folder:FOLDER (index.csv and labels.csv), or a folder that is recognized"""
    objects: Annotated[tuple[str, ...], flag("CLASS ...")] = ()
    """object classes to take; by default all (of voc: six animals)"""
    only: Annotated[tuple[str, ...], flag("PART ...")] = ()
    """parts to take; by default all (of cub: back, forehead, tail)"""
    per_class: Annotated[int | None, flag("NUMBER")] = None
    """pictures of every class, at most"""
    split: Annotated[str | None, flag("NAME")] = None
    """of a set with a division: train or test; by default both"""
    margin: Annotated[float | None, flag("SHARE")] = None
    """of sets cropped to objects: by how much of its sides the box is widened"""
    concept_sets: Annotated[tuple[str, ...], flag("NAME ...")] = ()
    """of a folder with several sets of labels: which to take"""
    merge: Annotated[str | None, flag("NAME")] = None
    """of a folder: group makes labels of one group one part, as its labels.csv has them"""
    confounding: Annotated[float | None, flag("SHARE")] = None
    """of scenes: how often the background gives the class away"""
    images: Annotated[tuple[str, ...], flag("IMAGE ...")] = ()
    """pictures (files, folders, patterns, scenes:SPLIT/INDEX) to show where each filter sits in"""
    count: Number = 12
    """filters shown per picture, the strongest first"""
    out: Folder = Path("pellucid-out")
    """where the results go"""


def run(arguments: Sequence[str]) -> int:
    """Parse, with the settings of the measures among the flags; measure, write, show."""
    from pellucid.interpretable.parts import PartSettings

    options: Any = parse(with_settings(Parts, PartSettings), "parts", arguments)
    at_least(options.count, 1, "count")
    if options.per_class is not None:
        at_least(options.per_class, 1, "per-class")
    from pellucid.commands.sources import gather
    from pellucid.commands.work import say_what_is_there, verdict
    from pellucid.core.run import RunDirectory
    from pellucid.core.storage import fingerprint
    from pellucid.interpretable.parts import open_parts
    from pellucid.interpretable.parts import parts as measure_parts

    settings = settings_of(PartSettings, vars(options.settings))
    net = options.noted()
    layers = _layers(net, options.layers)
    gathered = gather(options.images, False) if options.images else None
    source = open_parts(options.parts, classes=options.objects, parts=options.only, **_set_options(options))
    about = {"name": net.name, "sha256": fingerprint(net.module)}
    with RunDirectory(options.out, "parts", plain(options), network=about, problems=[]) as directory:
        say_what_is_there(directory)
        names = _claimed(layers, directory)
        try:
            tables = measure_parts(
                net, layers, source, folder=directory.unfinished, **dataclasses.asdict(settings)
            )
        finally:
            directory.facts["problems"] = [
                {"name": one.where, "reason": one.reason} for one in source.problems
            ]
        _write_tables(tables, directory)
        for name, reason in gathered.failed if gathered else ():
            directory.fail(name, reason)
        pages = _write_images(net, tables, gathered, options.count, directory) if gathered else []
        page = _write_pages(net, tables, source, pages, directory, names)
    _complain_of(directory)
    say(overview(tables))
    say(f"report: {page}")
    return verdict(directory) if gathered else 0


def overview(tables: Mapping[str, PartTable]) -> str:
    """The layers in numbers, and the clearest filters of each."""
    from pellucid.report import interpretable_words as words

    width = max(max(map(len, tables)), len("layer"))
    lines = [f"{'layer':<{width}}  filters  interpretability     by chance  instability        by chance"]
    for layer, table in tables.items():
        found = table.summary()
        cells = []
        for name in ("interpretability", "instability"):
            cells += [
                _with_interval(found[name], found[f"{name}_interval"]),
                _number(found[f"{name}_by_chance"]),
            ]
        lines.append(
            f"{layer:<{width}}  {len(table):>7}  {cells[0]:<20} {cells[1]:<10} {cells[2]:<18} {cells[3]}"
        )
    still = next(iter(tables.values())).instability_of_center
    if still is not None:
        lines.append(f"a mark that stands still in the middle of the picture: instability {still:.3f}")
    for layer, table in tables.items():
        best = f" {words.meaning(table)[-1]}" if words.clear(table).any() else ""
        lines.append(f"{layer}: {words.headline(table)}.{best}")
        most = float(table.facts["valid_cells_per_image"])
        if most < 0.95:  # the published maps of 14 × 14 have 0.98
            lines.append(
                f"  note: its threshold leaves a filter {most:.2f} cells of {' × '.join(map(str, table.facts['cells']))} "
                "per picture; compare interpretability between layers of one size"
            )
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _with_interval(value: float | None, ends: Sequence[float] | None) -> str:
    return _number(value) + ("" if ends is None else f" ({ends[0]:.3f}–{ends[1]:.3f})")


def _layers(net: Network, asked: Sequence[str]) -> list[str]:
    """The layers in the order of the network. Raises UnknownNameError for an unknown one."""
    for name in asked:
        net.layer(name)
    if not asked:
        return [net.default_layers[-1]]
    known = [layer.name for layer in net.layers]
    return [name for name in known if name in asked] or list(asked)


def _set_options(options: Parts) -> dict[str, Any]:
    """What was asked of the set beyond its name."""
    sets = ",".join(options.concept_sets) or None
    names = ("per_class", "split", "margin", "merge", "confounding")
    given = {name: getattr(options, name) for name in names} | {"sets": sets}
    return {key: value for key, value in given.items() if value is not None}


def _write_tables(tables: Mapping[str, PartTable], directory: RunDirectory) -> None:
    from pellucid.interpretable.parts.storing import ENDINGS, file_stems, save_parts

    stems = {
        layer: directory.claim(f"{stem}{ENDINGS[0]}", ENDINGS)
        for layer, stem in zip(tables, file_stems(tables), strict=True)
    }  # fmt: skip
    save_parts(tables, directory.folder, stems)
    for layer, stem in stems.items():
        directory.add(tables[layer].summary(), stem)


def _claimed(layers: Sequence[str], directory: RunDirectory) -> list[str]:
    """The names of the pages. Raises FileExistsError where one is taken by a file of someone else's."""
    from pellucid.report.dissection import file_names

    names = ["index.html", *(file_names(list(layers)) if len(layers) > 1 else ())]
    for name in names:
        if directory.claim(name, (".html",)) != Path(name).stem:
            raise FileExistsError(
                f"Expected a folder without a {name} of someone else’s, got `{directory.folder}`; try another `--out`."
            )
    return names


def _write_images(
    net: Network, tables: Mapping[str, PartTable], gathered: Any, count: int, directory: RunDirectory
) -> list[tuple[str, str]]:
    """The page of every picture that can be read; (file name, name of the picture)."""
    from pellucid.data.pixels import ImageError
    from pellucid.interpretable.parts import filters_of
    from pellucid.report.interpretable import write_image_page

    pages = []
    for one in gathered.sources:
        try:
            entry = directory.recall(one.key)
            if entry is not None and entry.result is not None:
                pages.append((entry.result["page"], one.name))
                continue
            image = one.read(100_000_000).image
        except ImageError as error:
            directory.fail(one.name, str(error))
            continue
        found = {
            layer: filters_of(net, image, table, count=count) for layer, table in list(tables.items())[::-1]
        }
        stem = directory.claim(f"filters-{Path(one.name).stem}.html", (".html",))
        path = directory.folder / f"{stem}.html"
        write_image_page(net.preprocess.view(image), one.name, found, tables, path, index="index.html")
        directory.add({"name": one.name, "page": path.name}, stem, key=one.key)
        pages.append((path.name, one.name))
    return pages


def _write_pages(
    net: Network,
    tables: Mapping[str, PartTable],
    source: PartSource,
    images: Sequence[tuple[str, str]],
    directory: RunDirectory,
    names: Sequence[str],
) -> Path:
    from pellucid.interpretable.parts import layer_templates
    from pellucid.interpretable.parts.viewing import Viewer
    from pellucid.report.interpretable import write_interpretable

    viewer = Viewer(net.preprocess, (net.input_shape[1], net.input_shape[2]), source, 1)
    templates = {}
    for layer, table in tables.items():
        found = layer_templates(net, layer)
        if found is not None:
            places = _places(net, table, source, viewer) if found.position != "argmax" else None
            templates[layer] = dataclasses.replace(found, places=places)
    page = write_interpretable(
        tables,
        lambda index: viewer.picture(source[index]),
        directory.folder,
        templates=templates,
        images=images,
    )
    for name in names:
        directory.keep(Path(name).stem)
    return page


def _places(net: Network, table: PartTable, source: PartSource, viewer: Viewer) -> dict[int, Any]:
    """Where the templates are in the pictures that are shown."""
    import torch

    from pellucid.interpretable.parts import template_cells

    shown = sorted(table.examples.names) if table.examples is not None else []
    places: dict[int, Any] = {}
    for first in range(0, len(shown), 32):
        numbers = shown[first : first + 32]
        pixels = torch.stack([viewer(source[number], ()).pixels for number in numbers])
        cells = template_cells(net, table.layer, net.preprocess.normalize(pixels).to(net.dtype))
        places |= dict(zip(numbers, cells, strict=True))
    return places


def _complain_of(directory: RunDirectory) -> None:
    """Name the first problems of the set, and how many there are."""
    problems = directory.facts["problems"]
    for one in problems[:_SHOWN]:
        complain(f"problem in the set: {one['name']}: {one['reason']}")
    if len(problems) > _SHOWN:
        complain(
            f"{len(problems) - _SHOWN} more problems in the set; {directory.folder / 'run.json'} names all"
        )
