"""The folders of `hostile_concepts`: a small healthy set in each layout, and what is changed in it."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE, COUNT = 64, 8
Change = Callable[[Path], Any]


@dataclass(frozen=True)
class Case:
    """A set in a layout with one thing changed; ``healthy`` ones have to give all pictures, ``told`` ones to list a problem."""

    layout: str
    name: str
    change: Change
    healthy: bool = False
    told: bool = False


def picture(file: Path, seed: int = 0, size: tuple[int, int] = (SIDE, SIDE)) -> None:
    """A picture of noise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(file)


def labels(file: Path, numbers: tuple[int, int] = (1, 2)) -> None:
    """A gray label map of two numbers."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = np.zeros((SIDE, SIDE), np.uint8)
    content[: SIDE // 2], content[SIDE // 2 :, : SIDE // 2] = numbers
    Image.fromarray(content).save(file)


def write(file: Path, *lines: str) -> None:
    """A text file of lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _broden(root: Path) -> None:
    for index in range(COUNT):
        picture(root / f"images/p{index}.png", index)
        content = np.zeros((SIDE, SIDE, 3), np.uint8)
        content[:32, :, 0], content[32:, :32, 0] = 1, 2
        Image.fromarray(content).save(root / f"images/m{index}.png")
    rows = [f"p{index}.png,{'train' if index % 2 else 'val'},m{index}.png" for index in range(COUNT)]
    write(root / "index.csv", "image,split,part", *rows)
    write(root / "label.csv", "number,name,category", "1,top,part(3)", "2,corner,part(3)")
    write(root / "category.csv", "name", "part")
    write(root / "c_part.csv", "number,coverage", "1,3", "2,2")


def _folder(root: Path) -> None:
    for index in range(COUNT):
        picture(root / f"images/p{index}.png", index)
        labels(root / f"images/m{index}.png")
    write(
        root / "index.csv",
        "image,mask",
        *(f"images/p{index}.png,images/m{index}.png" for index in range(COUNT)),
    )
    write(root / "labels.csv", "label_id,name", "1,top", "2,corner")


def _coco(root: Path) -> None:
    for index in range(COUNT):
        picture(root / f"val2017/p{index}.png", index)
    images = [
        {"id": index, "file_name": f"p{index}.png", "height": SIDE, "width": SIDE} for index in range(COUNT)
    ]
    annotations = [
        {
            "id": index,
            "image_id": index,
            "category_id": 1 + index % 2,
            "segmentation": [[0, 0, 40, 0, 40, 40]],
        }
        for index in range(COUNT)
    ]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    }
    write(root / "annotations/instances_val2017.json", json.dumps(content))


def _voc(root: Path) -> None:
    for index in range(COUNT):
        picture(root / f"JPEGImages/p{index}.jpg", index)
        labels(root / f"SegmentationClass/p{index}.png", (7, 20))
    for name, rest in (("train", 0), ("val", 1)):
        stems = [f"p{index}" for index in range(COUNT) if index % 2 == rest]
        write(root / f"ImageSets/Segmentation/{name}.txt", *stems)


def _ade20k(root: Path) -> None:
    for index in range(COUNT):
        part = "training" if index % 2 else "validation"
        picture(root / f"images/{part}/p{index}.jpg", index)
        labels(root / f"annotations/{part}/p{index}.png")
    write(
        root / "objectInfo150.txt",
        "Idx\tRatio\tTrain\tVal\tName",
        "1\t.1\t1\t1\twall",
        "2\t.1\t1\t1\tbuilding, house",
    )
    write(root / "sceneCategories.txt", *(f"p{index} street" for index in range(COUNT)))


