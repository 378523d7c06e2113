"""Figures of the code itself: lines, files, rooms, circles, hidden imports, docstrings; of one revision or beside another.

    python benchmarks/house/measure.py                        # the working tree
    python benchmarks/house/measure.py --before fc698c8       # an earlier revision beside it; writes results/house.json

A *room* is a file or folder directly below the package (and the folders within folders, counted as ``rooms, all``). A *circle* is
a set of files that import each other, imports inside functions included, imports for type checking aside. A *hidden import*
is one of the package's own modules, imported inside a function.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import platform
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SECTIONS = {"Args:": "args", "Returns:": "returns", "Raises:": "raises", ">>>": "example"}


def figures(root: Path) -> dict[str, Any]:
    """All figures of a checkout."""
    package = root / "src" / "pellucid"
    files = sorted(package.rglob("*.py"))
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    studies = sorted((root / "studies").rglob("*.py"))
    modules = {_module(path, package): path for path in files}
    arrows = {
        name: {to for to, _ in _imports(texts[path], name, path, modules)} for name, path in modules.items()
    }
    hidden = sum(
        inside for name, path in modules.items() for _, inside in _imports(texts[path], name, path, modules)
    )
    longest = max(files, key=lambda path: texts[path].count("\n"))
    return {
        "files in src": len(files),
        "lines in src": sum(text.count("\n") for text in texts.values()),
        "files in studies": len(studies),
        "lines in studies": sum(path.read_text(encoding="utf-8").count("\n") for path in studies),
        "rooms": len({path.relative_to(package).parts[0] for path in files} - {"__init__.py"}),
        "rooms, all": len({path.parent for path in files}),
        "circles of files": len(_circles(arrows)),
        "files in circles": sum(map(len, _circles(arrows))),
        "longest file": f"{longest.relative_to(root)} ({texts[longest].count(chr(10))} lines)",
        "Any": sum(_names(text, "Any") for text in texts.values()),
        "fmt: skip": sum(text.count("fmt: skip") for text in texts.values()),
        "hidden imports": hidden,
        **_docstrings(texts),
    }


def _module(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _names(text: str, name: str) -> int:
    return sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(ast.parse(text)))


def _imports(text: str, name: str, path: Path, modules: dict[str, Path]) -> list[tuple[str, bool]]:
    """(module, inside a function?) of every import of the package's own, type checking aside."""
    listed: list[tuple[str, bool]] = []

    def visit(node: ast.AST, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    above = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                    above = above[: len(above) - child.level + 1]
                    base = ".".join([*above, *([base] if base else [])])
                targets = {f"{base}.{alias.name}" for alias in child.names} & modules.keys()
                if base in modules and len(targets) < len(child.names):
                    targets.add(base)
                listed.extend((target, inside) for target in targets - {name})
            elif isinstance(child, ast.Import):
                listed.extend((alias.name, inside) for alias in child.names if alias.name in modules)
            within = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            visit(child, inside or within)

    visit(ast.parse(text), False)
    return listed


def _circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that reach each other."""
    import networkx

    graph = networkx.DiGraph((here, there) for here, targets in arrows.items() for there in targets)
    return [part for part in networkx.strongly_connected_components(graph) if len(part) > 1]


def _public(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in tree.body:
        inner = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else [node]
        for each in inner:
            if isinstance(each, ast.FunctionDef) and not each.name.startswith("_"):
                yield each


def _docstrings(texts: dict[Path, str]) -> dict[str, int]:
    counts = {"public functions": 0, "with docstring": 0, **{f"with {key}": 0 for key in SECTIONS.values()}}
    for text in texts.values():
        for node in _public(ast.parse(text)):
            words = ast.get_docstring(node) or ""
            counts["public functions"] += 1
            counts["with docstring"] += bool(words)
            for mark, key in SECTIONS.items():
                counts[f"with {key}"] += mark in words
    return counts


def _at(revision: str) -> dict[str, Any]:
    content = subprocess.run(
        ["git", "archive", revision, "src", "studies"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")
        return figures(Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", help="an earlier revision to show beside; writes results/house.json")
    options = parser.parse_args()
    now = figures(ROOT)
    before = _at(options.before) if options.before else {}
    width = max(map(len, now))
    for key, value in now.items():
        print(
            f"{key:<{width}}  {before.get(key, '')!s:<48}  {value}" if before else f"{key:<{width}}  {value}"
        )
    if before:
        result = {
            "date": date.today().isoformat(),
            "python": platform.python_version(),
            "command": " ".join(["python", "benchmarks/house/measure.py", *sys.argv[1:]]),
            "before": before,
            "after": now,
        }
        target = Path(__file__).parent / "results" / "house.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
