"""Interruption, a second pass, missing pictures, chance, intervals and examples: the same bytes, or spelled out."""

import json
import os

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from tests.dissection.test_dissect import LAYERS, assert_counts, same_bytes, spelled_out
from tests.reference import dissection as literal

from pellucid.core.capture import capture
from pellucid.data.concepts.base import SPLITS
from pellucid.dissection import counting, dissect, engine
from pellucid.dissection.bootstrap import weights

QUICK = {"quantile": 0.05, "progress": False, "batch_size": 2}


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(engine, "SHARD", 4)


@pytest.fixture
def whole(network, source, small_shards):
    with torch.no_grad():  # a unit that is 0 everywhere: its threshold lies among values that are never kept
        network.module[0].weight[2], network.module[0].bias[2] = 0, -1
    return dissect(network, source, LAYERS, **QUICK)


def stop_after(monkeypatch, calls, error=KeyboardInterrupt):
    """Let the engine look a number of times, then stop it."""
    left = iter([True] * calls)
    look = engine.observe

    def looking(*args):
        if not next(left, False):
            raise error
        look(*args)

    monkeypatch.setattr(engine, "observe", looking)
    return lambda: monkeypatch.setattr(engine, "observe", look)


@pytest.mark.parametrize("calls", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("scratch", [1 << 30, 0])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    network, source, whole, tmp_path, monkeypatch, calls, scratch
):
    go_on = stop_after(monkeypatch, calls)
    with pytest.raises(KeyboardInterrupt):
        dissect(network, source, LAYERS, folder=tmp_path, scratch=scratch, **QUICK)
    go_on()
    looked = []
    look = engine.observe
    monkeypatch.setattr(engine, "observe", lambda *args: (looked.append(len(args[1])), look(*args)))
    again = dissect(network, source, LAYERS, folder=tmp_path, scratch=scratch, **QUICK)
    assert all(same_bytes(whole[name], again[name]) for name in LAYERS)
    finished = calls // 2 * 4  # shards of four, looked at by twos
    assert sum(looked) == (12 - finished) + (12 if scratch == 0 else 0)
    looked.clear()
    assert all(same_bytes(whole[name], once_more) for name, once_more in dissect(
        network, source, LAYERS, folder=tmp_path, scratch=scratch, **QUICK).items())  # fmt: skip
    assert not looked, "what was looked at stays until the tables are saved"


def test_a_run_stopped_while_counting_goes_on_to_the_same_bytes(
    network, source, whole, tmp_path, monkeypatch
):
    count = counting.Counter.count

    def stopping(self, shard, cells, number):
        count(self, shard, cells, number)
        if number == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(counting.Counter, "count", stopping)
    with pytest.raises(KeyboardInterrupt):
        dissect(network, source, LAYERS, folder=tmp_path, **QUICK)
    monkeypatch.setattr(counting.Counter, "count", count)
    again = dissect(network, source, LAYERS, folder=tmp_path, **QUICK)
    assert all(same_bytes(whole[name], again[name]) for name in LAYERS)


def test_some_layers_of_a_stopped_run(network, source, whole, tmp_path, monkeypatch):
    dissect(network, source, LAYERS, folder=tmp_path, **QUICK)
    monkeypatch.setattr(engine, "observe", lambda *_: pytest.fail("all is looked at"))
    (last,) = dissect(network, source, LAYERS[-1:], folder=tmp_path, **QUICK).values()
    assert same_bytes(whole[LAYERS[-1]], last)


def test_two_passes_give_the_same_numbers(network, source, whole):
    twice = dissect(network, source, LAYERS, scratch=0, **QUICK)
    assert all(same_bytes(whole[name], twice[name]) for name in LAYERS)
    assert [twice[name].facts["passes"] for name in LAYERS] == [2, 2]
    assert [whole[name].facts["passes"] for name in LAYERS] == [1, 1]


def test_every_picture_goes_through_the_network_once(network, source, monkeypatch):
    looked = []
    look = engine.observe
    monkeypatch.setattr(engine, "observe", lambda *args: (looked.append(len(args[1])), look(*args)))
    dissect(network, source, LAYERS, **QUICK)
    assert sum(looked) == len(source)


def test_unfinished_results_of_another_run_are_refused(network, source, tmp_path, monkeypatch):
    go_on = stop_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        dissect(network, source, LAYERS, folder=tmp_path, **QUICK)
    go_on()
    with pytest.raises(ValueError, match=r"^Expected the unfinished results in .* to be of the same network"):
        dissect(network, source, LAYERS, folder=tmp_path, **{**QUICK, "quantile": 0.1})


