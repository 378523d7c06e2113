"""Measures of the study `neuron_deletion`: rankings by every criterion, deletion curves, areas and their intervals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuron_deletion_networks import Case
from pellucid.core.layers import INPUT
from pellucid.core.registry import create
from pellucid.core.results import UnitScores
from pellucid.data.batches import traces
from pellucid.units.classes import gathered
from pellucid.units.orders import deletion_order
from pellucid.units.rivals import against_rivals

Bits = npt.NDArray[np.bool_]
Real = npt.NDArray[np.float64]


FULL = ("relevance", "conductance")  # criteria that need the whole network: input bounds, the path of images


@dataclass(frozen=True)
class Ranker:
    """One way to rank: a criterion with its parameters, asked about the class or about the class ``against`` its rivals, less
    ``others`` times the other classes' mean, or in the order of deletion of a ``temperature``; on the first ``images`` ranking
    pictures of every class."""

    criterion: str
    parameters: tuple[tuple[str, Any], ...] = ()
    against: str = "nothing"
    others: float = 0.0
    images: int | None = None
    temperature: float | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for rankers that use the same scores per picture."""
        return self.criterion, self.parameters, self.against, self.images


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of ranking pictures [picture unit], their outputs and log-odds, and how long it took."""

    scores: UnitScores
    rows: list[int]
    log_odds: Tensor
    seconds: float


def ranking(case: Case, ranker: Ranker, known: dict[Any, Scored]) -> list[Tensor]:
    """Units of every class, most important first; ``known`` keeps the scores of pictures."""
    if ranker.key not in known:
        known[ranker.key] = _scored(case, ranker)
    one = known[ranker.key]
    if ranker.temperature is not None:
        return [
            deletion_order(one.scores.values, one.log_odds, one.rows, index, ranker.temperature)
            for index in case.index
        ]
    made = create("neurons", ranker.criterion, **dict(ranker.parameters))
    found = gathered(case.net, one.scores, one.rows, case.index, made, ranker.others)
    return [torch.sort(row.double(), descending=True, stable=True).indices for row in found.values]


def _scored(case: Case, ranker: Ranker) -> Scored:
    held = case.parts["rank"]
    chosen = torch.cat([held.of(label, ranker.images) for label in range(len(case.classes))])
    rows = [case.index[int(label)] for label in held.labels[chosen]]
    made = create("neurons", ranker.criterion, **dict(ranker.parameters))
    whole = ranker.criterion in FULL
    net, layer = (case.net, case.layer) if whole else (case.tail, INPUT)
    images = (case.images if whole else held.activation)[chosen]
    target: Any = rows
    if ranker.against != "nothing":
        target = against_rivals(net, images, rows, ranker.against)  # type: ignore[arg-type]
    parts, odds = [], []
    started = time.process_time()
    for trace in traces(
        net, images, () if made.needs == "passes" else (layer,), target, 16,
        gradients=made.needs == "gradient", progress=False,
    ):  # fmt: skip
        with torch.no_grad():
            parts.append(made(trace, layer))
            odds.append(trace.score)
    found = UnitScores(torch.cat(parts), case.net.layer(case.layer), made.name)
    return Scored(found, rows, torch.cat(odds), time.process_time() - started)


def cost_of(case: Case, ranker: Ranker) -> float:
    """Forward passes per image, in operations: a walk back through activations costs as much as the way there, one of
    relevance three times that."""
    tail, parameters = case.share, dict(ranker.parameters)
    made = create("neurons", ranker.criterion, **parameters)
    extra = {
        "random": -1.0,
        "activation": 0.0,
        "relevance": 3.0 * tail,
        "integrated-gradients": 2 * tail * getattr(made, "steps", 0),
        "conductance": (getattr(made, "steps", 0) + 1) * (1 + tail) - 1,
        "ablation": tail * case.units,
        "shapley": tail * case.units * getattr(made, "permutations", 0),
    }.get(ranker.criterion, tail)
    if parameters.get("arm") == "backpropagated":
        extra = 2 * tail / len(case.parts["rank"].of(0))  # once per class
    return 1 + extra


def steps(units: int, shares: Sequence[float]) -> list[int]:
    """Numbers of deleted units at every share; at least one, each once, 0 first."""
    return [0, *dict.fromkeys(max(1, round(units * share)) for share in shares)]


@dataclass(frozen=True, eq=False)
class Curves:
    """What is still right after the first n units of a class are deleted: bool [step picture], ``own`` and ``others`` of every
    class, over all classes of the network (``full``) and among the study's (``few``). ``labels``: class of the others."""

    own: dict[str, list[Bits]]
    others: dict[str, list[Bits]]
    labels: list[npt.NDArray[np.int64]]


