"""Class scores: their twin, comparison with other classes, files, orders of deletion, and what is refused."""

from dataclasses import replace
from decimal import MAX_EMAX, MIN_EMIN, Decimal, localcontext

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.bundles import as_pair, rewrite
from tests.conformance.harness import untouched
from tests.reference import neurons as twin
from tests.reference.models import Plain, lively
from torch import nn

import pellucid as pl
from pellucid.core.registry import create
from pellucid.units import class_importance, load_class_scores
from pellucid.units.classes import ScoresError, class_scores_of
from pellucid.units.deletion import correct_without, selectivity
from pellucid.units.orders import deletion_order
from pellucid.units.rivals import against_rivals

LABELS = [1, 3, 1, 0, 3, 1, 0]  # unbalanced


@pytest.fixture
def net():
    return pl.load(lively(Plain()).double(), input_shape=(3, 16, 16))


@pytest.fixture
def x():
    return torch.randn(7, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("others", [0.0, 1.0, 2.5])
def test_twin(net, x, others):
    found = class_importance(
        net, x, LABELS, "relu2", "cgnis", others=others, arm="elementwise", normalized=True
    )
    each = pl.neurons(net, x, "relu2", LABELS, "cgnis", arm="elementwise", normalized=True).values.numpy()
    values, errors = twin.class_scores(each, LABELS, others)
    np.testing.assert_allclose(found.values, values, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found.error, errors, rtol=1e-9)
    assert found.classes == ("class 0", "class 1", "class 3")
    assert found.images.tolist() == [2, 3, 2]
    assert found.others == others
    assert found.parameters["arm"] == "elementwise"
    assert found.top("class 3", 2) == found.scores.top(2, 2)
    assert found.share(1, 0.5) == found.scores.share(0.5, 1)


def test_every_other_class_counts_alike(net, x):
    """Twice the images of one class change that class's own mean at most."""
    once = class_importance(net, x, LABELS, "relu2", "activation", others=1.0, normalized=True)
    again = class_importance(
        net, torch.cat([x, x[[1, 4]]]), [*LABELS, 3, 3], "relu2", "activation", others=1.0, normalized=True
    )
    torch.testing.assert_close(once.values, again.values)
    assert again.images.tolist() == [2, 3, 4]


def test_chosen_classes_keep_their_order_and_names_do_as_labels(net, x):
    names = [net.classes[label] for label in LABELS]
    some = class_importance(net, x, names, "relu2", "activation", classes=["class 3", 0], normalized=True)
    whole = class_importance(net, x, LABELS, "relu2", "activation", normalized=True)
    assert some.classes == ("class 3", "class 0")
    assert torch.equal(some.values, whole.values[[2, 0]])


def test_one_image_has_no_error(net, x):
    found = class_importance(net, x[:1], [2], "relu2", "activation", normalized=True)
    assert found.error.isnan().all()
    assert found.values.isfinite().all()


def test_files(net, x, tmp_path):
    found = class_importance(
        net, x, LABELS, "relu2", "cgnis", others=1.0, arm="signed", against="rest", normalized=True
    )
    assert found.save(tmp_path) == ["classes.safetensors"]
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    found.save(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == first
    again = load_class_scores(tmp_path, net)
    assert again.temperature is None
    class_importance(net, x, LABELS, "relu2", arm="signed", temperature=0.5, normalized=True).save(
        tmp_path, "ordered"
    )
    assert load_class_scores(tmp_path / "ordered.json", net).temperature == 0.5
    for name in ("values", "error", "images"):
        assert torch.equal(getattr(again, name), getattr(found, name)), name
    for name in ("classes", "layer", "criterion", "parameters", "others", "network", "sha256"):
        assert getattr(again, name) == getattr(found, name), name


def test_refused_files(net, x, tmp_path):
    found = class_importance(net, x, LABELS, "relu2", "activation", normalized=True)
    found.save(tmp_path, "mine")
    file = tmp_path / "mine.json"
    other = pl.load(lively(Plain(), seed=1).double(), input_shape=(3, 16, 16))
    with pytest.raises(
        ScoresError, match=r"of `Plain` with its present weights, got those of `Plain` \(SHA-256"
    ):
        load_class_scores(file, other)
    assert load_class_scores(file).sha256 == found.sha256
    with pytest.raises(FileNotFoundError, match="which is not there; try `pellucid neurons --by-class`"):
        load_class_scores(tmp_path)
    found.save(tmp_path, "old")
    pair = as_pair(tmp_path / "old.safetensors")
    assert torch.equal(load_class_scores(pair, net).values, found.values)
    for text in ("[1]", "{}"):
        pair.write_text(text)
        with pytest.raises(ScoresError, match="which is something else"):
            load_class_scores(pair)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"put": {"layer.shape": ...}}, "layer.shape: expected a value, got none"),
        ({"put": {"layer.geometry.stride": [1]}}, r"layer.geometry.stride: expected a list of 2, got \[1\]"),
        ({"put": {"others": -1}}, "others: expected a number of at least 0.0, got -1"),
        ({"put": {"classes": []}}, r"classes: expected a list of at least 1, got \[\]"),
        ({"put": {"classes": ["a"]}}, r"values: expected an array floating \[1 \d+\], got"),
        ({"fill": {"values": float("nan")}}, "values: expected finite values, got NaN or infinity"),
        ({"fill": {"images": 0}}, "images: expected values of at least 1, got 0"),
        ({"arrays": lambda arrays: arrays.pop("error")}, "error: expected an array floating .*, got none"),
        ({"schema": 99}, "Expected class scores of version 2 or older, got .* of version 99"),
    ],
)  # fmt: skip
def test_damaged_files(net, x, tmp_path, change, says):
    class_importance(net, x, LABELS, "relu2", "activation", normalized=True).save(tmp_path)
    rewrite(tmp_path / "classes.safetensors", **change)
    with pytest.raises(ScoresError, match=says) as caught:
        load_class_scores(tmp_path)
    assert "\n" not in str(caught.value)


