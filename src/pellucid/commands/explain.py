"""``pellucid explain IMAGE…``: one page per image, an index for several, numbers and arrays beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pellucid.commands.console import in_flags, say
from pellucid.commands.options import (
    ImageOptions,
    Layers,
    MaybeClass,
    Name,
    Number,
    Switch,
    at_least,
    flag,
    parse,
)

if TYPE_CHECKING:
    from pellucid.commands.sources import Gathered, Source
    from pellucid.core.journal import Entry
    from pellucid.core.network import Network
    from pellucid.core.run import RunDirectory
    from pellucid.explanation import Explanation
    from pellucid.explanation.concepts import Names
    from pellucid.explanation.pictures import Pictures
    from pellucid.explanation.sight import Recognizing
    from pellucid.units.patterns import Patterns


@dataclass(frozen=True)
class Explain(ImageOptions):
    """Explain what a network did with images: where it looked, which neurons carried it, in a sentence.

    Writes a self-contained page per image, the numbers as JSON and the maps as safetensors. Without an
    image, a picture of the embedded concept world is explained; scenes:test/17 names another one.
    """

    method: Name = "shallow-cam"
    """map the sentence speaks of"""
    methods: Annotated[tuple[str, ...], flag("NAME ...")] = ()
    """maps on the page, or all; by default those that one forward and one backward pass allow"""
    layers: Layers = ()
    """where to look; by default at the end of every resolution stage"""
    criterion: Name = "cgnis"
    """how important neurons are found"""
    units: Number = 5
    """how many neurons"""
    table: Annotated[str | None, flag("FOLDER")] = None
    """results of pellucid dissect for this network, from which neurons get the names of concepts; by default the tables that
    come with the embedded networks; none for no names"""
    pictures: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, flag("FOLDER")] = ()
    """results of pellucid visualize for this network, shown beside the neurons they were painted for; may be repeated"""
    patterns: Annotated[str | None, flag("FOLDER")] = None
    """results of pellucid patterns for this network; the one of the class that is in the picture is then said"""
    recognizer: Annotated[str | None, flag("NAME|FILE")] = None
    """what names the parts of a picture, as pellucid train irenet writes it; by default the one that comes with the concept
    world, for networks of its classes; none for no parts"""
    why_not: MaybeClass = None
    """another class, by name or index: say what speaks against it, and what would have to change"""
    language: Annotated[str, flag("en|zh")] = "en"
    """of the sentence and the page: en or zh"""
    mask: Annotated[str | None, flag("FILE")] = None
    """picture of the object's mask (white on black), for one image"""
    seed: Number = 0
    """of the random neurons removed for comparison, and of the sanity check's random network"""
    no_faithfulness: Switch = False
    """do not test whether the map is faithful; spares up to 40 forward passes"""


def run(arguments: Sequence[str]) -> int:
    """Parse, explain image by image, and say where the page is."""
    options = parse(Explain, "explain", arguments)
    from pellucid.commands.work import one_by_one, prepare, results, verdict
    from pellucid.core.registry import get, names
    from pellucid.explanation.patterns import patterns_for
    from pellucid.explanation.pictures import pictures_for
    from pellucid.explanation.sight import recognizer_for
    from pellucid.speech.languages import check_language

    at_least(options.units, 1, "units")
    check_language(options.language)
    get("neurons", options.criterion)
    methods = names("attribution") if options.methods == ("all",) else options.methods or None
    for name in (options.method, *(methods or ())):
        get("attribution", name)
    net, gathered = prepare(options)
    for layer in options.layers:
        net.layer(layer)
    if options.mask is not None and len(gathered.sources) != 1:
        raise ValueError(
            f"Expected one image with a mask, got {len(gathered.sources)}; try one call for each."
        )
    if options.why_not is not None:
        net.class_index(options.why_not)
    mask = _mask(options.mask, options.max_pixels)
    meanings, painted = _names(net, options), pictures_for(net, options.pictures or None)
    seeing, mined = recognizer_for(net, options.recognizer), patterns_for(net, options.patterns)
    with results("explain", options, net, gathered) as directory:
        pages = _Pages(net, options, methods, mask, meanings, painted, seeing, mined, directory, gathered)
        try:
            one_by_one(gathered, directory, "explaining", pages.make, pages.again)
        finally:
            pages.write_index()
    code = verdict(directory)
    if directory.facts["results"]:
        say(pages.summary())
    return code


