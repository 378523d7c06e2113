"""What a pickle of PyTorch says, read without running any of it.

The instructions of a pickle are followed one by one: containers, numbers and text are made, tensors become `Stored` (where their
numbers lie, in which type and shape, nothing allocated), and whatever else a pickle names becomes an inert `Foreign`. So a
checkpoint with objects of a training tool in it can be read for its weights, and nothing of theirs is imported or called.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from typing import Any

import torch

from pellucid.core.printable import shown
from pellucid.zoo.stored import Foreign, Pickled, PickleError, Storage, Stored

LARGEST = 64 << 20  # bytes of the instructions, without the numbers of tensors
MOST = 2_000_000  # instructions
_MARK = object()
_TYPES: dict[str, torch.dtype] = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
    "QInt8": torch.qint8,
    "QUInt8": torch.quint8,
    "QInt32": torch.qint32,
    "Untyped": torch.uint8,
}


def follow(data: bytes, start: int = 0) -> Pickled:
    """Follow one pickle's instructions.

    Args:
        data: the bytes it lies in.
        start: where it begins.

    Raises:
        PickleError: it is no pickle, is cut short, or has more than `MOST` instructions.

    Example:
        >>> import pickle
        >>> follow(pickle.dumps({"epoch": 3, "when": range(2)})).content["epoch"]
        3
    """
    stream = io.BytesIO(data)
    stream.seek(start)
    machine = _Machine()
    try:
        for count, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
            if count > MOST:
                raise PickleError(f"more than {MOST:,} instructions")
            machine.step(instruction.name, argument)
    except Exception as error:  # whatever bytes can make of the instructions
        reason = shown((str(error).splitlines() or [""])[0], 120)
        failure = error if isinstance(error, PickleError) else PickleError(f"a damaged pickle: {reason}")
        failure.pickled = machine.result
        raise failure from None
    machine.result.end = stream.tell()
    return machine.result


class _Machine:
    """A pickle machine that makes nothing but containers, numbers, text, `Stored` and `Foreign`."""

    def __init__(self) -> None:
        self.result = Pickled()
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0  # entries of containers made from others, which instructions alone do not bound

    def step(self, name: str, argument: Any) -> None:
        if name in _PUSHED:
            self.stack.append(argument)
            return
        if name in _MADE:
            self.stack.append(_MADE[name]())
            return
        action = _ACTIONS.get(name)
        if action is None:
            raise PickleError(f"the instruction {name}, which no weights need")
        action(self, argument)

    def since_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                items = self.stack[index + 1 :]
                del self.stack[index:]
                return items
        raise PickleError("a damaged pickle: no mark")

    def name(self, module: str, name: str) -> None:
        self.stack.append(_Global(f"{module}.{name}"))

    def heard_of(self, name: str) -> Foreign:
        if len(self.result.foreign) < 1000:
            self.result.foreign.setdefault(name)
        return Foreign(name)

    def call(self, function: Any, arguments: Any) -> Any:
        name = function.name if isinstance(function, _Global) else ""
        arguments = arguments if isinstance(arguments, tuple) else ()
        if name in (
            "collections.OrderedDict",
            "collections.defaultdict",
            "builtins.dict",
            "__builtin__.dict",
        ):
            pairs = arguments[-1] if arguments else ()
            self.copied += len(pairs) if isinstance(pairs, list | tuple | dict) else 0
            if self.copied > MOST:
                raise PickleError(f"more than {MOST:,} copied entries")
            return _mapping(pairs)
        rebuild = name.rpartition(".")[2]
        if name.startswith(("torch._utils.", "torch._tensor.")) and rebuild in _REBUILDS:
            return _REBUILDS[rebuild](self, arguments)
        if type(function) is Foreign:
            return function
        return self.heard_of(name or "an unknown function")


class _Global(Foreign):
    """A name in a pickle that nothing was done with yet."""


def _mapping(pairs: Any) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    if isinstance(pairs, dict):
        made.update(pairs)
    elif isinstance(pairs, list | tuple):
        for pair in pairs:
            if isinstance(pair, list | tuple) and len(pair) == 2:
                _set(made, pair[0], pair[1])
    return made


def _set(mapping: Any, key: Any, value: Any) -> None:
    # other keys are no names of weights; hashing tuples within tuples has no end
    if isinstance(mapping, dict) and isinstance(key, str | int | float):
        mapping[key] = value


def _forget(machine: _Machine, argument: Any) -> None:
    machine.since_mark()


def _set_items(machine: _Machine, items: list[Any]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        _set(machine.stack[-1], key, value)


def _extend(machine: _Machine, items: list[Any]) -> None:
    if isinstance(machine.stack[-1], list):
        machine.stack[-1].extend(items)


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    def make(machine: _Machine, argument: Any) -> None:
        if len(machine.stack) < count:
            raise PickleError("a damaged pickle: too few entries")
        items = tuple(machine.stack[-count:])
        del machine.stack[-count:]
        machine.stack.append(items)

    return make


def _reduce(machine: _Machine, argument: Any) -> None:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.call(function, arguments))


def _new_with_keywords(machine: _Machine, argument: Any) -> None:
    machine.stack.pop()
    _reduce(machine, None)


def _object(machine: _Machine, argument: Any) -> None:
    items = machine.since_mark()
    machine.stack.append(machine.call(items[0], tuple(items[1:])))


def _instance(machine: _Machine, argument: Any) -> None:
    items = machine.since_mark()
    machine.stack.append(machine.call(_Global(str(argument).replace(" ", ".")), tuple(items)))


def _global(machine: _Machine, argument: Any) -> None:
    module, _, name = str(argument).partition(" ")
    machine.name(module, name)


def _stack_global(machine: _Machine, argument: Any) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise PickleError("a damaged pickle: a name that is no text")
    machine.name(module, name)


def _build(machine: _Machine, argument: Any) -> None:
    machine.stack.pop()  # the state of an object: of weights, notes on versions


def _remember(machine: _Machine, argument: Any) -> None:
    machine.memo[len(machine.memo) if argument is None else int(argument)] = machine.stack[-1]


def _recall(machine: _Machine, argument: Any) -> None:
    machine.stack.append(machine.memo[int(argument)])


def _stop(machine: _Machine, argument: Any) -> None:
    machine.result.content = machine.stack.pop()
    if isinstance(machine.result.content, _Global):
        machine.heard_of(machine.result.content.name)


def _persistent(machine: _Machine, argument: Any) -> None:
    entry = machine.stack.pop()
    storage = entry[:5] if isinstance(entry, tuple) and len(entry) >= 5 and entry[0] == "storage" else None
    if storage is None:
        machine.stack.append(machine.heard_of("a persistent object"))
        return
    _, kind, key, _, length = storage
    name = kind.name.rpartition(".")[2].removesuffix("Storage") if isinstance(kind, _Global) else ""
    if name not in _TYPES or not isinstance(key, str) or not _is_count(length):
        raise PickleError("a damaged pickle: an unknown storage")
    view = entry[5] if len(entry) > 5 else None
    part = (str(view[0]), int(view[1])) if isinstance(view, tuple) and len(view) == 3 else None
    machine.stack.append(Storage(key, _TYPES[name], length, part))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _dense(machine: _Machine, arguments: tuple[Any, ...]) -> Stored:
    storage, offset, shape, stride = arguments[:4]
    if isinstance(storage, Foreign):
        return Stored(None, kind="without numbers")
    flat = all(isinstance(each, tuple) and len(each) <= 64 for each in (shape, stride))
    if not (isinstance(storage, Storage) and flat and all(map(_is_count, (offset, *shape, *stride)))):
        raise PickleError("a damaged pickle: a tensor without size")
    if len(shape) != len(stride):
        raise PickleError("a damaged pickle: a tensor with unlike shape and strides")
    extra = arguments[6] if len(arguments) > 6 else None
    odd = isinstance(extra, dict) and any(extra.get(bit) for bit in ("conj", "neg"))
    kind = "conjugated" if odd else "dense"
    return Stored(storage, offset, shape, stride, storage.dtype, kind)


def _typed(machine: _Machine, arguments: tuple[Any, ...]) -> Stored:
    dtype = arguments[6]
    made = getattr(torch, dtype.name.removeprefix("torch."), None) if isinstance(dtype, _Global) else None
    if not isinstance(made, torch.dtype):
        raise PickleError("a damaged pickle: a tensor of no type")
    dense = _dense(machine, arguments[:4])
    return Stored(dense.storage, dense.offset, dense.shape, dense.stride, made)


def _parameter(machine: _Machine, arguments: tuple[Any, ...]) -> Any:
    return arguments[0]


def _odd(kind: str) -> Callable[[_Machine, tuple[Any, ...]], Stored]:
    def make(machine: _Machine, arguments: tuple[Any, ...]) -> Stored:
        shapes = [
            each
            for each in arguments
            if isinstance(each, tuple) and len(each) <= 64 and all(map(_is_count, each))
        ]
        return Stored(None, shape=shapes[0] if shapes else (), kind=kind)

    return make


def _from_type(machine: _Machine, arguments: tuple[Any, ...]) -> Any:
    function, kind, inner = arguments[:3]
    if isinstance(kind, _Global) and kind.name in (
        "torch.nn.parameter.Buffer",
        "torch.nn.parameter.Parameter",
        "torch.Tensor",
    ):
        return machine.call(function, inner)
    name = kind.name if isinstance(kind, Foreign) else "a subclass"
    return Stored(None, kind=name)


# fmt: off
_PUSHED = frozenset((
    "NONE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
))
# fmt: on
_MADE: dict[str, Callable[[], Any]] = {
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
    "MARK": lambda: _MARK,
}
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, argument: None,
    "FRAME": lambda machine, argument: None,
    "STOP": _stop,
    "POP": lambda machine, argument: machine.stack.pop(),
    "POP_MARK": _forget,
    "DUP": lambda machine, argument: machine.stack.append(machine.stack[-1]),
    "APPEND": lambda machine, argument: _extend(machine, [machine.stack.pop()]),
    "APPENDS": lambda machine, argument: _extend(machine, machine.since_mark()),
    "ADDITEMS": lambda machine, argument: _extend(machine, machine.since_mark()),
    "LIST": lambda machine, argument: machine.stack.append(machine.since_mark()),
    "FROZENSET": lambda machine, argument: machine.stack.append(machine.since_mark()),
    "TUPLE": lambda machine, argument: machine.stack.append(tuple(machine.since_mark())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "DICT": lambda machine, argument: machine.stack.append(_pairs(machine.since_mark())),
    "SETITEM": lambda machine, argument: _set_items(machine, [machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, argument: _set_items(machine, machine.since_mark()),
    "GET": _recall,
    "BINGET": _recall,
    "LONG_BINGET": _recall,
    "PUT": _remember,
    "BINPUT": _remember,
    "LONG_BINPUT": _remember,
    "MEMOIZE": _remember,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": _new_with_keywords,
    "OBJ": _object,
    "INST": _instance,
    "BUILD": _build,
    "BINPERSID": _persistent,
}
_REBUILDS: dict[str, Callable[[_Machine, tuple[Any, ...]], Any]] = {
    "_rebuild_tensor": _dense,
    "_rebuild_tensor_v2": _dense,
    "_rebuild_tensor_v3": _typed,
    "_rebuild_parameter": _parameter,
    "_rebuild_parameter_with_state": _parameter,
    "_rebuild_qtensor": _odd("quantized"),
    "_rebuild_sparse_tensor": _odd("sparse"),
    "_rebuild_sparse_csr_tensor": _odd("sparse"),
    "_rebuild_nested_tensor": _odd("nested"),
    "_rebuild_meta_tensor_no_storage": _odd("meta"),
    "_rebuild_device_tensor_from_numpy": _odd("device"),
    "_rebuild_wrapper_subclass": _odd("subclass"),
    "_rebuild_from_type": _from_type,
    "_rebuild_from_type_v2": _from_type,
}


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return _mapping(list(zip(items[::2], items[1::2], strict=True)))
