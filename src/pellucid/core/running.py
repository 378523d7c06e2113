"""Running a module without leaving a trace on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and frozen parameters inside; after it training flags, ``requires_grad`` and random
    state are as before.

    Random state of the CPU, and of CUDA when the module lives there, is put back; buffers cannot change in
    evaluation mode.
    """
    training = [(child, child.training) for child in module.modules()]
    frozen = [parameter for parameter in module.parameters() if parameter.requires_grad]
    cpu = torch.get_rng_state()
    devices = {parameter.device for parameter in module.parameters() if parameter.is_cuda}
    cuda = {device: torch.cuda.get_rng_state(device) for device in devices}
    try:
        for child, _ in training:
            child.training = False
        for parameter in frozen:
            parameter.requires_grad_(False)
        yield
    finally:
        for child, flag in training:
            child.training = flag
        for parameter in frozen:
            parameter.requires_grad_(True)
        torch.set_rng_state(cpu)
        for device, state in cuda.items():
            torch.cuda.set_rng_state(state, device)
