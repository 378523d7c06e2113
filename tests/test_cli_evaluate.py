"""``pellucid evaluate``: the table, the files, masks and scenes, bad input, interruption."""

import csv
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from tests.commandline import call, network_file, picture, zero
from tests.processes import interrupted

import pellucid as pl
from pellucid.commands import sources
from pellucid.commands.comparison import Comparison, Entry
from pellucid.evaluation import Measurement
from pellucid.evaluation.controls import blurred, edges
from pellucid.world import SceneDataset

LAYERS = ("features.2", "features.9")
FEW = ("--layers", *LAYERS, "--metric", "energy")


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return network_file(tmp_path_factory.mktemp("net"))


def read(folder, name="evaluation.json"):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def entry(found, method, layer):
    return next(one for one in found["maps"] if (one["method"], one["layer"]) == (method, layer))


def masked(folder, name, box, size=(40, 30), value=255):
    """A picture and a mask with an object in a box."""
    photo = picture(folder / name, size)
    pixels = np.zeros(size[::-1], np.uint8)
    pixels[box] = value
    mask = (folder / "masks" / name).with_suffix(".png")
    mask.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(mask)
    return photo


# ---- results


def test_values_are_those_of_the_library(net, tmp_path, capsys):
    given = (
        "--methods",
        "layercam,gradcam",
        "--layers",
        *LAYERS,
        "--controls",
        "edges",
        "blurred",
        "--seed",
        3,
        "--batch-size",
        3,
    )
    assert call("evaluate", "scenes:test/3-5", "--net", net, "--out", tmp_path, *given, "--steps", 4) == 0
    found = read(tmp_path)
    assert [one["name"] for one in found["images"]] == [f"scene-test-{k}" for k in (3, 4, 5)]
    assert (found["metric"], found["main"]) == ("insertion-deletion", "composite")
    model = pl.load(net)
    scenes = [SceneDataset("test", count=9).rendering(index) for index in (3, 4, 5)]
    for method in ("layercam", "gradcam"):
        for layer, expected in pl.evaluate(
            model, scenes, method, layers=LAYERS, preset="quick", steps=4, progress=False
        ).items():
            one = entry(found, method, layer)
            for quantity, values in expected.values.items():
                np.testing.assert_allclose(one["values"][quantity], values, atol=1e-5)
                mean = expected.mean(quantity, seed=3)
                assert one["means"][quantity]["count"] == 3
                np.testing.assert_allclose(one["means"][quantity]["low"], mean.low, atol=1e-5)
            np.testing.assert_allclose(
                one["curves"]["deletion"], expected.curves["deletion"].mean(0), atol=1e-5
            )
            assert one["parameters"]["steps"] == 4
    soft = blurred(
        pl.attribute(model, [each.image for each in scenes], "layercam", LAYERS[1])[LAYERS[1]], 8 / 2
    )
    x = torch.stack([model.preprocess(Image.fromarray(each.image)) for each in scenes])
    outlines = torch.cat(
        [edges(each[None]) for each in x]
    )  # as the command makes them: rounding ranks flat places
    for label, layer, maps in (("blurred layercam", LAYERS[1], soft), ("edges", None, outlines)):
        expected = pl.evaluate(
            model, scenes, maps, preset="quick", steps=4, progress=False,
            target=[one["target"] for one in found["images"]],
        )  # fmt: skip
        one = entry(found, label, layer)
        assert one["control"] is True
        np.testing.assert_allclose(one["values"]["composite"], expected.values["composite"], atol=1e-5)
    assert "insertion-deletion, composite (higher is better): mean of 3 images" in capsys.readouterr().out


