"""A stand-in for a module: its own code and weights, in evaluation mode and frozen, with nothing to leave behind.

A twin shares the memory of parameters and buffers, and has flags, hooks and attributes of its own. Whatever a pass puts on it,
and whatever its forward code writes into its attributes, is gone with it, so many threads can use one network at once, even
beside its training. What would keep a pass from being seen or differentiated is left out of it: compiled code
(``torch.compile``), and a forward method that as a whole runs under ``torch.no_grad`` or ``torch.inference_mode``.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from pellucid.core.wrappers import WRAPPERS, inner

_PLAIN = frozenset(
    [int, float, str, bool, bytes, complex, type(None), torch.Size, torch.dtype, torch.device, Tensor]
)
_HOOKS = frozenset(name for name in vars(nn.Module()) if name.endswith(("_hooks", "_hooks_with_kwargs")))
_ADDED = frozenset(["_forward_hooks", "_forward_pre_hooks"])  # what passes add to
_REGISTERED = frozenset(["_parameters", "_buffers", "_modules"])
_RECORDED = (torch.no_grad, torch.inference_mode, torch.set_grad_enabled)


def twin(module: nn.Module, *, own_buffers: bool = False) -> nn.Module:
    """The stand-in of a module.

    Args:
        module: any module; it is not touched
        own_buffers: copy the buffers, for forward code that writes into them

    Returns:
        A module of the same class. Parameters are frozen and share their memory with the original's.

    Raises:
        ValueError: for parameters that have no values yet (lazy modules).
    """
    return twin_and_form(module, own_buffers=own_buffers)[0]


def twin_and_form(module: nn.Module, *, own_buffers: bool = False) -> tuple[nn.Module, int]:
    """The stand-in of a module, and a number that changes when it gets other submodules or hooks."""
    with torch._C.DisableTorchFunction():
        twins = _Twins(module, own_buffers)
        return twins.of(module), hash((frozenset(twins.tree), twins.hooks))


def undecorated(function: Any) -> Any:
    """A function without the decorators that compile it or keep autograd from recording it."""
    while True:
        plain = getattr(function, "_torchdynamo_orig_callable", None)
        if plain is None and _unrecorded(function):
            plain = function.__wrapped__
        if plain is None:
            return function
        function = plain


def _unrecorded(function: Any) -> bool:
    if getattr(function, "__wrapped__", None) is None or not isinstance(function, FunctionType):
        return False
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    context = getattr(getattr(cells.get("ctx_factory"), "cell_contents", None), "__self__", None)
    return isinstance(context, _RECORDED) and getattr(context, "mode", None) in (None, False, True) and not (
        isinstance(context, torch.set_grad_enabled) and context.mode
    )  # fmt: skip


class _Compiled(nn.Module):
    """What stands for a module inside that ``torch.compile`` has wrapped: it runs what was wrapped, and answers for it."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_orig_mod"), name)


