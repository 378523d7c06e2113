"""Localization against twins that loop over pixels, and cases whose answer is known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from tests.reference import localization as twin

import pellucid as pl
from pellucid.core.geometry import Geometry
from pellucid.core.layers import Layer
from pellucid.core.results import Heatmap
from pellucid.evaluation import localization as loc
from pellucid.evaluation.metric import Case
from pellucid.evaluation.similarity import spearman, ssim

SIZE = (12, 20)
METRICS = [loc.Pointing(tolerance=2), loc.Energy(), loc.TopMass(), loc.Overlap(), loc.Box()]


def maps(count=3, size=SIZE, seed=0, levels=None):
    values = torch.randn(count, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values if levels is None else (values * levels).round() / levels


def masks(count=3, size=SIZE, seed=5):
    drawn = torch.zeros(count, *size, dtype=torch.bool)
    for i, (row, column) in enumerate(
        torch.randint(0, 6, (count, 2), generator=torch.Generator().manual_seed(seed))
    ):
        drawn[i, row : row + 5, column : column + 8] = True
        drawn[i, row, column] = False
    return drawn


def heatmap(values, geometry, size=SIZE):
    layer = Layer("conv", "Conv2d", (1, *values.shape[1:]), geometry)
    return Heatmap(values, layer, "any", size, ("ok",) * len(values))


def case(saliency, known, heatmap=None):
    images = torch.zeros(len(saliency), 3, *saliency.shape[1:])
    target = pl.Target(torch.zeros(len(saliency), dtype=torch.long), ("any",) * len(saliency))
    return Case(None, images, target, saliency, heatmap, known)


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("tolerance", [0, 1, 2.5, 15])
def test_pointing_is_its_twin(levels, tolerance):
    found = loc.pointing(maps(levels=levels), masks(), tolerance)
    want = [
        twin.pointing(*each, tolerance)
        for each in zip(maps(levels=levels).numpy(), masks().numpy(), strict=True)
    ]
    assert found.tolist() == pytest.approx(want)


def test_a_peak_just_outside_hits_within_the_tolerance_only():
    known = torch.zeros(1, *SIZE, dtype=torch.bool)
    known[0, 5, 5] = True
    peak = torch.zeros(1, *SIZE)
    peak[0, 5, 9] = 1
    assert [float(loc.pointing(peak, known, t)) for t in (0, 3.9, 4)] == [0, 0, 1]
    peak[0, 5, 5] = 1  # a tie: one of two on the mask
    assert float(loc.pointing(peak, known, 1)) == 0.5


def test_a_plateau_made_by_interpolation_counts_as_one_maximum():
    values = torch.zeros(1, 3, 5)
    values[0, 0, 0] = 0.7
    plateau = heatmap(values, Geometry((4, 4), (1.5, 1.5))).upsample()
    corner = torch.zeros(1, *SIZE, dtype=torch.bool)
    corner[0, 0, 0] = True
    assert (
        float(loc.pointing(plateau, corner, 0)) == 1 / 4
    )  # the corner cell's value is kept up to the border


def test_maxima_that_differ_by_rounding_are_ties():
    known = torch.zeros(1, *SIZE, dtype=torch.bool)
    known[0, 0, 0] = True
    peak = torch.zeros(1, *SIZE)
    peak[0, 0, 0], peak[0, 9, 9] = 1 - 2e-7, 1.0
    assert float(loc.pointing(peak, known, 0)) == 0.5
    peak[0, 0, 0] = 1 - 1e-5
    assert float(loc.pointing(peak, known, 0)) == 0


def test_regions_that_touch_at_a_corner_are_one():
    known = torch.zeros(1, *SIZE, dtype=torch.bool)
    known[0, :4, :4] = True
    diagonal = torch.eye(20)[None, :12] * known
    diagonal[0, 11, 18:] = 1
    assert float(loc.box_iou(diagonal, known, 0.15)) == 1


def test_energy_is_its_twin():
    found = loc.energy(maps(), masks())
    want = [twin.energy(*each) for each in zip(maps().numpy(), masks().numpy(), strict=True)]
    assert found.tolist() == pytest.approx(want)


def test_top_mass_is_its_twin_for_distinct_values_and_on_average_for_ties():
    for levels, close in ((None, 1e-12), (1, 0.01)):
        found = loc.top_mass(maps(levels=levels), masks())
        want = [
            twin.top_mass(*each) for each in zip(maps(levels=levels).numpy(), masks().numpy(), strict=True)
        ]
        assert found.tolist() == pytest.approx(want, abs=close)


@pytest.mark.parametrize("threshold", [0.15, 0.5, 1.0])
def test_iou_is_that_of_the_map_painted_in_boxes(threshold):
    # edges of cells at quarter pixels, which the twin's sub-pixels resolve; the grid leans within its stride
    geometry = Geometry((3.5, 4.0), (1.25, 2.0))
    cells = heatmap(maps(size=(3, 5)).abs(), geometry)
    grid = cells.grid
    want = [
        twin.iou(m, k, grid.start, grid.stride, threshold)
        for m, k in zip(cells.values.numpy(), masks().numpy(), strict=True)
    ]
    assert loc.iou(cells, masks(), threshold).tolist() == pytest.approx(want)


def test_iou_at_equal_area_is_its_twin():
    cells = heatmap(maps(size=(3, 5)), Geometry((4, 4), (1.5, 1.5)))
    found = loc.iou(cells, masks(), None)
    want = [twin.equal_area(m, k, (3, 5)) for m, k in zip(cells.values.numpy(), masks().numpy(), strict=True)]
    assert found.tolist() == pytest.approx([float(one) for one in want])


def test_the_attainable_iou_is_reached_by_the_masks_own_coverage_and_never_beaten():
    geometry = Geometry((4, 4), (1.5, 1.5))
    best = loc.best_iou(heatmap(maps(size=(3, 5)), geometry), masks())
    share = torch.nn.functional.avg_pool2d(masks()[:, None].double(), 4)[:, 0]
    assert loc.iou(heatmap(share, geometry), masks(), None).tolist() == pytest.approx(best.tolist())
    for seed in range(20):
        assert (loc.iou(heatmap(maps(size=(3, 5), seed=seed), geometry), masks(), None) <= best + 1e-12).all()


@pytest.mark.parametrize("threshold", [0.15, 0.4])
def test_boxes_are_their_twins(threshold):
    from pellucid.evaluation.controls import blurred

    smooth = blurred(maps(count=6, seed=3), 1.5)
    found = loc.box_iou(smooth, masks(6), threshold)
    want = [twin.box_iou(*each, threshold) for each in zip(smooth.numpy(), masks(6).numpy(), strict=True)]
    assert found.tolist() == pytest.approx(want)
    hit = loc.Box(threshold=threshold, least=0.3)(case(smooth, masks(6))).values["hit"]
    assert hit.tolist() == [float(one >= 0.3) for one in want]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_map_equal_to_the_mask_is_perfect(metric):
    solid = torch.zeros(2, *SIZE, dtype=torch.bool)
    solid[0, 2:5, 3:9] = solid[1, 7:, 15:] = True
    found = metric(case(solid.float(), solid))
    assert found.reasons == (None, None)
    for name in found.better:
        assert found.values[name].tolist() == [1, 1]
    inverse = metric(case((~solid).float(), solid))
    assert inverse.values[inverse.main][0] < 0.5 or metric.name == "pointing"


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_what_is_undefined_is_nan_with_its_reason_and_spoils_no_other(metric):
    saliency, known = maps(5).float(), masks(5)
    clean = metric(case(saliency, known))
    saliency[1, 3, 4] = float("nan")
    saliency[2] = 0.3
    known[3] = False
    found = metric(case(saliency, known))
    assert found.reasons == (None, "map is not finite", "map is constant", "mask without pixels", None)
    for name, each in found.values.items():
        assert each.dtype == torch.float64
        assert each.isnan().tolist() == [False, True, True, True, False]
        assert each[[0, 4]].tolist() == clean.values[name][[0, 4]].tolist()


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_all_negative_evidence(metric):
    found = metric(case(-maps().abs() - 1, masks()))
    needs_positive = metric.name in ("energy", "iou", "box")
    assert found.reasons == (("map has no positive saliency" if needs_positive else None),) * 3
    assert bool(found.values[found.main].isnan().all()) == needs_positive


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_batch_is_one_by_one_and_float32_is_close(metric):
    geometry = Geometry((4, 4), (1.5, 1.5))
    cells = heatmap(maps(size=(3, 5)).float(), geometry)
    whole = metric(case(cells.upsample(), masks(), cells))
    for i in range(3):
        one = metric(case(cells[i].upsample(), masks()[i : i + 1], cells[i]))
        for name in whole.values:
            assert one.values[name].tolist() == pytest.approx(
                whole.values[name][i : i + 1].tolist(), nan_ok=True
            )


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_masks_are_needed_and_have_the_maps_size(metric):
    with pytest.raises(ValueError, match="Expected masks"):
        metric(case(maps(), None))
    with pytest.raises(ValueError, match="Expected a mask for every map"):
        metric(case(maps(), masks()[:, :-1]))


@pytest.mark.parametrize(
    ("metric", "parameters"),
    [
        (loc.Pointing, {"tolerance": -1}),
        (loc.Pointing, {"tolerance": math.nan}),
        (loc.Overlap, {"threshold": 0}),
        (loc.Box, {"threshold": 1.5}),
        (loc.Box, {"least": 0}),
    ],
)
def test_bad_parameters(metric, parameters):
    with pytest.raises(ValueError, match=f"Expected `{next(iter(parameters))}`"):
        metric(**parameters)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100), st.integers(1, 5), st.integers(1, 7))
def test_scaling_a_map_changes_nothing_and_all_shares_stay_in_range(seed, scale, rows, columns):
    cells = heatmap(maps(size=(rows, columns), seed=seed), Geometry((12 / rows, 20 / columns), (5.5, 9.5)))
    for metric in METRICS:
        one = metric(case(cells.upsample(), masks(), cells))
        scaled = heatmap(cells.values * scale, cells.layer.geometry)
        other = metric(case(scaled.upsample(), masks(), scaled))
        for name in one.values:
            assert other.values[name].tolist() == pytest.approx(one.values[name].tolist(), nan_ok=True)
            known = one.values[name][~one.values[name].isnan()]
            assert ((known >= 0) & (known <= 1 + 1e-9)).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.floats(-30, 30), st.floats(0.5, 20), st.integers(1, 40))
def test_every_pixel_belongs_to_its_nearest_cell(cells, start, stride, extent):
    shares = loc.owned(cells, start, stride, extent)
    assert shares.sum(0).tolist() == pytest.approx([1.0] * extent)
    centers = start + stride * torch.arange(cells, dtype=torch.float64)
    distance = (torch.arange(extent, dtype=torch.float64)[:, None] - centers).abs()
    clear = distance.topk(min(2, cells), largest=False).values
    for pixel in range(extent):
        if cells == 1 or clear[pixel, 1] - clear[pixel, 0] > 1:  # the whole pixel is nearer
            assert float(shares[distance[pixel].argmin(), pixel]) == pytest.approx(1)


def test_only_the_thresholded_overlap_depends_on_how_values_are_scaled():
    cells = heatmap(maps(size=(3, 5)).abs(), Geometry((4, 4), (1.5, 1.5)))
    sharp = heatmap(cells.values**4, cells.layer.geometry)
    one, other = (loc.Overlap()(case(each.upsample(), masks(), each)).values for each in (cells, sharp))
    assert torch.equal(one["relative"], other["relative"])
    assert torch.equal(one["equal"], other["equal"])
    assert not torch.equal(one["iou"], other["iou"])


def test_highest_shares_ties_by_area():
    ties = torch.tensor([[[3.0, 1.0, 1.0, 0.0]]])
    area = torch.tensor([[1.0, 2.0, 2.0, 4.0]])
    assert loc.highest(ties, area, torch.tensor([3.0])).flatten().tolist() == [1, 0.5, 0.5, 0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=3, max_size=30), st.integers(0, 1000))
def test_spearman_is_scipys(row, seed):
    one = torch.tensor(row, dtype=torch.float64)
    other = torch.tensor(np.random.default_rng(seed).integers(-3, 4, len(row)), dtype=torch.float64)
    if one.unique().numel() == 1 or other.unique().numel() == 1:
        assert spearman(one[None], other[None]).isnan().all()
    else:
        want = spearmanr(one.numpy(), other.numpy()).statistic
        assert float(spearman(one[None], other[None])) == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("size", [(3, 4), (14, 9)])
def test_ssim_is_its_twin(size):
    one, other = maps(size=size).abs().clamp(max=1), maps(size=size, seed=1).abs().clamp(max=1)
    want = [twin.ssim(a, b) for a, b in zip(one.numpy(), other.numpy(), strict=True)]
    assert ssim(one, other).tolist() == pytest.approx(want)
    assert ssim(one, one).tolist() == pytest.approx([1, 1, 1])
