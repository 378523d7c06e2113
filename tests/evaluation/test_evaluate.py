"""`evaluate`: every form of images, maps, masks and targets a user may bring, and what is said when they do not fit."""

from dataclasses import asdict, dataclass, fields, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from tests.networks import BinaryNet, Headed, family, images, lively, wrap

import pellucid as pl
from pellucid.core import registry
from pellucid.core.bibliography import PAPERS
from pellucid.core.registry import UnknownNameError, register
from pellucid.evaluation import Measurement, Metric
from pellucid.world import draw, render

QUICK = {"preset": "quick", "normalized": True}


@pytest.fixture
def net():
    return wrap(Headed(), classes=["ant", "bee", "cat", "dog", "elk"])


@pytest.fixture
def probe(monkeypatch):
    """A metric that keeps the cases it is given."""
    methods = {kind: dict(known) for kind, known in registry._methods.items()}
    pl.names("evaluation")
    monkeypatch.setattr(
        registry, "_methods", {**methods, "evaluation": dict(registry._methods["evaluation"])}
    )

    @register("evaluation", "probe")
    @dataclass(frozen=True)
    class Probe(Metric):
        better: ClassVar = {"one": "higher"}
        seen: ClassVar[list] = []
        factor: float = 1.0

        def __call__(self, case):
            self.seen.append(case)
            values = {"one": torch.full((len(case),), self.factor)}
            return Measurement(self.name, values, (None,) * len(case), self.better, asdict(self))

    return Probe


def maps(count=2, size=(32, 32), seed=3):
    return torch.rand(count, *size, generator=torch.Generator().manual_seed(seed))


def same(one, other):
    assert one.keys() == other.keys()
    for layer in one:
        assert torch.equal(one[layer].values["composite"], other[layer].values["composite"])


class TestMaps:
    def test_a_heatmap_gives_one_measurement_a_dict_one_for_each_layer(self, net):
        x = images(2)
        made = pl.attribute(net, x, "gradcam", ["relu1", "relu2"], target="cat", normalized=True)
        found = pl.evaluate(net, x, made, **QUICK)
        assert list(found) == ["relu1", "relu2"]
        alone = pl.evaluate(net, x, made["relu1"], **QUICK)
        assert isinstance(alone, Measurement)
        same({"relu1": alone}, {"relu1": found["relu1"]})
        bare = pl.evaluate(net, x, made["relu1"].upsample(), target="cat", **QUICK)
        same({"relu1": alone}, {"relu1": bare})
        assert torch.equal(bare.curves["deletion"], alone.curves["deletion"])
        as_array = pl.evaluate(net, x, made["relu1"].upsample().numpy(), target="cat", **QUICK)
        same({"relu1": alone}, {"relu1": as_array})

    def test_a_method_is_computed_and_handed_on(self, net, probe):
        x = images(3)
        made = pl.attribute(net, x, "gradcam", ["relu1", "relu2"], target=2, normalized=True)
        expected = pl.evaluate(net, x, made, **QUICK)
        for method in ("gradcam", registry.create("attribution", "gradcam")):
            same(pl.evaluate(net, x, method, layers=["relu1", "relu2"], target=2, **QUICK), expected)
            pl.evaluate(net, x, method, probe(), normalized=True)
            assert probe.seen[-1].method.name == "gradcam"
            assert probe.seen[-1].heatmap.method == "gradcam"
        assert list(pl.evaluate(net, x, "gradcam", **QUICK)) == list(net.default_layers)

    def test_arrays_that_are_reversed_or_read_only(self, net, probe):
        given = maps().numpy()[:, ::-1]
        given.flags.writeable = False
        pl.evaluate(net, images(2), given, probe(), masks=given > 0.5, normalized=True)
        assert torch.equal(probe.seen[-1].saliency, maps().flip(1))
        assert torch.equal(probe.seen[-1].masks, maps().flip(1) > 0.5)

    def test_integers_and_a_single_map(self, net, probe):
        pl.evaluate(net, images(1), torch.arange(1024).reshape(32, 32), probe(), normalized=True)
        assert probe.seen[-1].saliency.shape == (1, 32, 32)
        assert probe.seen[-1].saliency.is_floating_point()

    @pytest.mark.parametrize(
        ("given", "error", "said"),
        [
            (maps(3), ValueError, r"Expected `maps` at input size, one for each image, \(2, 32, 32\), got \(3, 32, 32\)"),
            (maps(2, (8, 8)), ValueError, r"got \(2, 8, 8\); try to resize them"),
            (maps()[None], ValueError, r"got \(1, 2, 32, 32\)"),
            (maps()[0], ValueError, r"got \(32, 32\)"),
            (maps().to(torch.complex64), ValueError, r"Expected `maps`"),
            ({}, ValueError, "Expected maps of at least one layer, got an empty dict"),
            (3, TypeError, "Expected a Heatmap, the dict .* got int"),
            ("gradcan", UnknownNameError, "did you mean `gradcam`"),
        ],
    )  # fmt: skip
    def test_errors(self, net, given, error, said):
        with pytest.raises(error, match=said):
            pl.evaluate(net, images(2), given, **QUICK)

    def test_heatmaps_of_other_images(self, net):
        made = pl.attribute(net, images(2), "gradcam", "relu2", normalized=True)
        with pytest.raises(ValueError, match=r"Expected `maps` at input size, one for each image, \(3,"):
            pl.evaluate(net, images(3), made, **QUICK)
        with pytest.raises(ValueError, match="Expected maps of images of 24×32, got maps of 32×32"):
            pl.evaluate(net, images(2, (3, 24, 32)), made, **QUICK)

    def test_layers_are_for_methods(self, net):
        with pytest.raises(
            TypeError, match=r"Expected `layers` only with the name of a method.*Tensor \(2, 32, 32\)"
        ):
            pl.evaluate(net, images(2), maps(), layers="relu2", **QUICK)


