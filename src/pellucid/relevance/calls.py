"""What is known of a torch call and of the tensors in it: names, in-place flags, tags."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from pellucid.relevance.affine import AffineCall


@dataclass(frozen=True, eq=False)
class Tag:
    """A tensor that depends on the image. ``image``: it is the image, or was made from it without weights."""

    image: Literal["itself", "derived", ""] = ""
    gate: bool = False
    source: AffineCall | None = None


def tag_of(value: Any) -> Tag | None:
    """The tag of a tensor; None for constants."""
    return getattr(value, "_pellucid_tag", None) if isinstance(value, Tensor) else None


def put_tag(value: Tensor, tag: Tag) -> None:
    """Write a tag on a tensor."""
    value._pellucid_tag = tag  # type: ignore[attr-defined]


@dataclass
class Invocation:
    """One torch call: the function, its plain name, whether it writes into its first argument, arguments."""

    func: Callable[..., Any]
    name: str
    inplace: bool
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def plain(self) -> Any:
        """The ordinary result, in new memory, outside of any graph."""
        with torch.no_grad():
            args = tree_map_only(Tensor, Tensor.detach, self.args)
            if self.inplace:
                args = (args[0].clone(), *args[1:])
            return self.func(*args, **self.kwargs)

    def argument(self, position: int, key: str, default: Any = None) -> Any:
        """An argument given by position or by name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(key, default)


def tensors_in(values: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dictionaries."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        for each in values.values():
            yield from tensors_in(each)
    elif isinstance(values, (tuple, list)):
        for each in values:
            yield from tensors_in(each)


_TRANSLATED = {
    "iadd": "add", "radd": "add", "isub": "sub", "subtract": "sub", "imul": "mul", "rmul": "mul",
    "multiply": "mul", "truediv": "div", "itruediv": "div", "true_divide": "div", "divide": "div",
    "rtruediv": "rdiv", "concatenate": "cat", "concat": "cat", "max_pool2d_with_indices": "max_pool2d",
}  # fmt: skip
# where the flag ``inplace`` stands when it is given by position
_INPLACE_AT = dict.fromkeys(("relu", "relu6", "silu", "mish", "selu", "hardswish", "hardsigmoid"), 1)
_INPLACE_AT |= dict.fromkeys(("leaky_relu", "elu", "celu"), 2) | {"rrelu": 4}
_INPLACE_AT |= dict.fromkeys(("hardtanh", "threshold", "dropout", "dropout1d", "dropout2d", "dropout3d"), 3)
_INPLACE_AT |= dict.fromkeys(("alpha_dropout", "feature_alpha_dropout"), 3)


def plain_name(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, bool]:
    """A function's name without underscores, and whether it works in place."""
    dunder = name.startswith("__")
    plain = name.strip("_")
    inplace = (name.endswith("_") and not dunder) or bool(kwargs.get("inplace"))
    inplace = inplace or (dunder and plain in ("iadd", "isub", "imul", "itruediv"))
    place = _INPLACE_AT.get(plain)
    inplace = inplace or (place is not None and len(args) > place and args[place] is True)
    return _TRANSLATED.get(plain, plain), inplace
