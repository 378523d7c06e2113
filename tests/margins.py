"""How much of its bound every comparison of floats uses: `python -m pytest -p tests.margins --margins FILE`.

A comparison that uses nearly all of its bound passes on this processor and may fail on the next. For every line of the
tests that compares floats, the largest share of the bound that was used is written to FILE, one JSON object a line;
under `-n` every worker writes a file of its own, with its name added.
"""

import json
import os
import sys
from pathlib import Path

import _pytest.approx as approximate
import numpy as np
import pytest
import torch

TESTS = Path(__file__).parent
_margins: dict[str, dict] = {}
_running = {"test": ""}


def pytest_addoption(parser):
    parser.addoption("--margins", help="file for the share of its bound that every comparison uses")


def pytest_configure(config):
    if config.getoption("--margins"):
        _record_torch()
        _record_numpy()
        _record_approx()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    _running["test"] = item.nodeid


def pytest_sessionfinish(session):
    path = session.config.getoption("--margins")
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if path and (worker or not session.config.getoption("numprocesses", None)):
        lines = [json.dumps({"line": line, **facts}) for line, facts in sorted(_margins.items())]
        Path(f"{path}.{worker}" if worker else path).write_text("\n".join(lines) + "\n")


def _line() -> str:
    """The innermost line of a test that led here."""
    frame = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if TESTS in path.parents and path.name not in ("margins.py", "bounds.py"):
            return f"{path.relative_to(TESTS.parent)}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


def _note(line, found, expected, rtol, atol, dtype):
    found, expected = np.asarray(found), np.asarray(expected)
    if not (found.dtype.kind in "fc" or expected.dtype.kind in "fc"):
        return
    found, expected = np.broadcast_arrays(found.astype(np.complex128), expected.astype(np.complex128))
    finite = np.isfinite(found) & np.isfinite(expected)
    gap = np.abs(found - expected)[finite]
    bound = (atol + rtol * np.abs(expected))[finite]
    if not gap.size:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(gap == 0, 0, gap / bound)
    share = float(shares.max())
    size = float(np.abs(expected)[finite].max())
    facts = _margins.setdefault(
        line, {"share": -1.0, "rtol": float(rtol), "atol": float(np.max(atol)), "dtype": dtype, "calls": 0}
    )
    facts["calls"] += 1
    if share > facts["share"]:
        facts |= {"share": share, "gap": float(gap.max()), "size": size, "test": _running["test"]}
        facts |= {"rtol": float(rtol), "atol": float(np.max(atol)), "dtype": dtype}


def _record_torch():
    compare, alike = torch.testing.assert_close, torch.allclose

    def pairs(found, expected):
        if isinstance(found, dict):
            for key in found:
                yield from pairs(found[key], expected[key])
        elif isinstance(found, (list, tuple)):
            for one, other in zip(found, expected, strict=True):
                yield from pairs(one, other)
        else:
            yield torch.as_tensor(found).detach().cpu(), torch.as_tensor(expected).detach().cpu()

    def assert_close(actual, expected, *, rtol=None, atol=None, **options):
        compare(actual, expected, rtol=rtol, atol=atol, **options)
        for one, other in pairs(actual, expected):
            usual = torch.testing._comparison.default_tolerances(one, other)
            resolve = torch.complex128 if one.is_complex() else torch.float64
            dtype = str(one.dtype).removeprefix("torch.")
            bounds = usual if rtol is None else (rtol, atol)
            _note(_line(), one.to(resolve).numpy(), other.to(resolve).numpy(), *map(float, bounds), dtype)

    def allclose(found, expected, rtol=1e-5, atol=1e-8, **options):
        verdict = alike(found, expected, rtol=rtol, atol=atol, **options)
        if verdict:
            one, other = found.detach().double().numpy(), expected.detach().double().numpy()
            _note(_line(), one, other, rtol, atol, str(found.dtype).removeprefix("torch."))
        return verdict

    torch.testing.assert_close, torch.allclose = assert_close, allclose


def _record_numpy():
    compare = np.testing.assert_allclose

    def assert_allclose(actual, desired, rtol=1e-7, atol=0, **options):
        compare(actual, desired, rtol=rtol, atol=atol, **options)
        dtype = str(np.asarray(actual).dtype)
        _note(_line(), np.asarray(actual), np.asarray(desired), rtol, atol, dtype)

    np.testing.assert_allclose = assert_allclose


def _record_approx():
    for kind in (approximate.ApproxScalar, approximate.ApproxNumpy, approximate.ApproxSequenceLike):
        _record_kind(kind)


def _record_kind(kind):
    equal = kind.__eq__

    def compared(self, actual):
        verdict = equal(self, actual)
        try:
            if verdict and isinstance(actual, (int, float, np.ndarray, np.generic, list, tuple)):
                expected = np.asarray(self.expected, dtype=float)
                rel = 1e-6 if self.rel is None else self.rel
                floor = 1e-12 if self.abs is None else self.abs
                if self.rel is None and self.abs is not None:
                    rel = 0
                bound = np.maximum(rel * np.abs(expected), floor)
                _note(_line(), np.asarray(actual, dtype=float), expected, 0, bound, "approx")
        except (TypeError, ValueError):
            pass
        return verdict

    kind.__eq__ = compared
