"""COCO's instances, made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pellucid.data.concepts import CocoConcepts, LabelError


def image(path: Path, width: int = 8, height: int = 6) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height)).save(path)


def box(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


CAT, DOG, RUG = 17, 18, 90


def content(**changes: Any) -> dict[str, Any]:
    annotations = [
        {"image_id": 1, "category_id": CAT, "segmentation": [box(0, 0, 2, 2), box(6, 4, 8, 6)], "iscrowd": 0},
        {"image_id": 1, "category_id": CAT, "segmentation": [box(1, 1, 3, 3)], "iscrowd": 0},
        {"image_id": 1, "category_id": DOG, "segmentation": [box(5, 3, 7, 5)], "iscrowd": 0},
        {
            "image_id": 2,
            "category_id": RUG,
            "segmentation": {"counts": [6, 12, 30], "size": [6, 8]},
            "iscrowd": 1,
        },
        {"image_id": 2, "category_id": DOG, "segmentation": {"counts": "0<T1", "size": [6, 8]}, "iscrowd": 0},
    ]
    images = [{"id": i, "file_name": f"00{i}.jpg", "height": 6, "width": 8} for i in (1, 2, 3)]
    categories = [
        *[{"id": CAT, "name": "cat", "supercategory": "animal"}, {"id": DOG, "name": "dog"}],
        {"id": RUG, "name": "rug"},
    ]
    return {"images": images, "annotations": annotations, "categories": categories} | changes


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    for name in ("train2017", "val2017"):
        for i in (1, 2, 3):
            image(tmp_path / name / f"00{i}.jpg")
    (tmp_path / "annotations").mkdir()
    save(tmp_path, "val2017", content())
    return tmp_path


def save(root: Path, name: str, what: object) -> Path:
    path = root / "annotations" / f"instances_{name}.json"
    path.write_text(what if isinstance(what, str) else json.dumps(what))
    return path


def test_polygons_of_a_category_are_joined_and_overlaps_kept(coco: Path) -> None:
    source = CocoConcepts.of(coco)
    assert [(c.number, c.name, c.category) for c in source.concepts] == [
        *[(CAT, "cat", "object"), (DOG, "dog", "object"), (RUG, "rug", "object")]
    ]
    assert (source.name, len(source), source.problems) == ("coco:val2017", 3, [])
    maps = source.labels(0).maps
    c, d = CAT, DOG
    assert maps[0].tolist() == [
        *[[c, c, 0, 0, 0, 0, 0, 0], [c, c, c, 0, 0, 0, 0, 0], [0, c, c, 0, 0, 0, 0, 0]],
        *[[0] * 8, [0, 0, 0, 0, 0, 0, c, c], [0, 0, 0, 0, 0, 0, c, c]],
    ]
    assert maps[1].tolist() == [*[[0] * 8] * 3, *[[0, 0, 0, 0, 0, d, d, 0]] * 2, [0] * 8]
    assert source.picture_name(0) == "val2017/001.jpg"
    assert source.labels(2).maps.shape[0] == 0


def test_run_lengths_go_down_the_columns(coco: Path) -> None:
    maps = CocoConcepts.of(coco).labels(1).maps
    assert maps[0].tolist() == [[0, RUG, RUG, 0, 0, 0, 0, 0]] * 6
    assert maps[1].tolist() == [[DOG, DOG, 0, 0, 0, 0, 0, 0]] * 6  # 0, 12, 36


def test_train_is_fitted_on_and_val_held_out(coco: Path) -> None:
    save(coco, "train2017", content())
    source = CocoConcepts.of(coco)
    assert len(source) == 6
    assert [(source.picture_name(i), source.split(i)) for i in (0, 3)] == [
        *[("train2017/001.jpg", "fit"), ("val2017/001.jpg", "held-out")]
    ]
    assert len(CocoConcepts.of(coco, sets="val2017")) == 3
    assert len(CocoConcepts.of(coco, sets=["train2017", "val2017"])) == 6
    with pytest.raises(ValueError, match="Expected the name of a set, got `val2014`; did you mean `val2017`"):
        CocoConcepts.of(coco, sets="val2014")


def test_one_file_and_folders_of_pictures(coco: Path) -> None:
    file = save(coco, "val2017", content()).rename(coco / "mine.json")
    source = CocoConcepts.of(file, images=coco / "val2017")
    assert (source.name, len(source), source.picture(0).image.size) == ("coco:mine", 3, (8, 6))
    (coco / "val2017").rename(coco / "images")
    assert len(CocoConcepts.of(file)) == 3


def test_what_cannot_be_used_is_listed(coco: Path) -> None:
    what = content()
    what["annotations"] += [
        {"image_id": 99, "category_id": CAT, "segmentation": [box(0, 0, 2, 2)]},
        {"image_id": 1, "category_id": 1000, "segmentation": [box(0, 0, 2, 2)]},
        {"image_id": 1, "category_id": CAT, "segmentation": [[1, 2, 3]]},
        {"image_id": 4, "category_id": CAT, "segmentation": {"counts": [1], "size": [1, 1]}},
        {"image_id": 5, "category_id": CAT, "segmentation": [["a", 1, 2, 3, 4, 5]]},
        "nonsense",
    ]
    what["images"] += [
        *({"id": i, "file_name": f"00{i}.jpg", "height": 6, "width": 8} for i in (4, 5, 6)),
        *[{"id": 2, "file_name": "again.jpg", "height": 6, "width": 8}, {"id": 7}],
    ]
    for i in (4, 5):
        image(coco / "val2017" / f"00{i}.jpg")
    save(coco, "val2017", what)
    source = CocoConcepts.of(coco)
    assert [source.picture_name(i) for i in range(len(source))] == ["val2017/002.jpg", "val2017/003.jpg"]
    reasons = [problem.reason for problem in source.problems]
    assert [problem.where.split(", ")[-1] for problem in source.problems] == [
        *[
            "image 7",
            "image 8",
            "annotation 6",
            "annotation 7",
            "annotation 8",
            "annotation 9",
            "annotation 10",
        ],
        *["annotation 11", "val2017/006.jpg"],
    ]
    assert reasons[2] == "Expected the id of an image, got 99; it is left out"
    assert reasons[3] == "Expected the id of a category, got 1000; it counts as unlabeled"
    assert reasons[4].startswith(
        "Expected a polygon of x and y of at least three corners, got 3 numbers; picture '001"
    )
    assert reasons[5].startswith(
        "Expected run lengths of the picture's size [6, 8], got [1, 1]; picture '004.jpg'"
    )


def test_run_lengths_that_do_not_fill_the_picture(coco: Path) -> None:
    what = content()
    what["annotations"][3]["segmentation"]["counts"] = [6, 12]
    save(coco, "val2017", what)
    source = CocoConcepts.of(coco)
    with pytest.raises(
        LabelError, match="Expected run lengths that add up to 6 × 8 = 48 pixels, got 18 in 2 runs"
    ):
        source.labels(1)
    image(coco / "val2017" / "001.jpg", 20, 5)
    with pytest.raises(LabelError, match="of the shape of its picture"):
        source.labels(0)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("{", "Expected a JSON file of instances, got"),
        ("[]", "Expected lists images, annotations, categories in .*, got list"),
        (content(images=3), "Expected lists images, annotations, categories in"),
        (content(categories=[{"id": 3}]), "Expected categories with id and name in"),
        (
            content(categories=[{"id": 0, "name": "void"}]),
            "Expected categories with ids of 1 to 65,535 in .*, got none",
        ),
        (content(images=[]), "Expected at least one usable picture"),
    ],
)
def test_errors(coco: Path, what: object, message: str) -> None:
    save(coco, "val2017", what)
    with pytest.raises(ValueError, match=message):
        CocoConcepts.of(coco)
    with pytest.raises(ValueError, match=r"Expected annotations/instances_<set>\.json in"):
        CocoConcepts.of(coco / "annotations")
