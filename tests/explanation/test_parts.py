"""Parts, contrast, absence and their words, on a network whose every number can be worked out by hand.

Pictures are a red and a green square on blue; the network's logits are linear in how much red, green and blue there is, and a
stand-in recognizes parts by their color.
"""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pellucid as pl
from pellucid.core.registry import UnknownNameError
from pellucid.data.filling import fill, without
from pellucid.dissection.table import THRESHOLD
from pellucid.explanation.concepts import Meaning, Names
from pellucid.speech import wording as w
from pellucid.world.vocabulary import CLASSES

SIDE = 32
RED, GREEN = (slice(4, 14), slice(4, 14)), (slice(18, 28), slice(16, 30))


def painted(red=True, green=True):
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[..., 2] = 255
    for there, (rows, columns), color in ((red, RED, (255, 0, 0)), (green, GREEN, (0, 255, 0))):
        if there:
            picture[rows, columns] = color
    return picture


class Colors(nn.Module):
    """Red, green, blue, each above the others; logits by ``weights`` [class color]."""

    def __init__(self, weights):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.ReLU())
        self.head = nn.Linear(4, len(weights), bias=False)
        with torch.no_grad():
            taps = torch.tensor([[2.0, -1, -1], [-1, 2, -1], [-1, -1, 2], [-1, -1, -1]])
            self.features[0].weight.copy_(taps[:, :, None, None])
            self.head.weight.zero_()
            self.head.weight[:, :3] = torch.tensor(weights)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


class Seeing:
    """Recognizes the two squares, one color and the ground by their color; ``known``: names of the parts."""

    categories = ("part", "part", "part", "color", "scene")
    thresholds = (0.5, 0.5, 0.5, 0.5, 0.5)

    def __init__(self, names=("wing", "tail", "wheel", "red", "sky"), probable=(0.9, 0.8, 0.1, 0.9, 0.7)):
        self.names, self.probable = names, probable

    def probabilities(self, pictures):
        return torch.tensor([self.probable])

    def maps(self, pictures, attributes=None):
        pixels = torch.from_numpy(np.array(pictures)).permute(2, 0, 1).float() / 255
        of = dict(zip(self.names, (pixels[0], pixels[1], 0 * pixels[0], pixels[0], pixels[2]), strict=True))
        return torch.stack([of[name] for name in attributes])[None]


WEIGHTS = [[40.0, 20.0, 1.0], [5.0, 30.0, 2.0], [-40.0, 0.0, 3.0]]


@pytest.fixture
def net():
    return pl.load(
        Colors(WEIGHTS), input_shape=(3, SIDE, SIDE), classes=["airliner", "car", "boat"],
        preprocess=pl.Preprocess(resize=None, crop=None, mean=(0, 0, 0), std=(1, 1, 1)),
    )  # fmt: skip


def explained(net, picture=None, **options):
    options = {
        "recognizer": Seeing(),
        "methods": [],
        "faithfulness": False,
        "layers": ["features"],
        **options,
    }
    return pl.explain(net, painted() if picture is None else picture, **options)


def clause(found, phrase):
    (one,) = [one for one in found.clauses if one.phrase == phrase]
    return one


def regions():
    both = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    both[0][RED], both[1][GREEN] = True, True
    return both


def by_hand(net, pictures):
    """Mean logits and mean probabilities over pictures."""
    outputs = net.module(pictures).detach().double()
    return outputs.mean(0), outputs.softmax(1).mean(0)


def test_parts_are_named_by_what_filling_them_in_does(net):
    found = explained(net)
    x = net.preprocess(painted())[None]
    pictures = without(x, regions(), regions().any(0))
    said = [one for one in found.clauses if one.phrase == "part"]
    drops = []
    for one, pair in zip(said, (pictures[:2], pictures[2:]), strict=True):
        score, probability = by_hand(net, pair)
        assert one.numbers[f"score with the {one.part} filled in, mean of 2 fills"] == pytest.approx(
            float(score[0])
        )
        assert one.numbers[f"probability with the {one.part} filled in, mean of 2 fills"] == pytest.approx(
            float(probability[0])
        )
        drops.append(float(by_hand(net, x)[0][0] - score[0]))
    assert [one.part for one in said] == ["wing", "tail"]
    assert drops[0] > drops[1] > 0
    assert torch.equal(found.regions["wing"], regions()[0])
    assert torch.equal(found.regions["surroundings"], ~regions().any(0))
    assert said[0].numbers["probability that wing is there"] == pytest.approx(0.9)
    assert said[0].box == (4, 4, 14, 14)
    area = said[0].numbers["area of the wing"]
    assert area == 100 / SIDE**2
    assert "red **wing**" in said[0].text


