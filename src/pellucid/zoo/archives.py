"""Files of weights, opened without trust: every size is checked against the file before anything is made of it.

Safetensors, the zip archives and the older streams of ``torch.save``, and indexes of files in shards are read. The numbers stay
in the file (mapped into memory) until somebody takes them, so what a network does not want costs nothing.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from torch import Tensor

from pellucid.core.documents import FileName, FlawError, check_regular, read_json
from pellucid.core.printable import shown
from pellucid.zoo.pickles import LARGEST, follow
from pellucid.zoo.stored import (
    ArchiveError,
    Foreign,
    Pickled,
    PickleError,
    RefusedError,
    Storage,
    Stored,
    reach,
)
from pellucid.zoo.zips import records_of

MAGIC = 0x1950A86A20F9469CFC6C  # of the streams torch.save wrote before 1.6
_HEADER = 16 << 20  # bytes of the header of safetensors
_KNOWN = {
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x1f\x8b": "a gzip archive",
    b"\x93NUMPY": "a NumPy array",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "a pointer of Git LFS (try `git lfs pull`)",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"GGUF": "a GGUF file",
}


@dataclass
class Content:
    """What a file of weights holds.

    Attributes:
        tree: containers with `Tensor`s, `Stored` (tensors of a kind that cannot be taken) and `Foreign` in them.
        metadata: texts by name, of safetensors.
        foreign: classes and functions that a pickle named beyond weights.
    """

    tree: Any
    metadata: dict[str, str] = field(default_factory=dict)
    foreign: tuple[str, ...] = ()


class Index(msgspec.Struct):
    """The index of weights in shards: which tensor lies in which file beside it."""

    weight_map: Annotated[dict[str, FileName], msgspec.Meta(min_length=1)]


def open_archive(file: Path) -> Content:
    """Read a file of weights.

    Raises:
        ArchiveError: in words that fit behind "which cannot be read"; RefusedError for a whole sentence.
        FlawError: it is no regular file.
    """
    check_regular(file, 1 << 50)
    if file.name.endswith(".index.json"):
        return _shards(file)
    with file.open("rb") as opened:
        size = file.stat().st_size
        if size == 0:
            raise ArchiveError("it is empty")
        try:
            content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            raise ArchiveError(f"it cannot be mapped: {error}") from None
    return _sniffed(file, content)


def _sniffed(file: Path, content: mmap.mmap) -> Content:
    start = content[:32]
    if start[8:9] == b"{" and start[:4] != b"PK\x03\x04":
        return _safetensors(file, content)
    if start[:4] == b"PK\x03\x04":
        return _zip(file, content)
    if start[:1] == b"\x80":
        return _stream(content)
    if file.suffix == ".safetensors":
        return _safetensors(file, content)
    known = next((words for magic, words in _KNOWN.items() if start.startswith(magic)), None)
    if content[257:262] == b"ustar":
        known = "a tar archive, as PyTorch wrote before 0.4 (try to load it there and to save it anew)"
    if known is None and (start[:1] in b"(}]c" and b"\n" in content[:200]):
        return _plain_pickle(content[:LARGEST])
    raise ArchiveError(f"it is {known}" if known else "it is neither safetensors nor a file of torch.save")


def _safetensors(file: Path, content: mmap.mmap) -> Content:
    from safetensors import safe_open

    length = int.from_bytes(content[:8], "little")
    if length > len(content) - 8:
        raise ArchiveError(f"its header claims {length:,} of {len(content):,} bytes")
    if length > _HEADER:
        raise ArchiveError(f"its header has {length:,} bytes")
    try:
        with safe_open(str(file), framework="pt") as opened:
            metadata = opened.metadata() or {}
        header = json.loads(content[8 : 8 + length], object_pairs_hook=_once)
    except ArchiveError:
        raise
    except BaseException as error:  # its own errors, and what Rust calls a panic
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise ArchiveError(shown((str(error).splitlines() or [""])[0], 160)) from None
    header.pop("__metadata__", None)
    return Content(
        {name: _plain(content, 8 + length, entry) for name, entry in header.items()}, dict(metadata)
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ArchiveError("its header has a name twice")
    return made


_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}


def _plain(content: mmap.mmap, base: int, entry: Mapping[str, Any]) -> Tensor | Stored:
    shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None or math.prod(shape) * dtype.itemsize != end - begin:
        return Stored(None, shape=shape, kind=str(entry["dtype"]))
    return _mapped(content, dtype, math.prod(shape), base + begin).view(shape)


def _mapped(content: mmap.mmap, dtype: torch.dtype, count: int, offset: int) -> Tensor:
    """Numbers of the file as a tensor over its mapping: nothing is read until somebody looks, and the file is never written."""
    return (
        torch.frombuffer(content, dtype=dtype, count=count, offset=offset)
        if count
        else torch.empty(0, dtype=dtype)
    )


def _zip(file: Path, content: mmap.mmap) -> Content:
    records = records_of(file, content)
    prefix = next((name[: -len("data.pkl")] for name in records if name.endswith("data.pkl")), None)
    if prefix is not None and f"{prefix}constants.pkl" in records:
        raise RefusedError(
            "Expected weights, got `{file}`, a TorchScript program; try `pl.load(module)` with the Python module, "
            "or save its `state_dict()`."
        )
    if prefix is None:
        raise ArchiveError("it is a zip archive without weights of PyTorch")
    if f"{prefix}byteorder" in records and _bytes(content, records[f"{prefix}byteorder"]) != b"little":
        raise ArchiveError("its numbers are big-endian")
    start, length = records[f"{prefix}data.pkl"]
    if length > LARGEST:
        raise ArchiveError(f"its data.pkl has {length:,} bytes")
    pickled = _followed(content[start : start + length])
    data = {
        name.removeprefix(f"{prefix}data/"): span
        for name, span in records.items()
        if name.startswith(f"{prefix}data/")
    }
    return Content(_filled(pickled.content, content, data), foreign=tuple(pickled.foreign))


def _bytes(content: mmap.mmap, span: tuple[int, int]) -> bytes:
    return content[span[0] : span[0] + min(span[1], 64)].strip()


def _followed(data: bytes, start: int = 0) -> Pickled:
    try:
        pickled = follow(data, start)
    except PickleError as error:
        _refuse_harm(error.pickled)
        raise ArchiveError(str(error)) from None
    _refuse_harm(pickled)
    return pickled


def _refuse_harm(pickled: Pickled) -> None:
    if pickled.harmful:
        raise refused(pickled.harmful[0])


def refused(name: str) -> RefusedError:
    """The error for a pickle that names what no weights need."""
    return RefusedError(
        f"Expected plain weights, got `{{file}}`, a pickle that would run `{shown(name)}` when opened; refused. "
        "Try `torch.save(model.state_dict(), ...)` where the model is trusted, and load that file."
    )


def _stream(content: mmap.mmap) -> Content:
    """A file of ``torch.save`` before 1.6: pickles one after the other, then the numbers of every storage."""
    head = content[:LARGEST]
    first = _followed(head)
    if first.content != MAGIC:
        return _no_weights(first)
    version = _followed(head, first.end)
    system = _followed(head, version.end)
    if isinstance(system.content, dict) and system.content.get("little_endian") is False:
        raise ArchiveError("its numbers are big-endian")
    pickled = _followed(head, system.end)
    listed = _followed(head, pickled.end)
    if not isinstance(listed.content, list):
        raise ArchiveError("a damaged pickle: no list of storages")
    types = {storage.key: storage for storage in _storages(pickled.content) if storage.view is None}
    data: dict[str, tuple[int, int]] = {}
    at = listed.end
    for key in map(str, listed.content):
        count = int.from_bytes(content[at : at + 8], "little")
        width = types[key].dtype.itemsize if key in types else 0
        if key not in types or count != types[key].length or at + 8 + count * width > len(content):
            raise ArchiveError("it is cut short or damaged")
        data[key] = at + 8, count * width
        at += 8 + count * width
    return Content(_filled(pickled.content, content, data), foreign=tuple(pickled.foreign))


def _no_weights(pickled: Pickled) -> Content:
    if pickled.foreign:
        raise refused(next(iter(pickled.foreign)))
    raise ArchiveError("it is a plain pickle, not a file of torch.save")


def _plain_pickle(data: bytes) -> Content:
    try:
        return _no_weights(_followed(data))
    except RefusedError:
        raise
    except ArchiveError:
        raise ArchiveError("it is neither safetensors nor a file of torch.save") from None


def branches(tree: Any, depth: int = 64, most: int = 1_000_000) -> Iterator[Any]:
    """Everything in containers within containers, each container once, breadth first."""
    seen: set[int] = set()
    level = [tree]
    for _ in range(depth):
        following: list[Any] = []
        for item in level:
            most -= 1
            if isinstance(item, dict | list | tuple):
                if id(item) in seen:
                    continue
                seen.add(id(item))
                following.extend(item.values() if isinstance(item, dict) else item)
                if len(following) > most:
                    raise ArchiveError("it holds more entries than any checkpoint")
            yield item
        level = following


def _storages(tree: Any) -> Iterator[Storage]:
    return (item.storage for item in branches(tree) if isinstance(item, Stored) and item.storage is not None)


def _filled(tree: Any, content: mmap.mmap, data: Mapping[str, tuple[int, int]]) -> Any:
    """The tree with tensors over the file in place of their descriptions."""
    made: dict[Stored, Tensor | Stored] = {}

    def fill(value: Any) -> Any:
        if isinstance(value, Stored):
            if value not in made:
                made[value] = _tensor(value, content, data)
            return made[value]
        return value

    for item in branches(tree):
        if isinstance(item, dict):
            for key, value in item.items():
                item[key] = fill(value)
        elif isinstance(item, list):
            item[:] = map(fill, item)
    return fill(tree)


def _tensor(tensor: Stored, content: mmap.mmap, data: Mapping[str, tuple[int, int]]) -> Tensor | Stored:
    storage = tensor.storage
    if storage is None or tensor.kind != "dense":
        return tensor
    key, first = storage.view or (storage.key, 0)
    start, length = data.get(key, (0, -1))
    width = tensor.dtype.itemsize
    if (tensor.dtype.is_floating_point and width < 2) or tensor.dtype in (
        torch.qint8,
        torch.quint8,
        torch.qint32,
    ):
        return Stored(None, shape=tensor.shape, kind=str(tensor.dtype).removeprefix("torch."))
    whole = storage.length * storage.dtype.itemsize
    if length < 0 or whole > length or (storage.view is None and whole != length):
        raise ArchiveError("a damaged archive: the numbers of a tensor are missing or of another length")
    if (first + reach(tensor)) * width > length:
        raise ArchiveError("a damaged archive: a tensor reaches beyond its numbers")
    if math.prod(tensor.shape) == 0:
        return torch.empty(tensor.shape, dtype=tensor.dtype)
    flat = _mapped(content, tensor.dtype, length // width, start)
    return flat.as_strided(tensor.shape, tensor.stride, first + tensor.offset)


def _shards(file: Path) -> Content:
    index = read_json(file, Index, "an index of weights in shards", "to download it again")
    names = sorted(set(index.weight_map.values()))
    if len(names) > 1000:
        raise ArchiveError(f"it names {len(names):,} files")
    tree: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    for name in names:
        if name.endswith(".index.json"):
            raise ArchiveError(f"it names another index, {shown(name)}")
        try:
            shard = open_archive(file.with_name(name))
        except FileNotFoundError:
            raise ArchiveError(f"its file {shown(name)} is not there") from None
        except FlawError as flaw:
            raise ArchiveError(f"its file {shown(name)}: {flaw}") from None
        held = shard.tree if isinstance(shard.tree, dict) else {}
        lacking = [key for key, where in index.weight_map.items() if where == name and key not in held]
        if lacking:
            raise ArchiveError(f"its file {shown(name)} lacks {shown(lacking[0])}")
        tree |= {key: value for key, value in held.items() if index.weight_map.get(key) == name}
        metadata |= shard.metadata
    return Content(tree, metadata)


__all__ = ["ArchiveError", "Content", "Foreign", "RefusedError", "branches", "open_archive", "refused"]
