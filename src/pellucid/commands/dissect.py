"""``pellucid dissect``: what every unit of the asked layers detects, as tables, CSV and pages; and several runs compared.

The same command goes on after a stop of any kind (see `pellucid.core.run`): shards are kept until all tables and pages are
written. Finished tables are never overwritten by those of another run, and those of the same run are not made again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pellucid.commands.console import complain, say
from pellucid.commands.options import (
    Folder,
    Layers,
    NetOptions,
    flag,
    parse,
    plain,
    settings_of,
    with_settings,
)

if TYPE_CHECKING:
    from pellucid.core.network import Network
    from pellucid.core.run import RunDirectory
    from pellucid.data.concepts import ConceptSource
    from pellucid.dissection import UnitTable

_SHOWN = 3  # problems of a set that are printed


@dataclass(frozen=True)
class Dissect(NetOptions):
    """Find out what every unit of a network detects, by the overlap of its strongest activations with labeled concepts.

    Writes a table per layer (numbers, CSV, and CSV as it was published) and pages to look at. Stopped at any moment, the same
    command goes on where it was. With --compare, tables of earlier runs are set side by side instead.
    """

    concepts: Annotated[str, flag("SET")] = "scenes:val/0-999"
    """pictures with labels: scenes:SPLIT/FIRST-LAST, or a folder in the layout of Broden, COCO, VOC, ADE20K, CUB-200, or one
    with index.csv and labels.csv; broden:FOLDER, coco:FOLDER … where it is not recognized"""
    concept_sets: Annotated[tuple[str, ...], flag("NAME ...")] = ()
    """of a folder with several sets of labels, or of COCO: which to take"""
    merge: Annotated[str | None, flag("NAME")] = None
    """of a folder: group makes labels of one group one concept, as its labels.csv has them"""
    confounding: Annotated[float | None, flag("SHARE")] = None
    """of scenes: how often the background gives the class away"""
    layers: Layers = ()
    """where; by default at the end of every resolution stage"""
    summary: Annotated[Path | None, flag("FOLDER")] = None
    """also write small tables there, without pictures and with few candidates for every unit"""
    pictures: Annotated[Path | None, flag("FOLDER")] = None
    """results of pellucid visualize for this network: units it painted are shown with that picture beside the real ones"""
    compare: Annotated[tuple[str, ...], flag("FOLDER ...")] = ()
    """folders of finished runs to compare: the layers of one, or the last layer of each (--layers names others)"""
    out: Folder = Path("pellucid-out")
    """where the results go"""


def run(arguments: Sequence[str]) -> int:
    """Parse, with the settings of dissection among the flags; dissect, or compare."""
    from pellucid.dissection.settings import Settings

    options: Any = parse(with_settings(Dissect, Settings), "dissect", arguments)
    if options.compare:
        from pellucid.commands.dissect_compare import compare

        return compare(options.compare, options.layers, options.out)
    from pellucid.core.storage import fingerprint
    from pellucid.data.concepts import open_concepts
    from pellucid.visualization.painted import pictures_for

    settings = settings_of(Settings, vars(options.settings))
    net = options.noted()
    layers = _layers(net, options)
    painted = pictures_for(net, options.pictures)
    source = open_concepts(options.concepts, **_set_options(options))
    about = {
        "network": {"name": net.name, "sha256": fingerprint(net.module)},
        "concepts": source.facts(),
        "settings": dataclasses.asdict(settings),
    }
    from pellucid.commands import dissect_results as results

    found = results.earlier(options.out, about)
    layers = [layer.name for layer in net.layers if layer.name in (*layers, *found)]  # shallow to deep
    for note in results.notes_on_pictures(painted, layers):
        complain(note)
    parameters = {**plain(options), "layers": layers}
    results.names_tell_apart(source.concepts, told=True)
    with results.opened(options.out, parameters, about, bool(found), options.summary) as directory:
        try:
            tables = _tables(net, source, layers, found, settings, directory)
        finally:
            directory.facts["problems"] = results.all_problems(source, directory.facts["problems"])
        results.write_tables(tables, directory, options.summary)
        page = results.write_pages(tables, net, source, directory, painted)
    _complain_of(directory)
    say(results.overview(tables))
    say(f"report: {page}")
    return 0


def _layers(net: Network, options: Dissect) -> list[str]:
    """The layers asked for. Raises UnknownNameError for an unknown one, ValueError for the input."""
    from pellucid.core.layers import INPUT

    names = list(dict.fromkeys(options.layers or net.default_layers))
    if INPUT in names:
        raise ValueError(
            f"Expected layers behind the input of `{net.name}`, got `{INPUT}`; try {', '.join(net.default_layers)}."
        )
    for name in names:
        net.layer(name)
    return names


def _set_options(options: Dissect) -> dict[str, Any]:
    """What was asked of the set of concepts beyond its name."""
    sets = ",".join(options.concept_sets) or None
    given = {"merge": options.merge, "confounding": options.confounding, "sets": sets}
    return {key: value for key, value in given.items() if value is not None}


def _tables(
    net: Network,
    source: ConceptSource,
    layers: Sequence[str],
    found: Mapping[str, UnitTable],
    settings: Any,
    directory: RunDirectory,
) -> dict[str, UnitTable]:
    """The tables of all layers; those that are there are taken as they are."""
    from pellucid.commands import dissect_results as results
    from pellucid.dissection import dissect

    missing = [name for name in layers if name not in found]
    if found:
        complain(
            f"{len(found)} of {len(layers)} tables of this run are finished in {directory.folder}; "
            + ("only the pages are made again" if not missing else f"now {', '.join(missing)}")
        )
    made: dict[str, UnitTable] = {}
    if missing:
        results.remember_problems(source, directory)
        unfinished = directory.unfinished
        try:
            made = dissect(net, source, missing, folder=unfinished, **dataclasses.asdict(settings))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(results.how_far(unfinished, len(source))) from None
    # facts as they come back from disk, so that pages are the same whether a table was made now or read
    made = {
        name: dataclasses.replace(table, facts=json.loads(json.dumps(dict(table.facts), sort_keys=True)))
        for name, table in made.items()
    }
    return {name: made[name] if name in made else found[name] for name in layers}


def _complain_of(directory: RunDirectory) -> None:
    """Name the first problems of the set, and how many there are."""
    problems = directory.facts["problems"]
    for one in problems[:_SHOWN]:
        complain(f"problem in the set: {one['name']}: {one['reason']}")
    if len(problems) > _SHOWN:
        complain(
            f"{len(problems) - _SHOWN} more problems in the set; {directory.folder / 'run.json'} names all"
        )
