"""Folders of pictures with masks, whole labels and boxes; the real parts where they are."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.data.concepts import FolderConcepts, LabelError

ASSETS = os.environ.get("PELLUCID_ASSETS")
real = pytest.mark.skipif(ASSETS is None, reason="needs real parts: set PELLUCID_ASSETS to their folder")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def image(path: Path, width: int = 6, height: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (9, 9, 9)).save(path)


def mask(path: Path, numbers: object, dtype: type = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(numbers, dtype)).save(path)


FULL = [[1, 1, 2, 2, 0, 0]] * 4


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    root = tmp_path / "parts"
    for name in ("cars/1.jpg", "cars/2.jpg", "rooms/1.jpg", "looks/1.jpg"):
        image(root / name)
    mask(root / "cars/1.png", FULL)
    mask(root / "cars/2.png", [[3, 3, 3, 3, 3, 3]] * 4)
    mask(root / "rooms/1.png", [[1, 1, 2, 2, 2, 2]] * 4)
    head = "set,name,image,mask,image_level_label_id,split,width,height,source_file\n"
    write(
        root / "index.csv",
        f"{head}cars,1,cars/1.jpg,cars/1.png,,train,6,4,\ncars,2,cars/2.jpg,cars/2.png,,test,6,4,\n"
        "rooms,1,rooms/1.jpg,rooms/1.png,,train,6,4,\nlooks,1,looks/1.jpg,,2,test,6,4,\n",
    )
    write(
        root / "labels.csv",
        "set,label_id,name,category,parent_object,group\ncars,1,left_door,part,car,door\ncars,2,right_door,part,car,door\n"
        "cars,3,car,object,,car\nrooms,1,door,part,room,door\nrooms,2,car,object,,car\nlooks,1,dotted,texture,,\n"
        "looks,2,striped,texture,,\n",
    )
    head = "name,image,wnid,split,width,height,kind,x0,y0,x1,y1\n"
    write(
        root / "pets/boxes.csv",
        f"{head}a,pets/a.jpg,n02084071,train,6,4,object,0,0,3,4\na,pets/a.jpg,n02084071,train,6,4,object,4,0,6,2\n"
        "a,pets/a.jpg,n02084071,train,6,4,head,0,0,2,2\na,pets/a.jpg,n02084071,train,6,4,legs,1,1,3,4\n"
        "b,pets/b.jpg,n99999999,test,6,4,object,0,0,6,4\nc,pets/c.jpg,n02084071,test,6,4,object,5,0,1,4\n"
        "d,pets/d.jpg,n02084071,test,6,4,object,0,0,1,4\nc,pets/c.jpg,n02084071,test,6,4,head,0,0,1,1\n",
    )
    for name in "abc":
        image(root / f"pets/{name}.jpg")
    return root


def named(source: FolderConcepts) -> dict[int, str]:
    return {concept.number: f"{concept.category} {concept.name}" for concept in source.concepts}


def test_ids_of_sets_become_numbers_of_all(sets: Path) -> None:
    source = FolderConcepts.of(sets)
    assert source.name == "folder:parts:cars,rooms,looks"
    assert source.problems == []
    assert list(named(source).items()) == [
        *[(1, "part left_door"), (2, "part right_door"), (3, "object car")],
        *[(4, "part door"), (5, "texture dotted"), (6, "texture striped")],
    ]
    assert source.labels(0).maps.tolist() == [FULL]
    assert source.labels(2).maps.tolist() == [[[4, 4, 3, 3, 3, 3]] * 4]  # a room's 2 is a car, as a car's 3
    assert source.labels(3).maps.size == 0
    assert source.labels(3).whole == (6,)
    assert [source.split(i) for i in range(4)] == ["fit", "held-out", "fit", "held-out"]
    assert source.picture_name(1) == "cars/2.jpg"
    assert source.picture(1).image.size == (6, 4)
    assert source.view == "network"


def test_merged_by_group(sets: Path) -> None:
    source = FolderConcepts.of(sets, merge="group")
    assert [concept.name for concept in source.concepts] == ["door", "car", "dotted", "striped"]
    assert source.labels(0).maps.tolist() == [[[1, 1, 1, 1, 0, 0]] * 4]
    assert source.labels(2).maps.tolist() == [[[1, 1, 2, 2, 2, 2]] * 4]


def test_chosen_sets(sets: Path) -> None:
    source = FolderConcepts.of(sets, sets=["rooms"])
    assert (len(source), named(source)) == (1, {1: "part door", 2: "object car"})
    assert len(FolderConcepts.of(sets, sets="rooms, cars")) == 3
    with pytest.raises(ValueError, match="Expected the name of a set, got `room`; did you mean `rooms`"):
        FolderConcepts.of(sets, sets="room")
    with pytest.raises(ValueError, match='Expected merge to be "name" or "group", got'):
        FolderConcepts.of(sets, merge="groups")  # type: ignore[arg-type]


def test_boxes_are_rectangles_objects_apart_from_parts(sets: Path) -> None:
    source = FolderConcepts.of(sets, sets="pets")
    assert named(source) == {1: "object dog", 2: "part head", 3: "part legs", 4: "object n99999999"}
    maps = source.labels(0).maps
    assert maps[0].tolist() == [[1, 1, 1, 0, 1, 1]] * 2 + [[1, 1, 1, 0, 0, 0]] * 2  # both dogs
    assert maps[1].tolist() == [[2, 2, 0, 0, 0, 0]] * 2 + [[0] * 6] * 2
    assert maps[2].tolist() == [[0] * 6, *[[0, 3, 3, 0, 0, 0]] * 3]  # over the head at one pixel
    assert [source.picture_name(i) for i in range(len(source))] == ["pets/a.jpg", "pets/b.jpg"]
    assert [source.split(i) for i in range(2)] == ["fit", "held-out"]
    assert [problem.where for problem in source.problems] == ["pets/boxes.csv, line 7", "boxes.csv, line 8"]
    assert len(FolderConcepts.of(sets, sets="pets,cars")) == 4


def test_the_least_that_will_do(tmp_path: Path) -> None:
    image(tmp_path / "1.png", 12, 8)
    mask(tmp_path / "m1.png", np.array(FULL) * 300, np.uint16)
    write(tmp_path / "index.csv", "image,mask\n1.png,m1.png\n")
    write(tmp_path / "labels.csv", "label_id,name\n300,sky\n600,sea\n")
    source = FolderConcepts.of(tmp_path)
    assert named(source) == {1: "object sky", 2: "object sea"}
    assert source.labels(0).maps.tolist() == [FULL]
    assert source.name == f"folder:{tmp_path.name}"
    assert source.split(0) in ("fit", "held-out")


def test_palettes_and_colors(tmp_path: Path) -> None:
    for name in "abcd":
        image(tmp_path / f"{name}.jpg")
    palette = Image.fromarray(np.array(FULL, np.uint8), "L").convert("P")
    palette.putpalette([0, 0, 0, 200, 10, 10, 7, 7, 7])
    palette.save(tmp_path / "a.png")
    mask(tmp_path / "b.png", np.stack([np.array(FULL)] * 3, -1))
    mask(tmp_path / "c.png", np.full((4, 6, 3), (0, 1, 0)))
    mask(tmp_path / "d.png", np.full((4, 6, 3), (0, 1, 2)))
    write(tmp_path / "index.csv", "image,mask\n" + "".join(f"{name}.jpg,{name}.png\n" for name in "abcd"))
    write(tmp_path / "labels.csv", "label_id,name\n1,sky\n2,sea\n256,sand\n")
    source = FolderConcepts.of(tmp_path)
    assert source.labels(0).maps.tolist() == source.labels(1).maps.tolist() == [FULL]
    assert (source.labels(2).maps == 3).all()
    with pytest.raises(
        LabelError, match=r"Expected numbers coded as R \+ 256 · G in a label map, got other colors in d"
    ):
        source.labels(3)


def test_what_cannot_be_used_is_listed(sets: Path) -> None:
    with (sets / "index.csv").open("a") as file:
        file.write(
            "cars,1,cars/1.jpg,cars/1.png,,train,6,4,\ncars,9,cars/9.jpg,cars/9.png,,train,6,4,\nshort,row\n"
        )
        file.write("looks,2,looks/2.jpg,,7,train,6,4,\n")
    with (sets / "labels.csv").open("a") as file:
        file.write("cars,0,void,object,,\ncars,3,twice,object,,\ncars,4,,object,,\n")
    image(sets / "looks/2.jpg")
    mask(sets / "cars/2.png", [[3, 3, 3, 8, 8, 9]] * 4)
    source = FolderConcepts.of(sets)
    assert len(source) == 4
    assert [problem.where for problem in source.problems] == [
        *["index.csv, line 8", "labels.csv, line 9", "labels.csv, line 10", "labels.csv, line 11"],
        *["index.csv, line 6", "index.csv, line 7", "index.csv, line 9", "index.csv, line 9"],
    ]
    assert source.labels(1).maps.tolist() == [[[3, 3, 3, 0, 0, 0]] * 4]
    assert source.problems[-1].where == "cars/2.png"
    assert source.problems[-1].reason == "Expected numbers of concepts, got 8, 9; they count as unlabeled"
    mask(sets / "cars/1.png", np.zeros((9, 6)))
    with pytest.raises(LabelError, match=r"got 9 × 6 in cars/1\.png"):
        source.labels(0)


def test_no_usable_folder(sets: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected a table .*index\.csv, got none \(No such file"):
        FolderConcepts.of(tmp_path)
    (sets / "index.csv").write_text("set,image,mask\n")
    with pytest.raises(ValueError, match="Expected at least one usable picture in"):
        FolderConcepts.of(sets, sets=[])
    (sets / "labels.csv").unlink()
    with pytest.raises(ValueError, match=r"Expected a table .*labels\.csv"):
        FolderConcepts.of(sets)


@pytest.fixture(scope="module")
def parts() -> FolderConcepts:
    return FolderConcepts.of(Path(str(ASSETS)) / "parts")


@real
def test_real_parts_have_the_documented_numbers_of_pictures(parts: FolderConcepts) -> None:
    counted = Counter(entry.truth.set for entry in parts.entries)
    assert counted == {"carparts": 445, "msrc": 508, "ccp": 224, "dtd10": 260}
    assert parts.problems == []
    splits = Counter((entry.truth.set, parts.split(i)) for i, entry in enumerate(parts.entries))
    assert splits["carparts", "fit"] == 352
    assert splits["dtd10", "held-out"] == 50
    assert len(FolderConcepts.of(Path(str(ASSETS)) / "parts", sets="animals")) == 4825


@real
def test_real_parts_have_the_documented_numbers_of_pixels(parts: FolderConcepts) -> None:
    with (Path(str(ASSETS)) / "parts" / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["set"] in ("carparts", "dtd10")]
    number = {(concept.category, concept.name): concept.number for concept in parts.concepts}
    pixels, pictures = np.zeros(65_536, np.int64), Counter[int]()
    for index, entry in enumerate(parts.entries):
        if entry.truth.set in ("carparts", "dtd10"):
            labels = parts.labels(index)
            pixels += np.bincount(labels.maps.ravel(), minlength=65_536)
            pictures.update({*np.unique(labels.maps).tolist(), *labels.whole})
    for row in rows:
        key = number[row["category"], row["name"]]
        assert (pixels[key], pictures[key]) == (int(row["n_pixels"] or 0), int(row["n_images"])), row["name"]
    assert len(rows) == 28
