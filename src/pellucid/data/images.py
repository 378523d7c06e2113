"""Read users' pictures safely: any file, object or array as 8-bit RGB or gray, with notes on what was done.

A file is identified by its content, not its suffix, among raster formats whose reading runs no other program
(PostScript, for one, would). Its size is checked on the header, before a pixel is decoded. Of an animation
the first frame is taken, the EXIF orientation is applied, transparency is composited over white, and 16-bit
and float values are scaled by their full range. Embedded color profiles are not applied, as in the field's
usual pipelines. Every failure is an `ImageError`. What it
takes of memory and time is bounded before that (`pellucid.data.decoding`).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from pellucid.data.decoding import MAX_PIXELS, check_size, decode, too_much_memory, upright_picture
from pellucid.data.files import Skipped, collect, missing, usable_path
from pellucid.data.pixels import ImageError, Pixels, from_array

if TYPE_CHECKING:  # pictures are read without torch
    from torch import Tensor

__all__ = [
    "MAX_PIXELS",
    "ImageError",
    "Picture",
    "Rendered",
    "Skipped",
    "collect",
    "read_each",
    "read_image",
    "read_images",
]

_SMALL = 16


@runtime_checkable
class Rendered(Protocol):
    """A picture made from a description, so that the truth about every pixel is known (`pellucid.world.Rendering`)."""

    @property
    def image(self) -> Any:
        """Pixels, uint8 [height width 3]."""

    @property
    def object_name(self) -> str | None:
        """What the main object is; None where there is none."""

    def object_mask(self) -> Any:
        """Where the main object is, bool [height width]."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One input, decided once: `pellucid.data.pictures.pictures` makes it of whatever a user hands over.

    Attributes:
        pixels: an 8-bit picture in mode RGB (or L where gray was asked to be kept); or, of a tensor of floats, the tensor
            [channel height width] as it came.
        name: for display; the file's name where there is one.
        notes: what was done to it, in words; empty for an ordinary picture.
        original_size: (width, height) as stored, before any turn.
        rendering: what is known of every pixel, for a picture of the concept world.
    """

    pixels: Image.Image | Tensor
    name: str
    notes: tuple[str, ...]
    original_size: tuple[int, int]
    rendering: Rendered | None = None

    @property
    def image(self) -> Image.Image:
        """The 8-bit picture. Raises ImageError for a tensor of floats, which only a `Preprocess` makes one of."""
        if isinstance(self.pixels, Image.Image):
            return self.pixels
        raise ImageError(
            f"Expected a picture of 8 bits, got {self.name}, a tensor of {self.pixels.dtype}; "
            "try `pellucid.data.preprocess.to_batch`, which needs to know what it holds"
        )


def read_image(
    source: Any, *, max_pixels: int | None = MAX_PIXELS, keep_grey: bool = False, name: str | None = None
) -> Picture:
    """Read one picture from a path, a PIL image, an array, encoded bytes or a binary file object.

    Args:
        source: arrays are H×W, H×W×1, H×W×3 or H×W×4 of uint8, uint16 or float in [0, 1]. Of a PIL image the
            current frame is taken and the object is left as it was. A `Picture` passes through.
        max_pixels: larger pictures are refused before they are decoded; None for no limit.
        keep_grey: leave gray pictures in mode L.
        name: what to call the picture; by default its file's name.

    Returns:
        The picture, upright and in RGB, with notes of what was done to it.

    Raises:
        ImageError: missing, damaged, too large, not an image, or of values without a defined range.

    Example:
        >>> read_image(np.full((40, 60), 65535, np.uint16)).notes
        ('16-bit values (65535 to 65535) scaled by 65535',)
    """
    if isinstance(source, Picture):
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
    return read if read.image.mode == mode else replace(read, pixels=read.image.convert(mode))


def read_images(
    sources: Any, *, recursive: bool = False, max_pixels: int | None = MAX_PIXELS
) -> tuple[list[Picture], list[Skipped]]:
    """Read all that `collect` finds; what cannot be read is listed with its reason, and the rest is returned.

    Raises:
        ImageError: nothing could be read, or `collect` found nothing.
    """
    left: list[Skipped] = []
    return list(read_each(sources, left, recursive=recursive, max_pixels=max_pixels)), left


def read_each(
    sources: Any, left: list[Skipped], *, recursive: bool = False, max_pixels: int | None = MAX_PIXELS
) -> Iterator[Picture]:
    """As `read_images`, one picture after the other, so that no more than one is held; ``left`` gets what could not be read."""
    paths, skipped = collect(sources, recursive=recursive)
    left += skipped
    failed: list[Skipped] = []
    for index, source in enumerate(paths):
        try:
            picture = read_image(source, max_pixels=max_pixels)
        except ImageError as error:
            label = str(source) if isinstance(source, Path) else f"picture {index}"
            failed.append(Skipped(label, str(error)))
        else:
            yield picture
            del picture
    left += failed
    if len(failed) < len(paths):
        return
    if len(failed) == 1:
        raise ImageError(failed[0].reason)
    first = "; ".join(item.reason for item in failed[:3])
    raise ImageError(f"Expected at least one readable image, got {len(failed)} unreadable ones: {first}")


def _from_array(array: Pixels, name: str, max_pixels: int | None) -> Picture:
    if array.ndim > 1:
        check_size((array.shape[1], array.shape[0]), name, max_pixels)
    try:
        image, notes = from_array(array)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except MemoryError as error:
        raise too_much_memory(name) from error
    return _finished(image, notes, image.size, name)


def _from_path(path: Path, name: str | None, max_pixels: int | None) -> Picture:
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


def _from_reader(source: Any, name: str | None, max_pixels: int | None) -> Picture:
    name = name or _file_name(source, "name", "file")
    if isinstance(source, io.BufferedReader) and not source.closed and _is_at_start(source):
        with os.fdopen(
            os.dup(source.fileno()), "rb"
        ) as stream:  # need not be held in memory; Pillow closes what it reads
            read = _from_stream(stream, name, max_pixels)
        source.seek(0, os.SEEK_END)
        return read
    try:
        content = source.read()
    except (OSError, ValueError) as error:  # opened as text it fails to decode; closed, it is a ValueError
        text = f"Expected an open binary file, got {name}: {error}; try open(path, 'rb')"
        raise ImageError(text) from error
    if not isinstance(content, bytes):
        raise ImageError(f"Expected a binary file, got {name} opened as text; try open(path, 'rb')")
    return _from_stream(io.BytesIO(content), name, max_pixels)


def _is_at_start(stream: io.BufferedReader) -> bool:
    try:
        return stream.seekable() and stream.tell() == 0 and stream.fileno() >= 0
    except (OSError, ValueError):
        return False


def _from_stream(stream: BinaryIO, name: str, max_pixels: int | None) -> Picture:
    try:
        return _finished(*decode(stream, name, max_pixels), name)
    except OSError as error:  # the file or its disk went away
        raise ImageError(f"Expected a readable image file, got {name}: {error.strerror or error}") from error


def _from_pillow(image: Image.Image, name: str, max_pixels: int | None) -> Picture:
    return _finished(*upright_picture(image, name, max_pixels), name)


def _file_name(source: Any, attribute: str, otherwise: str) -> str:
    file = getattr(source, attribute, "")
    return Path(file).name if isinstance(file, str) and file else otherwise


def _finished(image: Image.Image, notes: list[str], size: tuple[int, int], name: str) -> Picture:
    if min(size) < _SMALL:
        notes = [*notes, f"very small: {size[0]} × {size[1]} pixels"]
    return Picture(image, name, tuple(notes), size)
