"""Training the embedded classifiers: tiny settings, what it writes, resuming as if never stopped."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors import safe_open
from tests.commandline import call

import pellucid as pl
from pellucid.core.registry import UnknownNameError
from pellucid.training import ClassifierTraining, classifier, measured_accuracy, model_card, train_classifier
from pellucid.world import CLASSES, SceneDataset

TINY = ClassifierTraining(images=128, epochs=2, batch_size=32, size=32, test_images=40, precision="float32")


@pytest.fixture
def stop_after(monkeypatch):
    """Call it with a number of epochs: training is then interrupted in the middle of the next one."""
    loss = classifier._Classifier.loss

    def arrange(epochs):
        def interrupted(self, *given):
            done = self.schedule.last_epoch
            if epochs is not None and done >= epochs * self.steps() + 2:
                raise KeyboardInterrupt
            return loss(self, *given)

        monkeypatch.setattr(classifier._Classifier, "loss", interrupted)

    return arrange


def tensors(file):
    with safe_open(file, "pt") as opened:
        return {key: opened.get_tensor(key) for key in sorted(opened.keys())}, opened.metadata()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_learns(tmp_path):
    """From a tenth to several times chance on pictures it has seen, within seconds."""
    settings = replace(TINY, epochs=12, learning_rate=0.05)
    history = train_classifier(settings, tmp_path, progress=False)["history"]
    assert [entry["epoch"] for entry in history] == list(range(1, 13))
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert history[-1]["training_accuracy"] > 0.3


def test_files_and_card(tmp_path):
    facts = train_classifier(TINY, tmp_path / "deep", progress=False)
    assert names(tmp_path / "deep") == ["scenes-vgg.md", "scenes-vgg.safetensors"]
    state, metadata = tensors(tmp_path / "deep" / "scenes-vgg.safetensors")
    assert {value.dtype for value in state.values() if value.ndim > 1} == {torch.float16}
    assert (metadata["architecture"], metadata["name"]) == ("scenes-vgg", "scenes-vgg")
    assert json.loads(metadata["training"])["accuracy"] == facts["accuracy"]
    assert asdict(TINY).items() <= facts.items()
    card = (tmp_path / "deep" / "scenes-vgg.md").read_text()
    assert card == model_card(facts)
    share = 100 * facts["accuracy"]["confounding 0"]
    assert f"| test scenes, confounding 0 | {share:.2f} % of 40 |" in card
    assert "class and background were independent" in card


def test_the_stated_accuracy_is_that_of_the_file(tmp_path):
    facts = train_classifier(replace(TINY, images=64), tmp_path, progress=False)
    net = pl.load(tmp_path / "scenes-vgg.safetensors")
    assert net.classes == tuple(CLASSES)
    for level in (0.0, 1.0):
        scenes = SceneDataset("test", 40, confounding=level, size=32)
        images, labels = zip(*(scenes[index] for index in range(40)), strict=True)
        output = net(net.preprocess.normalize(torch.stack(images)))
        share = float((output.argmax(1) == torch.tensor(labels)).float().mean())
        assert facts["accuracy"][f"confounding {level:g}"] == pytest.approx(share)
    assert measured_accuracy(net.module, TINY, 1.0) == facts["accuracy"]["confounding 1"]


def test_random_state_of_the_caller_stays(tmp_path):
    before = torch.get_rng_state()
    train_classifier(replace(TINY, images=32, epochs=1), tmp_path, progress=False)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("network", ["scenes-vgg", "scenes-resnet-confounded"])
def test_resumed_equals_uninterrupted_bit_for_bit(network, tmp_path, stop_after):
    settings = replace(TINY, network=network)
    whole = train_classifier(settings, tmp_path / "whole", progress=False)
    stop_after(1)
    with pytest.raises(KeyboardInterrupt):
        train_classifier(settings, tmp_path / "parts", progress=False)
    assert names(tmp_path / "parts") == [f"{network}.checkpoint.pt"]
    assert torch.load(tmp_path / "parts" / f"{network}.checkpoint.pt")["epoch"] == 1
    stop_after(None)
    parts = train_classifier(settings, tmp_path / "parts", progress=False)
    assert names(tmp_path / "parts") == [f"{network}.md", f"{network}.safetensors"]
    assert parts["history"] == whole["history"]
    assert parts["accuracy"] == whole["accuracy"]
    first, second = (tensors(tmp_path / part / f"{network}.safetensors")[0] for part in ("whole", "parts"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_every_epoch_has_its_own_order_and_mirroring():
    job = classifier._Classifier(TINY, progress=False)
    epochs = [list(job.batches(epoch)) for epoch in (0, 1, 0)]
    order = [torch.cat([chosen for chosen, _ in batches]) for batches in epochs]
    mirrored = [
        torch.cat([flags for _, flags in batches])[each.argsort()]
        for batches, each in zip(epochs, order, strict=True)
    ]
    assert torch.equal(order[0], order[2])
    assert torch.equal(mirrored[0], mirrored[2])
    assert not torch.equal(order[0], order[1])
    assert not torch.equal(mirrored[0], mirrored[1])
    assert all(torch.equal(each.sort().values, torch.arange(TINY.images)) for each in order)
    assert 0.3 < float(mirrored[0].float().mean()) < 0.7


def test_seed_and_confounding_matter(tmp_path):
    short = replace(TINY, images=32, epochs=1)
    kinds = (short, replace(short, seed=1), replace(short, network="scenes-vgg-confounded"))
    losses = [
        train_classifier(settings, tmp_path / str(index), progress=False)["history"][0]["loss"]
        for index, settings in enumerate((*kinds, short))
    ]
    assert losses[0] == losses[3]
    assert len(set(losses)) == 3


def test_checkpoint_of_other_settings_is_refused(tmp_path, stop_after):
    stop_after(1)
    with pytest.raises(KeyboardInterrupt):
        train_classifier(TINY, tmp_path, progress=False)
    kept = (tmp_path / "scenes-vgg.checkpoint.pt").read_bytes()
    with pytest.raises(ValueError, match=r"got others \(images was 128, seed was 0\); repeat them"):
        train_classifier(replace(TINY, seed=5, images=64), tmp_path, progress=False)
    assert (tmp_path / "scenes-vgg.checkpoint.pt").read_bytes() == kept
    (tmp_path / "scenes-vgg.checkpoint.pt").write_bytes(kept[:1000])
    with pytest.raises(ValueError, match="cannot be read; remove it"):
        train_classifier(TINY, tmp_path, progress=False)


def test_loss_that_is_not_finite_stops_and_keeps_the_last_epoch(tmp_path, capsys):
    flags = ("--images", 64, "--batch-size", 16, "--size", 32, "--test-images", 10, "--precision", "float32")
    given = ("train", "classifier", *flags, "--out", tmp_path, "--learning-rate", "1e30")
    assert call(*given) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("pellucid: Expected a finite loss, got nan in epoch 1, step ")
    assert "smaller `learning_rate`" in complaint
    assert not names(tmp_path)


def test_command(tmp_path, capsys, stop_after):
    flags = ("--images", 64, "--epochs", 2, "--batch-size", 16, "--size", 32, "--test-images", 10)
    given = ("train", "classifier", "--network", "scenes-resnet", *flags, "--out", tmp_path / "o")
    stop_after(0)
    assert call(*given) == 130
    assert capsys.readouterr().err == "pellucid: stopped. No epoch was finished.\n"
    stop_after(1)
    assert call(*given) == 130
    assert f"The last whole epoch is kept in {tmp_path / 'o'}" in capsys.readouterr().err
    stop_after(None)
    assert call(*given) == 0
    printed, complaint = capsys.readouterr()
    assert not complaint
    assert printed.splitlines()[-1] == f"weights: {tmp_path / 'o' / 'scenes-resnet.safetensors'}"
    assert printed.startswith("accuracy on 10 test scenes, confounding 0: ")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"network": "scenes-vg"}, "did you mean `scenes-vgg`"),
        ({"precision": "half"}, "got 'half'"),
        ({"images": 0}, "`images` to be at least 1, got 0"),
        ({"epochs": -1}, "`epochs`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"size": 16}, "`size` to be at least 32, got 16"),
        ({"seed": -1}, "`seed`"),
        ({"learning_rate": 0.0}, "positive `learning_rate`"),
        ({"learning_rate": float("nan")}, "positive `learning_rate`"),
        ({"weight_decay": -1.0}, "`weight_decay`"),
    ],
    ids=str,
)
def test_settings_out_of_range(wrong, words):
    with pytest.raises((ValueError, UnknownNameError)) as caught:
        ClassifierTraining(**wrong)
    assert words in str(caught.value)


@pytest.mark.parametrize("images", [1, 33])
def test_smallest_and_uneven_numbers(images, tmp_path):
    settings = replace(TINY, images=images, epochs=1, test_images=1)
    assert train_classifier(settings, tmp_path, progress=False)["history"][0]["epoch"] == 1
