"""ADE20K as the scene parsing challenge of 2016 divides it: 150 classes of objects, and the scene of the whole picture.

``images/{training,validation}/*.jpg``, gray PNGs of the same names below ``annotations/`` (0: none of the 150),
``objectInfo150.txt`` with tabs between Idx and Name (synonyms joined by commas), ``sceneCategories.txt`` with a picture's
name and its scene. training is the fit split, validation is held out. The full ADE20K with parts (``*_seg.png``) is another
layout and is not read.

Source: Zhou, Zhao, Puig, Fidler, Barriuso, Torralba, CVPR 2017.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pellucid.data.concepts.base import Concept, Labels, Problem
from pellucid.data.concepts.listed import (
    Entry,
    ListedConcepts,
    Presence,
    Rows,
    named_once,
    read_lines,
    side,
    usable,
    whole_number,
)
from pellucid.data.concepts.maps import check_shape, read_numbers, stacked, upright_size


@dataclass(eq=False)
class Ade20kConcepts(ListedConcepts):
    """ADE20K's 150 classes and its scenes; made by `Ade20kConcepts.of`."""

    @classmethod
    def of(cls, folder: str | os.PathLike[str]) -> Ade20kConcepts:
        """Open ``ADEChallengeData2016``, or the folder above it.

        Without ``sceneCategories.txt`` there are no scenes. Missing files and malformed rows are listed in ``problems``.
        Raises ValueError when ``objectInfo150.txt`` is missing or nothing is usable.
        """
        root = _root(Path(folder).expanduser())
        problems: list[Problem] = []
        objects = _objects(root / "objectInfo150.txt", problems)
        scenes = _scenes(root / "sceneCategories.txt", problems)
        highest = max(concept.number for concept in objects)
        places = enumerate(sorted(set(scenes.values())), highest + 1)
        numbers = {name: number for number, name in places}
        concepts = [*objects, *(Concept(number, name, "scene") for name, number in numbers.items())]
        whole = {stem: numbers[name] for stem, name in scenes.items()}
        entries = usable(_entries(root, whole, problems), problems, str(root))
        return cls(
            f"ade20k:{root.absolute().name}",
            named_once(concepts, problems),
            problems=problems,
            entries=entries,
            declared=("object", "scene"),
        )

    def labels(self, index: int) -> Labels:
        """One map of the picture's size, and its scene. Raises LabelError when it is damaged or of another shape."""
        entry = self.entries[index]
        path, whole = entry.truth
        numbers = read_numbers(path)
        name = os.path.basename(path)
        check_shape(numbers.shape, upright_size(entry.image), name)
        return Labels(stacked([self.known(numbers, name)]), whole)


def _root(folder: Path) -> Path:
    for root in (folder, folder / "ADEChallengeData2016"):
        if (root / "objectInfo150.txt").is_file():
            return root
    raise ValueError(
        f"Expected objectInfo150.txt in {str(folder)!r}, got none; try the folder ADEChallengeData2016 (the full ADE20K with "
        "*_seg.png is not read)."
    )


def _objects(path: Path, problems: list[Problem]) -> list[Concept]:
    concepts: dict[int, Concept] = {}
    for where, row in Rows(path, ("Idx", "Name"), problems, delimiter="\t").rows:
        number = whole_number(row["Idx"])
        names = tuple(dict.fromkeys(name.strip() for name in row["Name"].split(",") if name.strip()))
        if number and names and number not in concepts:
            concepts[number] = Concept(number, names[0], "object", names[1:])
        else:
            got = f"{row['Idx']!r} and {row['Name']!r}"
            problems.append(
                Problem(where, f"Expected a new number from 1 on and a name, got {got}; the row is left out")
            )
    if not concepts:
        raise ValueError(
            f"Expected the names of classes in {path}, got none that is usable; try another copy."
        )
    return list(concepts.values())


def _scenes(path: Path, problems: list[Problem]) -> dict[str, str]:
    if not path.is_file():
        problems.append(Problem(path.name, "Expected the scenes of pictures, got no file; there are none"))
    return {stem: name for _, (stem, name) in read_lines(path, 2, problems, needed=False)}


def _entries(root: Path, scenes: dict[str, int], problems: list[Problem]) -> list[Entry]:
    present = Presence(root)
    entries = []
    for part in ("training", "validation"):
        for image in sorted((root / "images" / part).glob("*.jpg")):
            truth = root / "annotations" / part / f"{image.stem}.png"
            name = f"{part}/{image.name}"
            if present(str(truth)):
                whole = (scenes[image.stem],) if image.stem in scenes else ()
                entries.append(Entry(name, str(image), (str(truth), whole), side(part)))
            else:
                problems.append(
                    Problem(name, f"Expected the file {truth.name!r}, got none; the picture is left out")
                )
    return entries
