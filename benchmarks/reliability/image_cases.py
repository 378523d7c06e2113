"""Hostile pictures, made by seed: files, objects, arrays and tensors that a reader of pictures may meet.

A case knows what is right: pixels, computed here from the numbers it was made of and not by the reader; a refusal; or either of
both (damage that a decoder may or may not notice).
"""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

REFUSED, EITHER = "refused", "either"
FORMS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "QOI", "AVIF")
LOSSLESS = {"PNG", "BMP", "TIFF", "PPM", "QOI"}


@dataclass(frozen=True)
class Case:
    """``make(folder)`` gives what is handed to the reader; ``right``: pixels [h w 3], ``"refused"`` or ``"either"``."""

    kind: str
    name: str
    make: Callable[[Path], Any]
    right: Any = EITHER
    near: int = 0
    options: dict[str, Any] = field(default_factory=dict)


def cases(seed: int = 0, large: bool = True) -> list[Case]:
    """All cases; with ``large`` those that are about memory and time, too."""
    made: list[Case] = []
    for maker in (
        truncated,
        flipped,
        foreign,
        bombs,
        modes,
        turned,
        transparent,
        animated,
        crafted,
        arrays,
        tensors,
        paths,
        objects,
    ):
        made += maker(random.Random(f"{seed} {maker.__name__}"))
    return made + (list(big()) if large else [])


