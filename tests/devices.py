"""A device without float64, as MPS is: its tensors are computed on the processor, and refuse what MPS refuses.

It goes by the name of torch's "meta", since autograd asks for a device that this build of torch knows.
"""

from __future__ import annotations

import contextlib
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_map_only

from pellucid.core import precision

APPLE = torch.device("meta")
# Where torch takes tensors of both sides.
ACROSS = ("_to_copy", "copy_", "index", "index_put", "index_put_", "_index_put_impl_", "set_")


class OnApple(torch.Tensor):
    """A tensor that claims to be on the device; unlike those of the meta device, which lend it their name, it has values."""

    is_meta = False

    @staticmethod
    def __new__(cls, inner):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=APPLE,
            requires_grad=False,
        )
        made.inner = inner
        return made

    def __init__(self, inner):
        pass

    def __repr__(self, *, tensor_contents=None):
        return f"OnApple({self.inner!r})"

    def untyped_storage(self):
        return self.inner.untyped_storage()

    def tolist(self):
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _computed(func, args, kwargs or {})


def _computed(func, args, kwargs):
    flat = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
    on = any(isinstance(each, OnApple) for each in flat)
    name = func.overloadpacket.__name__
    beside = [each for each in flat if not isinstance(each, OnApple) and each.ndim]
    if on and beside and name not in ACROSS:
        raise RuntimeError(f"Expected all tensors to be on the same device, in {func}")
    wanted = kwargs.get("device")
    if wanted is not None:
        on = torch.device(wanted).type == "meta"
        kwargs = {**kwargs, "device": "cpu"}
    inner_args, inner_kwargs = tree_map_only(OnApple, lambda each: each.inner, (args, kwargs))
    result = func(*inner_args, **inner_kwargs)
    if not on:
        return result
    if name.endswith("_") and not name.startswith("_") and isinstance(args[0], torch.Tensor):
        return args[0]

    def wrapped(each):
        return _checked(each) if isinstance(each, torch.Tensor) else each

    return tree_map(wrapped, result)


class _Made(TorchDispatchMode):
    """Tensors made on the device are `OnApple`."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _computed(func, args, kwargs or {})


class _Moved(TorchFunctionMode):
    """What torch does before it dispatches would look for the real device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.to and not isinstance(args[0], OnApple):
            device, dtype = _target(args[1:], kwargs)
            if device is not None and device.type == "meta":
                return _there(args[0] if dtype is None else args[0].to(dtype))
        if func is torch.unravel_index and isinstance(args[0], OnApple):
            return tuple(map(_checked, func(args[0].inner, *args[1:], **kwargs)))
        if func in (torch.tensor, torch.as_tensor) and _is_apple(kwargs.get("device")):
            return _there(func(*args, **{**kwargs, "device": "cpu"}))
        return func(*args, **kwargs)


def _is_apple(device):
    return device is not None and torch.device(device).type == "meta"


def _target(args, kwargs):
    """Device and type that `Tensor.to` is asked for."""
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    for each in (*args, kwargs.get("other")):
        if isinstance(each, torch.Tensor):
            device, dtype = each.device, each.dtype
        elif isinstance(each, torch.dtype):
            dtype = each
        elif isinstance(each, (str, torch.device)):
            device = each
    return None if device is None else torch.device(device), dtype


class _There(torch.autograd.Function):
    """The way to the device, differentiably."""

    @staticmethod
    def forward(ctx, value):
        return _checked(value.clone())

    @staticmethod
    def backward(ctx, gradient):
        return gradient.cpu()


def _there(value):
    return _There.apply(value) if value.requires_grad else _checked(value)


def _checked(value):
    if value.dtype in (torch.float64, torch.complex128):
        raise TypeError(
            "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
        )
    return OnApple(value)


@contextlib.contextmanager
def apple():
    """Inside, the device can be used, and the project knows that it has no float64."""
    autocast = torch.autocast

    def cast(kind, *args, **kwargs):
        return autocast("cpu" if kind == APPLE.type else kind, *args, **kwargs)

    with (
        mock.patch.object(precision, "_WITHOUT_FLOAT64", frozenset([APPLE.type])),
        mock.patch.object(torch, "autocast", cast),
        _Made(),
        _Moved(),
    ):
        yield


def moved(module):
    """A module whose parameters and buffers are on the device."""
    for child in module.modules():
        for name, value in list(child._parameters.items()):
            if value is not None:
                child._parameters[name] = torch.nn.Parameter(OnApple(value.detach()), requires_grad=False)
        for name, value in list(child._buffers.items()):
            if value is not None:
                child._buffers[name] = OnApple(value)
    return module
