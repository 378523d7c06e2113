"""A forward pass under the rules, kept: relevance can be carried from any recorded layer down to any other.

`pellucid.relevance.propagate` starts at the output and walks once. Methods that hand a map from layer to layer
(an inner layer's evidence carried down, masked, carried on) start where they like, several times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import recorded
from pellucid.core.network import Network
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.relevance.composites import Composite, composite_named
from pellucid.relevance.graph import graph_for


class Recording:
    """One forward pass of normalized images; holds its graph, and so its memory, as long as it lives.

    ``activations``: layer → [batch channel h w]; ``output``: [batch classes]. ``double`` computes in float64
    whatever the network's precision (see `pellucid.relevance.propagate`).
    """

    def __init__(
        self,
        net: Network,
        images: Float[Tensor, "batch channel height width"],
        layers: Sequence[str],
        *,
        composite: str | Composite = "z-plus",
        double: bool = False,
    ) -> None:
        graph, images = graph_for(net, images, composite_named(composite), double=double, keep=True)
        self._ledger = graph.ledger
        with graph:
            self._kept, self._output = recorded(net, images, layers)
            graph.finished = True
        self.activations: Mapping[str, Tensor] = {name: kept.detach() for name, kept in self._kept.items()}
        self.output = self._output.detach()

    @property
    def unknown(self) -> tuple[str, ...]:
        """Operations without a rule: they get gradient × input, and cannot be trusted to conserve."""
        return self._ledger.unknown

    def carry(
        self, relevance: Tensor, start: str | None, to: Sequence[str]
    ) -> dict[str, Float[Tensor, "batch channel h w"]]:
        """Relevance of the layers ``to`` when that of ``start`` (None: the output, [batch classes]) is given.

        A layer nothing of it reaches gets zero. Raises UnknownNameError for layers that were not recorded,
        ValueError for relevance of another shape than the start's.
        """
        for name in (*to, *([] if start is None else [start])):
            if name not in self._kept:
                raise UnknownNameError(
                    f"Expected a recorded layer, got `{name}`; {suggest(name, list(self._kept))}"
                )
        top = self._output if start is None else self._kept[start]
        if relevance.shape != top.shape:
            raise ValueError(
                f"Expected relevance of shape {tuple(top.shape)} for {start or 'the output'}, "
                f"got {tuple(relevance.shape)}."
            )
        found = torch.autograd.grad(
            top, [self._kept[name] for name in to], relevance.to(top), retain_graph=True, allow_unused=True
        )
        return {
            name: torch.zeros_like(self._kept[name]) if each is None else each.detach()
            for name, each in zip(to, found, strict=True)
        }
