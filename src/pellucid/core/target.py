"""What is explained: which score of every image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Target:
    """What is explained, for every image of a batch: a class, or any function of the output.

    ``indices`` holds class indices; ``signs`` is −1 where a single-logit head is explained for its negative
    class. With a ``function`` (output → one number per image) ``indices`` is None.
    """

    indices: Int[Tensor, " batch"] | None
    names: tuple[str, ...]
    signs: Float[Tensor, " batch"] | None = None
    function: Callable[[Tensor], Tensor] | None = None

    def score(self, output: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
        """The number that is explained, one per image, differentiable."""
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
        """The same target for ``count`` copies of a batch, laid one batch after the other."""
        return replace(
            self,
            indices=None if self.indices is None else self.indices.repeat(count),
            names=self.names * count,
            signs=None if self.signs is None else self.signs.repeat(count),
        )

    def __getitem__(self, image: int | slice) -> Target:
        keep = image if isinstance(image, slice) else slice(image, image + 1 or None)
        return replace(
            self,
            indices=None if self.indices is None else self.indices[keep],
            names=self.names[keep],
            signs=None if self.signs is None else self.signs[keep],
        )
