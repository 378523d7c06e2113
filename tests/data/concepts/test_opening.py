"""`open_concepts`: texts, folders that are recognized, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.data.concepts import (
    Ade20kConcepts,
    BrodenConcepts,
    CocoConcepts,
    CubConcepts,
    FolderConcepts,
    VocConcepts,
    export_broden,
    open_concepts,
)
from pellucid.world.concepts import SceneConcepts


def image(path: Path, numbers: object = ((1, 1), (1, 0))) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(numbers, np.uint8)).save(path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def broden(root: Path) -> None:
    export_broden(SceneConcepts.of(1), root, size=16)


def folder(root: Path) -> None:
    image(root / "1.jpg")
    image(root / "1.png")
    write(root / "index.csv", "set,image,mask\none,1.jpg,1.png\n")
    write(root / "labels.csv", "set,label_id,name\none,1,car\n")


def coco(root: Path) -> None:
    image(root / "val2017" / "1.jpg")
    write(
        root / "annotations" / "instances_val2017.json",
        '{"images": [{"id": 1, "file_name": "1.jpg", "height": 2, "width": 2}], "annotations": [],'
        ' "categories": [{"id": 1, "name": "car"}]}',
    )


def voc(root: Path) -> None:
    image(root / "JPEGImages" / "1.jpg")
    image(root / "SegmentationClass" / "1.png")


def ade20k(root: Path) -> None:
    image(root / "images" / "training" / "1.jpg")
    image(root / "annotations" / "training" / "1.png")
    write(root / "objectInfo150.txt", "Idx\tName\n1\twall\n")


def cub(root: Path) -> None:
    image(root / "images" / "1.jpg")
    lines = ["images 1 1.jpg", "image_class_labels 1 1", "classes 1 001.Gull", "train_test_split 1 1"]
    lines += ["bounding_boxes 1 0 0 2 2", "parts/parts 1 back", "parts/part_locs 1 1 1 1 1"]
    for name, line in (line.split(maxsplit=1) for line in lines):
        write(root / f"{name}.txt", line + "\n")


LAYOUTS = [
    (broden, BrodenConcepts, "broden1_224"),
    (folder, FolderConcepts, "parts"),
    (coco, CocoConcepts, "coco"),
    (voc, VocConcepts, "VOCdevkit/VOC2012"),
    (ade20k, Ade20kConcepts, "ADEChallengeData2016"),
    (cub, CubConcepts, "CUB_200_2011"),
]


@pytest.mark.parametrize(("make", "kind", "name"), LAYOUTS)
def test_a_folder_is_recognized_and_a_prefix_forces_its_layout(make, kind, name, tmp_path: Path) -> None:
    make(tmp_path / name)
    found = open_concepts(tmp_path / name)
    assert type(found) is kind
    assert len(found) == 1
    assert type(open_concepts(f"{make.__name__}:{tmp_path / name}")) is kind
    if kind not in (FolderConcepts, CocoConcepts):
        assert type(open_concepts(str((tmp_path / name).parent))) is kind
    with pytest.raises(ValueError, match=r"Expected an option of .*, got `shares`"):
        open_concepts(tmp_path / name, shares=1)
    assert open_concepts(found) is found


def test_scenes() -> None:
    scenes = open_concepts("scenes:test/5-14", confounding=0.5)
    assert isinstance(scenes, SceneConcepts)
    assert (len(scenes), scenes.picture_name(0), scenes.picture_name(9)) == (
        10,
        "scene-test-5",
        "scene-test-14",
    )
    assert scenes.facts()["confounding"] == 0.5
    assert (len(open_concepts("scenes")), open_concepts("scenes").picture_name(0)) == (1000, "scene-val-0")
    assert open_concepts("scenes:train").picture_name(3) == "scene-train-3"
    for text in ("scenes:val/9-3", "scenes:val/3", "scenes:val/a-b"):
        with pytest.raises(ValueError, match='Expected scenes as "scenes:val/0-999", got'):
            open_concepts(text)
    with pytest.raises(ValueError, match=r"try '?`?val"):
        open_concepts("scenes:vall")


def test_sets_of_a_folder(tmp_path: Path) -> None:
    folder(tmp_path / "a:b")
    assert open_concepts(f"folder:{tmp_path / 'a:b'}").name == "folder:a:b:one"
    assert open_concepts(f"folder:{tmp_path / 'a:b'}:one").name == "folder:a:b:one"
    with pytest.raises(ValueError, match="Expected the name of a set, got `two`; try one of `one`"):
        open_concepts(f"folder:{tmp_path / 'a:b'}:one,two")
    assert len(open_concepts(f"folder:{tmp_path / 'a:b'}", sets="one")) == 1


def test_a_file_of_instances(tmp_path: Path) -> None:
    coco(tmp_path)
    assert isinstance(
        open_concepts(tmp_path / "annotations" / "instances_val2017.json", images=tmp_path / "val2017"),
        CocoConcepts,
    )


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"Expected a set of concepts in .*, got none of its marks \(broden: index\.csv \+"
    ):
        open_concepts(tmp_path)
    with pytest.raises(
        ValueError, match=r"Expected a folder of concepts, got '.*void', which does not exist; try"
    ):
        open_concepts(tmp_path / "void")
    with pytest.raises(ValueError, match="Expected the layout of a set, got `brodne`; did you mean `broden`"):
        open_concepts(f"brodne:{tmp_path}")
    with pytest.raises(ValueError, match=r"Expected a folder of concepts, got 'C:.*', which does not exist"):
        open_concepts("C:\\pictures")
    with pytest.raises(ValueError, match="Expected no options for a set that is open, got size; try without"):
        open_concepts(SceneConcepts.of(1), size=3)
    write(tmp_path / "notes.txt", "")
    with pytest.raises(ValueError, match="Expected a set of concepts in"):
        open_concepts(tmp_path / "notes.txt")
