"""From whatever a user calls images and layers to traces, one batch after the other, with progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import Trace, capture
from pellucid.core.layers import Layer, LayerLike
from pellucid.core.network import Network, TargetLike
from pellucid.core.progress import bar
from pellucid.core.target import Target, plain_target


def as_batch(
    net: Network, images: Any, normalized: bool | None
) -> Float[Tensor, "batch channel height width"]:
    """Normalized images on the network's device and in its precision; see
    `pellucid.data.preprocess.to_batch`."""
    from pellucid.data.preprocess import from_floats, to_batch

    with torch.inference_mode(False), torch.no_grad():
        if isinstance(images, Tensor) and images.dtype != torch.uint8:  # no picture has to be made of it
            batch = from_floats(images, net.preprocess, normalized, net.input_shape[0])
        else:
            batch = to_batch(images, net.preprocess, normalized=normalized, channels=net.input_shape[0])[0]
        batch = batch.clone() if batch.is_inference() else batch.detach()
        return batch.to(net.device, net.dtype)


def as_layers(net: Network, batch: Tensor, layers: LayerLike | Sequence[LayerLike]) -> tuple[Layer, ...]:
    """The layers, given by name, position or module, at the size of the batch, each once; raises UnknownNameError, or ValueError
    for none."""
    known = net.layers_at((int(batch.shape[2]), int(batch.shape[3])))
    names = known.names(layers)
    if not names:
        raise ValueError(
            f"Expected at least one layer, got none; try {', '.join(map(repr, net.default_layers))}."
        )
    return tuple(known[name] for name in names)


def as_layer(net: Network, batch: Tensor, layer: LayerLike | None) -> Layer:
    """One layer, the last one of the default layers for None; see `as_layers`. Raises ValueError for several."""
    layers = as_layers(net, batch, net.default_layers[-1] if layer is None else layer)
    if len(layers) > 1:
        raise ValueError(
            f"Expected one layer, got {len(layers)} ({', '.join(f'`{each.name}`' for each in layers)}); try one after the other."
        )
    return layers[0]


def traces(
    net: Network,
    batch: Float[Tensor, "batch channel height width"],
    layers: Sequence[str],
    target: TargetLike,
    batch_size: int,
    *,
    gradients: bool = True,
    progress: bool | None = None,
    label: str = "",
) -> Iterator[Trace]:
    """A trace for every ``batch_size`` images. ``progress``: see `pellucid.core.progress`."""
    if batch_size < 1:
        raise ValueError(f"Expected `batch_size` of at least 1, got {batch_size}; try 16.")
    count = len(batch)
    target = _checked(target, count)
    with bar(count, label, "image", progress) as shown:
        for first in range(0, count, batch_size):
            part = slice(first, min(first + batch_size, count))
            yield capture(net, batch[part], layers, _part(target, part), gradients=gradients)
            shown.update(part.stop - part.start)


def _checked(target: TargetLike, count: int) -> Any:
    """A target per image has to have one for each image before the first batch is run."""
    target = plain_target(target)
    given = (
        len(target.names)
        if isinstance(target, Target)
        else len(target)
        if isinstance(target, list)
        else count
    )
    if given != count:
        raise ValueError(
            f"Expected one target for each of {count} images, got {given}; "
            f"try one class for all, or a list of {count}."
        )
    return target


def _part(target: Any, part: slice) -> Any:
    return target[part] if isinstance(target, (list, Target)) else target
