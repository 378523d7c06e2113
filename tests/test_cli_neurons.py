"""`pellucid neurons --by-class` on the command line, and what it refuses."""

import json

import numpy as np
import pytest
from PIL import Image

import pellucid as pl
from pellucid.cli import main
from pellucid.units import class_importance, load_class_scores

NET = "scenes-resnet"


def picture(file, seed):
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file


@pytest.fixture(scope="module")
def net():
    return pl.load(NET)


def call(*arguments):
    return main([str(each) for each in arguments])


def test_folders_name_the_classes(net, tmp_path, capsys):
    files = [
        picture(tmp_path / "in" / folder / f"{n}.png", n)
        for n, folder in enumerate(("car", "fish", "Car", "car"))
    ]
    out = tmp_path / "out"
    flags = (
        "--by-class",
        "--others",
        1,
        "--top",
        2,
        "--layer",
        "layer4",
        "--arm",
        "elementwise",
        "--against",
        "rest",
    )
    assert call("neurons", tmp_path / "in", "--net", NET, "--out", out, *flags) == 0
    found = load_class_scores(out, net)
    labels = ["car", "fish", "car", "car"]
    expected = class_importance(
        net, files, labels, "layer4", others=1.0, arm="elementwise", against="rest", progress=False
    )
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-6)
    assert found.classes == ("car", "fish") == expected.classes
    assert found.images.tolist() == [3, 1]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("car (3 images, layer4): " + f"{found.top('car', 1)[0].index} (")
    run = json.loads((out / "run.json").read_text())
    assert run["finished"]
    assert "classes.safetensors" in run["files"]
    assert {one["target"] for one in run["results"]} == {"car", "fish"}


def test_scenes_say_what_they_show(net, tmp_path):
    assert (
        call(
            "neurons",
            "scenes:val/0-3",
            "--net",
            NET,
            "--out",
            tmp_path,
            "--by-class",
            "--criterion",
            "activation",
        )
        == 0
    )
    found = load_class_scores(tmp_path, net)
    assert int(found.images.sum()) == 4
    assert set(found.classes) <= set(net.classes)


def test_a_folder_with_another_name_is_left_out(tmp_path, capsys):
    picture(tmp_path / "in/car/a.png", 0)
    picture(tmp_path / "in/cars/b.png", 1)
    assert call("neurons", tmp_path / "in", "--net", NET, "--out", tmp_path / "o", "--by-class") == 1
    said = capsys.readouterr().err
    assert "left out b.png: Expected a class of `scenes-resnet`, got `cars`; did you mean `car`" in said
    assert call("neurons", tmp_path / "in/cars", "--net", NET, "--out", tmp_path / "p", "--by-class") == 2
    assert not (tmp_path / "p/classes.safetensors").exists()


def test_order_of_deletion(net, tmp_path):
    files = [
        picture(tmp_path / "in" / folder / f"{n}.png", n) for n, folder in enumerate(("car", "fish", "car"))
    ]
    flags = ("--by-class", "--temperature", 0.5, "--arm", "signed", "--layer", "layer4")
    assert call("neurons", tmp_path / "in", "--net", NET, "--out", tmp_path / "o", *flags) == 0
    found = load_class_scores(tmp_path / "o", net)
    expected = class_importance(
        net, files, ["car", "fish", "car"], "layer4", arm="signed", temperature=0.5, progress=False
    )
    assert found.temperature == 0.5
    assert (
        found.values == expected.values
    ).float().mean() > 0.9  # the order of near ties may differ by batch
    assert found.top("car", 3) == expected.top("car", 3)


REFUSED = {
    "both": (("--by-class", "--others", "1", "--temperature", "1"), "either `others` or `temperature`"),
    "cold": (("--by-class", "--temperature", "0"), "`temperature` to be a finite number above 0, got 0"),
    "temperature alone": (("--temperature", "1"), "`--temperature` together with `--by-class` only"),
    "target": (("--by-class", "--target", "car"), "no `--target` with `--by-class`"),
    "others alone": (("--others", "1"), "`--others` together with `--by-class` only"),
    "minimum alone": (("--minimum", "2"), "`--minimum` together with `--by-class` only"),
    "minimum": (("--by-class", "--minimum", "0"), "`--minimum` to be at least 1, got 0"),
    "too few": (("--by-class", "--minimum", "2"), "at least 2 images of every class, but `car` has 1"),
    "one class": (("--by-class", "--others", "1"), "at least two classes to compare, got 1 (car)"),
    "weight": (("--by-class", "--others", "-1"), "`others` to be a finite number of at least 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, tmp_path, capsys):
    flags, message = REFUSED[case]
    picture(tmp_path / "car/a.png", 0)
    assert call("neurons", tmp_path / "car", "--net", NET, "--out", tmp_path / "o", *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o/classes.safetensors").exists()
