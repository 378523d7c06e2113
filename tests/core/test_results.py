"""Maps that know what the network saw, and results that print as a line."""

import numpy as np
import pytest
import torch
from PIL import Image
from tests.reference.models import Plain, lively

import pellucid as pl


@pytest.fixture
def net():
    return pl.load(
        lively(Plain()), preprocess=pl.Preprocess(32, 16, (0.0,) * 3, (1.0,) * 3), input_shape=(3, 16, 16)
    )


def photograph(width=96, height=64):
    """Red, with the middle square that the network sees (a crop of half the short side) in blue."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = 200
    pixels[height // 4 : 3 * height // 4, width // 2 - height // 4 : width // 2 + height // 4] = (0, 0, 200)
    return Image.fromarray(pixels)


def ones(heatmap):
    """The same map with one bright cell in the first row."""
    values = torch.zeros_like(heatmap.values)
    values[:, 0, 0] = 1
    from dataclasses import replace

    return replace(heatmap, values=values, status=("ok",) * len(values))


def first_map(net, images, **options):
    return next(iter(pl.attribute(net, images, "layercam", **options).values()))


def test_a_map_knows_what_the_network_saw(net):
    heatmap = first_map(net, photograph())
    seen = np.asarray(heatmap.views.seen(0))
    assert seen.shape == (16, 16, 3)
    assert abs(seen[2:-2, 2:-2, 2].astype(int) - 200).max() <= 1  # resizing mixes colors at the rim
    assert heatmap.overlay().size == (16, 16)


def test_on_the_whole_photograph_the_map_lies_where_the_network_looked(net):
    heatmap = ones(first_map(net, photograph()))
    drawn = np.asarray(heatmap.overlay(photograph())).astype(int)
    assert drawn.shape == (64, 96, 3)
    window = heatmap.views.placed(photograph())[1]
    assert window == (32.0, 16.0, 64.0, 48.0)
    brightest = np.unravel_index(drawn[16:48, 32:64].sum(2).argmax(), (32, 32))
    assert max(brightest) < 16  # the upper left quarter of what was seen
    outside = drawn[:, :32]
    assert (outside.max(2) - outside.min(2)).max() == 0  # grayed: the network did not see it


def test_a_picture_of_the_input_size_is_the_view_itself(net):
    heatmap = first_map(net, photograph())
    view = heatmap.views.seen(0)
    assert np.array_equal(np.asarray(heatmap.overlay(view)), np.asarray(heatmap.overlay()))


def test_plot_places_the_map(net):
    plt = pytest.importorskip("matplotlib.pyplot")
    heatmap = first_map(net, photograph())
    axes = heatmap.plot(photograph(), ax=plt.subplots()[1])
    picture, map_ = axes.get_images()
    assert picture.get_array().shape == (64, 96, 3)
    assert map_.get_extent() == pytest.approx([31.5, 63.5, 47.5, 15.5])
    assert axes.get_xlim() == (-0.5, 95.5)
    plt.close("all")


def test_maps_without_a_view(net):
    from pellucid.core.results import judged

    layer = net.layers[net.default_layers[0]]
    bare = judged(torch.rand(1, 4, 4), layer, "m", (16, 16), ("a",))
    with pytest.raises(ValueError, match="Expected a picture to draw the map"):
        bare.overlay()
    with pytest.raises(ValueError, match=r"Expected a map made by `pellucid\.attribute`"):
        bare.overlay(photograph())
    with pytest.raises(IndexError, match="Expected an image from 0 to 0, got 3"):
        bare.overlay(image=3)


def test_every_map_of_a_batch_has_its_own_picture(net):
    shades = [Image.new("RGB", (32, 32), (shade, 0, 0)) for shade in (10, 200)]
    heatmap = first_map(net, shades)
    assert [np.asarray(each.views.seen(0))[0, 0, 0] for each in heatmap] == [10, 200]
    assert np.asarray(heatmap.views.seen(1))[0, 0, 0] == 200


def test_results_print_as_a_line(net):
    heatmap = first_map(net, photograph())
    assert repr(heatmap).startswith("Heatmap(layercam at ")
    assert "tensor" not in repr(heatmap)
    assert heatmap._repr_png_().startswith(b"\x89PNG")
    scores = pl.neurons(net, [photograph(), photograph()])
    assert repr(scores).splitlines()[0].startswith("UnitScores(cgnis at ")
    assert len(repr(scores).splitlines()) == 3


@pytest.mark.parametrize("size", [(96, 64), (64, 96), (16, 16), (500, 375), (33, 200)])
@pytest.mark.parametrize(
    "preprocess",
    [pl.Preprocess.imagenet(), pl.Preprocess(32, 16, (0.5,) * 3, (0.5,) * 3), pl.Preprocess.scenes()],
)
def test_the_window_is_where_the_view_comes_from(size, preprocess):
    """A ramp over the picture is read in the view: its ends are the window's."""
    width, height = size
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, width).round()[None]
    ramp[..., 1] = np.linspace(0, 255, height).round()[:, None]
    view = np.asarray(preprocess.view(Image.fromarray(ramp))).astype(float)
    left, top, right, bottom = preprocess.window(width, height)
    middle = view.shape[0] // 2
    steps_x, steps_y = 255 / max(width - 1, 1), 255 / max(height - 1, 1)
    scale_x, scale_y = (right - left) / view.shape[1], (bottom - top) / view.shape[0]
    column, row = view.shape[1] // 3, view.shape[0] // 3
    expected_x = (left + (column + 0.5) * scale_x - 0.5) * steps_x
    expected_y = (top + (row + 0.5) * scale_y - 0.5) * steps_y
    assert abs(view[middle, column, 0] - expected_x) <= 2 * steps_x * max(scale_x, 1) + 2
    assert abs(view[row, middle, 1] - expected_y) <= 2 * steps_y * max(scale_y, 1) + 2
