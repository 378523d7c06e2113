"""A class against its rivals: the score that CGNIS, ablation and others can explain instead of a class's own.

With logits z and target t,

* against the rest: ``z_t − log Σ_{j≠t} exp z_j``, the log-odds of the target's probability;
* against the strongest: ``z_t − max_{j≠t} z_j``, the margin, whose sign is the decision.

A unit that speaks for all classes alike moves neither. For a head of probabilities z is their logarithm; a
sigmoid or single-logit head has no rivals, and its score is its log-odds already; so is that of a network with
one class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import capture
from pellucid.core.network import Network, TargetLike
from pellucid.core.target import Target

Against = Literal["nothing", "rest", "strongest"]
AGAINST = ("nothing", "rest", "strongest")


@dataclass(frozen=True, eq=False)
class Rivals(Target):
    """A class per image, explained against the other classes; ``head`` as of the network."""

    head: str = "softmax"
    against: Against = "rest"

    def score(self, output: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
        """Log-odds or margin of the class, one per image, differentiable."""
        if self.head in ("sigmoid", "binary") or output.shape[1] < 2:
            return super().score(output)
        assert self.indices is not None
        tiny = torch.finfo(output.dtype).tiny
        z = output.clamp(min=tiny).log() if self.head == "probabilities" else output
        index = self.indices.to(output.device)[:, None]
        rivals = z.scatter(1, index, -torch.inf)
        rest = rivals.logsumexp(1) if self.against == "rest" else rivals.amax(1)
        return z.gather(1, index)[:, 0] - rest


def against_rivals(
    net: Network,
    images: Float[Tensor, "batch channel h w"],
    target: TargetLike,
    against: Against = "rest",
    batch_size: int = 16,
) -> Target:
    """The target of every image, explained against the other classes; None means the predicted class, which takes one
    forward pass more.

    Raises ValueError for a target that is a function: rivals are classes.
    """
    if callable(target) and not isinstance(target, Tensor):
        raise ValueError(
            'Expected a class to compare with its rivals, got a function of the output; try `against="nothing"`.'
        )
    count = len(images)
    with torch.inference_mode(False), torch.no_grad():  # what is made here meets autograd later
        output = torch.empty(count, 1)
        if target is None:
            firsts = range(0, count, batch_size)
            parts = [capture(net, images[n : n + batch_size], (), gradients=False).output for n in firsts]
            output = torch.cat(parts)
        found = net.resolve_target(target, output)
    if found.indices is None:
        raise ValueError(
            'Expected a class to compare with its rivals, got a function of the output; try `against="nothing"`.'
        )
    return Rivals(found.indices, found.names, found.signs, head=net.head, against=against)
