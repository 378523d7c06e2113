"""Networks that give plain numbers (ages, counts): the sentence and the page say the number, and nothing of probabilities."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

import pellucid as pl

PICTURE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def network(outputs: int, **options: object) -> pl.Network:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, outputs)
    )
    with torch.no_grad():
        module[-1].bias.copy_(torch.tensor([35.0, 1.7, 60.0])[:outputs])
    return pl.load(module, input_shape=(3, 32, 32), **options)


def test_one_number_is_predicted():
    net = network(1)
    assert net.head == "regression"
    explanation = pl.explain(net, PICTURE)
    value = float(net(net.preprocess(pl.read_image(PICTURE))[None]).detach())
    assert str(explanation).startswith(f"Predicts {value:.3g}. ")
    assert explanation.target["predicted"] is True
    assert explanation.target["probability"] is None
    assert "classified" not in (str(explanation) + explanation.details).lower()
    assert "probability" not in str(explanation) + explanation.details


@pytest.mark.parametrize("target", [None, "age", "height", 2])
def test_several_numbers_the_explained_one_first(target):
    names = ["age", "height", "weight"]
    explanation = pl.explain(
        network(3, head="regression", classes=names), PICTURE, target=target, faithfulness=False
    )
    first = names[0 if target is None else target if isinstance(target, int) else names.index(target)]
    assert re.match(rf"Predicts \S+ for {first}, \S+ for \w+ and \S+ for \w+\.", explanation.details)
    assert re.match(rf"Predicts \S+ for {first}\.", str(explanation))
    assert explanation.target["name"] == first
    assert explanation.prediction[0]["class"] == first


def test_a_function_of_the_numbers_is_explained_beside_them():
    net = network(1, head="regression", classes=["age"])
    text = pl.explain(net, PICTURE, target=lambda output: 2 * output[:, 0], faithfulness=False).details
    assert re.match(r"Predicts \S+ for age\. Explained here: <lambda> \(\S+\)\.", text)


@pytest.mark.parametrize(("language", "words"), [("en", "Plain numbers"), ("zh", "网络直接给出的数值")])
def test_the_page_says_the_number(language, words, tmp_path):
    net = network(1, head="regression", classes=["age"])
    explanation = pl.explain(net, PICTURE, language=language, faithfulness=False)
    explanation.save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    answer = re.search(r'id="sentence">(.*?)</p>', page)
    assert answer is not None
    assert "age" in answer[1]
    assert "%" not in answer[1]
    assert words in page
