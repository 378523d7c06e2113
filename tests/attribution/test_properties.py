"""What must hold by mathematics: identities between methods, completeness, invariances, and speed where it
was promised."""

import math
import time

import numpy as np
import pytest
import torch
from tests.reference.models import ChannelsLast, Plain, Tangled, lively
from torch import nn
from torch.nn import functional as F

import pellucid as pl
from pellucid.attribution.eigencam import first_component
from pellucid.attribution.rectifiers import Rectifiers
from pellucid.core.capture import Trace, capture
from pellucid.core.layers import Layer
from pellucid.core.registry import create
from pellucid.core.target import Target


@pytest.fixture(scope="module")
def plain():
    net = pl.load(lively(Plain().double(), seed=2), input_shape=(3, 16, 16))
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(3)).double()
    return net, x


@pytest.fixture(scope="module")
def tangled():
    net = pl.load(lively(Tangled().double(), seed=2), input_shape=(3, 16, 16))
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(4)).double()
    return net, x


def test_cam_is_hirescam_times_the_number_of_cells(plain):
    net, x = plain
    trace = capture(net, x, ["relu3"])
    cam = create("attribution", "cam")(trace, "relu3")
    torch.testing.assert_close(cam, create("attribution", "hirescam")(trace, "relu3") * 16)
    torch.testing.assert_close(cam, create("attribution", "gradcam")(trace, "relu3") * 16)
    bias = net.module.fc.bias.detach()[trace.target.indices]
    torch.testing.assert_close(cam.mean((1, 2)) + bias, trace.score)


def test_cam_of_any_target_is_linear_in_it(plain):
    net, x = plain
    cam = create("attribution", "cam")
    one, two = (cam(capture(net, x, ["relu3"], target), "relu3") for target in (1, 2))
    both = cam(capture(net, x, ["relu3"], lambda output: 3 * output[:, 1] - output[:, 2]), "relu3")
    torch.testing.assert_close(both, 3 * one - two)


def test_cam_of_a_map_per_class():
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = pl.load(lively(module), input_shape=(3, 8, 8))
    trace = capture(net, torch.randn(2, 3, 8, 8), ["1"], [1, 3])
    torch.testing.assert_close(
        create("attribution", "cam")(trace, "1"), trace.activations["1"][[0, 1], [1, 3]]
    )


def test_cam_of_a_convolutional_classifier_and_of_a_single_logit():
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 1, 1), nn.Flatten()
    )
    net = pl.load(lively(module), input_shape=(3, 8, 8))
    assert net.head == "binary"
    x = torch.randn(2, 3, 8, 8)
    maps = [create("attribution", "cam")(capture(net, x, ["1"], target), "1") for target in (0, 1)]
    torch.testing.assert_close(maps[0], -maps[1])


@pytest.mark.parametrize("layer", ["pool2", "relu2"])
def test_cam_says_why_it_is_not_defined(plain, layer):
    net, x = plain
    with pytest.raises(
        ValueError,
        match=rf"right behind `{layer}`.*`Plain` has the linear layers `fc` \(10 to 5\).*try `hirescam`",
    ):
        pl.attribute(net, x, "cam", layers=layer, normalized=True)


def test_cam_trusts_no_weight_of_fitting_shape(tangled):
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )
    net = pl.load(lively(module), input_shape=(3, 8, 8))
    with pytest.raises(ValueError, match="`4` misses the output by up to"):
        pl.attribute(net, torch.randn(2, 3, 8, 8), "cam", layers="1", normalized=True)


@pytest.mark.parametrize("case", ["plain", "tangled"])
def test_fullgrad_is_complete(case, request):
    """Input and bias gradients sum to the score of a piecewise-linear network, at every layer."""
    net, x = request.getfixturevalue(case)
    names = ["input", *(layer.name for layer in net.layers)]
    if case == "tangled":  # inside the residual block the shortcut goes around the layer
        names = [name for name in names if name not in ("body", "body.0", "body.1", "body.2", "act:1")]
    trace = capture(net, x, [], [0, 1, 3])
    for name in names:
        total = create("attribution", "fullgrad").parts(trace, name).total
        torch.testing.assert_close(total, trace.score, msg=lambda text, name=name: f"{name}: {text}")


