"""Zip archives of ``torch.save``: where their records lie, once all of them were found sound."""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from pathlib import Path

from pellucid.core.printable import shown
from pellucid.zoo.stored import ArchiveError

LARGEST_DIRECTORY = 16 << 20  # bytes of the list of records
_CHECKED = 8 << 30  # bytes of which checksums are compared


def records_of(file: Path, content: mmap.mmap) -> dict[str, tuple[int, int]]:
    """Where the records of a zip archive lie: start and length by name, after all of them were found sound."""
    _check_directory(content)
    records: dict[str, tuple[int, int]] = {}
    checked = total = 0
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (
        zipfile.BadZipFile,
        OSError,
        ValueError,
        NotImplementedError,
        struct.error,
        OverflowError,
        UnicodeError,
    ) as error:
        raise ArchiveError(f"a damaged archive: {shown(error, 120)}") from None
    for entry in entries:
        total += entry.file_size
        if (
            entry.flag_bits & 0x1
            or entry.compress_type != zipfile.ZIP_STORED
            or entry.file_size != entry.compress_size
        ):
            raise ArchiveError(
                f"its record {shown(entry.filename)} is compressed or encrypted, which torch.save does not do"
            )
        if entry.filename in records or total > len(content):
            raise ArchiveError("a damaged archive: records overlap")
        start = _start(content, entry)
        records[entry.filename] = start, entry.file_size
        checked += entry.file_size
        # torch.save may be told to leave checksums out: then they are 0
        if entry.CRC and checked <= _CHECKED and _checksum(content, start, entry.file_size) != entry.CRC:
            raise ArchiveError(f"a damaged archive: the record {shown(entry.filename)} has another checksum")
    return records


def _check_directory(content: mmap.mmap) -> None:
    """That the directory of a zip archive is small, before it is read at all."""
    end = content.rfind(b"PK\x05\x06", max(0, len(content) - 65_557))
    if end < 0 or end + 22 > len(content):
        raise ArchiveError("an archive without its end")
    length = int.from_bytes(content[end + 12 : end + 16], "little")
    if length == 0xFFFFFFFF and content[end - 20 : end - 16] == b"PK\x06\x07":
        at = int.from_bytes(content[end - 12 : end - 4], "little")
        length = int.from_bytes(content[at + 40 : at + 48], "little") if at + 56 <= len(content) else length
    if length > min(LARGEST_DIRECTORY, len(content)):
        raise ArchiveError(f"its directory claims {length:,} bytes")


def _start(content: mmap.mmap, entry: zipfile.ZipInfo) -> int:
    at = entry.header_offset
    if at < 0 or content[at : at + 4] != b"PK\x03\x04" or at + 30 > len(content):
        raise ArchiveError(f"a damaged archive: no record where {shown(entry.filename)} should be")
    name, extra = struct.unpack("<HH", content[at + 26 : at + 30])
    start = at + 30 + int(name) + int(extra)
    if start + entry.file_size > len(content):
        raise ArchiveError(f"a damaged archive: the record {shown(entry.filename)} is cut short")
    return start


def _checksum(content: mmap.mmap, start: int, length: int, step: int = 1 << 20) -> int:
    checksum = 0
    for at in range(start, start + length, step):
        checksum = zlib.crc32(content[at : min(at + step, start + length)], checksum)
    return checksum
