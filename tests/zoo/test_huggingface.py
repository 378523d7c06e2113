"""Classifiers of transformers: their answers, their processors' pixels, their names."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tests.networks import images

import pellucid as pl
from pellucid.core.registry import UnknownNameError
from pellucid.zoo.checkpoint import CheckpointError
from pellucid.zoo.zoos import import_torchvision

import_torchvision()
transformers = pytest.importorskip("transformers", reason="needs pellucid[hf]")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

NAMES = {0: "cat", 1: "dog, hound", 2: "owl"}


def resnet():
    return transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", id2label=NAMES
    )


def vit():
    return transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
    )


def saved(folder, config, processor=None):
    torch.manual_seed(3)
    module = transformers.AutoModelForImageClassification.from_config(config).eval()
    module.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return module


def picture(width, height):
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


PROCESSORS = {
    "vit": lambda: transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}),
    "bit": lambda: transformers.BitImageProcessorPil(
        size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}
    ),
    "convnext, cropped": lambda: transformers.ConvNextImageProcessorPil(
        size={"shortest_edge": 64}, crop_pct=0.875
    ),
    "convnext, squashed": lambda: transformers.ConvNextImageProcessorPil(size={"shortest_edge": 384}),
    "plain": lambda: transformers.ViTImageProcessorPil(
        size={"height": 32, "width": 32}, do_normalize=False, resample=3
    ),
    "scaled to ±1": lambda: transformers.ViTImageProcessorPil(
        size={"height": 32, "width": 32}, image_mean=[127.5] * 3, image_std=[127.5] * 3, do_rescale=False
    ),
}


@pytest.mark.parametrize("kind", PROCESSORS)
@pytest.mark.parametrize("size", [(90, 60), (48, 128), (64, 64)])
def test_pixels_are_the_processors_own(tmp_path, kind, size):
    processor = PROCESSORS[kind]()
    saved(tmp_path, resnet(), processor)
    shown = picture(*size)
    net = pl.load(tmp_path)
    expected = torch.as_tensor(np.asarray(processor(shown)["pixel_values"][0]))
    torch.testing.assert_close(net.preprocess(shown), expected.float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", [resnet, vit])
@pytest.mark.parametrize("prefix", ["", "hf:"])
def test_a_folder(tmp_path, config, prefix):
    processor = PROCESSORS["vit"]()
    module = saved(tmp_path, config(), processor)
    net = pl.load(f"{prefix}{tmp_path}")
    batch = images(2, (3, 32, 32))
    with torch.inference_mode():
        assert torch.equal(net(batch), module(batch).logits)
    assert net.classes == (tuple(NAMES.values()) if config is resnet else ("class 0", "class 1"))
    assert net.input_shape == (3, 32, 32)
    assert not net.notes


def test_it_can_be_explained(tmp_path):
    saved(tmp_path, resnet(), PROCESSORS["vit"]())
    net = pl.load(tmp_path)
    assert len(net.default_layers) >= 2
    maps = pl.attribute(net, picture(64, 64), method="gradcam", layers=net.default_layers[-1])
    assert all(torch.isfinite(each.values).all() for each in maps.values())


def test_no_processor_is_said(tmp_path):
    saved(tmp_path, resnet())
    assert "preprocessing was not given" in pl.load(tmp_path).notes[0]


def test_names_of_imagenet_are_plain(tmp_path):
    from pellucid.zoo.imagenet import imagenet_classes, torchvision_names

    labels = {index: f"{name}, and more" for index, name in enumerate(torchvision_names())}
    config = resnet()
    config.id2label = labels
    saved(tmp_path, config)
    assert pl.load(tmp_path).classes == imagenet_classes()


def changed(file, **facts):
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | facts), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "facts", "words"),
    [
        ("config.json", {"model_type": "nothing"}, "which makes none"),
        ("config.json", {"model_type": "bert"}, "which makes none"),
        ("config.json", {"hidden_sizes": [1 << 20, 1 << 20]}, "which makes none"),
        ("config.json", {"hidden_sizes": [8, 24]}, "of another shape"),
        ("preprocessor_config.json", {"size": {"height": -3, "width": 3}}, r"size\.height|size"),
        ("preprocessor_config.json", {"image_std": [0, 0, 0]}, "std to be positive"),
        ("preprocessor_config.json", {"size": {"height": 3, "width": 4}}, "not square"),
    ],
)
def test_configurations_that_cannot_be_used(tmp_path, name, facts, words):
    saved(tmp_path, resnet(), PROCESSORS["vit"]())
    changed(tmp_path / name, **facts)
    with pytest.raises(CheckpointError, match=words) as caught:
        pl.load(tmp_path)
    assert str(caught.value).startswith("Expected ")
    assert "\n" not in str(caught.value)


def test_what_is_not_there(tmp_path):
    saved(tmp_path, resnet())
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"Expected weights in `.*` \(model.safetensors"):
        pl.load(tmp_path)
    with pytest.raises(UnknownNameError, match=r"a name such as `hf:microsoft/resnet-50`, got `../x y`"):
        pl.load("hf:../x y")
    with pytest.raises(TypeError, match=r"got num_classes too; leave them out"):
        pl.load(f"hf:{tmp_path}", num_classes=3)


def test_nothing_is_downloaded_unasked(monkeypatch, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def snapshot(name, **options):
        asked.append(options["local_files_only"])
        raise hub.errors.LocalEntryNotFoundError("no")

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    with pytest.raises(ConnectionError, match=r'try `weights="DEFAULT"`'):
        pl.load("hf:microsoft/resnet-50")
    assert asked == [True]
