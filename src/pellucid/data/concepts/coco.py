"""COCO's instances: objects outlined by polygons or run lengths in one JSON file for every set of pictures.

``annotations/instances_<set>.json`` holds images, annotations and categories; pictures are in ``<set>/`` or
``images/<set>/``. The instances of a category are joined, crowds among them; where categories overlap, a picture has
several maps. Supercategories, stuff and panoptic PNGs are not read.

A JSON file is parsed whole when the set is opened (that of COCO's training pictures, half a gigabyte, takes several while it
is read); kept are its corners as float32 and its run lengths as they are. Regions are painted when they are asked for.

Source: Lin, Maire, Belongie, Hays, Perona, Ramanan, Dollár, Zitnick, ECCV 2014.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.core.documents import read_regular
from pellucid.core.registry import suggest
from pellucid.data.concepts.base import Concept, LabelError, Labels, Problem
from pellucid.data.concepts.listed import Entry, ListedConcepts, Presence, named_once, side, usable
from pellucid.data.concepts.maps import Mask, check_shape, layered, stacked, upright_size
from pellucid.data.concepts.regions import Points, decode_runs, paint_polygon

_PREFIX = "instances_"
_LARGEST = 2 << 30  # bytes of a file of instances


@dataclass(slots=True)
class _Regions:
    """Of one picture: its (height, width), and numbers with a polygon or run lengths."""

    size: tuple[int, int]
    found: list[tuple[int, Points | str | list[int]]] = field(default_factory=list)


@dataclass(eq=False)
class CocoConcepts(ListedConcepts):
    """Instances of COCO; made by `CocoConcepts.of`."""

    @classmethod
    def of(
        cls,
        folder: str | os.PathLike[str],
        *,
        sets: str | Sequence[str] | None = None,
        images: str | os.PathLike[str] | None = None,
    ) -> CocoConcepts:
        """Open a folder with ``annotations/``, or one JSON file of instances.

        Args:
            folder: the folder above ``annotations``, or a JSON file.
            sets: as "val2017"; by default all whose instances are there. train… is the fit split, val… held out.
            images: the folder of the pictures, where it is none of the usual ones.

        Raises ValueError when no instances are found, a file is none of instances, or nothing is usable. Annotations and
        pictures that cannot be used are listed in ``problems``.
        """
        root = Path(folder).expanduser()
        files = _files(root, sets)
        problems: list[Problem] = []
        concepts: dict[int, Concept] = {}
        entries: list[Entry] = []
        for name, path in files.items():
            content = _content(path)
            concepts |= {
                number: Concept(number, text, "object")
                for number, text in _categories(content, path, problems).items()
            }
            top = root if root.is_dir() else path.parent
            entries += _entries(name, path, content, top, images, set(concepts), problems)
        return cls(
            f"coco:{','.join(files)}",
            named_once(concepts.values(), problems),
            problems=problems,
            entries=usable(entries, problems, str(root)),
        )

    def labels(self, index: int) -> Labels:
        """As few maps of the picture's size as it takes for no category to hide another.

        Raises LabelError for run lengths of another size than the picture, or a picture of another shape than noted.
        """
        entry = self.entries[index]
        size = entry.truth.size
        check_shape(size, upright_size(entry.image), entry.name)
        masks: dict[int, Mask] = {}
        for number, region in entry.truth.found:
            mask = masks.setdefault(number, np.zeros(size, np.bool_))
            if isinstance(region, np.ndarray):
                paint_polygon(mask, region)
            else:
                mask |= decode_runs(region, *size)
        maps = layered(masks.items())
        return Labels(stacked([self.known(each, entry.name) for each in maps]))


def _files(root: Path, sets: str | Sequence[str] | None) -> dict[str, Path]:
    if root.is_file():
        return {root.stem.removeprefix(_PREFIX): root}
    found = {
        path.stem.removeprefix(_PREFIX): path for path in sorted(root.glob(f"annotations/{_PREFIX}*.json"))
    }
    if not found:
        raise ValueError(
            f"Expected annotations/{_PREFIX}<set>.json in {str(root)!r}, got none; try the folder above annotations, or "
            "the JSON file itself."
        )
    asked = list(found) if sets is None else sets.split(",") if isinstance(sets, str) else list(sets)
    for name in asked:
        if name not in found:
            raise ValueError(f"Expected the name of a set, got `{name}`; {suggest(name, found)}")
    return {name: found[name] for name in asked}


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(path, _LARGEST).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:  # a FlawError is a ValueError
        raise ValueError(
            f"Expected a JSON file of instances, got {path} ({error}); try to copy it again."
        ) from error
    needs = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in needs):
        got = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise ValueError(
            f"Expected lists {', '.join(needs)} in {path}, got {got or 'none'}; try a file named {_PREFIX}….json."
        )
    return content


def _categories(content: dict[str, Any], path: Path, problems: list[Problem]) -> dict[int, str]:
    try:
        named = {int(each["id"]): str(each["name"]) for each in content["categories"]}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"Expected categories with id and name in {path}, got others ({error}); try another file."
        ) from error
    for number in [number for number in named if not 1 <= number <= 65_535]:
        reason = f"Expected the id of a category to be 1 to 65,535, got {number}; it counts as unlabeled"
        problems.append(Problem(f"{path.name}, {named.pop(number)}", reason))
    if not named:
        raise ValueError(
            f"Expected categories with ids of 1 to 65,535 in {path}, got none; try another file."
        )
    return named


def _entries(
    name: str,
    path: Path,
    content: dict[str, Any],
    root: Path,
    images: str | os.PathLike[str] | None,
    known: set[int],
    problems: list[Problem],
) -> list[Entry]:
    pictures: dict[Any, tuple[str, _Regions]] = {}
    seen = set()
    for place, image in enumerate(content["images"]):
        where = f"{path.name}, image {place + 1}"
        try:
            file, key, size = (
                str(image["file_name"]),
                image["id"],
                (int(image["height"]), int(image["width"])),
            )
            new = key not in pictures and file not in seen and min(size) > 0
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            problems.append(
                Problem(
                    where, f"Expected id, file_name, height and width, got others ({error!r}); it is left out"
                )
            )
            continue
        if not new:
            problems.append(
                Problem(
                    where, f"Expected a new id and file of at least one pixel, got {file!r}; it is left out"
                )
            )
            continue
        seen.add(file)
        pictures[key] = (file, _Regions(size))
    broken = _annotate(path, content["annotations"], pictures, known, problems)
    folder = (
        str(images)
        if images is not None
        else _image_folder(name, root, [file for file, _ in pictures.values()])
    )
    present = Presence(folder)
    entries = []
    for key, (file, regions) in pictures.items():
        full = os.path.join(folder, file)
        if key not in broken and present(full):
            entries.append(Entry(f"{name}/{file}", full, regions, side(name.rstrip("0123456789"))))
        elif key not in broken:
            problems.append(Problem(f"{name}/{file}", "Expected the picture, got no file; it is left out"))
    return entries


def _annotate(
    path: Path,
    annotations: list[Any],
    pictures: dict[Any, tuple[str, _Regions]],
    known: set[int],
    problems: list[Problem],
) -> set[Any]:
    """Give the pictures their regions; returns the ids of those whose regions cannot be read."""
    broken = set()
    for place, each in enumerate(annotations):
        where = f"{path.name}, annotation {place + 1}"
        key = each.get("image_id") if isinstance(each, dict) else None
        if not isinstance(key, (int, str)) or key not in pictures:
            problems.append(Problem(where, f"Expected the id of an image, got {key!r}; it is left out"))
            continue
        number = each.get("category_id")
        if not isinstance(number, int) or number not in known:
            problems.append(
                Problem(where, f"Expected the id of a category, got {number!r}; it counts as unlabeled")
            )
            continue
        try:
            regions = pictures[key][1]
            regions.found += [(number, region) for region in _regions(each.get("segmentation"), regions.size)]
        except LabelError as error:
            problems.append(Problem(where, f"{error}; picture {pictures[key][0]!r} is left out"))
            broken.add(key)
    return broken


def _regions(content: Any, size: tuple[int, int]) -> list[Points | str | list[int]]:
    """Polygons as arrays [n 2]; run lengths as they are."""
    if isinstance(content, dict) and isinstance(content.get("counts"), (str, list)):
        if list(content.get("size") or ()) != list(size):
            raise LabelError(
                f"Expected run lengths of the picture's size {list(size)}, got {content.get('size')}"
            )
        return [content["counts"]]
    if not isinstance(content, list) or not content:
        raise LabelError("Expected polygons or run lengths, got none")
    polygons: list[Points | str | list[int]] = []
    for each in content:
        try:
            with np.errstate(over="ignore"):  # infinity is refused below
                points = np.asarray(each, np.float32)
        except (ValueError, TypeError, OverflowError) as error:
            raise LabelError(f"Expected a polygon as a list of numbers, got others ({error})") from error
        if points.ndim != 1 or len(points) % 2 or len(points) < 6 or not np.isfinite(points).all():
            raise LabelError(
                f"Expected a polygon of x and y of at least three corners, got {points.size} numbers"
            )
        polygons.append(points.reshape(-1, 2))
    return polygons


def _image_folder(name: str, root: Path, files: list[str]) -> str:
    """Of the usual folders the one that holds most of the first pictures."""
    folders = [root / name, root / "images" / name, root / "images", root]
    held = [sum(os.path.isfile(folder / file) for file in files[:20]) for folder in folders]
    return str(folders[held.index(max(held))])
