"""Looking at activations in passing: for runs over many images of which little is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.capture import as_input, unreached
from pellucid.layers import Call
from pellucid.network import Network, undisturbed


def observe(
    net: Network,
    images: Float[Tensor, "batch channel height width"],
    layers: Sequence[str],
    see: Callable[[str, Tensor], None],
) -> None:
    """Show ``see`` every layer's activation as soon as it is there, without a copy; what follows the last one is not run.

    For passes over many images of which little is kept. The tensor may not be kept or written into: the network goes on
    with it, and may overwrite it. Raises as `capture` does.
    """
    images = as_input(net, images)
    found = net.layers_at((int(images.shape[2]), int(images.shape[3])))
    waiting = set(layers)

    def show(name: str, value: Tensor) -> None:
        see(name, value.detach())
        waiting.discard(name)
        if not waiting:
            raise _SeenAll

    with (
        torch.inference_mode(False),
        undisturbed(net.module),
        torch.no_grad(),
        contextlib.suppress(_SeenAll),
        contextlib.ExitStack() as stack,
    ):
        for name in dict.fromkeys(layers):
            call = found.find(name)[1]
            if call is None:
                show(name, images)
                continue
            counts = iter(range(1 << 62))

            def hook(
                _module: nn.Module,
                _args: Any,
                output: Tensor,
                name: str = name,
                call: Call = call,
                counts: Any = counts,
            ) -> None:
                if next(counts) == call.number:
                    show(name, output)

            stack.callback(net.module.get_submodule(call.module).register_forward_hook(hook).remove)
        net.module(images.clone())
    if waiting:
        raise unreached(net, min(waiting))


class _SeenAll(BaseException):
    """Ends a forward pass of which nothing more is wanted."""
