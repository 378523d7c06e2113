"""Receptive fields of any network, followed through one ordinary forward pass; and upsampling anchored at
their centers.

A field map (start, stride, size) composes through a kernel k with stride s, padding p and dilation d as::

    start'  = start + ((k - 1) d / 2 - p) * stride
    size'   = size + (k - 1) d * stride
    stride' = stride * s

as in Network Dissection (Bau et al. 2017, whose offsets are this ``start`` with the half field added).
Instead of guessing the order of modules, every functional call of one forward pass is intercepted
(`pellucid.core.hooks.Intercept`) and the field is carried from input to output: control flow,
functional additions, concatenations, channel shuffles, slices and channels-last blocks need no special case.
Where branches meet, the field covers all of them. Gates that read the whole image (squeeze-and-excitation)
are left out, as is usual for receptive fields. Where cells of a layer differ in their fields (adaptive
pooling to a grid that does not divide, transposed convolutions) ``size`` is the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from pellucid.core.geometry import Geometry, Pair
from pellucid.core.hooks import Intercept


@dataclass(frozen=True)
class Field:
    """The geometry a tensor carries during tracing; ``dims``: its vertical and its horizontal dimension."""

    geometry: Geometry
    dims: tuple[int, int]


# Beside the tensors, not on them: a call may hand out a parameter of the user's module itself.
_fields: Any = WeakTensorKeyDictionary()
_makers: Any = WeakTensorKeyDictionary()


class FieldTracer(Intercept):
    """In this context every tensor made from a seeded one carries its `Field`; read it with `field_of`."""

    def call(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The ordinary result; its field is noted."""
        sources = _tensors((*args, *kwargs.values()))
        # shapes before an in-place call
        fields = [(tuple(t.shape), f) for t, f in ((t, field_of(t)) for t in sources) if f is not None]
        maker = made_by(sources[0]) if sources else ""
        result = func(*args, **kwargs)
        for tensor in _tensors((result,)):
            _makers[tensor] = maker if name in _SAME_VALUES and maker else name
            field = _carry(name, fields, tensor, args, kwargs) if fields else None
            if field is not None:
                _fields[tensor] = field
            else:
                _fields.pop(tensor, None)
        return result


def seed(tensor: Tensor) -> Tensor:
    """Mark a network input [batch channel h w]: its pixels are their own receptive fields."""
    _fields[tensor] = Field(Geometry(), (2, 3))
    return tensor


def field_of(tensor: Tensor) -> Field | None:
    """The field a tensor carries, or None where it has lost its spatial grid."""
    found: Field | None = _fields.get(tensor)
    return found


def made_by(tensor: Tensor) -> str:
    """Name of the functional call that made a traced tensor's values; reshaping and casting make none."""
    return str(_makers.get(tensor, ""))


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _tensors(value)
    return found


_SAME_VALUES = {"view", "reshape", "flatten", "squeeze", "unsqueeze", "contiguous", "clone", "__getitem__"}
_SAME_VALUES |= {"to", "type", "float", "double", "half", "bfloat16", "detach"}
_MIXES_CELLS = {"matmul", "__matmul__", "bmm", "einsum", "scaled_dot_product_attention", "unfold", "fold"}
_RESIZES = ("adaptive_", "interpolate", "upsample", "pixel_")


