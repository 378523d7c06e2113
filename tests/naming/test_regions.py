"""Regions that a map points at."""

import pytest
import torch

from pellucid.core.geometry import Geometry
from pellucid.core.layers import Layer
from pellucid.core.results import judged
from pellucid.naming import cells, class_regions, evidence_regions, regions
from pellucid.naming.regions import basins, guided

SIDE = 64


def bump(row, column, width, height=1.0):
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return height * torch.exp(-((y - row) ** 2 + (x - column) ** 2) / (2.0 * width**2))


def test_two_places_are_two_regions_and_the_stronger_comes_first():
    evidence = bump(16, 16, 6, 0.8) + bump(48, 48, 6, 1.0)
    first, second = evidence_regions(evidence)
    assert first.peak == (48, 48)
    assert first.mask[48, 48]
    assert not first.mask[16, 16]
    assert second.mask[16, 16]
    assert first.evidence > second.evidence
    assert not (first.mask & second.mask).any()
    assert 0.2 < first.share < 0.4  # half of a Gaussian lies above half of its height


def test_a_ripple_on_a_slope_is_no_region_of_its_own():
    evidence = bump(32, 32, 10) + 0.02 * torch.sin(torch.arange(SIDE) * 1.3)[None]
    assert len(evidence_regions(evidence)) == 1


def test_a_region_keeps_to_the_pictures_edge():
    picture = torch.zeros(3, SIDE, SIDE)
    picture[:, :, 32:] = 1
    evidence = bump(32, 40, 9)
    plain, outlined = evidence_regions(evidence)[0], evidence_regions(evidence, picture)[0]
    spill = [int(region.mask[:, :32].sum()) for region in (plain, outlined)]
    assert spill[1] < spill[0]


def test_a_map_without_evidence_has_no_regions():
    layer = Layer("a", "Conv2d", (1, 8, 8), Geometry((8.0, 8.0), (3.5, 3.5)))
    for values in (torch.zeros(1, 8, 8), -torch.ones(1, 8, 8), torch.ones(1, 8, 8)):
        assert regions(judged(values, layer, "test", (SIDE, SIDE), ("x",))) == []
    with pytest.raises(ValueError, match="at least one heatmap"):
        regions({})


def test_the_deepest_map_says_where():
    deep = Layer("deep", "Conv2d", (1, 8, 8), Geometry((8.0, 8.0), (3.5, 3.5)), index=9)
    shallow = Layer("shallow", "Conv2d", (1, 32, 32), Geometry((2.0, 2.0), (0.5, 0.5)), index=1)
    where, wrong = torch.zeros(1, 8, 8), torch.zeros(1, 32, 32)
    where[0, 2, 2], wrong[0, 25, 25] = 1, 1
    maps = {
        "deep": judged(where, deep, "test", (SIDE, SIDE), ("x",)),
        "shallow": judged(wrong, shallow, "test", (SIDE, SIDE), ("x",)),
    }
    only = regions(maps)
    assert len(only) == 1
    row, column = only[0].peak
    assert abs(row - 19.5) <= 4
    assert abs(column - 19.5) <= 4


def test_every_pixel_with_evidence_belongs_to_a_seed():
    evidence = (bump(20, 20, 8) + bump(50, 30, 5, 0.6)).double()
    labels, peaks = basins(evidence)
    assert len(peaks) == 2
    assert set(labels[evidence > 1e-6].unique().tolist()) == {1, 2}


def test_the_guided_filter_leaves_what_has_no_edges():
    values = torch.full((SIDE, SIDE), 0.3, dtype=torch.float64)
    guide = torch.rand(SIDE, SIDE, dtype=torch.float64)
    torch.testing.assert_close(guided(values, [guide]), values)


def test_regions_of_a_class_are_where_its_cells_score_high():
    from tests.naming.test_naming import CLASSES, Averaged
    from tests.networks import PlainNet, images, wrap

    net = wrap(Averaged(), classes=CLASSES)
    read = cells(net, images(1))
    target = int(read.output.argmax())
    for region in class_regions(read, target):
        share = read.shares(region.mask[None])[0]
        assert float((share * read.scores[target]).sum()) > float(read.scores[target].mean())
    with pytest.raises(ValueError, match="not linear"):
        class_regions(cells(wrap(PlainNet(), classes=CLASSES), images(1)), 0)
