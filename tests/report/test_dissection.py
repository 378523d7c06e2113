"""What pages of dissected layers must hold, without a browser: true numbers, whole files, names that stay text."""

import base64
import hashlib
import importlib.util
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import pellucid.report
from pellucid.data.concepts.base import Concept
from pellucid.data.images import ImageError
from pellucid.dissection.counts import Counts
from pellucid.dissection.table import UnitTable
from pellucid.report import dissection_words as say
from pellucid.report.dissection import BUDGET, Store, file_names, layer_data, runs, side_for, write_dissection
from pellucid.report.dissection_compare import differences, lines, write_comparison
from pellucid.visualization.result import Stored

STATIC = Path(pellucid.report.__file__).parent / "static"


def _load():
    spec = importlib.util.spec_from_file_location("unit_tables", Path(__file__).parent / "unit_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _load()
Page, tiny = made.Page, made.tiny


@pytest.fixture(scope="module")
def table():
    return made.table()


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dissection")
    tables = {"layer1": made.table("layer1", seed=1, strength=0.2), "features[3]/relu": table}
    assert write_dissection(tables, made.picture, folder) == folder / "index.html"
    write_comparison(tables, folder)
    return folder


def runs_back(encoded, shape):
    """Another way from run lengths to a mask: one number after the other, low bits first."""
    bits, inside, length, shift = [], False, 0, 0
    for byte in base64.b64decode(encoded):
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            bits += [inside] * length
            inside, length, shift = not inside, 0, 0
    return np.array(bits, bool).reshape(shape)


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_run_lengths_hold_the_mask(mask):
    assert (runs_back(runs(mask), mask.shape) == mask).all()


def test_a_run_longer_than_a_byte_and_an_empty_mask():
    assert base64.b64decode(runs(np.zeros((20, 20), bool))).hex() == "9003"  # 400 = 0b11 0010000
    assert base64.b64decode(runs(np.ones((1, 3), bool))).hex() == "0003"
    assert runs(np.zeros((0, 5), bool)) == ""


def test_the_numbers_of_a_small_table_by_hand():
    table = tiny()
    data = layer_data(table, Store(made.picture), 0.04)
    assert [unit["iou"] for unit in data["units"]] == [0.5, 0.25, 0.04, 0]
    assert [unit["detector"] for unit in data["units"]] == [
        True,
        True,
        False,
        False,
    ]  # above, not at, the limit
    assert [unit["concept"] for unit in data["units"]] == [0, 1, 0, 0]
    assert [unit["silent"] for unit in data["units"]] == [False, False, False, True]
    assert data["units"][1]["others"] == [[2, pytest.approx(30 / 140, abs=1e-5)]]
    assert data["units"][0]["held"] is data["units"][0]["chance"] is data["units"][0]["interval"] is None
    assert data["top"] == 0.5
    values = {tile.label: tile.value for tile in say.tiles(table, 0.04)}
    assert values["units"] == "4"
    assert values["detectors"] == values["different concepts"] == "2"
    assert values["by the paper’s count"] == "3"  # red is the best color of unit 1
    assert values["detectors by chance"] == values["hold on unseen pictures"] == "–"
    groups = say.groups(table, 0.04)
    assert [(group.name, group.detectors, group.unique) for group in groups] == [
        ("object", 2, 2),
        ("color", 0, 0),
    ]
    assert [(row.name, row.units, row.best) for row in groups[0].rows] == [("sky", 1, 0.5), ("sea", 1, 0.25)]
    assert say.headline(table, 0.04) == "2 of 4 units detect 2 different concepts."
    assert say.headline(table, 0.3) == "1 of 4 units detects one concept."
    assert say.headline(table, 0.9) == "None of 4 units detects a concept."


def test_a_page_says_what_the_table_counts(table, folder):
    page = Page(folder / "features-3-relu.html")
    found = int(table.detectors().sum())
    assert f"{found} of 64 units detect {table.unique('top-label')} different concepts." in page.words
    kept = int((table.detectors() & (table.held_out_scores > 0.04)).sum())
    assert f"hold on unseen pictures {kept} of {found}" in page.words
    assert 0 < kept < found
    assert f"detectors by chance {table.expected_by_chance():.1f}".rstrip("0").rstrip(".") in page.words
    assert "in 1,000 pictures where it is most active (its top 0.5\xa0%)" in page.text
    units = page.data()["units"]
    assert [unit["unit"] for unit in units] == list(range(64))
    for unit in units[:-3]:
        detection = table.detection(unit["unit"])
        assert unit["iou"] == pytest.approx(detection.iou, abs=1e-5)
        assert unit["interval"] == pytest.approx(detection.interval, abs=1e-5)
        concept, value = table.held_out_score(unit["unit"])
        assert table.concepts[unit["held"][0]] is concept
        assert unit["held"][1] == pytest.approx(value, abs=1e-5)
        assert unit["chance"] == pytest.approx(table.chance_scores[:, unit["unit"]].mean(), abs=1e-5)
    rows = [a["data-concept"] for tag, a in page.elements if tag == "button" and "data-concept" in a]
    assert sorted(map(int, rows)) == np.unique(table.label[table.detectors()]).tolist()


def test_pictures_are_stored_once_and_masks_come_back(table, folder):
    data = Page(folder / "features-3-relu.html").data()
    shown = {image for unit in data["units"] for image, _, _ in unit["examples"]}
    assert {int(key) for key in data["pictures"]} == shown == set(table.examples.images[:-2].flat)
    for key, encoded in data["pictures"].items():
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as small:
            assert (small.format, small.size) == ("JPEG", (112, 112))
            true = made.picture(int(key)).resize((8, 8), Image.Resampling.BOX)
            assert (
                np.abs(np.asarray(small.resize((8, 8), Image.Resampling.BOX), int) - np.asarray(true)).max()
                < 40
            )
    assert data["units"][-1]["examples"] == []
    image, peak, mask = data["units"][5]["examples"][2]
    assert image == table.examples.images[5, 2]
    assert peak == pytest.approx(table.examples.maxima[5, 2], rel=1e-3)
    assert (runs_back(mask, data["grid"]) == table.examples.masks[5, 2]).all()


def test_a_picture_is_asked_for_once_for_all_layers(tmp_path, table):
    asked = []
    write_dissection(
        {"a": table, "b": table}, lambda index: (asked.append(index), made.picture(index))[1], tmp_path
    )
    assert len(asked) == len(set(asked)) == len(set(table.examples.images[:-2].flat))


def test_a_wide_layer_stays_small(tmp_path):
    noise = np.random.default_rng(0)

    def busy(index):  # no photograph is harder to compress
        return Image.fromarray(noise.integers(0, 256, (64, 64, 3), dtype=np.uint8)).resize((112, 112))

    wide = made.table(units=512, images=20_000, side=112)
    write_dissection({"wide": wide}, busy, tmp_path)
    assert len(Page(tmp_path / "wide.html").data()["pictures"]) > 2300
    assert (tmp_path / "wide.html").stat().st_size < 15e6
    assert side_for(2560) < side_for(600) == 112
    assert 2560 * 4 / 3 * (620 + 0.3 * side_for(2560) ** 2) <= BUDGET


def painted(folder, units, layer="layer", ratio=2.5, status="ok", side=128):
    """Pictures of noise for units of a layer, as `pellucid.visualization.stored` finds them."""
    found = {}
    for unit in units:
        file = folder / f"{unit}.png"
        noise = np.random.default_rng(unit).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, compress_level=0)
        found[f"{layer}:{unit}"] = Stored(file, f"{layer}:{unit}", status, ratio, "pyramid")
    return found


