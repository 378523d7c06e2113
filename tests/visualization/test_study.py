"""The study's measures on made-up numbers whose answer is known."""

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture(scope="module")
def study():
    sys.path.insert(0, str(STUDIES))
    spec = importlib.util.spec_from_file_location("visualization_study", STUDIES / "visualization.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(STUDIES))


def test_arms_differ_by_one_component_and_all_exist(study):
    from pellucid.registry import create

    arms = study.arms()
    made = [create("visualization", method, **options) for method, options in arms.values()]
    assert len(set(made)) == len(made)
    steps = [arms[name][1] for name in ("raw", *(name for name, _ in study._SWITCHES))]
    for before, after in itertools.pairwise(steps):
        assert sum(before[key] != after[key] for key in before) == 1


def test_spectrum_of_a_wave_peaks_at_its_frequency(study):
    x = torch.arange(64, dtype=torch.float64)
    wave = (0.5 + 0.4 * torch.sin(2 * torch.pi * 9 * x / 64)).expand(1, 3, 64, 64)
    assert int(study.log_spectrum(wave)[0].argmax()) + 1 == 9
    doubled = study.log_spectrum(wave * 2)[0, 8] - study.log_spectrum(wave)[0, 8]
    assert float(doubled) == pytest.approx(np.log10(4), rel=1e-6)


def test_kernel_distance_is_literal_and_tells_distributions_apart(study):
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(40, 6, dtype=torch.float64, generator=draw) for _ in range(2))
    scale = b.std(0)
    x, y = (a / scale).numpy(), (b / scale).numpy()

    def k(p, q):
        return (p @ q / 6 + 1) ** 3

    within = [np.mean([k(s[i], s[j]) for i in range(40) for j in range(40) if i != j]) for s in (x, y)]
    wanted = sum(within) - 2 * np.mean([k(p, q) for p in x for q in y])
    assert study.kernel_distance(a, b) == pytest.approx(wanted, abs=1e-9)
    assert study.kernel_distance(a + 2, b) > 10 * abs(wanted)


def test_interval_and_verdict(study):
    mean, low, high = study.interval([0.2, 0.4, 0.6, 0.8])
    assert mean == pytest.approx(0.5)
    assert low < mean < high
    rows = [
        {"arm": "pyramid", "transfer": [0.5, 0.6], "transfer over pyramid": [0.0, 0.0, 0.0]},
        {"arm": "maco", "transfer": [0.6, 0.7], "transfer over pyramid": [0.1, -0.1, 0.3]},
    ]
    assert study.verdict({"arms": rows}, "transfer", 1).startswith(
        "within the interval of the best, maco (+0.10"
    )
    rows[1]["transfer over pyramid"] = [0.1, 0.05, 0.3]
    assert study.verdict({"arms": rows}, "transfer", 1).startswith("**outside**")
    assert study.verdict({"arms": rows[:1]}, "transfer", 1) == "best"
