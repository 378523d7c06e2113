"""What activation maximization promises, in small: certificates, operations, and the committed study and benchmark."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import pellucid as pl
from pellucid.visualization import visualize

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def net():
    return pl.load("scenes-vgg")


def test_certificates_of_units_and_classes(net, monkeypatch):
    monkeypatch.setattr("pellucid.visualization.certificate.SCENES", 40)
    units = [pl.Unit("features.16", k) for k in (0, 20, 40)]
    found = visualize(net, [*units, "sailboat", "car"], steps=32, octaves=2, progress=False)
    assert [one.count for one in found.certificate] == [40] * 5
    living = [one for one in found.certificate if one.best > 0]
    assert len(living) >= 4
    assert all(one.holds and one.ratio >= 1 for one in living), [one.ratio for one in living]


def test_a_step_costs_no_more_than_the_network_up_to_the_layer(net):
    """Twice the forward pass to the layer: nothing behind it, no gradient of weights."""

    def flops(run):
        with FlopCounterMode(display=False) as counter:
            run()
        return counter.get_total_flops()

    size, layer = 64, "features.16"
    picture = torch.zeros(2, 3, size, size)
    forward = flops(lambda: net.module.features[:17](picture))
    units = [
        pl.Unit(layer, 1),
        pl.Unit(layer, 2),
    ]  # units that are on at the start: those that are not cost a second pass

    def painted(steps):
        visualize(net, units, "pixels", noise=0.2, size=size, steps=steps, certify=False, progress=False)

    each = (flops(lambda: painted(32)) - flops(lambda: painted(16))) / 16
    assert each <= 2.1 * forward


def committed(path):
    file = ROOT / path
    if not file.is_file():
        pytest.skip(f"{path} is not there yet: run the script that writes it")
    return json.loads(file.read_text())


def test_committed_benchmark():
    found = committed("benchmarks/speed/visualization.json")
    assert found["rounds"] >= 5
    settings = {(one["network"], one["layer"], one["size"]): one["rows"] for one in found["settings"]}
    assert len(settings) == 8
    extra = {
        (row["network"], row["layer"], row["size"], row["contender"]): row["extra_mb"]
        for row in found["memory"]
    }
    for *where, who in extra:
        assert extra[(*where, who)] <= extra[(*where, "lucent")]
    for rows in settings.values():
        theirs, *ours = rows
        assert theirs["contender"] == "lucent"
        assert all(row["operations"] is None or row["operations"] < theirs["operations"] for row in ours)
    for layer in ("layer1", "layer2", "layer4"):  # at the size Lucent has by default
        rows = {row["contender"]: row for row in settings["torchvision:resnet18", layer, 128]}
        assert rows["pellucid pyramid"]["times faster"]["median"] >= 3


def test_committed_study():
    found = committed("studies/results/visualization.json")
    results = {one["network"]: one for one in found["networks"]}
    assert {"scenes-vgg", "scenes-resnet"} <= set(results)
    for one in results.values():
        pyramid = one["units"]["ways"]["pyramid"]
        assert pyramid["certified"] >= 0.95
        assert pyramid["units"] >= 20
    for one in results.values():
        names = [row["arm"] for row in one["arms"]]
        assert len(set(names)) == len(names)
        assert {"pyramid", "fourier", "maco"} <= set(names)
        for row in one["arms"]:
            low, high = row["transfer over pyramid"][1:]
            assert low <= row["transfer over pyramid"][0] <= high
        full = next(row for row in one["arms"] if row["arm"] == "pyramid")
        ratios = full["certificate"]
        assert sum(ratio >= 1 for ratio in ratios) / len(ratios) >= 0.95
