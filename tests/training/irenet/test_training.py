"""Training recognizers: samples, what is written, resuming, several processes, crops of all kinds, bad input."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from tests.bounds import rounding
from tests.processes import together

from pellucid.core.registry import UnknownNameError
from pellucid.training.irenet import RecognizerTraining, learning, train_recognizer
from pellucid.training.irenet import preparing as module
from pellucid.training.irenet.card import answers
from pellucid.training.irenet.pictures import LEAST, Pictures, Vocabulary, around, cut, part_boxes, sampled
from pellucid.training.irenet.preparing import prepare
from pellucid.training.irenet.regions import neuron_boxes
from pellucid.training.irenet.samples import Crops, Views
from pellucid.training.loop import train
from pellucid.units import unit_regions
from pellucid.world import CATEGORIES, SceneDataset
from pellucid.world.concepts import SceneConcepts
from pellucid.zoo.checkpoint import CheckpointError

KINDS = ("part", "color", "scene")


def scenes(count=3, categories=KINDS, size=64):
    source = SceneConcepts.of(count, split="test", size=size)
    return Pictures(source, range(count), Vocabulary.of(source, categories))


def tensors(file):
    with safe_open(file, "pt") as opened:
        return {key: opened.get_tensor(key) for key in sorted(opened.keys())}, opened.metadata()


def test_vocabulary_and_labels_are_the_scenes_own():
    pictures = scenes()
    words = pictures.vocabulary
    assert words.names == (*CATEGORIES["part"], *CATEGORIES["color"], *CATEGORIES["scene"])
    assert (words.mapped, words.sizes) == (("part", "color"), (31, 11))
    truth = SceneDataset("test", 3, size=64).rendering(2)
    image, maps, whole = pictures.read(2)
    assert np.array_equal(image.permute(1, 2, 0), truth.image)
    assert np.array_equal(maps[0], truth.part)
    assert np.array_equal(maps[1], truth.color)
    assert whole.tolist() == [42 + truth.scene - 1]
    for kind in ("crop", "view"):
        labels = pictures.labels(maps, whole, kind)
        for k, (name, category) in enumerate(zip(words.names, words.categories, strict=True)):
            share = truth.mask(name, category).mean()
            least = LEAST["part in view"] if kind == "view" and category == "part" else LEAST[kind]
            doubt = -1 if kind == "view" and share > 0 else 0
            assert labels[k] == (1 if share >= least else doubt), (name, share)


def test_names_in_two_categories():
    pictures = scenes(1, ("object", "scene"))
    assert "sky" in pictures.vocabulary.names
    source = SceneConcepts.of(1)
    source.concepts = tuple(
        replace(each, name="red") if each.name == "wheel" else each for each in source.concepts
    )
    assert {"red (part)", "red (color)"} <= set(Vocabulary.of(source, KINDS).names)


def test_squares():
    assert around((10, 20, 20, 60), 0.1, 8, 100, 100) == (
        0,
        16,
        48,
        64,
    )  # centered at row 15, moved into the picture
    assert around((40, 40, 42, 42), 0.0, 8, 100, 100) == (37, 37, 45, 45)
    assert around((0, 0, 30, 90), 0.5, 8, 50, 100) == (0, 0, 50, 100)
    ramp = torch.arange(64, dtype=torch.uint8).repeat(3, 64, 1)
    assert torch.equal(cut(ramp, (3, 5, 13, 15), 10), ramp[:, 3:13, 5:15])
    halves = cut(ramp, (0, 8, 16, 24), 8)[0, 4]  # antialiased: means of two columns, weighted beyond them
    assert halves[1:-1].tolist() == pytest.approx([8.5 + 2 * k for k in range(1, 7)], abs=0.51)
    assert sampled(ramp[:1], (0, 8, 16, 24), 4)[0, 0].tolist() == [10, 14, 18, 22]


def test_part_crops_show_their_part():
    pictures = scenes(4)
    boxes = part_boxes(pictures, 0.2, 8)
    crops = Crops.of(pictures, boxes, 32)
    assert crops.places.tolist() == [place for place, _ in boxes]
    shown = [
        sum(truth.mask(name).sum() >= 0.0005 * 64 * 64 for name in CATEGORIES["part"])
        for truth in map(SceneDataset("test", 4, size=64).rendering, range(4))
    ]
    assert torch.bincount(crops.places).tolist() == shown
    assert float((crops.labels[:, :31] == 1).any(1).float().mean()) > 0.9


def test_what_is_drawn_depends_on_the_sample_alone():
    """A sample of a crop or a view is the same in any batch; without draws it is the middle, or the whole."""
    pictures = scenes(5)
    draws = torch.rand(60, 8)
    for samples in (Views(pictures, 32, 8), Crops.of(pictures, part_boxes(pictures, 0.1, 8), 32)):
        together = samples.batch(torch.tensor([0, 3, 4]), draws)
        alone = samples.batch(torch.tensor([3]), draws)
        assert all(torch.equal(one[1:2], other) for one, other in zip(together[:2], alone[:2], strict=True))
        assert together[0].shape == (3, 3, 32, 32)
    crops = samples
    draws[0, 2:7] = torch.tensor([0.5, 0.5, 0.9, 0.5, 0.5])  # the middle, not mirrored, as bright as it is
    plain, lit = crops.batch(torch.tensor([0]))[0], crops.batch(torch.tensor([0]), draws)[0]
    torch.testing.assert_close(plain, lit)
    draws[0, 4] = 0.1
    torch.testing.assert_close(plain.flip(3), crops.batch(torch.tensor([0]), draws)[0])


def test_a_view_and_its_map_lie_on_each_other():
    """Wherever the square is cut and mirrored, the map's cells are the picture's own labels."""
    pictures = scenes(2, ("color",))
    draws = torch.rand(2, 8)
    draws[:, 0] = 0.9  # a square, not the whole
    draws[:, 4] = torch.tensor([0.1, 0.9])
    draws[:, 1:4] = torch.tensor([0.2, 0.3, 0.8])
    _, labels, maps = Views(pictures, 32, 16).batch(torch.tensor([0, 1]), draws)
    for k in range(2):
        truth = pictures.read(k)[1]
        side = round((0.4 + 0.6 * 0.2) * 64)
        top, left = int(0.3 * (65 - side)), int(0.8 * (65 - side))
        inside = truth[:, top : top + side, left : left + side]
        expected = sampled(truth, (top, left, top + side, left + side), 16)
        assert torch.equal(maps[k], expected.flip(2) if k == 0 else expected)
        assert torch.equal(labels[k], pictures.labels(inside, torch.tensor([], dtype=torch.long), "view"))


def test_files_and_card(trained):
    facts, folder = trained
    assert sorted(path.name for path in folder.iterdir()) == ["irenet.md", "irenet.safetensors"]
    state, metadata = tensors(folder / "irenet.safetensors")
    assert {value.dtype for value in state.values() if value.ndim > 1} == {torch.float16}
    assert json.loads(metadata["irenet"]) == json.loads(json.dumps(facts))
    card = (folder / "irenet.md").read_text()
    assert card == learning.recognizer_card(facts)
    for words in (
        "irenet at 0.125 of its published width",
        "an extension of ours",
        "| wheel | part |",
        "left out, too few",
    ):
        assert words in card
    assert (
        len(facts["names"])
        == len(facts["thresholds"])
        == len(facts["card"])
        == facts["architecture"]["labels"]
    )
    assert str(folder) not in card + json.dumps(facts)


def test_the_card_speaks_of_the_file(trained, tiny):
    """Thresholds are of validation pictures, measures of test pictures, both of the rounded weights."""
    from pellucid.explanation.recognizer import recognizer
    from pellucid.training.irenet.metrics import quality

    facts, folder = trained
    seen, prepared = recognizer(folder / "irenet.safetensors"), prepare(tiny, progress=False)
    truth, found = answers(seen.module, prepared.test)
    assert quality(truth, found, seen.thresholds).plain() == pytest.approx(facts["quality"], abs=1e-6)
    pictures = torch.stack([SceneDataset("test", 16, size=32)[k][0] for k in range(16)])
    torch.testing.assert_close(seen.probabilities(pictures), found)


def test_it_learns(tiny, tmp_path):
    """From scratch, labels on the crops of three pictures and maps on two whole ones."""
    crops = replace(
        tiny, crops="parts", maps=False, pictures=3, epochs=6, categories=("part",), learning_rate=5e-3
    )
    views = replace(tiny, pictures=2, checked=2, batch_size=2, epochs=25, categories=("object",), positives=1)
    for settings, name, share in ((crops, "loss", 0.8), (replace(views, learning_rate=1e-2), "cells", 0.8)):
        job = learning.RecognizerJob(settings, prepare(settings, progress=False))
        history = train(job, tmp_path / f"{name}.pt", precision="float32", progress=False).history
        assert history[-1][name] < share * history[0][name]


def test_resumed_equals_uninterrupted(trained, tiny, tmp_path, monkeypatch):
    _, folder = trained
    before = torch.get_rng_state()
    loss = learning.RecognizerJob.loss

    def interrupted(self, forward, batch):
        if self.schedule.last_epoch == 4:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return loss(self, forward, batch)

    monkeypatch.setattr(learning.RecognizerJob, "loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_recognizer(tiny, tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["irenet.checkpoint.pt"]
    monkeypatch.setattr(learning.RecognizerJob, "loss", loss)
    with pytest.raises(ValueError, match=r"width was 0\.125"):
        train_recognizer(replace(tiny, width=0.25), tmp_path, progress=False)
    train_recognizer(tiny, tmp_path, progress=False)
    first, second = (tensors(place / "irenet.safetensors")[0] for place in (folder, tmp_path))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(torch.get_rng_state(), before)


def test_two_processes(trained, tmp_path):
    """With what torchrun tells them, both hold the same weights, and only the first writes."""
    together([Path(__file__).with_name("two_processes.py"), tmp_path])
    ranks = [torch.load(tmp_path / f"rank{k}.pt") for k in range(2)]
    assert all(torch.equal(ranks[0]["state"][key], ranks[1]["state"][key]) for key in ranks[0]["state"])
    assert ranks[0]["best"] == ranks[1]["best"]
    assert ranks[0]["history"][-1]["loss"] < ranks[0]["history"][0]["loss"]
    assert sorted(path.name for path in tmp_path.glob("irenet*")) == ["irenet.checkpoint.pt"]


def test_crops_of_neurons(tiny):
    """The squares enclose the regions of the most important units, at the picture's own scale."""
    import pellucid as pl

    pictures = scenes(3, size=128)
    boxes = neuron_boxes(pictures, "scenes-vgg", 3, 0.0, 4, progress=False)
    net = pl.load("scenes-vgg")
    batch = net.preprocess.normalize(torch.stack([pictures.read(k)[0] for k in range(3)]))
    scores = pl.neurons(net, batch, normalized=True)
    from pellucid.data.batches import traces

    (trace,) = traces(net, batch, [scores.layer.name], None, 3)
    for k in range(3):
        units = [unit.index for unit in scores.top(3, k)]
        regions = unit_regions(trace, units, layer=scores.layer.name)[k]
        expected = {around(region.box, 0.0, 4, 128, 128) for region in regions if region.box}
        assert {box for place, box in boxes if place == k} == expected
    settings = replace(tiny, crops="neurons", maps=False, units=2, pictures=8, checked=8, size=32)
    prepared = prepare(settings, progress=False)
    assert 8 <= len(prepared.training) <= 16


