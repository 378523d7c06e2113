"""Part interpretability and location instability: by hand, against the literal twin, and what may not change them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.interpretable.parts import made, twin
from tests.networks import InplaceNet, family, wrap

from pellucid.core.capture import capture
from pellucid.core.registry import UnknownNameError
from pellucid.interpretable.parts import Part, PartKey, PartSettings
from pellucid.interpretable.parts import parts as measure_parts
from pellucid.interpretable.parts.spread import distances, spread, spread_draws

QUIET = {"resamples": 0, "draws": 0, "progress": False}
DIAGONAL = 16 * 2**0.5
FEW = 6  # filters the twin is asked about


@pytest.fixture(scope="module")
def by_hand():
    """Red is brightest at cells (0, 0), (0, 0), (2, 1), whose centers are (2, 2), (2, 2), (10, 6) as y, x from the corner."""
    mask = made.box_mask(0, 0, 4, 8)  # holds cell (0, 0): IoU 16 / 32
    wide = made.box_mask(0, 0, 16, 16)  # IoU 16 / 256
    pictures = (
        made.parted(
            made.lit([(0, 0, 250), (3, 3, 90)]), {"head": Part(mask, landmark=(2, 2)), "body": Part(wide)}
        ),
        made.parted(made.lit([(0, 0, 200)]), {"head": Part(mask, landmark=(5, 6)), "body": Part(wide)}),
        made.parted(made.lit([(2, 1, 150)]), {"head": Part(mask, landmark=(14, 4))}),
        made.parted(made.lit([]), {"head": Part(mask, landmark=(1, 1))}),
    )
    return made.Made("hand", {"bird": ("head", "body")}, pictures=pictures)


def test_the_numbers_are_those_worked_out_by_hand(by_hand):
    # 64 cells, 5 % are 3.2: the threshold is the 4th largest value, 90 / 255, and three cells are valid
    table = measure_parts(
        made.spots(), "pool", by_hand, quantile=0.05, regions=("cells", "upsampled"), **QUIET
    )
    assert table.thresholds[0] == np.float32(np.float32(90) / np.float32(255))
    assert table.keys == (PartKey("bird", "head"), PartKey("bird", "body"))
    np.testing.assert_array_equal(table.masked, [4, 2])
    np.testing.assert_array_equal(table.landmarked, [4, 2])
    np.testing.assert_array_equal(table.probability["cells"][0], [2 / 4, 0])
    # head: distances 0, 5, 10 pixels (the dark picture has no position); body: |(8, 8) − (2, 2)| twice
    np.testing.assert_allclose(table.spread[0], [5 / DIAGONAL, 0], rtol=1e-12)
    np.testing.assert_array_equal(table.used[0], [3, 2])
    assert table.instability[0] == pytest.approx(2.5 / DIAGONAL)
    assert table.meaning(0) == PartKey("bird", "head")
    assert table.nearest(0) == PartKey("bird", "body")
    assert table.interpretability("cells")[0] == 0.5
    # green never shows: no valid cell, no position
    assert table.meaning(1) is None
    assert table.interpretability()[1] == 0
    assert np.isnan(table.instability[1])
    assert table.summary()["instability_filters"] == 1
    assert table.facts["without_position"] == 9


def test_a_mark_in_the_middle_is_a_control(by_hand):
    table = measure_parts(made.spots(), "pool", by_hand, **QUIET)
    far = [np.hypot(8 - x, 8 - y) for x, y in ((2, 2), (5, 6), (14, 4), (1, 1))]
    np.testing.assert_allclose(table.center_spread, [np.std(far, ddof=1) / DIAGONAL, 0], atol=1e-12)
    assert table.summary()["instability_of_center"] == pytest.approx(np.std(far, ddof=1) / DIAGONAL / 2)


def test_only_the_most_active_pictures_count(by_hand):
    table = measure_parts(made.spots(), "pool", by_hand, quantile=0.05, most_active=2, **QUIET)
    np.testing.assert_allclose(table.spread[0, 0], np.std([0, 5], ddof=1) / DIAGONAL, rtol=1e-12)
    assert table.used[0, 0] == 2


def test_a_part_seen_in_too_few_pictures_is_left_out(by_hand):
    table = measure_parts(made.spots(), "pool", by_hand, quantile=0.05, regions=("cells",), fewest=3, **QUIET)
    assert np.isnan(table.probability["cells"][0, 1])
    assert np.isnan(table.spread[0, 1])
    assert table.instability[0] == pytest.approx(5 / DIAGONAL)
    np.testing.assert_array_equal(table.masked, [4, 2])


def literal(net, source, layer, table, region, **options):
    """The twin's answer from maps, masks and landmarks worked out here."""
    size = tuple(net.input_shape[1:])
    maps, kinds, masks, landmarks = [], [], [], []
    for one in source:
        height, width = one.image.image.size[::-1]
        maps.append(
            capture(net, net.preprocess(one.image)[None].to(net.dtype), [layer], gradients=False)
            .activations[layer][0, :FEW]
            .numpy()
        )
        kinds.append(one.object_class)
        scale = size[0] / height, size[1] / width  # the whole picture is squashed
        rows, columns = ((np.arange(n) + 0.5) * k // n for n, k in zip(size, (height, width), strict=True))
        masks.append(
            {
                n: p.region((height, width))[np.ix_(rows.astype(int), columns.astype(int))]
                for n, p in one.parts.items()
            }
        )
        points = {name: part.point() for name, part in one.parts.items()}
        landmarks.append(
            {
                n: (p[0] * scale[1] - 0.5, p[1] * scale[0] - 0.5)
                for n, p in points.items()
                if p and p[0] >= 0 and p[1] >= 0
            }
        )
    facts = table.facts
    geometry = {"start": facts["start"], "stride": facts["stride"], "size": facts["receptive_field"]}
    return twin.measured(maps, kinds, masks, landmarks, table.keys, geometry, size, region=region, **options)


@pytest.mark.parametrize("region", ["upsampled", "receptive-field", "effective-field", "cells"])
def test_all_is_as_the_literal_twin_has_it(region):
    net = wrap(InplaceNet().double())
    source = made.noise(12)
    source.view = "whole"
    net.preprocess = made.Preprocess(None, (32, 32), (0.4,) * 3, (0.3,) * 3, crop_mode="squash")
    layer = net.default_layers[-1]
    options = {"quantile": 0.03, "iou": 0.1}
    table = measure_parts(
        net, layer, source, regions=(region,), most_active=3, batch_size=5, field=0.3, **options, **QUIET
    )
    assert table.classes == ("bird", "fish")
    thresholds, shares, spreads = literal(net, source, layer, table, region, most=3, **options)
    np.testing.assert_allclose(table.thresholds[:FEW], thresholds, rtol=1e-6)
    np.testing.assert_allclose(table.spread[:FEW], spreads, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(table.probability[region][:FEW], shares)
    assert (np.array(shares) > 0).any()
    assert (table.landmarked > 3).any()


@pytest.mark.parametrize("anchor", ["effective", "nominal"])
def test_cells_lie_where_the_layer_says(anchor):
    net = family("residual")  # strided convolutions: the two differ
    layer = net.layer("layer3")
    table = measure_parts(net, "layer3", made.noise(4), anchor=anchor, **QUIET)
    geometry = (
        layer.geometry.effective(layer.shape[1:], (32, 32)) if anchor == "effective" else layer.geometry
    )
    assert table.facts["start"] == list(geometry.start)
    assert (layer.geometry.effective(layer.shape[1:], (32, 32)) != layer.geometry) is True


def test_several_layers_in_one_pass_are_each_as_alone():
    net = family("plain")
    names = net.default_layers[-2:]
    both = measure_parts(net, names, made.noise(7), **QUIET)
    assert tuple(both) == tuple(names)
    for name in names:
        same(both[name], measure_parts(net, name, made.noise(7), **QUIET))


@pytest.mark.parametrize("size", [1, 3, 64])
def test_batches_change_nothing(size):
    source = made.noise(9, size=(16, 16))
    options = {"resamples": 20, "progress": False}
    same(measure_parts(made.spots(), "pool", source, batch_size=size, **options),
         measure_parts(made.spots(), "pool", source, batch_size=4, **options))  # fmt: skip


def same(one, other):
    """Equal to the last bit."""
    for name in (
        "pictures",
        "masked",
        "landmarked",
        "thresholds",
        "strength",
        "spread",
        "used",
        "chance_spread",
        "center_spread",
    ):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    for name in ("probability", "chance_probability", "draws"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert list(mine) == list(theirs)
        for key in mine:
            np.testing.assert_array_equal(mine[key], theirs[key], f"{name} {key}")
    assert one.keys == other.keys
    assert one.facts == other.facts
    np.testing.assert_array_equal(one.examples.images, other.examples.images)
    np.testing.assert_array_equal(one.examples.cells, other.examples.cells)
    assert one.examples.names == other.examples.names


def test_the_network_is_left_as_it_was():
    net = family("dropout")
    net.module.train()
    before = {key: value.clone() for key, value in net.module.state_dict().items()}
    state = torch.get_rng_state()
    measure_parts(net, net.default_layers[-1], made.noise(4), **QUIET)
    assert net.module.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in net.module.state_dict().items())
    assert not any(module._forward_hooks for module in net.module.modules())


def test_a_filter_belongs_to_the_class_that_excites_it_most():
    """Green lights up in fishes, weakly and steadily; red in birds."""
    part = {"tail": Part(made.box_mask(0, 0, 4, 4))}
    pictures = [made.parted(made.lit([(k % 4, k % 3)], color=0), part, "bird") for k in range(4)]
    pictures += [made.parted(made.lit([(1, 1)], color=1, level=90), part, "fish") for _ in range(4)]
    source = made.Made("two", {"bird": ("tail",), "fish": ("tail",)}, pictures=tuple(pictures))
    table = measure_parts(made.spots(), "pool", source, quantile=0.02, **QUIET)
    assert [table.classes[k] for k in table.own_class[:2]] == ["bird", "fish"]
    assert table.per_class[1, 1] == 0
    assert np.isnan(table.per_class[0, 1]), "red is the same everywhere in fishes"
    assert table.instability[1] == 0


def test_the_smallest_instability_over_classes_is_taken():
    part = {"tail": Part(made.box_mask(0, 0, 4, 4))}
    steady = [made.parted(made.lit([(1, 1)], level=90), part, "fish") for _ in range(3)]
    moving = [made.parted(made.lit([(k, 0)], level=220), part, "bird") for k in range(3)]
    source = made.Made("two", {"bird": ("tail",), "fish": ("tail",)}, pictures=(*moving, *steady))
    table = measure_parts(made.spots(), "pool", source, **QUIET)
    assert table.classes[table.own_class[0]] == "bird"
    assert table.classes[table.steadiest[0]] == "fish"
    assert table.instability[0] == 0
    assert table.instability_of_own_class[0] == pytest.approx(4 / DIAGONAL)


def test_chance_holds_positions_against_another_picture():
    """Head and light always move together: no spread at all, and much when they are of different pictures."""
    places = [(0, 0), (3, 1), (1, 3), (2, 0), (0, 2), (3, 3)]
    pictures = tuple(
        made.parted(made.lit([(r, c)]), {"head": Part(made.box_mask(4 * r, 4 * c, 4 * r + 4, 4 * c + 4))})
        for r, c in places
    )
    source = made.Made("moving", {"bird": ("head",)}, pictures=pictures)
    options = {
        "quantile": 0.07,
        "regions": ("cells",),
        "draws": 3,
        "resamples": 50,
    }  # 6 of 96 cells are valid
    table = measure_parts(made.spots(), "pool", source, progress=False, **options)
    assert table.interpretability()[0] == 1
    assert table.chance_interpretability()[0] == 0
    assert table.instability[0] == pytest.approx(0, abs=1e-12)
    assert table.chance_instability[0] > 0.1
    low, high = table.interval("interpretability")
    assert low == high == pytest.approx((1 + 0 + 0) / 3), "green and blue never lie on a head"
    assert table.summary()["interpretability"] == pytest.approx(1 / 3)


coordinates = st.floats(-40, 40, allow_nan=False)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates), min_size=2, max_size=12),
    coordinates, coordinates, st.sampled_from([0.5, 2.0, 3.0, 16.0]), st.integers(2, 12),
)  # fmt: skip
def test_neither_place_nor_size_of_the_picture_matters(rows, right, down, times, most):
    y, x, v, u = np.array(rows).T
    landmarks = np.stack([x, y], 1)
    valid, maxima = np.ones((len(rows), 1), bool), np.arange(len(rows))[:, None] * 1.0
    one = spread(distances(v[:, None], u[:, None], landmarks, (24, 32)), valid, maxima, most, 2)[0]
    moved = distances(v[:, None] + down, u[:, None] + right, landmarks + np.array([right, down]), (24, 32))
    np.testing.assert_allclose(spread(moved, valid, maxima, most, 2)[0], one, atol=1e-9)
    larger = distances(
        times * v[:, None], times * u[:, None], times * landmarks, (int(24 * times), int(32 * times))
    )
    np.testing.assert_allclose(spread(larger, valid, maxima, most, 2)[0], one, atol=1e-9)
    expected = np.std(np.hypot(u - x, v - y)[::-1][:most] / 40, ddof=1)
    np.testing.assert_allclose(one[0], expected, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(2, 40))