def test_bad_input(net, x):
    def ask(images=x, labels=LABELS, layer="relu2", criterion="activation", **more):
        return class_importance(net, images, labels, layer, criterion, normalized=True, **more)

    with pytest.raises(
        ValueError, match="at least 1 image of every class, but `class 2` has 0; try more images"
    ):
        ask(classes=[1, 2])
    with pytest.raises(
        ValueError, match="at least 3 images of every class, but `class 0` has 2, `class 3` has 2"
    ):
        ask(minimum=3)
    with pytest.raises(
        ValueError, match=r"at least two classes to compare, got 1 \(class 1\); try `others=0`"
    ):
        ask(x[:2], [1, 1], others=1.0)
    with pytest.raises(ValueError, match="`others` to be a finite number of at least 0, got -1"):
        ask(others=-1)
    with pytest.raises(ValueError, match="`minimum` of at least 1 image, got 0"):
        ask(minimum=0)
    with pytest.raises(ValueError, match="at least one image with its class, got none"):
        ask(x[:0], [])
    with pytest.raises(ValueError, match="one target for each of 7 images, got 2"):
        ask(labels=[1, 3])
    with pytest.raises(IndexError, match="class index from 0 to 4"):
        ask(labels=[9] * 7)
    with pytest.raises(ValueError, match="above 0, got 1 and 1"):
        ask(others=1.0).compared()
    with pytest.raises(KeyError, match="did you mean `class 3`"):
        ask().top("class 33", 1)
    with pytest.raises(IndexError, match="a row from 0 to 2, got 3"):
        ask().top(3, 1)


def test_scores_that_are_not_finite_are_named(net, x):
    spoiled = x.clone()
    spoiled[2] = 1e308
    with pytest.raises(
        ValueError,
        match=r"Expected finite class scores from `Plain`, got NaN or infinity in .* for image 2 of 7",
    ):
        class_importance(net, spoiled, LABELS, "relu2", "gradient-x-activation", normalized=True)
    criterion = create("neurons", "gradient-x-activation")
    each = [pl.neurons(net, image[None], "relu2", None, criterion, normalized=True) for image in x]
    each[2] = replace(each[2], values=each[2].values * torch.nan)
    with pytest.raises(
        ValueError,
        match=r"finite scores of `gradient-x-activation` at `relu2`, got others for 1 of 7 images \(2\)",
    ):
        class_scores_of(net, each, LABELS, criterion)


def test_one_channel_and_one_class():
    single = nn.Sequential(
        nn.Conv2d(3, 1, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 3)
    )
    net = pl.load(lively(single), input_shape=(3, 8, 8))
    found = class_importance(net, torch.randn(4, 3, 8, 8), [0, 0, 1, 1], "1", others=1.0, normalized=True)
    assert found.values.shape == (2, 1)
    assert found.values.isfinite().all()
    alone = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)
    )
    lone = pl.load(lively(alone), input_shape=(3, 8, 8), head="softmax", classes=["thing"])
    for against in ("nothing", "rest", "strongest"):  # without rivals all are the score itself
        found = class_importance(
            lone, torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), [0, 0], "1", arm="signed",
            against=against, normalized=True,
        )  # fmt: skip
        assert found.values.shape == (1, 4)
        assert found.values.abs().sum() > 0
        if against == "nothing":
            expected = found.values
        torch.testing.assert_close(found.values, expected)
    binary = pl.load(lively(alone), input_shape=(3, 8, 8))
    pair = class_importance(
        binary, torch.randn(4, 3, 8, 8), [0, 0, 1, 1], "1", others=1.0, against="rest", normalized=True
    )
    assert pair.classes == ("negative", "positive")


