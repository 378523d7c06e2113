import re

import numpy as np
import pytest
import torch
from tests.networks import (
    BinaryNet,
    DictNet,
    FullyConvolutional,
    GreyNet,
    Headed,
    ObjectNet,
    PlainNet,
    SigmoidNet,
    SoftmaxNet,
    TupleNet,
    family,
    images,
    wrap,
)
from torch import nn

import pellucid as pl
from pellucid.core.network import OutputError
from pellucid.core.registry import UnknownNameError
from pellucid.core.running import undisturbed

NAMES = ["cat", "dog", "Great Horned Owl", "car", "7"]


@pytest.fixture(scope="module")
def net():
    return wrap(PlainNet(), classes=NAMES)


def text(caught):
    return str(caught.value)


@pytest.mark.parametrize(
    ("target", "indices"),
    [
        (2, [2, 2, 2]),
        ("dog", [1, 1, 1]),
        ("DOG", [1, 1, 1]),
        ("great horned owl", [2, 2, 2]),
        ("3", [3, 3, 3]),
        ("7", [4, 4, 4]),  # a name that looks like a number is the name
        ([0, "dog", "4"], [0, 1, 4]),
        (("car", 2, 1), [3, 2, 1]),
        (torch.tensor([4, 0, 1]), [4, 0, 1]),
        (torch.tensor(3), [3, 3, 3]),
        (np.array([1, 2, 3]), [1, 2, 3]),
        (np.int64(2), [2, 2, 2]),
        ([np.int32(2), torch.tensor(1), 0], [2, 1, 0]),
    ],
)
def test_targets_of_all_kinds(net, target, indices):
    resolved = net.resolve_target(target, torch.zeros(3, 5))
    assert resolved.indices.tolist() == indices
    assert resolved.names == tuple(NAMES[i] for i in indices)
    output = torch.randn(3, 5)
    assert torch.equal(resolved.score(output), output[torch.arange(3), torch.tensor(indices)])


def test_no_target_means_the_predicted_class_of_every_image(net):
    output = torch.eye(5)[[3, 1, 1]]
    assert net.resolve_target(None, output).names == ("car", "dog", "dog")


def test_a_function_of_the_output_is_a_target(net):
    def margin(output):
        return output[:, 0] - output[:, 1]

    resolved = net.resolve_target(margin, torch.zeros(3, 5))
    output = torch.randn(3, 5)
    assert resolved.names == ("margin",) * 3
    assert torch.equal(resolved.score(output), output[:, 0] - output[:, 1])
    assert net.resolve_target(resolved, output) is resolved


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda o: o, r"\(3, 5\)"),
        (lambda o: o.sum(), r"\(\)"),
        (lambda o: 3.0, "float"),
        (lambda o: o[:2, 0], r"\(2,\)"),
    ],
)
def test_target_functions_give_one_number_per_image(net, function, got):
    expected = (
        rf"^Expected the target function to return one number per image, shape \(3,\), got {got}; try `lambda"
    )
    with pytest.raises(ValueError, match=expected):
        net.resolve_target(function, torch.zeros(3, 5)).score(torch.zeros(3, 5))


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (5, IndexError, "Expected a class index from 0 to 4 for `PlainNet`, got 5; try a class name."),
        (-1, IndexError, "Expected a class index from 0 to 4 for `PlainNet`, got -1; try a class name."),
        ("12", IndexError, "Expected a class index from 0 to 4 for `PlainNet`, got 12; try a class name."),
        ("²", UnknownNameError, "Expected a class of `PlainNet`, got `²`; "),
        ("--5", UnknownNameError, "Expected a class of `PlainNet`, got `--5`; "),
        ("+-3", UnknownNameError, "Expected a class of `PlainNet`, got `+-3`; "),
        ("9" * 5000, UnknownNameError, "Expected a class of `PlainNet`, got `999"),
        ("catt", UnknownNameError, "Expected a class of `PlainNet`, got `catt`; did you mean `cat`"),
        (
            [0, 1],
            ValueError,
            "Expected one target for each of 3 images, got 2; give one class for all, or a list",
        ),
        ([], ValueError, "Expected one target for each of 3 images, got 0; "),
        (1.0, TypeError, "Expected a class index or name, got 1.0 (float)."),
        (True, TypeError, "Expected a class index or name, got True (bool)."),
        ([0, None, 1], TypeError, "Expected a class index or name, got None (NoneType)."),
        (torch.zeros(3), TypeError, "Expected a class index or name, got 0.0 (float)."),
    ],
)
def test_wrong_targets(net, target, error, message):
    with pytest.raises(error) as caught:
        net.resolve_target(target, torch.zeros(3, 5))
    assert text(caught).startswith(message)