def test_evidence_and_surroundings_are_shares_of_the_map(net):
    found = explained(net, method="gradcam")
    heatmap = found.maps["features"]["gradcam"].upsample()[0].double().clamp(min=0)
    heatmap /= heatmap.sum()
    both = clause(found, "parts").numbers["evidence on these regions, mean of the stages"]
    assert both == pytest.approx(float(heatmap[regions().any(0)].sum()), abs=1e-6)
    around = clause(found, "around")
    x = net.preprocess(painted())[None]
    left = by_hand(net, fill(x, ~regions().any(0)[None]))
    assert around.numbers["score with the surroundings filled in"] == pytest.approx(
        float(left[0][0]), rel=1e-5
    )
    assert around.numbers["probability of sky"] == pytest.approx(0.7)


def test_a_network_of_the_background_is_said_to_be_one():
    blue = [[1.0, 0.0, 60.0], [0.0, 0.0, 1.0]]
    net = pl.load(
        Colors(blue), input_shape=(3, SIDE, SIDE), classes=["airliner", "car"],
        preprocess=pl.Preprocess(resize=None, crop=None, mean=(0, 0, 0), std=(1, 1, 1)),
    )  # fmt: skip
    found = explained(net)
    said = clause(found, "background")
    assert found.surroundings > w.MOST
    assert said.kind == "doubt"
    assert "carry the decision more than the object" in said.text
    assert said.numbers["weight of the surroundings"] == found.surroundings
    none = clause(found, "no_single")
    assert "No single part explains this" in none.text
    assert not [one for one in found.clauses if one.phrase == "part"]


@pytest.mark.parametrize(("probable", "phrase"), [((0.1, 0.2, 0.1, 0.9, 0.9), "none_found")])
def test_a_recognizer_for_other_pictures_names_nothing(net, probable, phrase):
    found = explained(net, recognizer=Seeing(probable=probable))
    said = clause(found, phrase)
    assert said.kind == "failure"
    assert "No part can be named" in said.text
    assert said.numbers["parts the recognizer knows"] == 3
    assert found.cost.parts == 0


def test_nothing_is_said_of_parts_without_a_recognizer_or_table(net):
    found = explained(net, recognizer="none")
    assert not {"part", "surroundings", "absence"} & {one.kind for one in found.clauses}
    assert found.cost.parts == found.cost.recognizer == 0
    assert any("recognizer of parts" in line for line in found.unsaid)
    assert any("dissection" in line for line in found.unsaid)


class Table:
    """A unit table of which only names and length are asked."""

    def __init__(self, concepts):
        self.concepts = concepts

    def __len__(self):
        return len(self.concepts)


class Told(Names):
    """Names of units as if a dissection had found them."""

    def of(self, layer, unit):
        if layer not in self.tables:
            return None
        concept, iou = self.tables[layer].concepts[unit]
        return Meaning(unit, concept, "part", iou, None, None, 100, "made up", 0.005)


CONCEPTS = [("wing", 0.3), ("wheel", 0.2), ("sky", THRESHOLD / 2), ("tail", 0.1)]


def told():
    return Told({"features": Table(CONCEPTS)})


def test_neurons_of_a_part_and_what_removing_them_leaves(net):
    found = explained(net, table=told())
    wing = next(one for one in found.clauses if one.part == "wing")
    assert wing.units == (("features", 0),)
    assert wing.numbers["IoU of neuron 0 of features with wing"] == 0.3
    x = net.preprocess(painted())[None]
    hidden = net.module.features(x).detach()
    hidden[:, 0] = 0
    left = net.module.head(hidden.mean((2, 3)))[0].detach()
    assert wing.numbers["score without the neurons of the wing"] == pytest.approx(float(left[0]), rel=1e-5)
    assert wing.numbers["probability without the neurons of the wing"] == pytest.approx(
        float(left.softmax(0)[0]), rel=1e-5
    )


