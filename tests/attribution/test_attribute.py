"""The frame around the methods: what it accepts, returns, shares, reports and refuses."""

import pytest
import torch
from tests.bounds import rounding
from tests.reference.models import Plain, Tangled, lively
from torch import nn

import pellucid as pl
from pellucid.core.registry import create
from pellucid.core.results import Heatmap


class Counting(Plain):
    """Counts its forward and backward passes."""

    def __init__(self):
        super().__init__()
        self.passes = [0, 0]

    def forward(self, x):
        self.passes[0] += len(x)
        output = super().forward(x)
        if output.requires_grad:
            output.register_hook(self._count)
        return output

    def _count(self, gradient):
        self.passes[1] += len(gradient)


@pytest.fixture
def net():
    return pl.load(lively(Counting()), input_shape=(3, 16, 16))


@pytest.fixture
def x():
    return torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def passes(net, call):
    net.layers_at((16, 16))
    net.module.passes = [0, 0]
    call()
    return tuple(net.module.passes)


def test_one_method(net, x):
    maps = pl.attribute(net, x, "layercam", layers=["relu1", "input", "relu1"], target=2, normalized=True)
    assert list(maps) == ["relu1", "input"]
    heatmap = maps["relu1"]
    assert isinstance(heatmap, Heatmap)
    assert heatmap.values.shape == (5, 16, 16)
    assert heatmap.layer.name == "relu1"
    assert heatmap.method == "layercam"
    assert heatmap.input_size == (16, 16)
    assert heatmap.target == ("class 2",) * 5
    assert heatmap.status == ("ok",) * 5
    assert not heatmap.values.requires_grad


def test_default_layers_are_where_the_method_belongs(net, x):
    assert tuple(pl.attribute(net, x, normalized=True)) == net.default_layers
    assert tuple(pl.attribute(net, x, "cam", normalized=True)) == net.default_layers[-1:]
    assert tuple(pl.attribute(net, x, "gradient", normalized=True)) == ("input",)
    both = pl.attribute(net, x, ["gradient", "gradcam"], normalized=True)
    assert {name: tuple(maps) for name, maps in both.items()} == {
        "gradient": ("input",),
        "gradcam": net.default_layers,
    }


def test_all_methods_share_one_pass(net, x):
    names = [name for name in pl.names("attribution") if create("attribution", name).needs != "passes"]
    assert len(names) >= 11
    shared = {}
    cost = passes(net, lambda: shared.update(pl.attribute(net, x, names, normalized=True)))
    assert cost == (5, 5)
    for name in names:
        alone = pl.attribute(net, x, name, normalized=True)
        assert list(alone) == list(shared[name])
        for layer, heatmap in alone.items():
            torch.testing.assert_close(heatmap.values, shared[name][layer].values)


def test_cost_of_every_method(net, x):
    """At most so many forward, exactly so many backward passes per image; the frame's own forward pass
    included.

    `Tail` takes three forward passes of its own: one to record, one of two rows to prove itself.
    """
    expected = {
        "cam": (1, 0),
        "eigencam": (1, 0),
        "guided-backprop": (2, 1),
        "deconvnet": (2, 1),
        "fullgrad": (1 + 3 + 1, 1),
        "smoothgrad": (1 + 25, 25),
        "integrated-gradients": (1 + 3 + 32, 32),
        "lrp": (2, 1),
        "sglrp": (2, 1),
        "relevance-cam": (2, 1),
        "clrp": (3, 2),
        "integrated-gradcam": (1 + 21, 21),
        "rsi-gradcam": (1 + 21, 21),
        "fg-cam": (3, 1),  # its walk starts at the last stage
        "hierarchical": (2, 1),
        "tsgb": (2, 1),
        "cf-cam": (2 + 6 + 8 + 10, 1),  # every channel of three small stages
        "shallow-cam": (3 + 1 / 5, 1),  # its walks start at the last stage; one image finds the way there
    }
    for name in pl.names("attribution"):
        cost = passes(net, lambda name=name: pl.attribute(net, x, name, normalized=True))
        forward, backward = expected.get(name, (1, 1))
        assert cost[0] <= 5 * forward, name
        assert cost[1] == 5 * backward, name


