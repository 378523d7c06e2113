"""What conformance tests of attribution methods and neuron criteria share: networks, and everything that must
not change."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.models import Plain, Tangled, lively
from torch import nn

import pellucid as pl
from pellucid.core.network import Network
from pellucid.zoo.embedded import WEIGHTS

NETWORKS = ("plain", "tangled", "scenes-vgg", "scenes-resnet")


def network(name: str, dtype: torch.dtype = torch.float32) -> Network:
    """``"plain"``: all methods are defined. ``"tangled"``: in-place and reused modules. Else embedded, as shipped.

    In float64 no rounding decides on which side of a rectifier's kink a cell lies, or which of two cells is larger.
    """
    if name.startswith("scenes"):
        if not (WEIGHTS / f"{name}.safetensors").exists():
            pytest.skip(f"the weights of {name} are not in this checkout")
        return pl.load(name, dtype=dtype)
    module = lively(Plain() if name == "plain" else Tangled()).to(dtype)
    return pl.load(module, input_shape=(3, 16, 16))


def images(net: Network, count: int = 3) -> torch.Tensor:
    """Noise, small: the embedded networks take any size."""
    side = min(net.input_shape[1], 48)
    x = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(7)).to(net.dtype)
    net.layers_at((side, side))
    return x


def shape_at(net: Network, layer: str, x: torch.Tensor) -> tuple[int, ...]:
    return net.layers_at((int(x.shape[2]), int(x.shape[3])))[layer].shape


def state_of(module: nn.Module) -> dict[str, Any]:
    """Everything of a user's module, and of the process, that an explanation could leave altered."""
    held: dict[str, Any] = {"modules": [id(child) for child in module.modules()]}
    for name, child in module.named_modules():
        hooks = {key: len(value) for key, value in vars(child).items() if key.endswith("_hooks")}
        held[name] = (
            type(child),
            child.training,
            hooks,
            sorted(vars(child)),
            getattr(child, "inplace", None),
        )
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        gradient = None if tensor.grad is None else tensor.grad.clone()
        held[f"tensor {name}"] = (
            id(tensor),
            tensor._version,
            tensor.requires_grad,
            tensor.detach().clone(),
            gradient,
        )
    held["torch"], held["numpy"] = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    held["python"] = random.getstate()
    held["modes"] = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_num_threads())
    return held


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return bool((one == other).all())
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@contextlib.contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Asserts that a module in its most delicate state comes back as it was."""
    module.train()
    for place, parameter in enumerate(module.parameters()):
        parameter.requires_grad_(place % 2 == 0)
        parameter.grad = torch.full_like(parameter, 0.25) if place % 3 == 0 else None
    before = state_of(module)
    try:
        yield
    finally:
        after = state_of(module)
        assert before.keys() == after.keys()
        changed = [key for key in before if not equal(before[key], after[key])]
        assert not changed, changed
