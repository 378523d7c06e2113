"""The map handed from stage to stage: equal to its slow twin in every form, and what its formula promises."""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.reference import relevance_maps as carried
from tests.reference.models import Plain, Tangled, Twin, lively
from tests.reference.network import TwinNetwork
from torch import nn

import pellucid as pl
from pellucid.attribution.shallow_cam import ShallowCAM
from pellucid.core.capture import capture
from pellucid.relevance import Composite, ZBox, ZPlus, functions

sys.path.insert(0, str(Path(__file__).parents[2] / "studies"))
from shallow_cam_arms import ShallowCAMArm

PLACES = {"input": "x", "relu1": "r1", "pool1": "p1", "relu2": "r2"}
TARGETS = (1, 0)
SEEDS, MASKS = ("contrastive", "softmax-gradient", "logit"), ("scaled", "plain", "none")
OWN = ("evidence", "layercam")
ADJACENT = list(product(["adjacent"], (*SEEDS, *OWN), MASKS, ["output", "next"]))
FORMS = ADJACENT + list(product(["spatial", "channel"], (*SEEDS, "evidence"), MASKS, ["output"]))
FEW = [{"reach": "next"}, {"seed": "layercam"}, {"seed": "evidence"}, {"arm": "spatial"}, {"arm": "channel"}]
STAGES = ["relu1", "relu2", "relu3"]
WEIGHTS = {
    "w1": "conv1.weight", "b1": "conv1.bias", "gamma": "norm1.weight", "beta": "norm1.bias",
    "mean": "norm1.running_mean", "var": "norm1.running_var", "w2": "conv2.weight", "b2": "conv2.bias",
    "w3": "fc.weight", "b3": "fc.bias",
}  # fmt: skip


@pytest.fixture(scope="module")
def by_hand():
    """The same network twice, and a trace of two images [2, 3, 6, 6] with a target each."""
    module = lively(Twin().double(), seed=5)
    state = module.state_dict()
    hand = TwinNetwork(**{key: state[name].numpy() for key, name in WEIGHTS.items()})
    net = pl.load(module, input_shape=(3, 6, 6))
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    return hand, capture(net, x, ["relu2"], list(TARGETS))


@pytest.fixture
def exact(monkeypatch):
    """z⁺ without stabilizers: the twin has none."""
    monkeypatch.setattr(functions, "STABILIZER", 1e-14)
    return Composite(ZPlus(1e-14), ZPlus(1e-14), ZBox(1e-14))


def first_share(trace, state):
    low, high = (limit.double().numpy()[:, 0, 0] for limit in trace.network.preprocess.bounds())
    return carried.bounds(state, low, high)


@pytest.mark.parametrize("power", [1.0, 0.5])
@pytest.mark.parametrize(("arm", "seed", "mask", "reach"), FORMS)
def test_every_form_equals_its_twin(by_hand, exact, arm, seed, mask, reach, power):
    hand, trace = by_hand
    form = {"arm": arm, "seed": seed, "mask": mask, "reach": reach, "power": power}
    method = ShallowCAMArm(composite=exact, smooth=0, **form)
    for layer, place in PLACES.items():
        found = method(trace, layer)
        for row, image in enumerate(trace.images.numpy()):
            state = hand.forward(image)
            first = first_share(trace, state)
            expected = carried.shallow_cam(hand, state, TARGETS[row], place, first, **form)
            size = np.abs(expected).max()
            if (arm, mask) == ("channel", "none") and seed != "logit":
                assert size < 1e-12  # a seed that sums to zero keeps doing so: this form says nothing
            else:
                assert size > 1e-9
            np.testing.assert_allclose(found[row], expected, rtol=1e-8, atol=1e-8 * size + 1e-12)


@pytest.mark.parametrize("smooth", [0.01, 0.2])
@pytest.mark.parametrize("form", [{}, {"arm": "channel"}, {"reach": "next"}])
def test_smoothing_equals_its_twin(by_hand, form, smooth):
    trace = by_hand[1]
    for layer in PLACES:
        plain, found = (ShallowCAMArm(**form, smooth=share)(trace, layer) for share in (0, smooth))
        stride = 2 if layer in ("pool1", "relu2") else 1
        for row in range(2):
            expected = carried.smoothed(plain[row].numpy(), smooth * 6 / stride)
            np.testing.assert_allclose(found[row], expected, rtol=1e-9, atol=1e-12)


