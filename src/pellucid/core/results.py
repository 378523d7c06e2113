"""The things that flow through pellucid: layers and their geometry, traces, heatmaps, unit scores.

All are frozen dataclasses over plain tensors. Spatial positions are in *pixel index coordinates* of the
network's input: the center of the first pixel is 0, of the last is ``width - 1``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.geometry import Geometry
from pellucid.core.layers import Layer


@dataclass(frozen=True)
class Unit:
    """One channel of one layer."""

    layer: str
    index: int


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Evidence per cell of one layer, for a batch of images, on the layer's own grid.

    ``values`` is [batch h w]. ``status`` says per image whether the map can be read: ``"ok"``, ``"constant"``
    (the same value everywhere: it points nowhere), ``"negative"`` (all evidence speaks against the target; a
    rectified map is then zero), ``"zero"``, or ``"not finite"``. ``notes``: what else a reader has to know, in words.
    """

    values: Float[Tensor, "batch h w"]
    layer: Layer
    method: str
    input_size: tuple[int, int]
    status: tuple[str, ...]
    target: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.values.shape[0]

    def __iter__(self) -> Iterator[Heatmap]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, image: int) -> Heatmap:
        if not -len(self) <= image < len(self):
            raise IndexError(f"Expected an image from 0 to {len(self) - 1}, got {image}.")
        keep = slice(image, image + 1 or None)
        return replace(self, values=self.values[keep], status=self.status[keep], target=self.target[keep])

    @property
    def grid(self) -> Geometry:
        """Where the cells sit on the input: the layer's geometry with its effective centers."""
        return self.layer.geometry.effective((self.values.shape[1], self.values.shape[2]), self.input_size)

    def upsample(
        self, size: tuple[int, int] | None = None, *, anchor: Literal["effective", "nominal"] = "effective"
    ) -> Float[Tensor, "batch height width"]:
        """Bilinear, anchored at receptive-field centers, to ``size`` (height, width): by default the input's.

        ``anchor`` chooses the centers: those training makes effective (`Geometry.effective`), or the
        nominal ones that kernel sizes and padding give. Beyond the outermost centers the border value is
        kept, so no value is invented.
        """
        from pellucid.core.geometry import upsample

        if anchor not in ("effective", "nominal"):
            raise ValueError(f'Expected `anchor` to be "effective" or "nominal", got {anchor!r}.')
        geometry = self.grid if anchor == "effective" else self.layer.geometry
        return upsample(self.values, geometry, self.input_size, size or self.input_size)

    def normalized(self) -> Heatmap:
        """The same map scaled to [0, 1] per image; a map without contrast becomes zero, never NaN."""
        values = torch.nan_to_num(self.values.double(), posinf=0.0, neginf=0.0)
        low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
        scaled = (values - low) / torch.where(high > low, high - low, 1)
        return replace(self, values=scaled.to(self.values))

    def plot(self, image: int = 0, ax: Any = None, picture: Any = None) -> Any:
        """Draw one map over ``picture`` (a PIL image or array) with matplotlib; returns the axes."""
        import matplotlib.pyplot as plt

        axes = ax if ax is not None else plt.subplots()[1]
        if picture is not None:
            axes.imshow(picture, extent=(-0.5, self.input_size[1] - 0.5, self.input_size[0] - 0.5, -0.5))
        shown = self[image].normalized().upsample()[0].cpu().float().numpy()
        axes.imshow(shown, cmap="inferno", alpha=0.55 if picture is not None else 1.0)
        axes.set_title(f"{self.method} at {self.layer.name}")
        axes.set_axis_off()
        return axes


@dataclass(frozen=True, eq=False)
class UnitScores:
    """How much every unit of a layer mattered, per image: ``values`` is [batch unit], larger = mattered
    more."""

    values: Float[Tensor, "batch unit"]
    layer: Layer
    criterion: str
    target: tuple[str, ...] = ()

    def top(self, count: int, image: int = 0) -> tuple[Unit, ...]:
        """The ``count`` most important units of one image, best first; ties go to the lower index."""
        order = torch.sort(self.values[image].double(), descending=True, stable=True).indices
        return tuple(Unit(self.layer.name, int(k)) for k in order[:count])

    def share(self, fraction: float, image: int = 0) -> tuple[Unit, ...]:
        """The fewest units whose positive scores reach ``fraction`` of the layer's positive total."""
        if not 0 < fraction <= 1:
            raise ValueError(f"Expected `fraction` in (0, 1], got {fraction}; try 0.5.")
        positive = self.values[image].double().clamp(min=0)
        total = positive.sum()
        if total <= 0:
            return ()
        ordered, order = torch.sort(positive, descending=True, stable=True)
        reached = ordered.cumsum(0) >= fraction * total * (1 - 1e-12)
        count = int(reached.nonzero()[0]) + 1 if bool(reached.any()) else len(order)
        return tuple(Unit(self.layer.name, int(k)) for k in order[:count])


def judged(
    values: Float[Tensor, "batch h w"],
    layer: Layer,
    method: str,
    input_size: tuple[int, int],
    target: tuple[str, ...],
    *,
    rectified: bool = False,
    notes: tuple[str, ...] = (),
) -> Heatmap:
    """A heatmap of raw maps with the status of each, judged before the final ReLU (``rectified``)."""
    status = tuple(_status(each) for each in values)
    return Heatmap(values.relu() if rectified else values, layer, method, input_size, status, target, notes)


def _status(values: Float[Tensor, "h w"]) -> str:
    """What is equal within rounding counts as constant."""
    low, high = values.aminmax()
    least, most = float(low), float(high)
    if not (math.isfinite(least) and math.isfinite(most)):
        return "not finite"
    if least == most == 0:
        return "zero"
    if most <= 0:
        return "negative"
    return "constant" if most - least <= 8 * torch.finfo(values.dtype).eps * most else "ok"
