"""How each kind of torch operation takes part in the walk of relevance; see `pellucid.relevance.graph`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_map_only

from pellucid.core.reading import RECTIFIERS
from pellucid.relevance.affine import AffineCall, AffineRule, Convolution, Linear
from pellucid.relevance.calls import Invocation, Tag, put_tag, tag_of, tensors_in
from pellucid.relevance.functions import Enter, Leave, Shared, applied, summand_shares
from pellucid.relevance.ledger import Entry

if TYPE_CHECKING:
    from pellucid.relevance.graph import RelevanceGraph

Handler = Callable[["RelevanceGraph", Invocation], Any]

_COPIES = "clone detach requires_grad to contiguous float double half bfloat16 type type_as cpu cuda alias as_tensor"
_MOVES = """
view reshape flatten unflatten squeeze unsqueeze permute transpose swapaxes swapdims movedim t mT getitem setitem
cat stack hstack vstack chunk split tensor_split unbind narrow select index_select gather roll flip rot90 expand
expand_as repeat channel_shuffle pixel_shuffle pixel_unshuffle view_as reshape_as pad unfold as_strided copy amax
max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
"""
_ONE_TO_ONE = """
sigmoid hardsigmoid tanh logsigmoid hardtanh clamp clamp_min clamp_max clip softsign hardshrink softshrink
tanhshrink threshold exp log sqrt rsqrt abs neg negative square pow log1p expm1 sin cos erf reciprocal rdiv rsub
dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout
layer_norm group_norm instance_norm rms_norm local_response_norm normalize
"""
_SUMS = frozenset({"add", "sub", "mean", "sum", "neg", "negative", "conj", "conj_physical", "resolve_conj"})
_PRODUCTS = frozenset({"mul", "div", "matmul", "mm", "bmm", "rmatmul"})
# The tensor itself, or a copy of it: it keeps its tag.
SAME = frozenset(_COPIES.split())
# Whose backward puts every value where it came from: plain autograd conserves.
MOVING = SAME.union(_MOVES.split())
GATES = frozenset({"sigmoid", "hardsigmoid", "tanh", "softmax", "logsigmoid"})


def fallback(graph: RelevanceGraph, call: Invocation) -> Any:
    """Gradient times input, through an operation nobody knows."""
    return proportional(graph, call, known=False)


def _entered(graph: RelevanceGraph, x: Tensor, entry: Entry) -> Tensor:
    return applied(Enter, x, entry, graph.memory.save(x))


def proportional(graph: RelevanceGraph, call: Invocation, known: bool = True) -> Any:
    """Gradient times input; for maps that are linear (averages) that is sharing in proportion."""
    entry = graph.ledger.enter(call.name, known)

    def enter(x: Tensor) -> Tensor:
        return _entered(graph, x, entry) if x.requires_grad else x

    def leave(y: Tensor) -> Tensor:
        if y.requires_grad:
            return applied(Leave, y, entry)
        return y

    args, kwargs = tree_map_only(Tensor, enter, (call.args, call.kwargs))
    result = tree_map_only(Tensor, leave, call.func(*args, **kwargs))
    if not any(each.requires_grad for each in tensors_in((result,))):
        graph.ledger.entries.remove(entry)  # a question (a comparison, a shape), not an operation
    return result


def complex_valued(graph: RelevanceGraph, call: Invocation) -> Any:
    """Gradient times input, part by part; for what is linear in its one signal that is sharing in proportion."""
    signals = sum(tag_of(each) is not None for each in tensors_in((call.args, call.kwargs)))
    return proportional(graph, call, call.name in _SUMS or (call.name in _PRODUCTS and signals == 1))


def passed(graph: RelevanceGraph, call: Invocation) -> Tensor:
    """Relevance stays where it is: one value became one value."""
    signal = next(each for each in call.args if tag_of(each) is not None)
    value = call.plain()
    if not isinstance(value, Tensor) or value.shape != signal.shape:
        return fallback(graph, call)  # type: ignore[no-any-return]
    return applied(Shared, lambda: value, (None,), None, signal)


def normalized(graph: RelevanceGraph, call: Invocation) -> Tensor:
    """Batch normalization: noted on the affine call it follows, relevance stays where it is."""
    x, mean, var = call.args[0], call.argument(1, "running_mean"), call.argument(2, "running_var")
    tag = tag_of(x)
    fixed = mean is not None and var is not None and not call.argument(5, "training", False)
    if tag is not None and tag.source is not None and fixed:
        weight, bias = call.argument(3, "weight"), call.argument(4, "bias")
        scale = (var.detach() + call.argument(7, "eps", 1e-5)).rsqrt()
        scale = scale if weight is None else scale * weight.detach()
        shift = -mean.detach() * scale
        before = tag.source.fold  # one normalization behind another
        shift = shift if bias is None else shift + bias.detach()
        tag.source.fold = (scale, shift) if before is None else (before[0] * scale, before[1] * scale + shift)
    if not x.requires_grad:
        return call.func(*call.args, **call.kwargs)  # type: ignore[no-any-return]
    return passed(graph, call)


normalized.always = True  # type: ignore[attr-defined]


def convolution(graph: RelevanceGraph, call: Invocation) -> Tensor:
    """A convolution, transposed or not, gets its rule."""
    x, weight = call.args[0], call.argument(1, "weight")
    dims = int(call.name[-2])
    if tag_of(weight) is not None or x.ndim != dims + 2:
        return fallback(graph, call)  # type: ignore[no-any-return]
    backwards = call.name.startswith("conv_transpose")
    stride = _each(call.argument(3, "stride", 1), dims)
    padding = call.argument(4, "padding", 0)
    dilation = _each(call.argument(7 if backwards else 5, "dilation", 1), dims)
    if padding == "same":
        x, padding = _padded(x, weight, dilation), 0
    linear = Convolution(
        stride,
        _each(0 if padding == "valid" else padding, dims),
        dilation,
        int(call.argument(6, "groups", 1)),
        backwards,
        _each(call.argument(5, "output_padding", 0) if backwards else 0, dims),
    )
    return _affine(graph, call, x, linear, weight, graph.composite.convolution)


def linear(graph: RelevanceGraph, call: Invocation) -> Tensor:
    """A linear layer; over the positions of a map it is a convolution."""
    x, weight = call.args[0], call.argument(1, "weight")
    if tag_of(weight) is not None or x.ndim < 2:
        return fallback(graph, call)  # type: ignore[no-any-return]
    rule = graph.composite.dense if x.ndim == 2 else graph.composite.convolution
    return _affine(graph, call, x, Linear(), weight, rule)


convolution.always = linear.always = True  # type: ignore[attr-defined]


def _affine(
    graph: RelevanceGraph, call: Invocation, x: Tensor, how: Convolution | Linear, weight: Tensor, rule: Any
) -> Tensor:
    tag = tag_of(call.args[0]) or Tag()
    if tag.image and graph.composite.first is not None:
        rule = graph.composite.first
    bias = call.argument(2, "bias")
    entry = graph.ledger.enter(call.name)
    made = AffineCall(how, weight.detach(), None if bias is None else bias.detach(), rule, entry)
    made.keep = graph.keep
    if tag.image == "itself" and isinstance(how, Convolution):
        made.limits = graph.limits
    recorded = torch.is_grad_enabled() and x.requires_grad
    y = (
        applied(AffineRule, x, made, graph.memory.save(x))
        if recorded
        else call.func(*call.args, **call.kwargs)
    )
    put_tag(y, Tag(source=made))
    return y


def added(graph: RelevanceGraph, call: Invocation) -> Tensor:
    """A sum shares between its summands; with a constant there is nothing to share. So does a difference."""
    one, other = call.args[0], call.argument(1, "other")
    if tag_of(one) is None or tag_of(other) is None:
        return _with_constant(graph, call)
    factor = call.kwargs.get("alpha", 1) * (-1 if call.name == "sub" else 1)
    shares = summand_shares(one.detach(), factor * other.detach(), graph.composite.addition == "positive")
    entry = graph.ledger.enter(call.name)
    return applied(Shared, call.plain, shares, entry, one, other)


def multiplied(graph: RelevanceGraph, call: Invocation) -> Tensor:
    """A product gives its relevance to the signal, not to the gate; to equal factors half each."""
    one, other = call.args[0], call.argument(1, "other")
    first, second = tag_of(one), tag_of(other)
    if first is None or second is None:
        return _with_constant(graph, call)
    if first.gate != second.gate:
        signal = other if first.gate else one
    elif one.numel() != other.numel():
        signal = one if one.numel() > other.numel() else other
    else:
        return applied(Shared, call.plain, (0.5, 0.5), None, one, other)
    return _to_signal(graph, call, signal)


def divided(graph: RelevanceGraph, call: Invocation) -> Tensor:
    """A quotient gives its relevance to the numerator."""
    one, other = call.args[0], call.argument(1, "other")
    if tag_of(one) is None or tag_of(other) is None:
        return _with_constant(graph, call)
    return _to_signal(graph, call, one)


def _with_constant(graph: RelevanceGraph, call: Invocation) -> Tensor:
    signal = next(each for each in (*call.args, *call.kwargs.values()) if tag_of(each) is not None)
    return _to_signal(graph, call, signal)


def _to_signal(graph: RelevanceGraph, call: Invocation, signal: Tensor) -> Tensor:
    value = call.plain()
    if value.shape == signal.shape:
        return applied(Shared, lambda: value, (None,), None, signal)
    # a signal spread over more positions: each copy hands back what it got
    return applied(Shared, lambda: value, (None,), graph.ledger.enter(call.name), signal)


def product(graph: RelevanceGraph, call: Invocation) -> Any:
    """A matrix product with a constant is linear: in proportion; of two activations it is unknown."""
    active = sum(tag_of(each) is not None for each in call.args)
    return proportional(graph, call) if active == 1 else fallback(graph, call)


def _each(value: Any, dims: int) -> tuple[int, ...]:
    return (int(value),) * dims if isinstance(value, int) else tuple(int(v) for v in value) * (
        dims if len(value) == 1 else 1
    )  # fmt: skip


def _padded(x: Tensor, weight: Tensor, dilation: tuple[int, ...]) -> Tensor:
    """What ``padding="same"`` puts around an input; the odd cell goes to the end."""
    around: list[int] = []
    for step, kernel in zip(reversed(dilation), reversed(weight.shape[2:]), strict=True):
        total = step * (kernel - 1)
        around += [total // 2, math.ceil(total / 2)]
    return F.pad(x, around)


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(RECTIFIERS.union(_ONE_TO_ONE.split()), passed),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), convolution),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d", "mean", "sum"), proportional),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"), proportional),
    **dict.fromkeys(("interpolate", "upsample"), proportional),  # linear whatever its mode
    **dict.fromkeys(("matmul", "mm", "bmm", "rmatmul"), product),
    "linear": linear,
    "batch_norm": normalized,
    "add": added,
    "sub": added,
    "mul": multiplied,
    "div": divided,
}
