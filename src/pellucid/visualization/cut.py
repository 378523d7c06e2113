"""A forward pass that ends at the layers that are asked for.

A hook on the last of their calls leaves the pass by an exception of its own, so whatever stands behind the layers is not run,
in any module graph. What runs is the network's twin, with frozen weights in evaluation mode
(`pellucid.core.running.undisturbed`), so gradients reach the picture alone.

A unit behind a rectifier that is off everywhere has no gradient. `Rectified` remembers what went into every rectifier: where
the output of one is the layer's activation, its input can be climbed in the activation's place until the unit is on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pellucid.core.capture import differentiated, unreached
from pellucid.core.hooks import Enough, Intercept, at_calls
from pellucid.core.layers import INPUT, Call
from pellucid.core.network import Network
from pellucid.core.reading import RECTIFIERS
from pellucid.core.running import undisturbed


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

        def keep(names: list[str], _args: Any, output: Tensor) -> Tensor:
            kept.update(dict.fromkeys(names, output))
            if not self.whole and len(kept) == len(self.names):
                raise Enough
            return output.clone()  # successors may write into it

        with (
            undisturbed(self.net.module) as module,
            differentiated(self.net, self.names),
            contextlib.suppress(Enough),
            at_calls(module, self._calls, keep),
        ):  # the copy: a network may begin by writing into its input
            output = self.net.select(module(images.clone()), len(images))
        missing = [name for name in self.names if name not in kept]
        if missing:
            raise unreached(self.net, missing[0])
        return kept, output if self.whole else None


class Rectified(Intercept):
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

    def call(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Keep a copy of what goes into a rectifier, since the rectifier may work in place."""
        if name.removesuffix("_") not in RECTIFIERS:
            return func(*args, **kwargs)
        given = args[0].clone()
        made = func(*args, **kwargs)
        self._seen.append((given, made))
        return made
