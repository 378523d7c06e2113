"""The dissection benchmark compares what it says: the old loop's counts are ours, and its page is what was measured."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

SPEED = Path(__file__).parents[2] / "benchmarks" / "speed"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("dissection_benchmark", SPEED / "dissection.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_was_measured(benchmark):
    assert (SPEED / "dissection.md").read_text(encoding="utf-8") == benchmark.report()


@pytest.mark.skipif(
    not Path(os.environ.get("PELLUCID_ASSETS", "missing"), "weights").is_dir(),
    reason="PELLUCID_ASSETS names no folder with weights; goes when it does",
)
def test_the_old_loop_counts_the_same_and_is_slower(benchmark):
    found = benchmark.against("resnet18", "layer4", 8, 2)
    assert found["pixels_counted_differently"] == 0
    assert found["pixels_counted"] > 100_000
    assert min(found["ratio"]) > 4  # 30 on a quiet machine
