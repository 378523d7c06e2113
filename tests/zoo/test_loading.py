import json
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.networks import SHAPE, Headed, PlainNet, images, lively
from torch import nn

import pellucid as pl
from pellucid.core.registry import UnknownNameError
from pellucid.zoo import embedded
from pellucid.zoo.checkpoint import CheckpointError
from pellucid.zoo.loading import read_classes
from pellucid.zoo.zoos import import_torchvision, zoo_names


@pytest.fixture(autouse=True)
def _no_downloads(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("this test must not download")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse, raising=False)


def text(caught):
    return str(caught.value)


def zoo_state(name, **options):
    models = import_torchvision().models
    module = models.get_model(name, weights=None, **options)
    return {key: value.clone() for key, value in lively(module).state_dict().items()}


def test_torchvision_is_imported_whatever_its_operators():
    torchvision = import_torchvision()
    assert import_torchvision() is torchvision
    assert torchvision.models.get_model("resnet18", weights=None)


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_the_guard_around_torchvision_is_still_needed(package):
    pytest.importorskip("timm")
    code = f"import warnings; warnings.simplefilter('ignore'); import {package}"
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    if plain.returncode == 0:
        pytest.skip(
            f"plain `import {package}` works here: once it does with every torch variant, the guard can go"
        )
    assert "torchvision::nms does not exist" in plain.stderr
    guarded = f"from pellucid.zoo.zoos import import_torchvision; import_torchvision(); {code}"
    subprocess.run([sys.executable, "-c", guarded], check=True, timeout=120)


