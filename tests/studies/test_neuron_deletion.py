"""A small version of the study `neuron_deletion`, its measures by hand, and the committed numbers."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import pellucid as pl

STUDIES = Path(__file__).parents[2] / "studies"
COMMITTED = STUDIES / "results" / "neuron-deletion"
NEEDS = pytest.mark.skipif(
    "PELLUCID_ASSETS" not in os.environ, reason="needs PELLUCID_ASSETS, real weights and photographs"
)


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(STUDIES))
    yield
    sys.path.remove(str(STUDIES))


@pytest.fixture(scope="module")
def small():
    """Two layers of an embedded network on few scenes."""
    from neuron_deletion_networks import cases

    counts = {"rank": 4, "choose": 2, "test": 4}
    return {case.layer: case for case in cases("scenes-resnet", ("layer4", "layer3"), counts)}


def test_parts_share_no_picture_and_the_tail_is_the_network(small):
    case = small["layer3"]
    assert {part: len(held.labels) for part, held in case.parts.items()} == {
        "rank": 40,
        "choose": 20,
        "test": 40,
    }
    assert 0 < small["layer4"].share < case.share < 1
    with torch.no_grad():
        whole, behind = case.net(case.images), case.tail(case.parts["rank"].activation)
    torch.testing.assert_close(whole, behind, rtol=1e-3, atol=1e-3)
    ranked, chosen = (case.parts[part].activation.float().flatten(1) for part in ("rank", "choose"))
    assert float(torch.cdist(ranked, chosen).min()) > 1e-2


def test_something_that_goes_past_the_layer_is_refused():
    from neuron_deletion_networks import tail_of

    class Past(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.pool, self.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)

        def forward(self, x):
            x = self.first(x)
            return self.classifier(self.pool(self.second(x) + x).flatten(1))

    net = pl.load(Past(), input_shape=(3, 8, 8))
    with pytest.raises(ValueError, match="to pass through `second`, but something goes past it"):
        tail_of(net, "second", torch.randn(1, 3, 8, 8))


def test_curves_by_hand(small):
    from neuron_deletion_measures import curves, rates

    case = small["layer3"]
    order = torch.arange(case.units).flip(0)
    found = curves(case, "test", [order] * 10, [0, 3], 4, 1, torch.zeros(case.units))
    held = case.parts["test"]
    A = held.activation.clone()
    A[:, -3:] = 0
    with torch.no_grad():
        right = (case.quick(A).argmax(1) == held.labels).numpy()
    own, others = rates(found, "full")
    for label in range(10):
        mine = (held.labels == label).numpy()
        assert own[label, 1] == pytest.approx(right[mine].mean())
        first = [np.flatnonzero((held.labels == other).numpy())[0] for other in range(10) if other != label]
        assert others[label, 1] == pytest.approx(right[first].mean())


def test_measures():
    import kit
    from neuron_deletion_measures import Curves, area, draws, selective, steps

    assert steps(128, (0.001, 0.01, 0.5)) == [0, 1, 64]
    own, others = np.array([[1.0, 0.5, 0.0]]), np.array([[0.8, 0.8, 0.4]])
    drop = selective(own, others)
    np.testing.assert_allclose(drop, [[0, 0.5, 0.6]])
    np.testing.assert_allclose(area(drop, [0, 0.1, 0.5]), [(0.1 * 0.25 + 0.4 * 0.55) / 0.5])
    generator = np.random.default_rng(0)
    bits = {"full": [np.stack([np.ones(20, bool), generator.random(20) < 0.5]) for _ in range(4)]}
    rest = {"full": [np.ones((2, 6), bool) for _ in range(4)]}
    found = draws({"a": Curves(bits, rest, [np.array([0, 0, 0, 1, 1, 1])] * 4)}, "full", 400)["a"]
    low, high = kit.percentile_interval(found["selectivity"][:, 1])
    truth = 1 - np.mean([each[1].mean() for each in bits["full"]])
    assert low < truth < high
    assert 0.05 < high - low < 0.5


def test_a_small_study(tmp_path, capsys):
    import neuron_deletion

    small = ("--rank", "3", "--choose", "2", "--test", "2", "--each", "1", "--fewer", "1", "--draws", "20")
    out = tmp_path / "neuron-deletion"
    arguments = ["--networks", "scenes-resnet", "--layers", "layer4", "--out", str(out), *small]
    assert neuron_deletion.main(arguments) == 0
    (file,) = out.iterdir()
    found = json.loads(file.read_text())
    assert found["best"] in neuron_deletion.ARMS
    assert found["tuning"][found["best"]] == max(found["tuning"].values())
    assert {"cgnis", "ablation", "shapley", "random 0"} <= set(found["rows"])
    assert found["rows"]["cgnis"]["full"]["area"] > found["rows"]["random 0"]["full"]["area"]
    before = file.read_bytes()
    assert neuron_deletion.main([*arguments, "--report"]) == 0  # what is measured stays
    assert file.read_bytes() == before
    page = (tmp_path / "neuron-deletion.md").read_text()
    assert "| scenes-resnet layer4 |" in page
    assert (tmp_path / "neuron-deletion.png").stat().st_size < 400_000


@NEEDS
def test_photographs_are_cropped_to_the_animal():
    from neuron_deletion_networks import ANIMALS, _boxes, _outputs, _pictures

    counts = {"rank": 2, "choose": 1, "test": 1}
    parts = {part: list(_pictures("resnet18", part, counts)) for part in counts}
    assert [len(each) for each in parts["rank"]] == [2] * len(ANIMALS)
    assert {picture.tobytes() for each in parts["rank"] for picture in each}.isdisjoint(
        picture.tobytes() for each in parts["choose"] for picture in each
    )
    assert _outputs()[0] == 1
    assert len(set(_outputs())) == 11
    from shallow_cam import assets

    file, box = _boxes(assets() / "parts", "train")["n01443537"][0]
    width = parts["rank"][0][0].width
    assert min(box[2] - box[0], box[3] - box[1]) <= width <= 1.31 * max(box[2] - box[0], box[3] - box[1]) + 1
    assert file.is_file()


def committed():
    return [json.loads(file.read_text()) for file in sorted(COMMITTED.glob("*.json"))]


@pytest.mark.skipif(not COMMITTED.exists(), reason="the study has not been run; goes with its results")
def test_the_committed_page_follows_from_the_committed_numbers():
    from neuron_deletion_report import ORDER, text

    found = sorted(committed(), key=lambda one: (ORDER.index(one["network"]), one["behind"]))
    assert (COMMITTED.parent / "neuron-deletion.md").read_text(encoding="utf-8") == text(found)
    for one in found:
        assert one["tuning"][one["best"]] == max(one["tuning"].values())
        assert {"options", "date", "torch", "cores", "code"} <= set(one["metadata"])
        areas = {title: row["full"]["area"] for title, row in one["rows"].items()}
        assert areas["cgnis"] > max(area for title, area in areas.items() if title.startswith("random"))
