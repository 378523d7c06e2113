"""The frame: what can be asked for, what comes out, what is left behind, what is refused."""

import warnings

import pytest
import torch
from tests.bundles import facts_of
from tests.networks import PlainNet, ReusedReLU, wrap
from torch import nn

import pellucid as pl
from pellucid.visualization import (
    Activity,
    Channel,
    Class,
    Custom,
    Direction,
    Visualization,
    ascent,
    stored,
    visualize,
)
from pellucid.visualization.cut import Cut

METHODS = ("fourier", "maco", "pixels", "pyramid", "yosinski")
LAST = "features.16"
QUICK = {"steps": 6, "progress": False}


@pytest.fixture(scope="module")
def net():
    return wrap(PlainNet())


@pytest.fixture(scope="module")
def exact():
    return wrap(PlainNet().double())


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="never active")
        yield


def test_every_method_is_registered():
    assert set(pl.names("visualization")) == {*METHODS, "decode"}  # which needs a decoder: test_decoder.py


@pytest.mark.parametrize("method", METHODS)
def test_every_method_raises_the_activation(net, method):
    units = [pl.Unit(LAST, k) for k in range(4)] + [2]
    found = visualize(net, units, method, steps=24, progress=False)
    assert isinstance(found, Visualization)
    assert found.images.shape == (5, 3, 32, 32)
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    gray = torch.full((1, 3, 32, 32), 0.5)
    with torch.no_grad():
        trace = pl.capture(net, net.preprocess.normalize(gray), [LAST], 2, gradients=False)
    start = [*trace.activations[LAST][0, :4].mean((1, 2)).tolist(), trace.score.item()]
    assert all(a > b for a, b in zip(found.achieved.tolist(), start, strict=True)), (found.achieved, start)
    assert found.history.shape == (24, 5)
    assert found.finished


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_bytes(net, method):
    one, two = (visualize(net, [pl.Unit(LAST, 1), 0], method, seed=3, **QUICK) for _ in range(2))
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.history, two.history)
    other = visualize(net, [pl.Unit(LAST, 1), 0], method, seed=4, **QUICK)
    assert not torch.equal(one.images, other.images)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_as_one_by_one(exact, method):
    what = [pl.Unit(LAST, 3), 1, Channel(LAST, 0, "center"), pl.Unit("features.8", 2)]
    together = visualize(exact, what, method, **QUICK)
    chunked = visualize(exact, what, method, batch_size=3, **QUICK)
    torch.testing.assert_close(together.images, chunked.images, rtol=0, atol=1e-6)
    for k, each in enumerate(what):
        alone = visualize(exact, each, method, **QUICK)
        torch.testing.assert_close(together.images[k : k + 1], alone.images, rtol=0, atol=1e-6)
        torch.testing.assert_close(together.achieved[k : k + 1], alone.achieved, rtol=1e-6, atol=1e-9)


def test_copies_have_draws_of_their_own_and_diversity_parts_them(net):
    def likeness(images):
        trace = pl.capture(net, net.preprocess.normalize(images), [LAST], 0, gradients=False)
        flat = trace.activations[LAST].flatten(2)
        gram = nn.functional.normalize((flat @ flat.transpose(1, 2)).flatten(1), dim=1)
        return float((gram @ gram.T)[0, 1])

    plain = visualize(net, pl.Unit(LAST, 1), count=2, steps=30, progress=False)
    apart = visualize(net, pl.Unit(LAST, 1), count=2, steps=30, diversity=30.0, progress=False)
    assert len(plain) == 2
    assert not torch.equal(plain.images[0], plain.images[1])
    assert likeness(apart.images) < likeness(plain.images)