def test_the_guard_declares_nothing_where_the_import_works():
    code = (
        "import sys, types, pellucid.zoo.zoos as l; sys.modules['torchvision'] = "
        "types.ModuleType('torchvision');"
        "assert l.import_torchvision() is sys.modules['torchvision']; assert not l._declared"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("name", embedded.NAMES)
def test_embedded_networks(name):
    if not embedded.weights_of(name).is_file():
        pytest.skip("the weights of this network are not in the tree; goes when they are")
    net = pl.load(name)
    assert net.name == name
    assert len(net.classes) == 10
    assert net.input_shape == (3, 128, 128)
    assert net(images(2, (3, 128, 128))).shape == (2, 10)
    assert pl.load(name, classes=list("abcdefghij")).classes == tuple("abcdefghij")


@pytest.mark.parametrize("name", embedded.ARCHITECTURES)
def test_a_file_that_names_its_architecture(name, tmp_path):
    module = lively(embedded.architecture(name)())
    state = {key: value.contiguous() for key, value in module.state_dict().items()}
    save_file(state, tmp_path / "mine.safetensors", {"architecture": name})
    net = pl.load(tmp_path / "mine.safetensors")
    assert torch.equal(net(images(1, (3, 128, 128))), module(images(1, (3, 128, 128))))
    assert net.default_layers == pl.load(module, input_shape=(3, 128, 128)).default_layers
    assert len(net.default_layers) >= 4


def test_a_file_that_names_a_zoo(tmp_path):
    state = zoo_state("shufflenet_v2_x0_5", num_classes=3)
    save_file(state, tmp_path / "w.safetensors", {"architecture": "torchvision:shufflenet_v2_x0_5"})
    net = pl.load(str(tmp_path / "w.safetensors"), classes=["a", "b", "c"])
    assert net.classes == ("a", "b", "c")


@pytest.mark.parametrize("metadata", [None, {"arch": "resnet18"}])
def test_a_file_without_architecture_says_what_to_try(tmp_path, metadata):
    save_file({"weight": torch.zeros(2)}, tmp_path / "w.safetensors", metadata)
    with pytest.raises(CheckpointError) as caught:
        pl.load(tmp_path / "w.safetensors")
    assert "try `pl.load('torchvision:resnet18', weights='w.safetensors')`" in text(caught)
    with pytest.raises(TypeError, match=r"Expected `weights` with the name of a network, got both"):
        pl.load(tmp_path / "w.safetensors", weights="other.pt")


def test_torchvision_without_weights_is_random_and_says_so():
    net = pl.load("torchvision:squeezenet1_1")
    assert net.name == "torchvision:squeezenet1_1"
    assert net.notes[0].startswith("random weights: give `weights=` a file")
    assert net.classes[:2] == ("class 0", "class 1")
    assert net.input_shape == (3, 224, 224)
    assert not net.module.training


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_torchvision_with_a_local_file(tmp_path, suffix):
    state, file = zoo_state("squeezenet1_1"), tmp_path / f"w{suffix}"
    save_file(state, file) if suffix == ".safetensors" else torch.save({"state_dict": state}, file)
    net = pl.load("torchvision:squeezenet1_1", weights=file)
    assert all(torch.equal(value, net.module.state_dict()[key]) for key, value in state.items())
    assert net.classes[0] == "tench"
    (note,) = net.notes
    assert note.startswith("preprocessing was not given: that of torchvision's own weights assumed")
    told = pl.load("torchvision:squeezenet1_1", weights=file, preprocess=pl.Preprocess.imagenet())
    assert told.notes == ()
    assert net.class_index("goldfish") == 1


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1", "densenet121", "shufflenet_v2_x0_5"])
def test_other_class_counts_fit(name, tmp_path):
    save_file(zoo_state(name, num_classes=7), tmp_path / "w.safetensors")
    net = pl.load(f"torchvision:{name}", weights=str(tmp_path / "w.safetensors"), input_shape=(3, 64, 64))
    assert net.classes == tuple(f"class {i}" for i in range(7))


@pytest.mark.parametrize("heads", [True, False])
def test_googlenet_with_and_without_auxiliary_heads(tmp_path, heads):
    torch.save(zoo_state("googlenet", aux_logits=heads, init_weights=False), tmp_path / "w.pt")
    net = pl.load("torchvision:googlenet", weights=tmp_path / "w.pt", input_shape=(3, 96, 96))
    assert net.module.transform_input, "the zoo's weights want the input of their first home"
    assert net.notes[0] == "googlenet: `transform_input=True` assumed, as with the zoo's own weights"
    assert len(net.default_layers) == 5


def test_a_file_with_the_zoos_name_gets_the_preprocessing_of_its_recipe(tmp_path):
    models = import_torchvision().models
    sizes = {}
    for entry in models.get_model_weights("mobilenet_v3_large"):
        file = tmp_path / entry.url.rsplit("/", 1)[1]
        torch.save(zoo_state("mobilenet_v3_large"), file)
        sizes[pl.load("torchvision:mobilenet_v3_large", weights=file).preprocess.resize] = entry.name
    assert sizes == {256: "IMAGENET1K_V1", 232: "IMAGENET1K_V2"}


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V1"])
def test_only_a_named_recipe_downloads(weights, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/nowhere/at/all")
    monkeypatch.setattr(torch.hub.os, "makedirs", lambda *a, **k: None)
    with pytest.raises(
        ConnectionError,
        match=r"^Expected to download the weights of `squeezenet1_1`, got OSError: this test must",
    ):
        pl.load("torchvision:squeezenet1_1", weights=weights)


def test_weights_that_are_no_file_are_not_looked_for_elsewhere():
    with pytest.raises(CheckpointError, match=r"Expected a weights file, got `imagenet`, which is not there"):
        pl.load("torchvision:squeezenet1_1", weights="imagenet")


def test_weights_of_another_network_are_counted(tmp_path):
    save_file(zoo_state("squeezenet1_1"), tmp_path / "w.safetensors")
    with pytest.raises(
        CheckpointError,
        match=r"Expected the .* tensors of ResNet, got 52 from .*: 102 missing \(conv1.weight, ",
    ):
        pl.load("torchvision:resnet18", weights=tmp_path / "w.safetensors")


@pytest.mark.parametrize("zoo", ["torchvision", "timm"])
def test_zoo_names_can_be_loaded(zoo):
    if zoo == "timm":
        import_torchvision()
        pytest.importorskip("timm", reason="timm is an extra")
    names = zoo_names(zoo)
    assert len(names) > 70
    assert f"{zoo}:resnet18" in names
    assert not [name for name in names if "fasterrcnn" in name or "fcn" in name]


def test_zoo_names_of_an_unknown_zoo():
    with pytest.raises(
        UnknownNameError, match=r"^Expected a zoo, got `torchvison`; did you mean `torchvision`\?$"
    ):
        zoo_names("torchvison")


def test_timm():
    import_torchvision()
    pytest.importorskip("timm", reason="timm is an extra")
    net = pl.load("timm:resnet10t", num_classes=4, input_shape=(3, 64, 64))
    assert net(images(2, (3, 64, 64))).shape == (2, 4)
    assert net.default_layers == ("act1", "layer1", "layer2", "layer3", "layer4")
    assert net.notes[0].startswith("random weights")
    with pytest.raises(UnknownNameError, match=r"Expected a timm model, got `resnet10x`; did you mean `"):
        pl.load("timm:resnet10x")
    with pytest.raises(
        UnknownNameError, match=r"Expected a timm model with its tag, got `resnet18.evil`; did you mean"
    ):
        pl.load("timm:resnet18.evil")


def test_timm_is_imported_behind_the_guard():
    import_torchvision()
    pytest.importorskip("timm", reason="timm is an extra")
    code = "import pellucid as pl; pl.load('timm:resnet10t', input_shape=(3, 64, 64))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_timm_with_a_local_file_of_other_classes(tmp_path):
    import_torchvision()
    timm = pytest.importorskip("timm", reason="timm is an extra")
    torch.save(timm.create_model("resnet10t", num_classes=3).state_dict(), tmp_path / "w.pt")
    assert len(pl.load("timm:resnet10t", weights=tmp_path / "w.pt", input_shape=(3, 64, 64)).classes) == 3


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("scenes-vg", "did you mean `scenes-vgg`"),
        ("resnet18", "got `resnet18`; try `torchvision:resnet18`."),
        ("torchvison:resnet18", "did you mean `torchvision:resnet18`"),
        ("torchvision:resnet19", "Expected a torchvision classifier, got `resnet19`; did you mean `resnet1"),
        ("torchvision:fcn_resnet50", "Expected a torchvision classifier, got `fcn_resnet50`; did you mean `"),
    ],
)
def test_unknown_names_suggest_close_ones(name, close):
    with pytest.raises(UnknownNameError) as caught:
        pl.load(name)
    assert close in text(caught)


