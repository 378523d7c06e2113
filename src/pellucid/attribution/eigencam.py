"""Eigen-CAM and Eigen-Grad-CAM: the map along the first principal component over channels.

With X [channel, cell] (the activation A, Muhammad and Yeasin 2020; or g ⊙ A, Gildenblat 2021) the map is v₁ᵀ
X, v₁ the first left singular vector. Each channel's mean over cells is taken away first, as a principal
component asks for (``centered``); the paper's formula, a plain singular value decomposition, is
``centered=False``.

Sign: a singular vector has none. We take the one whose weights over channels sum to a positive number, so
that the map goes with Σ_k X_k (their inner product is λ₁ Σ_k v_k); if that sum vanishes, the largest weight
is positive.

Speed: the Lanczos process (Lanczos 1950) needs X only in products with a vector, two per step, and a dozen
steps find the first component of a real layer to working precision. Neither XXᵀ nor any other component is
computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.method import Method, Needs
from pellucid.core.capture import Trace
from pellucid.core.reading import activation, gradient
from pellucid.core.registry import register


@register("attribution", "eigencam", paper="muhammad2020")
@dataclass(frozen=True)
class EigenCAM(Method):
    """Eigen-CAM: what varies most at a layer, whatever the target."""

    needs: ClassVar[Needs] = "activation"
    targeted: ClassVar[bool] = False
    centered: bool = True

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``v₁ᵀ A``."""
        return first_component(activation(trace, layer), self.centered)


@register("attribution", "eigengradcam", paper="gildenblat2021")
@dataclass(frozen=True)
class EigenGradCAM(Method):
    """Eigen-Grad-CAM: what varies most in gradient times activation, hence for the target."""

    centered: bool = True

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``v₁ᵀ (g ⊙ A)``."""
        return first_component(gradient(trace, layer) * activation(trace, layer), self.centered)


def first_component(values: Float[Tensor, "batch channel h w"], centered: bool) -> Float[Tensor, "batch h w"]:
    """Projection of every cell on the first principal direction over channels; zero where nothing varies."""
    batch, _, h, w = values.shape
    X = values.flatten(2)
    if centered:
        X = X - X.mean(2, keepdim=True)
    direction = torch.stack([_first_left_singular_vector(each) for each in X])[:, :, None]
    return (_signed(direction).mT @ X).view(batch, h, w)


def _first_left_singular_vector(X: Float[Tensor, "channel cell"]) -> Float[Tensor, " channel"]:
    """Lanczos process on XXᵀ/s², s the largest entry of X; ends when the residual of the pair is at rounding.

    The direction does not depend on scale, but without s gradients squared would leave float32's range. The
    start is random, from a fixed seed: a start computed from X can be orthogonal to what is sought.
    """
    eps, steps = torch.finfo(X.dtype).eps, min(len(X), X.shape[1] + 1)
    q: Tensor = torch.randn(len(X), generator=torch.Generator().manual_seed(0), dtype=X.dtype).to(X.device)
    q /= torch.linalg.vector_norm(q)
    scale = torch.stack(X.aminmax()).abs().amax()
    if not 0 < scale < torch.inf:
        return q  # of zeros the map is zero, of what is not finite it is not finite, whatever the direction
    basis = X.new_empty(steps, len(X))
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        basis[len(diagonal)] = q
        r = X @ (X.mT @ q / scale) / scale
        diagonal.append(float(q @ r))
        found = basis[: len(diagonal)]
        for _ in range(2):  # once leaves a remainder as large as the cancellation was
            r = r - found.mT @ (found @ r)
        left, step = float(torch.linalg.vector_norm(r)), len(diagonal)
        if step % 4 == 0 or step == steps or left <= eps * max(diagonal):
            value, weights = _last_eigenpair(diagonal, beside)
            if step == steps or left * abs(weights[-1]) <= 4 * eps * value:
                vector: Tensor = found.mT @ torch.from_numpy(weights).to(X)
                return vector.div_(torch.linalg.vector_norm(vector))
        beside.append(left)
        q = r / left


def _last_eigenpair(diagonal: list[float], beside: list[float]) -> tuple[float, np.ndarray]:
    """Largest eigenvalue of a symmetric tridiagonal matrix, with its vector."""
    last = len(diagonal) - 1
    values, vectors = scipy.linalg.eigh_tridiagonal(
        diagonal, beside, select="i", select_range=(last, last), check_finite=False
    )
    return float(values[0]), vectors[:, 0]


def _signed(direction: Float[Tensor, "batch channel 1"]) -> Float[Tensor, "batch channel 1"]:
    total = direction.sum(1, keepdim=True)
    largest = direction.gather(1, direction.abs().argmax(1, keepdim=True))
    balanced = total.abs() <= 16 * torch.finfo(direction.dtype).eps * direction.abs().sum(1, keepdim=True)
    return direction * torch.where(torch.where(balanced, largest, total) < 0, -1, 1)
