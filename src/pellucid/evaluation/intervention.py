"""Does the map lie on what mattered: the true effect of every part, read from pictures painted again without it.

    effect(part) = score(render(scene)) − score(render(scene.without_part(part)))

is what removing a part of the main object, and nothing else, does to the network; nothing is imputed. A map is held against
it part by part: rank correlation between its mass (sum of positive saliency) on the visible pixels of a part and the part's
effect; whether the part with the most mass has the largest effect (``hit``); and whether it has next to none (``blamed``).
Only the embedded concept world has this truth.

Large parts have large effects, and any map has more mass on them: noise reaches a high rank correlation. ``gain`` is the rank
correlation less that of the parts' areas, what a map without contrast would have; it is 0 for a map that knows nothing.

All parts of one name (both wheels) go together: of two alike each covers for the other. Parts of which no pixel shows are
left out, and scenes with fewer than `LEAST` visible parts are undefined: of two parts every ranking agrees or disagrees
wholly.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from math import isnan, nan
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.network import Network, TargetLike
from pellucid.core.precision import exact
from pellucid.core.reading import precise
from pellucid.core.registry import register
from pellucid.core.storage import fingerprint
from pellucid.core.target import Target
from pellucid.data.preprocess import to_batch
from pellucid.evaluation.measurement import Measurement
from pellucid.evaluation.metric import Case, Metric, Needs
from pellucid.evaluation.scores import at_once, judge, running
from pellucid.evaluation.similarity import spearman

if TYPE_CHECKING:
    from pellucid.world import Rendering, Scene

LEAST = 3  # visible parts
REMEMBERED = 1024  # scenes per network
GROUND = frozenset(["air", "water", "grass", "sand", "road surface", "snow cover"])  # nothing lies beneath it


@dataclass(frozen=True, eq=False)
class Effects:
    """What removing each visible part of one scene takes from the target: ``logit`` (the score) and ``probability``.

    ``masks`` are the parts' visible pixels at input size.
    """

    names: tuple[str, ...]
    masks: Bool[Tensor, "parts height width"]
    logit: Float[Tensor, " parts"]
    probability: Float[Tensor, " parts"]


@dataclass(frozen=True)
class Agreement:
    """How one map agrees with the true effects; NaN with a ``reason`` where that is not defined."""

    rank: float
    gain: float
    hit: float
    blamed: float
    reason: str | None = None


@register("evaluation", "intervention")
@dataclass(frozen=True)
class Intervention(Metric):
    """Agreement of the map with the true effect of every part: ``rank`` correlation, its ``gain`` over area, ``hit``, ``blamed``.

    ``of``: effect on the ``"logit"`` or on the ``"probability"``. ``others``: count things beside the main object (trees,
    clouds, a shortcut mark) as parts too. ``negligible``: the share of the largest effect below which a part has none.
    """

    needs: ClassVar[Needs] = "scenes"
    better: ClassVar[Mapping[str, Literal["higher", "lower"]]] = {
        "rank": "higher",
        "gain": "higher",
        "hit": "higher",
        "blamed": "lower",
    }
    of: Literal["logit", "probability"] = "logit"
    others: bool = False
    negligible: float = 0.1

    def __post_init__(self) -> None:
        if self.of not in ("logit", "probability"):
            raise ValueError(f'Expected `of` to be "logit" or "probability", got {self.of!r}.')
        if not 0 <= self.negligible < 1:
            raise ValueError(f"Expected `negligible` in [0, 1), got {self.negligible}; try 0.1.")

    def __call__(self, case: Case) -> Measurement:
        """Agreement per scene; the effects are computed once for all maps of the same scenes."""
        if case.scenes is None or len(case.scenes) != len(case):
            got = "none" if case.scenes is None else len(case.scenes)
            raise ValueError(
                f"Expected a scene of the concept world for each of {len(case)} images, got {got}."
            )
        effects = part_effects(case.net, case.scenes, case.target, case.batch_size, others=self.others)
        found = [
            agreement(one, each, of=self.of, negligible=self.negligible)
            for one, each in zip(case.saliency, effects, strict=True)
        ]
        values = {
            name: torch.tensor([getattr(one, name) for one in found], dtype=torch.float64)
            for name in self.better
        }
        reasons = tuple(one.reason for one in found)
        return Measurement(self.name, values, reasons, self.better, asdict(self))


def agreement(
    saliency: Float[Tensor, "height width"],
    effects: Effects,
    *,
    of: Literal["logit", "probability"] = "logit",
    negligible: float = 0.1,
) -> Agreement:
    """Hold one map against the true effects of the parts. Equal masses count by what drawing lots would give."""
    effect: Tensor = getattr(effects, of)
    reason = _reason(saliency, effects, effect)
    if reason is not None:
        return Agreement(nan, nan, nan, nan, reason)
    positive = saliency.detach().cpu().double().clamp(min=0)
    mass = (effects.masks * positive).sum((1, 2))
    if not bool(mass.max() > mass.min()):
        return Agreement(nan, nan, nan, nan, "map has the same mass on every part")
    top = mass == mass.max()
    hit = effect[top] == effect.max()
    blamed = effect[top].abs() < negligible * effect.abs().max()
    area = exact(effects.masks.sum((1, 2)))
    rank, known = (float(spearman(each[None], effect[None])) for each in (mass, area))
    return Agreement(
        rank,
        rank - (0.0 if isnan(known) else known),
        float(exact(hit).mean()),
        float(exact(blamed).mean()),
    )


def part_effects(
    net: Network,
    scenes: Sequence[Scene | Rendering],
    target: TargetLike = None,
    batch_size: int = 64,
    *,
    others: bool = False,
) -> tuple[Effects, ...]:
    """True effect of every visible part of every scene on the target (default: the class predicted for the whole scene).

    Results are remembered per network, weights, scene and class (not for targets that are functions), the latest
    `REMEMBERED` of each network, as long as the network lives.
    """
    if batch_size < 1:
        raise ValueError(f"Expected `batch_size` of at least 1, got {batch_size}; try 64.")
    renderings = [_rendered(scene) for scene in scenes]
    wanted = _resolved(net, renderings, target, batch_size)
    memory = _memory.setdefault(net, OrderedDict())
    weights = fingerprint(net.module)
    keys = [_key(net, weights, each, wanted[i], others) for i, each in enumerate(renderings)]
    found: dict[int, Effects] = {
        i: memory[key] for i, key in enumerate(keys) if key is not None and key in memory
    }
    missing = [i for i in range(len(renderings)) if i not in found]
    computed = _effects(
        net, [renderings[i] for i in missing], [wanted[i] for i in missing], batch_size, others
    )
    for i, effects in zip(missing, computed, strict=True):
        found[i] = effects
        if keys[i] is not None:
            memory[keys[i]] = effects
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)
    return tuple(found[i] for i in range(len(renderings)))


_memory: WeakKeyDictionary[Network, OrderedDict[Hashable, Effects]] = WeakKeyDictionary()


def _key(net: Network, weights: str, rendering: Rendering, target: Target, others: bool) -> Hashable:
    if target.indices is None:  # a function may hold the network, and would keep it alive
        return None
    sign = None if target.signs is None else float(target.signs)
    return weights, net.preprocess, rendering.scene_data, rendering.size, int(target.indices), sign, others


def _rendered(scene: Any) -> Rendering:
    from pellucid.world import Rendering, Scene, render

    if isinstance(scene, Rendering):
        return scene
    if not isinstance(scene, Scene):
        raise TypeError(
            f"Expected scenes or renderings of the concept world, got {type(scene).__name__}; "
            'try `pellucid.world.draw(0, split="test")`.'
        )
    return render(scene)


def _resolved(net: Network, renderings: Sequence[Rendering], target: TargetLike, batch_size: int) -> Target:
    if target is None:
        return net.resolve_target(None, _outputs(net, (each.image for each in renderings), batch_size))
    return net.resolve_target(target, torch.empty(len(renderings), 0))


def _edits(rendering: Rendering, others: bool) -> list[tuple[str, np.ndarray, Scene]]:
    """(name, visible pixels, the scene without it) of everything that can be taken away and shows."""
    scene = rendering.scene_data
    found = [(name, rendering.part_mask(name), scene.without_part(name)) for name in scene.part_names()]
    if others:
        stuff = dict.fromkeys(piece.name for piece in (*scene.behind, *scene.before))
        for name in (name for name in stuff if name not in GROUND):
            behind, before = (
                tuple(piece for piece in pieces if piece.name != name)
                for pieces in (scene.behind, scene.before)
            )
            found.append((name, rendering.mask(name, "object"), replace(scene, behind=behind, before=before)))
        if scene.mark is not None:
            bare = scene.without_mark()
            changed = (_painted(bare, rendering.size) != rendering.image).any(-1)
            found.append(("mark", changed, bare))
    return [entry for entry in found if entry[1].any()]


def _painted(scene: Scene, size: int) -> np.ndarray:
    from pellucid.world import render

    return render(scene, size).image


def _effects(
    net: Network, renderings: Sequence[Rendering], targets: Sequence[Target], batch_size: int, others: bool
) -> Iterator[Effects]:
    edits = [_edits(each, others) for each in renderings]

    def pictures() -> Iterator[np.ndarray]:
        for rendering, listed in zip(renderings, edits, strict=True):
            yield rendering.image
            for _, _, scene in listed:
                yield _painted(scene, rendering.size)

    counts = [1 + len(listed) for listed in edits]
    outputs = torch.split(_outputs(net, pictures(), batch_size), counts)
    for listed, target, output in zip(edits, targets, outputs, strict=True):
        score = exact(target.repeat(len(output)).score(output))
        probability = exact(judge(net, output, target, torch.zeros(len(output), dtype=torch.long)))
        names, masks = [], []
        for name, mask, _ in listed:
            seen = net.preprocess.view_mask(mask)
            if bool(seen.any()):
                names.append(name)
                masks.append(seen)
        kept = [i for i, (name, _, _) in enumerate(listed) if name in names]
        size = masks[0].shape if masks else net.input_shape[1:]
        yield Effects(
            tuple(names),
            torch.stack(masks) if masks else torch.zeros(0, *size, dtype=torch.bool),
            (score[0] - score[1:])[kept],
            (probability[0] - probability[1:])[kept],
        )


def _outputs(net: Network, pictures: Iterator[np.ndarray], batch_size: int) -> Float[Tensor, "rows classes"]:
    rows = [torch.empty(0, len(net.classes))]
    with running(net):
        while part := list(islice(pictures, batch_size)):
            batch = to_batch(part, net.preprocess)[0].to(net.device, net.dtype)
            rows += [precise(net(each)).cpu() for each in torch.split(batch, at_once(batch, batch_size))]
    return torch.cat(rows[1:] or rows)


def _reason(saliency: Tensor, effects: Effects, effect: Tensor) -> str | None:
    if len(effects.names) < LEAST:
        return f"fewer than {LEAST} visible parts"
    if tuple(saliency.shape) != tuple(effects.masks.shape[1:]):
        raise ValueError(
            f"Expected a map at the input's size {tuple(effects.masks.shape[1:])}, got {tuple(saliency.shape)}; "
            "try `Heatmap.upsample()`."
        )
    if not bool(saliency.isfinite().all()):
        return "map is not finite"
    if not bool(effect.isfinite().all()) or not bool(effect.max() > effect.min()):
        return "no part has an effect"
    return None
