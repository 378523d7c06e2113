"""``pellucid patterns``, and ``pellucid visualize --patterns``, as a user meets them, in this process."""

import json

import pytest
from PIL import Image
from tests.bundles import facts_of
from tests.commandline import network_file, picture

from pellucid.commands.patterns import run
from pellucid.commands.visualize import run as visualize
from pellucid.units.patterns import load_patterns
from pellucid.visualization.decoder import DecoderTraining, train_decoder
from pellucid.zoo.embedded import WEIGHTS

SCENES = "scenes:train/0-119"
MINING = ["--items", "8", "--longest", "4", "--top", "12", "--keep", "1", "--examples", "1"]


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    out = tmp_path_factory.mktemp("patterns")
    assert run([SCENES, "--layer", "features.30", "--labels", "given", "--out", str(out), *MINING]) == 0
    return out


def test_patterns_are_written_and_said(mined, tmp_path, capsys):
    found = load_patterns(mined)
    assert found.labels == "given"
    assert found.settings.items == 8
    facts = json.loads((mined / "run.json").read_text())
    assert facts["finished"]
    assert {"patterns.safetensors", "sheet.png"} <= set(facts["files"])
    assert [row["channels"] for row in facts["results"]] == [list(one.channels) for one in found.patterns]
    assert facts["results"][0]["images"][0].startswith("scene-train-")
    with Image.open(mined / "sheet.png") as sheet:
        assert sheet.width > 128
    out = ["--target", "car", "truck", "--table", "none", "--out", str(tmp_path)]
    assert run([SCENES, "--layer", "features.30", *out, *MINING]) == 0
    said = capsys.readouterr().out
    assert "together appear in" in said
    assert "neurons " in said
    assert {one.name for one in load_patterns(tmp_path).patterns} <= {"car", "truck"}


def test_files_are_labeled_by_their_folder(tmp_path, capsys):
    net = network_file(tmp_path)
    for seed in range(12):
        picture(tmp_path / "pictures" / ("car" if seed % 2 else "bird") / f"{seed}.png", seed=seed)
    arguments = ["--net", str(net), "--layer", "features.30", "--labels", "given", "--out", str(tmp_path / "out"),
                 "--shortest", "1", "--support", "0.1", "--confidence", "0.1", *MINING]  # fmt: skip
    assert run([str(tmp_path / "pictures"), "--recursive", *arguments]) == 0
    assert {one.name for one in load_patterns(tmp_path / "out").summary} == {"car", "bird"}
    (tmp_path / "pictures" / "bird" / "broken.png").write_text("no picture")
    capsys.readouterr()
    assert run([str(tmp_path / "pictures"), "--recursive", *arguments]) == 0
    assert "left out broken.png: Expected" in capsys.readouterr().err
    picture(tmp_path / "pictures" / "cars" / "a.png")
    with pytest.raises(KeyError, match=r"Expected a class of .*, got `cars`; did you mean `car`"):
        run([str(tmp_path / "pictures"), "--recursive", *arguments])


def test_decoded_patterns(mined, tmp_path, capsys):
    import pellucid as pl
    from pellucid.world import SceneDataset

    net = pl.load("scenes-vgg")
    data = SceneDataset("train", 16)
    import torch

    settings = DecoderTraining(width=0.05, epochs=1, batch_size=8, precision="float32", perceptual=0.0)
    train_decoder(
        net,
        torch.stack([data[k][0] for k in range(16)]),
        "features.30",
        settings,
        out=tmp_path,
        progress=False,
    )
    file = tmp_path / "scenes-vgg-features.30.safetensors"
    out = tmp_path / "out"
    arguments = ["--patterns", str(mined), "--images", "scenes:val/0-59", "--out", str(out)]
    assert visualize(["--method", "decode", "--decoder", str(file), *arguments]) == 0
    said = capsys.readouterr().out
    assert "fed back," in said
    facts = json.loads((out / "decode.json").read_text())
    assert all((out / row["file"]).is_file() for row in facts["patterns"])
    assert facts["patterns"][0]["words"].startswith(facts["patterns"][0]["class"])
    listed = json.loads((out / "run.json").read_text())["files"]
    assert {"sheet.png", "decode.json", facts["patterns"][0]["file"]} <= set(listed)
    with pytest.raises(ValueError, match=r"Expected a class with patterns, got 5|Expected a class of"):
        visualize(["--method", "decode", "--decoder", str(file), *arguments, "--target", "submarine"])
    with pytest.raises(ValueError, match="Expected the file of a decoder, got none"):
        visualize(["--method", "decode", *arguments])


def test_patterns_are_painted_by_other_methods_too(mined, tmp_path, monkeypatch):
    monkeypatch.setattr("pellucid.visualization.certificate.SCENES", 3)
    name = load_patterns(mined).patterns[0].name
    arguments = ["--patterns", str(mined), "--target", name, "--steps", "2", "--octaves", "1", "--size", "48"]
    assert visualize([*arguments, "--out", str(tmp_path)]) == 0
    rows = facts_of(tmp_path / "visualization.safetensors")["images"]
    assert len(rows) == 1
    assert all(
        f"features.30:{k}" in rows[0]["label"] for k in load_patterns(mined).of_class(name)[0].channels
    )


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["scenes:train/0-19", "--support", "2"], ValueError, "Expected `support` in"),
        (["scenes:train/0-19", "--layer", "features.99"], KeyError, "features.99"),
        (["scenes:train/0-39", "--top", "128"], ValueError, "Expected `top` below the 128 channels"),
        (["nowhere"], ValueError, "nowhere"),
    ],
)
def test_bad_input(arguments, error, words, tmp_path):
    assert WEIGHTS.is_dir()
    with pytest.raises(error, match="Expected") as raised:
        run([*arguments, "--out", str(tmp_path)])
    assert words in str(raised.value)
