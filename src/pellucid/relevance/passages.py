"""Layers that everything passes: evidence handed on from one to the next loses nothing beside it.

A residual block's end is one, the branches inside it are not. They are found without looking at the network's form: a unit
of relevance that starts at an upper layer arrives whole, by a rule that conserves (z⁺), exactly where everything passes.
"""

from __future__ import annotations

import weakref

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.counting import once
from pellucid.core.layers import passive
from pellucid.core.network import Network
from pellucid.core.precision import exact
from pellucid.relevance.recording import Recording

WHOLE = 0.01  # what may be lost on the way to biases and ε


def passages(net: Network, images: Float[Tensor, "batch channel height width"], top: str) -> tuple[str, ...]:
    """Rectified layers below ``top`` that everything on the way there passes, in order; found once per network and size.

    Of layers that only hand on what the one before gave (a block's end behind its last rectifier), the first counts.
    """
    size = (int(images.shape[2]), int(images.shape[3]))
    known = _remembered.setdefault(net, {})
    if (top, size) not in known:
        # where the way leads is the network's: no image may decide it for the next ones, least of all a dark one
        noise = torch.randn(1, *images.shape[1:], generator=torch.Generator().manual_seed(0))
        with once():
            known[top, size] = _found(net, noise.to(net.device, net.dtype), top)
    return known[top, size]


def _found(net: Network, image: Tensor, top: str) -> tuple[str, ...]:
    listed = net.layers_at((int(image.shape[2]), int(image.shape[3])))
    below = [each.name for each in listed if each.index < listed[top].index and not passive(each.kind)]
    if not below:
        return ()
    recording = Recording(net, image, [*below, top])
    start = recording.activations[top].relu()  # what is not active has nobody to hand relevance to
    arrived = recording.carry(start / start.sum(), top, below)
    chosen: list[str] = []
    for name in below:
        whole = abs(float(exact(arrived[name]).sum()) - 1) <= WHOLE
        rectified = float(recording.activations[name].amin()) >= 0
        if whole and rectified and not (chosen and alike(arrived[chosen[-1]], arrived[name])):
            chosen.append(name)
    return tuple(chosen)


def alike(one: Tensor, other: Tensor) -> bool:
    """The same relevance within rounding: nothing happened between the two layers."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-6 * float(one.amax()))


_remembered: weakref.WeakKeyDictionary[Network, dict[tuple[str, tuple[int, int]], tuple[str, ...]]] = (
    weakref.WeakKeyDictionary()
)
