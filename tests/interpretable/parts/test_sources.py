"""Sets with parts: scenes, birds, PASCAL-Part, boxed animals, folders with label maps, and what a text opens."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from tests.interpretable.parts import made

from pellucid.core.registry import UnknownNameError
from pellucid.data.concepts import LabelError, open_concepts
from pellucid.data.images import ImageError
from pellucid.data.parts.source import PartedImage
from pellucid.data.transform import Preprocess
from pellucid.interpretable.parts import Part, PartKey, open_parts
from pellucid.interpretable.parts.viewing import Labels, Viewer
from pellucid.world import draw, render


def picture(path, size=(60, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_ = np.random.default_rng(len(path.name))
    Image.fromarray(draw_.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)


def table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


# Scenes


def test_scenes_of_a_class_have_its_parts_with_exact_masks_and_landmarks():
    source = open_parts("scenes:bird:test/0-4")
    assert len(source) == 5
    assert list(source.classes) == ["bird"]
    assert {"head", "tail", "wing", "eye"} <= set(source.classes["bird"])
    assert source.picture_name(3) == "bird-test-3"
    for number, one in enumerate(source):
        painted = render(draw(number, split="test", class_name="bird"), 128)
        np.testing.assert_array_equal(np.asarray(one.image.image), painted.image)
        for name, part in one.parts.items():
            np.testing.assert_array_equal(part.mask, painted.part_mask(name))
            shown = [
                (x, y)
                for k, (own, x, y, _) in enumerate(painted.landmarks())
                if own == name and (painted.index == k).any()
            ]
            np.testing.assert_allclose(part.point(), np.mean(shown, 0))
        assert set(one.parts) == {
            name for name in painted.scene_data.part_names() if painted.part_mask(name).any()
        }


def test_scenes_without_a_class_are_those_of_the_world():
    every = open_parts("scenes:val/0-39")
    assert len(every) == 40
    assert len(every.classes) == 10
    wheels = open_parts("scenes:val/0-39", classes=["car", "cargo-ship"], parts=["wheel", "hull"])
    kinds = [wheels.class_name(k) for k in range(len(wheels))]
    assert set(kinds) == {"car", "cargo ship"}
    assert wheels.keys == (PartKey("cargo ship", "hull"), PartKey("car", "wheel"))
    assert len(wheels) == sum(one.object_class in ("car", "cargo ship") for one in every)
    assert {name for one in wheels for name in one.parts} == {"wheel", "hull"}


@pytest.mark.parametrize("text", ["scenes:bird,fish:test/3-4", "scenes:fish, bird:test/3-4"])
def test_several_classes_have_every_number_each(text):
    source = open_parts(text)
    assert len(source) == 4
    assert {source.class_name(k) for k in range(4)} == {"bird", "fish"}


# Birds


@pytest.fixture
def cub(tmp_path):
    root = tmp_path / "CUB_200_2011"
    for name in ("a.jpg", "b.jpg", "gone.jpg"):
        picture(root / "images" / "001.Duck" / name)
    files = {
        "images.txt": "1 001.Duck/a.jpg\n2 001.Duck/b.jpg\n3 001.Duck/gone.jpg\n",
        "classes.txt": "1 001.Duck\n",
        "image_class_labels.txt": "1 1\n2 1\n3 1\n",
        "bounding_boxes.txt": "1 10 5 30 30\n2 0 0 60 40\n3 0 0 9 9\n",
        "train_test_split.txt": "1 1\n2 0\n3 0\n",
        "parts/parts.txt": "1 back\n2 beak\n3 forehead\n4 tail\n",
        "parts/part_locs.txt": "1 1 20.5 10 1\n1 2 30 10 1\n1 3 25 8 1\n1 4 1 1 0\n2 1 5 6 1\n2 4 70 3 1\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


def test_birds_are_cropped_to_their_boxes_with_the_parts_of_the_paper(cub):
    source = open_parts(f"cub:{cub}")
    assert source.classes == {"bird": ("back", "forehead", "tail")}
    assert source.view == "whole"
    first = source[0]
    assert first.image.image.size == (30, 30)
    assert set(first.parts) == {"back", "forehead"}
    assert first.parts["back"].point() == (10.5, 5.0)
    radius = 0.05 * np.hypot(30, 30)
    area = first.parts["back"].mask.sum()
    assert abs(area - np.pi * radius**2) < 5
    wider = open_parts(f"cub:{cub}", margin=0.5)[0]
    assert wider.image.image.size == (55, 40), "the picture's end"
    assert wider.parts["back"].point() == (20.5, 10.0)
    assert open_parts(f"cub:{cub}", parts=["beak"])[0].parts["beak"].point() == (20.0, 5.0)
    assert [open_parts(str(cub), split=side).picture_name(0) for side in ("train", "test")] == [
        "001.Duck/a.jpg",
        "001.Duck/b.jpg",
    ]


# PASCAL-Part


@pytest.fixture
def voc(tmp_path):
    """Two pictures: a cat and a small bird; a car whose annotation MATLAB would save as one structure."""
    root = tmp_path / "VOC2010"
    whole = np.zeros((80, 90), np.uint8)

    def mask(top, left, bottom, right):
        found = whole.copy()
        found[top:bottom, left:right] = 1
        return found

    def part(name, *box):
        return {"part_name": name, "mask": mask(*box)}

    limbs = [
        part("head", 10, 10, 20, 20),
        part("leye", 20, 10, 22, 12),
        part("lfleg", 50, 10, 70, 20),
        part("odd", 0, 0, 1, 1),
    ]
    wheels = [part("wheel_1", 60, 0, 80, 20), part("wheel_2", 60, 70, 80, 90)]
    cat = {"class": "cat", "class_ind": 8, "mask": mask(10, 10, 70, 80), "parts": limbs}
    bird = {"class": "bird", "class_ind": 3, "mask": mask(0, 0, 9, 9), "parts": [part("tail", 0, 0, 3, 3)]}
    car = {"class": "car", "class_ind": 7, "mask": mask(0, 0, 80, 90), "parts": wheels}
    bare = {"class": "boat", "class_ind": 4, "mask": mask(0, 0, 60, 60), "parts": np.zeros((0, 0))}
    for name, objects in (("one", [cat, bird]), ("two", car), ("three", [bare])):
        picture(root / "JPEGImages" / f"{name}.jpg", (90, 80))
        (root / "Annotations_Part").mkdir(exist_ok=True)
        savemat(root / "Annotations_Part" / f"{name}.mat", {"anno": {"imname": name, "objects": objects}})
    return root


def test_objects_of_pascal_have_merged_parts(voc):
    source = open_parts(f"voc:{voc.parent}")
    assert source.classes == {"cat": ("head", "front legs")}, "no cars unless asked for, no bird that small"
    assert [source.picture_name(k) for k in range(len(source))] == ["one.jpg#1"]
    cat = source[0]
    assert cat.image.image.size == (70, 60)
    assert cat.parts["head"].mask.sum() == 100 + 4
    rows, columns = cat.parts["head"].mask.nonzero()
    assert cat.parts["head"].point() == (columns.mean() + 0.5, rows.mean() + 0.5)
    assert (rows.min(), columns.min()) == (0, 0)
    small = open_parts(f"voc:{voc}", classes=["bird"], least=10)
    assert small[0].parts["tail"].point() == (1.5, 1.5)


def test_other_classes_of_pascal_lose_the_numbers_of_their_parts(voc):
    source = open_parts(str(voc), classes=["car"])
    assert source.classes == {"car": ("wheel",)}
    assert source[0].parts["wheel"].point() == (45.0, 70.0)
    assert open_parts(f"voc:{voc}", classes=["boat", "car"]).classes == {"boat": (), "car": ("wheel",)}


def test_damaged_annotations_are_listed_or_named(voc):
    good = open_parts(f"voc:{voc}")
    (voc / "Annotations_Part" / "four.mat").write_bytes(b"no MATLAB")
    source = open_parts(f"voc:{voc}")
    assert len(source) == len(good) == 1
    assert source.problems[0].where == "four.mat"
    picture(voc / "JPEGImages" / "one.jpg", (33, 44))
    with pytest.raises(LabelError, match="Expected masks of 44 × 33, got 80 × 90 for one"):
        good[0]
    (voc / "JPEGImages" / "one.jpg").unlink()
    with pytest.raises(ImageError):
        good[0]


# Animals


@pytest.fixture
def animals(tmp_path):
    root = tmp_path / "parts" / "animals"
    for name in ("a", "b", "c"):
        picture(root / "images" / f"{name}.jpg")
    rows = [
        ("animals/images/a.jpg", "n01503061", "train", 60, 40, "object", 10, 5, 50, 35),
        ("animals/images/a.jpg", "n01503061", "train", 60, 40, "head", 12, 6, 22, 16),
        ("animals/images/a.jpg", "n01503061", "train", 60, 40, "legs", 12, 30, 16, 34),
        ("animals/images/a.jpg", "n01503061", "train", 60, 40, "legs", 30, 20, 40, 34),
        ("animals/images/b.jpg", "n01443537", "test", 30, 20, "object", 0, 0, 30, 20),
        ("animals/images/b.jpg", "n01443537", "test", 30, 20, "head", 0, 0, 10, 10),
        ("animals/images/c.jpg", "n01503061", "test", 60, 40, "head", 0, 0, 10, 10),
    ]
    table(
        root / "boxes.csv",
        ("image", "wnid", "split", "width", "height", "kind", "x0", "y0", "x1", "y1"),
        rows,
    )
    return root


@pytest.mark.parametrize("where", ["", ".."])
def test_animals_are_cropped_with_a_margin(animals, where):
    source = open_parts(f"animals:{animals / where}")
    assert source.classes == {"bird": ("head", "legs"), "goldfish": ("head",)}
    assert len(source) == 2, "a picture without a box of its animal is of no use"
    bird = source[0]
    assert bird.image.image.size == (48, 36)
    assert bird.parts["head"].point() == (11.0, 9.0)
    assert bird.parts["legs"].point() == (29.0, 25.0), "the larger box"
    assert bird.parts["legs"].mask.sum() == 4 * 4 + 10 * 14
    fish = source[1]
    assert fish.image.image.size == (60, 40), "boxes are in pixels of another size than the picture's"
    assert fish.parts["head"].point() == (10.0, 10.0)
    assert open_parts(f"animals:{animals}", split="test").classes == {"goldfish": ("head",)}
    assert open_parts(str(animals), margin=0.0)[0].image.image.size == (40, 30)


@pytest.mark.skipif("PELLUCID_ASSETS" not in os.environ, reason="needs PELLUCID_ASSETS with parts/animals")
def test_the_real_animals_open():
    source = open_parts(f"animals:{Path(os.environ['PELLUCID_ASSETS']) / 'parts'}", per_class=1, split="test")
    assert len(source) == 30
    assert source.classes["goldfish"] == ("head",)
    assert source.classes["lobster"] == ("head", "legs")
    for one in (source[0], source[29]):
        width, height = one.image.image.size
        for part in one.parts.values():
            x, y = part.point()
            assert 0 < x < width
            assert 0 < y < height


# Folders


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png", (20, 10))
    ids = np.zeros((10, 20), np.uint8)
    ids[2:4, 4:8] = 1
    ids[6:8, 0:2] = 2
    ids[8:, :] = 3
    Image.fromarray(ids).save(tmp_path / "a-mask.png")
    Image.fromarray((ids == 1).astype(np.uint8)).save(tmp_path / "b-mask.png")
    table(
        tmp_path / "index.csv",
        ("image", "mask", "split"),
        [("a.png", "a-mask.png", "train"), ("b.png", "b-mask.png", "test")],
    )
    table(
        tmp_path / "labels.csv",
        ("label_id", "name", "category"),
        [(1, "door", "part"), (2, "lamp", "part"), (3, "car", "object")],
    )
    return tmp_path


def test_a_folder_of_masks_gives_centroids(folder):
    source = open_parts(f"folder:{folder}")
    assert source.classes == {"car": ("door", "lamp")}
    assert source.view == "network"
    assert source[0].object_class == "car"
    assert source[0].parts["door"].point() == (6.0, 3.0)
    assert source[1].object_class == "", "no object is labeled there"
    assert open_parts(str(folder), split="train").picture_name(0) == "a.png"
    assert open_parts(open_concepts(folder), parts=["lamp"]).classes == {"car": ("lamp",)}
    assert len(open_parts(f"folder:{folder}", classes=["car"])) == 1


def test_a_set_without_objects_is_one_class(folder):
    table(
        folder / "labels.csv",
        ("label_id", "name", "category"),
        [(1, "door", "part"), (2, "lamp", "part"), (3, "mud", "material")],
    )
    source = open_parts(f"folder:{folder}")
    assert source.classes == {"object": ("door", "lamp")}
    assert [source.class_name(k) for k in range(2)] == ["object", "object"]


# What is taken


def test_so_many_of_every_class_are_taken():
    source = open_parts(made.noise(20), per_class=3)
    kinds = [source.class_name(k) for k in range(len(source))]
    assert kinds.count("bird") == kinds.count("fish") == 3
    assert source.facts()["images"] == 6
    assert source[0].object_class == kinds[0]


def test_only_some_parts_are_taken():
    whole = made.noise(20)
    source = open_parts(whole, classes=["fish"], parts=["tail"])
    assert source.keys == (PartKey("fish", "tail"),)
    assert all(set(one.parts) <= {"tail"} for one in source)
    assert open_parts(whole) is whole


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("scenes:brid:test/0-9", {}, "Expected a class of the scenes, got `brid`; did you mean `bird`"),
        ("scenes:test/9-2", {}, 'Expected scenes as "scenes:test/0-499"'),
        ("scenes:tset", {}, "Expected a split of the scenes, got `tset`"),
        ("scenes:test/0-9", {"merge": "group"}, "Expected an option of scenes, got `merge`"),
        ("scenes:bird:test/0-9", {"parts": ["haed"]}, "Expected the name of a part, got `haed`; did you mean `head`"),
        ("scenes:test/0-1", {"per_class": 0}, "Expected `per_class` to be at least 1, got 0"),
        ("scene:test/0-9", {}, "did you mean `scenes`"),
        ("nowhere", {}, "Expected a set with parts, as scenes:test/0-499 or cub:FOLDER, got 'nowhere'"),
        ("cub:nowhere", {}, "Expected image_class_labels.txt in 'nowhere'"),
        ("animals:nowhere", {}, "Expected a folder with boxes.csv, got 'nowhere'"),
        ("voc:nowhere", {}, "Expected a folder Annotations_Part in 'nowhere'"),
        ("voc:nowhere", {"split": "test"}, "Expected an option of voc, got `split`"),
        ("animals:nowhere", {"split": "today"}, "Expected `split` to be train or test, got 'today'"),
    ],
)  # fmt: skip
def test_what_cannot_be_opened_is_said(text, options, words):
    with pytest.raises(ValueError, match="Expected") as error:
        open_parts(text, **options)
    assert words in str(error.value)


def test_a_folder_without_parts_or_marks(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ValueError, match=r"Expected a set with parts in .*empty.*got none of image_class_labels"
    ):
        open_parts(str(tmp_path / "empty"))
    table(folder / "labels.csv", ("label_id", "name", "category"), [(1, "door", "object")])
    with pytest.raises(ValueError, match=r"Expected concepts of the category part in .*got object"):
        open_parts(f"folder:{folder}")
    with pytest.raises(
        UnknownNameError, match="Expected the name of a class, got `brid`; did you mean `bird`"
    ):
        open_parts(made.noise(3), classes=["brid"])


# As the network sees them


def test_masks_and_landmarks_follow_the_picture_into_the_crop():
    """A picture of 40 × 80 becomes 32 × 64, of which the middle 32 × 32 is seen."""
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[10:20, 30:45] = 255
    mask = pixels[..., 0] > 0
    parts = {"in": Part(mask), "out": Part(box=(0, 0, 15, 20)), "edge": Part(landmark=(20, 0))}
    source = made.Made("one", {"bird": tuple(parts)}, pictures=(made.parted(pixels, parts),))
    seen = Viewer(Preprocess(32, 32, (0.5,) * 3, (0.5,) * 3), (32, 32), source, 1)(source[0], tuple(parts))
    bright = seen.pixels[0].numpy() > 128
    np.testing.assert_array_equal(seen.masks[0], bright)
    rows, columns = bright.nonzero()
    np.testing.assert_allclose(seen.landmarks[0], (columns.mean(), rows.mean()))
    assert np.isnan(seen.landmarks[1]).all()
    assert not seen.masks[1].any()
    np.testing.assert_allclose(seen.landmarks[2], (-0.5, -0.5))


def test_labels_come_back_as_they_were():
    draw_ = np.random.default_rng(3)
    labels, kept = Labels((9, 7)), []
    for count in (3, 1, 5, 2):
        kept.append(draw_.random((count, 9, 7)) < 0.4)
        labels.add(kept[-1])
    labels.add(np.zeros((2, 9, 7), bool))
    for index, masks in enumerate(kept):
        np.testing.assert_array_equal(labels.means(index).T[:, labels.codes(index)], masks)
        np.testing.assert_array_equal(labels.pixels(index), masks.sum((1, 2)))
    assert not labels.codes(4).any()


def test_a_crop_stays_within_the_picture():
    one = PartedImage(
        made.parted(np.zeros((20, 30, 3)), {}).image,
        "bird",
        {"head": Part(box=(1, 2, 5, 6), landmark=(2, 3))},
    )
    for box, margin, size in (
        ((-5, -5, 10, 10), 0.0, (10, 10)),
        ((10, 5, 20, 15), 1.0, (30, 20)),
        ((3, 3, 3, 3), 0, (1, 1)),
    ):
        cropped = one.cropped(box, margin)
        assert cropped.image.image.size == size
    assert cropped.parts["head"].box == (-2, -1, 2, 3)
    assert cropped.parts["head"].landmark == (-1, 0)


def test_facts_are_json():
    json.dumps(open_parts("scenes:bird:test/0-4").facts())


@pytest.mark.parametrize("layout", ["cub", "voc", "animals", "folder"])
def test_a_changed_picture_changes_the_facts(layout, request):
    root = request.getfixturevalue(layout)
    source = open_parts(f"{layout}:{root}")
    before = source.facts()
    assert source.facts() == before
    (file,) = source.files(0)
    content = file.read_bytes()
    file.write_bytes(content + b"\0")
    changed = source.facts()
    assert changed["sha256"] != before["sha256"]
    assert changed | {"sha256": ""} == before | {"sha256": ""}
    file.unlink()
    os.mkfifo(file)
    assert source.facts()["sha256"] not in (before["sha256"], changed["sha256"])
    file.unlink()
    file.write_bytes(content)
    assert source.facts() == before
