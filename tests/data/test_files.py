"""Folders, patterns and lists: the order, what is left out and why, and the good pictures among bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.data.images import ImageError, Skipped, collect, read_images

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name in ("img10.png", "img2.png", "IMG1.PNG", "more/deep.png"):
        Image.fromarray(PICTURE).save(folder / name)
    (folder / "notes.txt").write_text("none")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "false.jpg").write_text("not a picture")
    (folder / "cut.png").write_bytes((folder / "img2.png").read_bytes()[:90])
    (folder / "dead.png").symlink_to(folder / "gone")
    (folder / "around").symlink_to(folder)
    return folder


def test_collect_folder(folder: Path) -> None:
    found, skipped = collect(folder)
    assert [path.name for path in found] == ["cut.png", "false.jpg", "IMG1.PNG", "img2.png", "img10.png"]
    assert {Path(item.name).name: item.reason for item in skipped} == {
        ".hidden.png": "hidden",
        "around": "folder (recursive=True enters it)",
        "dead.png": "link without target",
        "more": "folder (recursive=True enters it)",
        "notes.txt": "not an image (.txt)",
    }
    deep, left = collect(str(folder), recursive=True)
    assert [path.name for path in deep] == [*(path.name for path in found), "deep.png"]
    assert Skipped(str(folder / "around"), "link to a folder") in left
    assert collect(folder)[0] == found


def test_collect_patterns_and_lists(folder: Path) -> None:
    assert [path.name for path in collect(str(folder / "img*.png"))[0]] == ["img2.png", "img10.png"]
    assert [path.name for path in collect(str(folder / "**" / "d*.png"), recursive=True)[0]] == ["deep.png"]
    mixed, _ = collect([folder / "notes.txt", PICTURE, folder / "img2.png"])
    assert mixed[0] == folder / "notes.txt"  # named by the user, so taken
    assert mixed[1].shape == (24, 32, 3)
    (folder / "a[1].png").write_bytes((folder / "img2.png").read_bytes())
    assert collect(str(folder / "a[1].png"))[0] == [folder / "a[1].png"]


def test_collect_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    with pytest.raises(ImageError, match=r"at least one image in folder '.*empty', got none"):
        collect(tmp_path / "empty")
    with pytest.raises(ImageError, match=r"got 1 other entries \(a\.txt: not an image \(\.txt\)\)"):
        collect(tmp_path / "texts")
    with pytest.raises(ImageError, match=r"at least one image matching '.*x\*\.png', got none"):
        collect(str(folder / "x*.png"))
    with pytest.raises(ImageError, match=r"close names img2\.png"):
        collect([folder / "img10.png", folder / "img3.png"])
    with pytest.raises(ImageError, match="empty list"):
        collect([])


def test_read_images_lists_the_bad_and_reads_the_rest(folder: Path) -> None:
    read, skipped = read_images(folder)
    assert [item.name for item in read] == ["IMG1.PNG", "img2.png", "img10.png"]
    reasons = {Path(item.name).name: item.reason for item in skipped}
    assert "text that starts with 'not a picture'" in reasons["false.jpg"]
    assert "damaged or cut short" in reasons["cut.png"]
    assert len(skipped) == 7
    with pytest.raises(ImageError, match="text that starts with"):
        read_images(folder / "false.jpg")
    with pytest.raises(ImageError, match="got 2 unreadable ones"):
        read_images([folder / "false.jpg", folder / "cut.png"])
