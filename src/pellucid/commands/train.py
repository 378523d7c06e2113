"""``pellucid train KIND``: what is trained, each kind in a file of its own beside this one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pellucid.commands.console import say
from pellucid.core.registry import suggest

KINDS = {
    "classifier": "an embedded network from scratch, on rendered scenes of the concept world",
    "interpretable": "a network whose filters each mean one part, and its ordinary twin",
    "irenet": "IRENet, which recognizes parts, colors, textures and materials in what neurons see",
    "decoder": "an up-convolution network that paints what patterns of neurons hold",
}


def run(arguments: Sequence[str]) -> int:
    """Dispatch on what is trained."""
    if not arguments or arguments[0] in ("-h", "--help"):
        say(_usage())
        return 0
    kind = arguments[0]
    if kind not in KINDS:
        raise ValueError(f"Expected what to train, got `{kind}`; {suggest(kind, KINDS)}")
    return int(importlib.import_module(f"pellucid.commands.train_{kind}").run(arguments[1:]) or 0)


@contextmanager
def keeping(checkpoint: Path) -> Iterator[None]:
    """Around a training: Ctrl-C says what was kept of it."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"The last whole epoch is kept in {checkpoint.parent}; the same command goes on there."
            if checkpoint.is_file()
            else "No epoch was finished."
        ) from None


def _usage() -> str:
    width = max(map(len, KINDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in KINDS.items()]
    return "\n".join(["usage: pellucid train KIND [options]        pellucid train KIND --help", "", *lines])
