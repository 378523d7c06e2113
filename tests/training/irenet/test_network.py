"""The network: twins of its parts, torchvision as oracle of the backbones, what pretrained files give."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pellucid.core.registry import UnknownNameError
from pellucid.training.irenet.build import (
    ARMS,
    NETWORKS,
    Architecture,
    build,
    load_convolutions,
    multiplications,
    parameters,
)
from pellucid.training.irenet.network import ECA, SIRM, STRIDES, IRENet, eca_kernel
from pellucid.zoo.checkpoint import CheckpointError
from pellucid.zoo.zoos import import_torchvision


def shaken(module, seed=0):
    """Every parameter and running mean random, so that nothing is hidden by a zero, a one or a dead rectifier."""
    dice = torch.Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=dice, dtype=value.dtype)
            scale = name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1)
            value.copy_(noise + 0.5 if scale else (noise - 0.4) / max(1, value[0].numel() ** 0.5))
    return module


def test_kernel_of_eca():
    assert {c: eca_kernel(c) for c in (1, 16, 64, 127, 128, 256, 512, 2048)} == {
        1: 1, 16: 3, 64: 3, 127: 3, 128: 5, 256: 5, 512: 5, 2048: 7,
    }  # fmt: skip
    with pytest.raises(ValueError, match="Expected at least one channel, got 0"):
        eca_kernel(0)


@pytest.mark.parametrize("channels", [4, 64, 128])
def test_eca_equals_its_twin(channels):
    attention = shaken(ECA(channels).double())
    x = torch.randn(2, channels, 3, 5, dtype=torch.float64)
    w, half = attention.conv.weight[0, 0].detach().numpy(), eca_kernel(channels) // 2
    expected = x.numpy().copy()
    for n in range(2):
        mean = [x[n, c].mean().item() for c in range(channels)]
        for c in range(channels):
            near = range(max(0, c - half), min(channels, c + half + 1))
            expected[n, c] *= 1 / (1 + math.exp(-sum(w[k - c + half] * mean[k] for k in near)))
    np.testing.assert_allclose(attention(x).detach().numpy(), expected, rtol=1e-12)


def test_sirm_equals_its_twin():
    part = shaken(SIRM(4).double()).eval()
    x = torch.randn(1, 4, 6, 5, dtype=torch.float64)
    looks = []
    for name, reach, step in (("point", 0, 1), ("near", 1, 1), ("wide", 1, 2)):
        convolution, norm, _ = getattr(part, name)
        w = convolution.weight.detach()
        for k in range(2):
            map_ = torch.zeros(6, 5, dtype=torch.float64)
            for i, j in np.ndindex(6, 5):
                for a, b in np.ndindex(2 * reach + 1, 2 * reach + 1):
                    down, right = i + step * (a - reach), j + step * (b - reach)
                    if 0 <= down < 6 and 0 <= right < 5:
                        map_[i, j] += (w[k, :, a, b] * x[0, :, down, right]).sum()
            map_ = (map_ - norm.running_mean[k]) / (norm.running_var[k] + norm.eps).sqrt()
            looks.append((map_ * norm.weight[k] + norm.bias[k]).clamp(min=0))
    joined = torch.einsum("ol,lij->oij", part.join.weight[:, :, 0, 0], torch.stack(looks))
    torch.testing.assert_close(part(x)[0], x[0] + joined + part.join.bias[:, None, None])


def test_a_fresh_sirm_changes_nothing():
    x = torch.randn(2, 6, 5, 5)
    assert torch.equal(SIRM(6)(x), x)


def test_plain_vgg16_is_torchvisions():
    """Keys and shapes at full width, and the very features with the same weights."""
    with torch.device("meta"):
        reference = import_torchvision().models.vgg16_bn(weights=None, init_weights=False).features
        module = IRENet(3, sirm=False, eca=False)
    names = {f"features.{key}": value.shape for key, value in reference.state_dict().items()}
    own = {key: value.shape for key, value in module.state_dict().items() if not key.startswith("classifier")}
    assert own == names
    small = shaken(IRENet(3, width=0.125, sirm=False, eca=False)).double().eval()
    weighted = (nn.Conv2d, nn.BatchNorm2d)  # the last max-pooling is left out: before GAP it is needless
    twin = [
        own if isinstance(part, weighted) else part
        for part, own in zip(reference, small.features, strict=False)
    ]
    x = torch.randn(1, 3, 32, 48, dtype=torch.float64)
    torch.testing.assert_close(small(x), small.classifier(nn.Sequential(*twin).eval()(x).mean((2, 3))))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101"])
def test_residual_networks_are_torchvisions(name):
    with torch.device("meta"):
        reference = import_torchvision().models.get_model(name, weights=None, num_classes=7)
        full, small = build(Architecture(name, 7)), build(Architecture(name, 7, 0.25))
    wanted = {key: value.shape for key, value in reference.state_dict().items()}
    assert {key: value.shape for key, value in full.state_dict().items()} == wanted
    assert list(small.state_dict()) == list(wanted)
    assert small.conv1.weight.shape == (16, 3, 7, 7)
    assert small.fc.in_features == reference.fc.in_features // 4
    assert parameters(small) < parameters(reference) / 10


def test_a_narrow_residual_network_computes_what_torchvisions_would():
    """The same blocks with the same weights in the order of torchvision's forward pass."""
    small = shaken(build(Architecture("resnet18", 3, 0.125)).double()).eval()
    x = torch.randn(1, 3, 40, 40, dtype=torch.float64)
    y = small.maxpool(small.bn1(small.conv1(x)).relu())
    for stage in (small.layer1, small.layer2, small.layer3, small.layer4):
        for block in stage:
            inner = block.bn2(block.conv2(block.bn1(block.conv1(y)).relu()))
            y = (inner + (y if block.downsample is None else block.downsample(y))).relu()
    torch.testing.assert_close(small(x), small.fc(y.mean((2, 3))))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network(name):
    module = build(Architecture(name, 5, 0.125)).double().eval()
    x = torch.randn(3, 3, 37, 50, dtype=torch.float64)
    together = module(x)
    assert together.shape == (3, 5)
    torch.testing.assert_close(together, torch.cat([module(one[None]) for one in x]))
    if name in ARMS:
        sirm, eca = ARMS[name]
        assert (sorted(module.sirm), sorted(module.eca)) == (["3", "4"] * sirm, ["3", "4"] * eca)


