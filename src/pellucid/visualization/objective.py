"""What is to be maximized: a channel, a neuron, a direction, a layer, a class, and sums and differences of these.

With A the activation of a layer [channel h w] and z the class scores of one image:

* `Channel`: ``mean_ij A_kij`` (``at="mean"``), or A_k at the central or at any position (a neuron)
* `Direction`: ``⟨A_p, v⟩/|v| · max(0.1, cos(A_p, v))^power``, with A_p the mean over positions or one position
* `Activity`: ``mean A²``, what a layer does at all (Mordvintsev, Olah, Tyka 2015)
* `Class`: ``z_c``, or the probability of c
* `Custom`: any function of a layer's activation

Objectives can be added, subtracted and multiplied by numbers: ``Channel("layer4", 3) - 0.5 * Channel("layer4", 7)``.
Positions are cells of the layer's grid at the size of the finished image; on a smaller picture they move in proportion.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.layers import Layer, LayerLike
from pellucid.core.network import Network
from pellucid.core.reading import precise

At = Literal["mean", "center"] | tuple[int, int]


@dataclass(frozen=True, eq=False)
class Reading:
    """What one cut forward pass gave: activations of layers, the output where classes are asked for."""

    net: Network
    activations: dict[str, Tensor]
    output: Tensor | None
    grids: dict[str, tuple[int, int]]  # the layers' grids at the size of the finished image


class Objective:
    """Base of all; ``terms`` are the weighted atoms that are summed."""

    @property
    def terms(self) -> tuple[tuple[float, Atom], ...]:
        """(weight, atom), in order."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """A short name, for captions and files."""
        parts: list[str] = []
        for weight, atom in self.terms:
            size = "" if abs(weight) == 1 else f"{abs(weight):g}*"
            sign = ("- " if weight < 0 else "") if not parts else (" - " if weight < 0 else " + ")
            parts.append(f"{sign}{size}{atom.label}")
        return "".join(parts)

    def bound(self, net: Network, layers: Callable[[LayerLike], Layer]) -> Objective:
        """The same with classes as indices. Raises for what the network does not have."""
        return Mixture(tuple((weight, atom.bound(net, layers)) for weight, atom in self.terms))

    def __add__(self, other: Objective) -> Objective:
        """The sum of both."""
        if not isinstance(other, Objective):
            return NotImplemented
        return Mixture((*self.terms, *other.terms))

    def __sub__(self, other: Objective) -> Objective:
        """This one without the other."""
        if not isinstance(other, Objective):
            return NotImplemented
        return self + (-1.0) * other

    def __mul__(self, factor: float) -> Objective:
        """The objective weighted."""
        if isinstance(factor, bool) or not isinstance(factor, (int, float)):
            return NotImplemented
        return Mixture(tuple((factor * weight, atom) for weight, atom in self.terms))

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        """What makes the activation small."""
        return self * -1.0


@dataclass(frozen=True)
class Mixture(Objective):
    """A weighted sum of atoms."""

    parts: tuple[tuple[float, Atom], ...]

    @property
    def terms(self) -> tuple[tuple[float, Atom], ...]:
        """(weight, atom), in order."""
        return self.parts


@dataclass(frozen=True)
class Atom(Objective):
    """One quantity of one layer (``layer``) or of the output (``layer`` is empty)."""

    layer: str
    rectified: ClassVar[bool] = False  # may a dead rectifier stand before it

    @property
    def terms(self) -> tuple[tuple[float, Atom], ...]:
        """Itself, once."""
        return ((1.0, self),)

    def bound(self, net: Network, layers: Callable[[LayerLike], Layer]) -> Self:
        """Checked against the network."""
        return replace(self, layer=layers(self.layer).name)

    @classmethod
    def measure(cls, atoms: Sequence[Self], rows: Tensor, reading: Reading) -> Float[Tensor, " rows"]:
        """The value of every atom for its row of the batch."""
        raise NotImplementedError


@dataclass(frozen=True)
class Channel(Atom):
    """One channel of a layer: its mean, its center, or the neuron at a (row, column)."""

    index: int
    at: At = "mean"
    rectified: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """``layer:index``, with the position where one is asked for."""
        where = (
            ""
            if self.at == "mean"
            else f"@{self.at}"
            if isinstance(self.at, str)
            else f"@{self.at[0]},{self.at[1]}"
        )
        return f"{self.layer}:{self.index}{where}"

    def bound(self, net: Network, layers: Callable[[LayerLike], Layer]) -> Self:
        """Raises IndexError for a unit or position the layer does not have."""
        layer = layers(self.layer)
        if isinstance(self.index, bool) or not hasattr(self.index, "__index__"):
            raise TypeError(
                f"Expected the index of a unit, got {self.index!r} ({type(self.index).__name__})."
            )
        if not 0 <= operator.index(self.index) < layer.shape[0]:
            raise IndexError(
                f"Expected a unit of `{self.layer}` from 0 to {layer.shape[0] - 1}, got {self.index}; "
                "try `pellucid models --layers NAME`, which lists how many each layer has."
            )
        check_position(self.at, layer)
        return replace(self, layer=layer.name, index=operator.index(self.index))

    @classmethod
    def measure(cls, atoms: Sequence[Self], rows: Tensor, reading: Reading) -> Float[Tensor, " rows"]:
        """Mean or one position of every channel."""
        values = precise(reading.activations[atoms[0].layer])
        index = torch.tensor([atom.index for atom in atoms], device=values.device)
        picked = values[rows, index]
        return _placed(picked[:, None], [atom.at for atom in atoms], reading.grids[atoms[0].layer])[:, 0]


@dataclass(frozen=True)
class Direction(Atom):
    """A direction in the space of a layer's channels; ``power`` asks for likeness beside length."""

    vector: tuple[float, ...]
    at: At = "mean"
    power: float = 0.0
    rectified: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """The layer and a digest of the direction."""
        lead = sorted(range(len(self.vector)), key=lambda k: -abs(self.vector[k]))[:2]
        return f"{self.layer}:direction({', '.join(map(str, lead))})"

    def bound(self, net: Network, layers: Callable[[LayerLike], Layer]) -> Self:
        """Raises ValueError for a vector of another length, or zero."""
        layer = layers(self.layer)
        vector = tuple(map(float, self.vector))
        norm = sum(value * value for value in vector)
        if len(vector) != layer.shape[0] or not 0 < norm < float("inf"):
            raise ValueError(
                f"Expected a direction of `{self.layer}`, {layer.shape[0]} finite numbers that are not all zero, "
                f"got {len(vector)} of square length {norm:g}."
            )
        check_position(self.at, layer)
        return replace(self, layer=layer.name, vector=vector)

    @classmethod
    def measure(cls, atoms: Sequence[Self], rows: Tensor, reading: Reading) -> Float[Tensor, " rows"]:
        """Projection on the direction, weighted by the cosine."""
        values = precise(reading.activations[atoms[0].layer])[rows]
        placed = _placed(values, [atom.at for atom in atoms], reading.grids[atoms[0].layer])
        vectors = torch.tensor([atom.vector for atom in atoms], dtype=values.dtype, device=values.device)
        along = (placed * vectors).sum(1) / vectors.norm(dim=1)
        power = torch.tensor([atom.power for atom in atoms], dtype=values.dtype, device=values.device)
        likeness = along / placed.norm(dim=1).clamp(min=torch.finfo(values.dtype).tiny)
        weighted: Tensor = along * likeness.clamp(min=0.1) ** power
        return weighted