def folder_of_parts(root, split=("train", "train", "train", "train", "test", "test")):
    """A folder with six pictures of a red and a green square each; of blue there is one alone."""
    rows = ["image,mask,split"]
    for k, side in enumerate(split):
        image, mask = np.full((40, 60, 3), 120, np.uint8), np.zeros((40, 60), np.uint8)
        for label, (top, left) in enumerate(((2 + k, 3), (20, 30 + k)), 1):
            image[top : top + 12, left : left + 12, label - 1] = 255
            mask[top : top + 12, left : left + 12] = label
        if k == 0:
            mask[30:38, 2:10] = 3
        Image.fromarray(image).save(root / f"{k}.png")
        Image.fromarray(mask).save(root / f"{k}m.png")
        rows.append(f"{k}.png,{k}m.png,{side}")
    (root / "index.csv").write_text("\n".join(rows))
    (root / "labels.csv").write_text("label_id,name,category\n1,red,part\n2,green,part\n3,blue,part\n")
    return f"folder:{root}"


def test_a_folder_of_part_masks(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_hash", lambda name: int(name[0] != "1"))  # the second picture validates
    settings = replace(
        tiny, data=folder_of_parts(tmp_path), crops="parts", maps=False, categories=("part",), batch_size=4
    )
    prepared = prepare(settings, progress=False)
    assert (prepared.vocabulary.names, prepared.left_out) == (("red", "green"), ("blue",))
    # pictures 0, 2 and 3 train, 1 validates, 4 and 5 test; the first has a third square
    assert [len(each) for each in (prepared.training, prepared.validation, prepared.test)] == [7, 2, 4]
    assert prepared.weights(3.0).tolist() == pytest.approx([4 / 3, 4 / 3], abs=0.5)
    facts = train_recognizer(settings, tmp_path / "out", progress=False)
    assert "left out, too few positives | blue" in (tmp_path / "out" / "irenet.md").read_text()
    assert str(tmp_path.parent) not in (tmp_path / "out" / "irenet.md").read_text()
    assert facts["by_category"].keys() == {"part"}


def test_weights_of_positives(tiny):
    prepared = prepare(replace(tiny, categories=("part", "color")), progress=False)
    ratio = (prepared.counted - prepared.positives) / prepared.positives
    assert torch.equal(prepared.weights(4.0), ratio.clamp(1, 4))
    assert set(prepared.weights(1.0).tolist()) == {1.0}
    logits, labels = torch.tensor([[2.0, -1.0, 0.3]]), torch.tensor([[1, 0, -1]])
    weight = torch.tensor([3.0, 5.0, 7.0])
    expected = (3 * np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-1.0))) / 2
    assert float(learning.label_loss(logits, labels, weight)) == pytest.approx(expected)


