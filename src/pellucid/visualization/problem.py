"""One batch of objectives on one network: values, gradients with respect to what a method moves, and scores of pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pellucid.core.network import Network
from pellucid.data.tensors import to_bytes
from pellucid.visualization.cut import Cut, Rectified
from pellucid.visualization.draws import Stream
from pellucid.visualization.objective import Channel, Objective, Reading, evaluate

Paint = Callable[[list[Tensor]], Tensor]
See = Callable[[Tensor, Sequence[Stream]], Tensor]


@dataclass(eq=False)
class Problem:
    """``objectives`` are bound to ``net``; image i has the random stream ``streams[i]``.

    ``groups`` says which images share an objective; ``diversity`` is how much their likeness costs. ``real``: pictures in
    [0, 1] that a method may learn from. ``bfloat16``: the network is climbed in that precision; scores stay in its own.
    """

    net: Network
    objectives: Sequence[Objective]
    streams: Sequence[Stream]
    size: tuple[int, int]
    groups: Sequence[int] = ()
    diversity: float = 0.0
    real: Float[Tensor, "real channel h w"] | None = None
    bfloat16: bool = False
    cut: Cut = field(init=False)

    def __post_init__(self) -> None:
        self.cut = cut_for(self.net, self.objectives)
        layers = self.net.layers_at(self.size)
        self.grids = {name: (layers[name].shape[1], layers[name].shape[2]) for name in self.cut.names}
        self.places = {name: layers[name] for name in self.cut.names}
        preprocess = self.net.preprocess
        self._mean, self._std = (
            torch.tensor(values, dtype=self.net.dtype, device=self.net.device)[:, None, None]
            for values in (preprocess.mean, preprocess.std)
        )
        self._sizes: dict[tuple[int, int], bool] = {self.size: True}

    def __len__(self) -> int:
        return len(self.objectives)

    @property
    def channels(self) -> int:
        """Of the network's input."""
        return self.net.input_shape[0]

    def accepts(self, size: tuple[int, int]) -> bool:
        """Does the part of the network that is run take pictures of another size?"""
        if size not in self._sizes:
            probe = torch.zeros(1, self.channels, *size, dtype=self.net.dtype, device=self.net.device)
            try:
                with torch.no_grad():
                    kept, _ = self.cut(probe)
                self._sizes[size] = all(min(value.shape[2:]) > 0 for value in kept.values())
            except (RuntimeError, ValueError, IndexError):
                self._sizes[size] = False
        return self._sizes[size]

    def normalized(self, pictures: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel h w"]:
        """As the network takes them, differentiably; in the memory layout its convolutions are fastest in."""
        values = (pictures.to(self._mean) - self._mean) / self._std
        return values.contiguous(memory_format=self.net.memory_format)

    def read(self, pictures: Float[Tensor, "batch channel h w"]) -> Reading:
        """A cut forward pass over pictures in [0, 1]."""
        kept, output = self.cut(self.normalized(pictures))
        return Reading(self.net, kept, output, self.grids)

    def gradients(
        self, leaves: Sequence[Tensor], rows: Sequence[int], paint: Paint, see: See, *, redirect: bool = False
    ) -> tuple[Float[Tensor, " rows"], list[Tensor]]:
        """Values of the rows' objectives and their gradients with respect to the leaves.

        ``paint`` makes pictures of leaves, ``see`` what the network is shown of them, one or several views per picture, view
        after view. ``redirect``: of units behind a rectifier climb what goes into it. Raises ValueError for an objective
        without gradient.
        """
        with torch.enable_grad():
            moved = [leaf.detach().requires_grad_() for leaf in leaves]
            pictures = paint(moved)
            views = see(pictures, [self.streams[row] for row in rows])
            times = len(views) // len(pictures)
            device = self.net.device.type
            with (
                Rectified() if redirect else contextlib.nullcontext() as watch,
                torch.autocast(device, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False),
            ):
                reading = self.read(views)
            if watch is not None:
                for name, value in reading.activations.items():
                    before = watch.before(value)
                    reading.activations[name] = value if before is None else before
            objectives = [self.objectives[row] for row in rows]
            values = evaluate(objectives * times, reading).view(times, -1).mean(0)
            if not values.requires_grad:
                raise ValueError(
                    f"Expected an objective with a gradient, got `{objectives[0].label}`, which does not depend on the picture "
                    f"in a way `{self.net.name}` can be differentiated along; it may detach or round."
                )
            total = values.sum()
            if self.diversity:
                total = total - self.diversity * self._likeness(reading, rows, times)
            found = torch.autograd.grad(total, moved, allow_unused=True)
        return values.detach(), [
            torch.zeros_like(leaf) if one is None else one.detach()
            for leaf, one in zip(moved, found, strict=True)
        ]

    def _likeness(self, reading: Reading, rows: Sequence[int], times: int) -> Tensor:
        """Sum over images of one objective of the cosines between their channels' correlations, times the batch's activation.

        The term of Olah, Mordvintsev, Schubert 2017.
        """
        name = self.cut.names[0]
        values = reading.activations[name].flatten(2)
        gram = F.normalize((values @ values.transpose(1, 2)).flatten(1), dim=1)
        group = torch.tensor([self.groups[row] for row in rows] * times, device=gram.device)
        view = torch.arange(times, device=gram.device).repeat_interleave(len(rows))
        same = (group[:, None] == group) & (view[:, None] == view)
        same.fill_diagonal_(False)
        return ((gram @ gram.T) * same).sum() / times

    def score(self, pictures: Float[Tensor, "batch channel h w"]) -> Float[Tensor, " batch"]:
        """What the finished pictures reach: rounded to 8 bits, without transforms."""
        with torch.no_grad():
            return evaluate(self.objectives, self.read(to_bytes(pictures.float()).to(self._mean) / 255))

    def rectified(self, row: int) -> bool:
        """May a dead rectifier stand before this row's objective?"""
        return any(atom.rectified for _, atom in self.objectives[row].terms)


def cut_for(net: Network, objectives: Sequence[Objective]) -> Cut:
    """The shortest run of the network that all objectives can be read from."""
    atoms = [atom for objective in objectives for _, atom in objective.terms]
    return Cut(net, [atom.layer for atom in atoms if atom.layer], whole=any(not atom.layer for atom in atoms))


def single_unit(objective: Objective) -> Channel | None:
    """The unit an objective is about: its first atom with a positive weight, if that is a channel."""
    first = next((atom for weight, atom in objective.terms if weight > 0), None)
    return first if isinstance(first, Channel) else None
