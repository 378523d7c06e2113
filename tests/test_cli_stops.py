"""How commands end before their end: signals, closed streams, pictures that go away, full disks; and that they go on."""

import errno
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tests.commandline import call, network_file, picture
from tests.processes import PATIENCE, started, stopped

import pellucid as pl
from pellucid.core.locks import Lock


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return network_file(tmp_path_factory.mktemp("net"))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def facts(folder):
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}


# ---- signals


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_run_that_is_stopped_by_any_signal_goes_on(how, net, tmp_path, capsys):
    arguments = (
        "attribute",
        "scenes:test/0-3",
        "--net",
        net,
        "--method",
        "gradcam",
        "--layers",
        "features.9",
    )
    out, straight = tmp_path / "out", tmp_path / "straight"
    file = "*/scene-test-1.safetensors"
    code, said, complaint = stopped(how, file, tmp_path / "marker", *arguments, "--out", out)
    assert not said
    if how == signal.SIGKILL:
        assert code == -how
    else:
        assert code == 128 + how
        text = f"1 of 4 images are finished, in {out}; the same command goes on from there."
        assert complaint == f"pellucid: stopped. {text}\n"
        assert facts(out)["stopped"] == f"KeyboardInterrupt: {text}"
        left = [name for name in names(out) if name != "unfinished"]
        assert left == ["run.json", "scene-test-0-features.9.png", "scene-test-0.safetensors"]
    for folder in (out, straight):
        assert call(*arguments, "--out", folder) == 0
    assert bytes_of(out) == bytes_of(straight)
    assert len(names(out)) == 9


def test_a_signal_that_is_ignored_stays_so(net, tmp_path):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert call("attribute", picture(tmp_path / "a.png"), "--net", net, "--out", tmp_path / "out") == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_stopped_evaluations_keep_every_map(net, tmp_path, monkeypatch, capsys):
    from pellucid.commands.bench import Bench

    cases, seen = Bench._cases, []

    def stopping(self, case):
        for key, each in cases(self, case):
            seen.append(key)
            if len(seen) == 5:
                raise KeyboardInterrupt
            yield key, each

    arguments = (
        "evaluate",
        "scenes:test/0-2",
        "--net",
        net,
        "--metric",
        "energy",
        "--layers",
        "features.9",
        "features.30",
    )
    monkeypatch.setattr(Bench, "_cases", stopping)
    more = ("--methods", "gradcam", "--controls", "center", "--out", tmp_path / "a")
    assert call(*arguments, *more) == 130
    assert "1 of 3 images are finished" in capsys.readouterr().err
    found = json.loads((tmp_path / "a" / "evaluation.json").read_text())
    assert (found["missing"], len(found["images"])) == (2, 1)
    monkeypatch.setattr(Bench, "_cases", cases)
    measured = []
    metric = type(pl.create("evaluation", "energy") if hasattr(pl, "create") else _energy())
    measure = metric.__call__
    monkeypatch.setattr(metric, "__call__", lambda self, case: measured.append(1) or measure(self, case))
    assert call(*arguments, *more) == 0
    tried = 1  # on a blank image, before anything is measured
    assert len(measured) - tried == 3 * 3 - 4, "four maps were measured before the stop"
    assert call(*arguments, *more[:-1], tmp_path / "b") == 0
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def _energy():
    from pellucid.core.registry import create

    return create("evaluation", "energy")


# ---- streams


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-", "2>/dev/full", "2> >(exit 0)"])
def test_streams_that_are_closed_end_nothing_and_nothing_lands_in_a_file(closed, net, tmp_path):
    photo = picture(tmp_path / "a.png")
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")  # something is said of it
    command = f'"{sys.executable}" -m pellucid.cli attribute "{photo}" "{broken}" --net "{net}" --out "{tmp_path}/out" {closed}'
    with started("bash", "-c", command) as process:
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert facts(tmp_path / "out")["finished"]
    assert (tmp_path / "out" / "a.safetensors").is_file()
    assert b"pellucid: " not in b"".join(bytes_of(tmp_path / "out").values())


# ---- pictures that go away


