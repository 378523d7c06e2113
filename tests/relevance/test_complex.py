"""Fourier layers: relevance passes complex numbers, conserves where the operations do, and says what had no rule."""

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.core.capture import capture
from pellucid.relevance import propagate


class Filter(nn.Module):
    """A global filter: product with weights in the frequency domain."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 30, 16, dtype=torch.cfloat) * 0.1)

    def forward(self, x):
        return torch.fft.irfft2(torch.fft.rfft2(x) * self.weight, s=x.shape[-2:])


class Convolved(nn.Module):
    """A fast Fourier convolution: real and imaginary parts as channels."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(16, 16, 1)

    def forward(self, x):
        given = torch.fft.rfft2(x, norm="ortho")
        parts = torch.relu(self.mix(torch.cat([given.real, given.imag], 1)))
        made = torch.complex(*parts.chunk(2, 1))
        return torch.fft.irfft2(made + given, s=x.shape[-2:], norm="ortho")


class Own(nn.Module):
    """A convolution with complex weights, and the size of what it gives."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(8, 8, 3, dtype=torch.cfloat)

    def forward(self, x):
        return self.mix(x.to(torch.cfloat)).abs()


class Pairs(nn.Module):
    """Complex numbers as pairs."""

    def forward(self, x):
        spectrum = torch.fft.fft2(x)
        return torch.view_as_real(spectrum).square().sum(-1).sqrt() + (spectrum * spectrum.conj()).real


LAYERS = (Filter, Convolved, Own, Pairs)


def network(kind):
    torch.manual_seed(0)
    end = (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    return pl.load(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), kind(), *end), input_shape=(3, 32, 32))


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    "method", ["gradcam", "lrp", "clrp", "relevance-cam", "shallow-cam", "fullgrad", "guided-backprop"]
)
def test_every_map_is_a_map(kind, method, images):
    net = network(kind)
    for heatmap in pl.attribute(net, images, method, target=1, normalized=True).values():
        assert heatmap.values.isfinite().all()
        assert not heatmap.values.is_complex()
    assert not any(layer.name == "2.mix" for layer in net.layers)


@pytest.mark.parametrize("kind", LAYERS)
def test_relevance_is_kept(kind, images):
    found = propagate(network(kind), images, ["input", "1"], 1, double=True)
    for row in found.conservation():
        assert abs(row.beside) < 1e-6
        assert abs(row.total + row.bias + row.absorbed - float(found.seed_total[0]) / row.seed) < 1e-6
    if kind in (Filter, Convolved):  # all linear but for rectifiers
        assert max(abs(row.absorbed) for row in found.conservation()) < 1e-4
    names = {"Filter": "fft_rfft2", "Convolved": "complex", "Own": "conv2d", "Pairs": "view_as_real"}
    assert names[kind.__name__] in found.unknown
    assert ("mul" in found.unknown) == (kind is Pairs)  # where two activations are multiplied


def test_what_is_linear_keeps_everything(images):
    """Of a network that is linear up to its last pooling, relevance is gradient times input, whatever way it takes."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 30, 16, dtype=torch.cdouble))

        def forward(self, x):
            spectrum = torch.fft.rfft2(x)
            pair = torch.complex(spectrum.imag * 0.3, spectrum.real) + spectrum * self.weight
            pair = torch.view_as_complex(torch.view_as_real(pair.conj() / (1 + 2j)))
            return torch.fft.irfft2(torch.cat([pair[:, :4], 1j * pair[:, 4:]], 1), s=x.shape[-2:])

    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3, bias=False), Mixed(), nn.Conv2d(8, 4, 5, 5), nn.Flatten(), nn.Linear(144, 3))
    module = nn.Sequential(*layers).double()
    module[2].bias.data.zero_()
    module[4].bias.data.zero_()
    net, x = pl.load(module, input_shape=(3, 32, 32)), images.double()
    found = propagate(net, x, ["input"], 1, composite="epsilon")
    expected = capture(net, x, ["input"], 1).gradients["input"] * x
    size = float(expected.abs().max())
    torch.testing.assert_close(found.relevance["input"], expected, rtol=0, atol=2e-3 * size)
    (row,) = found.conservation()
    assert abs(row.absorbed) < 1e-3


def test_the_noise_of_smoothgrad_has_its_own_type(images):
    net = network(Own)
    expected = pl.attribute(net, images, "smoothgrad", target=1, normalized=True, samples=2)["input"].values
    torch.set_default_dtype(torch.float64)
    try:
        found = pl.attribute(net, images, "smoothgrad", target=1, normalized=True, samples=2)["input"].values
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)
