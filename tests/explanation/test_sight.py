"""What is seen of a picture: the rule of regions by hand, the shipped readout on scenes, and who takes it by itself."""

import numpy as np
import pytest
import torch
from PIL import Image

import pellucid as pl
from pellucid.explanation.readout import CELLS, readout
from pellucid.explanation.sight import LEAST, look, of_concept_world, recognizer_for
from pellucid.world import SceneDataset
from pellucid.world.vocabulary import CLASSES, PARTS
from pellucid.zoo.checkpoint import CheckpointError


class Maps:
    """A recognizer that answers with given maps [part h w] and probabilities."""

    def __init__(self, maps, probable, categories=None):
        self.made, self.probable = maps, probable
        self.names = tuple("abcdef"[: len(maps)])
        self.categories = categories or ("part",) * len(maps)
        self.thresholds = [0.5] * len(maps)

    def probabilities(self, pictures):
        return torch.tensor([self.probable])

    def maps(self, pictures, attributes=None):
        return self.made[[self.names.index(name) for name in attributes]][None]


def seen(maps, probable, **options):
    picture = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    return look(Maps(torch.tensor(maps), probable, **options), picture, (4, 4))


def test_a_pixel_belongs_to_the_largest_part_that_is_more_probable_than_none():
    one = [[0.6, 0.6, 0.3, 0.0]] * 4
    two = [[0.3, 0.7, 0.3, 0.2]] * 4
    found = seen([one, two], [0.9, 0.8])
    regions = {part.name: part.region[0].tolist() for part in found.parts}
    # third column: 0.3 and 0.3 leave 0.4 for none; fourth: 0.8 for none
    assert regions == {"a": [True, False, False, False], "b": [False, True, False, False]}
    assert found.thing[0].tolist() == [True, True, False, False]
    assert found.probabilities == pytest.approx({"a": 0.9, "b": 0.8})


def test_a_part_below_its_threshold_is_not_seen_and_leaves_its_pixels():
    one = [[0.6, 0.6, 0.3, 0.0]] * 4
    two = [[0.3, 0.7, 0.3, 0.2]] * 4
    found = seen([one, two], [0.9, 0.4])
    assert [part.name for part in found.parts] == ["a"]
    assert found.parts[0].region[0].tolist() == [True, True, False, False]
    assert found.probabilities["b"] == pytest.approx(0.4)


def test_objects_stand_in_where_no_part_is_known_and_nothing_where_neither_is():
    whole = [[0.9] * 4] * 4
    assert [part.name for part in seen([whole], [0.9], categories=("object",)).parts] == ["a"]
    none = seen([whole], [0.9], categories=("color",))
    assert none.parts == ()
    assert none.thing is None


def test_the_readout_sees_parts_where_they_are():
    data, inter, union = SceneDataset("val", 400), 0, 0
    for index in range(390, 400):
        rendering = data.rendering(index)
        found = look(readout(), Image.fromarray(rendering.image), (128, 128))
        assert len(found.parts) >= 2
        for part in found.parts:
            truth = torch.from_numpy(rendering.part == 1 + PARTS.index(part.name))
            inter += int((truth & part.region).sum())
            union += int((truth | part.region).sum())
            assert float(part.region.double().mean()) >= LEAST
            assert part.probability >= part.threshold
        truth = torch.from_numpy(rendering.object_mask())
        assert (truth & found.thing).sum() / (truth | found.thing).sum() > 0.6
    assert inter / union > 0.6


def test_the_readout_answers_as_a_recognizer():
    found, picture = readout(), SceneDataset("val", 1).rendering(0).image
    assert found.probabilities(picture).shape == (1, len(found.names))
    assert len(found.thresholds) == len(found.names) == len(found.categories)
    maps = found.maps(picture, ["wing", "wheel"])
    assert maps.shape == (1, 2, CELLS, CELLS)
    assert torch.equal(maps[0, 1], found.maps(picture)[0, found.mapped.index("wheel")])
    assert float(found.maps(picture, PARTS).sum(1).max()) <= 1 + 1e-5
    assert torch.equal(found.probabilities(Image.fromarray(picture)), found.probabilities(picture))


def test_a_missing_readout_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="which is not there"):
        readout.__wrapped__(tmp_path / "none.safetensors")


def test_networks_of_the_worlds_classes_take_it_by_themselves():
    net = pl.load("scenes-resnet")
    assert of_concept_world(net)
    assert recognizer_for(net, None) is readout()
    assert recognizer_for(net, "none") is None
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    other = pl.load(module, input_shape=(3, 16, 16), classes=list(CLASSES[:4]))
    assert not of_concept_world(other)
    assert recognizer_for(other, None) is None
