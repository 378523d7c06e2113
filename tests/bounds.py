"""How far two correct computations of the same may lie apart, from the type, what is summed, and how large it is.

Processors, thread counts and batch sizes sum the same terms in other orders, with other widths and fused or not. By Higham and
Mary (2019, A new approach to probabilistic rounding error analysis, SIAM J. Sci. Comput. 41) two sums of n terms whose absolute
values add up to ``size`` differ by more than λ √n u · size with probability below 2 exp(−λ²/2) per rounding, u being the unit
roundoff: with λ = 8 never.

What is computed from sums can amplify their rounding: a quotient, a principal component, a difference of two scores. A test says
by how much with ``condition``; what amplifies more than it says is at fault. No bound helps where rounding decides between two
values, as at the kink of a rectifier or between two equal cells: such things are compared in float64, where that is as good as
impossible, or from the same batches.
"""

import torch
from torch import nn

SAFETY = 8.0  # λ


def rounding(dtype: torch.dtype, terms: int = 1, size: float = 1.0, condition: float = 1.0) -> float:
    """The largest difference that rounding may make to a sum of ``terms`` terms whose absolute values add up to ``size``."""
    return SAFETY * max(terms, 1) ** 0.5 * torch.finfo(dtype).eps / 2 * size * condition


def terms_of(module: nn.Module) -> int:
    """How many terms stand one behind the other between input and output of a network, at most: the inputs of a unit of every
    weighted layer, and a gradient that comes back the same way."""
    weights = (getattr(child, "weight", None) for child in module.modules())
    return 2 * sum(
        weight[0].numel() for weight in weights if isinstance(weight, torch.Tensor) and weight.ndim > 1
    )


def assert_same(
    found, expected, terms: int = 1, *, size: float | None = None, condition: float = 1.0
) -> None:
    """Both are the same but for rounding in the coarser of their types; NaN is at the same places.

    ``size``: what the absolute terms add up to, where that is more than the largest expected value: where terms cancel.
    """
    found, expected = torch.as_tensor(found).detach(), torch.as_tensor(expected).detach()
    types = [each.dtype for each in (found, expected) if each.dtype.is_floating_point]
    coarse = max(types, key=lambda dtype: torch.finfo(dtype).eps) if types else torch.float64
    finite = expected[expected.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    bound = rounding(coarse, terms, largest if size is None else max(size, largest), condition)
    torch.testing.assert_close(
        found.double(), expected.double(), rtol=0, atol=bound, equal_nan=True, check_device=False
    )
