"""What every neuron criterion shares: a frozen dataclass that turns a trace and a layer into a score per unit
[batch unit].

A new criterion is one small file::

    @register("neurons", "activation", paper="lu2023")
    @dataclass(frozen=True)
    class Activation(Criterion):
        def __call__(self, trace: Trace, layer: str) -> Tensor:
            return activation(trace, layer).relu().mean((2, 3))
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import Trace
from pellucid.core.network import Network, TargetLike

Needs = Literal["activation", "gradient", "passes"]


@dataclass(frozen=True)
class Criterion:
    """Base of all criteria; class variables as for attribution methods: ``needs`` says what the frame has to
    prepare, ``targeted`` whether the scores depend on the target."""

    name: ClassVar[str] = ""
    paper: ClassVar[str | None] = None
    needs: ClassVar[Needs] = "gradient"
    targeted: ClassVar[bool] = True

    def explained(
        self, net: Network, images: Float[Tensor, "batch channel h w"], target: TargetLike
    ) -> TargetLike:
        """What is asked about, before anything runs: the target itself, unless the criterion asks about it in
        another form."""
        return target

    @abstractmethod
    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch unit"]:
        """The score of every unit of one layer, per image; larger is more important."""
