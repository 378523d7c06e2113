"""From whatever a user calls images, maps, masks and target to the cases metrics measure, one per layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.attribution import attribute
from pellucid.attribution.method import Method
from pellucid.core.layers import LayerLike
from pellucid.core.network import Network, TargetLike
from pellucid.core.registry import create
from pellucid.core.results import Heatmap
from pellucid.core.target import Target
from pellucid.data.batches import as_batch
from pellucid.data.pictures import pictures
from pellucid.evaluation.metric import Case
from pellucid.evaluation.scores import at_once, running


def cases(
    net: Network,
    images: Any,
    maps: Any,
    *,
    target: TargetLike = None,
    masks: Any = None,
    batch_size: int = 64,
    normalized: bool | None = None,
    seed: int = 0,
    progress: bool | None = None,
    layers: LayerLike | Sequence[LayerLike] | None = None,
) -> Case | dict[str, Case]:
    """One case, or one for each layer; see `pellucid.evaluate`."""
    if batch_size < 1:
        raise ValueError(f"Expected `batch_size` of at least 1, got {batch_size}; try 16.")
    given, renderings = _renderings(images)
    batch = as_batch(net, given, normalized)
    method: Method | None = create("attribution", maps) if isinstance(maps, (str, Method)) else None
    if method is not None:
        few = min(16, batch_size)  # gradients take memory
        maps = attribute(
            net, batch, method, layers, target, normalized=True, progress=progress, batch_size=few
        )
    elif layers is not None:
        raise TypeError(
            f"Expected `layers` only with the name of a method, got them with {_described(maps)}; try without."
        )
    if masks is None and renderings is not None:
        masks = _object_masks(net, renderings, batch)
    elif masks is not None:
        masks = _masks(masks, batch)
    predicted = cache(lambda: net.resolve_target(None, _outputs(net, batch, batch_size)))

    def case(one: Any) -> Case:
        heatmap = one if isinstance(one, Heatmap) else None
        saliency = _saliency(one, batch)
        aim = _aim(net, len(batch), target, () if heatmap is None else heatmap.target, predicted)
        return Case(
            net, batch, aim, saliency, heatmap, masks, method, renderings, batch_size, seed, progress
        )  # fmt: skip

    if not isinstance(maps, Mapping):
        return case(maps)
    if not maps:
        raise ValueError("Expected maps of at least one layer, got an empty dict.")
    return {layer: case(one) for layer, one in maps.items()}


def _renderings(images: Any) -> tuple[Any, tuple[Any, ...] | None]:
    """Pictures that can be read, and the renderings of the concept world where that is what came."""
    if isinstance(images, Tensor):
        return images, None
    given = pictures(images)
    known = [picture.rendering for picture in given]
    if not any(known):
        return given, None
    odd = [picture.name for picture in given if picture.rendering is None]
    if odd:
        raise TypeError(f"Expected scenes or renderings, and nothing else beside them, got {odd[0]}.")
    return given, tuple(known)


def _object_masks(
    net: Network, renderings: Sequence[Any], batch: Tensor
) -> Bool[Tensor, "batch height width"]:
    """The main object of every rendering, resized and cropped as the picture is; empty where there is none."""
    return torch.stack([net.preprocess.view_mask(one.object_mask()) for one in renderings]).to(batch.device)


def _masks(masks: Any, batch: Tensor) -> Bool[Tensor, "batch height width"]:
    found = _tensor(masks).to(batch.device)
    _check_shape("masks", found, batch)
    if found.dtype == torch.bool:
        return found.reshape(len(batch), *batch.shape[2:])
    if bool(((found != 0) & (found != 1)).any()):
        raise ValueError(f"Expected `masks` of True and False, got {found.dtype} values; try `masks > 0`.")
    return found.reshape(len(batch), *batch.shape[2:]) != 0


def _saliency(one: Any, batch: Tensor) -> Float[Tensor, "batch height width"]:
    """A map per image at input size, floating; what is not finite stays."""
    if isinstance(one, Heatmap):
        if one.input_size != tuple(batch.shape[2:]):
            raise ValueError(
                f"Expected maps of images of {_size(batch.shape[2:])}, got maps of {_size(one.input_size)}; "
                "try the images the maps were made of."
            )
        found = one.upsample().detach()
    elif isinstance(one, (Tensor, np.ndarray)):
        found = _tensor(one)
    else:
        raise TypeError(
            "Expected a Heatmap, the dict that `pellucid.attribute` returns, a tensor or array [batch height width], or a "
            f"method, got {_described(one)}."
        )
    _check_shape("maps", found, batch)
    return (
        (found if found.is_floating_point() else found.float())
        .to(batch.device)
        .reshape(len(batch), *batch.shape[2:])
    )


def _tensor(values: Any) -> Tensor:
    """Without its graph; arrays are copied, for they may be read-only or reversed."""
    return values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.array(values))


def _check_shape(what: str, found: Tensor, batch: Tensor) -> None:
    """[batch height width] of the batch; [height width] is enough for a single image."""
    expected = (len(batch), *batch.shape[2:])
    if found.is_complex() or (tuple(found.shape) != expected and (1, *found.shape) != expected):
        raise ValueError(
            f"Expected `{what}` at input size, one for each image, {expected}, got {tuple(found.shape)}; "
            "try to resize them as the images are."
        )


def _aim(
    net: Network, count: int, target: TargetLike, made_for: tuple[str, ...], predicted: Callable[[], Target]
) -> Target:
    """The user's target, else the class the maps were made for, else the predicted class."""
    unknown = torch.empty(count, 0)  # only its length is asked for
    if target is not None or not made_for:
        return predicted() if target is None else net.resolve_target(target, unknown)
    if all(net.classes.count(name) == 1 for name in made_for):
        return net.resolve_target(made_for, unknown)
    likely = predicted()  # of several classes of one name, the predicted one was meant if it is among them
    if likely.names == made_for:
        return likely
    name = next(name for name in made_for if net.classes.count(name) != 1)
    raise ValueError(
        f"Expected maps made for classes of `{net.name}`, got maps for `{name}`, the name of "
        f"{net.classes.count(name) or 'none'}; try `target=` with what they were made for."
    )


def _outputs(net: Network, batch: Tensor, batch_size: int) -> Float[Tensor, "batch outputs"]:
    with running(net):
        return torch.cat([net(part) for part in torch.split(batch, at_once(batch, batch_size))])


def _size(size: Sequence[int]) -> str:
    return "×".join(map(str, size))


def _described(value: Any) -> str:
    return f"{type(value).__name__}" + (f" {tuple(value.shape)}" if hasattr(value, "shape") else "")
