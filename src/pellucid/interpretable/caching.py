"""Lower layers computed once: what a frozen layer gives for every training picture and its mirror image, kept in memory.

What is trained on top then starts from there. A network is entered at a layer by letting every module that had finished by then
hand on what it gets, so its own code runs unchanged. That needs a layer that everything passes (a stage's end, not the inside
of a residual block), which is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.core.hooks import Enough, replaced
from pellucid.core.layers import inspect
from pellucid.core.progress import each
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.core.running import undisturbed


def finished_by(module: nn.Module, layer: str, image: Float[Tensor, "1 channel h w"]) -> tuple[str, ...]:
    """Names of the modules that have run for the last time when ``layer`` gives its map; it is the last of them.

    Raises UnknownNameError for a layer without a map, ValueError for one that not everything passes.
    """
    with undisturbed(module) as module, torch.no_grad():
        calls = inspect(module, image, lambda out: out, lambda out: out).calls
        maps = [call.module for call in calls if call.layer is not None]
        if layer not in maps:
            raise UnknownNameError(
                f"Expected the name of a layer with a map, got `{layer}`; {suggest(layer, maps)}"
            )
        last = max(call.index for call in calls if call.module == layer)
        late = {call.module for call in calls if call.index > last}
        names = tuple(
            dict.fromkeys(call.module for call in calls if call.index <= last and call.module not in late)
        )
        rows = torch.cat([image, image.flip(3) + 0.5])
        kept = record(module, layer, rows)
        whole = module(rows)
        try:
            with entered(module, names):
                same = torch.allclose(
                    module(kept), whole, rtol=1e-3, atol=1e-3 * float(whole.abs().max() + 1)
                )
        except RuntimeError:
            same = False
    if not same:
        raise ValueError(
            f"Expected a layer that everything passes, got `{layer}`, which something goes around; "
            "try the end of a block or a stage."
        )
    return names


def record(module: nn.Module, layer: str, images: Float[Tensor, "batch channel h w"]) -> Tensor:
    """What a layer gives for images, in a copy."""
    found: list[Tensor] = []

    def hook(_module: nn.Module, _args: Any, output: Tensor) -> None:
        found.append(output.detach().clone())
        raise Enough

    handle = module.get_submodule(layer).register_forward_hook(hook)
    try:
        with suppress(Enough):
            module(images)
    finally:
        handle.remove()
    return found[0]


@contextmanager
def entered(module: nn.Module, names: tuple[str, ...]) -> Iterator[None]:
    """Inside, the module takes what its layer ``names[-1]`` gives in place of pictures."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(replaced(module.get_submodule(name), _handed_on))
        yield


def _handed_on(given: Any, *_more: Any, **_named: Any) -> Any:
    return given


def lower_maps(
    module: nn.Module,
    layer: str,
    images: Tensor,
    normalize: Callable[[Tensor], Tensor],
    *,
    mirrored: bool = True,
    dtype: torch.dtype = torch.bfloat16,
    batch_size: int = 64,
    progress: bool | None = False,
) -> Float[Tensor, "side picture channel h w"]:
    """What ``layer`` gives for all pictures (bytes [picture channel h w]) and, where asked, for their mirror images.

    Channels last in memory.
    """
    kept: Tensor | None = None
    device = next(module.parameters()).device
    with undisturbed(module) as module, torch.no_grad():
        for first in each(range(0, len(images), batch_size), "lower layers", "batch", progress):
            x = normalize(images[first : first + batch_size]).to(device)
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
                sides = [record(module, layer, each) for each in ((x, x.flip(3)) if mirrored else (x,))]
            if kept is None:
                shape = (len(sides) * len(images), *sides[0].shape[1:])
                kept = torch.empty(shape, dtype=dtype, device=device, memory_format=torch.channels_last)
            for side, found in enumerate(sides):
                start = side * len(images) + first
                kept[start : start + len(found)] = found.to(dtype)
    assert kept is not None
    return kept.view(-1, len(images), *kept.shape[1:])
