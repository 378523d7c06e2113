"""Deletion and insertion: what happens to the target when pixels go, or come, in the order of the map.

Pixels are ordered by descending saliency, ties in raster order. Deletion sets them to zero *after* normalization, the mean
color; insertion starts from a blurred image and puts them back. After every step the network gives the probability p of
the target (see `scores`), and over n steps ::

    area = (p₀/2 + p₁ + … + pₙ₋₁ + pₙ/2) / n        composite = insertion − deletion

as in Petsiuk et al., RISE, BMVC 2018. Areas lie in [0, 1]; papers often print them times 100. Protocols differ between
papers and their numbers cannot be compared, so each is a preset by name:

=============  ====================  ==========================  ===========================================
``preset``     a step                blur (kernel, σ), `blur`
=============  ====================  ==========================  ===========================================
``rise``       224 pixels            11, 5; as RISE              Petsiuk 2018, single images
``rise-batch`` 1792 pixels           11, 5; as RISE              Petsiuk 2018, the published averages
``group-cam``  448 pixels            51, 50; Gaussian            Zhang 2021
``score-cam``  1 % of the pixels     11, 5; as RISE              Wang 2020, who do not name their blur
``quick``      1/16 of the pixels    51, 20; Gaussian            ours, for studies
=============  ====================  ==========================  ===========================================

``area`` weighs all steps alike, also a shorter last one, as the evaluation of RISE does.

Where we differ: a constant map orders nothing and has no value, where others measure raster order. The clean image, the
blurred one and the empty one are run once and shared by both curves and by all maps of an image, so a curve of n steps
costs n forward passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.network import Network
from pellucid.core.progress import bar
from pellucid.core.registry import register, suggest
from pellucid.core.target import Target
from pellucid.evaluation.blur import Blur, blurred, check_blur
from pellucid.evaluation.measurement import Measurement
from pellucid.evaluation.metric import Case, Metric, orders, undefined
from pellucid.evaluation.scores import at_once, judge, running, scores, unit

Preset = Literal["rise", "rise-batch", "group-cam", "score-cam", "quick"]


class _Protocol(NamedTuple):
    steps: int | None
    step: int | None
    blur: tuple[int, float]
    kind: Blur


_PRESETS: dict[str, _Protocol] = {
    "rise": _Protocol(None, 224, (11, 5.0), "rise"),
    "rise-batch": _Protocol(None, 224 * 8, (11, 5.0), "rise"),
    "group-cam": _Protocol(None, 448, (51, 50.0), "gaussian"),
    "score-cam": _Protocol(100, None, (11, 5.0), "rise"),
    "quick": _Protocol(16, None, (51, 20.0), "gaussian"),
}


@register("evaluation", "insertion-deletion", paper="petsiuk2018")
@dataclass(frozen=True)
class InsertionDeletion(Metric):
    """Insertion and deletion: areas under the target's probability while pixels come, and go, most salient first.

    ``preset`` names the protocol of a paper; ``steps`` (of equal size) or ``step`` (in pixels), and ``blur`` (odd kernel size,
    σ), take the place of its own.
    """

    better: ClassVar[Mapping[str, Literal["higher", "lower"]]] = {
        "composite": "higher",
        "insertion": "higher",
        "deletion": "lower",
    }
    preset: Preset = "rise"
    steps: int | None = None
    step: int | None = None
    blur: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        if self.preset not in _PRESETS:
            raise ValueError(
                f"Expected a preset, got `{self.preset}`; {suggest(self.preset, get_args(Preset))}"
            )
        if self.steps is not None and self.step is not None:
            raise ValueError(f"Expected `steps` or `step`, got both, {self.steps} and {self.step}; try one.")
        for name, value in (("steps", self.steps), ("step", self.step)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(
                    f"Expected `{name}` to be a whole number of at least 1, got {value!r}; try 16."
                )
        if self.blur is not None:
            object.__setattr__(self, "blur", tuple(self.blur))  # a list, where it comes from JSON
            check_blur(self.blur)

    def counts(self, pixels: int) -> tuple[int, ...]:
        """How many of the pixels are gone, or back, at every point of a curve: from none to all."""
        full = self.in_full()
        steps, step = full.steps, full.step
        if max(steps or 0, step or 0) > pixels:
            given = f"{steps} steps" if steps else f"steps of {step} pixels"
            raise ValueError(
                f"Expected at most as many as the image has pixels, {pixels}, got {given}; try `steps={min(16, pixels)}`."
            )
        if steps is not None:
            return tuple(k * pixels // steps for k in range(steps + 1))
        assert step is not None
        return (*range(0, pixels, step), pixels)

    def blurred(self, images: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel h w"]:
        """Where insertion starts."""
        protocol = _PRESETS[self.preset]
        return blurred(images, *(self.blur or protocol.blur), protocol.kind)

    def in_full(self) -> InsertionDeletion:
        """The same protocol with every parameter said; ``preset`` still chooses the form of the blur."""
        protocol = _PRESETS[self.preset]
        own = self.steps is None and self.step is None
        steps, step = (protocol.steps, protocol.step) if own else (self.steps, self.step)
        return replace(self, steps=steps, step=step, blur=self.blur or protocol.blur)

    def __call__(self, case: Case) -> Measurement:
        """``composite``, ``insertion`` and ``deletion`` with both curves."""
        found = curves(
            case.net, case.images, case.saliency, case.target, self,
            batch_size=case.batch_size, progress=case.progress,
        )  # fmt: skip
        drawn = found._asdict()
        areas = {name: area(curve) for name, curve in drawn.items()}
        values = {"composite": areas["insertion"] - areas["deletion"], **areas}
        pixels = case.images.shape[2] * case.images.shape[3]
        share = [count / pixels for count in self.counts(pixels)]
        parameters = {**asdict(self.in_full()), "share": share, "score": unit(case.target)}
        return Measurement(self.name, values, undefined(case, values), self.better, parameters, drawn)


class Curves(NamedTuple):
    """The target's probability at every point of both curves, float64 on the processor; NaN for maps that order nothing."""

    insertion: Float[Tensor, "*maps batch points"]
    deletion: Float[Tensor, "*maps batch points"]