def test_batches_give_the_same_as_one(net, x):
    targets = [4, 3, "class 2", 1, 0]
    whole = pl.attribute(net, x, "gradcam", target=targets, normalized=True)
    parts = pl.attribute(net, x, "gradcam", target=targets, batch_size=2, normalized=True)
    for layer, heatmap in whole.items():
        torch.testing.assert_close(heatmap.values, parts[layer].values)
        assert (
            heatmap.target == parts[layer].target == ("class 4", "class 3", "class 2", "class 1", "class 0")
        )
        assert heatmap.status == parts[layer].status
    for given in (torch.tensor([4, 3, 2, 1, 0]), tuple(targets)):
        again = pl.attribute(net, x, "gradcam", target=given, batch_size=3, normalized=True)
        torch.testing.assert_close(again["relu3"].values, whole["relu3"].values)


def test_a_wrong_number_of_targets_is_refused_before_anything_runs(net, x):
    with pytest.raises(ValueError, match="one target for each of 5 images, got 4"):
        cost = passes(net, lambda: pl.attribute(net, x, target=[0, 1, 2, 3], batch_size=2, normalized=True))
    assert net.module.passes == [0, 0], cost


def test_targets(net, x):
    by_index = pl.attribute(net, x, "hirescam", "relu2", 3, normalized=True)["relu2"]
    by_name = pl.attribute(net, x, "hirescam", "relu2", "class 3", normalized=True)["relu2"]
    by_function = pl.attribute(net, x, "hirescam", "relu2", lambda output: output[:, 3], normalized=True)[
        "relu2"
    ]
    torch.testing.assert_close(by_index.values, by_name.values)
    torch.testing.assert_close(by_index.values, by_function.values)
    net.module.eval()
    predicted = pl.attribute(net, x, "hirescam", "relu2", normalized=True)["relu2"]
    assert predicted.target == tuple(net.classes[int(k)] for k in net(x).argmax(1))


def test_signed(net, x):
    plain = pl.attribute(net, x, "hirescam", "relu2", normalized=True)["relu2"].values
    signed = pl.attribute(net, x, "hirescam", "relu2", signed=True, normalized=True)["relu2"].values
    assert (signed < 0).any()
    torch.testing.assert_close(plain, signed.relu())
    assert (
        pl.attribute(net, x, "gradient-x-input", normalized=True)["input"].values < 0
    ).any()  # signed by itself


