"""Maps that know nothing: exact values against scipy and loops, and that they are the same for the same seed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from tests.networks import family, images
from tests.reference import localization as twin

import pellucid as pl
from pellucid.evaluation import controls as ctl


def test_every_control_is_finite_has_contrast_and_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    found = ctl.controls(images(3, (3, 20, 33)), seed=4)
    assert torch.equal(state, torch.get_rng_state())
    assert list(found) == ["random", "random-blurred", "center", "edges"]
    for values in found.values():
        assert values.shape == (3, 20, 33)
        assert values.dtype == torch.float32
        assert values.isfinite().all()
        assert (values.amax((1, 2)) > values.amin((1, 2))).all()
        assert (values >= 0).all()


def test_random_maps_depend_on_the_seed_and_not_on_the_count():
    assert torch.equal(ctl.random_maps(5, (7, 9), 3)[:2], ctl.random_maps(2, (7, 9), 3))
    assert not torch.equal(ctl.random_maps(1, (7, 9), 3), ctl.random_maps(1, (7, 9), 4))
    one, other = ctl.random_maps(2, (7, 9), 3)
    assert not torch.equal(one, other)
    assert torch.equal(ctl.random_blurred(5, (7, 9), 3)[:2], ctl.random_blurred(2, (7, 9), 3))


@pytest.mark.parametrize("size", [(9, 9), (8, 14), (1, 1)])
def test_the_center_is_the_middle(size):
    found = ctl.center_gaussian(size)
    assert torch.allclose(found, found.flip(0))
    assert torch.allclose(found, found.flip(1))
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in size)
    want = np.exp(-((rows[:, None] / (size[0] / 4)) ** 2 + (columns / (size[1] / 4)) ** 2) / 2)
    assert found.numpy() == pytest.approx(want, rel=1e-5)


def test_edges_are_scipys_sobel_of_the_luminance():
    picture = images(2, (3, 11, 17)).double()
    light = (picture.numpy() * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    want = [
        np.hypot(ndimage.sobel(one, 0, mode="nearest"), ndimage.sobel(one, 1, mode="nearest"))
        for one in light
    ]
    assert ctl.edges(picture).numpy() == pytest.approx(np.stack(want))
    grey = images(2, (1, 11, 17))
    assert torch.allclose(ctl.edges(grey), ctl.edges(grey.expand(-1, 3, -1, -1)), atol=1e-5)
    assert not ctl.edges(torch.full((1, 3, 8, 8), 0.5)).any()  # the border is no edge


@pytest.mark.parametrize("sigma", [0.6, 2.0, 30.0])
def test_blur_is_its_twin_and_scipys(sigma):
    values = images(1, (2, 6, 9))[0].double()
    found = ctl.blurred(values, sigma)
    assert found.numpy() == pytest.approx(np.stack([twin.blurred(one, sigma) for one in values.numpy()]))
    if sigma < 30:  # scipy's own radius grows with sigma: pictures of such size only

        def filtered(one):
            return ndimage.gaussian_filter(one, sigma, mode="constant", truncate=20)

        want = np.stack([filtered(one) / filtered(np.ones_like(one)) for one in values.numpy()])
        assert found.numpy() == pytest.approx(want)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.05, 50), st.floats(-3, 3))
def test_a_constant_stays_and_no_value_leaves_the_range(height, width, sigma, level):
    assert torch.allclose(ctl.blurred(torch.full((1, height, width), level), sigma), torch.tensor(level))
    values = images(1, (1, height, width))[0]
    found = ctl.blurred(values, sigma)
    assert found.min() >= values.min() - 1e-5
    assert found.max() <= values.max() + 1e-5


def test_blur_of_a_heatmap_is_on_its_own_grid_and_nan_stays_in_its_image():
    net = family("plain")
    heatmap = pl.attribute(net, images(2), "layercam", net.default_layers[0], normalized=True)
    heatmap = next(iter(heatmap.values()))
    found = ctl.blurred(heatmap, 1.5)
    assert torch.equal(found.values, ctl.blurred(heatmap.values, 1.5))
    assert found.layer == heatmap.layer
    assert found.method == "layercam, blurred 1.5"
    broken = heatmap.values.clone()
    broken[0, 0, 0] = float("nan")
    assert torch.equal(ctl.blurred(broken, 1.5)[1], found.values[1])
    assert torch.equal(ctl.blurred(heatmap.values, 0), heatmap.values)


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
def test_bad_sigma(sigma):
    with pytest.raises(ValueError, match="Expected `sigma`"):
        ctl.blurred(torch.zeros(1, 3, 3), sigma)