def test_files(net, tmp_path, capsys):
    assert (
        call("evaluate", "scenes:test/0-3", "--net", net, "--out", tmp_path, *FEW, "--baseline", "gradcam")
        == 0
    )
    said, complaint = capsys.readouterr()
    assert not complaint
    files = ["evaluation.csv", "evaluation.json", "evaluation.png", "run.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    run, found = read(tmp_path, "run.json"), read(tmp_path)
    assert run["finished"] is True
    assert run["files"] == files[:3]
    assert [one["image"] for one in run["results"]] == [one["name"] for one in found["images"]]
    assert run["parameters"]["metric"] == "energy"
    with (tmp_path / "evaluation.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 4 * len(found["maps"])
    for row in rows:
        place = [one["name"] for one in found["images"]].index(row["image"])
        one = entry(found, row["method"], row["layer"] or None)
        assert float(row["value"]) == one["values"][row["quantity"]][place]
    with Image.open(tmp_path / "evaluation.png") as figure:
        assert figure.size[0] > 500
        assert len(figure.convert("RGB").getcolors(100_000)) > 10
    layercam, gradcam = (entry(found, name, LAYERS[0]) for name in ("layercam", "gradcam"))
    difference = layercam["differences"][LAYERS[0]]["energy"]
    values = np.subtract(layercam["values"]["energy"], gradcam["values"]["energy"])
    assert difference["mean"] == pytest.approx(values.mean())
    assert difference["low"] <= difference["mean"] <= difference["high"]
    assert gradcam["differences"] == {}
    assert set(entry(found, "center", None)["differences"]) == set(LAYERS)
    assert "difference to gradcam, image by image" in said
    assert str(tmp_path / "evaluation.json") in said


def test_batches_do_not_change_what_is_found(net, tmp_path):
    for size in (1, 2, 16):
        given = ("--controls", "all", "--batch-size", size, "--out", tmp_path / str(size))
        assert call("evaluate", "scenes:test/0-4", "--net", net, *FEW, *given) == 0
    one, *others = (read(tmp_path / str(size)) for size in (1, 2, 16))
    for other in others:
        for mine, theirs in zip(one["maps"], other["maps"], strict=True):
            np.testing.assert_allclose(mine["values"]["energy"], theirs["values"]["energy"], atol=1e-5)
    noise = entry(one, "random", None)["values"]["energy"]
    assert len(set(noise)) == 5
    assert call("evaluate", "scenes:test/0-4", "--net", net, *FEW, "--seed", 1, "--out", tmp_path / "s",
                "--controls", "random") == 0  # fmt: skip
    assert entry(read(tmp_path / "s"), "random", None)["values"]["energy"] != noise


def test_without_anything_the_embedded_network_is_measured_on_embedded_scenes(net, tmp_path):
    assert call("evaluate", "--net", net, "--out", tmp_path, *FEW, "--controls", "none") == 0
    found = read(tmp_path)
    assert len(found["images"]) == 16
    assert [one["method"] for one in found["maps"]] == ["shallow-cam"] * 2 + ["layercam"] * 2


@pytest.mark.parametrize("metric", pl.names("evaluation"))
def test_every_metric(metric, net, tmp_path, capsys):
    few = ("--steps", 2) if metric in ("insertion-deletion", "randomization") else ()
    given = ("--metric", metric, "--layers", LAYERS[0], "--methods", "layercam", *few)
    assert call("evaluate", "scenes:test/0-1", "--net", net, "--out", tmp_path, *given) == 0
    assert f"{metric}, {read(tmp_path)['main']}" in capsys.readouterr().out
    controls = {one["method"] for one in read(tmp_path)["maps"] if one["control"]}
    usual = {"blurred layercam", "random-blurred", "center", "edges"}
    assert controls == (set() if metric == "randomization" else usual)


def test_methods_go_where_they_belong(net, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # else what does not fit is printed further down
    given = ("--methods", "gradcam", "gradient", "--metric", "energy", "--controls", "none")
    assert call("evaluate", "scenes:test/0", "--net", net, "--out", tmp_path, *given) == 0
    assert {one["layer"] for one in read(tmp_path)["maps"] if one["method"] == "gradient"} == {"input"}
    header = capsys.readouterr().out.splitlines()[2]
    assert header.split() == ["input", *pl.load(net).default_layers]


def test_no_figure_without_matplotlib(net, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert call("evaluate", "scenes:test/0", "--net", net, "--out", tmp_path, *FEW) == 0
    assert "`pip install pellucid[plot]`" in capsys.readouterr().err
    assert not (tmp_path / "evaluation.png").exists()
    assert read(tmp_path, "run.json")["files"] == ["evaluation.csv", "evaluation.json"]


# ---- masks


def test_masks_of_photographs(net, tmp_path, capsys):
    photos = [
        masked(tmp_path, "a.jpg", np.s_[:, :20]),
        masked(tmp_path, "b.png", np.s_[5:25, 5:25], value=1),  # a label, not white
    ]
    given = ("--net", net, *FEW, "--masks", tmp_path / "masks", "--controls", "center")
    assert call("evaluate", *photos, *given, "--out", tmp_path / "o") == 0
    assert not capsys.readouterr().err
    model = pl.load(net)
    masks = torch.zeros(2, 128, 128, dtype=torch.bool)
    views = [np.asarray(model.preprocess.view(Image.open(tmp_path / "masks" / "a.png"))) >= 128]
    doubled = Image.open(tmp_path / "masks" / "b.png").point(lambda value: 255 * value)
    views.append(np.asarray(model.preprocess.view(doubled)) >= 128)
    masks = torch.from_numpy(np.stack(views)[..., 0])
    expected = pl.evaluate(model, photos, "layercam", "energy", layers=LAYERS, masks=masks)
    for layer in LAYERS:
        values = entry(read(tmp_path / "o"), "layercam", layer)["values"]["energy"]
        np.testing.assert_allclose(values, expected[layer].values["energy"], atol=1e-5)


def test_masks_that_are_not_there_or_do_not_fit(net, tmp_path, capsys):
    photos = [masked(tmp_path, f"{name}.png", np.s_[:9]) for name in "abcde"]
    (tmp_path / "masks" / "b.png").unlink()
    Image.new("L", (41, 30), 255).save(tmp_path / "masks" / "c.png")
    Image.new("RGBA", (40, 30), (255, 255, 255, 9)).save(tmp_path / "masks" / "d.png")
    (tmp_path / "masks" / "e.png").write_text("no picture")
    given = ("--net", net, *FEW, "--masks", tmp_path / "masks", "--out", tmp_path / "o")
    assert call("evaluate", *photos, *given) == 1
    complaint = capsys.readouterr().err.splitlines()
    words = {
        "b.png": "no such file",
        "c.png": "size 30×40, got 30×41",
        "d.png": "transparency",
        "e.png": "an image",
    }
    assert len(complaint) == 4
    for line, (name, said) in zip(complaint, words.items(), strict=True):
        assert line.startswith(f"pellucid: left out {name}: Expected")
        assert said in line
    assert [one["name"] for one in read(tmp_path / "o")["images"]] == ["a.png"]
    assert call("evaluate", *photos[1:3], *given) == 2


def test_mask_without_pixels(net, tmp_path, capsys):
    photos = [masked(tmp_path, "a.png", np.s_[:9]), masked(tmp_path, "b.png", np.s_[:0])]
    assert (
        call("evaluate", *photos, "--net", net, *FEW, "--masks", tmp_path / "masks", "--out", tmp_path / "o")
        == 0
    )
    assert capsys.readouterr().err == "pellucid: no value for 1 of 2 images: mask without pixels (all maps)\n"
    found = read(tmp_path / "o")
    assert all(one["values"]["energy"][1] is None for one in found["maps"])
    assert all(one["means"]["energy"]["count"] == 1 for one in found["maps"])


# ---- bad input


def refused(capsys, *arguments):
    assert call(*arguments) == 2
    printed, complaint = capsys.readouterr()
    assert not printed
    assert complaint.startswith("pellucid: Expected ")
    assert complaint.count("\n") == 1
    return complaint


WRONG = {
    "metric": (["--metric", "enery"], "`energy`"),
    "method": (["--methods", "layercam,gradcan"], "`gradcam`"),
    "layer": (["--layers", "features.9", "features9"], "`features.9`"),
    "control": (["--controls", "centre"], "`center`"),
    "baseline": (["--baseline", "grad-cma"], "`gradcam`"),
    "class": (["--target", "fsh"], "`fish`"),
    "batch": (["--batch-size", "0"], "`--batch-size` to be at least 1"),
    "parameter": (["--metric", "pointing", "--tolerance", "-1"], "`tolerance` of at least 0"),
    "too many steps": (["--steps", "99999"], "as many as the image has pixels, 16384"),
    "method that has no place": (["--methods", "cam", "--layers", "features.2"], "global average pooling"),
    "nothing": (["--methods", ","], "at least one method"),
    "controls": (["--metric", "randomization", "--controls", "center"], "`--controls none`"),
    "masks": (["--masks", "."], "got `insertion-deletion`"),
    "folder of masks": (["--metric", "energy", "--masks", "nowhere"], "got `nowhere`"),
    "range": (["scenes:test/9-3"], "from low to high"),
    "long range": (["scenes:test/0-999999999"], "100,000 at most"),
    "index": (["scenes:test/1-x"], "`scenes:test/0-59`"),
    "split": (["scenes:tset/1-2"], "try 'test'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_names_and_numbers(kind, net, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, words = WRONG[kind]
    assert words in refused(capsys, "evaluate", *arguments, "--net", net)
    assert not list(tmp_path.iterdir()), "nothing is written before all is known to be right"


def test_what_photographs_do_not_have(net, tmp_path, capsys):
    photo = picture(tmp_path / "p.png")
    given = ("evaluate", "scenes:test/0", photo, "--net", net, "--out", tmp_path / "o", "--metric")
    assert "`--masks` for `energy` on photographs, got none for `p.png`" in refused(capsys, *given, "energy")
    assert "scenes of the concept world for `intervention`, got `p.png`" in refused(
        capsys, *given, "intervention"
    )


def test_broken_images_are_left_out(net, tmp_path, capsys):
    picture(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "bad.jpg").write_text("no picture")
    given = ("--net", net, "--layers", LAYERS[0], "--metric", "average-drop", "--out", tmp_path / "o")
    assert call("evaluate", tmp_path / "in", *given) == 1
    assert "left out bad.jpg" in capsys.readouterr().err
    assert call("evaluate", tmp_path / "in" / "bad.jpg", *given) == 2
    assert "mean of" not in capsys.readouterr().out


def test_out_that_cannot_be_written_to(net, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert "a file is in the way" in refused(capsys, "evaluate", "--net", net, "--out", tmp_path / "file")


def test_maps_that_say_nothing(tmp_path, capsys):
    net = network_file(tmp_path, change=zero)
    given = ("--layers", LAYERS[0], "--metric", "energy", "--baseline", "layercam", "--out", tmp_path / "o")
    assert call("evaluate", "scenes:test/0-2", "--net", net, *given) == 0
    said, complaint = capsys.readouterr()
    assert "no value" in said
    assert "no value for 3 of 3 images: map is constant" in complaint
    assert entry(read(tmp_path / "o"), "layercam", LAYERS[0])["means"]["energy"]["mean"] is None


# ---- interruption


def test_interrupted_work_keeps_what_is_finished(net, tmp_path):
    out = tmp_path / "out"
    arguments = [
        "evaluate",
        "scenes:test/0-999",
        "--net",
        net,
        "--out",
        out,
        "--batch-size",
        1,
        "--layers",
        LAYERS[0],
    ]
    code, said, complaint = interrupted("*/run.json", tmp_path / "now", *arguments, times=2)
    assert code == 130, complaint
    run, found = read(out, "run.json"), read(out)
    done = len(run["results"])
    assert 1 <= done < 1000
    assert not said
    assert (
        complaint
        == f"pellucid: stopped. {done} of 1000 images are finished, in {out}; the same command goes on from there.\n"
    )
    assert [one["name"] for one in found["images"]] == [one["image"] for one in run["results"]]
    assert all(len(one["values"]["composite"]) == done for one in found["maps"])


# ---- the table


def measured(values, reasons=None, better="higher"):
    values = torch.tensor(values, dtype=torch.float64)
    return Measurement("m", {"q": values}, reasons or (None,) * len(values), {"q": better}, {})


def compared(better="higher", baseline=None, **maps):
    entries = [
        Entry(name.rstrip("_").partition("_at_")[0], name.partition("_at_")[2] or None, name.startswith("control"),
              measured(values, better=better))
        for name, values in maps.items()
    ]  # fmt: skip
    layers = list(dict.fromkeys(e.layer for e in entries if e.layer))
    return Comparison(entries, layers, ["x", "y"], ["a", "b"], baseline)


def test_the_best_method_is_marked_and_never_a_control():
    maps = {
        "one_at_l": [0.1, 0.3],
        "two_at_l": [0.5, 0.4],
        "control_at_l": [0.9, 0.9],
        "control2": [0.45, 0.45],
    }
    higher, lower = compared(**maps), compared("lower", **maps)
    assert (higher.best("l"), lower.best("l")) == (["two"], ["one"])
    assert higher.beaten() == [("l", "control, control2")]
    assert lower.beaten() == []
    lines = higher.table(100).splitlines()
    assert [line.split()[0] for line in lines if "*" in line] == ["m,", "two"]
    assert "0.450*" not in higher.table(100).replace("0.450 [0.400, 0.500]*", "")
    assert "at l no method is better than the controls control, control2" in lines
    assert compared(one_at_l=[0.1, 0.3], two_at_l=[0.3, 0.1]).best("l") == ["one", "two"]


def test_columns_that_do_not_fit_come_further_down():
    maps = {f"{name}_at_layer{k}": [k, k + 1] for name in ("one", "two") for k in range(5)}
    table = compared(**maps, control=[0, 1]).table(80)
    assert max(map(len, table.splitlines()[1:])) <= 80
    assert [line.split() for line in table.splitlines() if line.strip().startswith("layer")] == [
        ["layer0", "layer1"],
        ["layer2", "layer3"],
        ["layer4"],
    ]
    assert compared(**maps).table(20).count("layer4") == 1


def test_differences_are_paired():
    found = compared(baseline="one", one_at_l=[0.1, 0.9], two_at_l=[0.2, 1.0], control=[0.1, 0.9])
    assert found.differences["two", "l"].low == pytest.approx(0.1)
    assert found.differences["control", "l"].mean == 0
    assert "+0.100 [+0.100, +0.100]" in found.table(100)
    found = compared(baseline="one", one_at_l=[0.1, 0.9], two_at_l=[0.2, 1.0], two_at_deep=[0.2, 1.0])
    assert found.table(100).count("deep") == 1, "a column without the baseline has no differences"


def test_reasons_are_summed_up():
    entries = [
        Entry("one", f"l{k}", False, measured([1.0, float("nan")], (None, f"reason {k // 5}")))
        for k in range(10)
    ]
    found = Comparison(entries, [], ["x", "y"], ["a", "b"])
    assert found.undefined() == [
        "no value for 1 of 2 images: reason 0 (one at l0, one at l1, one at l2 and 2 more maps)",
        "no value for 1 of 2 images: reason 1 (one at l5, one at l6, one at l7 and 2 more maps)",
    ]


# ---- scenes


def test_ranges_of_scenes():
    found = sources.gather(["scenes:test/3-5", "scenes:val/4", "scenes:4", "scenes:test/5-6"], False).sources
    assert [source.name for source in found] == [
        "scene-test-3", "scene-test-4", "scene-test-5", "scene-val-4", "scene-test-6",
    ]  # fmt: skip
    expected = SceneDataset("test", count=9).rendering(4)
    assert np.array_equal(np.asarray(found[1].read(1).image), expected.image)
    assert found[0].sha256 != found[1].sha256
