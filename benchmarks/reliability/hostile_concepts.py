"""Sets of concepts on disk, healthy and damaged, in six layouts: what becomes of each when a network is dissected with it.

    python benchmarks/reliability/hostile_concepts.py [--every 1] [--out hostile_concepts.json]

Every case is a small healthy set with one thing changed; it is opened and a layer of a small network dissected with it, in a
process of its own. It has to be refused in one line that names the set, or to be dissected, with what cannot be used listed as a
problem. It *got through* where it ends in a traceback, hangs (30 seconds of processor time), comes to more than a gigabyte, or
where a damaged picture or label map is not listed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from concept_cases import COUNT, LAYOUTS, Case, cases
from watching import Outcome, refusal, summary, tell, watched

import pellucid as pl
from pellucid._version import __version__
from pellucid.core.provenance import processor, versions
from pellucid.core.storage import write_json

HERE = Path(__file__).parent
NETWORK, LAYER = "scenes-resnet", "layer3"


def outcome(case: Case, root: Path, net: pl.Network) -> Outcome:
    """Open a set and dissect with it; to be run in a process of its own."""
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a warning is a second line
            source = pl.open_concepts(f"{case.layout}:{root}")
            pl.dissect(
                net, source, [LAYER], draws=1, resamples=0, examples=1, kernel="tensor", progress=False
            )
    except BaseException as error:  # the outcome of the case
        return refusal(error, root.name)
    told = "; ".join(f"{problem.where}: {problem.reason}" for problem in source.problems)
    if any("\n" in problem.reason for problem in source.problems):
        return "several lines", told
    if case.healthy:
        return ("dissected", "") if not told and len(source) == COUNT else ("refused though healthy", told)
    return ("not told", "") if case.told and not told else ("dissected", told)


def measured(case: Case, scratch: Path, net: pl.Network) -> Outcome:
    """The outcome of a case in a process of its own."""
    root = scratch / "set"
    try:
        root.mkdir()
        LAYOUTS[case.layout](root)
        case.change(root)
        how, words = watched(lambda: outcome(case, root, net))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    how = "refused though healthy" if case.healthy and how == "refused" else how
    return how, words.replace(str(scratch), "…")[:300]


def measure(every: int = 1) -> dict[str, Any]:
    """Run the cases: how many there are, how they end, and which got through."""
    net = pl.load(NETWORK)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        outcomes = [(case.layout, case.name, measured(case, place, net)) for case in list(cases())[::every]]
    return {
        **summary(outcomes, ("dissected", "refused")),
        "network": NETWORK,
        "pellucid": __version__,
        **versions("torch", "numpy", "pillow"),
        "machine": processor(),
    }


def main() -> int:
    """Measure, write and print; 1 where something got through."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="only every n-th case")
    parser.add_argument("--out", type=Path, default=HERE / "hostile_concepts.json")
    options = parser.parse_args()
    found = measure(options.every)
    write_json(options.out, found)
    return tell(found)


if __name__ == "__main__":
    sys.exit(main())