def test_a_bootstrap_is_the_spread_of_pictures_that_come_several_times(seed, pictures, most):
    draw = np.random.default_rng(seed)
    distance, maxima = draw.random((pictures, 2)), draw.random((pictures, 2))
    valid, drawn = draw.random((pictures, 2)) < 0.8, draw.integers(0, 3, (pictures, 4))
    found = spread_draws(distance, valid, maxima, most, 2, drawn)
    for d in range(4):
        for u in range(2):
            order = [i for i in np.argsort(-maxima[:, u]) if valid[i, u]]
            taken = [distance[i, u] for i in order for _ in range(drawn[i, d])][:most]
            used = max(min(len(order), most), 2)
            expected = np.std(taken, ddof=1) * (used / (used - 1)) ** 0.5 if len(taken) >= 2 else np.nan
            np.testing.assert_allclose(found[d, u], expected, atol=1e-9)


def test_the_same_seed_draws_the_same():
    source = made.noise(8, size=(16, 16))
    one, again, other = (
        measure_parts(made.spots(), "pool", source, seed=seed, resamples=30, progress=False)
        for seed in (1, 1, 2)
    )
    same(one, again)
    assert not np.array_equal(one.draws["instability"], other.draws["instability"])


def test_pictures_that_cannot_be_used_are_left_out_and_listed():
    good = made.noise(5, size=(16, 16), kinds=("bird",)).pictures
    strange = made.parted(made.lit([(0, 0)]), {}, "ghost")
    source = made.Made("broken", {"bird": ("head", "tail")}, pictures=(good[0], None, *good[1:], strange))
    table = measure_parts(made.spots(), "pool", source, **QUIET)
    assert table.facts["images"] == 5
    assert table.facts["images_left_out"] == 2
    assert [problem.where for problem in source.problems] == ["picture-1", "picture-6"]
    assert set(table.examples.names) <= {0, 2, 3, 4, 5}
    nothing = made.Made("nothing", {"bird": ("head",)}, pictures=(None, strange))
    with pytest.raises(
        ValueError, match=r"Expected at least one usable picture in nothing, got none \(picture-0"
    ):
        measure_parts(made.spots(), "pool", nothing, **QUIET)


