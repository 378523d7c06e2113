"""Looking at a network while it runs: at calls of its modules, and at the operations of torch."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Key = TypeVar("Key")
Act = Callable[[list[Key], tuple[Any, ...], Any], Any]


class Numbered(Protocol):
    """One call of a module: the ``number``-th one in a pass."""

    @property
    def module(self) -> str:
        """The module's name."""

    @property
    def number(self) -> int:
        """0 for the first call."""


class Enough(BaseException):
    """Ends a forward pass of which nothing more is wanted. No module's ``except Exception`` catches it."""


@contextlib.contextmanager
def at_calls(module: nn.Module, wanted: Mapping[Key, Numbered | None], act: Act[Key]) -> Iterator[None]:
    """Inside, ``act`` is told of every wanted call of a submodule as soon as it is over.

    Args:
        module: the network, best its twin (`pellucid.core.running.undisturbed`); other threads that run it do not count
        wanted: which call each key stands for; the input (None) is no call
        act: is given the keys of a call, the call's arguments and its output. What it returns takes the output's place, unless
            it is None. It may raise `Enough`.
    """
    thread = threading.get_ident()
    by_module: dict[str, dict[int, list[Key]]] = {}
    for key, call in wanted.items():
        if call is not None:
            by_module.setdefault(call.module, {}).setdefault(call.number, []).append(key)

    def hook_for(numbers: dict[int, list[Key]]) -> Callable[..., Any]:
        calls = 0

        def hook(_module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            nonlocal calls
            if threading.get_ident() != thread:
                return None
            keys, calls = numbers.get(calls), calls + 1
            return None if keys is None else act(keys, args, output)

        return hook

    with contextlib.ExitStack() as stack:
        for path, numbers in by_module.items():
            child = module.get_submodule(path)
            stack.callback(child.register_forward_hook(hook_for(numbers)).remove)
        yield


@contextlib.contextmanager
def replaced(child: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Inside, a module answers with another forward method."""
    own = child.__dict__.get("forward")
    object.__setattr__(child, "forward", forward)
    try:
        yield
    finally:
        if own is None:
            child.__dict__.pop("forward", None)
        else:
            object.__setattr__(child, "forward", own)


class Intercept(TorchFunctionMode):
    """Inside this context every operation of torch in this thread goes through `call`.

    Operations inside an ``autograd.Function`` or a scripted function are one call (`pellucid.core.hidden`).
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Hand the call over, in one form."""
        if func is torch._C._set_grad_enabled:
            return func(*args)
        named = dict(kwargs) if kwargs else {}
        if "input" in named:
            args = (named.pop("input"), *args)
        return self.call(func, getattr(func, "__name__", ""), args, named)

    def call(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of an operation.

        Args:
            func: what was called; calling it runs the operation
            name: its name, with the underscore of an operation in place
            args: its arguments, an ``input`` by keyword among them
            kwargs: its other arguments by keyword
        """
        raise NotImplementedError


def hidden_in(func: Callable[..., Any]) -> bool:
    """Is a call one that hides what it computes, an ``autograd.Function`` or a scripted function?"""
    return hasattr(func, "hides")


def shares_memory(output: Tensor, args: tuple[Any, ...]) -> bool:
    """Does an output lie in the memory of an argument?"""
    try:
        memory = output.untyped_storage().data_ptr()
        return any(isinstance(arg, Tensor) and arg.untyped_storage().data_ptr() == memory for arg in args)
    except (RuntimeError, NotImplementedError):  # sparse tensors, and others without memory of this kind
        return True
