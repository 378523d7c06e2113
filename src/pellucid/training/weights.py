"""What every training ends with: weights in half precision."""

from __future__ import annotations

from torch import Tensor, nn


def rounded(module: nn.Module) -> dict[str, Tensor]:
    """The module's tensors, its weight matrices in half precision; the module gets the rounded values too."""
    matrices = {key for key, value in module.named_parameters() if value.ndim > 1}
    state = {key: value.half() if key in matrices else value for key, value in module.state_dict().items()}
    module.load_state_dict({key: value.float() if key in matrices else value for key, value in state.items()})
    return state
