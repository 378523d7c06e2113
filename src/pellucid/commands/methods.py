"""``pellucid methods``: what is registered, with its parameters and its source."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pellucid.commands.console import say
from pellucid.commands.options import Switch, flag, parse

_INDENT = 24


@dataclass(frozen=True)
class Methods:
    """List every method and metric: name, what it does, parameters with their defaults, source."""

    kind: Annotated[str | None, flag("KIND")] = None
    """attribution, neurons, evaluation or visualization; by default all"""
    json: Switch = False
    """print as JSON"""


def run(arguments: Sequence[str]) -> int:
    """Print the list."""
    options = parse(Methods, "methods", arguments)
    from pellucid.core.registry import KINDS, get, names

    kinds = (options.kind,) if options.kind else tuple(kind for kind in KINDS if names(kind))
    listed = {kind: [_about(kind, name, get(kind, name)) for name in names(kind)] for kind in kinds}
    if options.json:
        say(json.dumps([entry for found in listed.values() for entry in found], indent=1, ensure_ascii=False))
        return 0
    width = max(60, min(shutil.get_terminal_size().columns, 120))
    for kind, found in listed.items():
        say(f"{kind}:" if found else f"{kind}: none yet")
        for entry in found:
            say("\n".join(_lines(entry, width)))
    return 0


def _lines(entry: dict[str, Any], width: int) -> list[str]:
    parameters = ", ".join(f"{key}={value!r}" for key, value in entry["parameters"].items())
    texts = [entry["summary"], parameters and f"[{parameters}]", entry["source"]]
    indent = " " * _INDENT
    lines = [
        line
        for text in texts
        if text
        for line in textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)
    ]
    return [f"  {entry['name']:<{_INDENT - 2}}{lines[0].lstrip()}", *lines[1:]]


def _about(kind: str, name: str, method: Any) -> dict[str, Any]:
    from pellucid.core.bibliography import PAPERS

    return {
        "kind": kind,
        "name": name,
        "summary": _first_sentence(method.__doc__ or ""),
        "parameters": {field.name: field.default for field in dataclasses.fields(method) if field.init},
        "source": PAPERS.get(method.paper) if method.paper else None,
    }


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.strip().split("\n\n")[0].split()).replace("``", "`")
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", paragraph)[0]
