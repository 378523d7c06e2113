"""Read users' pictures safely: any file, object or array as 8-bit RGB or gray, with notes on what was done.

A file is identified by its content, not its suffix, among raster formats whose reading runs no other program
(PostScript, for one, would). Its size is checked on the header, before a pixel is decoded. Of an animation
the first frame is taken, the EXIF orientation is applied, transparency is composited over white, and 16-bit
and float values are scaled by their full range. Embedded color profiles are not applied, as in the field's
usual pipelines. Every failure is an `ImageError`.

Pillow's pixel limit and Python's warning filters belong to the whole process, so files are decoded one at a
time, under a lock.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from pellucid.data.files import Skipped, collect, describe_content, missing, usable_path
from pellucid.data.pixels import ImageError, Pixels, eight_bit, from_array

__all__ = ["MAX_PIXELS", "ImageError", "InputImage", "Skipped", "collect", "read_image", "read_images"]

MAX_PIXELS = 100_000_000
# HEIF is there for who registered a reader for it with Pillow
_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "JPEG2000", "QOI", "HEIF")
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
_SMALL = 16
_lock = threading.RLock()


@dataclass(frozen=True)
class InputImage:
    """A picture that was read.

    Attributes:
        image: 8-bit, mode RGB (or L where gray was asked to be kept).
        name: for display; the file's name where there is one.
        notes: what was done to it, in words; empty for an ordinary picture.
        original_size: (width, height) as stored, before any turn.
    """

    image: Image.Image
    name: str
    notes: tuple[str, ...]
    original_size: tuple[int, int]


def read_image(
    source: Any, *, max_pixels: int | None = MAX_PIXELS, keep_grey: bool = False, name: str | None = None
) -> InputImage:
    """Read one picture from a path, a PIL image, an array, encoded bytes or a binary file object.

    Args:
        source: arrays are H×W, H×W×1, H×W×3 or H×W×4 of uint8, uint16 or float in [0, 1]. Of a PIL image the
            current frame is taken and the object is left as it was. An `InputImage` passes through.
        max_pixels: larger pictures are refused before they are decoded; None for no limit.
        keep_grey: leave gray pictures in mode L.
        name: what to call the picture; by default its file's name.

    Raises:
        ImageError: missing, damaged, too large, not an image, or of values without a defined range.

    >>> read_image(np.full((40, 60), 65535, np.uint16)).notes
    ('16-bit values (65535 to 65535) scaled by 65535',)
    """
    if isinstance(source, InputImage):
        read = source
    elif isinstance(source, (str, os.PathLike)):
        read = _from_path(usable_path(source), name, max_pixels)
    elif isinstance(source, (bytes, bytearray)):
        read = _from_stream(io.BytesIO(source), name or "bytes", max_pixels)
    elif hasattr(source, "read") and not isinstance(source, Image.Image):
        read = _from_reader(source, name, max_pixels)
    elif isinstance(source, Image.Image):
        read = _from_pillow(source, name or _file_name(source, "filename", "image"), max_pixels)
    elif isinstance(source, np.ndarray):
        read = _from_array(source, name or "array", max_pixels)
    else:
        raise ImageError(
            "Expected a path, a PIL image, a NumPy array or a binary file object, "
            f"got {type(source).__module__}.{type(source).__qualname__}; try to_batch for tensors and lists"
        )
    mode = "L" if keep_grey and read.image.mode == "L" else "RGB"
    return read if read.image.mode == mode else replace(read, image=read.image.convert(mode))


def read_images(
    sources: Any, *, recursive: bool = False, max_pixels: int | None = MAX_PIXELS
) -> tuple[list[InputImage], list[Skipped]]:
    """Read all that `collect` finds; what cannot be read is listed with its reason, and the rest is returned.

    Raises:
        ImageError: nothing could be read, or `collect` found nothing.
    """
    found, skipped = collect(sources, recursive=recursive)
    pictures: list[InputImage] = []
    failed: list[Skipped] = []
    for index, source in enumerate(found):
        try:
            pictures.append(read_image(source, max_pixels=max_pixels))
        except ImageError as error:
            label = str(source) if isinstance(source, Path) else f"picture {index}"
            failed.append(Skipped(label, str(error)))
    if not pictures and len(failed) == 1:
        raise ImageError(failed[0].reason)
    if not pictures:
        first = "; ".join(item.reason for item in failed[:3])
        raise ImageError(f"Expected at least one readable image, got {len(failed)} unreadable ones: {first}")
    return pictures, skipped + failed


def _from_array(array: Pixels, name: str, max_pixels: int | None) -> InputImage:
    if array.ndim > 1:
        _check_size((array.shape[1], array.shape[0]), name, max_pixels)
    try:
        image, notes = from_array(array)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    return _finished(image, name, notes, image.size)


def _from_path(path: Path, name: str | None, max_pixels: int | None) -> InputImage:
    if path.is_dir():
        raise ImageError(
            f"Expected an image file, got the folder {str(path)!r}; "
            "try one of its files, or read_images() for all"
        )
    if not path.exists():
        raise missing(path)
    if not path.is_file():
        raise ImageError(f"Expected an image file, got the device or pipe {str(path)!r}; try a regular file")
    try:
        file = path.open("rb")
    except OSError as error:
        raise ImageError(f"Expected a readable image file, got {str(path)!r}: {error.strerror}") from error
    with file:
        return _from_stream(file, name or path.name, max_pixels)


def _from_reader(source: Any, name: str | None, max_pixels: int | None) -> InputImage:
    name = name or _file_name(source, "name", "file")
    try:
        content = source.read()
    except (OSError, ValueError) as error:  # opened as text it fails to decode; closed, it is a ValueError
        text = f"Expected an open binary file, got {name}: {error}; try open(path, 'rb')"
        raise ImageError(text) from error
    if not isinstance(content, bytes):
        raise ImageError(f"Expected a binary file, got {name} opened as text; try open(path, 'rb')")
    return _from_stream(io.BytesIO(content), name, max_pixels)


def _from_stream(stream: BinaryIO, name: str, max_pixels: int | None) -> InputImage:
    head = stream.read(256)
    stream.seek(0)
    if not head:
        raise ImageError(
            f"Expected an image, got {name}, which is empty; try to copy it again, or seek(0) on an open file"
        )
    remarks: list[str] = []
    with _guarded(None, remarks):
        Image.init()
        known = [form for form in _FORMATS if form in Image.OPEN]
        try:
            image = Image.open(stream, formats=known)
        except Exception as error:  # Pillow's readers let many kinds through on a damaged header
            raise ImageError(
                f"Expected an image, got {name}, whose content is {describe_content(head)}; "
                "try a JPEG, PNG, GIF, WebP, TIFF or BMP"
            ) from error
    read = _from_pillow(image, name, max_pixels)
    return replace(read, notes=tuple(dict.fromkeys(read.notes + tuple(remarks))))


def _from_pillow(image: Image.Image, name: str, max_pixels: int | None) -> InputImage:
    size = image.size
    _check_size(size, name, max_pixels)
    remarks: list[str] = []
    with _guarded(max_pixels, remarks):
        try:
            frames = _frames(image)
            image.load()
            turn = _turn(image)
            upright, notes = eight_bit(image)
        except ImageError as error:
            raise ImageError(f"{name}: {error}") from error
        except Exception as error:  # the decoders of a dozen formats fail in as many ways
            raise ImageError(
                f"Expected a whole image, got {name}, which is damaged or cut short ({error}); "
                "try to copy or export it again"
            ) from error
    if frames:
        notes.insert(0, frames)
    if turn is not None:
        upright = upright.transpose(turn)
        notes.append("turned by its EXIF orientation")
    return _finished(upright, name, notes + remarks, size)


def _file_name(source: Any, attribute: str, otherwise: str) -> str:
    file = getattr(source, attribute, "")
    return Path(file).name if isinstance(file, str) and file else otherwise


def _finished(image: Image.Image, name: str, notes: list[str], size: tuple[int, int]) -> InputImage:
    if min(size) < _SMALL:
        notes = [*notes, f"very small: {size[0]} × {size[1]} pixels"]
    # a clean picture: a saver that found the old orientation tag in `info` would turn it again
    clean = image.copy() if type(image) is Image.Image else image.convert(image.mode)
    clean.info = {}
    return InputImage(clean, name, tuple(notes), size)


def _check_size(size: tuple[int, int], name: str, max_pixels: int | None) -> None:
    width, height = size
    if not width * height:
        raise ImageError(
            f"Expected an image of at least one pixel, got {width} × {height} in {name}; try another"
        )
    if max_pixels is not None and width * height > max_pixels:
        raise ImageError(
            f"Expected at most {max_pixels:,} pixels (max_pixels), "
            f"got {width:,} × {height:,} = {width * height:,} in {name}; "
            f"try a smaller copy, or raise the limit with max_pixels={width * height}"
        )


def _frames(image: Image.Image) -> str:
    """A note on which frame this is, empty for the only one; counting reads all headers and comes back."""
    frame = image.tell()
    try:
        count = int(getattr(image, "n_frames", 1))
    except Exception:  # a damaged later frame, in any way, does not concern this one
        image.seek(frame)
        return "later frames are damaged and were not counted"
    if count == 1:
        return ""
    return f"first of {count} frames" if frame == 0 else f"frame {frame + 1} of {count}"


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data, in any way; the pixels are whole
        return None


@contextmanager
def _guarded(max_pixels: int | None, remarks: list[str]) -> Iterator[None]:
    """Pillow with our pixel limit instead of its own, and its warnings added to the remarks."""
    with _lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # a picture inside a picture (a tile, a later frame) that is larger than its header said
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
            texts = (" ".join(str(item.message).split()) for item in caught)
            remarks += dict.fromkeys(f"read with a warning: {text}" for text in texts)
