"""Bad input through the command line: one clear line on standard error and an exit code, or a safe result."""

import json
import os
import pickle
import re
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from tests.commandline import call, network_file, not_a_number, picture, weights, zero

import pellucid as pl


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return network_file(tmp_path_factory.mktemp("net"))


def refused(capsys, *arguments):
    """The one line a refused command prints, without the program's name."""
    assert call(*arguments) == 2
    printed, complaint = capsys.readouterr()
    assert not printed
    assert complaint.startswith("pellucid: Expected ")
    assert complaint.count("\n") == 1
    return complaint.removeprefix("pellucid: ").rstrip()


def header_only(file, width, height):
    """A PNG that promises a size and holds no pixels: only its header can be read."""
    chunks = {b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT": b"", b"IEND": b""}
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks.items():
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    file.write_bytes(content)
    return file


# ---- images


BROKEN = {
    "cut short": (lambda file: file.write_bytes(file.read_bytes()[:-200]), "damaged or cut short"),
    "text": (lambda file: file.write_text("just words"), "text that starts with 'just words'"),
    "empty": (lambda file: file.write_bytes(b""), "which is empty"),
    "missing": (lambda file: file.unlink(), "the file does not"),
    "20,000 × 20,000": (
        lambda file: header_only(file, 20_000, 20_000),
        "raise the limit with --max-pixels 400000000",
    ),
}


@pytest.mark.parametrize("command", ["explain", "attribute", "neurons"])
@pytest.mark.parametrize("kind", BROKEN)
def test_unusable_image(command, kind, net, tmp_path, capsys):
    spoil, words = BROKEN[kind]
    photo = picture(tmp_path / "photo.jpg", (200, 150))
    spoil(photo)
    said = refused(capsys, command, photo, "--net", net, "--out", tmp_path / "out")
    assert words in said
    assert "photo.jpg" in said


def test_limit_of_pixels_can_be_set(net, tmp_path, capsys):
    photo = picture(tmp_path / "photo.png", (40, 30))
    for command in ("explain", "attribute", "neurons"):
        given = (command, photo, "--net", net, "--out", tmp_path / command, "--max-pixels")
        assert "at most 1,199 pixels (--max-pixels), got 40 × 30" in refused(capsys, *given, 1199)
        assert call(*given, 1200) == 0
        capsys.readouterr()


def noise(shape, kind=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape, kind)


ODD = {
    "cmyk.jpg": lambda file: Image.fromarray(noise((30, 40, 4)), "CMYK").save(file),
    "sixteen.png": lambda file: Image.fromarray(noise((30, 40), np.uint16)).save(file),
    "alpha.png": lambda file: Image.fromarray(noise((30, 40, 4)), "RGBA").save(file),
    "gray.png": lambda file: Image.fromarray(noise((30, 40))).save(file),
    "dot.png": lambda file: Image.new("RGB", (1, 1), (200, 30, 40)).save(file),
    "moving.gif": lambda file: Image.fromarray(noise((30, 40, 3))).save(
        file, save_all=True, append_images=[Image.new("RGB", (40, 30), k) for k in ("red", "blue")]
    ),
}


def test_odd_images_are_read(net, tmp_path, capsys):
    for name, write in ODD.items():
        write(tmp_path / name)
    assert call("explain", *(tmp_path / name for name in ODD), "--net", net, "--out", tmp_path / "out") == 0
    assert not capsys.readouterr().err
    notes = {
        name: " ".join(
            json.loads((tmp_path / "out" / f"{name.split('.')[0]}.json").read_text())["image"]["notes"]
        )
        for name in ODD
    }
    assert "CMYK" in notes["cmyk.jpg"]
    assert "16-bit" in notes["sixteen.png"]
    assert "white" in notes["alpha.png"]
    assert "1 × 1" in notes["dot.png"]
    assert "first of 3 frames" in notes["moving.gif"]


def test_folder_of_mixed_files(net, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    for seed, name in enumerate(("good.png", "fine.png")):
        picture(folder / name, seed=seed)
    (folder / "bad.jpg").write_text("no picture")
    header_only(folder / "huge.png", 20_000, 20_000)
    (folder / "notes.txt").write_text("notes")
    (folder / ".hidden").write_text("")
    (folder / "deeper").mkdir()
    assert call("explain", folder, tmp_path / "gone.png", "--net", net, "--out", out) == 1
    printed, complaint = capsys.readouterr()
    assert printed == f"2 images explained\nreport: {out / 'index.html'}\n"
    left = [
        line.removeprefix("pellucid: left out ").split(": ")[0].split("/")[-1]
        for line in complaint.splitlines()
    ]
    assert left == ["gone.png", "bad.jpg", "huge.png", "deeper", "notes.txt"]
    run = json.loads((out / "run.json").read_text())
    assert run["finished"] is True
    assert [one["image"] for one in run["results"]] == ["fine.png", "good.png"]
    assert [one["name"].split("/")[-1] for one in run["failed"]] == ["gone.png", "bad.jpg", "huge.png"]
    assert [one["name"].split("/")[-1] for one in run["skipped"]] == [".hidden", "deeper", "notes.txt"]
    index = (out / "index.html").read_text()
    assert all(
        name in index for name in ("gone.png", "bad.jpg", "huge.png", "deeper", "notes.txt", ".hidden")
    )
    assert "--max-pixels 400000000" in index


def test_files_that_are_no_images_do_not_make_a_failure(net, tmp_path, capsys):
    picture(tmp_path / "in" / "p.png")
    for index in range(7):
        (tmp_path / "in" / f"{index}.txt").write_text("")
    for command in ("explain", "attribute", "neurons"):
        assert call(command, tmp_path / "in", "--net", net, "--out", tmp_path / command) == 0
        complaint = capsys.readouterr().err
        assert complaint.startswith("pellucid: left out 7 files that are no images")
        assert complaint.count("\n") == 1


def test_nothing_usable_at_all(net, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("words")
    assert call("explain", tmp_path / "a.png", tmp_path / "b.png", "--net", net, "--out", tmp_path / "o") == 2
    assert capsys.readouterr().err.count("left out") == 2
    (tmp_path / "empty").mkdir()
    assert "got none" in refused(capsys, "explain", tmp_path / "empty", "--net", net, "--out", tmp_path / "o")


@pytest.mark.parametrize(
    "scene", ["scenes:", "scenes:test/x", "scenes:testt/3", "scenes:-1", "scenes:9999999999"]
)
def test_scene_that_does_not_exist(scene, net, tmp_path, capsys):
    said = refused(capsys, "explain", scene, "--net", net, "--out", tmp_path / "o")
    assert scene.removeprefix("scenes:").split("/")[0] in said


def test_masks(net, tmp_path, capsys):
    photo, other = picture(tmp_path / "p.png"), picture(tmp_path / "q.png")
    Image.new("L", (41, 30), 255).save(tmp_path / "mask.png")
    given = ("--net", net, "--out", tmp_path / "o", "--mask")
    assert "mask of the image's size 30×40, got 30×41" in refused(
        capsys, "explain", photo, *given, tmp_path / "mask.png"
    )
    assert "one image with a mask, got 2" in refused(
        capsys, "explain", photo, other, *given, tmp_path / "mask.png"
    )
    assert "mask.pgn" in refused(capsys, "explain", photo, *given, tmp_path / "mask.pgn")


# ---- names and numbers


WRONG = {
    "network": (["explain", "--net", "scenes-vg"], "`scenes-vgg`"),
    "torchvision": (["explain", "--net", "torchvision:resnet19"], "`resnet18`"),
    "layer": (["explain", "--layers", "features.50"], "`features.5"),
    "layer of attribute": (["attribute", "--layers", "feature.5"], "`features.5"),
    "layer of neurons": (["neurons", "--layer", "features5"], "`features.5"),
    "method": (["explain", "--method", "grad-cma"], "`gradcam`"),
    "methods": (["explain", "--methods", "gradcam", "layercan"], "`layercam`"),
    "method of attribute": (["attribute", "--method", "layerCAM++"], "`layercam`"),
    "method with =": (["attribute", "--method=grdcam"], "`gradcam`"),
    "criterion": (["explain", "--criterion", "cgns"], "`cgnis`"),
    "criterion of neurons": (["neurons", "--criterion", "cgns"], "`cgnis`"),
    "class": (["explain", "--target", "fsh"], "`fish`"),
    "class of attribute": (["attribute", "--target", "shipp"], "did you mean"),
    "class of neurons": (["neurons", "--target", "zebra crossing"], "zebra crossing"),
    "target out of range": (["explain", "--target", "10"], "from 0 to 9"),
    "negative target": (["neurons", "--target", "-1"], "from 0 to 9"),
    "units": (["explain", "--units", "0"], "`--units` to be at least 1, got 0"),
    "top": (["neurons", "--top", "0"], "`--top` to be at least 1, got 0"),
    "pixels": (["explain", "--max-pixels", "0"], "`--max-pixels` to be at least 1"),
    "parameter": (["attribute", "--method", "smoothgrad", "--samples", "0"], "`samples`"),
    "class file": (["explain", "--classes", "nowhere.txt"], "nowhere.txt"),
    "device": (["explain", "--device", "gpu"], "got `gpu`"),
    "device without hardware": (["neurons", "--device", "meta"], "got `meta`"),
    "kind of method": (["methods", "--kind", "attributions"], "`attribution`"),
    "layers of": (["models", "--layers", "torchvision:resnet19"], "`resnet18`"),
    "zoo": (["models", "--zoo", "torchvison"], "`torchvision`"),
    "layers and zoo": (["models", "--zoo", "timm", "--layers", "x"], "`--layers` or `--zoo`"),
    "data": (["data", "sheets"], "`sheet`"),
    "picture": (["data", "sheet", "--out", "sheet.txt"], "`sheet.png`"),
    "share": (["data", "sheet", "--confounding", "2"], "0..1"),
    "train": (["train", "clasifier"], "`classifier`"),
    "train what": (["train", "classifier", "--network", "scenes-vg"], "`scenes-vgg`"),
    "train how": (["train", "classifier", "--learning-rate", "-1"], "positive `learning_rate`"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_names_and_numbers(kind, net, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, words = WRONG[kind]
    if arguments[0] in ("explain", "attribute", "neurons") and "--net" not in arguments:
        arguments = [*arguments, "--net", net]
    assert words in refused(capsys, *arguments)
    assert not list(tmp_path.iterdir()), "nothing is written before all is known to be right"


@pytest.mark.parametrize("flags", [["--units", "many"], ["--net"], ["--head", "softmx"]], ids=" ".join)
def test_flags_that_cannot_be_read(flags, capsys):
    assert call("explain", *flags) == 2
    assert flags[0] in capsys.readouterr().err


# ---- where results go


def test_file_in_the_way(net, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "deeper"):
        for command in ("explain", "attribute", "neurons"):
            assert "a file is in the way" in refused(capsys, command, "--net", net, "--out", out)
    assert (tmp_path / "file").read_text() == "mine"


def test_folder_that_cannot_be_written_to(net, capsys):
    assert "can be written to" in refused(capsys, "explain", "--net", net, "--out", "/proc/pellucid")


def test_run_of_something_else_stays(net, tmp_path, capsys):
    (tmp_path / "run.json").write_text('{"command": "mine"}')
    said = refused(capsys, "explain", "--net", net, "--out", tmp_path)
    assert "whose run.json (schema: expected a value, got none) is not pellucid's" in said
    assert (tmp_path / "run.json").read_text() == '{"command": "mine"}'


# ---- weights


class Danger:
    """Would make a folder when unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_pickle_with_code_is_refused(tmp_path, capsys):
    danger, given = Danger(tmp_path / "made"), ("explain", "--net", "torchvision:alexnet", "--weights")
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"state_dict": danger}, protocol=2))
    torch.save({"features.0.weight": danger}, tmp_path / "z.pt")
    for name in ("w.pt", "z.pt"):
        said = refused(capsys, *given, tmp_path / name)
        assert name in said
        assert f"would run `{os.mkdir.__module__}.mkdir`" in said
    (tmp_path / "new.pt").write_bytes(pickle.dumps({"state_dict": danger}, protocol=4))
    refused(capsys, *given, tmp_path / "new.pt")
    assert not (tmp_path / "made").exists()


def test_weights_that_do_not_fit(net, tmp_path, capsys):
    torch.save({f"module.{key}": value for key, value in weights().items()}, tmp_path / "vgg.pt")
    given = ("explain", "--net", "scenes-resnet", "--weights")
    for file in (net, tmp_path / "vgg.pt"):
        said = refused(capsys, *given, file)
        assert "missing (stem.0.weight" in said
        assert re.search(r"\d+ unexpected \((module\.)?features\.\d", said)
    assert "not there" in refused(capsys, *given, tmp_path / "gone.pt")
    (tmp_path / "cut.safetensors").write_bytes(net.read_bytes()[:1000])
    assert "cannot be read" in refused(capsys, *given, tmp_path / "cut.safetensors")


def test_weights_alone_without_an_architecture(tmp_path, capsys):
    torch.save(weights(), tmp_path / "w.pt")
    assert "`--net torchvision:resnet18 --weights w.pt`" in refused(
        capsys, "explain", "--net", tmp_path / "w.pt"
    )


def test_weights_with_nan(tmp_path, capsys):
    said = refused(capsys, "explain", "--net", network_file(tmp_path, change=not_a_number))
    assert "NaN or infinity in 1 of" in said
    assert "classifier.weight" in said


# ---- maps that cannot be read


def test_network_of_zeros(tmp_path, capsys):
    net, photo, out = network_file(tmp_path, change=zero), picture(tmp_path / "p.png"), tmp_path / "o"
    assert call("explain", photo, "--net", net, "--out", out, "--methods", "all") == 0
    assert "NaN" not in (out / "p.json").read_text()
    document = json.loads((out / "p.json").read_text())
    statuses = {one["status"] for stage in document["stages"] for one in stage["maps"].values()}
    assert "ok" not in statuses
    assert statuses <= {"zero", "constant", "negative"}
    assert document["neurons"] == []
    assert "no evidence" in capsys.readouterr().out.lower() or "zero" in document["details"]
    for command in (["attribute"], ["neurons"]):
        assert call(*command, photo, "--net", net, "--out", tmp_path / command[0]) == 0
    assert "zero" in (tmp_path / "attribute" / "run.json").read_text()


def test_evidence_against_the_target_everywhere(tmp_path):
    def against(state):
        state["classifier.weight"] = -state["classifier.weight"].abs()

    net, photo = network_file(tmp_path, change=against), picture(tmp_path / "p.png")
    last = pl.load(net).default_layers[-1]
    for method in ("gradcam", "hirescam"):
        given = ("--method", method, "--layers", last, "--target", 3)
        assert call("attribute", photo, "--net", net, "--out", tmp_path / method, *given) == 0
        run = json.loads((tmp_path / method / "run.json").read_text())
        assert run["results"][0]["maps"][last]["status"] == "negative"
        shown = np.asarray(Image.open(tmp_path / method / run["results"][0]["maps"][last]["picture"]))
        assert np.array_equal(shown, np.asarray(pl.load(net).preprocess.view(pl.read_image(photo))))
