"""Hierarchical decomposition, Cheng et al. 2022: the decision is traced to the units of the last stage, the best
of these to the units of the stage below, and so on down.

    E^L = ReLU(∂score/∂A^L) ⊙ A^L,      S^l = the ``units`` channels of greatest Σ_ij E^l,
    g^l = Σ_{k ∈ S^{l+1}} ReLU(g_k^{l+1}) ∂A_k^{l+1} / ∂A^l,      E^l = ReLU(g^l) ⊙ A^l,      M^l = Σ_{k ∈ S^l} E_k^l.

What a stage hands on is the activation of its chosen units, each position weighted by its own positive gradient.
So a shallow map shows what supported the few deep units that carried the decision, not everything the score
depends on. With all units the last stage's map is LayerCAM's; below it differs, for negative gradients stop at
every stage.

A declared reconstruction: the paper (gradient-based activation propagation) shows a tree with a decomposition of
its own for every unit; here the chosen units of a stage are decomposed together, as a map for the image asks,
and the number of units kept is our choice.

Cost: one forward and one backward pass more, for all stages together. Any network, any target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.staged import Staged
from pellucid.core.capture import Trace, recorded
from pellucid.core.reading import precise
from pellucid.core.registry import register


@register("attribution", "hierarchical", paper="cheng2022hierarchical")
@dataclass(frozen=True)
class Hierarchical(Staged):
    """Hierarchical decomposition: what supported the deep units that carried the decision, stage by stage."""

    units: int = 32

    def __post_init__(self) -> None:
        if self.units < 1:
            raise ValueError(
                f"Expected at least 1 of `units` to keep at every stage, got {self.units}; try 32."
            )

    def maps(self, trace: Trace, layers: Sequence[str]) -> Mapping[str, Float[Tensor, "batch h w"]]:
        """``Σ_{k ∈ S} E_k`` of every layer, from the last one down."""
        kept, output = recorded(trace.network, trace.images, layers)
        with torch.enable_grad():
            above, handed = trace.target.score(output), None
        found: dict[str, Tensor] = {}
        for layer in reversed(layers):
            gradient = _back(above, kept[layer], handed)
            positive = precise(gradient).relu()
            evidence = positive * precise(kept[layer].detach())
            chosen = greatest(evidence.sum((2, 3)), self.units)[:, :, None, None]
            found[layer] = torch.where(chosen, evidence, 0).sum(1)
            above, handed = kept[layer], torch.where(chosen, positive, 0).to(gradient)
        return found


def greatest(values: Float[Tensor, "batch channel"], count: int) -> Float[Tensor, "batch channel"]:
    """Where the ``count`` greatest values of each row are; of equal ones the first."""
    order = torch.sort(values, dim=1, descending=True, stable=True).indices[:, :count]
    return torch.zeros_like(values, dtype=torch.bool).scatter_(1, order, True)


def _back(above: Tensor, below: Tensor, handed: Tensor | None) -> Tensor:
    if not above.requires_grad:
        raise ValueError(
            "Expected the target's score to depend on the layer, but no gradient reaches it; "
            "the network may detach or round on the way."
        )
    start = torch.ones_like(above) if handed is None else handed
    (found,) = torch.autograd.grad(above, below, start, retain_graph=True, allow_unused=True)
    return torch.zeros_like(below) if found is None else found
