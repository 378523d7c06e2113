"""What a network's answers are like: numbers of what kind, the same every time, whoever else is in the batch.

Found out once, when a network is made, from its answers to noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

RANDOM = (
    "its answer to the same image differs from one time to the next (dropout that stays on, or another source of chance): "
    "what is measured and said of it differs too"
)
COUPLED = (
    "its answer to an image depends on the other images of the batch (statistics of the batch): try one image at a time, "
    "batch_size=1"
)
# A logit beyond this means a probability of 0.99995; plain numbers (ages, counts, prices) often lie there, for any image.
FAR = 10.0
# Calls whose result is no logit: nothing below zero, or nothing beyond a bound.
_BOUNDED = (
    "relu",
    "relu_",
    "relu6",
    "softplus",
    "exp",
    "exp_",
    "abs",
    "square",
    "tanh",
    "tanh_",
    "hardtanh",
    "clamp",
    "clamp_",
)


@dataclass(frozen=True)
class Answers:
    """``output``: to two images of noise, None where the network does not take two at a time. ``notes``: what to know of them."""

    output: Tensor | None = None
    notes: tuple[str, ...] = ()


def answers(run: Callable[[Tensor], Tensor], shape: tuple[int, ...], like: Tensor) -> Answers:
    """What a network answers to noise, and what has to be known of its answers.

    Args:
        run: images to class scores [batch classes].
        shape: (channels, height, width).
        like: for type and device.
    """
    noise = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)).to(like)
    try:
        # scores cast to float64 behind a float32 network are as rough as it is
        both, first = run(noise).to(like.dtype), run(noise[:1]).to(like.dtype)
        if alike(both[:1], first):
            return Answers(both)
        return Answers(both, (COUPLED if alike(both, run(noise).to(like.dtype)) else RANDOM,))
    except Exception:  # whatever it is, it will be said of a real image
        return Answers()


def alike(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding: batches of other sizes are summed in other orders."""
    near = torch.finfo(a.dtype).eps ** 0.5 if a.dtype != torch.float32 else 1e-3
    size = float(torch.cat([a, b]).abs().max())
    return bool(((a - b).abs() <= near * size).all()) or not size < float("inf")


def kind_of_head(made_by: str, outputs: int, output: Tensor | None) -> str:
    """The form of a head from what made its values, how many there are, and what they are for noise.

    >>> kind_of_head("softmax", 10, None), kind_of_head("linear", 1, torch.tensor([[35.2], [36.0]]))
    ('probabilities', 'regression')
    """
    if outputs > 1:
        return (
            "probabilities" if made_by in ("softmax", "sigmoid") else "softmax"
        )  # log_softmax counts as logits
    if made_by == "sigmoid":
        return "binary"
    far = output is not None and bool((output.abs() > FAR).all())
    return "regression" if far or made_by in _BOUNDED else "binary"


def note_on_head(head: str, made_by: str, outputs: int) -> tuple[str, ...]:
    """How to say what a single output is, where that was found out or assumed."""
    if outputs > 1 or made_by == "sigmoid":
        return ()
    if head == "regression":
        return (
            'its one output was taken for a plain number; head="binary" takes it for the logit of two classes',
        )
    return (
        'its one output was taken for the logit of two classes; head="regression" takes it for a plain number',
    )
