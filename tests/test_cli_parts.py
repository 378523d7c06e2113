"""``pellucid parts``: results, pages, pictures of one's own, runs in one folder, bad input."""

import csv
import json
import re

import numpy as np
import pytest
from tests.commandline import call, network_file, picture, without_seconds

import pellucid as pl
from pellucid.interpretable.parts import load_parts, open_parts
from pellucid.interpretable.parts import parts as measure_parts

LAYERS = ("features.2", "features.30")
FEW = ("--resamples", 10, "--examples", 2, "--parts", "scenes:bird,fish:test/0-5")


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return network_file(tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def finished(net, tmp_path_factory):
    """A finished run over two layers, with two pictures, one of them no picture."""
    folder = tmp_path_factory.mktemp("runs")
    photo, broken = picture(folder / "photos" / "cat.v2.png"), folder / "photos" / "broken.png"
    broken.write_text("no picture")
    code = call("parts", "--net", net, "--layers", *LAYERS[::-1], *FEW, "--images", photo, broken, "scenes:test/3", "--count", 4,
                "--out", folder / "out")  # fmt: skip
    assert code == 1
    return folder / "out"


def test_the_tables_are_those_of_the_library(net, finished):
    source = open_parts("scenes:bird,fish:test/0-5")
    expected = measure_parts(pl.load(net), LAYERS, source, resamples=10, examples=2, progress=False)
    found = load_parts(finished)
    assert set(found) == set(LAYERS)
    for name in LAYERS:
        assert found[name].summary() == expected[name].summary()
        np.testing.assert_array_equal(found[name].spread, expected[name].spread)
    with (finished / "features.30.parts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 128
    assert float(rows[5]["interpretability"]) == expected["features.30"].interpretability()[5]


def test_the_run_says_what_was_done_and_what_not(net, finished):
    facts = json.loads((finished / "run.json").read_text())
    assert facts["command"] == "parts"
    assert facts["finished"] is True
    assert facts["parameters"]["layers"] == list(LAYERS[::-1])
    assert [one["layer"] for one in facts["results"] if "layer" in one] == list(LAYERS), (
        "in the order of the network"
    )
    assert [one["name"] for one in facts["failed"]] == ["broken.png"]
    pages = {
        "index.html",
        "features.2.html",
        "features.30.html",
        "filters-cat.v2.html",
        "filters-scene-test-3.html",
    }
    tables = {f"{layer}.parts.{end}" for layer in LAYERS for end in ("csv", "safetensors")}
    assert set(facts["files"]) == pages | tables
    assert {path.name for path in finished.iterdir()} == pages | tables | {"run.json"}


def test_pages_link_to_one_another(finished):
    index = (finished / "index.html").read_text(encoding="utf-8")
    for name in ("features.2.html", "features.30.html", "filters-cat.v2.html", "filters-scene-test-3.html"):
        assert f'href="{name}"' in index
        assert 'href="index.html"' in (finished / name).read_text(encoding="utf-8")
    assert (
        len(
            re.findall(r"<button type=\"button\" data-filter", (finished / "filters-cat.v2.html").read_text())
        )
        == 8
    )


def test_one_layer_has_one_page_and_a_second_run_takes_its_place(net, tmp_path, capsys):
    for _ in range(2):
        assert call("parts", "--net", net, *FEW, "--objects", "fish", "--out", tmp_path) == 0
    shown = capsys.readouterr().out
    assert "features.30: " in shown
    assert "points at one part" in shown or "point at one part" in shown
    assert "cells of 8 × 8 per picture" in shown
    assert shown.count(f"report: {tmp_path / 'index.html'}") == 2
    assert {path.suffix for path in tmp_path.iterdir()} == {".html", ".json", ".csv", ".safetensors"}
    assert len(list(tmp_path.iterdir())) == 4
    assert load_parts(tmp_path)["features.30"].classes == ("fish",)


def test_the_same_command_writes_the_same_bytes(net, tmp_path):
    for name in "ab":
        assert call("parts", "--net", net, *FEW, "--out", tmp_path / name, "--images", "scenes:test/3") == 0
    for file in (tmp_path / "a").iterdir():
        if file.name != "run.json":
            other = (tmp_path / "b" / file.name).read_bytes()
            assert without_seconds(file.read_bytes()) == without_seconds(other), file.name


def test_a_page_of_someone_elses_is_not_overwritten(net, tmp_path, capsys):
    (tmp_path / "index.html").write_text("mine")
    assert call("parts", "--net", net, *FEW, "--out", tmp_path) == 2
    assert "Expected a folder without a index.html of someone else’s" in capsys.readouterr().err
    assert (tmp_path / "index.html").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "run.json"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--layers", "features.300"), "Expected the name of a layer"),
        (("--layers", "input"), "Expected a layer of"),
        (
            ("--parts", "scenes:brid:test/0-3"),
            "Expected a class of the scenes, got `brid`; did you mean `bird`?",
        ),
        (("--parts", "nowhere"), "Expected a set with parts"),
        (("--objects", "brid"), "Expected a class of the scenes, got `brid`"),
        (("--only", "wnig"), "Expected the name of a part, got `wnig`"),
        (("--split", "test"), "Expected an option of scenes, got `split`"),
        (("--quantile", "2"), "Expected `--quantile` between 0 and 1, got 2.0"),
        (("--most-active", "1"), "Expected `--most-active` to be at least 2, got 1"),
        (("--count", "0"), "Expected `--count` to be at least 1, got 0"),
        (("--per-class", "0"), "Expected `--per-class` to be at least 1, got 0"),
        (("--images", "no-such.png"), "no-such.png"),
    ],
)
def test_nonsense_is_refused_before_anything_is_measured(net, tmp_path, capsys, flags, words):
    given = [*FEW, *flags] if "--parts" not in flags else [*FEW[:4], *flags]
    assert call("parts", "--net", net, *given, "--out", tmp_path / "out") == 2
    complained = capsys.readouterr().err
    assert words in complained
    assert complained.count("\n") == 1 or "note on" in complained
    assert not list((tmp_path / "out").glob("*.parts.*"))


def test_the_help_names_measures_and_settings(capsys):
    assert call("parts", "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in (
        "part interpretability",
        "location instability",
        "--most-active",
        "--regions",
        "scenes:CLASS:SPLIT/FIRST-LAST",
    ):
        assert words in shown
