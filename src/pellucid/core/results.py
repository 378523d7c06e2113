"""The things that flow through pellucid: layers and their geometry, traces, heatmaps, unit scores.

All are frozen dataclasses over plain tensors. Spatial positions are in *pixel index coordinates* of the
network's input: the center of the first pixel is 0, of the last is ``width - 1``.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from pellucid.core.geometry import Geometry
from pellucid.core.layers import Layer
from pellucid.core.precision import exact


@dataclass(frozen=True)
class Unit:
    """One channel of one layer, by the layer's name and the channel's index from 0."""

    layer: str
    index: int


class View(Protocol):
    """What a map was made of, as far as it is needed to draw on it."""

    def __getitem__(self, image: int) -> View:
        """The view of one picture of the batch."""

    def seen(self, image: int = 0) -> Image.Image | None:
        """The picture the network saw."""

    def placed(self, picture: Any) -> tuple[Image.Image, tuple[float, float, float, float] | None]:
        """A whole picture, and where in it the network's view lies."""


@dataclass(frozen=True, eq=False, repr=False)
class Heatmap:
    """Evidence per cell of one layer, for a batch of images, on the layer's own grid.

    Attributes:
        values: [batch h w], in units of the method.
        layer: where the map was made.
        method: name of the attribution method.
        input_size: (height, width) of the network's input, in pixels.
        status: per image, whether the map can be read: ``"ok"``, ``"constant"`` (the same value everywhere: it points
            nowhere), ``"negative"`` (all evidence speaks against the target; a rectified map is then zero), ``"zero"``, or
            ``"not finite"``.
        target: name of what is explained, per image.
        notes: what else a reader has to know, in words.
        views: what the network saw, to draw on.
    """

    values: Float[Tensor, "batch h w"]
    layer: Layer
    method: str
    input_size: tuple[int, int]
    status: tuple[str, ...]
    target: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    views: View | None = None

    def __len__(self) -> int:
        return self.values.shape[0]

    def __iter__(self) -> Iterator[Heatmap]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, image: int) -> Heatmap:
        if not -len(self) <= image < len(self):
            raise IndexError(f"Expected an image from 0 to {len(self) - 1}, got {image}.")
        keep = slice(image, image + 1 or None)
        return replace(
            self,
            values=self.values[keep],
            status=self.status[keep],
            target=self.target[keep],
            views=None if self.views is None else self.views[image],
        )

    @property
    def grid(self) -> Geometry:
        """Where the cells sit on the input: the layer's geometry with its effective centers."""
        return self.layer.geometry.effective((self.values.shape[1], self.values.shape[2]), self.input_size)

    def upsample(
        self, size: tuple[int, int] | None = None, *, anchor: Literal["effective", "nominal"] = "effective"
    ) -> Float[Tensor, "batch height width"]:
        """Carry the map to pixels, bilinearly between receptive-field centers.

        Beyond the outermost centers the border value is repeated, so no value is invented.

        Args:
            size: (height, width) of the result; by default the input's.
            anchor: centers that training makes effective (`Geometry.effective`), or the nominal ones that kernel sizes and
                padding give.

        Returns:
            The maps in pixels, [batch height width].

        Raises:
            ValueError: another anchor.

        Example:
            >>> layer = Layer("conv", "Conv2d", (1, 1, 2), Geometry(stride=(1, 2), start=(0, 0.5)))
            >>> heatmap = Heatmap(torch.tensor([[[0.0, 2.0]]]), layer, "layercam", (1, 4), ("ok",))
            >>> heatmap.upsample()
            tensor([[[0.0000, 0.5000, 1.5000, 2.0000]]])
        """
        from pellucid.core.geometry import upsample

        if anchor not in ("effective", "nominal"):
            raise ValueError(f'Expected `anchor` to be "effective" or "nominal", got {anchor!r}.')
        geometry = self.grid if anchor == "effective" else self.layer.geometry
        return upsample(self.values, geometry, self.input_size, size or self.input_size)

    def normalized(self) -> Heatmap:
        """The same map scaled to [0, 1] per image.

        Returns:
            A heatmap; one without contrast becomes zero, never NaN.

        Example:
            >>> layer = Layer("conv", "Conv2d", (1, 1, 2))
            >>> Heatmap(torch.tensor([[[1.0, 5.0]]]), layer, "layercam", (1, 2), ("ok",)).normalized().values
            tensor([[[0., 1.]]])
        """
        values = torch.nan_to_num(exact(self.values), posinf=0.0, neginf=0.0)
        low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
        scaled = (values - low) / torch.where(high > low, high - low, 1)
        return replace(self, values=scaled.to(self.values))

    def overlay(self, picture: Any = None, image: int = 0, strength: float = 0.75) -> Image.Image:
        """One map over a picture.

        Args:
            picture: the whole photograph (path, PIL image or array), on which the map is placed where the network looked; by
                default what the network saw.
            image: number of the map in the batch.
            strength: opacity of the strongest evidence, from 0 to 1.

        Returns:
            An RGB picture, of the size of ``picture`` or of the network's input.

        Raises:
            ValueError: the map was made without a picture, and none is given.
        """
        from pellucid.core.overlay import overlay

        shown, window = self._shown(picture, image)
        if shown is None:
            raise ValueError(
                f"Expected a picture to draw the map of `{self.layer.name}` on, got none, and the network's input cannot be "
                "shown (neither gray nor RGB); try `heatmap.overlay(picture)`."
            )
        return overlay(shown, self[image], strength, window)

    def plot(self, picture: Any = None, image: int = 0, ax: Any = None) -> Any:
        """Draw one map over a picture with matplotlib, as `overlay` does; a map without a picture is drawn alone.

        Args:
            picture: as in `overlay`.
            image: number of the map in the batch.
            ax: matplotlib axes; by default those of a new figure.

        Returns:
            The axes.
        """
        import matplotlib.pyplot as plt

        if isinstance(picture, int) and not isinstance(picture, bool):  # plot(3): the fourth map
            picture, image = None, picture
        axes = ax if ax is not None else plt.subplots()[1]
        shown, window = self._shown(picture, image)
        left, top, right, bottom = window or (
            0.0,
            0.0,
            *(self.input_size[::-1] if shown is None else shown.size),
        )
        if shown is not None:
            axes.imshow(shown)
        values = self[image].normalized().upsample()[0].detach().cpu().float().numpy()
        extent = (left - 0.5, right - 0.5, bottom - 0.5, top - 0.5)
        axes.imshow(values, cmap="inferno", alpha=0.55 if shown is not None else 1.0, extent=extent)
        if shown is not None:
            axes.set_xlim(-0.5, shown.width - 0.5)
            axes.set_ylim(shown.height - 0.5, -0.5)
        axes.set_title(f"{self.method} at {self.layer.name}")
        axes.set_axis_off()
        return axes

    def _shown(
        self, picture: Any, image: int
    ) -> tuple[Image.Image | None, tuple[float, float, float, float] | None]:
        """The picture to draw on, and where in it the network's view lies (None: it is the view)."""
        if not -len(self) <= image < len(self):
            raise IndexError(f"Expected an image from 0 to {len(self) - 1}, got {image}.")
        if picture is None:
            return (None if self.views is None else self.views.seen(image)), None
        if self.views is None:
            raise ValueError(
                "Expected a map made by `pellucid.attribute`, which knows what the network saw, got one without a view; "
                "try `pellucid.core.overlay.overlay(view, heatmap)`."
            )
        return self.views.placed(picture)

    def __repr__(self) -> str:
        rows, columns = self.values.shape[1:]
        text = f"Heatmap({self.method} at {self.layer.name}, {rows} x {columns} cells, {_images(len(self))}"
        targets = tuple(dict.fromkeys(self.target))
        if targets:
            text += f", for {', '.join(map(repr, targets[:3]))}" + (" ..." if len(targets) > 3 else "")
        odd = sorted({status for status in self.status if status != "ok"})
        return text + (f", {', '.join(odd)}" if odd else "") + ")"

    def _repr_png_(self) -> bytes | None:
        """The first maps side by side, in a notebook."""
        if self.views is None or self.views.seen(0) is None:
            return None
        pictures = [self.overlay(image=k) for k in range(min(len(self), 4))]
        width, height = pictures[0].size
        sheet = Image.new("RGB", (width * len(pictures), height))
        for k, each in enumerate(pictures):
            sheet.paste(each, (k * width, 0))
        stream = io.BytesIO()
        sheet.save(stream, "PNG")
        return stream.getvalue()


