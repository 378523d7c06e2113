"""Rotating what a layer's units are, and nothing else: is it the units that detect, or the space they span?

    y = Q x   at every position of the layer's map x [unit h w], and   x = Qᵀ y   before what follows.

Q is drawn uniformly from SO(n): the Q of a Gaussian matrix's QR with the signs of R's diagonal taken over, one column turned
around where the determinant is −1. Its powers Qᵅ scale the angles of the planes it turns (real Schur form Q = Z T Zᵀ, whose
2×2 blocks turn by θ in (−π, π], made to turn by αθ): α = 0 turns nothing, α = 1 fully. The network's output stays what it
was, so whatever the rotated units detect less is lost by the choice of axes alone.
Source: Bau, Zhou, Khosla, Oliva, Torralba, CVPR 2017, section 3.2.

The paper folds Qᵀ into the convolution that follows. Here Q and Qᵀ are two 1×1 convolutions right behind the layer, which is
the same function: a convolution W after Qᵀ is the convolution W Qᵀ. It needs no linear layer behind the rotated one (a pool, a
rectifier, a sum of branches may follow) and so holds for any network; the price is two small convolutions.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch
from torch import Tensor, nn

from pellucid.core.layers import INPUT
from pellucid.core.network import Network
from pellucid.core.running import undisturbed

Real = npt.NDArray[np.float64]
TOLERANCE = 1e-4  # of the output, relative to its largest value


def random_rotation(units: int, seed: int = 0) -> Real:
    """[units units]: a rotation drawn uniformly from SO(units). Raises ValueError for less than one unit.

    >>> q = random_rotation(5)
    >>> bool(np.allclose(q @ q.T, np.eye(5))), round(float(np.linalg.det(q)), 6)
    (True, 1.0)
    """
    if units < 1:
        raise ValueError(f"Expected at least one unit to rotate, got {units}.")
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((units, units)))
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # else the signs, and with them Q, would not be uniform
    if np.linalg.slogdet(q)[0] < 0:
        q[:, 0] = -q[:, 0]
    return np.asarray(q, np.float64)


def power(rotation: Real, alpha: float) -> Real:
    """[units units]: a rotation of SO(units) with all its angles scaled by ``alpha`` (0 nothing, 1 the rotation itself).

    Raises ValueError for a matrix that is no rotation. Two axes that are turned around (angle π) are one plane turned by π.

    >>> quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    >>> np.round(power(quarter, 0.5), 3).tolist()
    [[0.707, -0.707], [0.707, 0.707]]
    """
    count = len(rotation)
    if alpha in (0, 1):  # what needs no Schur form, which takes a minute for 2,048 units
        return np.eye(count) if alpha == 0 else rotation
    if rotation.shape != (count, count) or not np.allclose(rotation @ rotation.T, np.eye(count), atol=1e-8):
        raise ValueError(
            f"Expected a rotation, got a matrix {rotation.shape} whose columns are not orthonormal."
        )
    blocks, basis = scipy.linalg.schur(rotation, output="real")
    scaled = np.eye(count)
    around: list[int] = []  # axes that are turned around; they come in pairs
    place = 0
    while place < count:
        if place + 1 < count and abs(blocks[place + 1, place]) > 1e-12:
            angle = np.arctan2(blocks[place + 1, place], blocks[place, place])
            _turn(scaled, place, place + 1, alpha * angle)
            place += 2
        else:
            if blocks[place, place] < 0:
                around.append(place)
            place += 1
    if len(around) % 2:
        raise ValueError("Expected a rotation, got a reflection (determinant −1); try to negate one column.")
    for one, other in zip(around[::2], around[1::2], strict=True):
        _turn(scaled, one, other, alpha * np.pi)
    return np.asarray(basis @ scaled @ basis.T)


def rotated(net: Network, layer: str, alpha: float = 1.0, seed: int = 0) -> Network:
    """A copy of a network with an orthonormal change of the units of ``layer``; its outputs stay the same (to 1e-4, checked).

    The rotated map is the layer ``rotated_name(layer)``. Raises as `rotations` does.
    """
    return rotations(net, layer, [(alpha, seed)])


def rotations(net: Network, layer: str, turns: Sequence[tuple[float, int]]) -> Network:
    """A copy of a network with several rotations of one layer side by side, so that one pass over the pictures measures all.

    ``turns``: (alpha, seed) of each; its map is the layer ``rotated_name(layer, place)``. What follows the layer sees the last
    one's map turned back. Rotations of several layers are made by calling it again on the result.

    Raises UnknownNameError for an unknown layer, ValueError for the input, for a layer whose module runs more than once in one
    pass, and without turns, ArithmeticError where the output would not stay the same.
    """
    found, call = net.layers.find(layer)
    if call is None or layer == INPUT:
        raise ValueError(
            f"Expected a layer of `{net.name}` behind its input, got {layer!r}; try {list(net.default_layers)}."
        )
    runs = sum(each.module == call.module for each in net.layers.calls)
    if runs > 1:
        raise ValueError(
            f"Expected a layer whose module runs once in a pass, got `{layer}` of `{net.name}`, which runs {runs} times; try "
            "the block it is in."
        )
    if not turns:
        raise ValueError("Expected at least one rotation, got none; try [(1.0, 0)].")
    units = found.shape[0]
    matrices = [power(random_rotation(units, seed), alpha) for alpha, seed in turns]
    module = copy.deepcopy(net.module)
    inner = module.get_submodule(call.module)
    like = next((one for one in module.parameters() if one.is_floating_point()), torch.zeros(()))
    wrapped = _Rotated(inner, matrices).to(like.device, like.dtype).train(inner.training)
    parent, _, name = call.module.rpartition(".")
    setattr(module.get_submodule(parent), name, wrapped)
    made = Network(
        module, net.preprocess, name=net.name, classes=net.classes, input_shape=net.input_shape, head=net.head,
        output=net._output, notes=net.notes,
    )  # fmt: skip
    _check_outputs(net, made, layer)
    return made


def rotated_name(layer: str, place: int = 0) -> str:
    """The name of a rotated map in what `rotated` and `rotations` give.

    >>> rotated_name("layer4")
    'layer4.rotated.0'
    """
    return f"{layer}.rotated.{place}"


class _Rotated(nn.Module):
    """A module, rotations of its map, and the way back from the last of them."""

    def __init__(self, inner: nn.Module, matrices: Sequence[Real]) -> None:
        super().__init__()
        self.inner = inner
        self.rotated = nn.ModuleList([_mixing(matrix) for matrix in matrices])
        self.back = _mixing(matrices[-1].T)

    def forward(self, *args: Any, **options: Any) -> Tensor:
        """What the module gives, turned and turned back."""
        x = self.inner(*args, **options)
        return torch.as_tensor(self.back([turn(x) for turn in self.rotated][-1]))

    def __getattr__(self, name: str) -> Any:
        """What a parent reads from the module it had there."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)