def ramp(height: int = 24, width: int = 36, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Pixels without symmetry."""
    noise = np.random.default_rng(seed).integers(0, 40, (height, width, channels))
    rows, columns = np.mgrid[0:height, 0:width]
    base = np.stack([rows * 7 + columns * (k + 1) * 3 for k in range(channels)], -1) % 216
    return (base + noise).astype(np.uint8)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """The bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def file(name: str, content: bytes | Callable[[], bytes]) -> Callable[[Path], Path]:
    """A maker that writes a file."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content())
        return path

    return make


def given(value: Any) -> Callable[[Path], Any]:
    """A maker of something that is no file."""
    return lambda _: value


def png(width: int, height: int, depth: int, color: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of any depth and color type, rows without their filter bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    step = len(rows) // height if height else 0
    filtered = b"".join(b"\0" + rows[row * step : (row + 1) * step] for row in range(height if rows else 0))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(filtered)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunk(*each) for each in chunks) + body


def truncated(lots: random.Random) -> Iterator[Case]:
    for form in FORMS:
        whole = encoded(Image.fromarray(ramp(64, 80)), form)
        for share in (0.02, 0.3, 0.6, 0.9):
            cut = max(1, int(share * len(whole)) + lots.randrange(3))
            yield Case("truncated", f"{form} {share}", file(f"cut.{form.lower()}", whole[:cut]))


def flipped(lots: random.Random) -> Iterator[Case]:
    for form in FORMS:
        whole = encoded(Image.fromarray(ramp(16, 20)), form)
        for turn in range(7):
            content = bytearray(whole)
            for _ in range(1 + turn):
                content[lots.randrange(len(content) if turn % 2 else min(64, len(content)))] = lots.randrange(
                    256
                )
            yield Case("damaged bytes", f"{form} {turn}", file(f"flip.{form.lower()}", bytes(content)))


def foreign(lots: random.Random) -> Iterator[Case]:
    contents = {
        "empty": b"",
        "one byte": b"\x89",
        "nulls": bytes(5000),
        "noise": lots.randbytes(5000),
        "text": b"no picture\n" * 50,
        "latin": "café ".encode("latin-1") * 9,
        "pdf": b"%PDF-1.7\n" + lots.randbytes(99),
        "html": b"<!doctype html><img>",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
        "zip": b"PK\3\4" + lots.randbytes(99),
        "gzip": gzip.compress(b"x" * 99),
        "npy": b"\x93NUMPY\1\0" + bytes(99),
        "exe": b"MZ" + lots.randbytes(99),
        "mp4": b"\0\0\0\x18ftypmp42" + bytes(99),
        "heic": b"\0\0\0\x18ftypheic" + bytes(99),
        "pickle": b"\x80\4\x95" + bytes(20),
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    }
    for name, content in contents.items():
        for suffix in (".png", ".jpg"):
            yield Case("wrong magic", f"{name}{suffix}", file(f"f{suffix}", content), REFUSED)


def bombs(lots: random.Random) -> Iterator[Case]:
    huge = {
        "png": png(60_000, 60_000, 8, 2, b""),
        "png wide": png(2**31 - 1, 1, 8, 0, b""),
        "png 16": png(40_000, 40_000, 16, 6, b""),
        "gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0xF0, 0, 0) + bytes(6) + b",",
        "bmp": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
        "bmp negative": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, -9, 9, 1, 24, 0, 0, 0, 0, 0, 0),
        "ppm": b"P6 99999 99999 255\n",
        "qoi": b"qoif" + struct.pack(">IIBB", 70_000, 70_000, 4, 0) + bytes(99),
        "tiff": tiff(90_000, 90_000),
        "tiff zero": tiff(0, 0),
        "png zero": png(0, 10, 8, 2, b""),
        "ppm zero": b"P6 0 0 255\n",
        "jpeg": jpeg_of_size(65500, 65500),
        "webp": webp_of_size(16383, 16383),
    }
    for name, content in huge.items():
        yield Case("bomb", name, file(f"bomb.{name.split()[0]}", content), REFUSED)


def tiff(
    width: int, height: int, entries: tuple[tuple[int, int, int, int], ...] = (), onward: int = 0
) -> bytes:
    """The directory of a gray TIFF."""
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
    ]
    tags += [(277, 3, 1, 1), (278, 4, 1, height or 1), (279, 4, 1, 100), *entries]
    body = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + struct.pack("<I", onward) + bytes(200)


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG that says another size than it has."""
    content = bytearray(encoded(Image.new("L", (16, 16)), "JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def webp_of_size(width: int, height: int) -> bytes:
    """A WebP of the extended form that says another size than it has."""
    bits = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    inner = encoded(Image.new("RGB", (16, 16)), "WEBP", lossless=True)[12:]
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + bits
    return b"RIFF" + struct.pack("<I", 4 + len(chunk) + len(inner)) + b"WEBP" + chunk + inner


def modes(lots: random.Random) -> Iterator[Case]:
    gray, color = ramp(channels=1)[..., 0], ramp()
    alpha = ramp(channels=1, seed=3)
    three = np.repeat(gray[..., None], 3, 2)
    over = np.rint(color * (alpha / 255) + 255 * (1 - alpha / 255)).astype(int)
    wide = gray.astype(np.uint16) * 257
    rgba = np.concatenate([color, alpha], -1)
    black_ink = np.concatenate([255 - color, np.zeros_like(alpha)], -1)
    pictures: dict[str, tuple[Image.Image, Any, int]] = {
        "1": (
            Image.fromarray(np.where(gray > 99, 255, 0).astype(np.uint8)).convert("1", dither=0),
            np.repeat(np.where(gray > 99, 255, 0)[..., None], 3, 2),
            0,
        ),
        "L": (Image.fromarray(gray), three, 0),
        "RGB": (Image.fromarray(color), color, 0),
        "RGBA": (Image.fromarray(rgba), over, 1),
        "I;16": (Image.fromarray(wide), three, 0),
        "I": (Image.fromarray(wide.astype(np.int32)), three, 0),
        "F": (Image.fromarray((gray / 255).astype(np.float32)), three, 0),
        "CMYK": (Image.frombytes("CMYK", (36, 24), black_ink.tobytes()), color, 1),
        "P": (Image.fromarray(three).quantize(256), three, 0),
        "LA": (
            Image.merge("LA", [Image.fromarray(gray), Image.fromarray(alpha[..., 0])]),
            np.rint(three * (alpha / 255) + 255 * (1 - alpha / 255)).astype(int),
            1,
        ),
        "F beyond": (Image.fromarray(gray.astype(np.float32)), REFUSED, 0),
        "F NaN": (Image.fromarray(np.full((9, 9), np.nan, np.float32)), REFUSED, 0),
        "I negative": (Image.fromarray(np.full((9, 9), -3, np.int32)), REFUSED, 0),
        "I beyond": (Image.fromarray(np.full((9, 9), 70_000, np.int32)), REFUSED, 0),
        "zero": (Image.new("RGB", (0, 5)), REFUSED, 0),
    }
    for name, (image, right, near) in pictures.items():
        yield Case("mode", f"PIL {name}", given(image), right, near)
        for form in ("PNG", "TIFF", "BMP", "PPM", "WEBP"):
            options = {"lossless": True, "exact": True} if form == "WEBP" else {}
            try:
                content = encoded(image, form, **options)
            except (OSError, KeyError, ValueError, SystemError, TypeError, MemoryError):
                continue
            if form in ("BMP", "PPM") and name.split()[0] in ("RGBA", "LA", "I", "I;16", "F"):
                right_here: Any = EITHER  # what these formats keep of it is for Pillow to say
            else:
                right_here = EITHER if form == "WEBP" and name not in ("L", "RGB", "RGBA") else right
            yield Case(
                "mode", f"{form} {name}", file(f"mode.{form.lower()}", content), right_here, max(near, 1)
            )


def turned(lots: random.Random) -> Iterator[Case]:
    pixels = ramp()
    views = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels[::-1].transpose(1, 0, 2),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: pixels[:, ::-1].transpose(1, 0, 2),
    }
    for form in ("PNG", "TIFF", "WEBP", "JPEG"):
        for turn, view in views.items():
            exif = Image.Exif()
            exif[0x0112] = turn
            options: dict[str, Any] = {
                "PNG": {},
                "TIFF": {},
                "WEBP": {"lossless": True},
                "JPEG": {"quality": 100, "subsampling": 0},
            }[form]
            content = encoded(Image.fromarray(pixels), form, exif=exif, **options)
            yield Case(
                "EXIF turn",
                f"{form} {turn}",
                file(f"t.{form.lower()}", content),
                view,
                12 if form == "JPEG" else 0,
            )
    for value in (0, 9, 65535):
        exif = Image.Exif()
        exif[0x0112] = value
        yield Case(
            "EXIF turn",
            f"PNG {value}",
            file("t.png", encoded(Image.fromarray(pixels), "PNG", exif=exif)),
            pixels,
        )


def transparent(lots: random.Random) -> Iterator[Case]:
    for depth in (1, 2, 4, 8, 16):
        values = np.array([lots.randrange(1 << depth) for _ in range(32)])
        bits = (values[:, None] >> np.arange(depth)[::-1]) & 1
        row = values.astype(">u2").tobytes() if depth == 16 else np.packbits(bits).tobytes()
        for key in (int(values[3]), 0):
            shown = np.where(values == key, 255, np.rint(values * 255 / ((1 << depth) - 1)))
            right = np.repeat(shown[None, :, None], 3, 2)
            content = png(32, 1, depth, 0, row, (b"tRNS", struct.pack(">H", key)))
            yield Case("transparency", f"gray {depth} key {key}", file("t.png", content), right, 1)
    color = ramp(1, 32)
    key = tuple(int(v) for v in color[0, 5])
    right = np.where((color == key).all(-1, keepdims=True), 255, color)
    content = png(32, 1, 8, 2, color.tobytes(), (b"tRNS", struct.pack(">3H", *key)))
    yield Case("transparency", "RGB key", file("t.png", content), right)
    wide = color.astype(">u2") * 257
    content = png(32, 1, 16, 2, wide.tobytes(), (b"tRNS", struct.pack(">3H", *(257 * v for v in key))))
    yield Case("transparency", "RGB 16 key", file("t.png", content), right)
    palette = ramp(1, 16)[0]
    index = np.array([lots.randrange(16) for _ in range(32)], np.uint8)
    alphas = np.array([lots.randrange(256) for _ in range(16)])
    for name, share in (("palette alphas", alphas), ("palette one", np.where(np.arange(16) == 4, 0, 255))):
        a = share[index][:, None] / 255
        right = np.rint(palette[index] * a + 255 * (1 - a))[None]
        chunks = ((b"PLTE", palette.tobytes()), (b"tRNS", bytes(share.astype(np.uint8))))
        yield Case("transparency", name, file("t.png", png(32, 1, 8, 3, index.tobytes(), *chunks)), right, 1)
    image = Image.fromarray(index.reshape(4, 8), "P")
    image.putpalette(palette.tobytes())
    right = np.where((index == 4)[:, None], 255, palette[index]).reshape(4, 8, 3)
    yield Case("transparency", "GIF index", file("t.gif", encoded(image, "GIF", transparency=4)), right)
    short = (b"tRNS", b"\1")
    yield Case("transparency", "short tRNS", file("t.png", png(32, 1, 8, 0, bytes(32), short)))
    yield Case(
        "transparency",
        "tRNS beyond",
        file("t.png", png(2, 1, 8, 0, b"\0\7", (b"tRNS", b"\xff\xff"))),
        np.array([[[0] * 3, [7] * 3]]),
    )


def animated(lots: random.Random) -> Iterator[Case]:
    frames = [Image.fromarray(ramp(12, 16, seed=k)) for k in range(5)]
    for form in ("PNG", "WEBP", "TIFF", "GIF"):
        for count in (2, 5):
            options = {"lossless": True} if form == "WEBP" else {}
            content = encoded(frames[0], form, save_all=True, append_images=frames[1:count], **options)
            right = EITHER if form == "GIF" else ramp(12, 16)
            yield Case("animated", f"{form} {count}", file(f"a.{form.lower()}", content), right)
    small = [Image.new("L", (1, 1), k % 256) for k in range(1200)]
    for form in ("GIF", "TIFF"):
        content = encoded(small[0], form, save_all=True, append_images=small[1:])
        yield Case("animated", f"{form} 1200", file(f"a.{form.lower()}", content), np.zeros((1, 1, 3)))


def crafted(lots: random.Random) -> Iterator[Case]:
    progressive = encoded(Image.new("L", (16, 16), 99), "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    many = progressive[:last] + progressive[last:-2] * 3000 + progressive[-2:]
    text = zlib.compress(b"a" * 200_000_000)
    base = ramp(8, 8)
    gif = b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0)
    rle = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 900, 900, 1, 8, 1, 9, 0, 0, 0, 0)
    rows = base.tobytes()
    made: dict[str, tuple[bytes, Any]] = {
        "JPEG 3000 scans": (many, REFUSED),
        "TIFF loop": (tiff(9, 9, onward=8), EITHER),
        "TIFF huge tag": (tiff(9, 9, ((700, 1, 2**31, 8),)), EITHER),
        "TIFF strips": (tiff(9, 9, ((324, 4, 2**30, 8),)), EITHER),
        "PNG zTXt bomb": (png(8, 8, 8, 2, rows, (b"zTXt", b"a\0\0" + text)), EITHER),
        "PNG iCCP bomb": (png(8, 8, 8, 2, rows, (b"iCCP", b"a\0\0" + text)), EITHER),
        "PNG 20000 chunks": (png(8, 8, 8, 2, rows, *([(b"tEXt", b"a\0b")] * 20_000)), base),
        "PNG no IDAT": (b"\x89PNG\r\n\x1a\n" + png(8, 8, 8, 2, b"")[8:33], REFUSED),
        "PNG bad palette": (png(8, 8, 8, 3, bytes(range(64))), EITHER),
        "PNG color 9": (png(8, 8, 8, 9, rows), REFUSED),
        "PNG depth 3": (png(8, 8, 3, 2, rows), REFUSED),
        "GIF no frame": (gif + b";", REFUSED),
        "GIF blocks": (gif + b"!\xfe\1a\0" * 50_000, REFUSED),
        "BMP RLE": (rle + b"\0\0" * 9, EITHER),
        "PPM letters": (b"P3 8 8 255\n" + b"x " * 192, REFUSED),
        "PPM maxval": (b"P6 8 8 0\n" + rows, REFUSED),
        "PPM short": (b"P6 8 8 255\n" + rows[:50], REFUSED),
        "JPEG exif": (jpeg_with_exif(lots.randbytes(60_000)), EITHER),
        "QOI short": (b"qoif" + struct.pack(">IIBB", 900, 900, 3, 0) + b"\xc0" * 9, REFUSED),
        "trailing": (png(8, 8, 8, 2, rows) + lots.randbytes(5000), base),
    }
    for name, (content, right) in made.items():
        yield Case("crafted", name, file(f"c.{name.split()[0].lower()}", content), right)


def jpeg_with_exif(content: bytes) -> bytes:
    """A JPEG whose EXIF data is noise."""
    whole = encoded(Image.fromarray(ramp()), "JPEG")
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 8) + b"Exif\0\0" + content + whole[2:]