def test_fullgrad_is_complete_where_channels_come_last():
    net = pl.load(lively(ChannelsLast().double()), input_shape=(3, 8, 8))
    trace = capture(net, torch.randn(2, 3, 8, 8).double(), [], [0, 2])
    parts = create("attribution", "fullgrad").parts(trace, "input")
    torch.testing.assert_close(parts.total, trace.score)
    assert [tuple(each.shape) for _, each in parts.spatial] == [  # in the order of the backward pass
        (2, 6, 4, 4),
        (2, 12, 4, 4),
        (2, 6, 4, 4),
        (2, 6, 4, 4),
    ]


def test_fullgrad_signed_map_sums_to_what_has_a_place(plain):
    """Without rescaling, at a layer whose tail keeps the grid, map + the classifier's bias = score."""
    net, x = plain
    trace = capture(net, x, [], 2)
    map_ = create("attribution", "fullgrad", magnitude=False, rescale=False)(trace, "pool2")
    torch.testing.assert_close(map_.sum((1, 2)) + net.module.fc.bias[2].detach(), trace.score)


@pytest.mark.parametrize("layer", ["input", "pool1", "relu3"])
def test_integrated_gradients_close_the_gap(plain, layer):
    net, x = plain
    trace = capture(net, x, [], [0, 1, 2])
    gaps = [
        create("attribution", "integrated-gradients", steps=steps).gap(trace, layer).abs().max()
        for steps in (4, 256)
    ]
    assert gaps[1] < 5e-3
    assert gaps[1] <= gaps[0] + 1e-12


def test_integrated_gradients_are_exact_behind_the_last_rectifier(plain):
    net, x = plain
    trace = capture(net, x, [], [0, 1, 2])
    for rule in ("gausslegendre", "trapezoid"):
        method = create("attribution", "integrated-gradients", steps=2, rule=rule)
        torch.testing.assert_close(method.gap(trace, "relu3"), torch.zeros(3).double())


def test_gauss_legendre_is_exact_for_polynomials():
    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return (self.conv(x) ** 5).mean((2, 3))

    net = pl.load(lively(Square().double()), input_shape=(3, 4, 4))
    trace = capture(net, torch.randn(2, 3, 4, 4).double(), [], 1)
    gap = create("attribution", "integrated-gradients", steps=3).gap(trace, "input")
    torch.testing.assert_close(gap, torch.zeros(2).double(), atol=1e-12, rtol=0)


def test_noiseless_smoothgrad_is_the_gradient(plain):
    net, x = plain
    trace = capture(net, x, ["input", "pool1"], 1)
    for layer in ("input", "pool1"):
        smooth = create("attribution", "smoothgrad", noise=0.0, samples=3)(trace, layer)
        torch.testing.assert_close(smooth, create("attribution", "gradient")(trace, layer))


def test_layercam_and_elementwise_agree_on_nonnegative_activations(plain):
    net, x = plain
    trace = capture(net, x, ["relu1", "relu2", "relu3"])
    for layer in trace.layers:
        one, other = (
            create("attribution", name)(trace, layer) for name in ("layercam", "gradcam-elementwise")
        )
        torch.testing.assert_close(one, other)


