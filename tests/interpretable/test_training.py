"""Training interpretable networks: frozen lower layers, resuming, the ordinary twin, files, and everything that can be wrong."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from tests.interpretable.networks import TOP, held, plain
from tests.networks import images

import pellucid as pl
from pellucid.core.registry import UnknownNameError
from pellucid.core.storage import fingerprint
from pellucid.data.preprocess import Preprocess
from pellucid.interpretable import Templates, maskings
from pellucid.interpretable.caching import entered, finished_by, lower_maps
from pellucid.interpretable.job import InterpretableJob, accuracy
from pellucid.interpretable.pictures import Pictures, open_pictures
from pellucid.interpretable.settings import InterpretableTraining
from pellucid.interpretable.training import interpretable_card, train_interpretable
from pellucid.training.loop import train
from pellucid.zoo.checkpoint import CheckpointError
from pellucid.zoo.interpretable.backbones import ALEXNET, Backbone, open_backbone, replace_head

TINY = InterpretableTraining(images=48, epochs=2, batch_size=16, test_images=10, precision="float32")
PREPROCESS = Preprocess.scenes(32)


def spots(count=64, classes=2, seed=0):
    """Pictures of noise with a bright square that is left or right by class."""
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 60, (count, 3, 32, 32), generator=draw, dtype=torch.uint8)
    labels = torch.arange(count) % classes
    for index, label in enumerate(labels.tolist()):
        pixels[index, label % 3, 8:16, 10:18] = 250
    return Pictures(pixels, labels, tuple(f"kind {index}" for index in range(classes)))


def small(settings=None, pictures=None, **change):
    """A job on a small network, without the embedded ones."""
    settings = InterpretableTraining(
        **{"epochs": 2, "batch_size": 16, "precision": "float32", "layers": (TOP,), "freeze": "features.12", **change}
    )  # fmt: skip
    pictures = pictures or spots()
    outputs = 1 if settings.target is not None else len(pictures.classes)
    backbone = Backbone("none", plain(outputs, settings.seed).train(), PREPROCESS)
    return InterpretableJob(settings, pictures, backbone=backbone, progress=False)


def run(job, file, **options):
    with job.above():
        return train(job, file, precision=job.settings.precision, progress=False, **options)


@pytest.mark.parametrize("change", [{}, {"mode": "released"}, {"ordinary": True}, {"target": "kind 1"}])
def test_it_learns(tmp_path, change):
    job = small(epochs=6, **change)
    record = run(job, tmp_path / "c.pt")
    assert [row["epoch"] for row in record.history] == list(range(1, 7))
    assert record.history[-1]["task"] < 0.7 * record.history[0]["task"]
    assert accuracy(job.module, job.backbone, spots(32, seed=1)) > 0.8
    assert (record.history[0]["templates"] == 0) == bool(change.get("ordinary"))
    assert {int(each.steps) for each in maskings(job.module)} == (set() if change.get("ordinary") else {24})


def test_frozen_layers_stay_and_the_rest_moves(tmp_path):
    job = small()
    before = {key: value.clone() for key, value in job.module.state_dict().items()}
    run(job, tmp_path / "c.pt")
    moved = {key for key, value in job.module.state_dict().items() if not torch.equal(value, before[key])}
    assert not {key for key in moved if key.startswith("features.") and int(key.split(".")[1]) <= 12}
    assert {"features.14.weight", f"{TOP}.convolution.weight", "classifier.0.weight"} <= moved


def test_the_kept_maps_are_those_of_the_network():
    module, pictures = held(), spots(8)
    names = finished_by(module, "features.12", PREPROCESS.normalize(pictures.images[:1]))
    assert names[-1] == "features.12"
    maps = lower_maps(
        module, "features.12", pictures.images, PREPROCESS.normalize, dtype=torch.float32, batch_size=3
    )
    assert maps.shape == (2, 8, 12, 16, 16)
    x = PREPROCESS.normalize(pictures.images)
    for side, whole in enumerate((x, x.flip(3))):
        with entered(module, names), torch.no_grad():
            found = module(maps[side])
        torch.testing.assert_close(found, module(whole).detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module(x), module(x))  # entered ends where its block does


def test_entering_leaves_nothing_behind_after_an_error():
    module = held()
    before = [sorted(vars(each)) for each in module.modules()]
    with pytest.raises(RuntimeError), entered(module, ("features.0", "features.12")):
        raise RuntimeError
    assert [sorted(vars(each)) for each in module.modules()] == before


def test_freezing_inside_a_residual_block_is_refused():
    module = open_backbone("scenes-resnet").module
    with pytest.raises(ValueError) as caught:
        finished_by(module, "layer3.0.relu1", torch.rand(1, 3, 64, 64))
    assert str(caught.value) == (
        "Expected a layer that everything passes, got `layer3.0.relu1`, which something goes around; "
        "try the end of a block or a stage."
    )
    assert finished_by(module, "layer3", torch.rand(1, 3, 64, 64))[-1] == "layer3"
    with pytest.raises(
        UnknownNameError, match="Expected the name of a layer with a map, got `layer33`; did you mean"
    ):
        finished_by(module, "layer33", torch.rand(1, 3, 64, 64))


def test_interrupted_is_uninterrupted(tmp_path, monkeypatch):
    whole = small(epochs=3)
    run(whole, tmp_path / "whole.pt")
    first = small(epochs=3)
    loss, calls = InterpretableJob.loss, []

    def stopping(self, forward, batch):
        calls.append(1)
        if len(calls) == 6:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return loss(self, forward, batch)

    monkeypatch.setattr(InterpretableJob, "loss", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(first, tmp_path / "c.pt")
    monkeypatch.undo()
    assert "forward" not in vars(first.module.features[0])
    second = small(epochs=3)
    record = run(second, tmp_path / "c.pt")
    assert record.epoch == 3
    assert fingerprint(second.module) == fingerprint(whole.module)
    with pytest.raises(ValueError, match=r"got others \(beta was 3.0\)"):
        run(small(epochs=3, beta=4.0), tmp_path / "c.pt")


def test_same_seed_same_bytes_and_the_callers_random_state_stays(tmp_path):
    prints = []
    for seed in (0, 0, 1):
        job = small(seed=seed)
        state = torch.get_rng_state()
        run(job, tmp_path / "c.pt", resume=False)
        assert torch.equal(torch.get_rng_state(), state)
        prints.append(fingerprint(job.module))
    assert prints[0] == prints[1] != prints[2]


def test_a_loss_that_is_not_finite_names_filter_and_step(tmp_path):
    job = small(freeze="none")
    with torch.no_grad():
        job.module.get_submodule(f"{TOP}.layer").register_forward_hook(
            lambda _module, _args, output: output.index_fill(1, torch.tensor([3, 5]), torch.nan)
        )
    with pytest.raises(FloatingPointError) as caught:
        run(job, tmp_path / "c.pt")
    assert str(caught.value) == (
        f"Expected a finite loss, got nan in epoch 1, step 1, in filter 3 and 1 more of `{TOP}`; "
        "try a smaller `learning_rate`."
    )
    twin = small(freeze="none", ordinary=True)
    with torch.no_grad():
        twin.module.classifier[0].weight.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="step 1, in the loss of the classification; try"):
        run(twin, tmp_path / "d.pt")


def test_bf16(tmp_path):
    job = small(precision="bf16")
    assert job.lower.dtype == torch.bfloat16
    assert run(job, tmp_path / "c.pt").epoch == 2


def test_softmax_and_logistic_scales():
    """A softmax is multiplied by the number of classes in the released code: its templates weigh as much less here."""
    ratios = {
        (mode, loss): small(mode=mode, loss=loss, freeze="none")._ratio()
        for mode in ("paper", "released") for loss in ("softmax", "logistic")
    }  # fmt: skip
    assert ratios == {
        ("paper", "softmax"): 1, ("paper", "logistic"): 1, ("released", "softmax"): 2, ("released", "logistic"): 1
    }  # fmt: skip
    job = small(loss="logistic", freeze="none")
    output, labels = torch.tensor([[2.0, -1.0], [0.5, 0.0]]), torch.tensor([0, 1])
    wanted = -(torch.tensor([[2.0, 1.0], [-0.5, 0.0]]).sigmoid().log().sum(1)).mean()
    torch.testing.assert_close(job._task(output, labels), wanted)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What the command leaves, in the smallest way: an object against the background."""
    out = tmp_path_factory.mktemp("written")
    facts = train_interpretable(replace(TINY, target="bird"), out / "deep", progress=False)
    return out / "deep", facts


