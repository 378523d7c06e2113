"""The things that flow through pellucid: layers and their geometry, traces, heatmaps, unit scores.

All are frozen dataclasses over plain tensors. Spatial positions are in *pixel index coordinates* of the
network's input: the center of the first pixel is 0, of the last is ``width - 1``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from pellucid.network import Network

INPUT = "input"  # the name under which the network's input itself counts as a layer


@dataclass(frozen=True)
class Geometry:
    """Where cells sit on the input: cell ``(i, j)`` has its center at ``start + (i, j) * stride``.

    ``stride``, ``start`` and ``size`` (the receptive field) are (vertical, horizontal) pairs in input pixels.
    """

    stride: tuple[float, float] = (1.0, 1.0)
    start: tuple[float, float] = (0.0, 0.0)
    size: tuple[float, float] = (1.0, 1.0)

    def center(self, row: float, column: float) -> tuple[float, float]:
        """Receptive-field center of a cell, (vertical, horizontal), in input pixels."""
        return self.start[0] + row * self.stride[0], self.start[1] + column * self.stride[1]

    def effective(self, cells: tuple[int, int], extent: tuple[int, int]) -> Geometry:
        """The same grid with its *effective* centers: balanced about the middle of an input of ``extent`` pixels.

        Strided convolutions with symmetric padding leave a grid hanging towards the upper left (ResNet's last stage starts
        at 0 and ends at 192 of 223), although the network has learned to treat both sides alike: its kernels lean the other
        way. ``studies/anchoring.py`` measures it: on photographs and scenes, LayerCAM agrees better with the object on the
        balanced grid in nearly every stage where the two differ, and the gradient of a unit is centered between the
        two or at the balanced center. A grid that is balanced within a tenth of its stride, or off by more than a whole
        stride (a network that crops), is kept as it is.
        """
        start = []
        for axis in (0, 1):
            balanced = (extent[axis] - 1) / 2 - (cells[axis] - 1) / 2 * self.stride[axis]
            lean = abs(balanced - self.start[axis]) / self.stride[axis]
            start.append(balanced if 0.1 < lean <= 1 else self.start[axis])
        return Geometry(self.stride, (start[0], start[1]), self.size)

    def region(self, row: float, column: float, shape: tuple[int, int]) -> tuple[int, int, int, int]:
        """Receptive field of a cell: a box (top, left, bottom, right), end excluded, clipped to ``shape``."""
        box: list[int] = []
        for axis, position in enumerate(self.center(row, column)):
            half = (self.size[axis] - 1) / 2
            low = min(max(round(position - half), 0), shape[axis])
            box += [low, min(max(round(position + half) + 1, low), shape[axis])]
        return box[0], box[2], box[1], box[3]


@dataclass(frozen=True)
class Layer:
    """One place in the network where a spatial map can be read: ``shape`` is (channels, height, width)."""

    name: str
    kind: str
    shape: tuple[int, int, int]
    geometry: Geometry = field(default_factory=Geometry)
    index: int = 0

    @property
    def stride(self) -> tuple[float, float]:
        """Input pixels from one cell to the next, (vertical, horizontal)."""
        return self.geometry.stride

    @property
    def receptive_field(self) -> tuple[float, float]:
        """Side lengths of the receptive field in input pixels, (vertical, horizontal)."""
        return self.geometry.size


@dataclass(frozen=True)
class Unit:
    """One channel of one layer."""

    layer: str
    index: int


@dataclass(frozen=True, eq=False)
class Target:
    """What is explained, for every image of a batch: a class, or any function of the output.

    ``indices`` holds class indices; ``signs`` is −1 where a single-logit head is explained for its negative
    class. With a ``function`` (output → one number per image) ``indices`` is None.
    """

    indices: Int[Tensor, " batch"] | None
    names: tuple[str, ...]
    signs: Float[Tensor, " batch"] | None = None
    function: Callable[[Tensor], Tensor] | None = None

    def score(self, output: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
        """The number that is explained, one per image, differentiable."""
        if self.function is not None:
            value = self.function(output)
            if not isinstance(value, Tensor) or value.shape != output.shape[:1]:
                got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(
                    "Expected the target function to return one number per image, shape "
                    f"({output.shape[0]},), got {got}; try `lambda output: output[:, 3]`."
                )
            return value
        assert self.indices is not None
        value = output.gather(1, self.indices.to(output.device)[:, None])[:, 0]
        return value if self.signs is None else value * self.signs.to(value)

    def repeat(self, count: int) -> Target:
        """The same target for ``count`` copies of a batch, laid one batch after the other."""
        return replace(
            self,
            indices=None if self.indices is None else self.indices.repeat(count),
            names=self.names * count,
            signs=None if self.signs is None else self.signs.repeat(count),
        )

    def __getitem__(self, image: int | slice) -> Target:
        keep = image if isinstance(image, slice) else slice(image, image + 1 or None)
        return replace(
            self,
            indices=None if self.indices is None else self.indices[keep],
            names=self.names[keep],
            signs=None if self.signs is None else self.signs[keep],
        )


@dataclass(frozen=True, eq=False)
class Trace:
    """What one forward and one backward pass leave: per layer the activation and the gradient of the target's
    score.

    ``images`` is the normalized input; ``activations`` and ``gradients`` map a layer's name to
    [batch channel h w], detached, in the network's own precision. ``"input"`` is a layer like any other
    when it was asked for.
    """

    network: Network
    images: Float[Tensor, "batch channel height width"]
    output: Float[Tensor, "batch classes"]
    target: Target
    score: Float[Tensor, " batch"]
    activations: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    layers: Mapping[str, Layer]

    def __len__(self) -> int:
        return self.images.shape[0]


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
        from pellucid.geometry import upsample

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
