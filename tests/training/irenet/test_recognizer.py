"""The recognizer: any pictures, one by one or together; where things are; the shipped one on scenes it never saw."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pellucid.core.registry import UnknownNameError
from pellucid.data.images import ImageError
from pellucid.explanation.recognizer import recognizer
from pellucid.training.irenet.card import recognizer_card
from pellucid.training.irenet.metrics import counts
from pellucid.world import CATEGORIES, SceneDataset
from pellucid.zoo.checkpoint import CheckpointError
from pellucid.zoo.embedded import WEIGHTS


@pytest.fixture
def file(trained):
    return trained[1] / "irenet.safetensors"


def test_pictures_of_any_kind_are_the_same_picture(file):
    seen, dice = recognizer(file), np.random.default_rng(0)
    array = dice.integers(0, 256, (48, 70, 3), dtype=np.uint8)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    expected = seen.probabilities(tensor)
    assert expected.shape == (1, len(seen.names))
    for given in (
        array,
        Image.fromarray(array),
        [array],
        tensor[None],
        [Image.fromarray(array)],
        array[None],
        [tensor],
    ):
        assert torch.equal(seen.probabilities(given), expected)
    gray = Image.fromarray(array[..., 0])
    assert torch.equal(seen.probabilities(gray), seen.probabilities(gray.convert("RGB")))


def test_together_as_one_by_one(file):
    seen = recognizer(file)
    pictures = torch.randint(0, 256, (67, 3, 32, 32), dtype=torch.uint8)  # more than one batch
    alone = torch.cat([seen.probabilities(one) for one in pictures[::11]])
    torch.testing.assert_close(seen.probabilities(pictures)[::11], alone)
    torch.testing.assert_close(
        seen.maps(pictures)[::33], torch.cat([seen.maps(one) for one in pictures[::33]])
    )
    torch.testing.assert_close(seen.present(pictures), seen.probabilities(pictures) >= seen.thresholds)


def test_maps_of_chosen_attributes(file):
    seen = recognizer(file)
    picture = torch.randint(0, 256, (3, 90, 90), dtype=torch.uint8)
    maps = seen.maps(picture)
    assert maps.shape == (1, len(seen.mapped), 8, 8)  # 32 pixels, one answer every four
    assert 0 <= float(maps.min()) <= float(maps.max()) <= 1
    names = [seen.mapped[3], seen.mapped[0]]
    torch.testing.assert_close(seen.maps(picture, names), maps[:, [3, 0]])
    state = {key: value.clone() for key, value in seen.module.state_dict().items()}
    seen.probabilities(picture)
    assert all(torch.equal(value, state[key]) for key, value in seen.module.state_dict().items())


def test_questions_it_cannot_answer(file, tmp_path):
    seen = recognizer(file)
    with pytest.raises(UnknownNameError, match="did you mean `wheel`"):
        seen.index("weel")
    scene = next(
        name for name, category in zip(seen.names, seen.categories, strict=True) if category == "scene"
    )
    with pytest.raises(
        UnknownNameError, match=f"an attribute with maps, got `{scene}`, which belongs to the whole"
    ):
        seen.maps(torch.zeros(3, 9, 9, dtype=torch.uint8), [scene])
    for given, words in (
        (
            torch.zeros(1, 3, 9, 9),
            r"uint8 tensor \[batch 3 h w\], got torch.float32 of shape \(1, 3, 9, 9\); try pixels",
        ),
        (torch.zeros(1, 4, 9, 9, dtype=torch.uint8), r"got shape \(1, 4, 9, 9\)"),
        (torch.zeros(0, 3, 9, 9, dtype=torch.uint8), r"got shape \(0, 3, 9, 9\)"),
        ([], "at least one picture"),
    ):
        with pytest.raises(ValueError, match=words):
            seen.probabilities(given)
    with pytest.raises(ImageError):
        seen.probabilities(tmp_path / "none.png")


def test_files_that_are_no_recognizer(file, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean `scenes-irenet`"):
        recognizer("scene-irenet")
    with pytest.raises(CheckpointError, match="not there"):
        recognizer(tmp_path / "none.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(b"noise" * 9)
    with pytest.raises(CheckpointError, match="cannot be read"):
        recognizer(tmp_path / "noise.safetensors")
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="does not say what it recognizes"):
        recognizer(tmp_path / "other.safetensors")
    state, facts = load_file(file), json.loads(json.dumps(recognizer(file).facts))
    facts["architecture"]["width"] = 0.25
    save_file(state, tmp_path / "wider.safetensors", {"irenet": json.dumps(facts)})
    with pytest.raises(
        CheckpointError, match=r"of another shape.*Try the architecture the weights were trained with"
    ):
        recognizer(tmp_path / "wider.safetensors")
    facts["architecture"] |= {"network": "resnet18", "sizes": []}
    save_file(state, tmp_path / "resnet.safetensors", {"irenet": json.dumps(facts)})
    with pytest.raises(CheckpointError, match=r"Expected the file of an IRENet, got .*, a resnet18"):
        recognizer(tmp_path / "resnet.safetensors")


def test_the_same_file_is_read_once(file, tmp_path):
    assert recognizer(file) is recognizer(str(file))
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(file.read_bytes())
    first = recognizer(copy)
    copy.write_bytes(file.read_bytes())
    assert first is recognizer(copy) or first.names == recognizer(copy).names


def test_without_maps_it_says_so(tmp_path, tiny):
    from dataclasses import replace

    from pellucid.training.irenet import train_recognizer

    settings = replace(
        tiny, maps=False, pictures=8, checked=8, epochs=1, categories=("part", "scene"), positives=1
    )
    train_recognizer(settings, tmp_path, progress=False)
    seen = recognizer(tmp_path / "irenet.safetensors")
    assert seen.mapped == ()
    with pytest.raises(ValueError, match="Expected a recognizer trained with maps, got one without"):
        seen.maps(torch.zeros(3, 32, 32, dtype=torch.uint8))


def test_the_shipped_card_is_of_the_shipped_file():
    assert (WEIGHTS / "scenes-irenet.md").read_text() == recognizer_card(recognizer().facts)
    assert (WEIGHTS / "scenes-irenet.safetensors").stat().st_size < 2_500_000


def test_the_shipped_recognizer():
    """On eighty test scenes behind those of its card: the parts it names are there, and where it says."""
    seen = recognizer()
    scenes = [SceneDataset("test", 2080).rendering(index) for index in range(2000, 2080)]
    pictures = [scene.image for scene in scenes]
    assert {name: seen.categories.count(name) for name in CATEGORIES} == {
        k: len(v) for k, v in CATEGORIES.items()
    }
    parts = [k for k, category in enumerate(seen.categories) if category == "part"]
    truth = torch.tensor(
        [[bool(scene.mask(seen.names[k], "part").any()) for k in parts] for scene in scenes]
    ).long()
    tp, fp, fn, _ = (part.sum() for part in counts(truth, seen.present(pictures)[:, parts]))
    assert float(tp / (tp + fp)) >= 0.98
    assert float(tp / (tp + fn)) >= 0.85
    large = torch.nn.functional.interpolate(seen.maps(pictures), (128, 128), mode="bilinear") > 0.5
    both = either = 0
    for place, scene in enumerate(scenes):
        for k in parts:
            there = torch.from_numpy(scene.mask(seen.names[k], "part"))
            both += int((large[place, k] & there).sum())
            either += int((large[place, k] | there).sum())
    assert both / either > 0.5
