"""``pellucid neurons``: the score of every unit of a layer, image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pellucid.commands.console import say
from pellucid.commands.options import ImageOptions, Name, Number, at_least, flag, parse, with_parameters

if TYPE_CHECKING:
    from pellucid.commands.sources import Source
    from pellucid.network import Network
    from pellucid.neurons.criterion import Criterion
    from pellucid.run import RunDirectory


@dataclass(frozen=True)
class Neurons(ImageOptions):
    """Rank the units of a layer by a criterion; prints the best and writes all scores to scores.json.

    The criterion's own parameters are flags too, shown below.
    """

    criterion: Name = "cgnis"
    """neuron criterion; "pellucid methods --kind neurons" lists them"""
    layer: Annotated[str | None, flag("LAYER")] = None
    """whose units; by default of the last stage"""
    top: Number = 10
    """how many units are printed"""


def run(arguments: Sequence[str]) -> int:
    """Parse, with the criterion's parameters among the flags, and rank."""
    options: Any = parse(with_parameters(Neurons, "neurons", "criterion", arguments), "neurons", arguments)
    from pellucid.commands.work import one_by_one, prepare, results, verdict
    from pellucid.registry import create
    from pellucid.run import write_json

    at_least(options.top, 1, "top")
    criterion = create("neurons", options.criterion, **vars(options.parameters))
    net, gathered = prepare(options)
    if options.layer is not None:
        net.layer(options.layer)
    rows: list[dict[str, Any]] = []
    with results("neurons", options, net, gathered) as directory:
        file = directory.claim("scores", (".json",)) + ".json"
        try:
            one_by_one(
                gathered,
                directory,
                options.criterion,
                lambda source: rows.append(_one(source, net, criterion, options, directory)),
            )
        finally:
            if rows:
                write_json(directory.folder / file, {"criterion": options.criterion, "images": rows})
                directory.keep(file.removesuffix(".json"))
    for row in rows:
        best = ", ".join(f"{unit} ({row['scores'][unit]:.3g})" for unit in row["top"])
        say(f"{row['image']} ({row['target']}, {row['layer']}): {best or 'no finite score'}")
    if rows:
        say(f"all scores: {directory.folder / file}")
    return verdict(directory)


def _one(
    source: Source, net: Network, criterion: Criterion, options: Neurons, directory: RunDirectory
) -> dict[str, Any]:
    import pellucid as pl

    picture = source.picture(options.max_pixels)
    found = pl.neurons(net, picture, options.layer, options.target, criterion, progress=False)
    values = [value if math.isfinite(value) else None for value in found.values[0].tolist()]
    best = [unit.index for unit in found.top(options.top) if values[unit.index] is not None]
    row = {"image": source.name, "target": found.target[0], "layer": found.layer.name, "top": best}
    directory.add({**row, "sha256": source.sha256()})
    return {**row, "scores": values}
