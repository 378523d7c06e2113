"""``pellucid methods``: what is registered, with its parameters and its source."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pellucid.commands.console import say
from pellucid.commands.options import Switch, flag, parse

if TYPE_CHECKING:
    from pellucid.core.registry import MethodInfo

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
    import pellucid as pl

    listed = pl.methods(options.kind)
    if options.json:
        say(json.dumps([dataclasses.asdict(entry) for entry in listed], indent=1, ensure_ascii=False))
        return 0
    width = max(60, min(shutil.get_terminal_size().columns, 120))
    for kind, entries in itertools.groupby(listed, lambda entry: entry.kind):
        say(f"{kind}:")
        for entry in entries:
            say("\n".join(_lines(entry, width)))
    return 0


def _lines(entry: MethodInfo, width: int) -> list[str]:
    parameters = ", ".join(f"{key}={value!r}" for key, value in entry.parameters.items())
    texts = [entry.summary, parameters and f"[{parameters}]", entry.source]
    indent = " " * _INDENT
    lines = [
        line
        for text in texts
        if text
        for line in textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)
    ]
    return [f"  {entry.name:<{_INDENT - 2}}{lines[0].lstrip()}", *lines[1:]]
