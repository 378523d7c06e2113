"""What a picture shows, part by part, from a recognizer of attributes.

A recognizer (`pellucid.explanation.recognizer`, or any object with its names, categories, thresholds, ``probabilities`` and
``maps``) names what it is sure of: parts whose probability reaches their threshold. A pixel belongs to the part whose map is
the largest there, if that part is more probable than none of them ::

    region(a) = { p : map_a(p) = max_b map_b(p)  and  map_a(p) ≥ 1 − Σ_b map_b(p) }

with the maps enlarged bilinearly to the network's input. All regions together are the object; what remains are its
surroundings. Without a recognizer nothing is known of parts, object and surroundings: what a unit responds to over many pictures
is not what it sees in this one, so that names of units never stand in for parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pellucid.core.network import Network
from pellucid.core.precision import exact
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.speech.wording import COLORED
from pellucid.speech.world_chinese import WORLD
from pellucid.zoo.embedded import WEIGHTS

LEAST = 0.0003  # share of the picture from which on a region counts
MOST = 9  # parts, the largest; each costs `len(FILLS)` forward passes
SHIPPED = (
    "scenes-readout",
    "scenes-irenet",
)  # the first is what networks of the concept world's classes take by themselves


class Recognizing(Protocol):
    """What is asked of a recognizer; `pellucid.explanation.recognizer.Recognizer` is one."""

    names: tuple[str, ...]
    categories: tuple[str, ...]
    thresholds: Any

    def probabilities(self, pictures: Any) -> Tensor:
        """[batch attribute] in [0, 1]."""

    def maps(self, pictures: Any, attributes: Sequence[str] | None = None) -> Tensor:
        """[batch attribute h w] in [0, 1], over the whole picture."""


RecognizerLike = Recognizing | str | None


@dataclass(frozen=True, eq=False)
class Seen:
    """One part of a picture: its region [h w] at input size, and what the name rests on.

    ``probability`` and ``threshold`` are the recognizer's; ``color``: the color of most of the region, and of which share of it.
    """

    name: str
    region: Bool[Tensor, "h w"]
    probability: float | None = None
    threshold: float | None = None
    color: tuple[str, float] | None = None


@dataclass(frozen=True, eq=False)
class Sight:
    """What is known of a picture: its parts, the object [h w] they make up, and its surroundings.

    ``asked``: was a recognizer asked; ``probabilities`` and ``thresholds``: of everything it knows, by name, of the kind that
    parts are; ``runs``: pictures it looked at.
    """

    parts: tuple[Seen, ...] = ()
    thing: Bool[Tensor, "h w"] | None = None
    scene: tuple[str, float] | None = None
    color: tuple[str, float] | None = None
    asked: bool = False
    probabilities: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    runs: int = 0


def recognizer_for(net: Network, given: RecognizerLike) -> Recognizing | None:
    """The recognizer to ask: the one given, by name or file too, or for a network of the concept world's classes the shipped one.

    The name ``"none"`` asks none. Raises UnknownNameError for another name, CheckpointError for a file that is no recognizer,
    TypeError for an object that is none.
    """
    if isinstance(given, str):
        return None if given == "none" else _by_name(given)
    if given is not None:
        if not all(
            hasattr(given, what) for what in ("names", "categories", "thresholds", "probabilities", "maps")
        ):
            raise TypeError(
                f"Expected a recognizer of attributes, got {type(given).__name__}; try "
                "`pellucid.explanation.recognizer(FILE)`."
            )
        return given
    if not of_concept_world(net) or not (WEIGHTS / f"{SHIPPED[0]}.safetensors").is_file():
        return None
    return _by_name(SHIPPED[0])


def _by_name(name: str) -> Recognizing:
    if name == SHIPPED[0]:
        from pellucid.explanation.readout import readout

        return readout()
    if name not in SHIPPED and not Path(name).expanduser().is_file():
        raise UnknownNameError(
            f"Expected a recognizer's name or file, got `{name}`; {suggest(name, (*SHIPPED, 'none'))}"
        )
    from pellucid.explanation.recognizer import recognizer

    return recognizer(name)


def of_concept_world(net: Network) -> bool:
    """Are its classes those of the embedded world?"""
    if not set(net.classes) <= WORLD.keys():
        return False  # most are not, and need not wait for the world to be imported
    from pellucid.world.vocabulary import CLASSES

    return net.classes == CLASSES


def look(recognizer: Recognizing, picture: Image.Image, size: tuple[int, int]) -> Sight:
    """What a recognizer sees in a picture, with regions at ``size`` (height, width)."""
    with torch.inference_mode(False), torch.no_grad():
        probabilities = recognizer.probabilities(picture)[0].cpu().double()
        thresholds = torch.as_tensor(recognizer.thresholds).cpu().double()
        if probabilities.shape != (len(recognizer.names),) or thresholds.shape != probabilities.shape:
            raise ValueError(
                f"Expected a probability and a threshold for each of {len(recognizer.names)} attributes, got "
                f"{tuple(probabilities.shape)} and {tuple(thresholds.shape)}; try another recognizer."
            )
        kinds = _by_category(recognizer)
        kind = next((one for one in ("part", "object") if one in kinds), None)
        chosen = kinds.get(kind or "", ())
        probable = dict(zip(recognizer.names, probabilities.tolist(), strict=True))
        limits = dict(zip(recognizer.names, thresholds.tolist(), strict=True))
        runs = 1
        parts: tuple[Seen, ...] = ()
        thing = colors = None
        if chosen:
            named = (*chosen, *kinds.get("color", ()))
            maps = _enlarged(recognizer.maps(picture, list(named)), size)
            runs += 1
            colors = dict(zip(named[len(chosen) :], maps[len(chosen) :], strict=True))
            parts, thing = _parts(chosen, maps[: len(chosen)], probable, limits, colors)
        scenes = [
            (probable[name], name) for name in _whole(recognizer, "scene") if probable[name] >= limits[name]
        ]
    known = {name: probable[name] for name in chosen}
    return Sight(
        parts=parts,
        thing=thing,
        scene=(max(scenes)[1], max(scenes)[0]) if scenes else None,
        color=None if thing is None or not colors else _color(colors, ~thing),
        asked=True,
        probabilities=known,
        thresholds={name: limits[name] for name in chosen},
        runs=runs,
    )


def _parts(
    names: Sequence[str],
    maps: Float[Tensor, "part h w"],
    probable: Mapping[str, float],
    limits: Mapping[str, float],
    colors: Mapping[str, Tensor],
) -> tuple[tuple[Seen, ...], Tensor]:
    """The parts that are there, by area, and the pixels of them all."""
    there = [place for place, name in enumerate(names) if probable[name] >= limits[name]]
    none = (1 - maps.sum(0)).clamp(min=0)
    if not there:
        return (), torch.zeros_like(none, dtype=torch.bool)
    largest, owner = maps[there].max(0)
    thing = largest >= none
    found = [(names[place], (owner == k) & thing) for k, place in enumerate(there)]
    found = [(name, region) for name, region in found if float(exact(region).mean()) >= LEAST]
    found.sort(key=lambda one: -int(one[1].sum()))
    parts = tuple(
        Seen(name, region, probable[name], limits[name], _color(colors, region))
        for name, region in found[:MOST]
    )
    return parts, thing


def _color(colors: Mapping[str, Tensor], region: Tensor) -> tuple[str, float] | None:
    """The color that is the largest on most pixels of a region, and its share of them; None below `wording.COLORED`."""
    if not colors or not bool(region.any()):
        return None
    best = torch.stack(list(colors.values()))[:, region].argmax(0)
    counts = torch.bincount(best, minlength=len(colors))
    share = float(counts.max()) / int(region.sum())
    return (list(colors)[int(counts.argmax())], share) if share >= COLORED else None


def _by_category(recognizer: Recognizing) -> dict[str, tuple[str, ...]]:
    """Attributes that have maps, by category."""
    mapped = set(getattr(recognizer, "mapped", recognizer.names))
    found: dict[str, list[str]] = {}
    for name, category in zip(recognizer.names, recognizer.categories, strict=True):
        if name in mapped:
            found.setdefault(category, []).append(name)
    return {category: tuple(names) for category, names in found.items()}


def _whole(recognizer: Recognizing, category: str) -> list[str]:
    return [
        name for name, each in zip(recognizer.names, recognizer.categories, strict=True) if each == category
    ]


def _enlarged(maps: Tensor, size: tuple[int, int]) -> Float[Tensor, "attribute h w"]:
    return F.interpolate(maps.float().cpu(), size=size, mode="bilinear", align_corners=False)[0]
