"""What a network says of a region, in its own words: the scores of all its classes for the region's cells alone.

With global average pooling A → mean_ij A and a linear head the scores are a mean over cells, exactly ::

    z_c = mean_ij ( Σ_k W_ck A_k(ij) ) + b_c        so a region R says  z_c(R) = mean_{ij ∈ R} ( Σ_k W_ck A_k(ij) ) + b_c

(Zhou et al. 2016 read one class of it as a map; we read all classes of one region). A map of class scores that the network
averages itself is the same with W = 1. Heads that are no such mean are asked with the region alone: where the order of the cells
does not matter (pooling, then anything) with the region's mean activation in every cell, otherwise (flattened) with all other
cells zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pellucid.core.capture import Trace, capture
from pellucid.core.geometry import interpolation
from pellucid.core.layers import Layer
from pellucid.core.network import Network
from pellucid.core.tail import Tail

Head = Literal["linear", "pooled", "flat"]
_NEAR = 1e-3  # relative to the largest score: by how much a mean over cells may miss the network's own scores


@dataclass(frozen=True, eq=False)
class Cells:
    """The last layer with several cells of one image, ready to be asked about regions.

    Attributes:
        layer: The layer.
        activation: Its output, [1 unit h w].
        output: The network's scores of the whole image, [1 class].
        head: "linear" where region scores are exact; "pooled" or "flat" where the head was run on the region alone.
        weight: For a linear head what a unit adds to a class, [class unit]; None where cells are scores themselves.
        scores: For a linear head the scores of every cell, [class h w].
        input_size: Height and width of the image in pixels.
    """

    layer: Layer
    activation: Float[Tensor, "1 unit h w"]
    output: Float[Tensor, "1 class"]
    head: Head
    input_size: tuple[int, int]
    weight: Float[Tensor, "class unit"] | None = None
    scores: Float[Tensor, "class h w"] | None = None
    tail: Tail | None = field(default=None, repr=False)

    @property
    def exact(self) -> bool:
        """Whether the scores of all cells average to the network's scores."""
        return self.head == "linear"

    def shares(self, regions: Bool[Tensor, "region height width"]) -> Float[Tensor, "region h w"]:
        """How much of every region lies in every cell; rows sum to 1, or to 0 for an empty region."""
        if tuple(regions.shape[1:]) != self.input_size:
            raise ValueError(
                f"Expected regions of the image's {self.input_size[0]} × {self.input_size[1]} pixels, got "
                f"{' × '.join(map(str, regions.shape[1:]))}; try `net.preprocess.view_mask(mask)`."
            )
        h, w = int(self.activation.shape[2]), int(self.activation.shape[3])
        grid = self.layer.geometry.effective((h, w), self.input_size)
        rows, columns = (
            interpolation(
                cells, grid.start[axis], grid.stride[axis], self.input_size[axis], self.input_size[axis]
            )
            for axis, cells in enumerate((h, w))
        )
        shares = rows.T @ regions.detach().cpu().double() @ columns
        total = shares.sum((1, 2), keepdim=True)
        return (shares / torch.where(total > 0, total, 1)).to(self.activation)

    def regions(self, regions: Bool[Tensor, "region height width"]) -> Float[Tensor, "region class"]:
        """The scores of all classes that each region gives alone; one run of the head each where it is not linear."""
        shares = self.shares(regions)
        if self.scores is not None:
            return torch.einsum("rhw,chw->rc", shares, self.scores)
        assert self.tail is not None
        if not len(shares):
            return self.output.new_zeros(0, self.output.shape[1])
        if self.head == "pooled":
            mean = torch.einsum("rhw,khw->rk", shares, self.activation[0])
            alone = mean[:, :, None, None].expand(-1, -1, *self.activation.shape[2:])
        else:
            inside = (shares / shares.amax((1, 2), keepdim=True).clamp(min=1e-12))[:, None]
            alone = inside * self.activation
        with torch.no_grad():
            return self.tail(alone.contiguous())