def test_painted_pictures_come_with_their_units(tmp_path):
    given = painted(tmp_path, [2]) | painted(tmp_path, [0], status="never active", ratio=None)
    given |= painted(tmp_path, [1], ratio=0.998) | painted(tmp_path, [3], layer="elsewhere")
    write_dissection({"a": tiny()}, made.picture, tmp_path / "out", painted=given)
    page = Page(tmp_path / "out" / "a.html")
    units = page.data()["units"]
    assert [unit.get("painted", [None])[1:] for unit in units] == [
        ["failed: never active", "painted, but never active: this is not what it wants to see"],
        ["0.99 ×", "painted, but only 0.99 × the best real picture"],
        ["2.5 ×", "what it wants to see: 2.5 × the best real picture"],
        [],
    ]
    with Image.open(io.BytesIO(base64.b64decode(units[2]["painted"][0]))) as small:
        assert (small.format, small.size) == ("JPEG", (112, 112))
    assert "Painted: a picture made to excite the unit (pyramid)" in page.words
    write_dissection({"a": tiny()}, made.picture, tmp_path / "bare", painted={})
    assert "Painted" not in Page(tmp_path / "bare" / "a.html").words


def test_painted_pictures_share_the_budget_of_a_page(tmp_path):
    wide = made.table(units=512, images=20_000, side=112)
    given = painted(tmp_path, range(512), layer=wide.layer)
    data = layer_data(wide, Store(lambda index: Image.new("RGB", (112, 112))), 0.04, given)
    sides = set()
    for unit in data["units"]:
        with Image.open(io.BytesIO(base64.b64decode(unit["painted"][0]))) as small:
            sides.add(small.size)
    assert sides == {(side_for(len(data["pictures"]) + 512),) * 2}
    assert side_for(len(data["pictures"]) + 512) < side_for(len(data["pictures"])) < 112
    assert sum(len(unit["painted"][0]) for unit in data["units"]) < 15e6 - BUDGET, "also where all is noise"


