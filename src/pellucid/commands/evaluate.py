"""``pellucid evaluate``: attribution methods measured on the same images, beside controls that know no network."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pellucid.commands.console import complain, say
from pellucid.commands.options import (
    Folder,
    ImageOptions,
    Images,
    Layers,
    Name,
    Number,
    at_least,
    flag,
    parse,
    with_parameters,
)

if TYPE_CHECKING:
    from pellucid.attribution import Method
    from pellucid.commands.comparison import Comparison
    from pellucid.commands.sources import Gathered
    from pellucid.core.network import Network
    from pellucid.core.run import RunDirectory
    from pellucid.evaluation import Metric

CONTROLS = ("random", "random-blurred", "center", "edges", "blurred")
USUAL = CONTROLS[1:]
_QUICK = {
    "insertion-deletion": {"preset": "quick"}
}  # the protocols of papers take five times as long, and more


@dataclass(frozen=True)
class Evaluate(ImageOptions):
    """Measure how true attribution maps are: every method at every layer, on the same images, beside controls that
    know nothing of the network. Prints the means with their intervals; writes all values as evaluation.json and
    evaluation.csv, and a figure.

    The metric's own parameters are flags too: "--metric pointing --help" shows them.
    """

    images: Images = ("scenes:test/0-15",)
    """files, folders, patterns, scenes:SPLIT/INDEX or scenes:SPLIT/FIRST-LAST"""
    methods: Annotated[tuple[str, ...], flag("NAME ...")] = ("shallow-cam", "layercam")
    """attribution methods, or all; "pellucid methods" lists them"""
    layers: Layers = ()
    """where to look; by default where each method belongs: every stage, or the input"""
    metric: Name = "insertion-deletion"
    """what is measured; "pellucid methods --kind evaluation" lists all metrics"""
    masks: Annotated[Path | None, flag("FOLDER")] = None
    """for photographs: a PNG for each, of its name and size, not black where the object is; scenes have theirs"""
    controls: Annotated[tuple[str, ...], flag("NAME ...")] = ()
    """random, random-blurred, center, edges, and blurred (the baseline's or first method's own map made smooth); all,
    none, or by default all but random"""
    baseline: Annotated[str | None, flag("NAME")] = None
    """method or control the others are compared with, image by image"""
    seed: Number = 0
    """of controls, intervals and metrics that draw lots"""
    batch_size: Annotated[int | None, flag("NUMBER")] = None
    """images held at once, and finished together; by default 1 on the processor, else 16"""
    out: Folder = Path("pellucid-out")
    """where the results go"""


def run(arguments: Sequence[str]) -> int:
    """Parse, with the metric's parameters among the flags, measure batch by batch, and compare."""
    command = with_parameters(Evaluate, "evaluation", "metric", arguments, _QUICK)
    options: Any = parse(command, "evaluate", arguments)
    if options.baseline is not None:
        options = replace(options, baseline=_spelled(options.baseline))
    from pellucid.commands.bench import Bench
    from pellucid.commands.work import in_batches, prepare, results, verdict
    from pellucid.core.registry import create

    if options.batch_size is not None:
        at_least(options.batch_size, 1, "batch-size")
    metric = create("evaluation", options.metric, **vars(options.parameters))
    methods, controls = _chosen(options, metric)
    net, gathered = prepare(options)
    _check_truth(options, metric, gathered)
    places = _places(net, metric, methods, options)
    bench = Bench(net, metric, places, controls, options)
    size = options.batch_size or (1 if net.device.type == "cpu" else 16)
    with results("evaluate", options, net, gathered) as directory:
        try:
            in_batches(
                gathered, directory, metric.name, size, bench.read,
                lambda batch, bar: bench.measure(batch, bar, directory), each=len(bench.keys),
            )  # fmt: skip
        finally:
            if bench.done:
                count = len(gathered.sources) + len(gathered.failed) - len(directory.facts["failed"])
                _write(bench.comparison(count), directory)
    code = verdict(directory)
    if bench.done:
        comparison = bench.comparison()
        say(comparison.table(shutil.get_terminal_size((120, 24)).columns))
        for line in comparison.undefined():
            complain(line)
        say(f"\nall values ({', '.join(comparison.first.values)}): {directory.folder / 'evaluation.json'}")
    return code


