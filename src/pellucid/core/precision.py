"""In which precision numbers are computed, by device: some (Apple's MPS) have no float64."""

from __future__ import annotations

import torch
from torch import Tensor

_WITHOUT_FLOAT64 = frozenset(["mps"])


def has_float64(device: torch.device) -> bool:
    """Can the device compute in float64?"""
    return device.type not in _WITHOUT_FLOAT64


def widest(device: torch.device) -> torch.dtype:
    """The most precise type of a device: float64 wherever it has it, else float32."""
    return torch.float64 if has_float64(device) else torch.float32


def exact(values: Tensor) -> Tensor:
    """Values in float64, without their graph: on their device, or on the processor where the device has no float64.

    For numbers that leave torch anyway, and for what is compared or summed before it is shown.
    """
    values = values.detach()
    return values.double() if has_float64(values.device) else values.cpu().double()