def test_gradcam_plus_plus_follows_its_formula_at_faint_scores(plain):
    """However small the score, the map follows the formula, α = 1 / (2 + g ΣA)."""
    net, x = plain
    trace = capture(net, x, ["relu1"], lambda output: 1e-7 * output[:, 1])
    A, g = trace.activations["relu1"], trace.gradients["relu1"]
    alpha = 1 / (2 + g * A.sum((2, 3), keepdim=True))
    expected = ((alpha * g.relu()).sum((2, 3))[:, :, None, None] * A).sum(1)
    torch.testing.assert_close(
        create("attribution", "gradcam++")(trace, "relu1"), expected, rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("name", ["gradcam++", "xgradcam"])
def test_rounding_does_not_decide_a_map_where_activations_cancel(name):
    """Their denominators, 2 + g ΣA and ΣA, vanish here but for rounding; the map is that of full precision."""
    A = torch.randn(1, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).float()
    A[:, 0] -= A[:, 0].mean()  # ΣA = 0
    A[:, 1] -= A[:, 1].mean() + 2 / 36  # ΣA = −2, with g = 1: 2 + g ΣA = 0
    g = torch.ones_like(A)
    exact = create("attribution", name)(made(A.double(), g.double()), "layer")
    values = create("attribution", name)(made(A, g), "layer")
    size = float(A.abs().sum(1).max())
    assert float(exact.abs().max()) <= 36 * size, (
        "weights are means of gradients, or sums of at most half of them"
    )
    bound = A[0].numel() * torch.finfo(A.dtype).eps * 36 * size
    torch.testing.assert_close(values.double(), exact, rtol=0, atol=bound)


def made(A, g):
    """A trace of one layer with these activations and gradients."""
    target = Target(torch.zeros(len(A), dtype=torch.long), ("class 0",) * len(A))
    score = torch.zeros(len(A), 1)
    layer = Layer("layer", "Conv2d", tuple(A.shape[1:]))
    return Trace(None, A, score, target, score[:, 0], {"layer": A}, {"layer": g}, {"layer": layer})


RECTIFIERS = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "torch.relu": torch.relu,
    "Tensor.relu": lambda x: x.relu(),
    "torch.relu_": torch.relu_,
    "Tensor.relu_": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "torch.clamp": lambda x: torch.clamp(x, 0),
    "clamp_min_": lambda x: x.clamp_min_(0),
    "by name": lambda x: F.relu(input=x),
}
SMOOTH = {
    "relu6": nn.ReLU6(),
    "F.relu6": F.relu6,
    "hardtanh": nn.Hardtanh(0, 2, inplace=True),
    "leaky": nn.LeakyReLU(0.2),
    "silu": nn.SiLU(inplace=True),
    "gelu": nn.GELU(),
    "elu": nn.ELU(),
    "hardswish": nn.Hardswish(),
    "mish": nn.Mish(),
    "softplus": nn.Softplus(),
    "prelu": nn.PReLU(),
    "celu": nn.CELU(),
    "selu": nn.SELU(),
}


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("name", [*RECTIFIERS, *SMOOTH])
def test_every_rectifier_is_changed(name, gated):
    function = {**RECTIFIERS, **SMOOTH}[name]
    x = torch.randn(40, generator=torch.Generator().manual_seed(0)).double() * 3
    g = torch.randn(40, generator=torch.Generator().manual_seed(1)).double()
    function = function.double() if isinstance(function, nn.Module) else function
    leaf = x.clone().requires_grad_()
    with Rectifiers(gated):
        y = function(leaf * 1)
    (found,) = torch.autograd.grad(y, leaf, g)
    reference = x.clone().requires_grad_()
    value = function(reference * 1)
    (slope,) = torch.autograd.grad(value.sum(), reference)
    torch.testing.assert_close(y, value)
    torch.testing.assert_close(found, g.clamp(min=0) * (slope if gated else 1))
    again = x.clone().requires_grad_()
    (plain,) = torch.autograd.grad(function(again * 1), again, g)
    torch.testing.assert_close(plain, g * slope)  # nothing is left behind


def test_in_place_rectifier_whose_result_is_not_used():
    for gated in (True, False):
        leaf = torch.tensor([-1.0, 2.0, 3.0], requires_grad=True)
        x = leaf * 1
        with Rectifiers(gated):
            torch.relu_(x)
        assert x.tolist() == [0, 2, 3]
        (found,) = torch.autograd.grad(x, leaf, torch.tensor([1.0, -1.0, 1.0]))
        assert found.tolist() == ([0, 0, 1] if gated else [1, 0, 1])


