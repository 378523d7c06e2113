"""What something costs a network, counted at the network: forward, backward and tail passes.

    with counting(net) as cost:
        …
    cost.forward, cost.backward, cost.tail

A pass is one image going through: a batch of eight counts eight. Copies of the network that are made inside (of random weights,
for instance) count too, as their hooks are copied with them. What other threads run at the same time does not count.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from typing import Any

from torch import Tensor
from torch.autograd.graph import register_multi_grad_hook
from torch.utils._pytree import tree_leaves

from pellucid.core.network import Network

# What is counted lies here and not in the hooks: they are copied with modules, which must not seem to remember anything.
_open: dict[int, Passes] = {}
_keys = count()
_in_tail: ContextVar[bool] = ContextVar("in_tail", default=False)
_once: ContextVar[bool] = ContextVar("once", default=False)


@dataclass
class Passes:
    """Images that went through a network.

    Attributes:
        forward: whole passes.
        backward: passes of gradients, from the output downwards.
        tail: passes of the part behind a layer, with the gradients taken through it.
    """

    forward: int = 0
    backward: int = 0
    tail: int = 0


@contextmanager
def counting(net: Network) -> Iterator[Passes]:
    """Count what goes through a network inside.

    Args:
        net: whose module is watched; another may be counted at the same time, and countings may be nested.

    Returns:
        A context that gives `Passes`, which grow as passes are made and stay afterwards.

    Example:
        >>> import torch, pellucid as pl
        >>> net = pl.load("scenes-vgg")
        >>> with counting(net) as cost:
        ...     _ = pl.capture(net, torch.zeros(2, 3, 128, 128), ["features.30"])
        >>> cost
        Passes(forward=2, backward=2, tail=0)
    """
    key, thread = next(_keys), threading.get_ident()
    passes = _open[key] = Passes()

    def begun(_module: Any, given: tuple[Any, ...]) -> None:
        passes = _open.get(key)
        # a copy of the network may outlive the counting
        if passes is not None and threading.get_ident() == thread and not _once.get():
            rows = _rows(given)
            if _in_tail.get():
                passes.tail += rows
            else:
                passes.forward += rows

    def finished(_module: Any, given: tuple[Any, ...], output: Any) -> None:
        recorded = [each for each in tree_leaves(output) if isinstance(each, Tensor) and each.requires_grad]
        if key not in _open or not recorded or threading.get_ident() != thread or _once.get():
            return
        rows, in_tail = _rows(given), _in_tail.get()

        def returned(_gradient: Tensor) -> None:
            passes = _open.get(key)
            if passes is not None and in_tail:
                passes.tail += rows
            elif passes is not None:
                passes.backward += rows

        register_multi_grad_hook(recorded, returned, mode="any")

    module = net.module
    handles = [module.register_forward_pre_hook(begun), module.register_forward_hook(finished)]
    try:
        yield passes
    finally:
        del _open[key]
        for handle in handles:
            handle.remove()


@contextmanager
def behind_a_layer(cut: bool = True) -> Iterator[None]:
    """What runs inside is the tail of a network; with ``cut`` False all of it is run again, and counts as a forward pass."""
    token = _in_tail.set(cut)
    try:
        yield
    finally:
        _in_tail.reset(token)


@contextmanager
def once() -> Iterator[None]:
    """What runs inside is done once for a network and remembered: no image pays for it, whichever comes first."""
    token = _once.set(True)
    try:
        yield
    finally:
        _once.reset(token)


def _rows(given: tuple[Any, ...]) -> int:
    """How many images a call of the network was given."""
    return len(given[0]) if given and isinstance(given[0], Tensor) and given[0].ndim else 1
