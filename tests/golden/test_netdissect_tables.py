"""The tables the authors of network dissection publish, read and counted: exactly the numbers of their release."""

import csv
import os
from pathlib import Path

import pytest
from tests.dissection.tables import same

from pellucid.dissection.published import read_published, write_published
from pellucid.dissection.storing import load, save

TABLES = Path(os.environ.get("PELLUCID_ASSETS", "/nonexistent")) / "netdissect_results"
pytestmark = pytest.mark.skipif(
    not TABLES.is_dir(), reason="PELLUCID_ASSETS names no folder with netdissect_results; goes when it does"
)

# units, detectors, unique by the released rule, unique top labels, units whose best texture was label 0
NUMBERS = {
    "caffe_reference_imagenet": (256, 97, 61, 50, 0),
    "caffe_reference_places205": (256, 107, 79, 60, 0),
    "caffe_reference_places365": (256, 118, 91, 72, 0),
    "ResNet-152-model_imagenet": (2048, 1325, 242, 197, 374),
    "ResNet-152-model_places365": (2048, 1452, 347, 278, 695),
}


@pytest.fixture(scope="module", params=NUMBERS)
def published(request):
    file = TABLES / f"{request.param}.csv"
    return file, read_published(file), NUMBERS[request.param]


def test_counts_of_the_release(published):
    _, table, (units, detectors, released, top, unlabeled) = published
    assert len(table) == units
    assert int(table.detectors().sum()) == detectors
    assert table.unique("released") == released
    assert table.unique("top-label") == top
    assert table.facts.get("unlabeled", {}) == ({"texture": unlabeled} if unlabeled else {})
    assert all(concept.name for concept in table.concepts)
    table.counts.check(table.category_of)


def test_every_stored_iou_bit_for_bit(published):
    file, table, _ = published
    at = {(concept.category, concept.name): place for place, concept in enumerate(table.concepts)}
    checked = 0
    with open(file, newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            unit = int(row["unit"]) - 1
            assert table.score[unit] == float(row["score"])
            assert table.concepts[table.label[unit]].name == row["label"]
            for category in table.categories:
                if row[f"{category}-label"]:
                    place = at[category, row[f"{category}-label"]]
                    assert table.iou[unit, place] == float(row[f"{category}-iou"])
                    checked += 1
    assert checked == 6 * len(table) - sum(table.facts.get("unlabeled", {}).values())


def test_written_again_it_is_the_same_file_but_for_label_0(published, tmp_path):
    file, table, numbers = published
    written = write_published(table, tmp_path / file.name)
    ours, theirs = written.read_bytes().split(b"\r\n"), file.read_bytes().split(b"\r\n")
    assert len(ours) == len(theirs)
    assert sum(one != other for one, other in zip(ours, theirs, strict=True)) == numbers[4]
    again = read_published(written)
    assert (again.concepts, again.layer) == (table.concepts, table.layer)
    assert same(again.counts, table.counts)


def test_stored_it_is_the_same_and_small(published, tmp_path):
    file, table, _ = published
    sizes = [(tmp_path / name).stat().st_size for name in save(table, tmp_path)]
    assert same(load(tmp_path, table.layer), table)
    assert sum(sizes) < file.stat().st_size / 2
