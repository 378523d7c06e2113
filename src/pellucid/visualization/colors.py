"""Colors whose coordinates are uncorrelated in photographs.

``rgb = M u``: M is the square root of the covariance of colors over ImageNet's photographs, scaled to largest column norm 1 (as
published with Lucid, Olah and others 2017). A gradient for u instead of rgb is ``Mᵀ g``; a step along it moves rgb by ``M Mᵀ g``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.precision import exact

_ROOT = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


def matrix(like: Tensor) -> Float[Tensor, "3 3"]:
    """M."""
    root = torch.tensor(_ROOT, dtype=torch.float64)
    scaled: Tensor = root / root.norm(dim=0).max()
    return scaled.to(like)


def correlate(coordinates: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel h w"]:
    """``M u``; gray pictures stay as they are."""
    if coordinates.shape[1] != 3:
        return coordinates
    return torch.einsum("ij,bjhw->bihw", matrix(coordinates), coordinates)


def decorrelate(colors: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel h w"]:
    """The inverse of `correlate`."""
    if colors.shape[1] != 3:
        return colors
    return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(exact(matrix(colors))).to(colors), colors)


def natural(
    gradient: Float[Tensor, "batch channel h w"], power: float = 1.0
) -> Float[Tensor, "batch channel h w"]:
    """``(M Mᵀ)^power g``. With power 1 it is the step in colors that a step along the gradient of uncorrelated coordinates makes;
    with 0 the gradient itself; between them colors are held back less."""
    if gradient.shape[1] != 3 or not power:
        return gradient
    root = matrix(exact(gradient))
    values, vectors = torch.linalg.eigh(root @ root.T)
    step = (vectors * values**power) @ vectors.T
    return torch.einsum("ij,bjhw->bihw", step.to(gradient), gradient)
