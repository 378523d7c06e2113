"""``pellucid train decoder`` as a user meets it, in this process."""

import pytest
from tests.bundles import facts_of
from tests.commandline import network_file, picture

from pellucid.commands.train_decoder import run
from pellucid.visualization.decoder import load_decoder

SMALL = [
    "--width",
    "0.05",
    "--epochs",
    "1",
    "--batch-size",
    "8",
    "--precision",
    "float32",
    "--perceptual",
    "0",
]


def test_a_folder_of_pictures(tmp_path, capsys):
    net = network_file(tmp_path)
    for seed in range(10):
        picture(tmp_path / "pictures" / f"{seed}.png", seed=seed)
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    (tmp_path / "pictures" / "broken.png").write_text("no picture either")
    out = tmp_path / "out"
    assert run(["--net", str(net), "--images", str(tmp_path / "pictures"), "--out", str(out), *SMALL]) == 0
    said = capsys.readouterr()
    assert "squared error of 1 held-out pictures" in said.out
    assert "left out broken.png: Expected" in said.err
    assert "notes.txt: not an image" in said.err
    (file,) = out.glob("*.safetensors")
    assert str(file) in said.out
    facts = facts_of(file)["facts"]
    assert facts["layer"] == "features.30"
    assert facts["pictures"] == 10
    assert load_decoder(file).layer == "features.30"
    assert file.with_suffix(".md").is_file()


def test_scenes(tmp_path, capsys):
    arguments = ["--layer", "features.23", "--images", "scenes:train/0-9", "--out", str(tmp_path), *SMALL]
    assert run(arguments) == 0
    first = (tmp_path / "scenes-vgg-features.23.safetensors").read_bytes()
    assert run(arguments) == 0
    import torch
    from safetensors.torch import load

    again = load((tmp_path / "scenes-vgg-features.23.safetensors").read_bytes())
    assert all(torch.equal(value, again[key]) for key, value in load(first).items())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--layer", "features.31"], KeyError, "features.31"),
        (["--layer", "pool"], ValueError, "several cells, got 1×1"),
        (["--layer", "features.2"], ValueError, "smaller map than the picture"),
        (["--images", "EMPTY"], ValueError, "Expected"),
        (["--images", "scenes:train/0-3"], ValueError, "at least 8 pictures to train a decoder on, got 4"),
        (["--width", "-1"], ValueError, "positive `width`"),
    ],
)
def test_bad_input(arguments, error, words, tmp_path):
    (tmp_path / "empty").mkdir()
    given = [str(tmp_path / "empty") if one == "EMPTY" else one for one in arguments]
    given = given if "--images" in given else [*given, "--images", "scenes:train/0-9"]
    with pytest.raises(error, match="Expected") as raised:
        run([*given, "--out", str(tmp_path / "out"), *([] if "--width" in given else SMALL)])
    assert words in str(raised.value)
