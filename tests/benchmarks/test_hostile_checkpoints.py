"""Every tenth hostile checkpoint, and the committed result of all of them."""

import json
import random
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2] / "benchmarks" / "reliability"


@pytest.fixture(scope="module")
def harness():
    sys.path.insert(0, str(HERE))
    try:
        import checkpoint_cases
        import checkpoint_making
        import hostile_checkpoints
        import watching
    finally:
        sys.path.remove(str(HERE))
    return hostile_checkpoints, checkpoint_cases, checkpoint_making, watching


@pytest.mark.skipif(sys.platform != "linux", reason="cases run in forked processes")
def test_a_tenth_of_the_cases(harness, tmp_path):
    hostile, cases, making, _ = harness
    state = making.healthy_state()
    chosen = list(cases.cases(random.Random(7)))[3::10]
    assert len(chosen) >= 25
    through = []
    for case in chosen:
        how, words = hostile.measured(case, tmp_path, state)
        if how not in ("right", "refused"):
            through.append((case.kind, case.name, how, words))
    assert through == []


@pytest.mark.skipif(sys.platform != "linux", reason="cases run in forked processes")
def test_the_watch_sees_what_gets_through(harness, tmp_path):
    """A case that sleeps, eats memory, answers wrongly or dies is named as that."""
    hostile, _, making, watching = harness
    assert watching.watched(lambda: _busy(), seconds=1)[0] == "hang"
    assert watching.watched(lambda: ("right", str(len(bytearray(1 << 30)))))[0] == "memory"
    assert watching.watched(lambda: {}["x"])[0] == "traceback"
    state = making.healthy_state()
    other = {key: value + 1 for key, value in state.items()}
    wrong = making.Case("a", "b", making.saved(other), healthy=True)
    assert hostile.measured(wrong, tmp_path, state)[0] == "wrong"
    refused = making.Case("a", "b", making.written(b"nothing"), healthy=True)
    assert hostile.measured(refused, tmp_path, state)[0] == "refused though healthy"


def _busy():
    while True:
        pass


def test_the_committed_result():
    found = json.loads((HERE / "hostile_checkpoints.json").read_text(encoding="utf-8"))
    assert found["cases"] >= 225
    assert found["got_through"] == 0
    assert sum(found["outcomes"].values()) == found["cases"]
