"""Broden's layout: the concept world's export, made harder by hand."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.data.concepts import BrodenConcepts, LabelError
from pellucid.data.concepts.maps import encode_labels
from pellucid.data.images import ImageError
from pellucid.world import export_broden
from pellucid.world.concepts import SceneConcepts

HEADER = ["image", "split", "ih", "iw", "sh", "sw", "color", "object", "part", "scene"]


def table(path: Path, rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def png(path: Path, numbers: list[list[int]] | np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(encode_labels(np.asarray(numbers))).save(path)


def picture(path: Path, width: int = 8, height: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (10, 20, 30)).save(path)


CAR, METAL, WHEEL, RED, STREET, MANY = 1, 2, 3, 4, 5, 300


@pytest.fixture
def broden(tmp_path: Path) -> Path:
    """Three good pictures; wheel is a part by coverage although more pictures have it as an object; metal is a tie."""
    root = tmp_path / "broden1_8"
    for name in "abc":
        picture(root / "images" / "x" / f"{name}.jpg")
    png(root / "images" / "x" / "a_object.png", [[CAR, CAR], [0, MANY]])
    png(root / "images" / "x" / "a_object2.png", [[WHEEL, 0], [0, 0]])
    png(root / "images" / "x" / "a_part.png", [[0, WHEEL], [METAL, 0]])
    png(root / "images" / "x" / "b_object.png", [[0, 0], [0, CAR]])
    rows: list[list[object]] = [
        HEADER,
        ["x/a.jpg", "train", 8, 8, 2, 2, RED, "x/a_object.png;x/a_object2.png", "x/a_part.png", STREET],
        ["x/b.jpg", "val", 8, 8, 2, 2, "", "x/b_object.png", "", f"0;{STREET}"],
        ["x/c.jpg", "train", 8, 8, 2, 2, RED, "", "", ""],
    ]
    table(root / "index.csv", rows)
    labels: list[list[object]] = [
        ["number", "name", "category", "frequency", "coverage", "syns"],
        [0, "-", "", 0, 0, ""],
        [CAR, "car", "object(7)", 7, 1, "car;auto;motorcar"],
        [METAL, "metal", "object(3);part(3)", 6, 1, "metal"],
        [WHEEL, "wheel", "object(9);part(2)", 11, 1, "wheel"],
        [RED, "red", "color(3)", 3, 1, ""],
        [STREET, "street", "scene(3);object(4);part(4)", 3, 1, "street;street, small"],
        [MANY, "many", "part(2);object(2)", 3, 1, ""],
    ]
    table(root / "label.csv", labels)
    table(
        root / "category.csv",
        [["name", "first"], *([n, 1] for n in ("color", "part", "object", "scene", "texture"))],
    )
    head = ["code", "number", "name", "frequency", "coverage"]
    table(root / "c_color.csv", [head, [1, RED, "red", 3, 3.0]])
    table(
        root / "c_object.csv",
        [head, [1, CAR, "car", 7, 2], [2, METAL, "metal", 3, 0.5], [3, WHEEL, "wheel", 9, 0.1]],
    )
    table(root / "c_part.csv", [head, [1, WHEEL, "wheel", 2, 0.2], [2, METAL, "metal", 3, 0.5]])
    table(root / "c_scene.csv", [head])
    table(root / "c_texture.csv", [head])
    return root


def test_labels_of_several_layers_and_of_whole_pictures(broden: Path) -> None:
    source = BrodenConcepts.of(broden)
    assert (source.name, len(source), source.view, source.problems) == ("broden:broden1_8", 3, "whole", [])
    assert source.labels(0).maps.tolist() == [
        [[CAR, CAR], [0, MANY]],
        [[WHEEL, 0], [0, 0]],
        [[0, WHEEL], [METAL, 0]],
    ]
    assert source.labels(0).maps.dtype == np.uint16
    assert source.labels(0).whole == (RED, STREET)
    assert source.labels(1).whole == (STREET,)  # not 0
    assert source.labels(2).maps.shape[0] == 0
    assert [source.split(i) for i in range(3)] == ["fit", "held-out", "fit"]
    assert source.picture_name(1) == "x/b.jpg"
    assert source.picture(1).image.size == (8, 8)


def test_primary_category_is_that_of_most_coverage_ties_to_the_later(broden: Path) -> None:
    found = {concept.name: concept for concept in BrodenConcepts.of(broden).concepts}
    assert found["wheel"].category == "part"  # 0.2 of 0.1, though 9 pictures have it as an object
    assert found["metal"].category == "object"  # a tie; object comes after part in category.csv
    assert found["street"].category == "object"  # no coverage: object(4) and part(4), the later
    assert found["many"].category == "object"
    assert found["car"].synonyms == ("auto", "motorcar")
    assert found["street"].synonyms == ("street, small",)
    assert "-" not in found


def test_categories_without_a_concept(broden: Path) -> None:
    assert BrodenConcepts.of(broden).empty() == ("scene", "texture")


def test_one_split_is_no_division(broden: Path) -> None:
    text = (broden / "index.csv").read_text().replace("val", "train")
    (broden / "index.csv").write_text(text)
    source = BrodenConcepts.of(broden)
    assert [source.entries[i].split for i in range(3)] == [None] * 3
    assert {source.split(i) for i in range(3)} <= {"fit", "held-out"}


def test_broken_rows_and_files_are_listed_and_left_out(broden: Path) -> None:
    with (broden / "index.csv").open("a") as file:
        file.write("x/a.jpg,val,8,8,2,2,,,,5\n")  # again
        file.write("x/gone.jpg,val,8,8,2,2,,,,5\n")
        file.write("x/d.jpg,val,8,8,2,2,,x/gone.png,,5\n")
        file.write("x/e.jpg,val,8\n")
        file.write("x/f.jpg,val,8,8,2,2,,,77,5\n")
    picture(broden / "images" / "x" / "d.jpg")
    picture(broden / "images" / "x" / "f.jpg")
    source = BrodenConcepts.of(broden)
    assert [source.picture_name(i) for i in range(len(source))] == [
        "x/a.jpg",
        "x/b.jpg",
        "x/c.jpg",
        "x/f.jpg",
    ]
    assert source.labels(3).whole == (STREET,)
    listed = {problem.where: problem.reason for problem in source.problems}
    assert listed["index.csv, line 5"] == "Expected another picture, got 'x/a.jpg' again; the row is left out"
    assert listed["index.csv, line 6"] == "Expected the file 'x/gone.jpg', got none; 'x/gone.jpg' is left out"
    assert listed["index.csv, line 7"] == "Expected the file 'x/gone.png', got none; 'x/d.jpg' is left out"
    assert listed["index.csv, line 8"] == "Expected 10 cells, got 3; the row is left out"
    assert listed["index.csv, line 9"] == "Expected numbers of label.csv, got 77; they are left out"


def test_unknown_numbers_count_as_unlabeled_and_are_listed_once(broden: Path) -> None:
    png(broden / "images" / "x" / "a_part.png", [[999, WHEEL], [0, 65_535]])
    png(broden / "images" / "x" / "b_object.png", [[999, 0], [0, CAR]])
    source = BrodenConcepts.of(broden)
    for _ in range(2):
        assert source.labels(0).maps[2].tolist() == [[0, WHEEL], [0, 0]]
        assert source.labels(1).maps.tolist() == [[[0, 0], [0, CAR]]]
    assert [(problem.where, problem.reason) for problem in source.problems] == [
        ("x/a_part.png", "Expected numbers of concepts, got 999, 65535; they count as unlabeled")
    ]


def test_a_truncated_map_and_a_map_of_another_shape_leave_the_picture_out(broden: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 5, (60, 60))
    png(broden / "images" / "x" / "a_part.png", noise)
    whole = (broden / "images" / "x" / "a_part.png").read_bytes()
    (broden / "images" / "x" / "a_part.png").write_bytes(whole[: len(whole) // 2])
    png(broden / "images" / "x" / "b_object.png", np.zeros((4, 12), int))
    source = BrodenConcepts.of(broden)
    with pytest.raises(LabelError, match=r"Expected a label map, got a_part\.png, which is missing, damaged"):
        source.labels(0)
    with pytest.raises(
        LabelError, match=r"of the shape of its picture \(8 × 8\), got 4 × 12 in x/b_object\.png"
    ):
        source.labels(1)
    (broden / "images" / "x" / "c.jpg").write_bytes(b"\xff\xd8\xff damaged")
    with pytest.raises(ImageError):
        source.picture(2)


def test_maps_of_another_size_but_the_same_shape_are_brought_together(broden: Path) -> None:
    png(broden / "images" / "x" / "a_part.png", np.repeat(np.repeat([[0, WHEEL], [METAL, 0]], 3, 0), 3, 1))
    maps = BrodenConcepts.of(broden).labels(0).maps
    assert maps.shape == (3, 6, 6)
    assert maps[0, ::3, ::3].tolist() == [[CAR, CAR], [0, MANY]]
    assert (maps[0, :3, :3] == CAR).all()


def test_vocabulary_from_label_csv_alone(broden: Path) -> None:
    for path in [*broden.glob("c_*.csv"), broden / "category.csv"]:
        path.unlink()
    with (broden / "label.csv").open("a") as file:
        file.write(
            "1,again,object(1),1,1,\nx,word,object(1),1,1,\n9,no category,,1,1,\n70000,big,object(1),1,1,\n"
        )
    source = BrodenConcepts.of(broden)
    found = {concept.name: concept.category for concept in source.concepts}
    # the order of the index's columns: color, object, part, scene
    names = ("car", "metal", "wheel", "red", "street", "many")
    kinds = ("object", "part", "object", "color", "part", "part")
    assert found == dict(zip(names, kinds, strict=True))
    where = [problem.where for problem in source.problems]
    assert where[:5] == ["category.csv", "c_color.csv", "c_object.csv", "c_part.csv", "c_scene.csv"]
    assert where[5:] == [f"label.csv, line {line}" for line in (9, 10, 11, 12)]


def test_the_folder_above(broden: Path) -> None:
    assert len(BrodenConcepts.of(broden.parent)) == 3
    shutil.copytree(broden, broden.parent / "broden1_9")
    with pytest.raises(ValueError, match=r"got .* with broden1_8, broden1_9 below it; try one of these"):
        BrodenConcepts.of(broden.parent)


def test_errors(broden: Path, tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    with pytest.raises(
        ValueError, match=r"Expected a folder in Broden's layout, got .* with no index\.csv in it; try the"
    ):
        BrodenConcepts.of(tmp_path / "void")
    (broden / "label.csv").rename(broden / "labels")
    with pytest.raises(ValueError, match=r"Expected a table .*label\.csv, got none"):
        BrodenConcepts.of(broden)
    (broden / "label.csv").write_text("id,name\n1,car\n")
    with pytest.raises(ValueError, match=r"Expected columns number, name in .*label\.csv, got id, name"):
        BrodenConcepts.of(broden)
    (broden / "labels").replace(broden / "label.csv")
    shutil.rmtree(broden / "images")
    with pytest.raises(
        ValueError, match=r"Expected at least one usable picture in .*, got none \(index\.csv, line 2: Exp"
    ):
        BrodenConcepts.of(broden)


def test_the_concept_world_reads_back(tmp_path: Path) -> None:
    export_broden(tmp_path, "val", 8, size=64)
    source, scenes = (
        BrodenConcepts.of(tmp_path),
        SceneConcepts.of(8, size=32),
    )  # drawn at the size of the maps
    assert source.problems == []
    names = {concept.number: concept.name for concept in source.concepts}
    truth = {concept.number: concept.name for concept in scenes.concepts}
    for index in range(8):
        ours, theirs = source.labels(index), scenes.labels(index)
        assert [names[number] for number in ours.whole] == [truth[number] for number in theirs.whole]
        for category, layer in zip(
            ("object", "part", "material", "texture", "color"), theirs.maps, strict=True
        ):
            place = ("color", "object", "material", "part", "texture").index(category)
            assert {names.get(n) for n in np.unique(ours.maps[place])} == {
                truth.get(n) for n in np.unique(layer)
            }
            assert np.array_equal(ours.maps[place] == 0, layer == 0)
    assert {concept.category for concept in source.concepts} >= {"scene", "color", "texture"}
