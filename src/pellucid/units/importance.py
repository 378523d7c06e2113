"""Importance carried back from the output by absolute weights, ``n_l = |W_{l+1}|ᵀ n_{l+1}``, after NISP (Yu
et al. 2018).

NISP bounds how an error at a layer reaches the responses behind it: by the absolute weights, every activation
function counting as the identity. One backward pass computes it when the network runs as its own *skeleton*:
convolutions and linear layers with |W| and no bias, normalizations as |γ|/σ (layer and group normalization:
|γ|), activation functions and dropout as the identity, max pooling as average pooling (every input of a
window may have been the winner). The seed is |∂score/∂output|: one for the target's logit.

Where this differs from NISP: it starts from the explained class instead of a ranking of all final responses;
the importance of a channel is the mean over its positions; and every |W| is divided by its mean gain (over
its inputs, of the sum of weights that leave each), so that importance neither grows nor shrinks with depth.
In a chain that only sets the scale; beside a shortcut it keeps a branch from winning by its length alone, and
no network overflows.

The skeleton runs on an image of zeros, so that only weights speak; a product of two activations (a gate) then
passes on what the gate gives at zero, one half for a sigmoid. The result depends on the target, not on the
image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F

from pellucid.core.capture import Trace, differentiated
from pellucid.core.hooks import Intercept
from pellucid.core.reading import RECTIFIERS, output_gradient, precise
from pellucid.core.tail import Tail


def propagated_importance(trace: Trace, layer: str) -> Float[Tensor, "batch unit"]:
    """Importance of every unit for each image's target; only ratios within an image mean something."""
    seeds, which = torch.unique(output_gradient(trace).abs(), dim=0, return_inverse=True)
    tail = Tail(trace.network, torch.zeros_like(trace.images[:1]).repeat(len(seeds), 1, 1, 1), layer)
    with torch.enable_grad(), differentiated(trace.network, [layer]), _Skeleton():
        leaf = torch.zeros_like(precise(tail.activation)).requires_grad_()
        output = tail(leaf)
        (found,) = torch.autograd.grad(output, leaf, seeds.to(output))
    return found.mean((2, 3))[which]


class _Skeleton(Intercept):
    """Inside this context a network is the linear map of its absolute weights."""

    def call(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The linear stand-in of an operation."""
        rule = _RULES.get(name.removesuffix("_"))
        if rule is None or not args or not isinstance(args[0], Tensor):
            return func(*args, **kwargs)
        return rule(func, *args, **kwargs)


def _affine(
    func: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Any = None, *rest: Any, **more: Any
) -> Tensor:
    inputs = x.shape[-1] if func.__name__ == "linear" else x.shape[1]
    size = precise(weight).abs()
    gain = size.sum() / inputs
    return func(precise(x), (size / torch.where(gain > 0, gain, 1)).to(precise(x)), None, *rest, **more)


def _scaled(x: Tensor, weight: Tensor | None, dim: int) -> Tensor:
    """Per-channel scales count by size, relative to their mean."""
    if weight is None:
        return precise(x)
    return precise(x) * _relative(weight).view([-1 if d == dim else 1 for d in range(x.ndim)])


def _batch_norm(
    func: Any,
    x: Tensor,
    running_mean: Any,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = None,
    eps: float = 1e-5,
    *_: Any,
) -> Tensor:
    spread = None if running_var is None else (precise(running_var) + eps).rsqrt()
    if weight is None or spread is None:
        return _scaled(x, spread if weight is None else weight, 1)
    return _scaled(x, precise(weight) * spread, 1)


def _layer_norm(func: Any, x: Tensor, shape: Any, weight: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    return _scaled(x, weight, x.ndim - 1) if weight is None or weight.ndim == 1 else precise(x)


def _group_norm(
    func: Any, x: Tensor, groups: int, weight: Tensor | None = None, *_: Any, **__: Any
) -> Tensor:
    return _scaled(x, weight, 1)


def _product(func: Callable[..., Any], x: Any, y: Any, **more: Any) -> Any:
    """A learned scale counts by size, like every weight; a product of activations is left alone."""
    x, y = (_relative(each) if isinstance(each, Parameter) else each for each in (x, y))
    return func(x, y, **more)


def _relative(weight: Tensor) -> Tensor:
    size = precise(weight).abs()
    mean = size.mean()
    return size / torch.where(mean > 0, mean, 1)


def _mean_pool(
    func: Any, x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Tensor:  # fmt: skip
    return F.avg_pool2d(x, kernel_size, stride or kernel_size, padding, ceil_mode)


def _adaptive_mean_pool(func: Any, x: Tensor, size: Any, *_: Any, **__: Any) -> Tensor:
    return F.adaptive_avg_pool2d(x, size)


def _identity(func: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x


def _kept_precise(func: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return x if x.dtype in (torch.float32, torch.float64) else func(x, *args, **kwargs)


_RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "conv_transpose2d", "linear"), _affine),
    **dict.fromkeys(
        sorted(RECTIFIERS | {"hardtanh", "clamp", "clamp_min", "local_response_norm"}), _identity
    ),
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    **dict.fromkeys(("mul", "__mul__", "__rmul__"), _product),
    **dict.fromkeys(("max_pool2d", "max_pool2d_with_indices"), _mean_pool),
    "adaptive_max_pool2d": _adaptive_mean_pool,
    "to": _kept_precise,
}
