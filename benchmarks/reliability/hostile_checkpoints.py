"""Checkpoints as tools write them, and checkpoints made to harm: what becomes of each when a network is loaded from it.

    python benchmarks/reliability/hostile_checkpoints.py [--every 1] [--seed 0] [--out hostile_checkpoints.json]

Every case is a file made from the healthy weights of one small network and loaded in a process of its own. A healthy one has to
give exactly the healthy network ("right"). A hostile one has to be refused in one line that names the file, or to give exactly
the healthy network. It *got through* where a healthy one is refused, and where a hostile one ends in a traceback, hangs (30
seconds of processor time), comes to more than a gigabyte, or gives another network than the healthy one ("wrong").
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from checkpoint_cases import cases
from checkpoint_making import NETWORK, Case, healthy_state
from watching import Outcome, refusal, summary, tell, watched

import pellucid as pl
from pellucid._version import __version__
from pellucid.core.provenance import processor, versions
from pellucid.core.storage import write_json

HERE = Path(__file__).parent


def outcome(case: Case, folder: Path, state: dict[str, torch.Tensor]) -> Outcome:
    """Make the file of a case, load it, and say what came of it; to be run in a process of its own."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what writes it
        file = case.make(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a warning is a second line
            loaded = pl.load(case.network or NETWORK, weights=file).module.state_dict()
    except BaseException as error:  # the outcome of the case
        return refusal(error, folder.name)
    wanted = case.expected if case.expected is not None else state
    needed = [key for key in wanted if not key.endswith("num_batches_tracked")]  # which no answer depends on
    same = all(key in loaded and torch.equal(loaded[key], wanted[key]) for key in needed)
    return ("right", "") if same else ("wrong", "another network than was saved")


def measured(case: Case, scratch: Path, state: dict[str, torch.Tensor]) -> Outcome:
    """The outcome of a case in a process of its own; a healthy one that is refused is "refused though healthy"."""
    folder = scratch / "case"
    folder.mkdir()
    try:
        how, words = watched(lambda: outcome(case, folder, state))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ("refused though healthy" if case.healthy and how == "refused" else how), words.replace(
        str(scratch), "…"
    )


def chosen(every: int, seed: int) -> Iterator[Case]:
    """All cases, or every n-th of them."""
    yield from list(cases(random.Random(seed)))[::every]


def measure(every: int = 1, seed: int = 0) -> dict[str, Any]:
    """Run the cases: how many there are, how they end, and which got through."""
    state = healthy_state()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        outcomes = [(case.kind, case.name, measured(case, place, state)) for case in chosen(every, seed)]
    return {
        **summary(outcomes, ("right", "refused")),
        "seed": seed,
        "network": NETWORK,
        "pellucid": __version__,
        **versions("torch", "torchvision", "safetensors"),
        "machine": processor(),
    }


def main() -> int:
    """Measure, write and print; 1 where something got through."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="only every n-th case")
    parser.add_argument("--seed", type=int, default=0, help="of the places where files are damaged")
    parser.add_argument("--out", type=Path, default=HERE / "hostile_checkpoints.json")
    options = parser.parse_args()
    found = measure(options.every, options.seed)
    write_json(options.out, found)
    return tell(found)


if __name__ == "__main__":
    sys.exit(main())