def test_a_concept_of_an_important_neuron_that_is_not_there_is_absent(net):
    absent = clause(explained(net, table=told()), "absent")
    assert absent.kind == "absence"
    assert absent.text.startswith(
        "No **wheel** was found (probability 10 %), though neuron 1 of features responds"
    )
    assert absent.numbers["probability that wheel is there"] == pytest.approx(0.1)
    nearly = Seeing(probable=(0.9, 0.8, 0.3, 0.9, 0.7))  # not there, but not sure enough to call it missing
    assert not [
        one for one in explained(net, table=told(), recognizer=nearly).clauses if one.kind == "absence"
    ]


def test_concepts_of_neurons_stand_in_for_parts(net):
    found = explained(net, table=told(), recognizer="none")
    assert {"wing", "wheel"} <= set(found.regions)
    assert found.cost.recognizer == 0
    assert 0 < found.cost.parts <= 40
    wing = next(one for one in found.clauses if one.part == "wing")
    assert "probability that wing is there" not in wing.numbers


def test_why_not_is_answered_by_measured_differences(net):
    found = explained(net, why_not="car", table=told())
    x = net.preprocess(painted())[None]
    logits = net.module(x)[0].detach().double()
    margin = float(logits[0] - logits[1])
    one = clause(found, "although")
    assert one.numbers["difference of the score to that of car"] == pytest.approx(margin, rel=1e-5)
    red = by_hand(net, without(x, regions(), regions().any(0))[:2])[0]
    gone = one.numbers["of it gone with wing filled in, mean of 2 fills"]
    assert gone == pytest.approx(margin - float(red[0] - red[1]), rel=1e-5)
    other = clause(found, "for_other")
    assert "tail" in other.text
    assert other.numbers["tail for car, by filling it in"] > 0
    turned, neurons = [one for one in found.clauses if one.phrase in ("would_change", "would_stay")]
    assert turned.phrase == ("would_change" if margin < gone else "would_stay")
    assert turned.numbers["difference of the scores then"] == pytest.approx(abs(margin - gone), rel=1e-5)
    assert neurons.numbers["neurons removed"] == 1
    neurons = clause(found, "neurons_against")
    hidden = net.module.features(x).detach()
    hidden[:, 0] = 0
    left = net.module.head(hidden.mean((2, 3)))[0].detach().double()
    assert neurons.numbers["difference of the scores that neuron 0 makes"] == pytest.approx(
        margin - float(left[0] - left[1]), rel=1e-5
    )
    assert found.cost.parts <= 40


def test_why_not_without_parts_says_what_it_cannot(net):
    found = explained(net, why_not=1, recognizer="none")
    assert "cannot be said" in clause(found, "unexplained").text
    assert clause(found, "neurons_against").units


def test_a_near_second_class_is_contrasted_by_itself():
    near = [[40.0, 20.0, 1.0], [38.0, 24.0, 1.0]]
    net = pl.load(
        Colors(near), input_shape=(3, SIDE, SIDE), classes=["airliner", "car"],
        preprocess=pl.Preprocess(resize=None, crop=None, mean=(0, 0, 0), std=(1, 1, 1)),
    )  # fmt: skip
    found = explained(net)
    first, second = (entry["class"] for entry in found.prediction[:2])
    said = clause(found, "because")
    assert said.text.startswith(f"Rather than {second}")
    assert first != second