def area(curve: Float[Tensor, "*any points"]) -> Float[Tensor, "*any"]:
    """Area under a curve of equal steps between 0 and 1, by trapezoids."""
    return (curve.sum(-1) - (curve[..., 0] + curve[..., -1]) / 2) / (curve.shape[-1] - 1)


def curves(
    net: Network,
    images: Float[Tensor, "batch channel height width"],
    saliency: Float[Tensor, "*maps batch height width"],
    target: Target,
    protocol: InsertionDeletion | None = None,
    *,
    batch_size: int = 64,
    progress: bool | None = None,
) -> Curves:
    """Both curves of one map, or of several maps, of every normalized image.

    ``saliency``: [batch height width], or [maps batch height width] for maps of the same images by several methods or
    layers, which share the runs that do not depend on the map: n steps of M maps cost 2 M (n − 1) + 2 forward passes an image.
    """
    protocol = protocol or InsertionDeletion()
    maps = saliency.to(images.device).reshape(-1, len(images), images.shape[2] * images.shape[3])
    counts = protocol.counts(maps.shape[2])
    runs = 2 * (len(counts) - 2) * maps.shape[0] * maps.shape[1]
    group = max(1, batch_size // len(maps))  # bounds the memory of ranks and blurred images
    found = []
    with running(net), bar(runs, "curves", "image", progress) as shown:
        empty = net(torch.zeros_like(images[:1]))
        for rows in torch.split(torch.arange(len(images), device=images.device), group):
            clean, start = images[rows], protocol.blurred(images[rows])
            drawn = _with_ends(
                scores(net, start, target, batch_size, rows),
                scores(net, clean, target, batch_size, rows),
                judge(net, empty.expand(len(rows), -1), target, rows),
                orders(maps[:, rows]),
                len(counts),
            )
            for place, inputs in _between(clean, start, maps[:, rows], counts, batch_size):
                drawn[place] = judge(net, net(inputs), target, rows[place[2]])
                shown.update(len(inputs))
            found.append(drawn)
    shape = (*saliency.shape[:-2], len(counts))
    return Curves(*(each.reshape(shape) for each in torch.cat(found, 2).cpu().double()))


def _with_ends(
    start: Float[Tensor, " batch"],
    clean: Float[Tensor, " batch"],
    empty: Float[Tensor, " batch"],
    good: Bool[Tensor, "maps batch"],
    points: int,
) -> Float[Tensor, "curves maps batch points"]:
    """Insertion and deletion with their first and last points, which no map has a say in."""
    drawn = clean.new_full((2, *good.shape, points), torch.nan)
    drawn[..., 0] = torch.stack([start, clean])[:, None]
    drawn[..., -1] = torch.stack([clean, empty])[:, None]
    drawn[:, ~good] = torch.nan
    return drawn


Place = tuple[Tensor, Tensor, Tensor, Tensor]


def _between(
    clean: Float[Tensor, "batch channel height width"],
    start: Float[Tensor, "batch channel height width"],
    maps: Float[Tensor, "maps batch pixels"],
    counts: Sequence[int],
    batch_size: int,
) -> Iterator[tuple[Place, Float[Tensor, "rows channel height width"]]]:
    """All perturbed images between the ends of the curves, in batches that run over curves, maps and images.

    With each batch comes where its scores belong: (insertion 0 or deletion 1, map, image, point).
    """
    order = maps.sort(dim=2, descending=True, stable=True).indices
    places = torch.arange(maps.shape[2], device=maps.device, dtype=torch.int32)
    rank = torch.empty_like(order, dtype=torch.int32).scatter_(2, order, places.expand(order.shape))
    fill = torch.cat([start, torch.zeros_like(start[:1])])
    reached = torch.tensor(counts, device=maps.device)
    of_map, of_image = orders(maps).nonzero(as_tuple=True)
    shape = (len(of_map), 2, len(counts) - 2)
    jobs = torch.arange(math.prod(shape), device=maps.device)
    for part in torch.split(jobs, at_once(clean, batch_size)) if len(jobs) else ():
        pair, curve, point = torch.unravel_index(part, shape)
        row, image, point = of_map[pair], of_image[pair], point + 1
        kept = (rank[row, image] < reached[point, None]) ^ (curve == 1)[:, None]
        other = fill[torch.where(curve == 1, len(start), image)]
        mask = kept.view(-1, 1, *clean.shape[2:])
        yield (curve, row, image, point), torch.where(mask, clean[image], other)
