"""The decoder itself and its training: what it looks at, what it is compared with, and that it goes on where it was."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file
from tests.bundles import rewrite, taken_apart
from tests.networks import PlainNet, wrap

from pellucid.visualization.decoder import (
    Decoder,
    DecoderError,
    DecoderTraining,
    load_decoder,
    train_decoder,
)
from pellucid.visualization.decoder import training as module
from pellucid.visualization.decoder.errors import errors
from pellucid.visualization.decoder.model import channels
from pellucid.visualization.decoder.pictures import Maps, as_pictures

SMALL = {"width": 0.25, "convolutions": 1, "epochs": 2, "batch_size": 8, "precision": "float32", "stages": 1}


def pictures(count=24, seed=0):
    """Smooth pictures of few colors, 3×32×32."""
    blocks = np.random.default_rng(seed).integers(0, 256, (count, 3, 3, 3), dtype=np.uint8)
    large = [Image.fromarray(one).resize((32, 32), Image.Resampling.BILINEAR) for one in blocks]
    return torch.from_numpy(np.stack([np.asarray(one) for one in large])).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="module")
def net():
    return wrap(PlainNet())


@pytest.fixture(scope="module")
def layer(net):
    """12 channels of 16×16."""
    return next(layer.name for layer in net.layers if layer.shape == (12, 16, 16) and layer.kind == "ReLU")


@pytest.fixture(scope="module")
def trained(net, layer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    made = train_decoder(net, pictures(), layer, DecoderTraining(**SMALL), out=folder, progress=False)
    return made, folder / f"PlainNet-{layer}.safetensors"


def test_channels_halve_to_the_picture():
    assert channels((128, 8, 8), (3, 128, 128), 1.0) == (256, 128, 64, 32)
    assert channels((128, 7, 7), (3, 224, 224), 1.0) == (256, 256, 128, 64, 32)
    assert channels((96, 16, 16), (3, 128, 128), 0.5) == (64, 32, 16)
    assert channels((9, 13, 13), (1, 224, 224), 0.01) == (4, 4, 4, 4)
    odd = Decoder((2, 13, 13), (1, 224, 200), 0.05)
    assert odd(torch.rand(2, 2, 13, 13)).shape == (2, 1, 224, 200)
    kernels = [tuple(child.kernel_size) for child in odd.layers if hasattr(child, "kernel_size")]
    assert kernels == [(3, 3), (3, 3)] + [(5, 5)] * 4


def test_what_is_not_told_is_not_looked_at():
    decoder = Decoder((4, 8, 8), (3, 32, 32), 0.1).eval()
    draw = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 4, 8, 8, generator=draw)
    told = torch.tensor([[True, False, True, False], [True, True, True, True]])
    changed = maps.clone()
    changed[0, [1, 3]] = torch.nan
    with torch.no_grad():
        before = decoder(maps, told)
        assert torch.equal(before, decoder(changed, told))
        assert torch.equal(decoder(maps, torch.ones(2, 4, dtype=torch.bool)), decoder(maps))
        silent = maps.clone()
        silent[0, [1, 3]] = 0
        assert not torch.allclose(before[0], decoder(silent)[0])  # not told is not the same as silent


def test_a_decoder_begins_gray_with_signals_alive():
    torch.manual_seed(0)
    decoder = Decoder((16, 4, 4), (3, 64, 64), 0.5)
    x = torch.rand(4, 32, 4, 4)
    sizes = []
    with torch.no_grad():
        for child in decoder.layers:
            x = child(x)
            sizes.append(float(x.square().mean().sqrt()))
    assert abs(float(x.mean()) - 0.5) < 0.3
    assert 0.1 < sizes[-2] / sizes[1] < 10


def test_training_brings_the_error_down_and_the_card_says_how_far(net, layer, trained):
    decoder, file = trained
    facts = decoder.facts
    assert facts["layer"] == layer == decoder.layer
    assert len(facts["history"]) == 2
    assert facts["history"][1]["loss"] < facts["history"][0]["loss"]
    assert not decoder.training
    card = file.with_suffix(".md").read_text()
    assert f"| squared error of held-out pictures | {facts['errors']['decoder']:.4f} |" in card
    assert f"pellucid train decoder --net PlainNet --layer {layer}" in card
    assert not list(file.parent.glob("*.checkpoint.pt"))
    assert facts["errors"]["pictures"] == 2
    again = load_decoder(file, net, layer)
    assert again.facts == json.loads(json.dumps(dict(facts)))
    for key, value in decoder.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])  # the error was measured on the file's own weights


def test_enough_training_beats_the_mean_picture(net, layer, tmp_path):
    settings = DecoderTraining(
        **{**SMALL, "epochs": 30, "perceptual": 0.0, "partial": 0.0, "learning_rate": 4e-3}
    )
    found = train_decoder(net, pictures(48), layer, settings, out=tmp_path, progress=False).facts["errors"]
    assert found["decoder"] < 0.6 * found["mean"]


def test_errors_are_literal(net, layer, trained):
    decoder, _ = trained
    shown = pictures()
    maps = Maps(net, layer, shown, 0, False)
    known, held = torch.arange(4, 24), torch.arange(4)
    found = errors(decoder, maps, shown, known, held)
    values = shown.double().numpy() / 255
    with torch.no_grad():
        seen = maps(torch.arange(24))
        painted = decoder(seen[:4]).clamp(0, 1).double().numpy()
        none = decoder(torch.zeros(1, *decoder.shape), torch.zeros(1, 12, dtype=torch.bool)).double().numpy()
    shares = (seen / decoder.scale[:, None, None]).double().numpy()

    def error(one, other):
        return ((one - other) ** 2).mean()

    mean = values[4:].mean(0)
    assert found.decoder == pytest.approx(np.mean([error(painted[k], values[k]) for k in range(4)]), rel=1e-5)
    assert found.mean == pytest.approx(np.mean([error(mean, values[k]) for k in range(4)]), rel=1e-5)
    for name, space in (("nearest_maps", shares), ("nearest_pixels", values)):
        nearest = [min(range(4, 24), key=lambda j: error(space[j], space[k])) for k in range(4)]
        wanted = np.mean([error(values[j], values[k]) for k, j in enumerate(nearest)])
        assert getattr(found, name) == pytest.approx(wanted, rel=1e-5)
    assert found.contrast == pytest.approx(np.mean([(values[k] - none[0]).std() for k in range(4)]), rel=1e-4)
    assert found.nearest_pixels <= found.nearest_maps


def test_stopped_and_called_again_it_reaches_the_same_weights(net, layer, trained, tmp_path, monkeypatch):
    whole, _ = trained
    batches, seen = module.DecoderJob.batches, []

    def stopping(job, epoch):
        if epoch == 1 and not seen:
            seen.append(epoch)
            raise KeyboardInterrupt
        yield from batches(job, epoch)

    monkeypatch.setattr(module.DecoderJob, "batches", stopping)
    settings = DecoderTraining(**SMALL)
    with pytest.raises(KeyboardInterrupt):
        train_decoder(net, pictures(), layer, settings, out=tmp_path, progress=False)
    assert list(tmp_path.glob("*.checkpoint.pt"))
    with pytest.raises(ValueError, match=r"Expected the settings .* \(epochs was 2\)"):
        train_decoder(
            net, pictures(), layer, DecoderTraining(**{**SMALL, "epochs": 3}), out=tmp_path, progress=False
        )
    with pytest.raises(ValueError, match=r"Expected the settings .* \(pictures was"):
        train_decoder(net, pictures(seed=1), layer, settings, out=tmp_path, progress=False)
    again = train_decoder(net, pictures(), layer, settings, out=tmp_path, progress=False)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert again.facts["errors"] == whole.facts["errors"]


def test_maps_that_do_not_fit_are_computed_anew_and_are_the_same(net, layer):
    shown = pictures(10)
    kept, fresh = Maps(net, layer, shown, 100, False), Maps(net, layer, shown, 0, False)
    assert kept.kept is not None
    assert fresh.kept is None
    which = torch.tensor([7, 2, 2])
    assert torch.allclose(kept(which), fresh(which), atol=2e-3)
    scale = fresh.scale(torch.arange(10), False)
    peaks = fresh(torch.arange(10)).amax((2, 3)).clamp(min=0).mean(0)
    assert torch.allclose(scale, torch.where(peaks > 0, peaks, 1), rtol=1e-5)


def test_the_network_stays_as_it_was(net, layer, tmp_path):
    before = {key: value.clone() for key, value in net.module.state_dict().items()}
    net.module.train()
    next(net.module.parameters()).requires_grad_(False)
    wanted = [parameter.requires_grad for parameter in net.module.parameters()]
    state = torch.get_rng_state()
    try:
        train_decoder(
            net, pictures(8), layer, DecoderTraining(**{**SMALL, "epochs": 1}), out=tmp_path, progress=False
        )
        assert net.module.training
        assert [parameter.requires_grad for parameter in net.module.parameters()] == wanted
    finally:
        net.module.eval()
        next(net.module.parameters()).requires_grad_(True)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in net.module.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.module.state_dict().items())


def test_told_channels():
    draw = torch.Generator().manual_seed(0)
    assert module._told(50, 20, 0.0, draw).all()
    told = module._told(4000, 20, 1.0, draw).sum(1)
    assert told.min() == 1
    assert told.max() == 20
    assert ((told <= 8).float().mean() - 0.5 - 0.5 * (8 / 20) ** 0.5).abs() < 0.05
    half = module._told(4000, 20, 0.5, draw).all(1).float().mean()
    assert abs(half - 0.5) < 0.06


def test_pictures_as_the_network_sees_them(net):
    bytes_ = pictures(3)
    assert as_pictures(net, bytes_) is bytes_
    listed = as_pictures(net, [one.permute(1, 2, 0).numpy() for one in bytes_])
    assert (listed.int() - bytes_.int()).abs().max() <= 1


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((8, 1, 1), "several cells, got 1×1"),
        ((8, 32, 32), "smaller map than the picture, got 32×32 for 32×32"),
    ],
)
def test_layers_that_cannot_be_decoded(shape, words):
    with pytest.raises(DecoderError, match="Expected a layer") as error:
        Decoder(shape, (3, 32, 32))
    assert words in str(error.value)


def test_bad_input(net, layer, trained, tmp_path):
    decoder, file = trained
    with pytest.raises(ValueError, match="at least 8 pictures to train a decoder on, got 3"):
        train_decoder(net, pictures(3), layer, DecoderTraining(**SMALL), out=tmp_path, progress=False)
    with pytest.raises(DecoderError, match="is not there; try `pellucid train decoder"):
        load_decoder(tmp_path / "none.safetensors")
    with pytest.raises(DecoderError, match="Expected the file of a decoder, got none"):
        load_decoder("")
    with pytest.raises(DecoderError, match=r"Expected a decoder of layer `features\.0`, got one of"):
        load_decoder(file, net, "features.0")
    other = wrap(PlainNet(), seed=4)
    with pytest.raises(DecoderError, match="Expected a decoder of this network, `PlainNet` with weights"):
        load_decoder(file, other)
    save_file({"a": np.zeros(2)}, str(tmp_path / "a.safetensors"), {"architecture": "scenes-vgg"})
    with pytest.raises(DecoderError, match="which is something else"):
        load_decoder(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ValueError, match="Expected"):
        load_decoder(tmp_path / "b.safetensors")
    assert decoder.layer == layer


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"put": {"decoder.convolutions": 10**7}}, "decoder.convolutions: expected a whole number of at most 64, got 10000000"),
        ({"put": {"decoder.width": 1e9}}, "decoder.width: expected a number of at most 64.0, got 1000000000.0"),
        ({"put": {"decoder.width": 60}}, r"layers.0.weight: expected an array \[1920 .*\], got \["),
        ({"put": {"decoder.shape": [16, 60000, 60000]}}, "decoder: expected a layer with a smaller map than the picture"),
        ({"put": {"decoder.picture[1]": 0}}, r"decoder.picture\[1\]: expected a whole number of at least 1, got 0"),
        ({"put": {"facts.sha256": 5}}, "facts.sha256: expected text or null, got 5"),
        ({"put": {"facts.layer": ["a"]}}, r'facts.layer: expected text, got \["a"\]'),
        ({"fill": {"scale": 0}}, "scale: expected values above 0, got 0"),
        ({"fill": {"layers.0.weight": float("nan")}}, "layers.0.weight: expected finite values, got NaN or infinity"),
        ({"arrays": lambda arrays: arrays.pop("scale")}, "scale: expected an array .*, got none"),
        ({"kind": "pellucid patterns"}, r"which is something else \(pellucid patterns\)"),
        ({"schema": 3}, "Expected a decoder of version 2 or older"),
    ],
)  # fmt: skip
def test_damaged_decoders(trained, tmp_path, change, says):
    file = tmp_path / "d.safetensors"
    file.write_bytes(trained[1].read_bytes())
    rewrite(file, **change)
    with pytest.raises(DecoderError, match=says) as caught:
        load_decoder(file)
    assert "\n" not in str(caught.value)


def test_decoders_of_before_are_read(trained, tmp_path, net):
    decoder, file = trained
    head, arrays = taken_apart(file)
    facts = {name: json.dumps(value) for name, value in head["facts"].items()}
    old = tmp_path / "old.safetensors"
    save_file(arrays, old, {"kind": "pellucid decoder", "schema": "1", **facts})
    again = load_decoder(old, net, decoder.layer)
    for name, value in load_decoder(file).state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    save_file(arrays, old, {"kind": "pellucid decoder", "schema": "1", **facts, "decoder": '{"width": NaN}'})
    with pytest.raises(DecoderError, match="decoder: expected finite numbers, got NaN"):
        load_decoder(old)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "`epochs` to be at least 1"),
        ({"width": 0}, "positive `width`"),
        ({"partial": 2}, "`partial` in"),
        ({"held_out": 0}, "`held_out` in"),
        ({"perceptual": -1}, "`perceptual` of at least 0"),
        ({"precision": "int8"}, '"bf16" or "float32"'),
    ],
)
def test_bad_settings(options, words):
    with pytest.raises(ValueError, match="Expected") as error:
        DecoderTraining(**options)
    assert words in str(error.value)
