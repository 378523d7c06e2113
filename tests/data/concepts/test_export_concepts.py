"""Any set to Broden's layout and back."""

from __future__ import annotations

import csv
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid.data.concepts import BrodenConcepts, Concept, ConceptSource, LabelError, Labels, export_broden
from pellucid.data.concepts.maps import nearest
from pellucid.data.images import ImageError, Picture
from pellucid.world.concepts import SceneConcepts

CONCEPTS = (
    Concept(1, "car", "object", ("auto", "motor; car")),
    Concept(2, "wheel", "part"),
    Concept(255, "door", "part", ("gate",)),
    Concept(256, "metal", "material"),
    Concept(65_535, "door", "object"),
    Concept(300, "never", "material"),
)


@dataclass(eq=False)
class Made(ConceptSource):
    """Labels given one by one."""

    truth: list[Labels] = field(default_factory=list)
    bad: tuple[int, ...] = ()
    asked: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.truth)

    def picture_name(self, index: int) -> str:
        return f"some folder/ä {index}.jpg"

    def picture(self, index: int) -> Picture:
        if index in self.bad:
            raise ImageError("Expected an image, got none")
        self.asked.append(index)
        return Picture(Image.new("RGB", (30, 20), (index, 0, 0)), "made", (), (30, 20))

    def labels(self, index: int) -> Labels:
        if index + 100 in self.bad:
            raise LabelError("Expected labels, got none")
        return self.truth[index]

    def split(self, index: int) -> str:
        return "held-out" if index % 2 else "fit"


def made(*truth: Labels, **more: object) -> Made:
    return Made("made", tuple(sorted(CONCEPTS, key=lambda c: c.number)), truth=list(truth), **more)


def sets(labels: Labels, side: int) -> list[frozenset[int]]:
    """Of every pixel: all its numbers."""
    maps = nearest(labels.maps, side, side)
    return [frozenset(column) - {0} for column in maps.reshape(len(maps), side * side).T.tolist()]


NUMBERS = st.sampled_from([0, 0, 1, 2, 255, 256, 65_535])
TRUTH = st.builds(
    lambda cells, whole: Labels(np.array(cells, np.uint16).reshape(-1, 3, 4), tuple(whole)),
    st.integers(0, 3).flatmap(lambda n: st.lists(NUMBERS, min_size=12 * n, max_size=12 * n)),
    st.lists(st.sampled_from([1, 256, 300]), unique=True, max_size=3),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(TRUTH, min_size=2, max_size=4))
def test_reading_back_gives_the_same_labels(truth: list[Labels]) -> None:
    source = made(*truth)
    with tempfile.TemporaryDirectory() as folder:
        read = BrodenConcepts.of(export_broden(source, folder, size=24))
        assert read.problems == []
        assert {(c.number, c.name, c.category) for c in read.concepts} == {
            (c.number, c.name, c.category) for c in CONCEPTS
        }
        assert len(read) == len(truth)
        for index, expected in enumerate(truth):
            back = read.labels(index)
            assert set(back.whole) == set(expected.whole)
            assert sets(back, 12) == sets(expected, 12)
            assert read.split(index) == source.split(index)
            assert read.picture(index).image.size == (24, 24)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables(tmp_path: Path) -> None:
    first = Labels(np.array([[[1, 1], [0, 2]], [[65_535, 0], [0, 2]]], np.uint16), (256,))
    second = Labels(np.array([[[255, 255], [255, 255]]], np.uint16))
    export_broden(made(first, second), tmp_path, size=16)
    index = rows(tmp_path / "index.csv")
    assert list(index[0]) == [*("image", "split", "ih", "iw", "sh", "sw"), *("object", "part", "material")]
    assert index[0]["image"] == "000/000000__0.png"
    assert (
        index[0]["object"] == "000/000000__0_object.png;000/000000__0_object_1.png"
    )  # a car and a door at a pixel
    assert [row["material"] for row in index] == ["256", ""]
    assert [row["split"] for row in index] == ["train", "val"]
    labels = {int(row["number"]): row for row in rows(tmp_path / "label.csv")}
    assert labels[1]["syns"] == "car;auto;motor, car"
    assert (
        labels[2] | {"name": "wheel", "category": "part(1)", "frequency": "1", "coverage": "0.250000"}
        == labels[2]
    )
    assert (labels[256]["coverage"], labels[300]["frequency"]) == ("1.000000", "0")
    assert [(row["code"], row["number"]) for row in rows(tmp_path / "c_part.csv")] == [
        ("1", "2"),
        ("2", "255"),
    ]
    assert rows(tmp_path / "category.csv")[1] == {
        "name": "part",
        "first": "2",
        "last": "255",
        "count": "2",
        "frequency": "2",
    }
    assert not list(tmp_path.rglob(".*"))


def test_a_stopped_export_goes_on(tmp_path: Path) -> None:
    truth = [Labels(np.full((1, 2, 2), number, np.uint16)) for number in (1, 2, 255)]
    whole = export_broden(made(*truth), tmp_path / "a", size=16)
    cut = export_broden(made(*truth), tmp_path / "b", size=16)
    for path in [*cut.glob("*.csv"), *cut.rglob("000002*.png")]:
        path.unlink()
    again = made(*truth)
    export_broden(again, cut, size=16)
    assert again.asked == [2]  # only the missing picture is read
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(cut) for path in cut.rglob("*") if path.is_file())
    assert all((whole / file).read_bytes() == (cut / file).read_bytes() for file in files)
    for other, size in ((made(*truth), 32), (made(*truth[:2]), 16)):
        with pytest.raises(
            ValueError, match="Expected an empty folder or an export of the same set and size"
        ):
            export_broden(other, cut, size=size)


def test_unreadable_pictures_are_left_out_and_listed(tmp_path: Path) -> None:
    one = Labels(np.ones((1, 2, 2), np.uint16))
    source = made(one, one, one, bad=(0, 101))
    read = BrodenConcepts.of(export_broden(source, tmp_path, size=16))
    assert len(read) == 1
    assert [problem.where for problem in source.problems] == ["some folder/ä 0.jpg", "some folder/ä 1.jpg"]
    assert rows(tmp_path / "c_object.csv")[0]["frequency"] == "1"
    with pytest.raises(ValueError, match="Expected at least one readable picture in made, got none"):
        export_broden(made(one, bad=(0,)), tmp_path / "none", size=16)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expected an even size of at least 16"):
        export_broden(made(), tmp_path, size=225)
    for category in ("split", "a/b", "a;b"):
        source = Made("bad", (Concept(1, "x", category),))
        with pytest.raises(ValueError, match="Expected a category that can name a column and a file, got"):
            export_broden(source, tmp_path)


def test_scenes_come_back_at_half_their_size(tmp_path: Path) -> None:
    scenes = SceneConcepts.of(3, size=64)
    read = BrodenConcepts.of(export_broden(scenes, tmp_path, size=64))
    for index in range(3):
        truth, back = scenes.labels(index), read.labels(index)
        assert back.whole == truth.whole
        assert np.array_equal(np.sort(back.maps, 0), np.sort(nearest(truth.maps, 32, 32), 0))
        assert np.array_equal(np.asarray(read.picture(index).image), np.asarray(scenes.picture(index).image))
