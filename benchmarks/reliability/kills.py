"""Kills at any moment: a run is killed (SIGKILL), the same command goes on, and its bytes are compared with an unbroken run.

    python benchmarks/reliability/kills.py [--kills 216] [--only explain …] [--seed 0]

Half of the kills fall before the n-th file operation below the folder of results (an open for writing, a rename, a removal, a
new folder), half at a random time. Counted are:

    lost      units of work done again beyond the one in work; not of runs that had finished when they were killed
    refused   runs of the same command that did not end with exit code 0
    different runs whose folder in the end holds other files or other bytes than that of an unbroken run

A unit is a picture (explain, attribute, neurons), a picture's map under a metric (evaluate), a batch (visualize, parts,
patterns), a shard (dissect), an epoch (trainings). Every run is a fork of one process that has imported everything; its clock
for durations stands still, so that bytes can be compared.
"""

from __future__ import annotations

import argparse
import importlib
import json
import mmap
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from pellucid.cli import main
from pellucid.core.provenance import code_digest, processor, versions
from pellucid.core.storage import write_json

RESULTS = Path(__file__).parent / "results"
PATIENCE = 300.0  # seconds after which a run counts as hung
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True)
class Case:
    """A command with small inputs; ``probe`` names the function whose calls are its units of work: ``module:Class.function``."""

    name: str
    arguments: Sequence[str]
    probe: str


_FEW = ("--recognizer", "none", "--table", "none", "--no-faithfulness")
_TRAIN = ("--epochs", "3", "--precision", "float32", "--batch-size", "8")
CASES = [
    Case(
        "explain",
        ("explain", "scenes:test/0-3", *_FEW, "--criterion", "gradient"),
        "pellucid.explanation.one_image:explain_picture",
    ),
    Case("attribute", ("attribute", "scenes:test/0-5", "--method", "gradcam"), "pellucid:attribute"),
    Case("neurons", ("neurons", "scenes:test/0-5", "--criterion", "gradient"), "pellucid:neurons"),
    Case("neurons --by-class", ("neurons", "scenes:test/0-7", "--by-class", "--criterion", "gradient"), "pellucid:neurons"),
    Case(
        "evaluate",
        ("evaluate", "scenes:test/0-3", "--methods", "gradcam", "layercam", "--metric", "pointing", "--layers", "features.30"),
        "pellucid.commands.bench:_plain",
    ),
    Case(
        "visualize",
        ("visualize", "--units", "features.9:0-31", "--size", "16", "--steps", "4", "--octaves", "1", "--no-region"),
        "pellucid.visualization:climb",
    ),
    Case(
        "parts",
        ("parts", "--parts", "scenes:test/0-31", "--batch-size", "4", "--resamples", "10", "--examples", "2"),
        "pellucid.interpretable.parts.gathering:Gathering._look",
    ),
    Case(
        "patterns",
        ("patterns", "scenes:train/0-119", "--items", "8", "--longest", "4", "--top", "12", "--keep", "1", "--table", "none"),
        "pellucid.units.patterns.mining:peaks",
    ),
    Case(
        "dissect",
        ("dissect", "--concepts", "scenes:val/0-63", "--layers", "features.23", "features.30", "--draws", "1", "--resamples", "5",
         "--examples", "2"),
        "pellucid.dissection.engine:Dissection._looked_at",
    ),
    Case(
        "train classifier",
        ("train", "classifier", "--images", "24", "--test-images", "8", "--size", "32", *_TRAIN),
        "pellucid.training.loop:_Run.epoch",
    ),
    Case(
        "train interpretable",
        ("train", "interpretable", "--images", "24", "--test-images", "6", "--target", "bird", *_TRAIN),
        "pellucid.training.loop:_Run.epoch",
    ),
    Case(
        "train irenet",
        ("train", "irenet", "--width", "0.125", "--pictures", "8", "--checked", "8", "--positives", "1", "--size", "32", "--grid",
         "4", "--depth", "8", *_TRAIN),
        "pellucid.training.loop:_Run.epoch",
    ),
    Case(
        "train decoder",
        ("train", "decoder", "--layer", "features.30", "--images", "scenes:train/0-15", "--width", "0.05", "--perceptual", "0",
         *_TRAIN),
        "pellucid.training.loop:_Run.epoch",
    ),
]  # fmt: skip


