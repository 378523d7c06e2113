"""Mining in a network whose channels are known: which patterns come out was put in."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from tests.bundles import as_pair, rewrite
from torch import nn

import pellucid as pl
from pellucid.units.patterns import Patterns, load_patterns, mine, overlay, region, region_box
from pellucid.units.patterns.mining import held_out
from pellucid.units.patterns.patterns import PatternsError

PLANTED = {0: (1, 4, 7), 1: (0, 3, 5), 2: (2, 6, 8)}
EVERY = 4  # images of a class of which one has not its pattern


class Templates(nn.Module):
    """Nine channels, one for each place in a block of 3×3 pixels; three classes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 9, 3, 3, bias=False)
        self.conv.weight.data.copy_(torch.eye(9).view(9, 1, 3, 3))
        self.relu = nn.ReLU()
        self.fc = nn.Linear(9, 3)
        weight = torch.zeros(3, 9)
        for target, channels in PLANTED.items():
            weight[target, list(channels)] = 1
        self.fc.weight.data.copy_(weight)
        self.fc.bias.data.zero_()

    def forward(self, x):
        return self.fc(self.relu(self.conv(x)).amax((2, 3)))


def made(dtype=torch.float32):
    module = Templates().to(dtype)
    return pl.load(module, input_shape=(1, 12, 12), classes=["ant", "bee", "cat"])


def noise(count, draw):
    """Weak, with peaks so unlike that the channels of a transaction of nothing else are left to chance."""
    return 0.3 * torch.rand(count, 1, 12, 12, generator=draw) ** 40


