"""Hostile pictures: none gives a traceback, a hang, a gigabyte, or wrong pixels in silence."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "reliability"


@pytest.fixture(scope="module")
def bench():
    before = list(sys.path)
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("hostile_images")
    finally:
        sys.path[:] = before


def test_nothing_gets_through(bench):
    rows = bench.read_all(seed=1, large=False)
    assert len(rows) >= 300
    assert not [row for row in rows if row["outcome"] in bench.OUTCOMES[:4]]
    counts = bench.counted(rows)
    assert counts["refused"] + counts["accepted"] == counts["cases"] == len(rows)


def test_what_gets_through_would_be_seen(bench, tmp_path, monkeypatch):
    cases = bench.cases(0, False)
    right = next(case for case in cases if case.kind == "EXIF turn" and case.name == "PNG 6")
    assert bench.judged(right, tmp_path)[0] == "accepted"
    monkeypatch.setattr("pellucid.data.decoding._turn", lambda image: None)
    assert bench.judged(right, tmp_path)[0] == "wrong pixels"
    whole = bench.Case("object", "whole", lambda _: np.zeros((8, 8, 3), np.uint8), bench.REFUSED)
    assert bench.judged(whole, tmp_path)[0] == "wrong pixels"

    def broken(*_, **__):
        raise TypeError("an error of ours")

    monkeypatch.setattr("pellucid.data.pictures.pictures", broken)
    assert bench.judged(right, tmp_path) == ("traceback", "TypeError: an error of ours")


@pytest.mark.parametrize("ending", ["hang", "traceback"])
def test_a_process_that_hangs_or_dies_is_noted_and_the_next_goes_on(bench, monkeypatch, ending):
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(bench.multiprocessing, "get_context", lambda _: context)
    monkeypatch.setattr(bench, "PATIENCE", 2.0)

    class Bad:
        def read(self, *_):
            os._exit(3) if ending == "traceback" else time.sleep(600)

    good = bench.Case("object", "good", lambda _: np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3)))
    monkeypatch.setattr(bench, "cases", lambda *_: [good, bench.Case("object", "bad", lambda _: Bad()), good])
    assert [row["outcome"] for row in bench.read_all(0, False)] == ["accepted", ending, "accepted"]
