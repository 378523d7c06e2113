"""What rules keep of the forward pass, safe from in-place operations.

Frozen networks may write into what a convolution or a pooling has read: ordinary autograd would not need those
values, a rule does. They are kept without copying, and copied when somebody is about to write into them.
"""

from __future__ import annotations

import weakref

from torch import Tensor


class Saved:
    """A tensor as it was when it was saved."""

    def __init__(self, value: Tensor) -> None:
        self.value = value.detach()


class Memory:
    """All that is saved, found again by the memory it lies in."""

    def __init__(self) -> None:
        self._by_place: dict[int, weakref.WeakSet[Saved]] = {}

    def save(self, value: Tensor) -> Saved:
        """Keep a tensor."""
        saved = Saved(value)
        place = value.untyped_storage().data_ptr()
        self._by_place.setdefault(place, weakref.WeakSet()).add(saved)
        return saved

    def about_to_write(self, target: Tensor) -> None:
        """Copy what shares memory with a tensor that is going to be changed."""
        for saved in self._by_place.pop(target.untyped_storage().data_ptr(), ()):
            saved.value = saved.value.clone()
