"""Where the network looked: one map per layer, by any registered method.

`attribute` is the frame around the methods: it reads the images, cuts them into batches, runs one forward and
at most one backward pass per batch for all methods and layers that need nothing more, applies the final ReLU
where it belongs to the method, and says of every map whether it can be read. The methods are in the other
files of this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import torch
from torch import Tensor

from pellucid.attribution.layercam import fuse
from pellucid.attribution.method import DEFAULT, Method
from pellucid.core.layers import INPUT, LayerLike
from pellucid.core.network import Network, NetworkLike, TargetLike, as_network
from pellucid.core.registry import create
from pellucid.core.results import Heatmap, judged
from pellucid.core.running import undisturbed
from pellucid.data.batches import as_batch, as_layers, traces
from pellucid.data.views import Views

__all__ = ["DEFAULT", "Method", "attribute", "fuse"]


@overload
def attribute(
    net: NetworkLike, images: Any, method: str | Method = ..., layers: LayerLike | Sequence[LayerLike] | None = ...,
    target: TargetLike = ..., *, batch_size: int = ..., signed: bool = ..., normalized: bool | None = ...,
    progress: bool | None = ..., **parameters: Any,
) -> dict[str, Heatmap]: ...  # fmt: skip
@overload
def attribute(
    net: NetworkLike, images: Any, method: Sequence[str | Method], layers: LayerLike | Sequence[LayerLike] | None = ...,
    target: TargetLike = ..., *, batch_size: int = ..., signed: bool = ..., normalized: bool | None = ...,
    progress: bool | None = ..., **parameters: Any,
) -> dict[str, dict[str, Heatmap]]: ...  # fmt: skip
def attribute(
    net: NetworkLike,
    images: Any,
    method: str | Method | Sequence[str | Method] = DEFAULT,
    layers: LayerLike | Sequence[LayerLike] | None = None,
    target: TargetLike = None,
    *,
    batch_size: int = 16,
    signed: bool = False,
    normalized: bool | None = None,
    progress: bool | None = None,
    **parameters: Any,
) -> dict[str, Heatmap] | dict[str, dict[str, Heatmap]]:
    """Evidence for a target at every layer asked for.

    Args:
        net: a network, module, name or file; see `pellucid.load`.
        images: a path, PIL image, array or uint8 tensor, a list or batch of them, or a float tensor [batch channel h w].
        method: a name (``pellucid.names("attribution")``), an instance, or several of these. Methods that need only
            activation and gradient share one forward and one backward pass.
        layers: names, positions or modules, ``"input"`` among them; by default where the method belongs (every stage, the
            last one, or the input).
        target: class index or name, one per image, or a function of the output; None is the predicted class.
        batch_size: images at once.
        signed: leave out the final ReLU.
        normalized: of a float tensor: True when it is ready for the network, False when it is in [0, 1].
        progress: False hides the bar, which else appears after two seconds.
        **parameters: of a method given by name.

    Returns:
        ``{layer: Heatmap}``; of several methods ``{method: {layer: Heatmap}}``. Values are [batch h w] on the layer's grid.

    Raises:
        UnknownNameError: an unknown method or layer.
        TypeError: a parameter that the method does not have.
        ValueError: unusable images, a target list of another length, or two methods of one name.

    Example:
        >>> import pellucid as pl
        >>> net = pl.load(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...     torch.nn.Linear(72, 2)), input_shape=(1, 8, 8))
        >>> maps = pl.attribute(net, torch.rand(3, 1, 8, 8), "gradcam", layers="1", target=0, normalized=True)
        >>> maps["1"].values.shape
        torch.Size([3, 6, 6])
    """
    net = as_network(net)
    several = not isinstance(method, str) and isinstance(method, Sequence)
    made = [create("attribution", each, **parameters) for each in (method if several else [method])]  # type: ignore[union-attr]
    methods: dict[str, Method] = {each.name: each for each in made}
    if len(methods) < len(made) or not made:
        raise ValueError(
            f"Expected one or more methods of different names, got {[each.name for each in made]}; "
            "try one call for each set of parameters."
        )
    batch = as_batch(net, images, normalized)
    places = {
        name: as_layers(net, batch, _home(net, each) if layers is None else layers)
        for name, each in methods.items()
    }
    shared = [place.name for name in methods if methods[name].needs != "passes" for place in places[name]]
    backward = any(each.needs == "gradient" for each in methods.values())
    parts: dict[tuple[str, str], list[Tensor]] = {}
    named: list[str] = []
    notes: dict[str, tuple[str, ...]] = {}
    label = ", ".join(methods)
    with undisturbed(net.module):
        for trace in traces(
            net, batch, shared, target, batch_size, gradients=backward, progress=progress, label=label
        ):
            named += trace.target.names
            with torch.no_grad(), torch.autocast(net.device.type, enabled=False):
                for name, each in methods.items():
                    for place in places[name]:
                        parts.setdefault((name, place.name), []).append(each(trace, place.name).detach())
                    notes[name] = (*each.notes(trace), *net.doubts)
    size = (int(batch.shape[2]), int(batch.shape[3]))
    views = Views(batch, net.preprocess)
    maps: dict[str, dict[str, Heatmap]] = {name: {} for name in methods}
    for (name, where), values in parts.items():
        place = next(each for each in places[name] if each.name == where)
        rectified = methods[name].rectified and not signed
        maps[name][where] = judged(
            torch.cat(values),
            place,
            name,
            size,
            tuple(named),
            rectified=rectified,
            notes=notes[name],
            views=views,
        )
    return maps if several else next(iter(maps.values()))


def _home(net: Network, method: Method) -> tuple[str, ...]:
    if method.home == "input":
        return (INPUT,)
    return net.default_layers[-1:] if method.home == "last" else net.default_layers