class Shown(nn.Module):
    """The output is the mean of the input's first channel times a weight: maps can be prescribed."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.conv.weight)

    def forward(self, x):
        mean = self.conv(x).mean((2, 3))
        return torch.cat([mean, -mean], 1)


def test_status():
    net = pl.load(Shown(), input_shape=(1, 4, 4))
    x = torch.rand(5, 1, 4, 4) + 0.1
    x[1], x[2] = 0.7, 0
    maps = pl.attribute(net, x, "hirescam", "conv", [0, 0, 0, 1, 0], normalized=True)["conv"]
    assert maps.status == ("ok", "constant", "zero", "negative", "ok")
    assert maps.values[3].abs().max() == 0
    assert bool(maps.normalized().values.isfinite().all())
    with torch.no_grad():
        net.module.conv.weight.fill_(float("nan"))
    with pytest.raises(
        ValueError, match=r"Expected finite class scores from `Shown`, got NaN or infinity in 2 of 2"
    ):
        pl.attribute(net, x, "hirescam", "conv", 0, normalized=True)


@pytest.mark.parametrize("name", pl.names("attribution"))
def test_constant_images_give_no_nan(name):
    net = pl.load(lively(Plain()), input_shape=(3, 16, 16))
    x = torch.stack([torch.zeros(3, 16, 16), torch.ones(3, 16, 16)])
    for layer in ("relu3",) if name == "cam" else ("input", "relu1", "relu3"):
        heatmap = pl.attribute(net, x, name, layer, 1, normalized=True)[layer]
        assert bool(heatmap.values.isfinite().all())
        assert "not finite" not in heatmap.status
    dead = pl.load(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    )
    with torch.no_grad():
        dead.module[0].bias.fill_(-100)
    heatmap = pl.attribute(dead, torch.randn(2, 3, 16, 16), name, "1", 1, normalized=True)["1"]
    assert bool(heatmap.values.isfinite().all())


@pytest.mark.parametrize("name", pl.names("attribution"))
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(name, half):
    net = pl.load(lively(Plain()), input_shape=(3, 16, 16))
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)).to(half)
    full = pl.attribute(net, x.float(), name, "relu3", 1, signed=True, normalized=True)["relu3"].values
    net = pl.load(lively(Plain()).to(half), input_shape=(3, 16, 16))
    found = pl.attribute(net, x, name, "relu3", 1, signed=True, normalized=True)["relu3"].values
    assert found.dtype == torch.float32
    assert float(torch.cosine_similarity(found.flatten(1), full.flatten(1)).min()) > 0.98


def test_under_autocast(net, x):
    plain = pl.attribute(net, x, ["layercam", "eigencam"], "relu3", 1, normalized=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = pl.attribute(net, x, ["layercam", "eigencam"], "relu3", 1, normalized=True)
    for name, maps in found.items():
        assert maps["relu3"].values.dtype == torch.float32
        exact = plain[name]["relu3"].values
        error = (maps["relu3"].values - exact).norm() / exact.norm()
        assert float(error) < rounding(torch.bfloat16, terms=len(net.layers)), name  # every layer rounds once


def test_other_input_size(net):
    maps = pl.attribute(net, torch.randn(1, 3, 24, 32), ["layercam", "gradient"], normalized=True)
    assert maps["layercam"]["relu2"].values.shape == (1, 12, 16)
    assert maps["layercam"]["relu2"].upsample().shape == (1, 24, 32)
    assert maps["gradient"]["input"].values.shape == (1, 24, 32)


def test_short_work_prints_nothing(net, x, capsys):
    pl.attribute(net, x, batch_size=1, normalized=True)
    pl.neurons(net, x, batch_size=1, normalized=True)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_errors_name_what_was_expected(net, x):
    with pytest.raises(KeyError, match=r"got `grad-cma`; did you mean `gradcam`"):
        pl.attribute(net, x, "grad-cma", normalized=True)
    with pytest.raises(KeyError, match="got `reluu3`; did you mean `relu3`"):
        pl.attribute(net, x, layers="reluu3", normalized=True)
    with pytest.raises(KeyError, match="got `reluu3`; did you mean `relu3`"):
        pl.attribute(net, x, "smoothgrad", layers=["relu1", "reluu3"], normalized=True)
    with pytest.raises(TypeError, match="a parameter of `smoothgrad`, got `sample`; did you mean `samples`"):
        pl.attribute(net, x, "smoothgrad", sample=3, normalized=True)
    with pytest.raises(ValueError, match="at least one layer, got none; try 'relu1', 'relu2', 'relu3'"):
        pl.attribute(net, x, layers=[], normalized=True)
    with pytest.raises(ValueError, match="methods of different names, got"):
        pl.attribute(net, x, ["gradcam", "gradcam"], normalized=True)
    with pytest.raises(ValueError, match="`batch_size` of at least 1, got 0"):
        pl.attribute(net, x, batch_size=0, normalized=True)
    with pytest.raises(ValueError, match="normalized"):
        pl.attribute(net, x)
    with pytest.raises(ValueError, match="`reduce` to be one of max, sum, mean, l2, got `maximum`"):
        pl.attribute(net, x, "gradient", reduce="maximum", normalized=True)
    with pytest.raises(
        ValueError, match="`rule` to be gausslegendre or trapezoid, got `trapez`; did you mean `trapezoid`"
    ):
        pl.attribute(net, x, "integrated-gradients", rule="trapez", normalized=True)
    with pytest.raises(ValueError, match="one number or 3, one per channel, got 2"):
        pl.attribute(net, x, "integrated-gradients", baseline=(0.0, 1.0), normalized=True)
    with pytest.raises(ValueError, match="at least 2 `steps` for trapezoid, got 1"):
        pl.attribute(net, x, "integrated-gradients", steps=1, rule="trapezoid", normalized=True)
    with pytest.raises(ValueError, match="`samples` of at least 1"):
        pl.attribute(net, x, "smoothgrad", samples=0, normalized=True)


def test_in_place_networks_equal_clean_ones(x):
    weights = lively(Tangled()).state_dict()
    nets = []
    for clean in (False, True):
        module = Tangled(clean=clean)
        module.load_state_dict(weights)
        nets.append(pl.load(module, input_shape=(3, 16, 16)))
    layers = ["input", "stem", "norm", "body.0", "body", "down"]
    methods = [name for name in pl.names("attribution") if name != "cam"]
    one, other = (pl.attribute(net, x, methods, layers, 1, signed=True, normalized=True) for net in nets)
    for name in methods:
        for layer in layers:
            torch.testing.assert_close(
                one[name][layer].values, other[name][layer].values, rtol=1e-4, atol=1e-5
            )
