"""Words for regions, units and directions, in the network's own vocabulary: its classes and the nouns above them.

A region is named by the scores that its cells alone give all classes (`pellucid.naming.cells`); of the most probable class and
ever broader nouns the narrowest whose calibrated confidence reaches `SAID` is said, and none where none does. A unit or a
direction speaks for the classes that lose most when it is taken away ::

    loss_c(k) = W_ck · mean_ij A_k       at the last stage before a linear head, exactly;   z_c − z_c(without k)   anywhere else
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.capture import Trace
from pellucid.core.network import Network
from pellucid.core.tail import Tail
from pellucid.naming.calibration import CAUTIOUS, FITTED, SAID, SHARES, Calibration
from pellucid.naming.cells import Cells, cells, last_layer, lost, masses
from pellucid.naming.given import GivenNames, kept_names
from pellucid.naming.hierarchy import Hierarchy, hierarchy_for, imagenet_hierarchy

Kind = Literal["given", "class", "broader"]
ALTERNATIVES = 5


@dataclass(frozen=True)
class Alternative:
    """A class that might be meant: plain words, index, and its share (a probability; of a unit, of the loss)."""

    words: str
    index: int
    share: float


@dataclass(frozen=True)
class Naming:
    """What a region, unit or direction is called.

    Attributes:
        words: What may be said; None where no word is sure enough (then say the place).
        kind: "class", "broader" (a noun above several classes) or "given" (by the user); None without words.
        confidence: Calibrated probability that ``words`` is right, or that the best word would have been; None for units and
            directions, whose words are not calibrated, and for given names.
        broader: The narrowest noun above several classes that is sure enough to be said; None where none is.
        alternatives: The most probable classes, the first first.
        exact: Whether the scores behind it are exact parts of the network's own.
    """

    words: str | None
    kind: Kind | None
    confidence: float | None
    broader: str | None
    alternatives: tuple[Alternative, ...]
    exact: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """The words of the alternatives, each once, the best first."""
        return tuple(dict.fromkeys(each.words for each in self.alternatives))


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What a network can say.

    Attributes:
        hierarchy: The words of its classes and the nouns above them.
        calibration: How sure a word is.
        given: Names that its user gave; they go before its own.
    """

    hierarchy: Hierarchy
    calibration: Calibration
    given: GivenNames | None = None

    @property
    def speaks(self) -> bool:
        """False where every class is a number."""
        return any(word is not None for word in self.hierarchy.words)

    def name(self, mass: Float[Tensor, " class"], area: float, exact: bool, said: float = SAID) -> Naming:
        """The word for a distribution over the classes that a region of this share of the picture gives."""
        mass, hierarchy = mass.detach().cpu().float(), self.hierarchy
        mass = mass / mass.sum().clamp(min=1e-12)
        alternatives = self._alternatives(mass)
        if not alternatives:
            return Naming(None, None, None, None, (), exact)
        best = alternatives[0]
        sure = self.calibration(min(best.share, 1.0), 1, best.share, area)
        nouns = [hierarchy.broadest([mass], share)[0] for share in SHARES]
        broader, broad = None, 0.0
        for noun in dict.fromkeys(noun for noun in nouns if noun is not None and noun.name != best.words):
            held = float(mass[list(noun.classes)].sum())
            confidence = self.calibration(held, len(noun.classes), best.share, area)
            if confidence >= said:
                broader, broad = noun.name, confidence
                break
        if sure >= said:
            return Naming(best.words, "class", sure, broader, alternatives, exact)
        if broader is not None:
            return Naming(broader, "broader", broad, broader, alternatives, exact)
        return Naming(None, None, sure, None, alternatives, exact)

    def losses(self, loss: Float[Tensor, " class"], exact: bool, share: float = 0.6) -> Naming:
        """Words for what classes lose: those that lose most, and the noun that holds ``share`` of the losses of the first few."""
        loss = loss.detach().cpu().float()
        first = loss.topk(min(ALTERNATIVES, len(loss)))
        mass = torch.zeros_like(loss)
        mass[first.indices] = first.values.clamp(min=0)
        if not bool(mass.sum() > 0):
            return Naming(None, None, None, None, (), exact)
        mass = mass / mass.sum()
        alternatives = self._alternatives(mass)
        noun = self.hierarchy.broader(mass, share)
        if not alternatives:
            return Naming(None, None, None, None, (), exact)
        return Naming(
            alternatives[0].words, "class", None, None if noun is None else noun.name, alternatives, exact
        )

    def _alternatives(self, mass: Float[Tensor, " class"]) -> tuple[Alternative, ...]:
        """The most probable classes that have words; classes of the same words are one."""
        order = mass.topk(min(4 * ALTERNATIVES, len(mass)))
        shares: dict[str, tuple[str, int, float]] = {}
        for value, index in zip(order.values.tolist(), order.indices.tolist(), strict=True):
            word = self.hierarchy.words[index]
            if word is None or value <= 0:
                continue
            key = re.sub("(e?s)+$", "", word.casefold())  # a sunglass and sunglasses are no two things
            first, place, total = shares.get(key, (word, index, 0.0))
            shares[key] = (first, place, total + value)
        ranked = sorted(shares.values(), key=lambda each: -each[2])[:ALTERNATIVES]
        return tuple(Alternative(*each) for each in ranked)