def test_a_damaged_part_is_named(network, source, small_shards, tmp_path, monkeypatch):
    go_on = stop_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        dissect(network, source, LAYERS, folder=tmp_path, **QUICK)
    go_on()
    part = tmp_path / "shard-00000.safetensors"
    whole = part.read_bytes()
    other = bytearray(whole)
    other[-1] ^= 1
    for content in (whole[:100], whole[:-1], bytes(other), save({"indices": np.zeros(3)})):
        part.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"^Expected partial results of an unfinished run, got .*shard-00000"
        ):
            dissect(network, source, LAYERS, folder=tmp_path, **QUICK)


def test_pictures_that_cannot_be_read_are_left_out_and_listed(network, make_source):
    source = make_source(damaged=(2, 7))
    tables = dissect(network, source, LAYERS, **QUICK)
    assert {problem.where for problem in source.problems} == {"picture 2", "picture 7"}
    for layer in LAYERS:
        limits, _, every, _, held = spelled_out(network, source, layer, quantile=QUICK["quantile"])
        np.testing.assert_array_equal(tables[layer].thresholds, limits)
        assert_counts(tables[layer].counts, every)
        assert_counts(tables[layer].held_out.held, held)
        assert tables[layer].facts["images"] == 10
        assert tables[layer].facts["images_left_out"] == 2


def test_a_set_of_which_nothing_can_be_read(network, make_source):
    with pytest.raises(
        ValueError, match=r"^Expected at least one usable picture in made up, got none \(picture"
    ):
        dissect(network, make_source(count=3, damaged=(0, 1, 2)), LAYERS, **QUICK)


def test_one_picture_has_nothing_held_out_and_no_chance(network, make_source):
    table = dissect(network, make_source(count=1), "1", **QUICK)["1"]
    assert table.held_out is None
    assert table.chance == ()
    assert table.expected_by_chance() is None


def masks_of(network, source, layer, limits):
    batch = network.preprocess.normalize(torch.from_numpy(source.pictures).permute(0, 3, 1, 2).contiguous())
    acts = capture(network, batch, [layer], gradients=False).activations[layer].float().numpy()
    about = network.layer(layer)
    return acts, [
        [
            literal.mask(acts[k, u], limits[u], about, (24, 24), (12, 12), "effective")
            for u in range(acts.shape[1])
        ]
        for k in range(len(source))
    ]


def regions_of(source):
    return [
        literal.regions(source.labels(i).maps, source.labels(i).whole, (12, 12)) for i in range(len(source))
    ]


def test_chance_is_the_same_masks_on_other_pictures_labels(network, source, small_shards):
    table = dissect(network, source, "1", draws=2, **QUICK)["1"]
    _, masks = masks_of(network, source, "1", table.thresholds)
    labeled = regions_of(source)
    order = np.random.default_rng(0).permutation(12)
    assert len(table.chance) == 2
    for draw, found in enumerate(table.chance):
        partner = {}
        for number, shard in enumerate(np.array_split(order, 3)):
            shift = np.random.default_rng([0, draw, number]).integers(1, len(shard))
            partner |= dict(zip(shard.tolist(), np.roll(shard, -shift).tolist(), strict=True))
        assert sorted(partner.values()) == list(range(12))
        assert all(one != other for one, other in partner.items())
        expected = literal.counts(masks, [labeled[partner[i]] for i in range(12)], source.concepts)
        assert_counts(found, expected)
    assert not np.array_equal(table.chance[0].intersection, table.chance[1].intersection)


def test_intervals_are_those_of_pictures_drawn_again(network, source):
    table = dissect(network, source, "1", resamples=50, ranked=3, **QUICK)["1"]
    _, masks = masks_of(network, source, "1", table.thresholds)
    labeled = regions_of(source)
    drawn = weights(np.arange(12), 50, 0)
    place = {concept.number: n for n, concept in enumerate(source.concepts)}
    ious = np.zeros((50, len(table), len(source.concepts)))
    single = [literal.counts([masks[i]], [labeled[i]], source.concepts) for i in range(12)]
    for draw in range(50):
        i, a, g = (sum(drawn[k, draw] * single[k][part] for k in range(12)) for part in range(3))
        union = a[:, table.category_of] + g - i
        ious[draw] = np.where(union > 0, i / np.maximum(union, 1), 0)
    assert place
    for unit in range(len(table)):
        for rank, concept in enumerate(table.ranking[unit]):
            expected = np.quantile(ious[:, unit, concept], [0.025, 0.975])
            np.testing.assert_allclose(table.interval[unit, rank], expected, rtol=0, atol=1e-12)
    assert (table.interval[..., 1] > table.interval[..., 0]).any()


