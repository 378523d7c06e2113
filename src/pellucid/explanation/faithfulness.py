"""Is the map of this very picture faithful: what does the network say when the pixels it marks go, or come, first?

Deletion and insertion (`pellucid.evaluation.curves`) in `STEPS` equal steps with the blur of the preset "quick", for the map
and for a Gaussian in the middle of the picture, a control that knows neither network nor picture ::

    composite = area under insertion − area under deletion
    swing     = highest − lowest value on the four curves
    advantage = (composite of the map − composite of the center) / swing

The map is *better* from an advantage of `wording.BETTER` on, *worse* from minus that on, and else *as good*: where the object
sits in the middle, a good map and the blob agree. A verdict also needs a margin beyond its own noise: the areas must differ
by more than `FLOOR`, and by more than they do when every second step is left out (`_noise`). Removing and bringing back are
judged apart too, each by its half (`Faithfulness.verdicts`), and the map is better or worse only where neither of them says the
opposite. Where the swing is below `wording.FAINT`, nothing moves the network enough to tell maps apart. With 8 steps the
advantage is within 0.07 of that with 48 for 95 of 100 pictures, hence 0.1. By the advantage alone, blurred noise in place of the
map is called better for 0 to 2 % of the scenes with the honest embedded networks and 21 % of photographs with ResNet-18,
Shallow-CAM of the deepest stage for 42 to 50 and 71 %. With the confounded networks, to which the whole picture speaks, it is
noise for 9 and 41 %, Shallow-CAM for 39 and 62 %: better than a blob is needed, no proof (``studies/faithfulness.py``).

The sanity check (Adebayo et al. 2018; `pellucid.evaluation.randomization`) is the mean rank correlation with the maps of
copies of the network whose upper half of layers is random: with all layers random any map changes, that half tells methods
apart. Single draws differ by 0.04 to 0.26 (standard deviation), so there are `DRAWS`.

A failed sanity check overrides the verdict: a map that hardly depends on the network explains nothing it does.

Cost: 3 forward passes for the ends of the curves (the clean, the blurred and the empty picture, shared by both maps) and
2 · 2 · (`STEPS` − 1) between them, 31 in all; for each of `DRAWS` random networks one more, so 34. Methods that run the
network themselves get `FEWER` draws, and where one map takes more than `OWN` passes none, so that `PASSES` are never
exceeded. A map that cannot be read costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from statistics import fmean, stdev
from typing import Any, Literal

import torch

from pellucid.attribution import Method
from pellucid.core.capture import Trace
from pellucid.core.counting import counting
from pellucid.core.results import Heatmap
from pellucid.evaluation.controls import center_gaussian
from pellucid.evaluation.curves import InsertionDeletion, area, curves
from pellucid.evaluation.metric import orders
from pellucid.evaluation.randomization import INSENSITIVE, sanity_draws
from pellucid.speech import wording as w
from pellucid.speech.english import UNREADABLE

STEPS = 8
DRAWS = 3  # random networks
FEWER, OWN = 2, 3  # random networks for a method with passes of its own, and how many passes these may be
PASSES = 40  # forward passes, at most
CURVES = 3 + 2 * 2 * (STEPS - 1)  # of them for the curves
FLOOR = 0.025  # of a probability: what areas of one kind must differ by for a verdict; of a score this share of its largest size
PROTOCOL = InsertionDeletion(preset="quick", steps=STEPS)
# Reasons why there is no verdict, beside those of `pellucid.speech.english.UNREADABLE`; pages have them in their languages.
NO_ORDER = "the map orders nothing"
NOT_FINITE = "with pixels removed or blurred the network's output is not finite"
NO_MAP = "there is no map to compare"
MANY_PASSES = "the method takes many passes of the network for one map"
NO_CONTRAST = "no map of a random network has contrast"
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
    spread: float | None = None  # standard error of the mean

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
    "unreadable" (no curves, for the given ``reason``). ``verdicts``: by "deletion" and "insertion" alone, empty where nothing can
    be told. ``passes`` and ``backward`` count what all of this took.
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
    sanity: Sanity = Sanity(None, NO_MAP)
    passes: int = 0
    backward: int = 0
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

    @property
    def overridden(self) -> bool:
        """Is no verdict to be trusted, as the map hardly depends on the network?"""
        return bool(self.sanity.insensitive)

    @property
    def extremes(self) -> tuple[float, float]:
        """Lowest and highest value on the curves; raises ValueError where there are none."""
        every = [value for of in (self.curves or {}).values() for curve in of.values() for value in curve]
        return min(every), max(every)

    def to_json(self) -> dict[str, Any]:
        """Plain data, named as the fields are.

        ``curves``: {"map": {"deletion": [value at every share], "insertion": […]}, "center": …} or null; ``areas``: the
        same with one number each, and "composite"; ``sanity``: {"similarity", "insensitive", "reason", "draws"}, null
        where not known, and the "threshold" of insensitive maps.
        """
        values = asdict(self)
        values["sanity"] |= {"insensitive": self.sanity.insensitive, "threshold": INSENSITIVE}
        return values | {"overridden": self.overridden}


def faithfulness(trace: Trace, heatmap: Heatmap, method: Method, taken: int, seed: int) -> Faithfulness:
    """Test the map of a single image; ``taken`` is how many forward passes of its own the method needed for it.

    ``seed`` draws the random network. The network is as before afterwards, also where this is interrupted.
    """
    net, target = trace.network, trace.target
    unit: Literal["probability", "score"] = "probability" if target.function is None else "score"
    about = (heatmap.method, heatmap.layer.name, unit)
    saliency = heatmap.upsample()
    if heatmap.status[0] != "ok" or not bool(orders(saliency.flatten(1)).all()):
        return Faithfulness(*about, "unreadable", UNREADABLE.get(heatmap.status[0], NO_ORDER))
    with counting(net) as cost:
        checked = _sanity(trace, heatmap, method, taken, seed)
        maps = torch.stack([saliency, center_gaussian(heatmap.input_size)[None].to(saliency)])
        found = curves(net, trace.images, maps, target, PROTOCOL, progress=False)
    spent: Any = {"passes": cost.forward + cost.tail, "backward": cost.backward}
    drawn = {
        name: {kind: tuple(getattr(found, kind)[place, 0].tolist()) for kind in ("deletion", "insertion")}
        for place, name in enumerate(("map", "center"))
    }
    if not all(isfinite(value) for of in drawn.values() for curve in of.values() for value in curve):
        return Faithfulness(*about, "unreadable", NOT_FINITE, sanity=checked, **spent)
    verdict, areas, advantage = verdict_of(drawn, unit)
    verdicts = verdicts_of(drawn, unit) if verdict != "flat" else {}
    pixels = saliency[0].numel()
    share = tuple(count / pixels for count in PROTOCOL.counts(pixels))
    return Faithfulness(
        *about, verdict, None, share, drawn, areas, advantage, checked, **spent, verdicts=verdicts
    )


def verdict_of(drawn: Drawn, unit: str) -> tuple[Verdict, dict[str, dict[str, float]], float | None]:
    """The verdict on curves; the areas of map and center; the map's advantage, None where nothing moves."""
    areas = {
        name: {kind: float(area(torch.tensor(curve, dtype=torch.float64))) for kind, curve in of.items()}
        for name, of in drawn.items()
    }
    for each in areas.values():
        each["composite"] = each["insertion"] - each["deletion"]
    swing, size = _swing(drawn, unit)
    if swing <= 0 or swing < w.FAINT * size:
        return "flat", areas, None
    advantage = (areas["map"]["composite"] - areas["center"]["composite"]) / swing
    apart = verdicts_of(drawn, unit)
    noise = max(2 * FLOOR * size, _noise(drawn, "insertion") + _noise(drawn, "deletion"))
    if abs(advantage) < w.BETTER or abs(advantage) * swing <= noise:
        return "as good", areas, advantage
    opposite: Verdict = "worse" if advantage > 0 else "better"
    if opposite in apart.values():
        return "as good", areas, advantage
    return ("better" if advantage > 0 else "worse"), areas, advantage


