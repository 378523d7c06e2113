"""The published layout: read, checked, written; and the wider tables with the same columns."""

import csv
import importlib.util
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dissection.tables import PLAIN, same, table_of

from pellucid.data.concepts.base import Concept
from pellucid.dissection import exporting
from pellucid.dissection.counts import Counts
from pellucid.dissection.exporting import to_csv, write_parquet
from pellucid.dissection.published import read_published, write_published
from pellucid.dissection.table import UnitTable

HEADER = (
    "unit,category,label,score,object-label,object-truth,object-activation,object-intersect,object-iou,"
    "texture-label,texture-truth,texture-activation,texture-intersect,texture-iou"
)
ROWS = (
    "2,texture,dotted,0.25,car,10,20.0,5,0.20000000000000001,dotted,20,5,5,0.25",
    "1,object,car,0.10000000000000001,car,10,12.0,2,0.10000000000000001,,90,0.0,9,0.1111111111111111",
)


def file_of(folder, *rows, header=HEADER, name="conv5.csv"):
    file = folder / name
    file.write_bytes("\r\n".join([header, *rows, ""]).encode())
    return file


def lines(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def content(table):
    """What the published layout can say: per unit its label, score, and best concept of each category it meets."""
    found = []
    for unit in range(len(table)):
        own = {}
        for place, category in enumerate(table.categories):
            mine = [k for k, concept in enumerate(table.concepts) if concept.category == category]
            best = max(mine, key=lambda k: (table.iou[unit, k], -k))
            if table.iou[unit, best] > 0:
                own[category] = (
                    table.concepts[best].name,
                    int(table.counts.truth[best]),
                    int(table.counts.activation[unit, place]),
                    int(table.counts.intersection[unit, best]),
                )
        found.append((float(table.score[unit]), own))
    return found


def test_rows_are_stored_by_unit_and_label_0_is_no_concept(tmp_path):
    rows = [ROWS[0], ROWS[1].replace("0.10000000000000001,car", "0.1111111111111111,car", 1)]
    rows[1] = rows[1].replace(
        "object,car,", ",,", 1
    )  # the released code may even name it as the unit's label
    table = read_published(file_of(tmp_path, *rows))
    assert (table.layer, len(table), table.complete) == ("conv5", 2, False)
    assert table.concepts == (Concept(1, "car", "object"), Concept(2, "dotted", "texture"))
    assert table.counts.intersection.tolist() == [[2, 0], [5, 5]]
    assert table.counts.activation.tolist() == [[12, 0], [20, 5]]
    assert table.counts.truth.tolist() == [10, 20]
    assert table.score.tolist() == [0.1, 0.25]
    assert [table.concepts[k].name for k in table.label] == ["car", "dotted"]
    assert table.facts == {"published": "conv5.csv", "unlabeled": {"texture": 1}}
    assert read_published(tmp_path / "conv5.csv", "layer3").layer == "layer3"


def test_categories_are_those_of_the_header_in_its_order(tmp_path):
    header = "unit,category,label,score,mood-label,mood-truth,mood-activation,mood-intersect,mood-iou,note"
    file = file_of(
        tmp_path,
        "1,mood,calm,0.5,calm,2,3.0,2,0.66666666666666663,x".replace("0.5", "0.6666666666666666"),
        header=header,
    )
    assert read_published(file).categories == ("mood",)
    table = table_of(3, listed=PLAIN, seed=1)
    written = lines(write_published(table, tmp_path / "t.csv").read_text())[0]
    assert [name[:-6] for name in written if name.endswith("-label")] == ["object", "part", "weather"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "0.20000000000000001,dotted", "0.21,dotted",
            r"intersect / .truth \+ activation - intersect. = 0.2 in row 2, column `object-iou`",
        ),
        ("20.0", "20.5", r"a whole number of at least 0 in row 2, column `object-activation` .* got `20.5`"),
        ("car,10,20.0", "car,many,20.0", "a number in row 2, column `object-truth` .* got `many`"),
        ("car,10,20.0", "car,-10,20.0", "a whole number of at least 0 in row 2, column `object-truth`"),
        ("car,10,20.0", "car,nan,20.0", "a number in row 2, column `object-truth`"),
        ("dotted,0.25,", "dotted,0.35,", "the highest IoU of the row, 0.25, in row 2, column `score`"),
        ("texture,dotted", "texture,striped", "the label of the row's highest IoU, 0.25, in row 2, column `label`"),
        ("texture,dotted", "object,car", "the label of the row's highest IoU"),
        ("texture,dotted", "tissue,dotted", "one of `object`, `texture` in row 2, column `category` .* `tissue`"),
        ("2,texture", "1,texture", "another unit than those of the rows above in row 3, column `unit`"),
        ("2,texture", "3,texture", "the units 1 to 2 in the 2 rows .* got no unit 2"),
        (",0.25,car", ",car", "14 values in row 2 .* got 13; is the file complete"),
        ("dotted,20,5,5,0.25", "dotted,20,5,5", "14 values in row 2"),
    ],
)  # fmt: skip
def test_numbers_that_disagree(old, new, message, tmp_path):
    good = (ROWS[0], ROWS[1].replace(",,90,0.0,9,0.1111111111111111", ",,0,0.0,0,0"))
    read_published(file_of(tmp_path, *good))
    assert old in good[0]
    with pytest.raises(ValueError, match=f"^Expected {message}"):
        read_published(file_of(tmp_path, good[0].replace(old, new, 1), good[1]))


