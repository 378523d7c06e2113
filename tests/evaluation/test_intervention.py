"""The truth by intervention: effects computed by hand, maps of known agreement, and what is remembered."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from tests.bounds import rounding
from torch import nn

import pellucid as pl
from pellucid.core.storage import fingerprint
from pellucid.data.preprocess import Preprocess
from pellucid.evaluation import intervention as iv
from pellucid.evaluation.metric import Case
from pellucid.world import CLASSES, draw, render

SIDE = 48


class Linear(nn.Module):
    """Scores that are linear in the pixels: the effect of a part is a sum over the pixels it changes."""

    def __init__(self, outputs=3):
        super().__init__()
        self.weight = nn.Conv2d(3, outputs, SIDE)
        self.weight.weight.data.normal_(generator=torch.Generator().manual_seed(2))
        self.calls = []  # a list is the network's own, whatever runs in its place

    def forward(self, x):
        self.calls.append(len(x))
        return self.weight(x).flatten(1)


def linear(**options):
    return pl.load(Linear(**options), preprocess=Preprocess.scenes(SIDE), input_shape=(3, SIDE, SIDE))


def scenes(count=3):
    return [render(draw(i, split="test"), SIDE) for i in range(count)]


def pixels(net, scene):
    return net.preprocess.normalize(torch.from_numpy(render(scene, SIDE).image).permute(2, 0, 1)[None])


def case(net, saliency, listed, target=None):
    x = torch.cat([pixels(net, one.scene_data) for one in listed])
    return Case(net, x, net.resolve_target(target, net(x).detach()), saliency, scenes=listed)


def slack(net, scene):
    """What rounding may make of a score, and of a difference of two: sums over all weighted pixels."""
    weight = net.module.weight.weight[0].detach().abs()
    return 2 * rounding(net.dtype, weight.numel(), float((weight * pixels(net, scene)[0].abs()).sum()))


def toy(logit, side=6):
    """Three parts of 2, 4 and 6 pixels."""
    masks = torch.zeros(3, side, side, dtype=torch.bool)
    masks[0, 0, :2] = masks[1, 2, :4] = masks[2, 4, :6] = True
    effect = torch.tensor(logit, dtype=torch.float64)
    return iv.Effects(("a", "b", "c"), masks, effect, effect / 10)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_effects_of_a_linear_network_are_sums_over_changed_pixels(batch_size):
    net, listed = linear(), scenes()
    weight = net.module.weight.weight.detach().double()
    found = iv.part_effects(net, listed, 1, batch_size)
    for one, effects in zip(listed, found, strict=True):
        scene = one.scene_data
        visible = [name for name in scene.part_names() if one.part_mask(name).any()]
        assert list(effects.names) == visible
        for i, name in enumerate(visible):
            change = pixels(net, scene).double() - pixels(net, scene.without_part(name)).double()
            assert float(effects.logit[i]) == pytest.approx(
                float((weight[1] * change[0]).sum()), abs=2 * slack(net, scene)
            )
            probabilities = [
                float(net.probabilities(net(pixels(net, each)).detach())[0, 1])
                for each in (scene, scene.without_part(name))
            ]
            assert float(effects.probability[i]) == pytest.approx(
                probabilities[0] - probabilities[1], abs=slack(net, scene)
            )
            assert np.array_equal(effects.masks[i].numpy(), one.part_mask(name))


def test_targets_by_class_by_image_predicted_and_by_function():
    net, listed = linear(), scenes()
    outputs = torch.cat([net(pixels(net, one.scene_data)).detach() for one in listed])
    predicted = outputs.argmax(1).tolist()
    alike = [
        iv.part_effects(net, listed, target)
        for target in (None, predicted, net.resolve_target(None, outputs))
    ]
    for other in alike[1:]:
        assert all(torch.equal(a.logit, b.logit) for a, b in zip(alike[0], other, strict=True))
    of = iv.part_effects(net, listed, lambda output: output[:, 1] - output[:, 0])
    one, zero = (iv.part_effects(net, listed, index) for index in (1, 0))
    for shown, difference, a, b in zip(listed, of, one, zero, strict=True):
        assert torch.allclose(difference.logit, a.logit - b.logit, atol=4 * slack(net, shown.scene_data))
        assert torch.equal(difference.logit, difference.probability)


def test_the_negative_class_of_a_single_logit_has_the_opposite_effects():
    preprocess = Preprocess.scenes(SIDE)
    net = pl.load(Linear(1), head="binary", preprocess=preprocess, input_shape=(3, SIDE, SIDE))
    listed = scenes(2)
    net.module.weight.weight.data.mul_(0.01)
    for shown, no, yes in zip(
        listed, iv.part_effects(net, listed, 0), iv.part_effects(net, listed, 1), strict=True
    ):
        atol = slack(net, shown.scene_data)
        assert torch.allclose(no.logit, -yes.logit, atol=atol)
        assert torch.allclose(no.probability, -yes.probability, atol=atol)
        assert yes.probability.any()


def test_masks_follow_the_preprocessing():
    net = pl.load(Linear(), preprocess=Preprocess.scenes(SIDE), input_shape=(3, SIDE, SIDE))
    large = [render(one.scene_data, 2 * SIDE) for one in scenes(1)]
    (found,) = iv.part_effects(net, large, 0)
    assert found.masks.shape[1:] == (SIDE, SIDE)
    for name, mask in zip(found.names, found.masks, strict=True):
        share = large[0].part_mask(name).reshape(SIDE, 2, SIDE, 2).mean((1, 3))
        assert mask[torch.from_numpy(share == 1)].double().mean() > 0.9
        assert mask[torch.from_numpy(share == 0)].double().mean() < 0.02


def test_others_are_things_that_stand_there_and_the_mark():
    net = linear()
    listed = [render(draw(i, split="test", shortcut=1.0), SIDE) for i in range(12)]
    plain, found = iv.part_effects(net, listed, 0), iv.part_effects(net, listed, 0, others=True)
    seen = set()
    for one, few, more in zip(listed, plain, found, strict=True):
        extra = more.names[len(few.names) :]
        assert more.names[: len(few.names)] == few.names
        assert extra[-1] == "mark"
        seen.update(extra)
        assert not iv.GROUND & set(extra)
        bare = one.scene_data.without_mark()
        change = pixels(net, one.scene_data) - pixels(net, bare)
        want = float((net.module.weight.weight[0].detach() * change[0]).sum())
        assert float(more.logit[-1]) == pytest.approx(want, abs=2 * slack(net, one.scene_data))
        assert torch.equal(more.masks[-1], change[0].ne(0).any(0))
        if "tree" in extra:
            behind = tuple(piece for piece in one.scene_data.behind if piece.name != "tree")
            before = tuple(piece for piece in one.scene_data.before if piece.name != "tree")
            without = replace(one.scene_data, behind=behind, before=before)
            change = pixels(net, one.scene_data) - pixels(net, without)
            want = float((net.module.weight.weight[0].detach() * change[0]).sum())
            assert float(more.logit[more.names.index("tree")]) == pytest.approx(
                want, abs=2 * slack(net, one.scene_data)
            )
    assert len(seen) > 3


def test_double_precision_is_kept():
    net, listed = linear(), scenes(1)
    net.module.double()
    weight = net.module.weight.weight.detach()
    (found,) = iv.part_effects(net, listed, 0)
    scene = listed[0].scene_data
    for name, effect in zip(found.names, found.logit, strict=True):
        change = pixels(net, scene).double() - pixels(net, scene.without_part(name)).double()
        assert float(effect) == pytest.approx(float((weight[0] * change[0]).sum()), abs=1e-9)


def test_agreement_of_maps_that_know_everything_nothing_and_the_opposite():
    effects = toy([3.0, 1.0, 0.1])
    weights = torch.tensor([3.0, 1.0, 0.1])[:, None, None]
    perfect = (effects.masks * weights / effects.masks.sum((1, 2))[:, None, None]).sum(0)
    assert iv.agreement(perfect, effects) == iv.Agreement(
        1.0, 2.0, 1.0, 0.0
    )  # areas rank the other way round
    flat = torch.ones(6, 6)
    assert iv.agreement(flat, effects) == iv.Agreement(-1.0, 0.0, 0.0, 1.0)
    assert iv.agreement(flat, effects, negligible=0.03).blamed == 0.0
    assert iv.agreement(flat, effects, of="probability").blamed == 1.0
    negative = -effects.masks[2].float() + 0.1 * effects.masks[0]
    assert iv.agreement(negative, effects).hit == 1.0  # what speaks against has no mass


def test_equal_masses_share_hit_and_blame():
    effects = toy([3.0, 1.0, 0.1])
    tie = effects.masks[0] / 2.0 + effects.masks[2] / 6.0
    tie = (tie * 12).round() / 12
    tie[0, :2], tie[4] = 3.0, 1.0
    assert iv.agreement(tie, effects).hit == 0.5
    assert iv.agreement(tie, effects).blamed == 0.5


def test_an_effect_against_the_target_is_no_hit_but_no_blame_either():
    effects = toy([-3.0, 1.0, 0.1])
    found = iv.agreement(effects.masks[0].float(), effects)
    assert (found.hit, found.blamed) == (0.0, 0.0)


def test_rank_is_scipys_for_real_scenes():
    net, listed = pl.load("scenes-vgg"), [render(draw(i, split="test")) for i in range(3)]
    saliency = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(0)) - 0.3
    x = torch.cat(
        [net.preprocess.normalize(torch.from_numpy(r.image).permute(2, 0, 1)[None]) for r in listed]
    )
    target = net.resolve_target([CLASSES.index(r.scene_data.label) for r in listed], net(x).detach())
    for of in ("logit", "probability"):
        found = iv.Intervention(of=of)(Case(net, x, target, saliency, scenes=[r.scene_data for r in listed]))
        effects = iv.part_effects(net, listed, target)
        for i, each in enumerate(effects):
            masses = [saliency[i][mask].clamp(min=0).double().sum().item() for mask in each.masks]
            areas = [int(mask.sum()) for mask in each.masks]
            true = getattr(each, of).tolist()
            rank = spearmanr(masses, true).statistic
            assert float(found.values["rank"][i]) == pytest.approx(rank)
            assert float(found.values["gain"][i]) == pytest.approx(rank - spearmanr(areas, true).statistic)
            assert float(found.values["hit"][i]) == (np.argmax(masses) == np.argmax(true))
            least = abs(true[np.argmax(masses)]) < 0.1 * max(map(abs, true))
            assert float(found.values["blamed"][i]) == least
    assert found.main == "rank"


def test_undefined_scenes_have_reasons_and_spoil_no_other():
    net, listed = linear(), scenes(4)
    few = listed[1].scene_data
    for name in few.part_names()[:-2]:
        few = few.without_part(name)
    listed[1] = render(few, SIDE)
    saliency = torch.rand(4, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    clean = iv.Intervention()(case(net, saliency, listed))
    saliency[2, 0, 0], saliency[3] = float("inf"), 0
    found = iv.Intervention()(case(net, saliency, listed))
    assert found.reasons == (
        None,
        "fewer than 3 visible parts",
        "map is not finite",
        "map has the same mass on every part",
    )
    for name, values in found.values.items():
        assert values.isnan().tolist() == [False, True, True, True]
        assert values[0] == clean.values[name][0]
    nothing = listed[0].scene_data.without_object()
    (empty,) = iv.part_effects(net, [render(nothing, SIDE)], 0)
    assert empty.names == ()
    assert empty.masks.shape == (0, SIDE, SIDE)
    assert iv.agreement(saliency[0], empty).reason == "fewer than 3 visible parts"
    assert iv.agreement(torch.rand(6, 6), toy([0.0, 0.0, 0.0])).reason == "no part has an effect"


def test_batch_is_one_by_one():
    net, listed = linear(), scenes(3)
    saliency = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    whole = iv.Intervention()(case(net, saliency, listed))
    for i in range(3):
        one = iv.Intervention()(case(linear(), saliency[i : i + 1], listed[i : i + 1]))
        for name in whole.values:
            assert one.values[name].tolist() == whole.values[name][i : i + 1].tolist()


def test_effects_are_computed_once_until_weights_or_target_change():
    net, listed = linear(), scenes()
    first = iv.part_effects(net, listed, 1)
    run = sum(net.module.calls)
    again = iv.part_effects(net, listed[::-1], 1)
    assert sum(net.module.calls) == run
    assert again[0] is first[2]
    iv.part_effects(net, listed, 2)
    assert sum(net.module.calls) > run
    run = sum(net.module.calls)
    net.module.weight.weight.data.mul_(2)  # unseen by version counters
    changed = iv.part_effects(net, listed, 1)
    assert sum(net.module.calls) > run
    assert torch.allclose(changed[0].logit, 2 * first[0].logit, rtol=1e-4)


def test_memory_is_bounded_and_dies_with_the_network(monkeypatch):
    monkeypatch.setattr(iv, "REMEMBERED", 2)
    net, listed = linear(), scenes(4)
    found = iv.part_effects(net, listed, lambda output: net.module.weight.bias.sum() + output[:, 0])
    assert len(iv._memory[net]) == 0  # the function holds the network
    iv.part_effects(net, listed, 0)
    assert len(iv._memory[net]) == 2
    alive = weakref.ref(net.module)
    del net, found
    gc.collect()
    assert alive() is None
    assert not [each for each in iv._memory if isinstance(each.module, Linear)]


def test_the_network_is_untouched_after_an_exception_too():
    net = linear()
    net.module.train()
    before = fingerprint(net.module), torch.get_rng_state().tolist()
    iv.part_effects(net, scenes(1), 0)

    def fail(module, args):
        torch.rand(1)
        raise RuntimeError("on purpose")

    handle = net.module.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="on purpose"):
        iv.part_effects(net, scenes(1), 1)
    handle.remove()
    assert (fingerprint(net.module), torch.get_rng_state().tolist()) == before
    assert net.module.training
    assert net.module.weight.weight.requires_grad
    assert net.module.weight.weight.grad is None


def test_bad_input():
    net = linear()
    with pytest.raises(TypeError, match="Expected scenes or renderings"):
        iv.part_effects(net, ["scenes:test/1"], 0)
    with pytest.raises(ValueError, match="Expected `batch_size`"):
        iv.part_effects(net, scenes(1), 0, 0)
    with pytest.raises(ValueError, match="Expected one target for each of 2 images"):
        iv.part_effects(net, scenes(2), [0])
    with pytest.raises(ValueError, match="Expected a scene of the concept world for each of 2 images, got 1"):
        iv.Intervention()(replace(case(net, torch.rand(2, SIDE, SIDE), scenes(2)), scenes=scenes(1)))
    with pytest.raises(ValueError, match="Expected a map at the input's size"):
        iv.agreement(torch.rand(5, 6), toy([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match="Expected `of`"):
        iv.Intervention(of="loss")
    with pytest.raises(ValueError, match="Expected `negligible`"):
        iv.Intervention(negligible=1)
    assert iv.part_effects(net, [], 0) == ()
