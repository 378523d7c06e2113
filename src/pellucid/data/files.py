"""Which files are meant: folders and patterns as an ordered list; words for a missing or foreign file.

Nothing is decoded here. In a folder only names with an image suffix are taken, and whatever is left out is
listed once with its reason; a file named by the user is taken whatever its suffix.
"""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pellucid.data.pixels import ImageError

SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "jp2", "j2k", "png", "apng", "gif", "webp", "avif"),
        *("tif", "tiff", "bmp", "qoi", "pbm", "pgm", "ppm", "pnm"),
    )
)
_CONTENT = (
    (b"\xff\xd8\xff", "a damaged JPEG image"),
    (b"\x89PNG", "a damaged PNG image"),
    (b"GIF8", "a damaged GIF image"),
    (b"BM", "a damaged BMP image"),
    (b"II*\0", "a damaged TIFF image"),
    (b"MM\0*", "a damaged TIFF image"),
    (b"RIFF", "a damaged WebP image, or a sound or video"),
    (b"8BPS", "a Photoshop document (try to export it as PNG)"),
    (b"%PDF", "a PDF document (try to export its page as PNG)"),
    (b"%!PS", "a PostScript document (try to export it as PNG)"),
    (b"PK\x03\x04", "a ZIP archive (try to unpack it)"),
    (b"\x1f\x8b", "a gzip archive (try to unpack it)"),
    (b"\x93NUMPY", "a NumPy array (try numpy.load and pass the array)"),
    (b"version https://git-lfs", "a Git LFS pointer, not the picture itself (try git lfs pull)"),
)


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, and why."""

    name: str
    reason: str


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts img2 before img10, whatever the case; ties go by the exact text."""
    pieces = re.split(r"([0-9]+)", str(path))
    folded = [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece.casefold()) for piece in pieces]
    return (*folded, (2, 0, str(path)))


def listed(sources: Any) -> list[Any]:
    """One source as a list of one; a list, tuple or other iterable of sources as a list."""
    single = isinstance(sources, (str, bytes, bytearray, os.PathLike))
    # an open file iterates over lines, and an array or a tensor over rows
    single = single or hasattr(sources, "read") or hasattr(sources, "shape")
    return [sources] if single or not isinstance(sources, Iterable) else list(sources)


def collect(sources: Any, *, recursive: bool = False) -> tuple[list[Any], list[Skipped]]:
    """Files, folders and patterns such as `photos/*.jpg` as one list of sources.

    Inside a folder the order is natural (img2 before img10). Sources that are no paths (pictures, arrays,
    open files) pass through. The second list names what was left out.

    Raises:
        ImageError: nothing was given, a named file does not exist, a folder or a pattern leads to no image.
    """
    taken: list[Any] = []
    skipped: list[Skipped] = []
    for source in listed(sources):
        if not isinstance(source, (str, os.PathLike)):
            taken.append(source)
            continue
        path = usable_path(source)
        if path.is_dir():
            found, left = _inside(_children(path), recursive)
            where = f"in folder {str(path)!r}"
        elif not path.exists() and glob.has_magic(str(path)):
            found, left = _inside(_matches(str(path)), recursive)
            where = f"matching {str(path)!r}"
        elif path.exists():
            taken.append(path)
            continue
        else:
            raise missing(path)
        if not found:
            raise _nothing(where, left)
        taken += found
        skipped += left
    if not taken:
        raise ImageError("Expected at least one image, got an empty list")
    return taken, skipped


def usable_path(source: str | os.PathLike[str]) -> Path:
    """The path with its ~ resolved; an ImageError for text that cannot be one."""
    text = os.fspath(source)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ImageError(f"Expected the path of an image, got {text!r}")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise ImageError(f"Expected a file, got the web address {text!r}; try to download it first")
    try:
        path = Path(text).expanduser()
        path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        short = text if len(text) <= 60 else text[:60] + "…"
        raise ImageError(f"Expected the path of an image, got {short!r}, no usable path ({error})") from error
    return path


