"""What a network's outputs are: which of them, finite or not, logits or plain numbers, the same each time; targets and layers as
users have them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pellucid as pl
from pellucid.core.answers import COUPLED, RANDOM
from pellucid.core.network import OutputError, as_network
from pellucid.core.registry import UnknownNameError, canonical

SHAPE = (3, 16, 16)


class Body(nn.Module):
    """A convolution and a linear layer; ``end`` makes what is returned of (embedding, logits)."""

    def __init__(self, outputs=4, end=lambda z, y: y, middle=None, bias=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        self.middle, self.fc, self.end = middle, nn.Linear(8, outputs), end
        nn.init.constant_(self.fc.bias, bias)

    def forward(self, x):
        x = self.body(x)
        z = (x if self.middle is None else self.middle(x)).mean((2, 3))
        return self.end(z, self.fc(z))


def load(*args, **options):
    return pl.load(Body(*args, **options).eval(), input_shape=SHAPE)


@pytest.mark.parametrize(
    ("end", "chosen", "columns"),
    [
        (lambda z, y: (z, y), "1", 4),
        (lambda z, y: (y, z), "0", 4),
        (lambda z, y: [z.clone(), y], "0", 8),  # nothing tells: the first
        (lambda z, y: {"embedding": z, "classes": y}, "'classes'", 4),
    ],
)
def test_what_was_taken_of_several_outputs_is_said(end, chosen, columns):
    net = load(end=end)
    (note,) = [note for note in net.notes if "was taken for the class scores" in note]
    assert f": {chosen} was taken" in note
    assert "`output=" in note
    assert net(torch.zeros(2, *SHAPE)).shape == (2, columns)


def test_the_number_of_class_names_chooses_too():
    net = pl.load(Body(end=lambda z, y: [z.clone(), y]), input_shape=SHAPE, classes=list("abcd"))
    assert net(torch.zeros(2, *SHAPE)).shape == (2, 4)


@pytest.mark.parametrize(
    "end", [lambda z, y: {"logits": y, "z": z}, lambda z, y: (y,), lambda z, y: (y, z[:, 0])]
)
def test_nothing_is_said_where_nothing_had_to_be_chosen(end):
    assert not [note for note in load(end=end).notes if "was taken" in note]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_no_numbers_are_refused(value):
    net = load(end=lambda z, y: y.index_fill(1, torch.tensor([2]), value))
    for call in (
        lambda x: pl.attribute(net, x, "gradcam", normalized=True),
        lambda x: pl.neurons(net, x, target=1, normalized=True),
        lambda x: pl.evaluate(net, x, "gradcam", normalized=True),
        lambda x: pl.explain(net, x, normalized=True),
        lambda x: pl.capture(net, x, ["body.1"], 1),
    ):
        with pytest.raises(
            OutputError, match=r"^Expected finite class scores from `Body`, got NaN or infinity in 1 of 4"
        ):
            call(torch.randn(1, *SHAPE))


@pytest.mark.parametrize(
    ("options", "head"),
    [
        ({"outputs": 1, "bias": 35.0}, "regression"),
        ({"outputs": 1, "end": lambda z, y: y.relu()}, "regression"),
        ({"outputs": 1, "end": lambda z, y: F.softplus(y)}, "regression"),
        ({"outputs": 1}, "binary"),
        ({"outputs": 1, "end": lambda z, y: y.sigmoid()}, "binary"),
        ({"outputs": 4, "bias": 35.0}, "softmax"),
        ({"outputs": 4, "end": lambda z, y: y.log_softmax(1)}, "softmax"),
    ],
)
def test_heads_are_recognized(options, head):
    assert load(**options).head == head


def test_two_names_make_two_classes_of_one_output():
    assert pl.load(Body(1, bias=35.0), input_shape=SHAPE, classes=["no", "yes"]).head == "binary"


@pytest.mark.parametrize("outputs", [1, 3])
def test_plain_numbers_are_never_probabilities(outputs):
    names = ["age", "height", "weight"][:outputs]
    net = pl.load(Body(outputs, bias=35.0), input_shape=SHAPE, head="regression", classes=names)
    x = torch.randn(2, *SHAPE)
    assert torch.equal(net.probabilities(net(x)), net(x).detach())
    last = names[-1]
    heatmap = pl.attribute(net, x, "gradcam", "body.1", target=last, normalized=True)["body.1"]
    function = pl.attribute(
        net, x, "gradcam", "body.1", target=lambda out: out[:, outputs - 1], normalized=True
    )["body.1"]
    assert torch.equal(heatmap.values, function.values)
    assert heatmap.target == (last, last)
    assert pl.attribute(net, x, "gradcam", "body.1", normalized=True)["body.1"].target == ("age", "age")
    assert pl.evaluate(net, x, heatmap, steps=4, normalized=True)
    if outputs == 3:
        each = pl.attribute(net, x, "hirescam", "body.1", target=[0, 2], normalized=True)["body.1"]
        second = pl.attribute(net, x[1:], "hirescam", "body.1", target=2, normalized=True)["body.1"]
        torch.testing.assert_close(each.values[1:], second.values)


class Dropping(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.5)


@pytest.mark.parametrize(
    ("middle", "doubts"),
    [
        (None, ()),
        (nn.BatchNorm2d(8), ()),
        (nn.Dropout(), ()),
        (Dropping(), (RANDOM,)),
        (nn.BatchNorm2d(8, track_running_stats=False), (COUPLED,)),
    ],
)
def test_answers_that_are_not_the_images_own_are_named(middle, doubts):
    state = torch.get_rng_state()
    net = load(middle=middle)
    assert net.doubts == doubts
    assert set(doubts) <= set(net.notes)
    heatmap = pl.attribute(net, torch.randn(2, *SHAPE), "gradcam", "body.1", target=0, normalized=True)[
        "body.1"
    ]
    assert heatmap.notes == doubts
    del state


@pytest.mark.parametrize(
    "target",
    [2, np.int64(2), np.array(2), np.array([2, 2]), torch.tensor(2), torch.tensor([2, 2]), [np.array(2), torch.tensor(2)],
     (np.uint8(2), 2), "class 2", np.array(["class 2", "class 2"]), np.str_("class 2")],
    ids=repr,
)  # fmt: skip
def test_targets_as_numpy_and_torch_give_them(target):
    net, x = load(), torch.randn(2, *SHAPE)
    expected = pl.attribute(net, x, "gradcam", "body.1", target=2, normalized=True)["body.1"]
    given = pl.attribute(net, x, "gradcam", "body.1", target=target, normalized=True)["body.1"]
    assert given.target == ("class 2",) * 2
    assert torch.equal(given.values, expected.values)
    assert pl.neurons(net, x, target=target, normalized=True).target == ("class 2",) * 2
    assert pl.evaluate(net, x, "gradcam", target=target, steps=4, normalized=True)
    both = pl.explain(net, x, target=target, normalized=True, faithfulness=False)
    assert [explanation.target["name"] for explanation in both] == ["class 2", "class 2"]


@pytest.mark.parametrize(
    "target", [2.5, np.float32(2), True, np.array([[1, 2]]), torch.tensor(1.0), [None, 1], b"x"]
)
def test_what_is_no_target_is_said_in_a_line(target):
    with pytest.raises((TypeError, ValueError)) as caught:
        pl.attribute(load(), torch.randn(2, *SHAPE), "gradcam", "body.1", target=target, normalized=True)
    assert str(caught.value).startswith("Expected ")


def test_layers_by_name_position_or_module():
    module = Body().eval()
    net, x = pl.load(module, input_shape=SHAPE), torch.randn(1, *SHAPE)
    for layer in ("body.1", 1, module.body[1], net.layer("body.1"), np.int64(1)):
        assert list(pl.attribute(net, x, "gradcam", layers=layer, normalized=True)) == ["body.1"]
        assert list(pl.attribute(net, x, "gradcam", layers=[layer, "body.1"], normalized=True)) == ["body.1"]
        assert pl.neurons(net, x, layer=layer, normalized=True).layer.name == "body.1"
        assert list(pl.capture(net, x, [layer]).activations) == ["body.1"]
        assert pl.Tail(net, x, layer).layer.name == "body.1"
        assert list(pl.propagate(net, x, layer, 0).relevance) == ["body.1"]
        explanation = pl.explain(
            net, x, layers=[layer], neuron_layer=layer, normalized=True, faithfulness=False
        )
        assert explanation.scores.layer.name == "body.1"
    (unit,) = pl.visualize(
        net, pl.Unit(module.body[0], 3), steps=12, octaves=1, region=False, progress=False
    ).labels
    assert unit == "body.0:3"


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.ReLU(), "a ReLU that is none of its"),
        (99, "position of a layer from 0 to"),
        (-99, "position of a layer from 0 to"),
        (True, "name, position or module"),
        (1.5, "name, position or module"),
    ],
)
def test_what_is_no_layer_is_said_in_a_line(layer, said):
    net, x = load(), torch.randn(1, *SHAPE)
    for call in (
        lambda: pl.attribute(net, x, "gradcam", layers=layer, normalized=True),
        lambda: pl.neurons(net, x, layer=layer, normalized=True),
        lambda: pl.Tail(net, x, layer),
    ):
        with pytest.raises((UnknownNameError, TypeError), match=said):
            call()


def test_a_module_with_no_map_is_named():
    module = Body().eval()
    with pytest.raises(UnknownNameError, match=r"a layer with a spatial map, got `fc`"):
        pl.attribute(
            pl.load(module, input_shape=SHAPE), torch.randn(1, *SHAPE), layers=module.fc, normalized=True
        )


def test_a_network_as_object_module_name_or_file():
    module = Body().eval()
    net = pl.load(module)
    x = torch.randn(1, *SHAPE)
    assert as_network(net) is net
    ours, theirs = (
        pl.attribute(each, x, "gradcam", "body.1", target=1, normalized=True)["body.1"]
        for each in (net, module)
    )
    assert torch.equal(ours.values, theirs.values)
    assert len(pl.neurons("scenes-resnet", np.zeros((128, 128, 3), np.uint8)).values) == 1
    assert pl.explain(module, x, normalized=True, faithfulness=False)
    with pytest.raises(UnknownNameError, match="did you mean `scenes-vgg`"):
        pl.attribute("scenes-vgh", x)
    with pytest.raises(TypeError, match=r"Expected a name, a file or an nn\.Module, got int"):
        pl.attribute(3, x)


def test_cam_and_relevance_behind_a_log_softmax_are_those_of_the_logits():
    x = torch.randn(2, *SHAPE)
    plain, log = load(), load(end=lambda z, y: y.log_softmax(1))
    for method in ("cam", "lrp", "relevance-cam", "cf-cam"):
        ours, theirs = (
            pl.attribute(net, x, method, "body.1", target=1, normalized=True)["body.1"]
            for net in (plain, log)
        )
        torch.testing.assert_close(ours.values, theirs.values, rtol=1e-4, atol=1e-6)
        assert theirs.notes == ()


@pytest.mark.parametrize(
    ("said", "meant"),
    [("grad-cam", "gradcam"), ("Grad-CAM", "gradcam"), ("grad_cam++", "gradcam++"), ("GradCAM++", "gradcam++"),
     ("shallowcam", "shallow-cam"), ("layer-cam", "layercam"), ("gradcam", "gradcam")],
)  # fmt: skip
def test_methods_are_known_by_every_usual_spelling(said, meant):
    assert canonical("attribution", said) == meant
    maps = pl.attribute(load(), torch.randn(1, *SHAPE), said, layers="body.1", target=0, normalized=True)
    assert maps["body.1"].method == meant