def test_gates_are_left_alone():
    for function in (torch.sigmoid, torch.tanh, lambda x: x.clamp(-1, 1), nn.Hardtanh()):
        leaf = torch.randn(9, requires_grad=True)
        with Rectifiers(gated=True):
            y = function(leaf * 1)
        g = torch.randn(9)
        other = leaf.detach().clone().requires_grad_()
        (found,) = torch.autograd.grad(y, leaf, g)
        torch.testing.assert_close(found, torch.autograd.grad(function(other * 1), other, g)[0])


@pytest.mark.parametrize("shape", [(64, 9, 9), (20, 10, 10), (7, 1, 1), (1, 5, 5)])
@pytest.mark.parametrize("centered", [True, False])
def test_first_component_is_the_best_of_rank_one(shape, centered):
    """It has the largest singular value as its norm, and a sign that goes with the sum over channels."""
    X = torch.randn(2, *shape, generator=torch.Generator().manual_seed(5)).double()
    found = first_component(X, centered)
    rows = X.flatten(2) - X.flatten(2).mean(2, keepdim=True) if centered else X.flatten(2)
    torch.testing.assert_close(found.flatten(1).norm(dim=1), torch.linalg.svdvals(rows)[:, 0])
    assert ((found.flatten(1) * rows.sum(1)).sum(1) >= -1e-9).all()
    torch.testing.assert_close(
        first_component(-X, centered), -found if shape[1] * shape[2] > 1 or not centered else found
    )


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_first_component_at_any_scale(scale):
    X = torch.randn(2, 12, 6, 6, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(
        first_component(X * scale, True) / scale, first_component(X, True), rtol=1e-4, atol=1e-4
    )


def test_first_component_survives_what_is_not_finite():
    X = torch.randn(2, 4, 3, 3)
    X[0, 0, 0, 0] = math.inf
    found = first_component(X, True)
    assert not bool(found[0].isfinite().all())
    assert bool(found[1].isfinite().all())


def test_first_component_is_fast():
    """The four stages of a ResNet-50 at 224 × 224, one core: six times the products of the stages with themselves, where a
    whole decomposition takes over thirty times."""
    shapes = [(256, 56), (512, 28), (1024, 14), (2048, 7)]
    stages = [torch.rand(1, channels, side, side) for channels, side in shapes]
    rows = [min(stage[0].flatten(1), stage[0].flatten(1).T, key=len) for stage in stages]

    def seconds(work, over):
        start = time.process_time()
        for each in over:
            work(each)
        return time.process_time() - start

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = [
            (seconds(lambda stage: first_component(stage, True), stages), seconds(lambda m: m @ m.T, rows))
            for _ in range(8)
        ]
    finally:
        torch.set_num_threads(threads)
    ours, products = (min(each) for each in zip(*times, strict=True))
    assert ours < 20 * products


def test_target_sign_flips_signed_maps(plain):
    net, x = plain
    minus = Target(torch.tensor([1, 1, 1]), ("no",) * 3, signs=-torch.ones(3))
    for name in ("gradcam", "hirescam", "gradient-x-input", "integrated-gradients"):
        one, other = (
            pl.attribute(net, x, name, "pool2", target, signed=True, normalized=True)["pool2"].values
            for target in (1, minus)
        )
        torch.testing.assert_close(one, -other)


def test_numpy_seeded_noise_is_ours_alone(plain):
    """SmoothGrad draws from its own generator: neither torch's nor numpy's state matters or moves."""
    net, x = plain
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    torch.manual_seed(1)
    one = pl.attribute(net, x, "smoothgrad", samples=2, normalized=True)["input"].values
    torch.manual_seed(2)
    assert torch.equal(one, pl.attribute(net, x, "smoothgrad", samples=2, normalized=True)["input"].values)
    assert (before == np.random.get_state()[1]).all()  # noqa: NPY002
