"""Activations and gradients of many layers from one forward and one backward pass; and the tail behind a
layer.

How it stays cheap: gradient recording is switched on by the hook of the first asked layer, so everything
before it runs as in inference, and one ``torch.autograd.grad`` reaches down to that layer only. How it
stays right: the network goes on with a copy of what was captured, so an in-place ReLU behind a layer cannot
rewrite it; calls of a module are counted, so a reused module gives the call that was asked for. How it
leaves nothing behind: hooks, training flags, ``requires_grad``, gradients and random state are put back in
``finally``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.core.layers import INPUT, Call, Layer
from pellucid.core.network import Network, TargetLike
from pellucid.core.running import undisturbed
from pellucid.core.target import Target


def capture(
    net: Network,
    images: Float[Tensor, "batch channel height width"],
    layers: Sequence[str],
    target: TargetLike = None,
    *,
    gradients: bool = True,
) -> Trace:
    """One forward pass, and with ``gradients`` one backward pass, over normalized images.

    The gradients are those of the sum over the batch of the target's score, so each image has its own; a
    layer beside the target's path has zero gradient. Works inside ``no_grad``, ``inference_mode`` and
    ``autocast``. Raises UnknownNameError for an unknown layer, and ValueError for unusable images or when
    the score depends on none of the layers.
    """
    images = as_input(net, images)
    with torch.inference_mode(False), undisturbed(net.module), torch.set_grad_enabled(False):
        images = images.clone() if images.is_inference() else images.detach()
        kept, places, output = _forward(net, images, layers, gradients)
        resolved = net.resolve_target(target, output.detach())
        with torch.set_grad_enabled(gradients):
            score = resolved.score(output)
        slopes = _backward(net, score, kept) if gradients and kept else {}
    return Trace(
        network=net,
        images=images,
        output=output.detach(),
        target=resolved,
        score=score.detach(),
        activations={name: kept[name].detach() for name in places},
        gradients={name: slopes[name] for name in places if slopes},
        layers=places,
    )


def recorded(
    net: Network, images: Float[Tensor, "batch channel height width"], layers: Sequence[str]
) -> tuple[dict[str, Tensor], Tensor]:
    """The layers' activations and the output of one forward pass, all still in the graph of autograd.

    For walks that start anywhere and go anywhere: `torch.autograd.grad(kept[upper], kept[lower], …)`.
    """
    images = as_input(net, images)
    with torch.inference_mode(False), undisturbed(net.module), torch.set_grad_enabled(False):
        images = images.clone() if images.is_inference() else images.detach()
        kept, _, output = _forward(net, images, layers, gradients=True)
    return kept, output


def unreached(net: Network, layer: str) -> ValueError:
    """What to raise where a layer did not run."""
    return ValueError(
        f"Expected layer `{layer}` of `{net.name}` to run for this input, but it did not; "
        "the network takes another path here, try another layer."
    )


def _forward(
    net: Network, images: Tensor, layers: Sequence[str], gradients: bool
) -> tuple[dict[str, Tensor], dict[str, Layer], Tensor]:
    """What the layers gave, the layers, the output; gradient recording is on from the first layer onwards."""
    found = net.layers_at((int(images.shape[2]), int(images.shape[3])))
    wanted = {name: found.find(name) for name in dict.fromkeys(layers)}
    calls = {name: call for name, (_, call) in wanted.items() if call is not None}
    kept: dict[str, Tensor] = {}
    x = _keep(images, INPUT, kept, gradients, shared=True) if INPUT in wanted else images.clone()
    with _reading(net.module, calls, kept, gradients):
        output = net.select(net.module(x), len(x))
    missing = [name for name in wanted if name not in kept]
    if missing:
        raise unreached(net, missing[0])
    return kept, {name: layer for name, (layer, _) in wanted.items()}, output


def as_input(net: Network, images: Tensor) -> Tensor:
    """Normalized images on the network's device and in its precision. Raises ValueError for anything else."""
    channels = net.input_shape[0]
    if (
        not isinstance(images, Tensor)
        or images.ndim != 4
        or images.shape[1] != channels
        or not images.is_floating_point()
    ):
        got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(
            f"Expected normalized images, a float tensor [batch {channels} height width], got {got}; "
            "try `net.preprocess(picture)[None]`."
        )
    if images.shape[0] == 0:
        raise ValueError("Expected at least one image, got an empty batch.")
    return images.to(net.device, net.dtype)


def _keep(value: Tensor, name: str, kept: dict[str, Tensor], gradients: bool, shared: bool) -> Tensor:
    """Store a tensor under a name and give the network a copy to go on with.

    ``shared``: others hold this very memory (a module that returned its own input), and may write into it
    later.
    """
    if shared:
        value = value.clone()
    if gradients:
        torch.set_grad_enabled(True)
        if not value.requires_grad:
            value = value.detach().requires_grad_()
    kept[name] = value
    return value.clone()


def _shares(output: Tensor, args: tuple[Any, ...]) -> bool:
    memory = output.untyped_storage().data_ptr()
    return any(isinstance(arg, Tensor) and arg.untyped_storage().data_ptr() == memory for arg in args)


@contextlib.contextmanager
def _reading(
    module: nn.Module, wanted: dict[str, Call], kept: dict[str, Tensor], gradients: bool
) -> Iterator[None]:
    """Hooks that keep the output of the wanted calls; removed whatever happens."""
    handles = []

    def hook_for(numbers: dict[int, list[str]]) -> Callable[..., Tensor | None]:
        calls = 0

        def hook(_module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
            nonlocal calls
            names = numbers.get(calls, [])
            calls += 1
            if not names:
                return None
            onward = _keep(output, names[0], kept, gradients, _shares(output, args))
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
            f"Expected the target's score to depend on {', '.join(f'`{name}`' for name in kept)} of "
            f"`{net.name}`, "
            "but no gradient reaches there; the network may detach or round on the way."
        )
    grads = torch.autograd.grad(score.sum(), list(kept.values()), allow_unused=True)
    # a layer off the target's path has, truthfully, no influence
    return {
        name: torch.zeros_like(value) if grad is None else grad.detach()
        for (name, value), grad in zip(kept.items(), grads, strict=True)
    }


@dataclass(frozen=True, eq=False)
class Trace:
    """What one forward and one backward pass leave: per layer the activation and the gradient of the target's
    score.

    ``images`` is the normalized input; ``activations`` and ``gradients`` map a layer's name to
    [batch channel h w], detached, in the network's own precision. ``"input"`` is a layer like any other
    when it was asked for.
    """

    network: Network
    images: Float[Tensor, "batch channel height width"]
    output: Float[Tensor, "batch classes"]
    target: Target
    score: Float[Tensor, " batch"]
    activations: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    layers: Mapping[str, Layer]

    def __len__(self) -> int:
        return self.images.shape[0]


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
