"""What the short sentence rests on: the one to three regions that carried the answer, in words, and what is left without them.

Regions come from the exact scores of cells, where the head is linear, else from the maps (`pellucid.naming.regions`); their words
from the network's own vocabulary (`pellucid.naming.naming`); their effects from filling them in, each alone and all together
(`pellucid.naming.effects`). Nothing here says what the object is: a region is what one sees, a word what the network
would call it alone.

Cost: two forward passes a region and two for all of them together, eight at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.capture import Trace
from pellucid.core.network import Network
from pellucid.core.results import Heatmap
from pellucid.core.target import Target
from pellucid.explanation.clauses import rival, same_thing
from pellucid.explanation.facts import Clause, Effect, Quantity, Region, clause, left
from pellucid.explanation.faithfulness import Faithfulness
from pellucid.explanation.parts import Part, remaining
from pellucid.naming import (
    Cells,
    Naming,
    Vocabulary,
    cells,
    class_regions,
    effects,
    name_regions,
    regions,
    vocabulary,
)
from pellucid.naming import Region as Proposed
from pellucid.speech import wording as w
from pellucid.zoo.zoos import RANDOM

Entry = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Seen:
    """One region of the sentence: what it is called, where it lies, and what is left of the target without it.

    Args:
        region: mask, box, number and effect.
        naming: its word in the network's vocabulary.
        place: where it lies, as `pellucid.speech.wording.place` says it.
        others: further classes it speaks for: that its cells alone would be called, and that lose most of what the target loses
            when it is covered.
    """

    region: Region
    naming: Naming
    place: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Against:
    """Another class: what it has in the untouched picture, and without all regions that are said (None where none is)."""

    name: str
    whole: Effect
    without: Effect | None = None


@dataclass(frozen=True, eq=False)
class Brief:
    """All regions of the sentence, the one that matters most first.

    Args:
        seen: the regions that are said.
        whole: the target's score and probability in the untouched picture.
        without: what is left of it without all of them; None where none is said.
        tried: how many regions were filled in.
        least: what is left of the target without the one of them that it needs most; None where none was tried.
        against: another class that was asked about.
    """

    seen: tuple[Seen, ...]
    whole: Effect
    without: Effect | None
    tried: int
    least: Effect | None
    against: Against | None = None


def measure_brief(
    net: Network,
    trace: Trace,
    spoken: dict[str, Heatmap],
    lead: float,
    other: Target | None = None,
    words: Vocabulary | None = None,
) -> Brief:
    """Find, name and fill in the regions that a picture's maps point at.

    Args:
        net: the network.
        trace: of the one image; it should hold `pellucid.naming.last_layer(net)`, or another forward pass is made.
        spoken: the maps of the method that is spoken of, by stage.
        lead: the target's score over the mean of all outputs, of which a region has to take a part to be said.
        other: another class that was asked about.
        words: what the network can say; by default its own class names.
    """
    words = words or vocabulary(net)
    whole = remaining(net, trace.target, trace.output)
    read = cells(net, trace)
    proposed = [each for each in _proposed(net, trace, spoken, read) if each.area < w.MOST_OF_PICTURE]
    if not proposed:
        return Brief((), whole, None, 0, None, _against(net, trace, other, None))
    masks = torch.stack([each.mask for each in proposed])
    alone = effects(net, trace.images, masks, whole=trace.output)
    named = name_regions(net, read, masks, words=words)
    after = [remaining(net, trace.target, rows) for rows in alone.filled]
    order = sorted(range(len(proposed)), key=lambda k: after[k].score)
    enough = w.SINGLE * max(lead, torch.finfo(torch.float32).tiny)
    kept = [k for k in order if whole.score - after[k].score >= enough]
    if len(kept) == 1:
        covered = alone.filled[kept[0]]
    else:
        union = masks[kept or order].any(0)[None]
        covered = effects(net, trace.images, union, whole=trace.output).filled[0]
        if (
            not kept
            and len(order) > 1
            and whole.score - remaining(net, trace.target, covered).score >= enough
        ):
            kept = order  # none alone, all together
    without = remaining(net, trace.target, covered) if kept else None
    seen = tuple(
        Seen(
            Region(
                proposed[k].mask, _words(named[k]), named[k].confidence, after[k], number, proposed[k].box
            ),
            named[k],
            _place(proposed[k].mask),
            _others(named[k], alone.falls[k], whole.score - after[k].score, trace.target.names[0]),
        )
        for number, k in enumerate(kept, 1)
    )
    against = _against(net, trace, other, covered if kept else None)
    return Brief(seen, whole, without, len(proposed), after[order[0]], against)


def brief_of_parts(net: Network, trace: Trace, parts: Sequence[Part], other: Target | None = None) -> Brief:
    """The same of parts that a recognizer knows: their names and their effects are there already.

    Args:
        net: the network.
        trace: of the one image.
        parts: those that are named, the one that matters most first.
        other: another class that was asked about.
    """
    whole = remaining(net, trace.target, trace.output)
    seen = tuple(
        Seen(
            Region(part.seen.region, (part.name,), part.seen.probability, part.filled, number, part.box),
            Naming(part.name, "given", part.seen.probability, None, (), exact=False),
            _place(part.seen.region),
        )
        for number, part in enumerate(parts, 1)
    )
    covered = parts[0].outputs
    if len(parts) > 1:
        union = torch.stack([part.seen.region for part in parts]).any(0)[None]
        covered = effects(net, trace.images, union, whole=trace.output).filled[0]
    without = remaining(net, trace.target, covered)
    return Brief(seen, whole, without, len(parts), None, _against(net, trace, other, covered))


def _against(net: Network, trace: Trace, other: Target | None, covered: Tensor | None) -> Against | None:
    if other is None:
        return None
    whole = remaining(net, other, trace.output)
    return Against(other.names[0], whole, None if covered is None else remaining(net, other, covered))


def _proposed(net: Network, trace: Trace, spoken: dict[str, Heatmap], read: Cells) -> list[Proposed]:
    """The regions whose cells speak for the class, where cells have exact scores; else those that the maps point at."""
    target = trace.target
    if read.scores is not None and target.indices is not None and net.head == "softmax":
        return class_regions(read, int(target.indices[0]), trace.images[0])
    return regions(spoken, trace.images[0]) if spoken else []


def _words(naming: Naming) -> tuple[str, ...]:
    first = () if naming.words is None else (naming.words,)
    return tuple(dict.fromkeys((*first, *naming.classes)))


def _others(naming: Naming, falls: Tensor, fall: float, target: str) -> tuple[str, ...]:
    """Two more classes at most that a region speaks for."""
    return tuple(
        dict.fromkeys(
            each.words
            for each in naming.alternatives
            if each.words not in (target, naming.words)
            and not same_thing(each.words, target)
            and float(falls[each.index]) >= w.READ_AS * fall > 0
        )
    )[:2]


def _place(mask: Tensor) -> str:
    """Where a region lies, by its center of mass."""
    height, width = mask.shape
    rows, columns = mask.nonzero().double().mean(0).tolist()
    return w.place(rows + 0.5, columns + 0.5, height, width)


def brief_clause(
    top: tuple[Entry, ...], target: Entry, found: Brief, tested: Faithfulness | None, warning: str | None
) -> Clause:
    """The short sentence as one clause."""
    first = top[0]
    second = rival(top) if target["predicted"] else None
    probable, asked = found.whole.probability is not None, not target["predicted"]
    facts: dict[str, Any] = {
        "name": target["name"],
        "whole": found.whole,
        "predicted": (first["class"], first["probability"])
        if asked and first["probability"] is not None
        else None,
        "rival": None if second is None or found.against else (second["class"], second["probability"]),
        "against": found.against,
        "numeric": first["probability"] is None and not asked,
        "unsure": bool(probable and not asked and first["probability"] < w.UNSURE),
        "regions": [_said(each, target["name"]) for each in found.seen],
        "without": found.without,
        "warning": warning or _distrust(tested),
        "least": None if found.seen else found.least,
    }
    numbers = left("whole", found.whole)
    if second is not None:
        numbers.append(
            Quantity("class.probability", second["probability"], "probability", {"name": second["class"]})
        )
    for each in found.seen:
        assert each.region.effect is not None
        numbers += left("region", each.region.effect, number=each.region.number)
        if each.region.confidence is not None:
            numbers.append(
                Quantity("region.word", each.region.confidence, "probability", {"number": each.region.number})
            )
    if not found.seen and found.least is not None:
        numbers += left("least", found.least, count=found.tried)
    if found.against is not None:
        numbers += left("against", found.against.whole, name=found.against.name)
        if found.against.without is not None:
            numbers += left("against.without", found.against.without, name=found.against.name)
    if found.without is not None:
        numbers += left("regions", found.without, count=len(found.seen))
    return clause("brief", "brief", facts, numbers)


def _said(seen: Seen, target: str) -> dict[str, Any]:
    """What a speaker needs of a region: its number, a word of its own where it has one, its place, and other readings."""
    word = seen.naming.words
    own = word is not None and word != target and not same_thing(word, target)
    return {
        "number": seen.region.number,
        "word": word if own else None,
        "place": seen.place,
        "placed": seen.naming.kind != "given",
        "others": seen.others,
    }


def _distrust(tested: Faithfulness | None) -> str | None:
    """Why the regions may not be trusted, in one word; None where nothing speaks against them."""
    if tested is None:
        return None
    if tested.overridden:
        return "insensitive"
    return "worse" if tested.verdict == "worse" else "flat" if tested.verdict == "flat" else None


def suspicion(net: Network) -> str | None:
    """What has to be said of a network before anything else: "untrained", "transformer", or None."""
    norms = [
        module
        for module in net.module.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None
    ]
    fresh = [
        not bool(norm.running_mean.any()) and bool((norm.running_var == 1).all())  # type: ignore[union-attr]
        for norm in norms
    ]
    if any(note.startswith(RANDOM.split(":")[0]) for note in net.notes) or (fresh and all(fresh)):
        return "untrained"
    attends = any("attention" in type(module).__name__.lower() for module in net.module.modules())
    stages = net.layers.stages
    if attends and len(stages) <= 1:
        return "transformer"
    return None