def test_files_card_and_loading(written):
    out, facts = written
    name = "scenes-vgg-bird-interpretable"
    assert sorted(each.name for each in out.iterdir()) == [f"{name}.md", f"{name}.safetensors"]
    assert (out / f"{name}.md").read_text() == interpretable_card(facts)
    assert f"| test pictures | {100 * facts['accuracy']:.2f} % of 10 |" in interpretable_card(facts)
    with safe_open(out / f"{name}.safetensors", "pt") as opened:
        metadata = opened.metadata()
        assert opened.get_tensor("features.30.convolution.weight").dtype == torch.float16
        assert opened.get_tensor("features.30.masking.log_z").dtype == torch.float32
    assert json.loads(metadata["training"])["accuracy"] == facts["accuracy"]
    net = pl.load(out / f"{name}.safetensors")
    assert (net.classes, net.head) == (("background", "bird"), "binary")
    test = open_pictures(replace(TINY, target="bird"), "test", net.preprocess)
    found = net.probabilities(net(net.preprocess.normalize(test.images))).argmax(1) == test.labels
    assert facts["accuracy"] == pytest.approx(float(found.double().mean()))


def test_a_file_that_does_not_say_how_it_was_made(written, tmp_path):
    from safetensors.torch import load_file, save_file

    out, _ = written
    (file,) = out.glob("*.safetensors")
    state = load_file(file)
    broken = tmp_path / "broken.safetensors"
    save_file(
        state,
        broken,
        {"architecture": "scenes-vgg", "interpretation": "{}", "classes": "[]", "preprocess": "{}"},
    )
    with pytest.raises(CheckpointError, match="which does not say how it was made"):
        pl.load(broken)
    with pytest.raises(
        TypeError, match="Expected an interpretable network as its file says, got num_classes too"
    ):
        pl.load(file, num_classes=3)


