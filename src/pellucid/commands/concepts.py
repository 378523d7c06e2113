"""``pellucid concepts``: directions of a layer found in the user's own pictures, with examples, words and what they are worth."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pellucid.commands.console import complain, say
from pellucid.commands.options import Folder, Images, NetOptions, Switch, flag, group, parse, plain
from pellucid.commands.patterns import readable

if TYPE_CHECKING:
    from PIL import Image

    from pellucid.commands.sources import Source
    from pellucid.core.network import Network
    from pellucid.core.run import RunDirectory
    from pellucid.naming.book import Book

_SCENES = "scenes:train/0-199"
_SHOWN = 6  # examples of a concept on the sheet


@dataclass(frozen=True)
class FindConcepts(NetOptions):
    """Find concepts in pictures: directions of a layer that make up the decisions, with examples, words and measured worth.

    Writes concepts.safetensors, which pellucid.naming.book reads, and sheet.png with the strongest examples of each concept.
    """

    images: Images = ()
    """files, folders, patterns or scenes:SPLIT/FIRST-LAST; by default 200 scenes"""
    layer: Annotated[str | None, flag("LAYER")] = None
    """where; by default the deepest layer with several cells"""
    hierarchy: Annotated[Path | None, flag("CSV")] = None
    """broader words of the classes: a line for each, the class first, then what is broader"""
    recursive: Switch = False
    """look into subfolders too"""
    out: Folder = Path("pellucid-out")
    """where the results go"""


def run(arguments: Sequence[str]) -> int:
    """Parse, with the settings of the search among the flags, and find."""
    options: Any = parse(_command(), "concepts", arguments)
    import pellucid as pl
    from pellucid.commands.sources import gather
    from pellucid.commands.work import say_what_is_there
    from pellucid.core.run import RunDirectory
    from pellucid.core.storage import fingerprint
    from pellucid.naming import vocabulary

    net: Network = options.noted()
    words = vocabulary(net, options.hierarchy)
    gathered = gather(options.images or (_SCENES,), recursive=options.recursive)
    for name, reason in (*gathered.failed, *gathered.skipped):
        complain(f"left out {name}: {reason}")
    settings = vars(options.finding)
    sources, read = readable(gathered.sources[: options.finding.most + 1])
    about = {"name": net.name, "sha256": fingerprint(net.module)}
    with RunDirectory(options.out, "concepts", plain(options), network=about) as directory:
        say_what_is_there(directory)
        book = pl.concepts(net, read, options.layer, words=words, **settings)
        _write(net, book, sources, read, directory)
    for note in book.notes:
        complain(note)
    say(summary(book))
    say(f"{len(book)} concepts: {options.out / 'concepts.safetensors'}")
    return 0


def _command() -> type[Any]:
    from pellucid.naming.book import Finding

    about = " ".join((Finding.__doc__ or "").partition("Attributes")[0].split())
    made = dataclasses.make_dataclass(
        "FindConcepts", [group("finding", "finding", Finding, about)], bases=(FindConcepts,), frozen=True
    )
    made.__doc__ = FindConcepts.__doc__
    return made


def summary(book: Book) -> str:
    """A line for each concept: its words, its share of the decision, and how steady it is."""
    lines = []
    for index, facts in enumerate(book):
        words = facts.given or ", ".join(facts.words[:3]) or "no word"
        steady = "" if facts.halves is None else f", steady {facts.halves:.2f}"
        lines.append(
            f"concept {index}: {words}; {100 * facts.share:.0f} % of the decision (random direction "
            f"{100 * facts.control:.0f} %){steady}"
        )
    return "\n".join(
        [*lines, f"together they explain {100 * book.explained:.0f} % of the activations of {book.layer}"]
    )


def _write(
    net: Network, book: Book, sources: Sequence[Source], read: Sequence[Any], directory: RunDirectory
) -> None:
    """The book and the sheet of its examples; listed in run.json."""
    from pellucid.core.storage import write_bytes
    from pellucid.visualization.sheet import png, sheet

    for index, facts in enumerate(book):
        directory.add(
            {
                "concept": index,
                "words": list(facts.words),
                "broader": facts.broader,
                "share": facts.share,
                "control": facts.control,
                "images": [sources[crop.image].name for crop in facts.crops],
            }
        )
    stem = directory.claim("concepts", [".safetensors"])
    book.save(directory.folder, stem)
    directory.keep(stem)
    shown = [
        (_crop(net, read[crop.image], crop.box), f"{index}: {', '.join(facts.words[:2]) or 'no word'}")
        for index, facts in enumerate(book)
        for crop in facts.crops[:_SHOWN]
    ]
    if shown:
        stem = directory.claim("sheet", [".png"])
        page = sheet(*map(list, zip(*shown, strict=True)), columns=_SHOWN)
        write_bytes(directory.folder / f"{stem}.png", png(page))
        directory.keep(stem)


def _crop(net: Network, picture: Any, box: tuple[int, int, int, int]) -> Image.Image:
    """A square part of the picture as the network sees it, around a box, enlarged."""
    from PIL import Image

    view = net.preprocess.view(picture)
    top, left, bottom, right = box
    side = min(max(bottom - top, right - left, 16), *view.size)
    row = min(max((top + bottom - side) // 2, 0), view.height - side)
    column = min(max((left + right - side) // 2, 0), view.width - side)
    return view.crop((column, row, column + side, row + side)).resize((128, 128), Image.Resampling.BICUBIC)
