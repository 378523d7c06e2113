"""One file for facts and arrays: safetensors with the facts, read through a schema, in its header.

    header["bundle"] = {"kind": …, "schema": …, "facts": {…}, "sha256": …}        arrays by name behind it

Facts and arrays are written together, whole or not at all, so that two that do not belong together cannot meet; equal facts
and arrays give equal bytes (one name in the header, since the order of several is by chance). The SHA-256 is that of the
arrays, so that bytes that changed on the way are noticed. Every table on disk is one of
these: a `Kind` names what it is, the version of its layout, and the type of its facts.

Layouts before version 2 were two files, ``<stem>.json`` with the facts and ``<stem>.safetensors`` with the arrays whose SHA-256
it names. They are still read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pellucid.core.documents import (
    Count,
    DocumentError,
    FlawError,
    check_regular,
    convert,
    damaged,
    parse,
    plain,
    read_regular,
)
from pellucid.core.storage import write_bytes

F = TypeVar("F")

SUFFIX = ".safetensors"
LARGEST = 8 << 30  # bytes of a file
_HEADER = 64 << 20  # bytes of a header
_KEY = "bundle"
_DTYPES = ("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "F32", "F64")


class Arrays(dict[str, npt.NDArray[Any]]):
    """The arrays of a file by name; `take` gives them with the type, shape and range that they must have."""

    def take(
        self,
        name: str,
        dtype: npt.DTypeLike,
        shape: tuple[int | None, ...],
        low: float | None = None,
        high: float | None = None,
        *,
        nan: bool = False,
        infinite: bool = False,
    ) -> npt.NDArray[Any]:
        """One array.

        Args:
            name: In the file.
            dtype: What it is given as; the stored type must fit in it exactly. "floating": as it is stored.
            shape: Its lengths; None is any.
            low: Least value, None for any finite one.
            high: Largest value, None for any finite one.
            nan: Whether values may be NaN (not known).
            infinite: Whether they may be infinite.

        Raises:
            FlawError: For an array that is not there or is another.
        """
        value = self.get(name)
        wanted = f"{dtype if isinstance(dtype, str) else np.dtype(dtype)} [{_sizes(shape)}]"
        if value is None:
            raise FlawError(f"{name}: expected an array {wanted}, got none")
        fits = value.ndim == len(shape) and all(
            size in (None, got) for size, got in zip(shape, value.shape, strict=True)
        )
        as_stored = dtype == "floating"
        right = value.dtype.kind == "f" if as_stored else np.can_cast(value.dtype, dtype, "safe")
        if not fits or not right:
            raise FlawError(f"{name}: expected an array {wanted}, got {value.dtype} [{_sizes(value.shape)}]")
        value = value.copy() if as_stored else value.astype(dtype)
        if value.size and value.dtype != bool:
            _check_range(name, value, low, high, nan, infinite)
        return value

    def optional(
        self,
        name: str,
        dtype: npt.DTypeLike,
        shape: tuple[int | None, ...],
        *bounds: float | None,
        **options: bool,
    ) -> npt.NDArray[Any] | None:
        """As `take`, None where it is not there."""
        return self.take(name, dtype, shape, *bounds, **options) if name in self else None


@dataclass(frozen=True, eq=False)
class Bundle(Generic[F]):
    """Facts and arrays that belong together; read and written by a `Kind`."""

    kind: str
    schema: int
    facts: F
    arrays: Arrays


class _Head(msgspec.Struct, frozen=True):
    kind: str
    schema: int
    facts: dict[str, Any] = {}
    sha256: str = ""


_OTHER = _Head("without facts of pellucid", 0)


@dataclass(frozen=True)
class Kind(Generic[F]):
    """A kind of bundle.

    Attributes:
        name: What the file says it is: "pellucid unit table".
        schema: Version of its layout, 2 or more; 1 are two files.
        facts: Type of its facts: a ``msgspec.Struct`` or a dataclass.
        advice: What to try where a file is damaged, as it stands after "try".
        error: What is raised.
    """

    name: str
    schema: int
    facts: type[F]
    advice: str
    error: type[DocumentError] = DocumentError

    @property
    def what(self) -> str:
        """The name with its article: "a unit table"."""
        noun = self.name.removeprefix("pellucid ")
        return noun if noun.endswith("s") else f"a {noun}"

    def write(self, file: Path, facts: F | Mapping[str, Any], arrays: Mapping[str, Any]) -> Path:
        """Write facts and arrays (tensors or NumPy's) whole or not at all; parents are made.

        Raises ValueError for facts that JSON does not have.
        """
        from safetensors.numpy import save

        values = {name: _tensor(value) for name, value in arrays.items()}
        head = {"kind": self.name, "schema": self.schema, "facts": plain(facts), "sha256": digest(values)}
        text = json.dumps(head, ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True)
        metadata = {_KEY: text.encode("utf-8", "replace").decode()}
        file.parent.mkdir(parents=True, exist_ok=True)
        return write_bytes(file, save(values, metadata))

    def read(self, file: Path) -> Bundle[F]:
        """What `write` wrote, or the two files of version 1, named by either.

        Raises FileNotFoundError, and the kind's error in one line for a file that is damaged, newer, or of another kind.
        """
        file = _present(file)
        try:
            head, arrays = _read_pair(file) if file.suffix == ".json" else _read_file(file)
            return Bundle(head.kind, head.schema, self._facts(file, head), arrays)
        except (FileNotFoundError, FlawError) as error:
            raise self._refused(file, error) from None

    def glance(self, file: Path) -> F:
        """The facts alone, without reading the arrays; raises as `read` does."""
        try:
            content = _content(file)
            if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
                pair = file.with_suffix(".json")
                if file.suffix != ".json" and pair.is_file():
                    return self.glance(pair)
                return self._facts(file, _OTHER)
            flat = file.suffix == ".json"
            return self._facts(file, _flat(content) if flat else convert(content, _Head))
        except (FileNotFoundError, FlawError) as error:
            raise self._refused(file, error) from None

    def _facts(self, file: Path, head: _Head) -> F:
        if head.kind != self.name:
            raise self.error(f"Expected {self.what}, got `{file}`, which is something else ({head.kind}).")
        if not 1 <= head.schema <= self.schema:
            raise self.error(
                f"Expected {self.what} of version {self.schema} or older, got `{file}` of version {head.schema}; try the "
                "pellucid that wrote it, or a newer one."
            )
        return convert(head.facts, self.facts)

    def _refused(self, file: Path, error: FileNotFoundError | FlawError) -> Exception:
        if isinstance(error, FlawError):
            return self.damaged(file, error)
        return FileNotFoundError(
            f"Expected {self.what}, got `{file}`, which is not there; try {self.advice}."
        )

    def damaged(self, file: Path, flaw: object) -> DocumentError:
        """The error for a damaged file of this kind."""
        return damaged(file, self.what, flaw, self.advice, self.error)

    def files(self, folder: Path) -> Iterator[Path]:
        """The files of this kind in a folder by name, in either layout, also damaged ones that seem to be of it."""
        single = {file for file in folder.glob(f"*{SUFFIX}") if self.owns(file)}
        pairs = [file for file in folder.glob("*.json") if file.with_suffix(SUFFIX) not in single]
        yield from sorted([*single, *(file for file in pairs if self.owns(file))])

    def owns(self, file: Path) -> bool:
        """Whether a file is, or seems to be, one of this kind."""
        try:
            return kind_of(file) == self.name
        except OSError:
            return False
        except FlawError:
            if file.suffix == ".json" and file.with_suffix(SUFFIX).exists():
                return True
            return file.is_file() and self.name.encode() in _start(file)


def _present(file: Path) -> Path:
    """The file itself, or where its name is that of version 1, the bundle that is there in its stead."""
    single = file.with_suffix(SUFFIX)
    if file.suffix != ".json" or not single.is_file():
        return file
    try:
        return file if file.exists() and kind_of(single) is None else single
    except (FlawError, OSError):
        return file if file.exists() else single


def kind_of(file: Path) -> str | None:
    """Which kind of bundle a file is, None for another file. Raises FlawError or OSError for one that cannot be read."""
    content = _content(file)
    kind = content.get("kind") if isinstance(content, dict) else None
    return kind if isinstance(kind, str) else None


def _content(file: Path) -> Any:
    """What a file says of itself, before its kind is known."""
    if file.suffix == ".json":
        return parse(read_regular(file))
    text = read_header(file)[0].get(_KEY)
    return None if text is None else parse(text)


def read_header(file: Path) -> tuple[dict[str, str], dict[str, tuple[str, tuple[int, ...]]]]:
    """Metadata, and type and shape of every tensor of a safetensors file, without reading the tensors.

    Raises FileNotFoundError, FlawError for a damaged file, a name twice, or a header of more than 64 MiB.
    """
    check_regular(file, LARGEST)
    try:
        with file.open("rb") as stream:
            return _header(stream.read(8) + stream.read(_HEADER))
    except OSError as error:
        raise FlawError(f"it cannot be read ({error.strerror})") from None


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[Count, ...]


def _header(content: bytes) -> tuple[dict[str, str], dict[str, tuple[str, tuple[int, ...]]]]:
    size = int.from_bytes(content[:8], "little")
    if size > _HEADER:
        raise FlawError(f"expected safetensors with a header of at most {_HEADER:,} bytes, got {size:,}")
    if not 2 <= size <= len(content) - 8:
        raise FlawError("expected a whole safetensors file, got a part of one")
    entries = parse(content[8 : 8 + size].rstrip(b" "))
    if not isinstance(entries, dict):
        raise FlawError("expected the header of safetensors, got something else")
    metadata = convert(entries.pop("__metadata__", {}), dict[str, str])
    tensors = convert(entries, dict[str, _Entry])
    return metadata, {name: (entry.dtype, entry.shape) for name, entry in tensors.items()}


def read_arrays(file: Path) -> Arrays:
    """The arrays of a safetensors file of any kind. Raises FileNotFoundError, FlawError."""
    return _arrays(read_regular(file, LARGEST))


def _start(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(4096)


def _read_file(file: Path) -> tuple[_Head, Arrays]:
    content = read_regular(file, LARGEST)
    metadata, _ = _header(content)
    if _KEY not in metadata:
        pair = file.with_suffix(".json")
        return _read_pair(pair) if pair.is_file() else (_OTHER, Arrays())
    head, arrays = convert(parse(metadata[_KEY]), _Head), _arrays(content)
    if head.sha256 != digest(arrays):
        raise FlawError("sha256: expected the arrays that it was written with, got others")
    return head, arrays


def check_size(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """That what a file asks to be built (tensors without memory) is no larger than what the file holds. Raises FlawError."""
    asked, held = (sum(tensor.numel() for tensor in tensors.values()) for tensors in (wanted, state))
    if asked > 8 * held + (1 << 20):
        raise FlawError(f"expected a network of the {held:,} numbers of the file, got one of {asked:,}")


def digest(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 over the names, types, shapes and bytes of arrays."""
    sha256 = hashlib.sha256()
    for name, value in sorted(arrays.items()):
        sha256.update(f"{name}\0{value.dtype.str}\0{value.shape}\0".encode())
        sha256.update(np.ascontiguousarray(value).tobytes())
    return sha256.hexdigest()


def _read_pair(file: Path) -> tuple[_Head, Arrays]:
    """The two files of version 1."""
    content = _content(file)
    if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
        return _OTHER, Arrays()
    head = _flat(content)
    if head.schema != 1:
        return head, Arrays()
    arrays = file.with_suffix(SUFFIX)
    try:
        stored = read_regular(arrays, LARGEST)
    except FileNotFoundError:
        raise FlawError(f"expected its arrays in `{arrays.name}` beside it, got none") from None
    digest = content.get("sha256")
    if digest is not None and hashlib.sha256(stored).hexdigest() != digest:
        raise FlawError(f"expected the arrays in `{arrays.name}` that it was written with, got others")
    return head, _arrays(stored)


def _flat(content: dict[str, Any]) -> _Head:
    """The facts of version 1, which lie beside the kind."""
    named = {name: content[name] for name in ("kind", "schema") if name in content}
    return convert({**named, "facts": content}, _Head)


def _arrays(content: bytes) -> Arrays:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    for name, (dtype, _) in _header(content)[1].items():
        if dtype not in _DTYPES:
            raise FlawError(f"{name}: expected an array of a type that NumPy has, got {dtype[:20]}")
    try:
        return Arrays(load(content))
    except (SafetensorError, ValueError, KeyError) as error:
        raise FlawError(f"expected a whole safetensors file, got another ({error})") from None


def _tensor(value: Any) -> npt.NDArray[Any]:
    if isinstance(value, Tensor):
        widened = value.float() if value.dtype == torch.bfloat16 else value
        value = widened.detach().cpu().numpy()
    return np.array(value, order="C")


def _sizes(shape: tuple[int | None, ...]) -> str:
    return " ".join("…" if size is None else str(size) for size in shape)


def _check_range(
    name: str, value: npt.NDArray[Any], low: float | None, high: float | None, nan: bool, infinite: bool
) -> None:
    """That all values are finite (or NaN where that is allowed) and within bounds. Raises FlawError."""
    known = value[~np.isnan(value)] if nan else value
    if not known.size:
        return
    least, most = known.min(), known.max()
    if np.isnan(least) or (not infinite and not (np.isfinite(least) and np.isfinite(most))):
        raise FlawError(f"{name}: expected finite values, got NaN or infinity")
    if low is not None and least < low:
        raise FlawError(f"{name}: expected values of at least {low:g}, got {least}")
    if high is not None and most > high:
        raise FlawError(f"{name}: expected values of at most {high:g}, got {most}")