def verdicts_of(drawn: Drawn, unit: str) -> dict[str, Verdict]:
    """The verdict by deletion alone, and by insertion alone: each needs half the advantage, beyond its own noise."""
    swing, size = _swing(drawn, unit)
    verdicts: dict[str, Verdict] = {}
    for kind, sign in (("deletion", -1), ("insertion", 1)):
        gain = sign * _difference(drawn, kind)
        if abs(gain) <= max(w.BETTER / 2 * swing, FLOOR * size, _noise(drawn, kind)):
            verdicts[kind] = "as good"
        else:
            verdicts[kind] = "better" if gain > 0 else "worse"
    return verdicts


def _swing(drawn: Drawn, unit: str) -> tuple[float, float]:
    """Highest less lowest value on the curves; and the size of values: 1 for probabilities."""
    every = [value for of in drawn.values() for curve in of.values() for value in curve]
    return max(every) - min(every), 1.0 if unit == "probability" else max(map(abs, every))


def _difference(drawn: Drawn, kind: str, every: int = 1) -> float:
    """Area of the map less that of the center, of every step or every second one."""
    apart = [own - other for own, other in zip(drawn["map"][kind], drawn["center"][kind], strict=True)]
    return float(area(torch.tensor(apart[::every], dtype=torch.float64)))


def _noise(drawn: Drawn, kind: str) -> float:
    """How far the difference of areas is from that of half as many steps."""
    return abs(_difference(drawn, kind) - _difference(drawn, kind, every=2))


def _sanity(trace: Trace, heatmap: Heatmap, method: Method, taken: int, seed: int) -> Sanity:
    draws = FEWER if method.needs == "passes" else DRAWS
    if taken > OWN:
        return Sanity(None, MANY_PASSES)
    try:
        similar = sanity_draws(
            trace.network, trace.images, trace.target, method, heatmap.layer.name, seed,
            draws=draws, heatmap=heatmap,
        )  # fmt: skip
    except Exception as error:  # a network that cannot be copied can still be explained
        return Sanity(None, f"{type(error).__name__}: {error}")
    known = [float(each) for each in similar[:, 0] if isfinite(each)]
    if not known:
        return Sanity(None, NO_CONTRAST, draws)
    return Sanity(fmean(known), None, draws, stdev(known) / len(known) ** 0.5 if len(known) > 1 else None)
