"""Every picture that goes wrong in practice, made in a temporary folder, and what is said about it."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pellucid.data.images import ImageError, Picture, read_image


def ramp(height: int = 24, width: int = 32) -> np.ndarray:
    """An RGB picture without symmetry."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], -1).astype(
        np.uint8
    )


def png_header(width: int, height: int) -> bytes:
    """A valid PNG file of any size whose pixel data is empty: only the header can be read."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "dog.png"
    Image.fromarray(ramp()).save(path)
    return path


def test_one_picture_from_every_kind_of_source(picture: Path) -> None:
    with Image.open(picture) as opened, picture.open("rb") as stream:
        sources = [picture, str(picture), opened, stream, picture.read_bytes(), ramp()]
        reads = [read_image(source) for source in sources]
        for read in reads:
            assert (read.image.mode, read.original_size, read.notes) == ("RGB", (32, 24), ())
            np.testing.assert_array_equal(np.asarray(read.image), ramp())
    assert [read.name for read in reads] == ["dog.png"] * 4 + ["bytes", "array"]
    assert read_image(reads[0]) is reads[0]
    assert read_image(ramp(), name="mine").name == "mine"


def test_missing_file_names_close_ones_and_its_folder(picture: Path) -> None:
    with pytest.raises(
        ImageError, match=r"its folder exists, the file does not; try one of the close names dog\.png"
    ):
        read_image(picture.with_name("Dgo.png"))
    with pytest.raises(ImageError, match=r"neither it nor its folder .*nowhere.* exists"):
        read_image(picture.parent / "nowhere" / "dog.png")


def test_paths_that_are_no_files(picture: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="got the folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="web address"):
        read_image("https://example.org/dog.png")
    for text in ("", "a\0b", "x" * 5000):
        with pytest.raises(ImageError, match="Expected the path of an image"):
            read_image(text)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="device or pipe"):
        read_image(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="link without a target"):
        read_image(tmp_path / "link.png")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Dear all,\nthis is no picture", r"text that starts with 'Dear all,\\nthis is no picture'"),
        ("Grüße ".encode() * 60, "text that starts with 'Grüße"),
        (b"", "is empty"),
        (b"%PDF-1.7 ...", "PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG drawing"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\x93NUMPY\1\0", "numpy.load"),
        (b"\x89PNG\r\n\x1a\nnonsense", "damaged PNG"),
        (b"\xff\xd8\xff\xe0nonsense", "damaged"),
        (bytes(range(128, 256)), "bytes that start with 80 81 82"),
    ],
)
def test_content_that_is_no_image(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "dog.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=words):
        read_image(path)


@pytest.mark.parametrize("form", ["jpeg", "png", "gif", "webp", "bmp", "tiff", "ppm"])
def test_truncated_and_corrupt_files(tmp_path: Path, form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, form)
    path = tmp_path / f"cut.{form}"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(ImageError, match=rf"cut\.{form}"):
        read_image(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_give_a_picture_or_an_image_error(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["jpeg", "png", "gif", "webp", "bmp", "tiff", "ppm", "jpeg2000", "qoi"]))
    buffer = io.BytesIO()
    Image.fromarray(ramp(16, 16)).save(buffer, form)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = read_image(bytes(content), max_pixels=1_000_000)
    except ImageError:
        return
    assert read.image.mode == "RGB"


@pytest.mark.parametrize("form", ["gif", "png", "webp", "tiff"])
def test_first_of_several_frames(tmp_path: Path, form: str) -> None:
    frames = [Image.fromarray(np.full((20, 20, 3), 60 * index, np.uint8)) for index in range(4)]
    path = tmp_path / f"moving.{form}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)
    read = read_image(path)
    assert read.notes == ("first of 4 frames",)
    assert np.asarray(read.image).max() < 30
    with Image.open(path) as opened:
        opened.seek(2)
        assert read_image(opened).notes == ("frame 3 of 4",)
        assert opened.tell() == 2


def test_a_damaged_later_frame_does_not_concern_the_first(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.roll(ramp(), 9 * index, 1)) for index in range(3)]
    frames[0].save(tmp_path / "whole.gif", save_all=True, append_images=frames[1:], duration=40)
    content = (tmp_path / "whole.gif").read_bytes()
    third = content.rindex(b"\x21\xf9\x04")  # the control block of the last frame
    read = read_image(content[: third + 9])
    assert read.notes == ("later frames are damaged and were not counted",)
    with Image.open(io.BytesIO(content[: third + 9])) as opened:
        read_image(opened)
        assert opened.tell() == 0
    np.testing.assert_array_equal(
        np.asarray(read.image), np.asarray(read_image(tmp_path / "whole.gif").image)
    )


def test_cmyk_and_ycck(tmp_path: Path) -> None:
    flat = Image.new("RGB", (32, 24), (200, 100, 50)).convert("CMYK")
    flat.save(tmp_path / "print.jpg", quality=95)  # Pillow writes Adobe's inverted CMYK
    read = read_image(tmp_path / "print.jpg")
    assert read.notes == ("converted from CMYK without its color profile",)
    assert np.abs(np.asarray(read.image).astype(int) - (200, 100, 50)).max() <= 3
    # YCCK: the inks as YCbCr, told by the last byte of the Adobe marker. Saving inverts all four planes;
    # reading turns YCbCr into inks and inverts them and black, so the three have to be inverted beforehand
    planes = Image.merge("RGB", flat.split()[:3]).convert("YCbCr").point(lambda value: 255 - value).split()
    Image.merge("CMYK", (*planes, flat.split()[3])).save(tmp_path / "ycck.jpg", quality=95)
    content = bytearray((tmp_path / "ycck.jpg").read_bytes())
    content[content.index(b"Adobe") + 11] = 2
    (tmp_path / "ycck.jpg").write_bytes(content)
    assert np.abs(np.asarray(read_image(tmp_path / "ycck.jpg").image).astype(int) - (200, 100, 50)).max() <= 6


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_sixteen_bits_are_scaled_by_their_full_range(tmp_path: Path, suffix: str) -> None:
    values = np.linspace(0, 65535, 24 * 32).astype(np.uint16).reshape(24, 32)
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(values).save(path)
    read = read_image(path, keep_grey=True)
    assert read.image.mode == "L"
    assert read.notes == ("16-bit values (0 to 65535) scaled by 65535",)
    np.testing.assert_array_equal(np.asarray(read.image), np.rint(values / 257))
    assert read_image(path).image.mode == "RGB"


def test_big_endian_and_wide_integers(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 24 * 32).astype(np.uint16).reshape(24, 32)
    big = Image.frombytes("I;16B", (32, 24), values.astype(">u2").tobytes())
    wide = Image.fromarray(values.astype(np.int32))
    for image in (big, wide):
        np.testing.assert_array_equal(np.asarray(read_image(image).image)[..., 1], np.rint(values / 257))
    with pytest.raises(ImageError, match=r"integer pixels in \[0, 65535\], got values from -7 to 9"):
        read_image(Image.fromarray(np.linspace(-7, 9, 600).astype(np.int32).reshape(20, 30)))
    with pytest.raises(ImageError, match="got values from 5 to 65536"):
        read_image(Image.fromarray(np.array([[5, 65536]], np.int32)))


def test_float_files(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 24 * 32, dtype=np.float32).reshape(24, 32)
    Image.fromarray(values).save(tmp_path / "float.tiff")
    read = read_image(tmp_path / "float.tiff")
    np.testing.assert_array_equal(np.asarray(read.image)[..., 0], np.rint(values * 255))
    Image.fromarray(values * 200).save(tmp_path / "large.tiff")
    with pytest.raises(
        ImageError, match=r"large\.tiff: Expected float pixels in \[0, 1\].*try to divide them by 255"
    ):
        read_image(tmp_path / "large.tiff")


def test_transparency_is_composited_over_white(tmp_path: Path) -> None:
    alpha = np.zeros((20, 20), np.uint8)
    alpha[:, 10:] = 255
    cut = np.dstack([np.full((20, 20, 3), 40, np.uint8), alpha])
    expected = np.where(alpha[..., None] == 255, 40, 255) * np.ones(3, int)
    Image.fromarray(cut).save(tmp_path / "cut.png")
    Image.fromarray(cut).quantize(16).save(tmp_path / "palette.png")
    Image.fromarray(cut[..., 2:]).save(tmp_path / "gray.png")
    Image.fromarray(np.where(alpha == 255, np.uint8(40), np.uint8(7))).save(
        tmp_path / "key.png", transparency=7
    )
    for name in ("cut.png", "palette.png", "gray.png", "key.png"):
        read = read_image(tmp_path / name)
        assert "alpha channel composited over white" in read.notes, name
        np.testing.assert_array_equal(np.asarray(read.image), expected, err_msg=name)
    assert read_image(tmp_path / "gray.png", keep_grey=True).image.mode == "L"
    for mode in ("RGBa", "La"):
        premultiplied = Image.fromarray(cut).convert({"La": "LA"}.get(mode, "RGBA")).convert(mode)
        np.testing.assert_array_equal(np.asarray(read_image(premultiplied).image), expected)
    opaque = np.dstack([ramp(), np.full((24, 32), 255, np.uint8)])
    assert read_image(opaque).notes == ()
    np.testing.assert_array_equal(np.asarray(read_image(opaque).image), ramp())


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"])
def test_every_mode_ends_in_rgb(mode: str) -> None:
    gray = Image.new("RGB", (20, 20), (255, 255, 255))
    lab = Image.merge("LAB", [Image.new("L", (20, 20), value) for value in (255, 128, 128)])
    read = read_image(lab if mode == "LAB" else gray.convert(mode))
    assert read.image.mode == "RGB"
    assert np.asarray(read.image).min() >= 253


def test_exif_orientation(tmp_path: Path) -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"turned{orientation}.png"
        Image.fromarray(ramp()).save(path, exif=exif)
        read = read_image(path)
        height, width = (24, 32) if orientation < 5 else (32, 24)
        assert read.image.size == (width, height)
        assert read.original_size == (32, 24)
        assert read.notes == (("turned by its EXIF orientation",) if orientation > 1 else ())
        with Image.open(path) as opened:
            np.testing.assert_array_equal(np.asarray(read.image), np.asarray(ImageOps.exif_transpose(opened)))
        assert read.image.info == {}  # a tag left there would have the next reader turn it again
    np.testing.assert_array_equal(
        np.asarray(read_image(tmp_path / "turned6.png").image), np.rot90(ramp(), -1)
    )


def test_damaged_exif_does_not_stop_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(ramp()).save(tmp_path / "odd.webp", exif=exif, lossless=True)
    content = (tmp_path / "odd.webp").read_bytes()
    assert read_image(content).image.size == (24, 32)
    odd = read_image(content.replace(b"MM\0*", b"MM\0?"))
    np.testing.assert_array_equal(np.asarray(odd.image), ramp())


def test_tiny_and_empty() -> None:
    read = read_image(Image.new("RGB", (1, 1), "red"))
    assert (read.image.size, read.notes) == ((1, 1), ("very small: 1 × 1 pixels",))
    for shape in ((0, 5), (5, 0, 3), (0,)):
        with pytest.raises(ImageError, match="of at least one pixel"):
            read_image(np.zeros(shape, np.uint8))
    with pytest.raises(ImageError, match="of at least one pixel, got 0 × 7"):
        read_image(Image.new("RGB", (0, 7)))


def test_large_pictures_are_refused_on_their_header(tmp_path: Path) -> None:
    path = tmp_path / "wall.png"
    path.write_bytes(png_header(20_000, 20_000))  # decoding it could only fail as damaged
    before = Image.MAX_IMAGE_PIXELS
    words = (
        r"at most 100,000,000 pixels .* 20,000 × 20,000 = 400,000,000 in wall\.png; .*max_pixels=400000000"
    )
    with pytest.raises(ImageError, match=words):
        read_image(path)
    with pytest.raises(
        ImageError, match="damaged or cut short"
    ):  # so the raised limit lets it reach the decoder
        read_image(png_header(200, 100), max_pixels=20_000)
    with pytest.raises(ImageError, match="at most 19,999 pixels"):
        read_image(png_header(200, 100), max_pixels=19_999)
    with pytest.raises(ImageError, match="at most 10 pixels"):
        read_image(ramp(), max_pixels=10)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_raised_limit_goes_beyond_that_of_pillow(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_image(picture, max_pixels=None).image.size == (32, 24)
    assert read_image(picture).image.size == (32, 24)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_threads_share_the_reader(picture: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as pool:
        sizes = list(
            pool.map(lambda limit: read_image(picture, max_pixels=limit).image.size, [None, 768, 10**9] * 20)
        )
    assert set(sizes) == {(32, 24)}
    assert before == Image.MAX_IMAGE_PIXELS


def test_lazy_errors_of_pillow_objects(picture: Path) -> None:
    with Image.open(picture) as opened:
        pass  # closed before its pixels were read
    with pytest.raises(ImageError, match=r"dog\.png, which is damaged"):
        read_image(opened)


def test_files_opened_wrongly(picture: Path) -> None:
    with (
        picture.open("r", encoding="latin-1") as text,
        pytest.raises(ImageError, match=r"opened as text.*'rb'"),
    ):
        read_image(text)
    with picture.open("r", encoding="ascii") as text, pytest.raises(ImageError, match="'rb'"):
        read_image(text)
    with picture.open("rb") as stream:
        stream.read()
        with pytest.raises(ImageError, match=r"seek\(0\)"):
            read_image(stream)
    with pytest.raises(ImageError, match="closed"):
        read_image(stream)
    with pytest.raises(ImageError, match=r"got builtins\.int; try to_batch"):
        read_image(3)


def test_the_source_is_left_as_it_was() -> None:
    image = Image.fromarray(ramp()).convert("RGBA")
    image.putalpha(100)
    image.info["note"] = "mine"
    array = np.linspace(0, 1, 400).reshape(20, 20)
    before = image.tobytes(), array.copy()
    read = read_image(image)
    read.image.putpixel((0, 0), (1, 2, 3))
    read_image(array)
    assert (image.mode, image.info, image.tobytes()) == ("RGBA", {"note": "mine"}, before[0])
    np.testing.assert_array_equal(array, before[1])
    same = Image.fromarray(ramp())
    read_image(same).image.putpixel((0, 0), (9, 9, 9))
    np.testing.assert_array_equal(np.asarray(same), ramp())


def test_import_needs_no_torch() -> None:
    code = "import sys, pellucid.data.images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(
    "PELLUCID_ASSETS" not in os.environ, reason="PELLUCID_ASSETS names no folder of photographs"
)
def test_real_photographs() -> None:
    folder = Path(os.environ["PELLUCID_ASSETS"]) / "images" / "imagenet_sample"
    paths = sorted(folder.iterdir())
    assert len(paths) >= 100
    for path in paths[::40]:
        read = read_image(path)
        assert isinstance(read, Picture)
        with Image.open(path) as opened:
            np.testing.assert_array_equal(np.asarray(read.image), np.asarray(opened.convert("RGB")))
