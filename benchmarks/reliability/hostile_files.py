"""Hostile files of our own: what pellucid writes and reads again, damaged in every way we can think of.

    python benchmarks/reliability/hostile_files.py [--every 1] [--out hostile_files.json]

Every case begins with a healthy file (`own_files`), changes one thing and reads it as the program does. It *got through* where
that ends in anything but one line for the user (a traceback, no name of the file), takes longer than 20 seconds or more
than a gigabyte, or gives something else than the healthy file without a word. Fields are missing, of another type, negative,
huge, NaN, nested a hundred thousand deep, named twice; arrays of another shape or type, with NaN, away; files cut, empty,
not UTF-8, folders, pipes, devices, links in a circle, 20 gigabytes of nothing; names of files lead out of their folder.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save

sys.path.insert(0, str(Path(__file__).parent))
from own_files import KINDS, Kind, summed
from watching import tell

from pellucid._version import __version__
from pellucid.core.bundle import digest
from pellucid.core.provenance import processor, versions
from pellucid.core.storage import write_json

SECONDS = 20
BYTES = 1 << 30
_FOR_USERS = (ValueError, LookupError, TypeError, ArithmeticError, OSError, ImportError)
# arrays in which a value may be unknown, endless or negative without being wrong
_LOOSE = {
    "nan": r"error|spread|chance_spread|center_spread|probability/.*|chance/.*|draws/.*|interval",
    "infinite": r"thresholds|strength|examples/maxima",
    "negative": r"thresholds|held_out.thresholds|examples.maxima|values|strength|draws/.*|examples/maxima|history",
}


@dataclass(frozen=True)
class Case:
    """One change of a healthy file."""

    kind: str
    name: str
    change: Callable[[Path], None]


def cases(kind: str, healthy: Path) -> Iterator[Case]:
    """All cases of a kind."""
    known = KINDS[kind]
    for name, change in _of_files() if known.files else ():
        yield Case(kind, name, change)
    if known.facts == "pickle":
        for name, change in _of_checkpoints(healthy):
            yield Case(kind, name, change)
        return
    if known.facts == "text":
        for name, change in _of_tables(healthy):
            yield Case(kind, name, change)
        return
    content, arrays = _taken_apart(healthy, known.facts)
    for name, change in _of_facts(content, known):
        yield Case(kind, name, _writer(known.facts, change, None))
    for name, text in _of_text(content):
        yield Case(kind, name, _writer(known.facts, None, None, text))
    if known.facts != "json":
        for name, change in _of_arrays(arrays, known):
            yield Case(kind, name, _writer(known.facts, None, change))


# ---- files


def _of_files() -> Iterator[tuple[str, Callable[[Path], None]]]:
    def replaced(make: Callable[[Path], Any]) -> Callable[[Path], None]:
        def change(file: Path) -> None:
            file.unlink()
            make(file)

        return change

    def cut(share: float) -> Callable[[Path], None]:
        return lambda file: os.truncate(file, int(file.stat().st_size * share))

    def holed(file: Path) -> None:
        os.truncate(file, 20 << 30)

    def not_text(file: Path) -> None:
        content = file.read_bytes()
        at = content.find(b"a", 10)
        file.write_bytes(content[:at] + b"\xff" + content[at + 1 :])

    yield "empty", cut(0)
    for share in (0.02, 0.3, 0.7, 0.999):
        yield f"cut at {share:.1%}", cut(share)
    yield "a folder", replaced(lambda file: file.mkdir())
    yield "a pipe", replaced(os.mkfifo)
    yield "a device without end", replaced(lambda file: file.symlink_to("/dev/zero"))
    yield "a link to itself", replaced(lambda file: file.symlink_to(file))
    yield "a link to nothing", replaced(lambda file: file.symlink_to("/nowhere/at/all"))
    yield "20 GB of nothing", holed
    yield "not UTF-8", not_text
    yield "noise", replaced(lambda file: file.write_bytes(np.random.default_rng(0).bytes(4000)))
    yield (
        "a header of 2**60 bytes",
        replaced(lambda file: file.write_bytes((1 << 60).to_bytes(8, "little") + bytes(99))),
    )


# ---- facts


def _of_facts(content: Any, kind: Kind) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """Every field away, and of another type; numbers negative and huge; names of files that lead elsewhere."""
    base = ("facts",) if kind.facts == "bundle" else ()
    for path, value in _fields(content["facts"] if base else content):
        text = _text(path)
        top = re.split(r"[.\[]", text)[0]
        if any(_below(text, prefix) for prefix in kind.free) or (kind.only and top not in kind.only):
            continue
        if top in ("kind", "schema"):
            continue
        optional = path[-1] in kind.optional or any(_below(text, prefix) for prefix in kind.optional)
        if isinstance(path[-1], str) and not optional and not kind.defaults:
            yield f"{text} away", _putter((*base, *path), ...)
        if isinstance(value, dict) and kind.closed:
            yield f"{text} has another field", _putter((*base, *path, "another"), 1)
        for other in _others(value, optional):
            yield f"{text} is {_short(other)}", _putter((*base, *path), other)
        if path[-1] == "file":
            for out in (
                "../out.png",
                "/etc/hostname",
                "..",
                "a/../../out.png",
                "out\\..\\x",
                "link.png",
                "a\0b",
                "",
            ):
                yield f"{text} is {out!r}", _putter((*base, *path), out)
    if "schema" in content and "schema" not in kind.optional:
        for version in (0, -1, 99, "1", 1.5, None, 2**70, ...):
            yield f"schema is {version!r}", _putter(("schema",), version)
    if "kind" in content:
        for other in ("pellucid something", 3, ...):
            yield f"kind is {other!r}", _putter(("kind",), other)


def _below(text: str, prefix: str) -> bool:
    return text == prefix or text.startswith((prefix + ".", prefix + "["))


def _short(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) < 30 else f"{shown[:27]}…"


def _others(value: Any, optional: bool) -> list[Any]:
    """Values of other types, and of the same type out of all bounds."""
    none = [] if optional or value is None else [None]
    if isinstance(value, bool):
        return ["yes", 1, [], *none]
    if isinstance(value, int):
        return ["x", -(10**19), 10**19, [], True, *none]
    if isinstance(value, float):
        return ["x", [], {}, False, *none]
    if isinstance(value, str):
        return [5, ["x"], {}, *none]
    if isinstance(value, list):
        return ["x", 3, {"x": 1}, *none]
    return ["x", 3, [1], *none] if isinstance(value, dict) else []


def _of_text(content: Any) -> Iterator[tuple[str, Callable[[str], str]]]:
    """Changes of the JSON itself."""
    first = next(iter(content))

    def added(more: str) -> Callable[[str], str]:
        return lambda text: text.rstrip()[:-1] + f", {more}}}"

    yield "a name twice", added(f"{json.dumps(first)}: {json.dumps(content[first])}")
    yield "nested 100,000 deep", added(f'"more": {"[" * 100_000}{"]" * 100_000}')
    yield "nested 900 deep", added(f'"more": {"[" * 900}{"]" * 900}')
    yield "NaN", added('"more": NaN')
    yield "1e999", added('"more": 1e999')
    yield "a whole number of 5,000 digits", added(f'"more": {"9" * 5000}')
    yield "half a character", added('"more": "\\ud800"')
    yield "a comma too many", lambda text: text.replace(":", ":,", 1)
    yield "a list around it", lambda text: f"[{text}]"
    yield "null", lambda text: "null"
    yield "a number", lambda text: "5"


def _fields(content: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Paths and values of all fields; of lists the first entry, and the last where there are several."""
    if path:
        yield path, content
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _fields(value, (*path, name))
    elif isinstance(content, list) and content:
        for place in sorted({0, len(content) - 1}):
            yield from _fields(content[place], (*path, place))


