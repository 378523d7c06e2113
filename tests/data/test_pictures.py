"""What an input is: whatever a user hands over becomes the same pixels, named, with what is known of them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.data.images import ImageError, read_image
from pellucid.data.pictures import each_picture, pictures
from pellucid.data.preprocess import Preprocess, to_batch
from pellucid.world import draw, render

RAMP = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b2.png", "b10.png"):
        Image.fromarray(RAMP).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_every_form_is_the_same_picture(folder: Path) -> None:
    file = folder / "b2.png"
    whole = torch.from_numpy(RAMP).movedim(-1, 0)
    for given in (
        file, str(file), file.read_bytes(), io.BytesIO(file.read_bytes()), Image.open(file), RAMP, whole,
        read_image(file), [file], (RAMP,), RAMP[None], whole[None], iter([file]), [[file]], pictures(file),
    ):  # fmt: skip
        (picture,) = pictures(given)
        np.testing.assert_array_equal(np.asarray(picture.image), RAMP)
        assert picture.original_size == (32, 24)
        assert picture.rendering is None
        assert picture.notes == ()


def test_folders_and_patterns_come_in_natural_order(folder: Path) -> None:
    for given in (folder, str(folder / "b*.png"), [folder / "b2.png", folder / "b10.png"]):
        assert [picture.name for picture in pictures(given)] == ["b2.png", "b10.png"]


def test_a_picture_that_cannot_be_read_is_left_out_of_a_folder_and_named(folder: Path) -> None:
    (folder / "b3.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    with pytest.warns(UserWarning, match=r"1 unreadable pictures were left out: b3\.png"):
        assert len(pictures(folder)) == 2


def test_a_picture_that_goes_away_is_left_out_too(folder: Path) -> None:
    reading = each_picture(folder)
    next(reading)
    (folder / "b10.png").unlink()
    with pytest.warns(UserWarning, match=r"b10\.png: Expected an image file"):
        assert not list(reading)


def test_scenes_and_renderings_bring_what_is_known() -> None:
    scene = draw(3, class_name="bicycle", split="test")
    drawn, painted, plain = pictures([scene, render(scene), RAMP])
    assert drawn.rendering is not None
    assert drawn.rendering.object_name == "bicycle"
    np.testing.assert_array_equal(np.asarray(drawn.image), np.asarray(painted.image))
    np.testing.assert_array_equal(drawn.rendering.object_mask(), render(scene).object_mask())
    assert plain.rendering is None


def test_floats_stay_what_they_are() -> None:
    batch = torch.randn(2, 4, 8, 8, requires_grad=True)
    rows = pictures(batch)
    assert [row.name for row in rows] == ["tensor [0]", "tensor [1]"]
    assert all(torch.equal(row.pixels, each) for row, each in zip(rows, batch, strict=True))
    with pytest.raises(ImageError, match="Expected a picture of 8 bits, got tensor \\[0\\]"):
        _ = rows[0].image
    gray = Preprocess(None, None, (0.5,), (0.25,), channels=1)
    stacked, shown = to_batch(rows, gray, normalized=True, channels=4)
    assert torch.equal(stacked, batch)
    assert shown[0].notes[-1] == "3 of its 4 channels are shown"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "at least one image"),
        ({"a": "b.png"}, "Expected images in an order, got a dict"),
        ({"a.png"}, "Expected images in an order, got a set"),
        (3, "Expected a path, an image or a list of them, got builtins.int"),
        (None, "got builtins.NoneType"),
        ([[[[[RAMP]]]]], "lists in lists"),
        (torch.zeros(2, 8, 8, dtype=torch.uint8), "any number of channels"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), "movedim"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "Expected a uint8 or float tensor"),
        (np.zeros((0, 8, 8, 3), np.uint8), "empty batch"),
    ],
)
def test_what_is_no_picture_is_said_in_one_line(given: object, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        pictures(given)
    assert str(caught.value).startswith("Expected ")
    assert "\n" not in str(caught.value)


def test_a_list_that_holds_itself_ends() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ImageError):
        pictures(endless)


def test_of_a_folder_no_more_than_one_picture_is_held(folder: Path) -> None:
    import gc
    import weakref

    alive = weakref.WeakSet()
    most = 0
    for picture in each_picture(folder):
        alive.add(picture)
        del picture
        gc.collect()
        most = max(most, len(alive))
    assert most <= 1
    assert os.listdir(folder)
