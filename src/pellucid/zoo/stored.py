"""What a file of weights is described by before anything of it is taken: tensors and where their numbers lie."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, field
from typing import Any

import torch


class ArchiveError(ValueError):
    """What is wrong with a file of weights, before the file is named."""


class RefusedError(ArchiveError):
    """A whole file that is not what is wanted: the text is a sentence with ``{file}`` in it."""


_HARMLESS = re.compile(
    r"(collections|datetime|decimal|fractions|pathlib|uuid|enum|ipaddress|zoneinfo)\..*|argparse\.Namespace|_codecs\.encode"
    r"|types\.SimpleNamespace|copyreg\._reconstructor|functools\.partial"
    r"|(builtins|__builtin__)\.(set|frozenset|dict|list|tuple|int|long|float|bool|str|unicode|bytes|bytearray|complex|object|slice"
    r"|range|xrange|print|max|min|sum)"
)


class PickleError(ValueError):
    """A pickle that is damaged, or larger than any checkpoint's; ``pickled`` is what was read until then."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.pickled = Pickled()


class Foreign:
    """Anything but weights, containers, numbers and text: its name, and nothing of what it would do."""

    def __init__(self, name: str) -> None:
        self.name = name


@dataclass(frozen=True)
class Storage:
    """A run of numbers that a pickle refers to: its key, type and length, its location in the file yet unknown."""

    key: str
    dtype: torch.dtype
    length: int  # numbers
    view: tuple[str, int] | None = None  # of which other storage it is a part, from which number on


@dataclass(frozen=True)
class Stored:
    """A tensor as its pickle describes it.

    Attributes:
        storage: where its numbers lie; None for a tensor that has none, or none that can be taken for weights.
        kind: "dense", or what else it is: "sparse", "quantized", "meta", a subclass.
    """

    storage: Storage | None
    offset: int = 0
    shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    kind: str = "dense"


@dataclass
class Pickled:
    """What one pickle held: its content, the globals it names beyond tensors and containers, and its length in bytes."""

    content: Any = None
    foreign: dict[str, None] = field(default_factory=dict)
    end: int = 0

    @property
    def harmful(self) -> list[str]:
        """Functions and classes of Python itself that no weights need: what a pickle would run when it is opened."""
        return [
            name
            for name in self.foreign
            if name.split(".")[0] in {*sys.stdlib_module_names, "__builtin__", "posix", "nt"}
            and name.split(".")[0] != "__main__"
            and not _HARMLESS.fullmatch(name)
        ]


def reach(tensor: Stored) -> int:
    """How many numbers of its storage a tensor spans, from the first of the storage on."""
    if math.prod(tensor.shape) == 0:
        return 0
    return (
        tensor.offset
        + 1
        + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride, strict=True))
    )
