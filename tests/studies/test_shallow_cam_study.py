"""A small version of the study `shallow-cam`: its shape on scenes, its main finding on photographs."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import pellucid as pl
from pellucid.evaluation.curves import InsertionDeletion

STUDY = Path(__file__).parents[2] / "studies" / "shallow_cam.py"


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("shallow_cam_study", STUDY)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_every_part_of_it_runs_on_scenes(study):
    name, net = "scenes-resnet", pl.load("scenes-resnet")
    tuned, sigmas = study.tune(net, name, 1, ("shallow-cam", "arm channel"))
    layers = list(net.default_layers)
    assert set(sigmas) == set(layers)
    assert set(tuned) >= {"layercam", "shallow-cam", "arm channel"}
    found = study.measured(net, name, 2, 1, sigmas, ("shallow-cam", "layercam"), ("gradcam",))
    faith, truth = found["faithfulness"], found["intervention"]
    assert set(faith) == {
        "shallow-cam",
        "layercam",
        "layercam-blurred",
        "gradcam",
        "random",
        "center",
        "edges",
    }
    assert {len(rows["deletion"]) for rows in faith["shallow-cam"].values()} == {2}
    assert {len(rows["insertion"]) for rows in faith["gradcam"].values()} == {1}  # on the first image only
    assert all(0 <= area <= 1 for rows in faith["layercam"].values() for area in rows["insertion"])
    assert list(truth["layercam"]) == layers
    assert len(truth["layercam"][layers[0]]["gain"]) == 2
    located = study.localization(net, name, 1)["scenes: object"]
    assert located["images"] == 1
    assert 0 <= located["layercam"][layers[-1]]["energy"][0] <= 1


def test_halves_have_no_image_in_common(study):
    net = pl.load("scenes-resnet")
    tuning, report = (study.pictures(net, "scenes-resnet", 4, half) for half in (True, False))
    assert not any((one == other).all() for _, one, _ in tuning for _, other, _ in report)


@pytest.mark.skipif(
    "PELLUCID_ASSETS" not in os.environ, reason="needs PELLUCID_ASSETS, real weights and photographs"
)
def test_on_photographs_the_first_stage_is_explained_far_better_than_by_layercam(study):
    net = study.network("resnet18")
    layer, margins = net.default_layers[0], []
    for _, image, _ in study.pictures(net, "resnet18", 6, tuning=False):
        pair = [
            pl.evaluate(
                net, image, pl.attribute(net, image, method, [layer], normalized=True)[layer], normalized=True,
                preset="quick", steps=8,
            ).values["composite"]
            for method in ("shallow-cam", "layercam")
        ]  # fmt: skip
        margins.append(float(pair[0] - pair[1]))
    assert np.mean(margins) > 0.05
    assert InsertionDeletion(preset="quick").in_full().steps == study.PROTOCOL.in_full().steps
