"""What methods read from a trace, in a precision fit for squares and long sums; and gradients anywhere behind
a layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import Trace, differentiated
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.core.tail import Tail
from pellucid.core.target import Target

# Activation functions that pass the positive side: what counts as a rectifier wherever calls are intercepted.
RECTIFIERS = frozenset(
    [
        "relu",
        "relu6",
        "leaky_relu",
        "prelu",
        "rrelu",
        "elu",
        "celu",
        "selu",
        "silu",
        "gelu",
        "mish",
        "softplus",
    ]
) | {"hardswish"}


def precise(values: Tensor) -> Tensor:
    """Half precision is computed in float32: cubes and sums over thousands of cells would not survive it."""
    return values if values.dtype == torch.float64 or values.is_complex() else values.float()


def activation(trace: Trace, layer: str) -> Float[Tensor, "batch channel h w"]:
    """Activation of a layer, in float32 or float64."""
    return precise(_held(trace.activations, layer, "activation"))


def gradient(trace: Trace, layer: str) -> Float[Tensor, "batch channel h w"]:
    """Gradient of the target's score at a layer, in float32 or float64."""
    return precise(_held(trace.gradients, layer, "gradient"))


def tail_gradient(
    tail: Tail, position: Float[Tensor, "rows channel h w"], target: Target
) -> Float[Tensor, "rows channel h w"]:
    """Gradient of the score at any activation of the tail's layer: one pass forward and one back through the
    tail."""
    with torch.enable_grad(), differentiated(tail.net, [tail.name]):
        leaf = position.detach().requires_grad_()
        score = target.score(tail(leaf))
        (found,) = torch.autograd.grad(score.sum(), leaf)
    return precise(found)


def output_gradient(trace: Trace) -> Float[Tensor, "batch classes"]:
    """∂score/∂output: the weight of every class in what is explained, whatever form the target has."""
    with torch.enable_grad():
        output = trace.output.detach().clone().requires_grad_()
        (found,) = torch.autograd.grad(trace.target.score(output).sum(), output)
    return precise(found)


def groups(count: int, batch: int, rows: int = 16) -> list[range]:
    """Split ``count`` passes over a batch so that about ``rows`` images run at once, never fewer than one
    batch."""
    step = max(1, rows // max(batch, 1))
    return [range(first, min(first + step, count)) for first in range(0, count, step)]


def unit(maps: Float[Tensor, "batch map h w"]) -> Float[Tensor, "batch map h w"]:
    """Each map from its least to its largest value on [0, 1]; a constant one is zero."""
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, 1)


def _held(tensors: Mapping[str, Tensor], layer: str, what: str) -> Tensor:
    if layer not in tensors:
        raise UnknownNameError(
            f"Expected a layer whose {what} the trace holds, got `{layer}`; {suggest(layer, list(tensors))}"
        )
    return tensors[layer]