class TestTarget:
    def aimed(self, net, probe, given, x=None, **options):
        pl.evaluate(net, images(3) if x is None else x, given, probe(), normalized=True, **options)
        return probe.seen[-1].target

    def predicted(self, net, x):
        with torch.no_grad():
            return net.probabilities(net(x)).argmax(1).tolist()

    def test_by_default_the_class_the_maps_were_made_for(self, net, probe):
        made = pl.attribute(net, images(3), "gradcam", "relu2", target=["dog", "ant", "bee"], normalized=True)
        assert self.aimed(net, probe, made).indices.tolist() == [3, 0, 1]
        assert self.aimed(net, probe, made["relu2"], target="elk").indices.tolist() == [4, 4, 4]
        assert self.aimed(net, probe, "gradcam", target=["dog", "ant", "bee"]).indices.tolist() == [3, 0, 1]

    def test_else_the_predicted_class(self, net, probe):
        expected = self.predicted(net, images(3))
        assert self.aimed(net, probe, maps(3)).indices.tolist() == expected
        assert self.aimed(net, probe, "gradcam").indices.tolist() == expected
        made = pl.attribute(net, images(3), "gradcam", "relu2", target=0, normalized=True)["relu2"]
        assert self.aimed(net, probe, replace(made, target=())).indices.tolist() == expected

    def test_a_name_that_several_classes_have(self, probe):
        net = wrap(Headed(), classes=["crane"] * 5)
        expected = self.predicted(net, images(3))
        assert self.aimed(net, probe, "gradcam").indices.tolist() == expected
        one, other = [index for index in range(5) if index != expected[0]][:2]
        names = ["crane" if index in (one, other) else f"class {index}" for index in range(5)]
        net = wrap(Headed(), classes=names)
        made = pl.attribute(net, images(3), "gradcam", "relu2", target=one, normalized=True)
        with pytest.raises(ValueError, match="maps for `crane`, the name of 2; try `target=`"):
            self.aimed(net, probe, made)
        assert self.aimed(net, probe, made, target=one).indices.tolist() == [one] * 3

    def test_a_function(self, net, probe):
        def margin(output):
            return output[:, 0] - output[:, 1]

        made = pl.attribute(net, images(3), "gradcam", "relu2", target=margin, normalized=True)
        with pytest.raises(ValueError, match="got maps for `margin`, the name of none; try `target=`"):
            self.aimed(net, probe, made)
        assert self.aimed(net, probe, made, target=margin).function is margin
        found = pl.evaluate(net, images(3), made["relu2"], target=margin, **QUICK)
        with torch.no_grad():
            torch.testing.assert_close(
                found.curves["deletion"][:, 0], margin(net(images(3))).double(), atol=1e-5, rtol=0
            )

    def test_one_logit(self, probe):
        net = wrap(BinaryNet())
        made = pl.attribute(net, images(3), "gradcam", "relu2", target=[0, 1, 0], normalized=True)
        assert self.aimed(net, probe, made).signs.tolist() == [-1, 1, -1]

    def test_wrong_lengths(self, net):
        with pytest.raises(ValueError, match="Expected one target for each of 2 images, got 3"):
            pl.evaluate(net, images(2), maps(), target=[0, 1, 2], **QUICK)


