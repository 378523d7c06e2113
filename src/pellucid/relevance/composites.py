"""Which rule goes where: convolutions, dense layers, the first layer behind the pixels, additions.

A *dense* layer is a linear layer on [batch features]; one that runs over the positions of a map (ConvNeXt's)
is a 1 × 1 convolution and gets the rule of convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.relevance.rules import AlphaBeta, Epsilon, Gamma, Rule, ZBox, ZPlus


@dataclass(frozen=True)
class Composite:
    """One rule for each kind of layer; ``first`` is for layers that see the image itself, None for no
    exception.

    ``addition``: ``"proportion"`` shares the relevance of a sum in proportion to the signed summands;
    ``"positive"`` in proportion to the parts that have the sum's own sign, which makes no relevance of
    opposite signs.
    """

    convolution: Rule
    dense: Rule
    first: Rule | None = None
    addition: Literal["proportion", "positive"] = "proportion"

    def __post_init__(self) -> None:
        if self.addition not in ("proportion", "positive"):
            raise ValueError(f"Expected `addition` to be proportion or positive, got {self.addition!r}.")


COMPOSITES: dict[str, Composite] = {
    "epsilon": Composite(Epsilon(), Epsilon()),
    "epsilon-plus": Composite(ZPlus(), Epsilon()),
    "epsilon-gamma-box": Composite(Gamma(), Epsilon(), ZBox()),
    "epsilon-alpha2-beta1": Composite(AlphaBeta(), Epsilon()),
    "z-plus": Composite(ZPlus(), ZPlus(), ZBox()),
}


def composite_named(composite: str | Composite) -> Composite:
    """The composite of that name; one that was made by hand is passed through."""
    if isinstance(composite, Composite):
        return composite
    if composite not in COMPOSITES:
        raise UnknownNameError(
            f"Expected the name of a composite, got `{composite}`; {suggest(composite, COMPOSITES)}"
        )
    return COMPOSITES[composite]
