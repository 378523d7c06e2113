"""``pellucid dissect``: results, problems of a set, interruption, runs already there, comparison, bad input."""

import json
import shutil
import signal

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tests.bundles import facts_of
from tests.commandline import call, network_file, picture, zero
from tests.processes import interrupted, stopped

import pellucid as pl
from pellucid.dissection import load, read_published, save, summarized, to_csv
from pellucid.dissection.table import THRESHOLD
from pellucid.speech.text import times

LAYERS = ("features.2", "features.9")
FEW = ("--resamples", 10, "--examples", 2)
SETTINGS = {"resamples": 10, "examples": 2}


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return network_file(tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def tables(net):
    """What the library finds on the scenes of `finished`."""
    return pl.dissect(pl.load(net), "scenes:val/0-19", LAYERS, progress=False, **SETTINGS)


@pytest.fixture(scope="module")
def finished(net, tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    assert dissected(net, folder) == 0
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def dissected(net, out, *more, scenes="0-19", layers=LAYERS):
    given = ("--net", net, "--concepts", f"scenes:val/{scenes}", "--layers", *layers, *FEW)
    return call("dissect", *given, "--out", out, *more)


def run_of(folder):
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def stored(folder):
    """The bytes of all tables of a folder."""
    files = [file for file in folder.iterdir() if file.suffix in (".safetensors", ".csv")]
    return {file.name: file.read_bytes() for file in files}


def refused(capsys, *arguments):
    assert call(*arguments) == 2
    printed, complaint = capsys.readouterr()
    assert not printed
    line = complaint.splitlines()[-1]
    assert line.startswith("pellucid: Expected ")
    return line


# ---- results


def test_tables_are_those_of_the_library(finished, tables, tmp_path):
    for layer, table in tables.items():
        save(table, tmp_path, layer)
        ours, theirs = (folder / f"{layer}.safetensors" for folder in (finished, tmp_path))
        assert ours.read_bytes() == theirs.read_bytes()
        assert (finished / f"{layer}.csv").read_text(encoding="utf-8") == to_csv(table)
        published = read_published(finished / f"{layer}.published.csv")
        np.testing.assert_allclose(published.score, table.score)
        assert f"{layer}.html" in (finished / "index.html").read_text(encoding="utf-8")
    assert not (finished / "unfinished").exists()


def test_the_run_is_described(finished, tables):
    run = run_of(finished)
    assert (run["command"], run["finished"], run["problems"]) == ("dissect", True, [])
    assert run["network"]["sha256"] == tables["features.2"].facts["network"]["sha256"]
    assert run["concepts"] == tables["features.2"].facts["concepts"]
    assert run["settings"]["resamples"] == 10
    assert set(run["files"]) == {file.name for file in finished.iterdir()} - {"run.json"}
    for row in run["results"]:
        table = tables[row["layer"]]
        assert row["detectors"] == int((table.score > THRESHOLD).sum())
        assert (row["unique"], row["unique_top_label"]) == (
            table.unique("released"),
            table.unique("top-label"),
        )
        assert row["held_out_detectors"] == int((table.held_out_scores > THRESHOLD).sum())
        assert row["expected_by_chance"] == float((table.chance_scores > THRESHOLD).sum(1).mean())


def test_what_is_printed(net, tables, tmp_path, capsys):
    small = tmp_path / "small"
    assert dissected(net, tmp_path / "out", "--draws", 0, "--summary", small) == 0
    printed, complaint = capsys.readouterr()
    assert not complaint
    head, *rows = printed.splitlines()
    assert head.split("  ")[0] == "layer"
    for row, (layer, table) in zip(rows, tables.items(), strict=False):
        assert row.split()[:4] == [layer, str(len(table)), str(int(table.detectors().sum())), "–"]
    assert printed.endswith(f"report: {tmp_path / 'out' / 'index.html'}\n")
    for layer, table in load(tmp_path / "out").items():
        save(summarized(table), tmp_path / "expected", layer)
    assert stored(small) == stored(tmp_path / "expected")
    assert len(stored(small)) == 2


def test_problems_of_a_set_are_listed(net, tmp_path, capsys):
    for k in range(6):
        picture(tmp_path / "set" / f"{k}.png", (64, 64), seed=k)
        Image.fromarray(np.full((64, 64), k % 2 + 1, np.uint8)).save(tmp_path / "set" / f"mask{k}.png")
    for k in range(4):
        (tmp_path / "set" / f"{k}.png").write_bytes(b"no picture")
    rows = "".join(f"{k}.png,mask{k}.png\n" for k in range(6))
    (tmp_path / "set" / "index.csv").write_text("image,mask\n" + rows)
    (tmp_path / "set" / "labels.csv").write_text("label_id,name\n1,one\n2,two\n")
    out = tmp_path / "out"
    given = ("--net", net, "--concepts", tmp_path / "set", "--layers", "features.2", "--out", out)
    assert call("dissect", *given) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("pellucid: problem in the set: ") for line in lines[:3])
    assert lines[3].startswith("pellucid: 1 more problems in the set; ")
    problems = run_of(out)["problems"]
    assert sorted(one["name"] for one in problems) == [f"{k}.png" for k in range(4)]
    assert call("dissect", *given) == 0
    assert run_of(out)["problems"] == problems, "known problems stay when only the pages are made again"


# ---- runs that are there


def test_a_finished_run_gets_its_pages_again(net, copy, capsys):
    before = {file.name: file.read_bytes() for file in copy.glob("*.html")}
    times = {file: file.stat().st_mtime_ns for file in copy.glob("*.safetensors")}
    (copy / "index.html").unlink()
    assert dissected(net, copy) == 0
    said = capsys.readouterr().err
    assert (
        said == f"pellucid: 2 of 2 tables of this run are finished in {copy}; only the pages are made again\n"
    )
    assert {file.name: file.read_bytes() for file in copy.glob("*.html")} == before
    assert {file: file.stat().st_mtime_ns for file in copy.glob("*.safetensors")} == times


def test_another_layer_joins_a_finished_run(net, finished, copy, capsys):
    for file in copy.glob("features.2.*"):
        file.unlink()
    assert dissected(net, copy, layers=("features.2",)) == 0
    assert "1 of 2 tables of this run are finished" in capsys.readouterr().err
    assert stored(copy) == stored(finished)
    assert [row["layer"] for row in run_of(copy)["results"]] == list(LAYERS)


def test_tables_of_another_run_are_never_overwritten(net, copy, capsys):
    before = stored(copy)
    assert "quantile 0.005, here 0.01" in refused(
        capsys, "dissect", "--net", net, "--concepts", "scenes:val/0-19", *FEW, "--quantile", 0.01, "--out", copy
    )  # fmt: skip
    line = refused(capsys, "dissect", "--concepts", "scenes:val/0-19", *FEW, "--out", copy)
    assert "with tables of another (the network " in line
    assert line.endswith("try another `--out`.")
    assert "concepts with name scenes:val/0-19, here scenes:val/0-9" in refused(
        capsys, "dissect", "--net", net, "--concepts", "scenes:val/0-9", *FEW, "--out", copy
    )
    assert stored(copy) == before


def test_files_of_others_are_never_overwritten(net, tmp_path, capsys):
    (tmp_path / "features.2.csv").write_text("mine")
    given = (
        "dissect",
        "--net",
        net,
        "--concepts",
        "scenes:val/0-3",
        "--layers",
        "features.2",
        "--out",
        tmp_path,
    )
    assert "`features.2.html` and the tables beside it" in refused(capsys, *given)
    assert (tmp_path / "features.2.csv").read_text() == "mine"


# ---- interruption


def given(net, out, scenes):
    return ("dissect", "--net", net, "--concepts", scenes, "--layers", *LAYERS, *FEW, "--out", out)


def test_a_stopped_run_goes_on_and_gives_the_same_bytes(net, tmp_path, capsys):
    scenes, out = "scenes:val/0-383", tmp_path / "stopped"
    unfinished = out / "unfinished"
    first = unfinished / "shard-00000.safetensors"
    code, *_ = stopped(
        signal.SIGKILL, "*/shard-00000.safetensors", tmp_path / "now", *given(net, out, scenes)
    )
    assert code == -signal.SIGKILL
    assert not run_of(out)["finished"]
    made = first.stat().st_mtime_ns
    code, _, complaint = interrupted("*/shard-00001.safetensors", tmp_path / "now", *given(net, out, scenes))
    assert code == 130
    done = sum(len(load_file(shard)["indices"]) for shard in unfinished.glob("shard-*"))
    assert 0 < done <= 384
    assert complaint.splitlines() == [
        f"pellucid: going on with the unfinished run in {out}",
        f"pellucid: stopped. {done} of 384 pictures are looked at; the same command goes on from there.",
    ]
    assert first.stat().st_mtime_ns == made, "what was finished is not done again"
    assert dissected(net, out, scenes="0-383") == 0
    assert dissected(net, tmp_path / "straight", scenes="0-383") == 0
    assert stored(out) == stored(tmp_path / "straight")
    assert len(stored(out)) == 6
    assert not unfinished.exists()


def test_problems_found_before_a_stop_are_remembered(tmp_path):
    from pellucid.commands.dissect_results import remember_problems
    from pellucid.core.run import RunDirectory
    from pellucid.world.concepts import SceneConcepts

    before, after = (SceneConcepts.of(3) for _ in range(2))
    directory = RunDirectory(tmp_path, "dissect", {})
    remember_problems(before, directory)
    before.report("a.png", "Expected a picture, got ∅.")
    before.report("a.png", "Expected a picture, got ∅.")
    directory.close()
    with (directory.unfinished / "journal.jsonl").open("a") as stream:
        stream.write('{"remark":["b.png", "Exp')  # killed while writing
    with RunDirectory(tmp_path, "dissect", {}) as directory:
        remember_problems(after, directory)
        assert [(one.where, one.reason) for one in after.problems] == [
            ("a.png", "Expected a picture, got ∅.")
        ]


# ---- comparison


def test_layers_of_a_run_are_compared(finished, tmp_path, capsys):
    assert call("dissect", "--compare", finished, "--out", tmp_path) == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert list(found["tables"]) == list(LAYERS)
    assert (tmp_path / "comparison.md").read_text(encoding="utf-8") in printed + "\n"
    assert "features.9" in (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert printed.endswith(f"report: {tmp_path / 'comparison.html'}\n")


def test_runs_are_compared_by_their_last_layer_or_those_named(finished, copy, tmp_path, capsys):
    assert call("dissect", "--compare", finished, copy, "--out", tmp_path / "c") == 0
    found = json.loads((tmp_path / "c" / "comparison.json").read_text(encoding="utf-8"))
    assert list(found["tables"]) == ["one: features.9", "copy: features.9"]
    assert found["changes"] == [
        {"name": "copy: features.9", "against": "one: features.9", "gained": [], "lost": []}
    ]
    given = ("--compare", finished, copy, "--layers", *LAYERS, "--out", tmp_path / "c")
    assert call("dissect", *given) == 0
    found = json.loads((tmp_path / "c" / "comparison.json").read_text(encoding="utf-8"))
    assert len(found["tables"]) == 4
    capsys.readouterr()


def test_a_comparison_leaves_the_run_in_its_folder_described(copy, capsys):
    before = (copy / "run.json").read_bytes()
    assert call("dissect", "--compare", copy, "--out", copy) == 0
    assert (copy / "run.json").read_bytes() == before
    assert f"report: {copy / 'comparison' / 'comparison.html'}" in capsys.readouterr().out


def test_what_cannot_be_compared(finished, tmp_path, capsys):
    assert "which is not there" in refused(capsys, "dissect", "--compare", tmp_path / "none")
    assert "which holds no tables" in refused(capsys, "dissect", "--compare", tmp_path)
    line = refused(
        capsys, "dissect", "--compare", finished, "--layers", "features.2", "--out", tmp_path / "c"
    )
    assert "two tables or more to compare, got 1 (features.2)" in line
    line = refused(capsys, "dissect", "--compare", finished, "--layers", "feature.2", "--out", tmp_path / "c")
    assert "did you mean `features.2`" in line
    assert not (tmp_path / "c").exists()


# ---- names in an explanation


def test_explain_takes_the_table_of_a_run(net, finished, tmp_path, capsys):
    given = ("explain", "--net", net, "--layers", *LAYERS, "--no-faithfulness", "--out", tmp_path)
    assert call(*given, "--table", finished) == 0
    table = load(finished, "features.9")
    (document,) = (json.loads(file.read_text(encoding="utf-8")) for file in tmp_path.glob("scene*.json"))
    for neuron in document["neurons"]:
        best = table.detection(neuron["unit"])
        assert (neuron["concept"]["concept"], neuron["concept"]["iou"]) == (best.concept.name, best.iou)
        assert neuron["concept"]["set"] == "scenes:val/0-19"
    assert "over 20 pictures" in document["details"]
    assert call(*given, "--table", "none") == 0
    bare = max(tmp_path.glob("scene*.json"), key=lambda file: file.stat().st_mtime_ns)
    assert "pictures (" not in json.loads(bare.read_text(encoding="utf-8"))["details"]


def test_explain_refuses_the_table_of_another_network(finished, tmp_path, capsys):
    line = refused(capsys, "explain", "--table", finished, "--out", tmp_path / "out")
    assert "Expected a table of this network, `scenes-vgg` with weights" in line
    assert "which holds none" in refused(capsys, "explain", "--table", tmp_path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- painted pictures


@pytest.fixture(scope="module")
def painted(net, tmp_path_factory):
    """Pictures of some units of the last layer."""
    folder = tmp_path_factory.mktemp("painted")
    few = ("--size", 32, "--steps", 3, "--octaves", 1)
    photo = picture(folder / "photos" / "a.png", (128, 128))
    given = ("--units", "features.9:0-3", *few, "--images", photo, "--out", folder / "out")
    assert call("visualize", "--net", net, *given) == 0
    return folder / "out"


def units_of(page):
    text = page.read_text(encoding="utf-8").partition('id="dissection-data">')[2].partition("</script>")[0]
    return json.loads(text)["units"]


def test_painted_pictures_join_the_pages_of_a_finished_run(net, copy, painted, capsys):
    before = stored(copy)
    assert dissected(net, copy, "--pictures", painted) == 0
    assert "only the pages are made again" in capsys.readouterr().err
    assert stored(copy) == before
    units = units_of(copy / "features.9.html")
    rows = facts_of(painted / "visualization.safetensors")["images"]
    assert [unit["unit"] for unit in units if "painted" in unit] == [0, 1, 2, 3]
    for unit, row in zip(units, rows, strict=False):
        expected = f"failed: {row['status']}" if row["status"] != "ok" else times(row["certificate"]["ratio"])
        assert unit["painted"][1] == expected
    assert not any("painted" in unit for unit in units_of(copy / "features.2.html"))
    assert dissected(net, copy) == 0
    assert not any("painted" in unit for unit in units_of(copy / "features.9.html"))


def test_painted_pictures_of_other_layers_are_said_to_be_so(net, painted, tmp_path, capsys):
    out = tmp_path / "out"
    assert dissected(net, out, "--pictures", painted, scenes="0-3", layers=("features.2",)) == 0
    assert "none of the painted pictures is of a unit of features.2" in capsys.readouterr().err


def test_painted_pictures_of_another_network_are_refused(net, painted, tmp_path, capsys):
    out, other = tmp_path / "out", network_file(tmp_path, change=zero)
    for command in ("dissect", "explain"):
        line = refused(capsys, command, "--pictures", painted, "--out", out)
        assert "Expected pictures of `scenes-vgg`, got those of" in line
        line = refused(capsys, command, "--net", other, "--pictures", painted, "--out", out)
        assert f"Expected pictures of `{other}`, got those of `{net}`" in line
        line = refused(capsys, command, "--net", net, "--pictures", tmp_path, "--out", out)
        assert "Expected a folder of painted pictures" in line
    assert not out.exists()


def test_explain_shows_what_was_painted(net, painted, tmp_path, capsys):
    given = ("--net", net, "--layers", *LAYERS, "--no-faithfulness", "--methods", "gradcam", "--units", 48)
    photo = picture(tmp_path / "a.png", (128, 128))
    out = tmp_path / "out"
    assert call("explain", "--pictures", painted, "--pictures", painted, photo, *given, "--out", out) == 0
    document = json.loads((out / "a.json").read_text(encoding="utf-8"))
    rows = facts_of(painted / "visualization.safetensors")["images"]
    ratios = {row["label"]: row["certificate"]["ratio"] for row in rows}
    shown = {f"features.9:{one['unit']}": one["painted"] for one in document["neurons"]}
    having = {label: one for label, one in shown.items() if one is not None}
    assert having
    assert {label: one["ratio"] for label, one in having.items()} == {
        label: ratios[label] for label in having
    }
    assert set(having) == set(shown) & set(ratios)
    assert all("picture" not in one for one in having.values())
    page = (out / "a.html").read_text(encoding="utf-8")
    assert page.count("<img data-painted=") == len(having)


# ---- bad input


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--layers", "input"), "Expected layers behind the input"),
        (("--layers", "features.3x"), "did you mean `features.3"),
        (("--concepts", "/nowhere/at/all"), "which does not exist"),
        (("--concepts", "scenes:vall/0-3"), "vall"),
        (("--concepts", "scenes:val/0-3", "--merge", "group"), "Expected an option of scenes, got `merge`"),
        (("--quantile", 0), "Expected `--quantile` between 0 and 1, got 0.0; try 0.005."),
        (("--batch-size", 0), "Expected `--batch-size` to be at least 1, got 0."),
    ],
)
def test_bad_input(given, said, net, tmp_path, capsys):
    line = refused(capsys, "dissect", "--net", net, "--out", tmp_path / "out", *given)
    assert said in line
    assert not (tmp_path / "out").exists()


def test_a_set_without_a_usable_picture(net, tmp_path, capsys):
    (tmp_path / "index.csv").write_text("image,mask\na.png,a.png\n")
    (tmp_path / "labels.csv").write_text("label_id,name\n1,one\n")
    (tmp_path / "a.png").write_bytes(b"no picture")
    given = ("dissect", "--net", net, "--concepts", tmp_path, "--out", tmp_path / "out")
    assert "a.png" in refused(capsys, *given)
    Image.fromarray(np.ones((64, 64), np.uint8)).save(tmp_path / "a.png")
    assert call(*given) == 0, "a set that was put right is looked at anew"


def test_a_network_without_layers(monkeypatch, tmp_path, capsys):
    from torch import nn

    from pellucid.commands.options import NetOptions

    flat = pl.load(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), input_shape=(3, 2, 2))
    monkeypatch.setattr(NetOptions, "load", lambda self: flat)
    line = refused(capsys, "dissect", "--out", tmp_path / "out")
    assert "Expected a convolutional network, got `Sequential`" in line
