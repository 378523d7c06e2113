"""What is asked of an explanation, resolved: settings with the methods, layers, tables and recognizers they name; and the object
that is known to be in a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.attribution import Method
from pellucid.core.layers import INPUT
from pellucid.core.network import Network, TargetLike
from pellucid.core.registry import create, get, names
from pellucid.core.target import plain_target
from pellucid.data.images import Picture
from pellucid.explanation.concepts import Names, TableLike, names_for
from pellucid.explanation.patterns import patterns_for
from pellucid.explanation.settings import ExplainSettings
from pellucid.explanation.sight import Recognizing, of_concept_world, recognizer_for
from pellucid.speech.languages import check_language
from pellucid.speech.world_chinese import WORLD
from pellucid.units.criterion import Criterion
from pellucid.units.patterns import Patterns
from pellucid.visualization.painted import Pictures, pictures_for

EXTRA = ("guided-backprop",)  # needs a pass of its own and is worth it


@dataclass(frozen=True, eq=False)
class Request:
    """Settings and what they name, resolved once for all images; made by `request_of`.

    Args:
        settings: what was asked.
        methods: the one the sentence speaks of comes first.
        layers: where maps are made.
        layer: whose important units are looked at.
        criterion: by which.
        meanings: what units respond to.
        pictures: painted for units.
        recognizer: of parts.
        patterns: of units that are active together.
        names: of classes and concepts, in Chinese.
    """

    settings: ExplainSettings
    methods: tuple[Method, ...]
    layers: tuple[str, ...]
    layer: str
    criterion: Criterion
    meanings: Names
    pictures: Pictures
    recognizer: Recognizing | None
    patterns: Patterns | None
    names: Mapping[str, str]


def request_of(net: Network, settings: ExplainSettings) -> Request:
    """Settings resolved for a network.

    Raises:
        UnknownNameError: for methods, layers, criteria, classes, languages or recognizers that are not known.
        ValueError: for the tables, pictures or patterns of another network.
    """
    stages = net.default_layers if settings.layers is None else tuple(settings.layers)
    layer = settings.neuron_layer or [name for name in stages if name != INPUT][-1]
    for name in (*stages, layer):
        net.layer(name)
    if settings.why_not is not None and isinstance(settings.why_not, (int, str)):
        net.class_index(settings.why_not)
    return Request(
        settings=settings,
        methods=tuple(create("attribution", name) for name in _methods(settings)),
        layers=stages,
        layer=layer,
        criterion=create("neurons", settings.criterion),
        meanings=_names(net, settings.table, layer, stages),
        pictures=pictures_for(net, settings.pictures),
        recognizer=recognizer_for(net, settings.recognizer),
        patterns=patterns_for(net, settings.patterns),
        names=WORLD if check_language(settings.language) and of_concept_world(net) else {},
    )


def default_methods() -> tuple[str, ...]:
    """Every attribution method that one forward and one backward pass allow, and guided backpropagation."""
    cheap = [name for name in names("attribution") if get("attribution", name).needs != "passes"]
    return (*cheap, *(name for name in EXTRA if name in names("attribution")))


def _methods(settings: ExplainSettings) -> list[Any]:
    if settings.methods is None:
        further: Sequence[str] = default_methods()
    elif tuple(settings.methods) == ("all",):
        further = names("attribution")
    else:
        further = settings.methods
    return list(dict.fromkeys([settings.method, *further]))


def _names(net: Network, table: TableLike | Names, layer: str, layers: Sequence[str]) -> Names:
    """The tables of ``layer``; those that come with a network of all ``layers`` that have one."""
    given: Any = {} if isinstance(table, str) and table == "none" else table
    own = names_for(net, given, layer)
    if given is not None:
        return own
    others = [names_for(net, None, name).tables for name in layers if name not in (INPUT, layer)]
    return Names({name: each for tables in (*others, own.tables) for name, each in tables.items()}, own.notes)


@dataclass(frozen=True, eq=False)
class Known:
    """The object's mask in the picture, and its name, where they are known."""

    mask: Tensor | None = None
    label: str | None = None


def one_each(target: TargetLike, count: int) -> list[Any]:
    """A target for every image.

    Raises:
        ValueError: where a list has another length.
    """
    given = plain_target(target)
    if isinstance(given, list):
        if len(given) != count:
            raise ValueError(f"Expected one target for each of {count} images, got {len(given)}.")
        return given
    return [given] * count


def known_object(picture: Picture, mask: Any) -> Known:
    """What is known of the object in a picture: of a rendering its own mask, else the one given.

    Raises:
        ValueError: for a mask that is no mask, or one beside a rendering.
    """
    rendering = picture.rendering
    if rendering is not None:
        if mask is not None:
            raise ValueError(
                "Expected no `mask` with scenes, which bring their own, got one; try `rendering.image` for another mask."
            )
        if rendering.object_name is None:
            return Known()
        return Known(torch.from_numpy(rendering.object_mask()), rendering.object_name)
    if mask is None:
        return Known()
    array = np.asarray(mask)
    if array.ndim != 2 or array.dtype.kind not in "bui" or not array.any():
        raise ValueError(
            f"Expected `mask` to be a bool array [height width] with pixels set, got {array.dtype} {array.shape}."
        )
    return Known(torch.from_numpy(array != 0), "object")


def mask_at_input(known: Tensor | None, net: Network, shown: Picture, images: Tensor) -> Tensor | None:
    """The mask as the network sees it, None where sizes cannot agree.

    Raises:
        ValueError: for one of another size than the picture.
    """
    if known is None:
        return None
    width, height = shown.original_size
    if tuple(known.shape) != (height, width):
        raise ValueError(
            f"Expected a mask of the image's size {height}×{width}, got {known.shape[0]}×{known.shape[1]}."
        )
    view = net.preprocess.view_mask(known.numpy())
    return view if view.shape == images.shape[2:] else None