def wrapped(kind=Plain, dtype=torch.float64, **options):
    return pl.load(lively(kind(**options)).to(dtype).eval(), input_shape=(3, 16, 16))


def images(count=2, size=16):
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def shallow(net, x=None, layers=None, target=1, **options):
    """Unsmoothed unless asked: smoothing comes last and has tests of its own."""
    x = images() if x is None else x
    options = {"smooth": 0} | options
    method = ShallowCAMArm(**options)
    found = pl.attribute(net, x.to(net.dtype), method, layers, target, normalized=True)
    return {layer: heatmap.values for layer, heatmap in found.items()}


def pattern(values):
    """Up to a factor for each image."""
    assert bool(values.flatten(1).any(1).all())
    return values / values.abs().amax((1, 2), keepdim=True)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", [Plain, Tangled])
def test_at_the_last_stage_both_arms_are_the_same(kind, mask, seed):
    net = wrapped(kind)
    last = net.default_layers[-1]
    one, other = (
        shallow(net, None, last, arm=arm, seed=seed, mask=mask)[last] for arm in ("adjacent", "spatial")
    )
    assert one.any()
    torch.testing.assert_close(one, other)


def test_handed_from_stage_to_stage_without_masks_it_is_the_long_walk():
    """z⁺ of a positive seed loses nothing at a stage it passes; only the total is divided out on the way."""
    net = wrapped()
    handed = shallow(net, seed="logit", mask="none", arm="adjacent", composite="z-plus")
    walked = shallow(net, seed="logit", mask="none", arm="spatial", composite="z-plus")
    for name in STAGES:
        torch.testing.assert_close(pattern(handed[name]), pattern(walked[name]), rtol=1e-4, atol=1e-5)


def test_the_evidence_of_the_stage_above_stays_whole():
    """Relevance without a mask: every stage below the last one holds a total of one."""
    maps = shallow(wrapped(), mask="none", arm="adjacent", reach="output", composite="z-plus")
    for name in STAGES[:-1]:
        torch.testing.assert_close(
            maps[name].sum((1, 2)), torch.ones(2, dtype=torch.float64), rtol=1e-4, atol=0
        )
    maps = shallow(wrapped(), mask="none", arm="adjacent", reach="next", composite="z-plus")
    for name in STAGES[:-1]:
        torch.testing.assert_close(
            maps[name].sum((1, 2)), torch.ones(2, dtype=torch.float64), rtol=1e-4, atol=0
        )


def test_dividing_by_the_total_changes_no_pattern(monkeypatch):
    net = wrapped()
    scaled = shallow(net, arm="adjacent")
    monkeypatch.setattr("pellucid.attribution.shallow_cam._to_one", lambda evidence: evidence * 7)
    plain = shallow(net, arm="adjacent")
    for name in STAGES:
        torch.testing.assert_close(pattern(scaled[name]), pattern(plain[name]))
    assert not torch.allclose(scaled["relu1"], plain["relu1"])


def rescored(scale, shift=0.0):
    """`Plain` whose output is ``scale`` times larger and ``shift`` higher at every class."""
    net = wrapped()
    with torch.no_grad():
        net.module.fc.weight *= scale
        net.module.fc.bias.copy_(net.module.fc.bias * scale + shift)
    return net


@pytest.mark.parametrize("seed", ["contrastive", "logit", *OWN])
@pytest.mark.parametrize("mask", MASKS)
def test_the_size_of_the_score_does_not_matter(mask, seed):
    maps = [shallow(rescored(scale), seed=seed, mask=mask, arm="adjacent") for scale in (1, 100)]
    for name in STAGES:
        one, other = (pattern(each[name]) for each in maps)
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("arm", ["adjacent", "spatial", "channel"])
@pytest.mark.parametrize("seed", ["contrastive", "logit", "evidence"])
def test_a_score_of_zero_or_below_is_explained_like_any_other(seed, arm):
    """The bias of the classifier moves the score, and neither gradients nor shares."""
    plain = wrapped()
    expected = shallow(plain, arm=arm, seed=seed)
    score = float(plain(images()[:1])[0, 1].detach())
    for shift in (-score, -score - 100):
        net = rescored(1, shift)
        assert float(net(images()[:1])[0, 1].detach()) == pytest.approx(score + shift, abs=1e-9)
        for name, values in shallow(net, arm=arm, seed=seed).items():
            assert values.any()
            torch.testing.assert_close(values, expected[name])


