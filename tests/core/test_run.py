"""Run directories: what they note, what they never overwrite, what they leave when stopped."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn

from pellucid.core.names import stem_of
from pellucid.core.run import RunDirectory
from pellucid.core.storage import fingerprint, write_arrays, write_json, write_text

ENDINGS = (".html", ".json")


def read(folder):
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def fill(directory, name, text="x"):
    stem = directory.claim(name, ENDINGS)
    for ending in ENDINGS:
        write_text(directory.folder / f"{stem}{ending}", text)
    directory.add({"image": name}, stem)
    return stem


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_facts_before_and_after(tmp_path):
    with RunDirectory(tmp_path / "deep" / "er", "explain", {"seed": 3}, network={"name": "n"}) as directory:
        begun = read(directory.folder)
        assert begun["finished"] is False
        assert (begun["command"], begun["parameters"], begun["network"]) == (
            "explain",
            {"seed": 3},
            {"name": "n"},
        )
        assert {"pellucid", "python", "torch", "numpy", "pillow"} <= set(begun["versions"])
        fill(directory, "a.png")
        directory.fail("b.png", "broken")
        directory.skip("c.txt", "not an image")
    ended = read(directory.folder)
    assert ended["finished"] is True
    assert "stopped" not in ended
    assert ended["results"] == [{"image": "a.png"}]
    assert ended["failed"] == [{"name": "b.png", "reason": "broken"}]
    assert ended["skipped"] == [{"name": "c.txt", "reason": "not an image"}]
    assert ended["files"] == ["a.html", "a.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt("enough"), RuntimeError("no memory"), SystemExit(1)])
def test_stopped_run_keeps_what_is_finished_and_nothing_else(error, tmp_path):
    def work():
        with RunDirectory(tmp_path, "explain", {}) as directory:
            fill(directory, "a.png")
            stem = directory.claim("b.png", ENDINGS)
            write_text(tmp_path / f"{stem}.html", "half of the results")
            raise error

    with pytest.raises(type(error)):
        work()
    assert names(tmp_path) == ["a.html", "a.json", "run.json"]
    facts = read(tmp_path)
    assert facts["finished"] is False
    assert facts["stopped"] == f"{type(error).__name__}: {error}"
    assert facts["files"] == ["a.html", "a.json"]
    assert len(facts["results"]) == 1


def test_run_json_is_current_without_being_written_every_time(tmp_path, monkeypatch):
    import pellucid.core.run as module

    written = []
    original = module.write_json
    monkeypatch.setattr(module, "write_json", lambda *given: written.append(1) or original(*given))
    with RunDirectory(tmp_path, "explain", {}) as directory:
        for index in range(200):
            fill(directory, f"{index}.png")
        assert len(written) < 20
        monkeypatch.setattr(module.time, "monotonic", lambda: directory._due)
        fill(directory, "last.png")
        assert len(read(tmp_path)["results"]) == 201


def test_names_are_told_apart_whatever_the_file_system_folds(tmp_path):
    with RunDirectory(tmp_path, "explain", {}) as directory:
        given_names = [
            "x/a.png",
            "y/a.jpg",
            "A.png",
            "\u00fc.png",
            "u\u0308.png",
            "a-2.png",
            "run.png",
            "run.jpg",
        ]
        stems = [fill(directory, name) for name in given_names]
    assert len({stem.casefold() for stem in stems}) == len(stems)
    assert stems[:3] == ["a", "a-2", "A-3"]
    assert stems[-2:] == ["run-2", "run-3"]
    assert read(tmp_path)["command"] == "explain"


def test_files_of_others_are_never_overwritten_and_own_ones_are(tmp_path):
    (tmp_path / "a.json").write_text("mine")
    for text in ("first", "second"):
        with RunDirectory(tmp_path, "explain", {}) as directory:
            assert fill(directory, "a.png", text) == "a-2"
    assert (tmp_path / "a.json").read_text() == "mine"
    assert (tmp_path / "a-2.html").read_text() == "second"
    assert read(tmp_path)["files"] == ["a-2.html", "a-2.json"]


def test_results_of_earlier_runs_stay_known(tmp_path):
    for name in ("a.png", "b.png"):
        with RunDirectory(tmp_path, "explain", {}) as directory:
            fill(directory, name)
    assert read(tmp_path)["files"] == ["a.html", "a.json", "b.html", "b.json"]
    (tmp_path / "a.json").unlink()
    with RunDirectory(tmp_path, "explain", {}):
        pass
    assert read(tmp_path)["files"] == ["a.html", "b.html", "b.json"]


def test_results_of_an_earlier_run_survive_a_stop(tmp_path):
    with RunDirectory(tmp_path, "explain", {}) as directory:
        fill(directory, "a.png")

    def again():
        with RunDirectory(tmp_path, "explain", {}) as directory:
            directory.claim("a.png", ENDINGS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again()
    assert names(tmp_path) == ["a.html", "a.json", "run.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"command": "x"}', "\x00", '{"schema": 1, "command": "x", "files": 3}']
)
def test_run_json_of_something_else_is_refused(text, tmp_path):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(FileExistsError, match="not pellucid's; try another"):
        RunDirectory(tmp_path, "explain", {})
    assert (tmp_path / "run.json").read_text() == text


def test_a_run_json_cannot_claim_files_elsewhere(tmp_path):
    outside = tmp_path / "outside.html"
    outside.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text(
        json.dumps({"schema": 1, "command": "explain", "files": ["../outside.html", str(outside), 3][:2]})
    )
    with RunDirectory(tmp_path / "out", "explain", {}) as directory:
        assert directory.facts["files"] == []


def test_files_in_the_way_and_folders_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(
            NotADirectoryError, match=r"Expected a folder for the results, got .*a file is in the way"
        ):
            RunDirectory(folder, "explain", {})
    with pytest.raises(OSError, match="Expected a folder that can be written to"):
        RunDirectory("/proc/pellucid", "explain", {})
    with pytest.raises(OSError, match="Expected a folder that can be written to"):
        RunDirectory(tmp_path / ("x" * 300), "explain", {})


@given(st.text(max_size=300))
def test_stems_are_safe_for_any_name(name):
    stem = stem_of(name.replace("\0", "") + ".png")
    assert stem
    assert len(stem.encode()) <= 120
    assert Path(stem).name == stem
    assert not stem.startswith((".", "-"))
    assert all(character.isalnum() or character in "-_." for character in stem)


# ---- files


def test_files_are_whole_or_not_there(tmp_path):
    write_text(tmp_path / "a", "before")
    with pytest.raises(ValueError):
        write_json(tmp_path / "a", {"x": float("nan")})
    with pytest.raises(TypeError):
        write_json(tmp_path / "b", object())
    with pytest.raises(OSError):
        write_text(tmp_path / "none" / "a", "x")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "before"


def test_stop_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    write_text(tmp_path / "a", "before")

    def stopped(self, content):
        with self.open("wb") as stream:
            stream.write(content[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "a", "after")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "before"


def test_names_that_are_no_text_can_be_written(tmp_path):
    write_json(tmp_path / "a", {"name": "\udcff ü"})
    assert json.loads((tmp_path / "a").read_text(encoding="utf-8"))["name"] == "? ü"


def test_arrays(tmp_path):
    arrays = {"b": torch.eye(3)[:, :2], "a/x": torch.arange(4, requires_grad=False)}
    write_arrays(tmp_path / "a.safetensors", arrays)
    with safe_open(tmp_path / "a.safetensors", "pt") as opened:
        assert sorted(opened.keys()) == ["a/x", "b"]
        assert torch.equal(opened.get_tensor("b"), arrays["b"])
    write_text(tmp_path / "text", "as any other file")
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "text").stat().st_mode


def test_fingerprint_sees_every_byte_name_and_shape():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    digest = hashlib.sha256()
    for key, value in module.state_dict().items():
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode() + value.numpy().tobytes())
    first = fingerprint(module)
    assert first == digest.hexdigest() == fingerprint(module)
    module[1].num_batches_tracked += 1
    assert fingerprint(module) != first
    assert fingerprint(nn.Linear(2, 3).bfloat16()) != fingerprint(nn.Linear(2, 3).bfloat16())