OBJECTIVES = {
    "center": Channel(LAST, 1, "center"),
    "neuron": Channel(LAST, 1, (0, 7)),
    "direction": Direction(LAST, tuple(float(k % 3) for k in range(16)), power=1.0),
    "activity": Activity(LAST),
    "probability": Class(2, "probability"),
    "difference": Channel(LAST, 1) - 0.5 * Channel(LAST, 2),
    "sum over layers": 2 * Channel("features.2", 1) + Class(1) * 0.1,
    "negative": -Class(3),
    "custom": Custom(LAST, lambda a: a[:, :2].mean((1, 2, 3)), "pair"),
    "input": Channel("input", 0),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_have_the_value_their_formula_says(exact, name):
    objective = OBJECTIVES[name]
    found = visualize(exact, objective, **QUICK)
    trace = pl.capture(
        exact,
        exact.preprocess.normalize((found.images * 255).round().double() / 255),
        ["input", "features.2", LAST],
        0,
    )
    a, early, z = trace.activations[LAST][0], trace.activations["features.2"][0], trace.output[0]
    v = torch.tensor([float(k % 3) for k in range(16)], dtype=torch.float64)
    mean = a.mean((1, 2))
    along = mean @ v / v.norm()
    wanted = {
        "center": a[1, 4, 4], "neuron": a[1, 0, 7], "activity": a.square().mean(), "probability": z.softmax(0)[2],
        "direction": along * max(0.1, float(along / mean.norm())), "difference": mean[1] - 0.5 * mean[2],
        "sum over layers": 2 * early[1].mean() + 0.1 * z[1], "negative": -z[3], "custom": a[:2].mean(),
        "input": trace.images[0, 0].mean(),
    }[name]  # fmt: skip
    assert float(found.achieved[0]) == pytest.approx(float(wanted), rel=1e-9)


def test_labels_say_what_was_asked():
    assert (Channel("a", 1) - 0.5 * Channel("b", 2, "center")).label == "a:1 - 0.5*b:2@center"
    assert (-Class("zebra")).label == "- class zebra"
    assert (Class(3, "probability") + Channel("a", 0, (1, 2))).label == "probability of 3 + a:0@1,2"


def test_nothing_behind_the_layer_runs(net):
    ran = []
    handles = [
        child.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, child in net.module.named_modules()
    ]
    Cut(net, ["features.8"], whole=False)(torch.zeros(1, 3, 32, 32))
    for handle in handles:
        handle.remove()
    assert ran[-1] == "features.8"
    assert "features.9" not in ran


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fail", [False, True])
def test_nothing_is_left_behind(method, fail):
    net = wrap(ReusedReLU())
    net.module.train()
    net.module.stem[0].weight.requires_grad_(False)
    before = {key: value.clone() for key, value in net.module.state_dict().items()}
    flags = [(p.requires_grad, p.grad) for p in net.module.parameters()]
    random = torch.get_rng_state()
    what = [pl.Unit("layer2", 0), 1]
    if fail:
        what.append(Custom("layer2", lambda a: a[:, 0]))
    try:
        visualize(net, what, method, steps=3, progress=False)
        assert not fail
    except ValueError:
        assert fail
    assert all(torch.equal(before[key], value) for key, value in net.module.state_dict().items())
    assert [(p.requires_grad, p.grad) for p in net.module.parameters()] == flags
    assert all(child.training for child in net.module.modules())
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in net.module.modules())
    assert torch.equal(torch.get_rng_state(), random)


def test_works_inside_no_grad_and_inference_mode(net):
    outside = visualize(net, 0, **QUICK)
    with torch.no_grad():
        assert torch.equal(visualize(net, 0, **QUICK).images, outside.images)
    with torch.inference_mode():
        assert torch.equal(visualize(net, 0, **QUICK).images, outside.images)


def test_gray_network_and_other_sizes():
    net = wrap(PlainNet(channels=1), input_shape=(1, 32, 32))
    found = visualize(net, [0, pl.Unit(LAST, 1)], size=(40, 52), **QUICK)
    assert found.images.shape == (2, 3, 40, 52)
    assert torch.equal(found.images[:, 0], found.images[:, 2])


def test_interruption_keeps_the_best_so_far(net, monkeypatch):
    steps = []

    def interrupted(problem, painter, original=ascent._gradients):
        steps.append(1)
        if len(steps) == 10:
            raise KeyboardInterrupt
        return original(problem, painter)

    monkeypatch.setattr(ascent, "_gradients", interrupted)
    found = visualize(net, [0, 1, 2, 3], batch_size=2, steps=8, progress=False)
    assert not found.finished
    assert len(found) == 4
    monkeypatch.undo()
    whole = visualize(net, [0, 1, 2, 3], batch_size=2, steps=8, progress=False)
    assert whole.finished
    assert torch.equal(found.images[:2], whole.images[:2])
    assert found.history.shape == (8, 4)
    assert found.history[1:, 2:].isnan().all()