def _cub(root: Path) -> None:
    for index in range(COUNT):
        picture(root / f"images/p{index}.jpg", index)
    numbered = range(1, COUNT + 1)
    write(root / "images.txt", *(f"{index} p{index - 1}.jpg" for index in numbered))
    write(root / "classes.txt", "1 001.Gull", "2 002.Crow")
    write(root / "image_class_labels.txt", *(f"{index} {1 + index % 2}" for index in numbered))
    write(root / "train_test_split.txt", *(f"{index} {index % 2}" for index in numbered))
    write(root / "bounding_boxes.txt", *(f"{index} 4.0 4.0 40.0 40.0" for index in numbered))
    write(root / "parts/parts.txt", "1 back", "2 beak")
    write(
        root / "parts/part_locs.txt",
        *(f"{index} {part} 20.0 2{part}.0 1" for index in numbered for part in (1, 2)),
    )


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "broden": _broden,
    "folder": _folder,
    "coco": _coco,
    "voc": _voc,
    "ade20k": _ade20k,
    "cub": _cub,
}
# of every layout: tables, one picture, one label map
_TABLES = {
    "broden": ("index.csv", "label.csv"),
    "folder": ("index.csv", "labels.csv"),
    "coco": ("annotations/instances_val2017.json",),
    "voc": ("ImageSets/Segmentation/train.txt",),
    "ade20k": ("objectInfo150.txt", "sceneCategories.txt"),
    "cub": (
        "images.txt",
        "classes.txt",
        "image_class_labels.txt",
        "bounding_boxes.txt",
        "parts/parts.txt",
        "parts/part_locs.txt",
    ),
}
_PICTURES = {
    "broden": "images/p1.png",
    "folder": "images/p1.png",
    "coco": "val2017/p1.png",
    "voc": "JPEGImages/p1.jpg",
    "ade20k": "images/training/p1.jpg",
    "cub": "images/p1.jpg",
}
_MAPS = {
    "broden": "images/m1.png",
    "folder": "images/m1.png",
    "voc": "SegmentationClass/p1.png",
    "ade20k": "annotations/training/p1.png",
}


def cases() -> Iterator[Case]:
    """All cases."""
    for layout in LAYOUTS:
        yield Case(layout, "healthy", lambda root: None, healthy=True)
        for table in _TABLES[layout]:
            for name, change in _of_tables().items():
                yield Case(layout, f"{table}: {name}", _at(table, change))
        for name, change in _of_files().items():
            told = (layout, name) != ("ade20k", "away")  # whose pictures no list names
            yield Case(layout, f"a picture: {name}", _at(_PICTURES[layout], change), told=told)
            if layout in _MAPS:
                yield Case(layout, f"a label map: {name}", _at(_MAPS[layout], change), told=True)
        if layout in _MAPS:
            for name, change in _of_maps().items():
                yield Case(layout, f"a label map: {name}", _at(_MAPS[layout], change), told=True)
    yield from _of_layouts()


def _at(name: str, change: Change) -> Change:
    return lambda root: change(root / name)


def _replaced(make: Change) -> Change:
    def change(file: Path) -> None:
        file.unlink()
        make(file)

    return change


def _of_tables() -> dict[str, Change]:
    return {
        "away": lambda file: file.unlink(),
        "empty": lambda file: file.write_bytes(b""),
        "cut": lambda file: os.truncate(file, file.stat().st_size // 2),
        "a pipe": _replaced(os.mkfifo),
        "a folder": _replaced(lambda file: file.mkdir()),
        "a device without end": _replaced(lambda file: file.symlink_to("/dev/zero")),
        "a link to itself": _replaced(lambda file: file.symlink_to(file)),
        "20 GB of nothing": lambda file: os.truncate(file, 20 << 30),
        "noise": lambda file: file.write_bytes(np.random.default_rng(0).bytes(3000)),
        "a byte order mark": lambda file: file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes()),
        "UTF-16": lambda file: file.write_bytes(file.read_text(encoding="utf-8").encode("utf-16")),
        "zero bytes": lambda file: file.write_bytes(file.read_bytes().replace(b"1", b"\0", 3)),
        "numbers of 5,000 digits": lambda file: file.write_bytes(
            file.read_bytes().replace(b"1", b"9" * 5000, 3)
        ),
        "negative numbers": lambda file: file.write_bytes(file.read_bytes().replace(b"1", b"-7", 3)),
        "twice": lambda file: file.write_bytes(file.read_bytes() * 2),
    }