def test_one_concept_has_one_truth(tmp_path):
    row = "1,object,car,0.1,car,11,11.0,2,0.1,,0,0,0,0"
    with pytest.raises(
        ValueError, match=r"Expected as many pixels of `car` in all rows .* got 11 and 10 .unit 2"
    ):
        read_published(file_of(tmp_path, ROWS[0], row))


def test_files_of_another_layout(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected a unit table, got .* which is not there"):
        read_published(tmp_path / "absent.csv")
    with pytest.raises(ValueError, match=r"Expected the column `unit` once in the header .* got it 0 times"):
        read_published(file_of(tmp_path, header=""))
    for header, name, times in (
        (HEADER.replace("object-iou", "object"), "object-iou", 0),
        (HEADER.replace("score", "unit"), "unit", 2),
        ("unit,category,label,score", "<category>-label", 0),
    ):
        with pytest.raises(ValueError, match=f"Expected the column `{name}` once .* got it {times} times"):
            read_published(file_of(tmp_path, header=header))
    with pytest.raises(ValueError, match="Expected the units 1 to 0 in the 0 rows"):
        read_published(file_of(tmp_path))
    with pytest.raises(ValueError, match="Expected a unit that meets a labeled concept in"):
        read_published(file_of(tmp_path, "1,,,0,,5,0,0,0,,5,0,0,0"))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="Expected a CSV file in UTF-8, got"):
        read_published(tmp_path / "binary.csv")


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 8), st.booleans())
def test_what_is_written_is_read_again(tmp_path_factory, seed, units, concepts, rich):
    table = table_of(units, concepts, seed, largest=12, rich=rich)
    if not table.score.any():
        return
    folder = tmp_path_factory.mktemp("published")
    first = read_published(write_published(table, folder / "one.csv"))
    assert content(first) == content(table)
    assert first.unique("released", 0.2) == table.unique("released", 0.2)
    again = read_published(write_published(first, folder / "one.csv"))
    assert same(again, first)
    (folder / "wide.csv").write_text(to_csv(table), encoding="utf-8", newline="")
    assert same(read_published(folder / "wide.csv").counts, first.counts)


def test_names_of_any_kind(tmp_path):
    names = ['say "cheese"', "a, b", "two\nlines", " padded ", "日本", "=1+1"]
    listed = tuple(Concept(k + 1, name, "o-b, j") for k, name in enumerate(names))
    counts = Counts(np.diag(np.arange(1, 7)), np.full((6, 1), 9), np.full(6, 10))
    table = read_published(write_published(UnitTable("l", listed, counts), tmp_path / "t.csv"))
    assert {concept.name for concept in table.concepts} == set(names)
    assert table.categories == ("o-b, j",)


