"""What relevance starts from at the output: [batch classes], from the output and the target.

* ``"logit"``: the explained score itself, ``z ⊙ ∂score/∂z`` (z_t at the target, nothing elsewhere);
* ``"contrastive"``, Gu et al. 2018, Lee et al. 2021: z_t at the target and −z_t / (N − 1) at each other class;
* ``"softmax-gradient"``, Iwana et al. 2019: the gradient of the target's probability, p_t (1 − p_t) at the
  target and −p_t p_n elsewhere (for sigmoid heads p_t (1 − p_t) at the target alone).

For a target that is a function of the output "the target" means every output it depends on. A network with
one output has nothing to contrast with: its contrastive seed is the logit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.network import Network
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.core.target import Target

SEEDS = ("logit", "contrastive", "softmax-gradient")
Seed = str | Callable[[Tensor], Tensor]


def check_seed(seed: Seed) -> None:
    """Raises UnknownNameError for a name that is none of `SEEDS`."""
    if isinstance(seed, str) and seed not in SEEDS:
        raise UnknownNameError(f"Expected the name of a seed, got `{seed}`; {suggest(seed, SEEDS)}")


def seed_relevance(
    net: Network, output: Float[Tensor, "batch classes"], target: Target, seed: Seed, *, unit: bool = False
) -> Float[Tensor, "batch classes"]:
    """Relevance at the output. A callable gets the output and returns relevance of the same shape.

    ``unit`` leaves the target's score out of ``"logit"`` and ``"contrastive"`` (1 in place of z_t): a score that is zero
    has relevance too, and one below zero does not turn all signs.
    """
    check_seed(seed)
    if not isinstance(seed, str):
        made = seed(output.detach())
        if not isinstance(made, Tensor) or made.shape != output.shape:
            got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise ValueError(
                f"Expected the seed to return relevance {tuple(output.shape)}, got {got}; "
                "try `lambda output: output`."
            )
        return made.detach().to(output)
    with torch.enable_grad():
        leaf = output.detach().clone().requires_grad_()
        read = _probabilities(net, leaf) if seed == "softmax-gradient" else leaf
        score = target.score(read)
        (slope,) = torch.autograd.grad(score.sum(), leaf)
    if seed == "softmax-gradient":
        return slope
    own = slope if unit else output.detach() * slope
    if seed == "logit":
        return own
    others = slope == 0
    count = others.sum(1, keepdim=True)
    rest = -own.sum(1, keepdim=True) / count.clamp(min=1)
    return torch.where(others, rest, own)


def _probabilities(net: Network, output: Tensor) -> Tensor:
    if net.head == "probabilities":
        return output
    if net.head == "softmax" and output.shape[1] > 1:
        return output.softmax(1)
    return output.sigmoid()
