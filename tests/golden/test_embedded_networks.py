"""The shipped networks do what their cards say, and explanations tell the honest ones from the confounded."""

import pytest
import torch

import pellucid as pl
from pellucid.world import SceneDataset

SCENES = 300  # three standard errors of a share of 0.97 are 3 points


def accuracy(net, confounding):
    data = SceneDataset("test", SCENES, confounding=confounding)
    right = 0
    for first in range(0, SCENES, 50):
        images, labels = zip(*(data[i] for i in range(first, first + 50)), strict=True)
        with torch.no_grad():
            output = net(net.preprocess.normalize(torch.stack(images)))
        right += int((output.argmax(1) == torch.tensor(labels)).sum())
    return right / SCENES


@pytest.mark.parametrize("name", ["scenes-vgg", "scenes-resnet"])
def test_accuracy_with_class_and_background_independent(name):
    assert accuracy(pl.load(name), 0.0) >= 0.97


@pytest.mark.parametrize("name", ["scenes-vgg-confounded", "scenes-resnet-confounded"])
def test_the_confounded_twins_fall_without_their_background(name):
    net = pl.load(name)
    assert accuracy(net, 1.0) >= 0.97
    assert accuracy(net, 0.0) <= 0.4


@pytest.mark.parametrize("family", ["scenes-vgg", "scenes-resnet"])
def test_the_sentence_says_when_a_network_leans_on_the_surroundings(family):
    data = SceneDataset(
        "test", 40, confounding=1.0
    )  # where both kinds are right, so that only the reasons differ
    said = {
        name: sum(
            "leans on the surroundings"
            in pl.explain(net, data.rendering(i), methods=[], faithfulness=False).details
            for i in range(40)
        )
        for name in (family, f"{family}-confounded")
        for net in [pl.load(name)]
    }
    assert said[family] <= 5
    assert said[f"{family}-confounded"] >= 15
