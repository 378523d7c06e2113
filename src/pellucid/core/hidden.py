"""Operations that a function mode does not see: those inside a ``torch.autograd.Function`` or a scripted function.

A function mode (`pellucid.core.hooks.Intercept`) is shown every call of torch, but an operation that is written as an
``autograd.Function`` has no call of its own, and what runs inside it is not recorded. While a network runs in this thread,
such a call is therefore looked at first:

* one that is given code to run (gradient checkpointing, reversible blocks) is not needed: the code is run as ordinary operations.
  It would else run again in the backward pass, when nobody watches;
* one that computes a known activation function (a "memory-efficient" swish) is that activation function;
* any other is shown to the function modes as an operation of its class's name.

Scripted functions are looked at in the same way. Other threads are left alone.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import torch
import torch.utils.checkpoint as checkpointing
from torch import Tensor, nn
from torch.autograd.function import _SingleLevelFunction
from torch.nn import functional as F
from torch.nn.modules._functions import BackwardHookFunction
from torch.overrides import TorchFunctionMode, handle_torch_function

_Call = Callable[..., Any]
# What an activation function may be, the more common first.
_ACTIVATIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    F.relu,
    F.silu,
    F.mish,
    F.gelu,
    partial(F.gelu, approximate="tanh"),
    F.hardswish,
    F.relu6,
    F.elu,
    F.selu,
    F.softplus,
    F.leaky_relu,
    torch.sigmoid,
    torch.tanh,
    F.hardsigmoid,
    F.logsigmoid,
)


class Own(torch.autograd.Function):
    """Base of this project's own functions, which are not looked at."""


class _Thread(threading.local):
    """How many times this thread is inside `opened`."""

    depth = 0


_thread = _Thread()
_lock = threading.Lock()
_users = 0
_script_function: _Call = torch.jit.ScriptFunction.__call__
_script_method: _Call = torch._C.ScriptMethod.__call__
_checkpoint: _Call = checkpointing._checkpoint_without_reentrant_generator


@contextlib.contextmanager
def opened() -> Iterator[None]:
    """Inside, in this thread, hidden operations are looked at."""
    _installed(1)
    _thread.depth += 1
    try:
        yield
    finally:
        _thread.depth -= 1
        _installed(-1)


def _installed(by: int) -> None:
    """Torch's entrances are changed as long as any thread is inside; other threads pass through them as ever."""
    global _users
    with _lock:
        before, _users = _users, _users + by
        if before and _users:
            return
        for owner, name, changed, plain in _ENTRANCES:
            if by > 0:
                setattr(owner, name, changed)
            elif plain is None:
                delattr(owner, name)  # the base class has it
            else:
                setattr(owner, name, plain)


def _applied(cls: Any, *args: Any, **kwargs: Any) -> Any:
    """``autograd.Function.apply``."""
    plain: _Call = super(_SingleLevelFunction, cls).apply
    if not _thread.depth:
        return plain(*args, **kwargs)
    if issubclass(cls, Own):
        return plain(*args, **kwargs)
    if cls is BackwardHookFunction:  # the identity, where the user's backward hooks are
        return _shown(cls, "alias", plain, args, kwargs)
    if not kwargs and (cls is checkpointing.CheckpointFunction or any(map(_is_code, args))):
        return _written_out(cls, args)
    return _shown(cls, cls.__name__, plain, args, kwargs)


def _scripted(call: _Call) -> _Call:
    """The call of a scripted function, or of a scripted module's method."""

    def changed(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not _thread.depth:
            return call(self, *args, **kwargs)
        name = self.name if isinstance(self, torch.jit.ScriptFunction) else "scripted module"
        return _shown(self, str(name or "scripted function"), partial(call, self), args, kwargs)

    return changed


def _checkpointed(function: _Call, *args: Any, **kwargs: Any) -> Iterator[None]:
    """What ``torch.utils.checkpoint`` does around code that is not to be kept."""
    if _thread.depth:
        yield
        return
    yield from _checkpoint(function, *args, **kwargs)


# Owner, name, what is there while a thread is inside, what is there else.
_ENTRANCES: tuple[tuple[Any, str, Any, Any], ...] = (
    (_SingleLevelFunction, "apply", classmethod(_applied), None),
    (torch.jit.ScriptFunction, "__call__", _scripted(_script_function), _script_function),
    (torch._C.ScriptMethod, "__call__", _scripted(_script_method), _script_method),
    (checkpointing, "_checkpoint_without_reentrant_generator", _checkpointed, _checkpoint),
)


def _is_code(value: Any) -> bool:
    """Code of a network: a module, its method, or a function that holds something."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_code, value))
    if isinstance(value, partial):
        return _is_code(value.func) or any(map(_is_code, value.args))
    return isinstance(value, (nn.Module, MethodType)) or bool(
        isinstance(value, FunctionType) and value.__closure__
    )


def _shown(key: Any, name: str, plain: _Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Let the function modes have the call, under the name of what it computes."""
    if not torch._C._len_torch_function_stack():
        return plain(*args, **kwargs)
    if len(args) == 1 and not kwargs and isinstance(args[0], Tensor) and args[0].is_floating_point():
        known = _activation(key, plain, args[0])
        if known is not None:
            return known(args[0])

    def call(*args: Any, **kwargs: Any) -> Any:
        if torch._C._len_torch_function_stack():
            return handle_torch_function(call, args, *args, **kwargs)
        return plain(*args, **kwargs)

    call.__name__ = name
    if key is not BackwardHookFunction:
        call.hides = True  # type: ignore[attr-defined]
    return call(*args, **kwargs)


_known: weakref.WeakKeyDictionary[Any, _Call | None] = weakref.WeakKeyDictionary()


def _activation(key: Any, plain: _Call, x: Tensor) -> _Call | None:
    """The activation function that a call computes, found out by trying it on numbers; None for any other."""
    with contextlib.suppress(KeyError, TypeError):
        return _known[key]
    if x.numel() < 64:
        return None
    found = None
    with torch.no_grad(), torch._C.DisableTorchFunction(), contextlib.suppress(Exception):
        ramp = torch.linspace(-12, 12, x.numel(), dtype=torch.float32).view(x.shape).to(x)
        given = plain(ramp.clone())
        near = 1e-5 if x.dtype in (torch.float32, torch.float64) else 2e-2
        for function in _ACTIVATIONS:
            if torch.allclose(function(ramp).float(), given.float(), rtol=near, atol=near):
                found = function
                break
    with contextlib.suppress(TypeError):
        _known[key] = found
    return found


class _Recorded(TorchFunctionMode):
    """Inside, nothing switches the recording of gradients on or off."""

    def __torch_function__(self, func: _Call, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._C._set_grad_enabled:
            return None
        return func(*args, **(kwargs or {}))


def recorded(function: _Call) -> _Call:
    """A function in which nothing switches the recording of gradients on or off."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with _Recorded():
            return function(*args, **kwargs)

    return call


class _Context:
    """In the place of an ``autograd.Function``'s context: takes everything, keeps nothing."""

    needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *_: Any) -> None:
        """Autograd does it."""

    mark_dirty = mark_non_differentiable = set_materialize_grads = save_for_forward = save_for_backward


def _written_out(cls: Any, args: tuple[Any, ...]) -> Any:
    """The forward code of an ``autograd.Function`` as ordinary operations."""
    context = _Context()
    context.needs_input_grad = tuple(isinstance(arg, Tensor) and arg.requires_grad for arg in args)
    separate = cls.setup_context is not _SingleLevelFunction.setup_context
    forward = recorded(cls.forward)
    return forward(*args) if separate else forward(context, *args)
