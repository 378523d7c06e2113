"""The number a perturbation is judged by: the probability of the target, or the score of a target that is a function.

The probability is what the head gives: softmax for logits that compete, sigmoid for labels that do not, both classes of a single
logit, and the output itself where the network ends in probabilities. A target that is a function of the output has no
probability; its value on the raw output is used, row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.network import Network
from pellucid.core.running import undisturbed
from pellucid.core.target import Target

CPU_PIXELS = (
    4 * 224 * 224
)  # per thread: with more at once the activations leave the cache, and every image takes longer


def scores(
    net: Network,
    images: Float[Tensor, "batch channel height width"],
    target: Target,
    batch_size: int = 64,
    of: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, " batch"]:
    """The judged number of every image, without gradients, on the network's device.

    ``of``: which image of the target's batch each is, where they are not the same.
    """
    size = at_once(images, batch_size)
    rows = torch.arange(len(images), device=images.device) if of is None else of
    with running(net):
        parts = zip(torch.split(images, size), torch.split(rows, size), strict=True)
        return torch.cat([judge(net, net(part), target, row) for part, row in parts])


def judge(
    net: Network, output: Float[Tensor, "rows outputs"], target: Target, of: Int[Tensor, " rows"]
) -> Float[Tensor, " rows"]:
    """The judged number in outputs; row ``r`` belongs to image ``of[r]`` of the target's batch."""
    if target.function is not None:
        return target.score(output if output.dtype == torch.float64 else output.float())
    assert target.indices is not None
    classes = (
        target.indices if target.signs is None else (target.signs > 0).long()
    )  # a single logit: 1 − p, p
    chosen = classes.to(output.device)[of.to(output.device)]
    return net.probabilities(output).gather(1, chosen[:, None])[:, 0]


def at_once(images: Float[Tensor, "batch channel height width"], batch_size: int) -> int:
    """Images in one forward pass: ``batch_size``, on a processor fewer where they are large."""
    if images.device.type != "cpu":
        return batch_size
    fitting = CPU_PIXELS * torch.get_num_threads() // (images.shape[2] * images.shape[3])
    return max(1, min(batch_size, fitting))


def unit(target: Target) -> str:
    """What the judged number is, in words."""
    return "probability" if target.function is None else "value of the target function"


@contextmanager
def running(net: Network) -> Iterator[None]:
    """The network in evaluation mode without gradients; everything of it as before afterwards."""
    with undisturbed(net.module), torch.no_grad():
        yield
