"""The module that is explained, out of what tools wrap it in."""

from __future__ import annotations

from typing import Any

from torch import nn

# By the name of a wrapper's class, the attribute that holds the module; by name, since importing them takes seconds.
WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
}


def inner(module: nn.Module) -> nn.Module | None:
    """The module inside a wrapper that changes nothing of what it computes; None for any other module."""
    kind = type(module)
    if kind.__name__ not in WRAPPERS or not kind.__module__.startswith("torch."):
        return None
    found = module.__dict__["_modules"].get(WRAPPERS[kind.__name__])
    return found if isinstance(found, nn.Module) else None


def unwrapped(module: Any) -> nn.Module:
    """The module that ``torch.compile`` was given; any other as it is.

    Raises:
        TypeError: for what is no module, and for compiled forms whose layers cannot be watched.
    """
    while isinstance(module, nn.Module) and type(module).__name__ == "OptimizedModule":
        original = inner(module)
        if original is None:
            break
        module = original
    refuse_compiled(module)
    if not isinstance(module, nn.Module):
        raise TypeError(f"Expected an nn.Module, got {type(module).__name__}; try `pl.load(...)`.")
    return module


def refuse_compiled(module: Any) -> None:
    """Raises TypeError for forms of a network whose layers cannot be watched."""
    kind = type(module)
    names = {each.__name__ for each in kind.__mro__}
    if "ScriptModule" in names:
        how = "traced" if "TopLevelTracedModule" in names else "scripted"
        raise TypeError(
            f"Expected a module of Python code, got `{getattr(module, 'original_name', kind.__name__)}` {how} by TorchScript, "
            "whose layers cannot be watched; try the module it was made from, with "
            "`module.load_state_dict(this.state_dict())`."
        )
    if "ExportedProgram" in names:
        raise TypeError(
            "Expected a module of Python code, got an exported program, which has no layers any more; try the module it was "
            "exported from, or `torch.export.unflatten(program)`."
        )
