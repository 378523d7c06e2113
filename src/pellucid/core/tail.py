"""The part of a network behind a layer, re-run for other activations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from pellucid.core.capture import _reading, as_input, unreached
from pellucid.core.layers import Call
from pellucid.core.network import Network
from pellucid.core.running import undisturbed


class Tail:
    """The part of a network behind a layer, for the given images: ``tail(activation) -> output``.

    During re-runs every module that had finished before the layer returns what it returned for the images
    instead of computing, the layer returns the given activation, and the rest runs. So any layer of any
    network can be cut, inside a residual block too: the shortcut keeps its own value. Activations may hold
    k rows per image, batch after batch. Checked at construction: the tail of the layer's own activation
    must give the network's output; where it does not (modules that keep state between calls), everything is
    re-run and ``cut`` is False.
    """

    def __init__(self, net: Network, images: Float[Tensor, "batch channel height width"], layer: str) -> None:
        self.net, self.name = net, layer
        images = as_input(net, images)
        layers = net.layers_at((int(images.shape[2]), int(images.shape[3])))
        self.layer, self._call = layers.find(layer)
        self._skipped = _finished_before(layers.calls, self._call) if self._call is not None else ()
        self._stored: dict[Call, Any] = {}
        self._lend, self.cut = True, True
        with torch.inference_mode(False), undisturbed(net.module), torch.no_grad():
            self.images = images.clone() if images.is_inference() else images.detach()
            self.activation, self.output = self._record()
            if not self._holds():
                self._lend = False  # a later in-place write into a stored output: give out copies
                self.cut = self._holds()
        if not self.cut:
            self._stored.clear()

    def __call__(self, activation: Float[Tensor, "rows channel h w"]) -> Float[Tensor, "rows classes"]:
        """Class scores when the layer's output is ``activation``; differentiable where gradients are
        enabled."""
        rows, batch = activation.shape[0], self.images.shape[0]
        if not rows or rows % batch or activation.shape[1:] != self.activation.shape[1:]:
            shape = " ".join(map(str, self.activation.shape[1:]))
            raise ValueError(
                f"Expected activations [k*{batch} {shape}] for layer `{self.name}`, k copies of the batch, "
                f"got {tuple(activation.shape)}."
            )
        wants_gradient = torch.is_grad_enabled()
        with (
            torch.inference_mode(False),
            undisturbed(self.net.module),
            torch.set_grad_enabled(wants_gradient),
        ):
            activation = activation.to(self.activation).clone()  # in-place successors write into the copy
            if self._call is None:
                return self.net(activation)
            with self._replaying(activation):
                return self.net.select(self.net.module(self._rows(self.images, rows)), rows)

    def _holds(self) -> bool:
        """Does the tail of the layer's own activation, twice in a batch, give the network's own output
        twice?"""
        try:
            again = self(self.activation.repeat(2, 1, 1, 1))
        except Exception:
            return False
        precision = torch.finfo(self.output.dtype).eps
        near = max(1e-4, 4 * precision)
        return torch.allclose(
            again, self.output.repeat(2, 1), rtol=near, atol=near / 10 * float(self.output.abs().max() + 1)
        )

    def _record(self) -> tuple[Tensor, Tensor]:
        """Run the network once; store what the skipped calls return, and the layer's own activation."""
        if self._call is None:
            return self.images, self.net(self.images.clone())
        kept: dict[str, Tensor] = {}
        wanted = {(call.module, call.number): call for call in self._skipped}
        counts: dict[str, int] = {}

        def hook_for(path: str) -> Callable[..., None]:
            def hook(_module: nn.Module, _args: Any, output: Any) -> None:
                call = wanted.get((path, counts.get(path, 0)))
                counts[path] = counts.get(path, 0) + 1
                if call is not None:  # a copy: it must survive in-place successors
                    self._stored[call] = tree_map_only(Tensor, lambda t: t.detach().clone(), output)

            return hook

        with contextlib.ExitStack() as stack:
            for path in {call.module for call in self._skipped}:
                handle = self.net.module.get_submodule(path).register_forward_hook(hook_for(path))
                stack.callback(handle.remove)
            with _reading(self.net.module, {self.name: self._call}, kept, gradients=False):
                output = self.net(self.images.clone())
        if self.name not in kept:
            raise unreached(self.net, self.name)
        return kept[self.name], output

    @contextlib.contextmanager
    def _replaying(self, activation: Tensor) -> Iterator[None]:
        """Let finished modules answer from store and the layer answer with ``activation``."""
        assert self._call is not None
        answers: dict[str, dict[int, Any]] = {}
        for call in self._skipped if self.cut else ():
            mine = answers.setdefault(call.module, {})
            mine[len(mine)] = self._stored[call]  # inner calls of a skipped one do not happen, nor count
        last = answers.setdefault(self._call.module, {})
        place = len(last) if self.cut else self._call.number
        last[place] = activation
        reached = False

        def answering(path: str, forward: Callable[..., Any]) -> Callable[..., Any]:
            calls = 0

            def answer(*args: Any, **kwargs: Any) -> Any:
                nonlocal calls, reached
                number, calls = calls, calls + 1
                if number not in answers[path]:
                    return forward(*args, **kwargs)
                if answers[path] is last and number == place:
                    reached = True
                    return activation
                return self._rows(answers[path][number], activation.shape[0])

            return answer

        with contextlib.ExitStack() as stack:
            for path in answers:
                child = self.net.module.get_submodule(path)
                stack.callback(_put_back, child, child.__dict__.get("forward"))
                object.__setattr__(child, "forward", answering(path, child.forward))
            yield
        if not reached:
            raise RuntimeError(
                f"Expected layer `{self.name}` of `{self.net.name}` to run again, but it did not."
            )

    def _rows(self, value: Any, rows: int) -> Any:
        """A stored output for ``rows`` rows; never the stored memory itself open to in-place writing.

        One image is lent without copying at first (writing into that raises, and `Tail` then gives out
        copies).
        """
        batch = self.images.shape[0]

        def spread(tensor: Tensor) -> Tensor:
            if not tensor.ndim or tensor.shape[0] != batch or (rows == batch == 1):
                return tensor.clone()
            if batch == 1 and self._lend:
                return tensor.expand(rows, *tensor.shape[1:])
            return tensor.repeat(rows // batch, *[1] * (tensor.ndim - 1))

        return tree_map_only(Tensor, spread, value)


def _finished_before(calls: Sequence[Call], cut: Call) -> tuple[Call, ...]:
    """The outermost calls that were over when the layer's call began, in order.

    Calls are listed as they end. Going back from the layer, deeper calls are inner calls of the one just
    seen.
    """
    found: list[Call] = []
    level = cut.depth
    for call in reversed(calls[: cut.index]):
        if call.depth <= level:
            found.append(call)
            level = call.depth
    return tuple(reversed(found))


def _put_back(child: nn.Module, own: Any) -> None:
    if own is None:
        child.__dict__.pop("forward", None)
    else:
        object.__setattr__(child, "forward", own)