def _mixing(matrix: Real) -> nn.Conv2d:
    """The 1×1 convolution that multiplies the units of every position by a matrix."""
    count = len(matrix)
    made: nn.Conv2d = nn.utils.skip_init(nn.Conv2d, count, count, 1, bias=False)  # type: ignore[no-untyped-call]
    made.weight = nn.Parameter(
        torch.from_numpy(np.ascontiguousarray(matrix))[:, :, None, None], requires_grad=False
    )
    return made


def _turn(matrix: Real, one: int, other: int, angle: float) -> None:
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix[one, one] = matrix[other, other] = cosine
    matrix[one, other], matrix[other, one] = -sine, sine


def _check_outputs(net: Network, made: Network, layer: str) -> None:
    images = torch.randn(2, *net.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), undisturbed(net.module), undisturbed(made.module):
        before, after = net(images), made(images)
    off = float((after - before).abs().max() / before.abs().max().clamp(min=1e-6))
    listed = {each.name for each in made.layers}
    if not off <= TOLERANCE or rotated_name(layer) not in listed:
        raise ArithmeticError(
            f"Expected the outputs of `{net.name}` to stay the same to {TOLERANCE:g} when `{layer}` is rotated, got a change "
            f"of {off:.2g}; try float32, or another layer."
        )
