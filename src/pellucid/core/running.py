"""Running a module without leaving a trace on it, in as many threads as there are.

What runs is the module's twin. What its forward code does besides computing is not known, so the first pass of each module is
watched, and again when it gets other submodules or hooks:

* forward code that switches the recording of gradients off is not heeded in that: a frozen stem has gradients too;
* forward code that writes into buffers in evaluation mode gets copies of them;
* forward code that draws random numbers, or keeps its state in lists or objects that a twin shares, runs in one thread at a
  time, and the state of the random generators is put back;
* code that reaches the original from somewhere else (a global variable), or cannot be copied, runs on the original itself, whose
  flags and buffers are put back; again in one thread at a time.
"""

from __future__ import annotations

import contextlib
import random
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from pellucid.core.hidden import opened, recorded
from pellucid.core.hooks import replaced
from pellucid.core.twins import twin_and_form


@dataclass
class Habits:
    """What is known of a module's forward code, from its first pass; ``known``: the forms in which it has been watched."""

    known: set[int] = field(default_factory=set)
    unrecorded: bool = False
    writes: bool = False
    draws: bool = False
    remembers: bool = False
    original: bool = False

    @property
    def exclusive(self) -> bool:
        """Does it have to run in one thread at a time?"""
        return self.draws or self.remembers or self.original


class _Standing(threading.local):
    """The twins that stand in for modules in this thread."""

    def __init__(self) -> None:
        self.twins: dict[int, nn.Module] = {}


_standing = _Standing()
_alone = threading.RLock()
_habits: weakref.WeakKeyDictionary[nn.Module, Habits] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def undisturbed(module: nn.Module) -> Iterator[nn.Module]:
    """What to run in a module's place: in evaluation mode, frozen, free for hooks.

    Args:
        module: any module

    Yields:
        Its twin; inside another `undisturbed` of the same module in the same thread, the twin that stands in already. `standing`
        finds it, so calling a `Network` inside runs it too.

    Neither the module nor any random generator of torch, NumPy or Python is different afterwards. Recorded graphs may be walked
    back after the context has ended. Inside, inference mode is off, and checkpointed code is not run again.
    """
    known, habits = _standing.twins.get(id(module)), habits_of(module)
    if known is not None:
        with _dice(module, habits) if habits.draws else contextlib.nullcontext(), torch.inference_mode(False):
            yield known
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(opened())
        made, form = (None, 0) if habits.original else _twin(module, habits)
        watched = form not in habits.known
        if habits.exclusive or watched:
            stack.enter_context(_alone)
        if made is None:
            made = stack.enter_context(_in_place(module))
        if habits.draws or habits.original or watched:
            stack.enter_context(_dice(module, habits))
        if watched:
            stack.enter_context(_watched(module, made, habits, form))
        if habits.unrecorded:
            stack.enter_context(replaced(made, recorded(made.forward)))
        _standing.twins[id(module)] = made
        stack.callback(_standing.twins.pop, id(module))
        yield made


def standing(module: nn.Module) -> nn.Module:
    """What stands in for a module in this thread; the module itself outside of `undisturbed`."""
    return _standing.twins.get(id(module), module)


def habits_of(module: nn.Module) -> Habits:
    """What is known of a module's forward code."""
    try:
        return _habits.setdefault(module, Habits())
    except TypeError:  # a module that cannot be found again is watched every time
        return Habits()


def _twin(module: nn.Module, habits: Habits) -> tuple[nn.Module | None, int]:
    """A twin and its form, with buffers of its own where they may be written to."""
    try:
        own = habits.writes or not habits.known
        made, form = twin_and_form(module, own_buffers=own)
        return (made, form) if own or form in habits.known else twin_and_form(module, own_buffers=True)
    except ValueError:
        raise
    except Exception:  # a module that cannot be copied runs itself
        habits.original = True
        return None, 0


@contextlib.contextmanager
def _in_place(module: nn.Module) -> Iterator[nn.Module]:
    """The module itself; flags and buffers are put back."""
    training = [(child, child.training) for child in module.modules()]
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    try:
        for child, _ in training:
            child.training = False
        for parameter in trained:
            parameter.requires_grad_(False)
        yield module
    finally:
        for child, flag in training:
            child.training = flag
        for parameter in trained:
            parameter.requires_grad_(True)
        _put_back(buffers)