def pictures(count=60, spread=False):
    """Pictures with weak noise, and the channels of the class at one cell (``spread``: each at a cell of its own)."""
    draw = torch.Generator().manual_seed(5)
    images = noise(count, draw)
    labels = [k % 3 for k in range(count)]
    for k, target in enumerate(labels):
        if (k // 3) % EVERY:
            cells = torch.randint(0, 4, (3, 2), generator=draw)
            for place, channel in enumerate(PLANTED[target]):
                row, column = cells[place if spread else 0].tolist()
                images[k, 0, 3 * row + channel // 3, 3 * column + channel % 3] = 1
    return images, labels


OPTIONS = {"top": 4, "items": 9, "longest": 5, "normalized": True, "progress": False}


@pytest.fixture(scope="module")
def net():
    return made()


@pytest.fixture(scope="module")
def found(net):
    images, labels = pictures()
    return mine(net, images, labels, "relu", **OPTIONS)


def test_what_was_planted_is_found(found):
    assert {
        one.target: one.channels for one in found.patterns if set(PLANTED[one.target]) <= set(one.channels)
    } == PLANTED
    for one in found.patterns:
        if one.channels == PLANTED[one.target]:
            assert (one.mined.own_images, one.held_out.own_images) == (10, 10)
            assert 15 <= one.mined.own + one.held_out.own <= 16  # three of four images, and what chance adds
            assert one.mined.rest + one.held_out.rest <= 4
            assert one.shares is one.held_out
            assert one.label == f"{one.name} {'+'.join(map(str, one.channels))}"


def test_of_a_class(found):
    assert all(one.name == "bee" for one in found.of_class("bee"))
    assert found.of_class("bee")[0].target == 1
    with pytest.raises(KeyError, match="did you mean `bee`"):
        found.of_class("bees")
    assert "patterns of 3 classes" in repr(found)


def test_present_by_the_rule_it_was_mined_with(net, found):
    images, labels = pictures()
    with torch.no_grad():
        maps = net.module.relu(net.module.conv(images))
    present = found.present(maps)
    values = maps.amax((2, 3)) / found.scale
    for place, one in enumerate(found.patterns):
        for image in range(len(images)):
            best = values[image].argsort(descending=True)[:4].tolist()
            assert bool(present[image, place]) == (set(one.channels) <= set(best))
        mine_ = present[[k for k, label in enumerate(labels) if label == one.target], place]
        assert int(mine_.sum()) == one.mined.own + one.held_out.own
    with pytest.raises(
        ValueError, match=r"Expected maps \[image 9 h w\] of layer `relu`, got \(2, 3, 4, 4\)"
    ):
        found.present(torch.zeros(2, 3, 4, 4))


def test_what_is_held_out_has_no_part_in_the_scales(net, found):
    images, labels = pictures()
    held = held_out(torch.tensor(labels), found.settings)
    assert torch.bincount(torch.tensor(labels)[held]).tolist() == [10, 10, 10]
    with torch.no_grad():
        seen = net.module.relu(net.module.conv(images)).amax((2, 3))
    assert torch.allclose(found.scale, seen[~held].mean(0))
    assert not torch.allclose(found.scale, seen.mean(0))
    shown = [there for one in found.patterns for there in one.occurrences]
    assert all(bool(held[there.image]) == there.held_out for there in shown)


def test_regions_are_where_it_was_planted(net, found):
    images, _ = pictures()
    one = next(one for one in found.patterns if one.channels == PLANTED[one.target])
    assert len(one.occurrences) == 4
    assert all(there.held_out for there in one.occurrences)
    for there in one.occurrences:
        bright = (images[there.image, 0] == 1).nonzero()
        cell = (int(bright[0, 0]) // 3, int(bright[0, 1]) // 3)
        assert set(there.cells) == {cell}
        assert set(there.fields) == {(3 * cell[0], 3 * cell[1], 3 * cell[0] + 3, 3 * cell[1] + 3)}
        assert int(there.evidence.argmax()) == cell[0] * 4 + cell[1]
        mask = region(found, there)
        assert mask[3 * cell[0] + 1, 3 * cell[1] + 1]
        top, left, bottom, right = region_box(found, there)
        assert mask.sum() <= (bottom - top) * (right - left) < 144
        page = overlay(found, there, Image.new("RGB", (12, 12), (200, 200, 200)))
        assert page.size == (12, 12)
        far = ((3 * cell[1] + 7) % 12, (3 * cell[0] + 7) % 12)
        assert not mask[far[1], far[0]]
        assert page.getpixel(far) == (60, 60, 60)


def test_cells_hold_only_what_is_together(net):
    apart, labels = pictures(spread=True)
    together, _ = pictures()
    assert mine(net, apart, labels, "relu", **OPTIONS).patterns  # of whole images
    options = {**OPTIONS, "where": "cell"}
    found = mine(net, together, labels, "relu", **options)
    assert {one.channels for one in found.patterns} >= set(PLANTED.values())
    with torch.no_grad():
        maps = net.module.relu(net.module.conv(apart))
    share = found.present(maps).float().mean()
    assert share < 0.2


def test_predicted_classes_and_some_of_them(net):
    images, labels = pictures()
    clean = [k for k, label in enumerate(labels) if (k // 3) % EVERY]
    given = mine(net, images[clean], [labels[k] for k in clean], "relu", **OPTIONS)
    predicted = mine(net, images[clean], None, "relu", **OPTIONS)
    assert (given.labels, predicted.labels) == ("given", "predicted")
    assert [one.channels for one in given.patterns] == [one.channels for one in predicted.patterns]
    named = mine(net, images[clean], ["ant", "bee", "cat"] * 15, "relu", **OPTIONS, classes=["bee"])
    assert {one.name for one in named.patterns} == {"bee"}
    assert [one.name for one in named.summary] == ["bee"]


def test_the_same_call_gives_the_same_patterns_in_any_batches(net, found):
    images, labels = pictures()
    before = {key: value.clone() for key, value in net.module.state_dict().items()}
    net.module.train()
    state = torch.get_rng_state()
    again = mine(net, images, labels, "relu", **OPTIONS, batch_size=7)
    assert again.to_json() == found.to_json()
    assert torch.equal(torch.get_rng_state(), state)
    assert net.module.training
    assert all(parameter.requires_grad for parameter in net.module.parameters())
    assert not any(child._forward_hooks for child in net.module.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.module.state_dict().items())
    net.module.eval()
    exact = mine(made(torch.float64), images.double(), labels, "relu", **OPTIONS)
    assert [one.channels for one in exact.patterns] == [one.channels for one in found.patterns]
    other = mine(net, images, labels, "relu", **OPTIONS, seed=3)
    assert [one.occurrences[0].image for one in other.patterns] != [
        one.occurrences[0].image for one in found.patterns
    ]


def test_saved_and_loaded(net, found, tmp_path):
    found.save(tmp_path)
    again = load_patterns(tmp_path, net)
    assert isinstance(again, Patterns)
    assert again.to_json() == found.to_json()
    assert torch.equal(again.scale, found.scale)
    assert torch.equal(again.patterns[0].occurrences[0].evidence, found.patterns[0].occurrences[0].evidence)
    stored = (tmp_path / "patterns.safetensors").read_bytes()
    again.save(tmp_path)
    assert (tmp_path / "patterns.safetensors").read_bytes() == stored
    other = made()
    other.module.fc.bias.data += 1
    with pytest.raises(ValueError, match="Expected patterns of this network, `Templates` with weights"):
        load_patterns(tmp_path, other)
    with pytest.raises(FileNotFoundError, match=r"Expected a folder with patterns.safetensors"):
        load_patterns(tmp_path / "none")
    pair = as_pair(tmp_path / "patterns.safetensors", digest=False)
    for file in (tmp_path, pair):
        assert load_patterns(file, net).to_json() == found.to_json()
    pair.write_text(pair.read_text().replace("pellucid patterns", "something"))
    with pytest.raises(PatternsError, match="which is something else"):
        load_patterns(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"put": {"settings.top": 0}}, r"settings: expected `top` to be at least 1, got 0"),
        ({"put": {"patterns[0].channels": []}}, r"patterns\[0\].channels: expected a list of at least 1"),
        ({"put": {"patterns[1].channels": [99]}}, r"patterns\[1\].channels: expected channels below \d+, got 99"),
        ({"put": {"patterns[0].mined.own": 10**6}}, r"patterns\[0\].mined: expected parts of the images"),
        ({"put": {"patterns[0].occurrences[0].cells[0]": ...}}, r"occurrences\[0\]: expected a cell and a field"),
        ({"put": {"patterns[0].occurrences[0]": ...}}, r"evidence: expected an array floating"),
        ({"put": {"size": [0, 8]}}, r"size\[0\]: expected a whole number of at least 1, got 0"),
        ({"fill": {"scale": float("nan")}}, "scale: expected finite values"),
        ({"fill": {"evidence": 2}}, "evidence: expected values of at most 1, got 2.0"),
    ],
)  # fmt: skip
def test_damaged_patterns(found, tmp_path, change, says):
    found.save(tmp_path)
    rewrite(tmp_path / "patterns.safetensors", **change)
    with pytest.raises(PatternsError, match=says) as caught:
        load_patterns(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_class_without_patterns_is_noted(net):
    images, labels = pictures()
    images[2::3] = noise(20, torch.Generator().manual_seed(1))
    found = mine(net, images, labels, "relu", **OPTIONS, support=0.6)
    assert {one.name for one in found.patterns} == {"ant", "bee"}
    (note,) = found.notes
    assert note.startswith("no pattern of cat: the largest support of 3 channels was 0.")
    assert "below 0.6; try `support` 0." in note


def test_nothing_held_out(net):
    images, labels = pictures()
    found = mine(net, images, labels, "relu", **OPTIONS, held_out=0)
    assert all(one.held_out is None and one.mined.own_images == 20 for one in found.patterns)
    assert replace(found.patterns[0]).shares is found.patterns[0].mined


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"labels": [0] * 60}, ValueError, "at least two classes, got 60 of `ant` alone"),
        ({"labels": [0, 1] * 30, "classes": ["cat"]}, ValueError, "at least 4 images of `cat`, got 0; try one of ant, bee"),
        ({"labels": [0]}, ValueError, "one label for each of 60 images, got 1"),
        ({"top": 9}, ValueError, "`top` below the 9 channels of layer `relu`, got 9; try 1"),
        ({"support": 1.0, "shortest": 4}, ValueError, "got none: the largest support of 4 channels was"),
        ({"confidence": 1.0, "shortest": 1, "longest": 1, "support": 0.02, "top": 8}, ValueError, "try `confidence` 0."),
        ({"layer": "relo"}, KeyError, "did you mean `relu`"),
        ({"supprt": 0.1}, TypeError, "Expected a parameter of mining, got `supprt`; did you mean `support`"),
    ],
)  # fmt: skip
def test_bad_input(net, change, error, words):
    images, labels = pictures()
    options = {"labels": labels, "layer": "relu", **OPTIONS, **change}
    with pytest.raises(error, match="Expected") as raised:
        mine(net, images, **options)
    assert words in str(raised.value)


def test_no_class_with_images_enough(net):
    images, _ = pictures()
    with pytest.raises(ValueError, match="at least 4 images of a class, got 2 at most"):
        mine(net, images[:4], [0, 0, 1, 1], "relu", **OPTIONS)
