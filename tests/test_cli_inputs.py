"""One picture that goes away, is damaged or exhausts memory never ends a run; preprocessing and spellings as flags."""

from __future__ import annotations

import json
import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import pellucid as pl
import pellucid.data.images
from pellucid.cli import main
from pellucid.commands.options import NetOptions
from pellucid.commands.visualize import _remarks
from pellucid.commands.work import reason_of
from pellucid.core import capture as capturing
from pellucid.data.images import ImageError
from pellucid.zoo.zoos import import_torchvision

RUNS = {
    "attribute": ["--method", "Grad-CAM", "--layers", "layer4"],
    "neurons": ["--layer", "layer4"],
    "evaluate": ["--methods", "grad-cam", "--controls", "none", "--layers", "layer4", "--steps", "4", "--baseline", "GradCAM"],
    "explain": ["--no-faithfulness", "--recognizer", "none", "--table", "none", "--methods", "gradcam", "--method", "gradcam"],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (140, 150, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(made / f"p{index}.png")
    return made


def run(command: str, folder: Path, *more: str) -> tuple[int, dict]:
    out = folder.parent / "out"
    code = main([command, str(folder), "--net", "scenes-resnet", *RUNS[command], *more, "--out", str(out)])
    return code, json.loads((out / "run.json").read_text())


def names(entries: list[dict], key: str) -> list[str]:
    return sorted(entry[key] for entry in entries)


@pytest.mark.parametrize("command", RUNS)
def test_a_picture_that_goes_away_meanwhile(
    folder: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = pellucid.data.images.read_image, []

    def reading(*args: object, **options: object) -> object:
        calls.append(args)
        picture = real(*args, **options)
        if len(calls) == 2:  # this one is read, the next is gone
            (folder / "p1.png").unlink()
            (folder / "p2.png").unlink()
        return picture

    monkeypatch.setattr(pellucid.data.images, "read_image", reading)
    code, facts = run(command, folder)
    assert code == 1
    assert names(facts["results"], "image") == ["p0.png", "p1.png", "p3.png"]
    assert names(facts["failed"], "name") == ["p2.png"]
    assert all(len(entry["sha256"]) == 64 for entry in facts["results"])


@pytest.mark.timeout(60)
def test_a_pipe_does_not_hold_a_run_up(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    out = folder.parent / "out"
    arguments = ["neurons", str(folder / "pipe.png"), str(folder / "p0.png"), "--net", "scenes-resnet"]
    assert main([*arguments, "--out", str(out)]) == 1
    facts = json.loads((out / "run.json").read_text())
    assert names(facts["failed"], "name") == ["pipe.png"]


@pytest.mark.parametrize("command", RUNS)
def test_damaged_pictures_and_those_without_memory(
    folder: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "p0.png").write_bytes((folder / "p0.png").read_bytes()[:900])
    real = pellucid.data.images.decode

    def decode(stream: object, name: str, limit: object) -> object:
        if name == "p3.png":
            raise pellucid.data.images.too_much_memory(name)
        return real(stream, name, limit)

    monkeypatch.setattr(pellucid.data.images, "decode", decode)
    code, facts = run(command, folder)
    assert code == 1
    assert names(facts["results"], "image") == ["p1.png", "p2.png"]
    assert names(facts["failed"], "name") == ["p0.png", "p3.png"]


@pytest.mark.parametrize("command", ["attribute", "evaluate"])
def test_a_picture_the_network_has_no_memory_for(
    folder: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = capturing.check_scores, []

    def check(output: torch.Tensor, name: str) -> None:
        real(output, name)
        calls.append(len(output))
        if len(calls) in (3, 4):
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"
            )

    monkeypatch.setattr(capturing, "check_scores", check)
    code, facts = run(command, folder)
    assert code == 1
    assert len(facts["results"]) + len(facts["failed"]) == 4
    assert facts["results"]
    assert "Expected memory for this picture" in facts["failed"][0]["reason"]


@pytest.mark.parametrize(
    ("error", "own"),
    [
        (ImageError("Expected an image, got none"), True),
        (ValueError("Expected finite class scores"), True),
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (OSError(28, "No space left on device"), False),
        (RuntimeError("shapes do not match"), False),
        (ValueError("math domain error"), False),
        (TypeError("an error of ours"), False),
    ],
)
def test_what_concerns_one_picture(error: Exception, own: bool) -> None:
    reason = reason_of(error)
    assert (reason is not None) is own
    assert reason is None or ("\n" not in reason and reason.startswith("Expected "))


def test_preprocessing_is_given_by_flags() -> None:
    net = NetOptions("scenes-resnet", mean=(0.1, 0.2, 0.3), std=(0.5,), size=96, crop=64).load()
    assert net.preprocess.mean == (0.1, 0.2, 0.3)
    assert (net.preprocess.std, net.preprocess.resize, net.preprocess.size) == ((0.5,) * 3, 96, (64, 64))
    assert NetOptions("scenes-resnet").load().preprocess.mean == (0.5,) * 3


def test_the_flags_are_on_the_command_line(folder: Path) -> None:
    code, _ = run(
        "attribute", folder, *["--mean", "0.4", "--std", "0.2", "0.2", "0.2", "--size", "80", "--crop", "64"]
    )
    assert code == 0
    with pytest.raises(ValueError, match="mean to be 3 finite numbers"):
        NetOptions("scenes-resnet", mean=(0.1, 0.2), std=(0.1, 0.2, 0.3)).load()


def test_assumed_preprocessing_is_noted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    state = import_torchvision().models.squeezenet1_1(weights=None, num_classes=3).state_dict()
    torch.save(state, folder.parent / "mine.pth")
    arguments = ["neurons", str(folder / "p0.png"), "--net", "torchvision:squeezenet1_1",
                 "--weights", str(folder.parent / "mine.pth"), "--out", str(folder.parent / "out")]  # fmt: skip
    assert main(arguments) == 0
    assert "preprocessing was not given: that of torchvision's own weights assumed" in capsys.readouterr().err
    assert main([*arguments, "--mean", "0.5"]) == 0
    assert "assumed" not in capsys.readouterr().err


def test_warnings_of_other_code_are_no_remarks_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with _remarks():
            warnings.warn("ours", stacklevel=1)
            thread = threading.Thread(target=lambda: warnings.warn("somebody's", stacklevel=1))
            thread.start()
            thread.join()
    err = capsys.readouterr().err
    assert "ours" in err
    assert "somebody's" not in err
    assert [str(entry.message) for entry in caught] == ["somebody's"]


class Overflowing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).relu().mean((2, 3))) * float("nan")


def test_a_network_that_overflows_is_said_of_every_picture(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pl.load(Overflowing().eval(), input_shape=(3, 32, 32))
    monkeypatch.setattr(NetOptions, "load", lambda self: made)
    code = main(["neurons", str(folder), "--out", str(folder.parent / "out")])
    facts = json.loads((folder.parent / "out" / "run.json").read_text())
    assert code == 2
    assert len(facts["failed"]) == 4
    assert "Expected finite class scores" in facts["failed"][0]["reason"]