def test_a_dead_rectifier_is_switched_on():
    module = nn.Sequential(nn.Conv2d(3, 2, 5), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(2 * 28 * 28, 2))
    net = pl.load(module, input_shape=(3, 32, 32), preprocess=pl.Preprocess(32, 32, (0.5,) * 3, (0.25,) * 3))
    with torch.no_grad():
        module[0].weight[0] = torch.randn(3, 5, 5)
        module[0].bias[0] = -20.0  # off for gray and noise, on for the right picture
    gray = torch.full((1, 3, 32, 32), 0.5)
    assert float(module[:2](net.preprocess.normalize(gray))[:, 0].detach().amax()) == 0
    for what in (pl.Unit("1", 0), [pl.Unit("1", 0), 1]):  # beside a class the whole network runs
        found = visualize(net, what, steps=60, progress=False)
        assert found.achieved[0] > 0
        assert found.status[0] == "ok"


def test_a_unit_that_is_never_active_is_said():
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 30 * 30, 2))
    net = pl.load(module, input_shape=(3, 32, 32))
    with torch.no_grad():
        module[0].bias[0] = -1e4
    with pytest.warns(UserWarning, match="never active: 1:0; no picture was found that switches it on"):
        found = visualize(net, [pl.Unit("1", 0), pl.Unit("1", 1)], **QUICK)
    assert found.status == ("never active", "ok")
    assert "never active" in found.caption(0)


class Sharp(nn.Module):
    """Finite near gray, NaN beyond."""

    def __init__(self, limit):
        super().__init__()
        self.conv, self.limit, self.seen = nn.Conv2d(3, 2, 3), limit, []

    def forward(self, x):
        self.seen.append(float((x.detach() - 0).abs().amax()))
        y = self.conv(x)
        return torch.where(x.abs().amax((1, 2, 3), keepdim=True) > self.limit, torch.nan, y).mean((2, 3))


def sharp(limit):
    preprocess = pl.Preprocess(16, 16, (0.5,) * 3, (0.25,) * 3)
    return pl.load(Sharp(limit), input_shape=(3, 16, 16), preprocess=preprocess)


def test_a_step_into_nan_is_halved():
    net = sharp(0.605)  # 166 of 255 is the brightest finite level
    found = visualize(net, 0, "pixels", steps=20, rate=0.1, noise=0.01, progress=False)
    assert torch.isfinite(found.images).all()
    assert torch.isfinite(found.achieved).all()
    assert found.history.isnan().any(), "the test never stepped too far"
    assert not found.history[-1].isnan() or not found.history[-2].isnan()


def test_values_that_stay_nan_are_an_error_with_the_step():
    text = r"Expected finite values while `class class 0` is climbed, got NaN or infinity at step 8, and again after the step "
    with pytest.raises(ArithmeticError, match=text):
        visualize(sharp(0.0), 0, "pixels", steps=20, progress=False)


def test_result_and_files(net, tmp_path):
    real = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = visualize(
        net, [pl.Unit(LAST, 1), 2], images=(real * 255).to(torch.uint8), steps=30, progress=False
    )
    trace = pl.capture(
        net, net.preprocess.normalize((real * 255).to(torch.uint8)), [LAST], 2, gradients=False
    )
    unit = found.certificate[0]
    means = trace.activations[LAST][:, 1].mean((1, 2))
    assert unit.best == pytest.approx(float(means.max()), rel=1e-5)
    assert unit.image == int(means.argmax())
    assert unit.best_peak == pytest.approx(float(trace.activations[LAST][:, 1].amax()), rel=1e-5)
    assert unit.ratio == pytest.approx(float(found.achieved[0]) / unit.best, rel=1e-4)
    assert found.certificate[1].best == pytest.approx(float(trace.score.max()), rel=1e-5)
    found.save(tmp_path)
    facts = facts_of(tmp_path / "visualization.safetensors")
    assert [row["file"] for row in facts["images"]] == ["features.16-1.png", "class-class-2.png"]
    assert all((tmp_path / row["file"]).is_file() for row in facts["images"])
    assert facts["images"][0]["certificate"]["real images"] == 6
    assert facts["parameters"]["steps"] == 30
    assert (tmp_path / "sheet.png").is_file()
    kept = stored(tmp_path, "PlainNet")
    assert set(kept) == {"features.16:1", "class class 2"}
    assert kept["features.16:1"].ratio == pytest.approx(unit.ratio)
    with pytest.raises(ValueError, match="Expected pictures of `other`, got those of `PlainNet`"):
        stored(tmp_path, "other")
    with pytest.raises(FileNotFoundError, match=r"Expected a folder of painted pictures, got .* holds none"):
        stored(tmp_path / "nothing")
    assert found.sheet(columns=1).height > found.sheet(columns=2).height
    assert found[1].labels == ("class class 2",)


