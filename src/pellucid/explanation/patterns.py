"""Patterns in words: the concepts of their channels, and how often they are found in a class and in the rest.

A channel is called by its concept where a table of dissection names one (IoU above 0.04), else by its number; several channels
of one concept are said once. The shares are those of held-out images where some were held out. What a pattern is called says
on what its channels are most active over many pictures, not that the decision about one picture used it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from pellucid.core.network import Network
from pellucid.explanation.concepts import Meaning, Names, TableLike, names_for
from pellucid.explanation.facts import Box, Clause, Quantity
from pellucid.speech.english import English
from pellucid.speech.text import plain
from pellucid.units.patterns import Pattern, Patterns, load_patterns, region_box

_NONE = Names({})
_ENGLISH = English()
PatternsLike = Patterns | str | Path | None


def meanings(one: Pattern, names: Names) -> tuple[Meaning | None, ...]:
    """What every channel of a pattern answers to; None without a table."""
    return tuple(names.of(one.layer, channel) for channel in one.channels)


def concepts(one: Pattern, names: Names) -> tuple[str, ...]:
    """The named concepts of a pattern, those of more channels first, then by IoU, each once."""
    named = [meaning for meaning in meanings(one, names) if meaning is not None and meaning.named]
    count = Counter(meaning.concept for meaning in named)
    best = {concept: max(m.iou for m in named if m.concept == concept) for concept in count}
    return tuple(sorted(count, key=lambda concept: (-count[concept], -best[concept], concept)))


def words(one: Pattern, names: Names = _NONE) -> str:
    """What a pattern is called.

    ``"wheel + car + neuron 85"``; without a named channel ``"neurons 3, 7 and 12"``.
    """
    facts = _facts(one, names)
    return plain(_ENGLISH.pattern_name(facts["concepts"], facts["units"], facts["layer"]))


def _facts(one: Pattern, names: Names) -> dict[str, Any]:
    """What the phrase of a pattern is made from; channels with a concept go by it."""
    found = zip(one.channels, meanings(one, names), strict=True)
    shares = one.shares
    return {
        "concepts": list(concepts(one, names)),
        "units": [channel for channel, meaning in found if meaning is None or not meaning.named],
        "layer": one.layer,
        "name": one.name,
        "share": shares.share,
        "rest": shares.rest_share,
        "held_out": one.held_out is not None,
        "several": len(one.channels) > 1,
    }


def sentence(one: Pattern, names: Names = _NONE) -> str:
    """How often a pattern is found, with the marks of `pellucid.speech.text`."""
    return _ENGLISH.pattern(**_facts(one, names))


def clause(one: Pattern, names: Names = _NONE, box: Box | None = None) -> Clause:
    """A pattern as one thing that is said, with the numbers behind it; ``box``: where it lies in the picture spoken of."""
    shares, name = one.shares, {"name": one.name}
    low, high = shares.interval
    rest_low, rest_high = shares.rest_interval
    numbers = (
        Quantity("pattern.share", shares.share, "share", name),
        Quantity("pattern.low", low, "share"),
        Quantity("pattern.high", high, "share"),
        Quantity("pattern.rest", shares.rest_share, "share"),
        Quantity("pattern.rest_low", rest_low, "share"),
        Quantity("pattern.rest_high", rest_high, "share"),
        Quantity("pattern.images", float(shares.own_images), "count", name),
        Quantity("pattern.rest_images", float(shares.rest_images), "count"),
        Quantity(
            "pattern.source", "held-out pictures" if one.held_out is not None else "mined pictures", "name"
        ),
    )
    units = tuple((one.layer, channel) for channel in one.channels)
    concepts_of = tuple(meaning.to_json() for meaning in meanings(one, names) if meaning is not None)
    return Clause(
        "pattern",
        "pattern",
        _facts(one, names),
        numbers,
        layer=one.layer,
        units=units,
        box=box,
        concepts=concepts_of,
    )


def clauses(
    patterns: Patterns,
    maps: Float[Tensor, "1 unit h w"],
    name: str,
    names: Names = _NONE,
    most: int = 1,
) -> list[Clause]:
    """What patterns say about one picture: the first ``most`` of class ``name`` that are present in it, each with its box.

    ``maps``: the picture's activations of the patterns' layer. No clause for a class without patterns, or where none is
    present. Raises ValueError for maps of another layer or of several pictures.
    """
    if len(maps) != 1:
        raise ValueError(f"Expected the maps of one picture, got those of {len(maps)}.")
    if name not in {one.name for one in patterns.patterns}:
        return []
    present = patterns.present(maps)[0].tolist()
    here = [one for one, there in zip(patterns.patterns, present, strict=True) if there and one.name == name]
    return [
        clause(one, names, region_box(patterns, patterns.occurrence(one, maps[0], 0))) for one in here[:most]
    ]


def patterns_for(net: Network, patterns: PatternsLike) -> Patterns | None:
    """The patterns given, or those of the folder ``pellucid patterns`` wrote.

    Raises ValueError for those of another network (other weights) and damaged files, FileNotFoundError for a folder without,
    TypeError for something else.
    """
    if isinstance(patterns, (str, Path)):
        return load_patterns(patterns, net)
    if patterns is None:
        return None
    if not isinstance(patterns, Patterns):
        raise TypeError(
            f"Expected `patterns` to be Patterns or a folder, got {type(patterns).__name__}; try the result of "
            "`pellucid.units.patterns.mine`."
        )
    patterns.check(net)
    return patterns


def names_of(net: Network, patterns: Patterns, table: TableLike | Names = None) -> Names:
    """The concepts of the patterns' layer; see `pellucid.explanation.concepts.names_for`."""
    return names_for(net, table, patterns.layer)


def called(patterns: Patterns | Sequence[Pattern], names: Names = _NONE) -> dict[int, str]:
    """What every pattern is called, by place, with its class: captions of a sheet."""
    listed: Any = patterns.patterns if isinstance(patterns, Patterns) else patterns
    return {place: f"{one.name}: {words(one, names)}" for place, one in enumerate(listed)}
