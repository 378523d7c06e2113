"""Parts, contrast, absence and their words, on a network whose every number can be worked out by hand.

Pictures are a red and a green square on blue; the network's logits are linear in how much red, green and blue there is, and a
stand-in recognizes parts by their color.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pellucid as pl
from pellucid.core.registry import UnknownNameError
from pellucid.data.filling import fill, without
from pellucid.dissection.table import THRESHOLD
from pellucid.explanation import clauses as say
from pellucid.explanation.concepts import Meaning, Names
from pellucid.explanation.facts import Effect, Neuron, Removal
from pellucid.explanation.part_clauses import carrying
from pellucid.explanation.parts import Part, Parts
from pellucid.explanation.sight import Seen, Sight
from pellucid.speech import wording as w
from pellucid.speech.text import percent, plain, segments
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


def bold_only(text):
    """A marked text without its links."""
    return "".join(f"**{run.text}**" if run.bold else run.text for run in segments(text))


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
        assert one.value("filled.score", name=one.part, fills=2) == pytest.approx(float(score[0]))
        assert one.value("filled.probability", name=one.part, fills=2) == pytest.approx(float(probability[0]))
        drops.append(float(by_hand(net, x)[0][0] - score[0]))
    assert [one.part for one in said] == ["wing", "tail"]
    assert drops[0] > drops[1] > 0
    assert torch.equal(found.regions["wing"].mask, regions()[0])
    assert torch.equal(found.regions["surroundings"].mask, ~regions().any(0))
    assert said[0].value("part.probability", name="wing") == pytest.approx(0.9)
    assert said[0].box == (4, 4, 14, 14)
    area = said[0].value("part.area", name="wing")
    assert area == 100 / SIDE**2
    assert "red **wing**" in bold_only(said[0].text)


def test_evidence_and_surroundings_are_shares_of_the_map(net):
    found = explained(net, method="gradcam")
    heatmap = found.maps["features"]["gradcam"].upsample()[0].double().clamp(min=0)
    heatmap /= heatmap.sum()
    both = clause(found, "parts").value("parts.evidence")
    assert both == pytest.approx(float(heatmap[regions().any(0)].sum()), abs=1e-6)
    around = clause(found, "around")
    x = net.preprocess(painted())[None]
    left = by_hand(net, fill(x, ~regions().any(0)[None]))
    assert around.value("around.score") == pytest.approx(float(left[0][0]), rel=1e-5)
    assert around.value("scene.probability", name="sky") == pytest.approx(0.7)


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
    assert said.value("around.weight") == found.surroundings
    none = clause(found, "no_single")
    assert "No single part explains this" in none.text
    assert not [one for one in found.clauses if one.phrase == "part"]


@pytest.mark.parametrize(("probable", "phrase"), [((0.1, 0.2, 0.1, 0.9, 0.9), "none_found")])
def test_a_recognizer_for_other_pictures_names_nothing(net, probable, phrase):
    found = explained(net, recognizer=Seeing(probable=probable))
    said = clause(found, phrase)
    assert said.kind == "failure"
    assert "No part can be named" in said.text
    assert said.value("recognizer.parts") == 3
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
    assert wing.value("unit.iou", unit=0, name="wing") == 0.3
    x = net.preprocess(painted())[None]
    hidden = net.module.features(x).detach()
    hidden[:, 0] = 0
    left = net.module.head(hidden.mean((2, 3)))[0].detach()
    assert wing.value("unitless.score", name="wing") == pytest.approx(float(left[0]), rel=1e-5)
    assert wing.value("unitless.probability", name="wing") == pytest.approx(
        float(left.softmax(0)[0]), rel=1e-5
    )


def test_a_concept_of_an_important_neuron_that_is_not_there_is_absent(net):
    absent = clause(explained(net, table=told()), "absent")
    assert absent.kind == "absence"
    assert plain(absent.text).startswith(
        "No wheel was found (probability 10 %), though neuron 1 of features responds"
    )
    assert absent.value("part.probability", name="wheel") == pytest.approx(0.1)
    nearly = Seeing(probable=(0.9, 0.8, 0.3, 0.9, 0.7))  # not there, but not sure enough to call it missing
    assert not [
        one for one in explained(net, table=told(), recognizer=nearly).clauses if one.kind == "absence"
    ]


def test_names_of_units_never_become_parts_object_or_surroundings(net):
    """A name from a table says what a unit responds to over many pictures, not what is in this one."""
    found = explained(net, table=told(), recognizer="none")
    assert all(name.isdigit() for name in found.regions)  # what is seen, without a name from the table
    assert not any(word in region.words for region in found.regions.values() for word in ("wing", "tail"))
    assert found.surroundings is None
    assert found.cost.parts == found.cost.recognizer == 0
    assert not {"part", "parts", "surroundings", "absence"} & {one.kind for one in found.clauses}
    assert not [word for word in ("object", "surroundings", "part") if word in found.details]
    assert "(wing)" in found.details


def test_why_not_is_answered_by_measured_differences(net):
    found = explained(net, why_not="car", table=told())
    x = net.preprocess(painted())[None]
    logits = net.module(x)[0].detach().double()
    margin = float(logits[0] - logits[1])
    one = clause(found, "although")
    assert one.value("margin.score", other="car") == pytest.approx(margin, rel=1e-5)
    red = by_hand(net, without(x, regions(), regions().any(0))[:2])[0]
    gone = one.value("part.margin", name="wing", fills=2)
    assert gone == pytest.approx(margin - float(red[0] - red[1]), rel=1e-5)
    other = clause(found, "for_other")
    assert "tail" in other.text
    assert other.value("part.other", name="tail", other="car") > 0
    turned, neurons = [
        one for one in found.clauses if one.phrase in ("parts_turn", "parts_stay", "units_turn", "units_stay")
    ]
    assert turned.phrase == ("parts_turn" if margin < gone else "parts_stay")
    assert turned.value("margin.then") == pytest.approx(abs(margin - gone), rel=1e-5)
    assert neurons.value("steps.units") == 1
    neurons = clause(found, "units_against")
    hidden = net.module.features(x).detach()
    hidden[:, 0] = 0
    left = net.module.head(hidden.mean((2, 3)))[0].detach().double()
    assert neurons.value("unit.margin", unit=0) == pytest.approx(margin - float(left[0] - left[1]), rel=1e-5)
    assert found.cost.parts <= 40


def test_why_not_without_parts_says_what_it_cannot(net):
    found = explained(net, why_not=1, recognizer="none")
    assert "cannot be said" in clause(found, "unexplained").text
    assert clause(found, "units_against").units


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
    assert one.value("margin.score", other="no") == pytest.approx(2 * logit, rel=1e-5)
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
    assert set(document["regions"]) == {"1", "2", "wing", "tail", "object", "surroundings"}
    assert all(set(one["texts"]) == {"en", "zh"} for one in document["clauses"])
    assert document["text"] == plain(document["brief"]["texts"]["zh"])
    assert document["details"] == plain("".join(one["texts"]["zh"] for one in document["clauses"]))
    assert {one["part"] for one in document["clauses"]} <= {None, *document["regions"]}
    assert document["cost"]["parts"] == found.cost.parts
    assert (
        6 <= found.cost.parts <= 40
    )  # two fills of two parts, object and surroundings; and what making a tail takes
    assert set(document["regions"]["wing"]) == {
        "box",
        "area",
        "words",
        "confidence",
        "effect",
        "number",
        "png",
    }
    assert [found.regions[name].number for name in ("wing", "tail", "object")] == [1, 2, None]
    wing = next(one for one in found.clauses if one.part == "wing")
    assert found.regions["wing"].effect.score == wing.value("filled.score")
    assert document["cost"]["recognizer"] == 2


def test_chinese_says_the_same_numbers_and_translates_the_embedded_world_only(net):
    found = explained(net, table=told(), why_not="car")
    assert "airliner" in found.say("zh")  # three classes are not the concept world's
    same = pl.load(
        Colors([*WEIGHTS, *[[0.0, 0.0, 0.0]] * 7]), input_shape=(3, SIDE, SIDE), classes=list(CLASSES),
        preprocess=pl.Preprocess(resize=None, crop=None, mean=(0, 0, 0), std=(1, 1, 1)),
    )  # fmt: skip
    world = explained(same, table=told(), why_not="car", language="zh")
    assert world.details.startswith("分类结果为客机")
    assert "**翼**" in bold_only(world.text)
    assert "没有发现车轮" in world.details
    assert not [
        word
        for word in ("airliner", "wing", "wheel", "tail", "red", "sky")
        if word in str(world) + world.details
    ]
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
    assert not {"filled.probability", "before.probability"} & {each.key for each in part.numbers}
    assert "the score falls" in part.text


def color_network(weights, classes):
    return pl.load(
        Colors(weights), input_shape=(3, SIDE, SIDE), classes=classes,
        preprocess=pl.Preprocess(resize=None, crop=None, mean=(0, 0, 0), std=(1, 1, 1)),
    )  # fmt: skip


def test_what_is_printed_never_contradicts_the_order_of_the_parts(net):
    """The part that matters most by the score may matter less by the saturated probability, which is then not printed."""
    whole = Effect(13.1, 0.99999)
    effects = {"window": Effect(7.7, 0.995), "fuselage": Effect(8.7, 0.93), "wing": Effect(9.9, 0.999)}
    region = torch.zeros(2, 2, dtype=torch.bool)

    def part(name):
        drop = whole.score - effects[name].score
        return Part(Seen(name, region), 0.1, 0.2, effects[name], drop, torch.zeros(3, 2))

    def said(*names):
        found = Parts(Sight(asked=True), whole, tuple(map(part, names)))
        return [one for one in carrying(found, 10.0, "m", None) if one.phrase == "part"]

    for one in said("window", "fuselage", "wing"):
        assert "%" not in plain(one.text).replace("(20 %;", "")
        assert one.value("filled.probability")  # the evidence keeps it
    assert "to 93 %" in plain(said("fuselage", "wing")[0].text)


def test_a_unit_whose_removal_raises_the_score_is_no_evidence(net):
    """By activation the unit of blue is strongest, but the class explained has a negative weight for it."""
    against = color_network([[40.0, 20.0, -30.0], [5.0, 30.0, 2.0]], ["airliner", "car"])
    found = explained(against, recognizer="none", criterion="activation", target="airliner", units=3)
    cited = {neuron.unit: neuron.cited for neuron in found.neurons}
    for neuron in found.neurons:
        assert neuron.cited == (neuron.removed_score < found.target["score"])
    assert cited[2] is False
    carried = clause(found, "carried")
    assert ("features", 2) not in carried.units
    assert 2 not in found.removal.units
    assert found.removal.score_after < found.removal.score_before
    none = explained(against, recognizer="none", criterion="activation", target="airliner", units=1)
    assert none.removal is None
    assert "cannot be said to carry it" in clause(none, "none_cited").text


def test_nothing_makes_up_for_units_before_a_linear_head(net):
    """Single losses add up to the joint one exactly, so the softmax is saturated, and nothing compensates."""
    sure = color_network([[400.0, 300.0, 10.0], [5.0, 3.0, 2.0]], ["airliner", "car"])
    found = explained(sure, recognizer="none", units=1)
    doubt = clause(found, "saturated")
    fall = (found.removal.score_before - found.removal.score_after) / found.removal.score_before
    assert doubt.value("removed.fall") == pytest.approx(fall)
    assert f"score falls by {percent(fall)}" in doubt.text
    assert not [one for one in found.clauses if one.phrase == "made_up"]


def test_others_make_up_only_where_together_less_is_lost_than_one_by_one():
    units = [unit(removed, True) for removed in (9.0, 9.0)]
    effect = Removal("a", (0, 1), 0.99, 0.985, 0.99, 10.0, 9.5, 10.0, 8, 0.1)
    target = {"probability": 0.99, "name": "car"}
    _, doubt = say.carried(units, effect, 9, "CGNIS", target, "a")
    assert doubt.phrase == "made_up"  # 0.5 together, 1 and 1 alone
    assert "0.5 of the score together and 2 one by one" in doubt.text
    _, doubt = say.carried([unit(9.75, True)] * 2, effect, 9, "CGNIS", target, "a")
    assert doubt.phrase == "hardly"
    small = replace(effect, before=0.01, after=0.0004)  # 1 % to less than 0.1 % is much
    assert len(say.carried(units, small, 9, "CGNIS", target, "a")) == 1


def unit(removed_score, cited):
    empty = torch.zeros(2, 2, dtype=torch.bool)
    return Neuron("a", 1, "cgnis", 1.0, 0.1, 1, empty, None, 0.9, removed_score, cited)


@pytest.mark.parametrize(
    ("held_out", "said"),
    [(("wheel", 0.2), "(wheel)"), (("wheel", 0.03), "(perhaps wheel)"), (("sky", 0.3), "(perhaps wheel)"), (None, "(wheel)")],
)  # fmt: skip
def test_a_name_that_does_not_hold_on_held_out_pictures_is_weak(held_out, said):
    meaning = Meaning(1, "wheel", "part", 0.2, None, held_out, 100, "set", 0.005)
    first, *_ = say.carried(
        [replace(unit(9.0, True), meaning=meaning)],
        None,
        9,
        "CGNIS",
        {"probability": 0.9, "name": "car"},
        "a",
    )
    assert said in plain(first.text)
    named = say.answering([replace(unit(9.0, True), meaning=meaning)])
    assert ("“Perhaps”" in named.text) == said.startswith("(perhaps")


def test_another_name_for_the_same_is_no_doubt():
    top = [
        {"class": "sunglass", "probability": 0.45, "index": 0},
        {"class": "sunglasses, dark glasses, shades", "probability": 0.4, "index": 1},
        {"class": "bonnet", "probability": 0.05, "index": 2},
    ]
    (synonym,) = say.doubts_of_prediction(top, {"predicted": True})
    assert (synonym.kind, synonym.phrase) == ("prediction", "synonym")
    assert "85 % together" in synonym.text
    assert say.rival(top) is None
    top[2]["probability"] = 0.12
    _, doubt = say.doubts_of_prediction(top, {"predicted": True})
    assert plain(doubt.text) == "Second comes bonnet with 12 %."
