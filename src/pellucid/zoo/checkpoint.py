"""Reading weights safely, and fitting them to a network with an account of what does not fit.

Safetensors and ``torch.load(weights_only=True)`` are read; a pickle that wants to run code is refused by
the name of what it wants to run. Half-precision weights are widened to float32.
"""

from __future__ import annotations

import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


class CheckpointError(ValueError):
    """A weights file that cannot be read, is refused, or does not fit the network."""


def read_state(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the file's metadata, from a ``.safetensors`` or PyTorch file.

    Raises CheckpointError for a missing, corrupt or refused file.
    """
    file = Path(path)
    if not file.is_file():
        known = [p.name for p in file.parent.glob("*") if p.suffix in SUFFIXES]
        from pellucid.core.registry import suggest

        raise CheckpointError(
            f"Expected a weights file, got `{path}`, which is not there; {suggest(file.name, known)}"
        )
    if file.suffix == ".safetensors":
        state, metadata = _read_safetensors(file)
    else:
        state, metadata = _read_pickle(file), {}
    widened = {
        key: value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
        for key, value in state.items()
    }
    _refuse_not_finite(widened, file)
    return widened, metadata


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"Expected a safetensors file, got `{file}`, which cannot be read ({error}); is the download "
            "complete?"
        ) from error


def _read_pickle(file: Path) -> dict[str, Tensor]:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(name.endswith("constants.pkl") for name in archive.namelist()):
                raise CheckpointError(
                    f"Expected weights, got `{file}`, a TorchScript program; try `pl.load(module)` with "
                    "the Python module, "
                    "or save its `state_dict()`."
                )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols; what matters is raised
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        wanted = _foreign_globals(file)
        if wanted:
            raise CheckpointError(
                f"Expected plain weights, got `{file}`, a pickle that would run `{wanted[0]}` when opened; refused. "
                "Try `torch.save(model.state_dict(), ...)` where the model is trusted, and load that file."
            ) from None
        raise CheckpointError(
            f"Expected a PyTorch weights file, got `{file}`, which cannot be read ({_first_line(error)}); "
            "is the download complete?"
        ) from None
    return _unwrap(loaded, file)


def _foreign_globals(file: Path) -> list[str]:
    """What a pickle would import beyond tensors and containers, read from its instructions without running any."""
    content = file.read_bytes()
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            content = b"".join(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    found: list[str] = []
    words: list[str] = []
    try:
        stream = io.BytesIO(content)
        for instruction, argument, _ in _instructions(stream, len(content)):
            if instruction.name == "GLOBAL":
                found.append(str(argument).replace(" ", "."))
            elif instruction.name == "STACK_GLOBAL":
                found.append(".".join(words[-2:]))
            elif isinstance(argument, str):
                words.append(argument)
    except ValueError:
        pass  # no pickle, or cut short: what was read so far counts
    plain = ("torch._utils.", "torch.storage.", "torch.serialization.", "collections.OrderedDict")
    harmless = re.compile(r"torch\.\w+(Storage|Size|Tensor)?|_codecs\.encode|numpy[\w.]*")
    return [name for name in found if not name.startswith(plain) and not harmless.fullmatch(name)]


def _instructions(stream: io.BytesIO, size: int) -> Iterator[tuple[Any, Any, Any]]:
    """Those of all pickles in a row: old PyTorch files hold several."""
    while stream.tell() < size:
        yield from pickletools.genops(stream)


def _first_line(error: Exception) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", (str(error).strip().splitlines() or [type(error).__name__])[0])[:200]


def _unwrap(loaded: Any, file: Path) -> dict[str, Tensor]:
    """Find the state dict inside the usual training checkpoints."""
    keys = ("state_dict", "model_state_dict", "model", "model_state", "net", "state_dict_ema", "weights")
    inner: Any = loaded
    while isinstance(inner, Mapping):
        loaded, inner = inner, next((inner[key] for key in keys if isinstance(inner.get(key), Mapping)), None)
    if not isinstance(loaded, Mapping) or not any(isinstance(value, Tensor) for value in loaded.values()):
        got = (
            f"a dict with {', '.join(map(repr, list(loaded)[:5]))}"
            if isinstance(loaded, Mapping)
            else type(loaded).__name__
        )
        raise CheckpointError(
            f"Expected weights by name (a state dict), got {got} in `{file}`; try saving "
            "`model.state_dict()`."
        )
    return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}


def _refuse_not_finite(state: Mapping[str, Tensor], file: Path) -> None:
    bad = not_finite(state)
    if bad:
        raise CheckpointError(
            f"Expected finite weights, got NaN or infinity in {bad} of `{file}`; "
            "the training probably diverged, try an earlier checkpoint."
        )


def not_finite(state: Mapping[str, Tensor]) -> str:
    """How many tensors hold NaN or infinity, and some of their names; empty when all are finite."""
    bad = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    return f"{len(bad)} of {len(state)} tensors ({_some(bad)})" if bad else ""


def _some(names: Iterable[str], count: int = 4) -> str:
    listed = list(names)
    return ", ".join(listed[:count]) + (f" and {len(listed) - count} more" if len(listed) > count else "")


def fit(module: nn.Module, state: Mapping[str, Tensor], file: str | Path) -> None:
    """Load weights strictly into a module; prefixes that training wrappers add (``module.``) are taken off.

    Raises CheckpointError that counts and names missing, unexpected and misshapen tensors.
    """
    wanted = module.state_dict()
    state = _without_prefix(state, wanted)
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in wanted]
    misshapen = [
        f"{key} {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    if missing or unexpected or misshapen:
        parts = [
            f"{len(found)} {label} ({_some(found)})"
            for label, found in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", misshapen),
            )
            if found
        ]
        raise CheckpointError(
            f"Expected the {len(wanted)} tensors of {type(module).__name__}, got {len(state)} from `{file}`: "
            f"{'; '.join(parts)}. Try the architecture the weights were trained with."
        )
    kept = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
    module.load_state_dict({**kept, **state}, strict=True)


def _without_prefix(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    best = state
    for prefix in ("module.", "model.", "_orig_mod.", "net.", "backbone.", "module.model."):
        stripped = {key.removeprefix(prefix): value for key, value in state.items()}
        if sum(key in wanted for key in stripped) > sum(key in wanted for key in best):
            best = stripped
    return best


def class_count(module: nn.Module, state: Mapping[str, Tensor], outputs: int) -> int:
    """How many classes a checkpoint has: the length of the last tensor that has one row per output of the
    module."""
    wanted = module.state_dict()
    state = _without_prefix(state, wanted)
    heads = [key for key, value in wanted.items() if value.shape[:1] == (outputs,) and key in state]
    return int(state[heads[-1]].shape[0]) if heads and state[heads[-1]].ndim else outputs
