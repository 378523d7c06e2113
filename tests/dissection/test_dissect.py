"""The engine equals dissection spelled out, to the last pixel, in whole numbers."""

import numpy as np
import pytest
from tests.reference import dissection as literal

from pellucid.capture import capture
from pellucid.dissection import dissect

LAYERS = ["1", "3"]


def spelled_out(net, source, layer, *, quantile, anchor="effective", ratio=2):
    """(thresholds, fit thresholds, counts of all, fit, held) without any shortcut."""
    used = [i for i in range(len(source)) if i not in source.damaged]
    size = tuple(net.input_shape[1:])
    grid = (size[0] // ratio, size[1] // ratio)
    batch = net.preprocess.normalize(
        __import__("torch").from_numpy(source.pictures[used]).permute(0, 3, 1, 2).contiguous()
    )
    acts = capture(net, batch, [layer], gradients=False).activations[layer].numpy()
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


@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_batches_do_not_matter(network, source, batch_size, monkeypatch):
    one = dissect(network, source, LAYERS, quantile=0.05, progress=False, batch_size=4)
    other = dissect(network, source, LAYERS, quantile=0.05, progress=False, batch_size=batch_size)
    assert all(same_bytes(one[name], other[name]) for name in LAYERS)
