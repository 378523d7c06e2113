"""Receptive fields of any network, followed through one ordinary forward pass; and upsampling anchored at their centers.

A field map (start, stride, size) composes through a kernel k with stride s, padding p and dilation d as::

    start' = start + ((k - 1) d / 2 - p) * stride
    size'  = size + (k - 1) d * stride
    stride' = stride * s

as in Network Dissection (Bau et al. 2017, whose offsets are this ``start`` with the half field added). Instead of
guessing the order of modules, every functional call of one forward pass is intercepted
(``torch.overrides.TorchFunctionMode``) and the field is carried from input to output: control flow, functional
additions, concatenations, channel shuffles and channels-last blocks need no special case. Where branches meet, the
larger field wins. Gates that read the whole image (squeeze-and-excitation) are left out, as is usual for receptive fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pellucid.types import Geometry

Pair = tuple[float, float]


def upsample(
    values: Float[Tensor, "batch h w"], geometry: Geometry, input_size: tuple[int, int], size: tuple[int, int]
) -> Float[Tensor, "batch height width"]:
    """Bilinear interpolation of cell values at the pixels of a picture of ``size`` that shows the whole input.

    Exact and separable: one small interpolation matrix per axis. Beyond the outermost centers the border value is kept.

    >>> cells = torch.tensor([[[0.0, 2.0]]])
    >>> upsample(cells, Geometry(stride=(1, 2), start=(0, 0.5)), (1, 4), (1, 4))
    tensor([[[0.0000, 0.5000, 1.5000, 2.0000]]])
    """
    rows, columns = (
        interpolation(values.shape[1 + axis], geometry.start[axis], geometry.stride[axis], input_size[axis], size[axis])
        for axis in (0, 1)
    )
    return rows.to(values) @ values @ columns.to(values).T


def interpolation(cells: int, start: float, stride: float, extent: int, pixels: int) -> Float[Tensor, "pixels cells"]:
    """Weights of every cell in every output pixel along one axis; rows sum to 1."""
    position = (torch.arange(pixels, dtype=torch.float64) + 0.5) * (extent / pixels) - 0.5
    place = ((position - start) / stride).clamp(0, cells - 1)
    low = place.floor().clamp(max=max(cells - 2, 0)).long()
    weights = torch.zeros(pixels, cells, dtype=torch.float64)
    fraction = (place - low)[:, None]
    weights.scatter_(1, low[:, None], 1 - fraction)
    if cells > 1:
        weights.scatter_(1, low[:, None] + 1, fraction)
    return weights


@dataclass(frozen=True)
class Field:
    """The geometry a tensor carries during tracing, and which of its dimensions are vertical and horizontal."""

    geometry: Geometry
    dims: tuple[int, int]


class FieldTracer(TorchFunctionMode):
    """Inside this context every tensor made from a seeded one carries its `Field`; read it with `field_of`."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        sources = [(tensor, field_of(tensor)) for tensor in _tensors((*args, *kwargs.values()))]
        fields = [(tuple(t.shape), f) for t, f in sources if f is not None]  # shapes before an in-place call
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        for tensor in _tensors((result,)):
            tensor._pellucid_made_by = name  # type: ignore[attr-defined]
            tensor._pellucid_field = _carry(name, fields, tensor, args, kwargs) if fields else None  # type: ignore[attr-defined]
        return result


def seed(tensor: Tensor) -> Tensor:
    """Mark a network input [batch channel h w]: its pixels are their own receptive fields."""
    tensor._pellucid_field = Field(Geometry(), (2, 3))  # type: ignore[attr-defined]
    return tensor


def field_of(tensor: Tensor) -> Field | None:
    """The field a tensor carries, or None where it has lost its spatial grid."""
    return getattr(tensor, "_pellucid_field", None)


def made_by(tensor: Tensor) -> str:
    """Name of the functional call that made a traced tensor."""
    return getattr(tensor, "_pellucid_made_by", "")


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _tensors(value)
    return found


_LOSES_GRID = {"matmul", "bmm", "scaled_dot_product_attention", "softmax", "roll", "einsum", "__getitem__", "unfold"}


