"""From encoded bytes or an opened PIL image to an 8-bit picture, within bounds of memory and time.

What a picture costs is told from its header before a pixel is decoded: its size, what its decoder holds beside the pixels, and
(JPEG) how often it goes over all of them. At the usual limit reading takes less than a gigabyte. Frames are counted up to
`MOST_FRAMES`. Of Pillow's warnings those that its own code gives in this thread become notes; all others go where they would
have gone.

Pillow's pixel limit and Python's warning filters belong to the whole process, so pictures are decoded one at a time, under a
lock.
"""

from __future__ import annotations

import io
import mmap
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from PIL import Image

from pellucid.data.files import describe_content
from pellucid.data.pixels import Color, ImageError, eight_bit

MAX_PIXELS = 100_000_000
MOST_FRAMES = 1000
MOST_SCANS = 100  # of a progressive JPEG; encoders write about ten
# HEIF is there for who registered a reader for it with Pillow
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "JPEG2000", "QOI", "HEIF")
# How many pixels one of the format counts for: what its decoder holds at once, as measured, over the 8 bytes of the others
# (of QOI, the time it takes)
WEIGHTS = {"WEBP": 3, "JPEG2000": 3, "AVIF": 2, "HEIF": 2, "QOI": 4}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_UNPACKED = {"L;2": 85, "L;4": 17}  # what gray values of few bits are multiplied by
_lock = threading.RLock()


def decode(
    stream: BinaryIO, name: str, max_pixels: int | None
) -> tuple[Image.Image, list[str], tuple[int, int]]:
    """The picture of an encoded file, upright, in mode RGB or L; notes; and its size as stored. Raises ImageError."""
    head = stream.read(256)
    stream.seek(0)
    if not head:
        raise ImageError(
            f"Expected an image, got {name}, which is empty; try to copy it again, or seek(0) on an open file"
        )
    remarks: list[str] = []
    with _guarded(None, remarks):
        Image.init()
        known = [form for form in FORMATS if form in Image.OPEN]
        try:
            image = Image.open(stream, formats=known)
        except MemoryError as error:
            raise too_much_memory(name) from error
        except Exception as error:  # Pillow's readers let many kinds through on a damaged header
            raise ImageError(
                f"Expected an image, got {name}, whose content is {describe_content(head)}; "
                "try a JPEG, PNG, GIF, WebP, TIFF or BMP"
            ) from error
    _check_scans(stream, image, name)
    with image:
        upright, notes, size = upright_picture(image, name, max_pixels, ours=True)
    return upright, list(dict.fromkeys(notes + remarks)), size


def upright_picture(
    image: Image.Image, name: str, max_pixels: int | None, *, ours: bool = False
) -> tuple[Image.Image, list[str], tuple[int, int]]:
    """As `decode`, of an opened PIL image; one that is ``ours`` is closed as soon as its pixels are taken."""
    size = image.size
    check_size(size, name, max_pixels, _weight(image), image.format or "")
    remarks: list[str] = []
    with _guarded(max_pixels, remarks):
        try:
            frames = _frames(image)
            key, coarse = _key(image)
            image.load()
            turn = _turn(image)
            upright, notes = eight_bit(image, key)
            notes += coarse if any("alpha" in note for note in notes) else []
            if upright is image:  # a picture of its own: the user's is left alone, a file's can be closed
                upright = image.copy() if type(image) is Image.Image else image.convert(image.mode)
            if ours:
                image.close()
            if turn is not None:
                upright = upright.transpose(turn)
                notes.append("turned by its EXIF orientation")
        except ImageError as error:
            raise ImageError(f"{name}: {error}") from error
        except MemoryError as error:
            raise too_much_memory(name) from error
        except Exception as error:  # the decoders of a dozen formats fail in as many ways
            raise ImageError(
                f"Expected a whole image, got {name}, which is damaged or cut short ({_line(error)}); "
                "try to copy or export it again"
            ) from error
    upright.info = {}  # a saver that found the old orientation tag there would turn the picture again
    return upright, [*([frames] if frames else []), *notes, *remarks], size


def check_size(
    size: tuple[int, int], name: str, max_pixels: int | None, weight: int = 1, form: str = ""
) -> None:
    """ImageError for a picture without pixels, or with more than the limit; one of a costly format counts ``weight`` times."""
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(
            f"Expected an image of at least one pixel, got {width} × {height} in {name}; try another"
        )
    if max_pixels is None or width * height * weight <= max_pixels:
        return
    costly = f", each counted {weight} times for what decoding {form} takes" if weight > 1 else ""
    raise ImageError(
        f"Expected at most {max_pixels:,} pixels (max_pixels), "
        f"got {width:,} × {height:,} = {width * height:,} in {name}{costly}; "
        f"try a smaller copy, or raise the limit with max_pixels={width * height * weight}"
    )


def too_much_memory(name: str) -> ImageError:
    """The error for a picture there is no memory for."""
    return ImageError(f"Expected memory for {name}, got none left; try a smaller copy, or fewer at once")


def _weight(image: Image.Image) -> int:
    if image.info.get("progressive") and image.format in ("JPEG", "MPO"):
        return 2  # all coefficients are held until the last scan
    return WEIGHTS.get(image.format or "", 1)


