"""Class activation map, Zhou et al. 2016: M = Σ_k w_k A_k with the classifier's own weights.

It is defined where global average pooling and one linear classifier (or 1×1 convolution) follow the layer
directly: ``output = W · mean_ij A + b``. That is not guessed from names: every weight of fitting shape is
tried, and it counts only when it reproduces the output of the trace from the pooled activation (behind a log-softmax, up to the
shift that all classes share). A network
whose last map already is one channel per class counts too (W is the identity). Then mean_ij M + b is exactly
the score, and HiResCAM is M divided by the number of cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.gradcam import weighted
from pellucid.attribution.method import Home, Method, Needs
from pellucid.core.capture import Trace
from pellucid.core.reading import activation, output_gradient, precise
from pellucid.core.registry import register


@register("attribution", "cam", paper="zhou2016")
@dataclass(frozen=True)
class CAM(Method):
    """CAM: channels weighted by the classifier behind global pooling; other heads raise ValueError."""

    needs: ClassVar[Needs] = "activation"
    home: ClassVar[Home] = "last"

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``Σ_k w_k A_k``, w the classifier's weights for the target."""
        A = activation(trace, layer)
        return weighted(output_gradient(trace).to(A) @ classifier(trace, layer), A)


def classifier(trace: Trace, layer: str) -> Float[Tensor, "classes channel"]:
    """The weights of the linear classifier that follows global average pooling of this layer, proved on the
    trace."""
    A, output = activation(trace, layer), precise(trace.output)
    pooled = A.mean((2, 3))
    tolerance = 1e-3 if trace.output.dtype in (torch.float32, torch.float64) else 5e-2
    tried = []
    for name, weight, bias in _candidates(trace, pooled.shape[1], output.shape[1]):
        off = pooled @ weight.T.to(A) + bias.to(A) - output
        if trace.network.layers.made_by == "log_softmax":  # which shifts all classes alike
            off = off - off.mean(1, keepdim=True)
        error = float(off.abs().max())
        if error <= tolerance * max(1.0, float(output.abs().max())):
            return weight.to(A)
        tried.append(f"`{name}` misses the output by up to {error:.3g}")
    why = (
        f"from the pooled `{layer}`, {', '.join(tried[:2])}"
        if tried
        else (f"none leads from the {A.shape[1]} channels of `{layer}` to {output.shape[1]} outputs")
    )
    raise ValueError(
        f"Expected global average pooling and one linear classifier right behind `{layer}`, got another "
        f"form: the head of `{trace.network.name}` has {_head(trace)}; {why}; "
        "try `hirescam`, which points where CAM does wherever CAM exists."
    )


def _candidates(trace: Trace, channels: int, classes: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    for name, module in trace.network.module.named_modules():
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if not isinstance(weight, Tensor) or weight.shape[:2] != (classes, channels):
            continue
        if weight.numel() == classes * channels:
            bias = bias.detach() if isinstance(bias, Tensor) else weight.new_zeros(classes)
            yield name, precise(weight.detach()).flatten(1), precise(bias)
    if channels == classes:
        yield "the mean of every channel", torch.eye(classes), torch.zeros(classes)


def _head(trace: Trace) -> str:
    linear = [
        f"`{name}` ({module.in_features} to {module.out_features})"
        for name, module in trace.network.module.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    return ("the linear layers " + ", ".join(linear[-3:])) if linear else "no linear layer"
