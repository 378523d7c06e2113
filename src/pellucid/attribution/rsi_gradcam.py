"""RSI-Grad-CAM, Lucas et al. 2022: channels weighted by Riemann–Stieltjes integrated gradients of the target's
probability,

    w_k = mean_ij Σ_t ½ (ReLU(g_k(x_t)) + ReLU(g_k(x_{t−1}))) · (A_k(x_t) − A_k(x_{t−1})),      M = Σ_k w_k A_k,

with x_t on the straight line of images from a baseline to the image. The gradient is integrated against the
activation itself, so the sum lives in the layer although the line lies in the image; and where the probability
is saturated at the image, and its gradient nothing, the way there still counts.

g is the gradient after softmax (or sigmoid, by the network's head). A target that is a function of the output,
or an output that is no class score, is explained as it is. Each step takes the mean of its two ends' rectified
gradients (trapezoid); implementations that take one end differ at order 1/steps. The baseline is a number in
normalized units, by default 0, the mean color of the network's preprocessing.

Cost: ``steps`` + 1 forward and backward passes, for all stages together. Any network, any layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.gradcam import weighted
from pellucid.attribution.integrated_gradcam import Path
from pellucid.core.capture import Trace
from pellucid.core.network import Network
from pellucid.core.reading import precise
from pellucid.core.registry import register
from pellucid.core.target import Target


@register("attribution", "rsi-gradcam", paper="lucas2022")
@dataclass(frozen=True)
class RSIGradCAM(Path):
    """RSI-Grad-CAM: channels weighted by the integral of their positive gradient over their own change."""

    def maps(self, trace: Trace, layers: Sequence[str]) -> Mapping[str, Float[Tensor, "batch h w"]]:
        """``Σ_k w_k A_k``."""
        points = self.points(trace, layers, probability(trace.network, trace.target))
        last = next(points)
        weights = {name: A.new_zeros(A.shape[:2]) for name, (A, _) in last.items()}
        for point in points:
            for name, (A, g) in point.items():
                before, slope = last[name]
                weights[name] += ((g.relu() + slope.relu()) / 2 * (A - before)).mean((2, 3))
            last = point
        return {name: weighted(weights[name], A) for name, (A, _) in last.items()}


def probability(net: Network, target: Target) -> Target:
    """The target's probability in place of its logit, differentiable; a function of the output stays itself."""
    if target.function is not None or net.layers.made_by in ("softmax", "sigmoid"):
        return target

    def score(output: Tensor) -> Tensor:
        output = precise(output)
        if net.head == "softmax" and output.shape[1] > 1:
            return rows(output.shape[0]).score(output.softmax(1))
        own = rows(output.shape[0]).score(output)
        return own.sigmoid() if net.head in ("sigmoid", "binary") else own

    def rows(count: int) -> Target:
        return target.repeat(count // len(target.names))

    return replace(target, indices=None, signs=None, function=score)
