"""Where in a picture the objective is found: a class activation map of the picture as it is, thresholded and softened.

For a unit the map is its own activation; for a direction the projection on it; for a class any attribution method at the last
stage. ``R = sigmoid((m − θ)/s)`` with m the map scaled to [0, 1] and upsampled anchored at receptive-field centers; without a
map, or one that is zero, R is 1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import capture
from pellucid.core.geometry import upsample
from pellucid.core.layers import Layer
from pellucid.core.registry import create
from pellucid.visualization.objective import Atom, Channel, Class, Direction
from pellucid.visualization.problem import Problem


def region(
    problem: Problem,
    pictures: Float[Tensor, "batch channel h w"],
    cam: str,
    threshold: float,
    softness: float,
) -> Float[Tensor, "batch 1 h w"]:
    """From 0 (context) to 1 (the region), for every picture."""
    size = (int(pictures.shape[2]), int(pictures.shape[3]))
    found = torch.ones(len(problem), *size, dtype=pictures.dtype, device=pictures.device)
    by_layer: dict[str, list[tuple[int, Atom]]] = {}
    for row, objective in enumerate(problem.objectives):
        lead = next((atom for weight, atom in objective.terms if weight > 0), None)
        if isinstance(lead, (Channel, Direction, Class)):
            by_layer.setdefault(lead.layer, []).append((row, lead))
    layers = problem.net.layers_at(size) if problem.size == size else None
    for name, entries in by_layer.items():
        rows = [row for row, _ in entries]
        maps, layer = _maps(problem, pictures[rows], name, entries, cam)
        if layers is not None and name:
            layer = layers[name]
        found[rows] = _softened(maps.to(pictures), layer, size, threshold, softness)
    return found[:, None]


def _maps(
    problem: Problem, pictures: Tensor, name: str, entries: list[tuple[int, Atom]], cam: str
) -> tuple[Float[Tensor, "rows h w"], Layer]:
    net = problem.net
    if not name:
        last = net.default_layers[-1]
        target = [atom.index for _, atom in entries if isinstance(atom, Class)]
        trace = capture(net, problem.normalized(pictures), [last], target)
        return create("attribution", cam)(trace, last).clamp(min=0), net.layer(last)
    with torch.no_grad():
        values = problem.read(pictures).activations[name]
    maps = []
    for value, (_, atom) in zip(values, entries, strict=True):
        if isinstance(atom, Channel):
            maps.append(value[atom.index])
        else:
            assert isinstance(atom, Direction)
            maps.append(torch.einsum("chw,c->hw", value, torch.tensor(atom.vector).to(value)))
    return torch.stack(maps).clamp(min=0), problem.places[name]


def _softened(
    maps: Float[Tensor, "rows h w"], layer: Layer, size: tuple[int, int], threshold: float, softness: float
) -> Float[Tensor, "rows height width"]:
    top = maps.amax((1, 2), keepdim=True)
    scaled = maps / torch.where(top > 0, top, 1)
    grid = layer.geometry.effective((maps.shape[1], maps.shape[2]), size)
    wide = upsample(scaled, grid, size, size)
    soft = torch.sigmoid((wide - threshold) / softness)
    return torch.where(top > 0, soft, 1.0)