@pytest.mark.parametrize("form", [{}, *FEW])
@pytest.mark.parametrize("kind", [Plain, Tangled])
def test_a_batch_is_its_images_and_a_layer_does_not_depend_on_the_others(kind, form):
    form = {"arm": "adjacent", "seed": "contrastive"} | form
    net = wrapped(kind)
    together = shallow(net, images(3), None, [2, 0, 1], **form)
    assert tuple(together) == net.default_layers
    for row, target in enumerate([2, 0, 1]):
        for layer, values in together.items():
            alone = shallow(net, images(3)[row : row + 1], layer, target, **form)[layer]
            torch.testing.assert_close(values[row], alone[0], rtol=1e-4, atol=1e-9)


def test_stages_are_computed_once(monkeypatch):
    asked = []
    plain = ShallowCAM.maps
    monkeypatch.setattr(
        ShallowCAM,
        "maps",
        lambda self, trace, layers: asked.append(list(layers)) or plain(self, trace, layers),
    )
    shallow(wrapped())
    assert asked == [STAGES]


class Deep(nn.Sequential):
    """VGG-16 in miniature: thirteen convolutions in five stages."""

    def __init__(self):
        layers, inputs = [], 3
        for stage, count in enumerate((2, 2, 3, 3, 3)):
            for _ in range(count):
                layers += [nn.Conv2d(inputs, 8 * (stage + 1), 3, padding=1), nn.ReLU()]
                inputs = 8 * (stage + 1)
            layers += [nn.MaxPool2d(2)]
        super().__init__(*layers, nn.Flatten(), nn.Linear(inputs, 24), nn.ReLU(), nn.Linear(24, 5))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("size", [1e-18, 1, 1e6])
def test_deep_networks_do_not_leave_float32(size, mask):
    """Products of the evidence of thirteen layers, tiny or huge; the pattern is that of float64."""
    found = []
    for dtype in (torch.float32, torch.float64):
        net = pl.load(lively(Deep(), seed=2).to(dtype), input_shape=(3, 32, 32))
        with torch.no_grad():
            net.module[-1].weight *= size
        found.append(shallow(net, images(2, 32), target=3, arm="adjacent", mask=mask))
    assert len(found[0]) == 5
    for name, values in found[0].items():
        assert values.dtype == torch.float32
        torch.testing.assert_close(pattern(values).double(), pattern(found[1][name]), rtol=1e-2, atol=1e-4)


def test_the_long_walk_survives_its_cancellation():
    """Positive and negative relevance all but cancel at shallow stages, in float32 to noise."""
    found = []
    for dtype in (torch.float32, torch.float64):
        net = pl.load(lively(Deep(), seed=2).to(dtype), input_shape=(3, 32, 32))
        found.append(shallow(net, images(2, 32), target=3, arm="spatial", seed="contrastive"))
    for name, values in found[0].items():
        torch.testing.assert_close(pattern(values).double(), pattern(found[1][name]), rtol=1e-2, atol=1e-4)


def test_evidence_against_is_not_handed_on():
    """Rules with signs keep totals; what is left of them without the negative parts is more."""
    form = {"arm": "adjacent", "mask": "none", "composite": "epsilon-alpha2-beta1"}
    for values in shallow(wrapped(), layers=STAGES[:2], **form).values():
        assert bool((values.sum((1, 2)) > 1.1).all())


def one_linear(weight):
    """One stage of four channels, and a classifier with these weights [class channel]."""
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, len(weight)),
    )
    lively(module, seed=1).double()
    with torch.no_grad():
        module[-1].weight.copy_(torch.as_tensor(weight, dtype=torch.float64))
        module[-1].bias.zero_()
    return pl.load(module, input_shape=(3, 16, 16))


