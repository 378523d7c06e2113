"""Interpretable networks are networks: attribution, relevance, tails, dissection, pictures of units, `explain`, files."""

import pytest
import torch
from tests.interpretable.networks import TOP, held
from tests.networks import images

import pellucid as pl
from pellucid.core.capture import capture
from pellucid.core.storage import fingerprint
from pellucid.core.tail import Tail
from pellucid.data.preprocess import Preprocess
from pellucid.interpretable import Interpretation, Templates, interpret, maskings
from pellucid.relevance import propagate
from pellucid.training.weights import rounded
from pellucid.world import SceneDataset
from pellucid.zoo.interpretable.backbones import open_backbone
from pellucid.zoo.interpretable.saved import save_network

KINDS = {
    "paper": Templates(),
    "released": Templates(norm="l1", mode="released", position="centroid"),
}


@pytest.fixture(scope="module", params=KINDS)
def net(request):
    return pl.load(held(KINDS[request.param]), input_shape=(3, 32, 32))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """An embedded network made interpretable, saved and read again."""
    backbone = open_backbone("scenes-vgg")
    how = Interpretation(("features.30",), "features.30", 10, (128, 128), Templates())
    module = interpret(backbone.module, how).eval()
    file = tmp_path_factory.mktemp("saved") / "held.safetensors"
    save_network(
        file, rounded(module), name="held", architecture="scenes-vgg", how=how,
        classes=SceneDataset.classes, preprocess=backbone.preprocess,
    )  # fmt: skip
    return module, pl.load(file)


@pytest.mark.parametrize("method", pl.names("attribution"))
def test_every_attribution(net, method):
    if method == "cam":
        pytest.skip("a hidden layer in the head: CAM is not defined")
    before = fingerprint(net.module)
    values = pl.attribute(net, images(2), method=method, layers=[TOP], target=1, normalized=True)[TOP].values
    assert values.shape[0] == 2
    assert values.isfinite().all()
    assert fingerprint(net.module) == before


def test_relevance_takes_the_mask_for_a_constant(net):
    """Nothing is lost in the product of a map and its mask: whatever arrives above arrives below."""
    found = propagate(
        net, images(2), ["input", f"{TOP}.layer", f"{TOP}.masking"], target=1, composite="z-plus"
    )
    above, below = (found.relevance[f"{TOP}.{name}"] for name in ("masking", "layer"))
    torch.testing.assert_close(above, below)
    assert not found.unknown


@pytest.mark.parametrize("layer", [f"{TOP}.layer", f"{TOP}.masking", TOP, "features.12"])
def test_the_tail_behind_any_layer(net, layer):
    x = images(2)
    tail = Tail(net, x, layer)
    assert tail.cut
    torch.testing.assert_close(tail(tail.activation), net(x))
    assert not torch.allclose(tail(tail.activation * 0), net(x))


def test_gradients_are_those_of_a_fixed_mask(net):
    trace = capture(net, images(2), [f"{TOP}.masking", f"{TOP}.layer"], 1)
    masked, plain = (trace.activations[f"{TOP}.{name}"] for name in ("masking", "layer"))
    mask = torch.where(plain > 0, masked / plain.clamp_min(1e-12), 0)
    slope = trace.gradients[f"{TOP}.masking"] * mask
    torch.testing.assert_close(
        torch.where(plain > 0, trace.gradients[f"{TOP}.layer"], 0), slope, rtol=1e-4, atol=1e-7
    )


def test_a_saved_network_is_the_same(scenes):
    module, net = scenes
    assert net.classes == tuple(SceneDataset.classes)
    assert net.preprocess == Preprocess.scenes()
    assert [each.templates for each in maskings(net.module)] == [Templates(), Templates()]
    x = net.preprocess.normalize(SceneDataset("test", 2)[1][0][None])
    with torch.no_grad():
        torch.testing.assert_close(net(x), module(x))
    assert fingerprint(net.module) == fingerprint(module)


def test_explain(scenes):
    explained = pl.explain(
        scenes[1], SceneDataset("test", 1).rendering(0).image, faithfulness=False, methods=[]
    )
    assert explained.text


def test_dissect_neurons_and_visualize(scenes):
    net = scenes[1]
    table = pl.dissect(net, "scenes:test/0-7", layers=["features.30"])["features.30"]
    assert len(table) == 128
    x = net.preprocess.normalize(SceneDataset("test", 1)[0][0][None])
    scores = pl.neurons(net, x, layer="features.30", criterion="cgnis", normalized=True)
    assert scores.values.shape == (1, 128)
    painted = pl.visualize(net, pl.Unit("features.30", 3), method="pyramid", steps=4)
    assert torch.as_tensor(painted.images).isfinite().all()
