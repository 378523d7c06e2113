"""Class names by index, from whatever holds them; what has no order, or gaps, is refused and never guessed.

>>> names_by_index(["cat", "dog"]), names_by_index({"1": "dog", "0": "cat"}), names_by_index({"dog": 1, "cat": 0})
(('cat', 'dog'), ('cat', 'dog'), ('cat', 'dog'))
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

_HOLDERS = ("id2label", "label2id", "class_to_idx", "classes", "class_names", "names", "labels", "categories")
_NAMES = ("name", "class_name", "class", "label", "classname", "title", "names", "classes", "labels")
_INDICES = ("index", "id", "idx", "class_id", "class_index", "label_id", "number")
_MOST = 32 * 1024 * 1024  # bytes of a file of names
_LINES = re.compile(r"\s*([0-9]+)\s*[ \t,;:=]\s*(.+?)\s*")


def names_by_index(given: Any, source: str = "`classes`") -> tuple[str, ...]:
    """Class names in the order of the network's outputs.

    Args:
        given: names in order; or a mapping, index to name or name to index; or entries ``{"id": 0, "name": "cat"}``.
        source: what to call it in an error.

    Raises:
        ValueError: no order (a set), indices with gaps or twice, names that are no text or empty.
    """
    if isinstance(given, Mapping):
        return _from_mapping(given, source)
    if isinstance(given, Set):
        raise ValueError(
            f"Expected class names in the order of the outputs in {source}, got a {type(given).__name__}, which has none; "
            "try a list, or a dict from index to name."
        )
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ValueError(
            f"Expected class names in {source}, a list or a dict from index to name, got {type(given).__name__}."
        )
    entries = list(given)
    if entries and all(isinstance(entry, Mapping) for entry in entries):
        return _from_entries(entries, source)
    return tuple(_name(entry, f"{source}, number {index}") for index, entry in enumerate(entries))


def checked_names(classes: Any, count: int, head: str) -> tuple[str, ...]:
    """One name per class, given or made up; `head` as in `Network`. Raises ValueError for another number of names."""
    if classes is None:
        if head == "regression":
            return ("value",) if count == 1 else tuple(f"value {index}" for index in range(count))
        return (
            ("negative", "positive")
            if head == "binary"
            else tuple(f"class {index}" for index in range(count))
        )
    names = names_by_index(classes)
    if len(names) != count:
        hint = "check the list."
        if head == "binary":
            hint = (
                'a single-logit network has two classes, the negative first; head="regression" has one value.'
            )
        raise ValueError(f"Expected {count} class names, one per output, got {len(names)}; {hint}")
    return names


def read_names(file: Path) -> tuple[str, ...]:
    """Class names from a file: JSON, CSV (or TSV), or text with one name per line, each perhaps behind its index.

    Raises:
        ValueError: no such file, too large, no text, or names that have no order; see `names_by_index`.
    """
    if not file.is_file():
        raise ValueError(
            f'Expected class names, a list, "imagenet" or a file, got `{file}`, which is no file.'
        )
    text = _text(file)
    source = f"`{file}`"
    if file.suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "["):
        return _from_json(text, source)
    if file.suffix.lower() in (".csv", ".tsv"):
        return _from_table(text, source)
    return _from_lines(text, source)


def _text(file: Path) -> str:
    try:
        size = file.stat().st_size
        content = file.read_bytes() if size <= _MOST else b""
    except OSError as error:
        raise ValueError(
            f"Expected a readable file of class names, got `{file}`: {error.strerror}."
        ) from None
    if size > _MOST:
        raise ValueError(
            f"Expected a file of class names, got `{file}` of {size:,} bytes; try a smaller one."
        )
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected class names in UTF-8 text, got `{file}`, which is not ({error.reason}); save it as UTF-8."
        ) from None
    if "\0" in text:
        raise ValueError(f"Expected class names in text, got `{file}`, which holds zero bytes.")
    return text


def _from_json(text: str, source: str) -> tuple[str, ...]:
    try:
        given = json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, source))
    except RecursionError:
        raise ValueError(f"Expected class names in {source}, got JSON nested too deep.") from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"Expected class names in {source}, a list or an object by index, got something else ({error})."
        ) from None
    if isinstance(given, dict):
        holders = [key for key in _HOLDERS if isinstance(given.get(key), (dict, list))]
        if holders:
            return names_by_index(given[holders[0]], f"`{holders[0]}` of {source}")
    if not isinstance(given, (dict, list)):
        raise ValueError(
            f"Expected class names in {source}, a list or an object by index, got {type(given).__name__}."
        )
    return names_by_index(given, source)


def _once(pairs: list[tuple[str, Any]], source: str) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"Expected every key once in {source}, got {twice!r} twice.")
    return dict(pairs)


def _from_table(text: str, source: str) -> tuple[str, ...]:
    first = text.splitlines()[0] if text.strip() else ""
    mark = max(("\t", ";", ","), key=first.count)
    try:
        rows = [
            [cell.strip() for cell in row]
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
            if row
        ]
    except csv.Error as error:
        raise ValueError(f"Expected class names in {source}, got a damaged table ({error}).") from None
    if not rows:
        raise ValueError(f"Expected class names in {source}, got an empty file.")
    head = [cell.casefold() for cell in rows[0]]
    named, indexed = ([at for at, cell in enumerate(head) if cell in words] for words in (_NAMES, _INDICES))
    titled = bool(named or indexed)
    rows = rows[1:] if titled else rows
    width = len(head)
    if not rows or any(len(row) != width for row in rows):
        raise ValueError(f"Expected rows of {width} cells in {source}, got one with another number, or none.")
    if width == 1:
        return names_by_index([row[0] for row in rows], source)
    numbers = indexed or [at for at in range(width) if all(row[at].isdecimal() for row in rows)]
    words = [at for at in named if at not in numbers] or [at for at in range(width) if at not in numbers]
    if len(numbers) != 1 or not words or (len(words) > 1 and not named):
        raise ValueError(
            f"Expected a column of indices and one of names in {source}, got {width} columns of which that cannot be told; "
            "try two, titled `index` and `name`."
        )
    return _ordered([(row[numbers[0]], row[words[0]]) for row in rows], source)


def _from_lines(text: str, source: str) -> tuple[str, ...]:
    lines = [
        line.strip() for line in text.splitlines() if line.strip()
    ]  # a name that is missing shows in their number
    numbered = [_LINES.fullmatch(line) for line in lines]
    if lines and all(numbered):
        pairs = [(match[1], match[2]) for match in numbered if match is not None]
        if sorted(int(index) for index, _ in pairs) == list(range(len(pairs))):
            return _ordered(pairs, source)
    return names_by_index(lines, source)


def _from_mapping(given: Mapping[Any, Any], source: str) -> tuple[str, ...]:
    whole = [
        bool(given) and all(_is_index(each) and not isinstance(each, str) for each in side)
        for side in (given.keys(), given.values())
    ]
    if whole[1] and not whole[0]:  # names may be digits, as the folders of handwritten ones are
        return _ordered([(value, key) for key, value in given.items()], source)
    if whole[0] or (given and all(_is_index(key) for key in given)):
        return _ordered(list(given.items()), source)
    raise ValueError(
        f"Expected class names by index in {source}, or indices by name, got a dict with keys such as "
        f"{', '.join(repr(key) for key in list(given)[:3]) or 'none'}; try {{0: 'cat', 1: 'dog'}}."
    )


def _from_entries(entries: list[Any], source: str) -> tuple[str, ...]:
    pairs = []
    for number, entry in enumerate(entries):
        name = next((entry[key] for key in _NAMES if key in entry), None)
        index = next((entry[key] for key in _INDICES if key in entry), None)
        if name is None or (index is not None and not _is_index(index)):
            raise ValueError(
                f"Expected entries such as {{'id': 0, 'name': 'cat'}} in {source}, got another at number {number}."
            )
        pairs.append((number if index is None else index, name))
    return _ordered(pairs, source)


def _ordered(pairs: list[tuple[Any, Any]], source: str) -> tuple[str, ...]:
    """Names by index. Raises ValueError where an index is missing or twice there."""
    numbers = [int(index) for index, _ in pairs]
    missing = sorted(set(range(len(numbers))) - set(numbers))
    if missing:
        twice = len(set(numbers)) < len(numbers)
        start = min(numbers)
        hint = (
            f"they start at {start}"
            if start
            else "one is there twice"
            if twice
            else f"the highest is {max(numbers)}"
        )
        raise ValueError(
            f"Expected a class name for every index from 0 to {len(numbers) - 1} in {source}, got none for {missing[0]} "
            f"({hint}); try the indices of the network's outputs."
        )
    by_index = dict(zip(numbers, (name for _, name in pairs), strict=True))
    return tuple(_name(by_index[index], f"{source}, index {index}") for index in range(len(numbers)))


def _name(entry: Any, where: str) -> str:
    """A name as text; of ImageNet's pairs (WordNet's number, name) the name."""
    if isinstance(entry, (list, tuple)) and len(entry) == 2 and all(isinstance(each, str) for each in entry):
        entry = entry[1]
    plain = isinstance(entry, str) or (
        not isinstance(entry, (bool, bytes, Mapping, Set, list, tuple))
        and entry is not None
        and _is_number(entry)
    )
    text = str(entry).strip() if plain else ""
    if not text:
        got = "an empty one" if isinstance(entry, str) else type(entry).__name__
        raise ValueError(f"Expected a class name in {where}, got {got}.")
    return text


def _is_number(entry: Any) -> bool:
    return hasattr(entry, "__index__") or isinstance(entry, float)


def _is_index(entry: Any) -> bool:
    if isinstance(entry, str):
        return entry.strip().isascii() and entry.strip().isdecimal()
    return hasattr(entry, "__index__") and not isinstance(entry, bool) and int(entry) >= 0
