"""`explain`: every number of a sentence is recomputed here by other means."""

import inspect
import json
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import pellucid as pl
from pellucid.attribution.method import DEFAULT
from pellucid.explanation.explanation import Explanation, from_json
from pellucid.explanation.measuring import concentration
from pellucid.explanation.settings import DEFAULT_METHOD, ExplainSettings
from pellucid.speech.text import measured, number, percent, plain
from pellucid.units.regions import box_of
from pellucid.world import draw, render


class Small(nn.Module):
    """Two stages, a pooled linear head."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True))
        self.two = nn.Sequential(nn.Conv2d(6, 12, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Linear(12, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.two(self.one(x)).mean((2, 3)))


@pytest.fixture
def net() -> pl.Network:
    torch.manual_seed(0)
    return pl.load(Small(), input_shape=(3, 32, 32), classes=["ant", "bee", "cat", "dog"])


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8))


def test_numbers_equal_a_recomputation(net: pl.Network, picture: Image.Image) -> None:
    explained = pl.explain(net, picture, units=3)
    x = net.preprocess(picture)[None]
    probabilities = net.module(x).softmax(1)[0].detach()
    best = int(probabilities.argmax())
    assert explained.target["name"] == net.classes[best]
    assert explained.prediction[0]["probability"] == pytest.approx(float(probabilities[best]), abs=1e-6)

    scores = pl.neurons(net, picture, "two").values[0]
    order = scores.argsort(descending=True)[:3].tolist()
    assert [neuron.unit for neuron in explained.neurons] == order
    assert explained.neurons[0].share == pytest.approx(float(scores[order[0]] / scores.sum()), rel=1e-5)

    def without(units: list[int]) -> float:
        def zero(_m: nn.Module, _a: object, out: torch.Tensor) -> torch.Tensor:
            out = out.clone()
            out[:, units] = 0
            return out

        handle = net.module.two.register_forward_hook(zero)
        value = float(net.module(x).softmax(1)[0, best].detach())
        handle.remove()
        return value

    assert explained.removal is not None
    assert explained.removal.before == pytest.approx(float(probabilities[best]), abs=1e-6)
    assert explained.removal.after == pytest.approx(without(order), abs=1e-6)
    for neuron in explained.neurons:
        assert neuron.removed == pytest.approx(without([neuron.unit]), abs=1e-6)
    heatmap = pl.attribute(net, picture, "layercam", layers="two")["two"]
    assert torch.allclose(explained.maps["two"]["layercam"].values, heatmap.values, atol=1e-7)


def test_every_number_in_the_text_is_in_the_clauses(net: pl.Network, picture: Image.Image) -> None:
    for clause in pl.explain(net, picture).clauses:
        shown = {
            word
            for each in clause.numbers
            if isinstance(each.value, float)
            for word in (percent(each.value), number(each.value), measured(each.value, each.spread))
        }
        shown |= {str(unit) for _, unit in clause.units}
        text = plain(clause.text)
        if clause.layer:
            text = text.replace(clause.layer, "")
        for word in re.sub("[;,()]", " ", text.replace(" %", "%")).split():
            bare = word.rstrip(".:")
            if any(character.isdigit() for character in bare):
                assert bare.replace("%", " %") in shown, (bare, clause)


def test_known_object_and_its_share() -> None:
    torch.manual_seed(0)
    net = pl.load(Small(10), input_shape=(3, 128, 128), preprocess=pl.Preprocess.scenes())
    rendering = render(draw(3, split="test"))
    explained = pl.explain(net, rendering)
    mask = torch.from_numpy(rendering.object_mask())
    evidence = explained.maps["two"]["layercam"].upsample()[0].double()
    assert explained.inside["two", "layercam"] == pytest.approx(
        float(evidence[mask].sum() / evidence.sum()), rel=1e-6
    )
    kinds = [clause.kind for clause in explained.clauses]
    assert "object" in kinds
    assert rendering.scene_data.label in explained.details


def test_a_list_of_scenes() -> None:
    torch.manual_seed(0)
    net = pl.load(Small(10), input_shape=(3, 128, 128), preprocess=pl.Preprocess.scenes())
    scenes = [draw(3, split="test"), render(draw(4, split="test"))]
    several = pl.explain(net, scenes, target=[1, 2], methods=[])
    assert [one.target["index"] for one in several] == [1, 2]
    assert several[0].mask_name == draw(3, split="test").label
    assert several[1].text == pl.explain(net, scenes[1], target=2, methods=[]).text


def test_other_target_and_function(net: pl.Network, picture: Image.Image) -> None:
    worst = net.classes[int(net.module(net.preprocess(picture)[None]).argmin())]
    assert f"Explained here: {worst}" in pl.explain(net, picture, target=worst).details
    explained = pl.explain(net, picture, target=lambda output: output[:, 0] - output[:, 1])
    assert explained.target["index"] is None
    assert "score" in explained.details


@pytest.mark.parametrize("head", ["binary", "sigmoid", "probabilities"])
def test_other_heads(head: str, picture: Image.Image) -> None:
    torch.manual_seed(1)
    module = (
        Small(1)
        if head == "binary"
        else nn.Sequential(Small(), nn.Softmax(1))
        if head == "probabilities"
        else Small()
    )
    net = pl.load(module, input_shape=(3, 32, 32), head="auto" if head != "sigmoid" else "sigmoid")
    assert net.head == head
    for target in range(len(net.classes)):
        explained = pl.explain(net, picture, target=target)
        assert explained.target["probability"] == pytest.approx(
            float(net.probabilities(net(net.preprocess(picture)[None]))[0, target]), abs=1e-6
        )


def test_nothing_to_say_is_said(picture: Image.Image) -> None:
    module = Small()
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    explained = pl.explain(pl.load(module, input_shape=(3, 32, 32)), picture)
    assert "No region can be named" in explained.details
    assert "No single neuron" in explained.details
    json.dumps(explained.to_json(pictures=True), allow_nan=False)


def test_all_negative_evidence_is_reported(net: pl.Network, picture: Image.Image) -> None:
    with torch.no_grad():
        net.module.head.weight.copy_(-net.module.head.weight.abs())
    explained = pl.explain(net, picture, method="gradcam")
    assert "speaks against" in explained.details


def test_many_images_and_errors(net: pl.Network, picture: Image.Image) -> None:
    several = pl.explain(net, [picture, picture.rotate(90)], target=["ant", 1])
    assert [one.target["name"] for one in several] == ["ant", "bee"]
    with pytest.raises(ValueError, match="one target for each of 2 images, got 3"):
        pl.explain(net, [picture, picture], target=[0, 1, 2])
    with pytest.raises(ValueError, match="did you mean `layercam`"):
        pl.explain(net, picture, method="layerkam")
    with pytest.raises(KeyError, match="two"):
        pl.explain(net, picture, layers=["too"])
    with pytest.raises(ValueError, match="units"):
        pl.explain(net, picture, units=0)
    with pytest.raises(ValueError, match="mask"):
        pl.explain(net, picture, mask=np.zeros((40, 50), bool))
    with pytest.raises(ValueError, match="image's size 40×50"):
        pl.explain(net, picture, mask=np.ones((4, 5), bool))
    with pytest.raises(ValueError, match=r"report\.html"):
        pl.explain(net, picture).save("report.pdf")


def test_saved_files_read_back(net: pl.Network, picture: Image.Image, tmp_path: Path) -> None:
    explained = pl.explain(net, picture)
    assert isinstance(explained, Explanation)
    document = from_json(explained.save(tmp_path / "a.json").read_text(encoding="utf-8"))
    assert document["text"] == str(explained)
    arrays = load_file(explained.save(tmp_path / "a.safetensors"))
    assert torch.equal(arrays["maps/two/gradcam"], explained.maps["two"]["gradcam"].values[0])
    page = explained.save(tmp_path / "deep" / "a.html").read_text(encoding="utf-8")
    assert "<canvas" in page
    assert not [file for file in tmp_path.rglob("*") if "partial" in file.name]
    with pytest.raises(ValueError, match="schema"):
        from_json('{"schema": 99}')


def test_same_input_same_document(net: pl.Network, picture: Image.Image) -> None:
    first, second = (pl.explain(net, picture, seed=3).to_json(pictures=True) for _ in range(2))
    for document in (first, second):
        document.pop("cost")
    assert first == second


def test_one_layer_of_one_channel(picture: Image.Image) -> None:
    module = nn.Sequential(nn.Conv2d(3, 1, 3), nn.ReLU(), nn.Flatten(), nn.Linear(900, 2))
    explained = pl.explain(pl.load(module, input_shape=(3, 32, 32)), picture)
    assert explained.removal is None


def test_one_image_gives_one_and_several_a_list(net: pl.Network, picture: Image.Image) -> None:
    quick = ExplainSettings(methods=[], faithfulness=False)
    assert isinstance(pl.explain(net, picture, quick), Explanation)
    assert isinstance(pl.explain(net, np.asarray(picture), quick), Explanation)
    assert [type(each) for each in pl.explain(net, [picture], quick)] == [Explanation]
    assert [type(each) for each in pl.explain(net, (picture, picture), quick)] == [Explanation] * 2


def test_the_settings_are_kept_and_may_be_changed_by_name(net: pl.Network, picture: Image.Image) -> None:
    settings = ExplainSettings(methods=[], faithfulness=False, units=2, seed=4)
    explained = pl.explain(net, picture, settings, units=3)
    assert explained.settings == replace(settings, units=3)
    assert explained.to_json()["settings"] == explained.settings.to_json()
    json.dumps(explained.settings.to_json(), allow_nan=False)
    with pytest.raises(TypeError, match="Expected a setting of `explain`, got `unit`; did you mean `units`"):
        pl.explain(net, picture, unit=3)
    with pytest.raises(TypeError, match="Expected `layers` to be a list of names, got `two`"):
        pl.explain(net, picture, layers="two")


def test_the_signature_names_every_setting() -> None:
    parameters = inspect.signature(pl.explain).parameters
    assert list(parameters)[:3] == ["net", "images", "settings"]
    for each in fields(ExplainSettings):
        assert parameters[each.name].default == each.default
    assert not [each for each in parameters.values() if each.kind is each.VAR_KEYWORD]
    assert DEFAULT_METHOD == DEFAULT


def test_what_it_costs_is_counted_at_the_network(net: pl.Network, picture: Image.Image) -> None:
    calls: list[int] = []
    handle = net.module.register_forward_pre_hook(lambda _module, given: calls.append(len(given[0])))
    explained = pl.explain(net, picture, method="gradcam", methods=["smoothgrad"], why_not=None)
    handle.remove()
    assert explained.cost.forward + explained.cost.tail_runs == sum(calls)


def evidence_at(*spots: tuple[int, int], size: int = 90, side: int = 12) -> torch.Tensor:
    evidence = torch.full((size, size), 1e-9, dtype=torch.float64)
    for row, column in spots:
        evidence[row - side // 2 : row + side // 2, column - side // 2 : column + side // 2] = 1
    return evidence / evidence.sum()


@pytest.mark.parametrize(
    ("spots", "places"),
    [
        ([(45, 45)], ("center",)),
        ([(15, 75)], ("upper right",)),
        ([(45, 14), (45, 76)], ("left side", "right side")),  # two zebras: nothing lies at the center
        ([(14, 14), (14, 76), (76, 14)], ("upper left", "upper right", "lower left")),
        ([(14, 14), (14, 76), (76, 14), (76, 76)], ()),
        ([(14, k) for k in (14, 45, 76)] + [(76, k) for k in (14, 45, 76)], ()),
    ],
)
def test_a_place_is_named_only_where_evidence_lies(
    spots: list[tuple[int, int]], places: tuple[str, ...]
) -> None:
    assert concentration(evidence_at(*spots)).places == places


def test_evidence_everywhere_has_no_place() -> None:
    assert concentration(torch.full((64, 64), 1 / 64**2, dtype=torch.float64)).places == ()
    rows = torch.arange(90, dtype=torch.float64)[:, None].expand(90, 90)
    ring = ((rows - 45) ** 2 + (rows.T - 45) ** 2).sqrt()
    ring = ((ring > 30) & (ring < 40)).double() + 1e-9
    assert "center" not in concentration(ring / ring.sum()).places


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_concentration_against_a_slow_twin(seed: int) -> None:
    evidence = torch.rand(7, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) ** 4
    evidence /= evidence.sum()
    found = concentration(evidence)
    ordered = sorted(((float(v), i) for i, v in enumerate(evidence.flatten())), key=lambda pair: -pair[0])
    chosen: list[int] = []
    total = 0.0
    for value, index in ordered:
        if total >= 0.5:
            break
        chosen.append(index)
        total += value
    assert found.area == pytest.approx(len(chosen) / 63)
    rows, columns = [i // 9 for i in chosen], [i % 9 for i in chosen]
    assert found.box == (min(rows), min(columns), max(rows) + 1, max(columns) + 1)


def test_box_of_nothing() -> None:
    assert box_of(torch.zeros(3, 3, dtype=torch.bool)) is None