def _carry(
    name: str,
    fields: list[tuple[tuple[int, ...], Field]],
    out: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Field | None:
    shape, first = fields[0]
    if name in _KERNELS:
        moved = _KERNELS[name](first.geometry, args, kwargs)
        return replace(first, geometry=moved) if first.dims == (2, 3) else None
    if name.startswith(_RESIZES):
        if first.dims != (len(shape) - 2, len(shape) - 1) or out.ndim != len(shape):
            return None
        return replace(first, geometry=_resized(first.geometry, shape[-2:], out.shape[-2:], name, kwargs))
    if name in ("permute", "transpose", "movedim", "swapaxes"):
        return _permuted(shape, first, name, args, kwargs)
    if name == "__getitem__":
        return _sliced(shape, first, out, args[1])
    if name in _MIXES_CELLS or (name == "linear" and len(shape) - 1 in first.dims):
        return None
    kept = []
    for source, field in fields:
        dims = _kept_dims(source, field, out)
        if dims is not None:
            kept.append(Field(field.geometry, dims))
    return _union(kept) if kept else None


def _kept_dims(source: tuple[int, ...], field: Field, out: Tensor) -> tuple[int, int] | None:
    """Where the spatial dimensions are after an elementwise call, a concatenation or a reshape that keeps
    them."""
    rows, columns = field.dims
    extent = (source[rows], source[columns])
    same_rank = out.ndim == len(source)
    if same_rank and (out.shape[rows], out.shape[columns]) == extent:
        return field.dims
    behind = (rows, columns) == (len(source) - 2, len(source) - 1)
    if behind and out.ndim >= 2 and tuple(out.shape[-2:]) == extent:
        return out.ndim - 2, out.ndim - 1
    return None


def _union(fields: list[Field]) -> Field:
    """The field that covers those of all branches that lie on the grid of the largest."""
    largest = max(fields, key=lambda field: field.geometry.size)
    alike = [field.geometry for field in fields if field.geometry.stride == largest.geometry.stride]
    if all(geometry == alike[0] for geometry in alike):
        return largest
    start, size = [], []
    for a in (0, 1):
        low = min(geometry.start[a] - (geometry.size[a] - 1) / 2 for geometry in alike)
        high = max(geometry.start[a] + (geometry.size[a] - 1) / 2 for geometry in alike)
        start.append((low + high) / 2)
        size.append(high - low + 1)
    covering = Geometry(largest.geometry.stride, (start[0], start[1]), (size[0], size[1]))
    return replace(largest, geometry=covering)


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str, default: Any) -> Any:
    value = args[position] if len(args) > position else kwargs.get(name, default)
    return default if value is None else value


def _pair(value: Any) -> Pair:
    if isinstance(value, (int, float)):
        return float(value), float(value)
    return float(value[0]), float(value[-1])


