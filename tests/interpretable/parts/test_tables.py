"""Part tables: kept on disk to the last bit, compared, read; and filters in one picture."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tests.bundles import as_pair, rewrite
from tests.interpretable.parts import made
from tests.interpretable.parts.test_measures import same
from tests.networks import InplaceNet, family, wrap

from pellucid.core.capture import capture
from pellucid.core.registry import UnknownNameError
from pellucid.interpretable import Interpretation, Templates, interpret
from pellucid.interpretable.parts import (
    PartKey,
    filters_of,
    layer_templates,
    load_parts,
    save_parts,
    template_cells,
)
from pellucid.interpretable.parts import (
    parts as measure_parts,
)
from pellucid.interpretable.parts.storing import TableError, to_csv
from pellucid.interpretable.parts.table import change

LAYER = "features.13"


@pytest.fixture(scope="module")
def net():
    return wrap(InplaceNet())


@pytest.fixture(scope="module")
def table(net):
    return measure_parts(net, LAYER, made.noise(14), quantile=0.05, iou=0.05, resamples=40, progress=False)


def test_a_table_comes_back_as_it_was(table, tmp_path):
    other = dataclasses.replace(
        table,
        layer="a/b",
        draws={},
        chance_spread=None,
        center_spread=None,
        chance_probability={},
        examples=None,
    )
    names = save_parts({table.layer: table, "a/b": other}, tmp_path)
    assert names == [
        f"{stem}.parts.{end}" for stem in ("features.13", "a-b") for end in ("safetensors", "csv")
    ]
    (tmp_path / "run.json").write_text("{}")
    found = load_parts(tmp_path)
    assert set(found) == {table.layer, "a/b"}
    same(found[table.layer], dataclasses.replace(table, facts=json.loads(json.dumps(dict(table.facts)))))
    assert found[table.layer].regions == table.regions
    assert found[table.layer].summary() == table.summary()
    bare = found["a/b"]
    assert bare.draws == {}
    assert bare.chance_spread is None
    assert bare.summary()["instability_of_center"] is None
    assert bare.examples is None
    assert bare.interval("instability") is None
    assert bare.chance_interpretability() is None
    again = tmp_path / "again"
    save_parts(found, again)
    for name in names:
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_same_measurement_gives_the_same_bytes(net, table, tmp_path):
    once_more = measure_parts(
        net, LAYER, made.noise(14), quantile=0.05, iou=0.05, resamples=40, progress=False
    )
    for place, one in ((tmp_path / "a", table), (tmp_path / "b", once_more)):
        save_parts({LAYER: one}, place)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_what_is_no_table_is_refused(table, tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected a folder with part tables, got"):
        load_parts(tmp_path)
    save_parts({LAYER: table}, tmp_path)
    file = tmp_path / "features.13.parts.safetensors"
    whole = file.read_bytes()
    pair = as_pair(file)
    same(load_parts(tmp_path)[LAYER], load_parts(tmp_path)[LAYER])
    assert load_parts(tmp_path)[LAYER].summary() == table.summary()
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(
        TableError, match=r"Expected a part table, .*expected the arrays in .* that it was written with"
    ):
        load_parts(tmp_path)
    pair.unlink()
    for damage, says in (
        ({"schema": 99}, "of version 2 or older, got .* of version 99"),
        ({"put": {"parts": 3}}, "parts: expected a list, got 3"),
        ({"put": {"parts[0]": ["car"]}}, r'parts\[0\]: expected a list of 2, got \["car"\]'),
        ({"put": {"facts.network": {"name": 3}}}, "facts.network.name: expected text, got 3"),
        ({"put": {"names": {"x": "y"}}}, "names: expected names that stand for a whole number"),
        (
            {"put": {"regions": ["elsewhere"]}},
            "probability/elsewhere: expected an array float64 .*, got none",
        ),
        ({"fill": {"spread": -1}}, "spread: expected values of at least 0, got -1"),
        ({"fill": {"strength": np.nan}}, "strength: expected finite values, got NaN"),
        (
            {"arrays": lambda arrays: arrays.update(pictures=np.zeros(99, np.int64))},
            "pictures: expected an array int64",
        ),
    ):
        file.write_bytes(whole)
        rewrite(file, **damage)
        with pytest.raises(TableError, match=says) as caught:
            load_parts(tmp_path)
        assert "\n" not in str(caught.value)


def test_the_csv_says_what_the_table_says(table):
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [int(row["filter"]) for row in rows] == list(range(len(table)))
    for index in (0, 7):
        row, meant = rows[index], table.meaning(index)
        assert row["part"] == (meant.name if meant else "")
        assert row["class"] == table.classes[table.own_class[index]]
        assert float(row["interpretability"]) == table.interpretability()[index]
        assert float(row["instability"]) == table.instability[index]
        assert float(row["instability_low"]) == table.interval("filter instability")[index, 0]
        for place, key in enumerate(table.keys):
            assert (
                float(row[f"P {key.object_class}/{key.name}"]) == table.probability["upsampled"][index, place]
            )
            assert float(row[f"D {key.object_class}/{key.name}"]) == table.spread[index, place]


def test_the_layer_is_the_mean_of_its_filters(table):
    found = table.summary()
    assert found["interpretability"] == pytest.approx(np.nanmax(
        np.where(table.class_of == table.own_class[:, None], table.probability["upsampled"], np.nan), 1).mean())  # fmt: skip
    by_class = [np.nanmean(table.spread[:, table.class_of == k], 1) for k in range(2)]
    assert found["instability"] == pytest.approx(np.min(by_class, 0).mean())
    own = np.stack(by_class, 1)[np.arange(len(table)), table.own_class]
    assert found["instability_of_own_class"] == pytest.approx(own.mean())
    for name in ("interpretability", "instability"):
        low, high = found[f"{name}_interval"]
        assert low < high
        assert low - 0.1 < found[name] < high + 0.1
    assert set(found["interpretability_by_region"]) == {"upsampled", "receptive-field", "effective-field"}


def test_the_nearest_part_has_the_least_spread(table):
    for index in range(len(table)):
        key = table.nearest(index)
        place = table.keys.index(key)
        mine = table.class_of == table.steadiest[index]
        assert table.spread[index, place] == np.nanmin(table.spread[index, mine])


def test_an_unmeasured_region_is_refused(table):
    with pytest.raises(
        UnknownNameError, match="Expected a region that was measured, got `cell`; try one of `upsampled`"
    ):
        table.interpretability("cell")


def test_a_change_is_paired(net, table):
    itself = change(table, table)
    assert itself["instability"]["ratio"] == 0
    assert itself["instability"]["interval"] == [0, 0]
    other = measure_parts(
        net, "features.10", made.noise(14), quantile=0.05, iou=0.05, resamples=40, progress=False
    )
    found = change(table, other)["instability"]
    assert found["ratio"] == pytest.approx(
        other.summary()["instability"] / table.summary()["instability"] - 1
    )
    assert found["interval"][0] <= found["interval"][1]
    fewer = measure_parts(net, LAYER, made.noise(13), resamples=40, progress=False)
    for strange in (fewer, measure_parts(net, LAYER, made.noise(14), resamples=39, progress=False)):
        with pytest.raises(ValueError, match="Expected two tables of the same pictures and draws"):
            change(table, strange)
    without = dataclasses.replace(table, draws={})
    assert change(without, without)["interpretability"]["interval"] is None


# One picture


@pytest.fixture(scope="module")
def photo():
    return made.noise(1, seed=5).pictures[0].image.image


def test_filters_sit_where_their_maps_peak(net, table, photo):
    found = filters_of(net, photo, table)
    maps = capture(net, net.preprocess(photo)[None], [LAYER], gradients=False).activations[LAYER][0]
    alive = [k for k in range(len(table)) if maps[k].max() > maps[k].min()]
    assert {one.index for one in found} == set(alive)
    strengths = [one.strength for one in found]
    assert strengths == sorted(strengths, reverse=True)
    for one in found:
        row, column = divmod(int(maps[one.index].argmax()), maps.shape[2])
        assert one.cell == (row, column)
        start, stride = table.facts["start"], table.facts["stride"]
        assert one.center == (start[0] + row * stride[0], start[1] + column * stride[1])
        assert one.activation == pytest.approx(float(maps[one.index].max()))
        assert one.part == table.meaning(one.index)
        assert one.answers == (one.activation > table.thresholds[one.index])
        assert one.template is None
        np.testing.assert_allclose(one.map, maps[one.index], rtol=1e-6)
    assert [one.index for one in filters_of(net, photo, table, count=3)] == [one.index for one in found[:3]]
    some = filters_of(net, photo, table, filters=[alive[0], alive[1]])
    assert {one.index for one in some} == set(alive[:2])


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("position", ["argmax", "centroid"])
@pytest.mark.parametrize("mode", ["paper", "released"])
def test_templates_are_those_the_layer_applies(photo, norm, position, mode):
    ordinary = wrap(InplaceNet())
    templates = Templates(norm=norm, position=position, mode=mode, beta=3.0, sharpness=1.7)
    interpret(ordinary.module, Interpretation((LAYER,), None, 5, (32, 32), templates))
    net = wrap_again(ordinary)
    table = measure_parts(net, LAYER, made.noise(6), resamples=0, progress=False)
    raw, masked = (
        capture(net, net.preprocess(photo)[None], [name], gradients=False).activations[name][0].numpy()
        for name in (f"{LAYER}.layer", LAYER)
    )
    layer = layer_templates(net, LAYER)
    assert (layer.norm, layer.position) == (norm, position)
    rows, columns = np.mgrid[:8, :8]
    cells = template_cells(net, LAYER, net.preprocess(photo)[None].repeat(2, 1, 1, 1))
    assert cells.shape == (2, 16, 2)
    for one in filters_of(net, photo, table):
        down, across = rows - one.template.cell[0], columns - one.template.cell[1]
        far = np.hypot(down, across) if norm == "l2" else abs(down) + abs(across)
        weight = np.clip(1 - far / one.template.reach, 0, None)
        np.testing.assert_allclose(masked[one.index], raw[one.index] * weight, atol=1e-5)
        assert layer.reach[one.index] == one.template.reach
        assert one.template.cell == tuple(cells[1, one.index])
    assert not any(module._forward_pre_hooks for module in net.module.modules())


def wrap_again(net):
    import pellucid as pl

    return pl.load(net.module, input_shape=net.input_shape, preprocess=net.preprocess)


def test_other_networks_have_no_templates(net):
    assert layer_templates(net, LAYER) is None
    with pytest.raises(ValueError, match=r"Expected a layer with templates, got `features.13`"):
        template_cells(net, LAYER, torch.zeros(1, 3, 32, 32))
    with pytest.raises(UnknownNameError):
        layer_templates(net, "features.130")


def test_a_table_of_another_network_is_refused(net, table, photo):
    with pytest.raises(UnknownNameError, match=LAYER):
        filters_of(family("residual"), photo, table)
    fewer = dataclasses.replace(table, thresholds=table.thresholds[:5])
    with pytest.raises(ValueError, match=f"Expected a table of the 16 filters of `{LAYER}`, got one of 5"):
        filters_of(net, photo, fewer)
    with pytest.raises(ValueError, match="Expected one picture, got 2"):
        filters_of(net, [photo, photo], table)


def test_a_picture_without_contrast_has_no_positions(table):
    net = made.spots()
    flat = Image.new("RGB", (16, 16), (90, 90, 90))
    spots = measure_parts(net, "pool", made.noise(3, size=(16, 16)), resamples=0, progress=False)
    assert filters_of(net, flat, spots) == []


def test_a_dead_filter_means_nothing():
    net = wrap(InplaceNet())
    net.module.features[12].weight.data[3] = 0
    net.module.features[12].bias.data[3] = -1
    table = measure_parts(net, LAYER, made.noise(14), resamples=5, progress=False)
    assert table.meaning(3) is None
    assert table.nearest(3) is None
    assert np.isnan(table.instability[3])
    assert table.interpretability()[3] == 0
    assert np.isnan(table.interval("filter instability")[3]).all()
    assert (table.examples.images[3] == -1).all()
    assert torch.isfinite(torch.tensor(table.summary()["instability"]))
    assert all(isinstance(key, PartKey) for key in table.keys)