@dataclass(frozen=True)
class Activity(Atom):
    """All a layer does: the mean of its squared activation."""

    rectified: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """The layer."""
        return f"{self.layer}:all"

    @classmethod
    def measure(cls, atoms: Sequence[Self], rows: Tensor, reading: Reading) -> Float[Tensor, " rows"]:
        """Mean square."""
        return precise(reading.activations[atoms[0].layer])[rows].square().flatten(1).mean(1)


@dataclass(frozen=True, init=False)
class Class(Atom):
    """A class, by index or name: its score before the last nonlinearity, or its probability."""

    index: int | str
    of: Literal["logit", "probability"] = "logit"
    name: str = ""

    def __init__(
        self, index: int | str, of: Literal["logit", "probability"] = "logit", name: str = ""
    ) -> None:
        if of not in ("logit", "probability"):
            raise ValueError(f'Expected `of` to be "logit" or "probability", got {of!r}.')
        for field, value in (("layer", ""), ("index", index), ("of", of), ("name", name)):
            object.__setattr__(self, field, value)

    @property
    def label(self) -> str:
        """``class NAME``."""
        return f"{'class' if self.of == 'logit' else 'probability of'} {self.name or self.index}"

    def bound(self, net: Network, layers: Callable[[LayerLike], Layer]) -> Self:
        """Raises UnknownNameError or IndexError for a class the network does not have."""
        index = net.class_index(self.index)
        return type(self)(index, self.of, net.classes[index])

    @classmethod
    def measure(cls, atoms: Sequence[Self], rows: Tensor, reading: Reading) -> Float[Tensor, " rows"]:
        """Score or probability of every row's class."""
        assert reading.output is not None
        output, net = precise(reading.output)[rows], reading.net
        score = net.resolve_target([atom.index for atom in atoms], output).score(output)
        if net.head in ("probabilities", "regression"):
            return score
        likely = (score - output.logsumexp(1)).exp() if net.head == "softmax" else score.sigmoid()
        return torch.where(
            torch.tensor([atom.of == "probability" for atom in atoms], device=score.device), likely, score
        )