def vocabulary(
    net: Network, hierarchy: str | Path | None = None, given: GivenNames | None = None
) -> Vocabulary:
    """The vocabulary of a network.

    Args:
        net: The network.
        hierarchy: A CSV file of the user's broader words (`pellucid.naming.hierarchy.read_hierarchy`).
        given: Names given by the user; those in the configuration folder where none are.

    Example:
        >>> import pellucid as pl
        >>> vocabulary(pl.load("scenes-resnet")).speaks
        True
    """
    words = hierarchy_for(net.classes, hierarchy)
    calibration = FITTED if words is imagenet_hierarchy() else CAUTIOUS
    return Vocabulary(words, calibration, kept_names(net) if given is None else given)


def name_region(
    net: Network,
    seen: Cells | Trace | Float[Tensor, "1 channel height width"],
    mask: Bool[Tensor, "height width"],
    *,
    words: Vocabulary | None = None,
) -> Naming:
    """What a region of a picture is called; see `name_regions`."""
    return name_regions(net, seen, mask[None], words=words)[0]


def name_regions(
    net: Network,
    seen: Cells | Trace | Float[Tensor, "1 channel height width"],
    masks: Bool[Tensor, "region height width"],
    *,
    words: Vocabulary | None = None,
) -> list[Naming]:
    """What regions of a picture are called, by the scores their cells alone give all classes.

    Args:
        net: The network.
        seen: `cells(net, image)`, or a trace or normalized image to read them from (without the last layer in the trace this
            costs one forward pass).
        masks: Regions at input size; an empty one gets no word.
        words: `vocabulary(net)`, made anew where it is not given.

    Returns:
        One `Naming` a region, in order.
    """
    words = words or vocabulary(net)
    read = seen if isinstance(seen, Cells) else cells(net, seen)
    distributions = masses(net, read.regions(masks))
    areas = masks.float().mean((1, 2)).tolist()
    return [
        words.name(mass, area, read.exact) if area > 0 else Naming(None, None, None, None, (), read.exact)
        for mass, area in zip(distributions, areas, strict=True)
    ]


def name_units(
    net: Network,
    images: Trace | Float[Tensor, "1 channel height width"],
    layer: str,
    units: Sequence[int],
    *,
    words: Vocabulary | None = None,
    tail: Tail | None = None,
) -> list[Naming]:
    """The classes that lose most when a unit is set to zero in this picture, for each unit.

    At the last stage before a linear head that is ``W_ck · mean A_k`` and costs nothing; elsewhere one run of the tail a unit.

    Args:
        net: The network.
        images: A trace or normalized image; the first image is spoken of.
        layer: Where the units are.
        units: Which of its channels.
        words: `vocabulary(net)`, made anew where it is not given.
        tail: The tail behind ``layer``, where one is there already.
    """
    words = words or vocabulary(net)
    pixels = (images.images if isinstance(images, Trace) else images)[:1]
    if layer == last_layer(net, (int(pixels.shape[2]), int(pixels.shape[3]))):
        read = cells(net, images)
        if read.weight is not None and bool((read.activation >= 0).all()):
            mean = read.activation[0].mean((1, 2))
            own = [words.losses(read.weight[:, unit] * mean[unit], True) for unit in units]
            return [_as_given(naming, words, layer, unit) for naming, unit in zip(own, units, strict=True)]
    tail = tail or Tail(net, pixels, layer)
    losses = lost(net, tail, [[unit] for unit in units])
    return [
        _as_given(words.losses(loss, False), words, layer, unit)
        for loss, unit in zip(losses, units, strict=True)
    ]


def _as_given(naming: Naming, words: Vocabulary, layer: str, unit: int) -> Naming:
    """The name that the user gave the unit, where there is one."""
    name = None if words.given is None else words.given.unit(layer, unit)
    return naming if name is None else replace(naming, words=name, kind="given", confidence=None)


def name_direction(
    net: Network,
    images: Trace | Float[Tensor, "1 channel height width"],
    layer: str,
    part: Float[Tensor, "1 unit h w"],
    *,
    words: Vocabulary | None = None,
    tail: Tail | None = None,
) -> Naming:
    """The classes that lose most when ``part`` is subtracted from the activations of a layer.

    Args:
        net: The network.
        images: A trace or normalized image; the first image is spoken of.
        layer: Where the direction is.
        part: What is taken away: the direction times its strength in every cell.
        words: `vocabulary(net)`, made anew where it is not given.
        tail: The tail behind ``layer``, where one is there already.
    """
    pixels = (images.images if isinstance(images, Trace) else images)[:1]
    tail = tail or Tail(net, pixels, layer)
    with torch.no_grad():
        loss = tail.output[:1] - tail(tail.activation[:1] - part.to(tail.activation))
    return (words or vocabulary(net)).losses(loss[0], False)