def test_a_network_of_one_stage():
    net = one_linear([[1.0, 2.0, -1.0, 0.5], [0.5, -1.0, 2.0, 1.0]])
    assert net.default_layers == ("1",)
    expected = shallow(net, arm="adjacent", seed="layercam")["1"]
    torch.testing.assert_close(
        expected, pl.attribute(net, images(), "layercam", "1", 1, normalized=True)["1"].values
    )
    for form in ({}, *FEW):
        maps = shallow(net, **({"arm": "adjacent", "seed": "contrastive"} | form))
        assert maps["1"].any()
        assert bool(maps["1"].isfinite().all())
    deep = shallow(net, layers=["input", "1"])
    assert deep["input"].shape == (2, 16, 16)


@pytest.mark.parametrize("form", [{}, *FEW, {"mask": "plain"}])
def test_evidence_against_the_target_alone(form):
    """No channel speaks for it: no gradient is positive, so no mask has anything to show."""
    net = one_linear([[-1.0, -2.0, -1.0, -0.5], [0.5, 1.0, 2.0, 1.0]])
    options = {"arm": "adjacent", "mask": "scaled", "seed": "contrastive"} | form
    layers = ["1"] if options["arm"] != "adjacent" else ["input", "1"]
    maps = pl.attribute(net, images(), ShallowCAMArm(**options), layers, 0, normalized=True)
    for heatmap in maps.values():
        assert not heatmap.values.any()
        assert set(heatmap.status) == {"zero"}


def test_a_flat_feature_map_says_nothing_of_where():
    """A channel that is the same everywhere is left out by its mask, whatever relevance it has."""
    net = one_linear([[1.0, 1.0, 1.0, 1.0], [0.5, -1.0, 2.0, 1.0]])
    maps = []
    for height in (5.0, 50.0):
        with torch.no_grad():
            net.module[0].weight[0] = 0
            net.module[0].bias[0] = height
        maps.append(shallow(net, target=0, mask="scaled", arm="adjacent", seed="logit")["1"])
    torch.testing.assert_close(
        pattern(maps[0]), pattern(maps[1]), rtol=1e-4, atol=1e-6
    )  # its share makes all others smaller alike
    assert bool((maps[1] < maps[0])[maps[0] > 0].all())
    with torch.no_grad():
        net.module[0].weight.zero_()
        net.module[0].bias.fill_(1.0)
    assert not shallow(net, target=0, mask="scaled", arm="adjacent", seed="logit")["1"].any()


@pytest.mark.parametrize("form", FORMS)
def test_a_dead_network_has_no_evidence(form):
    net = wrapped()
    with torch.no_grad():
        net.module.conv2.weight.zero_()
        net.module.conv2.bias.fill_(-1)
    arm, seed, mask, reach = form
    method = ShallowCAMArm(arm=arm, seed=seed, mask=mask, reach=reach)
    maps = pl.attribute(net, images(), method, None, 1, normalized=True)
    for name in STAGES[:2]:
        assert bool(maps[name].values.isfinite().all())
        assert not maps[name].values.any()


def test_one_logit_has_nothing_to_contrast_with():
    net = wrapped(classes=1)
    maps = [shallow(net, target=lambda output: output[:, 0], seed=seed) for seed in ("contrastive", "logit")]
    for name in STAGES:
        assert maps[0][name].isfinite().all()
        assert torch.equal(maps[0][name], maps[1][name])
    against = shallow(net, target=lambda output: -output[:, 0], seed="logit", mask="none", arm="adjacent")
    assert all(values.isfinite().all() for values in against.values())


@pytest.mark.parametrize("seed", [*SEEDS, *OWN])
def test_a_target_that_is_a_function(seed):
    net = wrapped()
    by_class = shallow(net, target=2, seed=seed, arm="adjacent")
    by_function = shallow(net, target=lambda output: output[:, 2], seed=seed, arm="adjacent")
    difference = shallow(net, target=lambda output: output[:, 2] - output[:, 0], seed=seed, arm="adjacent")
    for name in STAGES:
        torch.testing.assert_close(by_function[name], by_class[name])
        assert difference[name].isfinite().all()
    assert any(not torch.allclose(difference[name], by_class[name]) for name in STAGES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"through": "layer"}, "`through` to be one of its options, got `layer`; did you mean `layers`"),
        ({"smooth": -0.1}, "`smooth` to be a share of the picture from 0 to 1, got -0.1"),
        ({"smooth": float("nan")}, "`smooth` to be a share of the picture from 0 to 1, got nan"),
        ({"power": 0}, "`power` above 0, got 0"),
        ({"power": float("nan")}, "`power` above 0, got nan"),
        ({"arm": "adjacents"}, "`arm` to be one of its options, got `adjacents`; did you mean `adjacent`"),
        ({"seed": "logits"}, "`seed` to be one of its options, got `logits`; did you mean `logit`"),
        ({"mask": "scale"}, "`mask` to be one of its options, got `scale`; did you mean `scaled`"),
        ({"reach": "nxt"}, "`reach` to be one of its options, got `nxt`; did you mean `next`"),
        ({"composite": "zplus"}, "name of a composite, got `zplus`; did you mean `z-plus`"),
        ({"arm": "spatial", "seed": "layercam"}, 'only with `arm="adjacent"`, got `spatial`'),
        ({"arm": "channel", "seed": "logit", "reach": "next"}, 'only with `arm="adjacent"`, got `channel`'),
    ],
)
def test_bad_parameters_are_named(options, message):
    with pytest.raises((ValueError, KeyError), match=message):
        ShallowCAMArm(**options)