def test_the_loss_of_cells_by_hand():
    """Weighted cross-entropy and Dice of every label that occurs, over two categories."""
    dice = torch.Generator().manual_seed(3)
    sizes, maps = (2, 3), torch.randint(0, 3, (2, 2, 3, 3), generator=dice)
    logs = [torch.randn(2, 1 + n, 3, 3, generator=dice, dtype=torch.float64).log_softmax(1) for n in sizes]
    expected = 0.0
    for row, (part, size) in enumerate(zip(logs, sizes, strict=True)):
        p, g = part.exp().numpy(), maps[:, row].numpy()
        places = list(np.ndindex(2, 3, 3))
        common = max((g == label).sum() for label in range(size + 1))
        weight = [min(30, np.sqrt(common / (g == g[place]).sum())) for place in places]
        entropy = -np.average([np.log(p[b, g[b, i, j], i, j]) for b, i, j in places], weights=weight)
        overlap = []
        for label in range(1, size + 1):
            there = g == label
            if there.any():
                overlap.append(1 - 2 * (p[:, label] * there).sum() / (p[:, label].sum() + there.sum()))
        expected += (entropy + np.mean(overlap)) / 2
    assert (maps[:, 1] < 3).all()  # the third label of the second category is nowhere
    assert float(learning.cell_loss(logs, maps)) == pytest.approx(
        expected, rel=rounding(torch.float32, terms=maps.numel())
    )


