"""``pellucid patterns``: which channels of a layer are active together in images of a class, in words, numbers and pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pellucid.commands.console import complain, say
from pellucid.commands.options import Folder, Images, NetOptions, Switch, flag, group, parse, plain

if TYPE_CHECKING:
    from PIL import Image

    from pellucid.commands.sources import Source
    from pellucid.core.network import Network
    from pellucid.core.run import RunDirectory
    from pellucid.explanation.concepts import Names
    from pellucid.units.patterns import Patterns

_SCENES = "scenes:train/0-799"
_MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class MinePatterns(NetOptions):
    """Find patterns: channels of a layer that are active together in images of one class and seldom in others.

    Writes patterns.safetensors, which pellucid visualize --patterns reads, and sheet.png with their regions.
    Shares are those of images held out.
    """

    images: Images = ()
    """files, folders, patterns or scenes:SPLIT/FIRST-LAST, of several classes; by default 800 scenes"""
    layer: Annotated[str | None, flag("LAYER")] = None
    """where; by default the last stage"""
    labels: Annotated[Literal["predicted", "given"], flag()] = "predicted"
    """classes of the images: what the network says, or what is given: the class a scene was drawn for, the folder of a file"""
    target: Annotated[tuple[str, ...], flag("CLASS ...")] = ()
    """classes to mine; by default all that have images"""
    table: Annotated[str | None, flag("FOLDER")] = None
    """results of pellucid dissect for this network, which name the channels; by default those that come with the embedded
    networks; none for no names"""
    recursive: Switch = False
    """look into subfolders too"""
    out: Folder = Path("pellucid-out")
    """where the results go"""


def run(arguments: Sequence[str]) -> int:
    """Parse, with the parameters of mining among the flags, and mine."""
    options: Any = parse(_command(), "patterns", arguments)
    from pellucid.commands.sources import gather
    from pellucid.commands.work import say_what_is_there
    from pellucid.core.run import RunDirectory
    from pellucid.core.storage import fingerprint
    from pellucid.data.preprocess import to_batch
    from pellucid.explanation.concepts import names_for
    from pellucid.units.patterns import Mining, mine

    settings = Mining(**vars(options.mining))
    net = options.noted()
    layer = options.layer or net.default_layers[-1]
    names = names_for(net, {} if options.table == "none" else options.table, layer)
    gathered = gather(options.images or (_SCENES,), recursive=options.recursive)
    for name, reason in (*gathered.failed, *gathered.skipped):
        complain(f"left out {name}: {reason}")
    sources, read = readable(gathered.sources)
    labels = given_labels(net, sources) if options.labels == "given" else None
    about = {"name": net.name, "sha256": fingerprint(net.module)}
    with RunDirectory(options.out, "patterns", plain(options), network=about) as directory:
        say_what_is_there(directory)
        batch, shown = to_batch(read, net.preprocess)
        found = mine(
            net, batch, labels, layer, settings=settings, classes=options.target or None, normalized=True,
            folder=directory.unfinished,
        )  # fmt: skip
        _write(found, names, [one.image for one in shown], [one.name for one in sources], directory)
    for note in (*names.notes, *found.notes):
        complain(note)
    say(_summary(found, names))
    say(f"{len(found)} patterns: {options.out / 'patterns.safetensors'}")
    return 0


def _command() -> type[Any]:
    from pellucid.units.patterns import Mining

    about = " ".join((Mining.__doc__ or "").partition("Raises")[0].split())
    made = dataclasses.make_dataclass(
        "MinePatterns", [group("mining", "mining", Mining, about)], bases=(MinePatterns,), frozen=True
    )
    made.__doc__ = MinePatterns.__doc__
    return made


def readable(sources: Sequence[Source]) -> tuple[list[Source], list[Any]]:
    """The sources that can be read, with their pictures; the others are complained of. Raises ValueError where none can."""
    from pellucid.data.pixels import ImageError

    found, read = [], []
    for one in sources:
        try:
            read.append(one.read(_MAX_PIXELS))
            found.append(one)
        except ImageError as error:
            complain(f"left out {one.name}: {error}")
    if not found:
        raise ValueError(f"Expected pictures that can be read, got none among {len(sources)}.")
    return found, read


def given_labels(net: Network, sources: Sequence[Source]) -> list[int]:
    """The class a scene was drawn for, or the name of a file's folder. Raises UnknownNameError for another name."""
    found = []
    for source in sources:
        name = source.content().scene_data.label if source.is_scene else source.content.parent.name
        found.append(net.class_index(name))
    return found


def _summary(found: Patterns, names: Names) -> str:
    """A sentence for the first pattern of every class."""
    from pellucid.explanation.patterns import sentence
    from pellucid.speech.text import plain

    lines = [plain(sentence(found.of_class(one.name)[0], names)) for one in found.summary if one.kept]
    return "\n".join(lines)


def _write(
    found: Patterns, names: Names, pictures: Sequence[Image.Image], files: Sequence[str], directory: RunDirectory
) -> None:  # fmt: skip
    """The patterns, with names of files and words, and the sheet of their regions; listed in run.json."""
    from pellucid.core.storage import write_bytes
    from pellucid.explanation.patterns import concepts, sentence, words
    from pellucid.speech.text import plain
    from pellucid.units.patterns import overlay
    from pellucid.visualization.sheet import png, sheet

    for one in found.patterns:
        directory.add(
            {
                "class": one.name,
                "channels": list(one.channels),
                "concepts": list(concepts(one, names)),
                "text": plain(sentence(one, names)),
                "images": [files[there.image] for there in one.occurrences],
            }
        )
    stem = directory.claim("patterns", [".safetensors"])
    found.save(directory.folder, stem)
    directory.keep(stem)
    shown = [
        (overlay(found, there, pictures[there.image]), f"{one.name}: {words(one, names)}")
        for one in found.patterns
        for there in one.occurrences
    ]
    if shown:
        stem = directory.claim("sheet", [".png"])
        page = sheet(*map(list, zip(*shown, strict=True)), columns=2 * max(1, found.settings.examples))
        write_bytes(directory.folder / f"{stem}.png", png(page))
        directory.keep(stem)