def _of_files() -> dict[str, Change]:
    return {
        "away": lambda file: file.unlink(),
        "empty": lambda file: file.write_bytes(b""),
        "cut": lambda file: os.truncate(file, file.stat().st_size // 3),
        "a pipe": _replaced(os.mkfifo),
        "a folder": _replaced(lambda file: file.mkdir()),
        "a device without end": _replaced(lambda file: file.symlink_to("/dev/zero")),
        "a link to itself": _replaced(lambda file: file.symlink_to(file)),
        "noise": lambda file: file.write_bytes(np.random.default_rng(0).bytes(3000)),
        "60,000 × 60,000 pixels": lambda file: file.write_bytes(_vast(60_000)),
    }


def _vast(side: int) -> bytes:
    """A small PNG that says it is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


def _of_maps() -> dict[str, Change]:
    def saved(pixels: Any) -> Change:
        return lambda file: Image.fromarray(pixels).save(file, format="PNG")

    tall = np.ones((SIDE, SIDE * 3), np.uint8)
    return {
        "of another shape": saved(tall),
        "of other colors": saved(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)),
        "of unknown numbers": saved(np.full((SIDE, SIDE), 99, np.uint8)),
        "of 65,535": saved(np.full((SIDE, SIDE), 65_535, np.uint16)),
        "a JPEG": lambda file: Image.new("L", (SIDE, SIDE), 1).save(file, format="JPEG"),
    }


def _line(file: str, old: str, new: str) -> Change:
    def change(root: Path) -> None:
        text = (root / file).read_text(encoding="utf-8")
        assert old in text, f"{file} has no {old}"
        (root / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def _of_layouts() -> Iterator[Case]:
    """What is a layout's own."""
    for layout, table, second in (
        ("broden", "label.csv", ("2,corner", "2,top")),
        ("ade20k", "objectInfo150.txt", ("building", "wall")),
        ("cub", "classes.txt", ("002.Crow", "002.Gull")),
        ("cub", "parts/parts.txt", ("beak", "back")),
        ("coco", "annotations/instances_val2017.json", ('"name": "b"', '"name": "a"')),
    ):
        yield Case(layout, f"{table}: two labels of one name", _line(table, *second), told=True)
    for layout, table, cell in (
        ("broden", "index.csv", "p1.png"),
        ("broden", "index.csv", "m1.png"),
        ("folder", "index.csv", "images/p1.png"),
        ("folder", "index.csv", "images/m1.png"),
        ("coco", "annotations/instances_val2017.json", "p1.png"),
        ("cub", "images.txt", "p1.jpg"),
    ):
        for out in (
            "../../../../etc/hostname",
            "/dev/zero",
            "/dev/stdin",
            "…/ünïcode\u202e.png",
            "." * 300,
            "%n{0}",
            ".",
        ):
            yield Case(layout, f"{cell} is {out[:14]!r}", _line(table, cell, out), told=True)
    file = "annotations/instances_val2017.json"
    for old, new in (
        ('"height": 64', '"height": 1e400'), ('"height": 64', '"height": 1000000000'), ('"height": 64', '"height": NaN'),
        ('"height": 64', '"height": []'), ('"height": 64', '"height": -64'), ('"id": 1,', '"id": [1],'), ('"id": 1,', '"id": 0,'),
        ('"image_id": 1', '"image_id": {}'), ('"category_id": 1', '"category_id": 77'),
        ('"category_id": 1', '"category_id": "x"'),
        ("[[0, 0, 40, 0, 40, 40]]", "[[0, 0, 1e300, 0, 40, 1e30]]"), ("[[0, 0, 40, 0, 40, 40]]", "[[0, 0, 40]]"),
        ("[[0, 0, 40, 0, 40, 40]]", "[]"), ("[[0, 0, 40, 0, 40, 40]]", '{"counts": [-5, 9], "size": [64, 64]}'),
        ("[[0, 0, 40, 0, 40, 40]]", '{"counts": "zzz~", "size": [64, 64]}'),
        ("[[0, 0, 40, 0, 40, 40]]", '{"counts": [99999999999999999999], "size": [64, 64]}'),
        ("[[0, 0, 40, 0, 40, 40]]", "[" * 2000 + "]" * 2000), ('"id": 2, "name"', '"id": 70000, "name"'),
        ('"id": 2, "name"', '"id": 1e400, "name"'), ('{"images"', "[" * 100_000 + '{"images"'),
    ):  # fmt: skip
        yield Case("coco", f"{old[:16]} is {new[:24]}", _line(file, old, new))
    for values in (
        "nan 4 40 40",
        "4 4 1e300 1e300",
        "-1e9 4 40 40",
        "4 4 0 0",
        "4 4",
        "x y z w",
        "1e8 1e8 9 9",
    ):
        yield Case("cub", f"a box of {values}", _line("bounding_boxes.txt", "4.0 4.0 40.0 40.0", values))
    for values in ("nan nan 1", "1e300 2 1", "-50 -50 1", "2 2 x", "5e8 5e8 1"):
        yield Case("cub", f"a point of {values}", _line("parts/part_locs.txt", "20.0 21.0 1", values))
    for box in (
        "0,0,1e300,9,64,64",
        "nan,0,9,9,64,64",
        "9,9,0,0,64,64",
        "0,0,9,9,65535,65535",
        "0,0,9,9,7,64",
    ):

        def boxed(root: Path, box: str = box) -> None:
            write(
                root / "boxes.csv",
                "image,kind,x0,y0,x1,y1,width,height,label",
                f"images/p1.png,object,{box},dog",
            )

        yield Case("folder", f"a box of {box}", boxed)
    yield Case(
        "broden", "a second folder with a link to the first", lambda root: (root / "again").symlink_to(root)
    )
    yield Case("folder", "no pictures", lambda root: shutil.rmtree(root / "images"))
