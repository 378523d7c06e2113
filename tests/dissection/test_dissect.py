"""The engine equals dissection spelled out, to the last pixel, in whole numbers."""

import numpy as np
import pytest
import torch
from tests.reference import dissection as literal
from torch import nn

import pellucid as pl
from pellucid.core.capture import capture
from pellucid.core.geometry import Geometry
from pellucid.core.layers import Layer
from pellucid.dissection import dissect, tensors
from pellucid.dissection.kernels import Found, Grid, Targets, mask_counts
from pellucid.dissection.placement import Placement
from pellucid.dissection.shards import Cells

LAYERS = ["1", "3"]


def spelled_out(net, source, layer, *, quantile, anchor="effective", ratio=2):
    """(thresholds, fit thresholds, counts of all, fit, held) without any shortcut."""
    used = [i for i in range(len(source)) if i not in source.damaged]
    size = tuple(net.input_shape[1:])
    grid = (size[0] // ratio, size[1] // ratio)
    batch = net.preprocess.normalize(torch.from_numpy(source.pictures[used]).permute(0, 3, 1, 2).contiguous())
    acts = capture(net, batch, [layer], gradients=False).activations[layer].float().numpy()
    fit = [source.split(i) == "fit" for i in used]
    pictures = [literal.regions(source.labels(i).maps, source.labels(i).whole, grid) for i in used]
    about = net.layer(layer)

    def counted(limits, chosen):
        masks = [
            [literal.mask(acts[k, u], limits[u], about, size, grid, anchor) for u in range(acts.shape[1])]
            for k in range(len(used))
            if chosen[k]
        ]
        return literal.counts(masks, [p for p, c in zip(pictures, chosen, strict=True) if c], source.concepts)

    everything = [True] * len(used)
    limits = [literal.threshold(acts[:, u].ravel(), quantile) for u in range(acts.shape[1])]
    inner = [literal.threshold(acts[fit][:, u].ravel(), quantile) for u in range(acts.shape[1])]
    return (
        np.array(limits), np.array(inner),
        counted(limits, everything), counted(inner, fit), counted(inner, [not f for f in fit]),
    )  # fmt: skip


def assert_counts(found, expected):
    for name, value in zip(("intersection", "activation", "truth"), expected, strict=True):
        np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)


@pytest.mark.parametrize("anchor", ["effective", "nominal", "paper"])
@pytest.mark.parametrize("quantile", [0.02, 0.2])
def test_every_count_equals_the_spelled_out_one(network, source, anchor, quantile):
    tables = dissect(network, source, LAYERS, quantile=quantile, anchor=anchor, progress=False)
    for layer in LAYERS:
        limits, inner, every, fit, held = spelled_out(
            network, source, layer, quantile=quantile, anchor=anchor
        )
        table = tables[layer]
        np.testing.assert_array_equal(table.thresholds, limits)
        np.testing.assert_array_equal(table.held_out.thresholds, inner)
        assert_counts(table.counts, every)
        assert_counts(table.held_out.fit, fit)
        assert_counts(table.held_out.held, held)
        assert every[0].sum() > 0


def same_bytes(one, other):
    """Are all numbers of two tables the same, bit by bit?"""

    def arrays(table):
        held, shown = table.held_out, table.examples
        yield from (table.thresholds, table.ranking, table.interval, held.thresholds)
        yield from (shown.images, shown.maxima, shown.masks)
        for counts in (table.counts, held.fit, held.held, *table.chance):
            yield from (counts.intersection, counts.activation, counts.truth)

    return all(
        a.tobytes() == b.tobytes() and a.shape == b.shape
        for a, b in zip(arrays(one), arrays(other), strict=True)
    )


def test_tensor_operations_count_the_same(network, source):
    one = dissect(network, source, LAYERS, quantile=0.05, draws=2, progress=False, kernel="compiled")
    other = dissect(network, source, LAYERS, quantile=0.05, draws=2, progress=False, kernel="tensor")
    assert all(same_bytes(one[name], other[name]) for name in LAYERS)


def test_pixels_at_the_threshold_are_outside():
    """Beyond the outermost centers a border cell's value is kept; where it is the threshold itself, nothing may exceed it."""
    layer = Layer("layer", "Conv2d", (1, 5, 5), Geometry((4.0, 4.0), (3.5, 3.5), (10.0, 10.0)))
    placement = Placement.of(layer, (24, 24), (12, 12))
    rows, columns = placement.rows, placement.columns
    grid = Grid(12, 5, rows.begins, rows.fraction, columns.begins, columns.fraction)
    planes = torch.randn(200, 5, 5, generator=torch.Generator().manual_seed(0))
    for plane in planes:
        limit = plane[-1, -1].reshape(1)
        expected = tensors.masks(plane[None], limit[:, None], placement)[0, 0].numpy()
        found, none = np.zeros((12, 12), np.bool_), np.zeros(1, np.int64)
        targets = Targets(limit.numpy(), np.zeros((1, 12, 12), np.int64), none, none)
        sums = Found(np.zeros((1, 1), np.int64), np.zeros(1, np.int64), found)
        mask_counts(plane.flatten().numpy(), np.arange(25), grid, targets, sums)
        np.testing.assert_array_equal(found, expected)
        assert not found[-2:, -2:].any()


@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_batches_do_not_matter(network, source, batch_size, monkeypatch):
    one = dissect(network, source, LAYERS, quantile=0.05, progress=False, batch_size=4)
    other = dissect(network, source, LAYERS, quantile=0.05, progress=False, batch_size=batch_size)
    assert all(same_bytes(one[name], other[name]) for name in LAYERS)


class Views(nn.Module):
    """Takes its input's memory for granted, as many modules do."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 5, 3, padding=1), nn.Linear(5 * 24 * 24, 3)

    def forward(self, x):
        return self.head(self.conv(x).relu().view(len(x), -1))


def test_a_network_that_needs_its_usual_memory_layout_gets_it(source):
    net = pl.load(Views().double(), preprocess=pl.Preprocess(24, 24, (0.5,) * 3, (0.25,) * 3))
    with pytest.raises(RuntimeError, match="view"):
        net(torch.zeros(2, 3, 24, 24).contiguous(memory_format=torch.channels_last))
    table = dissect(net, source, "conv", quantile=0.05, progress=False)["conv"]
    limits, _, every, _, _ = spelled_out(net, source, "conv", quantile=0.05)
    np.testing.assert_array_equal(table.thresholds, limits)
    assert_counts(table.counts, every)


def test_cells_are_the_same_in_either_memory_layout():
    rng = np.random.default_rng(0)
    for shape in ((3, 40, 6, 7), (2, 5, 1, 9), (1, 1, 4, 4)):
        acts = np.maximum(rng.standard_normal(shape), 0).astype(np.float32)
        low = rng.random(shape[1]).astype(np.float32) * 2
        most = acts.max((2, 3))
        one = Cells.above(acts, most, low)
        last = torch.from_numpy(acts).contiguous(memory_format=torch.channels_last).numpy()
        other = Cells.above(last, most, low)
        third = Cells(*tensors.collect(torch.from_numpy(acts), torch.from_numpy(most), torch.from_numpy(low)))
        for name in ("starts", "unit", "cell_starts", "cells", "values"):
            for found in (other, third):
                np.testing.assert_array_equal(getattr(one, name), getattr(found, name), err_msg=name)
                assert getattr(one, name).dtype == getattr(found, name).dtype
