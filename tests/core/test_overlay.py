"""A heatmap over its picture as a plain image."""

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.core.geometry import Geometry
from pellucid.core.layers import Layer
from pellucid.core.overlay import overlay
from pellucid.core.results import Heatmap


def heatmap(values, status="ok", stride=1.0, size=None):
    values = torch.as_tensor(values, dtype=torch.float32)[None]
    layer = Layer("x", "Conv2d", (1, *values.shape[1:]), Geometry(stride=(stride, stride)))
    return Heatmap(values, layer, "test", size or tuple(values.shape[1:]), (status,), ("fish",))


def drawn(values, shade=0, **options):
    view = Image.new("RGB", (4, 4), (shade,) * 3)
    return np.asarray(overlay(view, heatmap(values, **options))).astype(int)


def test_evidence_shines_and_the_rest_stays():
    values = torch.zeros(4, 4)
    values[1, 2] = 5.0
    values[3, 0] = 2.5
    found = drawn(values, shade=60)
    brightness = found.sum(2)
    assert (brightness > 180).nonzero()[0].tolist() == [1, 3]
    assert brightness[1, 2] == brightness.max() > 450
    assert brightness[1, 2] > brightness[3, 0] > 180
    rest = torch.ones(4, 4, dtype=torch.bool)
    rest[1, 2] = rest[3, 0] = False
    assert (found[rest.numpy()] == 60).all()


def test_more_evidence_is_never_darker_also_in_gray():
    values = torch.linspace(0, 1, 16).reshape(4, 4)
    gray = np.asarray(overlay(Image.new("RGB", (4, 4)), heatmap(values)).convert("L")).astype(int).ravel()
    assert (np.diff(gray) >= 0).all()
    assert len(set(gray.tolist())) > 12


def test_cells_lie_at_their_centers():
    """Two cells, centers at pixels 0 and 3 of a row of four: the value falls evenly between."""
    view = Image.new("RGB", (4, 1))
    values = heatmap(torch.tensor([[1.0, 0.0]]), stride=3.0, size=(1, 4))
    shown = np.asarray(overlay(view, values)).sum(2)[0].astype(int)
    assert (np.diff(shown) < 0).all()
    assert shown[3] == 0


@pytest.mark.parametrize("status", ["constant", "negative", "zero", "not finite"])
def test_a_map_that_cannot_be_read_leaves_the_picture(status):
    values = torch.rand(4, 4)
    if status == "not finite":
        values[0, 0] = torch.nan
    assert (drawn(values, shade=77, status=status) == 77).all()


def test_only_the_first_map_and_any_mode_and_size_of_picture():
    values = torch.stack([torch.eye(4), 1 - torch.eye(4)])
    both = Heatmap(values, heatmap(torch.eye(4)).layer, "test", (4, 4), ("ok", "ok"), ("a", "b"))
    view = Image.new("L", (12, 8), 30)
    found = overlay(view, both)
    assert (found.mode, found.size) == ("RGB", (12, 8))
    assert np.array_equal(np.asarray(found), np.asarray(overlay(view, both[0])))