def test_a_target_of_another_batch_is_refused(net):
    other = net.resolve_target(0, torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"^Expected a target for each of 3 images, got 2\.$"):
        net.resolve_target(other, torch.zeros(3, 5))


def test_targets_can_be_repeated_and_picked(net):
    target = net.resolve_target(["cat", "dog"], torch.zeros(2, 5))
    assert target.repeat(2).names == ("cat", "dog", "cat", "dog")
    assert target.repeat(2).indices.tolist() == [0, 1, 0, 1]
    assert target[1].names == target[-1].names == ("dog",)
    assert target[-1].indices.tolist() == [1]
    assert target[0:2].names == ("cat", "dog")


def test_a_name_that_two_classes_have_is_no_name():
    net = wrap(Headed(3), classes=["crane", "maillot", "crane"])
    assert net.class_index("maillot") == 1
    with pytest.raises(UnknownNameError, match="got `crane`, which 0 and 2 have; try the index"):
        net.class_index("crane")


@pytest.mark.parametrize(
    ("module", "head", "classes"),
    [
        (PlainNet, "softmax", 5),
        (SoftmaxNet, "probabilities", 5),
        (SigmoidNet, "probabilities", 5),
        (BinaryNet, "binary", 2),
    ],
)
def test_the_head_is_found_out(module, head, classes):
    net = wrap(module())
    assert net.head == head
    assert len(net.classes) == classes
    assert net.probabilities(net(images(3))).shape == (3, classes)


def test_log_softmax_counts_as_logits():
    net = wrap(Headed(head=lambda out, x: out.log_softmax(1)))
    output = net(images(2))
    assert net.head == "softmax"
    torch.testing.assert_close(net.probabilities(output), output.exp())


def test_a_softmax_behind_reshapes_is_seen():
    net = wrap(Headed(head=lambda out, x: (out[:, :, None].softmax(1).squeeze(2), x)), output=0)
    assert net.head == "probabilities"


def test_probabilities_of_every_head():
    x = images(2)
    logits = wrap(Headed())
    assert torch.equal(logits.probabilities(logits(x)), logits(x).softmax(1))
    sigmoid = wrap(Headed(), head="sigmoid")
    assert torch.equal(sigmoid.probabilities(sigmoid(x)), sigmoid(x).sigmoid())
    ready = wrap(SoftmaxNet())
    torch.testing.assert_close(ready.probabilities(ready(x)), logits.probabilities(logits(x)))


@pytest.mark.parametrize("ready", [False, True])
def test_a_single_output_speaks_for_two_classes(ready):
    net = wrap(SigmoidNet(1) if ready else BinaryNet(), classes=["healthy", "ill"])
    output = net(images(4))
    positive = output[:, 0] if ready else output[:, 0].sigmoid()
    torch.testing.assert_close(net.probabilities(output), torch.stack([1 - positive, positive], 1))
    predicted = net.resolve_target(None, output)
    assert predicted.names == tuple("ill" if p > 0.5 else "healthy" for p in positive)
    assert torch.equal(net.resolve_target("ill", output).score(output), output[:, 0])
    assert torch.equal(net.resolve_target("healthy", output).score(output), -output[:, 0])
    both = net.resolve_target(["ill", 0, 1, "healthy"], output)
    assert torch.equal(both.score(output), output[:, 0] * torch.tensor([1, -1, 1, -1]))
    assert torch.equal(both[1].score(output[1:2]), -output[1:2, 0])


@pytest.mark.parametrize("count", [1, 3])
def test_squeezed_outputs_are_unsqueezed(count):
    binary = wrap(BinaryNet(squeezed=True))
    assert binary.head == "binary"
    assert binary(images(count)).shape == (count, 1)
    many = wrap(Headed(head=lambda out, x: out.squeeze()))
    assert many.head == "softmax"
    assert many(images(count)).shape == (count, 5)


@pytest.mark.parametrize("module", [TupleNet, DictNet, ObjectNet, lambda: DictNet("odd")])
def test_scores_are_found_in_what_is_returned(module):
    net, plain = wrap(module()), wrap(Headed())
    assert torch.equal(net(images(2)), plain(images(2)))
    assert pl.capture(net, images(2), ["conv2"]).gradients["conv2"].abs().sum() > 0


@pytest.mark.parametrize(
    ("module", "how"),
    [
        (TupleNet, 0),
        (DictNet, "logits"),
        (ObjectNet, "logits"),
        (TupleNet, lambda out: out[0]),
        (PlainNet, lambda out: out * 2),
    ],
)
def test_scores_are_picked_as_told(module, how):
    assert wrap(module(), output=how)(images(2)).shape == (2, 5)