def test_names_the_layout_could_not_tell_apart(tmp_path):
    for names, got in ((("a", "a"), "2 of `object` called `a`"), (("a", " "), "1 of `object` called ` `")):
        listed = tuple(Concept(k + 1, name, "object") for k, name in enumerate(names))
        with pytest.raises(ValueError, match=f"Expected concepts of a category to have names .* got {got}"):
            write_published(table_of(2, listed=listed), tmp_path / "t.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_sees_nothing_can_be_written(tmp_path):
    counts = Counts(np.array([[0]]), np.array([[4]]), np.array([7]))
    table = UnitTable("l", (Concept(1, "a", "object"),), counts)
    row = lines(write_published(table, tmp_path / "t.csv").read_text())[0]
    assert (row["unit"], row["category"], row["label"], row["score"]) == ("1", "", "", "0.0")
    cells = [row[f"object-{name}"] for name in ("label", "truth", "activation", "intersect", "iou")]
    assert cells == ["", "0", "4.0", "0", "0.0"]


def test_the_wider_table():
    table = table_of(4, listed=PLAIN, seed=3, rich=True)
    rows = lines(to_csv(table))
    assert [int(row["index"]) + 1 for row in rows] == [int(row["unit"]) for row in rows]
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        unit = int(row["index"])
        label, *others = table.candidates(unit, 4)
        concept, honest = table.held_out_score(unit)
        assert (row["label"], float(row["score"])) == (label.concept.name, label.iou)
        assert (float(row["low"]), float(row["high"])) == label.interval
        assert np.float32(row["threshold"]) == table.thresholds[unit]
        assert (row["held_out_concept"], row["held_out_category"]) == (concept.name, concept.category)
        assert float(row["held_out_score"]) == honest
        assert float(row["chance_mean"]) == table.chance_scores[:, unit].mean()
        for rank in (1, 2, 3):
            cells = [row[f"runner_up_{rank}{what}"] for what in ("", "_category", "_score")]
            if rank > len(others):
                assert cells == ["", "", ""]
            else:
                known = others[rank - 1]
                assert [*cells[:2], float(cells[2])] == [
                    known.concept.name,
                    known.concept.category,
                    known.iou,
                ]
    bare = lines(to_csv(table_of(2, listed=PLAIN)))
    assert all(
        row[name] == "" for row in bare for name in ("threshold", "low", "held_out_score", "chance_mean")
    )


def test_parquet_without_a_package_for_it(tmp_path, monkeypatch):
    def absent(name, *rest):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(exporting.importlib, "import_module", absent)
    with pytest.raises(
        ImportError, match=r"Expected pyarrow or duckdb .* try `pip install pellucid\[tables\]`"
    ):
        write_parquet(table_of(), tmp_path / "t.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["pyarrow", "duckdb"])
def test_parquet_holds_what_the_csv_holds(package, tmp_path, monkeypatch):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed; goes with `pip install pellucid[tables]`")
    importer = exporting.importlib.import_module

    def only(name, *rest):
        if name.split(".")[0] in {"pyarrow", "duckdb"} - {package}:
            raise ModuleNotFoundError(name)
        return importer(name, *rest)

    monkeypatch.setattr(exporting.importlib, "import_module", only)
    table = table_of(4, listed=PLAIN, seed=3, rich=True)
    file = write_parquet(table, tmp_path / "it's" / "t.parquet")
    assert [entry.name for entry in file.parent.iterdir()] == ["t.parquet"]
    if package == "pyarrow":
        rows = importer("pyarrow.parquet").read_table(str(file)).to_pylist()
    else:
        found = importer("duckdb").read_parquet(str(file))
        rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    for row, line in zip(rows, lines(to_csv(table)), strict=True):
        assert list(row) == list(line)
        for name, value in row.items():
            assert line[name] == "" if value is None else type(value)(line[name]) == value
