"""Small versions of the experiments of the study `dissection`, and the sets it makes."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pellucid as pl
from pellucid.data.concepts import Concept, ConceptSource, Labels
from pellucid.data.images import Picture

STUDIES = Path(__file__).parents[2] / "studies"
NEEDS = pytest.mark.skipif(
    "PELLUCID_ASSETS" not in os.environ, reason="needs PELLUCID_ASSETS, real weights and photographs"
)


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(STUDIES))
    yield
    sys.path.remove(str(STUDIES))


class Stripes(ConceptSource):
    """Pictures whose every pixel's label can be read off its color."""

    def __init__(self, count=5, height=12, width=20):
        super().__init__("stripes", tuple(Concept(n, f"stripe {n}", "part") for n in range(1, 13)))
        self.count, self.size = count, (height, width)

    def __len__(self):
        return self.count

    def picture_name(self, index):
        return f"stripes {index}"

    def picture(self, index):
        maps = self.labels(index).maps[0]
        pixels = np.stack([maps * 20] * 3, 2).astype(np.uint8)
        return Picture(Image.fromarray(pixels), f"stripes {index}", (), self.size[::-1])

    def labels(self, index):
        rows = 1 + np.arange(self.size[0], dtype=np.uint16) % 12
        return Labels(np.broadcast_to(rows[None, :, None], (1, *self.size)).copy(), (index % 3 + 1,))


