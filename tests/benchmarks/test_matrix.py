"""The matrix of instruction sets, threads and loads: what it asks of the libraries, and how it counts."""

import importlib.util
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

PLACE = Path(__file__).parents[2] / "benchmarks" / "reliability" / "matrix.py"


@pytest.fixture(scope="module")
def matrix():
    spec = importlib.util.spec_from_file_location("matrix", PLACE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_cover_three_instruction_sets_two_counts_of_threads_and_a_load(matrix):
    assert {one[0] for one in matrix.ROWS.values()} == set(matrix.INSTRUCTIONS) == set(matrix.NUMPY)
    assert {one[1] for one in matrix.ROWS.values()} == {1, 4}
    assert matrix.BUSY in {one[2] for one in matrix.ROWS.values()}


def test_torch_is_held_to_the_instructions(matrix):
    environment = matrix.surroundings("none", 1)
    assert environment.keys() > os.environ.keys() - {"OMP_NUM_THREADS", "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", matrix.PROBE], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["torch"] == "DEFAULT"


def test_outcomes_are_counted(matrix):
    text = (
        "<testsuites><testsuite><testcase classname='a' name='one'/>"
        "<testcase classname='a' name='two'><failure/></testcase><testcase classname='b' name='three'><skipped/></testcase>"
        "<testcase classname='b' name='four'><error/></testcase></testsuite></testsuites>"
    )
    found = matrix.counted(ElementTree.fromstring(text))
    assert found == {"passed": 1, "failed": 2, "skipped": 1, "failures": ["a::two", "b::four"]}


def test_nearest_are_the_largest_shares_of_what_rounding_can_reach(matrix):
    def entry(line, share, gap):
        return {"line": line, "test": "t", "dtype": "float32", "share": share, "gap": gap, "size": 1.0}

    margins = [
        entry("a:1", 0.1, 1e-7),
        entry("a:1", 0.3, 1e-7),
        entry("a:2", 0.9, 0.1),
        entry("a:3", 0.0, 0.0),
    ]
    found = matrix.nearest(margins)
    assert found["compared"] == 3
    assert [(one["line"], one["share"]) for one in found["nearest"]] == [("a:1", 0.3)]


def test_the_committed_result_has_no_failures():
    if not PLACE.with_suffix(".json").exists():
        pytest.skip("no result is committed yet; goes when `benchmarks/reliability/matrix.py` has run")
    content = json.loads(PLACE.with_suffix(".json").read_text(encoding="utf-8"))
    assert content["rows"]
    assert all(one["failures"] == [] and one["passed"] for one in content["rows"].values())
