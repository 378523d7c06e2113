"""What a picture may cost, what becomes of transparent colors, and whose warnings become its notes."""

from __future__ import annotations

import gc
import io
import struct
import threading
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.data.decoding import MOST_FRAMES, MOST_SCANS
from pellucid.data.images import ImageError, read_image


def png(width: int, height: int, depth: int, color: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of given bit depth and color type, rows without their filter bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    step = len(rows) // height
    filtered = b"".join(b"\0" + rows[row * step : (row + 1) * step] for row in range(height))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    extra = b"".join(chunk(*each) for each in chunks)
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(filtered)) + chunk(b"IEND", b"")


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_gray_of_a_png_is_white_at_every_depth(depth: int) -> None:
    values = np.arange(16) % (1 << min(depth, 4))
    if depth == 16:
        values = values * 4000
    row = (
        values.astype(">u2").tobytes() if depth == 16
        else np.packbits((values[:, None] >> np.arange(depth)[::-1]) & 1).tobytes()
    )  # fmt: skip
    key = int(values[1])
    read = read_image(png(16, 1, depth, 0, row, (b"tRNS", struct.pack(">H", key))), keep_grey=True)
    full = (1 << depth) - 1
    expected = np.where(values == key, 255, np.rint(values * 255 / full)).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(read.image)[0], expected)
    assert "alpha channel composited over white" in read.notes


def test_the_transparent_color_of_16_bits_is_compared_in_8_and_said() -> None:
    pixels = np.array([[0x1234, 0x5678, 0x9ABC], [0x3412, 0x7856, 0xBC9A]], ">u2")
    read = read_image(
        png(2, 1, 16, 2, pixels.tobytes(), (b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC)))
    )
    np.testing.assert_array_equal(np.asarray(read.image)[0], [[255] * 3, [0x34, 0x78, 0xBC]])
    assert "its transparent color of 16 bits was compared in 8 bits" in read.notes


def test_a_picture_in_bands_is_the_picture_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    forms = [
        Image.fromarray(random.integers(0, 256, (37, 11, 4), dtype=np.uint8)),
        Image.fromarray(random.integers(0, 65536, (37, 11), dtype=np.uint16)),
        Image.fromarray(random.random((37, 11), dtype=np.float32)),
        Image.fromarray(random.integers(0, 256, (37, 11), dtype=np.uint8)).convert("LA"),
        Image.fromarray(random.integers(0, 256, (37, 11, 3), dtype=np.uint8)).quantize(16),
    ]
    forms[-1].info["transparency"] = bytes(range(0, 256, 16))
    whole = [read_image(form) for form in forms]
    monkeypatch.setattr("pellucid.data.pixels._BAND", 30)
    for form, expected in zip(forms, whole, strict=True):
        read = read_image(form)
        np.testing.assert_array_equal(np.asarray(read.image), np.asarray(expected.image))
        assert read.notes == expected.notes


@pytest.mark.parametrize("form", ["gif", "tiff"])
def test_frames_are_counted_up_to_a_limit(form: str) -> None:
    frames = [Image.new("L", (1, 1), index % 256) for index in range(20)]
    content = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    assert read_image(content).notes[0] == "first of 20 frames"
    many = [frames[index % 20] for index in range(MOST_FRAMES + 50)]
    content = encoded(many[0], form, save_all=True, append_images=many[1:])
    assert read_image(content).notes[0] == f"first of more than {MOST_FRAMES:,} frames"


def test_a_costly_format_counts_more_than_its_pixels() -> None:
    content = encoded(Image.new("RGB", (50, 40)), "webp")
    with pytest.raises(
        ImageError, match=r"each counted 3 times for what decoding WEBP takes; .*max_pixels=6000"
    ):
        read_image(content, max_pixels=5999)
    assert read_image(content, max_pixels=6000).original_size == (50, 40)


def test_a_progressive_jpeg_of_endless_scans_is_refused() -> None:
    content = encoded(Image.new("L", (16, 16), 99), "jpeg", progressive=True)
    assert read_image(content).notes == ()
    last = content.rindex(b"\xff\xda")
    scan = content[last:-2]
    with pytest.raises(ImageError, match=f"at most {MOST_SCANS} scans, got"):
        read_image(content[:last] + scan * (MOST_SCANS + 5) + content[-2:])


def test_no_memory_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pellucid.data.decoding.eight_bit", none_left)
    with pytest.raises(ImageError, match=r"Expected memory for photo, got none left"):
        read_image(encoded(Image.new("L", (16, 16)), "png"), name="photo")


def test_warnings_of_others_are_no_notes(tmp_path: Path) -> None:
    content = encoded(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)), "png"
    )
    over, given = threading.Event(), 0

    def other() -> None:
        nonlocal given
        while not over.is_set():
            warnings.warn("somebody's password expired", UserWarning, stacklevel=1)
            given += 1
            time.sleep(0)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread = threading.Thread(target=other)
        thread.start()
        notes = []
        try:
            while given < 100 and thread.is_alive():
                notes.append(read_image(content, name="x").notes)
        finally:
            over.set()
            thread.join()
        assert given >= 100
        assert set(notes) == {()}
        assert len(caught) == given, "and none of them is lost"


def test_a_file_that_the_collector_closes_meanwhile_is_no_note(tmp_path: Path) -> None:
    class Cycle:
        def __init__(self) -> None:
            self.file = (tmp_path / "open").open("w")
            self.me = self

    content = encoded(Image.new("RGB", (200, 200)), "png")
    before = gc.get_threshold()
    gc.disable()
    Cycle()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            gc.enable()
            gc.set_threshold(1)
            assert read_image(content, name="x").notes == ()
        finally:
            gc.set_threshold(*before)


def test_what_pillow_has_to_say_is_a_note() -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    content = bytearray(encoded(Image.new("RGB", (20, 20)), "tiff"))
    read = read_image(bytes(content))
    assert read.notes == ()
    at = content.index(struct.pack("<HHI", 0x0111, 4, 1))  # strip offsets, said to be far more than there are
    tag = struct.pack("<HHII", 0x9999, 2, 1_000_000, 0)
    content[at - 12 : at] = tag
    try:
        notes = read_image(bytes(content)).notes
    except ImageError:
        return
    assert any("read with a warning" in note for note in notes)