def _carry(
    name: str, fields: list[tuple[tuple[int, ...], Field]], out: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Field | None:
    shape, first = fields[0]
    if name in _KERNELS:
        return replace(first, geometry=_KERNELS[name](first.geometry, args, kwargs)) if first.dims == (2, 3) else None
    if name.startswith("adaptive_") or name == "interpolate":
        return replace(first, geometry=_resized(first.geometry, shape[-2:], out.shape[-2:], name))
    if name in ("permute", "transpose", "movedim", "swapaxes"):
        return _permuted(shape, first, out, name, args, kwargs)
    if name == "linear" and len(shape) - 1 in first.dims:
        return None
    kept: list[Field] = []
    for source, field in fields:
        dims = _kept_dims(source, field, out)
        if dims is not None:
            kept.append(Field(field.geometry, dims))
    if not kept or (name in _LOSES_GRID and tuple(out.shape) != shape):
        return None
    largest = max(kept, key=lambda field: field.geometry.size)
    sizes = [field.geometry.size for field in kept]
    size = (max(s[0] for s in sizes), max(s[1] for s in sizes))
    return replace(largest, geometry=replace(largest.geometry, size=size))


def _kept_dims(source: tuple[int, ...], field: Field, out: Tensor) -> tuple[int, int] | None:
    """Where the spatial dimensions are after an elementwise call, a concatenation or a reshape that keeps them."""
    rows, columns = field.dims
    extent = (source[rows], source[columns])
    if out.ndim > columns and out.ndim == len(source) and (out.shape[rows], out.shape[columns]) == extent:
        return field.dims
    if (rows, columns) == (len(source) - 2, len(source) - 1) and out.ndim >= 2 and tuple(out.shape[-2:]) == extent:
        return out.ndim - 2, out.ndim - 1
    return None


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
        size=(geometry.size[0] + reach[0] * geometry.stride[0], geometry.size[1] + reach[1] * geometry.stride[1]),
    )


def _convolution(geometry: Geometry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Geometry:
    kernel = _pair(_argument(args, kwargs, 1, "weight", None).shape[-2:])
    stride, padding = _argument(args, kwargs, 3, "stride", 1), _argument(args, kwargs, 4, "padding", 0)
    dilation = _pair(_argument(args, kwargs, 5, "dilation", 1))
    if padding == "same":  # torch puts the odd pixel behind, so the front gets the smaller half
        padding = tuple((kernel[a] - 1) * dilation[a] // 2 for a in (0, 1))
    return _slide(geometry, kernel, _pair(stride), _pair(0 if padding == "valid" else padding), dilation)


def _transposed(geometry: Geometry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Geometry:
    kernel = _pair(_argument(args, kwargs, 1, "weight", None).shape[-2:])
    stride, padding = _pair(_argument(args, kwargs, 3, "stride", 1)), _pair(_argument(args, kwargs, 4, "padding", 0))
    dilation = _pair(_argument(args, kwargs, 7, "dilation", 1))
    start, step, size = [], [], []
    for a in (0, 1):
        step.append(geometry.stride[a] / stride[a])
        start.append(geometry.start[a] + (padding[a] - (kernel[a] - 1) * dilation[a] / 2) * step[a])
        size.append(geometry.size[a] + max(-(-kernel[a] // stride[a]) - 1, 0) * geometry.stride[a])
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


def _resized(geometry: Geometry, before: tuple[int, ...], after: tuple[int, ...], name: str) -> Geometry:
    """Adaptive pooling (cells merge) and interpolation (cells split): the grid keeps its outer border."""
    ratio = [before[a] / after[a] for a in (0, 1)]
    stride = tuple(geometry.stride[a] * ratio[a] for a in (0, 1))
    start = tuple(geometry.start[a] + (ratio[a] - 1) / 2 * geometry.stride[a] for a in (0, 1))
    grown = tuple(geometry.size[a] + max(ratio[a] - 1, 0) * geometry.stride[a] for a in (0, 1))
    return Geometry((stride[0], stride[1]), (start[0], start[1]), (grown[0], grown[1]))


def _permuted(
    shape: tuple[int, ...], field: Field, out: Tensor, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Field | None:
    """Follow the two spatial dimensions by permuting the numbers of the dimensions themselves."""
    tag = torch.arange(len(shape))
    probe = torch.empty([2] * len(shape)).as_strided([2] * len(shape), (tag + 1).tolist())
    moved = getattr(torch, name)(probe, *args[1:], **{k: v for k, v in kwargs.items() if k != "input"}) if (
        name != "permute" or not args[1:] or not isinstance(args[1], int)
    ) else probe.permute(*args[1:])
    order = [step - 1 for step in moved.stride()]
    rows, columns = order.index(field.dims[0]), order.index(field.dims[1])
    return Field(field.geometry, (rows, columns)) if rows < columns else None