class TestImages:
    def test_pictures_are_preprocessed(self, net, probe):
        pixels = np.random.default_rng(0).integers(0, 255, (2, 40, 50, 3), dtype=np.uint8)
        pictures = [Image.fromarray(each) for each in pixels]
        pl.evaluate(net, pictures, "gradcam", probe())
        case = probe.seen[-1]
        assert torch.equal(case.images, torch.stack([net.preprocess(each) for each in pictures]))
        assert case.saliency.shape == (2, *case.images.shape[2:])
        with pytest.raises(ValueError, match="try normalized=True"):
            pl.evaluate(net, images(2), maps())

    def test_scenes_bring_their_masks(self, probe):
        net = pl.load(lively(Headed()), input_shape=(3, 64, 64), preprocess=pl.Preprocess.scenes(64))
        scenes = [draw(number, split="test") for number in range(3)]
        pl.evaluate(net, scenes, "gradcam", probe())
        case = probe.seen[-1]
        renderings = [render(scene) for scene in scenes]
        assert [each.scene_data for each in case.scenes] == scenes
        assert case.masks.shape == (3, 64, 64)
        assert case.masks.dtype == torch.bool
        for mask, rendering, image in zip(case.masks, renderings, case.images, strict=True):
            true = torch.from_numpy(rendering.object_mask()).float()
            half = torch.nn.functional.avg_pool2d(true[None], 2)[0]
            assert float(((half > 0.5) != mask).float().mean()) < 0.02
            assert torch.equal(image, net.preprocess(Image.fromarray(rendering.image)))
        pl.evaluate(net, renderings, "gradcam", probe(), masks=torch.zeros(3, 64, 64, dtype=torch.bool))
        assert not probe.seen[-1].masks.any()
        pl.evaluate(net, scenes[0], maps(1, (64, 64)), probe())
        assert torch.equal(probe.seen[-1].masks, case.masks[:1])
        with pytest.raises(
            TypeError, match="Expected scenes or renderings, and nothing else beside them, got image 1"
        ):
            pl.evaluate(net, [scenes[0], Image.new("RGB", (64, 64))], "gradcam", probe())

    def test_options_reach_the_metric(self, net, probe):
        x = images(2)
        pl.evaluate(net, x, maps(), probe(), batch_size=7, seed=5, progress=False, normalized=True)
        case = probe.seen[-1]
        assert (case.batch_size, case.seed, case.progress, len(case)) == (7, 5, False, 2)
        assert pl.evaluate(net, x, maps(), "probe", factor=3.0, normalized=True).mean().mean == 3
        with pytest.raises(ValueError, match="Expected `batch_size` of at least 1, got 0"):
            pl.evaluate(net, x, maps(), batch_size=0, **QUICK)


