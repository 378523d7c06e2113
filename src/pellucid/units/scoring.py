"""`neurons`: a score per unit and image, by any registered criterion; the frame around the criteria."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.layers import LayerLike
from pellucid.core.network import NetworkLike, TargetLike, as_network
from pellucid.core.registry import create
from pellucid.core.results import UnitScores
from pellucid.data.batches import as_batch, as_layer, traces
from pellucid.units.criterion import Criterion


def neurons(
    net: NetworkLike,
    images: Any,
    layer: LayerLike | None = None,
    target: TargetLike = None,
    criterion: str | Criterion = "cgnis",
    *,
    batch_size: int = 16,
    normalized: bool | None = None,
    progress: bool | None = None,
    **parameters: Any,
) -> UnitScores:
    """How much every unit of a layer mattered for a target, per image.

    Args:
        net: a network, module, name or file; see `pellucid.load`.
        images: as in `pellucid.attribute`.
        layer: name, position or module; by default the last stage.
        target: class index or name, one per image, or a function of the output; None is the predicted class.
        criterion: a name (``pellucid.names("neurons")``) or an instance.
        batch_size: images at once.
        normalized: of a float tensor: True when it is ready for the network, False when it is in [0, 1].
        progress: False hides the bar.
        **parameters: of a criterion given by name.

    Returns:
        Scores [batch unit]; larger values mattered more.

    Raises:
        UnknownNameError: an unknown criterion or layer.
        TypeError: a parameter that the criterion does not have.
        ValueError: unusable images, or a target list of another length.

    Example:
        >>> import pellucid as pl
        >>> net = pl.load(torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...     torch.nn.Linear(144, 2)), input_shape=(1, 8, 8))
        >>> pl.neurons(net, torch.rand(3, 1, 8, 8), "1", target=0, normalized=True).values.shape
        torch.Size([3, 4])
    """
    net = as_network(net)
    made: Criterion = create("neurons", criterion, **parameters)
    batch = as_batch(net, images, normalized)
    place = as_layer(net, batch, layer)
    wanted = () if made.needs == "passes" else (place.name,)
    values: list[Tensor] = []
    named: list[str] = []
    for trace in traces(
        net, batch, wanted, made.explained(net, batch, target), batch_size,
        gradients=made.needs == "gradient", progress=progress, label=made.name,
    ):  # fmt: skip
        named += trace.target.names
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(net.device.type, enabled=False):
            values.append(made(trace, place.name).detach())
    return UnitScores(torch.cat(values), place, made.name, tuple(named))


def class_scores(scores: UnitScores, labels: Sequence[str | int] | None = None) -> UnitScores:
    """Mean scores over the images of each class: ``.values`` is [class unit], ``.target`` names the classes.

    Classes are the targets of the scores, or ``labels``, one per image; they come in the order of their first
    image.
    """
    given = tuple(str(label) for label in (scores.target if labels is None else labels))
    if len(given) != len(scores.values):
        raise ValueError(f"Expected one label for each of {len(scores.values)} images, got {len(given)}.")
    classes = tuple(dict.fromkeys(given))
    rows = [scores.values[[i for i, label in enumerate(given) if label == each]].mean(0) for each in classes]
    return replace(scores, values=torch.stack(rows), target=classes)