def test_untouched(net, x):
    with untouched(net.module):
        class_importance(net, x, LABELS, "relu2", "cgnis", against="rest", normalized=True)


@given(seed=st.integers(0, 2**31), classes=st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_rivals(seed, classes):
    generator = torch.Generator().manual_seed(seed)
    output = torch.randn(3, classes, generator=generator).double() * 3
    index = torch.randint(classes, (3,), generator=generator)
    net = pl.load(
        nn.Sequential(
            nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, classes)
        ).double(),
        input_shape=(3, 6, 6),
    )
    for against, formula in (("rest", twin.log_odds), ("strongest", twin.margin)):
        target = against_rivals(net, torch.zeros(3, 3, 6, 6), index.tolist(), against)
        expected = [formula(z, int(t)) for z, t in zip(output.numpy(), index, strict=True)]
        np.testing.assert_allclose(target.score(output), expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            target.repeat(2).score(output.repeat(2, 1)), expected * 2, rtol=1e-9, atol=1e-12
        )
    net.head = "probabilities"
    target = against_rivals(net, torch.zeros(3, 3, 6, 6), index.tolist(), "rest")
    expected = [twin.log_odds(z, int(t)) for z, t in zip(output.numpy(), index, strict=True)]
    np.testing.assert_allclose(target.score(output.softmax(1)), expected, rtol=1e-6, atol=1e-9)


def test_rivals_of_the_predicted_class_and_of_functions(net, x):
    predicted = net.resolve_target(None, pl.capture(net, x, (), gradients=False).output)
    assert torch.equal(against_rivals(net, x, None).indices, predicted.indices)
    with pytest.raises(ValueError, match="a class to compare with its rivals, got a function"):
        pl.neurons(net, x, "relu2", lambda output: output[:, 0], against="rest", normalized=True)


def gains(scores, log_odds, weights, scale):
    """Σ_x w(x) σ′(m(x) / T) s_k(x) of every unit k with 60 digits and exponents without end, and the sum of the
    absolute terms."""
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, MIN_EMIN, MAX_EMAX
        slopes = []
        for value in log_odds:
            grown = (-abs(Decimal(value)) / Decimal(scale)).exp()
            slopes.append(grown / (1 + grown) ** 2)
        terms = [
            [Decimal(w) * slope * Decimal(s) for w, slope, s in zip(weights, slopes, column, strict=True)]
            for column in zip(*scores, strict=True)
        ]
        return [sum(each) for each in terms], [sum(map(abs, each)) for each in terms]


@example(seed=59111886, size=2.0)  # nothing is recognized but one picture, by a hair: T is tiny
@example(seed=0, size=1e5)
@given(seed=st.integers(0, 2**31), size=st.sampled_from([1e-3, 2.0, 30.0, 1e3]))
@settings(max_examples=20, deadline=None)
def test_order_is_the_steepest_way(seed, size):
    """However sure the network is, or unsure: where σ′ of every picture is 0 in floating point too."""
    random = np.random.default_rng(seed)
    s, m = random.normal(size=(6, 5)), random.normal(size=6) * size
    labels = [0, 0, 1, 1, 1, 2]
    found = deletion_order(torch.from_numpy(s), torch.from_numpy(m), labels, 1, 0.5).tolist()
    weights = [{0: -1 / 4, 1: 1 / 3, 2: -1 / 2}[label] for label in labels]
    scale = 0.5 * np.maximum(m, 0).mean() or 1.0
    left, now = list(range(5)), m.copy()
    for unit in found:
        gain, size_of_terms = gains(s.tolist(), now.tolist(), weights, scale)
        best = max(left, key=gain.__getitem__)
        # e^-x of x off by one rounding is off by x roundings
        slack = Decimal(16 * np.finfo(float).eps * (2 + np.abs(now).max() / scale))
        assert gain[unit] >= gain[best] - slack * (size_of_terms[best] + size_of_terms[unit])
        left.remove(unit)
        now -= s[:, unit]
    assert not left


def test_order_with_a_high_temperature_is_the_comparison():
    generator = torch.Generator().manual_seed(0)
    s, m = torch.rand(6, 9, generator=generator).double(), torch.full((6,), 5.0).double()
    found = deletion_order(s, m, [0, 0, 1, 1, 2, 2], 0, temperature=1e6)
    means = torch.stack([s[i : i + 2].mean(0) for i in (0, 2, 4)])
    assert torch.equal(found, (means[0] - means[1:].mean(0)).argsort(descending=True))