def test_what_is_neither_name_nor_module():
    with pytest.raises(
        TypeError,
        match=r"^Expected a name, a file or an nn.Module, got int; try `pl.load\('scenes-vgg'\)`\.$",
    ):
        pl.load(3)


def test_a_live_module_is_used_as_it_is():
    module = PlainNet().train()
    net = pl.load(module, input_shape=SHAPE, classes=list("abcde"), name="mine")
    assert net.module is module
    assert module.training
    assert (net.name, net.classes) == ("mine", tuple("abcde"))
    assert net.notes == ("preprocessing was not given: ImageNet mean and standard deviation assumed",)
    assert net.preprocess.size == (32, 32)


@pytest.mark.parametrize(
    "options", [{"weights": "w.pt"}, {"device": "cpu"}, {"dtype": torch.float64}, {"num_classes": 3}]
)
def test_a_live_module_takes_no_options_that_change_it(options):
    with pytest.raises(
        TypeError, match=f"Expected a live module to be as it should be .*, got `{next(iter(options))}` too"
    ):
        pl.load(PlainNet(), input_shape=SHAPE, **options)


def test_a_live_module_with_bad_weights():
    module = PlainNet()
    module.features[0].weight.data[0] = float("nan")
    with pytest.raises(
        ValueError,
        match=r"NaN or infinity in 1 of 40 tensors \(features.0.weight\) of PlainNet; the training",
    ):
        pl.load(module, input_shape=SHAPE)
    lazy = nn.Sequential(nn.LazyConv2d(3, 3), nn.Flatten(), nn.Linear(3, 2))
    with pytest.raises(
        ValueError, match=r"Expected a module with weights, got the uninitialized `0.weight`; run it once"
    ):
        pl.load(lazy, input_shape=SHAPE)
    with torch.inference_mode():
        module = PlainNet()
    with pytest.raises(ValueError, match=r"got `features.0.weight`, made inside `torch.inference_mode\(\)`"):
        pl.load(module, input_shape=SHAPE)


def test_a_network_loaded_in_inference_mode_can_be_explained():
    with torch.inference_mode():
        net = pl.load("torchvision:squeezenet1_1", input_shape=(3, 64, 64))
        trace = pl.capture(net, images(1, (3, 64, 64)), net.default_layers)
    assert all(gradient.abs().sum() > 0 for gradient in trace.gradients.values())