def test_a_class_without_pictures_and_a_part_that_never_comes():
    pictures = made.noise(5, size=(16, 16), kinds=("bird",), names=("head",)).pictures
    source = made.Made("few", {"bird": ("head", "crest"), "dodo": ("head",)}, pictures=pictures)
    table = measure_parts(made.spots(), "pool", source, resamples=10, progress=False)
    np.testing.assert_array_equal(table.pictures, [5, 0])
    assert table.masked[1] == table.masked[2] == 0
    assert np.isnan(table.spread[:, 1:]).all()
    assert np.isnan(table.probability["upsampled"][:, 1:]).all()
    assert set(table.own_class) == {0}
    assert np.isfinite(table.summary()["instability"])


def test_a_landmark_outside_the_picture_counts_as_not_there():
    pictures = [
        made.parted(made.lit([(0, 0)]), {"head": Part(landmark=at)})
        for at in ((2, 2), (16, 0), (17, 3), (3, -1))
    ]
    source = made.Made("off", {"bird": ("head",)}, pictures=tuple(pictures))
    table = measure_parts(made.spots(), "pool", source, **QUIET)
    assert table.landmarked[0] == 2
    assert table.masked[0] == 0
    assert table.meaning(0) is None


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"layers": "poll"}, UnknownNameError, "did you mean `pool`"),
        ({"layers": "input"}, ValueError, "Expected a layer of `Spots` behind its input"),
        ({"layers": []}, ValueError, "Expected at least one layer"),
        ({"source": "scenes:tset/0-9"}, ValueError, "Expected a split of the scenes, got `tset`; did you mean `test`"),
        ({"quantile": 0}, ValueError, "Expected `quantile` between 0 and 1, got 0"),
        ({"regions": ("up",)}, ValueError, "Expected `regions` to be one or more of upsampled"),
        ({"anchor": "middle"}, ValueError, 'Expected `anchor` to be "effective" or "nominal"'),
        ({"field": 2.0}, ValueError, "Expected `field` above 0 and at most 1, got 2.0"),
        ({"most_active": 1}, ValueError, "Expected `most_active` to be at least 2, got 1"),
        ({"batchsize": 3}, TypeError, "batchsize"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_in_words(change, kind, words):
    given_ = {"layers": "pool", "source": made.noise(2, size=(16, 16)), "progress": False} | change
    with pytest.raises(kind, match=words):
        measure_parts(made.spots(), given_.pop("layers"), given_.pop("source"), **given_)


def test_maps_of_one_cell_point_nowhere():
    with pytest.raises(
        ValueError, match="Expected a layer with several cells, got `pool` with maps of 1 × 1"
    ):
        measure_parts(made.spots(16), "pool", made.noise(2, size=(16, 16)))


def test_activations_that_are_not_finite_are_named():
    net = family("plain")
    net.module.features[0].weight.data[0] = torch.nan
    with pytest.raises(ValueError, match=r"Expected finite activations of layer .* for `picture-0`"):
        measure_parts(net, net.default_layers[0], made.noise(2), **QUIET)


def test_settings_are_the_papers():
    chosen = PartSettings()
    assert (chosen.quantile, chosen.iou, chosen.most_active, chosen.fewest) == (0.005, 0.2, 100, 2)
    assert chosen.regions[0] == "upsampled"
