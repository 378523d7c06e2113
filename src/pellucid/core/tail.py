"""The part of a network behind a layer, re-run for other activations."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from pellucid.core.capture import as_input, check_rows, differentiated, keeping, unreached
from pellucid.core.counting import behind_a_layer
from pellucid.core.hooks import at_calls, replaced
from pellucid.core.layers import Call, LayerLike
from pellucid.core.network import NetworkLike, as_network
from pellucid.core.running import undisturbed


class Tail:
    """The part of a network behind a layer, for the given images: ``tail(activation) -> output``.

    During re-runs every module that had finished before the layer returns what it returned for the images
    instead of computing, the layer returns the given activation, and the rest runs. So any layer of any
    network can be cut, inside a residual block too: the shortcut keeps its own value. Activations may hold
    k rows per image, batch after batch. Checked at construction: the tail of the layer's own activation
    must give the network's output; where it does not (modules that keep state between calls), everything is
    re-run and ``cut`` is False.

    Args:
        net: a network, module, name or file; see `pellucid.load`.
        images: normalized, [batch channel height width].
        layer: name, position or module.

    Example:
        >>> from pellucid import load
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 2))
        >>> tail = Tail(load(net, input_shape=(1, 8, 8)), torch.rand(1, 1, 8, 8), "1")
        >>> bool(torch.allclose(tail(tail.activation), tail.output))
        True
    """

    def __init__(
        self, net: NetworkLike, images: Float[Tensor, "batch channel height width"], layer: LayerLike
    ) -> None:
        net = as_network(net)
        (self.name,) = net.layer_names(layer)
        self.net = net
        images = as_input(net, images)
        layers = net.layers_at((int(images.shape[2]), int(images.shape[3])))
        self.layer, self._call = layers.find(self.name)
        self._skipped = _finished_before(layers.calls, self._call) if self._call is not None else ()
        self._stored: dict[Call, Any] = {}
        self._lend, self.cut = True, True
        with undisturbed(net.module) as module, torch.no_grad():
            self.images = images.clone() if images.is_inference() else images.detach()
            self.activation, self.output = self._record(module)
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
            undisturbed(self.net.module) as module,
            torch.set_grad_enabled(wants_gradient),
            differentiated(self.net, [self.name]),
        ):
            activation = activation.to(self.activation).clone()  # in-place successors write into the copy
            if self._call is None:
                return self.net(activation)
            with self._replaying(module, activation), behind_a_layer(self.cut):
                return self.net.select(module(self._rows(self.images, rows)), rows)

    def without(
        self,
        sets: Sequence[Sequence[int] | Tensor],
        reference: Float[Tensor, "1 channel 1 1"] | None = None,
        *,
        at_once: int = 16,
    ) -> Float[Tensor, "set batch classes"]:
        """Class scores when each of some sets of units is taken away.

        Args:
            sets: indices of units; an empty set takes nothing away.
            reference: what every unit holds when it is away; zero by default.
            at_once: rows in one run of the tail; at least one set is run.

        Returns:
            [set batch classes].

        Raises:
            IndexError: a unit that the layer does not have.
        """
        batch, channels = self.activation.shape[:2]
        away = torch.zeros(len(sets), channels, dtype=torch.bool)
        for row, units in enumerate(sets):
            index = torch.as_tensor(units, dtype=torch.long).reshape(-1).cpu()
            if len(index) and not 0 <= int(index.min()) <= int(index.max()) < channels:
                raise IndexError(
                    f"Expected units from 0 to {channels - 1}, got {int(index.min())} to {int(index.max())} of layer "
                    f"`{self.name}`."
                )
            away[row, index] = True
        if not sets:
            return self.output.new_zeros(0, *self.output.shape)
        left = torch.zeros(()) if reference is None else reference
        outputs = []
        with undisturbed(self.net.module), torch.no_grad():
            for part in torch.split(away.to(self.activation.device), max(1, at_once // batch)):
                rows = torch.where(part[:, None, :, None, None], left.to(self.activation), self.activation)
                outputs.append(self(rows.flatten(0, 1)).view(len(part), batch, -1))
        return torch.cat(outputs)

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

    def _record(self, module: nn.Module) -> tuple[Tensor, Tensor]:
        """Run the network once; store what the skipped calls return, and the layer's own activation."""
        if self._call is None:
            return self.images, self.net(self.images.clone())
        kept: dict[str, Tensor] = {}

        def store(
            calls: list[Call], _args: Any, output: Any
        ) -> None:  # a copy: it must survive in-place successors
            self._stored[calls[0]] = tree_map_only(Tensor, lambda t: t.detach().clone(), output)

        with (
            at_calls(module, {call: call for call in self._skipped}, store),
            at_calls(module, {self.name: self._call}, keeping(self.net, kept, gradients=False)),
        ):
            output = self.net(self.images.clone())
        if self.name not in kept:
            raise unreached(self.net, self.name)
        check_rows(self.net, self.name, len(kept[self.name]), len(self.images))
        return kept[self.name], output

    @contextlib.contextmanager
    def _replaying(self, module: nn.Module, activation: Tensor) -> Iterator[None]:
        """Let finished modules answer from store and the layer answer with ``activation``, in this thread."""
        assert self._call is not None
        thread = threading.get_ident()
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
                if threading.get_ident() != thread:
                    return forward(*args, **kwargs)
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
                child = module.get_submodule(path)
                stack.enter_context(replaced(child, answering(path, child.forward)))
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
