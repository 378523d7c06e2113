"""``pellucid neurons``: the score of every unit of a layer, image by image; or for every class, over its images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from pellucid.commands.console import say
from pellucid.commands.options import (
    ImageOptions,
    Name,
    Number,
    Switch,
    at_least,
    flag,
    parse,
    with_parameters,
)
from pellucid.core.precision import exact

if TYPE_CHECKING:
    from pellucid.commands.sources import Gathered, Source
    from pellucid.core.journal import Entry
    from pellucid.core.network import Network
    from pellucid.core.results import UnitScores
    from pellucid.core.run import RunDirectory
    from pellucid.units.criterion import Criterion


@dataclass(frozen=True)
class Neurons(ImageOptions):
    """Rank the units of a layer by a criterion; prints the best and writes all scores to scores.json.

    With --by-class images count for the class their folder is named after (or that a scene shows), and
    classes.safetensors holds every class's scores, to be used again with this network. The criterion's own parameters are
    flags too, shown below.
    """

    criterion: Name = "cgnis"
    """neuron criterion; "pellucid methods --kind neurons" lists them"""
    layer: Annotated[str | None, flag("LAYER")] = None
    """whose units; by default of the last stage"""
    top: Number = 10
    """how many units are printed"""
    by_class: Switch = False
    """score every class by its images; subfolders are named after classes"""
    others: Annotated[float, flag("WEIGHT")] = 0.0
    """with --by-class: how much the other classes' mean counts against a unit; 1 finds what is a class's own"""
    temperature: Annotated[float | None, flag("NUMBER")] = None
    """with --by-class: units in the order of deletion that loses the class and keeps the others, 0.1 say; for --arm signed"""
    minimum: Number = 1
    """with --by-class: fewest images of a class"""


def run(arguments: Sequence[str]) -> int:
    """Parse, with the criterion's parameters among the flags, and rank."""
    options: Any = parse(with_parameters(Neurons, "neurons", "criterion", arguments), "neurons", arguments)
    from pellucid.commands.work import one_by_one, prepare, results, verdict
    from pellucid.core.registry import create
    from pellucid.core.storage import write_json

    at_least(options.top, 1, "top")
    _check(options)
    criterion = create("neurons", options.criterion, **vars(options.parameters))
    if options.by_class:
        options = replace(options, recursive=True)
    net, gathered = prepare(options)
    if options.layer is not None:
        net.layer(options.layer)
    if options.by_class:
        return _by_class(options, net, gathered, criterion)
    rows: list[dict[str, Any]] = []
    with results("neurons", options, net, gathered) as directory:
        file = directory.claim("scores", (".json",)) + ".json"
        try:
            one_by_one(
                gathered,
                directory,
                options.criterion,
                lambda source: rows.append(_one(source, net, criterion, options, directory)),
                lambda _, entry: rows.append(entry.data),
            )
        finally:
            if rows:
                missing = (
                    len(gathered.sources) + len(gathered.failed) - len(rows) - len(directory.facts["failed"])
                )
                unfinished = {"missing": missing} if missing else {}
                scores = {"criterion": options.criterion, **unfinished, "images": rows}
                write_json(directory.folder / file, scores)
                directory.keep(file.removesuffix(".json"))
    for row in rows:
        best = ", ".join(f"{unit} ({row['scores'][unit]:.3g})" for unit in row["top"])
        say(f"{row['image']} ({row['target']}, {row['layer']}): {best or 'no finite score'}")
    if rows:
        say(f"all scores: {directory.folder / file}")
    return verdict(directory)


def _check(options: Any) -> None:
    if options.by_class:
        if options.target is not None:
            raise ValueError(
                "Expected no `--target` with `--by-class`, whose classes come from the folders; try without it."
            )
        at_least(options.minimum, 1, "minimum")
        if options.temperature is not None:
            from pellucid.units.classes import check_order

            check_order(options.temperature, options.others)
    elif options.others or options.minimum != 1 or options.temperature is not None:
        name = "others" if options.others else "minimum" if options.minimum != 1 else "temperature"
        raise ValueError(f"Expected `--{name}` together with `--by-class` only; try adding it.")