@dataclass(frozen=True)
class Custom(Atom):
    """Any function of a layer's activation [batch channel h w] that gives one number per image."""

    function: Callable[[Tensor], Tensor]
    name: str = "custom"

    @property
    def label(self) -> str:
        """The layer and the given name."""
        return f"{self.layer}:{self.name}"

    @classmethod
    def measure(cls, atoms: Sequence[Self], rows: Tensor, reading: Reading) -> Float[Tensor, " rows"]:
        """What the functions return, each for its own row."""
        values = precise(reading.activations[atoms[0].layer])
        found = []
        for atom, row in zip(atoms, rows.tolist(), strict=True):
            one = atom.function(values[row : row + 1])
            if not isinstance(one, Tensor) or one.numel() != 1:
                got = tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__
                raise ValueError(
                    f"Expected the function of `{atom.label}` to return one number per image, shape (1,), got {got}."
                )
            found.append(one.reshape(()))
        return torch.stack(found)


def evaluate(objectives: Sequence[Objective], reading: Reading) -> Float[Tensor, " rows"]:
    """The value of every row's objective; row i of the batch belongs to ``objectives[i]``. Differentiable."""
    grouped: dict[tuple[type[Atom], str], list[tuple[int, float, Atom]]] = {}
    for row, objective in enumerate(objectives):
        for weight, atom in objective.terms:
            grouped.setdefault((type(atom), atom.layer), []).append((row, weight, atom))
    total: Tensor | None = None
    for (kind, _), entries in grouped.items():
        like = reading.output if not entries[0][2].layer else reading.activations[entries[0][2].layer]
        assert like is not None
        rows = torch.tensor([row for row, _, _ in entries], device=like.device)
        values = kind.measure([atom for _, _, atom in entries], rows, reading)
        weights = torch.tensor([weight for _, weight, _ in entries], dtype=values.dtype, device=values.device)
        part = torch.zeros(len(objectives), dtype=values.dtype, device=values.device)
        part = part.index_add(0, rows, weights * values)
        total = part if total is None else total + part
    assert total is not None
    return total


def check_position(at: At, layer: Layer) -> None:
    """Raises ValueError or IndexError unless ``at`` is "mean", "center" or a cell of the layer."""
    _, height, width = layer.shape
    if at in ("mean", "center"):
        return
    if isinstance(at, str) or len(at) != 2:
        raise ValueError(f'Expected `at` to be "mean", "center" or (row, column), got {at!r}.')
    if not (0 <= at[0] < height and 0 <= at[1] < width):
        raise IndexError(
            f"Expected a position of `{layer.name}`, whose grid is {height} × {width}, got {tuple(at)}; "
            f"try ({height // 2}, {width // 2})."
        )


def _placed(
    values: Float[Tensor, "rows channel h w"], at: Sequence[At], grid: tuple[int, int]
) -> Float[Tensor, "rows channel"]:
    """The mean over positions or the asked position, per row."""
    height, width = values.shape[2:]
    share = torch.zeros(len(values), height, width, dtype=values.dtype, device=values.device)
    for row, place in enumerate(at):
        if place == "mean":
            share[row] = 1 / (height * width)
        elif place == "center":
            share[row, height // 2, width // 2] = 1
        else:
            assert not isinstance(place, str)
            y, x = int((place[0] + 0.5) * height / grid[0]), int((place[1] + 0.5) * width / grid[1])
            share[row, y, x] = 1
    return (values * share[:, None]).sum((2, 3))