def arrays(lots: random.Random) -> Iterator[Case]:
    color = ramp()
    gray = color[..., 0]
    three = np.repeat(gray[..., None], 3, 2)
    frozen = color.copy()
    frozen.setflags(write=False)
    nan, inf = color / 255.0, color / 255.0
    nan[3, 4, 1], inf[0, 0, 0] = np.nan, np.inf
    good = {
        "uint8": (color, color),
        "gray": (gray, three),
        "gray 1": (gray[..., None], three),
        "uint16": (color.astype(np.uint16) * 257, color),
        "big endian": (color.astype(">u2") * 257, color),
        "float64": (color / 255, color),
        "float32": ((color / 255).astype(np.float32), color),
        "float16": ((color / 255).astype(np.float16), color),
        "read-only": (frozen, color),
        "reversed": (color[::-1, ::-1], color[::-1, ::-1]),
        "strided": (color[::2, ::3], color[::2, ::3]),
        "fortran": (np.asfortranarray(color), color),
        "opaque": (np.dstack([color, np.full(gray.shape, 255, np.uint8)]), color),
        "batch of one": (color[None], color),
    }
    for name, (array, right) in good.items():
        yield Case("array", name, given(array), right, 1 if "float" in name else 0)
    bad = {
        "NaN": nan,
        "infinite": inf,
        "negative": color / 255.0 - 0.5,
        "beyond": color.astype(float),
        "int64": color.astype(np.int64),
        "bool": gray > 9,
        "complex": gray.astype(complex),
        "object": np.array([[None] * 4] * 4),
        "text": np.array([["a"] * 4] * 4),
        "channels first": color.transpose(2, 0, 1),
        "two channels": color[..., :2],
        "seven channels": ramp(channels=7),
        "1-d": gray[0],
        "0-d": np.array(3),
        "5-d": color[None, None],
        "empty": np.zeros((0, 5, 3), np.uint8),
        "empty wide": np.zeros((5, 0, 3), np.uint8),
        "empty batch": np.zeros((0, 5, 5, 3), np.uint8),
        "dates": np.zeros((4, 4), "M8[s]"),
        "records": np.zeros((4, 4), [("r", "u1"), ("g", "u1")]),
        "uint32": color.astype(np.uint32),
        "too large": np.broadcast_to(np.uint8(0), (20_000, 20_000)),
    }
    for name, array in bad.items():
        yield Case("array", name, given(array), REFUSED)