@pytest.mark.parametrize(
    ("module", "how", "message"),
    [
        (
            TupleNet,
            3,
            "Expected `output=3` to pick the class scores, got a tuple of (tensor (1, 5), tensor (1, 8, "
            "16, 16)).",
        ),
        (
            DictNet,
            "logit",
            "Expected `output='logit'` to pick the class scores, got a dict with 'features': tensor",
        ),
        (ObjectNet, "scores", "Expected `output='scores'` to pick the class scores, got SimpleNamespace."),
        (PlainNet, lambda out: 3, "to pick a tensor, got int from tensor (1, 5)."),
        (
            PlainNet,
            lambda out: out[None, :, :],
            "Expected class scores [1 classes], got (1, 1, 5) from `PlainNet`; try `output=",
        ),
        (
            PlainNet,
            lambda out: out.repeat(2, 1),
            "Expected class scores [1 classes], got (2, 5) from `PlainNet`; ",
        ),
        (
            lambda: Headed(head=lambda out, x: {"a": out, "b": out}),
            None,
            "got a dict with 'a': tensor (1, 5), 'b': tensor (1, 5)",
        ),
        (
            lambda: Headed(head=lambda out, x: None),
            None,
            "Expected the network to return class scores [batch classes], got NoneType",
        ),
    ],
)
def test_outputs_in_which_no_scores_are_found(module, how, message):
    with pytest.raises(OutputError) as caught:
        wrap(module(), output=how)
    assert message in text(caught)


def test_a_fully_convolutional_head_is_averaged():
    maps, means = wrap(FullyConvolutional(pooled=False)), wrap(FullyConvolutional())
    assert torch.equal(maps(images(2)), means(images(2)))
    assert maps.default_layers == means.default_layers


def test_gray_input():
    net = wrap(GreyNet(), input_shape=(1, 32, 32))
    assert net.preprocess.channels == 1
    assert net(images(2, (1, 32, 32))).shape == (2, 5)
    assert net.layer("input").shape == (1, 32, 32)
    from PIL import Image

    assert net.preprocess(Image.new("RGB", (50, 40), "red")).shape == (1, 32, 32)


@pytest.mark.parametrize("size", [(32, 32), (37, 53), (64, 16)])
def test_any_input_size(size):
    net = family("residual")
    assert net(images(2, (3, *size))).shape == (2, 5)
    trace = pl.capture(net, images(2, (3, *size)), net.default_layers)
    for name, layer in trace.layers.items():
        assert trace.activations[name].shape == trace.gradients[name].shape == (2, *layer.shape)


def test_a_size_that_does_not_fit_is_explained():
    fixed = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 30 * 30, 4))
    net = wrap(fixed)
    with pytest.raises(ValueError) as caught:
        net.layers_at((40, 40))
    assert text(caught).startswith(
        "Expected `Sequential` to accept an input of 3x40x40, got RuntimeError: mat1 and mat2"
    )
    assert text(caught).endswith("try `input_shape=(channels, height, width)` or another size.")
    with pytest.raises(ValueError, match=r"Expected `Sequential` to accept an input of 3x224x224"):
        pl.load(fixed)


def test_class_names_are_counted():
    assert wrap(Headed()).classes == ("class 0", "class 1", "class 2", "class 3", "class 4")
    assert wrap(BinaryNet()).classes == ("negative", "positive")
    with pytest.raises(
        ValueError, match=r"^Expected 5 class names, one per output, got 3; check the list\.$"
    ):
        wrap(Headed(), classes=["a", "b", "c"])
    with pytest.raises(
        ValueError, match=r"got 1; a single-logit network has two classes, the negative first"
    ):
        wrap(BinaryNet(), classes=["ill"])


def test_an_unknown_head_is_refused():
    with pytest.raises(UnknownNameError) as caught:
        wrap(Headed(), head="sigmoids")
    assert text(caught) == "Expected the form of a head, got `sigmoids`; did you mean `sigmoid`?"


def test_calling_keeps_gradient_mode_and_training_flag():
    net = wrap(PlainNet())
    x = images(2).requires_grad_()
    assert net(x).requires_grad
    with torch.no_grad():
        assert not net(x).requires_grad
    net.module.train()
    net(x)
    assert net.module.training


def test_device_and_dtype_are_those_of_the_module():
    net = wrap(PlainNet().to(torch.bfloat16))
    assert (net.device.type, net.dtype) == ("cpu", torch.bfloat16)
    assert net(images(1)).dtype == torch.bfloat16
    assert net.probabilities(net(images(1))).dtype == torch.float32


def test_repr_tells_what_it_is():
    assert re.fullmatch(r"Network\('Headed', 5 classes, input 3x32x32, 5 layers\)", repr(wrap(Headed())))


