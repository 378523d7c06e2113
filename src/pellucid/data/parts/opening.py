"""Which set with parts a text means, and how much of it is taken."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.data.concepts import ConceptSource, open_concepts
from pellucid.data.concepts.listed import side
from pellucid.data.parts.animals import AnimalParts
from pellucid.data.parts.birds import BirdParts
from pellucid.data.parts.labeled import LabeledParts
from pellucid.data.parts.source import PartedImage, PartSource, chosen
from pellucid.data.parts.voc import VocParts

_KNOWN = ("scenes", "cub", "voc", "animals", "folder")
_OPTIONS: dict[str, tuple[str, ...]] = {
    "scenes": ("confounding", "size"),
    "cub": ("parts", "split", "margin", "share"),
    "voc": ("classes", "parts", "margin", "least"),
    "animals": ("classes", "parts", "split", "margin"),
    "folder": ("classes", "parts", "split", "sets", "merge"),
}


def open_parts(
    source: str | os.PathLike[str] | PartSource | ConceptSource,
    *,
    classes: Sequence[str] = (),
    parts: Sequence[str] = (),
    per_class: int | None = None,
    **options: Any,
) -> PartSource:
    """Pictures of objects with parts from a text; a set that is open passes through.

    Args:
        source: "scenes:test/0-499", "scenes:bird:test/0-499" (every scene a bird), "cub:DIR" (CUB-200-2011), "voc:DIR"
            (PASCAL-Part), "animals:DIR" (boxes.csv), "folder:DIR" (index.csv and labels.csv; names of sets may follow after a
            colon), or a set of concepts with a category "part". A bare folder is recognized by what it holds.
        classes: object classes to take, by default all (of "voc": the six animals of the paper).
        parts: names of parts to take, by default all (of "cub": back, forehead, tail).
        per_class: at most so many pictures of every class, the first ones.
        options: of "cub" and "animals" ``split`` ("train" or "test") and ``margin`` (of the crop); of "folder" ``split``,
            ``sets``, ``merge``; of "voc" ``margin``, ``least``; of "cub" ``share``; of "scenes" ``confounding``, ``size``.

    Raises ValueError (UnknownNameError for names) with what was expected, what came and what to try.

    >>> open_parts("scenes:bird:test/0-9", parts=["head", "tail"]).keys
    (PartKey(object_class='bird', name='tail'), PartKey(object_class='bird', name='head'))
    """
    if per_class is not None and per_class < 1:
        raise ValueError(f"Expected `per_class` to be at least 1, got {per_class}; try 100.")
    given = {key: value for key, value in options.items() if value is not None}
    if given.get("split") is not None:
        given["split"] = _side(str(given["split"]))
    if isinstance(source, PartSource):
        _refuse(given, (), source.name)
        found: PartSource = source
    elif isinstance(source, ConceptSource):
        _refuse(given, ("split",), source.name)
        found = LabeledParts.of(source, classes=classes, parts=parts, **given)
    else:
        found = _opened(os.fspath(source), tuple(classes), tuple(parts), given)
    return Selected.of(found, classes, parts, per_class)


def _opened(
    text: str, classes: tuple[str, ...], parts: tuple[str, ...], options: dict[str, Any]
) -> PartSource:
    layout, colon, rest = text.partition(":")
    if layout != "scenes" and not (colon and layout in _KNOWN):
        path = Path(text).expanduser()
        if not path.exists():
            tried = layout if colon else text
            raise ValueError(
                f"Expected a set with parts, as scenes:test/0-499 or cub:FOLDER, got {text!r}; {suggest(tried, _KNOWN)}"
            )
        layout, rest = _recognized(path), text
    _refuse(options, _OPTIONS[layout], layout)
    named = {"classes": classes, "parts": parts}
    options = options | {key: named[key] for key in named if named[key] and key in _OPTIONS[layout]}
    if layout == "scenes":
        from pellucid.world.parts import SceneParts  # the world stands on this room

        return SceneParts.of(rest, classes=classes, **options)
    if layout == "folder":
        own = {key: options.pop(key) for key in ("sets", "merge") if key in options}
        return LabeledParts.of(open_concepts(f"folder:{rest}", **own), **options)
    openers: dict[str, Callable[..., PartSource]] = {
        "cub": BirdParts.of,
        "voc": VocParts.of,
        "animals": AnimalParts.of,
    }
    return openers[layout](rest, **options)


def _recognized(path: Path) -> str:
    marks = {
        "cub": ("image_class_labels.txt", "CUB_200_2011/image_class_labels.txt"),
        "voc": ("Annotations_Part", "*/Annotations_Part", "*/*/Annotations_Part"),
        "folder": ("labels.csv",),
        "animals": ("boxes.csv", "*/boxes.csv"),
    }
    for layout, patterns in marks.items():
        if any(next(iter(path.glob(pattern)), None) for pattern in patterns):
            return layout
    raise ValueError(
        f"Expected a set with parts in {str(path)!r}, got none of image_class_labels.txt (cub), Annotations_Part (voc), "
        "boxes.csv (animals), labels.csv (folder); try the folder that holds one."
    )


def _refuse(options: dict[str, Any], known: Sequence[str], what: str) -> None:
    for name in options:
        if name not in known:
            raise UnknownNameError(f"Expected an option of {what}, got `{name}`; {suggest(name, known)}")


def _side(word: str) -> str:
    found = side(word)
    if found is None:
        raise ValueError(f"Expected `split` to be train or test, got {word!r}.")
    return found


@dataclass(eq=False)
class Selected(PartSource):
    """Some pictures and parts of a set; made by `Selected.of`."""

    held: Any = None
    places: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, held: PartSource, classes: Sequence[str], parts: Sequence[str], per_class: int | None
    ) -> PartSource:
        """The set itself where all of it is wanted. Raises ValueError where nothing is left."""
        kinds = chosen(classes or list(held.classes), list(held.classes), "class")
        every = list(dict.fromkeys(key.name for key in held.keys))
        names = chosen(parts or every, every, "part")
        kept = {kind: tuple(name for name in held.classes[kind] if name in names) for kind in kinds}
        places = range(len(held))
        if len(kinds) < len(held.classes) or per_class is not None:
            counts = dict.fromkeys(kinds, 0)
            taken = []
            for place in places:
                kind = held.class_name(place)
                if kind in counts and (per_class is None or counts[kind] < per_class):
                    counts[kind] += 1
                    taken.append(place)
            places = taken  # type: ignore[assignment]
        if not len(places) or not any(kept.values()):
            what = "pictures" if not len(places) else "parts"
            raise ValueError(f"Expected {what} of {', '.join(kinds)} in {held.name}, got none; try others.")
        if len(places) == len(held) and kept == dict(held.classes):
            return held
        return cls(held.name, kept, held.view, held.problems, held=held, places=tuple(places))

    def __len__(self) -> int:
        return len(self.places)

    def picture_name(self, index: int) -> str:
        """As the set has it."""
        return str(self.held.picture_name(self.places[index]))

    def class_name(self, index: int) -> str:
        """As the set has it."""
        return str(self.held.class_name(self.places[index]))

    def files(self, index: int) -> tuple[Path, ...]:
        """The picture's file."""
        return tuple(self.held.files(self.places[index]))

    def __getitem__(self, index: int) -> PartedImage:
        found = self.held[self.places[index]]
        kept = self.classes.get(found.object_class, ())
        return PartedImage(
            found.image,
            found.object_class,
            {name: part for name, part in found.parts.items() if name in kept},
        )

    def facts(self) -> dict[str, Any]:
        """Those of the set, of what is kept."""
        own = super().facts()
        return {**self.held.facts(), "images": own["images"], "classes": own["classes"]}
