"""Where the cells of a layer lie in the input, and carrying their maps to pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Geometry:
    """Where cells sit on the input: cell ``(i, j)`` has its center at ``start + (i, j) * stride``.

    ``stride``, ``start`` and ``size`` (the receptive field) are (vertical, horizontal) pairs in input pixels.
    """

    stride: tuple[float, float] = (1.0, 1.0)
    start: tuple[float, float] = (0.0, 0.0)
    size: tuple[float, float] = (1.0, 1.0)

    def center(self, row: float, column: float) -> tuple[float, float]:
        """Receptive-field center of a cell.

        Args:
            row: number of the cell from the top; may be fractional.
            column: number of the cell from the left.

        Returns:
            (vertical, horizontal), in input pixels.

        Example:
            >>> Geometry(stride=(32, 32), start=(0, 0)).center(1, 2)
            (32, 64)
        """
        return self.start[0] + row * self.stride[0], self.start[1] + column * self.stride[1]

    def effective(self, cells: tuple[int, int], extent: tuple[int, int]) -> Geometry:
        """The same grid with its *effective* centers, balanced about the middle of the input.

        Strided convolutions with symmetric padding leave a grid hanging towards the upper left (ResNet's last stage starts
        at 0 and ends at 192 of 223), although the network has learned to treat both sides alike: its kernels lean the other
        way. ``studies/anchoring.py`` measures it: on photographs and scenes, LayerCAM agrees better with the object on the
        balanced grid in nearly every stage where the two differ, and the gradient of a unit is centered between the
        two or at the balanced center. A grid that is balanced within a tenth of its stride, or off by more than a whole
        stride (a network that crops), stays as it is.

        Args:
            cells: rows and columns of the layer.
            extent: (height, width) of the input, in pixels.

        Returns:
            The balanced geometry.

        Example:
            >>> Geometry(stride=(32, 32), start=(0, 0)).effective((7, 7), (224, 224)).start
            (15.5, 15.5)
        """
        start = []
        for axis in (0, 1):
            balanced = (extent[axis] - 1) / 2 - (cells[axis] - 1) / 2 * self.stride[axis]
            lean = abs(balanced - self.start[axis]) / self.stride[axis]
            start.append(balanced if 0.1 < lean <= 1 else self.start[axis])
        return Geometry(self.stride, (start[0], start[1]), self.size)

    def region(self, row: float, column: float, shape: tuple[int, int]) -> tuple[int, int, int, int]:
        """Receptive field of a cell, clipped to the picture.

        Args:
            row: number of the cell from the top.
            column: number of the cell from the left.
            shape: (height, width) of the picture, in pixels.

        Returns:
            A box (top, left, bottom, right), end excluded.

        Example:
            >>> Geometry(stride=(8, 8), start=(4, 4), size=(9, 9)).region(0, 1, (32, 32))
            (0, 8, 9, 17)
        """
        box: list[int] = []
        for axis, position in enumerate(self.center(row, column)):
            half = (self.size[axis] - 1) / 2
            low = min(max(round(position - half), 0), shape[axis])
            box += [low, min(max(round(position + half) + 1, low), shape[axis])]
        return box[0], box[2], box[1], box[3]


Pair = tuple[float, float]


def upsample(
    values: Float[Tensor, "batch h w"], geometry: Geometry, input_size: tuple[int, int], size: tuple[int, int]
) -> Float[Tensor, "batch height width"]:
    """Bilinear interpolation of cell values at the pixels of a picture that shows the whole input.

    Exact and separable: one small interpolation matrix per axis. Beyond the outermost centers the border
    value is kept.

    >>> cells = torch.tensor([[[0.0, 2.0]]])
    >>> upsample(cells, Geometry(stride=(1, 2), start=(0, 0.5)), (1, 4), (1, 4))
    tensor([[[0.0000, 0.5000, 1.5000, 2.0000]]])
    """
    rows, columns = (
        interpolation(
            values.shape[1 + axis], geometry.start[axis], geometry.stride[axis], input_size[axis], size[axis]
        )
        for axis in (0, 1)
    )
    return rows.to(values) @ values @ columns.to(values).T


def interpolation(
    cells: int, start: float, stride: float, extent: int, pixels: int
) -> Float[Tensor, "pixels cells"]:
    """Weights of every cell in every output pixel along one axis; rows sum to 1."""
    position = (torch.arange(pixels, dtype=torch.float64) + 0.5) * (extent / pixels) - 0.5
    place = ((position - start) / stride).clamp(0, cells - 1)
    low = place.floor().clamp(max=max(cells - 2, 0)).long()
    weights = torch.zeros(pixels, cells, dtype=torch.float64)
    fraction = (place - low)[:, None]
    weights.scatter_(1, low[:, None], 1 - fraction)
    if cells > 1:
        weights.scatter_(1, low[:, None] + 1, fraction)
    return weights


def gaussian(side: int, sigma: float, reach: int | None = None) -> Float[Tensor, "side side"]:
    """Weights of a Gaussian filter along one axis, cut off beyond ``reach`` cells; rows sum to 1."""
    distance = torch.arange(side, dtype=torch.float64)[:, None] - torch.arange(side, dtype=torch.float64)
    weights = (-((distance / sigma).square()) / 2).exp()
    if reach is not None:
        weights = weights * (distance.abs() <= reach)
    return weights / weights.sum(1, keepdim=True)