def test_the_embedded_one():
    net = pl.load("scenes-vgg-interpretable")
    assert len(net.classes) == 10
    assert len(maskings(net.module)) == 2
    settings = InterpretableTraining(test_images=60)
    test = open_pictures(settings, "test", net.preprocess)
    assert accuracy(net.module, Backbone("scenes-vgg", net.module, net.preprocess), test) > 0.9
    assert (maskings(net.module)[1].filter_classes().bincount(minlength=10) > 0).sum() >= 8


def test_alexnet_is_grouped_and_takes_227():
    backbone = open_backbone(ALEXNET, outputs=3)
    assert backbone.preprocess.size == (227, 227)
    assert backbone.module(torch.rand(1, 3, 227, 227)).shape == (1, 3)
    assert pl.load(backbone.module, preprocess=backbone.preprocess).layers["relu5"].shape == (256, 13, 13)
    with pytest.raises(
        UnknownNameError, match=r"Expected a network to make interpretable .* got `alexnet`; try one of"
    ):
        open_backbone("alexnet")
    with pytest.raises(ValueError, match="Expected a network that ends in a linear layer, got Conv2d"):
        replace_head(torch.nn.Conv2d(3, 3, 3), 2)


def test_a_torchvision_network_from_a_file_and_back(tmp_path):
    settings = InterpretableTraining(
        backbone="torchvision:squeezenet1_1", freeze="none", layers=("features.12.expand3x3_activation",), alone=True
    )  # fmt: skip
    pixels = torch.randint(0, 255, (4, 3, 64, 64), dtype=torch.uint8)
    job = InterpretableJob(settings, Pictures(pixels, torch.arange(4) % 2, ("a", "b")), progress=False)
    assert job.module.eval()(torch.rand(1, 3, 64, 64)).shape == (1, 2)


