"""A forward pass that ends at the layers that are asked for.

A hook on the last of their calls leaves the pass by an exception of its own, so whatever stands behind the layers is not run,
in any module graph. The hooks live as long as the pass. The network's own modules are used, with frozen weights in evaluation
mode (`pellucid.core.running.undisturbed`), so gradients reach the picture alone.

A unit behind a rectifier that is off everywhere has no gradient. `Rectified` remembers what went into every rectifier: where
the output of one is the layer's activation, its input can be climbed in the activation's place until the unit is on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pellucid.core.capture import unreached
from pellucid.core.layers import INPUT, Call
from pellucid.core.network import Network
from pellucid.core.reading import RECTIFIERS


class Cut:
    """Runs a network up to some layers; up to the end where ``whole``."""

    def __init__(self, net: Network, layers: Sequence[str], *, whole: bool) -> None:
        self.net, self.whole, self.names = net, whole, tuple(dict.fromkeys(layers))
        found = {name: net.layers.find(name)[1] for name in self.names}
        self._calls: Mapping[str, Call] = {name: call for name, call in found.items() if call is not None}

    def __call__(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """Activations of the layers, and the class scores where the whole network runs; both in the graph of autograd."""
        kept: dict[str, Tensor] = {INPUT: images} if INPUT in self.names else {}
        if not self.whole and len(kept) == len(self.names):
            return kept, None
        output: Tensor | None = None
        with self._hooked(kept), contextlib.suppress(_Reached):
            # the copy: a network may begin by writing into its input
            output = self.net.select(self.net.module(images.clone()), len(images))
        missing = [name for name in self.names if name not in kept]
        if missing:
            raise unreached(self.net, missing[0])
        return kept, output if self.whole else None

    @contextlib.contextmanager
    def _hooked(self, kept: dict[str, Tensor]) -> Iterator[None]:
        by_module: dict[str, dict[int, list[str]]] = {}
        for name, call in self._calls.items():
            by_module.setdefault(call.module, {}).setdefault(call.number, []).append(name)
        handles = []
        try:
            for path, numbers in by_module.items():
                module = self.net.module.get_submodule(path)
                handles.append(module.register_forward_hook(self._keeping(numbers, kept)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _keeping(
        self, numbers: dict[int, list[str]], kept: dict[str, Tensor]
    ) -> Callable[..., Tensor | None]:
        calls = 0

        def hook(_module: Any, _args: Any, output: Tensor) -> Tensor | None:
            nonlocal calls
            names = numbers.get(calls, [])
            calls += 1
            if not names:
                return None
            kept.update(dict.fromkeys(names, output))
            if not self.whole and len(kept) == len(self.names):
                raise _Reached
            return output.clone()  # successors may write into it

        return hook


class _Reached(BaseException):
    """The last layer has run. No module's ``except Exception`` may catch it."""


class Rectified(TorchFunctionMode):
    """Inside this context the inputs of rectifiers are kept; ``before(activation)`` gives the one that led there."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: list[tuple[Tensor, Tensor]] = []

    def before(self, activation: Tensor) -> Tensor | None:
        """What went into the rectifier whose output the activation is; None if no rectifier stands right before."""
        for given, made in reversed(self._seen):
            if made.shape == activation.shape and torch.equal(made.detach(), activation.detach()):
                return given
        return None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Keep a copy of what goes into a rectifier, since the rectifier may work in place."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "").removesuffix("_") not in RECTIFIERS:
            return func(*args, **kwargs)
        given = (args[0] if args else kwargs["input"]).clone()
        made = func(*args, **kwargs)
        self._seen.append((given, made))
        return made
