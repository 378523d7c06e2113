"""What runs keep, claim and give back: locks, journals, going on, files of others, full disks."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from pellucid.core import storage
from pellucid.core.journal import Entry, Journal, read
from pellucid.core.locks import InUseError, Lock
from pellucid.core.run import RunDirectory
from pellucid.core.steps import Steps
from pellucid.core.storage import DiskFullError, sweep, write_text


def facts(folder):
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def work(directory, count, start=0):
    """Some results, each of one file; those that are there are taken as they are. Gives what was made."""
    made = []
    for index in range(start, count):
        if directory.recall(f"picture {index}") is None:
            stem = directory.claim(f"{index}.png", (".html",))
            write_text(directory.folder / f"{stem}.html", f"page {index}")
            directory.add({"image": index}, stem, key=f"picture {index}")
            made.append(index)
    return made


def killed(folder, count, **parameters):
    """A run of which nothing is put in order at the end."""
    directory = RunDirectory(folder, "explain", parameters)
    work(directory, count)
    directory.close()


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path):
    killed(tmp_path / "a", 3)
    assert (tmp_path / "a" / "unfinished").is_dir()
    with RunDirectory(tmp_path / "a", "explain", {}) as directory:
        assert directory.going_on
        assert work(directory, 5) == [3, 4]
    with RunDirectory(tmp_path / "b", "explain", {}) as directory:
        assert work(directory, 5) == [0, 1, 2, 3, 4]
    assert names(tmp_path / "a") == names(tmp_path / "b") == [*(f"{k}.html" for k in range(5)), "run.json"]
    assert (tmp_path / "a" / "run.json").read_bytes() == (tmp_path / "b" / "run.json").read_bytes()


def test_a_finished_run_begins_anew(tmp_path):
    for _ in range(2):
        with RunDirectory(tmp_path, "explain", {}) as directory:
            assert not directory.going_on
            assert work(directory, 2) == [0, 1]


def test_a_result_that_is_gone_or_altered_is_made_again_under_its_name(tmp_path):
    killed(tmp_path, 3)
    (tmp_path / "0.html").unlink()
    (tmp_path / "1.html").write_text("other")
    with RunDirectory(tmp_path, "explain", {}) as directory:
        assert work(directory, 3) == [0, 1]
    assert (tmp_path / "0.html").read_text() == "page 0"
    assert (tmp_path / "1.html").read_text() == "other", "somebody else's by now"
    assert (tmp_path / "1-2.html").read_text() == "page 1"


def test_another_run_is_not_gone_on_with_and_not_harmed(tmp_path):
    killed(tmp_path, 2, seed=1)
    with RunDirectory(tmp_path, "explain", {"seed": 2}) as directory:
        assert not directory.going_on
        (other,) = directory.beside
        assert "unfinished` (seed was 1, now 2)" in other
        work(directory, 1)
    assert names(tmp_path) == ["0.html", "1.html", "run.json", "unfinished", "unfinished/journal.jsonl"]
    with RunDirectory(tmp_path, "explain", {"seed": 1}) as directory:
        assert directory.going_on
        assert work(directory, 3) == [2], "the other run has written the same bytes under the first name"


def test_a_source_that_changed_makes_another_run(tmp_path):
    table = tmp_path / "table.txt"
    table.write_text("one")
    killed(tmp_path / "out", 2, table=str(table))
    table.write_text("another")
    with RunDirectory(tmp_path / "out", "explain", {"table": str(table)}) as directory:
        assert not directory.going_on


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_lies_under_the_name_of_the_unfinished_folder_stays(kind, tmp_path):
    place = tmp_path / "unfinished"
    if kind == "folder":
        place.mkdir()
        for name in ("thesis.txt", "plan.json", "shard-00000.safetensors", "journal.jsonl"):
            (place / name).write_text("my thesis")
    elif kind == "file":
        place.write_text("my thesis")
    else:
        place.symlink_to(tmp_path / "nowhere")
    before = names(tmp_path)
    killed(tmp_path, 1)
    assert (tmp_path / "unfinished-2" / "journal.jsonl").is_file()
    with RunDirectory(tmp_path, "explain", {}) as directory:
        assert directory.going_on
        work(directory, 1)
    assert names(tmp_path) == sorted([*before, "0.html", "run.json"])


def test_files_of_others_among_the_unfinished_stay(tmp_path):
    killed(tmp_path, 1)
    mine = tmp_path / "unfinished" / "thesis.txt"
    mine.write_text("my thesis")
    with RunDirectory(tmp_path, "explain", {}) as directory:
        write_text(directory.unfinished / "shard-1", "ours")
        work(directory, 1)
    assert names(tmp_path / "unfinished") == ["thesis.txt"]


def test_a_file_written_under_a_claimed_name_by_another_stays(tmp_path):
    """Claimed, and the run killed before it wrote: whoever takes the name then, keeps it."""
    directory = RunDirectory(tmp_path, "explain", {})
    directory.claim("a.png", (".html",))
    directory.close()
    (tmp_path / "a.html").write_text("mine")
    with RunDirectory(tmp_path, "explain", {}) as directory:
        assert directory.claim("a.png", (".html",)) == "a-2"
    assert (tmp_path / "a.html").read_text() == "mine"


def test_a_stop_deletes_nothing_that_it_did_not_write(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _stopped_with_a_file_of_others(tmp_path)
    assert (tmp_path / "a.html").read_text() == "mine"


def _stopped_with_a_file_of_others(folder):
    with RunDirectory(folder, "explain", {}) as directory:
        directory.claim("a.png", (".html",))
        (folder / "a.html").write_text("mine")
        raise KeyboardInterrupt


def test_half_written_files_of_a_killed_run_are_swept(tmp_path):
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    process = gone.stdout.strip()
    directory = RunDirectory(tmp_path, "explain", {})
    write_text(tmp_path / "a.html", "x")
    directory.close()
    (tmp_path / f".a.html.{process}.partial").write_text("half")
    (tmp_path / f".thesis.txt.{process}.partial").write_text("mine")
    (tmp_path / f".a.html.{os.getppid()}.partial").write_text("of a process that lives")
    with RunDirectory(tmp_path, "explain", {}):
        pass
    left = [name for name in names(tmp_path) if name.startswith(".")]
    assert left == sorted([f".a.html.{os.getppid()}.partial", f".thesis.txt.{process}.partial"])


def test_steps_stay_until_the_end(tmp_path):
    import torch

    directory = RunDirectory(tmp_path, "explain", {})
    steps = Steps(directory.unfinished, {"of": "this"})
    steps.put("one", {"x": torch.arange(3)})
    directory.close()
    with RunDirectory(tmp_path, "explain", {}) as directory:
        steps = Steps(directory.unfinished, {"of": "this"})
        assert steps.get("one")["x"].tolist() == [0, 1, 2]
        assert steps.get("two") is None
        (directory.unfinished / "one.safetensors").write_bytes(b"damaged")
        assert steps.get("one") is None
        with pytest.raises(ValueError, match="got those of another run"):
            Steps(directory.unfinished, {"of": "that"})
    assert names(tmp_path) == ["run.json"]
    assert Steps(None, {}).get("one") is None


# ---- journals


def test_a_journal_passes_over_what_was_cut_off(tmp_path):
    journal = Journal(tmp_path, {"a": 1})
    journal.add(Entry(key="one", data=[float("nan"), "\udcff"]))
    journal.close()
    file = tmp_path / "journal.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"key":"tw')
    journal = Journal(tmp_path, {"a": 1})
    journal.add(Entry(key="three"))
    journal.close()
    assert [entry.key for entry in read(tmp_path)] == [None, "one", "three"]
    assert file.read_bytes() == whole + b'{"key":"three"}\n'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]\n",
        '{"journal": 2}\n',
        '{"journal": "x"}\n',
        "\x00\n",
        '{"begins": "../x"}\n',
        "[" * 9999 + "\n",
    ],
)
def test_what_is_no_journal(text, tmp_path):
    (tmp_path / "journal.jsonl").write_text(text)
    assert read(tmp_path) == []


def test_a_journal_cannot_name_files_elsewhere(tmp_path):
    killed(tmp_path / "out", 1)
    (tmp_path / "mine.txt").write_text("mine")
    with (tmp_path / "out" / "unfinished" / "journal.jsonl").open("a") as stream:
        for entry in ({"ends": "../../mine.txt", "unfinished": True}, {"key": "k", "files": ["../mine.txt"]}):
            stream.write(json.dumps(entry) + "\n")
    with RunDirectory(tmp_path / "out", "explain", {}) as directory:
        assert directory.recall("k") is None
    assert (tmp_path / "mine.txt").read_text() == "mine"


# ---- locks


def test_two_runs_in_one_folder(tmp_path):
    with RunDirectory(tmp_path, "explain", {}) as directory:
        work(directory, 1)
        with pytest.raises(
            InUseError, match=r"^Expected a folder that no other run is writing to, got .*try another `--out`"
        ):
            RunDirectory(tmp_path, "explain", {})
        work(directory, 2, start=1)
    assert facts(tmp_path)["results"] == [{"image": 0}, {"image": 1}]
    with RunDirectory(tmp_path, "explain", {}):
        pass


def test_a_lock_file_goes_away_and_a_kill_leaves_nothing_stale(tmp_path):
    file = tmp_path / ".x.lock"
    lock = Lock(file, "in use")
    with pytest.raises(InUseError, match="in use"):
        Lock(file, "in use")
    lock.release()
    lock.release()
    assert not file.exists()
    program = f"""
        import os, signal, pathlib
        from pellucid.core.locks import Lock
        lock = Lock(pathlib.Path({str(file)!r}), "in use")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True)
    assert run.returncode == -signal.SIGKILL
    assert file.exists()
    Lock(file, "in use").release()
    assert not file.exists()


