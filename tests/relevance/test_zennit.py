"""Against zennit in float64, where both define the same: plain networks."""

import pytest
import torch
from tests.networks import lively
from torch import nn

import pellucid as pl
from pellucid.relevance import (
    AlphaBeta,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    WSquare,
    ZBox,
    ZPlus,
    functions,
    propagate,
)
from pellucid.zoo.zoos import import_torchvision

import_torchvision()  # zennit imports it bare
pytest.importorskip("zennit", reason="the oracle zennit is not installed")

LAYERS = ["input", "2", "4", "6"]
EPSILON = 1e-14


def plain():
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 10, 3, stride=2), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 5),
    )  # fmt: skip
    return lively(module).double()


def oracle(module, x, seed, rule, dense, first):
    from zennit.attribution import Gradient
    from zennit.composites import SpecialFirstLayerMapComposite
    from zennit.rules import Norm, Pass
    from zennit.types import Activation, AvgPool, Convolution

    layer_map = [
        (Activation, Pass()),
        (AvgPool, Norm(stabilizer=EPSILON)),
        (Convolution, rule),
        (nn.Linear, dense),
    ]
    composite = SpecialFirstLayerMapComposite(layer_map, [(Convolution, first)] if first else [])
    outputs, handles = {}, []

    def keep(name):
        def hook(_module, _args, output):
            output.retain_grad()
            outputs[name] = output

        return hook

    with Gradient(module, composite) as attributor:
        handles = [module[int(name)].register_forward_hook(keep(name)) for name in LAYERS[1:]]
        _, relevance = attributor(x, seed)
    for handle in handles:
        handle.remove()
    return {"input": relevance, **{name: output.grad for name, output in outputs.items()}}


def rules(name, x):
    from zennit import rules as z

    eps, tiny = {"epsilon": EPSILON}, {"stabilizer": EPSILON}
    low, high = torch.full_like(x[:1], -4.0), torch.full_like(x[:1], 4.0)
    dense = Epsilon(EPSILON)
    return {
        "epsilon": (Composite(dense, dense), z.Epsilon(**eps), None),
        "gamma": (Composite(Gamma(EPSILON), dense), z.Gamma(0.25, **tiny), None),
        "z-plus": (Composite(ZPlus(EPSILON), dense), z.ZPlus(zero_params="bias", **tiny), None),
        "z-plus with bias": (Composite(ZPlus(EPSILON, bias=True), dense), z.ZPlus(**tiny), None),
        "alpha2-beta1": (
            Composite(AlphaBeta(EPSILON, bias=True), dense),
            z.AlphaBeta(2.0, 1.0, **tiny),
            None,
        ),
        "box": (
            Composite(Gamma(EPSILON), dense, ZBox(EPSILON)),
            z.Gamma(0.25, **tiny),
            z.ZBox(low, high, **tiny),
        ),
        "w-square": (
            Composite(Gamma(EPSILON), dense, WSquare(EPSILON)),
            z.Gamma(0.25, **tiny),
            z.WSquare(zero_params="bias", **tiny),
        ),
        "flat": (Composite(Gamma(EPSILON), dense, Flat(EPSILON)), z.Gamma(0.25, **tiny), z.Flat(**tiny)),
    }[name], z.Epsilon(**eps)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    ["epsilon", "gamma", "z-plus", "z-plus with bias", "alpha2-beta1", "box", "w-square", "flat"],
)
def test_equals_zennit_at_every_layer(name, monkeypatch):
    module, x = plain(), torch.randn(3, 3, 12, 12, dtype=torch.float64)
    net = pl.load(plain(), input_shape=(3, 12, 12))
    bound = torch.full((3, 1, 1), 4.0, dtype=torch.float64)
    monkeypatch.setattr(type(net.preprocess), "bounds", lambda _: (-bound, bound))
    monkeypatch.setattr(functions, "STABILIZER", EPSILON)
    (composite, rule, first), dense = rules(name, x)
    found = propagate(net, x.clamp(-4, 4), LAYERS, 2, composite=composite)
    expected = oracle(module, x.clamp(-4, 4).requires_grad_(), found.seed, rule, dense, first)
    for layer in LAYERS:
        scale = float(expected[layer].abs().max())
        assert scale > 0
        torch.testing.assert_close(found.relevance[layer], expected[layer], rtol=1e-6, atol=1e-9 * scale)
