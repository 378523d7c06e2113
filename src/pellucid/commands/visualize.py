"""``pellucid visualize``: what units and classes want to see; a picture each, a contact sheet, and how they compare with real
pictures."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pellucid.commands.console import complain, say
from pellucid.commands.options import (
    Folder,
    Name,
    NetOptions,
    Number,
    at_least,
    flag,
    parse,
    plain,
    with_parameters,
)

if TYPE_CHECKING:
    from pellucid.core.network import Network
    from pellucid.core.results import Unit
    from pellucid.core.run import RunDirectory
    from pellucid.units.patterns import Patterns
    from pellucid.visualization import Visualization


_ALL = "all"
_MANY = 64  # units of a layer that are painted unless more are asked for
_AT_ONCE = 16


@dataclass(frozen=True)
class Visualize(NetOptions):
    """Paint what units or classes of a network want to see; writes a PNG each, sheet.png and visualization.safetensors.

    The number in a caption compares with the best real picture: 1x or more is stronger than any of them. The method's own
    parameters are flags too.
    """

    units: Annotated[tuple[str, ...], flag("LAYER:UNITS ...")] = ()
    """units, as layer4:12 or layer4:0-15,40"""
    layer: Annotated[str | None, flag("LAYER")] = None
    """its units, the first 64 unless --first says otherwise"""
    first: Number = _MANY
    """how many units of a layer; 0 for all"""
    target: Annotated[tuple[str, ...], flag("CLASS ...")] = ()
    """classes by name or index, or all; by default all classes where no units are named"""
    patterns: Annotated[Path | None, flag("FOLDER")] = None
    """results of pellucid patterns: the patterns there, of the classes named by --target, instead of units and classes"""
    method: Name = "pyramid"
    """way of painting; "pellucid methods --kind visualization" lists them"""
    size: Annotated[int | None, flag("PIXELS")] = None
    """side of the pictures; by default the network's own"""
    count: Number = 1
    """pictures of each"""
    diversity: Annotated[float, flag("NUMBER")] = 0.0
    """how much pictures of the same unit are driven apart"""
    seed: Number = 0
    """of all draws"""
    images: Annotated[tuple[str, ...], flag("IMAGE ...")] = ()
    """real pictures to compare with: files, folders or scenes:SPLIT/FIRST-LAST; embedded networks have scenes"""
    columns: Number = 8
    """pictures in a row of the sheet"""
    out: Folder = Path("pellucid-out")
    """where the results go"""


def run(arguments: Sequence[str]) -> int:
    """Parse, with the method's parameters among the flags, and paint some at a time."""
    command = with_parameters(Visualize, "visualization", "method", arguments)
    options: Any = parse(command, "visualize", arguments)
    from pellucid.commands.work import say_what_is_there
    from pellucid.core.registry import create
    from pellucid.core.run import RunDirectory
    from pellucid.core.storage import fingerprint

    for name, least in (("first", 0), ("count", 1), ("columns", 1)):
        at_least(getattr(options, name), least, name)
    method = create("visualization", options.method, **vars(options.parameters))
    net = options.noted()
    wanted = list(_patterns(net, options).patterns) if options.patterns else _wanted(net, options)
    real = _real(net, options)
    about = {"name": net.name, "sha256": fingerprint(net.module)}
    if options.patterns and options.method == "decode":
        return _decoded(net, real, method, options, about)
    with RunDirectory(options.out, "visualize", plain(options), network=about) as directory, _remarks():
        say_what_is_there(directory)
        found = _painted(net, wanted, method, real, options, directory)
        _write(found, directory, options)
        if not found.finished:
            _stopped(found, options)
    worst = [found.caption(k) for k in range(min(len(found), 10))]
    say("\n".join(worst) + (f"\n… and {len(found) - 10} more" if len(found) > 10 else ""))
    say(f"{len(found)} picture{'' if len(found) == 1 else 's'}: {options.out / 'sheet.png'}")
    return 0


def _stopped(found: Visualization, options: Visualize) -> None:
    """Raises KeyboardInterrupt that says how far a stopped run is."""
    begun = len(found) - found.done
    more = (
        f" ({begun} more as far as they came, {found.status[-1].removeprefix('unfinished: ')})"
        if begun
        else ""
    )
    raise KeyboardInterrupt(
        f"{found.done} of {found.done + found.missing} pictures are finished{more}, in {options.out}; the same command goes on "
        "from there."
    )


def _painted(
    net: Network, wanted: list[Any], method: Any, real: Any, options: Visualize, directory: RunDirectory
) -> Visualization:
    from pellucid.visualization import visualize

    return visualize(
        net, wanted, method, size=options.size, seed=options.seed, count=options.count, diversity=options.diversity,
        images=real, normalized=True if real is not None else None, batch_size=_AT_ONCE,
        folder=directory.unfinished,
    )  # fmt: skip


def _patterns(net: Network, options: Visualize) -> Patterns:
    """The patterns of a folder, those of the classes named where some are. Raises ValueError where none is left."""
    from dataclasses import replace

    from pellucid.units.patterns import load_patterns

    found = load_patterns(options.patterns or "", net)
    if not options.target or options.target == (_ALL,):
        return found
    named = {net.class_index(one) for one in options.target}
    kept = tuple(one for one in found.patterns if one.target in named)
    if not kept:
        have = ", ".join(dict.fromkeys(one.name for one in found.patterns))
        raise ValueError(
            f"Expected a class with patterns, got {', '.join(options.target)}; `{options.patterns}` has patterns of {have}."
        )
    return replace(found, patterns=kept)


