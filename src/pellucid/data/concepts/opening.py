"""Which set a text means: a known layout and a folder, a bare folder, or scenes of the embedded world."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pellucid.core.registry import suggest
from pellucid.data.concepts.ade20k import Ade20kConcepts
from pellucid.data.concepts.base import ConceptSource
from pellucid.data.concepts.broden import BrodenConcepts
from pellucid.data.concepts.coco import CocoConcepts
from pellucid.data.concepts.cub import CubConcepts
from pellucid.data.concepts.folder import FolderConcepts
from pellucid.data.concepts.voc import VocConcepts

_LAYOUTS: dict[str, Callable[..., ConceptSource]] = {
    "broden": BrodenConcepts.of,
    "folder": FolderConcepts.of,
    "coco": CocoConcepts.of,
    "voc": VocConcepts.of,
    "ade20k": Ade20kConcepts.of,
    "cub": CubConcepts.of,
}
# what a folder of each layout holds; tried in this order
_MARKS = {
    "broden": ("index.csv + label.csv", ("index.csv", "label.csv")),
    "folder": ("index.csv + labels.csv", ("index.csv", "labels.csv")),
    "coco": ("annotations/instances_*.json", ("annotations/instances_*.json",)),
    "voc": ("JPEGImages/ + SegmentationClass/", ("JPEGImages", "SegmentationClass")),
    "ade20k": ("objectInfo150.txt + annotations/", ("objectInfo150.txt", "annotations")),
    "cub": ("image_class_labels.txt + parts/", ("image_class_labels.txt", "parts")),
}
# how far below the given folder a layout is found: VOCdevkit/VOC2012 is two folders down from what was unpacked
_DEPTH = {"broden": 1, "voc": 2, "ade20k": 1, "cub": 1}


def open_concepts(source: str | os.PathLike[str] | ConceptSource, **options: Any) -> ConceptSource:
    """Open a set of pictures with labels; one that is open passes through.

    Args:
        source: "scenes" (the first 1,000 validation scenes), "scenes:val/0-999", a folder whose layout is recognized, or a
            folder after the name of its layout: "broden:…", "folder:…", "coco:…", "voc:…", "ade20k:…", "cub:…". A
            "folder:…" may end in ":" and names of sets joined by commas.
        **options: passed on to the layout, as ``merge="group"`` for a folder or ``confounding=0.9`` for scenes.

    Returns:
        The pictures and their labels, read when they are asked for.

    Raises:
        ValueError: nothing can be opened (the message says what was looked for), or options the layout does not have.

    Example:
        >>> len(open_concepts("scenes:val/10-19"))
        10
    """
    if isinstance(source, ConceptSource):
        if options:
            raise ValueError(
                f"Expected no options for a set that is open, got {', '.join(options)}; try without."
            )
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(
            f"Expected a set of concepts, a folder or a text such as `scenes:val/0-999`, got {type(source).__name__}; "
            "try a subclass of pellucid.data.concepts.ConceptSource for pictures of your own."
        )
    text = os.fspath(source)
    layout, colon, rest = text.partition(":")
    if layout == "scenes":
        return _options(layout, _scenes, rest, options)
    if colon and layout in _LAYOUTS:
        if layout == "folder":
            rest, options = _with_sets(rest, options)
        return _options(layout, _LAYOUTS[layout], rest, options)
    path = Path(text).expanduser()
    if not path.exists():
        if colon and re.fullmatch(r"[A-Za-z0-9_]{2,}", layout):
            raise ValueError(
                f"Expected the layout of a set, got `{layout}`; {suggest(layout, ['scenes', *_LAYOUTS])}"
            )
        raise ValueError(
            f'Expected a folder of concepts, got {text!r}, which does not exist; try its full path, or "scenes".'
        )
    found = _recognized(path)
    if found is None:
        marks = "; ".join(f"{name}: {words}" for name, (words, _) in _MARKS.items())
        raise ValueError(
            f"Expected a set of concepts in {text!r}, got none of its marks ({marks}); try the folder with them."
        )
    return _options(found, _LAYOUTS[found], text, options)


def _recognized(path: Path) -> str | None:
    if path.is_file():
        return "coco" if path.suffix == ".json" else None
    for depth, folder in enumerate(("", "*/", "*/*/")):
        for layout, (_, marks) in _MARKS.items():
            if depth > _DEPTH.get(layout, 0):
                continue
            held = [{match.parents[mark.count("/")] for match in path.glob(folder + mark)} for mark in marks]
            if set.intersection(*held):
                return layout
    return None


def _with_sets(text: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Names of sets at the end of a text, unless all of it is a folder."""
    folder, colon, names = text.rpartition(":")
    if not colon or Path(text).expanduser().is_dir() or not Path(folder).expanduser().is_dir():
        return text, options
    return folder, {**options, "sets": names}


def _scenes(text: str, **options: Any) -> ConceptSource:
    match = re.fullmatch(r"(?P<split>[a-z]+)?(?:/(?P<first>\d{1,9})-(?P<last>\d{1,9}))?", text)
    if match is None or (match["first"] and int(match["last"]) < int(match["first"])):
        raise ValueError(f'Expected scenes as "scenes:val/0-999", got {"scenes:" + text!r}; try that.')
    first = int(match["first"] or 0)
    count = int(match["last"]) - first + 1 if match["last"] else 1000
    from pellucid.world.concepts import SceneConcepts  # the world stands on this room

    return SceneConcepts.of(count, split=match["split"] or "val", first=first, **options)


def _options(
    layout: str, opened: Callable[..., ConceptSource], text: str, options: dict[str, Any]
) -> ConceptSource:
    known = {
        "scenes": ("confounding", "size"),
        "folder": ("sets", "merge"),
        "coco": ("sets", "images"),
        "cub": ("share",),
    }.get(layout, ())
    for name in options:
        if name not in known:
            raise ValueError(f"Expected an option of {layout}, got `{name}`; {suggest(name, known)}")
    return opened(text, **options)