@pytest.mark.parametrize(
    "command",
    [
        ("explain", "--no-faithfulness", "--recognizer", "none", "--table", "none"),
        ("attribute",),
        ("neurons", "--criterion", "gradient"),
        ("evaluate", "--methods", "gradcam", "--layers", "features.9", "--metric", "average-drop"),
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("after", [0, 1])
def test_a_picture_that_goes_away_ends_only_its_own_work(command, after, net, tmp_path, monkeypatch, capsys):
    from pellucid.commands.sources import Source

    for index in range(3):
        picture(tmp_path / "in" / f"{index}.png", seed=index)
    read, seen = Source.read, []

    def leaving(self, *arguments, **options):
        seen.append(self.name)
        if len(seen) == 2 and not after:
            (tmp_path / "in" / "1.png").unlink()
        result = read(self, *arguments, **options)
        if len(seen) == 2 and after:
            (tmp_path / "in" / "1.png").unlink()
        return result

    monkeypatch.setattr(Source, "read", leaving)
    name, *flags = command
    code = call(name, tmp_path / "in", "--net", net, "--out", tmp_path / "out", *flags)
    done = [row["image"] for row in facts(tmp_path / "out")["results"]]
    assert facts(tmp_path / "out")["finished"]
    if after:
        assert (code, done) == (0, ["0.png", "1.png", "2.png"])
    else:
        assert (code, done) == (1, ["0.png", "2.png"])
        assert [row["name"] for row in facts(tmp_path / "out")["failed"]] == ["1.png"]


# ---- dissection


FEW = ("--draws", 1, "--resamples", 5, "--examples", 1)


def dissect(net, out, *more, concepts="scenes:val/0-9"):
    return call(
        "dissect",
        "--net",
        net,
        "--concepts",
        concepts,
        "--layers",
        "features.2",
        "features.9",
        *FEW,
        "--out",
        out,
        *more,
    )


def test_a_full_disk_after_counting_loses_nothing(net, tmp_path, monkeypatch, capsys):
    import pellucid.commands.dissect_results as results
    from pellucid.dissection import engine

    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    published = results.write_published
    monkeypatch.setattr(results, "write_published", full)
    assert dissect(net, tmp_path / "a") == 2
    assert "Expected room on the disk" in capsys.readouterr().err
    assert (tmp_path / "a" / "features.2.safetensors").is_file()
    monkeypatch.setattr(results, "write_published", published)
    monkeypatch.setattr(engine, "observe", lambda *_: pytest.fail("all pictures are looked at"))
    assert dissect(net, tmp_path / "a") == 0
    monkeypatch.undo()
    assert dissect(net, tmp_path / "b") == 0
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_labels_of_one_name_are_said_before_the_work(net, tmp_path, capsys):
    folder = tmp_path / "set"
    for index in range(4):
        picture(folder / "images" / f"p{index}.png", (64, 64), seed=index)
        mask = np.zeros((64, 64, 3), np.uint8)
        mask[:32, :, 0], mask[32:, :, 0] = 1, 2
        Image.fromarray(mask).save(folder / "images" / f"m{index}.png")
    rows = (f"p{k}.png,{'train' if k < 2 else 'val'},m{k}.png" for k in range(4))
    (folder / "index.csv").write_text("\n".join(["image,split,part", *rows]) + "\n")
    (folder / "label.csv").write_text("number,name,category\n1,a,part(3)\n2,a,part(3)\n")
    assert dissect(net, tmp_path / "out", concepts=f"broden:{folder}") == 0
    complaint = capsys.readouterr().err
    assert "problem in the set" in complaint
    assert "problems" in (tmp_path / "out" / "run.json").read_text(encoding="utf-8")
    tables = {"features.2.safetensors", "features.2.html", "features.2.csv"}
    assert tables <= set(
        names(tmp_path / "out")
    )  # the second of one name counts as unlabeled, and names are unique


def test_a_summary_in_the_way_is_said_before_the_work(net, tmp_path, capsys):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "features.2.safetensors").write_text("mine")
    assert dissect(net, tmp_path / "out", "--summary", tmp_path / "small") == 2
    assert "try another `--summary`" in capsys.readouterr().err
    assert names(tmp_path / "out") == ["run.json"]
    assert (tmp_path / "small" / "features.2.safetensors").read_text() == "mine"


def test_tables_that_are_saved_are_not_made_again(net, tmp_path, capsys):
    code, _, _ = stopped(
        signal.SIGKILL, "*/features.2.safetensors", tmp_path / "marker", "dissect", "--net", net, "--concepts", "scenes:val/0-9",
        "--layers", "features.2", "features.9", *FEW, "--out", tmp_path / "a",
    )  # fmt: skip
    assert code == -signal.SIGKILL
    made = (tmp_path / "a" / "features.2.safetensors").stat().st_mtime_ns
    assert dissect(net, tmp_path / "a") == 0
    assert "1 of 2 tables of this run are finished" in capsys.readouterr().err
    assert (tmp_path / "a" / "features.2.safetensors").stat().st_mtime_ns == made
    assert dissect(net, tmp_path / "b") == 0
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


# ---- trainings

TINY = (
    "--images",
    16,
    "--test-images",
    4,
    "--size",
    32,
    "--epochs",
    1,
    "--batch-size",
    8,
    "--precision",
    "float32",
)


@pytest.mark.parametrize("name", ["scenes-vgg.safetensors", "scenes-vgg.md"])
def test_a_training_overwrites_nothing_of_others(name, tmp_path, capsys):
    (tmp_path / name).write_text("mine")
    assert call("train", "classifier", *TINY, "--out", tmp_path) == 2
    assert "try another `--out`" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"
    assert names(tmp_path) == [name]


def test_two_trainings_of_one_name(tmp_path, capsys):
    lock = Lock(tmp_path / ".scenes-vgg.lock", "in use")
    assert call("train", "classifier", *TINY, "--out", tmp_path) == 2
    assert "no other training of `scenes-vgg` is under way" in capsys.readouterr().err
    lock.release()
    for _ in range(2):  # the second overwrites what is its own
        assert call("train", "classifier", *TINY, "--out", tmp_path) == 0
    assert names(tmp_path) == ["scenes-vgg.md", "scenes-vgg.safetensors"]


def test_a_checkpoint_on_a_full_disk(tmp_path):
    """A limit on the size of files is met as a full disk is."""
    program = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from pellucid.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", program, "train", "classifier", *map(str, TINY), "--out", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert names(tmp_path) == []
