"""Wrapping and unwrapping by name, and what a masked layer does to its map and leaves alone."""

import copy
import io

import pytest
import torch
from tests.interpretable.networks import TOP, held, how, plain
from tests.networks import images, lively
from torch import nn

import pellucid as pl
from pellucid.core import documents
from pellucid.core.registry import UnknownNameError
from pellucid.core.storage import fingerprint
from pellucid.interpretable import Interpretation, Masking, Templates, interpret, learning, maskings, release
from pellucid.zoo.embedded import ScenesResNet


def test_a_map_is_its_peak_under_the_cone():
    masking = Masking(2, (4, 5), 1, Templates(beta=4), "layer").eval()
    x = torch.rand(3, 2, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = masking(x)
    for b in range(3):
        for f in range(2):
            row, column = divmod(int(x[b, f].argmax()), 5)
            for i in range(4):
                for j in range(5):
                    gap = ((i - row) ** 2 + (j - column) ** 2) ** 0.5
                    wanted = max(float(x[b, f, i, j]) * max(1 - 4 * gap / 5, -1), 0)
                    assert float(found[b, f, i, j]) == pytest.approx(wanted, abs=1e-12)


def test_no_gradient_passes_through_the_position():
    masking = Masking(1, (3, 3), 1, Templates(position="centroid"), "layer").eval()
    x = torch.rand(1, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    masked = masking(x)
    (slope,) = torch.autograd.grad(masked.sum(), x)
    torch.testing.assert_close(
        slope * x, masked
    )  # the mask itself: the map is linear in x where the mask is fixed


def test_wrapping_keeps_every_weight_and_release_gives_the_very_modules_back():
    module = plain()
    before, modules = fingerprint(module), dict(module.named_modules())
    values = {key: value.clone() for key, value in module.state_dict().items()}
    interpret(module, how(Templates(), layers=("features.2", TOP)))
    kept = {key.replace(".layer", ""): value for key, value in module.state_dict().items()}
    assert all(torch.equal(kept[key], value) for key, value in values.items())
    added = {key for key in module.state_dict() if key.replace(".layer", "") not in values}
    assert {key.rsplit(".", 1)[0] for key in added} == {
        "features.2.masking", f"{TOP}.masking", f"{TOP}.convolution", f"{TOP}.normalization", f"{TOP}.masking_above",
    }  # fmt: skip
    assert release(module) is module
    assert fingerprint(module) == before
    assert dict(module.named_modules()) == modules


def test_the_ordinary_twin_differs_in_masks_alone():
    ordinary, other = interpret(plain(), how(None)), interpret(plain(), how(Templates()))
    assert not maskings(ordinary)
    assert [each.place for each in maskings(other)] == [TOP, f"{TOP}.above"]
    shared = ordinary.state_dict()
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in shared.items())


def test_another_seed_another_convolution():
    one, two = (interpret(plain(), how(Templates()), seed=seed).state_dict() for seed in (0, 1))
    assert not torch.equal(one[f"{TOP}.convolution.weight"], two[f"{TOP}.convolution.weight"])


def test_a_network_without_normalization_gets_a_bias_instead():
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    interpret(module, Interpretation(("1",), "1", 2, (8, 8), Templates()))
    assert [name for name, _ in module[1].named_children()] == [
        "layer", "masking", "convolution", "rectifier", "masking_above"
    ]  # fmt: skip
    assert module[1].convolution.bias is not None


def test_a_residual_block_can_be_wrapped():
    module = lively(ScenesResNet(classes=3))
    interpret(module, Interpretation(("layer4",), "layer4", 3, (64, 64), Templates()))
    found = module(torch.rand(2, 3, 64, 64))
    assert found.shape == (2, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_memory_layout_and_batch_change_nothing(dtype):
    module, x = held().to(dtype), images(3).to(dtype)
    whole = module(x)
    torch.testing.assert_close(module(x.contiguous(memory_format=torch.channels_last)), whole)
    for index in range(3):
        torch.testing.assert_close(module(x[index : index + 1]), whole[index : index + 1])


def test_labels_are_for_training_alone():
    module, x = held(), images(4)
    labels = torch.tensor([0, 1, 2, 3])
    before = fingerprint(module)
    with learning(labels) as lesson:
        inside = module(x)  # in evaluation mode nothing is learned
    assert torch.equal(inside, module(x))
    assert not lesson.losses
    assert float(lesson.loss()) == 0
    module.train()
    module(x)  # training mode without labels: batch normalization moves, the masks' estimates do not
    assert all(int(each.steps) == 0 for each in maskings(module))
    assert fingerprint(module) != before


def test_a_lesson_is_over_after_an_exception():
    module = held().train()
    with pytest.raises(RuntimeError), learning(torch.zeros(2, dtype=torch.long)):
        raise RuntimeError
    module(images(2))
    assert all(int(each.steps) == 0 for each in maskings(module))


def test_copies_and_state_dicts_are_plain(tmp_path):
    module = held().train()
    with learning(torch.tensor([0, 1])) as lesson:
        module(images(2))
        twin = copy.deepcopy(module)  # also while a loss is in the graph
    assert lesson.losses
    assert fingerprint(twin) == fingerprint(module)
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=True).keys() == module.state_dict().keys()


def test_random_state_is_left_alone():
    module = plain()
    before = torch.get_rng_state()
    interpret(module, how(Templates()))(images(2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("layers", "above", "kind", "message"),
    [
        (("features.61",), None, UnknownNameError, "Expected the name of a layer, got `features.61`; did you mean "),
        ((TOP,), "features.2", UnknownNameError, "Expected the new convolution above one of the layers, got `features.2`"),
        ((), None, ValueError, "Expected at least one layer to make interpretable, got none"),
        (("features.15",), None, ValueError, "Expected a rectified map, got negative values from `features.15` (BatchNorm2d)"),
        (("classifier.0",), None, ValueError, "Expected a layer with a spatial map [batch channel h w], got (2, 24) from `cl"),
        ((TOP, "features.99"), None, UnknownNameError, "Expected the name of a layer, got `features.99`"),
    ],
)  # fmt: skip
def test_layers_of_the_wrong_kind(layers, above, kind, message):
    module = plain()
    before = list(dict(module.named_modules()))
    with pytest.raises(kind) as caught:
        interpret(module, how(Templates(), layers=layers, above=above))
    assert str(caught.value).startswith(message)
    assert list(dict(module.named_modules())) == before


def test_a_map_of_one_cell_has_no_place_to_hold():
    module = nn.Sequential(nn.Conv2d(3, 4, 8), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ValueError) as caught:
        interpret(module, Interpretation(("1",), None, 2, (8, 8), Templates()))
    assert str(caught.value) == (
        "Expected a map of several cells, got 1×1 from `1` (ReLU): there is no place to hold a filter to; "
        "try a lower layer or larger pictures."
    )


def test_a_layer_that_runs_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.relu(self.conv(self.relu(self.conv(x)))).mean((2, 3)))

    with pytest.raises(ValueError, match="Expected `relu` to run once in a pass, got several"):
        interpret(Twice(), Interpretation(("relu",), None, 2, (8, 8), Templates()))


def test_wrapping_twice_is_refused():
    module = held()
    for name in (TOP, f"{TOP}.layer"):
        with pytest.raises(ValueError, match="Expected a layer that is not interpretable yet, got"):
            interpret(module, how(Templates(), layers=(name,), above=None))


def test_learning_at_another_size_is_refused():
    module = held().train()
    with pytest.raises(ValueError) as caught, learning(torch.tensor([0, 1])):
        module(images(2, (3, 48, 48)))
    assert str(caught.value) == (
        f"Expected maps of 8×8 to learn from in `{TOP}`, got 12×12; try pictures of the size it was made for."
    )
    assert module.eval()(images(2, (3, 48, 48))).shape == (2, 5)  # masked all the same


def test_receptive_fields_and_layers_see_through_the_masks():
    net = pl.load(held(), input_shape=(3, 32, 32))
    below, masked, above = (net.layer(name) for name in (f"{TOP}.layer", f"{TOP}.masking", TOP))
    assert masked.geometry == below.geometry
    assert above.geometry.size[0] == below.geometry.size[0] + 2 * below.geometry.stride[0]
    assert net.default_layers[-1] == TOP


def test_an_interpretation_goes_through_json():
    for templates in (None, Templates(norm="l1", mode="released")):
        one = how(templates)
        assert documents.convert(documents.plain(one), Interpretation) == one
    with pytest.raises(documents.FlawError, match="above: expected a value, got none"):
        documents.convert({"layers": ["a"]}, Interpretation)
