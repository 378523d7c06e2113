"""Dataset, Broden export, contact sheet."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from pellucid.data.concepts.maps import decode_labels, encode_labels
from pellucid.world import CATEGORIES, SceneDataset, contact_sheet, draw, export_broden, render


def test_dataset_gives_what_it_draws() -> None:
    data = SceneDataset("test", count=3, confounding=1.0, shortcut=1.0, size=64)
    image, target = data[2]
    scene = draw(2, split="test", confounding=1.0, shortcut=1.0)
    assert data.scene(2) == scene
    assert target == scene.target
    assert image.dtype == torch.uint8
    assert np.array_equal(image.permute(1, 2, 0).numpy(), render(scene, 64).image)
    assert len(data) == 3
    assert len(list(data)) == 3
    with pytest.raises(IndexError, match="Expected an index below 3"):
        data[3]


def test_workers_give_the_same_bytes() -> None:
    data = SceneDataset("train", count=6, size=32)
    here = [b[0] for b in DataLoader(data, batch_size=2)]
    there = [b[0] for b in DataLoader(data, batch_size=2, num_workers=2)]
    assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "trian"}, "try 'train'"),
        ({"count": 0}, "Expected count to be at least 1"),
        ({"confounding": -1.0}, "Expected confounding"),
    ],
)
def test_dataset_errors(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SceneDataset(**arguments)  # type: ignore[arg-type]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_label_code() -> None:
    numbers = np.array([[0, 1, 255, 256, 1197]])
    assert np.array_equal(decode_labels(encode_labels(numbers)), numbers)
    assert encode_labels(numbers)[0, 4].tolist() == [1197 % 256, 4, 0]


def test_export_reads_back_as_the_truth(tmp_path: Path) -> None:
    folder = export_broden(tmp_path / "broden", "test", 6, size=64)
    names = {int(r["number"]): r["name"] for r in rows(folder / "label.csv")}
    index = rows(folder / "index.csv")
    assert list(index[0]) == [
        *("image", "split", "ih", "iw", "sh", "sw"),
        *("color", "object", "material", "part", "scene", "texture"),
    ]
    assert {r["split"] for r in index} == {"train", "val"}
    for i, row in enumerate(index):
        scene = draw(i, split="test")
        assert np.array_equal(
            np.asarray(Image.open(folder / "images" / row["image"])), render(scene, 64).image
        )
        half = render(scene, 32)
        assert names[int(row["scene"])] == scene.scene
        for category in ("color", "object", "material", "part", "texture"):
            pixels = np.asarray(Image.open(folder / "images" / row[category]))
            assert pixels.shape == (int(row["sh"]), int(row["sw"]), 3)
            table = np.array(["", *CATEGORIES[category]])
            read = np.vectorize(lambda n: names.get(n, ""))(decode_labels(pixels))
            assert np.array_equal(read, table[half.labels(category)])


def test_export_tables_count_what_is_there(tmp_path: Path) -> None:
    folder = export_broden(tmp_path, "val", 5, size=64)
    for row in rows(folder / "category.csv"):
        table = rows(folder / f"c_{row['name']}.csv")
        assert [int(r["code"]) for r in table] == list(range(1, 1 + int(row["count"])))
        assert int(row["first"]) == min(int(r["number"]) for r in table)
        assert int(row["frequency"]) == sum(int(r["frequency"]) for r in table)
        maps = [render(draw(i, split="val"), 32).labels(row["name"]) for i in range(5)]
        for k, r in enumerate(table, 1):
            assert int(r["frequency"]) == sum(bool((m == k).any()) for m in maps)
            assert float(r["coverage"]) == pytest.approx(sum((m == k).mean() for m in maps), abs=1e-5)
    numbers = [int(r["number"]) for r in rows(folder / "label.csv")]
    assert numbers == list(range(1, 1 + len(numbers)))


def test_a_stopped_export_goes_on(tmp_path: Path) -> None:
    whole = export_broden(tmp_path / "a", "val", 4, size=32)
    cut = export_broden(tmp_path / "b", "val", 2, size=32)
    for path in list(cut.rglob("*.csv")) + list(cut.rglob("val_000001*.png")):
        path.unlink()
    kept = cut / "images" / "scenes" / "val_000000.png"
    before = kept.stat().st_mtime_ns
    export_broden(cut, "val", 4, size=32)
    assert kept.stat().st_mtime_ns == before
    files = sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(cut) for p in cut.rglob("*") if p.is_file())
    assert all((whole / f).read_bytes() == (cut / f).read_bytes() for f in files)
    with pytest.raises(ValueError, match="Expected an empty folder or"):
        export_broden(cut, "train", 4, size=32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 33}, "Expected an even size"),
        ({"count": 0}, "at least 1"),
        ({"val_share": 2.0}, "val_share in 0..1"),
    ],
)
def test_export_errors(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        export_broden(tmp_path, **arguments)  # type: ignore[arg-type]


def test_contact_sheet() -> None:
    sheet = contact_sheet("val", count=5, columns=2, size=32, masks=("part", "color"))
    assert sheet.size == (2 * (96 + 4) + 4, 3 * (32 + 14 + 4) + 4)
    scene = draw(0).without_object()
    bare = contact_sheet([scene], size=32, labels=False)
    assert np.array_equal(np.asarray(bare)[4:36, 4:36], render(scene, 32).image)
    with pytest.raises(ValueError, match="Expected at least one scene"):
        contact_sheet([])