def test_a_single_logit_has_two_classes():
    net = pl.load(
        Colors([[40.0, -5.0, 1.0]]), input_shape=(3, SIDE, SIDE), classes=["no", "yes"],
        preprocess=pl.Preprocess(resize=None, crop=None, mean=(0, 0, 0), std=(1, 1, 1)),
    )  # fmt: skip
    found = explained(net, why_not="no")
    logit = float(net.module(net.preprocess(painted())[None]).detach())
    one = clause(found, "although")
    assert one.numbers["difference of the score to that of no"] == pytest.approx(2 * logit, rel=1e-5)
    with pytest.raises(ValueError, match="`yes` for both"):
        explained(net, why_not="yes")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"why_not": "airliner"}, ValueError, "Expected `why_not` to be another class than the explained one, got `airliner`"),
        ({"why_not": "plain"}, UnknownNameError, "Expected a class of"),
        ({"why_not": 7}, IndexError, "from 0 to 2"),
        ({"why_not": ["car"]}, ValueError, "got a function or several"),
        ({"why_not": "car", "target": lambda output: output[:, 0]}, ValueError, "got a function or several"),
        ({"language": "fr"}, UnknownNameError, "Expected a language, got `fr`; try one of `en`, `zh`"),
        ({"recognizer": object()}, TypeError, "Expected a recognizer of attributes, got object"),
        ({"recognizer": "scenes-irnet"}, UnknownNameError, "did you mean `scenes-irenet`"),
        ({"recognizer": Seeing(probable=(0.1, 0.2))}, ValueError, "for each of 5 attributes, got"),
    ],
)  # fmt: skip
def test_bad_input_is_named(net, options, error, text):
    with pytest.raises(error) as raised:
        explained(net, **options)
    assert text in str(raised.value)


def test_one_class_has_no_other():
    net = pl.load(
        Colors([[40.0, -5.0, 1.0]]), input_shape=(3, SIDE, SIDE), head="softmax",
        preprocess=pl.Preprocess(resize=None, crop=None, mean=(0, 0, 0), std=(1, 1, 1)),
    )  # fmt: skip
    with pytest.raises(ValueError, match="at least two classes"):
        explained(net, why_not=0)


def test_the_document_carries_both_languages_and_every_region(net):
    found = explained(net, table=told(), language="zh")
    document = found.to_json(pictures=True)
    json.dumps(document, allow_nan=False)
    assert document["language"] == "zh"
    assert set(document["regions"]) == {"wing", "tail", "object", "surroundings"}
    assert all(set(one["texts"]) == {"en", "zh"} for one in document["clauses"])
    assert document["text"] == "".join(one["texts"]["zh"] for one in document["clauses"])
    assert {one["part"] for one in document["clauses"]} <= {None, *document["regions"]}
    assert document["cost"]["parts"] == found.cost.parts == 6
    assert document["cost"]["recognizer"] == 2


def test_chinese_says_the_same_numbers_and_translates_the_embedded_world_only(net):
    found = explained(net, table=told(), why_not="car")
    assert "airliner" in found.say("zh")  # three classes are not the concept world's
    same = pl.load(
        Colors([*WEIGHTS, *[[0.0, 0.0, 0.0]] * 7]), input_shape=(3, SIDE, SIDE), classes=list(CLASSES),
        preprocess=pl.Preprocess(resize=None, crop=None, mean=(0, 0, 0), std=(1, 1, 1)),
    )  # fmt: skip
    world = explained(same, table=told(), why_not="car", language="zh")
    assert world.text.startswith("分类结果为**客机**")
    assert "**翼**" in world.text
    assert "没有发现**车轮**" in world.text
    assert not [word for word in ("airliner", "wing", "wheel", "tail", "red", "sky") if word in world.text]
    assert [one.numbers for one in world.clauses] == [
        one.numbers for one in explained(same, table=told(), why_not="car").clauses
    ]


def test_nothing_of_the_network_is_altered(net):
    net.module.train()
    before = {name: value.clone() for name, value in net.module.state_dict().items()}
    state = torch.get_rng_state()
    explained(net, why_not="car", table=told())
    assert net.module.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in net.module.state_dict().items())
    assert not net.module._forward_hooks


def test_float64_works():
    net = pl.load(
        Colors(WEIGHTS).double(), input_shape=(3, SIDE, SIDE), classes=["airliner", "car", "boat"],
        preprocess=pl.Preprocess(resize=None, crop=None, mean=(0, 0, 0), std=(1, 1, 1)),
    )  # fmt: skip
    assert [one.part for one in explained(net).clauses if one.phrase == "part"] == ["wing", "tail"]


def test_a_target_that_is_a_function_has_no_probability(net):
    found = explained(net, target=lambda output: F.relu(output[:, 0]))
    part = next(one for one in found.clauses if one.phrase == "part")
    assert "probability" not in " ".join(part.numbers).replace("probability that", "").replace(
        "probability from which", ""
    )
    assert "the score falls" in part.text