def test_folders(tmp_path):
    draw = torch.Generator().manual_seed(0)
    for kind, count in (("cat", 7), ("dog", 5), ("emu", 5)):
        (tmp_path / kind).mkdir()
        for index in range(count):
            pixels = torch.randint(0, 255, (40, 50, 3), generator=draw, dtype=torch.uint8).numpy()
            Image.fromarray(pixels).save(tmp_path / kind / f"{index}.png")
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    settings = replace(TINY, data=str(tmp_path))
    train_, test = (open_pictures(settings, split, PREPROCESS) for split in ("train", "test"))
    assert train_.images.shape == (14, 3, 32, 32)
    assert train_.labels.bincount().tolist() == [6, 4, 4]
    assert test.labels.bincount().tolist() == [1, 1, 1]
    one = open_pictures(replace(settings, target="dog"), "train", PREPROCESS)
    assert (one.classes, one.labels.bincount().tolist()) == (("background", "dog"), [4, 4])
    with pytest.raises(
        UnknownNameError, match="Expected the target to be a class, got `dogs`; did you mean `dog`"
    ):
        open_pictures(replace(settings, target="dogs"), "train", PREPROCESS)
    (tmp_path / "fox").mkdir()
    with pytest.raises(
        ValueError, match="Expected pictures of every class, got none of fox; try more pictures"
    ):
        open_pictures(settings, "train", PREPROCESS)
    with pytest.raises(
        ValueError, match="Expected a folder with a folder of pictures for each of several classes, got"
    ):
        open_pictures(replace(settings, data=str(tmp_path / "cat")), "train", PREPROCESS)


@pytest.mark.parametrize("background", ["others", "empty"])
def test_scenes_of_one_class(background):
    settings = replace(TINY, target="house", background=background, images=12)
    pictures = open_pictures(settings, "train", Preprocess.scenes())
    assert pictures.labels.tolist() == [1, 0] * 6
    assert pictures.classes == ("background", "house")
    few = replace(TINY, images=4)
    with pytest.raises(ValueError, match="Expected pictures of every class, got none of "):
        open_pictures(few, "train", Preprocess.scenes())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "hinge"}, 'Expected `loss` to be "softmax" or "logistic", got \'hinge\'.'),
        ({"epochs": 0}, "Expected `epochs` to be at least 1, got 0."),
        ({"norm": "max"}, 'Expected `norm` to be "l2" or "l1", got \'max\'.'),
        ({"learning_rate": 0}, "Expected a positive `learning_rate` and a `weight_decay` of at least 0, got 0 and 0.0005"),
        ({"background": "empty"}, 'Expected `background` "empty" with one target among scenes, got no target; try "others".'),
    ],
)  # fmt: skip
def test_settings_out_of_range(given, message):
    with pytest.raises(ValueError) as caught:
        InterpretableTraining(**given)
    assert str(caught.value).startswith(message)


def test_freezing_what_is_to_be_held_is_refused():
    with pytest.raises(
        ValueError, match=f"Expected `freeze` below the layers that are made interpretable, got `{TOP}`"
    ):
        small(freeze=TOP)


def test_the_templates_follow_the_settings():
    job = small(norm="l1", mode="released", weight=2.0)
    assert job.how.templates == Templates("l1", "released", "centroid", 3.0, 2.0, 2.0, 1.0)
    assert images(1).shape[1] == 3
