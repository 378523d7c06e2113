"""The mode under which one ordinary forward pass builds the graph of relevance.

Every torch call is looked at by name (`pellucid.core.hooks.Intercept`), so functional additions,
in-place operations and reused modules are all seen, and no module is touched:

* convolutions and linear layers get a rule (`pellucid.relevance.affine`);
* batch normalization is folded into the affine call whose output it takes, and passes relevance on; so do
  other normalizations, activation functions, and anything with a constant: operations from one value to one;
* additions share between their summands, a product gives all to the signal and nothing to its gate (the
  factor that comes out of a sigmoid or is spread over positions), two equal factors get half each;
* average pooling and means share in proportion; maximum pooling, concatenation and whatever only moves values
  keep their own backward, which conserves;
* everything else gets gradient × input, and its name is noted; so do complex numbers, a pair of real ones each.

What a tensor is (derived from the image, a gate, the output of an affine call) is written on it as a `Tag`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from pellucid.core.hooks import Intercept, hidden_in
from pellucid.core.network import Network
from pellucid.core.precision import widest
from pellucid.relevance.calls import Invocation, Tag, plain_name, put_tag, tag_of, tensors_in
from pellucid.relevance.composites import Composite
from pellucid.relevance.ledger import Ledger
from pellucid.relevance.memory import Memory
from pellucid.relevance.operations import GATES, HANDLERS, MOVING, SAME, complex_valued, fallback

_ASKING = {"__get__", "__set__", "size", "dim", "numel", "stride", "register_hook", "is_contiguous"} | {
    "is_floating_point", "__len__", "untyped_storage", "data_ptr", "retain_grad", "is_inference",
}  # fmt: skip
_AFFINE = {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear"}


def graph_for(
    net: Network, images: Tensor, composite: Composite, *, double: bool, keep: bool = False
) -> tuple[RelevanceGraph, Tensor]:
    """A graph for these images, and the images as an object of its own to write their tag on."""
    half = net.dtype in (torch.float16, torch.bfloat16)  # no type to divide in: such walks are in float32
    precision = widest(net.device) if double else torch.float32 if half else None
    known = net.preprocess.channels == net.input_shape[0]  # else nobody knows what a pixel can be
    limits = net.preprocess.bounds() if known else None
    logits = net.layers.made_by == "log_softmax"
    graph = RelevanceGraph(composite, limits, max(1, len(images)), precision, keep, logits)
    graph.given = net.dtype
    images = images.to(net.device, net.dtype).detach()
    put_tag(images, Tag(image="itself"))
    return graph, images


class RelevanceGraph(Intercept):
    """Inside this context autograd's backward is the walk of relevance; `ledger` then knows what went where.

    ``limits``: least and largest value of a pixel, for zB. ``precision``: whatever the network's own,
    everything that depends on the image is computed in this one; None leaves it. ``keep`` what
    rules need for further walks. ``logits``: a final log-softmax shifts all classes alike and is left out, so that relevance
    starts at the logits. ``finished`` switches the mode off.
    """

    def __init__(
        self,
        composite: Composite,
        limits: tuple[Tensor, Tensor] | None,
        batch: int,
        precision: torch.dtype | None = None,
        keep: bool = False,
        logits: bool = False,
    ) -> None:
        super().__init__()
        self.keep, self.logits = keep, logits
        self.given = torch.float32
        self.composite, self.limits, self.precision = composite, limits, precision
        self.ledger, self.memory = Ledger(batch), Memory()
        self.finished = False

    def call(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The ordinary result, with the rule of its operation as its backward."""
        if self.finished:
            return func(*args, **kwargs)
        inputs = list(tensors_in((args, kwargs)))
        if torch._C._functorch.peek_interpreter_stack() is not None:
            raise ValueError(
                "Expected operations on plain tensors, got some under `torch.vmap` or another transform, where relevance cannot "
                "be followed; try a method without relevance."
            )
        for each in inputs:
            if each.grad_fn is not None and tag_of(each) is None:  # out of something that was not seen
                self.ledger.enter(each.grad_fn.name().removesuffix("Backward"), known=False)
                put_tag(each, Tag())
        tags = [tag for tag in map(tag_of, inputs) if tag is not None]
        if not tags or name in _ASKING:
            answer = func(*args, **kwargs)
            if tags and isinstance(answer, Tensor):  # a transposed view, say: `x.mT`
                put_tag(answer, Tag(tags[0].image and "derived", tags[0].gate))
            return answer
        if self.precision is not None:
            args, kwargs = tree_map_only(Tensor, self._widened, (args, kwargs))
            if hidden_in(func):  # it has weights of its own, in the network's precision
                func = self._narrowed(func)
        invocation = Invocation(func, *plain_name(name, args, kwargs), args, kwargs)
        result = self._answered(invocation, inputs)
        if self.precision is not None and isinstance(result, Tensor):  # somebody may have asked for less
            result = self._widened(result)
        self._tagged(result, invocation.name, tags)
        return result

    def _narrowed(self, func: Callable[..., Any]) -> Callable[..., Any]:
        def narrow(value: Tensor) -> Tensor:
            return value.to(self.given) if value.dtype == self.precision else value

        def call(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = tree_map_only(Tensor, narrow, (args, kwargs))
            return func(*args, **kwargs)

        return call

    def _answered(self, invocation: Invocation, inputs: list[Tensor]) -> Any:
        if self.logits and invocation.name == "log_softmax":
            return invocation.args[0]
        if invocation.inplace or invocation.name in ("setitem", "copy"):
            self.memory.about_to_write(invocation.args[0])
        handler = HANDLERS.get(invocation.name)
        recorded = torch.is_grad_enabled() and any(each.requires_grad for each in inputs)
        if not recorded and not getattr(handler, "always", False):
            return invocation.func(*invocation.args, **invocation.kwargs)
        if handler is None and invocation.name in MOVING:
            return invocation.func(*invocation.args, **invocation.kwargs)
        if any(each.is_complex() for each in inputs):
            handler = complex_valued
        result = (handler or fallback)(self, invocation)
        if invocation.inplace and isinstance(result, Tensor) and result is not invocation.args[0]:
            # autograd then takes the tensor's history to be that of the result
            return invocation.args[0].copy_(result)
        return result

    def _widened(self, value: Tensor) -> Tensor:
        # a tensor that is wide already is handed back itself, so that in-place operations still reach it
        if not value.is_floating_point() or value.dtype == self.precision:
            return value
        wide, tag = value.to(self.precision), tag_of(value)
        if tag is not None:
            put_tag(wide, tag)
        return wide

    def _tagged(self, result: Any, name: str, tags: list[Tag]) -> None:
        if isinstance(result, Tensor) and name in SAME:
            put_tag(result, tags[0])
            return
        if name in _AFFINE and tag_of(result) is not None:
            return  # the call has tagged its own output
        made = all(tag.image for tag in tags) and name != "batch_norm"
        gate = name in GATES or (name in MOVING and all(tag.gate for tag in tags))
        tag = Tag("derived" if made else "", gate)
        for each in tensors_in((result,)):
            put_tag(each, tag)