def _text(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _putter(path: tuple[str | int, ...], value: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        if value is ...:
            del content[path[-1]]
        else:
            content[path[-1]] = value

    return change


# ---- arrays


def _of_arrays(
    arrays: dict[str, np.ndarray[Any, Any]], kind: Kind
) -> Iterator[tuple[str, Callable[[dict[str, Any]], None]]]:
    """Every array away, of another shape and type, and with values that cannot be."""

    def changed(name: str, make: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
        def change(held: dict[str, Any]) -> None:
            held[name] = np.ascontiguousarray(make(held[name].copy()))

        return change

    def filled(value: float) -> Callable[[Any], Any]:
        def make(array: Any) -> Any:
            array.reshape(-1)[0] = value
            return array

        return make

    for name in [name for name in arrays if arrays[name].size][: kind.arrays]:
        real = arrays[name].dtype.kind == "f"
        if not re.fullmatch(kind.spare, name):
            yield f"array {name} away", lambda held, name=name: held.pop(name)
        yield f"array {name} longer", changed(name, lambda array: np.concatenate([array, array]))
        yield f"array {name} flat", changed(name, lambda array: array.reshape(1, -1, 1, 1, 1))
        yield (
            f"array {name} of another type",
            changed(
                name, lambda array: array.astype(np.complex64 if array.dtype.kind == "f" else np.float64)
            ),
        )
        if real and not re.fullmatch(_LOOSE["nan"], name):
            yield f"array {name} has NaN", changed(name, filled(np.nan))
        if real and not re.fullmatch(_LOOSE["infinite"], name):
            yield f"array {name} has infinity", changed(name, filled(np.inf))
        if (
            arrays[name].dtype.kind in "fi"
            and not kind.weights
            and not re.fullmatch(_LOOSE["negative"], name)
        ):
            yield f"array {name} has -5", changed(name, filled(-5))


# ---- other files


def _of_checkpoints(healthy: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Checkpoints of trainings, and pickles."""

    def stored(change: Callable[[Any], Any]) -> Callable[[Path], None]:
        def write(file: Path) -> None:
            content = torch.load(file, weights_only=True)
            other = change(content)
            torch.save(content if other is None else other, file)

        return write

    content = torch.load(healthy, weights_only=True)
    for name in content:
        yield f"{name} away", stored(lambda held, name=name: _nothing(held.pop(name)))
        for other in ("x", -(10**19), [1], {"a": 1}, None, float("nan")):
            if not (name == "best" and other is None) and not (name in ("cycle",) and other == {}):
                yield (
                    f"{name} is {other!r}",
                    stored(lambda held, name=name, other=other: _nothing(held.update({name: other}))),
                )
    for label, change in (
        ("weights have NaN", lambda held: held["module"]["weight"].fill_(float("nan"))),
        ("weights of another shape", lambda held: held["module"].update(weight=torch.zeros(3, 3))),
        ("weights of another type", lambda held: held["module"].update(weight=torch.zeros(1, 2, dtype=torch.complex64))),
        ("a weight away", lambda held: held["module"].pop("bias")),
        ("a weight more", lambda held: held["module"].update(more=torch.zeros(1))),
        ("a weight that is text", lambda held: held["module"].update(weight="x")),
        ("momentum of another shape", lambda held: held["optimizer"]["state"][0].update(momentum_buffer=torch.zeros(9))),
        ("momentum with NaN", lambda held: held["optimizer"]["state"][0]["momentum_buffer"].fill_(float("nan"))),
        ("another learning rate", lambda held: held["optimizer"]["param_groups"][0].update(lr=float("nan"))),
        ("more groups", lambda held: held["optimizer"]["param_groups"].append({})),
        ("a schedule with a method", lambda held: held["cycle"].update(step=5)),
        ("a schedule of text", lambda held: held["cycle"].update(last_epoch="x")),
        ("more epochs than there are", lambda held: held.update(epoch=99)),
        ("other settings", lambda held: held["settings"].update(seed=9)),
    ):  # fmt: skip
        yield label, stored(lambda held, change=change: _nothing(change(held)))
    yield "a tensor", stored(lambda held: torch.zeros(3))
    yield "a list", stored(lambda held: [1, 2])
    yield "itself inside", stored(lambda held: held.update(module=held))


def _of_tables(healthy: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Published tables."""

    def edited(change: Callable[[str], str]) -> Callable[[Path], None]:
        return lambda file: (
            file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8") and None
        )

    header, first, *_ = healthy.read_text(encoding="utf-8").splitlines()
    columns = header.split(",")
    for place, column in enumerate(columns):
        cells = first.split(",")

        def with_cell(text: str, value: str, place: int = place) -> str:
            lines = text.splitlines()
            row = lines[1].split(",")
            row[place] = value
            return "\n".join([lines[0], ",".join(row), *lines[2:]])

        yield f"column {column} renamed", edited(lambda text, column=column: text.replace(column, "other", 1))
        if re.fullmatch(r"[-\d.e+]+", cells[place]):
            for value in ("x", "-1", "nan", "1e400", "", "9" * 5000, "0x10"):
                yield (
                    f"{column} is {value[:9]!r}",
                    edited(lambda text, value=value, put=with_cell: put(text, value)),
                )
    yield "a unit twice", edited(lambda text: text + text.splitlines()[1] + "\n")
    yield "a short row", edited(lambda text: text + "1,2\n")
    yield "an open quote", edited(lambda text: text + '"')
    yield "a cell of a megabyte", edited(lambda text: text.replace("\n", "\n" + "9" * (1 << 20), 1))
    yield "a zero byte", edited(lambda text: text.replace(",", ",\0", 1))
    yield "no rows", edited(lambda text: text.splitlines()[0])


def _nothing(_: Any) -> None:
    """What was changed in place is what is written."""


# ---- taken apart and put together


def _taken_apart(file: Path, facts: str) -> tuple[Any, dict[str, Any]]:
    if facts == "json":
        return json.loads(file.read_text(encoding="utf-8")), {}
    with safe_open(file, "numpy") as opened:
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return json.loads(opened.metadata()[facts]), arrays


def _writer(
    facts: str,
    change: Callable[[Any], None] | None = None,
    arrays: Callable[[dict[str, Any]], None] | None = None,
    text: Callable[[str], str] | None = None,
) -> Callable[[Path], None]:
    """What writes a file anew with other facts, other arrays (and their right SHA-256), or other JSON."""

    def write(file: Path) -> None:
        content, held = _taken_apart(file, facts)
        content = copy.deepcopy(content)
        if change is not None:
            change(content)
        if arrays is not None:
            arrays(held)
        if facts == "bundle" and isinstance(content, dict) and arrays is not None:
            content["sha256"] = digest(held)
        whole = json.dumps(content)
        whole = whole if text is None else text(whole)
        if facts == "json":
            file.write_text(whole, encoding="utf-8")
            return
        with safe_open(file, "numpy") as opened:
            metadata = {**opened.metadata(), facts: whole}
        file.write_bytes(save(held, metadata))

    return write


# ---- running


def outcome(case: Case, folder: Path, healthy: Path, expected: str) -> tuple[str, str]:
    """What happens where a case is read, and in which words: "refused", "the same", or how it got through."""
    shutil.copytree(healthy.parent, folder, symlinks=True)
    (folder / "link.png").symlink_to("/etc/hostname")
    file = folder / healthy.name
    case.change(file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def late(*_: Any) -> None:
        raise TimeoutError("it takes too long")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        read = summed(KINDS[case.kind].read(file)).replace(str(folder), "")
        result = ("the same", "") if read == expected else ("silently wrong", read[:200])
    except TimeoutError as error:
        result = "hang", str(error)
    except _FOR_USERS as error:
        text = str(error)
        clear = (
            text.startswith("Expected ")
            and "\n" not in text
            and (str(folder) in text or not KINDS[case.kind].files)
        )
        result = ("refused" if clear else "traceback", f"{type(error).__name__}: {text}"[:300])
    except Exception as error:
        result = "traceback", f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.alarm(0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if grown * 1024 > BYTES:
        result = "memory", f"{grown >> 20} GB: {result[1]}"
    shutil.rmtree(folder, ignore_errors=True)
    return result


def measure(every: int = 1, kinds: list[str] | None = None) -> dict[str, Any]:
    """All cases, or every n-th of each kind: how many there are, how they end, and which got through."""
    counts: dict[str, Counter[str]] = {}
    through = []
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for kind in kinds or list(KINDS):
            healthy = KINDS[kind].make(place / "healthy" / str(len(counts)))
            expected = summed(KINDS[kind].read(healthy)).replace(str(healthy.parent), "")
            counts[kind] = Counter()
            for case in list(cases(kind, healthy))[::every]:
                how, words = outcome(case, place / "case", healthy, expected)
                counts[kind][how] += 1
                if how not in ("refused", "the same"):
                    through.append(
                        {
                            "kind": kind,
                            "case": case.name,
                            "outcome": how,
                            "words": words.replace(scratch, "…"),
                        }
                    )
    total = sum(counts.values(), Counter())
    return {
        "cases": total.total(),
        "got_through": len(through),
        "outcomes": dict(total),
        "kinds": {kind: dict(count) for kind, count in counts.items()},
        "through": through,
        "pellucid": __version__,
        **versions("torch", "safetensors", "msgspec", "numpy"),
        "machine": processor(),
    }


def main() -> int:
    """Measure, write and print; 1 where something got through."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="only every n-th case of each kind")
    parser.add_argument("--kinds", nargs="*", help="only these kinds")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("hostile_files.json"))
    options = parser.parse_args()
    found = measure(options.every, options.kinds)
    write_json(options.out, found)
    return tell(found, 28)


if __name__ == "__main__":
    sys.exit(main())
