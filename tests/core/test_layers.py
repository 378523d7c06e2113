import pytest
import torch
from tests.networks import FAMILIES, SHAPE, Block, PlainNet, ReusedReLU, family, wrap
from torch import nn

import pellucid as pl
from pellucid.core.registry import UnknownNameError

STAGES = {
    "plain": ("features.5", "features.12", "features.19"),
    "inplace": ("features.3", "features.8", "features.13"),
    "residual": ("layer1", "layer2", "layer3"),
    "dense": ("dense1", "norm"),
    "shared": ("block", "block.relu"),
    "functional": ("conv1", "conv3"),
    "convolutional": ("features.1", "features.3"),
    "dropout": ("bn",),
}
ZOO = {
    "resnet18": ("relu", "layer1", "layer2", "layer3", "layer4"),
    "squeezenet1_1": ("features.1", "features.4", "features.7", "features.12"),
    "mobilenet_v3_small": ("features.0", "features.1", "features.3", "features.8", "features.12"),
    "shufflenet_v2_x0_5": ("conv1", "stage2", "stage3", "conv5"),
    "densenet121": (
        "features.relu0",
        "features.denseblock1",
        "features.denseblock2",
        "features.denseblock3",
        "features.norm5",
    ),
    "googlenet": ("conv1", "conv3", "inception3b", "inception4e", "inception5b"),
    "convnext_tiny": ("features.1", "features.3", "features.5", "features.7"),
}


@pytest.mark.parametrize("name", STAGES)
def test_stage_ends_of_small_families(name):
    assert family(name).default_layers == STAGES[name]


@pytest.mark.parametrize("name", ZOO)
def test_stage_ends_of_the_zoo(name):
    net = pl.load(f"torchvision:{name}")
    assert net.default_layers == ZOO[name]
    grids = [net.layer(layer).shape[1] for layer in net.default_layers]
    assert grids == sorted(set(grids), reverse=True)


@pytest.mark.parametrize("name", FAMILIES)
def test_layers_are_the_calls_that_give_a_map_in_order(name):
    net = family(name)
    assert [layer.index for layer in net.layers] == list(range(len(net.layers)))
    assert len({layer.name for layer in net.layers}) == len(net.layers)
    for layer in net.layers:
        assert net.layers[layer.name] == layer == net.layer(layer.name)
        assert layer.name in net.layers
        module = net.module.get_submodule(layer.name.split(":")[0])
        assert layer.kind == type(module).__name__
        assert layer.stride == layer.geometry.stride
        assert layer.receptive_field == layer.geometry.size


def test_reused_modules_are_numbered_and_the_bare_name_is_the_last_call():
    net = family("residual")
    assert [layer.name for layer in net.layers if "layer2.0.relu" in layer.name] == [
        "layer2.0.relu:0",
        "layer2.0.relu:1",
    ]
    last, bare = net.layer("layer2.0.relu:1"), net.layer("layer2.0.relu")
    assert (bare.name, bare.index, bare.geometry) == ("layer2.0.relu", last.index, last.geometry)
    assert net.layer("layer2.0.relu:0").receptive_field < last.receptive_field


def test_a_block_called_three_times():
    names = [layer.name for layer in family("shared").layers]
    assert (
        names.index("block:0")
        < names.index("block.conv1:1")
        < names.index("block:1")
        < names.index("block:2")
    )
    assert sum(name.startswith("block.relu:") for name in names) == 8


def test_the_input_is_a_layer():
    net = family("plain")
    assert net.layer("input").shape == SHAPE
    assert net.layer("input").geometry == pl.Geometry()
    assert "input" in net.layers
    assert "input" not in [layer.name for layer in net.layers]


def test_wrapped_networks_have_the_same_stages():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.ModuleDict({"backbone": ReusedReLU()})

        def forward(self, x):
            return self.model["backbone"](x * 2)

    assert wrap(Wrapped()).default_layers == tuple(f"model.backbone.{name}" for name in STAGES["residual"])
    assert wrap(nn.DataParallel(PlainNet())).default_layers == tuple(
        f"module.{name}" for name in STAGES["plain"]
    )
    assert wrap(nn.Sequential(ReusedReLU())).default_layers == tuple(
        f"0.{name}" for name in STAGES["residual"]
    )


def test_a_trunk_in_one_container_is_opened():
    trunk = nn.Sequential(*(Block(3 if i == 0 else 4, 4, 2) for i in range(3)))
    net = wrap(nn.Sequential(trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)))
    assert net.default_layers == ("0.0", "0.1", "0.2")


def test_another_input_size_has_other_grids():
    net = family("residual")
    assert net.layer("layer3").shape == (16, 8, 8)
    assert net.layers_at((48, 64))["layer3"].shape == (16, 12, 16)
    assert net.layers_at((48, 64))["layer3"].geometry == net.layer("layer3").geometry


def test_calls_whose_output_is_no_map_are_no_layers():
    names = [layer.name for layer in family("plain").layers]
    assert "pool" in names
    assert not [name for name in names if name.startswith("classifier")]


def test_unknown_layers_suggest_close_ones():
    net = family("residual")
    with pytest.raises(UnknownNameError) as caught:
        net.layer("layer22")
    assert str(caught.value).startswith(
        "Expected the name of a layer with a spatial map, got `layer22`; did you mean `layer2`"
    )
    with pytest.raises(KeyError, match=r"did you mean `layer1.0.relu:0` or"):
        net.layer("layer1.0.relu:7")


def test_networks_without_maps_say_so():
    net = wrap(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)))
    assert len(net.layers) == 0
    with pytest.raises(
        ValueError, match=r"^Expected a convolutional network, got `Sequential`, in which no module gives a"
    ):
        _ = net.default_layers
    with pytest.raises(UnknownNameError, match=r"try one of `input`"):
        net.layer("conv1")


def test_inspection_leaves_the_module_as_it_was():
    module = PlainNet().train()
    module.features[0].weight.requires_grad_(False)
    module.features[1].eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    flags = [child.training for child in module.modules()]
    random = torch.get_rng_state()
    pl.load(module, input_shape=SHAPE)
    assert [child.training for child in module.modules()] == flags
    assert [p.requires_grad for p in module.parameters()] == [False] + [True] * (
        len(list(module.parameters())) - 1
    )
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert all(p.grad is None and not vars(p) for p in module.parameters())
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in module.modules())


def test_an_exception_while_inspecting_leaves_no_hook():
    class Broken(PlainNet):
        def forward(self, x):
            self.features(x)
            raise KeyError("nothing there")

    module = Broken().train()
    with pytest.raises(
        ValueError, match=r"^Expected `Broken` to accept an input of 3x32x32, got KeyError: 'nothing there'; "
    ):
        pl.load(module, input_shape=SHAPE)
    assert module.training
    assert all(p.requires_grad for p in module.parameters())
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in module.modules())
