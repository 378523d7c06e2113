"""What pages about filters and parts must hold, without a browser: true numbers, whole files, names that stay text."""

import dataclasses
import html
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pellucid.data.parts.source import PartKey
from pellucid.interpretable.parts.table import _quantiles
from pellucid.report import interpretable_words as say
from pellucid.report.dissection import Store
from pellucid.report.interpretable import layer_data, write_image_page, write_interpretable


def _load():
    spec = importlib.util.spec_from_file_location("part_tables", Path(__file__).parent / "part_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _load()


@pytest.fixture(scope="module")
def table():
    return made.table()


def read(path):
    """The data of a page, as its script has it."""
    text = path.read_text(encoding="utf-8")
    return json.loads(
        re.search(r'<script type="application/json" id="parts-data">(.*?)</script>', text, re.DOTALL)[1]
    )


def test_the_data_of_a_page_are_the_tables(table):
    data = layer_data(table, Store(made.picture))
    assert [one["index"] for one in data["filters"]] == list(range(made.FILTERS))
    for index in (0, 3, 17):
        one = data["filters"][index]
        part = int(table.best()[index])
        assert one["part"] == part
        assert one["share"] == pytest.approx(table.interpretability()[index], abs=1e-5)
        assert one["clear"] == (table.interpretability()[index] >= 0.5)
        assert one["instability"] == pytest.approx(table.instability[index], abs=1e-5)
        expected = table.spread[index, part]
        assert one["wanders"] == (None if np.isnan(expected) else pytest.approx(expected, abs=1e-5))
        assert one["chance"] == pytest.approx(table.chance_interpretability()[index], abs=1e-5)
        assert one["interval"] == pytest.approx(
            list(table.interval("filter interpretability")[index]), abs=1e-5
        )
        assert [image for image, *_ in one["examples"]] == table.examples.images[index].tolist()
        row, column = table.examples.cells[index, 0]
        assert one["examples"][0][1:3] == [8 + 16 * row, 8 + 16 * column], "from the picture's corner"
        assert one["reach"] is None
    assert set(data["pictures"]) == {str(k) for k in range(20)}
    dead, none = data["filters"][made.DEAD], data["filters"][made.NONE]
    assert dead["part"] is None
    assert dead["instability"] is None
    assert dead["examples"] == []
    assert none["part"] is None
    assert none["instability"] is not None
    assert [name for name, _ in data["parts"]] == [f"{kind} {part}" for kind, part in made.KEYS]


def test_templates_are_in_pixels(table):
    data = layer_data(table, Store(made.picture), made.templates("l1"))
    assert data["norm"] == "l1"
    assert data["filters"][3]["reach"] == pytest.approx([16 * 2.3, 16 * 2.3])
    elsewhere = layer_data(table, Store(made.picture), made.templates(position="centroid"))
    assert elsewhere["filters"][3]["reach"] is None, "its place in a picture is not in the table"
    places = {k: np.full((made.FILTERS, 2), (k % 8, 3)) for k in range(20)}
    known = layer_data(
        table, Store(made.picture), dataclasses.replace(made.templates(position="centroid"), places=places)
    )
    image, *_, y, x = known["filters"][3]["examples"][0]
    assert (y, x) == (8 + 16 * (image % 8), 8 + 16 * 3)
    assert known["filters"][3]["reach"] == pytest.approx([16 * 2.3, 16 * 2.3])


def test_one_layer_is_one_page_and_several_have_an_index(table, tmp_path):
    alone = write_interpretable({"features.30": table}, made.picture, tmp_path / "one")
    assert alone == tmp_path / "one" / "index.html"
    assert [path.name for path in alone.parent.iterdir()] == ["index.html"]
    other = made.table("a/b", seed=1, filters=7)
    index = write_interpretable(
        {"a/b": other, "features.30": table}, made.picture, tmp_path / "two", images=[("x.html", "my cat")]
    )
    assert {path.name for path in index.parent.iterdir()} == {"index.html", "a-b.html", "features.30.html"}
    text = index.read_text(encoding="utf-8")
    for href in ("a-b.html", "features.30.html", "x.html"):
        assert f'href="{href}"' in text
    assert say.share(other.summary()["interpretability"]) in text
    assert say.diagonal(table.summary()["instability"]) in text
    assert read(index.parent / "a-b.html")["layer"] == "a/b"


def test_pages_are_the_same_bytes_every_time(table, tmp_path):
    for name in "ab":
        write_interpretable({"l": table}, made.picture, tmp_path / name, templates={"l": made.templates()})
    assert (tmp_path / "a" / "index.html").read_bytes() == (tmp_path / "b" / "index.html").read_bytes()


def test_a_page_asks_for_nothing(table, tmp_path):
    write_interpretable({"l": table}, made.picture, tmp_path)
    write_image_page(made.picture(1), "cat", {"l": made.here(table)}, {"l": table}, tmp_path / "image.html")
    for name in ("index.html", "image.html"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "default-src 'none'" in html.unescape(text)
        assert not re.findall(r'(?:src|href)="(?!data:|#)[a-z]+:', text)
        assert " style=" not in text, "the page's own policy would not have it"


def test_names_stay_text(table, tmp_path):
    keys = (PartKey(made.AWKWARD, made.AWKWARD), *made.KEYS[1:])
    facts = made.FACTS | {"network": {"name": made.AWKWARD}, "parts": {"name": made.AWKWARD}}
    awkward = dataclasses.replace(table, keys=keys, layer=made.AWKWARD, facts=facts)
    write_interpretable(
        {made.AWKWARD: awkward, "b": awkward}, made.picture, tmp_path, images=[("i.html", made.AWKWARD)]
    )
    found = made.here(awkward)
    write_image_page(
        made.picture(1), made.AWKWARD, {"b": found}, {"b": awkward}, tmp_path / "i.html", index="index.html"
    )
    for path in tmp_path.iterdir():
        assert "<script>alert" not in path.read_text(encoding="utf-8"), path.name
        assert "49" not in re.findall(r"&amp;amp;(.{2})", path.read_text(encoding="utf-8"))


def test_the_page_of_a_picture_shows_every_filter_with_its_part(table, tmp_path):
    found = made.here(table, 5, "l2")
    path = write_image_page(
        made.picture(2), "cat.jpg", {"l": found}, {"l": table}, tmp_path / "cat.html", index="index.html"
    )
    text = path.read_text(encoding="utf-8")
    assert text.count('<button type="button" data-filter') == 5
    for one in found:
        assert f'data-filter="{one.index}"' in text
        assert say.about(one) in text
        y, x = one.center
        assert f'cx="{x + 0.5}" cy="{y + 0.5}"' in text
    assert "M88.0 8.0A32.0 32.0" in text, "the first template, a disk of two cells around (0, 7)"
    assert "outside, its map is set to zero" in text
    assert 'href="index.html"' in text
    chosen = say.first(found)
    pressed = re.findall(r'data-filter="(\d+)" aria-pressed="true"', text)
    assert pressed == [str(chosen.index)]
    diamond = write_image_page(
        made.picture(2), "cat", {"l": made.here(table, 1, "l1")}, {"l": table}, tmp_path / "d.html"
    ).read_text(encoding="utf-8")
    assert "M88.0 8.0L120.0 -24.0L152.0 8.0" in diamond
    plain = write_image_page(
        made.picture(2), "cat", {"l": made.here(table, 1)}, {"l": table}, tmp_path / "p.html"
    )
    assert "dashed square" in plain.read_text(encoding="utf-8")


def test_a_picture_in_which_no_filter_answers(table, tmp_path):
    path = write_image_page(made.picture(2), "fog", {"l": []}, {"l": table}, tmp_path / "fog.html")
    assert "No filter answers in this picture." in path.read_text(encoding="utf-8")


def test_what_cannot_be_shown_is_said(table, tmp_path):
    with pytest.raises(ValueError, match="Expected at least one table, got none; try `measure_parts` first"):
        write_interpretable({}, made.picture, tmp_path)
    with pytest.raises(ValueError, match="Expected filters and parts for `l`, got 50 filters and 0 parts"):
        write_interpretable({"l": dataclasses.replace(table, keys=())}, made.picture, tmp_path)
    with pytest.raises(ValueError, match="Expected a table for every layer, got none for `m`"):
        write_image_page(made.picture(1), "cat", {"m": made.here(table)}, {"l": table}, tmp_path / "i.html")
    assert not list(tmp_path.iterdir())


def test_the_headline_counts_filters_that_point_at_one_part(table):
    many = int((np.nan_to_num(table.interpretability()) >= 0.5).sum())
    assert say.headline(table) == f"{many} of 50 filters point at one part"
    none = dataclasses.replace(table, probability={"upsampled": table.probability["upsampled"] * 0.1})
    assert say.headline(none) == "None of the 50 filters points at one part"
    one = table.probability["upsampled"] * 0.1
    one[4] = 0.9
    assert (
        say.headline(dataclasses.replace(table, probability={"upsampled": one}))
        == "1 of 50 filters points at one part"
    )
    counted = sum(row.filters for _, rows, _ in say.groups(table) for row in rows)
    assert counted == many
    assert [kind for kind, _, _ in say.groups(table)] == ["bird", "car"]


def test_a_table_without_chance_draws_or_examples_has_a_page(table, tmp_path):
    bare = dataclasses.replace(
        table, chance_probability={}, chance_spread=None, center_spread=None, draws={}, examples=None
    )
    data = read(write_interpretable({"l": bare}, made.picture, tmp_path))
    assert data["pictures"] == {}
    assert data["filters"][0]["interval"] is None
    assert data["filters"][0]["chance"] is None
    assert all(
        "95" not in tile.note and "swapped" not in tile.note and "still" not in tile.note
        for tile in say.tiles(bare)
    )


def test_lengths_and_shares_in_words():
    assert say.share(1.0) == "100\N{NO-BREAK SPACE}%"
    assert say.share(0.0) == "0\N{NO-BREAK SPACE}%"
    assert say.share(None) == say.diagonal(float("nan")) == "–"
    assert say.named(PartKey("cargo ship", "hull")) == "cargo ship hull"


@settings(deadline=None, max_examples=40)
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 9), st.integers(1, 4)),
        elements=st.floats(-5, 5) | st.just(np.nan),
    )
)
def test_intervals_pass_over_draws_that_are_not_known(draws):
    found = _quantiles(draws, 0.1)
    for column, (low, high) in zip(draws.T, found.T, strict=True):
        known = column[np.isfinite(column)]
        expected = np.quantile(known, [0.1, 0.9]) if len(known) else [np.nan, np.nan]
        np.testing.assert_allclose([low, high], expected, atol=1e-12)