class TestMasks:
    @pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
    def test_forms(self, net, probe, dtype):
        masks = maps() > 0.5
        for given in (masks.to(dtype), masks.to(dtype).numpy()):
            pl.evaluate(net, images(2), maps(), probe(), masks=given, normalized=True)
            assert torch.equal(probe.seen[-1].masks, masks)
        pl.evaluate(net, images(1), maps(1), probe(), masks=masks[0].to(dtype), normalized=True)
        assert torch.equal(probe.seen[-1].masks, masks[:1])

    @pytest.mark.parametrize(
        ("masks", "said"),
        [
            (maps(3) > 0.5, r"Expected `masks` at input size, one for each image, \(2, 32, 32\), got \(3, 32, 32\)"),
            (maps(2, (40, 50)) > 0.5, r"got \(2, 40, 50\)"),
            (maps(), "Expected `masks` of True and False, got torch.float32 values; try `masks > 0`"),
            (255 * (maps() > 0.5), "try `masks > 0`"),
        ],
    )  # fmt: skip
    def test_errors(self, net, masks, said):
        with pytest.raises(ValueError, match=said):
            pl.evaluate(net, images(2), maps(), "energy", masks=masks, normalized=True)

    def test_an_empty_mask_concerns_its_image_only(self, net):
        masks = maps() > 0.5
        masks[1] = False
        for name in pl.names("evaluation"):
            if registry.get("evaluation", name).needs == "masks":
                found = pl.evaluate(net, images(2), maps(), name, masks=masks, normalized=True)
                assert found.reasons[0] is None
                assert found.reasons[1]
                assert found.values[found.main].isnan().tolist() == [False, True]


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        ("masks", "Expected `masks` of the object for the metric `probe`, got none; try `masks=`, bool"),
        ("method", "Expected the method that makes the maps for the metric `probe`, got none; try its name"),
        (
            "scenes",
            "Expected scenes of the concept world for the metric `probe`, got none; try `pellucid.world",
        ),
    ],
)
def test_what_a_metric_needs(net, probe, monkeypatch, needs, said):
    monkeypatch.setattr(probe, "needs", needs)
    with pytest.raises(ValueError) as caught:
        pl.evaluate(net, images(2), maps(), probe(), normalized=True)
    assert str(caught.value).startswith(said)
    assert not probe.seen


def test_unknown_metrics_and_parameters(net):
    with pytest.raises(UnknownNameError, match="did you mean `insertion-deletion`"):
        pl.evaluate(net, images(2), maps(), "insertion-deletio", normalized=True)
    with pytest.raises(
        TypeError, match="Expected a parameter of `insertion-deletion`, got `stepps`; did you mean `steps`"
    ):
        pl.evaluate(net, images(2), maps(), stepps=3, normalized=True)


@pytest.mark.parametrize("name", pl.names("evaluation"))
def test_every_metric_says_what_it_is(name):
    metric = registry.get("evaluation", name)
    assert metric.name == name
    assert metric.__doc__
    assert metric.paper is None or metric.paper in PAPERS
    assert metric.needs in ("maps", "masks", "method", "scenes")
    assert metric.better
    assert set(metric.better.values()) <= {"higher", "lower"}
    assert all(field.name.isidentifier() for field in fields(metric))


@pytest.mark.parametrize("name", ["insertion-deletion", "average-drop"])
@pytest.mark.parametrize("kind", ["residual", "dense", "shared", "convolutional"])
def test_families(name, kind):
    net, x = family(kind), images(2)
    parameters = {"preset": "quick"} if name == "insertion-deletion" else {}
    found = pl.evaluate(net, x, "layercam", name, normalized=True, **parameters)
    for layer, measured in found.items():
        again = pl.evaluate(
            net, x[1:], "layercam", name, layers=layer, batch_size=3, normalized=True, **parameters
        )[layer]
        for quantity, values in measured.values.items():
            assert values.dtype == torch.float64
            assert values.shape == (2,)
            torch.testing.assert_close(
                again.values[quantity][0], values[1], atol=1e-4, rtol=0, equal_nan=True
            )
