"""The module that is explained, out of what tools wrap it in."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

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
    if "ExportedProgram" in names or (
        isinstance(module, nn.Module) and any(map(_is_exported, module.modules()))
    ):
        raise TypeError(
            "Expected a module of Python code, got an exported program, whose operations have other names and no rules; try the "
            "module it was exported from, with `module.load_state_dict(program.state_dict)`."
        )


def _is_exported(module: nn.Module) -> bool:
    """Is it a graph of ATen's operations, as ``torch.export`` and ``unflatten`` make them?"""
    kind = type(module)
    if kind.__name__ in ("UnflattenedModule", "InterpreterModule"):
        return kind.__module__.startswith("torch.export")
    graph = module.graph if kind.__name__.startswith("GraphModule") else None
    calls: list[fx.Node] = (
        [node for node in graph.nodes if node.op == "call_function"] if isinstance(graph, fx.Graph) else []
    )
    return bool(calls) and any(type(node.target).__name__ == "OpOverload" for node in calls)


def unwatchable(module: nn.Module) -> str:
    """The parts of a network in which no layer can be watched, and what to do; empty where there are none.

    They need not matter (a scripted head behind the layers does not): for errors only, where it went wrong.
    """
    for name, child in module.named_modules():
        kind = type(child)
        part = f"`{name}`" if name else "it"
        if any(each.__name__ == "ScriptModule" for each in kind.__mro__):
            return f"{part} is compiled by TorchScript; try the module it was made from"
        if ".quantized" in kind.__module__ and hasattr(child, "scale"):
            return f"{part} ({kind.__name__}) computes with integers; try the network before it was quantized"
    return ""