def _chosen(options: Evaluate, metric: Metric) -> tuple[list[Method], list[str]]:
    """The methods and controls, the baseline among them. Raises UnknownNameError or ValueError."""
    from pellucid.core.registry import UnknownNameError, create, names, suggest

    known = names("attribution")
    methods, controls = _listed(options.methods), _listed(options.controls)
    if methods == ["all"]:
        methods = list(known)
    if not controls and metric.needs != "method":
        controls = list(USUAL)
    controls = list(CONTROLS) if controls == ["all"] else [] if controls == ["none"] else controls
    if options.baseline is not None:
        if options.baseline not in (*known, *CONTROLS):
            raise UnknownNameError(
                f"Expected a method or control as `--baseline`, got `{options.baseline}`; "
                f"{suggest(options.baseline, (*known, *CONTROLS))}"
            )
        (controls if options.baseline in CONTROLS else methods).append(options.baseline)
    for name in controls:
        if name not in CONTROLS:
            raise UnknownNameError(f"Expected a control, got `{name}`; {suggest(name, CONTROLS)}")
    if not methods:
        raise ValueError("Expected at least one method, got none; try `--methods layercam`.")
    if controls and metric.needs == "method":
        raise ValueError(
            f"Expected no controls for `{metric.name}`, which asks methods for maps of other networks, got "
            f"`{controls[0]}`; try `--controls none`."
        )
    chosen = dict.fromkeys(_spelled(name) for name in methods)
    return [create("attribution", name) for name in chosen], list(dict.fromkeys(controls))


def _spelled(name: str) -> str:
    """The method as it is registered; what is none stays, and is refused where it is used."""
    from pellucid.core.registry import UnknownNameError, canonical

    try:
        return name if name in CONTROLS else canonical("attribution", name)
    except UnknownNameError:
        return name


def _listed(given: Sequence[str]) -> list[str]:
    """Names apart, also where commas hold them together."""
    return [name.strip() for text in given for name in text.split(",") if name.strip()]


def _check_truth(options: Evaluate, metric: Metric, gathered: Gathered) -> None:
    """Raises ValueError where the metric needs masks or scenes that the images do not have."""
    photos = [source.name for source in gathered.sources if not source.is_scene]
    if metric.needs == "scenes" and photos:
        raise ValueError(
            f"Expected scenes of the concept world for `{metric.name}`, got `{photos[0]}`; try `scenes:test/0-31`."
        )
    if metric.needs == "masks" and photos and options.masks is None:
        raise ValueError(
            f"Expected `--masks` for `{metric.name}` on photographs, got none for `{photos[0]}`; "
            "try a folder with a PNG for each, or `scenes:test/0-31`."
        )
    if options.masks is not None:
        if metric.needs != "masks":
            raise ValueError(
                f"Expected a metric that looks at masks with `--masks`, got `{metric.name}`; try `--metric energy`."
            )
        if not options.masks.is_dir():
            raise ValueError(
                f"Expected a folder of masks, got `{options.masks}`; try `--masks` with a PNG for each image."
            )


def _places(
    net: Network, metric: Metric, methods: Sequence[Method], options: Evaluate
) -> list[tuple[Method, tuple[str, ...]]]:
    """The layers of every method, and whether all goes together, tried on a blank image before anything is written.

    Of "all" methods those that refuse are left out and named. Raises ValueError as they do.
    """
    import torch

    import pellucid as pl
    from pellucid.evaluation import Case

    size = net.preprocess.size or net.input_shape[1:]
    blank = torch.zeros(1, net.input_shape[0], *size, device=net.device, dtype=net.dtype)
    layers = _listed(options.layers) or None
    for layer in layers or ():
        net.layer(layer)
    if metric.needs in ("maps", "masks"):
        flat = torch.zeros(1, *size, device=net.device)
        target = net.resolve_target(0 if options.target is None else options.target, blank.flatten(1))
        metric(Case(net, blank, target, flat, masks=flat > 0, progress=False))
    found = []
    for method in methods:
        try:
            maps = pl.attribute(net, blank, method, layers, options.target, normalized=True, progress=False)
        except ValueError as error:
            if _listed(options.methods) != ["all"] or method.name == options.baseline:
                raise
            complain(f"left out {method.name}: {error}")
        else:
            found.append((method, tuple(maps)))
    return found


def _write(comparison: Comparison, directory: RunDirectory) -> None:
    from pellucid.commands.comparison_figure import figure
    from pellucid.core.storage import write_bytes, write_json, write_text

    drawn = figure(comparison)
    if drawn is None:
        complain("no figure, as matplotlib is not there; try `pip install pellucid[plot]`")
    endings = (".json", ".csv", *([] if drawn is None else [".png"]))
    stem = directory.claim("evaluation", endings)
    write_json(directory.folder / f"{stem}.json", comparison.to_json())
    write_text(directory.folder / f"{stem}.csv", comparison.to_csv())
    if drawn is not None:
        write_bytes(directory.folder / f"{stem}.png", drawn)
    directory.keep(stem)