def test_multiplications_by_hand():
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    ).train()
    assert multiplications(module, 6) == 6 * 6 * 4 * 27 + 4 * 5
    assert module.training
    assert not any(part._forward_hooks for part in module.modules())
    # the published figure of VGG16's convolutions at 224 pixels is 15.3 thousand million
    with torch.device("meta"):
        full = build(Architecture("vgg16", 1000))
    hundredth = 15.3466e9 / (224 / 32) ** 2
    assert multiplications(full.to_empty(device="cpu"), 32) == pytest.approx(hundredth + 512 * 1000, rel=1e-3)


@settings(deadline=None, max_examples=6)
@given(st.sampled_from(STRIDES), st.integers(32, 50), st.integers(0, 3))
def test_maps_are_shares(grid, size, seed):
    module = shaken(IRENet(9, width=0.125, sizes=(3, 1, 2), grid=grid, depth=6), seed).double().eval()
    x = torch.randn(1, 3, size, size, dtype=torch.float64)
    maps = module.maps(x)
    assert maps.shape == (1, 6, size // grid, size // grid)
    logits, logs = module.both(x)
    torch.testing.assert_close(logits, module(x))
    torch.testing.assert_close(torch.cat([part[:, 1:].exp() for part in logs], 1), maps)
    for part, first, last in zip(logs, (0, 3, 4), (3, 4, 6), strict=True):
        none = part[:, 0].exp()
        torch.testing.assert_close(maps[:, first:last].sum(1) + none, torch.ones_like(none))


def test_maps_speak_for_the_labels():
    """A label's logit rises with its largest share; one without a map depends on the pooled features alone."""
    module = shaken(IRENet(4, width=0.125, sizes=(2, 1), grid=4, depth=6)).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        module.largest.fill_(1)
        module.area.fill_(0.1)
        before = module(x)
        module.where.linear.bias[1] += 3
    after = module(x)
    assert bool((after[:, 0] > before[:, 0] + 0.01).all())
    torch.testing.assert_close(after[:, 2:], before[:, 2:])


def pretrained(folder, name):
    """A file of a quarter-width network's weights, as torchvision would name them."""
    source = build(Architecture("resnet18" if name == "resnet18" else "vgg16", 5, 0.125))
    state = shaken(source).state_dict()
    if name == "vgg16":  # without batch normalization the places of the convolutions are others
        plain = [place for place, part in enumerate(source.features) if isinstance(part, nn.Conv2d)]
        old = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
        state = {
            f"features.{there}.{kind}": state[f"features.{here}.{kind}"]
            for here, there in zip(plain, old, strict=True)
            for kind in ("weight", "bias")
        }
    file = folder / f"{name}.pth"
    torch.save(state, file)
    return file, source


@pytest.mark.parametrize("name", ["vgg16", "vgg16_bn", "resnet18"])
def test_pretrained_convolutions(name, tmp_path):
    file, source = pretrained(tmp_path, name)
    module = build(Architecture("resnet18" if name == "resnet18" else "irenet", 3, 0.125))
    taken = load_convolutions(module, file)
    own, given = module.state_dict(), source.state_dict()
    kept = [key for key in own if key in given and torch.equal(own[key], given[key])]
    convolutions = [key for key, value in given.items() if value.ndim == 4]
    assert set(convolutions) <= set(kept)
    assert taken == {"vgg16": 26, "vgg16_bn": 78, "resnet18": 100}[name]
    assert not any(key.startswith(("classifier", "fc")) for key in kept)


def test_wrong_pretrained_files(tmp_path):
    file, _ = pretrained(tmp_path, "vgg16")
    with pytest.raises(
        CheckpointError,
        match=r"the 26 feature tensors of IRENet.*26 of another shape.*same network and",
    ):
        load_convolutions(build(Architecture("irenet", 3, 0.25)), file)
    file, _ = pretrained(tmp_path, "resnet18")
    with pytest.raises(CheckpointError, match="without 26 of them"):
        load_convolutions(build(Architecture("irenet", 3, 0.125)), file)
    with pytest.raises(CheckpointError, match="not there"):
        load_convolutions(build(Architecture("irenet", 3, 0.125)), tmp_path / "none.pth")


def test_architectures_that_cannot_be():
    with pytest.raises(UnknownNameError, match="did you mean `resnet50`"):
        Architecture("resnet5")
    with pytest.raises(ValueError, match=r"at least one label and a width in \(0, 4\], got 0 and 1"):
        Architecture(labels=0)
    with pytest.raises(ValueError, match="Expected maps of IRENet or one of its arms, got `resnet18`"):
        Architecture("resnet18", sizes=(3,))
    with pytest.raises(ValueError, match="Expected `grid` to be one of"):
        Architecture(sizes=(3,), grid=3)
    with pytest.raises(ValueError, match="Expected a network with maps"):
        IRENet(2, width=0.125).maps(torch.zeros(1, 3, 32, 32))