def test_scores_in_order_of_deletion(net, x):
    """Another network form, computed by its parts: signed scores of the log-odds, and the order they give."""
    found = class_importance(
        net, x, LABELS, "relu2", "cgnis", arm="signed", temperature=0.2, batch_size=3, normalized=True
    )
    target = against_rivals(net, x, LABELS)
    scores = pl.neurons(net, x, "relu2", target, "gradient-x-activation", normalized=True).values
    odds = target.score(pl.capture(net, x, (), gradients=False).output)
    for row, label in enumerate((0, 1, 3)):
        order = deletion_order(scores, odds, LABELS, label, 0.2)
        assert [unit.index for unit in found.top(row, 8)] == order.tolist()
        assert found.values[row].sort().values.tolist() == [n / 8 for n in range(8)]
    assert found.temperature == 0.2
    assert found.error.isnan().all()
    with pytest.raises(ValueError, match=r"either `others` or `temperature`, got 1\.0 and 0\.2"):
        class_importance(net, x, LABELS, "relu2", others=1.0, temperature=0.2, normalized=True)
    with pytest.raises(ValueError, match="Expected scores of classes alone"):
        found.compared()


def test_order_refuses():
    s, m = torch.rand(4, 3), torch.rand(4)
    with pytest.raises(ValueError, match=r"of the same images, got \(4, 3\), 3 and 4"):
        deletion_order(s, m[:3], [0, 0, 1, 1], 0)
    with pytest.raises(ValueError, match="images of class 7, got none; try one of 0, 1"):
        deletion_order(s, m, [0, 0, 1, 1], 7)
    with pytest.raises(ValueError, match="`temperature` above 0, got 0"):
        deletion_order(s, m, [0, 0, 1, 1], 0, temperature=0)
    with pytest.raises(ValueError, match="finite scores and log-odds"):
        deletion_order(s, m * torch.nan, [0, 0, 1, 1], 0)
    assert sorted(deletion_order(s, -m, [0, 0, 0, 0], 0).tolist()) == [
        0,
        1,
        2,
    ]  # one class, nothing recognized


def test_deletion_by_hand(net, x):
    order = [4, 0, 7, 2, 1, 3, 5, 6]
    found = correct_without(net, x, LABELS, order, [0, 3, 8], "relu2", batch_size=3, normalized=True)
    module = net.module.eval()
    A = module.relu2(module.conv2(module.pool1(module.relu1(module.norm1(module.conv1(x))))))
    for row, count in zip(found, (0, 3, 8), strict=True):
        left = A.clone()
        left[:, order[:count]] = 0
        output = module.fc(module.gap(module.relu3(module.conv3(module.pool2(left)))).flatten(1))
        assert row.tolist() == (output.argmax(1) == torch.tensor(LABELS)).tolist()
    scores = pl.neurons(net, x[:1], "relu2", 1, "activation", normalized=True)
    assert correct_without(net, x, LABELS, scores, [8], "relu2", normalized=True).shape == (1, 7)
    kept = correct_without(net, x, LABELS, [1], [1], "relu2", reference=range(8), normalized=True)
    left = A.clone()
    left[:, 1] = 1
    output = module.fc(module.gap(module.relu3(module.conv3(module.pool2(left)))).flatten(1))
    assert kept[0].tolist() == (output.argmax(1) == torch.tensor(LABELS)).tolist()


def test_deletion_refuses(net, x):
    with pytest.raises(ValueError, match="`counts` from 0 to the 2 units of `order`, got 3"):
        correct_without(net, x, LABELS, [0, 1], [3], "relu2", normalized=True)
    with pytest.raises(ValueError, match="one label for each of 7 images, got 1"):
        correct_without(net, x, [1], [0, 1], [1], "relu2", normalized=True)
    with pytest.raises(IndexError, match="units from 0 to 7, got 8 to 8"):
        correct_without(net, x, LABELS, [8], [1], "relu2", normalized=True)
    scores = pl.neurons(net, x, "relu2", 1, "activation", normalized=True)
    with pytest.raises(ValueError, match="scores of one class or image, got 7"):
        correct_without(net, x, LABELS, scores, [1], "relu2", normalized=True)
    with pytest.raises(ValueError, match="rising `shares` from 0"):
        selectivity(torch.ones(2), torch.ones(2), [0.1, 0.2])


def test_selectivity():
    own, others = torch.tensor([1.0, 0.5, 0.0]), torch.tensor([0.9, 0.9, 0.4])
    drop, area = selectivity(own, others, [0, 0.1, 0.5])
    torch.testing.assert_close(drop, torch.tensor([0.0, 0.5, 0.5]))
    assert area == pytest.approx((0.1 * 0.25 + 0.4 * 0.5) / 0.5)
