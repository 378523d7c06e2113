"""FullGrad, Srinivas and Fleuret 2019: the score of a piecewise-linear network is what its input and its
biases give.

    score = Σ g ⊙ x + Σ_l Σ b_l ⊙ ∂score/∂z_l,      M = Σ_k ψ(g ⊙ x)_k + Σ_l Σ_k ψ(b_l ⊙ ∂score/∂z_l)_k

over all convolutions, linear layers and normalizations l with output z_l. The bias of a batch normalization
is what it adds to a scaled input, ``β − γ · mean / std``; of a layer or group normalization only β (its mean
is no constant). ψ is the authors' post-processing: absolute value (``magnitude``), min–max to [0, 1] per
image (``rescale``), upsampling. Biases behind the global pooling have no place in the image and stay out of
the map, as in the authors' code; `FullGrad.parts` returns them.

At an inner layer the layer takes the place of the input and the biases are those behind it. We upsample at
receptive-field centers; the authors align corners. Cost: one forward and one backward pass through what lies
behind the layer, all biases at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.method import Home, Method, Needs
from pellucid.core.capture import Trace, check_rows, differentiated
from pellucid.core.fields import Field, FieldTracer, field_of, seed
from pellucid.core.geometry import upsample
from pellucid.core.hooks import Intercept, hidden_in
from pellucid.core.reading import precise
from pellucid.core.registry import register
from pellucid.core.tail import Tail
from pellucid.relevance.unknown import note_hidden, taken_as_they_are


@register("attribution", "fullgrad", paper="srinivas2019")
@dataclass(frozen=True)
class FullGrad(Method):
    """FullGrad: input gradient and bias gradients of every layer behind it, in one map.

    With ``magnitude=False, rescale=False`` the map is signed.
    """

    needs: ClassVar[Needs] = "passes"
    home: ClassVar[Home] = "input"
    rectified: ClassVar[bool] = False
    magnitude: bool = True
    rescale: bool = True

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``Σ_k ψ(g ⊙ x)_k + Σ_l Σ_k ψ(b_l ⊙ ∂score/∂z_l)_k``."""
        parts = self.parts(trace, layer)
        size = (int(parts.input.shape[2]), int(parts.input.shape[3]))
        total = self._processed(parts.input)
        for field, contribution in parts.spatial:
            cells = (int(contribution.shape[2]), int(contribution.shape[3]))
            geometry = field.geometry.effective(cells, size)
            total = total + upsample(self._processed(contribution), geometry, size, size)
        return total

    def parts(self, trace: Trace, layer: str) -> Parts:
        """Gradient times input, and every bias's contribution; together they sum to the score
        (`Parts.total`)."""
        tail = Tail(trace.network, trace.images, layer)
        biases = _Biases()
        with torch.enable_grad(), differentiated(trace.network, [layer]):
            leaf = tail.activation.detach().requires_grad_()
            with FieldTracer(), biases:
                output = tail(seed(leaf))
            (found,) = torch.autograd.grad(trace.target.score(output).sum(), leaf)
        note_hidden(trace, biases.hidden)
        for each in (*(contribution for _, contribution in biases.spatial), *biases.others):
            check_rows(trace.network, layer, len(each), len(trace))
        return Parts(precise(found) * precise(tail.activation), tuple(biases.spatial), tuple(biases.others))

    def notes(self, trace: Trace) -> tuple[str, ...]:
        """Biases may be hidden."""
        return taken_as_they_are(trace)

    def _processed(self, values: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch h w"]:
        if self.magnitude:
            values = values.abs()
        if self.rescale:
            values = values - values.amin((1, 2, 3), keepdim=True)
            peak = values.amax((1, 2, 3), keepdim=True)
            values = values / torch.where(peak > 0, peak, 1)
        return values.sum(1)


@dataclass(frozen=True, eq=False)
class Parts:
    """``input`` [batch channel h w]; ``spatial``: (place on the layer's grid, [batch channel h w]);
    ``others``: [batch …]."""

    input: Tensor
    spatial: tuple[tuple[Field, Tensor], ...]
    others: tuple[Tensor, ...]

    @property
    def total(self) -> Float[Tensor, " batch"]:
        """The sum of everything, per image: the score, for a piecewise-linear network."""
        biases = [
            contribution.flatten(1).sum(1) for contribution in (*(c for _, c in self.spatial), *self.others)
        ]
        return self.input.flatten(1).sum(1) + sum(biases, torch.zeros((), device=self.input.device))


class _Biases(Intercept):
    """Collects bias ⊙ gradient of every affine call whose output the explained score depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: set[str] = set()
        self.spatial: list[tuple[Field, Tensor]] = []
        self.others: list[Tensor] = []

    def call(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The ordinary result, whose gradient is looked at."""
        result = func(*args, **kwargs)
        if hidden_in(func):
            self.hidden.add(name)
        if name in _BIAS_AT and result.requires_grad:
            bias = _bias(name, args, kwargs)
            if bias is not None:
                channel = result.ndim - 1 if name in ("linear", "layer_norm") else 1
                field = field_of(result)
                # The hook sees the gradient before any later in-place change, and goes with the graph.
                result.register_hook(lambda g: self._add(g, bias, channel, field))
        return result

    def _add(self, g: Tensor, bias: Tensor, channel: int, field: Field | None) -> None:
        contribution = precise(g) * bias.view([-1 if d == channel else 1 for d in range(g.ndim)]).conj()
        contribution = contribution.real if contribution.is_complex() else contribution
        if field is None or g.ndim != 4:
            self.others.append(contribution)
        else:
            self.spatial.append((field, contribution.permute(0, channel, *field.dims)))


_BIAS_AT = {"conv1d": 2, "conv2d": 2, "conv3d": 2, "conv_transpose2d": 2, "linear": 2}
_BIAS_AT |= {"layer_norm": 3, "group_norm": 3, "batch_norm": 4}


def _bias(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Float[Tensor, " channel"] | None:
    """What an affine call adds to a multiple of its input; None for nothing."""

    def pick(position: int, key: str, default: Any = None) -> Any:
        return args[position] if len(args) > position else kwargs.get(key, default)

    bias = pick(_BIAS_AT[name], "bias")
    bias = None if bias is None else precise(bias.detach())
    if name == "batch_norm":
        mean, var, scale = pick(1, "running_mean"), pick(2, "running_var"), pick(3, "weight")
        if mean is None or var is None or pick(5, "training", False):
            return bias
        shift = -precise(mean) / (precise(var) + pick(7, "eps", 1e-5)).sqrt()
        shift = shift if scale is None else shift * precise(scale.detach())
        bias = shift if bias is None else shift + bias
    return bias if bias is None or bias.ndim == 1 else None
