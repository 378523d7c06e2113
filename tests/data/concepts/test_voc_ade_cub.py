"""Tiny folders in the layouts of Pascal VOC, ADE20K and CUB-200-2011."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.data.concepts import Ade20kConcepts, CubConcepts, LabelError, VocConcepts


def save(path: Path, pixels: object, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(pixels, np.uint8))
    if mode == "P":
        picture = picture.convert("P")
        picture.putpalette([value for i in range(256) for value in (i, 255 - i, 40)])
    picture.save(path)


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("a", "b", "c"):
        save(root / "JPEGImages" / f"{name}.jpg", np.zeros((2, 3, 3)))
    save(root / "SegmentationClass" / "a.png", [[0, 1, 255], [20, 20, 0]], "P")
    save(root / "SegmentationClass" / "b.png", [[7, 7, 7], [25, 0, 0]], "P")
    write(root / "ImageSets" / "Segmentation" / "train.txt", "a", "c")
    write(root / "ImageSets" / "Segmentation" / "val.txt", "b", "a")
    return root


def test_voc(voc: Path) -> None:
    source = VocConcepts.of(voc)
    assert source.name == "voc:VOC2012"
    assert [concept.name for concept in source.concepts][::19] == ["aeroplane", "tvmonitor"]
    assert source.labels(0).maps.tolist() == [[[0, 1, 0], [20, 20, 0]]]  # 255 is void
    assert [(source.picture_name(i), source.split(i)) for i in range(2)] == [("a", "fit"), ("b", "held-out")]
    assert [(problem.where, problem.reason.split(";")[0]) for problem in source.problems] == [
        ("val.txt, line 2", "Expected another picture, got 'a' again"),
        ("c", "Expected the file 'c.png', got none"),
    ]
    assert source.labels(1).maps.tolist() == [[[7, 7, 7], [0, 0, 0]]]
    assert source.problems[-1].reason == "Expected numbers of concepts, got 25; they count as unlabeled"
    assert len(VocConcepts.of(voc.parent)) == len(VocConcepts.of(voc.parent.parent)) == 2


def test_voc_without_lists_and_errors(voc: Path, tmp_path: Path) -> None:
    for path in (voc / "ImageSets" / "Segmentation").iterdir():
        path.unlink()
    assert [entry.split for entry in VocConcepts.of(voc).entries] == [None, None]
    with pytest.raises(
        ValueError, match=r"Expected JPEGImages and SegmentationClass in .*; try the folder VOCdevkit"
    ):
        VocConcepts.of(tmp_path / "VOCdevkit" / "VOC2012" / "ImageSets")


@pytest.fixture
def ade(tmp_path: Path) -> Path:
    root = tmp_path / "ADEChallengeData2016"
    for part, name in (("training", "t1"), ("training", "t2"), ("validation", "v1"), ("validation", "v2")):
        save(root / "images" / part / f"{name}.jpg", np.zeros((2, 3, 3)))
        save(root / "annotations" / part / f"{name}.png", [[0, 1, 2], [22, 22, 0]])
    (root / "annotations" / "training" / "t2.png").unlink()
    write(
        root / "objectInfo150.txt",
        *[
            "Idx\tRatio\tTrain\tVal\tName",
            "1\t0.15\t11664\t1172\twall",
            "2\t0.10\t6046\t612\tbuilding, edifice ",
        ],
        *["22 \t0.0074\t709\t75\twater", "x\t0\t0\t0\tword", "3\t0"],
    )
    write(root / "sceneCategories.txt", "t1 street", "v1 bar", "", "v2")
    return root


def test_ade20k(ade: Path) -> None:
    source = Ade20kConcepts.of(ade.parent)
    assert [(c.number, c.name, c.category, c.synonyms) for c in source.concepts] == [
        *[(1, "wall", "object", ()), (2, "building", "object", ("edifice",)), (22, "water", "object", ())],
        *[(23, "bar", "scene", ()), (24, "street", "scene", ())],
    ]
    assert [source.picture_name(i) for i in range(3)] == [
        "training/t1.jpg",
        "validation/v1.jpg",
        "validation/v2.jpg",
    ]
    assert [source.split(i) for i in range(3)] == ["fit", "held-out", "held-out"]
    assert source.labels(0).maps.tolist() == [[[0, 1, 2], [22, 22, 0]]]
    assert [source.labels(i).whole for i in range(3)] == [(24,), (23,), ()]
    assert [problem.where for problem in source.problems] == [
        *[
            "objectInfo150.txt, line 6",
            "objectInfo150.txt, line 5",
            "sceneCategories.txt, line 4",
            "training/t2.jpg",
        ]
    ]


def test_ade20k_without_scenes_and_errors(ade: Path) -> None:
    (ade / "sceneCategories.txt").unlink()
    source = Ade20kConcepts.of(ade)
    assert source.empty() == ("scene",)
    assert source.labels(0).whole == ()
    write(ade / "objectInfo150.txt", "Idx\tName", "x\ty")
    with pytest.raises(ValueError, match="Expected the names of classes in"):
        Ade20kConcepts.of(ade)
    with pytest.raises(
        ValueError, match=r"Expected objectInfo150\.txt in .*, got none; try the folder ADEChallenge"
    ):
        Ade20kConcepts.of(ade / "images")


@pytest.fixture
def cub(tmp_path: Path) -> Path:
    root = tmp_path / "CUB_200_2011"
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        save(root / "images" / "001.Gull" / name, np.zeros((40, 60, 3)))
    write(
        root / "images.txt",
        "1 001.Gull/1.jpg",
        "2 001.Gull/2.jpg",
        "3 001.Gull/3.jpg",
        "4 002.Wren/4.jpg",
        "5 x",
    )
    write(root / "classes.txt", "1 001.Black_headed_Gull", "2 002.Wren")
    write(root / "image_class_labels.txt", "1 1", "2 2", "3 9", "4 2")
    write(root / "bounding_boxes.txt", *(f"{i} 10.0 5.0 30.0 40.0" for i in (1, 2, 3, 4)))
    write(root / "train_test_split.txt", "1 1", "2 0", "3 1", "4 1")
    write(root / "parts" / "parts.txt", "1 back", "2 left eye")
    write(
        root / "parts" / "part_locs.txt",
        *["1 1 20.5 20.5 1", "1 2 22.5 20.5 1", "2 1 20.5 20.5 1", "2 2 0.0 0.0 0", "2 7 3 3 1"],
    )
    body = np.zeros((40, 60))
    body[10:30, 15:35], body[0, 0] = 204, 51
    save(root / "segmentations" / "001.Gull" / "1.png", body)
    return root


def test_cub(cub: Path) -> None:
    source = CubConcepts.of(cub.parent, share=0.04)  # radius 0.04 · 50 = 2
    assert [(c.number, c.name, c.category) for c in source.concepts] == [
        *[
            (1, "Black headed Gull", "object"),
            (2, "Wren", "object"),
            (3, "back", "part"),
            (4, "left eye", "part"),
        ]
    ]
    maps = source.labels(0).maps
    assert maps.shape == (3, 40, 60)
    assert maps[0].sum() == 20 * 20
    assert maps[0, 10:30, 15:35].all()
    for place, x in ((1, 20), (2, 22)):  # the disks overlap, so each has its map
        rows, columns = np.nonzero(maps[place])
        assert set(np.unique(maps[place])) == {0, place + 2}
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (18, 22, x - 2, x + 2)
        assert len(rows) == 13  # pixels at most 2 away
    maps = source.labels(1).maps
    assert maps.shape == (2, 40, 60)
    assert set(np.unique(maps[1])) == {0, 3}  # the other part is hidden
    assert np.array_equal(
        maps[0] == 2, np.pad(np.ones((35, 30), bool), ((5, 0), (10, 20)))
    )  # the box, cut at the edge
    assert [source.split(i) for i in range(len(source))] == ["fit", "held-out"]
    assert {problem.where for problem in source.problems} == {
        *["images.txt, line 2", "images.txt, line 3", "images.txt, line 4", "images.txt, line 5"],
        "part_locs.txt, line 5",
    }


def test_cub_without_segmentations_and_errors(cub: Path) -> None:
    (cub / "segmentations").rename(cub / "other")
    source = CubConcepts.of(cub)
    assert source.labels(0).maps[0].sum() == 35 * 30
    (cub / "images" / "001.Gull" / "1.jpg").write_bytes(b"none")
    with pytest.raises(LabelError, match="Expected a picture that tells its size"):
        source.labels(0)
    with pytest.raises(ValueError, match="Expected share to be above 0 and at most 1, got 2"):
        CubConcepts.of(cub, share=2)
    with pytest.raises(ValueError, match=r"Expected image_class_labels\.txt in"):
        CubConcepts.of(cub / "parts")
    (cub / "parts" / "part_locs.txt").unlink()
    with pytest.raises(ValueError, match=r"Expected a list .*part_locs\.txt, got none"):
        CubConcepts.of(cub)
