"""``pellucid train irenet``: files and words, help, bad input, interruption."""

import pytest
from tests.commandline import call

from pellucid.explanation.recognizer import recognizer
from pellucid.training.irenet import learning

TINY = (
    *(
        "--width",
        0.125,
        "--pictures",
        8,
        "--checked",
        8,
        "--positives",
        1,
        "--size",
        32,
        "--grid",
        4,
        "--depth",
        8,
    ),
    *("--epochs", 1, "--batch-size", 4, "--precision", "float32"),
)


def test_files_and_words(tmp_path, capsys):
    assert (
        call("train", "irenet", *TINY, "--out", tmp_path, "--name", "mine", "--categories", "part", "color")
        == 0
    )
    said = capsys.readouterr().out
    file = tmp_path / "mine.safetensors"
    assert f"weights: {file}" in said
    assert "left out for too few positives: " in said
    facts = recognizer(file).facts
    for category in ("part", "color"):
        assert f"{category}: micro F1 {100 * facts['by_category'][category]['micro_f1']:.1f} %" in said
    assert (tmp_path / "mine.md").read_text().startswith("# mine\n")


def test_a_rival_without_maps(tmp_path):
    options = ("--network", "resnet18", "--no-maps", "--crops", "parts", "--categories", "part")
    assert call("train", "irenet", *TINY, *options, "--out", tmp_path) == 0
    assert "resnet18 at 0.125 of its published width" in (tmp_path / "irenet.md").read_text()


def test_help_names_what_can_be_set(capsys):
    assert call("train", "irenet", "--help") == 0
    said = capsys.readouterr().out
    for flag in (
        "--network",
        "--width",
        "--weights",
        "--data",
        "--crops",
        "--no-maps",
        "--balance",
        "--seed",
        "--name",
    ):
        assert flag in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--network", "resnet19"), "did you mean `resnet18`"),
        (("--crops", "parts"), "Expected maps of IRENet or its arms on views"),
        (("--data", "folder:nowhere"), "Expected"),
        (("--weights", "nowhere.pth"), "which is not there"),
        (("--positives", 900, "--categories", "part"), "shown by at least 900 of 8 training samples"),
    ],
)
def test_bad_input(options, words, tmp_path, capsys):
    assert call("train", "irenet", *TINY, "--out", tmp_path, *options) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.startswith("pellucid: Expected")
    assert not list(tmp_path.glob("*.safetensors"))


def test_interrupted(tmp_path, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(learning.RecognizerJob, "loss", stop)
    assert call("train", "irenet", *TINY, "--out", tmp_path) == 130
    assert "No epoch was finished" in capsys.readouterr().err