BAD = [
    (pl.Unit(LAST, 16), {}, IndexError, "Expected a unit of `features.16` from 0 to 15, got 16; try"),
    (
        pl.Unit("features.99", 0),
        {},
        KeyError,
        "Expected the name of a layer with a spatial map, got `features.99`; ",
    ),
    (Channel(LAST, 0, (8, 0)), {}, IndexError, "whose grid is 8 × 8, got .8, 0.; try .4, 4."),
    (
        Channel(LAST, 0, "middle"),
        {},
        ValueError,
        'Expected `at` to be "mean", "center" or .row, column., got \'middle\'',
    ),
    (Direction(LAST, (1.0, 2.0)), {}, ValueError, "Expected a direction of `features.16`, 16 finite numbers"),
    (7, {}, IndexError, "Expected a class index from 0 to 4"),
    ("zebra", {}, KeyError, "Expected a class of `PlainNet`, got `zebra`"),
    ([], {}, ValueError, "Expected something to visualize, got an empty list"),
    ([3.5], {}, TypeError, "Expected a unit, a class or an objective, got 3.5"),
    (Custom(LAST, lambda a: a[:, 0]), {}, ValueError, "return one number per image, shape .1,., got .1, "),
    (
        Custom(LAST, lambda a: a.detach().sum()),
        {},
        ValueError,
        "Expected an objective with a gradient, got `features.16:custom`",
    ),
    (0, {"size": 4}, ValueError, "Expected a size of at least 8 × 8 pixels, got 4"),
    (0, {"steps": 0}, ValueError, "Expected `steps` of at least 1, got 0"),
    (0, {"method": "piramid"}, KeyError, "did you mean `pyramid`"),
    (0, {"ratte": 1}, TypeError, "Expected a parameter of `pyramid`, got `ratte`; did you mean `rate`"),
    (
        0,
        {"octaves": 0},
        ValueError,
        "Expected `octaves` of at least 1, got 0",
    ),
    (
        0,
        {"method": "maco", "spectrum": "images"},
        ValueError,
        'Expected real images for `spectrum="images"`, got none',
    ),
    (0, {"method": "yosinski", "preset": 7}, ValueError, "Expected `preset` from 1 to 4"),
]


@pytest.mark.parametrize(("what", "options", "error", "text"), BAD)
def test_bad_input_is_named(net, what, options, error, text):
    with pytest.raises(error, match=text):
        visualize(net, what, **{**QUICK, **options})


def test_a_network_with_a_fixed_size_says_so():
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16 * 16, 2))
    net = pl.load(module, input_shape=(3, 16, 16))
    with pytest.raises(ValueError, match="Expected `Sequential` to accept an input of 3x24x24"):
        visualize(net, 0, size=24, **QUICK)
    assert visualize(net, 0, **QUICK).images.shape == (1, 3, 16, 16)  # octaves that do not fit are left out


def test_a_size_below_the_receptive_field_is_warned_of(net):
    with pytest.warns(
        UserWarning, match=r"a picture of 16 × 16 is smaller than the receptive field of `features.16`"
    ):
        found = visualize(net, pl.Unit(LAST, 0), size=16, **QUICK)
    assert found.notes


class Views(nn.Module):
    """Takes its input's memory for granted, as many modules do."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 5, 3, padding=1), nn.Linear(5 * 16 * 16, 3)

    def forward(self, x):
        return self.head(self.conv(x).relu().view(len(x), -1))


def test_a_network_that_needs_its_usual_memory_layout_gets_it():
    net = pl.load(Views(), input_shape=(3, 16, 16))
    assert net.memory_format == torch.contiguous_format
    real = torch.rand(4, 3, 16, 16)
    for what in (1, pl.Unit("conv", 2)):
        found = visualize(
            net, what, steps=3, octaves=1, region=False, images=real, normalized=False, progress=False
        )
        assert found.certificate is not None
        assert torch.isfinite(found.achieved).all()
    assert pl.load("scenes-vgg").memory_format == torch.channels_last
