"""Documents of our own, read through a schema: strict JSON first, then every field by its type (msgspec).

A document that is damaged, or made to harm, ends in one line with the file and the path of the field. Strict means: UTF-8, no
name twice in an object, no NaN or infinity, nothing nested more than `DEEPEST` levels, nothing larger than `LARGEST`, and a
regular file, since a pipe would be waited for without end.
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

T = TypeVar("T")

LARGEST = 256 << 20  # bytes of a document
DEEPEST = 64  # levels of lists and objects
_SHOWN = 60  # characters of a value that an error shows
_FILE_NAME = r"^(?!\.{1,2}$)[^/\\\x00]{1,255}$"
_SHA256 = r"^[0-9a-f]{64}$"

Count = Annotated[int, Meta(ge=0, le=2**53)]
Side = Annotated[int, Meta(ge=1, le=2**24)]  # length of an axis: units, cells, pixels
Positive = Annotated[int, Meta(ge=1, le=2**53)]
Share = Annotated[float, Meta(ge=0, le=1)]
Sha256 = Annotated[str, Meta(pattern=_SHA256)]
FileName = Annotated[str, Meta(pattern=_FILE_NAME)]

_PATTERNS = {_FILE_NAME: "the name of a file in the same folder", _SHA256: "a SHA-256 in hexadecimal digits"}
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


class DocumentError(ValueError):
    """A file of our own that is damaged, of a newer version, or something else."""


class FlawError(ValueError):
    """What is wrong with a document, before its file is named: ``units[3].iou: expected a number, got "x"``."""


def read_json(
    file: Path, schema: type[T], what: str, advice: str, error: type[DocumentError] = DocumentError
) -> T:
    """Read a JSON file through a schema.

    Args:
        file: A regular file of at most `LARGEST` bytes.
        schema: A dataclass, a ``msgspec.Struct``, or any type that msgspec converts to.
        what: What the file should be, with its article: ``"a unit table"``.
        advice: What to try where it is damaged, as it stands after "try".
        error: What is raised for a damaged file.

    Raises:
        FileNotFoundError: Where there is no such file.
        DocumentError: In one line, with the file and the path of the field.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.json")
        ...     _ = file.write_text('{"units": [1, "x"]}')
        ...     try:
        ...         read_json(file, dict[str, list[int]], "lists", "another")
        ...     except DocumentError as error:
        ...         print(str(error).replace(folder, "…"))
        Expected lists, got `…/a.json`, which is damaged: units[1]: expected a whole number, got "x"; try another.
    """
    try:
        return convert(parse(read_regular(file)), schema)
    except FileNotFoundError:
        raise FileNotFoundError(f"Expected {what}, got `{file}`, which is not there; try {advice}.") from None
    except FlawError as flaw:
        raise damaged(file, what, flaw, advice, error) from None


def damaged(
    file: Path, what: str, flaw: object, advice: str, error: type[DocumentError] = DocumentError
) -> DocumentError:
    """The error for a file of our own that is not what was written."""
    return error(f"Expected {what}, got `{file}`, which is damaged: {flaw}; try {advice}.")


def read_regular(file: Path, largest: int = LARGEST) -> bytes:
    """The bytes of a regular file. Raises FileNotFoundError; FlawError for a pipe, a folder, or more than ``largest`` bytes."""
    check_regular(file, largest)
    try:
        return file.read_bytes()
    except OSError as error:
        raise FlawError(f"it cannot be read ({error.strerror})") from None


def check_regular(file: Path, largest: int = LARGEST) -> None:
    """That a file can be read without waiting, and is no larger than ``largest`` bytes; raises as `read_regular` does."""
    try:
        status = file.stat()
    except FileNotFoundError:
        raise
    except OSError as error:  # a loop of links, say
        raise FlawError(f"it cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
        raise FlawError(f"expected a regular file, got {kind}")
    if status.st_size > largest:
        raise FlawError(f"expected at most {largest:,} bytes, got {status.st_size:,}")


def parse(content: bytes | str) -> Any:
    """Strict JSON as plain Python values. Raises FlawError."""
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        value = json.loads(
            text, object_pairs_hook=_object, parse_float=_real, parse_int=_whole, parse_constant=_constant
        )
    except UnicodeDecodeError as error:
        raise FlawError(
            f"expected UTF-8, got byte {error.object[error.start]:#04x} at {error.start:,}"
        ) from None
    except json.JSONDecodeError as error:
        raise FlawError(f"expected JSON, got something else in line {error.lineno} ({error.msg})") from None
    except RecursionError:
        raise _too_deep() from None
    _check(value)
    return value


def convert(value: Any, schema: type[T]) -> T:
    """Plain values of JSON as an instance of a schema. Raises FlawError with the path of the first field that does not fit."""
    try:
        return msgspec.convert(value, schema, str_keys=True)
    except msgspec.ValidationError as error:
        raise FlawError(_explained(value, schema, str(error))) from None


def refuse_unknown(given: Any, known: Any, path: str = "") -> None:
    """That plain values have no field that ``known``, what they were read as, does not have. Raises FlawError with its path."""
    if isinstance(given, dict) and isinstance(known, dict):
        for name, value in given.items():
            if name not in known:
                raise FlawError(f"{path}.{name}: expected no such field".lstrip("."))
            refuse_unknown(value, known[name], f"{path}.{name}")
    elif isinstance(given, list) and isinstance(known, list):
        for place, (value, like) in enumerate(zip(given, known, strict=False)):
            refuse_unknown(value, like, f"{path}[{place}]")


def within(metadata: Mapping[str, str], name: str, schema: type[T]) -> T:
    """A field of a file's metadata that holds JSON, through a schema. Raises FlawError with the path, from the name on."""
    if name not in metadata:
        raise FlawError(f"{name}: expected a value, got none")
    try:
        value = parse(metadata[name])
    except FlawError as flaw:
        raise FlawError(f"{name}: {flaw}") from None
    try:
        return convert(value, schema)
    except FlawError as flaw:
        text = str(flaw)
        beside = text.startswith("the document: ")
        raise FlawError(f"{name}: {text[14:]}" if beside else f"{name}.{text}") from None


