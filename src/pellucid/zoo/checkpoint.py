"""Reading weights safely: the state dict inside whatever a training tool wrote around it.

Nothing of a file is run (`pellucid.zoo.pickles`) and nothing is taken before its size is checked (`pellucid.zoo.archives`).
How weights are laid into a network is in `pellucid.zoo.fitting`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from pellucid.core.documents import DocumentError, FlawError
from pellucid.core.printable import shown
from pellucid.core.registry import suggest
from pellucid.zoo.archives import Content, branches, open_archive, refused
from pellucid.zoo.stored import ArchiveError, RefusedError, Stored

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
# where tools keep the weights of the network itself, the likeliest first
_NAMES = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params", "teacher",
    "student", "state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema",
)  # fmt: skip
_ASIDE = (
    "optim",
    "scheduler",
    "scaler",
    "callbacks",
    "loops",
    "rng",
)  # what else a checkpoint keeps tensors of


class CheckpointError(ValueError):
    """A weights file that cannot be read, is refused, or does not fit the network."""


class State(dict[str, Tensor]):
    """Weights by name, as they lie in a file.

    Attributes:
        where: the name they have in the file: ``"state_dict"``; empty for a file that holds nothing else.
        odd: by name, tensors that are of a kind that weights cannot have ("sparse", "float8_e4m3fn", "quantized").
        others: further sets of weights of the same file, the likeliest first: an average beside the weights themselves.
    """

    def __init__(
        self, tensors: dict[str, Tensor], where: str = "", odd: dict[str, Stored] | None = None
    ) -> None:
        super().__init__(tensors)
        self.where, self.odd = where, odd or {}
        self.others: tuple[State, ...] = ()


def read_state(path: str | Path) -> tuple[State, dict[str, str]]:
    """Tensors by name, and the file's metadata, from a file of safetensors or of ``torch.save``, or an index of shards.

    The tensors lie in the file, mapped into memory, and are of the file's own types: `fit` casts and checks what a network takes.

    Raises:
        CheckpointError: a missing, damaged or refused file, or one without a state dict.
    """
    file = Path(path)
    kind = "safetensors file" if file.suffix == ".safetensors" else "PyTorch weights file"
    try:
        content = open_archive(file)
        states = _states(content, file)
    except FileNotFoundError:
        known = [entry.name for entry in file.parent.glob("*") if entry.suffix in SUFFIXES]
        raise CheckpointError(
            f"Expected a weights file, got `{path}`, which is not there; {suggest(file.name, known)}"
        ) from None
    except RefusedError as error:
        raise CheckpointError(str(error).replace("{file}", str(file))) from None
    except DocumentError as error:
        raise CheckpointError(str(error)) from None
    except FlawError as flaw:
        raise CheckpointError(f"Expected a weights file, got `{file}`: {flaw}{_inside(file)}.") from None
    except (ArchiveError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(
            f"Expected a {kind}, got `{file}`, which cannot be read ({reason}); is the download complete?"
        ) from None
    first = states[0]
    first.others = tuple(states[1:])
    return first, content.metadata


def _inside(file: Path) -> str:
    if not file.is_dir():
        return ""
    names = sorted(entry.name for entry in file.glob("*") if entry.suffix in SUFFIXES)
    return f"; try {' or '.join(f'`{file / name}`' for name in names[:3])}" if names else ""


def _states(content: Content, file: Path) -> list[State]:
    """Every state dict of a file, the likeliest first."""
    ranked: list[tuple[tuple[int, int, int], State]] = []
    for order, (path, mapping) in enumerate(_mappings(content.tree)):
        tensors = {str(key): value for key, value in mapping.items() if isinstance(value, Tensor)}
        odd = {str(key): value for key, value in mapping.items() if isinstance(value, Stored)}
        if not (tensors or odd) or any(word in part.lower() for part in path for word in _ASIDE):
            continue
        name = path[-1] if path else ""
        rank = _NAMES.index(name) if name in _NAMES else len(_NAMES)
        ranked.append(
            ((len(path) > 0 and rank == len(_NAMES), rank, order), State(tensors, ".".join(path), odd))
        )
    if ranked:
        return [state for _, state in sorted(ranked, key=lambda entry: entry[0])]
    if content.foreign and not isinstance(content.tree, Tensor | list):
        raise refused(content.foreign[0])
    tree = content.tree
    got = (
        f"a dict with {', '.join(map(_shown, list(tree)[:5]))}"
        if isinstance(tree, dict)
        else type(tree).__name__
    )
    raise CheckpointError(
        f"Expected weights by name (a state dict), got {got} in `{file}`; try saving `model.state_dict()`."
    )


def _shown(key: object) -> str:
    return shown(repr(key), 40)


def _mappings(tree: Any) -> list[tuple[tuple[str, ...], dict[Any, Any]]]:
    """The dicts of a file with their paths, breadth first, each once."""
    list(branches(tree))  # bounded
    listed: list[tuple[tuple[str, ...], dict[Any, Any]]] = []
    level: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    seen: set[int] = set()
    for _ in range(8):
        following: list[tuple[tuple[str, ...], Any]] = []
        for path, item in level:
            if id(item) in seen or not isinstance(item, dict | list | tuple):
                continue
            seen.add(id(item))
            if isinstance(item, dict):
                listed.append((path, item))
                following += [((*path, str(key)[:80]), value) for key, value in item.items()]
            else:
                following += [((*path, str(index)), value) for index, value in enumerate(item[:64])]
        level = following
    return listed
