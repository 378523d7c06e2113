"""Pascal VOC's segmentation: palette PNGs whose indices are the twenty classes, 0 the background, 255 void.

``JPEGImages/``, ``SegmentationClass/`` and ``ImageSets/Segmentation/{train,val}.txt`` in ``VOC20xx/``. Background says only
that none of the twenty is there and is no concept. train is the fit split, val is held out.

Source: Everingham, Van Gool, Williams, Winn, Zisserman, IJCV 2010.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pellucid.data.concepts.base import Concept, Labels, Problem
from pellucid.data.concepts.listed import Entry, ListedConcepts, Presence, read_lines, usable
from pellucid.data.concepts.maps import check_shape, read_numbers, stacked, upright_size

_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *(
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
)
_VOID = 255


@dataclass(eq=False)
class VocConcepts(ListedConcepts):
    """Pascal VOC's segmented pictures; made by `VocConcepts.of`."""

    @classmethod
    def of(cls, folder: str | os.PathLike[str]) -> VocConcepts:
        """Open ``VOC20xx`` or the ``VOCdevkit`` above it (then the latest year).

        Without lists in ``ImageSets/Segmentation`` every picture with a map is taken. Missing files are listed in
        ``problems``. Raises ValueError when nothing is usable.
        """
        root = _root(Path(folder).expanduser())
        problems: list[Problem] = []
        concepts = tuple(Concept(number, name, "object") for number, name in enumerate(_NAMES, 1))
        entries = usable(_entries(root, problems), problems, str(root))
        return cls(
            f"voc:{root.absolute().name}", concepts, problems=problems, entries=entries, declared=("object",)
        )

    def labels(self, index: int) -> Labels:
        """One map of the picture's size. Raises LabelError when it is damaged or of another shape."""
        entry = self.entries[index]
        numbers = read_numbers(entry.truth)
        name = os.path.basename(entry.truth)
        check_shape(numbers.shape, upright_size(entry.image), name)
        numbers[numbers == _VOID] = 0
        return Labels(stacked([self.known(numbers, name)]))


def _root(folder: Path) -> Path:
    for root in (
        folder,
        *sorted(folder.glob("VOC*"), reverse=True),
        *sorted(folder.glob("VOCdevkit/VOC*"), reverse=True),
    ):
        if (root / "JPEGImages").is_dir() and (root / "SegmentationClass").is_dir():
            return root
    raise ValueError(
        f"Expected JPEGImages and SegmentationClass in {str(folder)!r} or a VOC20xx in it, got no such folders; try the "
        "folder VOCdevkit/VOC20xx."
    )


def _entries(root: Path, problems: list[Problem]) -> list[Entry]:
    named: dict[str, str | None] = {}
    for word, split in (("train", "fit"), ("val", "held-out")):
        path = root / "ImageSets" / "Segmentation" / f"{word}.txt"
        for where, (stem,) in read_lines(path, 1, problems, needed=False):
            if stem in named:
                problems.append(
                    Problem(where, f"Expected another picture, got {stem!r} again; the line is left out")
                )
            named.setdefault(stem, split)
    if not named:
        named = dict.fromkeys(sorted(path.stem for path in (root / "SegmentationClass").glob("*.png")))
    present = Presence(root)
    entries = []
    for stem, side in named.items():
        image, truth = (
            str(root / "JPEGImages" / f"{stem}.jpg"),
            str(root / "SegmentationClass" / f"{stem}.png"),
        )
        lacking = [os.path.basename(path) for path in (image, truth) if not present(path)]
        if lacking:
            problems.append(
                Problem(stem, f"Expected the file {lacking[0]!r}, got none; the picture is left out")
            )
        else:
            entries.append(Entry(stem, image, truth, side))
    return entries