def _check_scans(stream: BinaryIO, image: Image.Image, name: str) -> None:
    """A progressive JPEG may go over its pixels any number of times, in a few bytes each."""
    if not image.info.get("progressive") or image.format not in ("JPEG", "MPO"):
        return
    count = _count(stream, b"\xff\xda")  # within a scan 0xff is never followed by it
    if count > MOST_SCANS:
        raise ImageError(
            f"Expected a progressive JPEG of at most {MOST_SCANS} scans, got {count:,} in {name}, which would take long; "
            "try to export it again"
        )


def _count(stream: BinaryIO, marker: bytes) -> int:
    place = stream.tell()
    try:
        if isinstance(stream, io.BytesIO):
            return stream.getvalue().count(marker)
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            count = at = 0
            while count <= MOST_SCANS * 2 and (at := content.find(marker, at)) >= 0:
                count, at = count + 1, at + len(marker)
            return count
    finally:
        stream.seek(place)


def _frames(image: Image.Image) -> str:
    """A note on which frame this is, empty for the only one; counting reads headers and comes back."""
    frame = image.tell()
    try:
        count = _count_frames(image)
    except MemoryError:
        raise
    except Exception:  # a damaged later frame, in any way, does not concern this one
        image.seek(frame)
        return "later frames are damaged and were not counted"
    if count == 1:
        return ""
    total = str(count) if count <= MOST_FRAMES else f"more than {MOST_FRAMES:,}"
    return f"first of {total} frames" if frame == 0 else f"frame {frame + 1} of {total}"


def _count_frames(image: Any) -> int:
    """How many frames, or one more than `MOST_FRAMES`: where they are not in the header, going on takes ever longer."""
    if image.format == "TIFF":
        return _by_seeking(image)
    stream = getattr(image, "fp", None)
    if image.format == "GIF" and stream is not None:
        place = stream.tell()
        try:
            return _gif_frames(stream)
        finally:
            stream.seek(place)
    return int(getattr(image, "n_frames", 1))


def _by_seeking(image: Any) -> int:
    frame, count = image.tell(), 1
    try:
        while count <= MOST_FRAMES:
            image.seek(count)  # reads a directory, no pixels
            count += 1
    except EOFError:
        pass
    finally:
        image.seek(frame)
    return count


def _gif_frames(stream: BinaryIO) -> int:
    """Image blocks of a GIF, their data skipped over. Raises EOFError where it ends within a block."""
    stream.seek(10)
    stream.seek(_palette(stream.read(3)[:1]), os.SEEK_CUR)
    count = 0
    while count <= MOST_FRAMES and (kind := stream.read(1)) in (b"!", b",", b"\0"):
        if kind == b",":
            count += 1
            stream.seek(_palette(stream.read(9)[-1:]) + 1, os.SEEK_CUR)
        elif kind == b"!":
            stream.seek(1, os.SEEK_CUR)
        while kind != b"\0" and (length := stream.read(1)) != b"\0":
            if not length:
                raise EOFError
            stream.seek(length[0], os.SEEK_CUR)
    return max(count, 1)


def _palette(flags: bytes) -> int:
    """Bytes of the palette that the flags of a GIF's block announce."""
    if not flags:
        raise EOFError
    return 3 << (flags[0] & 7) + 1 if flags[0] & 0x80 else 0


def _key(image: Image.Image) -> tuple[Color | None, list[str]]:
    """The color that means transparent in the values that decoding will give, and a note where these are coarser than it is."""
    key = image.info.get("transparency")
    if not isinstance(key, (int, tuple)) or image.mode not in ("1", "L", "RGB", "I;16"):
        return None, []
    tile = getattr(image, "tile", None)
    packing = tile[0].args if tile and isinstance(tile[0].args, str) else image.mode
    if packing == "RGB;16B" and isinstance(key, tuple):
        return tuple(value >> 8 for value in key), ["its transparent color of 16 bits was compared in 8 bits"]
    if image.mode == "1":  # 1 or 255, by the version of Pillow
        return 255 * bool(key), []
    return key * _UNPACKED.get(packing, 1) if isinstance(key, int) else key, []


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data, in any way; the pixels are whole
        return None


def _line(error: BaseException) -> str:
    """The first line of what a decoder says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@contextmanager
def _guarded(max_pixels: int | None, remarks: list[str]) -> Iterator[None]:
    """Pillow with our pixel limit instead of its own, and the warnings its code gives in this thread added to the remarks."""
    here = threading.get_ident()
    noted: list[str] = []
    with _lock, warnings.catch_warnings():
        usual = warnings.showwarning
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels

        def show(message: Any, category: type[Warning], filename: str, *rest: Any, **more: Any) -> None:
            ours = threading.get_ident() == here and os.path.dirname(filename) == _PILLOW
            if ours and not issubclass(category, ResourceWarning):
                noted.append(" ".join(str(message).split()))
            else:
                usual(message, category, filename, *rest, **more)

        warnings.showwarning = show
        # by the module that warns: what other code has to say keeps its filters
        warnings.filterwarnings("always", module=r"PIL\.")
        # a picture inside a picture (a tile, a later frame) that is larger than its header said
        warnings.filterwarnings("error", category=Image.DecompressionBombWarning, module=r"PIL\.")
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
            remarks += dict.fromkeys(f"read with a warning: {text}" for text in noted)


_PILLOW = os.path.dirname(Image.__file__)
