"""Patterns decoded and fed back: every number recomputed by hand, and the pictures shown by ``visualize``."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from tests.networks import PlainNet, wrap

from pellucid import Unit
from pellucid.units.patterns import Pattern, Shares, mine
from pellucid.visualization import visualize
from pellucid.visualization.decoder import (
    DecoderError,
    DecoderTraining,
    decode,
    load_decoder,
    patterns_sheet,
    save,
    train_decoder,
)
from pellucid.visualization.decoder.errors import untold

SMALL = {"width": 0.25, "convolutions": 1, "epochs": 1, "batch_size": 8, "precision": "float32", "stages": 1}


def pictures(count=40, seed=0):
    """Smooth pictures of few colors, 3×32×32; in every other one the red is left out."""
    blocks = np.random.default_rng(seed).integers(0, 256, (count, 3, 3, 3), dtype=np.uint8)
    blocks[::2, :, :, 0] = 0
    large = [Image.fromarray(one).resize((32, 32), Image.Resampling.BILINEAR) for one in blocks]
    return torch.from_numpy(np.stack([np.asarray(one) for one in large])).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="module")
def net():
    return wrap(PlainNet())


@pytest.fixture(scope="module")
def layer(net):
    return next(layer.name for layer in net.layers if layer.shape == (12, 16, 16) and layer.kind == "ReLU")


LABELS = [0, 1] * 20


@pytest.fixture(scope="module")
def patterns(net, layer):
    return mine(net, pictures(), LABELS, layer, top=5, items=12, shortest=2, longest=3, support=0.2, confidence=0.5,
                keep=2, progress=False)  # fmt: skip


@pytest.fixture(scope="module")
def file(net, layer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    train_decoder(net, pictures(), layer, DecoderTraining(**SMALL), out=folder, progress=False)
    return folder / f"PlainNet-{layer}.safetensors"


@pytest.fixture(scope="module")
def found(net, patterns, file):
    return decode(net, str(file), patterns, pictures(seed=2), LABELS, draws=3, progress=False)


def maps_of(net, layer, batch):
    seen = {}
    module = net.module.get_submodule(layer)
    handle = module.register_forward_hook(lambda _m, _i, out: seen.setdefault("maps", out.clone()))
    with torch.no_grad():
        output = net(batch)
    handle.remove()
    return seen["maps"], output


def test_every_number_is_literal(net, layer, patterns, file, found):
    decoder = load_decoder(file, net)
    shown = pictures(seed=2)
    batch = net.preprocess.normalize(shown)
    maps, _ = maps_of(net, layer, batch)
    none = untold(decoder)
    assert len(found) + len(found.notes) == len(patterns)
    for one in found.decoded:
        own = list(one.pattern.channels)
        has = []
        for image in range(len(maps)):
            best = (maps[image].amax((1, 2)) / patterns.scale).argsort(descending=True)[:5].tolist()
            if set(own) <= set(best) and LABELS[image] == one.pattern.target:
                has.append(image)
        assert one.images == len(has)
        mean = maps[has][:, own].mean(0)
        distance = [float((maps[k, own] - mean).square().sum()) for k in has]
        assert one.image == has[int(np.argmin(distance))]
        told = torch.zeros(1, 12, dtype=torch.bool)
        told[0, own] = True
        with torch.no_grad():
            alone, whole = decoder(maps[one.image][None], told), decoder(maps[one.image][None])
        real = shown[one.image].float() / 255
        assert torch.allclose(one.real, real, atol=1e-5)
        assert one.error == pytest.approx(float((whole.clamp(0, 1)[0] - real).square().mean()), rel=2e-3)
        assert one.error_alone == pytest.approx(
            float((alone.clamp(0, 1)[0] - real).square().mean()), rel=2e-3
        )
        gain = decoder.facts["errors"]["contrast"] / (alone - none).std(unbiased=False)
        stretched = (none + gain.clamp(1, 6) * (alone - none)).clamp(0, 1)
        assert torch.allclose(one.picture, stretched[0], atol=5e-3)
        bytes_ = (one.picture * 255).round() / 255
        back, output = maps_of(net, layer, net.preprocess.normalize((bytes_ * 255).to(torch.uint8))[None])
        best = (back[0].amax((1, 2)) / patterns.scale).argsort(descending=True)[:5].tolist()
        assert one.own.channels == pytest.approx(len(set(own) & set(best)) / len(own))
        assert one.own.present == float(set(own) <= set(best))
        assert one.own.probability == pytest.approx(float(output.softmax(1)[0, one.pattern.target]), rel=1e-3)
        assert 0 <= one.of_random.channels <= 1


def test_random_channels_are_as_many_others_that_are_active(net, patterns, file, monkeypatch):
    from pellucid.visualization.decoder import decoding

    seen = []
    real = decoding._random

    def watched(maps, one, draws, draw):
        told = real(maps, one, draws, draw)
        seen.append((maps, one, told))
        return told

    monkeypatch.setattr(decoding, "_random", watched)
    decode(net, str(file), patterns, pictures(seed=2), LABELS, draws=4, progress=False)
    for maps, one, told in seen:
        assert told.shape == (4, 12)
        assert told.sum(1).tolist() == [len(one.channels)] * 4
        assert not told[:, list(one.channels)].any()
        active = maps.amax((1, 2)) > 0
        others = [k for k in range(12) if k not in one.channels and bool(active[k])]
        if len(others) >= len(one.channels):
            assert not told[:, ~active].any()
    assert any(not torch.equal(told[0], told[1]) for _, _, told in seen)


def test_the_same_call_gives_the_same_pictures(net, patterns, file, found):
    again = decode(net, str(file), patterns, pictures(seed=2), LABELS, draws=3, batch_size=7, progress=False)
    for one, other in zip(found.decoded, again.decoded, strict=True):
        assert torch.equal(one.picture, other.picture)
        assert torch.equal(one.random, other.random)
        assert one.to_json() == other.to_json()


def test_mean_maps_and_plain_contrast(net, patterns, file, found):
    plain = decode(
        net, str(file), patterns, pictures(seed=2), LABELS, contrast=False, draws=1, progress=False
    )
    for one, other in zip(found.decoded, plain.decoded, strict=True):
        assert one.error == other.error  # of pictures that were not stretched
        assert other.picture.std() <= one.picture.std() + 1e-6
    mean = decode(net, str(file), patterns, pictures(seed=2), LABELS, source="mean", draws=1, progress=False)
    assert [one.image for one in mean.decoded] == [one.image for one in found.decoded]
    several = [k for k, one in enumerate(found.decoded) if one.images > 1]
    assert any(not torch.equal(found.decoded[k].picture, mean.decoded[k].picture) for k in several)


def test_sheet_and_files(found, tmp_path):
    page = patterns_sheet(found, size=64)
    assert page.width == 5 * 68 + 4
    assert page.height == len(found) * (64 + 18) + 4
    rows = save(found, tmp_path, {0: "wheel + wing"})
    facts = json.loads((tmp_path / "decode.json").read_text())
    assert facts["patterns"] == rows
    assert rows[0]["words"] == "wheel + wing"
    for row, one in zip(rows, found.decoded, strict=True):
        assert row["feedback"]["pattern"]["channels"] == one.own.channels
        with Image.open(tmp_path / row["file"]) as opened:
            shown = np.asarray(opened).astype(int)
        assert np.abs(shown - (one.picture * 255).permute(1, 2, 0).numpy()).max() <= 0.5 + 1e-3
    assert (tmp_path / "sheet.png").is_file()


def test_visualize_shows_patterns_and_units(net, layer, patterns, file):
    wanted = [patterns.patterns[0], Unit(layer, patterns.patterns[0].channels[0])]
    shown = pictures(seed=2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="never active")
        found = visualize(
            net, wanted, "decode", decoder=str(file), contrast=False, images=shown, progress=False
        )
        alone = visualize(
            net, wanted[1:], "decode", decoder=str(file), contrast=False, images=shown, progress=False
        )
    assert found.images.shape == (2, 3, 32, 32)
    assert torch.allclose(found.images[1], alone.images[0], atol=1e-5)
    decoder = load_decoder(file, net)
    maps, _ = maps_of(net, layer, net.preprocess.normalize(shown))
    channels = list(patterns.patterns[0].channels)
    weakest = (maps.amax((2, 3)) / decoder.scale)[:, channels].amin(1)
    told = torch.zeros(1, 12, dtype=torch.bool)
    told[0, channels] = True
    with torch.no_grad():
        painted = decoder(maps[weakest.argmax()][None], told).clamp(0, 1)
    assert torch.allclose(found.images[0], painted[0], atol=1e-5)
    assert found.certificate is not None


def test_bad_input(net, layer, patterns, file, tmp_path):
    shown = pictures(8)
    other = wrap(PlainNet(), seed=9)
    with pytest.raises(ValueError, match="Expected patterns of this network"):
        decode(other, str(file), patterns, shown)
    deep = mine(net, pictures(), LABELS, net.layers[-1].name, top=5, items=12, shortest=1, longest=2, support=0.1,
                confidence=0.3, progress=False)  # fmt: skip
    with pytest.raises(
        DecoderError, match=f"Expected a decoder of `{deep.layer}`, the layer of the patterns"
    ):
        decode(net, str(file), deep, shown)
    with pytest.raises(ValueError, match="one label for each of 8 images, got 1"):
        decode(net, str(file), patterns, shown, [0])
    with pytest.raises(ValueError, match='"typical" or "mean"'):
        decode(net, str(file), patterns, shown, source="best")
    with pytest.raises(ValueError, match="`draws` of at least 1"):
        decode(net, str(file), patterns, shown, draws=0)
    with pytest.raises(ValueError, match="Expected images that have the patterns, got none among 2"):
        decode(net, str(file), patterns, torch.zeros(2, 3, 32, 32, dtype=torch.uint8), [3, 4])
    with pytest.raises(DecoderError, match="Expected the file of a decoder, got none"):
        visualize(net, Unit(layer, 0), "decode", images=shown)
    with pytest.raises(
        DecoderError, match=f"Expected channels of `{layer}`, the layer of the decoder, got `class class 1"
    ):
        visualize(net, 1, "decode", decoder=str(file), images=shown)
    with pytest.raises(ValueError, match="Expected real images to decode the maps of"):
        visualize(net, Unit(layer, 0), "decode", decoder=str(file))
    with pytest.raises(ValueError, match="`steps` of 1"):
        visualize(net, Unit(layer, 0), "decode", decoder=str(file), steps=9, images=shown)


def test_a_pattern_no_image_has_is_noted(net, layer, patterns, file):
    from dataclasses import replace

    never = Pattern("class 4", 4, layer, (0, 1), Shares(1, 1, 0, 1), None)
    some = replace(patterns, patterns=(*patterns.patterns, never))
    found = decode(net, str(file), some, pictures(seed=2), LABELS, draws=1, progress=False)
    assert found.notes[-1] == "no image of class 4 has the pattern class 4 0+1; it was not decoded"
    only = decode(
        net, str(file), some, pictures(seed=2), LABELS, chosen=patterns.patterns[:1], draws=1, progress=False
    )
    assert [one.pattern for one in only.decoded] == [patterns.patterns[0]]
