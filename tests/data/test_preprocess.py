"""The picture as the network sees it: equal to torchvision's on PIL images, aligned with what is shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid.data.images import ImageError, Picture, read_image
from pellucid.data.preprocess import Preprocess, to_batch
from pellucid.zoo.zoos import import_torchvision

import_torchvision()
from torchvision import transforms as T  # noqa: E402  (its import has to be helped first)
from torchvision.transforms._presets import ImageClassification  # noqa: E402

IMAGENET = Preprocess.imagenet()


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def oracle(preprocess: Preprocess) -> Any:
    mode = T.InterpolationMode(preprocess.interpolation)
    steps = [T.Resize(preprocess.resize, mode, antialias=True), T.CenterCrop(preprocess.crop), T.ToTensor()]
    return T.Compose([*steps, T.Normalize(preprocess.mean, preprocess.std)])


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(8, 40),
    st.integers(0, 12),
    st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]),
)
def test_equals_torchvision_bit_for_bit(height: int, width: int, crop: int, extra: int, mode: Any) -> None:
    preprocess = Preprocess(
        crop + extra, crop, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), interpolation=mode
    )
    picture = noise(height, width)
    assert torch.equal(preprocess(picture), oracle(preprocess)(picture))


def test_imagenet_equals_torchvision_and_the_preset() -> None:
    preset = ImageClassification(crop_size=224)
    picture = noise(375, 500)
    assert torch.equal(IMAGENET(picture), oracle(IMAGENET)(picture))
    assert torch.equal(IMAGENET(picture), preset(picture))
    assert Preprocess.from_torchvision(preset) == IMAGENET
    bicubic = ImageClassification(
        crop_size=30, resize_size=33, interpolation=T.InterpolationMode.BICUBIC, antialias=False
    )
    with pytest.warns(UserWarning, match="Argument antialias is ignored"):
        expected = bicubic(picture)
    assert torch.equal(Preprocess.from_torchvision(bicubic)(picture), expected)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_without_antialiasing_it_equals_torchvision_on_tensors(mode: Any) -> None:
    preprocess = Preprocess(20, None, (0.0,) * 3, (1.0,) * 3, interpolation=mode, antialias=False)
    picture = noise(61, 83)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    expected = T.Resize(20, T.InterpolationMode(mode), antialias=False)(pixels)
    assert torch.equal(preprocess(picture), expected.float() / 255)


def test_timm_configurations_equal_timm() -> None:
    data = pytest.importorskip("timm.data", reason="timm is not installed")
    picture = noise(90, 130)
    for config in (
        {
            "input_size": (3, 64, 64),
            "interpolation": "bicubic",
            "crop_pct": 0.9,
            "mean": (0.5,) * 3,
            "std": (0.5,) * 3,
        },
        {"input_size": (3, 48, 48), "interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "squash"},
        {"input_size": (3, 48, 48), "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "squash"},
        {"input_size": (3, 64, 64)},
    ):
        resolved = data.resolve_data_config(pretrained_cfg=config)
        ours = Preprocess.from_timm(resolved)
        theirs = data.create_transform(**{**resolved, "interpolation": ours.interpolation})
        assert torch.equal(ours(picture), theirs(picture)), config
    for odd in ({"input_size": (3, 64, 32)}, {"crop_mode": "border"}):
        with pytest.raises(ValueError, match="Expected a square input_size"):
            Preprocess.from_timm(odd)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([None, 5, 30]), st.data())
def test_small_pictures_are_enlarged_never_padded(
    height: int, width: int, resize: int | None, data: st.DataObject
) -> None:
    crop = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    mode = data.draw(st.sampled_from(["center", "squash"]))
    preprocess = Preprocess(resize, crop, (0.0,) * 3, (1.0,) * 3, crop_mode=mode)
    assert preprocess.size == crop
    white = Image.new("RGB", (width, height), "white")
    assert torch.equal(preprocess(white), torch.ones(3, *crop))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([1, 3]),
    st.sampled_from([None, 24]),
    st.booleans(),
)
def test_view_is_aligned_with_the_tensor(
    height: int, width: int, channels: int, crop: int | None, smooth: bool
) -> None:
    preprocess = Preprocess(24, crop, (0.4,) * channels, (0.3,) * channels, channels, antialias=smooth)
    picture = noise(height, width)
    tensor, view = preprocess(picture), preprocess.view(picture)
    assert tensor.shape == (channels, view.height, view.width)
    seen = torch.from_numpy(np.array(view)).permute(2, 0, 1)[:channels]
    assert torch.equal(preprocess.denormalize(tensor).mul(255).round().to(torch.uint8), seen)
    assert torch.equal(preprocess.normalize(seen), tensor)
    low, high = preprocess.bounds()
    assert low.shape == (channels, 1, 1)
    assert bool((tensor >= low).all() & (tensor <= high).all())


def test_gray_equals_torchvision() -> None:
    preprocess = Preprocess(30, 28, (0.13,), (0.31,), channels=1)
    picture = noise(50, 41)
    assert torch.equal(preprocess(picture), oracle(preprocess)(picture.convert("L")))
    assert preprocess.view(picture).mode == "RGB"


def test_bounds_are_reached() -> None:
    low, high = IMAGENET.bounds()
    assert torch.equal(IMAGENET(Image.new("RGB", (9, 9), "black")), low.expand(3, 224, 224))
    assert torch.equal(IMAGENET(Image.new("RGB", (9, 9), "white")), high.expand(3, 224, 224))


def test_pictures_of_other_modes_and_turns() -> None:
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    assert torch.equal(IMAGENET(clear), IMAGENET(Image.new("RGB", (40, 40), "white")))
    deep = np.full((40, 40), 65535, np.uint16)
    assert torch.equal(IMAGENET(Image.fromarray(deep)), IMAGENET(read_image(deep)))
    gray = read_image(np.full((40, 40), 90, np.uint8), keep_grey=True)
    assert IMAGENET(gray).shape == (3, 224, 224)


def test_extreme_sides_are_refused() -> None:
    with pytest.raises(ImageError, match=r"got 1 × 30000, which would become 256 × 7,680,000"):
        IMAGENET(Image.new("RGB", (1, 30_000)))


def test_json_round_trip() -> None:
    for preprocess in (
        IMAGENET,
        Preprocess.scenes(96),
        Preprocess(None, (3, 4), (0.5,), (1.0,), 1, "lanczos"),
    ):
        text = json.dumps(preprocess.to_json())
        assert Preprocess.from_json(text) == preprocess
        assert Preprocess.from_json(json.loads(text)) == preprocess
        assert hash(Preprocess.from_json(text)) == hash(preprocess)
    with pytest.raises(ValueError, match="got 'resise'; did you mean `resize`"):
        Preprocess.from_json({**IMAGENET.to_json(), "resise": 3})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": 0}, "channels to be a number of at least 1, got 0"),
        ({"channels": 2}, "mean to be 2 finite numbers"),
        ({"mean": (0.5,)}, "mean to be 3 finite numbers"),
        ({"std": (0.5, 0.5, float("nan"))}, "std to be 3 finite numbers"),
        ({"std": (0.5, 0.5, 0.0)}, "std to be positive"),
        ({"resize": 0}, "sizes of at least 1 pixel, got resize=0"),
        ({"crop": (4, -1)}, "sizes of at least 1 pixel"),
        ({"interpolation": "bicubik"}, "did you mean `bicubic`"),
        ({"crop_mode": "centre"}, "did you mean `center`"),
        ({"interpolation": "lanczos", "antialias": False}, "with antialias=False, got 'lanczos'"),
        ({"resize": None, "crop": None, "crop_mode": "squash"}, "resize or crop"),
    ],
)
def test_bad_parameters(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Preprocess.from_json({**IMAGENET.to_json(), **changes})


def test_a_foreign_transform_is_refused() -> None:
    with pytest.raises(ValueError, match="got Compose without resize_size, crop_size"):
        Preprocess.from_torchvision(T.Compose([]))


def test_normalize_refuses_what_is_no_picture() -> None:
    pixels = torch.rand(2, 3, 8, 8)
    for bad, words in (
        (pixels.movedim(1, -1), "channels seem to come last"),
        (pixels[:, :1], "channels=1 in the Preprocess"),
        (pixels[..., :0], "at least one pixel"),
        (pixels[0, 0], "missing axes"),
        (pixels * 255, r"in \[0, 1\], got values from .* divide by 255"),
        (pixels / 0 * 0, "got 384 NaN or infinite of 384"),
        (pixels.long(), "got torch.int64"),
    ):
        with pytest.raises(ImageError, match=words):
            IMAGENET.normalize(bad)
    live = pixels.clone().requires_grad_()
    IMAGENET.denormalize(IMAGENET.normalize(live)).sum().backward()
    assert live.grad is not None
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        assert IMAGENET.normalize(pixels.to(dtype)).dtype == dtype


def test_batch_of_every_source_is_the_single_calls(tmp_path: Path) -> None:
    pictures = [noise(50 + 9 * index, 70, index) for index in range(5)]
    pictures[0].save(tmp_path / "first.png")
    tensor = torch.from_numpy(np.array(pictures[3])).permute(2, 0, 1)
    sources = [
        tmp_path / "first.png",
        pictures[1],
        np.array(pictures[2]),
        tensor,
        read_image(pictures[4], name="own"),
    ]
    batch, shown = to_batch(sources, IMAGENET)
    assert torch.equal(batch, torch.stack([IMAGENET(picture) for picture in pictures]))
    assert [item.name for item in shown] == ["first.png", "image 1", "image 2", "image 3", "own"]
    for item, picture in zip(shown, pictures, strict=True):
        assert item.image.tobytes() == IMAGENET.view(picture).tobytes()
        assert item.original_size == picture.size
    for index, source in enumerate(sources):
        single, _ = to_batch(source, IMAGENET)
        assert torch.equal(single, batch[index : index + 1])


def test_batches_of_arrays_and_tensors() -> None:
    stack = np.stack([np.array(noise(40, 50, index)) for index in range(3)])
    expected, _ = to_batch(list(stack), IMAGENET)
    assert torch.equal(to_batch(stack, IMAGENET)[0], expected)
    assert torch.equal(to_batch(torch.from_numpy(stack).permute(0, 3, 1, 2), IMAGENET)[0], expected)
    assert torch.equal(to_batch((row for row in stack), IMAGENET)[0], expected)


def test_float_tensors_need_a_word() -> None:
    pixels = torch.randint(0, 256, (2, 3, 20, 30), dtype=torch.uint8).float() / 255
    with pytest.raises(ImageError, match=r"got normalized=None; try normalized=True .* normalized=False"):
        to_batch(pixels, IMAGENET)
    batch, shown = to_batch(pixels, IMAGENET, normalized=False)
    assert torch.equal(batch, IMAGENET.normalize(pixels))
    same, again = to_batch(batch, IMAGENET, normalized=True)
    assert same is batch
    assert [item.name for item in shown] == ["tensor [0]", "tensor [1]"]
    for index in range(2):
        levels = (pixels[index] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(np.array(shown[index].image), levels)
        np.testing.assert_array_equal(np.array(again[index].image), levels)
    assert to_batch(batch[0], IMAGENET, normalized=True)[0].shape == (1, 3, 20, 30)
    gray, pictures = to_batch(torch.rand(1, 9, 9), Preprocess(9, 9, (0.5,), (0.5,), 1), normalized=False)
    assert (gray.shape, pictures[0].image.mode) == ((1, 1, 9, 9), "RGB")
    assert to_batch(batch * 9, IMAGENET, normalized=True)[1][0].notes[0].startswith("values beyond")
    assert to_batch(batch.bfloat16(), IMAGENET, normalized=True)[1][0].notes == ()


@pytest.mark.parametrize(
    ("images", "normalized", "words"),
    [
        (torch.full((3, 8, 8), float("nan")), True, "got 192 NaN or infinite of 192"),
        (torch.full((3, 8, 8), float("inf")), False, "NaN or infinite"),
        (torch.full((3, 8, 8), 7.0), False, "or normalized=True when they are normalized already"),
        (torch.zeros(8, 8, 3), True, "channels seem to come last"),
        (torch.zeros(8, 8), True, r"Expected a float tensor of \[channel, h, w\]"),
        (torch.zeros(0, 3, 8, 8), True, "at least one pixel"),
        (torch.zeros(3, 8, 8, dtype=torch.long), None, r"got torch\.int64; try \.to\(torch\.uint8\)"),
        (
            torch.zeros(3, 8, 8, dtype=torch.uint8),
            True,
            r"got uint8 pixels \(tensor\); try without normalized",
        ),
        (torch.zeros(8, 8, dtype=torch.uint8), None, "uint8 tensor"),
        (torch.zeros(0, 3, 8, 8, dtype=torch.uint8), None, "empty batch"),
        (np.zeros((0, 8, 8, 3), np.uint8), None, "empty batch"),
        (np.full((8, 8), np.nan), None, "NaN or infinite"),
        ([], None, "empty list"),
        ([3], None, r"got builtins\.int"),
        ("missing.png", None, "the file does not"),
    ],
)
def test_bad_batches(images: Any, normalized: bool | None, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        to_batch(images, IMAGENET, normalized=normalized)


def test_sizes_that_differ() -> None:
    loose = Preprocess(16, None, (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(
        ImageError, match=r"one size .* image 0: 16 × 32, image 2: 32 × 16; try a Preprocess with"
    ):
        to_batch([noise(20, 40), noise(10, 20), noise(40, 20)], loose)
    assert to_batch([noise(20, 40), noise(10, 20)], loose)[0].shape == (2, 3, 16, 32)


def test_folders(tmp_path: Path) -> None:
    for name in ("b10.png", "b9.png"):
        noise(20, 20).save(tmp_path / name)
    (tmp_path / "readme.txt").write_text("three files")
    batch, shown = to_batch(tmp_path, IMAGENET)
    assert (len(batch), [item.name for item in shown]) == (2, ["b9.png", "b10.png"])
    assert len(to_batch(str(tmp_path / "b1*.png"), IMAGENET)[0]) == 1
    (tmp_path / "false.jpg").write_text("no picture")
    with pytest.warns(
        UserWarning, match=r"1 unreadable pictures were left out: false\.jpg: Expected an image"
    ) as caught:
        assert len(to_batch(tmp_path, IMAGENET)[0]) == 2
    assert caught[0].filename == __file__


def test_size_limit_is_passed_on() -> None:
    with pytest.raises(ImageError, match="at most 100 pixels"):
        to_batch(noise(20, 20), IMAGENET, max_pixels=100)


@pytest.mark.skipif(
    "PELLUCID_ASSETS" not in os.environ, reason="PELLUCID_ASSETS names no folder of photographs"
)
def test_real_photographs_equal_torchvision() -> None:
    folder = Path(os.environ["PELLUCID_ASSETS"]) / "images" / "imagenet_sample"
    paths = sorted(folder.iterdir())[::40]
    batch, shown = to_batch(paths, IMAGENET)
    assert all(isinstance(item, Picture) for item in shown)
    for path, tensor in zip(paths, batch, strict=True):
        with Image.open(path) as opened:
            assert torch.equal(tensor, oracle(IMAGENET)(opened.convert("RGB"))), path.name
