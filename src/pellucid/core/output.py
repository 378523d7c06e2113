"""Which of what a module returns are the class scores, and are they numbers.

A tensor is taken as it is; of a tuple, dict or object the tensor called ``logits`` (or ``out``, ``scores``, ``predictions``), or
the only one of two dimensions. Where several come into question, one is chosen once, when the network is made, and it is said
which, and how to choose another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Pick = str | int | Callable[[Any], Tensor] | None
_NAMES = ("logits", "out", "scores", "predictions")


class OutputError(ValueError):
    """A module's output in which the class scores cannot be found, or are no numbers."""


def pick(output: Any, how: Pick) -> Tensor:
    """The raw class scores in what a module returned. Raises OutputError where there are none."""
    if how is not None:
        return _as_told(output, how)
    if isinstance(output, Tensor):
        return output
    name = _named(output)
    if name is not None:
        return _as_told(output, name)
    flat = candidates(output)
    if len(flat) == 1 or (flat and not isinstance(output, Mapping) and flat.get(0) is not None):
        return next(iter(flat.values()))
    raise OutputError(
        f"Expected the network to return class scores [batch classes], got {described(output)}; "
        "try `output=` with a key, a position or a function that picks them."
    )


def candidates(output: Any) -> dict[str | int, Tensor]:
    """What may be the class scores: every tensor of two dimensions, by key or position. None where one has the name of scores."""
    if isinstance(output, Tensor) or _named(output) is not None:
        return {}
    if isinstance(output, Mapping):
        entries: list[tuple[Any, Any]] = list(output.items())
    elif isinstance(output, (tuple, list)):
        entries = list(enumerate(output))
    else:
        return {}
    return {key: value for key, value in entries if isinstance(value, Tensor) and value.ndim == 2}


def choice(again: Callable[[], Any], classes: int | None) -> tuple[str | int, str] | None:
    """Which of several tensors are the class scores, and the note on it; None where there is nothing to choose.

    The one with as many columns as there are class names; else the one that others lead to (an embedding leads to the logits);
    else, of a tuple, the first. ``again`` runs the module on an image, and gives what it returns.
    """
    with torch.enable_grad():
        output = again()
    flat = candidates(output)
    if len(flat) < 2:
        return None
    fitting = [key for key, value in flat.items() if value.shape[1] == classes]
    ends = fitting if len(fitting) == 1 else _last(flat)
    if len(ends) != 1 and (isinstance(output, Mapping) or 0 not in flat):
        return None
    chosen = ends[0] if len(ends) == 1 else 0
    others = " or ".join(f"`output={key!r}`" for key in flat if key != chosen)
    note = f"the network returns {described(output)}: {chosen!r} was taken for the class scores; {others} takes another for them"
    return chosen, note


def check_scores(output: Tensor, name: str) -> None:
    """Raises OutputError where class scores [batch classes] are NaN or infinite."""
    if output.is_complex():
        raise OutputError(
            f"Expected real class scores from `{name}`, got complex ones ({output.dtype}); try `output=` with a function that "
            "makes them real, such as `lambda out: out.abs()`."
        )
    finite = torch.isfinite(output)
    if bool(finite.all()):
        return
    bad = (~finite).sum(1)
    image = int(bad.argmax())
    raise OutputError(
        f"Expected finite class scores from `{name}`, got NaN or infinity in {int(bad[image])} of {output.shape[1]} for image "
        f"{image} of {len(output)}; the values overflow or are undefined on the way, try `dtype=torch.float32`, the "
        "preprocessing it was trained with, or an earlier checkpoint."
    )


def described(output: Any) -> str:
    """What came, in words."""

    def kind(value: Any) -> str:
        return f"tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__

    if isinstance(output, Mapping):
        return "a dict with " + ", ".join(f"{key!r}: {kind(value)}" for key, value in output.items())
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of ({', '.join(map(kind, output))})"
    return kind(output)


def _named(output: Any) -> str | None:
    for name in _NAMES:
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(value, Tensor):
            return name
    return None


def _as_told(output: Any, how: str | int | Callable[[Any], Tensor]) -> Tensor:
    try:
        if callable(how):
            picked = how(output)
        elif isinstance(how, str) and not isinstance(output, Mapping):
            picked = getattr(output, how)
        else:
            picked = output[how]
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        raise OutputError(
            f"Expected `output={how!r}` to pick the class scores, got {described(output)}."
        ) from error
    if not isinstance(picked, Tensor):
        raise OutputError(
            f"Expected `output={how!r}` to pick a tensor, got {type(picked).__name__} from {described(output)}."
        )
    return picked


def _last(flat: Mapping[str | int, Tensor]) -> Sequence[str | int]:
    """What is made of others, and nothing of it."""
    makes = {
        (source, result)
        for source, value in flat.items()
        for result, other in flat.items()
        if source != result and value.requires_grad and other.requires_grad and _leads(value, other)
    }
    return [key for key in flat if any(key == b for _, b in makes) and not any(key == a for a, _ in makes)]


def _leads(source: Tensor, result: Tensor) -> bool:
    (slope,) = torch.autograd.grad(result.sum(), source, retain_graph=True, allow_unused=True)
    return slope is not None
