"""What is explained: which score of every image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Target:
    """What is explained, for every image of a batch: a class, or any function of the output.

    Attributes:
        indices: class indices, [batch]; None with a ``function``.
        names: of the classes or the function, one per image.
        signs: [batch], −1 where a single-logit head is explained for its negative class.
        function: from output to one number per image.
    """

    indices: Int[Tensor, " batch"] | None
    names: tuple[str, ...]
    signs: Float[Tensor, " batch"] | None = None
    function: Callable[[Tensor], Tensor] | None = None

    def score(self, output: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
        """The number that is explained, differentiable.

        Args:
            output: class scores, [batch classes].

        Returns:
            One number per image, [batch].

        Raises:
            ValueError: a target function that returns another shape.

        Example:
            >>> Target(torch.tensor([1, 0]), ("cat", "dog")).score(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
            tensor([2., 3.])
        """
        if self.function is not None:
            value = self.function(output)
            if not isinstance(value, Tensor) or value.shape != output.shape[:1]:
                got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(
                    "Expected the target function to return one number per image, shape "
                    f"({output.shape[0]},), got {got}; try `lambda output: output[:, 3]`."
                )
            return value
        assert self.indices is not None
        value = output.gather(1, self.indices.to(output.device)[:, None])[:, 0]
        return value if self.signs is None else value * self.signs.to(value)

    def repeat(self, count: int) -> Target:
        """The same target for copies of a batch, laid one batch after the other.

        Args:
            count: number of copies.

        Returns:
            A target for ``count`` × batch rows.

        Example:
            >>> Target(torch.tensor([1, 0]), ("cat", "dog")).repeat(2).names
            ('cat', 'dog', 'cat', 'dog')
        """
        return replace(
            self,
            indices=None if self.indices is None else self.indices.repeat(count),
            names=self.names * count,
            signs=None if self.signs is None else self.signs.repeat(count),
            function=self.function.repeat(count) if isinstance(self.function, Column) else self.function,
        )

    def __getitem__(self, image: int | slice) -> Target:
        keep = image if isinstance(image, slice) else slice(image, image + 1 or None)
        return replace(
            self,
            indices=None if self.indices is None else self.indices[keep],
            names=self.names[keep],
            signs=None if self.signs is None else self.signs[keep],
            function=self.function[keep] if isinstance(self.function, Column) else self.function,
        )


TargetLike = int | str | Sequence[int | str] | Callable[[Tensor], Tensor] | Tensor | Target | None


@dataclass(frozen=True)
class Column:
    """A target of a network of plain numbers: which output, for every image of a batch. Copies of a batch follow one another."""

    indices: tuple[int, ...]

    def __call__(self, output: Float[Tensor, "rows outputs"]) -> Float[Tensor, " rows"]:
        """The numbers themselves. Raises ValueError for rows that cannot be told apart."""
        if len(set(self.indices)) == 1:
            return output[:, self.indices[0]]
        copies, rest = divmod(len(output), len(self.indices))
        if rest:
            raise ValueError(
                f"Expected copies of {len(self.indices)} images, whose targets differ, got {len(output)} rows; "
                "try one target for all images, or one image at a time."
            )
        index = torch.tensor(self.indices * copies, device=output.device)
        return output.gather(1, index[:, None])[:, 0]

    def repeat(self, count: int) -> Column:
        """For copies of the batch, laid one after the other."""
        return Column(self.indices * count)

    def __getitem__(self, images: slice) -> Column:
        return Column(self.indices[images])


def plain_target(target: Any) -> Any:
    """What a user calls a target without NumPy and torch: None, a `Target`, a function, a name, a number, or a list of these.

    Raises TypeError for numbers that are no indices, and for more than one dimension.

    >>> plain_target(np.int64(3)), plain_target(np.array([1, 2])), plain_target([np.array(4), "cat"])
    (3, [1, 2], [4, 'cat'])
    """
    if isinstance(target, (np.ndarray, np.generic, Tensor)):
        if target.ndim > 1:
            raise TypeError(
                f"Expected a class for each image as `target`, one dimension, got shape {tuple(target.shape)}; "
                "try `.argmax(1)` of scores."
            )
        return plain_target(target.tolist())
    if target is None or isinstance(target, (Target, str)) or callable(target):
        return target
    if isinstance(target, Iterable):
        return [plain_target(each) for each in target]
    if hasattr(target, "__index__") and not isinstance(target, bool):
        return int(target.__index__())
    return target
