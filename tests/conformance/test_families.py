"""Families of torchvision with random weights: a few always, all of them in the slow run.

The table of all is made by benchmarks/quality/families.py and committed beside it.
"""

import json
from pathlib import Path

import pytest
import torch
from benchmarks.quality import families

import pellucid as pl

FAST = ("resnet18", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "densenet121")
STATES = {"ok", "constant", "negative", "zero", "not finite"}


@pytest.mark.parametrize("name", FAST)
def test_a_family_is_captured_cut_and_explained(name):
    row = families.measure(name, size=64)
    assert row["ok"], row
    net = pl.load(f"torchvision:{name}", input_shape=(3, 64, 64))
    x = torch.randn(2, 3, 64, 64)
    maps = pl.attribute(net, x, method=["layercam", "gradcam"], target=[3, 7], normalized=True)
    for method in ("layercam", "gradcam"):
        assert list(maps[method]) == list(net.default_layers)
        for layer, heatmap in maps[method].items():
            assert heatmap.values.shape == (2, *net.layer(layer).shape[1:])
            assert heatmap.values.isfinite().all()
            assert (heatmap.values >= 0).all()
            assert set(heatmap.status) <= STATES - {"not finite"}
            assert heatmap.upsample().shape == (2, 64, 64)
            assert heatmap.target == (net.classes[3], net.classes[7])


@pytest.mark.slow
@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_family(name):
    row = families.measure(name)
    assert row["ok"], row


def test_the_committed_table_is_whole():
    file = Path(families.__file__).with_suffix(".json")
    if not file.is_file():
        pytest.skip("the table has not been made; goes with `python benchmarks/quality/families.py`")
    table = json.loads(file.read_text())
    assert {"date", "torch", "torchvision", "cores", "threads"} <= set(table["metadata"])
    assert [row["name"] for row in table["rows"]] == list(families.FAMILIES)
    assert len(table["rows"]) >= 25
    for row in table["rows"]:
        assert row["ok"] or "failure" in row or row["name"] in file.with_suffix(".md").read_text()
