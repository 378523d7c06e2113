"""Association rules "these channels together → this class" by Apriori, and the choice of the telling ones.

Support is counted in images of the class, confidence in images of all classes:
``support = |class ∩ has X| / |class|``, ``confidence = |class ∩ has X| / |has X|``. The search for frequent sets is that of
the library efficient_apriori (Agrawal, Srikant 1994), given the transactions of one class at a time: with a class as
consequent this finds the rules a search over all transactions would find, at a support that does not depend on how many
classes there are.

Apriori is exponential in what occurs together, so it is given only the channels that set the class apart best, and a bound
on the length. A set that is part of a longer one with the same count says nothing of its own and is merged into it. Where
more channels than the longest set may have always go together, many sets have the same counts; the first of them in order
stands for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_

import numpy as np
import numpy.typing as npt

from pellucid.units.patterns.settings import Mining

Rows = npt.NDArray[np.bool_]
Channels = tuple[int, ...]


@dataclass(frozen=True)
class Rule:
    """Channels, with the number of images of the class and of the rest that have them all in one transaction."""

    channels: Channels
    own: int
    rest: int

    @property
    def confidence(self) -> float:
        """Share of the class among the images that have them."""
        return self.own / (self.own + self.rest)


@dataclass(frozen=True)
class Found:
    """Of one class: all accepted rules, the kept ones, and how near the nearest came where none was accepted.

    ``largest_support``: of any set of the shortest length among the searched channels; ``largest_confidence``: of those sets
    with enough support, 0 where there are none.
    """

    accepted: tuple[Rule, ...]
    kept: tuple[Rule, ...]
    largest_support: float
    largest_confidence: float


class Counter:
    """Counts the images [image cell unit] that have all of some channels in one of their transactions.

    Thousands of sets are counted; an image is one bit of an integer per cell and channel.
    """

    def __init__(self, rows: Rows) -> None:
        _, cells, units = rows.shape
        packed = np.packbits(rows, axis=0)
        self._bits = [
            [int.from_bytes(packed[:, cell, unit].tobytes(), "big") for unit in range(units)]
            for cell in range(cells)
        ]

    def __call__(self, channels: Sequence[int]) -> int:
        """How many images have them."""
        found = 0
        for bits in self._bits:
            found |= reduce(and_, [bits[unit] for unit in channels])
        return found.bit_count()


def search(own: Rows, rest: Rows, settings: Mining) -> Found:
    """The rules of one class; ``own`` and ``rest`` are its images and all others, [image cell unit]."""
    items = telling(own, rest, settings.items)
    counts = frequent(own, items, settings.support, settings.shortest, settings.longest)
    others = Counter(rest)
    rules = [Rule(channels, count, others(channels)) for channels, count in counts.items()]
    accepted = merged([rule for rule in rules if rule.confidence >= settings.confidence])
    support = max((rule.own for rule in rules), default=0) / len(own)
    if not rules:
        support = _largest_support(own, items, settings)
    nearest = max((rule.confidence for rule in rules), default=0.0)
    ranked = sorted(
        accepted,
        key=lambda rule: (rule.rest / len(rest) - rule.own / len(own), -len(rule.channels), rule.channels),
    )
    return Found(tuple(ranked), _unlike(ranked, settings), support, nearest)


def telling(own: Rows, rest: Rows, count: int) -> Channels:
    """The channels by which a class differs most: share of its images minus share of the rest; ties to the lower index."""
    ahead = own.any(1).mean(0) - rest.any(1).mean(0)
    present = np.flatnonzero(own.any((0, 1)))
    order = present[np.argsort(-ahead[present], kind="stable")]
    return tuple(sorted(int(k) for k in order[:count]))


def frequent(own: Rows, items: Channels, support: float, shortest: int, longest: int) -> dict[Channels, int]:
    """All sets of ``shortest`` to ``longest`` of the items that at least ``support`` of the images have, with their number.

    An image has as many transactions as cells, and the library counts transactions; a set that so many images have is in at
    least as many transactions, so it is found with a lower threshold and counted again.
    """
    from efficient_apriori import itemsets_from_transactions  # type: ignore[import-untyped]

    images, cells = own.shape[:2]
    flat = own.reshape(images * cells, -1)
    chosen = np.asarray(items)
    transactions = [tuple(chosen[row].tolist()) for row in flat[:, chosen]]
    needed = max(1, int(np.ceil(support * images - 1e-9)))
    # half a transaction below, so that rounding cannot lose a set that just has enough
    found, _ = itemsets_from_transactions(
        transactions, max(0.0, (needed - 0.5) / len(transactions)), max_length=longest
    )
    images_with = Counter(own)
    counted: dict[Channels, int] = {}
    for length in sorted(found):
        if length >= shortest:
            for channels in sorted(found[length]):
                count = found[length][channels] if cells == 1 else images_with(channels)
                if count >= needed:
                    counted[channels] = int(count)
    return counted


def merged(rules: Sequence[Rule]) -> list[Rule]:
    """Without rules that a longer one of the same support implies.

    It is enough to look at rules one channel longer: with the counts of a set and of a superset equal, those of all sets
    between are, and as fewer images of the rest have a superset, its confidence is no lower.
    """
    known = {rule.channels: rule.own for rule in rules}
    implied: set[Channels] = set()
    for channels, own in known.items():
        for k in range(len(channels)):
            shorter = channels[:k] + channels[k + 1 :]
            if known.get(shorter) == own:
                implied.add(shorter)
    return [rule for rule in rules if rule.channels not in implied]


def _unlike(ranked: Sequence[Rule], settings: Mining) -> tuple[Rule, ...]:
    """The first rules that have no more than ``overlap`` of their channels in common with one before (Jaccard)."""
    kept: list[Rule] = []
    for rule in ranked:
        mine = set(rule.channels)
        others = [set(one.channels) for one in kept]
        if all(len(mine & other) <= settings.overlap * len(mine | other) for other in others):
            kept.append(rule)
        if len(kept) == settings.keep:
            break
    return tuple(kept)


def _largest_support(own: Rows, items: Channels, settings: Mining) -> float:
    """Of any set of the shortest length; found by lowering the threshold until one is."""
    support = settings.support
    while support * len(own) > 1:
        support /= 2
        counts = frequent(own, items, support, settings.shortest, settings.shortest)
        if counts:
            return max(counts.values()) / len(own)
    return 0.0