def test_trained_on_from_a_file_of_ours(trained, tiny, tmp_path):
    """All tensors are taken, and the card says where they came from."""
    _, folder = trained
    file = folder / "irenet.safetensors"
    job = learning.RecognizerJob(replace(tiny, weights=str(file)), prepare(tiny, progress=False))
    given = tensors(file)[0]
    assert all(torch.equal(value, given[key].to(value)) for key, value in job.module.state_dict().items())
    train_recognizer(replace(tiny, weights=str(file), epochs=1), tmp_path, progress=False)
    assert "| began with | irenet.safetensors |" in (tmp_path / "irenet.md").read_text()
    with pytest.raises(CheckpointError, match="of another shape"):
        learning.RecognizerJob(replace(tiny, weights=str(file), width=0.25), prepare(tiny, progress=False))


def test_views_are_small_in_the_first_half(tiny):
    settings = replace(tiny, size=64, early=0.5, epochs=4)
    job = learning.RecognizerJob(settings, prepare(settings, progress=False))
    seen = []
    for epoch in range(4):
        job.begin_epoch(epoch)
        x, _, maps = next(job.batches(epoch))
        seen.append((x.shape[2], maps.shape[2]))
    assert seen == [(32, 8), (32, 8), (64, 16), (64, 16)]