def _by_class(options: Any, net: Network, gathered: Gathered, criterion: Criterion) -> int:
    import torch

    from pellucid.commands.work import one_by_one, results, verdict
    from pellucid.core.results import UnitScores
    from pellucid.data.batches import as_batch
    from pellucid.units.classes import class_scores_of, log_odds_of
    from pellucid.units.rivals import against_rivals

    kept: list[tuple[UnitScores, int, float]] = []

    def work(source: Source) -> None:
        import pellucid as pl

        index = _class_of(source, net)
        batch = as_batch(net, source.read(options.max_pixels), None)
        target: Any = [index] if options.temperature is None else against_rivals(net, batch, [index])
        odds = 0.0 if options.temperature is None else float(log_odds_of(net, batch, target))
        found = pl.neurons(net, batch, options.layer, target, criterion, normalized=True, progress=False)
        kept.append((found, index, odds))
        row = {"image": source.name, "target": net.classes[index], "sha256": source.sha256}
        data = {
            "scores": exact(found.values).tolist(),
            "names": found.target,
            "class": index,
            "odds": odds,
        }
        directory.add(row, key=source.key, data=data)

    def again(source: Source, entry: Entry) -> None:
        data = entry.data
        values = torch.tensor(data["scores"], dtype=torch.float64).to(net.device, net.dtype)
        layer = net.layer(options.layer or net.default_layers[-1])
        scores = UnitScores(values, layer, criterion.name, tuple(data["names"]))
        kept.append((scores, data["class"], data["odds"]))

    with results("neurons", options, net, gathered) as directory:
        stem = directory.claim("classes", (".safetensors",))
        one_by_one(gathered, directory, options.criterion, work, again)
        if not kept:
            return verdict(directory)
        scores, labels, odds = zip(*kept, strict=True)
        found = class_scores_of(
            net, scores, labels, criterion, others=options.others, minimum=options.minimum,
            log_odds=torch.tensor(odds), temperature=options.temperature,
        )  # fmt: skip
        found.save(directory.folder, stem)
        directory.keep(stem)
    for row, name in enumerate(found.classes):
        best = ", ".join(
            f"{unit.index} ({float(found.values[row, unit.index]):.3g})"
            for unit in found.top(row, options.top)
        )
        say(f"{name} ({int(found.images[row])} images, {found.layer.name}): {best}")
    say(f"all scores: {directory.folder / f'{stem}.safetensors'}")
    return verdict(directory)


def _class_of(source: Source, net: Network) -> int:
    """The class a scene shows, or a file's folder is named after. Raises ImageError for a folder with another name."""
    from pellucid.core.registry import UnknownNameError
    from pellucid.data.pixels import ImageError

    if source.is_scene:
        from pellucid.world import CLASSES

        name = CLASSES[source.content().scene_data.target]
    else:
        name = source.content.absolute().parent.name
    try:
        return net.class_index(name)
    except (UnknownNameError, IndexError) as error:
        raise ImageError(f"{error} With `--by-class` a folder has the name of a class.") from None


def _one(
    source: Source, net: Network, criterion: Criterion, options: Neurons, directory: RunDirectory
) -> dict[str, Any]:
    import pellucid as pl

    picture = source.read(options.max_pixels)
    found = pl.neurons(net, picture, options.layer, options.target, criterion, progress=False)
    values = [value if math.isfinite(value) else None for value in found.values[0].tolist()]
    best = [unit.index for unit in found.top(options.top) if values[unit.index] is not None]
    row = {"image": source.name, "target": found.target[0], "layer": found.layer.name, "top": best}
    scores = {**row, "scores": values}
    directory.add({**row, "sha256": source.sha256}, key=source.key, data=scores)
    return scores
