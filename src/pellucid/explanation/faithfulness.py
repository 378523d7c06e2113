"""Is the map of this very picture faithful: what does the network say when the pixels it marks go, or come, first?

Deletion and insertion (`pellucid.evaluation.curves`) in `STEPS` equal steps with the blur of the preset "quick", for the map
and for a Gaussian in the middle of the picture, a control that knows neither network nor picture ::

    composite = area under insertion − area under deletion
    swing     = highest − lowest value on the four curves
    advantage = (composite of the map − composite of the center) / swing

The map is *better* from an advantage of `wording.BETTER` on, *worse* from minus that on, and else *as good*: where the object
sits in the middle, a good map and the blob agree. Where the swing is below `wording.FAINT`, nothing moves the network enough to
tell maps apart. With 8 steps the advantage is within 0.07 of that with 48 for 95 of 100 pictures, hence 0.1. Blurred noise in
place of the map is then called better for 0 to 2 % of the scenes with the honest embedded networks and 21 % of photographs
with ResNet-18, Shallow-CAM of the deepest stage for 42 to 50 and 71 %. With the confounded networks, to which the whole
picture speaks, it is noise for 9 and 41 %, Shallow-CAM for 39 and 62 %: better than a blob is needed, no proof
(``studies/faithfulness.py``).

The sanity check (Adebayo et al. 2018; `pellucid.evaluation.randomization`) is the mean rank correlation with the maps of
copies of the network whose upper half of layers is random: with all layers random any map changes, that half tells methods
apart. Single draws differ by 0.04 to 0.26 (standard deviation), so there are `DRAWS`.

Cost: 3 forward passes for the ends of the curves (the clean, the blurred and the empty picture, shared by both maps) and
2 · 2 · (`STEPS` − 1) between them, 31 in all; for each of `DRAWS` random networks one more, so 34. Methods that run the
network themselves get `FEWER` draws, and where one map takes more than `OWN` passes none, so that `PASSES` are never
exceeded. A map that cannot be read costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import isfinite, isnan
from typing import Any, Literal

import torch
from torch import Tensor

from pellucid.attribution import Method
from pellucid.core.capture import Trace
from pellucid.core.network import Network
from pellucid.core.results import Heatmap
from pellucid.evaluation.controls import center_gaussian
from pellucid.evaluation.curves import InsertionDeletion, area, curves
from pellucid.evaluation.metric import orders
from pellucid.evaluation.randomization import INSENSITIVE, sanity
from pellucid.speech import wording as w

STEPS = 8
DRAWS = 3  # random networks
FEWER, OWN = 2, 3  # random networks for a method with passes of its own, and how many passes these may be
PASSES = 40  # forward passes, at most
CURVES = 3 + 2 * 2 * (STEPS - 1)  # of them for the curves
PROTOCOL = InsertionDeletion(preset="quick", steps=STEPS)
Verdict = Literal["better", "as good", "worse", "flat", "unreadable"]
Drawn = Mapping[
    str, Mapping[str, tuple[float, ...]]
]  # {"map" or "center": {"deletion" or "insertion": values}}


@dataclass(frozen=True)
class Sanity:
    """Mean rank correlation with maps of networks whose upper half is random, or the reason why there is none."""

    similarity: float | None
    reason: str | None = None
    draws: int = 0

    @property
    def insensitive(self) -> bool | None:
        """Whether the map shows the picture rather than what the network learned; None where that is not known."""
        return None if self.similarity is None else self.similarity >= INSENSITIVE


@dataclass(frozen=True)
class Faithfulness:
    """What became of the target while pixels were removed and brought back in the map's order, and in the center's.

    ``curves`` holds, at every ``share`` of the pixels, the target's probability, or its score where it is a function
    (``unit``); ``areas`` their means, by trapezoids, and the composite of each; ``advantage``: see the top of this file.
    ``verdict``: "better" or "worse" than the center, or "as good"; "flat" (nothing moves the network enough to tell),
    "unreadable" (no curves, for the given ``reason``). ``passes`` and ``backward`` count what all of this took.
    """

    method: str
    layer: str
    unit: Literal["probability", "score"]
    verdict: Verdict
    reason: str | None = None
    share: tuple[float, ...] = ()
    curves: Drawn | None = None
    areas: Mapping[str, Mapping[str, float]] | None = None
    advantage: float | None = None
    sanity: Sanity = Sanity(None, "there is no map to compare")
    passes: int = 0
    backward: int = 0

    @property
    def extremes(self) -> tuple[float, float]:
        """Lowest and highest value on the curves; raises ValueError where there are none."""
        every = [value for of in (self.curves or {}).values() for curve in of.values() for value in curve]
        return min(every), max(every)

    def to_json(self, text: str) -> dict[str, Any]:
        """Plain data, named as the fields are; ``text`` is what the sentence says of it.

        ``curves``: {"map": {"deletion": [value at every share], "insertion": […]}, "center": …} or null; ``areas``: the
        same with one number each, and "composite"; ``sanity``: {"similarity", "insensitive", "reason", "draws"}, null
        where not known, and the "threshold" of insensitive maps.
        """
        values = asdict(self)
        values["sanity"] |= {"insensitive": self.sanity.insensitive, "threshold": INSENSITIVE}
        return {**values, "text": text}


def faithfulness(trace: Trace, heatmap: Heatmap, method: Method, taken: int, seed: int) -> Faithfulness:
    """Test the map of a single image; ``taken`` is how many forward passes of its own the method needed for it.

    ``seed`` draws the random network. The network is as before afterwards, also where this is interrupted.
    """
    net, target = trace.network, trace.target
    unit: Literal["probability", "score"] = "probability" if target.function is None else "score"
    about = (heatmap.method, heatmap.layer.name, unit)
    saliency = heatmap.upsample()
    if heatmap.status[0] != "ok" or not bool(orders(saliency.flatten(1)).all()):
        return Faithfulness(
            *about, "unreadable", w.UNREADABLE.get(heatmap.status[0], "the map orders nothing")
        )
    with counted(net) as passes:
        checked = _sanity(trace, heatmap, method, taken, seed)
        maps = torch.stack([saliency, center_gaussian(heatmap.input_size)[None].to(saliency)])
        found = curves(net, trace.images, maps, target, PROTOCOL, progress=False)
    backward = checked.draws if method.needs != "activation" else 0
    drawn = {
        name: {kind: tuple(getattr(found, kind)[place, 0].tolist()) for kind in ("deletion", "insertion")}
        for place, name in enumerate(("map", "center"))
    }
    if not all(isfinite(value) for of in drawn.values() for curve in of.values() for value in curve):
        reason = "with pixels removed or blurred the network's output is not finite"
        return Faithfulness(*about, "unreadable", reason, sanity=checked, passes=passes(), backward=backward)
    verdict, areas, advantage = verdict_of(drawn, unit)
    pixels = saliency[0].numel()
    share = tuple(count / pixels for count in PROTOCOL.counts(pixels))
    return Faithfulness(*about, verdict, None, share, drawn, areas, advantage, checked, passes(), backward)


def verdict_of(drawn: Drawn, unit: str) -> tuple[Verdict, dict[str, dict[str, float]], float | None]:
    """The verdict on curves; the areas of map and center; the map's advantage, None where nothing moves."""
    areas = {
        name: {kind: float(area(torch.tensor(curve, dtype=torch.float64))) for kind, curve in of.items()}
        for name, of in drawn.items()
    }
    for each in areas.values():
        each["composite"] = each["insertion"] - each["deletion"]
    every = [value for of in drawn.values() for curve in of.values() for value in curve]
    swing = max(every) - min(every)
    if swing <= 0 or swing < w.FAINT * (1.0 if unit == "probability" else max(map(abs, every))):
        return "flat", areas, None
    advantage = (areas["map"]["composite"] - areas["center"]["composite"]) / swing
    if abs(advantage) < w.BETTER:
        return "as good", areas, advantage
    return ("better" if advantage > 0 else "worse"), areas, advantage


def _sanity(trace: Trace, heatmap: Heatmap, method: Method, taken: int, seed: int) -> Sanity:
    draws = FEWER if method.needs == "passes" else DRAWS
    if taken > OWN:
        return Sanity(None, "the method takes many passes of the network for one map")
    try:
        found = sanity(
            trace.network, trace.images, trace.target, method, heatmap.layer.name, seed,
            draws=draws, heatmap=heatmap,
        )  # fmt: skip
    except Exception as error:  # a network that cannot be copied can still be explained
        return Sanity(None, f"{type(error).__name__}: {error}")
    alike = float(found)
    if isnan(alike):
        return Sanity(None, "no map of a random network has contrast", draws)
    return Sanity(alike, None, draws)


@contextmanager
def counted(net: Network) -> Iterator[Callable[[], int]]:
    """Count the images that go through the network, and through copies made of it, inside; a tail's runs count as whole ones."""
    seen = 0

    def count(_module: Any, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        seen += len(arguments[0]) if arguments and isinstance(arguments[0], Tensor) else 1

    handle = net.module.register_forward_pre_hook(count)
    try:
        yield lambda: seen
    finally:
        handle.remove()