def test_a_painted_file_that_is_no_picture(tmp_path):
    given = painted(tmp_path, [2])
    (tmp_path / "2.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="Expected"):
        write_dissection({"a": tiny()}, made.picture, tmp_path / "out", painted=given)


def test_the_pages_ask_for_nothing_and_run_only_our_own(folder):
    pages = sorted(folder.iterdir())
    assert [path.name for path in pages] == [
        "comparison.html",
        "features-3-relu.html",
        "index.html",
        "layer1.html",
    ]
    for path in pages:
        page = Page(path)
        (policy,) = [
            a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"
        ]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for tag, attributes, text in page.raw:
            if "type" not in attributes:
                digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
                assert f"{tag}-src 'sha256-{digest}'" in policy
        for tag, attributes in page.elements:
            assert not any(name.startswith("on") or name == "style" for name in attributes), tag
            for name in ("src", "href", "action", "srcset", "data"):
                target = (attributes.get(name) or "").partition("#")[0]
                local = target == "" or target.startswith("data:") or (folder / target).is_file()
                assert local, target
    assert not re.search(r"@import|url\(", (STATIC / "dissection.css").read_text())


@settings(max_examples=15, deadline=None)
@given(
    name=st.text(min_size=1, max_size=30)
    | st.sampled_from(["</script>", "<!--<script>", made.AWKWARD, "\u2028"])
)
def test_no_name_changes_the_structure_of_a_page(name, tmp_path_factory):
    def tags(text):
        folder = tmp_path_factory.mktemp("names")
        known = (Concept(1, text, "a" + text), Concept(2, "sea", "b"), Concept(7, "red", "c", (text,)))
        facts = {"network": {"name": text}, "concepts": {"name": text, "images": 3}, "settings": {text: text}}
        table = replace(tiny(), concepts=known, layer=text, facts=facts)
        counts = Counts(table.counts.intersection, np.full((4, 3), 200), table.counts.truth)
        table = replace(table, counts=counts)
        write_dissection({text: table}, made.picture, folder / "pages", title=text)
        write_comparison({text: table, text + "2": table}, folder / "pages" / "both.html", title=text)
        pages = [Page(path) for path in sorted((folder / "pages").iterdir())]
        return pages, sorted(tuple(tag for tag, _ in page.elements) for page in pages)

    pages, found = tags(name)
    assert found == tags("x")[1]
    (page,) = [page for page in pages if any(a.get("id") == "dissection-data" for _, a in page.elements)]
    assert page.data()["concepts"] == [[name, 0], ["sea", 1], ["red", 2, [name]]]


def test_awkward_names_are_shown_as_they_are(tmp_path):
    known = (Concept(1, made.AWKWARD, made.AWKWARD), *tiny().concepts[1:])
    counts = Counts(tiny().counts.intersection, np.full((4, 3), 200), tiny().counts.truth)
    table = replace(tiny(), concepts=known, counts=counts, layer=made.AWKWARD)
    write_dissection({made.AWKWARD: table}, made.picture, tmp_path)
    (path,) = set(tmp_path.iterdir()) - {tmp_path / "index.html"}
    page = Page(path)
    assert page.text.count(made.AWKWARD) >= 4
    assert page.data()["concepts"][0][0] == made.AWKWARD
    assert made.AWKWARD in Page(tmp_path / "index.html").text


@given(
    st.lists(
        st.text(max_size=12) | st.sampled_from(["index", "INDEX", "aux.conv", "a/b", "a[b", ".."]), max_size=8
    )
)
def test_file_names_are_safe_and_different(layers):
    files = file_names(layers)
    assert len({name.lower() for name in files} | {"index.html"}) == len(layers) + 1
    for name in files:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*\.html", name)
        assert name.lower().partition(".")[0] not in {"aux", "con", "nul", "prn", "com1", "lpt9"}


def test_names_of_layers_stay_readable():
    assert file_names(["layer4.1.conv2", "features[12]/relu", "aux.conv", "a/b", "a b"]) == [
        "layer4.1.conv2.html",
        "features-12-relu.html",
        "aux-2.conv.html",
        "a-b.html",
        "a-b-2.html",
    ]


def test_the_index_sets_the_layers_side_by_side(table, folder):
    page = Page(folder / "index.html")
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    assert set(links) == {"layer1.html", "features-3-relu.html"}
    assert page.words.index("layer1") < page.words.index("features[3]/relu")
    mean = float(table.held_out_scores.mean())
    row = f"features[3]/relu 64 {table.detectors().sum()} {table.expected_by_chance():.1f} {table.unique('top-label')}"
    assert f"{row} {table.unique('released')} {mean:.3f} {', '.join(say.clearest(table, 0.04))}" in page.words
    widths = {}
    for tag, attributes in page.elements:
        if attributes.get("class") == "stack":
            label = attributes["aria-label"]
            widths[label] = 0.0
        elif tag == "rect" and attributes["class"].startswith("shade"):
            widths[label] += float(attributes["width"])
    assert max(widths.values()) == pytest.approx(100, abs=0.01)  # the richest layer fills its bar
    share = 100 * float(table.detectors().mean())
    assert any(width == pytest.approx(share, abs=0.01) for width in widths.values())


def test_a_table_may_know_next_to_nothing(tmp_path):
    """As a published table: no pictures, no chance, nothing held out, no facts."""
    write_dissection({"conv5": tiny(complete=False, facts={"published": "some.csv"})}, made.picture, tmp_path)
    page = Page(tmp_path / "conv5.html")
    assert "This is a published table" in page.text
    assert "many pictures" in page.text
    assert "some.csv" in page.text
    assert "an unnamed network" in page.text
    assert page.data()["pictures"] == {}
    assert "Detected by no unit: any color." in page.words
    for text in (page.text, Page(tmp_path / "index.html").text):
        assert not re.search(r"\bNone\b(?! of)|\bnan\b|Undefined", text)


def test_gained_and_lost_by_hand():
    one, other = tiny(), tiny()
    swapped = Counts(
        one.counts.intersection[:, [2, 1, 0]], one.counts.activation[:, ::-1] + 100, one.counts.truth
    )
    other = replace(other, counts=swapped)
    found = {line.name: line for line in lines({"one": one, "other": other})}
    assert [found[name].detected(0) for name in ("sky", "sea")] == [True, True]
    assert found["sky"].cells[0].unit == 0
    assert found["sky"].cells[0].units == 1
    assert found["red"].cells[1].unit == 0
    assert found["red"].cells[1].iou == pytest.approx(50 / (150 + 100 - 50))
    assert found["red"].detected(1)
    assert not found["red"].detected(0)
    assert found["red"].found == 1


def test_a_comparison_says_who_detects_what(tmp_path):
    strong, weak = made.table(seed=0), made.table(seed=3, strength=0.25)
    path = write_comparison(
        {"weak": weak, "strong": strong}, tmp_path / "c.html", pages={"strong": "layer3.html"}
    )
    page = Page(path)
    labels = [
        {table.concepts[k].name for k in np.unique(table.label[table.detectors()])}
        for table in (weak, strong)
    ]
    both, alone = labels[0] & labels[1], (len(labels[0] - labels[1]), len(labels[1] - labels[0]))
    assert (
        f"{len(both)} concepts in both; {alone[0]} only in weak and {alone[1]} only in strong." in page.words
    )
    assert f"Only in strong: {alone[1]} concept" in page.words
    assert min(len(both), *alone) > 0
    hrefs = [a["href"] for tag, a in page.elements if tag == "a"]
    assert any(re.fullmatch(r"layer3\.html#unit-\d+", href) for href in hrefs)
    assert not any(href.startswith("#") for href in hrefs)
    three = Page(write_comparison({"a": weak, "b": strong, "c": weak}, tmp_path / "three.html"))
    assert "concepts in all 3; none only in a" in three.words


def test_what_makes_sides_hard_to_compare_is_said(tmp_path):
    one = made.table(units=8)
    facts = {
        **made.FACTS,
        "concepts": {"name": "broden", "sha256": "cd"},
        "settings": {"quantile": 0.01, "seed": 0},
    }
    other = replace(one, facts=facts)
    found = differences({"one": one, "other": other})
    assert "The sides were measured on different pictures: scenes:val/0-999 and broden." in found
    assert "The sides differ in share of activations above the threshold: 0.005 and 0.01." in found
    assert "The sides know different concepts." in differences({"one": one, "tiny": tiny()})
    assert differences({"one": one, "same": one}) == ()
    page = Page(write_comparison({"one": one, "other": other, "tiny": tiny()}, tmp_path))
    assert "not in its vocabulary" in page.text
    assert page.words.index("different pictures") < page.words.index("By category")


def test_an_interrupted_write_leaves_the_old_files(tmp_path, monkeypatch, table):
    write_dissection({"a": table}, made.picture, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_dissection({"a": made.table(seed=5)}, made.picture, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_errors_say_what_was_expected(tmp_path, table):
    with pytest.raises(ValueError, match="Expected at least one table, got none; try"):
        write_dissection({}, made.picture, tmp_path / "x")
    with pytest.raises(ValueError, match=r"Expected a threshold from 0 to below 1, got 1.5; try 0.04"):
        write_dissection({"a": table}, made.picture, tmp_path / "x", threshold=1.5)
    empty = UnitTable("none", table.concepts, Counts.zeros(0, len(table.concepts), len(table.categories)))
    with pytest.raises(
        ValueError, match="Expected units and concepts for `none`, got 0 units and 40 concepts"
    ):
        write_dissection({"none": empty}, made.picture, tmp_path / "x")
    with pytest.raises(ValueError, match="Expected at least two tables to compare, got 1"):
        write_comparison({"a": table}, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_colors_of_categories_are_kept_and_different():
    assert say.shades(["scene", "thing", "object"]) == {"scene": 2, "object": 0, "thing": 1}
    many = [f"c{k}" for k in range(12)]
    assert len(set(list(say.shades(many).values())[:10])) == 10
    assert set(say.shades([*many, "part"]).values()) <= set(range(10))
    assert say.shades(["a", "part"])["a"] != say.shades(["a", "part"])["part"]