# ---- full disks


def full(*_arguments, **_options):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    def filling():
        with RunDirectory(tmp_path, "explain", {}) as directory:
            work(directory, 2)
            monkeypatch.setattr(storage.Path, "write_bytes", full)
            work(directory, 3, start=2)

    with pytest.raises(
        DiskFullError, match=r"^Expected room on the disk for .*2.html`, got none left; make some"
    ):
        filling()
    assert not [name for name in names(tmp_path) if name.endswith(".partial")]
    monkeypatch.undo()
    with RunDirectory(tmp_path, "explain", {}) as directory:
        assert work(directory, 3) == [2]


def test_a_journal_on_a_full_disk(tmp_path, monkeypatch):
    journal = Journal(tmp_path, {})
    write = os.write
    monkeypatch.setattr(
        os, "write", lambda descriptor, line: write(descriptor, line[:3]) if len(line) > 3 else full()
    )
    with pytest.raises(DiskFullError):
        journal.add(Entry(key="one"))
    monkeypatch.undo()
    journal.add(Entry(key="two"))
    journal.close()
    assert [entry.key for entry in read(tmp_path)] == [None, "two"]


def test_sweeping_leaves_what_lives(tmp_path):
    mine = tmp_path / f".a.{os.getppid()}.partial"
    mine.write_text("x")
    sweep(tmp_path, {"a"})
    assert mine.exists()