def _slide(geometry: Geometry, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Geometry:
    reach = [(kernel[a] - 1) * dilation[a] for a in (0, 1)]
    return Geometry(
        stride=(geometry.stride[0] * stride[0], geometry.stride[1] * stride[1]),
        start=(
            geometry.start[0] + (reach[0] / 2 - padding[0]) * geometry.stride[0],
            geometry.start[1] + (reach[1] / 2 - padding[1]) * geometry.stride[1],
        ),
        size=(
            geometry.size[0] + reach[0] * geometry.stride[0],
            geometry.size[1] + reach[1] * geometry.stride[1],
        ),
    )


def _convolution(geometry: Geometry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Geometry:
    kernel = _pair(_argument(args, kwargs, 1, "weight", None).shape[-2:])
    stride, padding = _argument(args, kwargs, 3, "stride", 1), _argument(args, kwargs, 4, "padding", 0)
    dilation = _pair(_argument(args, kwargs, 5, "dilation", 1))
    if padding == "same":  # torch puts the odd pixel behind, so the front gets the smaller half
        padding = tuple((kernel[a] - 1) * dilation[a] // 2 for a in (0, 1))
    return _slide(geometry, kernel, _pair(stride), _pair(0 if padding == "valid" else padding), dilation)


def _transposed(geometry: Geometry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Geometry:
    kernel = _argument(args, kwargs, 1, "weight", None).shape[-2:]
    stride, padding = (
        _pair(_argument(args, kwargs, position, name, default))
        for position, name, default in ((3, "stride", 1), (4, "padding", 0))
    )
    dilation = _pair(_argument(args, kwargs, 7, "dilation", 1))
    start, step, size = [], [], []
    for a in (0, 1):
        step.append(geometry.stride[a] / stride[a])
        start.append(geometry.start[a] + (padding[a] - (kernel[a] - 1) * dilation[a] / 2) * step[a])
        taps = [tap * dilation[a] for tap in range(kernel[a])]
        phases = [
            [tap for tap in taps if tap % stride[a] == phase] for phase in {t % stride[a] for t in taps}
        ]
        reach = max(phase[-1] - phase[0] for phase in phases) / stride[a]  # in cells, of the widest output
        size.append(geometry.size[a] + reach * geometry.stride[a])
    return Geometry((step[0], step[1]), (start[0], start[1]), (size[0], size[1]))


def _pooling(dilated: bool) -> Callable[[Geometry, tuple[Any, ...], dict[str, Any]], Geometry]:
    def rule(geometry: Geometry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Geometry:
        kernel = _argument(args, kwargs, 1, "kernel_size", 1)
        stride = _argument(args, kwargs, 2, "stride", kernel) or kernel
        padding = _argument(args, kwargs, 3, "padding", 0)
        dilation = _argument(args, kwargs, 4, "dilation", 1) if dilated else 1
        return _slide(geometry, _pair(kernel), _pair(stride), _pair(padding), _pair(dilation))

    return rule


def _padded(geometry: Geometry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Geometry:
    pad = list(_argument(args, kwargs, 1, "pad", [0, 0]))  # (left, right, top, bottom, ...)
    top, left = (pad[2] if len(pad) > 2 else 0), pad[0]
    start = (geometry.start[0] - top * geometry.stride[0], geometry.start[1] - left * geometry.stride[1])
    return replace(geometry, start=start)


_KERNELS: dict[str, Callable[[Geometry, tuple[Any, ...], dict[str, Any]], Geometry]] = {
    "conv2d": _convolution,
    "conv_transpose2d": _transposed,
    "max_pool2d": _pooling(dilated=True),
    "max_pool2d_with_indices": _pooling(dilated=True),
    "avg_pool2d": _pooling(dilated=False),
    "lp_pool2d": lambda geometry, args, kwargs: _pooling(dilated=False)(geometry, args[1:], kwargs),
    "pad": _padded,
}


def _resized(
    geometry: Geometry, before: tuple[int, ...], after: tuple[int, ...], name: str, kwargs: dict[str, Any]
) -> Geometry:
    """Adaptive pooling (cells merge) and interpolation (cells split): the grid keeps its outer border, or
    its outer centers where corners are aligned."""
    mode = str(kwargs.get("mode", "nearest"))
    stride, start, size = [], [], []
    for a in (0, 1):
        n, m = before[a], after[a]
        ratio, shift = n / m, (n / m - 1) / 2
        if not name.startswith(("interpolate", "upsample")) or mode == "area":
            windows = [-(-(i + 1) * n // m) - i * n // m for i in range(m)]
            reach = max(windows) - 1
        else:
            reach = {"bilinear": 1, "bicubic": 3}.get(mode, 0)
            if kwargs.get("align_corners") and m > 1:
                ratio, shift = (n - 1) / (m - 1), 0.0
            elif mode == "nearest" and ratio > 1:
                shift = 0.0  # takes the first of the cells it merges
        stride.append(geometry.stride[a] * ratio)
        start.append(geometry.start[a] + shift * geometry.stride[a])
        size.append(geometry.size[a] + reach * geometry.stride[a])
    return Geometry((stride[0], stride[1]), (start[0], start[1]), (size[0], size[1]))


def _sliced(shape: tuple[int, ...], field: Field, out: Tensor, index: Any) -> Field | None:
    """Slices of the grid (a patch stem, a shifted shortcut); other dimensions may be picked in any way."""
    entries = list(index) if isinstance(index, tuple) else [index]
    dots = next((at for at, entry in enumerate(entries) if entry is Ellipsis), len(entries))
    used = sum(entry is not None and entry is not Ellipsis for entry in entries)
    entries[dots : dots + 1] = [slice(None)] * (len(shape) - used)
    stride, start = list(field.geometry.stride), list(field.geometry.start)
    dims: list[int] = []
    dim = place = 0  # of the source, of the result
    for entry in entries:
        if dim in field.dims and entry is not None:
            if not isinstance(entry, slice):
                return None
            first, _, step = entry.indices(shape[dim])
            axis = field.dims.index(dim)
            start[axis] += first * stride[axis]
            stride[axis] *= step
            dims.append(place)
        dim += entry is not None
        place += not isinstance(entry, int)
    if place != out.ndim:  # a mask, or several lists at once
        return None
    moved = replace(field.geometry, stride=(stride[0], stride[1]), start=(start[0], start[1]))
    return Field(moved, (dims[0], dims[1]))


def _permuted(
    shape: tuple[int, ...], field: Field, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Field | None:
    """Follow the two spatial dimensions by moving those of a small tensor whose strides number them."""
    probe = torch.empty(1, device="cpu").as_strided([1] * len(shape), list(range(1, len(shape) + 1)))
    moved = getattr(probe, name)(*args[1:], **{k: v for k, v in kwargs.items() if k != "input"})
    order = [step - 1 for step in moved.stride()]
    rows, columns = order.index(field.dims[0]), order.index(field.dims[1])
    return Field(field.geometry, (rows, columns)) if rows < columns else None