def test_weights_are_of_the_picture_and_the_seed():
    one = weights(np.array([3, 5]), 8, 1)
    np.testing.assert_array_equal(one[::-1], weights(np.array([5, 3]), 8, 1))
    assert not np.array_equal(one, weights(np.array([3, 5]), 8, 2))
    assert abs(weights(np.arange(400), 50, 0).mean() - 1) < 0.05


def test_examples_are_the_pictures_a_unit_is_most_active_on(network, source):
    table = dissect(network, source, "1", examples=4, **QUICK)["1"]
    acts, masks = masks_of(network, source, "1", table.thresholds)
    most = acts.max((2, 3))
    for unit in range(len(table)):
        order = sorted(range(12), key=lambda k: (-most[k, unit], k))[:4]
        order = [k if most[k, unit] > table.thresholds[unit] else -1 for k in order]
        assert table.examples.images[unit].tolist() == order
        for rank, k in enumerate(order):
            shown = {(int(p), int(q)) for p, q in np.argwhere(table.examples.masks[unit, rank])}
            assert shown == (masks[k][unit] if k >= 0 else set())
            assert table.examples.maxima[unit, rank] == (most[k, unit] if k >= 0 else 0)


def test_a_unit_that_is_never_active_detects_nothing(network, source):
    with torch.no_grad():
        network.module[0].weight[2] = 0
        network.module[0].bias[2] = -1
    table = dissect(network, source, "1", **QUICK)["1"]
    assert table.thresholds[2] == 0
    assert table.score[2] == 0
    assert (table.counts.activation[2] == 0).all()
    assert (table.examples.images[2] == -1).all()
    assert table.candidates(2) == ()


def test_activations_that_are_not_finite_are_named(network, source):
    with torch.no_grad():
        network.module[0].bias[0] = float("nan")
    with pytest.raises(
        ValueError, match=r"^Expected finite activations of layer `1`, got NaN or infinity for `picture \d+`"
    ):
        dissect(network, source, LAYERS, **QUICK)


def test_the_users_network_is_left_alone(network, source):
    network.module.train()
    before = {key: value.clone() for key, value in network.module.state_dict().items()}
    dissect(network, source, LAYERS, **QUICK)
    assert network.module.training
    assert all(parameter.requires_grad for parameter in network.module.parameters())
    assert all(torch.equal(before[key], value) for key, value in network.module.state_dict().items())
    assert not any(module._forward_hooks for module in network.module.modules())


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"quantile": 0}, "Expected `quantile` between 0 and 1, got 0"),
        ({"quantile": 1.5}, "Expected `quantile` between 0 and 1"),
        ({"anchor": "middle"}, "Expected `anchor` to be one of effective, nominal, paper, got 'middle'"),
        ({"ratio": 0}, "Expected at least one input pixel per label pixel, got 0"),
        ({"draws": -1}, "Expected `draws` to be at least 0, got -1"),
        ({"batch_size": 0}, "Expected `batch_size` to be at least 1"),
        ({"kernel": "fast"}, "Expected `kernel` to be"),
    ],
)
def test_settings_that_make_no_sense(network, source, settings, text):
    with pytest.raises(ValueError) as caught:
        dissect(network, source, LAYERS, **{**QUICK, **settings})
    assert str(caught.value).startswith(text)


def test_layers_that_cannot_be_dissected(network, source):
    with pytest.raises(
        ValueError, match=r"^Expected at least one layer of `Sequential` behind its input, got \['input'\]"
    ):
        dissect(network, source, "input")
    with pytest.raises(LookupError, match="conv9"):
        dissect(network, source, "conv9")
    with pytest.raises(TypeError, match="quantil"):
        dissect(network, source, "1", quantil=0.1)


def test_facts_say_what_was_dissected_and_how(network, source):
    facts = dissect(network, source, "1", **QUICK)["1"].facts
    assert json.loads(json.dumps(facts)) == facts
    assert facts["concepts"]["name"] == "made up"
    assert facts["concepts"]["images"] == 12
    assert facts["settings"]["quantile"] == 0.05
    assert facts["label_grid"] == [12, 12]
    assert facts["selection_bytes"] > 0
    assert len(facts["network"]["sha256"]) == 64
    assert os.sep not in json.dumps(facts)


def test_the_parts_of_the_honest_score_are_disjoint(network, source):
    table = dissect(network, source, "1", **QUICK)["1"]
    fit = sum(source.split(i) == SPLITS[0] for i in range(12))
    assert table.held_out.images == (fit, 12 - fit)
    assert 0 < fit < 12
    total = table.held_out.fit.truth + table.held_out.held.truth
    np.testing.assert_array_equal(total, table.counts.truth)