def curves(
    case: Case,
    part: str,
    ranking: Sequence[Tensor],
    counts: Sequence[int],
    own: int,
    each: int,
    reference: Tensor,
) -> Curves:
    """Delete the first n units of every class's order and count what is still right."""
    held, total = case.parts[part], len(case.classes)
    found = Curves({"full": [], "few": []}, {"full": [], "few": []}, [])
    for label, order in enumerate(ranking):
        mine, rest = held.of(label, own), held.others(label, each, total)
        rows = torch.cat([mine, rest])
        right = _right(case, held.activation[rows], held.labels[rows], order, counts, reference)
        for kind, bits in right.items():
            found.own[kind].append(bits[:, : len(mine)])
            found.others[kind].append(bits[:, len(mine) :])
        found.labels.append(held.labels[rest].numpy())
    return found


def _right(
    case: Case, activation: Tensor, labels: Tensor, order: Tensor, counts: Sequence[int], reference: Tensor
) -> dict[str, Bits]:
    index = torch.tensor(case.index)
    full, few = [], []
    whole = activation.bfloat16().contiguous(memory_format=torch.channels_last)
    away = reference.to(whole)[None, :, None, None]
    for count in counts:
        kept = torch.ones(case.units, dtype=torch.bool)
        kept[order[:count]] = False
        rows = torch.where(kept[None, :, None, None], whole, away)
        with torch.no_grad():
            output = torch.cat([case.quick(part).float() for part in rows.split(64)])
        full.append((output.argmax(1) == index[labels]).numpy())
        few.append((output[:, index].argmax(1) == labels).numpy())
    return {"full": np.stack(full), "few": np.stack(few)}


def rates(found: Curves, kind: str) -> tuple[Real, Real]:
    """Accuracy [class step] of the class's own pictures, and mean accuracy of the other classes."""
    own = np.stack([bits.mean(1) for bits in found.own[kind]])
    others = [
        np.stack([bits[:, labels == label].mean(1) for label in np.unique(labels)]).mean(0)
        for bits, labels in zip(found.others[kind], found.labels, strict=True)
    ]
    return own, np.stack(others)


def selective(own: Real, others: Real) -> Real:
    """Own drop less the others' drop, [class step]."""
    return np.asarray((own[:, :1] - own) - (others[:, :1] - others))


def area(selectivity: Real, x: Sequence[float]) -> Real:
    """Mean over the deleted share, by trapezoids, over the last axis."""
    shares = np.asarray(x, np.float64)
    return np.asarray(np.trapezoid(selectivity, shares, axis=-1) / (shares[-1] - shares[0]))


def draws(found: dict[str, Curves], kind: str, times: int, seed: int = 0) -> dict[str, dict[str, Real]]:
    """Bootstrap over classes and, within each, over its own and the others' pictures; the same draws for every ranking.

    Gives for every ranking ``selectivity`` and ``own`` (drop), [draw step], means over classes.
    """
    random = np.random.default_rng(seed)
    first = next(iter(found.values()))
    classes = len(first.own[kind])
    result: dict[str, dict[str, list[Real]]] = {name: {"selectivity": [], "own": []} for name in found}
    for _ in range(times):
        picked = random.integers(0, classes, classes)
        weights = [
            (_weights(random, first.own[kind][c].shape[1]), _stratified(random, first.labels[c]))
            for c in picked
        ]
        for name, one in found.items():
            own = np.stack([one.own[kind][c] @ w for c, (w, _) in zip(picked, weights, strict=True)])
            rest = np.stack([one.others[kind][c] @ w for c, (_, w) in zip(picked, weights, strict=True)])
            drop = own[:, :1] - own
            result[name]["own"].append(drop.mean(0))
            result[name]["selectivity"].append((drop - (rest[:, :1] - rest)).mean(0))
    return {name: {key: np.stack(rows) for key, rows in entry.items()} for name, entry in result.items()}


def _weights(random: np.random.Generator, count: int) -> Real:
    return np.asarray(np.bincount(random.integers(0, count, count), minlength=count) / count)


def _stratified(random: np.random.Generator, labels: npt.NDArray[np.int64]) -> Real:
    weights = np.zeros(len(labels))
    present = np.unique(labels)
    for label in present:
        at = np.flatnonzero(labels == label)
        weights[at] = _weights(random, len(at)) / len(present)
    return weights
