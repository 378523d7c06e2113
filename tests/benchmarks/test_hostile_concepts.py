"""Some of the hostile sets of concepts, and the committed result of all of them."""

import json
import sys
from pathlib import Path

import pytest

import pellucid as pl

HERE = Path(__file__).parents[2] / "benchmarks" / "reliability"


@pytest.fixture(scope="module")
def harness():
    sys.path.insert(0, str(HERE))
    try:
        import concept_cases
        import hostile_concepts
    finally:
        sys.path.remove(str(HERE))
    return hostile_concepts, concept_cases


@pytest.mark.skipif(sys.platform != "linux", reason="cases run in forked processes")
@pytest.mark.parametrize("layout", ["broden", "folder", "coco", "voc", "ade20k", "cub"])
def test_some_of_the_cases(harness, tmp_path, layout):
    hostile, cases = harness
    net = pl.load(hostile.NETWORK)
    chosen = [case for case in cases.cases() if case.layout == layout]
    assert chosen[0].healthy
    through = []
    for case in [chosen[0], *chosen[1::23]]:
        how, words = hostile.measured(case, tmp_path, net)
        if how not in ("dissected", "refused"):
            through.append((case.name, how, words))
    assert through == []


@pytest.mark.skipif(sys.platform != "linux", reason="cases run in forked processes")
def test_what_is_not_told_is_seen(harness, tmp_path):
    hostile, cases = harness
    net = pl.load(hostile.NETWORK)
    untold = cases.Case("voc", "nothing changed", lambda root: None, told=True)
    assert hostile.measured(untold, tmp_path, net)[0] == "not told"
    damaged = cases.Case(
        "voc", "a picture away", lambda root: (root / "JPEGImages/p1.jpg").unlink(), healthy=True
    )
    assert hostile.measured(damaged, tmp_path, net)[0] == "refused though healthy"


def test_the_committed_result():
    found = json.loads((HERE / "hostile_concepts.json").read_text(encoding="utf-8"))
    assert found["cases"] >= 70
    assert found["got_through"] == 0
    assert len(found["kinds"]) == 6