@dataclass
class Run:
    """How a run in a fork went: ``begun`` and ``ended`` units, file ``operations``; ``code`` (negative: the signal)."""

    code: int
    begun: int
    ended: int
    operations: int
    seconds: float
    said: str


@dataclass
class Tally:
    """What came of the kills of one case."""

    kills: int = 0
    finished: int = 0
    lost: int = 0
    refused: int = 0
    different: int = 0
    details: list[str] = field(default_factory=list)


class Board:
    """Numbers that a killed process leaves behind: shared memory."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 24)

    def add(self, place: int) -> int:
        """One more; gives the new number."""
        value = self[place] + 1
        struct.pack_into("q", self.memory, 8 * place, value)
        return value

    def __getitem__(self, place: int) -> int:
        return int(struct.unpack_from("q", self.memory, 8 * place)[0])


def forked(case: Case, folder: Path, operation: int | None = None, seconds: float | None = None) -> Run:
    """Run a command in a fork, in ``folder`` with ``--out out``; killed before a file operation or after some seconds."""
    board, log = Board(), folder / "log.txt"
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    child = os.fork()
    if not child:
        code = 70
        try:
            _become(folder, log, case.probe, board, operation)
            code = main([*case.arguments, "--out", "out"])
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            os._exit(code)
    status = _awaited(child, started + (PATIENCE if seconds is None else seconds))
    code = os.waitstatus_to_exitcode(status)
    return Run(
        code, board[0], board[1], board[2], time.monotonic() - started, log.read_text(errors="replace")
    )


def _become(folder: Path, log: Path, probe: str, board: Board, operation: int | None) -> None:
    os.chdir(folder)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    time.perf_counter = lambda: 0.0
    _count(probe, board)
    below = str(folder / "out")

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"):
            return
        path = arguments[0]
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITING):
            return
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        name = os.path.join(folder, os.fsdecode(path))
        if name.startswith(below) and board.add(2) == operation:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def _count(probe: str, board: Board) -> None:
    """Note when a unit of work begins and ends."""
    module, _, path = probe.partition(":")
    *owners, name = path.split(".")
    home: Any = importlib.import_module(module)
    for owner in owners:
        home = getattr(home, owner)
    function: Callable[..., Any] = getattr(home, name)

    def counted(*arguments: Any, **options: Any) -> Any:
        board.add(0)
        result = function(*arguments, **options)
        board.add(1)
        return result

    setattr(home, name, counted)


def _awaited(child: int, deadline: float) -> int:
    """The status of a process, which is killed at a deadline."""
    pause = 0.0005
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]
        time.sleep(pause)
        pause = min(0.02, 1.2 * pause, max(0.0, deadline - time.monotonic()) + 0.0002)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder by name."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def is_finished(folder: Path, straight: dict[str, bytes]) -> bool:
    """Whether a run had written all and said so before it was killed: the same command is then a new run."""
    facts = folder / "run.json"
    if facts.is_file():
        return bool(json.loads(facts.read_text(encoding="utf-8"))["finished"])
    return folder.is_dir() and contents(folder) == straight


def measured(case: Case, kills: int, draw: random.Random, scratch: Path) -> Tally:
    """Kill a command many times."""
    unbroken = forked(case, scratch / "straight")
    if unbroken.code:
        raise RuntimeError(f"{case.name} fails unbroken: {unbroken.said}")
    straight = contents(scratch / "straight" / "out")
    tally, tried = Tally(), 0
    while tally.kills < kills and tried < 3 * kills:
        tried += 1
        folder = scratch / f"killed-{tried}"
        by_count = tally.kills % 2 == 0
        if by_count:
            first = forked(case, folder, operation=draw.randint(1, unbroken.operations))
        else:
            first = forked(case, folder, seconds=draw.uniform(0.05, 1.0) * unbroken.seconds)
        if first.code != -signal.SIGKILL:
            shutil.rmtree(folder)
            continue
        tally.kills += 1
        finished = is_finished(folder / "out", straight)
        tally.finished += finished
        _judge(case, folder, unbroken, straight, first, tally, finished)
        shutil.rmtree(folder)
    return tally


def _judge(
    case: Case,
    folder: Path,
    unbroken: Run,
    straight: dict[str, bytes],
    first: Run,
    tally: Tally,
    finished: bool,
) -> None:
    moment = (
        f"kill {tally.kills} of {case.name} at file operation {first.operations}, {first.ended} units done"
    )
    again = forked(case, folder)
    if again.code:
        tally.refused += 1
        tally.details.append(f"{moment}: exit code {again.code}: {again.said[-400:]}")
        return
    extra = first.ended + again.begun - unbroken.begun - 1
    if extra > 0 and not finished:
        tally.lost += extra
        tally.details.append(f"{moment}: {extra} units done again")
    found = contents(folder / "out")
    if found != straight:
        tally.different += 1
        names = [name for name in sorted(found | straight) if found.get(name) != straight.get(name)]
        tally.details.append(f"{moment}: other bytes in {', '.join(names)}")


def warmed() -> None:
    """Import what the commands import, and compile the kernels, so that forks need not. Nothing here may run a backward pass."""
    torch.set_num_threads(1)
    for name in ("explain", "attribute", "neurons", "evaluate", "visualize", "patterns", "train"):
        importlib.import_module(f"pellucid.commands.{name}")
    for name in ("explanation", "explanation.one_image", "report.build", "visualization", "units.patterns", "training.irenet",
                 "interpretable.training", "visualization.decoder", "commands.comparison_figure"):  # fmt: skip
        importlib.import_module(f"pellucid.{name}")
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        out, error = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = nowhere
        try:
            for name in ("dissect", "parts"):
                case = next(case for case in CASES if case.name == name)
                main([*case.arguments, "--out", folder + f"/{name}"])
        finally:
            sys.stdout, sys.stderr = out, error


def study(kills: int, only: Sequence[str], seed: int) -> dict[str, Any]:
    """All cases, ``kills`` in all."""
    warmed()
    cases = [case for case in CASES if not only or case.name in only]
    each = -(-kills // len(cases))
    rows = {}
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="pellucid-kills-") as scratch:
            tally = measured(case, each, random.Random(f"{seed} {case.name}"), Path(scratch))
        rows[case.name] = {**vars(tally)}
        print(f"{case.name}: {tally.kills} kills ({tally.finished} after the end), {tally.lost} lost, {tally.refused} refused, "
              f"{tally.different} different", flush=True)  # fmt: skip
        for line in tally.details:
            print("  ", line, flush=True)
    total = {
        key: sum(row[key] for row in rows.values())
        for key in ("kills", "finished", "lost", "refused", "different")
    }
    return {"cases": rows, "total": total}


def run(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=216)
    parser.add_argument("--only", nargs="*", default=[], metavar="COMMAND")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    result = study(options.kills, options.only, options.seed)
    total = result["total"]
    figures = {
        "runs killed": total["kills"],
        "units lost beyond the one in work": total["lost"],
        "refused on going on": total["refused"],
        "different bytes in the end": total["different"],
    }
    got_through = total["lost"] + total["refused"] + total["different"]
    document = {
        "title": "Killed at any moment",
        "command": f"python benchmarks/reliability/kills.py --kills {options.kills} --seed {options.seed}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": processor(),
        "versions": versions("torch", "numpy", "pillow"),
        "code": code_digest([Path(__file__)]),
        "attempts": total["kills"],
        "got_through": got_through,
        "figures": figures,
        **result,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "kills.json", document)
    return int(got_through > 0)


if __name__ == "__main__":
    sys.exit(run())