def _put_back(buffers: list[tuple[Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for buffer, before in buffers:
            if not _alike(buffer, before):
                buffer.copy_(before)


@contextlib.contextmanager
def _dice(module: nn.Module, habits: Habits) -> Iterator[None]:
    """Random generators are afterwards where they were before."""
    devices = {parameter.device for parameter in module.parameters() if parameter.is_cuda}
    cpu, python, numpy = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    cuda = {device: torch.cuda.get_rng_state(device) for device in devices}
    try:
        yield
    finally:
        if not torch.equal(torch.get_rng_state(), cpu):
            torch.set_rng_state(cpu)
            habits.draws = True
        for device, state in cuda.items():
            if not torch.equal(torch.cuda.get_rng_state(device), state):
                torch.cuda.set_rng_state(state, device)
                habits.draws = True
        if random.getstate() != python:
            random.setstate(python)
            habits.draws = True
        if not all(map(np.array_equal, np.random.get_state(), numpy)):  # noqa: NPY002
            np.random.set_state(numpy)  # noqa: NPY002
            habits.draws = True


@contextlib.contextmanager
def _watched(module: nn.Module, made: nn.Module, habits: Habits, form: int) -> Iterator[None]:
    """The first pass of a module in a form: what does its forward code do besides computing?"""
    tree = {id(child) for child in module.modules()}
    thread, ran = threading.get_ident(), False

    def look(child: nn.Module, _args: Any) -> None:
        nonlocal ran
        if threading.get_ident() == thread:
            ran = ran or child is made
            habits.original = habits.original or (made is not module and id(child) in tree)

    def watched(*args: Any, **kwargs: Any) -> Any:
        with _Watching(habits):
            return forward(*args, **kwargs)

    forward = made.forward
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    shared = _shared(module)
    handle = register_module_forward_pre_hook(look)
    try:
        with replaced(made, watched):
            yield
        if ran:
            habits.known.add(form)
    finally:
        handle.remove()
        mine = zip(module.buffers(), made.buffers(), strict=False)
        habits.writes = habits.writes or any(not _alike(one, other) for one, other in mine)
        habits.remembers = habits.remembers or not _same(shared, _shared(module))
        _put_back(buffers)


class _Watching(TorchFunctionMode):
    """Notes whether the recording of gradients is switched off."""

    def __init__(self, habits: Habits) -> None:
        super().__init__()
        self.habits = habits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._C._set_grad_enabled and not args[0]:
            self.habits.unrecorded = True
        return func(*args, **(kwargs or {}))


def _alike(one: Tensor, other: Tensor) -> bool:
    """The same values, NaN in the same places."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.layout is not torch.strided:
        one, other = one.to_dense(), other.to_dense()
    return bool(torch.equal(one, other) or ((one == other) | ((one != one) & (other != other))).all())


def _shared(module: nn.Module) -> list[Any]:
    """Everything in the lists, dictionaries and objects that a module's attributes and hooks hold: what a twin shares."""
    found: list[Any] = []
    seen: set[int] = set()

    def look(value: Any, depth: int) -> None:
        if isinstance(value, (nn.Module, Tensor, type)) or id(value) in seen or len(found) > 10_000:
            return
        inside: Any = ()
        if isinstance(value, dict):
            inside = value.values()
        elif isinstance(value, (list, tuple, set)):
            inside = value
        elif hasattr(value, "__self__"):
            inside = (value.__self__,)
        elif getattr(value, "__closure__", None):
            inside = [cell.cell_contents for cell in value.__closure__ if _filled(cell)]
        elif hasattr(value, "__dict__") and type(value).__module__ != "builtins":
            inside = vars(value).values()
        seen.add(id(value))
        inside = list(inside)
        found.extend(inside)
        if depth:
            for each in inside:
                look(each, depth - 1)

    for child in module.modules():
        for name, value in child.__dict__.items():
            if name not in ("_parameters", "_buffers", "_modules"):
                look(value, 3)
    return found


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _same(before: list[Any], after: list[Any]) -> bool:
    return len(before) == len(after) and all(one is other for one, other in zip(before, after, strict=True))