def test_the_last_stage_starts_with_what_speaks_for_the_target_and_with_the_net():
    net, last = wrapped(), STAGES[-1]
    layercam, hirescam = (
        pl.attribute(net, images(), name, last, 4, normalized=True)[last].values
        for name in ("layercam", "hirescam")
    )
    assert not torch.allclose(pattern(layercam), pattern(hirescam))
    found = shallow(net, target=4, seed="evidence", arm="adjacent")[last]
    torch.testing.assert_close(found, pattern(layercam) + pattern(hirescam))


def test_every_rectifier_on_the_way_counts():
    """Asked for a stage only, the masks of the layers between are passed all the same."""
    net = pl.load(lively(Deep(), seed=2).double(), input_shape=(3, 32, 32))
    rectifiers = [layer.name for layer in net.layers if layer.kind == "ReLU" and int(layer.name) < 31]
    assert len(rectifiers) == 13
    trace = capture(net, images(2, 32), [rectifiers[-1]], 3)
    by_hand = ShallowCAMArm(through="stages", smooth=0).maps(trace, rectifiers)
    for layer in (rectifiers[0], rectifiers[4]):
        found = ShallowCAMArm(through="layers", smooth=0)(trace, layer)
        torch.testing.assert_close(pattern(found), pattern(by_hand[layer]))
        assert not torch.allclose(
            pattern(found), pattern(ShallowCAMArm(through="stages", smooth=0)(trace, layer)), rtol=1e-3
        )


def test_a_block_and_its_last_rectifier_are_masked_once():
    """Two names of the same values."""
    block = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())
    module = nn.Sequential(block, nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 12 * 12, 3))
    trace = capture(pl.load(lively(module).double(), input_shape=(3, 16, 16)), images(), ["2"], 1)
    method = ShallowCAMArm(through="stages", smooth=0)
    both, one = (method.maps(trace, names) for names in (["0.1", "0", "2"], ["0.1", "2"]))
    for name in ("0.1", "0"):
        torch.testing.assert_close(pattern(both[name]), pattern(one["0.1"]))


def test_a_first_image_without_evidence_does_not_spoil_the_next_ones():
    """Where the way leads is the network's: it must not be learned from an image that says nothing."""
    module = lively(Deep(), seed=2).double()
    with torch.no_grad():
        for child in module:
            if isinstance(child, nn.Conv2d):
                child.bias.zero_()
    net, fresh = (pl.load(module, input_shape=(3, 32, 32)) for _ in range(2))
    expected = shallow(fresh, images(2, 32))
    dark = torch.zeros_like(images(2, 32))
    assert not capture(net, dark, net.default_layers, 1).activations[net.default_layers[0]].any()
    shallow(net, dark)
    mixed = shallow(net, torch.cat([dark, images(2, 32)]))
    for name, values in shallow(net, images(2, 32)).items():
        torch.testing.assert_close(values, expected[name])
        torch.testing.assert_close(mixed[name][2:], expected[name])
        assert not mixed[name][:2].any()


def test_the_method_is_its_arm_by_default():
    """What users call is the arm that the study compares as the method."""
    net = wrapped()
    for layer in STAGES:
        mine, arm = (
            method(capture(net, images(), [layer], 1), layer) for method in (ShallowCAM(), ShallowCAMArm())
        )
        assert torch.equal(mine, arm)
