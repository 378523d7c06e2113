"""`explain`: what a network did with images, and why."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy.typing as npt
from PIL import Image
from torch import Tensor

from pellucid.core.network import NetworkLike, TargetLike, as_network
from pellucid.core.registry import suggest
from pellucid.data.images import Picture
from pellucid.data.pictures import Renderable, pictures
from pellucid.explanation.explanation import Explanation
from pellucid.explanation.one_image import explain_picture
from pellucid.explanation.request import one_each, request_of
from pellucid.explanation.settings import ExplainSettings

OneImage: TypeAlias = (
    str | Path | bytes | Image.Image | npt.NDArray[Any] | Tensor | Picture | Renderable
)  # or, as a path, array or tensor, a folder or a batch


@overload
def explain(
    net: NetworkLike,
    images: OneImage,
    settings: ExplainSettings | None = None,
    *,
    target: TargetLike = None,
    mask: Any = None,
    normalized: bool | None = None,
    **changes: Any,
) -> Explanation: ...
@overload
def explain(
    net: NetworkLike,
    images: Sequence[OneImage],
    settings: ExplainSettings | None = None,
    *,
    target: TargetLike = None,
    mask: Any = None,
    normalized: bool | None = None,
    **changes: Any,
) -> list[Explanation]: ...
def explain(
    net: NetworkLike,
    images: Any,
    settings: ExplainSettings | None = None,
    *,
    target: TargetLike = None,
    mask: Any = None,
    normalized: bool | None = None,
    **changes: Any,
) -> Explanation | list[Explanation]:
    """Explain what a network did with an image: where it looked, which units carried it, in a sentence.

    Args:
        net: made by `pellucid.load`.
        images: a path, PIL image, array or tensor, a scene or rendering of the concept world, whose object mask is then known,
            or a list of these; see `pellucid.data.pictures.pictures`.
        settings: how; `ExplainSettings` by default.
        target: class index, name or function, or one for each image; None is the predicted class.
        mask: bool array [height width] of the object in the original image.
        normalized: of float tensors: True when they are normalized already, False when they lie in [0, 1].
        changes: settings by name, in place of those of ``settings``.

    Returns:
        An `Explanation` of one image; a list of them for a list, and for a folder or a batch of several.

    Raises:
        UnknownNameError: unknown methods, layers, classes or languages.
        ImageError: unusable images.
        ValueError: tables, pictures or patterns of another network, a ``why_not`` that is the explained class, a mask that does
            not fit.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.world import draw
        >>> scene = draw(7, class_name="bicycle", split="test")
        >>> explanation = explain(pl.load("scenes-vgg"), scene, methods=[], faithfulness=False)
        >>> explanation.target["name"], explanation.settings.method
        ('bicycle', 'shallow-cam')
    """
    net = as_network(net)
    if changes.get("layers") is not None and not isinstance(changes["layers"], str):
        changes["layers"] = net.layer_names(changes["layers"])
    if changes.get("neuron_layer") is not None:
        (changes["neuron_layer"],) = net.layer_names(changes["neuron_layer"])
    request = request_of(net, settings_from(settings, changes))
    given = pictures(images)
    several = len(given) > 1 or isinstance(images, (list, tuple))
    if several and mask is not None and not any(picture.rendering for picture in given):
        raise ValueError(f"Expected one image with a mask, got {len(given)}; try one call for each.")
    targets = one_each(target, len(given))
    explanations = [
        explain_picture(net, request, picture, each, mask, normalized)
        for picture, each in zip(given, targets, strict=True)
    ]
    return explanations if several else explanations[0]


def settings_from(settings: ExplainSettings | None, changes: dict[str, Any]) -> ExplainSettings:
    """Settings with some of them changed.

    Raises:
        TypeError: for a name that is no setting, with the close ones.
    """
    known = [each.name for each in fields(ExplainSettings)]
    for name in changes:
        if name not in known:
            raise TypeError(f"Expected a setting of `explain`, got `{name}`; {suggest(name, known)}")
    return replace(settings or ExplainSettings(), **changes)


def _signature() -> inspect.Signature:
    """The signature of `explain` with every setting by its name, for help and completion."""
    own = inspect.signature(explain)
    given = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    for each in fields(ExplainSettings):
        default = inspect.Parameter.empty if each.default is MISSING else each.default
        given.append(
            inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=each.type
            )
        )
    return own.replace(parameters=given)


explain.__signature__ = _signature()  # type: ignore[attr-defined]
