"""A device without float64 gives the numbers of the processor, in every room."""

import pytest
import torch
from tests.devices import APPLE, OnApple, apple, moved
from tests.networks import ReusedReLU, images, lively

import pellucid as pl
from pellucid.core import precision
from pellucid.relevance import propagate

TARGETS = [1, 2]


def load(module):
    return pl.load(module, input_shape=(3, 32, 32))


@pytest.fixture(scope="module")
def here():
    return load(lively(ReusedReLU()))


@pytest.fixture
def there():
    with apple():
        yield load(moved(lively(ReusedReLU())))


def on_processor(values):
    return values.inner if isinstance(values, OnApple) else values.cpu()


def test_the_device_refuses_what_it_lacks():
    with apple():
        values = torch.zeros(3, device=APPLE)
        far = torch.zeros(2, dtype=torch.float64)
        for wide in (values.double, lambda: values.sum(dtype=torch.float64), lambda: far.to(APPLE)):
            with pytest.raises(TypeError, match="doesn't support float64"):
                wide()
        with pytest.raises(RuntimeError, match="on the same device"):
            values + torch.ones(3)
        assert precision.widest(APPLE) == torch.float32
        assert precision.exact(values).dtype == torch.float64
        assert precision.exact(values).device.type == "cpu"
    assert precision.widest(torch.device("cpu")) == torch.float64
    assert not precision.has_float64(torch.device("mps"))


@pytest.mark.parametrize("method", pl.names("attribution"))
def test_maps(method, here, there):
    x = images(2)
    try:
        expected = pl.attribute(here, x, method, target=TARGETS, normalized=True, progress=False)
    except ValueError:
        pytest.skip("not for this network")
    found = pl.attribute(there, x, method, target=TARGETS, normalized=True, progress=False)
    wide = method in ("clrp", "sglrp", "shallow-cam", "cf-cam", "hierarchical", "fg-cam", "relevance-cam")
    for layer, heatmap in expected.items():
        values = on_processor(found[layer].values)
        size = float(heatmap.values.abs().max())
        # where the processor walks in float64, small differences of large numbers are less exact on the device
        near = {"rtol": 0, "atol": size * 0.05} if wide else {"rtol": 1e-3, "atol": size * 1e-3}
        torch.testing.assert_close(values, heatmap.values, **near)
        assert found[layer].status == heatmap.status
        repr(found[layer])


@pytest.mark.parametrize("criterion", pl.names("neurons"))
def test_units(criterion, here, there):
    x, layer = images(2), "layer3"
    expected = pl.neurons(here, x, layer, TARGETS, criterion, normalized=True)
    found = pl.neurons(there, x, layer, TARGETS, criterion, normalized=True)
    size = float(expected.values.abs().max())
    torch.testing.assert_close(on_processor(found.values), expected.values, rtol=1e-3, atol=size * 1e-3)
    assert len(found.top(3)) == 3


@pytest.mark.parametrize(
    "metric", ["average-drop", "box", "energy", "insertion-deletion", "pointing", "top-mass"]
)
def test_measures(metric, here, there):
    x, maps = images(2), torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[:, 5:20, 8:28] = True
    expected = pl.evaluate(here, x, maps, metric, masks=masks, normalized=True)
    found = pl.evaluate(there, x, maps.to(APPLE), metric, masks=masks, normalized=True)
    assert repr(found) == repr(expected)


def test_randomization(there):
    assert pl.evaluate(there, images(2), "gradcam", "randomization", normalized=True) is not None


def test_where_relevance_goes(here, there):
    expected, found = (propagate(net, images(2), ["input", "layer2"], 1) for net in (here, there))
    for row, wanted in zip(found.conservation(1), expected.conservation(1), strict=True):
        for name in ("total", "bias", "absorbed", "beside"):
            assert abs(getattr(row, name) - getattr(wanted, name)) < 1e-4
    assert found.leaks() == expected.leaks()


def test_an_explanation(there):
    assert str(pl.explain(there, images(1), normalized=True)).startswith("class ")