def _decoded(net: Network, real: Any, method: Any, options: Visualize, about: dict[str, Any]) -> int:
    """Patterns as the decoder paints them, fed back; with their concepts where a table names them."""
    from pellucid.core.run import RunDirectory
    from pellucid.explanation.concepts import names_for
    from pellucid.explanation.patterns import called
    from pellucid.visualization.certificate import own_scenes
    from pellucid.visualization.decoder import decode, load_decoder, save

    patterns = _patterns(net, options)
    decoder = load_decoder(method.decoder, net, patterns.layer)
    shown = own_scenes(net) if real is None else real
    if shown is None:
        raise ValueError("Expected real pictures to decode the maps of, got none; try `--images FOLDER`.")
    with RunDirectory(options.out, "visualize", plain(options), network=about) as directory:
        normalized = None if real is None else True
        found = decode(net, decoder, patterns, shown, seed=options.seed, normalized=normalized)
        words = called([one.pattern for one in found.decoded], names_for(net, None, patterns.layer))
        for row in save(found, directory.folder, words, lambda stem, suffix: directory.claim(stem, [suffix])):
            directory.add(row, Path(row["file"]).stem)
        for stem in ("sheet", "decode"):
            directory.keep(stem)
    for note in found.notes:
        complain(note)
    for place, one in enumerate(found.decoded):
        own, random = one.own, one.of_random
        say(
            f"{words[place]}: fed back, {100 * own.channels:.0f} % of its channels (random {100 * random.channels:.0f} %), "
            f"probability of {one.pattern.name} {own.probability:.2f} (random {random.probability:.2f})"
        )
    say(f"{len(found)} patterns: {options.out / 'sheet.png'}")
    return 0


@contextlib.contextmanager
def _remarks() -> Any:
    """Warnings that this thread's own code gives as remarks of the command; others go where they would have gone."""
    here, texts = threading.get_ident(), {}
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
            if threading.get_ident() == here and issubclass(category, UserWarning):
                texts[str(message)] = True
            else:
                usual(message, category, *rest, **more)

        warnings.showwarning = show
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for text in texts:
                complain(text)


def _wanted(net: Network, options: Visualize) -> list[Any]:
    """Units and classes in the order they were named. Raises ValueError, IndexError or UnknownNameError."""
    found: list[Any] = [unit for text in options.units for unit in units_of(text)]
    if options.layer is not None:
        from pellucid.core.results import Unit

        width = net.layer(options.layer).shape[0]
        found += [Unit(options.layer, k) for k in range(min(options.first or width, width))]
    classes = options.target or (() if found else (_ALL,))
    for name in classes:
        found += (
            list(range(len(net.classes)))
            if name == _ALL and _ALL not in net.classes
            else [net.class_index(name)]
        )
    return found


def units_of(text: str) -> list[Unit]:
    """The units that ``layer4:12`` or ``layer4:0-15,40`` names; a layer's own name may hold a colon. Raises ValueError."""
    from pellucid.core.results import Unit

    layer, colon, numbers = text.rpartition(":")
    found = []
    for part in numbers.split(","):
        low, dash, high = part.partition("-")
        if not (colon and layer and low.isdecimal() and (high.isdecimal() if dash else True)):
            raise ValueError(f"Expected units as LAYER:12 or LAYER:0-15,40, got `{text}`.")
        last = int(high) if dash else int(low)
        if last < int(low) or last - int(low) >= 100_000:
            raise ValueError(f"Expected a range of units from low to high, got `{part}` in `{text}`.")
        found += [Unit(layer, k) for k in range(int(low), last + 1)]
    return found


def _real(net: Network, options: Visualize) -> Any:
    """Normalized real pictures, or None for what the library takes by itself."""
    if not options.images:
        return None
    from pellucid.commands.sources import gather
    from pellucid.data.pixels import ImageError
    from pellucid.data.preprocess import to_batch

    gathered = gather(options.images, recursive=False)
    for name, reason in gathered.failed:
        complain(f"left out {name}: {reason}")
    read = []
    for source in gathered.sources:
        try:
            read.append(source.read(100_000_000))
        except ImageError as error:
            complain(f"left out {source.name}: {error}")
    if not read:
        raise ValueError(f"Expected real images that can be read, got none of {len(gathered.sources)}.")
    return to_batch(read, net.preprocess)[0]


def _write(found: Visualization, directory: RunDirectory, options: Visualize) -> None:
    """Every picture under a name of its own, the sheet, the numbers; listed in run.json."""
    from pellucid.core.storage import write_bytes
    from pellucid.visualization.result import safe, write_facts
    from pellucid.visualization.sheet import png

    facts = found.to_json()
    for row, picture in zip(facts["images"], found.pictures, strict=True):
        stem = directory.claim(f"{safe(row['label'])}.png", [".png"])
        row["file"] = f"{stem}.png"
        write_bytes(directory.folder / row["file"], png(picture))
        directory.add(row, stem)
    for stem, suffix in (("sheet", ".png"), ("visualization", ".safetensors")):
        claimed = directory.claim(stem, [suffix])
        file = directory.folder / f"{claimed}{suffix}"
        if stem == "sheet":
            write_bytes(file, png(found.sheet(options.columns)))
        else:
            write_facts(file, facts, found.history)
        directory.keep(claimed)
