"""Guided backpropagation and the deconvolutional network: gradients whose way back through rectifiers is
changed.

For a rectifier y = φ(x) and the gradient g at y, the gradient at x is

* backpropagation:                                   ``φ′(x) g``
* guided backpropagation, Springenberg et al. 2014:  ``φ′(x) ReLU(g)``
* deconvolutional network, Zeiler and Fergus 2014:   ``ReLU(g)``

Both are defined for the ReLU. Here every activation function that passes the positive side counts as a
rectifier: ReLU, ReLU6, leaky, parametric, ELU, CELU, SELU, SiLU, GELU, Mish, softplus, Hardswish, and
Hardtanh or clamp whose lower bound is 0. Gates (sigmoid, tanh, softmax) are left as they are. The calls are
intercepted while one forward pass runs (`pellucid.core.hooks.Intercept`): no module is touched, and
functional, in-place and reused rectifiers are all seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.gradients import Reduction, check_reduction, reduced
from pellucid.attribution.method import Home, Method, Needs
from pellucid.core.capture import Trace, capture
from pellucid.core.hooks import Intercept, hidden_in
from pellucid.core.reading import RECTIFIERS, precise
from pellucid.core.registry import register
from pellucid.relevance.unknown import note_hidden, taken_as_they_are


@dataclass(frozen=True)
class _Rectified(Method):
    """Size of the changed gradient, joined over channels by ``reduce``."""

    needs: ClassVar[Needs] = "passes"
    home: ClassVar[Home] = "input"
    rectified: ClassVar[bool] = False
    gated: ClassVar[bool]
    reduce: Reduction = "max"

    def __post_init__(self) -> None:
        check_reduction(self.reduce)

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """The size of `gradients`."""
        return reduced(self.gradients(trace, layer), self.reduce)

    def gradients(self, trace: Trace, layer: str) -> Float[Tensor, "batch channel h w"]:
        """The changed gradient itself, signed and per channel."""
        with Rectifiers(self.gated) as mode:
            own = capture(trace.network, trace.images, [layer], trace.target)
        note_hidden(trace, mode.hidden)
        return precise(own.gradients[layer])

    def notes(self, trace: Trace) -> tuple[str, ...]:
        """Rectifiers may be hidden."""
        return taken_as_they_are(trace)


@register("attribution", "guided-backprop", paper="springenberg2014")
@dataclass(frozen=True)
class GuidedBackprop(_Rectified):
    """Guided backpropagation: passes a rectifier only where both the activation and the gradient are positive."""

    gated: ClassVar[bool] = True


@register("attribution", "deconvnet", paper="zeiler2014")
@dataclass(frozen=True)
class DeconvNet(_Rectified):
    """Deconvnet: passes a rectifier only where the gradient itself is positive."""

    gated: ClassVar[bool] = False


class Rectifiers(Intercept):
    """Inside this context rectifiers have a guided (``gated``) or a deconvolutional backward."""

    def __init__(self, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        self.hidden: set[str] = set()

    def call(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Rectifiers get another backward."""
        if hidden_in(func) and any(each.requires_grad for each in args if isinstance(each, Tensor)):
            self.hidden.add(name)
        if not _is_rectifier(name, args, kwargs):
            return func(*args, **kwargs)
        x = args[0]
        if not x.requires_grad:
            return func(*args, **kwargs)
        if self.gated:
            y = func(*args, **kwargs)
        else:
            probe = x.detach().clone()
            value = func(probe, *args[1:], **kwargs)
            shift = value.detach() - x.detach()  # adding a constant gives the value of φ and the slope one
            y = x.add_(shift) if value is probe else x + shift
        y.register_hook(lambda g: g.clamp(min=0))
        return y


def _is_rectifier(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    name = name.removesuffix("_")
    if name in RECTIFIERS:
        return True
    if name in ("hardtanh", "clamp", "clamp_min", "clip"):
        low = args[1] if len(args) > 1 else kwargs.get("min_val", kwargs.get("min"))
        return isinstance(low, (int, float)) and low == 0
    return False