def missing(path: Path) -> ImageError:
    """The error for a file that is not there: whether its folder is, and which names in it come close."""
    folder = path.parent
    if not folder.is_dir():
        return ImageError(
            f"Expected an image file, got {str(path)!r}: neither it nor its folder {str(folder)!r} exists; "
            "try the full path"
        )
    if path.is_symlink():
        return ImageError(
            f"Expected an image file, got {str(path)!r}, a link without a target; try to mend the link"
        )
    try:
        names = {child.name.lower(): child.name for child in islice(folder.iterdir(), 5000)}
    except OSError:
        names = {}
    close = [names[name] for name in difflib.get_close_matches(path.name.lower(), names, n=3)]
    hint = (
        f"one of the close names {', '.join(close)}"
        if close
        else f"one of the {len(names)} names in the folder"
    )
    return ImageError(
        f"Expected an image file, got {str(path)!r}: its folder exists, the file does not; try {hint}"
    )


def describe_content(head: bytes) -> str:
    """What a file that is no readable image seems to be, from its first bytes."""
    for magic, words in _CONTENT:
        if head.startswith(magic):
            return words
    if head[4:8] == b"ftyp":
        heic = head[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
        return "an HEIC photograph (try to export it as JPEG)" if heic else "a video or another MP4-like file"
    # a character cut in two by the end of the head must not turn a text into bytes
    text = head.decode("utf-8", errors="ignore").strip()
    if text and len(text.encode()) > len(head) / 2 and all(word.isprintable() for word in text.split()):
        kind = "an SVG drawing (try to export it as PNG)" if "<svg" in text.lower() else "text"
        return f"{kind} that starts with {text[:40]!r}"
    return f"bytes that start with {head[:8].hex(' ')}"


def _matches(pattern: str) -> list[Path]:
    """Each file once, by its shortest name: ** follows links, also those that lead back up."""
    shortest_last = sorted(glob.glob(pattern, recursive=True), key=len, reverse=True)
    return sorted(
        map(Path, {os.path.realpath(match): match for match in shortest_last}.values()), key=natural_key
    )


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=natural_key)
    except OSError as error:
        raise ImageError(f"Expected a readable folder, got {str(folder)!r}: {error.strerror}") from error


def _inside(paths: Iterable[Path], recursive: bool) -> tuple[list[Path], list[Skipped]]:
    found: list[Path] = []
    skipped: list[Skipped] = []
    for path in paths:
        reason = _reason(path, recursive)
        if reason:
            skipped.append(Skipped(str(path), reason))
        elif not path.is_dir():
            found.append(path)
        else:
            try:
                deeper, left = _inside(_children(path), recursive)
            except ImageError as error:
                deeper, left = [], [Skipped(str(path), str(error))]
            found += deeper
            skipped += left
    return found, skipped


def _reason(path: Path, recursive: bool) -> str:
    """Why an entry of a folder is left out; empty when it is not."""
    if path.name.startswith("."):
        return "hidden"
    if path.is_dir():
        if not recursive:
            return "folder (recursive=True enters it)"
        return "link to a folder" if path.is_symlink() else ""  # a link may lead back up, without end
    if not path.exists():
        return "link without target"
    if not path.is_file():
        return "not a regular file"
    if path.suffix.lower() in (".heic", ".heif", ".svg", ".psd", ".pdf"):
        return f"{path.suffix.lower()} is not read; export it as PNG or JPEG"
    return "" if path.suffix.lower() in SUFFIXES else f"not an image ({path.suffix or 'no suffix'})"


def _nothing(where: str, left: list[Skipped]) -> ImageError:
    some = "; ".join(f"{Path(item.name).name}: {item.reason}" for item in left[:3])
    got = f"{len(left)} other entries ({some}{'; …' if len(left) > 3 else ''})" if left else "none"
    return ImageError(
        f"Expected at least one image {where}, got {got}; "
        "try another folder, or recursive=True for its subfolders"
    )
