"""What the short sentence rests on: regions that matter, their words, what is left, and what has to be said first."""

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.explanation.brief import suspicion
from pellucid.naming import effects


class Spots(nn.Module):
    """Class 0 counts red, class 1 green: exact evidence per cell, pooled; the bias favors nothing."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 3, 4, 4, bias=False), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(3, 3)
        with torch.no_grad():
            self.features[0].weight.zero_()
            for channel in range(3):
                self.features[0].weight[channel, channel] = 1 / 16
            self.fc.weight.copy_(60 * torch.eye(3) - 20)
            self.fc.bias.zero_()

    def forward(self, x):
        return self.fc(self.pool(self.features(x)).flatten(1))


@pytest.fixture
def net():
    preprocess = pl.Preprocess(None, None, (0, 0, 0), (1, 1, 1))
    return pl.load(
        Spots().eval(), preprocess=preprocess, input_shape=(3, 48, 48), classes=["tomato", "grass", "sea"]
    )


def painted(*spots):
    """Black, with colored squares: (channel, top, left, side)."""
    x = torch.zeros(3, 48, 48)
    for channel, top, left, side in spots:
        x[channel, top : top + side, left : left + side] = 1
    return x[None]


def explained(net, x, **options):
    return pl.explain(net, x, normalized=True, methods=[], faithfulness=False, **options)


def test_the_region_is_where_the_class_has_its_evidence_and_what_is_left_is_measured(net):
    x = painted((0, 4, 4, 16), (1, 30, 30, 12))
    explanation = explained(net, x)
    (region,) = [each for name, each in explanation.regions.items() if name == "1"]
    assert region.mask[8:16, 8:16].all()
    assert not region.mask[30:, 30:].any()
    measured = effects(net, x, region.mask[None])
    probability = net.probabilities(measured.filled[0])[:, 0].mean()
    assert region.effect.probability == pytest.approx(float(probability), rel=1e-4)
    assert explanation.brief.value("regions.probability") == pytest.approx(float(probability), rel=1e-4)
    assert str(explanation).startswith("tomato, ")
    assert "the upper left" in str(explanation)


def test_the_one_that_matters_most_comes_first(net):
    explanation = explained(net, painted((0, 2, 2, 12), (0, 28, 26, 18)))
    falls = [explanation.regions[number].effect.score for number in ("1", "2")]
    assert falls == sorted(falls)
    assert explanation.regions["1"].mask[36, 36]


def test_nothing_in_the_picture(net):
    explanation = explained(net, torch.zeros(1, 3, 48, 48))
    assert "No region" in str(explanation)
    assert explanation.to_json(pictures=True)["spots"] == []


def test_another_class_is_set_against_it(net):
    explanation = explained(net, painted((0, 4, 4, 16), (1, 30, 30, 12)), why_not="grass")
    text = str(explanation)
    assert "not grass (" in text
    assert "grass has" in text
    x = painted((0, 4, 4, 16), (1, 30, 30, 12))
    left = effects(net, x, explanation.regions["1"].mask[None]).filled[0]
    value = explanation.brief.value("against.without.probability")
    assert value == pytest.approx(float(net.probabilities(left)[:, 1].mean()), rel=1e-4)


def test_words_that_are_numbers_are_not_said(net):
    net = pl.load(net.module, preprocess=net.preprocess, input_shape=(3, 48, 48))
    explanation = explained(net, painted((0, 4, 4, 16)))
    assert explanation.regions["1"].words == ()
    assert "(as for" not in str(explanation)


def test_untrained_networks_and_transformers_are_named_first():
    net = pl.load("torchvision:resnet18", input_shape=(3, 64, 64))
    assert suspicion(net) == "untrained"
    text = str(pl.explain(net, torch.rand(1, 3, 64, 64), normalized=True, methods=[], faithfulness=False))
    assert text.startswith("Its weights look untrained")
    plain = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)
    )
    assert suspicion(pl.load(plain, input_shape=(3, 8, 8))) == "untrained"
    plain[1].running_mean.add_(0.1)
    assert suspicion(pl.load(plain, input_shape=(3, 8, 8))) is None


def test_a_network_of_attention_says_that_it_has_no_maps():
    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Conv2d(3, 8, 8, 8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            tokens = self.embed(x).flatten(2).transpose(1, 2)
            return self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1))

    torch.manual_seed(0)
    net = pl.load(Patches().eval(), input_shape=(3, 32, 32))
    assert suspicion(net) == "transformer"
    text = str(pl.explain(net, torch.rand(1, 3, 32, 32), normalized=True, methods=[], faithfulness=False))
    assert text.startswith("Where it looked is not known")
    assert "looks at" not in text


def test_the_cost_of_a_photograph_stays_below_sixty_passes(net):
    explanation = pl.explain(net, painted((0, 4, 4, 16), (1, 30, 30, 12)), normalized=True)
    assert explanation.cost.forward <= 60
