"""``pellucid train interpretable``: what it writes and says, stopping and going on, and bad input in one line."""

import pytest
from tests.commandline import call

import pellucid as pl
from pellucid.interpretable.job import InterpretableJob

TINY = ["--images", "24", "--epochs", "2", "--batch-size", "12", "--test-images", "6", "--target", "bird"]


def train(out, *more):
    return call("train", "interpretable", "--out", out, *TINY, *more)


def test_it_is_trained_stopped_and_trained_on(tmp_path, capsys, monkeypatch):
    loss, calls = InterpretableJob.loss, []

    def stopping(self, forward, batch):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return loss(self, forward, batch)

    monkeypatch.setattr(InterpretableJob, "loss", stopping)
    assert train(tmp_path / "a", "--name", "held") == 130
    assert "The last whole epoch is kept in" in capsys.readouterr().err
    monkeypatch.undo()
    assert train(tmp_path / "a", "--name", "held", "--beta", "5") == 2
    assert "(beta was 3.0)" in capsys.readouterr().err
    assert train(tmp_path / "a", "--name", "held") == 0
    said = capsys.readouterr().out
    assert "accuracy on 6 test pictures: " in said
    assert sorted(each.name for each in (tmp_path / "a").iterdir()) == ["held.md", "held.safetensors"]
    assert train(tmp_path / "b", "--ordinary") == 0
    net = pl.load(tmp_path / "b" / "scenes-vgg-bird-ordinary.safetensors")
    assert net.classes == ("background", "bird")
    assert not [layer.name for layer in net.layers if "masking" in layer.name]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--target", "bird "], "Expected the target to be a class, got `bird `; did you mean `bird`"),
        (["--layers", "features.31"], "Expected the name of a layer, got `features.31`; did you mean"),
        (["--layers", "features.29"], "Expected a rectified map, got negative values from `features.29`"),
        (["--layers", "pool"], "Expected a map of several cells, got 1×1 from `pool` (AdaptiveAvgPool2d)"),
        (["--freeze", "features.99"], "Expected the name of a layer with a map, got `features.99`; did you mean"),
        (["--freeze", "features.30"], "Expected `freeze` below the layers that are made interpretable"),
        (["--backbone", "scenes-vg"], "Expected a network to make interpretable (scenes-vgg"),
        (["--weight", "-1"], "Expected `weight` to be at least 0, got -1.0"),
        (["--data", "nowhere"], "Expected a folder with a folder of pictures for each of several classes, got `nowhere`"),
    ],
)  # fmt: skip
def test_bad_input(tmp_path, capsys, more, message):
    assert train(tmp_path / "out", *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help(capsys):
    assert call("train", "interpretable", "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("--target", "--ordinary", "--freeze", "--norm", "goes on"):
        assert words in shown
