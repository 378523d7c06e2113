"""What the filters of a layer see in one picture: each one's part, where it sits, how strongly, and how much it can be trusted.

position = center of the strongest cell;  a filter answers where that activation exceeds its threshold T_f
template of an interpretable layer at that cell: max(1 − β |cell − position| / n, −1), in whatever norm the layer has
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int
from torch import Tensor, nn

from pellucid.core.capture import observe
from pellucid.core.network import Network
from pellucid.data.batches import as_batch
from pellucid.data.parts.source import PartKey
from pellucid.interpretable.parts.table import PartTable
from pellucid.zoo.interpretable.masking import Masking
from pellucid.zoo.interpretable.templates import positions


@dataclass(frozen=True)
class Template:
    """Where an interpretable layer lets a filter through in one picture.

    Around ``cell`` (row, column) as far as ``reach`` cells, measured by ``norm`` ("l2": a disk, "l1": a diamond); the weight
    falls from 1 in the middle to 0 at the edge.
    """

    norm: str
    cell: tuple[int, int]
    reach: float


@dataclass(frozen=True)
class LayerTemplates:
    """The templates of an interpretable layer: norm and reach in cells [filter] as in `Template`, and what they are put on, the
    strongest cell ("argmax") or the map's "centroid". ``places``: picture → their cells [filter 2], see `template_cells`."""

    norm: str
    position: str
    reach: tuple[float, ...]
    places: Mapping[int, npt.NDArray[np.int64]] | None = None


def layer_templates(net: Network, layer: str) -> LayerTemplates | None:
    """The templates of a layer's filters; None where it has none. Raises UnknownNameError for an unknown layer."""
    net.layer(layer)
    masking = _masking_of(net, layer, (int(net.input_shape[1]), int(net.input_shape[2])))
    if masking is None:
        return None
    place = net.layer(layer)
    return LayerTemplates(
        masking.templates.norm,
        masking.templates.position,
        tuple(_reach(masking, (place.shape[1], place.shape[2]))),
    )


@dataclass(frozen=True, eq=False)
class FilterHere:
    """One filter in one picture.

    Attributes:
        index: its number in the layer.
        part: what it means; None where it lies on no part.
        interpretability, instability: of the filter over all pictures of the table; NaN where not known.
        activation: its largest activation in this picture.
        strength: that over its threshold T_f; 1 and more: among its strongest 0.5 % of all cells.
        cell: (row, column) of the maximum.
        center: (vertical, horizontal) in pixels of the input, the first pixel's center being 0.
        template: where an interpretable layer let it through; None in any other.
        map: [h w], the activation itself.
    """

    index: int
    part: PartKey | None
    interpretability: float
    instability: float
    activation: float
    strength: float
    cell: tuple[int, int]
    center: tuple[float, float]
    template: Template | None
    map: npt.NDArray[np.float32]

    @property
    def answers(self) -> bool:
        """Is the activation above the filter's threshold?"""
        return self.strength > 1


def filters_of(
    net: Network,
    image: Any,
    table: PartTable,
    *,
    count: int | None = None,
    filters: Sequence[int] | None = None,
) -> list[FilterHere]:
    """The filters of the table's layer in one picture, the most strongly answering first.

    ``image``: whatever `pellucid.attribute` takes for one picture (a path, a PIL image, an array, or a normalized tensor).
    ``count``: at most so many; ``filters``: only these. Filters whose map is the same everywhere have no position and are left
    out. Raises UnknownNameError where the network lacks the layer, ValueError where it has another number of filters.
    """
    layer = net.layer(table.layer)
    if layer.shape[0] != len(table):
        raise ValueError(
            f"Expected a table of the {layer.shape[0]} filters of `{table.layer}`, got one of {len(table)}; "
            "try the table measured on this network."
        )
    maps, templates = _maps(net, image, table.layer)
    flat = maps.flatten(1)
    highest, place = flat.max(1)
    start, stride = table.facts["start"], table.facts["stride"]
    wanted = range(len(table)) if filters is None else filters
    rows, columns = np.divmod(place.numpy(), maps.shape[2])
    sits = highest > flat.amin(1)
    probability, instability = table.interpretability(), table.instability
    found = []
    for index in wanted:
        if not bool(sits[index]):
            continue
        row, column = int(rows[index]), int(columns[index])
        value, limit = float(highest[index]), float(table.thresholds[index])
        found.append(
            FilterHere(
                index=index,
                part=table.meaning(index),
                interpretability=float(probability[index]),
                instability=float(instability[index]),
                activation=value,
                strength=_over(value, limit),
                cell=(row, column),
                center=(start[0] + row * stride[0], start[1] + column * stride[1]),
                template=None if templates is None else templates[index],
                map=maps[index].float().numpy(),
            )
        )
    found.sort(key=lambda one: (-one.strength, one.index))
    return found[:count]


