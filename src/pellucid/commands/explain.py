"""``pellucid explain IMAGE…``: one page per image, an index for several, numbers and arrays beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pellucid.commands.console import in_flags, say
from pellucid.commands.options import ImageOptions, flag, parse, settings_in, with_flags
from pellucid.explanation.settings import ExplainSettings

if TYPE_CHECKING:
    from pellucid.commands.sources import Gathered, Source
    from pellucid.core.journal import Entry
    from pellucid.core.network import Network
    from pellucid.core.run import RunDirectory
    from pellucid.explanation import Explanation
    from pellucid.explanation.request import Request


@dataclass(frozen=True)
class Explain(ImageOptions):
    """Explain what a network did with images: where it looked, which neurons carried it, in a sentence.

    Writes a self-contained page per image, the numbers as JSON and the maps as safetensors. Without an
    image, a picture of the embedded concept world is explained; scenes:test/17 names another one.
    """

    mask: Annotated[str | None, flag("FILE")] = None
    """picture of the object's mask (white on black), for one image"""


def run(arguments: Sequence[str]) -> int:
    """Parse, explain image by image, and say where the page is."""
    options = parse(with_flags(Explain, ExplainSettings), "explain", arguments)
    settings = settings_in(options, ExplainSettings)
    from pellucid.commands.work import one_by_one, prepare, results, verdict
    from pellucid.explanation.request import request_of

    net, gathered = prepare(options)
    if options.mask is not None and len(gathered.sources) != 1:
        raise ValueError(
            f"Expected one image with a mask, got {len(gathered.sources)}; try one call for each."
        )
    mask = _mask(options.mask, options.max_pixels)
    request = request_of(net, settings)
    with results("explain", options, net, gathered) as directory:
        pages = _Pages(net, request, options, mask, directory, gathered)
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
        request: Request,
        options: Explain,
        mask: Any,
        directory: RunDirectory,
        gathered: Gathered,
    ) -> None:
        self.net, self.request, self.options, self.mask = net, request, options, mask
        self.directory = directory
        self.count = len(gathered.sources) + len(gathered.failed)
        self.index = f"{directory.claim('index', ('.html',))}.html" if gathered.several else None
        self.entries: list[tuple[str, dict[str, Any]]] = []

    def make(self, source: Source) -> None:
        """Explain one picture and write what was found."""
        from pellucid.explanation.one_image import explain_picture

        picture = source.read(self.options.max_pixels)
        self._save(source, explain_picture(self.net, self.request, picture, self.options.target, self.mask))

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
        if (label := source.label(self.net.classes)) is not None:
            document["image"]["label"] = named["label"] = label
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


def _mask(path: str | None, max_pixels: int) -> Any:
    """Object's mask as a bool array [height width]."""
    if path is None:
        return None
    import numpy as np

    from pellucid.data.images import read_image

    return np.asarray(read_image(Path(path), max_pixels=max_pixels).image.convert("L")) >= 128
