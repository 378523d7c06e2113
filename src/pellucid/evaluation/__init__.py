"""Is it true: metrics of attribution maps, each a number per image with what is needed to measure it again.

`evaluate` is the frame around the metrics, which are in the other files of this package: it reads images, maps, masks and
scenes, finds out which class is meant, and hands every layer's maps to the metric as a `Case`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

from pellucid.attribution.method import Method
from pellucid.core.layers import LayerLike
from pellucid.core.network import NetworkLike, TargetLike, as_network
from pellucid.core.registry import create
from pellucid.core.results import Heatmap
from pellucid.evaluation.cases import cases
from pellucid.evaluation.measurement import Interval, Measurement, bootstrap, merge
from pellucid.evaluation.metric import Case, Metric

__all__ = ["Case", "Interval", "Measurement", "Metric", "bootstrap", "evaluate", "merge"]


@overload
def evaluate(
    net: NetworkLike, images: Any, maps: str | Method | Mapping[str, Any], metric: str | Metric = ..., *,
    target: TargetLike = ..., masks: Any = ..., batch_size: int = ..., normalized: bool | None = ..., seed: int = ...,
    progress: bool | None = ...,
    layers: LayerLike | Sequence[LayerLike] | None = ..., **parameters: Any,
) -> dict[str, Measurement]: ...  # fmt: skip
@overload
def evaluate(
    net: NetworkLike, images: Any, maps: Heatmap | Any, metric: str | Metric = ..., *, target: TargetLike = ...,
    masks: Any = ..., batch_size: int = ..., normalized: bool | None = ..., seed: int = ..., progress: bool | None = ...,
    layers: LayerLike | Sequence[LayerLike] | None = ..., **parameters: Any,
) -> Measurement: ...  # fmt: skip
def evaluate(
    net: NetworkLike,
    images: Any,
    maps: Any,
    metric: str | Metric = "insertion-deletion",
    *,
    target: TargetLike = None,
    masks: Any = None,
    batch_size: int = 64,
    normalized: bool | None = None,
    seed: int = 0,
    progress: bool | None = None,
    layers: LayerLike | Sequence[LayerLike] | None = None,
    **parameters: Any,
) -> Measurement | dict[str, Measurement]:
    """Measure whether attribution maps are true.

    A map that is constant or not finite, or an empty mask, makes its image undefined, with the reason, and no other.

    Args:
        net: a network, module, name or file; see `pellucid.load`.
        images: as in `pellucid.attribute`; also scenes or renderings of the concept world, whose objects are then the masks.
        maps: a Heatmap, or a tensor or array [batch height width] at input size; the dict that `pellucid.attribute` returns;
            or a method, name or instance, which is computed at ``layers``.
        metric: a name (``pellucid.names("evaluation")``) or an instance.
        target: by default the class the maps were made for, else the predicted one; a function of the output is called on any
            number of rows.
        masks: of the object, bool [batch height width] at *input size*, after resizing and cropping.
        batch_size: images in one forward pass, at most.
        normalized: of a float tensor: True when it is ready for the network, False when it is in [0, 1].
        seed: of everything drawn.
        progress: False hides the bar.
        layers: where a method's maps are computed.
        **parameters: of a metric given by name.

    Returns:
        A `Measurement` of one set of maps; ``{layer: Measurement}`` of a dict or a method.

    Raises:
        UnknownNameError: an unknown metric.
        TypeError: a parameter that the metric does not have.
        ValueError: maps or masks that do not fit the images, or a metric that needs masks, scenes or the method itself where
            there are none.

    Example:
        >>> import torch, pellucid as pl
        >>> net = pl.load(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...     torch.nn.Linear(72, 2)), input_shape=(1, 8, 8))
        >>> curves = pl.evaluate(net, torch.rand(3, 1, 8, 8), torch.rand(3, 8, 8), steps=8, normalized=True)
        >>> curves.main, len(curves), curves.curves["deletion"].shape
        ('composite', 3, torch.Size([3, 9]))
    """
    net = as_network(net)
    made: Metric = create("evaluation", metric, **parameters)
    found = cases(
        net, images, maps, target=target, masks=masks, batch_size=batch_size, normalized=normalized, seed=seed,
        progress=progress, layers=layers,
    )  # fmt: skip
    if isinstance(found, Case):
        return made(_equipped(made, found))
    return {layer: made(_equipped(made, case)) for layer, case in found.items()}


def _equipped(metric: Metric, case: Case) -> Case:
    """The case, if it brings what the metric needs."""
    lacking = {
        "masks": ("`masks` of the object", case.masks, "`masks=`, bool [batch height width] at input size"),
        "method": ("the method that makes the maps", case.method, "its name in place of the maps"),
        "scenes": ("scenes of the concept world", case.scenes, "`pellucid.world.draw`"),
    }
    if metric.needs in lacking:
        what, given, remedy = lacking[metric.needs]
        if given is None:
            raise ValueError(f"Expected {what} for the metric `{metric.name}`, got none; try {remedy}.")
    return case