def test_what_cannot_be_trained(tiny, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"shown by at least 900 of 24 training samples, got none of 31"):
        prepare(replace(tiny, positives=900, categories=("part",)), progress=False)
    monkeypatch.setattr(module, "_hash", lambda name: int(name[0] != "1"))
    data = folder_of_parts(tmp_path)
    with pytest.raises(
        ValueError, match=r"Expected concepts of the categories material in .*, got none of them; it has"
    ):
        prepare(replace(tiny, data=data, categories=("material",)), progress=False)
    monkeypatch.setattr(module, "_hash", lambda name: 1)
    only = folder_of_parts(tmp_path, ("test",) * 5 + ("train",))
    with pytest.raises(
        ValueError, match=r"Expected pictures for validation in .*, got none of 6; try a larger set"
    ):
        prepare(replace(tiny, data=only, categories=("part",)), progress=False)
    source = SceneConcepts.of(1)
    pictures = Pictures(source, [0], Vocabulary.of(source, KINDS))
    with pytest.raises(
        ValueError, match=r"Expected at least one crop from 1 pictures of .*, got none; try more"
    ):
        Crops.of(pictures, [], 32)
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="try a file of the same network and width"):
        train_recognizer(replace(tiny, weights=str(tmp_path / "other.pth")), tmp_path, progress=False)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"network": "irene"}, "did you mean `irenet`"),
        ({"categories": ("parts",)}, "did you mean `part`"),
        ({"categories": ()}, "at least one category, got none"),
        ({"epochs": 0}, "`epochs` to be at least 1, got 0"),
        ({"batch_size": 1}, "`batch_size` to be at least 2"),
        ({"width": 0.0}, r"`width` in \(0, 4\]"),
        ({"learning_rate": float("nan")}, "positive `learning_rate`"),
        ({"crops": "squares"}, "`crops` to be one of"),
        ({"grid": 3}, "`grid` to be one of"),
        (
            {"crops": "parts"},
            "Expected maps of IRENet or its arms on views, got irenet on parts; try `maps=False`",
        ),
        ({"network": "resnet18"}, "got resnet18 on views"),
    ],
)
def test_settings_out_of_range(given, words):
    with pytest.raises((ValueError, UnknownNameError), match=words):
        RecognizerTraining(**given)