def plain(facts: Any) -> Any:
    """Facts (dataclasses, structs, tuples, mappings) as JSON has them. Raises ValueError for what JSON does not have."""
    try:
        return json.loads(json.dumps(facts, default=_fields, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"Expected facts that JSON has, got others ({error}); try numbers and text."
        ) from None


def _fields(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FlawError(
            f"{_cut(twice)}: expected the name once in its object, got it {names.count(twice)} times"
        )
    return content


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise FlawError(f"expected finite numbers, got {_cut(text)}")
    return value


def _whole(text: str) -> int:
    if len(text) > 20:
        raise FlawError(f"expected whole numbers of at most 64 bits, got one of {len(text):,} digits")
    return int(text)


def _constant(text: str) -> Any:
    raise FlawError(f"expected finite numbers, got {text}")


def _too_deep() -> FlawError:
    return FlawError(f"expected at most {DEEPEST} levels of lists and objects, got more")


def _check(value: Any) -> None:
    """That nothing is nested too deeply and all text is text. Raises FlawError."""
    waiting = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        if isinstance(each, str):
            if not each.isascii() and re.search("[\ud800-\udfff]", each):
                raise FlawError("expected text, got half of a character (a lone surrogate)")
        elif isinstance(each, (dict, list)):
            if depth >= DEEPEST:
                raise _too_deep()
            waiting += [(inner, depth + 1) for inner in (each.values() if isinstance(each, dict) else each)]
            if isinstance(each, dict):
                waiting += [(name, depth + 1) for name in each]


def _explained(value: Any, schema: Any, text: str) -> str:
    """What msgspec says of a value, with the full path and in our words."""
    said, place = _split(text)
    behind = 0  # names of entries before it are known
    while (at := place.find("[...]", behind)) >= 0:
        content = _value_at(value, place[:at])
        if not isinstance(content, dict):
            break
        said, place, behind = _narrowed(value, schema, content, place[:at], said, place)
    path = re.sub(r'\["([A-Za-z_]\w*)"\]', r".\1", place.removeprefix("key` in `").removeprefix("$")).lstrip(
        "."
    )
    missing = re.fullmatch(r"Object missing required field `(.+)`", said)
    if missing:
        return f"{path + '.' if path else ''}{missing[1]}: expected a value, got none"
    got = _cut(json.dumps(_value_at(value, place), ensure_ascii=False, default=str))
    if place.startswith("key` in `"):
        return (
            f"{path}: expected names that stand for {_expectation(said).removeprefix('expected ')}, got {got}"
        )
    if said.startswith("Invalid enum value"):
        return f"{path}: expected one of the values it can have, got {got}"
    kind = re.match(r"Expected `([\w| ]+)`", said)
    own = kind is None or any(
        name not in _TYPES for name in kind[1].split(" | ")
    )  # what a dataclass says of itself
    what = lowered(said) if own else f"{_expectation(said)}, got {got}"
    return f"{path or 'the document'}: {what}"


def _split(text: str) -> tuple[str, str]:
    """What msgspec says, and of which place."""
    said, _, place = text.partition(" - at `")
    return said, place.removesuffix("`")


def lowered(said: str) -> str:
    """A sentence of an error as a part of another."""
    return (said[:1].lower() + said[1:]).rstrip(".")


def _narrowed(
    value: Any, schema: Any, content: dict[str, Any], head: str, said: str, place: str
) -> tuple[str, str, int]:
    """The error again, with the name of the entry of ``content`` it is about, which is left alone in it; and where the path
    goes on behind that name."""
    entries = dict(content)
    for name, entry in entries.items():
        content.clear()
        content[name] = entry
        try:
            msgspec.convert(value, schema, str_keys=True)
        except msgspec.ValidationError as error:
            inner, path = _split(str(error))
            known = f"{head}[{json.dumps(name)}]"
            rest = _behind(path, head)
            if rest is not None:
                return inner, known + rest, len(known)
    content.update(entries)
    return said, place.replace("[...]", "[?]"), len(place)


def _behind(path: str, head: str) -> str | None:
    """What follows the first unnamed entry behind ``head``, whose own entries msgspec does not name either."""
    unnamed = re.sub(r'\["(?:[^"\\]|\\.)*"\]', "[...]", head)
    return path[len(unnamed) + 5 :] if path.startswith(f"{unnamed}[...]") else None


def _steps(path: str) -> Iterator[str | int]:
    for name, number, quoted in re.findall(r'\.([^.\[]+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]', path):
        yield int(number) if number else json.loads(quoted) if quoted else name


def _value_at(value: Any, path: str) -> Any:
    for step in _steps(path.removeprefix("$")):
        try:
            value = value[step]
        except (LookupError, TypeError):
            return None
    return value


def _expectation(said: str) -> str:
    """ "Expected `int | null`, got `str`" as "expected a whole number or null"."""
    kind = re.match(r"Expected `([^`]+)`", said)
    names = [] if kind is None else [_TYPES.get(name, name) for name in kind[1].split(" | ")]
    expected = " or ".join(names)
    pattern = re.search(r"matching regex '(.*)'$", said)
    if pattern:
        return f"expected {_PATTERNS.get(pattern[1].encode().decode('unicode_escape'), expected)}"
    bound = re.search(r"(>=|<=|>|<) (\S+)$", said)
    length = re.search(r"of length (?:>= |<= )?(\d+)", said)
    if length:
        most = "at least " if ">=" in said else "at most " if "<=" in said else ""
        return f"expected {expected} of {most}{length[1]}"
    if bound:
        words = {">=": "at least", "<=": "at most", ">": "above", "<": "below"}
        return f"expected {expected} of {words[bound[1]]} {bound[2]}"
    return f"expected {expected}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