def _over(value: float, limit: float) -> float:
    """The activation over the threshold; where that is 0 or less, whether it is exceeded."""
    return value / limit if limit > 0 else 2.0 if value > limit else 0.0


def template_cells(
    net: Network, layer: str, images: Float[Tensor, "batch channel height width"]
) -> Int[np.ndarray, "batch filter 2"]:
    """(row, column) of the middle of every filter's template in normalized images. Raises ValueError for a layer without."""
    masking = _masking_of(net, layer, (int(images.shape[2]), int(images.shape[3])))
    if masking is None:
        raise ValueError(
            f"Expected a layer with templates, got `{layer}`; try one made by `pellucid train interpretable`."
        )
    raw = _run(net, images, layer, masking)[1]
    rows, columns = positions(raw, masking.templates.position)
    return np.stack([rows.cpu().numpy(), columns.cpu().numpy()], 2)


def _maps(net: Network, image: Any, layer: str) -> tuple[Tensor, list[Template] | None]:
    """The maps [filter h w] of a picture, and the templates where the layer ends in a masking module."""
    batch = as_batch(net, image, None)
    if len(batch) != 1:
        raise ValueError(f"Expected one picture, got {len(batch)}; try them one by one.")
    masking = _masking_of(net, layer, (int(batch.shape[2]), int(batch.shape[3])))
    maps, raw = _run(net, batch, layer, masking)
    return maps[0], None if masking is None else _templates(masking, raw)


def _run(net: Network, images: Tensor, layer: str, masking: Masking | None) -> tuple[Tensor, Tensor]:
    """The layer's maps [batch filter h w] in float64, and what its masking module was given; without one the same."""
    kept: list[Tensor] = []
    raw: list[Tensor] = []
    hook = None
    if masking is not None:
        hook = masking.register_forward_pre_hook(lambda _, given: raw.append(given[0].detach().clone()))
    try:
        observe(net, images, [layer], lambda _, value: kept.append(value.cpu().double().clone()))
    finally:
        if hook is not None:
            hook.remove()
    return kept[0], raw[-1] if raw else kept[0]


def _masking_of(net: Network, layer: str, size: tuple[int, int]) -> Masking | None:
    """The masking module a layer ends in."""
    call = net.layers_at(size).find(layer)[1]
    module = None if call is None else net.module.get_submodule(call.module)
    while isinstance(module, nn.Sequential) and len(module):
        module = module[-1]
    return module if isinstance(module, Masking) else None


def _reach(masking: Masking, grid: tuple[int, int]) -> list[float]:
    """Cells from the middle of every filter's template to where it is 0."""
    if masking.templates.mode == "paper":
        return [max(grid) / masking.templates.beta] * masking.channels
    return [max(max(grid) - 1, 1) / (2 * float(value)) for value in masking.sharpness]


def _templates(masking: Masking, maps: Tensor) -> list[Template]:
    grid = (int(maps.shape[2]), int(maps.shape[3]))
    rows, columns = positions(maps, masking.templates.position)
    places = zip(rows[0].tolist(), columns[0].tolist(), strict=True)
    return [
        Template(masking.templates.norm, cell, reach)
        for cell, reach in zip(places, _reach(masking, grid), strict=True)
    ]
