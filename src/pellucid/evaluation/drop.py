"""Average drop, increase and gain: what the network still sees of an image that is kept under its map only.

With y the target's probability on the image x, o that on x multiplied by the map scaled to [0, 1] per image, in the
normalized space, where zero is the mean color ::

    drop = max(0, y − o) / y        increase = 1 if o > y else 0        gain = max(0, o − y) / (1 − y)

Drop and increase: Chattopadhay et al., Grad-CAM++, WACV 2018; gain: Zhang, Torres, Sicre, Avrithis, Ayache, Opti-CAM, 2023.
Where we differ: values are shares, papers print them times 100; a constant map cannot be scaled and is undefined, and
so is what would divide by zero. A map that keeps nearly everything has little drop: read it with the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.precision import exact
from pellucid.core.registry import register
from pellucid.evaluation.measurement import Measurement
from pellucid.evaluation.metric import Case, Metric, orders, undefined
from pellucid.evaluation.scores import at_once, judge, running, scores, unit


@register("evaluation", "average-drop", paper="chattopadhay2018")
@dataclass(frozen=True)
class AverageDrop(Metric):
    """Average drop: what the target's probability loses, or gains, when the image is kept under its map only."""

    better: ClassVar[Mapping[str, Literal["higher", "lower"]]] = {
        "drop": "lower",
        "increase": "higher",
        "gain": "higher",
    }

    def __call__(self, case: Case) -> Measurement:
        """``drop``, ``increase`` (0 or 1) and ``gain``; the last only for probabilities."""
        y, o = (each.cpu().double() for each in _before_and_after(case))
        values = {
            "drop": torch.where(y > 0, (y - o).clamp(min=0) / y, torch.nan),
            "increase": torch.where(y.isfinite() & o.isfinite(), exact(o > y), torch.nan),
        }
        if case.target.function is None:  # a function has no upper end
            values["gain"] = torch.where(y < 1, (o - y).clamp(min=0) / (1 - y), torch.nan)
        reasons = undefined(case, {"increase": values["increase"]})
        found = [reason or _missing(values, row) for row, reason in enumerate(reasons)]
        better = {name: self.better[name] for name in values}
        return Measurement(
            self.name, values, tuple(found), better, {**asdict(self), "score": unit(case.target)}
        )


def _before_and_after(case: Case) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """The target's probability on the images and on the images times their maps; NaN for maps that order nothing."""
    rows = torch.arange(len(case), device=case.images.device)
    usable = orders(case.saliency.flatten(1))
    after = []
    with running(case.net):
        before = scores(case.net, case.images, case.target, case.batch_size)
        for part in torch.split(rows, at_once(case.images, case.batch_size)):
            kept = case.images[part] * scaled(case.saliency[part])[:, None].to(case.images)
            after.append(judge(case.net, case.net(kept), case.target, part))
    return torch.where(usable, before, torch.nan), torch.where(usable, torch.cat(after), torch.nan)


def scaled(saliency: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
    """Maps scaled to [0, 1] per image; zero where there is no contrast or a value is not finite."""
    usable = orders(saliency.flatten(1))[:, None, None]
    low, high = saliency.amin((1, 2), keepdim=True), saliency.amax((1, 2), keepdim=True)
    return torch.where(usable, (saliency - low) / torch.where(usable, high - low, 1), 0)


def _missing(values: Mapping[str, Tensor], row: int) -> str | None:
    """What divides by zero in one image."""
    if values["drop"][row].isnan():
        return "drop: the target's score is not above 0"
    return "gain: the target's probability is 1" if "gain" in values and values["gain"][row].isnan() else None
