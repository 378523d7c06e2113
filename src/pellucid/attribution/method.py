"""What every attribution method shares: a frozen dataclass that turns a trace and a layer into a map [batch h
w].

A new class activation map is one small file::

    @register("attribution", "hirescam", paper="draelos2020")
    @dataclass(frozen=True)
    class HiResCAM(Method):
        def __call__(self, trace: Trace, layer: str) -> Tensor:
            return (gradient(trace, layer) * activation(trace, layer)).sum(1)

Maps are returned before the final ReLU; the frame (`pellucid.attribute`) applies it where it belongs to the
method.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import Trace
from pellucid.relevance.unknown import without_rule

DEFAULT = "shallow-cam"  # the map that is shown where none is named
Needs = Literal["activation", "gradient", "passes"]
Home = Literal["stages", "last", "input"]


@dataclass(frozen=True)
class Method:
    """Base of all attribution methods; the class variables say what the frame has to prepare.

    ``needs``: ``"activation"`` (one forward pass), ``"gradient"`` (one forward and one backward pass, shared
    by all methods and layers of a call) or ``"passes"`` (runs the network itself). ``home``: where the method
    belongs when no layers are named: every resolution stage, the last one, or the input. ``rectified``: a
    final ReLU is part of it. ``targeted``: it depends on the target. ``nonnegative``: it is made for
    activations behind a rectifier; for signed ones its formula has poles. ``propagates``: relevance has a part in it.
    """

    name: ClassVar[str] = ""
    paper: ClassVar[str | None] = None
    needs: ClassVar[Needs] = "gradient"
    home: ClassVar[Home] = "stages"
    rectified: ClassVar[bool] = True
    targeted: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = False
    propagates: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """The map of every image at one layer, before the final ReLU."""

    def notes(self, trace: Trace) -> tuple[str, ...]:
        """What a reader of the trace's maps has to know, once they are made."""
        return without_rule(trace) if self.propagates else ()