@dataclass(frozen=True, eq=False, repr=False)
class UnitScores:
    """How much every unit of a layer mattered, per image.

    Attributes:
        values: [batch unit]; larger values mattered more.
        layer: whose units these are.
        criterion: name of the criterion.
        target: name of what is explained, per image.
    """

    values: Float[Tensor, "batch unit"]
    layer: Layer
    criterion: str
    target: tuple[str, ...] = ()

    def __repr__(self) -> str:
        count, units = self.values.shape
        lines = [f"UnitScores({self.criterion} at {self.layer.name}, {_images(count)}, {units} units)"]
        for k in range(min(count, 5)):
            best = ", ".join(
                f"{unit.index}: {float(self.values[k, unit.index]):.3g}" for unit in self.top(5, k)
            )
            lines.append(f"  {self.target[k] if k < len(self.target) else k}: {best}")
        return "\n".join([*lines, *(["  ..."] if count > 5 else [])])

    def top(self, count: int, image: int = 0) -> tuple[Unit, ...]:
        """The most important units of one image.

        Args:
            count: how many.
            image: number of the image in the batch.

        Returns:
            Units, best first; ties go to the lower index.

        Example:
            >>> scores = UnitScores(torch.tensor([[0.1, 0.7, 0.2]]), Layer("conv", "Conv2d", (3, 1, 1)), "cgnis")
            >>> [unit.index for unit in scores.top(2)]
            [1, 2]
        """
        order = torch.sort(exact(self.values[image]), descending=True, stable=True).indices
        return tuple(Unit(self.layer.name, int(k)) for k in order[:count])

    def share(self, fraction: float, image: int = 0) -> tuple[Unit, ...]:
        """The fewest units whose positive scores reach a share of the layer's positive total.

        Args:
            fraction: share, in (0, 1].
            image: number of the image in the batch.

        Returns:
            Units, best first; none where no score is positive.

        Raises:
            ValueError: a share out of range.

        Example:
            >>> scores = UnitScores(torch.tensor([[0.1, 0.7, 0.2]]), Layer("conv", "Conv2d", (3, 1, 1)), "cgnis")
            >>> [unit.index for unit in scores.share(0.8)]
            [1, 2]
        """
        if not 0 < fraction <= 1:
            raise ValueError(f"Expected `fraction` in (0, 1], got {fraction}; try 0.5.")
        positive = exact(self.values[image]).clamp(min=0)
        total = positive.sum()
        if total <= 0:
            return ()
        ordered, order = torch.sort(positive, descending=True, stable=True)
        reached = ordered.cumsum(0) >= fraction * total * (1 - 1e-12)
        count = int(reached.nonzero()[0]) + 1 if bool(reached.any()) else len(order)
        return tuple(Unit(self.layer.name, int(k)) for k in order[:count])


def _images(count: int) -> str:
    return f"{count} image" + ("" if count == 1 else "s")


def judged(
    values: Float[Tensor, "batch h w"],
    layer: Layer,
    method: str,
    input_size: tuple[int, int],
    target: tuple[str, ...],
    *,
    rectified: bool = False,
    notes: tuple[str, ...] = (),
    views: View | None = None,
) -> Heatmap:
    """A heatmap of raw maps with the status of each, judged before the final ReLU (``rectified``)."""
    status = tuple(_status(each) for each in values)
    return Heatmap(
        values.relu() if rectified else values, layer, method, input_size, status, target, notes, views
    )


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
