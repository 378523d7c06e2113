"""The checkpoint of an unfinished training, read through a schema: settings, record, and the state of module, optimizer and
schedule, which have to fit the training that goes on with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from torch import Tensor, nn

from pellucid.core.bundle import LARGEST
from pellucid.core.documents import Count, FlawError, Positive, check_regular, convert


class Saved(msgspec.Struct, frozen=True):
    """What a checkpoint holds; ``best_module`` is empty where no number is monitored."""

    settings: dict[str, Any]
    module: dict[str, Any]
    optimizer: dict[str, Any]
    cycle: dict[str, Any]
    epoch: Count
    seconds: Annotated[float, msgspec.Meta(ge=0)]
    history: list[dict[str, int | float]]
    best: Positive | None
    best_module: dict[str, Any]


def plain(settings: Any) -> dict[str, Any]:
    """Settings as a checkpoint and a card hold them: paths as text."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(settings).items()}


def read_checkpoint(file: Path, settings: Any) -> Saved:
    """What a checkpoint holds. Raises ValueError for a damaged file or other settings, naming them."""
    try:
        check_regular(file, LARGEST)
        content = _loaded(file)
        if not isinstance(content, dict):
            raise FlawError(f"expected an object, got {type(content).__name__}")
        saved = convert(content, Saved)
        if len(saved.history) != saved.epoch:
            raise FlawError(
                f"epoch: expected {len(saved.history)}, the length of the history, got {saved.epoch}"
            )
        if (saved.best or 0) > saved.epoch:
            raise FlawError(f"best: expected an epoch of {saved.epoch}, got {saved.best}")
    except (FlawError, FileNotFoundError) as error:
        raise unreadable(file, error) from None
    changed = [key for key, value in plain(settings).items() if saved.settings.get(key) != value]
    if changed:
        raise ValueError(
            f"Expected the settings of the unfinished training in `{file}`, got others "
            f"({', '.join(f'{key} was {saved.settings.get(key)!r}' for key in changed)}); "
            "repeat them to go on, or remove that file to start anew."
        )
    return saved


def unreadable(file: Path, error: Exception) -> ValueError:
    """The error for a checkpoint that is damaged or of another training."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ValueError(
        f"Expected the checkpoint of an unfinished training, got `{file}` ({lines[-1].strip()}), which cannot be read; "
        "remove it to start anew."
    )


def check(
    saved: Saved,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler | None,
) -> None:
    """That the state of a checkpoint is one of this training. Raises FlawError with the path of what is not."""
    own = module.state_dict()
    _check_state("module", saved.module, own)
    if saved.best_module:
        _check_state("best_module", saved.best_module, own)
    _check_optimizer(saved.optimizer, optimizer)
    if schedule is not None:
        known = {key: value for key, value in schedule.state_dict().items() if not callable(value)}
        _check_numbers("cycle", saved.cycle, known)


def _loaded(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways
        raise FlawError(
            f"expected a checkpoint of PyTorch, got another file ({type(error).__name__})"
        ) from None


def _check_state(path: str, state: Mapping[str, Any], own: Mapping[str, Tensor]) -> None:
    for name in {**own, **state}:
        value, known = state.get(name), own.get(name)
        if known is None or not isinstance(value, Tensor):
            what = "none" if known is None else "a tensor"
            raise FlawError(f"{path}.{name}: expected {what}, got {type(value).__name__}")
        if value.shape != known.shape or value.dtype != known.dtype:
            raise FlawError(
                f"{path}.{name}: expected {known.dtype} of {tuple(known.shape)}, got {value.dtype} of {tuple(value.shape)}"
            )
        _check_finite(f"{path}.{name}", value)


def _check_optimizer(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    own = optimizer.state_dict()
    groups, known = state.get("param_groups"), own["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(known):
        raise FlawError(f"optimizer.param_groups: expected a list of {len(known)} groups, got another")
    for place, (group, like) in enumerate(zip(groups, known, strict=True)):
        _check_numbers(f"optimizer.param_groups[{place}]", group, like)
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    moments = state.get("state")
    if not isinstance(moments, dict):
        raise FlawError(f"optimizer.state: expected an object, got {type(moments).__name__}")
    for index, values in moments.items():
        path = f"optimizer.state[{index}]"
        if not isinstance(index, int) or not 0 <= index < len(parameters) or not isinstance(values, dict):
            raise FlawError(f"{path}: expected the state of one of {len(parameters)} parameters, got another")
        for name, value in values.items():
            if isinstance(value, Tensor):
                if value.ndim and value.shape != parameters[index].shape:
                    shape = tuple(parameters[index].shape)
                    raise FlawError(f"{path}.{name}: expected a tensor of {shape}, got {tuple(value.shape)}")
                _check_finite(f"{path}.{name}", value)


def _check_numbers(path: str, values: Any, own: Mapping[str, Any]) -> None:
    """That a mapping has the names of another, with values of their types; numbers are finite."""
    if not isinstance(values, dict) or set(values) != set(own):
        raise FlawError(f"{path}: expected {', '.join(own)}, got others")
    for name, value in values.items():
        like = own[name]
        both = isinstance(value, (int, float)) and isinstance(like, (int, float))
        if not both and like is not None and type(value) is not type(like):
            raise FlawError(f"{path}.{name}: expected {type(like).__name__}, got {type(value).__name__}")
        for number in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise FlawError(f"{path}.{name}: expected finite numbers, got {number}")


def _check_finite(path: str, value: Tensor) -> None:
    if value.is_floating_point() and not bool(value.isfinite().all()):
        raise FlawError(f"{path}: expected finite values, got NaN or infinity")
