"""docs/reliability.md, made of the results in this folder.

    python benchmarks/reliability/report.py [--check]

Every harness here writes one JSON file, beside itself or in ``results``. How many cases it tried and how many got through is
read from it, whichever way it counts them; what was not measured yet has no row. ``--check`` writes nothing, and fails where
the page is another.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.core.storage import write_text

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reliability.md"


@dataclass(frozen=True)
class Harness:
    """What a harness asks, what a case of it is, and what must not happen."""

    title: str
    case: str
    failure: str


HARNESSES = {
    "kills": Harness(
        "Killed at any moment", "runs killed", "work lost beyond the unit in work, refused on going on, or other bytes"
    ),
    "hostile_images": Harness(
        "Hostile pictures", "pictures", "a traceback, a hang, too much memory, or other pixels in silence"
    ),
    "hostile_checkpoints": Harness(
        "Hostile checkpoints", "files", "a traceback, a hang, more than 1 GB, or a wrong network in silence"
    ),
    "hostile_concepts": Harness(
        "Hostile sets of concepts", "folders", "a traceback, a hang, or wrong labels in silence"
    ),
    "hostile_files": Harness(
        "Hostile files of our own", "files", "a traceback, a hang, a path that leaves its folder, or other numbers in silence"
    ),
    "hostile_pages": Harness(
        "Injection into pages", "pages in Chromium", "a script that runs, or a request that leaves the page"
    ),
    "matrix": Harness("Other processors, threads and loads", "tests run", "a test that fails"),
}  # fmt: skip

_HEAD = """\
# Reliability

What was done to pellucid on purpose, how often, and how often it got through. Every number is read from a committed result;
`python benchmarks/reliability/report.py` writes this page anew, and a test fails where that changes it.

| what | cases | got through | measured |
| --- | ---: | ---: | --- |
"""


def results() -> dict[str, Mapping[str, Any]]:
    """The results that are there, by harness."""
    there = {}
    for name in HARNESSES:
        for file in (HERE / "results" / f"{name}.json", HERE / f"{name}.json"):
            if file.is_file() and name not in there:
                there[name] = json.loads(file.read_text(encoding="utf-8"))
    return there


def cases(content: Mapping[str, Any]) -> int:
    """How many cases a harness tried."""
    if "rows" in content:  # of the test suite
        return sum(row[key] for row in content["rows"].values() for key in ("passed", "failed"))
    for key in ("attempts", "cases", "pages"):
        if isinstance(content.get(key), int):
            return int(content[key])
    parts = [value["cases"] for value in content.values() if isinstance(value, Mapping) and "cases" in value]
    return sum(parts)


def got_through(content: Mapping[str, Any]) -> int:
    """In how many the worst happened."""
    if "rows" in content:
        return sum(row["failed"] for row in content["rows"].values())
    return int(content["got_through"] if "got_through" in content else content["got through"])


def measured(content: Mapping[str, Any]) -> str:
    """When and on what."""
    facts = {**content, **content.get("metadata", {}), **content.get("versions", {})}
    machine = facts.get("processor") or facts.get("machine")
    torch = f"torch {facts['torch']}" if isinstance(facts.get("torch"), str) else None
    return ", ".join(str(fact) for fact in (facts.get("date"), machine, torch) if fact)


def command(name: str, content: Mapping[str, Any]) -> str:
    """What measures it again."""
    return str(content.get("command") or f"python benchmarks/reliability/{name}.py")


def page(there: Mapping[str, Mapping[str, Any]]) -> str:
    """The page in Markdown."""
    rows, sections = [], []
    for name, content in there.items():
        harness = HARNESSES[name]
        count, through = cases(content), got_through(content)
        link = f"[{harness.title}](#{_anchor(harness.title)})"
        rows.append(f"| {link} | {count:,} {harness.case} | {through} | {measured(content)} |")
        about = f"Got through would be: {harness.failure}. By `{command(name, content)}`."
        sections += ["", f"## {harness.title}", "", about, "", *_details(name, content)]
    return _HEAD + "\n".join([*rows, *sections]).rstrip() + "\n"


def _details(name: str, content: Mapping[str, Any]) -> list[str]:
    if name == "kills":
        keys = ("kills", "finished", "lost", "refused", "different")
        head = ("command", "kills", "of these after the end", "units lost", "refused", "other bytes")
        return _table(head, ([case, *(row[key] for key in keys)] for case, row in content["cases"].items()))
    if name == "matrix":
        keys = ("instructions", "threads", "busy", "passed", "failed", "skipped")
        head = ("instructions", "threads", "busy processes beside", "passed", "failed", "skipped")
        return _table(head, ([row[key] for key in keys] for row in content["rows"].values()))
    kinds = _kinds(content)
    outcomes = list(dict.fromkeys(outcome for counts in kinds.values() for outcome in counts))
    rows = ([kind, *(counts.get(outcome, 0) for outcome in outcomes)] for kind, counts in kinds.items())
    return _table(("kind", *outcomes), rows) if kinds else []


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def _kinds(content: Mapping[str, Any]) -> dict[str, Mapping[str, int]]:
    """Counts of outcomes by kind of case."""
    if isinstance(content.get("by_page"), Mapping):
        return {kind: {"tried": count} for kind, count in content["by_page"].items()}
    for part in (content, *(value for value in content.values() if isinstance(value, Mapping))):
        for key in ("kinds", "by kind"):
            if isinstance(part.get(key), Mapping):
                return dict(part[key])
    return {}


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")


def run() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    made = page(results())
    if parser.parse_args().check:
        same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made
        print(
            "the page is as the results say"
            if same
            else "the page is not what the results say; write it anew"
        )
        return int(not same)
    write_text(PAGE, made)
    return 0


if __name__ == "__main__":
    sys.exit(run())