class _Twins:
    """The twins of one tree of modules, each made once; what refers to an original refers to its twin in them."""

    def __init__(self, root: nn.Module, own_buffers: bool) -> None:
        self._own_buffers = own_buffers
        self.tree = {id(child) for child in root.modules()}
        self.hooks = 0
        self._made: dict[int, Any] = {}

    def of(self, module: nn.Module) -> nn.Module:
        """The twin of a module, of the tree or beside it."""
        known = self._made.get(id(module))
        if known is None:
            if isinstance(module, torch.jit.ScriptModule):  # its state is not Python's
                known = self._made[id(module)] = copy.deepcopy(module).eval()
                for parameter in known.parameters():
                    parameter.detach_().requires_grad_(False)
            else:
                kind = _Compiled if type(module).__name__ == "OptimizedModule" else type(module)
                known = self._made[id(module)] = object.__new__(kind)
                self._fill(module, known)
        return known

    def _fill(self, module: nn.Module, made: nn.Module) -> None:
        registered = id(module) in self.tree
        given, own = module.__dict__, made.__dict__
        own.update(given)
        for name, value in given.items():
            if type(value) in _PLAIN or name in _REGISTERED:
                continue
            if name in _ADDED or (value and name in _HOOKS):
                self.hooks += len(value)
                own[name] = type(value)((key, self._swapped(hook)) for key, hook in value.items())
            elif name not in _HOOKS:
                own[name] = self._swapped(value)
        own["_parameters"] = {name: self._frozen(value, name) for name, value in given["_parameters"].items()}
        if self._own_buffers or not registered:
            own["_buffers"] = {name: self._copied(value) for name, value in given["_buffers"].items()}
        else:
            own["_buffers"] = dict(given["_buffers"])
        own["_modules"] = {
            name: None if child is None else self.of(child) for name, child in given["_modules"].items()
        }
        own["training"] = given.get("training", False) and not registered
        own["_compiled_call_impl"] = None
        self._set_forward(module, own)

    def _set_forward(self, module: nn.Module, own: dict[str, Any]) -> None:
        """The forward method by which the twin runs, where the class's own is not the one."""
        wrapped = inner(module) if type(module).__name__ in WRAPPERS else None
        if wrapped is not None:
            own["forward"] = self.of(wrapped)
        elif "forward" in own:
            method = own["forward"]
            if isinstance(method, MethodType):
                own["forward"] = MethodType(undecorated(method.__func__), method.__self__)
            else:
                own["forward"] = undecorated(method)
        else:
            function = type(module).forward
            plain = undecorated(function)
            if plain is not function:
                own["forward"] = MethodType(plain, self._made[id(module)])

    def _frozen(self, value: nn.Parameter | None, name: str) -> Tensor | None:
        if value is None:
            return None
        known: Tensor | None = self._made.get(id(value))
        if known is None:
            if isinstance(value, UninitializedParameter):
                raise ValueError(
                    f"Expected a module with weights, got the uninitialized `{name}`; run it once on an image first."
                )
            known = self._made[id(value)] = nn.Parameter(value.detach(), requires_grad=False)
            if value.__dict__:
                known.__dict__.update(value.__dict__)
        return known

    def _copied(self, value: Tensor | None) -> Tensor | None:
        if value is None:
            return None
        known: Tensor | None = self._made.get(id(value))
        if known is None:
            if isinstance(value, UninitializedBuffer):
                raise ValueError(
                    "Expected a module with buffers, got an uninitialized one; run it once first."
                )
            known = self._made[id(value)] = value.detach().clone()
        return known

    def _swapped(self, value: Any) -> Any:
        """A value, or one like it where it refers to modules."""
        kind = type(value)
        if kind in _PLAIN or (kind is tuple and _PLAIN.issuperset(map(type, value))):
            return value
        if isinstance(value, nn.Module):
            return self.of(value)
        if id(value) in self._made:
            return self._made[id(value)]
        made = value
        if kind is FunctionType:
            made = value = getattr(value, "_torchdynamo_orig_callable", value)
            kind = type(value)
        if kind is MethodType and isinstance(value.__self__, nn.Module):
            made = MethodType(value.__func__, self.of(value.__self__))
        elif kind is FunctionType and value.__closure__:
            made = self._function(value)
        elif kind is partial:
            parts = (value.func, value.args, value.keywords)
            swapped = tuple(map(self._swapped, parts))
            if any(one is not other for one, other in zip(parts, swapped, strict=True)):
                made = partial(swapped[0], *swapped[1], **swapped[2])
        elif kind in (list, tuple, set, dict, OrderedDict):
            made = self._container(value)
        return made

    def _container(self, value: Any) -> Any:
        values = value.values() if isinstance(value, dict) else value
        if _PLAIN.issuperset(map(type, values)):
            return value
        self._made[id(value)] = value  # one that holds itself
        swapped = [self._swapped(each) for each in values]
        if all(one is other for one, other in zip(values, swapped, strict=True)):
            return value
        made = type(value)(zip(value, swapped, strict=True) if isinstance(value, dict) else swapped)
        self._made[id(value)] = made
        return made

    def _function(self, value: FunctionType) -> Any:
        self._made[id(value)] = value
        cells = []
        for cell in value.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # an empty cell
                cells.append(cell)
                continue
            swapped = self._swapped(content) if self._of_tree(content) else content
            cells.append(cell if swapped is content else CellType(swapped))
        if all(one is other for one, other in zip(cells, value.__closure__ or (), strict=True)):
            return value
        made = FunctionType(
            value.__code__, value.__globals__, value.__name__, value.__defaults__, tuple(cells)
        )
        made.__kwdefaults__ = value.__kwdefaults__
        made.__dict__.update({name: self._swapped(each) for name, each in value.__dict__.items()})
        self._made[id(value)] = made
        return made

    def _of_tree(self, content: Any) -> bool:
        """Only what belongs to the network is swapped in a function: it may be the user's, with things of the user's."""
        if isinstance(content, MethodType):
            return id(content.__self__) in self.tree
        return id(content) in self.tree or isinstance(content, (FunctionType, partial))
