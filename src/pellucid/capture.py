"""Activations and gradients of many layers from one forward and one backward pass; and the tail behind a layer.

How it stays cheap: gradient recording is switched on by the hook of the first asked layer, so everything before it runs
as in inference, and one ``torch.autograd.grad`` reaches down to that layer only. How it stays right: the network goes on
with a copy of what was captured, so an in-place ReLU behind a layer cannot rewrite it; calls of a module are counted, so
a reused module gives the call that was asked for. How it leaves nothing behind: hooks, training flags,
``requires_grad``, gradients and random state are put back in ``finally``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.layers import Call
from pellucid.network import Network, TargetLike, undisturbed
from pellucid.types import INPUT, Trace


def capture(
    net: Network,
    images: Float[Tensor, "batch channel height width"],
    layers: Sequence[str],
    target: TargetLike = None,
    *,
    gradients: bool = True,
) -> Trace:
    """One forward pass, and with ``gradients`` one backward pass, over normalized images.

    The gradients are those of the sum over the batch of the target's score, so each image has its own. Works inside
    ``no_grad``, ``inference_mode`` and ``autocast``. Raises UnknownNameError for an unknown layer, and ValueError when
    the score does not depend on a layer.
    """
    images = _as_input(net, images)
    found = net.layers_at((int(images.shape[2]), int(images.shape[3])))
    wanted = {name: found.find(name) for name in dict.fromkeys(layers)}
    kept: dict[str, Tensor] = {}
    with torch.inference_mode(False), undisturbed(net.module), torch.set_grad_enabled(False):
        x = images.clone() if images.is_inference() else images.detach()
        if INPUT in wanted:
            x = _keep(x, INPUT, kept, gradients)
        with _reading(net.module, {n: call for n, (_, call) in wanted.items() if call is not None}, kept, gradients):
            output = net.select(net.module(x))
        resolved = net.resolve_target(target, output.detach())
        missing = [name for name in wanted if name not in kept]
        if missing:
            raise ValueError(
                f"Expected layer `{missing[0]}` of `{net.name}` to run for this input, but it did not; "
                "the network takes another path here, try another layer."
            )
        with torch.set_grad_enabled(gradients):
            score = resolved.score(output)
        slopes = _backward(net, score, kept) if gradients and kept else {}
    return Trace(
        network=net,
        images=images.detach(),
        output=output.detach(),
        target=resolved,
        score=score.detach(),
        activations={name: kept[name].detach() for name in wanted},
        gradients=slopes,
        layers={name: layer for name, (layer, _) in wanted.items()},
    )


def _as_input(net: Network, images: Tensor) -> Tensor:
    channels = net.input_shape[0]
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != channels or not images.is_floating_point():
        got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(
            f"Expected normalized images, a float tensor [batch {channels} height width], got {got}; "
            "try `net.preprocess(picture)[None]`."
        )
    if images.shape[0] == 0:
        raise ValueError("Expected at least one image, got an empty batch.")
    return images.to(net.device, net.dtype)


def _keep(value: Tensor, name: str, kept: dict[str, Tensor], gradients: bool) -> Tensor:
    """Store a tensor under a name and give the network a copy to go on with."""
    if gradients:
        torch.set_grad_enabled(True)
        if not value.requires_grad:
            value = value.detach().requires_grad_()
    kept[name] = value
    return value.clone()


@contextlib.contextmanager
def _reading(module: nn.Module, wanted: dict[str, Call], kept: dict[str, Tensor], gradients: bool) -> Iterator[None]:
    """Hooks that keep the output of the wanted calls; removed whatever happens."""
    handles = []

    def hook_for(numbers: dict[int, list[str]]) -> Callable[..., Tensor | None]:
        calls = 0

        def hook(_module: nn.Module, _args: Any, output: Tensor) -> Tensor | None:
            nonlocal calls
            names = numbers.get(calls, [])
            calls += 1
            if not names:
                return None
            onward = _keep(output, names[0], kept, gradients)
            for other in names[1:]:
                kept[other] = kept[names[0]]
            return onward

        return hook

    by_module: dict[str, dict[int, list[str]]] = {}
    for name, call in wanted.items():
        by_module.setdefault(call.module, {}).setdefault(call.number, []).append(name)
    try:
        for path, numbers in by_module.items():
            handles.append(module.get_submodule(path).register_forward_hook(hook_for(numbers)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _backward(net: Network, score: Tensor, kept: dict[str, Tensor]) -> dict[str, Tensor]:
    if not score.requires_grad:
        raise ValueError(
            f"Expected the target's score to depend on {', '.join(f'`{name}`' for name in kept)} of `{net.name}`, "
            "but no gradient reaches there; the network may detach or round on the way."
        )
    grads = torch.autograd.grad(score.sum(), list(kept.values()), allow_unused=True)
    # a layer off the target's path has, truthfully, no influence
    return {
        name: torch.zeros_like(value) if grad is None else grad.detach()
        for (name, value), grad in zip(kept.items(), grads, strict=True)
    }


class Tail:
    """The part of a network behind a layer, for the given images: ``tail(activation) -> output``.

    During re-runs every module that had finished before the layer returns what it returned for the images instead of
    computing, the layer returns the given activation, and the rest runs. So any layer of any network can be cut,
    inside a residual block too: the shortcut keeps its own value. Activations may hold k rows per image, batch
    after batch. Checked at construction: the tail of the layer's own activation must give the network's output; where it
    does not (functional code with state), everything is re-run and ``cut`` is False.
    """

    def __init__(self, net: Network, images: Float[Tensor, "batch channel height width"], layer: str) -> None:
        self.net, self.name = net, layer
        self.images = _as_input(net, images).detach()
        layers = net.layers_at((int(images.shape[2]), int(images.shape[3])))
        self.layer, self._call = layers.find(layer)
        self._stored: dict[tuple[str, int], Any] = {}
        self.cut = self._answered = False
        if self._call is None:
            with self._quiet():
                self.activation, self.output = self.images, net(self.images)
            self.cut = True
            return
        self._skipped = self._finished_before(layers.calls, self._call)
        with self._quiet():
            self.activation, self.output = self._record()
            self.cut = bool(self._skipped)
            if self.cut and not self._holds():
                self.cut = False
                self._stored.clear()

    def _holds(self) -> bool:
        """Does the tail of the layer's own activation, twice in a batch, give the network's own output twice?"""
        try:
            again = self(self.activation.repeat(2, 1, 1, 1))
        except RuntimeError:  # an in-place write into a shared stored output, or a module that counts its calls
            return False
        tolerance = 1e-5 * float(self.output.abs().max() + 1)
        return self._answered and torch.allclose(again, self.output.repeat(2, 1), rtol=1e-4, atol=tolerance)

    def __call__(self, activation: Float[Tensor, "rows channel h w"]) -> Float[Tensor, "rows classes"]:
        """Class scores when the layer's output is ``activation``; differentiable where gradients are enabled."""
        rows, batch = activation.shape[0], self.images.shape[0]
        if rows % batch or activation.shape[1:] != self.activation.shape[1:]:
            raise ValueError(
                f"Expected activations [k*{batch} {' '.join(map(str, self.activation.shape[1:]))}] for layer "
                f"`{self.name}`, got {tuple(activation.shape)}."
            )
        activation = activation.to(self.activation)
        wants_gradient = torch.is_grad_enabled()
        with torch.inference_mode(False), undisturbed(self.net.module), torch.set_grad_enabled(wants_gradient):
            if self._call is None:
                return self.net(activation)
            with self._replaying(activation, rows // batch):
                return self.net.select(self.net.module(_rows(self.images, rows // batch)))

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        with torch.inference_mode(False), undisturbed(self.net.module), torch.no_grad():
            yield

    @staticmethod
    def _finished_before(calls: Sequence[Call], cut: Call) -> tuple[tuple[str, int], ...]:
        """The outermost calls that were over when the layer's call began, and that do not belong to it."""
        inside = {call.index for call in calls[: cut.index] if call.module.startswith(cut.module + ".")}
        before = [call for call in calls[: cut.index] if call.index not in inside]
        outermost: list[Call] = []
        for call in reversed(before):
            # a call that ends later at a smaller depth holds the deeper calls just before it
            if not any(call.module.startswith(other.module + ".") for other in outermost):
                outermost.append(call)
        return tuple((call.module, call.number) for call in outermost)

    def _record(self) -> tuple[Tensor, Tensor]:
        assert self._call is not None
        kept: dict[str, Tensor] = {}
        handles = []
        counts: dict[str, int] = {}

        def hook_for(path: str) -> Callable[..., None]:
            def hook(_module: nn.Module, _args: Any, output: Any) -> None:
                number = counts.get(path, 0)
                counts[path] = number + 1
                if (path, number) in skipped:
                    self._stored[path, number] = _copy(output)

            return hook

        skipped = set(self._skipped)
        try:
            for path in dict.fromkeys(path for path, _ in self._skipped):
                handles.append(self.net.module.get_submodule(path).register_forward_hook(hook_for(path)))
            with _reading(self.net.module, {self.name: self._call}, kept, gradients=False):
                output = self.net(self.images)
        finally:
            for handle in handles:
                handle.remove()
        return kept[self.name], output

    @contextlib.contextmanager
    def _replaying(self, activation: Tensor, count: int) -> Iterator[None]:
        """Let finished modules answer from store and the layer answer with ``activation``."""
        assert self._call is not None
        answers: dict[str, dict[int, Any]] = {self._call.module: {self._call.number: activation}}
        if self.cut:
            for (path, number), value in self._stored.items():
                answers.setdefault(path, {})[number] = value
        originals: list[tuple[nn.Module, bool, Any]] = []
        cut = self._call

        def answering(path: str, forward: Callable[..., Any]) -> Callable[..., Any]:
            calls = 0

            def answer(*args: Any, **kwargs: Any) -> Any:
                nonlocal calls
                number, calls = calls, calls + 1
                if number not in answers[path]:
                    return forward(*args, **kwargs)
                if path == cut.module and number == cut.number:
                    self._answered = True
                    return activation.clone()  # an in-place successor must not write into the caller's tensor
                return _rows(answers[path][number], count)

            return answer

        try:
            for path in answers:
                child = self.net.module.get_submodule(path)
                originals.append((child, "forward" in child.__dict__, child.__dict__.get("forward")))
                object.__setattr__(child, "forward", answering(path, child.forward))
            yield
        finally:
            for child, own, original in originals:
                if own:
                    object.__setattr__(child, "forward", original)
                else:
                    child.__dict__.pop("forward", None)


def _copy(value: Any) -> Any:
    """A stored output must survive in-place successors."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return type(value)(_copy(entry) for entry in value)
    return value


def _rows(value: Any, count: int) -> Any:
    """A stored output for ``count`` copies of the batch; never the stored memory itself open to in-place writing.

    One image is expanded without copying (writing into that raises, and `Tail` then re-runs everything).
    """
    if isinstance(value, Tensor):
        if value.ndim and value.shape[0] == 1 and count > 1:
            return value.expand(count, *value.shape[1:])
        return value.repeat(count, *[1] * (value.ndim - 1)) if value.ndim else value.clone()
    if isinstance(value, (list, tuple)):
        return type(value)(_rows(entry, count) for entry in value)
    return value