def test_any_number_of_channels_for_tensors_that_are_ready():
    net = pl.load(Headed(channels=7), input_shape=(7, 32, 32))
    assert "mean 0.5 of all 7 channels assumed" in net.notes[0]
    for shape in ((2, 7, 32, 32), (7, 32, 32)):
        ready, unit = torch.randn(shape), torch.rand(shape)
        assert len(
            pl.attribute(net, ready, "gradcam", target=0, normalized=True)[net.default_layers[-1]]
        ) == len(ready.reshape(-1, 7, 32, 32))
        pl.neurons(net, unit, normalized=False)
    with pytest.raises(
        ValueError, match=r"float tensor \[batch 7 height width\] for a network of 7 channels, got a picture"
    ):
        pl.attribute(net, np.zeros((32, 32, 3), np.uint8), "gradcam")
    odd = pl.load(Headed(channels=7), input_shape=(7, 32, 32), preprocess=pl.Preprocess.imagenet())
    pl.attribute(odd, torch.randn(1, 7, 32, 32), "gradcam", normalized=True)


@pytest.mark.parametrize("shape", [(1, 16, 32, 32), (32, 32), 32, (3, 0, 32), (3, 2.5, 32)])
def test_another_form_of_input_is_said_in_a_line(shape):
    volumes = torch.nn.Sequential(
        torch.nn.Conv3d(1, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten()
    )
    with pytest.raises(ValueError, match=r"^Expected a network of images .*volumes \(Conv3d\)"):
        pl.load(volumes, input_shape=shape)
    with pytest.raises(ValueError, match=r"^Expected `input_shape` \(channels, height, width\)"):
        pl.load(Headed(), input_shape=shape)


def test_fields_of_the_preprocessing_are_changed_one_by_one():
    usual = pl.load("torchvision:squeezenet1_1").preprocess
    net = pl.load("torchvision:squeezenet1_1", preprocess={"mean": 0.5, "crop": 96, "resize": 100})
    assert net.preprocess.mean == (0.5,) * 3
    assert (net.preprocess.std, net.preprocess.size, net.preprocess.resize) == (usual.std, (96, 96), 100)
    gray = pl.load(Headed(channels=1), preprocess={"mean": 0.1, "std": 0.2, "crop": 32})
    assert (gray.preprocess.mean, gray.preprocess.std, gray.notes) == ((0.1,), (0.2,), ())
    with pytest.raises(ValueError, match=r"a field of `Preprocess`, got `maen`; did you mean `mean`"):
        pl.load(Headed(), preprocess={"maen": 1})


def test_gray_networks_of_timm():
    pytest.importorskip("timm", reason="timm is an extra")
    net = pl.load("timm:resnet10t", in_chans=1, num_classes=2)
    assert net.input_shape[0] == net.preprocess.channels == len(net.preprocess.mean) == 1
    assert pl.attribute(net, np.zeros((64, 64), np.uint8), "gradcam", target=0)


def test_another_input_shape_carries_the_preprocessing_along():
    net = pl.load("torchvision:squeezenet1_1", input_shape=(3, 112, 112))
    assert (net.preprocess.resize, net.preprocess.size) == (128, (112, 112))
    assert net.input_shape == (3, 112, 112)


def test_dtype_on_loading():
    net = pl.load("torchvision:squeezenet1_1", dtype=torch.float64, input_shape=(3, 64, 64))
    assert net(images(1, (3, 64, 64))).dtype == torch.float64


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.txt", "cat\n\n dog \nGreat Owl\n"),
        ("c.json", json.dumps(["cat", "dog", "Great Owl"])),
        ("c.json", json.dumps({"2": "Great Owl", "0": "cat", "1": "dog"})),
        ("c.json", json.dumps({"0": ["n1", "cat"], "1": ["n2", "dog"], "2": ["n3", "Great Owl"]})),
    ],
)
def test_class_files(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert read_classes(tmp_path / name) == ("cat", "dog", "Great Owl")
    assert read_classes(str(tmp_path / name)) == ("cat", "dog", "Great Owl")


def test_class_names_otherwise(tmp_path):
    assert read_classes(None) is None
    assert read_classes(["a", 3]) == ("a", "3")
    assert len(read_classes("imagenet")) == 1000
    with pytest.raises(
        ValueError,
        match=r'^Expected class names, a list, "imagenet" or a file, got `imagnet`, which is no file',
    ):
        read_classes("imagnet")
    for content in ("{", '{"a": "b"}'):
        (tmp_path / "c.json").write_text(content)
        with pytest.raises(
            ValueError,
            match=r"^Expected class names (in|by index in) `.*c.json`, ",
        ):
            read_classes(tmp_path / "c.json")
    with pytest.raises(ValueError, match=r"Expected 5 class names, one per output, got 2"):
        pl.load(PlainNet(), input_shape=SHAPE, classes=["a", "b"])
