"""Patterns in words: concepts once, shares as they were counted, and only what is present in the picture."""

import pytest
import torch

import pellucid as pl
from pellucid.explanation.concepts import Meaning
from pellucid.explanation.patterns import (
    called,
    clause,
    clauses,
    concepts,
    meanings,
    names_of,
    sentence,
    words,
)
from pellucid.units.patterns import Pattern, Shares, mine
from pellucid.world import SceneDataset


class Table:
    """Names given by hand: unit → (concept, IoU)."""

    def __init__(self, **units):
        self.units = {int(key[1:]): value for key, value in units.items()}

    def of(self, layer, unit):
        assert layer == "top"
        if unit not in self.units:
            return None
        concept, iou = self.units[unit]
        return Meaning(unit, concept, "part", iou, None, None, 100, "set", 0.005)


NAMES = Table(u1=("wheel", 0.2), u2=("wing", 0.3), u3=("wheel", 0.1), u4=("tail", 0.04), u5=("a*b", 0.3))


def pattern(*channels, held=True):
    return Pattern(
        "airliner", 0, "top", channels, Shares(6, 10, 1, 40), Shares(16, 25, 2, 100) if held else None
    )


def test_concepts_of_more_channels_first_and_once():
    one = pattern(1, 2, 3, 4, 9)
    assert concepts(one, NAMES) == ("wheel", "wing")  # an IoU of 0.04 names nothing
    assert words(one, NAMES) == "wheel + wing + neuron 4 + neuron 9"
    assert words(one) == "neurons 1, 2, 3, 4 and 9"
    assert words(pattern(9)) == "neuron 9"
    assert words(pattern(5, 2), NAMES) == "a*b + wing"
    assert [meaning and meaning.concept for meaning in meanings(one, NAMES)] == [
        "wheel",
        "wing",
        "wheel",
        "tail",
        None,
    ]
    assert called([one], NAMES) == {0: "airliner: wheel + wing + neuron 4 + neuron 9"}


def test_the_sentence_tells_held_out_shares():
    assert sentence(pattern(1, 2), NAMES) == (
        "**wing + wheel** together appear in 64 % of the held-out pictures of airliner and in 2 % of all others."
    )
    assert sentence(pattern(2, held=False), NAMES) == (
        "**wing** appears in 60 % of the pictures of airliner and in 2 % of all others."
    )


def test_the_clause_holds_every_number():
    made = clause(pattern(1, 2), NAMES, (1, 2, 3, 4))
    assert made.kind == "pattern"
    assert made.text == sentence(pattern(1, 2), NAMES)
    assert made.value("pattern.share", name="airliner") == 0.64
    assert made.value("pattern.rest") == 0.02
    low, high = (made.value(f"pattern.{end}") for end in ("low", "high"))
    assert low < 0.64 < high
    assert made.value("pattern.images", name="airliner") == 25
    assert made.value("pattern.rest_images") == 100
    assert made.units == (("top", 1), ("top", 2))
    assert made.box == (1, 2, 3, 4)
    assert [one["concept"] for one in made.concepts] == ["wheel", "wing"]


def test_one_picture_is_told_of_the_patterns_it_has():
    net = pl.load("scenes-vgg")
    data = SceneDataset("train", 100)
    items = [data[k] for k in range(100)]
    shown, labels = torch.stack([image for image, _ in items]), [label for _, label in items]
    found = mine(net, shown, labels, "features.30", top=12, items=8, longest=4, support=0.3, progress=False)
    names = names_of(net, found)
    one = found.patterns[0]
    place = one.occurrences[0].image
    with torch.no_grad():
        maps = net.module.features(net.preprocess.normalize(shown[place])[None])
    said = clauses(found, maps, one.name, names, most=9)
    present = found.present(maps)[0].tolist()
    wanted = [
        other
        for other, there in zip(found.patterns, present, strict=True)
        if there and other.name == one.name
    ]
    assert said
    assert [made.units for made in said] == [
        tuple(("features.30", channel) for channel in other.channels) for other in wanted
    ]
    with torch.no_grad():  # a picture without objects is told of none
        empty = net.module.features(
            net.preprocess.normalize(torch.full((1, 3, 128, 128), 128, dtype=torch.uint8))
        )
    lacking = [one for one, there in zip(found.patterns, found.present(empty)[0], strict=True) if not there]
    assert lacking
    assert clauses(found, empty, lacking[0].name, names, most=9) == [
        clause(one, names) for one in found.of_class(lacking[0].name) if one not in lacking
    ]
    top, left, bottom, right = said[0].box
    assert 0 <= top < bottom <= 128
    assert 0 <= left < right <= 128
    assert len(clauses(found, maps, one.name, names)) == 1
    absent = next(
        name for name in net.classes if name not in {p.name for p in found.patterns} or name != one.name
    )
    assert all(made.text != said[0].text for made in clauses(found, maps, absent, names))
    assert clauses(found, maps, "no such class", names) == []
    with pytest.raises(ValueError, match="the maps of one picture, got those of 2"):
        clauses(found, maps.repeat(2, 1, 1, 1), one.name, names)
    assert "neuron" not in words(one, names) or concepts(one, names)


@pytest.fixture(scope="module")
def mined():
    net = pl.load("scenes-vgg")
    pictures, labels = zip(*(SceneDataset("train", 80)[i] for i in range(80)), strict=True)
    return net, mine(net, torch.stack(pictures), list(labels), "features.23", progress=False)


def test_explain_says_the_pattern_that_is_in_the_picture(mined, tmp_path):
    net, patterns = mined
    picture = SceneDataset("train", 80)[0][0]
    quick = {"faithfulness": False, "methods": ["gradcam"], "method": "gradcam"}
    plain = pl.explain(net, picture, **quick)
    folder = tmp_path / "patterns"
    patterns.save(folder)
    for given in (patterns, folder):
        told = pl.explain(net, picture, patterns=given, **quick)
        said = [one for one in told.clauses if one.kind == "pattern"]
        assert [one for one in told.clauses if one.kind != "pattern"] == list(plain.clauses)
        assert len(said) == 1
        assert said[0].text in {sentence(one, names_of(net, patterns)) for one in patterns.patterns}
        assert said[0].box is not None
    chinese = pl.explain(net, picture, patterns=patterns, language="zh", **quick)
    (clause_zh,) = [one for one in chinese.clauses if one.kind == "pattern"]
    assert "同时出现在" in clause_zh.say("zh", chinese.names)


def test_explain_refuses_what_are_no_patterns_of_the_network(mined):
    _, patterns = mined
    other = pl.load("scenes-vgg-confounded")
    picture = SceneDataset("train", 1)[0][0]
    with pytest.raises(ValueError, match="Expected"):
        pl.explain(other, picture, patterns=patterns)
    with pytest.raises(TypeError, match="Patterns or a folder, got int"):
        pl.explain(other, picture, patterns=7)
    with pytest.raises(FileNotFoundError, match=r"patterns\.safetensors"):
        pl.explain(other, picture, patterns="nowhere")