def tensors(lots: random.Random) -> Iterator[Case]:
    color = ramp()
    first = torch.from_numpy(color).movedim(-1, 0)
    yield Case("tensor", "uint8", given(first), color)
    yield Case("tensor", "uint8 batch", given(first[None]), color)
    yield Case("tensor", "uint8 flipped", given(first.flip(1)), color[::-1])
    bad: dict[str, Any] = {
        "int64": first.long(),
        "bool": first > 9,
        "complex": first.to(torch.complex64),
        "channels last": torch.from_numpy(color),
        "2-d": first[0],
        "0-d": torch.tensor(3),
        "empty": torch.zeros(0, 3, 8, 8),
        "two channels": first[:2],
        "empty uint8": first[:, :0],
        "5-d": torch.zeros(1, 1, 3, 8, 8),
        "5-d uint8": first[None, None],
        "meta": torch.zeros(3, 8, 8, dtype=torch.uint8, device="meta"),
        "sparse": torch.zeros(3, 8, 8).to_sparse(),
    }
    for name, tensor in bad.items():
        yield Case("tensor", name, given(tensor), REFUSED)


def paths(lots: random.Random) -> Iterator[Case]:
    def pipe(folder: Path) -> Path:
        os.mkfifo(folder / "pipe.png")
        return folder / "pipe.png"

    def loop(folder: Path) -> Path:
        (folder / "loop.png").symlink_to(folder / "loop.png")
        return folder / "loop.png"

    def dangling(folder: Path) -> Path:
        (folder / "link.png").symlink_to(folder / "gone.png")
        return folder / "link.png"

    def bare(folder: Path) -> Path:
        (folder / "bare").mkdir()
        return folder / "bare"

    def inside(folder: Path) -> Path:
        (folder / "in").mkdir()
        (folder / "in" / "a.png").write_bytes(b"nonsense")
        os.mkfifo(folder / "in" / "b.png")
        return folder / "in"

    makers: dict[str, Callable[[Path], Any]] = {
        "pipe": pipe,
        "loop": loop,
        "dangling": dangling,
        "empty folder": bare,
        "folder of none": inside,
        "missing": lambda folder: folder / "no.png",
        "no folder": given("/no/such/folder/x.png"),
        "device": given("/dev/zero"),
        "NUL": given("a\0b.png"),
        "long": given("x" * 5000),
        "blank": given("  "),
        "web": given("https://example.org/a.png"),
        "pattern": given("/no/such/*.png"),
        "home": given("~nobody-here/x.png"),
        "newline": given("a\nb.png"),
        "bytes": given(b""),
    }
    for name, make in makers.items():
        yield Case("path", name, make, REFUSED)


