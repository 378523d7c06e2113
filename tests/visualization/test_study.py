"""The study's measures on made-up numbers whose answer is known, and its page against its JSON."""

import dataclasses
import importlib
import importlib.util
import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "studies"


@pytest.fixture(scope="module")
def study():
    sys.path.insert(0, str(STUDIES))
    spec = importlib.util.spec_from_file_location("visualization_study", STUDIES / "visualization.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(STUDIES))


@pytest.fixture(scope="module")
def measures(study):
    return importlib.import_module("visualization_measures")


@pytest.fixture(scope="module")
def report(study):
    return importlib.import_module("visualization_report")


def test_arms_differ_by_one_component_and_all_exist(study):
    from pellucid.core.registry import create

    arms = study.arms()
    made = [create("visualization", method, **options) for method, options in arms.values()]
    assert len(set(made)) == len(made)
    steps = [dataclasses.asdict(arms[name][0]) for name in ("raw", *(name for name, _ in study._SWITCHES))]
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


def test_interval_and_verdict(study, report):
    mean, low, high = study.kit.mean_interval([0.2, 0.4, 0.6, 0.8])
    assert mean == pytest.approx(0.5)
    assert low < mean < high
    rows = [
        {"arm": "pyramid", "transfer": [0.5, 0.6], "transfer over pyramid": [0.0, 0.0, 0.0]},
        {"arm": "maco", "transfer": [0.6, 0.7], "transfer over pyramid": [0.1, -0.1, 0.3]},
    ]
    assert report.verdict({"arms": rows}, "transfer", 1).startswith(
        "within the interval of the best, maco (+0.10"
    )
    rows[1]["transfer over pyramid"] = [0.1, 0.05, 0.3]
    assert report.verdict({"arms": rows}, "transfer", 1).startswith("**outside**")
    assert report.verdict({"arms": rows[:1]}, "transfer", 1) == "best"


def test_share_of_evidence_is_literal(measures):
    own = torch.tensor([[[1.0, 0.3], [0.29, 0.0]], [[0.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [0.0, 0.0]]])
    other = torch.tensor([[[1.0, 2.0], [3.0, -4.0]], [[1.0, 1.0], [1.0, 1.0]], [[0.0, 1.0], [0.0, 3.0]]])
    share, area = measures.shares(own, other)
    assert share[0].item() == pytest.approx(3 / 6)  # negative evidence does not count
    assert math.isnan(share[1])
    assert share[2].item() == 0
    assert area[0].item() == 0.5
    assert area[2].item() == 0.25


def test_recognition_is_counted_per_concept(measures):
    responding = torch.tensor([[0.5, 0.0, 1.0], [0.49, 1.0, 1.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    found = measures.tally(responding, [0, 0, None])
    assert found == {"units": 2, "recognized": 0.5, "others": 0.75}
    assert measures.tally(responding, [None] * 3) == {"units": 0}


def test_a_unit_responds_above_the_99th_percentile_of_its_peaks(measures):
    import pellucid as pl
    from pellucid.world import SceneDataset

    net, layer = pl.load("scenes-vgg"), "features.16"
    data = SceneDataset("val", 12)
    batch = net.preprocess.normalize(torch.stack([data[k][0] for k in range(12)]))
    recognition = measures.Recognition(net, batch[:9], [layer])
    with torch.no_grad():
        peaks = net.module.features[:17](batch).amax((2, 3)).double().numpy()
    over = {}
    for k, concept in enumerate(measures.concepts_of(net, [pl.Unit(layer, k) for k in range(64)])):
        if concept is not None:
            low, high = np.sort(peaks[:9, k])[-2:]
            usual = low + (high - low) * (0.99 * 8 - 7)  # linear between the two largest
            over.setdefault(concept, []).append(peaks[9:, k] > usual)
    assert sorted(over) == recognition.concepts
    wanted = np.stack([np.mean(over[concept], 0) for concept in recognition.concepts], 1)
    np.testing.assert_allclose(recognition.responding(batch[9:]), wanted)
    assert 0 < wanted.mean() < 1


def test_the_page_is_made_of_the_json(report):
    results = STUDIES / "results"
    study = json.loads((results / "visualization.json").read_text(encoding="utf-8"))
    assert report.table(study) == (results / "visualization.md").read_text(encoding="utf-8")


def test_the_page_of_the_benchmark_is_made_of_its_json(study):
    module = study.benchmark()
    result = json.loads((ROOT / "benchmarks/speed/visualization.json").read_text(encoding="utf-8"))
    wanted = (ROOT / "benchmarks/speed/visualization.md").read_text(encoding="utf-8")
    assert module.table(result) == wanted


def test_the_method_is_its_arm_by_default(study):
    """What users call paints as the arm that the study compares as the method; every arm paints."""
    import pellucid as pl

    net = pl.load("scenes-vgg")
    options = {"steps": 3, "size": 32, "certify": False, "progress": False}
    expected = pl.visualize(net, 0, "pyramid", **options).images
    assert torch.equal(pl.visualize(net, 0, study.PyramidArm(), **options).images, expected)
    for arm, (method, parameters) in study.arms().items():
        if not isinstance(method, str):
            images = pl.visualize(net, 0, method, **options, **parameters).images
            assert bool(images.isfinite().all()), arm


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"laplacian": "both"}, 'Expected `laplacian` to be "gradient", "image" or "off", got \'both\''),
        ({"momentum": 2.0}, "a momentum in .0, 1."),
        ({"levels": 0}, "Expected `levels` of at least 1, got 0"),
    ],
)
def test_bad_parameters_of_arms(study, parameters, message):
    with pytest.raises(ValueError, match=message):
        study.PyramidArm(**parameters)
