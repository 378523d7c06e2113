"""Where relevance went: for every operation what arrived, what it handed on and what its bias kept, per image.

``arrived − left − kept`` is what an operation absorbed: ε, outputs without contributions, operations that
cannot conserve.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from pellucid.core.precision import widest


@dataclass(eq=False)
class Entry:
    """One operation; sums in the widest type of the device, one per image."""

    name: str
    batch: int
    known: bool = True
    bias: Tensor | None = None
    absorbed: Tensor | None = None

    def arrived(self, relevance: Tensor) -> None:
        """Relevance at an output."""
        self.absorbed = self._add(self.absorbed, relevance, 1)

    def left(self, relevance: Tensor) -> None:
        """Relevance given to an input."""
        self.absorbed = self._add(self.absorbed, relevance, -1)

    def kept(self, relevance: Tensor) -> None:
        """Relevance that stayed with the bias."""
        self.bias = self._add(self.bias, relevance, 1)
        self.absorbed = self._add(self.absorbed, relevance, -1)

    def _add(self, so_far: Tensor | None, relevance: Tensor, sign: int) -> Tensor:
        relevance = (relevance.real + relevance.imag if relevance.is_complex() else relevance).detach()
        rows = relevance.shape[0] if relevance.ndim else 1
        if rows % self.batch == 0:  # windows and heads of one image lie together
            values = relevance.reshape(self.batch, -1).sum(1, dtype=widest(relevance.device))
        else:
            values = (relevance.sum(dtype=widest(relevance.device)) / self.batch).expand(self.batch)
        return sign * values if so_far is None else so_far + sign * values


@dataclass(eq=False)
class Ledger:
    """All operations of one forward pass in order, and where among them the layers lie."""

    batch: int
    entries: list[Entry] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)

    def enter(self, name: str, known: bool = True) -> Entry:
        """A new operation."""
        self.entries.append(Entry(name, self.batch, known))
        return self.entries[-1]

    def mark(self, layer: str) -> None:
        """The layer's tensor is here: it lies behind the operations so far."""
        self.places[layer] = len(self.entries)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the operations without a rule."""
        return tuple(sorted({entry.name for entry in self.entries if not entry.known}))

    def behind(self, layer: str, what: str, like: Tensor) -> Tensor:
        """Sum of ``"bias"`` or ``"absorbed"`` over all operations behind a layer, per image."""
        total = torch.zeros(self.batch, dtype=widest(like.device), device=like.device)
        for entry in self.entries[self.places[layer] :]:
            found = getattr(entry, what)
            total = total if found is None else total + found
        return total