class _Pages:
    """Writes the results of one image after the other."""

    def __init__(
        self,
        net: Network,
        options: Explain,
        methods: Sequence[str] | None,
        mask: Any,
        meanings: Names,
        painted: Pictures,
        seeing: Recognizing | None,
        mined: Patterns | None,
        directory: RunDirectory,
        gathered: Gathered,
    ) -> None:
        self.net, self.options, self.methods, self.mask = net, options, methods, mask
        self.meanings, self.painted, self.seeing, self.mined = meanings, painted, seeing, mined
        self.directory = directory
        self.count = len(gathered.sources) + len(gathered.failed)
        self.index = f"{directory.claim('index', ('.html',))}.html" if gathered.several else None
        self.entries: list[tuple[str, dict[str, Any]]] = []

    def make(self, source: Source) -> None:
        """Explain one picture and write what was found."""
        from pellucid.explanation import explain

        options = self.options
        picture = source.read(options.max_pixels)
        explanation: Explanation = explain(
            self.net,
            picture.rendering or picture,
            target=options.target,
            method=options.method,
            methods=self.methods,
            layers=options.layers or None,
            criterion=options.criterion,
            units=options.units,
            mask=self.mask,
            seed=options.seed,
            faithfulness=not options.no_faithfulness,
            table=self.meanings,
            pictures=self.painted,
            recognizer=self.seeing or "none",
            why_not=options.why_not,
            language=options.language,
            patterns=self.mined,
        )
        self._save(source, explanation)

    def again(self, source: Source, entry: Entry) -> None:
        """A page that an earlier part of this run has made."""
        self.entries.append((str((entry.result or {})["page"]), entry.data))

    def _save(self, source: Source, explanation: Explanation) -> None:
        from pellucid.core.storage import write_arrays, write_json, write_text
        from pellucid.report import render_page
        from pellucid.report.build import index_card

        named = {**explanation.image, "name": source.name}
        document = explanation.to_json(pictures=True)
        document["image"]["name"] = source.name
        page = render_page(document, index=self.index)
        stem = self.directory.claim(source.name, (".html", ".json", ".safetensors"))
        folder = self.directory.folder
        write_arrays(folder / f"{stem}.safetensors", explanation.arrays())
        write_json(folder / f"{stem}.json", {**explanation.to_json(), "image": named})
        write_text(folder / f"{stem}.html", page)
        card = index_card(document)
        self.entries.append((f"{stem}.html", card))
        self.directory.add(
            {
                "image": source.name,
                "sha256": source.sha256,
                "page": f"{stem}.html",
                "text": str(explanation),
            },
            stem,
            key=source.key,
            data=card,
        )

    def write_index(self) -> None:
        """The page that leads to all others, and lists what could not be done."""
        if self.index is None or not self.entries:
            return
        from pellucid.core.storage import write_text
        from pellucid.report import render_index

        facts = self.directory.facts
        left = [(one["name"], in_flags(one["reason"])) for one in (*facts["failed"], *facts["skipped"])]
        finished = {one["page"] for one in facts["results"]}  # an interruption may fall between the two lists
        entries = [entry for entry in self.entries if entry[0] in finished]
        done = len(entries) + len(facts["failed"])
        missing = max(0, self.count - done)
        write_text(self.directory.folder / self.index, render_index(entries, left, missing))
        self.directory.keep(self.index.removesuffix(".html"))

    def summary(self) -> str:
        """What is printed at the end: the sentence or the count, and where the page is."""
        results = self.directory.facts["results"]
        first = results[0]["text"] if self.index is None else f"{len(results)} images explained"
        return f"{first}\nreport: {self.directory.folder / (self.index or results[0]['page'])}"


def _names(net: Network, options: Explain) -> Names:
    """What neurons are called by. Raises as `pellucid.explanation.concepts.names_for` does."""
    from pellucid.explanation.explaining import all_names
    from pellucid.explanation.request import last_layer

    place = last_layer(net, options.layers or None)
    table: Any = {} if options.table == "none" else options.table
    return all_names(net, table, place, options.layers or net.default_layers)


def _mask(path: str | None, max_pixels: int) -> Any:
    """Object's mask as a bool array [height width]."""
    if path is None:
        return None
    import numpy as np

    from pellucid.data.images import read_image

    return np.asarray(read_image(Path(path), max_pixels=max_pixels).image.convert("L")) >= 128