def test_what_runs_is_in_evaluation_mode_and_frozen_and_the_module_is_not_touched():
    module = PlainNet().train()
    module.classifier[0].eval()
    module.classifier[0].weight.requires_grad_(False)
    flags = [child.training for child in module.modules()]
    wanted = [p.requires_grad for p in module.parameters()]
    state = torch.get_rng_state()

    def interrupted():
        with undisturbed(module) as running:
            assert not any(child.training for child in running.modules())
            assert not any(p.requires_grad for p in running.parameters())
            assert [child.training for child in module.modules()] == flags
            assert [p.requires_grad for p in module.parameters()] == wanted
            torch.rand(3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [child.training for child in module.modules()] == flags
    assert [p.requires_grad for p in module.parameters()] == wanted
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loaded_network_is_passed_through(net):
    assert pl.load(net) is net
    with pytest.raises(
        TypeError, match=r"^Expected a loaded network as it is, got classes too; load its module anew"
    ):
        pl.load(net, classes=NAMES)


def small(channels=3, *end):
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3), *end,
    ).eval()  # fmt: skip


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_part_that_hides_its_layers_is_named_with_what_to_do():
    image = torch.randn(1, 3, 16, 16)
    network = small()
    traced = nn.Sequential(torch.jit.trace(network[:4], image), *network[4:])
    with pytest.raises(
        ValueError, match=r"`0` is compiled by TorchScript; try the module it was made from\.$"
    ):
        pl.attribute(pl.load(traced, input_shape=(3, 16, 16)), image, "gradcam", normalized=True)


@pytest.mark.filterwarnings("ignore")  # torch's own, of exporting
def test_exported_programs_are_refused_in_every_form():
    network = small()
    program = torch.export.export(network, (torch.randn(1, 3, 16, 16),))
    flat, nested = program.module(), torch.export.unflatten(program)
    for form in (program, flat, nested, nn.Sequential(nested, nn.Identity())):
        with pytest.raises(TypeError, match=r"^Expected a module of Python code, got an exported program"):
            pl.load(form, input_shape=(3, 16, 16))
    assert len(pl.load(torch.fx.symbolic_trace(network), input_shape=(3, 16, 16)).layers) > 1


@pytest.mark.filterwarnings("ignore")  # torch's own, of quantization
def test_a_network_of_integers_is_refused_by_its_module():
    from torch.ao.quantization import QuantWrapper, convert, get_default_qconfig, prepare

    wrapped = QuantWrapper(small())
    wrapped.qconfig = get_default_qconfig(torch.backends.quantized.engine)
    ready = prepare(wrapped)
    ready(torch.randn(1, 3, 16, 16))
    with pytest.raises(
        ValueError, match=r"computes with integers; try the network before it was quantized\.$"
    ):
        pl.load(convert(ready), input_shape=(3, 16, 16))


def test_complex_class_scores_are_refused():
    class Complex(nn.Module):
        def forward(self, x):
            return torch.complex(x, x)

    net = pl.load(small(3, Complex()), input_shape=(3, 16, 16))
    for target in (None, 1):
        with pytest.raises(ValueError, match=r"^Expected real class scores from `Sequential`, got complex"):
            pl.attribute(net, torch.randn(1, 3, 16, 16), "gradcam", target=target, normalized=True)


def test_one_layer_is_asked_for_where_one_is_taken():
    net = pl.load(small(), input_shape=(3, 16, 16))
    with pytest.raises(ValueError, match=r"^Expected one layer, got 2 \(`1`, `3`\)"):
        pl.neurons(net, torch.randn(1, 3, 16, 16), layer=["1", "3"], normalized=True)


@pytest.mark.parametrize("channels", [2, 4, 13])
def test_pictures_for_any_number_of_channels(channels, tmp_path):
    net = pl.load(small(channels), input_shape=(channels, 16, 16))
    painted = pl.visualize(net, pl.Unit("1", 0), steps=2, progress=False)
    assert {picture.mode for picture in painted.pictures} == {"RGB"}
    assert f"of its {channels} channels" in " ".join(painted.notes)
    painted.save(tmp_path)
    images = torch.randn(1, channels, 16, 16)
    heatmap = pl.attribute(net, images, "gradcam", target=0, normalized=True)["3"]
    with pytest.raises(ValueError, match=r"^Expected a picture to draw the map of `3` on"):
        heatmap.overlay()


def test_scores_cast_to_float64_are_not_taken_for_coupled():
    from pellucid.core.answers import COUPLED, answers

    def rounded(size):  # as sums in another order differ in float32, or as the neighbors matter
        return lambda x: (x.mean((2, 3)) * (1 + size * (len(x) > 1))).double()

    assert answers(rounded(1e-6), (3, 8, 8), torch.zeros(1)).notes == ()
    assert answers(rounded(1e-1), (3, 8, 8), torch.zeros(1)).notes == (COUPLED,)
