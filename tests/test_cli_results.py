"""Results of the commands that explain: files, names, run.json, repeatability, interruption."""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.commandline import call, network_file, picture, without_seconds
from tests.processes import interrupted

import pellucid as pl
from pellucid.commands.sources import DEMONSTRATION


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return network_file(tmp_path_factory.mktemp("net"))


def facts(folder):
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- explain


def test_explain_one(net, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    photo = picture(tmp_path / "my photo.jpg")
    assert call("explain", photo, "--net", net, "--out", out) == 0
    said, complaint = capsys.readouterr()
    assert not complaint
    assert names(out) == ["my-photo.html", "my-photo.json", "my-photo.safetensors", "run.json"]
    document = json.loads((out / "my-photo.json").read_text())
    assert document["image"]["name"] == "my photo.jpg"
    assert said.splitlines() == [document["text"].replace("**", ""), f"report: {out / 'my-photo.html'}"]
    assert "my photo.jpg" in (out / "my-photo.html").read_text()
    assert "maps/features.2/layercam" in load_file(out / "my-photo.safetensors")


def test_explain_without_an_image_shows_a_scene_with_its_mask(net, tmp_path):
    assert call("explain", "--net", net, "--out", tmp_path) == 0
    name = f"scene-{DEMONSTRATION.removeprefix('scenes:').replace('/', '-')}"
    document = json.loads((tmp_path / f"{name}.json").read_text())
    assert document["image"]["name"] == name
    assert document["mask"] is not None


def test_explain_several_in_folders_patterns_and_scenes(net, tmp_path, capsys):
    for file, seed in (("in/b.png", 0), ("in/a10.png", 1), ("in/a2.png", 2), ("in/deep/c.png", 3)):
        picture(tmp_path / file, seed=seed)
    out = tmp_path / "out"
    given = (tmp_path / "in", tmp_path / "in" / "*.png", "scenes:train/7", tmp_path / "in" / "b.png")
    assert call("explain", *given, "--net", net, "--out", out, "--recursive") == 0
    assert [one["image"] for one in facts(out)["results"]] == [
        "a2.png", "a10.png", "b.png", "c.png", "scene-train-7",
    ]  # fmt: skip
    assert capsys.readouterr().out.splitlines() == ["5 images explained", f"report: {out / 'index.html'}"]
    index = (out / "index.html").read_text()
    assert re.findall(r'href="([^"]+\.html)"', index) == [one["page"] for one in facts(out)["results"]]
    assert 'href="index.html"' in (out / "a2.html").read_text()


def test_choices_arrive(net, tmp_path):
    photo = picture(tmp_path / "p.png")
    mask = tmp_path / "mask.png"
    Image.new("L", (40, 30), 255).save(mask)
    chosen = (
        "--method",
        "gradcam",
        "--methods",
        "gradcam",
        "hirescam",
        "--layers",
        "features.5",
        "--units",
        2,
    )
    more = ("--criterion", "gradient", "--target", "Fish", "--mask", mask, "--seed", 4)
    assert call("explain", photo, "--net", net, "--out", tmp_path / "o", *chosen, *more) == 0
    document = json.loads((tmp_path / "o" / "p.json").read_text())
    assert [method["name"] for method in document["methods"]] == ["gradcam", "hirescam"]
    assert [stage["layer"] for stage in document["stages"]] == ["features.5"]
    assert document["target"]["name"] == "fish"
    assert document["mask"] is not None
    assert len(document["neurons"]) == 2
    assert {neuron["criterion"] for neuron in document["neurons"]} == {"gradient"}
    assert facts(tmp_path / "o")["parameters"]["seed"] == 4


def test_seed_draws_the_random_neurons(net, tmp_path):
    photo = picture(tmp_path / "p.png")
    found = []
    for seed in (0, 1, 0):
        assert call("explain", photo, "--net", net, "--out", tmp_path / "o", "--seed", seed) == 0
        found.append(json.loads((tmp_path / "o" / "p.json").read_text())["removal"]["probability_random"])
    assert found[0] == found[2] != found[1]


def test_all_methods(net, tmp_path):
    call("explain", picture(tmp_path / "p.png"), "--net", net, "--out", tmp_path / "o", "--methods", "all")
    document = json.loads((tmp_path / "o" / "p.json").read_text())
    assert {method["name"] for method in document["methods"]} == set(pl.names("attribution"))


# ---- names


def test_names_of_any_kind(net, tmp_path):
    given = [
        "one/same.png", "two/same.png", "two/SAME.png", "<script>alert(1)<.png", '"quotes" & \'more\'.png',
        "überraschung ☂.png", "日本" * 40 + ".png", "a" * 240 + ".png", "-rf.png", "index.png", "run.png",
        " .png",
        "line\nbreak\x1b[31m.png",
    ]  # fmt: skip
    for seed, name in enumerate(given):
        picture(tmp_path / "in" / str(seed) / name, seed=seed)
    bytes_name = os.fsencode(tmp_path / "in") + b"/not-\xff-text.png"
    Path(os.fsdecode(bytes_name)).write_bytes((tmp_path / "in" / "0" / "one" / "same.png").read_bytes())
    out = tmp_path / "out"
    assert call("explain", tmp_path / "in", "--recursive", "--net", net, "--out", out) == 0
    run = facts(out)
    assert len(run["results"]) == len(given) + 1
    shown = [one["image"] for one in run["results"]]
    pages = [one["page"] for one in run["results"]]
    assert len(set(shown)) == len(shown)
    assert len({page.lower() for page in pages}) == len(pages)
    assert {"one/same.png", "two/same.png"} <= set(shown)
    assert "line break\ufffd[31m.png" in shown
    assert run["files"] == [name for name in names(out) if name != "run.json"]
    assert max(len(os.fsencode(name)) for name in names(out)) < 160
    assert not [name for name in names(out) if name.startswith((".", "-"))]
    everything = [(out / page).read_text() for page in [*pages, "index.html"]]
    assert not any("<script>alert" in page for page in everything)
    index = everything[-1]
    assert all(f'href="{page}"' in index for page in pages)


def test_files_of_the_user_stay(net, tmp_path):
    photo = picture(tmp_path / "cat.png")
    (tmp_path / "cat.json").write_text("mine")
    (tmp_path / "cat-2.html").write_text("mine too")
    for _ in range(2):
        assert call("explain", photo, "--net", net, "--out", tmp_path) == 0
    assert (tmp_path / "cat.json").read_text() == "mine"
    assert (tmp_path / "cat-2.html").read_text() == "mine too"
    assert facts(tmp_path)["files"] == ["cat-3.html", "cat-3.json", "cat-3.safetensors"]


# ---- run.json and repeatability


def test_run_names_everything_it_was_made_from(net, tmp_path):
    photo = picture(tmp_path / "p.png")
    assert call("explain", photo, "--net", net, "--out", tmp_path / "o", "--seed", 3) == 0
    run = facts(tmp_path / "o")
    assert run["command"] == "explain"
    assert run["finished"] is True
    assert run["parameters"]["images"] == [str(photo)]
    assert run["parameters"]["seed"] == 3
    assert run["versions"]["torch"] == torch.__version__.split("+")[0]
    assert run["versions"]["pellucid"] == pl.__version__
    assert run["results"][0]["sha256"] == hashlib.sha256(photo.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for key, value in pl.load(net).module.state_dict().items():
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode() + value.numpy().tobytes())
    assert run["network"] == {"name": str(net), "sha256": digest.hexdigest()}


@pytest.mark.parametrize(
    "command",
    [["explain"], ["attribute", "--method", "smoothgrad", "--samples", "2"], ["neurons"]],
    ids=lambda command: command[0],
)
def test_the_same_twice_gives_the_same_bytes(command, net, tmp_path):
    photo, out = picture(tmp_path / "p.png"), tmp_path / "o"
    kept = []
    for _ in range(2):
        assert call(*command, photo, "scenes:test/5", "--net", net, "--out", out) == 0
        kept.append({path.name: without_seconds(path.read_bytes()) for path in out.iterdir()})
    assert len(kept[0]) >= 2
    assert kept[0] == kept[1]


def test_earlier_results_stay_and_are_written_anew(net, tmp_path):
    first, second = picture(tmp_path / "a.png"), picture(tmp_path / "b.png", seed=1)
    out = tmp_path / "o"
    for photo in (first, second, first):
        assert call("explain", photo, "--net", net, "--out", out) == 0
    endings = ("html", "json", "safetensors")
    assert names(out) == [*(f"{stem}.{end}" for stem in "ab" for end in endings), "run.json"]


# ---- attribute, neurons


def test_attribute_with_parameters_of_its_method(net, tmp_path, capsys):
    photo = picture(tmp_path / "p.png")
    flags = ("--method", "smoothgrad", "--samples", 3, "--noise", 0.2, "--target", 4)
    assert call("attribute", photo, "--net", net, "--out", tmp_path / "o", *flags) == 0
    assert capsys.readouterr().out == f"maps of 1 image: {tmp_path / 'o'}\n"
    assert names(tmp_path / "o") == ["p-input.png", "p.safetensors", "run.json"]
    expected = pl.attribute(pl.load(net), photo, "smoothgrad", target=4, samples=3, noise=0.2)["input"]
    torch.testing.assert_close(load_file(tmp_path / "o" / "p.safetensors")["input"], expected.values[0])
    run = facts(tmp_path / "o")
    assert run["parameters"]["parameters"] == {"samples": 3, "noise": 0.2, "seed": 0, "reduce": "max"}
    shape = list(expected.values.shape[1:])
    assert run["results"][0]["maps"]["input"] == {"picture": "p-input.png", "status": "ok", "shape": shape}
    assert run["results"][0]["target"] == expected.target[0]


def test_attribute_tells_pictures_of_one_name_apart(net, tmp_path):
    for seed, folder in enumerate("xy"):
        picture(tmp_path / folder / "p.png", seed=seed)
    given = (tmp_path / "x", tmp_path / "y", "--layers", "features.5", "input", "--net", net)
    assert call("attribute", *given, "--out", tmp_path / "o") == 0
    found = {stem: load_file(tmp_path / "o" / f"{stem}.safetensors")["features.5"] for stem in ("p", "p-2")}
    assert not torch.equal(found["p"], found["p-2"])
    assert {"p-features.5.png", "p-2-features.5.png", "p-input.png", "p-2-input.png"} <= set(
        names(tmp_path / "o")
    )


def test_neurons(net, tmp_path, capsys):
    photo = picture(tmp_path / "p.png")
    flags = ("--criterion", "gradient", "--rectified", "--layer", "features.5", "--top", 3)
    assert call("neurons", photo, "--net", net, "--out", tmp_path / "o", *flags) == 0
    expected = pl.neurons(pl.load(net), photo, "features.5", criterion="gradient", rectified=True)
    (row,) = json.loads((tmp_path / "o" / "scores.json").read_text())["images"]
    assert row["scores"] == pytest.approx(expected.values[0].tolist())
    assert row["top"] == [unit.index for unit in expected.top(3)]
    best = ", ".join(
        f"{unit.index} ({float(expected.values[0, unit.index]):.3g})" for unit in expected.top(3)
    )
    assert capsys.readouterr().out.splitlines()[0] == f"p.png ({row['target']}, features.5): {best}"


# ---- interruption


def test_interrupted_work_leaves_whole_results(net, tmp_path):
    for seed in range(60):
        picture(tmp_path / "in" / f"p{seed}.png", seed=seed)
    out = tmp_path / "out"
    arguments = ("explain", tmp_path / "in", "--net", net, "--out", out)
    code, said, complaint = interrupted("*/p1.html", tmp_path / "now", *arguments)
    assert code == 130, complaint
    run = facts(out)
    done = len(run["results"])
    assert 1 <= done < 60
    assert not said
    assert (
        complaint
        == f"pellucid: stopped. {done} of 60 images are finished, in {out}; the same command goes on from there.\n"
    )
    assert run["finished"] is False
    assert run["stopped"].startswith("KeyboardInterrupt")
    assert [name for name in names(out) if name not in ("run.json", "unfinished")] == run["files"]
    endings = ("html", "json", "safetensors")
    assert run["files"] == sorted(["index.html", *(f"p{i}.{end}" for i in range(done) for end in endings)])
    index = (out / "index.html").read_text()
    assert index.rstrip().endswith("</html>")
    assert f"stopped with {60 - done} image" in index
    assert re.findall(r'href="([^"]+\.html)"', index) == [one["page"] for one in run["results"]]
    for i in range(done):
        assert (out / f"p{i}.html").read_text().rstrip().endswith("</html>")
        assert json.loads((out / f"p{i}.json").read_text())["schema"]
        assert load_file(out / f"p{i}.safetensors")


@pytest.mark.parametrize("where", ["render_page", "write_json", "write_text"])
def test_interrupted_in_the_middle_of_saving(where, net, tmp_path, monkeypatch, capsys):
    """Whatever is half written for the image at hand is taken away; the page before stays."""
    import pellucid.core.storage
    import pellucid.report

    home = pellucid.report if where == "render_page" else pellucid.core.storage
    original = getattr(home, where)
    calls = []

    def stop(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2 if where == "render_page" else arguments[0].name.startswith("b."):
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(home, where, stop)
    given = [picture(tmp_path / f"{name}.png", seed=seed) for seed, name in enumerate("abc")]
    assert call("explain", *given, "--net", net, "--out", tmp_path / "o") == 130
    assert capsys.readouterr().err == (
        f"pellucid: stopped. 1 of 3 images are finished, in {tmp_path / 'o'}; the same command goes on from there.\n"
    )
    assert names(tmp_path / "o") == [
        "a.html",
        "a.json",
        "a.safetensors",
        "index.html",
        "run.json",
        "unfinished",
    ]