class Reader:
    """An open file that fails, or gives what is no bytes."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def read(self, *_: Any) -> Any:
        """Its answer, raised where it is an error."""
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def objects(lots: random.Random) -> Iterator[Case]:
    endless: list[Any] = []
    endless.append(endless)
    closed = io.BytesIO(b"x")
    closed.close()
    good = encoded(Image.fromarray(ramp()), "PNG")
    yield Case("object", "bytes", given(good), ramp())
    yield Case("object", "bytearray", given(bytearray(good)), ramp())
    yield Case("object", "reader", given(Reader(good)), ramp())
    yield Case("object", "list in list", given([[Image.fromarray(ramp())]]), ramp())
    bad: dict[str, Any] = {
        "None": None,
        "number": 3,
        "truth": True,
        "dict": {"a": 1},
        "set": {"a.png"},
        "endless": endless,
        "empty": [],
        "nested": [[]],
        "closed": closed,
        "text": io.StringIO("x"),
        "failing": Reader(OSError("gone")),
        "no bytes": Reader(3),
        "class": Image.Image,
        "function": len,
        "nothing read": Reader(b""),
        "numbers": [[1, 2], [3, 4]],
        "memory": memoryview(b"abc"),
        "generator": iter(()),
    }
    for name, value in bad.items():
        yield Case("object", name, given(value), REFUSED)


def big() -> Iterator[Case]:
    """What lies within the limits takes less than a gigabyte and some seconds."""
    sides = {"RGB": 9900, "RGBA": 9900, "L": 9900, "I;16": 9900, "P": 9900, "CMYK": 9900}

    def made(mode: str, form: str, side: int, **options: Any) -> Callable[[Path], Path]:
        def make(folder: Path) -> Path:
            path = folder / f"big.{form.lower()}"
            Image.new(
                mode,
                (side, side),
                7 if mode in ("L", "I;16", "P") else (7, 8, 9, 200)[: 3 if mode == "RGB" else 4],
            ).save(path, form, **options)
            return path

        return make

    for mode, side in sides.items():
        if mode != "CMYK":
            yield Case("large", f"PNG {mode} {side}", made(mode, "PNG", side, compress_level=1))
    yield Case("large", "TIFF CMYK 9900", made("CMYK", "TIFF", 9900, compression="tiff_lzw"))
    yield Case("large", "JPEG 9900", made("RGB", "JPEG", 9900))
    yield Case("large", "JPEG progressive 7000", made("RGB", "JPEG", 7000, progressive=True))
    yield Case("large", "JPEG progressive 9900", made("RGB", "JPEG", 9900, progressive=True), REFUSED)
    yield Case("large", "WEBP 5700", made("RGB", "WEBP", 5700, method=0))
    yield Case("large", "WEBP 9900", made("RGB", "WEBP", 9900, method=0), REFUSED)
    yield Case("large", "GIF 9900", made("L", "GIF", 9900))

    def many(folder: Path) -> Path:
        path = folder / "frames.tiff"
        tail = tiff(1, 1)
        step = len(tail) - 8
        with path.open("wb") as stream:
            stream.write(tail[:8])
            for index in range(50_000):
                onward = 8 + (index + 1) * step if index < 49_999 else 0
                stream.write(tiff(1, 1, onward=onward)[8:])
        return path

    yield Case("large", "TIFF of 50,000 frames", many, np.full((1, 1, 3), ord("\t")))
