"""Every piece of a step against its literal twin in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import visualization as twin

from pellucid.visualization import colors, pyramids, spectrum, yosinski


def picture(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def near(found, wanted):
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("size", [(12, 12), (11, 16), (9, 13)])
def test_pyramid(size):
    one = picture(1, 1, *size)
    near(pyramids.smooth(one)[0, 0], twin.smooth(one[0, 0].numpy()))
    half = pyramids.reduce(one)
    near(half[0, 0], twin.reduce(one[0, 0].numpy()))
    near(pyramids.expand(half, size)[0, 0], twin.expand(half[0, 0].numpy(), size))
    for band, wanted in zip(pyramids.split(one, 2), twin.split(one[0, 0].numpy(), 2), strict=True):
        near(band[0, 0], wanted)


@given(st.integers(4, 40), st.integers(4, 40), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_a_pyramid_gives_its_picture_back(height, width, levels):
    one = picture(2, 3, height, width)
    bands = pyramids.split(one, levels)
    assert len(bands) == pyramids.depth((height, width), levels)
    torch.testing.assert_close(pyramids.merge(bands), one)


@given(st.integers(2, 33), st.integers(2, 33))
@settings(max_examples=30, deadline=None)
def test_a_constant_stays_one_in_both_directions(height, width):
    gray = torch.full((1, 3, height, width), 0.3, dtype=torch.float64)
    half = pyramids.reduce(gray)
    torch.testing.assert_close(half, torch.full_like(half, 0.3))
    torch.testing.assert_close(pyramids.expand(half, (height, width)), gray)


def test_balanced_gradient():
    g = picture(2, 3, 16, 18) * torch.tensor([1e-6, 50.0], dtype=torch.float64)[:, None, None, None]
    weights = (0.5, 1.0, 2.0)
    found = pyramids.balanced(g, 3, weights)
    for k in range(2):
        near(found[k], twin.balanced(g[k].numpy(), 3, weights))


def test_a_tiny_or_zero_gradient_is_normalized():
    g = picture(2, 3, 8, 8).float() * torch.tensor([1e-30, 0.0])[:, None, None, None]
    found = pyramids.normalized(g)
    assert found[0].square().mean().sqrt().item() == pytest.approx(1, rel=1e-4)
    assert (found[1] == 0).all()


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_picture_of_coefficients(size):
    z = torch.complex(picture(3, size[0], size[1] // 2 + 1), picture(3, size[0], size[1] // 2 + 1, seed=1))
    found = spectrum.inverse(z[None], size)
    near(found[0], np.stack([twin.picture_of(plane.numpy(), size) for plane in z]))
    near(spectrum.colored(found)[0], twin.colored(np.asarray(found[0])))


def test_colors_come_back():
    one = picture(2, 3, 4, 4)
    torch.testing.assert_close(colors.decorrelate(colors.correlate(one)), one)
    root = colors.matrix(one)
    torch.testing.assert_close(colors.natural(one), torch.einsum("ij,bjhw->bihw", root @ root.T, one))
    torch.testing.assert_close(colors.natural(colors.natural(one, 0.3), 0.7), colors.natural(one))
    gray = picture(2, 1, 4, 4)
    assert colors.correlate(gray) is gray
    assert colors.natural(gray) is gray


@pytest.mark.parametrize("size", [(8, 8), (9, 12), (10, 7)])
def test_the_law_has_the_contrast_asked_for(size):
    amplitude = spectrum.natural_amplitude(size, 3, contrast=1.5)
    phases = torch.fft.rfft2(picture(64, 3, *size)).angle()
    values = spectrum.inverse(torch.polar(amplitude.expand_as(phases), phases), size)
    assert values.mean((2, 3)).abs().max() < 1e-9
    assert values.square().mean().sqrt().item() == pytest.approx(1.5, rel=1e-9)


def test_measured_amplitude_is_that_of_the_pictures():
    one = torch.rand(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    amplitude = spectrum.measured(one)
    logits = colors.decorrelate((one / (1 - one)).log())
    back = spectrum.inverse(torch.polar(amplitude, torch.fft.rfft2(logits[0]).angle())[None], (8, 8))
    torch.testing.assert_close(back[0], logits[0] - logits[0].mean((1, 2), keepdim=True))


@pytest.mark.parametrize("preset", [1, 2, 3, 4])
@pytest.mark.parametrize("step", [3, 4])
def test_yosinski(preset, step):
    x, g = picture(2, 3, 9, 8), picture(2, 3, 9, 8, seed=1)
    found = yosinski.regularized(x, g, step, yosinski.PRESETS[preset])
    for k in range(2):
        near(found[k], twin.regularized(x[k].numpy(), g[k].numpy(), step, yosinski.PRESETS[preset]))