def test_pictures_and_labels_turn_together():
    from dissection_turning import GRAY, Turned

    source = Stripes()
    for angle in (0, 90, 180, 270):
        turned = Turned(source, angle)
        labels = turned.labels(1)
        pixels = np.asarray(turned.picture(1).image)
        inner = source.labels(1).maps[0][:, 4:16]
        expected = np.rot90(inner, angle // 90)
        place = np.arange(12) - 5.5
        disc = place[:, None] ** 2 + place[None] ** 2 <= 36
        assert np.array_equal(labels.maps[0], np.where(disc, expected, 0))
        assert np.array_equal(pixels[disc][:, 0], 20 * expected[disc])
        assert (pixels[~disc] == GRAY).all()
        assert labels.whole == (2,)
    slanted = Turned(source, 30).labels(1).maps[0]
    assert set(np.unique(slanted)) <= set(range(13))
    assert not np.array_equal(slanted, Turned(source, 0).labels(1).maps[0])


def test_some_pictures_are_taken_evenly():
    from dissection_networks import Some

    source = Stripes(count=10)
    some = Some(source, 4, keep=True)
    assert [some.picture_name(k) for k in range(len(some))] == [f"stripes {n}" for n in (0, 2, 5, 7)]
    assert some.picture(1) is some.picture(1)
    assert some.labels(3).whole == source.labels(7).whole
    assert some.split(2) == source.split(5)
    assert len(Some(source, 50)) == 10


def test_trained_units_hold_on_held_out_pictures_and_fresh_ones_hardly():
    import dissection

    trained = dissection.depth(100, 0, ["scenes-resnet"])["networks"][0]
    fresh = dissection.random_weights(100, 0, ["scenes-resnet"], seeds=(0,))["networks"][0]
    assert trained["concepts"] == fresh["concepts"]
    assert trained["weights sha256"] != fresh["weights sha256"]
    first, last = trained["layers"][0], trained["layers"][-1]
    assert last["shape"] == [128, 8, 8]
    assert last["held out"] > 4 * fresh["layers"][-1]["held out"]
    assert last["held out"] / last["units"] > first["held out"] / first["units"]
    assert last["detectors"] == sum(entry["detectors"] for entry in last["categories"].values())
    assert last["held out"] == sum(entry["held out"] for entry in last["categories"].values())


def test_rotated_units():
    import dissection_turning

    found = dissection_turning.turned_units(
        "scenes-resnet", 40, seeds=(0,), alphas=(0.0, 0.5, 1.0), pictures=16
    )
    assert found["same"]["same class"] == found["same"]["pictures"]
    assert found["same"]["largest change of an output"] < 1e-4 * found["same"]["largest output"]
    assert [layer["layer"] for layer in found["layers"]] == ["layer3", "layer4"]
    for layer in found["layers"]:
        assert [turn["alpha"] for turn in layer["turns"]] == [0, 0.5, 1]
        assert layer["turns"][0]["mean iou"] != layer["turns"][2]["mean iou"]
        assert 1 < layer["dimensions"] < layer["turns"][0]["units"] / 2
    none, _, full = found["layers"][-1]["turns"]
    assert none["mean iou"] > full["mean iou"]


@pytest.mark.parametrize(("copies", "expected"), [(1, 3), (3, 1)])
def test_directions_of_a_layer(copies, expected):
    """Three independent units of equal variance vary in three directions, three copies of one in one."""
    from dissection_turning import dimensions

    units = torch.nn.Conv2d(3, 3, 1, bias=False)
    units.weight.data = torch.eye(3)[: 3 // copies].repeat(copies, 1)[:, :, None, None]
    module = torch.nn.Sequential(units, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    net = pl.load(module, preprocess=pl.Preprocess(40, 40, (0.5,) * 3, (0.25,) * 3))
    images = torch.randn(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    assert dimensions(net, images, "0") == pytest.approx(expected, abs=0.1)


def test_turned_pictures():
    import dissection_turning

    found = dissection_turning.turned_pictures("scenes-resnet", 40, angles=(0, 45))
    for layer in found["layers"]:
        upright, slanted = layer["angles"]
        assert upright["still detect it"] == upright["still labeled so"] == upright["detectors"]
        assert slanted["mean iou with label"] < upright["mean iou with label"]


def test_trainings_are_seen_on_their_way():
    import dissection_training

    found = dissection_training.trainings(
        (0.25, 1.0), (0, 1), images=8, epochs=2, at=(0, 0.5, 1), scenes=8, test_images=4
    )
    assert [point["step"] for point in found["checkpoints"]] == [0, 1, 2]
    assert [(entry["factor"], entry["seed"]) for entry in found["widths"]] == [(0.25, 0), (0.25, 1), (1, 0)]
    assert [entry["layers"][-1]["units"] for entry in found["widths"]] == [32, 32, 128]
    assert len({entry["weights sha256"] for entry in [*found["checkpoints"], *found["widths"]]}) == 5
    assert found["widths"][-1]["weights sha256"] == found["checkpoints"][-1]["weights sha256"]


def test_training_learns():
    import dissection_training

    data = dissection_training.rendered(64)
    right = []

    def see(step, module):
        with torch.no_grad():
            pixels = dissection_training.Preprocess.scenes().normalize(data[0])
            right.append(int((module.train()(pixels).argmax(1) == data[1]).sum()))

    dissection_training.train(0.25, 0, data, 8, (0, 1), see)
    assert right[1] > right[0] + 8


def test_an_unknown_part_is_refused(monkeypatch, capsys):
    import dissection

    monkeypatch.setattr(sys, "argv", ["dissection.py", "depht"])
    with pytest.raises(SystemExit):
        dissection.main()
    assert "Expected parts of anchor, depth" in capsys.readouterr().err


@NEEDS
def test_convolutions_of_alexnet_on_photographs():
    import dissection

    found = dissection.depth(0, 8, ["alexnet"])["networks"][0]
    assert [layer["shape"] for layer in found["layers"]] == [
        [96, 55, 55], [256, 27, 27], [384, 13, 13], [384, 13, 13], [256, 13, 13]
    ]  # fmt: skip
    assert found["concepts"]["images"] == 8


@NEEDS
def test_three_anchors_on_photographs():
    import dissection

    found = dissection.anchor(0, 6, ["resnet18"])["networks"]
    assert [run["anchor"] for run in found] == ["effective", "nominal", "paper"]
    ious = {tuple(layer["mean iou"] for layer in run["layers"]) for run in found}
    assert len(ious) == 3
    for run in found:
        for layer, base in zip(run["layers"], found[0]["layers"], strict=True):
            expected = layer["mean held-out iou"] - base["mean held-out iou"]
            assert layer["against effective"]["mean"] == pytest.approx(expected, abs=1.1e-4)


@NEEDS
def test_a_full_rotation_takes_concepts_away_from_alexnet():
    import dissection_turning

    found = dissection_turning.turned_units("alexnet", 60, seeds=(0,), alphas=(0.0, 1.0), pictures=8)
    none, full = found["layers"][-1]["turns"]
    assert full["unique top"] < 0.75 * none["unique top"]
    assert found["same"]["same class"] == found["same"]["pictures"]