def last_layer(net: Network, size: tuple[int, int] | None = None) -> str:
    """The deepest layer with more than one cell. Raises ValueError for a network that has none."""
    layers = net.layers_at(size or (net.input_shape[1], net.input_shape[2]))
    names = [layer.name for layer in layers if layer.shape[1] * layer.shape[2] > 1]
    if not names:
        raise ValueError(
            f"Expected a network with a layer of several cells, got `{net.name}`; its regions cannot be told apart."
        )
    return names[-1]


def cells(net: Network, images: Trace | Float[Tensor, "1 channel height width"], image: int = 0) -> Cells:
    """The last layer's cells of one image, ready to be asked about regions.

    Args:
        net: The network.
        images: Normalized images, or a trace that holds `last_layer(net)`, which costs no further pass.
        image: Which of them.
    """
    given = images.images if isinstance(images, Trace) else images
    one = given[image : image + 1 or None]
    size = (int(one.shape[2]), int(one.shape[3]))
    name = last_layer(net, size)
    if isinstance(images, Trace) and name in images.activations:
        activation, output = (
            images.activations[name][image : image + 1 or None],
            images.output[image : image + 1 or None],
        )
    else:
        trace = capture(net, one, [name], gradients=False)
        activation, output = trace.activations[name], trace.output
    layer = net.layers_at(size)[name]
    read = _linear(net, activation, output)
    if read is not None:
        return Cells(layer, activation, output, "linear", size, *read)
    tail = Tail(net, one, name)
    return Cells(layer, activation, output, _kind(tail, activation, output), size, tail=tail)


def _linear(
    net: Network, activation: Tensor, output: Tensor
) -> tuple[Float[Tensor, "class unit"] | None, Float[Tensor, "class h w"]] | None:
    """Weight and scores of every cell where the network's scores are their mean; None where they are not."""
    candidates: list[tuple[Tensor | None, Tensor]] = []
    rectified = (activation[0], activation[0].relu())  # some networks rectify in passing, before they pool
    for module in reversed(list(net.module.modules())):
        if not isinstance(module, nn.Linear) or module.weight.shape != (output.shape[1], activation.shape[1]):
            continue
        matrix = module.weight.detach()
        bias = 0 if module.bias is None else module.bias.detach()[:, None, None]
        candidates += [(matrix, torch.einsum("ck,khw->chw", matrix, active) + bias) for active in rectified]
    if activation.shape[1] == output.shape[1]:
        candidates.append((None, activation[0]))
    near = _NEAR * float(output.abs().max()) + torch.finfo(output.dtype).eps
    for weight, scores in candidates:
        if float((scores.mean((1, 2)) - output[0]).abs().max()) <= near:
            return weight, scores
    return None


def _kind(tail: Tail, activation: Tensor, output: Tensor) -> Head:
    """Whether the order of the cells matters to what lies behind them."""
    with torch.no_grad():
        turned = tail(activation.flip(2, 3))
    return (
        "pooled"
        if torch.allclose(turned, output, rtol=_NEAR, atol=_NEAR * float(output.abs().max()))
        else "flat"
    )


def masses(net: Network, scores: Float[Tensor, "rows class"]) -> Float[Tensor, "rows class"]:
    """Class scores as a distribution over the classes: their probabilities, which of independent labels are scaled to sum 1."""
    probabilities = net.probabilities(scores).clamp(min=0)
    return probabilities / probabilities.sum(1, keepdim=True).clamp(min=1e-12)


def lost(net: Network, tail: Tail, sets: Sequence[Sequence[int]]) -> Float[Tensor, "set class"]:
    """What every class loses when the units of each set are set to zero at the tail's layer, from its first image."""
    activation = tail.activation[:1]
    rows = activation.repeat(len(sets), 1, 1, 1)
    for row, units in enumerate(sets):
        rows[row, list(units)] = 0
    with torch.no_grad():
        return tail.output[:1] - tail(rows)
